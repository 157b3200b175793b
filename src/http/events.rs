//! `/session/{id}/events`: what a viewer is told while it watches (WHEP core extensions, server-sent events; HTML §9.2).
//!
//! POST makes an event stream of chosen kinds at a URL of its own; GET on the entry itself opens one with all kinds, for
//! players that give its address to an `EventSource` as it is. `EventSource` cannot send credentials, so the URLs, which
//! nobody can guess, are enough. As everywhere in a session, credentials that are sent must be right.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::time::timeout;

use crate::control::events::{Event, EventKind, EventKinds, EventStreamId, News, Reader};
use crate::control::limits::{Action, Key};
use crate::media::SessionId;

use super::body::{self, Body};
use super::layers::{JSON, list};
use super::places::{NoPlace, Place};
use super::problem::Problem;
use super::service::{App, empty};
use super::session::authorise;

/// Says on a new session where its events are, behind `base` like its `Location`.
pub(super) fn link(headers: &mut HeaderMap, base: &str, session: SessionId) {
    let kinds = EventKind::ALL.map(EventKind::word).join(",");
    let link = format!("<{base}/session/{session}/events>; rel=\"{EXTENSION}\"; events=\"{kinds}\"");
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.append(LINK, link);
    }
}

/// POST: makes an event stream. Without a body it has all kinds of events.
/// # Errors
/// `Denied`, `WrongType`, `TooLarge`, `EventKinds` for a body that is no list of kinds, `NoSession`.
pub(super) async fn post(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    body: Incoming,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, headers)?;
    let body = body::read(headers, body, MAX_BODY, app.limits.body).await?;
    let kinds = if body.is_empty() {
        EventKinds::all()
    } else {
        body::expect_type(headers, JSON)?;
        kinds(&body)?
    };
    let Some(stream) = app.control.create_events(session, kinds) else {
        return Err(missed(app, client));
    };
    let mut response = empty();
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::try_from(format!("/session/{session}/events/{stream}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// GET on the entry: an event stream with all kinds that has no URL of its own.
/// # Errors
/// `Denied`, `NoSession`, `Full` or `TooMany` when too many are being read.
pub(super) fn open(app: &App, session: SessionId, parts: &Parts, client: IpAddr) -> Result<Response<Body>, Problem> {
    authorise(app, session, &parts.headers)?;
    if parts.method == Method::HEAD {
        return app.control.session(session).map(|_| head()).ok_or_else(|| missed(app, client));
    }
    let place = place(app, client)?;
    let stream = app.control.create_events(session, EventKinds::all());
    let reader = stream.and_then(|stream| app.control.read_events(session, stream, last_seen(&parts.headers)));
    reader.map(|reader| streaming(Box::new(reader), place)).ok_or_else(|| missed(app, client))
}

/// GET: reads an event stream, on from `Last-Event-ID` if that is there.
/// # Errors
/// As [`open`].
pub(super) fn get(
    app: &App,
    session: SessionId,
    stream: EventStreamId,
    parts: &Parts,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, &parts.headers)?;
    if parts.method == Method::HEAD {
        return app.control.has_events(session, stream).then(head).ok_or_else(|| missed(app, client));
    }
    let place = place(app, client)?;
    let reader = app.control.read_events(session, stream, last_seen(&parts.headers));
    reader.map(|reader| streaming(Box::new(reader), place)).ok_or_else(|| missed(app, client))
}

/// DELETE: ends an event stream.
/// # Errors
/// `Denied`, `NoSession`.
pub(super) fn delete(
    app: &App,
    session: SessionId,
    stream: EventStreamId,
    headers: &HeaderMap,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, headers)?;
    if app.control.remove_events(session, stream) { Ok(empty()) } else { Err(missed(app, client)) }
}

/// Nobody shall find an event stream by trying.
pub(super) fn missed(app: &App, client: IpAddr) -> Problem {
    app.limit(Action::Miss, &Key::address(client)).err().unwrap_or(Problem::NoSession)
}

/// A place to read at; connections that never end must leave room for those that do.
pub(super) fn place(app: &App, client: IpAddr) -> Result<Place, Problem> {
    app.feeds.take(client).map_err(|why| match why {
        NoPlace::Total => Problem::Full { retry_after: RETRY },
        NoPlace::Address => Problem::TooMany { retry_after: RETRY },
    })
}

/// The kinds that a body lists.
fn kinds(body: &[u8]) -> Result<EventKinds, Problem> {
    let known = || EventKind::ALL.map(EventKind::word).join(", ");
    let Ok(words) = serde_json::from_slice::<Vec<String>>(body) else {
        return Err(Problem::EventKinds(format!("the body is not a JSON array of kinds of events: {}", known())));
    };
    let unknown: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| word.parse::<EventKind>().is_err()).collect();
    if unknown.is_empty() {
        return Ok(words.iter().filter_map(|word| word.parse().ok()).collect());
    }
    let clean: String = unknown.join(", ").chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
    Err(Problem::EventKinds(format!("there are no events `{clean}`; there are {}", known())))
}

/// The event that a reader saw last; nothing for what is no number of ours.
fn last_seen(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// The head of an event stream.
pub(super) fn head() -> Response<Body> {
    let mut response = empty();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(STREAM));
    // Nginx would keep events back until it has many.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A story on a connection.
pub(super) fn streaming(story: Box<dyn Story>, place: Place) -> Response<Body> {
    let mut response = head();
    *response.body_mut() = Body::from(Feed::new(story, place));
    response
}

/// What is told on an event stream, piece by piece.
pub(super) trait Story: Send {
    /// The next piece, and the rest of the story; no piece at its end. Comments now and then, so that proxies do not give
    /// the connection up.
    fn next(self: Box<Self>) -> Pin<Box<dyn Future<Output = Told> + Send>>;
}

/// What came of asking for more of a story.
pub(super) type Told = (Box<dyn Story>, Option<Bytes>);

impl Story for Reader {
    fn next(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Told> + Send>> {
        Box::pin(async move {
            let piece = match timeout(KEEP_ALIVE, Reader::next(&mut self)).await {
                Ok(news) => news.map(|news| Bytes::from(write(&news))),
                Err(_) => Some(Bytes::from_static(b":\n\n")),
            };
            (self as Box<dyn Story>, piece)
        })
    }
}

/// An event stream on a connection. Nothing is fetched before the connection has taken what came before.
pub(super) struct Feed {
    /// The first bytes, so that the reader knows that it is connected.
    first: Option<Bytes>,
    next: Pin<Box<dyn Future<Output = Told> + Send>>,
    over: bool,
    _place: Place,
}

impl Feed {
    fn new(story: Box<dyn Story>, place: Place) -> Self {
        let first = Some(Bytes::from(format!("retry: {}\n\n", RETRY.as_millis())));
        Self { first, next: story.next(), _place: place, over: false }
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready((story, piece)) = self.next.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.over = piece.is_none();
        self.next = story.next();
        Poll::Ready(piece)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

/// Events as they go over the wire. Only the last of them has the number: whoever missed one of them gets all again.
fn write(news: &News) -> String {
    let mut text = String::new();
    for (n, event) in news.events.iter().enumerate() {
        if n + 1 == news.events.len() {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "id: {}", news.number);
        }
        let _ = writeln!(text, "event: {}\ndata: {}\n", event.kind().word(), data(event, news.video));
    }
    text
}

/// What an event says, in one line of JSON. `video`: index of the video section.
fn data(event: &Event, video: usize) -> serde_json::Value {
    match event {
        Event::Active | Event::Inactive | Event::Reconnect => serde_json::json!({}),
        Event::Layers(layers) => serde_json::json!({ video.to_string(): list(layers) }),
        Event::ViewerCount(viewers) => serde_json::json!({ "viewercount": viewers }),
    }
}

/// The extension's name.
const EXTENSION: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
/// What events are written in (HTML §9.2.5).
pub(super) const STREAM: &str = "text/event-stream";
/// Proxies give up connections that are silent for half a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a reader that was cut off comes back.
const RETRY: Duration = Duration::from_secs(3);
/// Bytes of a list of kinds.
const MAX_BODY: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_kinds_holds_nothing_unknown() {
        let some = [EventKind::Active, EventKind::ViewerCount].into_iter().collect();
        assert_eq!(kinds(br#"["active", "viewercount"]"#), Ok(some));
        assert_eq!(kinds(b"[]"), Ok(EventKinds::default()));

        for bad in ["[\"active\",\"scte35\"]", "[\"\"]", "{}", "\"active\"", "[1]", "[", "[\"a\\u0000\u{202e}\"]"] {
            let problem = kinds(bad.as_bytes()).expect_err(bad);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{bad}");
            assert!(problem.to_string().contains("viewercount") && problem.to_string().is_ascii(), "{problem}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_data_and_the_last_has_the_number() {
        let news = News { events: vec![Event::Active, Event::ViewerCount(3)], number: 7, video: 1 };

        let text = write(&news);

        assert_eq!(text, "event: active\ndata: {}\n\nid: 7\nevent: viewercount\ndata: {\"viewercount\":3}\n\n");
    }

    #[test]
    fn the_link_names_every_kind_of_event() {
        let mut headers = HeaderMap::new();

        link(&mut headers, "", SessionId(7));

        assert_eq!(
            headers[LINK],
            "</session/00000000000000000000000000000007/events>; \
             rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; \
             events=\"active,inactive,layers,reconnect,viewercount\""
        );
    }
}
