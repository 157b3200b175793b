//! One remote end: ICE, DTLS, SRTP. Sans-I/O.
