//! Offers as real clients send them, and the answers they get.

mod checker;
mod codecs;
mod counter;
mod mutations;
mod shapes;

use std::net::SocketAddr;

use super::*;
use checker::{Party, faults};

/// Offers of presenters, as captured.
const PRESENTERS: [(&str, &str); 10] = [
    ("aiortc", include_str!("../../../tests/fixtures/offers/aiortc-1.16.0-publish.sdp")),
    ("chromium", include_str!("../../../tests/fixtures/offers/chromium-156-publish.sdp")),
    ("chromium simulcast", include_str!("../../../tests/fixtures/offers/chromium-156-publish-simulcast.sdp")),
    ("ffmpeg 8", include_str!("../../../tests/fixtures/offers/ffmpeg-8.0.sdp")),
    ("ffmpeg 9", include_str!("../../../tests/fixtures/offers/ffmpeg-9.0.2.sdp")),
    ("firefox", include_str!("../../../tests/fixtures/offers/firefox-153-publish.sdp")),
    ("whipclientsink", include_str!("../../../tests/fixtures/offers/gst-1.28.8-whipclientsink.sdp")),
    ("whipsink", include_str!("../../../tests/fixtures/offers/gst-1.28.8-whipsink.sdp")),
    ("obs 30", include_str!("../../../tests/fixtures/offers/obs-30.2.3.sdp")),
    ("obs 32", include_str!("../../../tests/fixtures/offers/obs-32.2.2.sdp")),
];

/// OBS with three layers.
const OBS_SIMULCAST: &str = include_str!("../../../tests/fixtures/offers/obs-32.2.2-simulcast3.sdp");

/// Offers of viewers, as captured.
const VIEWERS: [(&str, &str); 5] = [
    ("aiortc", include_str!("../../../tests/fixtures/offers/aiortc-1.16.0-play.sdp")),
    ("chromium", include_str!("../../../tests/fixtures/offers/chromium-156-play.sdp")),
    ("firefox", include_str!("../../../tests/fixtures/offers/firefox-153-play.sdp")),
    ("whepclientsrc", include_str!("../../../tests/fixtures/offers/gst-1.28.8-whepclientsrc.sdp")),
    ("whepsrc", include_str!("../../../tests/fixtures/offers/gst-1.28.8-whepsrc.sdp")),
];

/// Calls `run` with what this server would bring to an answer.
fn with_local<T>(run: impl FnOnce(&Local<'_>) -> T) -> T {
    let ice = IceCredentials { ufrag: "tRiBuNe0".into(), pwd: "0123456789abcdefABCDEF+/".into() };
    let fingerprint = Fingerprint { hash: Hash::Sha256, value: (0..32).collect() };
    let candidates: [SocketAddr; 2] = [([192, 0, 2, 1], 8443).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 8443).into()];
    run(&Local {
        ice: &ice,
        fingerprint: &fingerprint,
        candidates: &candidates,
        session_id: (1 << 62) - 1,
        msid: "c0ffee",
        audio: Source { ssrc: 1001, rtx: Some(1002) },
        video: Source { ssrc: 2001, rtx: Some(2002) },
    })
}

/// Answers a presenter.
fn present(offer: &str) -> Result<Negotiated, Refusal> {
    let offer = Offer::parse(offer)?;
    with_local(|local| answer_presenter(&offer, local))
}

/// Answers a viewer.
fn view(offer: &str, shape: &Shape) -> Result<Negotiated, Refusal> {
    let offer = Offer::parse(offer)?;
    with_local(|local| answer_viewer(&offer, local, shape))
}

/// Answers a presenter, strictly checked.
fn presented(name: &str, offer: &str) -> Negotiated {
    let negotiated = present(offer).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    let found = faults(offer, &negotiated.answer, Party::Presenter);
    assert!(found.is_empty(), "{name}: {found:#?}\n{}", negotiated.answer);
    negotiated
}

/// Answers a viewer, strictly checked.
fn viewed(name: &str, offer: &str, shape: &Shape) -> Negotiated {
    let negotiated = view(offer, shape).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    let found = faults(offer, &negotiated.answer, Party::Viewer);
    assert!(found.is_empty(), "{name}: {found:#?}\n{}", negotiated.answer);
    negotiated
}

/// What a presenter's first formats make of a stream.
fn shape(negotiated: &Negotiated) -> Shape {
    let first = |kind| {
        let section = negotiated.sections.iter().find(|section| section.kind == kind);
        section.and_then(|section| section.formats.first().cloned())
    };
    Shape { audio: first(Kind::Audio), video: first(Kind::Video) }
}

/// A section's first format.
fn first(negotiated: &Negotiated, kind: Kind) -> &Format {
    let section = negotiated.sections.iter().find(|section| section.kind == kind).expect("accepted");
    section.formats.first().expect("never empty")
}

#[test]
fn every_captured_presenter_is_answered() {
    for (name, offer) in PRESENTERS.into_iter().chain([("obs simulcast", OBS_SIMULCAST)]) {
        let negotiated = presented(name, offer);

        assert_eq!(negotiated.sections.len(), 2, "{name}");
        assert!(negotiated.sections.iter().all(|section| section.index < 2), "{name}");
    }
}

#[test]
fn every_captured_viewer_is_answered_before_there_is_a_stream() {
    for (name, offer) in VIEWERS {
        let negotiated = viewed(name, offer, &Shape::default());

        assert_eq!(negotiated.sections.len(), 2, "{name}");
        let sources: Vec<u32> = negotiated.sections.iter().flat_map(|s| &s.sources).map(|s| s.ssrc).collect();
        assert_eq!(sources.len(), 2, "{name}");
    }
}

#[test]
fn captured_viewers_get_what_captured_presenters_send_first() {
    for (presenter, offer) in PRESENTERS {
        let shape = shape(&presented(presenter, offer));
        let (Some(audio), Some(video)) = (&shape.audio, &shape.video) else { panic!("{presenter} sends both") };
        for (viewer, offer) in VIEWERS {
            let name = format!("{presenter} to {viewer}");
            let negotiated = match view(offer, &shape) {
                Ok(_) => viewed(&name, offer, &shape),
                Err(refusal) => panic!("{name}: {refusal}"),
            };

            assert_eq!(first(&negotiated, Kind::Audio).codec, audio.codec, "{name}");
            let section = negotiated.sections.iter().find(|section| section.kind == Kind::Video);
            match section {
                Some(section) => assert_eq!(pick_format(section, video), section.formats.first(), "{name}"),
                // Firefox's capture has no H.264 (its plugin was not there), GStreamer's have nothing else.
                None => assert_ne!(offer.contains("H264/90000"), video.codec == Codec::H264, "{name}"),
            }
        }
    }
}

#[test]
fn obs_gets_all_its_layers_on_one_line() {
    let negotiated = presented("obs", OBS_SIMULCAST);

    assert!(negotiated.answer.contains("a=simulcast:recv 0;1;2\r\n"));
    let video = negotiated.sections.iter().find(|section| section.kind == Kind::Video).expect("accepted");
    assert_eq!(video.rids, ["0", "1", "2"]);
    assert_eq!((video.extensions.mid, video.extensions.rid), (Some(1), Some(2)));
    assert_eq!(video.sources, []);
}

#[test]
fn ffmpeg_waits_for_our_client_hello() {
    let (name, offer) = PRESENTERS[3];

    let negotiated = presented(name, offer);

    assert_eq!(negotiated.dtls, DtlsRole::Client);
    assert!(negotiated.answer.contains("a=setup:active\r\n"));
}

#[test]
fn aiortc_brings_three_fingerprints() {
    let (name, offer) = PRESENTERS[0];

    let negotiated = presented(name, offer);

    let hashes: Vec<Hash> = negotiated.fingerprints.iter().map(|fingerprint| fingerprint.hash).collect();
    assert_eq!(hashes, [Hash::Sha256, Hash::Sha384, Hash::Sha512]);
    let lengths: Vec<usize> = negotiated.fingerprints.iter().map(|fingerprint| fingerprint.value.len()).collect();
    assert_eq!(lengths, [32, 48, 64]);
}

#[test]
fn chromium_keeps_its_payload_types_and_retransmissions() {
    let (name, offer) = PRESENTERS[1];

    let negotiated = presented(name, offer);

    let video = negotiated.sections.iter().find(|section| section.kind == Kind::Video).expect("accepted");
    let types: Vec<(u8, Option<u8>)> = video.formats.iter().map(|format| (format.payload_type, format.rtx)).collect();
    let wanted = [
        (96, 97),
        (102, 103),
        (104, 107),
        (108, 109),
        (114, 115),
        (116, 117),
        (39, 40),
        (45, 46),
        (98, 99),
        (100, 101),
    ];
    assert_eq!(types, wanted.map(|(media, rtx)| (media, Some(rtx))));
    assert_eq!(video.sources, [Source { ssrc: 2_020_433_612, rtx: Some(839_781_916) }]);
    let audio = first(&negotiated, Kind::Audio);
    assert_eq!((audio.codec, audio.payload_type, audio.channels), (Codec::Opus, 111, 2));
    assert_eq!(audio.fmtp, "minptime=10;useinbandfec=1");
}

#[test]
fn a_viewer_is_not_sent_what_it_has_no_use_for() {
    let (name, offer) = VIEWERS[1];

    let negotiated = viewed(name, offer, &Shape::default());

    for unwanted in ["sdes:rtp-stream-id", "sdes:repaired-rtp-stream-id", "abs-send-time", "audio-level"] {
        assert!(!negotiated.answer.contains(unwanted), "{unwanted}");
    }
    let video = negotiated.sections.iter().find(|section| section.kind == Kind::Video).expect("accepted");
    assert_eq!(video.extensions.transport_cc, Some(4));
    assert_eq!(video.extensions.playout_delay, Some(5));
    assert_eq!(video.extensions.orientation, Some(3));
}

#[test]
fn a_viewer_that_goes_by_names_of_sections_is_told_them() {
    for (name, offer) in VIEWERS {
        let negotiated = viewed(name, offer, &Shape::default());

        let offers = offer.contains("urn:ietf:params:rtp-hdrext:sdes:mid");
        assert_eq!(negotiated.answer.contains("urn:ietf:params:rtp-hdrext:sdes:mid"), offers, "{name}");
        assert!(negotiated.sections.iter().all(|s| s.extensions.mid.is_some() == offers), "{name}");
    }
}

#[test]
fn a_viewer_without_retransmissions_gets_no_source_for_them() {
    let (name, offer) = VIEWERS[4];

    let negotiated = viewed(name, offer, &Shape::default());

    assert!(!negotiated.answer.contains("FID"));
    assert!(negotiated.sections.iter().flat_map(|section| &section.sources).all(|source| source.rtx.is_none()));
}

#[test]
fn an_extension_for_receiving_is_answered_as_one_for_sending() {
    let (name, offer) = VIEWERS[2];

    let negotiated = viewed(name, offer, &Shape::default());

    let line = "a=extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n";
    assert!(negotiated.answer.contains(line));
    assert!(!presented("firefox", PRESENTERS[5].1).answer.contains("playout-delay"));
}

#[test]
fn the_checker_misses_every_line_that_matters() {
    let (_, offer) = PRESENTERS[1];
    let answer = presented("chromium", offer).answer;
    let optional = ["a=rtcp-fb:", "a=extmap:", "a=msid-semantic", "a=candidate:2"];
    let lines: Vec<&str> = answer.split_inclusive("\r\n").collect();
    assert!(lines.len() > 100);
    for (index, line) in lines.iter().enumerate() {
        if optional.iter().any(|prefix| line.starts_with(prefix)) {
            continue;
        }
        let without: String = lines.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, line)| *line).collect();

        assert!(!faults(offer, &without, Party::Presenter).is_empty(), "without {line}");
    }
    for (found, wrong) in [
        ("a=setup:passive", "a=setup:active"),
        ("a=recvonly", "a=sendonly"),
        ("a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack foo"),
        ("a=extmap:4 ", "a=extmap:12 "),
        ("BUNDLE 0 1", "BUNDLE 1 0"),
        ("\r\n", "\n"),
    ] {
        assert!(!faults(offer, &answer.replace(found, wrong), Party::Presenter).is_empty(), "{wrong}");
    }
}
