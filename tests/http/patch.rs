//! PATCH on a session: trickled candidates and ICE restarts (RFC 9725 §4.3).

use crate::harness::{ANN, BOB, House, Reply, offer};
use tribune::control::EtagPolicy;

pub const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const UNKNOWN: &str = "/session/0123456789abcdef0123456789abcdef";

/// A presenter's session: its URL and entity-tag.
pub async fn session(house: &House) -> (String, String) {
    let reply = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let header = |name: &str| reply.header(name).expect(name).to_owned();
    (header("location"), header("etag"))
}

/// A line of the offer that the session was made with.
fn offered(key: &str) -> String {
    let offer = offer("obs-32.2.2");
    offer.lines().find(|line| line.starts_with(key)).expect(key).trim_end().to_owned()
}

/// Candidates of the present ICE session.
pub fn candidates() -> String {
    let (ufrag, pwd) = (offered("a=ice-ufrag:"), offered("a=ice-pwd:"));
    format!(
        "{ufrag}\r\n{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n"
    )
}

/// A new ICE session of the client.
pub fn restart(ufrag: &str) -> String {
    candidates()
        .replace(&offered("a=ice-ufrag:"), &format!("a=ice-ufrag:{ufrag}"))
        .replace(&offered("a=ice-pwd:"), "a=ice-pwd:a+new+password+of+22+chars")
}

pub async fn patch(house: &House, path: &str, if_match: Option<&str>, body: &str) -> Reply {
    let mut headers = vec![FRAGMENT];
    headers.extend(if_match.map(|tag| ("If-Match", tag)));
    house.ask("PATCH", path, &headers, body.as_bytes()).await
}

fn strict() -> House {
    House::with(|settings| settings.etag_policy = EtagPolicy::Strict)
}

#[tokio::test]
async fn candidates_get_204_without_body_and_etag() {
    for house in [House::new(), strict()] {
        let (location, etag) = session(&house).await;

        for tag in [etag.as_str(), "*", "\"*\"", &format!("\"other\", {etag}")] {
            // Twice the same is fine.
            for _ in 0..2 {
                let reply = patch(&house, &location, Some(tag), &candidates()).await;
                assert_eq!((reply.status, reply.body.len()), (204, 0), "{tag}: {reply:?}");
                assert_eq!((reply.header("etag"), reply.header("content-type")), (None, None), "{tag}");
                reply.assert_cors("204");
            }
        }
        assert_eq!(house.get(&location).await.header("etag"), Some(etag.as_str()), "the same ICE session");
        house.shut_down().await;
    }
}

#[tokio::test]
async fn a_missing_entity_tag_is_forgiven_unless_the_policy_is_strict() {
    for (house, status) in [(House::new(), 204), (strict(), 428)] {
        let (location, _) = session(&house).await;

        let reply = patch(&house, &location, None, &candidates()).await;

        assert_eq!(reply.status, status, "{reply:?}");
        patch(&house, &location, None, &restart("fresh")).await.assert_problem(428, "a restart says what it means");
        house.shut_down().await;
    }
}

#[tokio::test]
async fn a_wrong_entity_tag_is_never_forgiven() {
    for house in [House::new(), strict()] {
        let (location, etag) = session(&house).await;
        let weak = format!("W/{etag}");
        for tag in ["\"nope\"", "nope", "", weak.as_str()] {
            for body in [candidates(), restart("fresh")] {
                patch(&house, &location, Some(tag), &body).await.assert_problem(412, tag);
            }
        }
        assert_eq!(house.get(&location).await.header("etag"), Some(etag.as_str()), "nothing has changed");
        house.shut_down().await;
    }
}

#[tokio::test]
async fn new_credentials_begin_a_new_ice_session() {
    for house in [House::new(), strict()] {
        let (location, first) = session(&house).await;
        let bare = "a=ice-ufrag:fresh3\r\na=ice-pwd:another+password+of+22+chars\r\n".to_owned();
        let mut seen = vec![first.clone()];

        for (tag, body) in [("*", restart("fresh1")), ("\"*\"", restart("fresh2")), ("*", bare)] {
            let reply = patch(&house, &location, Some(tag), &body).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/trickle-ice-sdpfrag"));
            reply.assert_cors("200");
            let etag = reply.header("etag").expect("an ETag").to_owned();
            assert!(etag.starts_with('"') && etag.ends_with('"') && !seen.contains(&etag), "{etag}");
            let text = String::from_utf8(reply.body).expect("text");
            for line in ["a=ice-lite", "a=ice-options:trickle ice2", "a=mid:0", "a=end-of-candidates"] {
                assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
            }
            assert!(text.contains("a=candidate:1 1 udp ") && text.contains(" 192.0.2.1 8080 typ host\r\n"), "{text}");
            let ufrag = text.lines().find(|line| line.starts_with("a=ice-ufrag:")).expect("a name").to_owned();
            assert!(!seen.contains(&ufrag), "the server's half is new as well");
            seen.extend([etag, ufrag]);
        }
        let last = seen.iter().rfind(|tag| tag.starts_with('"')).expect("a tag");
        assert_eq!(house.get(&location).await.header("etag"), Some(last.as_str()));
        let late = patch(&house, &location, Some(&first), &candidates()).await;
        late.assert_problem(412, "candidates of the ICE session before");
        patch(&house, &location, Some("*"), &candidates()).await.assert_problem(412, "the same, without saying which");
        house.shut_down().await;
    }
}

#[tokio::test]
async fn a_restart_may_also_name_the_present_ice_session() {
    let house = House::new();
    let (location, etag) = session(&house).await;

    assert_eq!(patch(&house, &location, Some(&etag), &restart("fresh")).await.status, 200);
    patch(&house, &location, Some(&etag), &restart("later")).await.assert_problem(412, "named twice");
    house.shut_down().await;
}

#[tokio::test]
async fn another_password_under_the_same_name_is_no_restart() {
    let house = House::new();
    let (location, etag) = session(&house).await;
    let same_name = restart("fresh").replace("a=ice-ufrag:fresh", &offered("a=ice-ufrag:"));

    assert_eq!(patch(&house, &location, Some(&etag), &same_name).await.status, 204);
    house.shut_down().await;
}

#[tokio::test]
async fn a_broken_fragment_changes_nothing() {
    let house = House::new();
    let (location, etag) = session(&house).await;
    let half = format!("{}\r\n", offered("a=ice-ufrag:"));
    let cases = ["", "hello", "a=candidate:garbage\r\n", &half, "a=ice-ufrag:fresh\r\na=ice-pwd:short\r\n", "\u{1}"];

    for body in cases {
        patch(&house, &location, Some("*"), body).await.assert_problem(400, body);
    }
    let not_text = house.ask("PATCH", &location, &[FRAGMENT], b"a=\xff\r\n").await;
    not_text.assert_problem(400, "not UTF-8");
    assert_eq!(patch(&house, &location, Some(&etag), &candidates()).await.status, 204, "the session goes on");
    house.shut_down().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_request_counts_before_its_preconditions() {
    let house = House::new();
    let (location, _) = session(&house).await;
    let large = format!("{}{}", candidates(), "a=x:y\r\n".repeat(3_000));
    let bob = format!("Bearer {BOB}");
    let ask = async |path: &str, headers: &[(&str, &str)], body: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([("If-Match", "\"nope\"")]).collect();
        house.ask("PATCH", path, &headers, body.as_bytes()).await
    };

    for kind in ["application/sdp", "application/json", "text/plain"] {
        let reply = ask(&location, &[("Content-Type", kind)], &candidates()).await;
        reply.assert_problem(415, kind);
        assert_eq!(reply.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    }
    ask(&location, &[], &candidates()).await.assert_problem(415, "no type");
    ask(&location, &[FRAGMENT], &large).await.assert_problem(413, "too large");
    ask(&location, &[FRAGMENT], "hello").await.assert_problem(400, "no fragment");
    ask(UNKNOWN, &[FRAGMENT], &candidates()).await.assert_problem(404, "no session");
    ask(&location, &[FRAGMENT, ("Authorization", &bob)], &candidates()).await.assert_problem(404, "another's");
    ask(&location, &[FRAGMENT, ("Authorization", "Bearer x")], &candidates()).await.assert_problem(401, "a stranger");
    house.ask("DELETE", &location, &[], b"").await;
    ask(&location, &[FRAGMENT], &candidates()).await.assert_problem(404, "it has ended");
    house.shut_down().await;
}

#[tokio::test]
async fn too_many_patches_of_one_session_are_told_to_wait() {
    let house = House::new();
    let (location, etag) = session(&house).await;
    let one = format!(
        "PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Type: application/trickle-ice-sdpfrag\r\nIf-Match: {etag}\r\n\
         Content-Length: {}\r\n\r\n{}",
        candidates().len(),
        candidates()
    );

    let mut flood = one.repeat(200);
    flood.push_str("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let statuses: Vec<u16> = house.raw(flood.as_bytes()).await.iter().map(|reply| reply.status).collect();

    assert_eq!(statuses[..100], [204; 100]);
    assert!(statuses.contains(&429));
    house.shut_down().await;
}
