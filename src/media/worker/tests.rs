//! Whole workers in virtual time: real STUN, DTLS and SRTP on both ends, a seeded network between them, no sockets.

mod client;
mod loss;
mod presenter;
mod rig;
