//! What is agreed inside a section: formats, layers, header extensions.

use super::shapes::{audio_video, malformed, offer, to_view, unsupported, with_video};
use super::*;

/// A stream of this video.
fn video_stream(rtpmap: &str, fmtp: &str) -> Shape {
    let lines = format!("a=rtpmap:96 {rtpmap}\na=fmtp:96 {fmtp}\n");
    Shape { audio: None, ..shape(&presented(rtpmap, &with_video("96", &lines))) }
}

/// Payload types of the video section.
fn video_types(negotiated: &Negotiated) -> Vec<u8> {
    let video = negotiated.sections.iter().find(|section| section.kind == Kind::Video).expect("accepted");
    video.formats.iter().map(|format| format.payload_type).collect()
}

#[test]
fn simulcast_layers_are_answered_in_order() {
    let layers = "a=rtpmap:96 VP8/90000\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
a=rid:0 send\na=rid:1 send pt=96,97;max-width=640\na=rid:2 send\na=rid:x recv\n";
    let cases = [
        ("plain", "a=simulcast:send 0;1;2\n", vec!["0", "1", "2"]),
        ("paused", "a=simulcast:send 2;~1;~0\n", vec!["2", "1", "0"]),
        ("alternatives", "a=simulcast:send 0,1;2\n", vec!["0", "2"]),
        ("both ways", "a=simulcast:recv x send 0;1\n", vec!["0", "1"]),
        ("undeclared", "a=simulcast:send 0;7\n", vec!["0"]),
        ("none", "", vec![]),
    ];
    for (name, simulcast, rids) in cases {
        let negotiated = present(&with_video("96", &format!("{layers}{simulcast}"))).expect(name);

        let video = negotiated.sections.last().expect("two");
        assert_eq!(video.rids, rids, "{name}");
        assert_eq!(negotiated.answer.contains("a=simulcast"), !rids.is_empty(), "{name}");
        assert_eq!((video.extensions.rid, video.extensions.repaired_rid), (Some(3), Some(4)), "{name}");
    }
    let plain = with_video("96", &format!("{layers}a=simulcast:send 0;1;2\n"));
    assert!(presented("restricted", &plain).answer.contains("a=rid:1 recv pt=96;max-width=640\r\n"));
}

#[test]
fn layers_that_nothing_would_tell_apart_are_not_agreed() {
    let lines = "a=rtpmap:96 VP8/90000\na=rid:0 send\na=rid:1 send\na=simulcast:send 0;1\n";

    let negotiated = presented("no extension", &with_video("96", lines));

    assert!(negotiated.sections.iter().all(|section| section.rids.is_empty()));
}

#[test]
fn unknown_codecs_are_skipped_unless_there_is_nothing_else() {
    let mixed = with_video("95 96 98", "a=rtpmap:95 VP8/90000\na=rtpmap:96 FOO/90000\na=rtpmap:98 h264/90000\n");
    let unknown = with_video("96", "a=rtpmap:96 FOO/90000\n");

    // 95 is known but cannot be used: with the marker bit its packets would look like RTCP.
    assert_eq!(video_types(&presented("mixed", &mixed)), [98]);
    assert_eq!(
        unsupported(present(&unknown)),
        "video section (mid `1`) has no codec that can be forwarded: offered foo, wanted H264, H265, VP8, VP9 or AV1"
    );
    let viewer = unknown.replace("a=sendonly", "a=recvonly");
    assert_eq!(viewed("partial", &viewer, &Shape::default()).sections.len(), 1);
}

#[test]
fn any_h264_is_accepted_from_a_presenter() {
    for fmtp in [
        "packetization-mode=1;profile-level-id=42e01f",
        "packetization-mode=0;profile-level-id=42e01f",
        "packetization-mode=1;profile-level-id=42001f",
        "profile-level-id=4d001f",
        "packetization-mode=1;profile-level-id=640c1f;level-asymmetry-allowed=1",
        "profile-level-id=nonsense",
    ] {
        let lines = format!("a=rtpmap:96 H264/90000\na=fmtp:96 {fmtp}\n");
        let negotiated = presented(fmtp, &with_video("96", &lines));

        assert_eq!(first(&negotiated, Kind::Video).fmtp, fmtp);
    }
    presented("no fmtp", &with_video("96", "a=rtpmap:96 H264/90000\n"));
}

#[test]
fn payload_types_that_mean_the_same_are_answered_once() {
    let lines = "a=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f
a=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42c028;packetization-mode=1
a=rtpmap:98 H264/90000\na=fmtp:98 profile-level-id=42e01f;packetization-mode=0
a=rtpmap:99 H264/90000\na=fmtp:99 profile-level-id=640032;packetization-mode=1
a=rtpmap:100 VP9/90000\na=rtpmap:101 VP9/90000\na=fmtp:101 profile-id=0
a=rtpmap:102 VP9/90000\na=fmtp:102 profile-id=2\n";

    let negotiated = presented("variants", &with_video("96 97 98 99 100 101 102", lines));

    assert_eq!(video_types(&negotiated), [96, 98, 99, 100, 102]);
}

#[test]
fn audio_codecs_are_known_by_name_or_by_number() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9 111 13 101\na=mid:0\na=sendonly\na=rtcp-mux
a=rtpmap:9 G722/8000/1\na=rtpmap:111 OPUS/48000\na=rtpmap:13 CN/8000\na=rtpmap:101 telephone-event/8000\n";

    let negotiated = presented("audio", &offer("a=group:BUNDLE 0\n", &[audio]));

    let codecs: Vec<(Codec, u8)> = negotiated.sections[0].formats.iter().map(|f| (f.codec, f.channels)).collect();
    assert_eq!(codecs, [(Codec::Pcmu, 1), (Codec::Pcma, 1), (Codec::G722, 1), (Codec::Opus, 2)]);
    assert!(negotiated.answer.contains("a=rtpmap:111 OPUS/48000\r\n"));
}

#[test]
fn opus_keeps_its_stereo() {
    let text = audio_video().replace("useinbandfec=1", "stereo=1;sprop-stereo=1");

    assert!(presented("stereo", &text).answer.contains("a=fmtp:111 minptime=10;stereo=1;sprop-stereo=1\r\n"));
}

#[test]
fn header_extensions_keep_their_ids_or_are_left_out() {
    let mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let twcc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let lines = |mixed: &str| {
        format!("a=rtpmap:96 VP8/90000\na=extmap:9 urn:x-unknown\na=extmap:14 {mid}\na=extmap:16 {twcc}\n{mixed}")
    };

    let small = presented("one-byte", &with_video("96", &lines("")));
    let large = presented("two-byte", &with_video("96", &lines("a=extmap-allow-mixed\n")));

    let ids = |negotiated: &Negotiated| negotiated.sections.last().expect("two").extensions;
    assert_eq!((ids(&small).mid, ids(&small).transport_cc), (Some(14), None));
    assert_eq!((ids(&large).mid, ids(&large).transport_cc), (Some(14), Some(16)));
    let twice = with_video("96", &format!("a=rtpmap:96 VP8/90000\na=extmap:4 {mid}\na=extmap:4 {twcc}\n"));
    assert!(malformed(present(&twice)).ends_with("wanted every id once"));
}

#[test]
fn a_stream_that_the_viewer_cannot_carry_closes_its_section() {
    let vp9 = video_stream("VP9/90000", "profile-id=2");
    let silent = viewed("no stream", &to_view(), &Shape::default());
    assert_eq!(silent.sections.len(), 2);

    let reason = unsupported(view(&to_view(), &vp9));
    assert_eq!(reason, "the stream sends VP9 (profile-id=2), offered h264, vp8");

    let with_audio = Shape { audio: silent.sections[0].formats.first().cloned(), ..vp9 };
    let negotiated = viewed("audio only", &to_view(), &with_audio);
    assert_eq!(negotiated.sections.len(), 1);
    assert!(negotiated.answer.contains("m=video 0 "));
    assert!(negotiated.answer.contains("a=group:BUNDLE 0\r\n"));
}

#[test]
fn the_streams_own_format_comes_first() {
    let h264 = video_stream("H264/90000", "packetization-mode=1;profile-level-id=42e01f");

    assert_eq!(video_types(&viewed("H264", &to_view(), &h264)), [102, 96]);
    assert_eq!(video_types(&viewed("unknown", &to_view(), &Shape::default())), [96, 102]);
}

#[test]
fn h264_falls_back_from_exact_to_family_to_any() {
    let sent = |fmtp: &str| video_stream("H264/90000", fmtp);
    let lines = "a=rtpmap:100 H264/90000\na=fmtp:100 packetization-mode=0;profile-level-id=42e01f
a=rtpmap:101 H264/90000\na=fmtp:101 packetization-mode=1;profile-level-id=4d001f
a=rtpmap:102 H264/90000\na=fmtp:102 packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 H264/90000\n";
    let picked = |types: &str, fmtp: &str| {
        let viewer = with_video(types, lines).replace("a=sendonly", "a=recvonly");
        first(&viewed(fmtp, &viewer, &sent(fmtp)), Kind::Video).payload_type
    };
    let all = "103 100 101 102";

    assert_eq!(picked(all, "packetization-mode=1;profile-level-id=4d0028"), 101, "exact, but for the level");
    assert_eq!(picked(all, "packetization-mode=0;profile-level-id=42e01f"), 100, "exact, mode 0");
    assert_eq!(picked(all, "packetization-mode=1;profile-level-id=42e01f"), 102, "family");
    assert_eq!(picked(all, "packetization-mode=1;profile-level-id=640028"), 101, "any of mode 1");
    assert_eq!(picked("103 100", "packetization-mode=1;profile-level-id=640028"), 103, "any");
}

#[test]
fn profiles_of_other_codecs_must_match() {
    let lines = "a=rtpmap:96 VP9/90000\na=rtpmap:97 VP9/90000\na=fmtp:97 profile-id=2
a=rtpmap:98 AV1/90000\na=rtpmap:99 H265/90000\na=fmtp:99 profile-id=1\n";
    let viewer = with_video("96 97 98 99", lines).replace("a=sendonly", "a=recvonly");
    let picked = |rtpmap: &str, fmtp: &str| {
        let shape = video_stream(rtpmap, fmtp);
        view(&viewer, &shape).map(|negotiated| first(&negotiated, Kind::Video).payload_type).ok()
    };

    assert_eq!(picked("VP9/90000", "profile-id=0"), Some(96));
    assert_eq!(picked("VP9/90000", "profile-id=2"), Some(97));
    assert_eq!(picked("VP9/90000", "profile-id=1"), None);
    assert_eq!(picked("AV1/90000", "profile=0;level-idx=5"), Some(98));
    assert_eq!(picked("AV1/90000", "profile=1"), None);
    assert_eq!(picked("H265/90000", "level-id=93"), Some(99));
    assert_eq!(picked("H265/90000", "profile-id=2"), None);
}

#[test]
fn an_answer_that_would_be_too_long_loses_formats() {
    let padding = "x".repeat(1000);
    let encodings = ["VP9", "VP9", "VP9", "VP9", "VP8", "AV1", "H264", "H265"];
    let line = |(number, codec)| {
        format!("a=rtpmap:{number} {codec}/90000\na=fmtp:{number} profile-id={};x={padding}\n", number - 96)
    };
    let lines: String = (96..).zip(encodings).map(line).collect();
    let text = with_video("96 97 98 99 100 101 102 103", &lines);

    assert_eq!(video_types(&presented("long", &text)), [96, 97, 100, 101, 102, 103]);
}
