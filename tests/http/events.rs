//! Server-sent events: what a viewer is told while it watches.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ANN, BOB, House, Reply, offer, within};
use tribune::media::{CloseReason, Notice, SessionId, Summary};
use tribune::peer::srtp::Profile;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const ALL: &str = "active,inactive,layers,reconnect,viewercount";

fn session(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

fn connect(house: &House, location: &str) {
    let notice =
        Notice::Connected { session: session(location), remote: ([192, 0, 2, 9], 4).into(), profile: Profile::AesGcm };
    house.control.notice(notice);
}

/// Presents on `live` and connects.
async fn present(house: &House) -> String {
    let reply = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    let location = reply.header("location").expect("a Location").to_owned();
    connect(house, &location);
    location
}

/// Watches `live`: the new session.
async fn watch(house: &House) -> Reply {
    let reply = house.post("/whep/live", None, &offer("chromium-156-play")).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply
}

/// A viewer of a stream that has a presenter: their locations.
async fn audience(house: &House) -> (String, String) {
    let presenter = present(house).await;
    let viewer = watch(house).await.header("location").expect("a Location").to_owned();
    (presenter, viewer)
}

/// An event stream of a session, made by POST: its location.
async fn create(house: &House, viewer: &str, kinds: &str) -> String {
    let reply = house.ask("POST", &format!("{viewer}/events"), &[JSON], kinds.as_bytes()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.header("location").expect("a Location").to_owned()
}

/// Somebody who reads an event stream.
struct Ear {
    tcp: TcpStream,
    heard: String,
}

impl Ear {
    async fn open(house: &House, path: &str, headers: &str) -> Self {
        let mut tcp = house.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        tcp.write_all(request.as_bytes()).await.expect("sent");
        let mut ear = Self { tcp, heard: String::new() };
        ear.hear("retry: 3000\n\n").await;
        ear
    }

    /// Waits for some text and takes everything up to its end.
    async fn hear(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(text) {
                let rest = self.heard.split_off(at + text.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            assert!(self.more().await, "over before {text:?}: {:?}", self.heard);
        }
    }

    /// Reads to the end and takes everything.
    async fn rest(mut self) -> String {
        while self.more().await {}
        self.heard
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let length = within(self.tcp.read(&mut piece)).await.unwrap_or(0);
        self.heard.push_str(&String::from_utf8_lossy(&piece[..length]));
        // A chunk of length 0 is the end of the response.
        length > 0 && !self.heard.ends_with("\r\n0\r\n\r\n")
    }
}

#[tokio::test]
async fn a_new_viewer_learns_where_its_events_are_and_a_presenter_does_not() {
    let house = House::new();

    let presenter = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    connect(&house, presenter.header("location").expect("a Location"));
    let viewer = watch(&house).await;

    assert!(!presenter.head.to_ascii_lowercase().contains("\r\nlink:"));
    let place = viewer.header("location").expect("a Location");
    let link =
        format!("link: <{place}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"{ALL}\"");
    assert!(viewer.head.contains(&link), "{}", viewer.head);
    let of_presenter = format!("{}/events", presenter.header("location").expect("a Location"));
    house.ask("POST", &of_presenter, &[], b"").await.assert_problem(404, "a presenter has no events");
    house.shut_down().await;
}

#[tokio::test]
async fn an_event_stream_has_a_url_of_its_own_and_needs_no_credentials() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;

    for body in ["", "[]", r#"["active"]"#] {
        let made = house.ask("POST", &format!("{viewer}/events"), &[JSON], body.as_bytes()).await;
        assert_eq!((made.status, made.body.len()), (201, 0), "{made:?}");
        made.assert_cors("201");
        let location = made.header("location").expect("a Location");
        let id = location.strip_prefix(&format!("{viewer}/events/")).expect("a path");
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        let head = house.ask("HEAD", location, &[], b"").await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(head.header("content-length"), None, "GET has none");
        let asked = house.ask("OPTIONS", location, &[], b"").await;
        assert_eq!(asked.header("allow"), Some("GET, HEAD, DELETE, OPTIONS"));
    }

    let stream = create(&house, &viewer, r#"["active"]"#).await;
    let mut ear = Ear::open(&house, &stream, "").await;
    let told = ear.hear("event: active\ndata: {}\n\n").await;
    assert!(told.starts_with("id: ") || told.contains("\nid: "), "{told:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn credentials_that_are_sent_for_events_must_be_right() {
    let house = House::new();
    present(&house).await;
    let viewer = house.post("/whep/live", Some(ANN), &offer("chromium-156-play")).await;
    let viewer = viewer.header("location").expect("a Location").to_owned();
    let stream = create(&house, &viewer, "[]").await;
    let (bob, junk) = (format!("Bearer {BOB}"), "Bearer undefined".to_owned());

    for (credentials, status) in [(&bob, 404), (&junk, 401)] {
        let headers = [("Authorization", credentials.as_str())];
        for (method, path) in [("GET", format!("{viewer}/events")), ("GET", stream.clone()), ("DELETE", stream.clone())]
        {
            house.ask(method, &path, &headers, b"").await.assert_problem(status, &format!("{method} {path}"));
        }
    }
    assert_eq!(house.ask("HEAD", &stream, &[], b"").await.status, 200, "it is still there");
    house.shut_down().await;
}

#[tokio::test]
async fn an_event_stream_is_never_cached_compressed_or_held_back() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;

    let mut tcp = house.connect().await;
    let request = format!("GET {viewer}/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("sent");
    let mut ear = Ear { tcp, heard: String::new() };
    let head = ear.hear("\r\n\r\n").await.to_ascii_lowercase();

    assert!(head.starts_with("http/1.1 200"), "{head}");
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "access-control-allow-origin: *",
        "transfer-encoding: chunked",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains("content-length"), "{head}");
    ear.hear("event: active\n").await;
    house.shut_down().await;
}

#[tokio::test]
async fn bad_lists_of_events_make_no_stream() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;
    let entry = format!("{viewer}/events");

    for body in [r#"["nope"]"#, r#"["active","scte35"]"#, "{}", "[", "active", "[1]"] {
        house.ask("POST", &entry, &[JSON], body.as_bytes()).await.assert_problem(400, body);
    }
    let plain = [("Content-Type", "text/plain")];
    house.ask("POST", &entry, &plain, br#"["active"]"#).await.assert_problem(415, "text/plain");
    house.ask("POST", &entry, &[JSON], &[b' '; 5_000]).await.assert_problem(413, "too large");
    let wrong = [("Authorization", "Bearer nobody-knows-this-token")];
    let reply = house.ask("POST", &entry, &wrong, b"").await;
    assert_eq!(reply.status, 201, "a viewer without a name sends any token");
    for path in [format!("/session/{}/events", "0".repeat(32)), format!("{entry}/{}", "0".repeat(32))] {
        house.get(&path).await.assert_problem(404, &path);
    }
    house.shut_down().await;
}

#[tokio::test]
async fn a_viewer_hears_of_the_presenter_leaving_and_returning() {
    let house = House::new();
    let (presenter, viewer) = audience(&house).await;
    let stream = create(&house, &viewer, r#"["active","inactive"]"#).await;
    let mut ear = Ear::open(&house, &stream, "").await;
    ear.hear("event: active\n").await;

    house.ask("DELETE", &presenter, &[], b"").await;
    ear.hear("event: inactive\ndata: {}\n\n").await;
    let waiting = create(&house, &viewer, r#"["active","inactive"]"#).await;
    let mut other = Ear::open(&house, &waiting, "").await;
    present(&house).await;

    ear.hear("event: active\ndata: {}\n\n").await;
    let first = other.hear("event: active\n").await;
    assert!(!first.contains("inactive"), "nobody is told that nothing has begun yet: {first:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn viewers_are_counted_once_a_second() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;
    let start = Instant::now();
    let mut ear = Ear::open(&house, &format!("{viewer}/events"), "").await;
    ear.hear("data: {\"viewercount\":0}\n\n").await;

    connect(&house, &viewer);
    house.control.tick(start);
    ear.hear("event: viewercount\ndata: {\"viewercount\":1}\n\n").await;
    for _ in 0..3 {
        let other = watch(&house).await;
        connect(&house, other.header("location").expect("a Location"));
        house.control.tick(start + Duration::from_millis(999));
    }
    house.control.tick(start + Duration::from_secs(1));

    let told = ear.hear("{\"viewercount\":4}\n\n").await;
    assert_eq!(told.matches("viewercount\n").count(), 1, "{told:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn a_reader_that_was_cut_off_goes_on_where_it_was() {
    let house = House::new();
    let (presenter, viewer) = audience(&house).await;
    let entry = format!("{viewer}/events");
    let mut ear = Ear::open(&house, &entry, "").await;
    let told = ear.hear("{\"viewercount\":0}\n\n").await;
    let id = told.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    drop(ear);
    house.ask("DELETE", &presenter, &[], b"").await;
    present(&house).await;

    let mut again = Ear::open(&house, &entry, &format!("Last-Event-ID: {id}\r\n")).await;
    let missed = again.hear("event: active\ndata: {}\n\n").await;

    assert!(missed.contains("event: inactive\n"), "{missed:?}");
    assert!(!missed.contains("viewercount"), "what it knows is not told again: {missed:?}");
    let mut lost = Ear::open(&house, &entry, "Last-Event-ID: what?\r\n").await;
    lost.hear("viewercount").await;
    house.shut_down().await;
}

#[tokio::test]
async fn an_event_stream_ends_with_a_delete_or_with_its_session() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;
    let stream = create(&house, &viewer, "[\"active\"]").await;
    let other = create(&house, &viewer, "[\"active\"]").await;
    let (ear, second) = (Ear::open(&house, &stream, "").await, Ear::open(&house, &other, "").await);

    assert_eq!(house.ask("DELETE", &stream, &[], b"").await.status, 200);
    ear.rest().await;
    house.get(&stream).await.assert_problem(404, "gone");
    house.ask("DELETE", &stream, &[], b"").await.assert_problem(404, "gone");
    assert_eq!(house.ask("DELETE", &viewer, &[], b"").await.status, 200);
    second.rest().await;

    house.get(&other).await.assert_problem(404, "gone with its session");
    house.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_sends_everybody_elsewhere() {
    let house = House::new();
    let (_, viewer) = audience(&house).await;
    let mut ear = Ear::open(&house, &format!("{viewer}/events"), "").await;
    ear.hear("viewercount").await;

    house.control.drain();
    let notice =
        Notice::Closed { session: session(&viewer), reason: CloseReason::Draining, summary: Summary::default() };
    house.control.notice(notice);

    let last = ear.rest().await;
    assert!(last.contains("event: reconnect\ndata: {}\n\n"), "{last:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn whoever_is_to_make_a_new_session_is_told_before_its_own_ends() {
    let house = House::new();
    let (presenter, viewer) = audience(&house).await;
    let other = watch(&house).await.header("location").expect("a Location").to_owned();
    let mut ear = Ear::open(&house, &format!("{viewer}/events"), "").await;
    let mut elsewhere = Ear::open(&house, &format!("{other}/events"), "").await;

    // Its codec has changed, and one of the two did not agree on that.
    house.control.notice(Notice::Unplayable { session: session(&viewer) });
    ear.hear("event: reconnect\ndata: {}\n\n").await;
    house.control.tick(Instant::now() + Duration::from_secs(2));
    ear.rest().await;
    house.ask("DELETE", &viewer, &[], b"").await;
    house.get(&format!("{viewer}/events")).await.assert_problem(404, "gone");

    // Nobody presents any more.
    house.control.notice(Notice::Flow { session: session(&presenter), flows: false });
    elsewhere.hear("event: inactive").await;
    let reason = CloseReason::Silent;
    house.control.notice(Notice::Closed { session: session(&presenter), reason, summary: Summary::default() });
    house.control.tick(Instant::now());
    house.control.tick(Instant::now() + Duration::from_secs(61));
    let last = elsewhere.hear("event: reconnect").await;
    assert!(!last.contains("event: active"), "{last:?}");
    house.control.tick(Instant::now() + Duration::from_secs(63));
    elsewhere.rest().await;
    house.shut_down().await;
}

#[tokio::test]
async fn readers_leave_room_for_requests_that_end() {
    let house = House::with(|settings| {
        settings.limits.connections_per_address = 8;
        settings.trusted_proxies.clear();
    });
    let (_, viewer) = audience(&house).await;
    let second = watch(&house).await.header("location").expect("a Location").to_owned();
    let mut ears = Vec::new();
    for path in [&viewer, &viewer, &second, &second] {
        ears.push(Ear::open(&house, &format!("{path}/events"), "").await);
    }

    let refused = house.get(&format!("{second}/events")).await;

    refused.assert_problem(429, "half of an address's connections");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(house.get("/livez").await.status, 200);
    drop(ears);
    house.shut_down().await;
}

#[tokio::test]
async fn events_come_over_http2_beside_other_requests() {
    let house = House::new();
    let (presenter, viewer) = audience(&house).await;
    let io = TokioIo::new(house.connect().await);
    let (mut client, connection) = within(http2::handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = |method: &str, path: &str| {
        let builder = Request::builder().method(method).uri(format!("http://localhost{path}"));
        builder.body(Full::<Bytes>::default()).expect("a request")
    };

    let reply = within(client.send_request(request("GET", &format!("{viewer}/events")))).await.expect("a response");
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let mut events = reply.into_body();
    let deleted = within(client.send_request(request("DELETE", &presenter))).await.expect("a response");
    assert_eq!(deleted.status(), 200);

    let mut heard = String::new();
    while !heard.contains("event: inactive\n") {
        let frame = within(events.frame()).await.expect("not over").expect("no error");
        heard.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
    }
    drop((client, events));
    house.shut_down().await;
}
