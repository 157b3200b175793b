//! Offers of ours, and what viewers answer.

use super::*;
use crate::wire::sdp::counter::{offer_to_viewer, take_answer};

/// A stream that carries H.264 of some profile, and Opus in stereo.
fn carried() -> Shape {
    let format = |codec, payload_type, fmtp: &str| Format {
        payload_type,
        codec,
        clock_rate: 0,
        channels: 2,
        fmtp: fmtp.into(),
        rtx: None,
        feedback: Feedback::default(),
    };
    let h264 = format(Codec::H264, 125, "packetization-mode=1;profile-level-id=640032");
    Shape { audio: Some(format(Codec::Opus, 63, "stereo=1")), video: Some(h264) }
}

/// What a browser makes of our offer: takes everything, wants to begin the handshake.
fn answer(offer: &str) -> String {
    let kept = |line: &&str| {
        !["a=ssrc", "a=msid", "a=candidate", "a=end-of", "a=ice-lite"].iter().any(|p| line.starts_with(p))
    };
    let lines = offer.lines().filter(kept).map(|line| match line {
        "a=sendonly" => "a=recvonly",
        "a=setup:actpass" => "a=setup:active",
        other => other,
    });
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[test]
fn our_offer_begins_with_what_the_stream_carries() {
    let offer = with_local(|local| offer_to_viewer(local, &carried()));

    assert!(offer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8\r\n"), "{offer}");
    assert!(offer.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102 103 104 105\r\n"), "{offer}");
    assert!(offer.contains("a=fmtp:96 packetization-mode=1;profile-level-id=640032\r\n"), "{offer}");
    assert_eq!(offer.matches("a=setup:actpass\r\n").count(), 2);
    assert_eq!(offer.matches("a=sendonly\r\n").count(), 2);
    assert!(Offer::parse(&offer.replace("a=ice-lite\r\n", "")).is_ok(), "{offer}");
    assert!(offer.len() < 8_192);
    let vp9 = Shape { video: carried().video.map(|sent| Format { codec: Codec::Vp9, ..sent }), ..carried() };
    assert!(with_local(|local| offer_to_viewer(local, &vp9)).contains("SAVPF 100 101 96"));
}

#[test]
fn an_answer_to_our_offer_is_a_session() {
    let offer = with_local(|local| offer_to_viewer(local, &carried()));

    let agreed = with_local(|local| take_answer(&answer(&offer), local, &carried())).expect("agreed");

    assert_eq!(agreed.dtls, DtlsRole::Server);
    let kinds: Vec<_> = agreed.sections.iter().map(|section| (section.index, section.kind)).collect();
    assert_eq!(kinds, [(0, Kind::Audio), (1, Kind::Video)]);
    let video = &agreed.sections[1];
    assert_eq!((video.formats[0].codec, video.formats[0].rtx), (Codec::H264, Some(97)));
    assert_eq!(video.sources, [Source { ssrc: 2001, rtx: Some(2002) }]);
    assert_eq!(video.extensions.transport_cc, Some(3));
    let passive = answer(&offer).replace("a=setup:active", "a=setup:passive");
    let agreed = with_local(|local| take_answer(&passive, local, &carried())).expect("agreed");
    assert_eq!(agreed.dtls, DtlsRole::Client, "the handshake is ours when the answer says so");
}

#[test]
fn a_viewer_may_answer_with_less() {
    let offer = with_local(|local| offer_to_viewer(local, &carried()));
    let audio_only = answer(&offer).replace("m=video 9", "m=video 0").replace("BUNDLE 0 1", "BUNDLE 0");

    let agreed = with_local(|local| take_answer(&audio_only, local, &carried())).expect("agreed");

    assert_eq!(agreed.sections.iter().map(|section| section.kind).collect::<Vec<_>>(), [Kind::Audio]);
}

#[test]
fn what_is_no_answer_to_our_offer_is_refused() {
    let offer = with_local(|local| offer_to_viewer(local, &carried()));
    let good = answer(&offer);
    let (head, _) = good.split_once("m=video").expect("a video section");
    let foreign = VIEWERS[1].1;

    for bad in ["", "v=0", head, foreign, &good.replace("a=mid:1", "a=mid:7"), &good.replace("a=ice-pwd", "a=x")] {
        let refused = with_local(|local| take_answer(bad, local, &carried()));
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{bad}: {refused:?}");
    }
    let nothing =
        good.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0").replace("BUNDLE 0 1", "BUNDLE");
    let refused = with_local(|local| take_answer(&nothing, local, &carried()));
    assert!(refused.is_err(), "{refused:?}");
}
