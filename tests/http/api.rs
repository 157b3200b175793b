//! `/api/v1`: every answer is what `openapi.json` says, and whoever may not ask is told so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ANN, EVE, House, ROOT, Reply, offer, within};
use tribune::client::Url;
use tribune::control::webhooks::{Hook, Kinds, Message, Outcome, Pace, Secret, Turn, Webhooks};
use tribune::media::health::{AudioHealth, Health, VideoHealth};
use tribune::media::layer::LayerInfo;
use tribune::media::vitals::Vitals;
use tribune::media::{CloseReason, Notice, SessionId, Step, Summary};
use tribune::metrics::Metrics;
use tribune::peer::srtp::Profile;
use tribune::wire::sdp::{Codec, Feedback, Format, Kind};

mod schema;

use schema::Document;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn session(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

fn short(location: &str) -> String {
    session(location).to_string()[..16].to_owned()
}

/// Keys are agreed.
fn connect(house: &House, location: &str) {
    let remote = ([192, 0, 2, 9], 4).into();
    house.control.notice(Notice::Connected { session: session(location), remote, profile: Profile::AesGcm });
}

/// A webhook that wants everything.
fn hook() -> Hook {
    let topics = ["stream", "alarm", "report", "session", "link"].map(str::to_owned);
    Hook {
        url: Url::parse("http://hooks.example/a-secret").expect("a URL"),
        secret: Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"),
        kinds: Kinds::parse(&topics).expect("kinds"),
        streams: Vec::new(),
        timeout: Duration::from_secs(1),
    }
}

/// A server with a presenter and a viewer, and what its answers are held against.
struct Show {
    house: House,
    /// They want everything, and nothing is ever sent.
    webhooks: Arc<Webhooks>,
    document: Document,
    presenter: String,
    viewer: String,
}

impl Show {
    async fn new() -> Self {
        let house = House::new();
        let webhooks = Webhooks::new(vec![hook()], Pace::default(), &Metrics::new().registry).expect("new");
        house.control.tell_webhooks(Arc::clone(&webhooks));
        let document = Document::new(&house.get("/api/v1/openapi.json").await.body);
        let presenter = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
        let presenter = presenter.header("location").expect("a Location").to_owned();
        connect(&house, &presenter);
        let viewer = house.post("/whep/live", None, &offer("chromium-156-play")).await;
        let viewer = viewer.header("location").expect("a Location").to_owned();
        connect(&house, &viewer);
        let show = Self { house, webhooks, document, presenter, viewer };
        show.present();
        show
    }

    /// The presenter sends sound and picture.
    fn present(&self) {
        let (id, control) = (session(&self.presenter), &self.house.control);
        let layer = LayerInfo {
            layer: 0,
            rid: None,
            spatial: None,
            temporal: None,
            bitrate: 2_000_000,
            width: Some(1280),
            height: Some(720),
        };
        for kind in [Kind::Audio, Kind::Video] {
            control.notice(Notice::Started { session: id, kind, format: format(kind) });
        }
        control.notice(Notice::Layers { session: id, kind: Kind::Video, layers: vec![layer] });
        control.notice(Notice::Health { session: id, health: Box::new(health()) });
        let vitals = Arc::new(Vitals::default());
        vitals.sent(100, 90_000, 2);
        vitals.reported(10, 3, Some(Duration::from_millis(30)));
        control.notice(Notice::Vitals { session: session(&self.viewer), vitals });
    }

    /// Asks and holds the answer against the document.
    async fn ask(&mut self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> (Reply, Value) {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        headers.extend(body.map(|_| JSON));
        let reply = self.house.ask(method, path, &headers, body.unwrap_or_default().as_bytes()).await;
        let value = self.check(method, path, &reply);
        (reply, value)
    }

    fn check(&mut self, method: &str, path: &str, reply: &Reply) -> Value {
        let what = format!("{method} {path}");
        reply.assert_cors(&what);
        let media_type = reply.header("content-type");
        let value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        self.document.check(method, path, reply.status, media_type, &value);
        value
    }
}

fn format(kind: Kind) -> Format {
    let (codec, clock_rate, channels) = match kind {
        Kind::Audio => (Codec::Opus, 48_000, 2),
        Kind::Video => (Codec::H264, 90_000, 0),
    };
    let feedback = Feedback::default();
    Format { payload_type: 96, codec, clock_rate, channels, fmtp: String::new(), rtx: None, feedback }
}

fn health() -> Health {
    Health {
        interval: Duration::from_secs(1),
        packets: 300,
        bytes: 250_000,
        audio: Some(AudioHealth { packets: 50, bytes: 6_000, loudest: Some(20) }),
        video: Some(VideoHealth {
            packets: 250,
            bytes: 244_000,
            frames: 30,
            since_key: Some(Duration::from_secs(1)),
            size: Some((1280, 720)),
            ..VideoHealth::default()
        }),
        frames: [30, 0, 0, 0],
        ..Health::default()
    }
}

#[tokio::test]
async fn every_answer_is_in_the_document_and_every_one_of_the_document_is_given() {
    let mut show = Show::new().await;
    let (presenter, viewer) = (short(&show.presenter), short(&show.viewer));
    let secret = show.viewer.clone();

    show.ask("GET", "/api/v1/openapi.json", None, None).await;
    show.ask("GET", "/api/v1/server", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/streams", None, None).await;
    show.ask("GET", "/api/v1/streams", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/streams/live", Some(ANN), None).await;
    show.ask("GET", "/api/v1/streams/a.b", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/streams/live/share", Some(ANN), None).await;
    show.ask("GET", "/api/v1/streams/a.b/share", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/sessions", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/sessions?limit=0", Some(ROOT), None).await;
    show.ask("GET", &format!("/api/v1/sessions/{presenter}"), Some(ROOT), None).await;
    show.ask("GET", &format!("/api/v1/sessions/{viewer}/timeline"), Some(ROOT), None).await;
    show.ask("GET", &format!("{secret}/timeline"), None, None).await;
    show.ask("GET", &format!("/session/{}/timeline", "0".repeat(32)), None, None).await;
    let wanted = r#"{"stream": "live", "right": "watch"}"#;
    let (_, link) = show.ask("POST", "/api/v1/links", Some(ROOT), Some(wanted)).await;
    show.ask("POST", "/api/v1/links", Some(ROOT), Some("{")).await;
    show.ask("POST", "/api/v1/links", Some(ROOT), Some(r#"{"stream": "", "right": "watch"}"#)).await;
    show.ask("POST", "/api/v1/links", Some(ROOT), Some(&" ".repeat(5_000))).await;
    show.ask("POST", "/api/v1/links", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/links", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/reports", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/reports?after=x", Some(ROOT), None).await;
    let reports = show.report().await;
    show.ask("GET", &format!("/api/v1/reports/{reports}"), Some(ROOT), None).await;
    show.ask("HEAD", "/api/v1/events", Some(ROOT), None).await;
    show.ask("GET", "/api/v1/events?stream=", Some(ROOT), None).await;
    show.ask("DELETE", &format!("/api/v1/links/{}", link["id"].as_str().expect("an id")), Some(ROOT), None).await;
    show.ask("DELETE", &format!("/api/v1/sessions/{viewer}"), Some(ROOT), None).await;

    // What needs a token, and what is not there.
    for (method, path) in show.document.operations() {
        let missing = path.replace("{name}", "live").replace("{id}", "0000000000000000");
        if path.starts_with("/session/") || path.ends_with("/openapi.json") || path.ends_with("/streams") {
            continue;
        }
        show.ask(&method, &missing, None, None).await.0.assert_problem(401, &missing);
        show.ask(&method, &missing, Some("unknown-token-0123456789"), None).await.0.assert_problem(401, &missing);
        show.ask(&method, &missing, Some(EVE), None).await.0.assert_problem(403, &missing);
        if path.contains("{id}") {
            show.ask(&method, &missing, Some(ROOT), None).await.0.assert_problem(404, &missing);
        }
    }
    assert_eq!(show.document.not_given(), BTreeSet::new());
    show.house.shut_down().await;
}

impl Show {
    /// The id of the report of the broadcast that lasts.
    async fn report(&mut self) -> String {
        let later = Instant::now() + Duration::from_secs(5);
        self.house.control.tick(later);
        let (_, stream) = self.ask("GET", "/api/v1/streams/live", Some(ROOT), None).await;
        stream["report"].as_str().expect("a report").to_owned()
    }
}

#[tokio::test]
async fn every_event_of_a_webhook_is_in_the_document_and_every_one_of_the_document_is_told() {
    let mut show = Show::new().await;
    let (presenter, grace) = (show.presenter.clone(), Duration::from_secs(61));
    let mut ill = health();
    ill.video.iter_mut().for_each(|video| video.backward = 3);

    show.house.control.notice(Notice::Health { session: session(&presenter), health: Box::new(ill) });
    show.house.ask("DELETE", &presenter, &[("Authorization", &format!("Bearer {ANN}"))], b"").await;
    show.house.control.tick(Instant::now() + grace);
    let wanted = r#"{"stream": "live", "right": "watch"}"#;
    let (_, link) = show.ask("POST", "/api/v1/links", Some(ROOT), Some(wanted)).await;
    show.ask("DELETE", &format!("/api/v1/links/{}", link["id"].as_str().expect("an id")), Some(ROOT), None).await;

    let mut told = BTreeSet::new();
    let mut messages = vec![Message::test()];
    let line = &show.webhooks.lines()[0];
    while let Turn::Send(message) = line.turn(Instant::now()) {
        messages.push(message);
        line.answered(Outcome::Taken, Instant::now());
    }
    for message in messages {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        assert!(!text.contains(&session(&presenter).to_string()), "the whole id is a secret");
        told.insert(show.document.check_webhook(&serde_json::from_str(&text).expect("JSON")));
    }
    assert_eq!(told, show.document.webhooks());
    let (reply, server) = show.ask("GET", "/api/v1/server", Some(ROOT), None).await;
    assert_eq!((&server["webhooks"][0]["state"], &server["webhooks"][0]["waiting"]), (&json!("well"), &json!(0)));
    assert!(!String::from_utf8_lossy(&reply.body).contains("a-secret"), "the path may be one");
    show.house.shut_down().await;
}

#[tokio::test]
async fn a_stream_tells_who_presents_and_how_it_is() {
    let mut show = Show::new().await;

    let (_, stream) = show.ask("GET", "/api/v1/streams/live", Some(ANN), None).await;

    assert_eq!(
        (&stream["state"], &stream["live"], &stream["viewers"]["now"]),
        (&json!("live"), &json!(true), &json!(1))
    );
    let presenter = &stream["presenter"];
    assert_eq!(presenter["session"], short(&show.presenter));
    assert_eq!((&presenter["subject"], &presenter["bitrate"]), (&json!(ANN), &json!(2_000_000.0)));
    let (_, idle) = show.ask("GET", "/api/v1/streams/other", Some(EVE), None).await;
    assert_eq!((&idle["state"], &idle["presenter"]), (&json!("idle"), &Value::Null));
    show.ask("GET", "/api/v1/streams/other", Some(ANN), None).await.0.assert_problem(403, "another's stream");
    let (_, list) = show.ask("GET", "/api/v1/streams", Some(ANN), None).await;
    assert_eq!(list["streams"][0], json!({"name": "live", "state": "live", "live": true, "viewers": {"now": 1}}));
    show.house.shut_down().await;
}

#[tokio::test]
async fn a_plain_video_tells_its_size_and_a_viewer_its_codecs() {
    let mut show = Show::new().await;
    let layers = Notice::Layers { session: session(&show.presenter), kind: Kind::Video, layers: Vec::new() };
    show.house.control.notice(layers);

    let (_, stream) = show.ask("GET", "/api/v1/streams/live", Some(ANN), None).await;
    let path = format!("/api/v1/sessions/{}", short(&show.viewer));
    let (_, viewer) = show.ask("GET", &path, Some(ROOT), None).await;

    let video = &stream["presenter"]["video"];
    assert_eq!((&video["width"], &video["height"]), (&json!(1280), &json!(720)));
    assert_eq!(video["layers"][0]["width"], 1280);
    assert_eq!(viewer["codec"], json!({ "audio": "opus", "video": "h264" }));
    show.house.shut_down().await;
}

#[tokio::test]
async fn a_report_counts_those_who_are_there_and_those_who_have_left() {
    let mut show = Show::new().await;
    let late = show.house.post("/whep/live", None, &offer("chromium-156-play")).await;
    let late = late.header("location").expect("a Location").to_owned();
    connect(&show.house, &late);
    let lasted = Summary { packets: 40, bytes: 50_000_000_000, lost: 4, resent: 1, ..Summary::default() };
    let reason = CloseReason::PeerClosed;
    let closed = |session: &str, summary| Notice::Closed { session: self::session(session), reason, summary };
    let vitals = Arc::new(Vitals::default());
    show.house.control.notice(Notice::Vitals { session: session(&late), vitals: vitals.clone() });
    vitals.sent(30, 40_000, 1);
    show.report().await;

    // Its last numbers come with its end.
    vitals.began(Some(Duration::from_millis(20)), Some(Duration::from_millis(90)));
    show.house.control.notice(closed(&late, lasted));
    let presented = Summary { packets: 310, bytes: 260_000, lost: 5, resent: 6, ..Summary::default() };
    show.house.control.notice(closed(&show.presenter, presented));
    let id = show.report().await;
    let (_, report) = show.ask("GET", &format!("/api/v1/reports/{id}"), Some(ROOT), None).await;

    assert_eq!(report["sent"], json!({ "packets": 140, "bytes": 50_000_090_000_u64, "lost": 7, "resent": 3 }));
    assert_eq!(report["received"], json!({ "packets": 310, "bytes": 260_000, "lost": 5, "resent": 6 }));
    let viewers = &report["viewers"];
    let counts = ["peak", "sessions", "joins", "unique"].map(|what| viewers[what].as_u64().expect("a number"));
    assert_eq!(counts, [2, 2, 1, 1], "one was there before the first packet came, both have one address and name");
    assert_eq!((&report["first_packet_ms"]["count"], &report["first_packet_ms"]["max"]), (&json!(1), &json!(20)));
    assert_eq!((&report["first_picture_ms"]["count"], &report["first_picture_ms"]["max"]), (&json!(1), &json!(90)));
    let presenter = &report["presenters"][0];
    assert_eq!((&presenter["video"], &presenter["width"]), (&json!("h264"), &json!(1280)));
    assert_eq!(presenter["reason"], "peer_closed");
    show.house.shut_down().await;
}

#[tokio::test]
async fn sessions_come_in_pages_and_without_their_secrets() {
    let mut show = Show::new().await;

    let (reply, first) = show.ask("GET", "/api/v1/sessions?limit=1", Some(ROOT), None).await;
    let next = first["next"].as_str().expect("another page").to_owned();
    let (_, second) = show.ask("GET", &format!("/api/v1/sessions?after={next}"), Some(ROOT), None).await;
    let (_, none) = show.ask("GET", "/api/v1/sessions?stream=other", Some(ROOT), None).await;

    assert_eq!((&first["total"], &none["total"]), (&json!(2), &json!(0)));
    assert_eq!(first["sessions"][0]["role"], "presenter");
    let viewer = &second["sessions"][0];
    assert_eq!(
        (&viewer["state"], &viewer["bytes"], &viewer["rtt_ms"]),
        (&json!("connected"), &json!(90_000), &json!(30.0))
    );
    assert_eq!((&second["next"], second["sessions"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(!text.contains(&session(&show.presenter).to_string()), "the whole id is a secret");
    show.house.control.close(session(&show.presenter), CloseReason::Deleted);
    let (_, second) = show.ask("GET", &format!("/api/v1/sessions?after={next}"), Some(ROOT), None).await;
    assert_eq!(second["sessions"][0]["id"], viewer["id"], "whoever the page ended with has left");
    show.house.shut_down().await;
}

#[tokio::test]
async fn whoever_is_kicked_is_gone_and_its_end_is_told() {
    let mut show = Show::new().await;
    let viewer = short(&show.viewer);
    let (path, secret) = (format!("/api/v1/sessions/{viewer}"), show.viewer.clone());

    assert_eq!(show.ask("DELETE", &path, Some(ROOT), None).await.0.status, 200);

    let told = show.house.get(&secret).await;
    told.assert_problem(404, "its own URL");
    assert!(String::from_utf8_lossy(&told.body).contains(":session-kicked"), "its client learns not to come back");
    let (_, over) = show.ask("GET", &path, Some(ROOT), None).await;
    assert_eq!((&over["state"], &over["reason"]), (&json!("ended"), &json!("kicked")));
    assert_eq!(show.ask("DELETE", &path, Some(ROOT), None).await.0.status, 200, "a repeated DELETE succeeds");
    let (_, list) = show.ask("GET", "/api/v1/sessions", Some(ROOT), None).await;
    assert_eq!(list["total"], 1);
    show.house.shut_down().await;
}

#[tokio::test]
async fn the_flight_recorder_tells_what_happened_and_no_secret() {
    let mut show = Show::new().await;
    let own = format!("{}/timeline", show.viewer);
    let moved = Step::Selected(([198, 51, 100, 7], 9).into());
    show.house.control.notice(Notice::Step { session: session(&show.viewer), step: moved });
    assert_eq!(show.house.get(&show.viewer).await.status, 200, "which is not told: players look often");
    show.house.ask("DELETE", &show.viewer.clone(), &[], b"").await;

    let (_, told) = show.ask("GET", &own, None, None).await;
    let path = format!("/api/v1/sessions/{}/timeline", short(&show.viewer));
    let (reply, for_admins) = show.ask("GET", &path, Some(ROOT), None).await;

    let events: Vec<&str> =
        told["entries"].as_array().expect("a list").iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(events, ["connected", "path_selected", "closed", "http"], "{told}");
    let details = [&told["entries"][0]["detail"]["srtp"], &told["session"]["media_address"]];
    assert_eq!(details, [&json!("SRTP_AEAD_AES_128_GCM"), &json!("198.51.100.7:9")]);
    let path = format!("/api/v1/sessions/{}/timeline", short(&show.presenter));
    let (_, presenter) = show.ask("GET", &path, Some(ROOT), None).await;
    let events: Vec<&str> =
        presenter["entries"].as_array().expect("a list").iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(events, ["connected", "first_key_frame", "started", "started", "size"], "{presenter}");
    assert_eq!(for_admins["session"]["id"], told["session"]["id"]);
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(told["offer"].as_str().is_some_and(|offer| offer.contains("a=ice-pwd:…")), "{told}");
    for secret in ["candidate:1", "sha-256", &session(&show.viewer).to_string()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(reply.header("content-disposition").is_some_and(|name| name.contains(".json")));
    show.house.shut_down().await;
}

#[tokio::test]
async fn a_link_lets_in_until_it_is_revoked() {
    let mut show = Show::new().await;
    let wanted = r#"{"stream": "closed", "right": "watch", "expires_in": 600, "subject": "Ann"}"#;

    let (reply, link) = show.ask("POST", "/api/v1/links", Some(ROOT), Some(wanted)).await;

    assert_eq!(reply.status, 201);
    let (id, token) = (link["id"].as_str().expect("an id"), link["token"].as_str().expect("a token").to_owned());
    assert_eq!(link["url"], format!("http://a/watch/closed#{token}"));
    assert!(link["qr_svg"].as_str().is_some_and(|svg| svg.starts_with("<svg")));
    show.house.post("/whip/closed", Some(ROOT), &offer("obs-32.2.2")).await;
    let presenter = show.ask("GET", "/api/v1/sessions?stream=closed", Some(ROOT), None).await.1;
    let presenter = show.house.control.called(presenter["sessions"][0]["id"].as_str().unwrap().parse().unwrap());
    connect(&show.house, &format!("/session/{}", presenter.expect("there")));
    let watching = show.house.post("/whep/closed", Some(&token), &offer("chromium-156-play")).await;
    assert_eq!(watching.status, 201, "{watching:?}");
    let watching = watching.header("location").expect("a Location").to_owned();
    let (listed, _) = show.ask("GET", "/api/v1/links", Some(ROOT), None).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(&token), "tokens are not kept");

    assert_eq!(show.ask("DELETE", &format!("/api/v1/links/{id}"), Some(ROOT), None).await.0.status, 200);

    show.house.get(&watching).await.assert_problem(404, "its session has ended");
    show.house.post("/whep/closed", Some(&token), &offer("chromium-156-play")).await.assert_problem(401, "revoked");
    let (_, listed) = show.ask("GET", "/api/v1/links", Some(ROOT), None).await;
    assert_eq!((&listed["links"][0]["id"], &listed["links"][0]["revoked"]), (&json!(id), &json!(true)));
    show.house.shut_down().await;
}

#[tokio::test]
async fn a_link_that_is_revoked_tells_nothing_more() {
    let mut show = Show::new().await;
    let wanted = r#"{"stream": "live", "right": "publish"}"#;
    let (_, link) = show.ask("POST", "/api/v1/links", Some(ROOT), Some(wanted)).await;
    let (id, token) = (link["id"].as_str().expect("an id"), link["token"].as_str().expect("a token"));
    let mut tcp = show.house.connect().await;
    let head = "Host: a\r\nConnection: close";
    let request = format!("GET /api/v1/events?stream=live HTTP/1.1\r\n{head}\r\nAuthorization: Bearer {token}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("written");
    hear(&mut tcp, &mut String::new(), "event: state").await;

    show.ask("DELETE", &format!("/api/v1/links/{id}"), Some(ROOT), None).await;
    show.house.ask("DELETE", &show.viewer, &[], b"").await;

    let mut rest = String::new();
    within(tcp.read_to_string(&mut rest)).await.expect("read to its end");
    assert!(!rest.contains("event:"), "{rest}");
    show.house.shut_down().await;
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens() {
    let show = Show::new().await;
    let mut tcp = show.house.connect().await;
    let request = format!("GET /api/v1/events?stream=live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("written");
    let mut heard = String::new();
    hear(&mut tcp, &mut heard, "event: state").await;
    assert!(heard.contains("text/event-stream") && heard.contains(r#""name":"live""#), "{heard}");

    show.house.ask("DELETE", &show.viewer, &[], b"").await;

    hear(&mut tcp, &mut heard, r#""state":"ended""#).await;
    assert!(heard.contains("event: session") && heard.contains(r#""reason":"deleted""#), "{heard}");
    assert!(!heard.contains(&session(&show.viewer).to_string()), "the whole id is a secret");
    drop(tcp);
    show.house.shut_down().await;
}

/// Reads until this is heard.
async fn hear(tcp: &mut TcpStream, heard: &mut String, wanted: &str) {
    let mut piece = [0; 4096];
    while !heard.contains(wanted) {
        let read = within(tcp.read(&mut piece)).await.expect("read");
        assert!(read > 0, "it ended before {wanted}: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}
