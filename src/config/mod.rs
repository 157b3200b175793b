//! Configuration: file → environment → command line → checked settings of each floor.
//!
//! The later says it over the earlier. An unknown key is an error with its line; `config.toml` shows every key with its
//! default.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::control::auth::{Identity, Right};
use crate::control::ice_servers::{Access, IceServer};
use crate::control::stream::{Policies, Presenters, StreamName, StreamPolicy};
use crate::control::tokens::{self, StaticToken};
use crate::control::webhooks::Hook;
use crate::media::gop::Bounds;
use crate::{http, net};

pub mod addresses;
pub mod duration;
mod file;
mod webhooks;

use duration::Span;
use file::{File, IceServerEntry, SeatPolicy, StreamOverride, TlsMode, TokenEntry};
pub use file::{LogFormat, LogLevel};

/// Settings of all floors, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of the HTTP server. The names of a self-signed certificate are not in it yet.
    pub http: http::Settings,
    /// Of the media plane.
    pub media: net::Settings,
    /// Addresses of this machine that it does not know itself (NAT); the best first.
    pub public_addresses: Vec<std::net::IpAddr>,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most viewers of one address who have their answer and are not connected yet.
    pub max_unconnected_per_address: usize,
    /// How streams are run.
    pub policies: Arc<Policies>,
    /// Tokens that are not signed by us.
    pub tokens: Vec<StaticToken>,
    /// Who is told what happens.
    pub webhooks: Vec<Hook>,
    /// Where the secret is kept; `None`: see [`state_dir`].
    pub state_dir: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How much is logged.
    pub log_level: LogLevel,
}

impl Default for Config {
    fn default() -> Self {
        check(&File::default()).expect("the defaults are good, by test")
    }
}

impl Config {
    /// Reads the configuration: the file if there is one, then the variables `TRIBUNE_*` among `environment`, then
    /// `flags` as pairs of key and value.
    /// # Errors
    /// When anything in it is wrong: what, where, and what was wanted.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&'static str, String)],
    ) -> Result<Self, ConfigError> {
        let mut file = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                File::parse(path, &text.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?)?
            }
            None => File::default(),
        };
        let keys = File::keys();
        for (name, value) in environment {
            if let Some(key) = keys.iter().find(|key| variable(key) == name) {
                file.set(&Source::Variable(name), key, &value)?;
            }
        }
        for (key, value) in flags {
            file.set(&Source::Flag(key), key, value)?;
        }
        check(&file)
    }
}

/// The variables among these that look like ours and are none: for a warning. Not an error, because Kubernetes makes
/// such variables for every service that it knows.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<String> = File::keys().iter().map(|key| variable(key)).chain([CONFIG_VARIABLE.to_owned()]).collect();
    let of_kubernetes = |name: &str| name.starts_with("TRIBUNE_SERVICE_") || name.starts_with("TRIBUNE_PORT");
    names.filter(|name| name.starts_with("TRIBUNE_") && !known.contains(name) && !of_kubernetes(name)).collect()
}

/// Where the secret is kept: `state.dir`, or `$STATE_DIRECTORY` (systemd), or `$XDG_STATE_HOME/tribune`, or
/// `~/.local/state/tribune`, or `.tribune` here.
pub fn state_dir(config: &Config, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    // systemd lists several directories with colons; the first one is the unit's own.
    let of_systemd = || variable("STATE_DIRECTORY")?.split(':').next().map(PathBuf::from);
    let of_user = || variable("XDG_STATE_HOME").map(|dir| Path::new(&dir).join("tribune"));
    let of_home = || variable("HOME").map(|home| Path::new(&home).join(".local/state/tribune"));
    let configured = config.state_dir.clone();
    configured.or_else(of_systemd).or_else(of_user).or_else(of_home).unwrap_or_else(|| PathBuf::from(".tribune"))
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Variable(String),
    /// A flag on the command line, by the key it sets.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Flag(key) => f.write_str(key),
        }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// Something in the file.
    #[error("{}:{line}: {message}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The key, what was found, what was wanted.
        message: String,
    },
    /// A variable or a flag.
    #[error("{by}: {message}")]
    Setting {
        /// Which one.
        by: Source,
        /// What was found and wanted.
        message: String,
    },
    /// Values that are good on their own and not together, or out of bounds.
    #[error("{key}: {message}")]
    Value {
        /// Which key.
        key: String,
        /// What was found and wanted.
        message: String,
    },
}

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "TRIBUNE_CONFIG";

/// The environment variable of a key: `http.listen` is `TRIBUNE_HTTP_LISTEN`.
fn variable(key: &str) -> String {
    format!("TRIBUNE_{}", key.replace('.', "_").to_ascii_uppercase())
}

fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key: key.into(), message: message.into() })
}

/// From what is written to what each floor needs.
fn check(file: &File) -> Result<Config, ConfigError> {
    let max_sessions = within("media.max_sessions", file.media.max_sessions, 1, 1_000_000)?;
    Ok(Config {
        http: http_settings(file)?,
        media: net::Settings {
            listen: file.media.listen,
            workers: NonZeroUsize::new(within("media.workers", file.media.workers, 0, 64)?),
            // A session that was taken over or deleted keeps its place until its worker has said goodbye.
            max_sessions: max_sessions + max_sessions.max(PLACES_OF_THE_LEAVING),
            gop: gop(&file.media)?,
        },
        public_addresses: file.media.public_addresses.clone(),
        max_sessions,
        max_unconnected_per_address: within(
            "media.max_unconnected_per_address",
            file.media.max_unconnected_per_address,
            1,
            1_000_000,
        )?,
        policies: Arc::new(policies(file)?),
        tokens: file
            .tokens
            .iter()
            .enumerate()
            .map(|(n, entry)| static_token(n + 1, entry))
            .collect::<Result<_, _>>()?,
        webhooks: webhooks::hooks(&file.webhooks)?,
        state_dir: path(&file.state.dir),
        log_format: file.log.format,
        log_level: file.log.level,
    })
}

/// How much is kept for viewers who come later.
fn gop(media: &file::Media) -> Result<Bounds, ConfigError> {
    let bytes = within("media.gop_bytes", media.gop_bytes, 65_536, 1 << 30)?;
    // Of the numbers of packets half may be asked for again.
    let packets = within("media.gop_packets", media.gop_packets, 64, 16_384)?;
    let age = media.gop_age.0;
    if !(Duration::from_secs(1)..=Duration::from_mins(1)).contains(&age) {
        return wrong("media.gop_age", format!("{} is not in 1s–60s", media.gop_age));
    }
    let total = within("media.gop_total_bytes", media.gop_total_bytes, bytes, 1 << 40)?;
    Ok(Bounds { bytes, packets: if media.gop_cache { packets } else { 0 }, age, total })
}

fn http_settings(file: &File) -> Result<http::Settings, ConfigError> {
    let http = &file.http;
    let tls = match (http.tls, path(&http.tls_cert), path(&http.tls_key)) {
        (TlsMode::Files, Some(cert), Some(key)) => Some(http::Tls::Files { cert, key }),
        (TlsMode::Files, ..) => {
            return wrong("http.tls", "`files` needs both http.tls_cert and http.tls_key");
        }
        (TlsMode::Off | TlsMode::SelfSigned, Some(_), _) | (TlsMode::Off | TlsMode::SelfSigned, _, Some(_)) => {
            return wrong("http.tls_cert", "a certificate or key is only used with http.tls = \"files\"");
        }
        (TlsMode::Off, ..) => None,
        (TlsMode::SelfSigned, ..) => Some(http::Tls::SelfSigned { names: Vec::new() }),
    };
    let connections = within("http.max_connections", http.max_connections, 1, 1_000_000)?;
    let per_address = http.max_connections_per_address;
    let head = patience("http.header_timeout", http.header_timeout)?;
    let body = patience("http.body_timeout", http.body_timeout)?;
    let defaults = http::Limits::default();
    Ok(http::Settings {
        tls,
        web_dir: path(&http.web_dir),
        public_url: public_url(&http.public_url)?,
        trusted_proxies: http.trusted_proxies.clone(),
        etag_policy: http.etag_policy,
        whep_counter_offer: http.whep_counter_offer,
        redirect_to: http.redirect_to.iter().map(|url| redirect(url)).collect::<Result<_, _>>()?,
        frame_ancestors: http.frame_ancestors.iter().map(|who| frame_ancestor(who)).collect::<Result<_, _>>()?,
        ice_servers: (1..).zip(&file.ice_servers).map(|(n, entry)| ice_server(n, entry)).collect::<Result<_, _>>()?,
        limits: http::Limits {
            connections,
            connections_per_address: within("http.max_connections_per_address", per_address, 1, 1_000_000)?,
            head,
            body,
            // What stands around these must not cut them short.
            idle: defaults.idle.max(head),
            request: defaults.request.max(body + AFTER_THE_BODY),
            ..defaults
        },
        ..http::Settings::new(http.listen)
    })
}

/// Scheme, host and maybe port; empty when it is not known.
fn public_url(text: &str) -> Result<Option<String>, ConfigError> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(good) {
        return wrong("http.public_url", format!("{text:?} is not like https://live.example.org"));
    }
    Ok(Some(text.to_owned()))
}

/// Another server of ours.
fn redirect(url: &str) -> Result<String, ConfigError> {
    match public_url(url) {
        Ok(Some(url)) => Ok(url),
        Ok(None) | Err(_) => wrong("http.redirect_to", format!("{url:?} is not like https://b.example.org")),
    }
}

/// Who may frame the embedded player: everybody, this server's own pages, or those of an origin; `*.` stands for any
/// name below another (CSP3 §2.3.1).
fn frame_ancestor(who: &str) -> Result<String, ConfigError> {
    match (who, public_url(&who.replacen("//*.", "//", 1))) {
        ("*" | "self", _) | (_, Ok(Some(_))) => Ok(who.strip_suffix('/').unwrap_or(who).to_owned()),
        (_, Ok(None) | Err(_)) => {
            wrong("http.frame_ancestors", format!("{who:?} is not \"*\", \"self\" or like https://example.org"))
        }
    }
}

/// The `number`th of `[[ice_servers]]`. No message repeats a credential.
fn ice_server(number: usize, entry: &IceServerEntry) -> Result<IceServer, ConfigError> {
    let key = |name: &str| format!("ice_servers[{number}].{name}");
    // What stands in a Link header must not end the values that clients cut out of it.
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=:_-.@".contains(c) || more.contains(c))
    };
    let (scheme, host) = entry.url.split_once(':').unwrap_or_default();
    let turn = matches!(scheme, "turn" | "turns");
    if !(turn || matches!(scheme, "stun" | "stuns")) || host.starts_with("//") || !plain(host, "[]?") {
        return wrong(
            key("url"),
            format!("{:?} is not like stun:HOST:3478 or turn:HOST:3478?transport=udp", entry.url),
        );
    }
    let access = match (entry.username.as_str(), entry.credential.as_str(), entry.secret.as_str()) {
        ("", "", "") if !turn => Access::Open,
        ("", "", secret) if turn && !secret.is_empty() => {
            Access::Timed { secret: secret.to_owned(), lifetime: entry.lifetime.0 }
        }
        (username, credential, "") if turn && plain(username, "") && plain(credential, "") => {
            Access::Static { username: username.to_owned(), credential: credential.to_owned() }
        }
        _ if turn => {
            let wanted = "TURN needs `username` and `credential` of A–Z a–z 0–9 + / = : _ - . @, or `secret`";
            return wrong(key("username"), wanted);
        }
        _ => return wrong(key("username"), "STUN needs no credentials"),
    };
    Ok(IceServer { url: entry.url.clone(), access })
}

fn policies(file: &File) -> Result<Policies, ConfigError> {
    let most = |viewers: usize| (viewers > 0).then_some(viewers);
    let streams = &file.streams;
    let default = StreamPolicy {
        idle: streams.idle,
        watch: streams.watch,
        max_viewers: most(streams.max_viewers),
        presenters: presenters(streams.presenters),
        grace: grace("streams.grace", streams.grace)?,
        slate: streams.slate,
        ..StreamPolicy::default()
    };
    let mut policies =
        Policies { default: default.clone(), provisioned_only: streams.provisioned_only, ..Policies::default() };
    policies.whole_offers = streams.whole_offers;
    for (name, own) in &file.stream {
        let Ok(stream) = name.parse::<StreamName>() else {
            return wrong(format!("stream.{name}"), "a stream name is 1–64 of A–Z a–z 0–9 _ -");
        };
        let policy = StreamPolicy {
            idle: own.idle.unwrap_or(default.idle),
            watch: own.watch.unwrap_or(default.watch),
            max_viewers: own.max_viewers.map_or(default.max_viewers, most),
            presenters: own_presenters(name, own, &default)?,
            back_after: own
                .back_after
                .map_or(Ok(default.back_after), |span| grace(&format!("stream.{name}.back_after"), span))?,
            grace: own.grace.map_or(Ok(default.grace), |span| grace(&format!("stream.{name}.grace"), span))?,
            slate: own.slate.unwrap_or(default.slate),
        };
        policies.named.insert(stream, policy);
    }
    Ok(policies)
}

fn presenters(policy: SeatPolicy) -> Presenters {
    match policy {
        SeatPolicy::Takeover => Presenters::Takeover,
        SeatPolicy::Reject => Presenters::Reject,
    }
}

/// Who presents on one stream: a list of backups says more than a word.
fn own_presenters(name: &str, own: &StreamOverride, default: &StreamPolicy) -> Result<Presenters, ConfigError> {
    let key = format!("stream.{name}.backups");
    let distinct: std::collections::BTreeSet<&String> = own.backups.iter().collect();
    match (own.backups.len(), own.presenters) {
        (0, None) => Ok(default.presenters.clone()),
        (0, Some(policy)) => Ok(presenters(policy)),
        (1, _) => wrong(key, "a backup needs two presenters or more, the first one first"),
        (count, _) if count > MOST_BACKUPS => wrong(key, format!("{count} presenters, more than {MOST_BACKUPS}")),
        (_, Some(_)) => wrong(key, "a stream has either `presenters` or `backups`"),
        (count, None) if distinct.len() < count => wrong(key, "a presenter is named twice"),
        (_, None) => Ok(Presenters::Backup(own.backups.clone().into())),
    }
}

/// The `number`th of `[[tokens]]`. No message repeats anything of the token.
fn static_token(number: usize, entry: &TokenEntry) -> Result<StaticToken, ConfigError> {
    let key = |name: &str| format!("tokens[{number}].{name}");
    let sha256 = match (entry.token.as_str(), entry.token_sha256.as_str()) {
        ("", "") => return wrong(key("token"), "a token needs `token` or `token_sha256`"),
        (token, "") if token.len() < SHORTEST_TOKEN || !tokens::is_well_formed(token) => {
            return wrong(key("token"), "a token is 16–4096 of A–Z a–z 0–9 - . _ ~ + /, maybe with = at the end");
        }
        (token, "") => tokens::sha256(token),
        ("", hex) => match hash(hex) {
            Some(hash) => hash,
            None => return wrong(key("token_sha256"), "a SHA-256 is 64 hex digits"),
        },
        _ => {
            return wrong(key("token"), "a token has `token` or `token_sha256`, not both");
        }
    };
    let Some(right) = entry.right else {
        return wrong(key("right"), "a token has a right: publish, watch or admin");
    };
    let stream = match (entry.stream.as_str(), right) {
        ("", Right::Admin) => None,
        ("", Right::Publish | Right::Watch) => {
            return wrong(key("stream"), "only an admin's token is for all streams");
        }
        (name, _) => match name.parse() {
            Ok(stream) => Some(stream),
            Err(bad) => return wrong(key("stream"), format!("{bad}")),
        },
    };
    let subject = if entry.subject.is_empty() { subject(right, stream.as_ref()) } else { entry.subject.clone() };
    Ok(StaticToken { sha256, identity: Identity { subject, stream, right } })
}

/// Whose a token is if nobody says: whoever publishes on this stream, watches it, or runs the server.
pub fn subject(right: Right, stream: Option<&StreamName>) -> String {
    match (right, stream) {
        (Right::Publish, Some(stream)) => format!("publisher:{stream}"),
        (Right::Watch, Some(stream)) => format!("viewer:{stream}"),
        (Right::Admin, _) | (_, None) => "admin".to_owned(),
    }
}

fn hash(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = hex.bytes().all(|c| c.is_ascii_hexdigit());
    if hex.len() != 64 || !digits {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn within(key: &str, value: usize, least: usize, most: usize) -> Result<usize, ConfigError> {
    if (least..=most).contains(&value) { Ok(value) } else { wrong(key, format!("{value} is not in {least}–{most}")) }
}

/// A deadline: long enough for a bad link, short enough that idlers do not gather.
fn patience(key: &str, Span(value): Span) -> Result<Duration, ConfigError> {
    let good = (Duration::from_secs(1)..=Duration::from_mins(10)).contains(&value);
    if good { Ok(value) } else { wrong(key, format!("{} is not in 1s–10m", Span(value))) }
}

/// A time to wait for somebody: none at all, or at most a day.
fn grace(key: &str, Span(value): Span) -> Result<Duration, ConfigError> {
    if value <= Duration::from_hours(24) { Ok(value) } else { wrong(key, format!("{} is not in 0s–1d", Span(value))) }
}

/// Presenters of one stream that stand by.
const MOST_BACKUPS: usize = 8;
/// At least; a session that has ended keeps its place for 5 s, and a whole audience may change in that time.
const PLACES_OF_THE_LEAVING: usize = 1024;
/// For the answer.
const AFTER_THE_BODY: Duration = Duration::from_secs(5);
/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

#[cfg(test)]
mod tests;
