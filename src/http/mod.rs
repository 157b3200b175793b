//! HTTP: requests become commands, what control says becomes responses. The only place with status codes.
//!
//! One listener for all: signalling (WHIP, WHEP), pages, operations; HTTP/1.1 and HTTP/2, plain or over TLS. A request
//! walks `server` → `guard` (deadlines, framing) → `service` (checks, deadline, headers common to all) → `route` →
//! one of `endpoint`, `session`, `api`, `pages`, `ops`. What goes wrong anywhere is a `problem`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::control::EtagPolicy;
use crate::control::counter::CounterPolicy;
use crate::control::ice_servers::IceServer;

mod api;
mod body;
mod conditions;
mod cors;
mod counter;
mod elsewhere;
mod endpoint;
mod events;
mod framing;
mod guard;
mod layers;
mod measure;
mod ops;
mod pages;
mod places;
mod problem;
pub mod qr;
mod route;
mod server;
mod service;
mod session;
mod tls;

pub use server::Server;
pub use tls::{Certificates, Tls, TlsError};

/// Settings of the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address and port. An unspecified IPv6 address takes IPv4 too; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Pages are served from here instead of the built-in ones; changes show at once.
    pub web_dir: Option<PathBuf>,
    /// The URL that people use, when it is known. With `https` browsers are told to insist on it (RFC 6797).
    pub public_url: Option<String>,
    /// Where other machines reach this one, for links that are made on it by a name that is good nowhere else.
    pub address: Option<IpAddr>,
    /// Many people come from these addresses, so the limit per address is not for them. By default the loopback
    /// addresses: that is where a tunnel or a proxy on this machine comes from.
    pub trusted_proxies: Vec<IpAddr>,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<IceServer>,
    /// Servers, like `https://b.example.org`, that clients are sent to when this one is full or shuts down.
    pub redirect_to: Vec<String>,
    /// Whose pages may show the embedded player in a frame: origins like `https://example.org`, `self`, or `*` for all.
    pub frame_ancestors: Vec<String>,
    /// Must candidates sent by PATCH carry an entity-tag?
    pub etag_policy: EtagPolicy,
    /// What a viewer gets whose offer cannot be taken.
    pub whep_counter_offer: CounterPolicy,
    /// Deadlines and caps.
    pub limits: Limits,
}

impl Settings {
    /// Plain HTTP on this address, everything else as by default.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            web_dir: None,
            public_url: None,
            address: None,
            trusted_proxies: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            ice_servers: Vec::new(),
            redirect_to: Vec::new(),
            frame_ancestors: vec!["*".to_owned()],
            etag_policy: EtagPolicy::default(),
            whep_counter_offer: CounterPolicy::default(),
            limits: Limits::default(),
        }
    }
}

/// How much of everything, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once.
    pub connections: usize,
    /// Most connections at once from one IPv4 address or one IPv6 /64.
    pub connections_per_address: usize,
    /// Most TLS handshakes at once; more wait, within their deadline.
    pub handshakes: usize,
    /// A TLS handshake takes at most this.
    pub handshake: Duration,
    /// The head of a request takes at most this, from its first byte.
    pub head: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// The body of a request takes at most this.
    pub body: Duration,
    /// A request takes at most this, from its head to its response.
    pub request: Duration,
    /// A client that takes nothing of its response for this long is cut off.
    pub write: Duration,
    /// Most bytes of an SDP offer.
    pub offer_bytes: usize,
    /// Most bytes of an SDP fragment.
    pub fragment_bytes: usize,
    /// A connection is closed after so many requests.
    pub requests_per_connection: u32,
    /// A connection is closed after this.
    pub connection_age: Duration,
    /// At shutdown, running requests are waited for at most this long.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 500,
            handshakes: 64,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            body: Duration::from_secs(10),
            request: Duration::from_secs(15),
            write: Duration::from_secs(10),
            offer_bytes: 64 * 1024,
            fragment_bytes: 16 * 1024,
            requests_per_connection: 1_000,
            connection_age: Duration::from_hours(1),
            drain: Duration::from_secs(5),
        }
    }
}
