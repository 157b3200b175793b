//! What real clients get wrong, and that it works all the same. One test for each of twenty known pitfalls:
//!
//! | pitfall | test |
//! |---|---|
//! | 1 no `If-Match`, `*`, `"*"`, or an `ETag` header instead | `p01_…` |
//! | 2 a PATCH that is not answered by 204 ends some players | `p02_…` |
//! | 3 a DELETE that is not answered by 200 is an error to some | `p03_…` |
//! | 4 DELETE comes after the client's goodbye, or twice | `p04_…` |
//! | 5 `Location` is taken apart in odd ways | `p05_…` |
//! | 6 offers without any candidate | `p06_…` |
//! | 7 `setup:passive` and `setup:active` in offers | `p07_…` |
//! | 8 checks without PRIORITY and ICE-CONTROLLING | `peer::ice`: `p08_…` |
//! | 9 only the first candidate is used, answers are cut at 8 KiB | `p09_…` |
//! | 10 ICE and DTLS lines are looked for in every section | `p10_…` |
//! | 11 data channels nobody asked for | `p11_…` |
//! | 12 a presenter that comes back finds its own dead session | `p12_…` |
//! | 13 media types in other cases, line ends without CR | `p13_…` |
//! | 14 `Link` is parsed by regular expressions | `p14_…` |
//! | 15 nonsense for a token, none at the session | `p15_…` |
//! | 16 some statuses make players do something else | `p16_…` |
//! | 17 redirects other than 307 lose the offer | `p17_…` |
//! | 18 H.264 under any label | `p18_…` |
//! | 19 all simulcast layers or none | `p19_…` |
//! | 20 `*` does not cover what browsers need | `p20_…` |

use crate::harness::{ANN, BOB, House, Reply, offer};
use crate::patch::{FRAGMENT, candidates, patch, restart, session};
use tribune::control::ice_servers::{Access, IceServer};
use tribune::media::{CloseReason, Notice, SessionId, Summary};
use tribune::peer::srtp::Profile;

const OBS: &str = "obs-32.2.2";
const PLAYER: &str = "chromium-156-play";

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).expect("text")
}

fn id(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

/// A presenter that is connected.
async fn live(house: &House) -> String {
    let (location, _) = session(house).await;
    house.control.notice(Notice::Connected {
        session: id(&location),
        remote: ([192, 0, 2, 9], 4).into(),
        profile: Profile::AesGcm,
    });
    location
}

/// The answer to an offer of a presenter.
async fn answer(house: &House, offer: &str) -> String {
    let reply = house.post("/whip/live", Some(ANN), offer).await;
    assert_eq!(reply.status, 201, "{}", text(&reply));
    text(&reply)
}

#[tokio::test]
async fn p01_entity_tags_come_in_every_form() {
    let house = House::new();
    let (location, etag) = session(&house).await;
    let forms: [&[(&str, &str)]; 4] = [&[], &[("If-Match", "*")], &[("If-Match", "\"*\"")], &[("ETag", etag.as_str())]];

    for form in forms {
        let headers: Vec<_> = form.iter().copied().chain([FRAGMENT]).collect();
        let reply = house.ask("PATCH", &location, &headers, candidates().as_bytes()).await;
        assert_eq!(reply.status, 204, "{form:?}");
    }
    for name in ["If-Match", "ETag"] {
        let reply = house.ask("PATCH", &location, &[FRAGMENT, (name, "\"old\"")], candidates().as_bytes()).await;
        reply.assert_problem(412, name);
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p02_candidates_get_204_whatever_they_are() {
    let house = House::new();
    let (location, etag) = session(&house).await;
    let object = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0"}"#;
    let mut odd = candidates();
    odd.push_str("m=video 9 RTP/AVP 0\r\na=mid:99\r\na=candidate:7 0 tcp 1 x.local 9 typ host tcptype active\r\n");

    for body in [odd.as_str(), "a=end-of-candidates\r\n", "a=candidate:\r\n", object] {
        let reply = patch(&house, &location, Some(&etag), body).await;
        assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (204, 0, None), "{body}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p03_delete_says_200_without_content() {
    let house = House::new();
    let location = live(&house).await;

    let reply = house.ask("DELETE", &location, &[], b"").await;

    assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")));
    house.shut_down().await;
}

#[tokio::test]
async fn p04_delete_after_the_clients_goodbye_succeeds_and_may_be_repeated() {
    let house = House::new();
    let location = live(&house).await;
    let reason = CloseReason::PeerClosed;
    house.control.notice(Notice::Closed { session: id(&location), reason, summary: Summary::default() });

    for credentials in ["Bearer undefined", "Bearer expired", &format!("Bearer {ANN}")] {
        let reply = house.ask("DELETE", &location, &[("Authorization", credentials)], b"").await;
        assert_eq!(reply.status, 200, "{credentials}");
    }
    house.get(&location).await.assert_problem(404, "it has ended for everything else");
    patch(&house, &location, Some("*"), &candidates()).await.assert_problem(404, "PATCH");
    house.shut_down().await;
}

#[tokio::test]
async fn p05_location_is_an_absolute_path_that_nobody_can_misread() {
    let house = House::new();

    for _ in 0..20 {
        let location = live(&house).await;
        assert!(location.starts_with("/session/") && !location.contains(['?', '%', '#']), "{location}");
        assert!(!location.contains("http") && !location.contains("live"), "{location}");
        house.ask("DELETE", &location, &[], b"").await;
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p06_an_offer_needs_no_candidate() {
    let house = House::new();
    let obs = offer(OBS);
    assert!(!obs.contains("a=candidate"));

    assert!(answer(&house, &obs).await.contains("a=candidate:1 1 udp "));
    house.shut_down().await;
}

#[tokio::test]
async fn p07_the_client_chooses_its_part_in_the_handshake() {
    let house = House::new();
    let obs = offer(OBS);

    for (offered, answered) in [("passive", "active"), ("active", "passive"), ("actpass", "passive")] {
        let answer = answer(&house, &obs.replace("a=setup:actpass", &format!("a=setup:{offered}"))).await;
        assert!(answer.contains(&format!("a=setup:{answered}\r\n")), "{offered}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p09_the_best_candidate_is_first_and_the_answer_short() {
    let house = House::new();

    for name in ["ffmpeg-8.0", "ffmpeg-9.0.2", "chromium-156-publish", "gst-1.28.8-whipclientsink"] {
        let answer = answer(&house, &offer(name)).await;
        assert!(answer.len() < 8192, "{name}: {}", answer.len());
        let first = answer.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate");
        assert!(first.contains(" 1 udp ") && first.ends_with(" 192.0.2.1 8080 typ host"), "{first}");
        let sections: Vec<_> = answer.split("\r\nm=").skip(1).collect();
        assert!(sections[0].contains("a=candidate:"), "{name}: some look in the first section only");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p10_every_section_has_ice_and_dtls_lines() {
    let house = House::new();

    let answer = answer(&house, &offer("aiortc-1.16.0-publish")).await;

    let sections: Vec<_> = answer.split("\r\nm=").skip(1).collect();
    assert_eq!(sections.len(), 2);
    for section in sections {
        for line in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:", "a=rtcp-mux"] {
            assert!(section.contains(line), "{line}");
        }
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p11_a_data_channel_is_refused_by_name_and_left_out_where_that_is_configured() {
    let channel =
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\na=sctp-port:5000\r\n";
    let with_channel = |name: &str| format!("{}{channel}", offer(name));
    let house = House::new();
    let refused = house.post("/whip/live", Some(ANN), &with_channel(OBS)).await;
    for word in ["application", "streams.whole_offers"] {
        assert!(text(&refused).contains(word), "{}", text(&refused));
    }
    refused.assert_problem(422, "all or nothing");
    live(&house).await;
    assert_eq!(house.post("/whep/live", None, &with_channel(PLAYER)).await.status, 201, "players are not presenters");
    house.shut_down().await;

    let tolerant = House::with_policies(|policies| policies.whole_offers = false);
    let answer = answer(&tolerant, &with_channel(OBS)).await;
    assert!(answer.contains("m=application 0 "), "{answer}");
    live(&tolerant).await;
    tolerant.shut_down().await;
}

#[tokio::test]
async fn p12_a_presenter_that_comes_back_takes_its_place_over() {
    let house = House::new();
    let old = live(&house).await;

    let new = live(&house).await;

    assert_ne!(old, new);
    house.get(&old).await.assert_problem(404, "the old session");
    house.post("/whip/live", Some(BOB), &offer(OBS)).await.assert_problem(409, "somebody else");
    house.shut_down().await;
}

#[tokio::test]
async fn p13_media_types_and_line_ends_are_read_generously() {
    let house = House::new();
    let ann = format!("Bearer {ANN}");
    let bare = offer(OBS).replace("\r\n", "\n");
    let marked = format!("\u{feff}{}", offer(OBS));

    for (kind, body) in [("Application/SDP; charset=utf-8", &bare), ("application/sdp", &marked)] {
        let headers = [("Content-Type", kind), ("Authorization", ann.as_str())];
        assert_eq!(house.ask("POST", "/whip/live", &headers, body.as_bytes()).await.status, 201, "{kind}");
    }
    let untyped = house.ask("POST", "/whip/live", &[("Authorization", &ann)], bare.as_bytes()).await;
    untyped.assert_problem(415, "no type");
    house.shut_down().await;
}

#[tokio::test]
async fn p14_ice_servers_have_a_link_each_in_the_form_that_all_parse() {
    let turn = Access::Static { username: "user".into(), credential: "pass".into() };
    let house = House::with(|settings| {
        settings.ice_servers = vec![
            IceServer { url: "stun:s.example:3478".into(), access: Access::Open },
            IceServer { url: "turn:t.example:3478?transport=udp".into(), access: turn },
        ];
    });
    let ann = format!("Bearer {ANN}");
    let wanted = [
        r#"<stun:s.example:3478>; rel="ice-server""#,
        "<turn:t.example:3478?transport=udp>; rel=\"ice-server\"; username=\"user\"; credential=\"pass\"; \
         credential-type=\"password\"",
    ];

    let made = house.post("/whip/live", Some(ANN), &offer(OBS)).await;
    let location = made.header("location").expect("a Location").to_owned();
    let renewed = patch(&house, &location, Some("*"), &restart("fresh")).await;
    let asked = house.ask("OPTIONS", "/whip/live", &[("Authorization", &ann)], b"").await;
    for (what, reply) in [("POST", &made), ("restart", &renewed), ("OPTIONS", &asked)] {
        assert_eq!(reply.all_of("link"), wanted, "{what}");
    }
    let preflight =
        [("Origin", "https://x"), ("Access-Control-Request-Method", "POST"), ("Authorization", ann.as_str())];
    for headers in [&[][..], &[("Authorization", "Bearer unknown-token-0123456789")], &preflight] {
        let reply = house.ask("OPTIONS", "/whip/live", headers, b"").await;
        assert_eq!((reply.status, reply.all_of("link").len()), (200, 0), "{headers:?}");
    }
    assert!(house.post("/whip/live", None, &offer(OBS)).await.all_of("link").is_empty(), "401");
    house.shut_down().await;
}

#[tokio::test]
async fn p15_a_sessions_address_is_enough_and_a_wrong_token_too_much() {
    let house = House::new();
    let location = live(&house).await;
    let viewer = house.post("/whep/live", None, &offer(PLAYER)).await;
    let player = viewer.header("location").expect("a Location").to_owned();
    let undefined = [("Authorization", "Bearer undefined")];

    assert_eq!(patch(&house, &location, None, &candidates()).await.status, 204, "without a token");
    house.ask("DELETE", &location, &undefined, b"").await.assert_problem(401, "a presenter's session");
    assert_eq!(house.ask("DELETE", &player, &undefined, b"").await.status, 200, "a session made without one");
    let challenge = house.post("/whip/live", None, &offer(OBS)).await;
    assert_eq!(challenge.header("www-authenticate"), Some(r#"Bearer realm="tribune""#));
    house.shut_down().await;
}

#[tokio::test]
async fn p16_statuses_that_players_act_on_mean_what_they_think() {
    let house = House::new();

    let idle = house.post("/whep/live", None, &offer(PLAYER)).await;
    idle.assert_problem(409, "nobody presents yet");
    assert!(idle.header("retry-after").is_some());
    live(&house).await;
    let foreign =
        offer(PLAYER).replace("H264", "FOO").replace("VP8", "BAR").replace("VP9", "BAZ").replace("AV1", "QUX");
    let video_only = foreign.replace("opus/48000", "noise/48000").replace("PCM", "XYZ").replace("G722", "H722");
    let refused = house.post("/whep/live", None, &video_only).await;
    assert!(refused.status != 400 && refused.status != 406, "{}", refused.status);
    house.post("/whep/live", None, "nonsense").await.assert_problem(400, "not SDP");
    house.shut_down().await;
}

#[tokio::test]
async fn p17_who_cannot_be_taken_is_sent_on_by_307_once() {
    let house = House::with(|settings| {
        settings.redirect_to = vec!["https://b.example".into(), "https://c.example:8443".into()];
    });
    let obs = offer(OBS);
    let there = house.post("/whip/live?redirected=1", Some(ANN), &obs).await;
    assert!(there.header("location").is_some_and(|l| l.starts_with("http://a/session/")), "{:?}", there.head);
    house.control.drain();

    for target in ["https://b.example/whip/live?redirected=1", "https://c.example:8443/whip/live?redirected=1"] {
        let reply = house.post("/whip/live", Some(ANN), &obs).await;
        assert_eq!((reply.status, reply.header("location")), (307, Some(target)));
        reply.assert_cors("307");
    }
    house.post("/whip/live?redirected=1", Some(ANN), &obs).await.assert_problem(503, "not in circles");
    house.post("/whip/live", None, &obs).await.assert_problem(401, "not without a token");
    assert_eq!(house.ask("OPTIONS", "/whip/live", &[], b"").await.status, 200);
    house.shut_down().await;
}

#[tokio::test]
async fn p18_h264_is_taken_under_any_label() {
    let house = House::new();
    let obs = offer(OBS);
    let labelled = |label: &str| obs.replace("profile-level-id=42e01f", &format!("profile-level-id={label}"));
    assert_ne!(labelled("640c1f"), obs);

    for label in ["42001f", "4d001f", "640c1f", "64001f"] {
        let answer = answer(&house, &labelled(label)).await;
        assert!(answer.contains("H264/90000") && answer.contains(label), "{label}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn p19_all_simulcast_layers_are_answered_on_one_line() {
    let house = House::new();

    let answer = answer(&house, &offer("obs-32.2.2-simulcast3")).await;

    assert!(answer.contains("a=simulcast:recv 0;1;2\r\n"), "{answer}");
    house.shut_down().await;
}

#[tokio::test]
async fn p20_browsers_may_read_everything_that_they_need() {
    let house = House::new();
    let (location, _) = session(&house).await;

    for reply in [
        patch(&house, &location, Some("*"), &candidates()).await,
        patch(&house, &location, Some("*"), &restart("fresh")).await,
        patch(&house, &location, Some("\"old\""), &candidates()).await,
        house.ask("DELETE", &location, &[], b"").await,
        house.get(&location).await,
    ] {
        reply.assert_cors("every response");
        let methods = reply.header("access-control-allow-methods").expect("a list");
        assert!(["POST", "PATCH", "DELETE", "OPTIONS"].iter().all(|method| methods.contains(method)), "{methods}");
        let allowed = reply.header("access-control-allow-headers").expect("a list").to_ascii_lowercase();
        assert!(["if-match", "etag", "last-event-id"].iter().all(|name| allowed.contains(name)), "{allowed}");
    }
    house.shut_down().await;
}
