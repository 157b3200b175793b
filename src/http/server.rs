//! The listener: connections come in, are counted, guarded and served, and end in good order.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::control::Control;
use crate::control::auth::Auth;
use crate::metrics::Metrics;

use super::guard::{Guard, Watch};
use super::measure::{Measures, Refused};
use super::pages::Pages;
use super::places::{NoPlace, Place, Places};
use super::problem::Problem;
use super::service::{App, Connection};
use super::tls::Certificates;
use super::{Limits, Settings};

/// A bound listener, ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    places: Arc<Places>,
    shared: Arc<Shared>,
}

/// What all connections use.
#[derive(Debug)]
struct Shared {
    app: App,
    certificates: Option<Arc<Certificates>>,
    handshakes: Semaphore,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Server {
    /// Takes the address and loads what is needed; nothing is answered yet, but clients may already connect.
    /// # Errors
    /// When the address is taken, certificate or key are not usable, or `web_dir` cannot be read.
    pub fn bind(settings: Settings, control: Arc<Control>, auth: Arc<Auth>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let certificates = settings.tls.as_ref().map(Certificates::new).transpose();
        let certificates = certificates.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let pages = Pages::new(settings.web_dir.as_deref(), &settings.redirect_to, &settings.frame_ancestors)?;
        let measures = Measures::new(&metrics.registry).map_err(io::Error::other)?;
        let limits = settings.limits;
        let listener = listen(settings.listen, limits.connections)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {} (TCP): {e}", settings.listen)))?;
        let local_addr = listener.local_addr()?;
        let places = Places::new(limits.connections, limits.connections_per_address, &settings.trusted_proxies);
        let shared = Shared {
            certificates: certificates.map(Arc::new),
            handshakes: Semaphore::new(limits.handshakes),
            http1: http1_builder(&limits),
            http2: http2_builder(),
            app: App {
                control,
                auth,
                metrics,
                measures,
                pages,
                // The other half of all connections is for requests that end.
                feeds: Places::new(
                    limits.connections.div_ceil(2),
                    limits.connections_per_address.div_ceil(2),
                    &settings.trusted_proxies,
                ),
                limits,
                etag_policy: settings.etag_policy,
                whep_counter_offer: settings.whep_counter_offer,
                ice_servers: settings.ice_servers,
                redirect_to: settings.redirect_to,
                redirects: AtomicUsize::new(0),
                secure: settings.tls.is_some(),
                trusted_proxies: settings.trusted_proxies,
                strict_https: settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://")),
                public_url: settings.public_url,
                address: settings.address,
            },
        };
        Ok(Self { listener, local_addr, places, shared: Arc::new(shared) })
    }

    /// Where it listens; the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.shared.certificates.is_some() { "https" } else { "http" }
    }

    /// The certificates in use, to be reloaded while the server runs; `None` without TLS.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.shared.certificates.clone()
    }

    /// Serves until `shutdown` is done; then takes nothing new, lets running requests finish, and returns after
    /// `Limits::drain` at the latest.
    /// # Errors
    /// When the runtime cannot take the listener over.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let (closing, closed) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    if ended.is_err_and(|e| e.is_panic()) {
                        tracing::error!("a connection's task panicked");
                    }
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => match self.places.take(peer.ip()) {
                    Ok(place) => {
                        let shared = Arc::clone(&self.shared);
                        connections.spawn(shared.run(tcp, peer, place, closed.clone()));
                    }
                    Err(why) => self.shared.refuse(&tcp, why),
                },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // No descriptors or no memory: whoever waits keeps waiting, we try again when some are free.
                    tracing::warn!(%error, "cannot accept connections");
                    self.shared.app.measures.refused(Refused::Accept);
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }

        drop(listener);
        // Nobody listening means no connections: fine as well.
        let _ = closing.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.app.limits.drain, all).await.is_err() {
            connections.shutdown().await;
        }
        Ok(())
    }
}

impl Shared {
    /// One connection from beginning to end.
    async fn run(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr, place: Place, closing: watch::Receiver<bool>) {
        let _counted = self.app.measures.connected();
        // Answers are small and wanted now; without it they come a little later, that is all.
        let _ = tcp.set_nodelay(true);
        let connection = Connection::new(peer);
        match &self.certificates {
            None => self.speak(tcp, connection, closing).await,
            Some(certificates) => {
                let handshake = async {
                    let _permit = self.handshakes.acquire().await.map_err(io::Error::other)?;
                    certificates.acceptor().accept(tcp).await
                };
                match timeout(self.app.limits.handshake, handshake).await {
                    Ok(Ok(tls)) => self.speak(tls, connection, closing).await,
                    Ok(Err(_)) | Err(_) => self.app.measures.refused(Refused::Handshake),
                }
            }
        }
        drop(place);
    }

    /// HTTP on a socket or a TLS stream.
    async fn speak<S>(self: &Arc<Self>, socket: S, connection: Arc<Connection>, closing: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.app.limits;
        let guard = Guard::new(socket, Arc::clone(&connection), limits.head, limits.write).await;
        let Ok(guard) = guard else { return };
        let watch = guard.watch();
        let io = TokioIo::new(guard);
        let service = service_fn(|request: Request<Incoming>| {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            async move { shared.app.serve(&connection, request).await }
        });
        match watch {
            Watch::Http1 => {
                let served = self.http1.serve_connection(io, service);
                drive(served, http1::Connection::graceful_shutdown, &connection, closing, limits).await;
            }
            Watch::Http2 => {
                let served = self.http2.serve_connection(io, service);
                drive(served, http2::Connection::graceful_shutdown, &connection, closing, limits).await;
            }
        }
    }

    /// Turns a connection away, with a word of why where that costs nothing.
    fn refuse(&self, tcp: &TcpStream, why: NoPlace) {
        let retry_after = Duration::from_secs(5);
        let (reason, problem) = match why {
            NoPlace::Total => (Refused::Total, Problem::Full { retry_after }),
            NoPlace::Address => (Refused::Address, Problem::TooMany { retry_after }),
        };
        self.app.measures.refused(reason);
        if self.certificates.is_none() {
            // Unread bytes would turn our close into a reset, and the answer would be lost.
            let _ = tcp.try_read(&mut [0; 4096]);
            let _ = tcp.try_write(&problem.into_bytes());
        }
    }
}

/// Runs a connection until it ends, or until it is asked to end and has had time to.
async fn drive<C, T>(
    served: C,
    end: fn(Pin<&mut C>),
    connection: &Connection,
    mut closing: watch::Receiver<bool>,
    limits: &Limits,
) where
    C: Future<Output = hyper::Result<T>>,
{
    let mut served = pin!(served);
    let asked_to_end = async {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = connection.retire.notified() => {}
            () = sleep(limits.connection_age) => {}
        }
    };
    tokio::select! {
        // What ends a connection is the client's business; what was wrong is counted with its requests.
        _ = &mut served => return,
        () = asked_to_end => {}
    }
    end(served.as_mut());
    let _ = timeout(limits.request + limits.write, served).await;
}

/// Binds a listening socket.
fn listen(address: SocketAddr, backlog: usize) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    // A restart must not wait for old connections to be forgotten.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX).max(128))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Did one client go while it was waiting, or can we not accept at all?
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// HTTP/1.1 with a limit on everything that a client can make large or slow.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Runs between requests too; the guard has the shorter deadline of a head that has begun.
        .header_read_timeout(limits.idle)
        .max_headers(64)
        .max_header_size(16 * 1024)
        .max_buf_size(32 * 1024)
        .half_close(false)
        .pipeline_flush(false)
        .keep_alive(true);
    builder
}

/// HTTP/2 likewise (CVE-2023-44487 and its relatives).
fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(32)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .adaptive_window(false)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
