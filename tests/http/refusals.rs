//! Every wrong request gets the one right status, with an explanation.

use crate::harness::{ANN, BOB, EVE, GUEST, House, offer};
use tribune::media::{CloseReason, Notice, SessionId, Summary};

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const UNKNOWN: &str = "/session/0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_stranger_is_told_to_bring_a_token_whatever_else_is_wrong() {
    let house = House::new();
    let valid = offer("obs-32.2.2");
    let large = vec![0xff; 70_000];
    let bodies = [valid.as_bytes(), b"", b"nonsense", &large];

    for path in ["/whip/live", "/live/whip", "/api/whip", "/api/whep", "/whep/closed"] {
        for headers in [&[SDP][..], &[("Content-Type", "text/plain")][..], &[][..]] {
            for body in bodies {
                let reply = house.ask("POST", path, headers, body).await;
                reply.assert_problem(401, path);
                assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="tribune""#), "{path}");
            }
        }
    }
    house.shut_down().await;
}

#[tokio::test]
async fn credentials_are_judged_as_rfc_6750_says() {
    let house = House::new();
    let cases = [
        ("/whip/live", "Basic eDp5".to_owned(), 401, r#"Bearer realm="tribune""#),
        ("/whip/live", "Bearer unknown".to_owned(), 401, r#"Bearer realm="tribune", error="invalid_token""#),
        ("/api/whip", "Bearer unknown".to_owned(), 401, r#"Bearer realm="tribune", error="invalid_token""#),
        ("/whip/live", "Bearer".to_owned(), 400, r#"Bearer realm="tribune", error="invalid_request""#),
        ("/whip/live", "Bearer a b".to_owned(), 400, r#"Bearer realm="tribune", error="invalid_request""#),
        ("/whip/live", format!("Bearer {EVE}"), 403, r#"Bearer realm="tribune", error="insufficient_scope""#),
        ("/whip/closed", format!("Bearer {GUEST}"), 403, r#"Bearer realm="tribune", error="insufficient_scope""#),
        ("/api/whip", format!("Bearer {GUEST}"), 403, r#"Bearer realm="tribune", error="insufficient_scope""#),
        ("/whep/closed", format!("Bearer {ANN}"), 403, r#"Bearer realm="tribune", error="insufficient_scope""#),
    ];

    for (path, credentials, status, challenge) in cases {
        let reply = house.ask("POST", path, &[SDP, ("Authorization", &credentials)], b"v=0").await;
        reply.assert_problem(status, &credentials);
        assert_eq!(reply.header("www-authenticate"), Some(challenge), "{path} {credentials}");
    }
    let ann = format!("Bearer {ANN}");
    for path in ["/whip/live", "/whep/live", UNKNOWN] {
        let twice = [SDP, ("Authorization", ann.as_str()), ("Authorization", ann.as_str())];
        let method = if path == UNKNOWN { "DELETE" } else { "POST" };
        house.ask(method, path, &twice, b"v=0").await.assert_problem(400, "two credentials");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn a_body_must_be_an_sdp_offer() {
    let house = House::new();
    let ann = format!("Bearer {ANN}");
    let token = ("Authorization", ann.as_str());
    let valid = offer("obs-32.2.2");
    let large = vec![b'a'; 65_537];
    let full = vec![b'a'; 65_536];
    let no_audio_or_video = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let receiving = valid.replace("a=sendonly", "a=recvonly");
    let cases: [(&str, Headers, &[u8], u16); 14] = [
        ("no type", &[token], valid.as_bytes(), 415),
        ("text", &[token, ("Content-Type", "text/plain")], valid.as_bytes(), 415),
        ("JSON", &[token, ("Content-Type", "application/json")], valid.as_bytes(), 415),
        ("two types", &[token, SDP, SDP], valid.as_bytes(), 415),
        ("wrong type and empty", &[token, ("Content-Type", "text/plain")], b"", 415),
        ("wrong type and too large", &[token, ("Content-Type", "text/plain")], &large, 415),
        ("compressed", &[token, SDP, ("Content-Encoding", "gzip")], valid.as_bytes(), 415),
        ("too large", &[token, SDP], &large, 413),
        ("just not too large", &[token, SDP], &full, 400),
        ("empty", &[token, SDP], b"", 400),
        ("no SDP", &[token, SDP], b"{\"sdp\": true}", 400),
        ("not UTF-8", &[token, SDP], b"v=0\r\n\xff\xfe", 400),
        ("cut off", &[token, SDP], valid.as_bytes().get(..200).unwrap(), 400),
        ("wrong direction", &[token, SDP], receiving.as_bytes(), 422),
    ];

    for (what, headers, body, status) in cases {
        let reply = house.ask("POST", "/whip/live", headers, body).await;
        reply.assert_problem(status, what);
        let wants_sdp = status == 415 && what != "compressed";
        assert_eq!(reply.header("accept-post").is_some(), wants_sdp, "{what}");
    }
    let reply = house.ask("POST", "/whip/live", &[token, SDP], no_audio_or_video.as_bytes()).await;
    assert!(matches!(reply.status, 400 | 422), "{reply:?}");
    let found = house.ask("POST", "/whip/live", &[token, ("Content-Type", "text/x-odd; a=b")], b"v=0").await;
    assert!(String::from_utf8_lossy(&found.body).contains("text/x-odd"), "the refusal says what was found");
    assert!(house.control.streams().is_empty(), "nothing was made of all this");
    house.shut_down().await;
}

#[tokio::test]
async fn a_large_body_in_chunks_is_cut_off() {
    let house = House::new();
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096)).repeat(40);
    let request = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );

    let replies = house.raw(request.as_bytes()).await;

    assert_eq!(replies.len(), 1);
    replies[0].assert_problem(413, "too many chunks");
    assert_eq!(replies[0].header("connection"), Some("close"));
    house.shut_down().await;
}

#[tokio::test]
async fn a_stream_that_is_not_free_or_not_there_says_so() {
    let house = House::new();
    let (obs, player) = (offer("obs-32.2.2"), offer("chromium-156-play"));

    let idle = house.post("/whep/live", None, &player).await;
    idle.assert_problem(409, "nobody presents");
    let seconds: u32 = idle.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((1..=10).contains(&seconds));

    let first = house.post("/whip/live", Some(ANN), &obs).await;
    assert_eq!(first.status, 201);
    let busy = house.post("/whip/live", Some(BOB), &obs).await;
    busy.assert_problem(409, "somebody else presents");
    assert_eq!(busy.header("retry-after"), None);

    house.control.drain();
    let draining = house.post("/whip/live", Some(ANN), &obs).await;
    draining.assert_problem(503, "draining");
    assert!(draining.header("retry-after").is_some());
    house.shut_down().await;
}

#[tokio::test]
async fn a_session_that_ended_is_not_found() {
    let house = House::new();
    let reply = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    let location = reply.header("location").expect("a Location").to_owned();
    let session: SessionId = location.trim_start_matches("/session/").parse().expect("an id");

    house.control.notice(Notice::Closed { session, reason: CloseReason::PeerClosed, summary: Summary::default() });

    house.get(&location).await.assert_problem(404, "GET");
    assert_eq!(house.ask("DELETE", &location, &[], b"").await.status, 200, "it ended just now");
    house.get(UNKNOWN).await.assert_problem(404, "GET of one that never was");
    house.ask("DELETE", UNKNOWN, &[], b"").await.assert_problem(404, "DELETE of one that never was");
    let wrong = [("Authorization", "Bearer nonsense")];
    house.ask("DELETE", UNKNOWN, &wrong, b"").await.assert_problem(404, "there is nothing to protect");
    house.shut_down().await;
}

#[tokio::test]
async fn a_method_without_meaning_gets_the_list_of_those_with_one() {
    let house = House::new();
    let cases = [
        ("/whip/live", &["PUT", "PATCH", "DELETE", "TRACE", "BREW"][..], "GET, HEAD, POST, OPTIONS"),
        ("/whep/live", &["PUT", "PATCH", "DELETE", "TRACE"], "GET, HEAD, POST, OPTIONS"),
        (UNKNOWN, &["PUT", "POST", "TRACE"], "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/livez", &["PUT", "POST", "PATCH", "DELETE"], "GET, HEAD, OPTIONS"),
        ("/", &["POST", "DELETE"], "GET, HEAD, OPTIONS"),
    ];

    for (path, methods, allow) in cases {
        for method in methods {
            let reply = house.ask(method, path, &[], b"").await;
            reply.assert_problem(405, &format!("{method} {path}"));
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        }
    }
    house.shut_down().await;
}

#[tokio::test]
async fn a_post_is_never_redirected() {
    let house = House::new();
    let ann = format!("Bearer {ANN}");

    for path in ["/whip/live/", "//whip/live", "/WHIP/live", "/whip/", "/whip", "/", "/nowhere", "/whip/a.b"] {
        let headers = [SDP, ("Authorization", ann.as_str())];
        let reply = house.ask("POST", path, &headers, b"v=0").await;
        reply.assert_problem(if path == "/" { 405 } else { 404 }, path);
        assert_eq!(reply.header("location"), None);
    }
    house.shut_down().await;
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_to_wait() {
    let house = House::new();
    let mut statuses = Vec::new();

    for _ in 0..60 {
        let reply = house.post("/whip/live", Some(ANN), "v=0").await;
        if reply.status == 429 {
            reply.assert_problem(429, "too often");
            assert!(reply.header("retry-after").is_some());
        }
        statuses.push(reply.status);
    }

    assert_eq!(statuses[..20], [400; 20], "a burst is let through");
    assert!(statuses.contains(&429));
    house.shut_down().await;
}
