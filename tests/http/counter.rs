//! Counter-offers: a viewer whose offer cannot be taken gets one of ours.

use crate::harness::{ANN, House, Reply, UNCONNECTED, offer};
use tribune::control::counter::CounterPolicy;
use tribune::media::{Notice, SessionId};
use tribune::peer::srtp::Profile;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

fn session(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

/// A server with a presenter of H.264 and Opus on `live`.
async fn house(policy: CounterPolicy) -> House {
    let house = House::with(|settings| settings.whep_counter_offer = policy);
    let presenter = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    let session = session(presenter.header("location").expect("a Location"));
    house.control.notice(Notice::Connected { session, remote: ([192, 0, 2, 9], 4).into(), profile: Profile::AesGcm });
    house
}

/// The offer of a browser that knows nothing but VP8, and G.722 for the sound.
fn foreign() -> String {
    let offer = offer("firefox-153-play").replace("opus/48000/2", "speex/16000");
    assert!(!offer.contains("H264/90000"), "this Firefox had no H.264");
    offer
}

/// What a player answers that takes everything offered.
fn answer(offer: &[u8]) -> String {
    let offer = String::from_utf8(offer.to_vec()).expect("text");
    let ours = ["a=ssrc", "a=msid", "a=candidate", "a=end-of", "a=ice-lite"];
    let kept = offer.lines().filter(|line| !ours.iter().any(|prefix| line.starts_with(prefix)));
    let lines = kept.map(|line| match line {
        "a=sendonly" => "a=recvonly",
        "a=setup:actpass" => "a=setup:active",
        other => other,
    });
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

async fn countered(house: &House) -> Reply {
    let reply = house.post("/whep/live", None, &foreign()).await;
    assert_eq!(reply.status, 406, "{reply:?}");
    reply
}

#[tokio::test]
async fn an_offer_that_cannot_be_taken_is_refused_by_default() {
    let house = house(CounterPolicy::Off).await;

    house.post("/whep/live", None, &foreign()).await.assert_problem(422, "no codec in common");

    house.shut_down().await;
}

#[tokio::test]
async fn a_counter_offer_has_everything_that_an_answer_needs() {
    let house = house(CounterPolicy::OnCodecMismatch).await;

    let reply = countered(&house).await;

    let kind = reply.header("content-type").expect("a Content-Type");
    let date = kind.strip_prefix("application/sdp; valid-until=\"").and_then(|rest| rest.strip_suffix(" GMT\""));
    assert!(date.is_some_and(|date| date.len() == 25 && date.contains(", ")), "{kind}");
    assert!(reply.header("location").is_some_and(|place| place.starts_with("/session/")));
    assert!(reply.header("etag").is_some_and(|tag| tag.starts_with('"')));
    assert!(reply.header("accept-patch").is_some_and(|types| types.contains("application/sdp")));
    assert!(reply.head.contains("core:server-sent-events") && reply.head.contains("core:layer"), "{}", reply.head);
    reply.assert_cors("406");
    let offer = String::from_utf8(reply.body).expect("text");
    for line in ["a=setup:actpass", "a=sendonly", "a=ice-lite", "a=group:BUNDLE 0 1", "a=rtcp-mux"] {
        assert!(offer.contains(&format!("{line}\r\n")), "{line}: {offer}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn an_answer_makes_the_session_and_a_second_one_is_a_conflict() {
    let house = house(CounterPolicy::OnCodecMismatch).await;
    let reply = countered(&house).await;
    let place = reply.header("location").expect("a Location").to_owned();
    let before = house.control.sessions();
    let answer = answer(&reply.body);

    house.ask("PATCH", &place, &[SDP], b"v=0\r\n").await.assert_problem(400, "no answer");
    let taken = house.ask("PATCH", &place, &[SDP, ("User-Agent", "kite/1.0")], answer.as_bytes()).await;
    assert_eq!((taken.status, taken.body.len()), (204, 0), "{taken:?}");
    let recording = house.control.recording(session(&place)).expect("recorded");
    assert_eq!(recording.person.user_agent.as_deref(), Some("kite/1.0"));
    assert!(recording.person.address.is_some() && recording.person.codecs == [None; 2], "{recording:?}");
    assert!(recording.offer.is_some_and(|theirs| theirs.contains("a=recvonly")));
    assert!(recording.answer.is_some_and(|ours| ours.contains("a=sendonly") && ours.contains("a=ice-pwd:…")));
    assert_eq!(house.control.sessions(), before + 1);
    let found = house.get(&place).await;
    assert_eq!((found.status, found.header("etag")), (200, reply.header("etag")));
    house.ask("PATCH", &place, &[SDP], answer.as_bytes()).await.assert_problem(409, "answered twice");
    assert_eq!(house.ask("POST", &format!("{place}/events"), &[], b"").await.status, 201);

    assert_eq!(house.ask("DELETE", &place, &[], b"").await.status, 200);
    assert_eq!(house.control.sessions(), before);
    house.get(&place).await.assert_problem(404, "ended");
    house.shut_down().await;
}

#[tokio::test]
async fn a_counter_offer_can_be_looked_at_and_declined() {
    let house = house(CounterPolicy::OnCodecMismatch).await;
    let reply = countered(&house).await;
    let place = reply.header("location").expect("a Location").to_owned();

    let found = house.get(&place).await;
    assert_eq!((found.status, found.header("etag")), (200, reply.header("etag")));
    assert_eq!(house.ask("DELETE", &place, &[], b"").await.status, 200);

    house.ask("PATCH", &place, &[SDP], answer(&reply.body).as_bytes()).await.assert_problem(404, "declined");
    house.shut_down().await;
}

#[tokio::test]
async fn browsers_that_have_a_codec_of_the_stream_are_answered_as_ever() {
    let house = house(CounterPolicy::OnCodecMismatch).await;

    let usual = house.post("/whep/live", None, &offer("chromium-156-play")).await;
    let broken = house.post("/whep/live", None, "v=0\r\n").await;

    assert_eq!(usual.status, 201, "{usual:?}");
    broken.assert_problem(400, "no SDP");
    let session = usual.header("location").expect("a Location");
    house.ask("PATCH", session, &[SDP], b"v=0\r\n").await.assert_problem(415, "no offer of ours is open");
    house.shut_down().await;
}

#[tokio::test]
async fn an_answer_counts_among_the_sessions_of_its_address_that_never_connect() {
    let house = house(CounterPolicy::OnCodecMismatch).await;
    let first = countered(&house).await;
    let second = countered(&house).await;
    let place = |reply: &Reply| reply.header("location").expect("a Location").to_owned();
    for n in 1..UNCONNECTED {
        assert_eq!(house.post("/whep/live", None, &offer("chromium-156-play")).await.status, 201, "{n}");
    }

    let last = house.ask("PATCH", &place(&first), &[SDP], answer(&first.body).as_bytes()).await;
    let flood = house.ask("PATCH", &place(&second), &[SDP], answer(&second.body).as_bytes()).await;

    assert_eq!(last.status, 204, "{last:?}");
    flood.assert_problem(429, "one too many");
    let session = session(&place(&first));
    house.control.notice(Notice::Connected { session, remote: ([192, 0, 2, 9], 4).into(), profile: Profile::AesGcm });
    let again = house.ask("PATCH", &place(&second), &[SDP], answer(&second.body).as_bytes()).await;
    assert_eq!(again.status, 204, "it may be answered again: {again:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn whoever_was_sent_here_is_told_whole_urls() {
    let house = house(CounterPolicy::OnCodecMismatch).await;
    let path = "/whep/live?redirected=1";

    for reply in [house.post(path, None, &foreign()).await, house.post(path, None, &offer("chromium-156-play")).await] {
        let location = reply.header("location").expect("a Location").to_owned();
        assert!(location.starts_with("http://a/session/"), "{location}");
        let links = reply.all_of("link");
        assert!(links.len() == 2 && links.iter().all(|link| link.starts_with(&format!("<{location}/"))), "{links:?}");
    }
    house.shut_down().await;
}
