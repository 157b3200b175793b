//! Layer selection: a viewer says which layers of the video it wants.

use crate::harness::{ANN, GUEST, House, offer};
use tribune::media::layer::{LayerInfo, Playing};
use tribune::media::{Notice, SessionId};
use tribune::peer::srtp::Profile;
use tribune::wire::sdp::Kind;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn session(location: &str) -> SessionId {
    location.strip_prefix("/session/").expect("a path").parse().expect("an id")
}

/// A stream with layers `l` and `h`, and a viewer of it: its location.
async fn watch(house: &House) -> String {
    let presenter = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    let presenter = session(presenter.header("location").expect("a Location"));
    house.control.notice(Notice::Connected {
        session: presenter,
        remote: ([192, 0, 2, 9], 4).into(),
        profile: Profile::AesGcm,
    });
    let layer = |layer: u8, rid: &str| LayerInfo {
        layer,
        rid: Some(rid.into()),
        spatial: None,
        temporal: None,
        bitrate: 1_000 * u64::from(layer),
        width: Some(320),
        height: Some(180),
    };
    let layers = vec![layer(0, "l"), layer(1, "h")];
    house.control.notice(Notice::Layers { session: presenter, kind: Kind::Video, layers });
    let viewer = house.post("/whep/live", None, &offer("chromium-156-play")).await;
    assert!(viewer.head.contains("/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""), "{}", viewer.head);
    viewer.header("location").expect("a Location").to_owned()
}

async fn shown(house: &House, place: &str) -> serde_json::Value {
    let reply = house.get(place).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{reply:?}");
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test]
async fn a_viewer_chooses_a_layer_and_leaves_the_choice_again() {
    let house = House::new();
    let viewer = watch(&house).await;
    let place = format!("{viewer}/layer");

    for body in [r#"{"mediaId":"0","rid":"l"}"#, r#"{"mediaId":0,"encodingId":"l"}"#, r#"{"rid":"l"}"#] {
        let chosen = house.ask("POST", &place, &[JSON], body.as_bytes()).await;
        assert_eq!((chosen.status, chosen.body.len()), (200, 0), "{body}: {chosen:?}");
        chosen.assert_cors("200");
        assert_eq!(shown(&house, &place).await["rid"], "l", "{body}");
        assert_eq!(house.ask("POST", &place, &[JSON], br#"{"mediaId":"0"}"#).await.status, 200);
        assert!(shown(&house, &place).await["rid"].is_null(), "{body}");
    }
    house.ask("POST", &place, &[JSON], br#"{"maxHeight":180,"temporalLayerId":0}"#).await;
    let playing = Playing { layer: 0, spatial: None, temporal: Some(0) };
    house.control.notice(Notice::Playing { session: session(&viewer), kind: Kind::Video, playing });
    let view = shown(&house, &place).await;
    assert_eq!((&view["maxHeight"], &view["temporalLayerId"]), (&180.into(), &0.into()));
    assert_eq!(view["playing"]["rid"], "l");
    assert_eq!(view["layers"][1]["bitrate"], 1_000);

    assert_eq!(house.ask("DELETE", &place, &[], b"").await.status, 200);

    assert!(shown(&house, &place).await["maxHeight"].is_null());
    house.shut_down().await;
}

#[tokio::test]
async fn a_choice_that_cannot_be_made_changes_nothing() {
    let house = House::new();
    let place = format!("{}/layer", watch(&house).await);
    house.ask("POST", &place, &[JSON], br#"{"rid":"h"}"#).await;

    let cases = [
        (422, r#"{"rid":"x"}"#),
        (422, r#"{"mediaId":"1"}"#),
        (422, r#"{"mediaId":"9","rid":"l"}"#),
        (400, "[]"),
        (400, "{"),
    ];
    for (status, body) in cases {
        house.ask("POST", &place, &[JSON], body.as_bytes()).await.assert_problem(status, body);
    }
    let plain = [("Content-Type", "text/plain")];
    house.ask("POST", &place, &plain, b"{}").await.assert_problem(415, "text/plain");
    house.ask("POST", &place, &[JSON], &[b' '; 5_000]).await.assert_problem(413, "too large");
    let put = house.ask("PUT", &place, &[JSON], b"{}").await;
    put.assert_problem(405, "PUT");
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST, DELETE, OPTIONS"));

    assert_eq!(shown(&house, &place).await["rid"], "h");
    house.shut_down().await;
}

#[tokio::test]
async fn layers_are_chosen_for_a_viewers_session_only() {
    let house = House::new();
    let viewer = watch(&house).await;
    let presenter = house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await;
    let presenter = presenter.header("location").expect("a Location");

    for path in [format!("{presenter}/layer"), format!("/session/{}/layer", "0".repeat(32))] {
        house.ask("POST", &path, &[JSON], b"{}").await.assert_problem(404, &path);
        house.get(&path).await.assert_problem(404, &path);
    }
    let bearer = format!("Bearer {GUEST}");
    let stranger = [JSON, ("Authorization", bearer.as_str())];
    let reply = house.ask("POST", &format!("{viewer}/layer"), &stranger, b"{}").await;
    assert_eq!(reply.status, 200, "the session of a viewer without a name is whoever's knows its URL");
    house.shut_down().await;
}

#[tokio::test]
async fn too_many_choices_of_one_session_are_told_to_wait() {
    let house = House::new();
    let place = format!("{}/layer", watch(&house).await);
    let one = format!(
        "POST {place} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{{\"rid\":\"h\"}}"
    );

    let last = format!("DELETE {place} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let flood = one.repeat(200) + &last;
    let statuses: Vec<u16> = house.raw(flood.as_bytes()).await.iter().map(|reply| reply.status).collect();

    assert_eq!(statuses[..100], [200; 100]);
    assert!(statuses.contains(&429) && !statuses.contains(&503), "{statuses:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn a_wish_of_another_type_is_told_which_one_is_wanted() {
    let house = House::new();
    let viewer = watch(&house).await;

    for path in [format!("{viewer}/layer"), format!("{viewer}/events")] {
        let refused = house.ask("POST", &path, &[("Content-Type", "text/plain")], b"[]").await;
        refused.assert_problem(415, &path);
        for reply in [refused, house.ask("OPTIONS", &path, &[], b"").await] {
            assert_eq!(reply.header("accept-post"), Some("application/json"), "{path}");
        }
    }
    house.shut_down().await;
}
