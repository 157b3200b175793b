//! What happens when things go well.

use crate::harness::{ANN, BOB, EVE, GUEST, House, ROOT, offer};
use tribune::media::{Notice, SessionId};
use tribune::peer::srtp::Profile;

const OBS: &str = "obs-32.2.2";
const PLAYER: &str = "chromium-156-play";

fn session(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

/// Presents on `live` and connects.
async fn present(house: &House) -> String {
    let reply = house.post("/whip/live", Some(ANN), &offer(OBS)).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let location = reply.header("location").expect("a Location").to_owned();
    let notice =
        Notice::Connected { session: session(&location), remote: ([192, 0, 2, 9], 4).into(), profile: Profile::AesGcm };
    house.control.notice(notice);
    location
}

#[tokio::test]
async fn an_offer_becomes_a_session_with_all_its_headers() {
    let house = House::new();

    let reply = house.post("/whip/live", Some(ANN), &offer(OBS)).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/sdp"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let etag = reply.header("etag").expect("an ETag");
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let id = reply.header("location").and_then(|l| l.strip_prefix("/session/")).expect("a path");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert!(reply.body.starts_with(b"v=0\r\n"));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    reply.assert_cors("201");
    house.shut_down().await;
}

#[tokio::test]
async fn an_offer_may_come_in_chunks_or_after_a_question() {
    let house = House::new();
    let offer = offer(OBS);
    let head = format!("POST /whip/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: bearer {ANN}\r\n");
    let typed = format!("{head}Content-Type: Application/SDP; charset=utf-8\r\n");
    let (first, second) = offer.split_at(100);
    let chunked = format!(
        "{typed}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:X};x=y\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let asked = format!("{typed}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{offer}", offer.len());

    for request in [chunked, asked] {
        let replies = house.raw(request.as_bytes()).await;
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [201], "{replies:?}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn aliases_lead_to_the_same_endpoints() {
    let house = House::new();

    for path in ["/whip/live", "/live/whip", "/api/whip", "/whip/%6cive"] {
        let reply = house.post(path, Some(ANN), &offer(OBS)).await;
        assert_eq!(reply.status, 201, "{path}: {reply:?}");
        house.control.notice(Notice::Connected {
            session: session(reply.header("location").unwrap()),
            remote: ([192, 0, 2, 9], 4).into(),
            profile: Profile::AesGcm,
        });
    }
    for path in ["/whep/live", "/live/whep"] {
        let reply = house.post(path, None, &offer(PLAYER)).await;
        assert_eq!(reply.status, 201, "{path}: {reply:?}");
    }
    assert_eq!(house.post("/api/whep", Some(ANN), &offer(PLAYER)).await.status, 201);
    house.shut_down().await;
}

#[tokio::test]
async fn an_open_stream_takes_any_nonsense_for_a_token() {
    let house = House::new();
    present(&house).await;

    for credentials in ["Bearer undefined", "Bearer", "raw-key", "Basic eDp5", "Bearer a b"] {
        let headers = [("Content-Type", "application/sdp"), ("Authorization", credentials)];
        let reply = house.ask("POST", "/whep/live", &headers, offer(PLAYER).as_bytes()).await;
        assert_eq!(reply.status, 201, "{credentials}: {reply:?}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn a_session_can_be_looked_at_and_ended_by_its_url_alone() {
    let house = House::new();
    let location = present(&house).await;

    let seen = house.get(&location).await;
    assert_eq!((seen.status, seen.body.len()), (200, 0));
    assert!(seen.header("etag").is_some());
    let stray = [("Content-Type", "application/sdp"), ("If-Match", "\"nope\"")];
    let ended = house.ask("DELETE", &location, &stray, b"stray body").await;
    assert_eq!((ended.status, ended.body.len()), (200, 0), "{ended:?}");
    assert_eq!(ended.header("content-length"), Some("0"));
    ended.assert_cors("DELETE");

    assert_eq!(house.ask("DELETE", &location, &[], b"").await.status, 200, "repeated");
    house.get(&location).await.assert_problem(404, "GET after DELETE");
    house.shut_down().await;
}

#[tokio::test]
async fn a_token_that_is_sent_to_a_session_must_be_right() {
    let house = House::new();
    let location = present(&house).await;
    let delete = async |credentials: &str| house.ask("DELETE", &location, &[("Authorization", credentials)], b"").await;

    delete("Bearer nonsense").await.assert_problem(401, "a wrong token");
    delete("Bearer a b").await.assert_problem(400, "a broken one");
    delete(&format!("Bearer {BOB}")).await.assert_problem(404, "somebody else's");
    delete(&format!("Bearer {EVE}")).await.assert_problem(404, "somebody else's");
    assert_eq!(house.get(&location).await.status, 200, "the session is still there");
    assert_eq!(delete(&format!("bEARER {ANN}")).await.status, 200);

    let location = present(&house).await;
    let root = format!("Bearer {ROOT}");
    assert_eq!(house.ask("DELETE", &location, &[("Authorization", &root)], b"").await.status, 200);
    house.shut_down().await;
}

#[tokio::test]
async fn get_and_head_of_an_endpoint_have_no_content_and_the_same_headers() {
    let house = House::new();
    let ann = format!("Bearer {ANN}");
    let guest = format!("Bearer {GUEST}");
    let cases = [
        ("/whip/live", Some(&ann), None),
        ("/whep/live", None, Some("application/sdp")),
        ("/whep/closed", Some(&guest), Some("application/sdp")),
    ];

    for (path, token, media_type) in cases {
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("Authorization", token.as_str())).collect();
        let get = house.ask("GET", path, &headers, b"").await;
        let head = house.ask("HEAD", path, &headers, b"").await;
        assert_eq!((get.status, get.body.len()), (200, 0), "{path}");
        assert_eq!((get.header("content-type"), get.header("content-length")), (media_type, Some("0")), "{path}");
        assert_eq!(get.header("accept-post"), Some("application/sdp"), "{path}");
        let without_date = |head: &str| {
            let mut lines: Vec<_> = head.lines().filter(|l| !l.starts_with("date")).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(without_date(&get.head), without_date(&head.head), "{path}");
    }
    house.get("/whip/live").await.assert_problem(401, "GET without a token");
    house.get("/whep/closed").await.assert_problem(401, "GET without a token");
    house.shut_down().await;
}

#[tokio::test]
async fn options_need_no_token_anywhere() {
    let house = House::new();
    let unknown = "/session/0123456789abcdef0123456789abcdef";
    let preflight = [
        ("Origin", "https://elsewhere.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];

    for path in ["/whip/live", "/whep/live", "/whep/closed", "/api/whip", unknown, "/", "/metrics", "/nowhere"] {
        let reply = house.ask("OPTIONS", path, &preflight, b"").await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
        reply.assert_cors(path);
        let methods = reply.header("access-control-allow-methods").expect("a list");
        assert!(["POST", "PATCH", "DELETE", "OPTIONS"].iter().all(|m| methods.contains(m)), "{path}: {methods}");
    }
    for path in ["/whip/live", "/whep/live", "/whep/closed", "/api/whip"] {
        let reply = house.ask("OPTIONS", path, &[], b"").await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("accept-post"), Some("application/sdp"), "{path}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, OPTIONS"), "{path}");
        let methods = reply.header("access-control-allow-methods").expect("a list");
        assert!(methods.contains("PATCH"), "{path}: players learn from this that we trickle");
        assert_eq!(reply.header("accept-patch"), Some("application/trickle-ice-sdpfrag"), "{path}");
        assert_eq!(reply.header("link"), None);
    }
    house.ask("OPTIONS", unknown, &[], b"").await.assert_problem(404, "a session that is not");
    house.shut_down().await;
}

#[tokio::test]
async fn the_list_of_streams_shows_what_one_may_watch() {
    let house = House::new();
    present(&house).await;
    let root = format!("Bearer {ROOT}");
    assert_eq!(house.post("/whip/closed", Some(ROOT), &offer(OBS)).await.status, 201);

    let anybody = house.get("/api/v1/streams").await;
    let admin = house.ask("GET", "/api/v1/streams", &[("Authorization", &root)], b"").await;

    let names = |body: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        let streams = document["streams"].as_array().expect("a list").clone();
        streams.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(anybody.header("content-type"), Some("application/json"));
    assert_eq!(names(&anybody.body), ["live"]);
    assert_eq!(names(&admin.body), ["closed", "live"]);
    let document: serde_json::Value = serde_json::from_slice(&anybody.body).unwrap();
    assert_eq!(
        document["streams"][0],
        serde_json::json!({"name": "live", "state": "live", "live": true, "viewers": {"now": 0}})
    );
    house.shut_down().await;
}

#[tokio::test]
async fn health_and_metrics_are_there() {
    let house = House::new();

    assert_eq!(house.get("/livez").await.status, 200);
    assert_eq!(house.get("/readyz").await.status, 200);
    let metrics = house.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = String::from_utf8(metrics.body).expect("text");
    assert!(text.contains(r#"tribune_http_requests_total{method="GET",route="livez",status="200"} 1"#), "{text}");
    assert!(text.contains("tribune_http_connections 1"), "{text}");

    let forwarded = [("X-Forwarded-For", "192.0.2.1")];
    house.ask("GET", "/metrics", &forwarded, b"").await.assert_problem(401, "metrics through a proxy");
    let ann = format!("Bearer {ANN}");
    let wrong = [forwarded[0], ("Authorization", ann.as_str())];
    house.ask("GET", "/metrics", &wrong, b"").await.assert_problem(403, "metrics for a presenter");
    let root = format!("Bearer {ROOT}");
    assert_eq!(house.ask("GET", "/metrics", &[forwarded[0], ("Authorization", &root)], b"").await.status, 200);

    house.control.drain();
    let draining = house.get("/readyz").await;
    draining.assert_problem(503, "draining");
    assert!(draining.header("retry-after").is_some());
    assert_eq!(house.get("/livez").await.status, 200);
    house.shut_down().await;
}
