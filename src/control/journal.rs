//! What is told to those who run the show, as it happens. Bounded: a reader that is too slow is told that it missed some.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::Control;
use super::alarms::Change;
use super::links::Link;
use super::records::{ShortId, Stage, role_word};
use super::stream::StreamName;
use super::wall;
use super::webhooks::Webhooks;
use crate::media::{CloseReason, Role, SessionId};

/// What a piece of news is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A stream is live, in its grace time, or idle.
    Stream,
    /// How many watch; at most once a second.
    Viewers,
    /// An alarm is raised or over.
    Alarm,
    /// A session began, is connected, has ended.
    Session,
    /// A link was made or revoked.
    Link,
    /// A broadcast is over and its report is there.
    Report,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Stream, Self::Viewers, Self::Alarm, Self::Session, Self::Link, Self::Report];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Viewers => "viewers",
            Self::Alarm => "alarm",
            Self::Session => "session",
            Self::Link => "link",
            Self::Report => "report",
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum News<'a> {
    /// A stream is so far now; who presents on it.
    Stream(Stage, Option<SessionId>),
    /// So many watch.
    Viewers(usize),
    /// An alarm is raised or over.
    Alarm(&'a Change),
    /// How far a session is.
    Session(SessionId, Role, Progress),
    /// A link was made, or has been revoked.
    Link(&'a Link),
    /// There is a report by this name, and it will not change any more.
    Report(&'a str),
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It was made.
    Connecting,
    /// Keys are agreed.
    Connected,
    /// It is over.
    Ended(CloseReason),
}

impl Progress {
    /// A fixed word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Ended(_) => "ended",
        }
    }
}

impl News<'_> {
    /// What it is about.
    pub(super) fn topic(&self) -> Topic {
        match self {
            Self::Stream(..) => Topic::Stream,
            Self::Viewers(_) => Topic::Viewers,
            Self::Alarm(_) => Topic::Alarm,
            Self::Session(..) => Topic::Session,
            Self::Link(_) => Topic::Link,
            Self::Report(_) => Topic::Report,
        }
    }

    /// All of it but when and of which stream: an object.
    pub(super) fn data(&self) -> Value {
        match self {
            Self::Stream(stage, presenter) => {
                json!({ "state": stage.word(), "presenter": presenter.map(|id| ShortId::of(id).to_string()) })
            }
            Self::Viewers(watching) => json!({ "now": watching }),
            Self::Alarm(Change { alarm, on }) => {
                json!({ "kind": alarm.kind.word(), "on": on, "detail": alarm.detail })
            }
            Self::Session(id, role, progress) => {
                let id = ShortId::of(*id).to_string();
                let mut data = json!({ "id": id, "role": role_word(*role), "state": progress.word() });
                if let Progress::Ended(reason) = progress {
                    data["reason"] = reason.word().into();
                }
                data
            }
            Self::Link(link) => {
                json!({ "id": link.id, "right": link.right, "state": if link.revoked { "revoked" } else { "made" } })
            }
            Self::Report(id) => json!({ "id": id }),
        }
    }
}

/// A piece of news.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is about.
    pub topic: Topic,
    /// The stream that it is about, if it is about one.
    pub stream: Option<StreamName>,
    /// All of it: an object with `at` and, where there is one, `stream`.
    pub data: Value,
}

/// Where news are told and read.
#[derive(Debug)]
pub(super) struct Journal {
    readers: broadcast::Sender<Arc<Entry>>,
    pub(super) webhooks: OnceLock<Arc<Webhooks>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { readers: broadcast::Sender::new(CAPACITY), webhooks: OnceLock::new() }
    }
}

impl Journal {
    /// Tells all readers and the webhooks. Never waits.
    pub(super) fn tell(&self, stream: Option<&StreamName>, news: &News<'_>) {
        let now = SystemTime::now();
        if let Some(webhooks) = self.webhooks.get() {
            webhooks.tell(stream, news, now);
        }
        if self.readers.receiver_count() == 0 {
            return;
        }
        let mut data = news.data();
        data["at"] = wall::rfc3339(now).into();
        if let Some(stream) = stream {
            data["stream"] = stream.as_str().into();
        }
        // Nobody may have left in the meantime.
        let _ = self.readers.send(Arc::new(Entry { topic: news.topic(), stream: stream.cloned(), data }));
    }
}

/// A reader got too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

/// Reads the news, of all streams or of one.
#[derive(Debug)]
pub struct JournalReader {
    entries: broadcast::Receiver<Arc<Entry>>,
    stream: Option<StreamName>,
}

impl JournalReader {
    /// The next piece; `None` when the server ends. May be dropped while it waits; nothing is lost then.
    /// # Errors
    /// `Missed` when some are gone that were not read.
    pub async fn next(&mut self) -> Option<Result<Arc<Entry>, Missed>> {
        loop {
            match self.entries.recv().await {
                Ok(entry) if self.stream.is_some() && entry.stream != self.stream => {}
                Ok(entry) => return Some(Ok(entry)),
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(Err(Missed)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Control {
    /// Reads the news from now on, of all streams or of one.
    pub fn journal(&self, stream: Option<StreamName>) -> JournalReader {
        JournalReader { entries: self.records.journal.readers.subscribe(), stream }
    }
}

/// Entries that a reader may be behind; about 300 bytes each.
const CAPACITY: usize = 1_024;
