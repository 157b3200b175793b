//! Tribune: one presenter, thousands of viewers, one port.
//!
//! A presenter POSTs an SDP offer to `/whip/{stream}` (RFC 9725), viewers POST to `/whep/{stream}` (WHEP draft). All
//! signalling is plain HTTP resources; the packets go through one shared track router.
//!
//! # The house
//!
//! Each floor names only floors below it; `tests/floors.rs` keeps it so. What goes up are return values, notices and
//! replies.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | roof | `main`, [`app`] | knows everyone, wires, drains |
//! | roof | [`load`] | `tribune load`: a crowd of viewers, for measuring; of the house it knows `client`, `peer` and `wire` only |
//! | roof | [`publish`], [`watch`], `call` | `tribune publish` and `tribune watch`: one presenter or viewer by the book, on `webrtc` |
//! | 8 | [`config`] | file and environment → settings of each floor |
//! | 7 | [`http`] | requests → commands; the only place with status codes |
//! | 6 | [`control`] | streams, sessions, permissions |
//! | 5 | [`client`] | asks any WHIP or WHEP endpoint over HTTP; knows nothing of this server |
//! | 4 | [`net`] | sockets and threads; the last floor with media I/O |
//! | 3 | [`media`] | one worker's state: tracks, fan-out, feedback; sans-I/O |
//! | 2 | [`peer`] | one remote end: ICE, DTLS, SRTP; sans-I/O |
//! | 1 | [`wire`] | bytes ↔ values: RTP, RTCP, STUN, SDP, key frames; pure |
//! | 0 | [`metrics`] | counters |
//!
//! Below the socket nothing reads a clock, draws a random number or touches a socket: time, randomness and outputs
//! are arguments.

pub mod app;
mod call;
pub mod client;
pub mod config;
pub mod control;
pub mod http;
pub mod load;
pub mod media;
pub mod metrics;
pub mod net;
pub mod peer;
pub mod publish;
pub mod watch;
pub mod wire;
