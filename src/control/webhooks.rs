//! Webhooks: what happens, POSTed to whoever wants it. Signed (Standard Webhooks), tried again, bounded.
//!
//! What stands here decides what is sent to whom and when; it does no I/O. Each receiver has its own queue, so a slow one
//! disturbs nobody.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Control;
use super::ids;
use super::journal::News;
use super::stream::StreamName;
use super::wall;
use crate::client::Url;

mod kind;
mod queue;
mod signature;

pub use kind::{Kind, Kinds, UnknownKind};
pub use queue::{Change, Counts, Outcome, Pace, Turn};
pub use signature::Secret;

use queue::Queue;

/// Settings of one webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where events are POSTed to.
    pub url: Url,
    /// What they are signed with.
    pub secret: Secret,
    /// Which are wanted.
    pub kinds: Kinds,
    /// Of these streams only, and what is of no stream; of all when there are none.
    pub streams: Vec<StreamName>,
    /// For an attempt: connection, request and the head of the answer.
    pub timeout: Duration,
}

impl fmt::Debug for Hook {
    /// Of the URL only what is no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({}, {:?} of {:?})", self.url.origin(), self.kinds, self.streams)
    }
}

impl Hook {
    fn wants(&self, kind: Kind, stream: Option<&StreamName>) -> bool {
        let of_it = |stream| self.streams.is_empty() || self.streams.contains(stream);
        self.kinds.contain(kind) && stream.is_none_or(of_it)
    }
}

/// An event on its way.
#[derive(Debug)]
pub struct Message {
    /// Its name, the same in all attempts and for all receivers.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

impl Message {
    /// An event that has happened at that time.
    fn new(kind: Kind, stream: Option<&StreamName>, data: &Value, at: SystemTime) -> Arc<Self> {
        let id = format!("msg_{}", ids::hex(&ids::random::<16>()));
        let event = json!({
            "id": id,
            "type": kind.word(),
            "time": wall::rfc3339(at),
            "stream": stream.map(StreamName::as_str),
            "data": data,
        });
        Arc::new(Self { id, body: Bytes::from(event.to_string()) })
    }

    /// An event that says nothing, to try whether it arrives.
    pub fn test() -> Arc<Self> {
        Self::new(Kind::Test, None, &json!({}), SystemTime::now())
    }
}

/// All webhooks. One per process, shared.
#[derive(Debug, Default)]
pub struct Webhooks {
    lines: Vec<Arc<Line>>,
}

impl Webhooks {
    /// Nothing has happened yet.
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(hooks: Vec<Hook>, pace: Pace, registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let meters = Arc::new(Meters::register(registry)?);
        let line = |(number, hook)| {
            let queue = Mutex::new(Queue::new(pace));
            let line = Line { number, hook, queue, bell: Notify::new(), meters: Arc::clone(&meters) };
            line.meters.show(number, &line.queue());
            Arc::new(line)
        };
        Ok(Arc::new(Self { lines: (1..).zip(hooks).map(line).collect() }))
    }

    /// One for each, by number.
    pub fn lines(&self) -> &[Arc<Line>] {
        &self.lines
    }

    /// Tells those who want it. Never waits.
    pub(super) fn tell(&self, stream: Option<&StreamName>, news: &News<'_>, at: SystemTime) {
        let Some(kind) = Kind::of(news) else {
            return;
        };
        let mut wanting = self.lines.iter().filter(|line| line.hook.wants(kind, stream)).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let message = Message::new(kind, stream, &news.data(), at);
        wanting.for_each(|line| line.push(&message));
    }

    /// The process ends: what waits is tried once more, at once.
    pub fn close(&self) {
        for line in &self.lines {
            line.queue().close();
            line.bell.notify_one();
        }
    }
}

/// What goes to one receiver. Whoever sends takes turns here.
#[derive(Debug)]
pub struct Line {
    /// Its place in the configuration, from 1.
    pub number: usize,
    /// Its settings.
    pub hook: Hook,
    queue: Mutex<Queue>,
    /// Rings when there is something new to do.
    bell: Notify,
    meters: Arc<Meters>,
}

impl Line {
    /// What to do now.
    pub fn turn(&self, now: Instant) -> Turn {
        self.queue().turn(now)
    }

    /// Waits until there may be something else to do than the last [`Self::turn`] said. For one waiter.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes in how the attempt has ended that the last [`Self::turn`] asked for.
    pub fn answered(&self, outcome: Outcome, now: Instant) -> Change {
        let mut queue = self.queue();
        let change = queue.answered(outcome, now, u64::from_be_bytes(ids::random()));
        self.meters.show(self.number, &queue);
        change
    }

    /// How it is.
    pub fn status(&self) -> LineStatus {
        let queue = self.queue();
        LineStatus {
            waiting: queue.len(),
            counts: queue.counts,
            trouble: queue.trouble.clone(),
            stopped: queue.stopped,
        }
    }

    fn push(&self, message: &Arc<Message>) {
        let mut queue = self.queue();
        queue.push(Arc::clone(message));
        self.meters.show(self.number, &queue);
        self.bell.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is complete before anything in it can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineStatus {
    /// Events that are not told yet.
    pub waiting: usize,
    /// What became of the others.
    pub counts: Counts,
    /// Why the last attempt failed, if it did.
    pub trouble: Option<String>,
    /// Its receiver wants nothing any more.
    pub stopped: bool,
}

impl Control {
    /// Tells these webhooks from now on. Called once.
    pub fn tell_webhooks(&self, webhooks: Arc<Webhooks>) {
        // A second set of them is not told.
        let _ = self.records.journal.webhooks.set(webhooks);
    }

    /// The webhooks that are told; none when there are none.
    pub fn webhooks(&self) -> &[Arc<Line>] {
        self.records.journal.webhooks.get().map(|webhooks| webhooks.lines()).unwrap_or_default()
    }
}

/// What is counted of webhooks, by their numbers: a URL may be a secret.
#[derive(Debug)]
struct Meters {
    events: IntCounterVec,
    retries: IntCounterVec,
    waiting: IntGaugeVec,
}

impl Meters {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let events = Opts::new("tribune_webhook_events_total", "Events for webhooks, by what became of them.");
        let retries = Opts::new("tribune_webhook_retries_total", "Attempts that failed and are repeated.");
        let waiting = Opts::new("tribune_webhook_events_waiting", "Events that are not told yet.");
        let meters = Self {
            events: IntCounterVec::new(events, &["webhook", "result"])?,
            retries: IntCounterVec::new(retries, &["webhook"])?,
            waiting: IntGaugeVec::new(waiting, &["webhook"])?,
        };
        registry.register(Box::new(meters.events.clone()))?;
        registry.register(Box::new(meters.retries.clone()))?;
        registry.register(Box::new(meters.waiting.clone()))?;
        Ok(meters)
    }

    fn show(&self, number: usize, queue: &Queue) {
        let (number, counts) = (number.to_string(), queue.counts);
        for (result, count) in [("sent", counts.sent), ("failed", counts.failed), ("dropped", counts.dropped)] {
            let shown = self.events.with_label_values(&[&number, result]);
            shown.inc_by(count.saturating_sub(shown.get()));
        }
        let shown = self.retries.with_label_values(&[&number]);
        shown.inc_by(counts.retried.saturating_sub(shown.get()));
        self.waiting.with_label_values(&[&number]).set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
