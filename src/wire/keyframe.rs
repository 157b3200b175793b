//! Tells key frames from the first bytes of an RTP payload.
