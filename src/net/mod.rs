//! Sockets and threads: the last floor with media I/O.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

pub mod handle;

pub use handle::{Full, Handle};

/// Settings of the media plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address and port of the media socket. An unspecified IPv6 address takes IPv4 too.
    pub listen: SocketAddr,
    /// Media threads, 1–64; `None`: cores − 1, at least 1.
    pub workers: Option<NonZeroUsize>,
    /// Most sessions at once, presenters and viewers.
    pub max_sessions: usize,
}
