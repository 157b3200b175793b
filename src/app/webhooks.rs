//! Sends what the webhooks wait for: one task for each, so that none waits for another.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::client::{AskError, EndpointError, Receipt, Receiver};
use crate::control::webhooks::{Change, Hook, Line, Message, Outcome, Turn, Webhooks};

/// Those who send. Dropping it ends them.
pub struct Senders {
    webhooks: Arc<Webhooks>,
    tasks: JoinSet<()>,
}

impl Senders {
    /// Begins to send; to be called on a runtime.
    /// # Errors
    /// `Tls` when the library refuses.
    pub fn start(webhooks: Arc<Webhooks>) -> Result<Self, EndpointError> {
        let mut tasks = JoinSet::new();
        for line in webhooks.lines() {
            let receiver = Receiver::new(line.hook.url.clone())?;
            tasks.spawn(send(Arc::clone(line), receiver));
        }
        Ok(Self { webhooks, tasks })
    }

    /// Tries everything once more that waits, for so long at most.
    pub async fn finish(mut self, within: Duration) {
        self.webhooks.close();
        let _ = timeout(within, async { while self.tasks.join_next().await.is_some() {} }).await;
        for line in self.webhooks.lines() {
            let waiting = line.status().waiting;
            if waiting > 0 {
                tracing::warn!(
                    webhook = line.number,
                    events = waiting,
                    "a webhook could not be told everything in time"
                );
            }
        }
    }
}

/// Sends to one receiver until there will never be anything again.
async fn send(line: Arc<Line>, receiver: Receiver) {
    loop {
        match line.turn(Instant::now()) {
            Turn::Send(message) => {
                let outcome = match attempt(&line.hook, &receiver, &message).await {
                    Ok(receipt) => Outcome::of_status(receipt.status, receipt.retry_after),
                    Err(error) => Outcome::Unwell { why: error.to_string(), retry_after: None },
                };
                tell(&line, line.answered(outcome, Instant::now()));
            }
            Turn::Wait(due) => tokio::select! {
                () = sleep_until(due.into()) => {}
                () = line.rung() => {}
            },
            Turn::Idle => line.rung().await,
            Turn::Over => return,
        }
    }
}

/// One line when it begins to fail and one when it is well again, not one for each attempt. Without the path of the URL,
/// which may be a secret.
fn tell(line: &Line, change: Change) {
    let (webhook, origin) = (line.number, line.hook.url.origin());
    match change {
        Change::None => {}
        Change::Fails(error) => tracing::warn!(webhook, origin, error, "a webhook fails, and is tried again"),
        Change::Well => tracing::info!(webhook, origin, "the webhook is well again"),
        Change::Stopped => {
            tracing::warn!(webhook, origin, "the webhook's receiver is gone (HTTP 410); it is told no more");
        }
    }
}

/// Sends one event once, signed as it is sent now.
async fn attempt(hook: &Hook, receiver: &Receiver, message: &Message) -> Result<Receipt, AskError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (timestamp, signature) = (now.to_string(), hook.secret.sign(&message.id, now, &message.body));
    // Standard Webhooks 1.0.
    let headers =
        [("webhook-id", message.id.as_str()), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)];
    receiver.post(&headers, message.body.clone(), hook.timeout).await
}

/// What a test event has led to.
#[derive(Debug)]
pub struct Tried {
    /// The webhook's place in the configuration, from 1.
    pub number: usize,
    /// Where it leads to, without the path.
    pub origin: String,
    /// The receiver's answer.
    pub result: Result<Receipt, AskError>,
    /// From the beginning to the head of the answer, and what was read of its body.
    pub took: Duration,
}

impl Tried {
    /// Has the receiver taken it?
    pub fn is_good(&self) -> bool {
        self.result.as_ref().is_ok_and(|receipt| (200..300).contains(&receipt.status))
    }
}

/// Sends a test event to each of these, once and one after the other.
/// # Errors
/// `Tls` when the library refuses.
pub async fn try_all(hooks: &[Hook]) -> Result<Vec<Tried>, EndpointError> {
    let mut tried = Vec::new();
    for (number, hook) in (1..).zip(hooks) {
        let (receiver, began) = (Receiver::new(hook.url.clone())?, Instant::now());
        let result = attempt(hook, &receiver, &Message::test()).await;
        tried.push(Tried { number, origin: hook.url.origin(), result, took: began.elapsed() });
    }
    Ok(tried)
}
