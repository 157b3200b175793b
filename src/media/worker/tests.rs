//! Whole workers in virtual time: real STUN, DTLS and SRTP on both ends, a seeded network between them, no sockets.

mod bursts;
mod catch_up;
mod client;
mod ends;
mod loss;
mod numbering;
mod paths;
mod presenter;
mod reports;
mod returns;
mod rig;
mod simulcast;
mod start;
mod stretch;
