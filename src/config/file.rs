//! What the configuration file, the environment and the command line can say: every key, its type and its default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use crate::control::EtagPolicy;
use crate::control::auth::Right;
use crate::control::counter::CounterPolicy;
use crate::control::stream::{IdlePolicy, Slate, WatchPolicy};

use super::duration::Span;
use super::{ConfigError, Source};

/// The whole configuration as written. Text that is not set is empty, a number that is not set is 0: so every key has a
/// default that can be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) http: Http,
    pub(super) media: Media,
    pub(super) streams: Streams,
    pub(super) stream: BTreeMap<String, StreamOverride>,
    pub(super) state: State,
    pub(super) log: Log,
    pub(super) tokens: Vec<TokenEntry>,
    pub(super) ice_servers: Vec<IceServerEntry>,
    pub(super) webhooks: Vec<WebhookEntry>,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    #[serde(deserialize_with = "address")]
    pub(super) listen: SocketAddr,
    pub(super) tls: TlsMode,
    pub(super) tls_cert: String,
    pub(super) tls_key: String,
    pub(super) public_url: String,
    pub(super) web_dir: String,
    #[serde(deserialize_with = "ips")]
    pub(super) trusted_proxies: Vec<IpAddr>,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: usize,
    pub(super) header_timeout: Span,
    pub(super) body_timeout: Span,
    pub(super) etag_policy: EtagPolicy,
    pub(super) whep_counter_offer: CounterPolicy,
    pub(super) redirect_to: Vec<String>,
    pub(super) frame_ancestors: Vec<String>,
}

/// `http.tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TlsMode {
    Off,
    SelfSigned,
    Files,
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Media {
    #[serde(deserialize_with = "address")]
    pub(super) listen: SocketAddr,
    #[serde(deserialize_with = "ips")]
    pub(super) public_addresses: Vec<IpAddr>,
    pub(super) workers: usize,
    pub(super) max_sessions: usize,
    pub(super) max_unconnected_per_address: usize,
    pub(super) gop_cache: bool,
    pub(super) gop_bytes: usize,
    pub(super) gop_packets: usize,
    pub(super) gop_age: Span,
    pub(super) gop_total_bytes: usize,
}

/// `[streams]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Streams {
    pub(super) idle: IdlePolicy,
    pub(super) watch: WatchPolicy,
    pub(super) max_viewers: usize,
    pub(super) presenters: SeatPolicy,
    pub(super) grace: Span,
    pub(super) slate: Slate,
    pub(super) provisioned_only: bool,
    pub(super) whole_offers: bool,
}

/// `streams.presenters`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SeatPolicy {
    #[default]
    Takeover,
    Reject,
}

/// `[stream.NAME]`: what is not said is as in `[streams]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StreamOverride {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle: Option<IdlePolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) watch: Option<WatchPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_viewers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) presenters: Option<SeatPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grace: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slate: Option<Slate>,
    pub(super) backups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) back_after: Option<Span>,
}

/// `[state]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    pub(super) dir: String,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: LogFormat,
    pub(super) level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// We coped.
    Warn,
    /// A session's life.
    #[default]
    Info,
    /// Protocol steps.
    Debug,
    /// Everything.
    Trace,
}

/// One of `[[tokens]]`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TokenEntry {
    pub(super) token: String,
    pub(super) token_sha256: String,
    pub(super) stream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) right: Option<Right>,
    pub(super) subject: String,
}

impl fmt::Debug for TokenEntry {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenEntry({:?} on {:?})", self.right, self.stream)
    }
}

/// One of `[[ice_servers]]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IceServerEntry {
    pub(super) url: String,
    pub(super) username: String,
    pub(super) credential: String,
    pub(super) secret: String,
    pub(super) lifetime: Span,
}

impl Default for IceServerEntry {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            credential: String::new(),
            secret: String::new(),
            lifetime: Span(std::time::Duration::from_hours(12)),
        }
    }
}

impl fmt::Debug for IceServerEntry {
    /// Leaves what is secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceServerEntry({})", self.url)
    }
}

/// One of `[[webhooks]]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebhookEntry {
    pub(super) url: String,
    pub(super) secret: String,
    pub(super) secret_file: String,
    pub(super) events: Vec<String>,
    pub(super) streams: Vec<String>,
    pub(super) timeout: Span,
}

impl Default for WebhookEntry {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: String::new(),
            secret_file: String::new(),
            events: ["stream", "alarm", "report"].map(str::to_owned).to_vec(),
            streams: Vec::new(),
            timeout: Span(std::time::Duration::from_secs(10)),
        }
    }
}

impl fmt::Debug for WebhookEntry {
    /// Leaves out what may be secret, the URL among it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookEntry({:?} of {:?})", self.events, self.streams)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)),
            tls: TlsMode::Off,
            tls_cert: String::new(),
            tls_key: String::new(),
            public_url: String::new(),
            web_dir: String::new(),
            trusted_proxies: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            max_connections: 4_096,
            max_connections_per_address: 500,
            header_timeout: Span(std::time::Duration::from_secs(5)),
            body_timeout: Span(std::time::Duration::from_secs(10)),
            etag_policy: EtagPolicy::Lenient,
            whep_counter_offer: CounterPolicy::Off,
            redirect_to: Vec::new(),
            frame_ancestors: vec!["*".to_owned()],
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            idle: IdlePolicy::default(),
            watch: WatchPolicy::default(),
            max_viewers: 0,
            presenters: SeatPolicy::default(),
            grace: Span(std::time::Duration::from_mins(1)),
            slate: Slate::default(),
            provisioned_only: false,
            whole_offers: true,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)),
            public_addresses: Vec::new(),
            workers: 0,
            max_sessions: 10_000,
            max_unconnected_per_address: 500,
            gop_cache: true,
            gop_bytes: 8_388_608,
            gop_packets: 8_192,
            gop_age: Span(std::time::Duration::from_secs(20)),
            gop_total_bytes: 268_435_456,
        }
    }
}

impl File {
    /// Reads a file's text.
    /// # Errors
    /// When it is not TOML, a key is unknown or a value is not of its key's type; with the line.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let (line, key) = error.span().map_or((1, String::new()), |span| place(text, span.start));
            let found = told(&key, &error);
            let key = if key.is_empty() { key } else { format!("{key}: ") };
            ConfigError::File { path: path.to_owned(), line, message: format!("{key}{found}") }
        })
    }

    /// Every key that can be set by one variable or flag: `http.listen`, …, `tokens`, `stream`.
    pub(super) fn keys() -> Vec<String> {
        let mut keys = Vec::new();
        for (section, value) in &Self::default().table() {
            match value {
                Value::Table(inner) if !inner.is_empty() => {
                    keys.extend(inner.keys().map(|key| format!("{section}.{key}")));
                }
                _ => keys.push(section.clone()),
            }
        }
        keys
    }

    /// Sets one key from text: as it is for text, `a, b` for lists, TOML for tables.
    /// # Errors
    /// When there is no such key or the text is not a value of its type.
    pub(super) fn set(&mut self, by: &Source, key: &str, text: &str) -> Result<(), ConfigError> {
        let wrong = |message: String| ConfigError::Setting { by: by.clone(), message };
        let mut table = self.table();
        let slot = match key.split_once('.') {
            Some((section, key)) => table.get_mut(section).and_then(|section| section.get_mut(key)),
            None => table.get_mut(key),
        };
        let slot = slot.ok_or_else(|| wrong(format!("there is no setting {key}")))?;
        *slot = match slot {
            Value::String(_) => Value::String(text.to_owned()),
            Value::Integer(_) => Value::Integer(text.parse().map_err(|_| wrong(format!("{text:?} is not a number")))?),
            Value::Boolean(_) => {
                Value::Boolean(text.parse().map_err(|_| wrong(format!("{text:?} is not true or false")))?)
            }
            Value::Array(_) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            // What is wrong in there may be a token, so it is not repeated.
            _ => inline(text).ok_or_else(|| wrong("not a TOML value".to_owned()))?,
        };
        *self = table.try_into().map_err(|error: toml::de::Error| wrong(told(key, &error)))?;
        Ok(())
    }

    fn table(&self) -> Table {
        Table::try_from(self).expect("sections of text, numbers and lists are always a TOML table")
    }
}

/// What is wrong, in one line. Of what stands where a token could be, nothing is repeated.
fn told(key: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().next().unwrap_or_default();
    let wanted = message.split_once(", expected ");
    match wanted {
        Some((_, wanted))
            if ["tokens", "ice_servers", "webhooks"].iter().any(|secret| key.starts_with(secret))
                && !message.starts_with("unknown field") =>
        {
            format!("not what it should be, expected {wanted}")
        }
        _ => message.to_owned(),
    }
}

/// A TOML value on its own.
fn inline(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// Line, from 1, and key of a place in a file.
fn place(text: &str, offset: usize) -> (usize, String) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count();
    let section = text
        .lines()
        .take(line + 1)
        .map(str::trim_start)
        .filter(|line| line.starts_with('['))
        .last()
        .unwrap_or_default();
    let section = section.trim_start_matches('[').split(']').next().unwrap_or_default();
    let here = text.lines().nth(line).unwrap_or_default();
    let key = here.split_once('=').map_or("", |(key, _)| key.trim());
    let key = if key.is_empty() || section.is_empty() { format!("{section}{key}") } else { format!("{section}.{key}") };
    (line + 1, key)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || format!("{text:?} is not an address and a port, like [::]:8080 or 127.0.0.1:8080");
    text.parse().map_err(|_| serde::de::Error::custom(wrong()))
}

fn ips<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let wrong = |text: &str| serde::de::Error::custom(format!("{text:?} is not an IP address"));
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| text.parse().map_err(|_| wrong(text))).collect()
}
