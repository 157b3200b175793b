//! Wires the floors together, runs and drains them.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::EnvFilter;

use crate::config::addresses::{self, Interface};
use crate::config::{self, Config, LogFormat, LogLevel};
use crate::control::auth::{Auth, Identity, Right};
use crate::control::reports::Shelf;
use crate::control::stream::StreamName;
use crate::control::tokens::{Secret, SecretError, Token};
use crate::control::webhooks::{Pace, Webhooks};
use crate::control::{self, Control};
use crate::http::{Server, Tls};
use crate::media::{CloseReason, Notice};
use crate::metrics::Metrics;
use crate::net;

mod files;
pub mod links;
mod memory;
pub mod webhooks;

use links::{Links, Listening};
use memory::Memory;
use webhooks::Senders;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No key to sign tokens with.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What was revoked is not known.
    #[error("the list of links in the state directory cannot be read: {0}")]
    Links(io::Error),
    /// No media socket.
    #[error(
        "cannot open the media socket on {listen} (UDP): {source}; choose another address with --media or media.listen"
    )]
    Media {
        /// The address wanted.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No HTTP server.
    #[error("{0}; choose another address with --http or http.listen")]
    HttpAddress(io::Error),
    /// The HTTP server cannot start, or cannot go on.
    #[error("{0}")]
    Http(io::Error),
    /// No threads, no signals.
    #[error("the system refuses what a server needs: {0}")]
    System(io::Error),
    /// A bug of ours.
    #[error("a metric is registered twice: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everybody was told goodbye.
    Drained,
    /// Somebody was impatient: a second signal.
    Forced,
}

/// The server before its first request.
struct Ready {
    media: net::Media,
    control: Arc<Control>,
    server: Server,
    notices: mpsc::Receiver<Notice>,
    signals: Signals,
    memory: Memory,
    senders: Senders,
}

/// Runs the server until SIGINT or SIGTERM.
/// # Errors
/// When it cannot start: an address is taken, the secret or a certificate is not usable.
pub fn serve(config: &Config) -> Result<Ended, AppError> {
    // Everything is started on the runtime, so that each floor may use it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AppError::System)?;
    let Ready { media, control, server, notices, mut signals, memory, senders } =
        runtime.block_on(async { start(config) })?;

    let (close, closed) = oneshot::channel();
    let pump = runtime.spawn(pump(notices, closed, Arc::clone(&control)));
    let mut ended = runtime.block_on(run(server, &control, &mut signals, memory))?;
    if ended == Ended::Drained {
        media.stop();
        // With the workers gone, what is still in the queue are the last summaries.
        drop(close);
        let _ = runtime.block_on(async { tokio::time::timeout(LAST_NOTICES, pump).await });
    }
    control.close_records();
    if ended == Ended::Drained {
        let told = async {
            tokio::select! {
                biased;
                () = signals.next() => Ended::Forced,
                () = senders.finish(LAST_WEBHOOKS) => Ended::Drained,
            }
        };
        ended = runtime.block_on(told);
    }
    runtime.shutdown_background();
    Ok(ended)
}

/// Sends a test event to every webhook, and says what became of each.
/// # Errors
/// `System` without a runtime or TLS.
pub fn try_webhooks(config: &Config) -> Result<Vec<webhooks::Tried>, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::System)?;
    let tried = runtime.block_on(webhooks::try_all(&config.webhooks));
    tried.map_err(|error| AppError::System(io::Error::other(error)))
}

/// Makes a token and the link to its page.
/// # Errors
/// When there is no secret and none can be made.
pub fn token(config: &Config, identity: &Identity, lifetime: Duration) -> Result<(Token, String), AppError> {
    let token = auth(config)?.sign(identity, lifetime);
    let candidates = candidates(config, config.media.listen.port());
    let links = Links::new(config, config.http.listen, &candidates);
    let link = links.page(identity.right, identity.stream.as_ref(), &token);
    Ok((token, link))
}

/// Sends log lines to standard error: the settings decide how many and in which form. Called once.
pub fn log(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // The rtc family reports every bad packet by itself; a flood of those must not become a flood of lines.
    let filter = EnvFilter::new(format!("warn,tribune={level},rtc=error"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let text = match config.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if text {
        lines.with_ansi(io::stderr().is_terminal()).init();
    } else {
        lines.json().flatten_event(true).init();
    }
}

/// Starts floor by floor, the lowest first, and says where to find the result.
fn start(config: &Config) -> Result<Ready, AppError> {
    let links = control::links::Links::open(&state_dir(config)).map_err(AppError::Links)?;
    let auth = Arc::new(auth(config)?.with_links(links));
    let metrics = Metrics::new();
    let (sender, notices) = mpsc::channel(config.max_sessions * NOTICES_PER_SESSION);

    let listen = config.media.listen;
    let media = net::start(&config.media, &metrics, sender).map_err(|source| AppError::Media { listen, source })?;
    let candidates = candidates(config, media.port());
    let settings = control::Settings {
        candidates: candidates.clone(),
        policies: Arc::clone(&config.policies),
        max_sessions: config.max_sessions,
        max_unconnected_per_address: config.max_unconnected_per_address,
    };
    let control = Control::new(media.handle(), settings, &metrics)?;
    match Shelf::open(&state_dir(config).join("reports")) {
        Ok(shelf) => control.keep_reports(shelf),
        Err(error) => tracing::warn!(%error, "no reports will be kept"),
    }
    let webhooks = Webhooks::new(config.webhooks.clone(), Pace::default(), &metrics.registry)?;
    let senders = Senders::start(Arc::clone(&webhooks)).map_err(|error| AppError::System(io::Error::other(error)))?;
    control.tell_webhooks(webhooks);

    let mut http = config.http.clone();
    http.address = links::elsewhere(http.listen, &candidates);
    http.limits.connections = files::allow(http.limits.connections);
    if let Some(Tls::SelfSigned { names }) = &mut http.tls {
        *names = links::certificate_names(config, &candidates, hostname());
    }
    let server =
        Server::bind(http, Arc::clone(&control), Arc::clone(&auth), metrics).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => {
                AppError::HttpAddress(error)
            }
            _ => AppError::Http(error),
        })?;

    let at = Listening {
        http: server.local_addr(),
        media: SocketAddr::new(listen.ip(), media.port()),
        candidates: &candidates,
        program: &program(),
    };
    let memory = Memory::new(&state_dir(config), at.http.port());
    let (presented, age) = memory.recall(SystemTime::now());
    control.expect(presented, age, Instant::now());
    // Whoever reads the welcome may already say goodbye.
    let signals = Signals::new().map_err(AppError::System)?;
    welcome(config, &at, &auth);
    Ok(Ready { media, control, server, notices, signals, memory, senders })
}

/// Prints what a person needs to begin, with a token made for today.
fn welcome(config: &Config, at: &Listening<'_>, auth: &Auth) {
    let stream: StreamName = DEFAULT_STREAM.parse().expect("it is one, by test");
    let subject = config::subject(Right::Publish, Some(&stream));
    let identity = Identity { subject, stream: Some(stream.clone()), right: Right::Publish };
    let token = auth.sign(&identity, FIRST_TOKEN);
    let links = Links::new(config, at.http, at.candidates);
    let mut text = links.welcome(at, &stream, &token);
    if io::stdout().is_terminal() {
        text += &links.code(&stream);
    }
    // Standard output may be closed; that is no reason not to serve.
    let _ = writeln!(io::stdout().lock(), "{text}");
    tracing::info!(http = %at.http, media = %at.media, candidates = ?at.candidates, "serving");
}

/// Serves until the first signal, then says goodbye to everybody; the second signal cuts that short.
async fn run(server: Server, control: &Arc<Control>, signals: &mut Signals, memory: Memory) -> Result<Ended, AppError> {
    let (freeze, frozen) = oneshot::channel();
    let remembering = tokio::spawn(memory.keep(Arc::clone(control), frozen));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = tokio::spawn(server.serve(async {
        // An error means that `stop` is gone, which is a reason to stop as well.
        let _ = stopped.await;
    }));

    tokio::select! {
        () = signals.next() => {}
        ended = &mut serving => {
            let error = match ended {
                Ok(Ok(())) => io::Error::other("the HTTP server stopped by itself"),
                Ok(Err(error)) => error,
                Err(error) => io::Error::other(error),
            };
            return Err(AppError::Http(error));
        }
    }

    tracing::info!(sessions = control.sessions(), "draining");
    // Who presents now is expected back; in a moment it will be nobody.
    drop(freeze);
    if tokio::time::timeout(LAST_NOTICES, remembering).await.is_err() {
        tracing::warn!("who presents could not be written down in time");
    }
    control.drain();
    control.close_all(CloseReason::Draining);
    let goodbye = async {
        // HTTP answers until the sessions are gone: their clients' DELETEs come now.
        while control.sessions() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // A goodbye is said three times: a presenter that misses it does not come back by itself. Meanwhile whoever asks
        // what has become of its session, or for a new one, is answered.
        tokio::time::sleep(GOODBYES).await;
        let _ = stop.send(());
        let _ = serving.await;
    };
    tokio::select! {
        biased;
        () = signals.next() => return Ok(Ended::Forced),
        done = tokio::time::timeout(DRAIN, goodbye) => {
            if done.is_err() {
                tracing::warn!(sessions = control.sessions(), "not everybody left in time");
            }
        }
    }
    Ok(Ended::Drained)
}

/// Takes to control what the workers tell until `closed`, and what is in the queue then; lets it do what the clock asks.
async fn pump(mut notices: mpsc::Receiver<Notice>, mut closed: oneshot::Receiver<()>, control: Arc<Control>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // First, or a flood of notices would stop the clock.
            _ = clock.tick() => control.tick(Instant::now()),
            notice = notices.recv() => match notice {
                Some(notice) => control.notice(notice),
                None => return,
            },
            _ = &mut closed, if !closed.is_terminated() => notices.close(),
        }
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn state_dir(config: &Config) -> PathBuf {
    config::state_dir(config, environment)
}

fn auth(config: &Config) -> Result<Auth, SecretError> {
    let dir = state_dir(config);
    let secret = Secret::load_or_create(&dir)?;
    Ok(Auth::new(secret, config.tokens.clone(), Arc::clone(&config.policies)))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn candidates(config: &Config, port: u16) -> Vec<SocketAddr> {
    let interfaces: Vec<Interface> = match if_addrs::get_if_addrs() {
        Ok(found) => found.into_iter().map(|interface| (interface.name.clone(), interface.ip())).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot list this machine's addresses; set media.public_addresses");
            Vec::new()
        }
    };
    addresses::candidates(config.media.listen, port, &config.public_addresses, &interfaces)
}

/// What the program was started as, for commands to be typed.
fn program() -> String {
    let named = std::env::args().next().filter(|name| !name.is_empty() && !name.contains(char::is_whitespace));
    named.unwrap_or_else(|| "tribune".to_owned())
}

/// This machine's name, when it can be part of a URL.
fn hostname() -> Option<String> {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).ok()?;
    let name = name.trim();
    let good = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'));
    good.then(|| name.to_owned())
}

/// The stream of the links that are printed at start.
const DEFAULT_STREAM: &str = "live";
/// How long their token is good: a day's work.
const FIRST_TOKEN: Duration = Duration::from_hours(12);
/// Goodbyes take at most this.
const DRAIN: Duration = Duration::from_secs(4);
/// For what is left to be written down: by us, and by the workers after they have ended.
const LAST_NOTICES: Duration = Duration::from_millis(500);
/// Until the last of them is on the wire.
const GOODBYES: Duration = Duration::from_millis(150);
/// For what webhooks have not been told yet.
const LAST_WEBHOOKS: Duration = Duration::from_secs(2);
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(250);
/// While draining.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A few steps, Connected, a `Started` for each of two tracks, Closed: so all sessions may speak at once.
const NOTICES_PER_SESSION: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_stream_has_a_good_name() {
        assert!(DEFAULT_STREAM.parse::<StreamName>().is_ok());
    }
}
