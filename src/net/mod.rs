//! Sockets and threads: the last floor with media I/O.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::media::clock::WallClock;
use crate::media::gop::Bounds;
use crate::media::lobby::Lobby;
use crate::media::worker::Shared;
use crate::media::{Notice, WorkerId};
use crate::metrics::{Metrics, WorkerCounters};
use crate::peer::dtls::Identity;

pub mod handle;
mod mailbox;
mod thread;
mod udp;

pub use handle::{Full, Handle};

use handle::Office;
use mailbox::Mailbox;

/// Settings of the media plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address and port of the media socket. An unspecified IPv6 address takes IPv4 too.
    pub listen: SocketAddr,
    /// Media threads, 1–64; `None`: cores − 1, at least 1.
    pub workers: Option<NonZeroUsize>,
    /// Most sessions at once, presenters and viewers.
    pub max_sessions: usize,
    /// How much is kept of each layer for viewers who come later.
    pub gop: Bounds,
}

/// The running media plane.
pub struct Media {
    handle: Handle,
    port: u16,
    threads: Vec<JoinHandle<()>>,
}

/// Opens the sockets and starts the threads. `notices` tells what happens to sessions.
/// # Errors
/// When the port is in use or a socket cannot be had.
pub fn start(settings: &Settings, metrics: &Metrics, notices: mpsc::Sender<Notice>) -> io::Result<Media> {
    let workers = worker_count(settings.workers);
    let sockets = udp::bind(settings.listen, workers)?;
    let port = sockets.first().map_or(Ok(settings.listen), udp::Socket::local_addr)?.port();

    let now = Instant::now();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let shared = Arc::new(Shared {
        lobby: Lobby::new(settings.max_sessions),
        identity: Identity::generate().map_err(io::Error::other)?,
        clock: WallClock::new(now, since_epoch),
        gop: settings.gop,
        cached: metrics.cached.clone(),
    });
    let counters: Vec<_> = (0..workers).map(|_| Arc::new(WorkerCounters::default())).collect();
    metrics.show_media(counters.clone()).map_err(io::Error::other)?;
    let mailboxes = (0..workers).map(|_| Mailbox::new(settings.max_sessions)).collect::<io::Result<Vec<_>>>()?;
    let office = Arc::new(Office { shared, mailboxes, notices, stop: false.into() });

    let threads = sockets.into_iter().zip(counters).enumerate().map(|(at, (socket, counters))| {
        let office = office.clone();
        std::thread::Builder::new()
            .name(format!("media-{at}"))
            .spawn(move || thread::run(WorkerId(at as u8), &office, &socket, &counters))
    });
    let threads = threads.collect::<io::Result<Vec<_>>>()?;
    Ok(Media { handle: Handle::new(office), port, threads })
}

impl Media {
    /// What control asks it through.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Media threads.
    pub fn workers(&self) -> usize {
        self.threads.len()
    }

    /// Stops the threads after what they are doing.
    pub fn stop(self) {
        let office = self.handle.office();
        office.stop.store(true, Ordering::Release);
        for mailbox in &office.mailboxes {
            mailbox.wake();
        }
        for thread in self.threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// One core is left to HTTP.
fn worker_count(configured: Option<NonZeroUsize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    configured.map_or(cores.saturating_sub(1), NonZeroUsize::get).clamp(1, MAX_WORKERS)
}

/// The address that reaches everything on this machine over IPv4 only.
const ANY_V4: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Workers of a stream are kept as bits of one word.
const MAX_WORKERS: usize = 64;

#[cfg(test)]
mod tests;
