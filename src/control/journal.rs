//! What is told to those who run the show, as it happens. Bounded: a reader that is too slow is told that it missed some.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::Control;
use super::alarms::Change;
use super::stream::StreamName;
use super::wall;

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
pub(super) struct Journal(broadcast::Sender<Arc<Entry>>);

impl Default for Journal {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Journal {
    /// Tells all readers. `data` is an object.
    pub(super) fn tell(&self, topic: Topic, stream: Option<&StreamName>, mut data: Value) {
        if self.0.receiver_count() == 0 {
            return;
        }
        data["at"] = wall::rfc3339(std::time::SystemTime::now()).into();
        if let Some(stream) = stream {
            data["stream"] = stream.as_str().into();
        }
        // Nobody may have left in the meantime.
        let _ = self.0.send(Arc::new(Entry { topic, stream: stream.cloned(), data }));
    }

    /// Tells of an alarm.
    pub(super) fn alarm(&self, stream: &StreamName, change: &Change) {
        let data = json!({ "kind": change.alarm.kind.word(), "on": change.on, "detail": change.alarm.detail });
        self.tell(Topic::Alarm, Some(stream), data);
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
        JournalReader { entries: self.records.journal.0.subscribe(), stream }
    }
}

/// Entries that a reader may be behind; about 300 bytes each.
const CAPACITY: usize = 1_024;
