//! A `text/event-stream` as it arrives (WHATWG HTML §9.2).

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::{BODY_LIMIT, Exchange, Http, NoAnswer, Request, Response, build, fields, patiently};

/// One block of lines up to a blank one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The `event` field.
    pub(crate) event: Option<String>,
    /// Every `data` line.
    pub(crate) data: Vec<String>,
    /// The `id` field.
    pub(crate) id: Option<String>,
    /// True when there was a `retry` field.
    pub(crate) retry: bool,
    /// True when there was a comment; keep-alives are blocks of just that.
    pub(crate) comment: bool,
}

/// What came next on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A block.
    Message(Message),
    /// Nothing in the time given.
    Silence,
    /// The server ended the stream.
    End,
}

/// An open event stream. Dropping it closes the connection.
pub(crate) struct EventStream {
    body: Incoming,
    text: Vec<u8>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Http {
    /// Sends a GET and gives its head with the body still running. A response that is no event stream is read as usual.
    ///
    /// # Errors
    /// [`NoAnswer`] when no head came.
    pub(crate) async fn listen(&self, request: Request) -> Result<(Exchange, Option<EventStream>), NoAnswer> {
        let start = Instant::now();
        let stream = self.connect(&request.url).await?;
        let (mut sender, connection) = patiently(hyper::client::conn::http1::handshake(TokioIo::new(stream))).await?;
        let driver = tokio::spawn(async move {
            let _how_it_ended = connection.await;
        });
        let message = build(&request)?.map(|_| Empty::<Bytes>::new());
        let (head, body) = patiently(sender.send_request(message)).await?.into_parts();
        let mut response = Response {
            status: head.status.as_u16(),
            headers: fields(&head.headers),
            body: Vec::new(),
            took: start.elapsed(),
            continued: false,
        };
        if response.status == 200 && response.media_type().as_deref() == Some("text/event-stream") {
            let events = EventStream { body, text: Vec::new(), driver };
            return Ok((Exchange { request, response }, Some(events)));
        }
        let rest = http_body_util::Limited::new(body, BODY_LIMIT).collect();
        // Another endless body is no event stream either; what counts is the head.
        if let Ok(Ok(rest)) = tokio::time::timeout(Duration::from_secs(1), rest).await {
            response.body = rest.to_bytes().to_vec();
        }
        driver.abort();
        Ok((Exchange { request, response }, None))
    }
}

impl EventStream {
    /// The next block, comments included.
    pub(crate) async fn next(&mut self, patience: Duration) -> Heard {
        let deadline = Instant::now() + patience;
        match timeout_at(deadline, self.block()).await {
            Err(_) => Heard::Silence,
            Ok(Some(block)) => Heard::Message(Message::parse(&block)),
            Ok(None) => Heard::End,
        }
    }

    /// The next block as it came, without the blank line behind it; `None` at the end. What is read when this is given
    /// up is not lost.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(block) = self.take_block() {
                return Some(block);
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.text.extend_from_slice(&data);
            }
            if self.text.len() > BODY_LIMIT {
                return None;
            }
        }
    }

    /// Waits for an event of that type; gives it and all that came before it.
    pub(crate) async fn until(&mut self, event: &str, patience: Duration) -> (Option<Message>, Vec<Message>) {
        let deadline = Instant::now() + patience;
        let mut before = Vec::new();
        while let Heard::Message(message) = self.next(deadline.saturating_duration_since(Instant::now())).await {
            if message.event.as_deref() == Some(event) {
                return (Some(message), before);
            }
            before.push(message);
        }
        (None, before)
    }

    /// True when the server ends the stream within that time, whatever it says before.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await {
                Heard::Message(_) => {}
                Heard::Silence => return false,
                Heard::End => return true,
            }
        }
    }

    /// Cuts the first complete block off what was received.
    fn take_block(&mut self) -> Option<String> {
        let (end, skip) = (1..self.text.len()).find_map(|at| match self.text.get(..=at)? {
            [.., b'\n', b'\n'] => Some((at, at + 1)),
            [.., b'\n', b'\r', b'\n'] => Some((at - 1, at + 1)),
            _ => None,
        })?;
        let block: Vec<u8> = self.text.drain(..skip).collect();
        Some(String::from_utf8_lossy(block.get(..end).unwrap_or_default()).into_owned())
    }
}

impl Message {
    /// Reads the lines of a block.
    fn parse(block: &str) -> Self {
        let mut message = Self::default();
        for line in block.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" if line.starts_with(':') => message.comment = true,
                "event" => message.event = Some(value.to_owned()),
                "data" => message.data.push(value.to_owned()),
                "id" => message.id = Some(value.to_owned()),
                "retry" => message.retry = value.parse::<u32>().is_ok(),
                _ => {}
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_field_by_field() {
        let message =
            Message::parse("event: viewercount\r\ndata:{\"viewercount\":3}\r\nid: 7\r\nretry: 2000\r\n: hello");

        assert_eq!(message.event.as_deref(), Some("viewercount"));
        assert_eq!(message.data, ["{\"viewercount\":3}"]);
        assert_eq!((message.id.as_deref(), message.retry, message.comment), (Some("7"), true, true));
        assert_eq!(Message::parse("data: a\ndata: b").data.len(), 2);
    }
}
