//! Offers made by hand, one per thing that a client may do.

use super::*;

const OPUS: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=msid:stream audio
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
";
const VP8_H264: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
c=IN IP4 0.0.0.0
a=mid:1
a=sendonly
a=msid:stream video
a=rtcp-mux
a=rtcp-mux-only
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 nack pli
a=rtcp-fb:102 ccm tmmbr
a=fmtp:102 packetization-mode=1;profile-level-id=42e01f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
";
const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:2
a=sctp-port:5000
";
const TRANSPORT: &str = "a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02
a=setup:actpass
";

/// An offer out of sections, with the transport lines in each of them.
pub(super) fn offer(group: &str, sections: &[&str]) -> String {
    let mut text = format!("v=0\no=- 5228595038118931041 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n{group}");
    for section in sections {
        text.push_str(section);
        text.push_str(TRANSPORT);
    }
    text.replace('\n', "\r\n")
}

/// Audio, then video.
pub(super) fn audio_video() -> String {
    offer("a=group:BUNDLE 0 1\n", &[OPUS, VP8_H264])
}

/// Audio, then video, to be received.
pub(super) fn to_view() -> String {
    audio_video().replace("a=sendonly", "a=recvonly")
}

/// Audio, then a video section with these lines.
pub(super) fn with_video(types: &str, lines: &str) -> String {
    let video = format!("m=video 9 UDP/TLS/RTP/SAVPF {types}\na=mid:1\na=sendonly\na=rtcp-mux\n{lines}");
    offer("a=group:BUNDLE 0 1\n", &[OPUS, &video])
}

/// The text of a refusal for broken SDP.
pub(super) fn malformed(result: Result<Negotiated, Refusal>) -> String {
    match result {
        Err(Refusal::Malformed(reason)) => reason,
        other => panic!("wanted Malformed, found {other:?}"),
    }
}

/// The text of a refusal of what we do not do.
pub(super) fn unsupported(result: Result<Negotiated, Refusal>) -> String {
    match result {
        Err(Refusal::Unsupported(reason)) => reason,
        other => panic!("wanted Unsupported, found {other:?}"),
    }
}

#[test]
fn sections_may_come_in_any_order_and_number() {
    let cases = [
        ("audio, video", audio_video(), 2),
        ("video, audio", offer("a=group:BUNDLE 1 0\n", &[VP8_H264, OPUS]), 2),
        ("audio", offer("a=group:BUNDLE 0\n", &[OPUS]), 1),
        ("video", offer("a=group:BUNDLE 1\n", &[VP8_H264]), 1),
        ("audio without group", offer("", &[OPUS]), 1),
        ("group with a mid of nobody", offer("a=group:BUNDLE 0 1\n", &[OPUS]), 1),
        ("group in another order", offer("a=group:BUNDLE 1 0\n", &[OPUS, VP8_H264]), 2),
    ];
    for (name, offer, sections) in cases {
        assert_eq!(presented(name, &offer).sections.len(), sections, "{name}");
        let viewer = offer.replace("a=sendonly", "a=recvonly");
        assert_eq!(viewed(name, &viewer, &Shape::default()).sections.len(), sections, "{name}");
    }
}

#[test]
fn a_bundle_only_section_at_port_0_is_not_a_rejected_one() {
    let bundle_only = VP8_H264.replace("m=video 9", "m=video 0") + "a=bundle-only\n";
    let first = format!("{OPUS}{TRANSPORT}");
    // As in RFC 9725, Figure 2: no transport lines and no rtcp-mux in the second section.
    let bare = bundle_only.replace("a=rtcp-mux\n", "").replace("a=rtcp-mux-only\n", "");
    let figure =
        format!("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE 0 1\n{first}{bare}").replace('\n', "\r\n");

    assert_eq!(presented("figure 2", &figure).sections.len(), 2);

    let unmarked = audio_video().replace("m=video 9", "m=video 0");
    assert_eq!(presented("port 0 with transport lines", &unmarked).sections.len(), 2);
}

#[test]
fn a_section_that_the_client_rejects_is_rejected() {
    let video = VP8_H264.replace("m=video 9", "m=video 0");

    let negotiated = presented("port 0", &offer("a=group:BUNDLE 0\n", &[OPUS, &video]));

    assert_eq!(negotiated.sections.len(), 1);
    assert!(negotiated.answer.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"));
}

#[test]
fn candidates_may_be_there_or_not() {
    let candidate =
        "a=candidate:1 1 udp 2122194687 192.0.2.7 56629 typ host\r\na=end-of-candidates\r\na=setup:actpass\r\n";
    presented("none", &audio_video());
    presented("all", &audio_video().replace("a=setup:actpass\r\n", candidate));
}

#[test]
fn we_take_the_other_part_in_the_handshake() {
    let with = |setup: &str| audio_video().replace("a=setup:actpass", setup);

    assert_eq!(presented("actpass", &audio_video()).dtls, DtlsRole::Server);
    assert_eq!(presented("active", &with("a=setup:active")).dtls, DtlsRole::Server);
    assert_eq!(presented("passive", &with("a=setup:passive")).dtls, DtlsRole::Client);
    assert_eq!(presented("absent", &with("a=x-none")).dtls, DtlsRole::Server);
    assert_eq!(
        malformed(present(&with("a=setup:holdconn"))),
        "line 18: found `a=setup:holdconn`, wanted actpass, active or passive"
    );
}

#[test]
fn transport_lines_may_be_anywhere() {
    let session = format!("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE 0 1\n{TRANSPORT}{OPUS}{VP8_H264}");
    let second = format!("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE 0 1\n{OPUS}{VP8_H264}{TRANSPORT}");
    for (name, offer) in [("session", session), ("second section", second)] {
        let negotiated = presented(name, &offer);

        assert_eq!(negotiated.remote_ice.ufrag, "EsAw", "{name}");
        assert_eq!(negotiated.fingerprints.len(), 1, "{name}");
    }
}

#[test]
fn the_tagged_sections_credentials_win() {
    let text = audio_video().replacen("a=ice-ufrag:EsAw", "a=ice-ufrag:other", 1);

    assert_eq!(presented("first", &text).remote_ice.ufrag, "other");
    let text = text.replace("BUNDLE 0 1", "BUNDLE 1 0");
    assert_eq!(presented("second", &text).remote_ice.ufrag, "EsAw");
}

#[test]
fn more_than_one_of_a_kind_is_too_much_for_a_presenter() {
    let second = VP8_H264.replace("a=mid:1", "a=mid:2");
    let two_videos = offer("a=group:BUNDLE 0 1 2\n", &[OPUS, VP8_H264, &second]);
    let two_streams = audio_video().replace("msid:stream video", "msid:other video");
    let older = two_streams.replace("a=msid:", "a=ssrc:77 msid:");

    assert_eq!(unsupported(present(&two_videos)), "2 video sections, at most one is accepted");
    assert_eq!(unsupported(present(&two_streams)), "2 MediaStreams, at most one is accepted");
    assert_eq!(unsupported(present(&older)), "2 MediaStreams, at most one is accepted");
    presented("no stream", &audio_video().replace("msid:stream", "msid:-"));
}

#[test]
fn a_viewer_gets_the_first_of_a_kind() {
    let second = VP8_H264.replace("a=mid:1", "a=mid:2");
    let text = offer("a=group:BUNDLE 0 1 2\n", &[OPUS, VP8_H264, &second]).replace("a=sendonly", "a=recvonly");

    let negotiated = viewed("two videos", &text, &Shape::default());

    assert_eq!(negotiated.sections.iter().map(|section| section.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_data_channel_is_rejected_and_the_rest_accepted() {
    for (group, sections, accepted) in [
        ("a=group:BUNDLE 0 1 2\n", [OPUS, VP8_H264, DATA], [0, 1]),
        ("a=group:BUNDLE 2 0 1\n", [DATA, OPUS, VP8_H264], [1, 2]),
    ] {
        let text = offer(group, &sections);
        let presented = presented("data", &text);
        let viewed = viewed("data", &text.replace("a=sendonly", "a=recvonly"), &Shape::default());

        for negotiated in [presented, viewed] {
            assert_eq!(negotiated.sections.iter().map(|section| section.index).collect::<Vec<_>>(), accepted);
            assert!(negotiated.answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
        }
    }
    assert!(unsupported(present(&offer("a=group:BUNDLE 2\n", &[DATA]))).contains("no audio or video section"));
    assert!(unsupported(view(&offer("a=group:BUNDLE 2\n", &[DATA]), &Shape::default())).contains("no audio or video"));
}

#[test]
fn line_ends_blanks_and_strange_lines_do_no_harm() {
    let text = audio_video();
    let strange = text
        .replace(
            "t=0 0",
            "i=a talk\r\nu=not a url\r\ne=x@y\r\np=+1\r\nc=IN IP6 ::1\r\nb=AS:5\r\nt=1 2\r\nr=7d 1h 0 25h\r\nz=0 -1h",
        )
        .replace("s=-", "s= ")
        .replace("o=- 5228595038118931041 2", "o=a name with spaces 99999999999999999999999 x");
    let cases = [
        ("bare LF", text.replace("\r\n", "\n")),
        ("trailing blank lines", text.clone() + "\r\n\r\n\n"),
        ("byte order mark", format!("\u{feff}{text}")),
        ("no last line end", text.trim_end().to_owned()),
        ("odd session lines", strange),
        ("unknown attributes", text.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=frobnicate\r\na=x:y:z\r\nb=TIAS:9\r\n")),
        ("no t=", text.replace("t=0 0\r\n", "")),
        ("lower case hash and hex", text.replace("sha-256 DA:7B", "SHA-256 da:7b")),
    ];
    for (name, offer) in cases {
        assert_eq!(presented(name, &offer).sections.len(), 2, "{name}");
    }
}

#[test]
fn who_would_not_send_is_no_presenter_and_who_would_not_receive_no_viewer() {
    for direction in ["a=recvonly", "a=inactive"] {
        let reason = unsupported(present(&audio_video().replace("a=sendonly", direction)));
        assert_eq!(reason, "audio section (mid `0`) would not send: wanted a=sendonly or a=sendrecv");
    }
    for direction in ["a=sendonly", "a=inactive"] {
        let reason = unsupported(view(&audio_video().replace("a=sendonly", direction), &Shape::default()));
        assert!(reason.contains("would not receive"), "{reason}");
    }
    for direction in ["a=sendrecv", "a=x-none"] {
        let text = audio_video().replace("a=sendonly", direction);
        presented(direction, &text);
        viewed(direction, &text, &Shape::default());
    }
}

#[test]
fn what_is_no_session_description_is_refused_with_the_line() {
    let text = audio_video();
    let cases = [
        ("", "not a session description: it ends before `v=`"),
        ("hello", "line 1: found `hello`, wanted <letter>=<value>"),
        ("v=1\r\no=x\r\ns=x\r\n", "line 1: found `v=1`, wanted v=0"),
        ("v=0\r\ns=-\r\n", "line 2: found `s=-`, wanted o="),
        ("v=0\r\n", "not a session description: it ends before `o=`"),
        ("v=0\r\no=x\r\ns=x\r\n", "no media section: found no m= line"),
        ("v=0\r\no=x\r\ns=x\r\nm=", "line 4: found `m=`, wanted m=<media> <port> <proto> <formats>"),
        (&text.replace("m=audio 9", "m=audio 70000"), "line 6: found `m=audio 70000 UDP/TLS/RTP/SAVPF 111`, wanted m="),
        (&text.replace("SAVPF 111", "SAVPF 211"), "line 6: found `211`, wanted a payload type (0–127)"),
        (&text.replace("opus/48000/2", "opus"), "line 13: found `a=rtpmap:111 opus`, wanted <payload type> <name>/"),
        (&text.replace("a=mid:1", "a=mid:0"), "line 19: found `a=mid:0`, wanted every mid once"),
        (&text.replace("a=sendonly", "a=send\0only"), "line 9: found `a=send\\0only`, wanted no control characters"),
        (&text.replace("a=ice-ufrag:EsAw", "a=x"), "no ICE credentials: wanted a=ice-ufrag and a=ice-pwd"),
        (&text.replace("ufrag:EsAw", "ufrag:E w"), "line 15: found `a=ice-ufrag:E w`, wanted 4–256 ice-chars"),
        (&text.replace("pwd:bP+", "pwd:b!+"), "line 16: found `a=ice-pwd:…`, wanted 22–256 ice-chars"),
        (&text.replace("a=fingerprint", "a=x"), "no certificate fingerprint: wanted a=fingerprint:sha-256 …"),
        (&text.replace("sha-256 DA:", "sha-256 "), "line 17: found `a=fingerprint:sha-256 7B:57"),
        (&text.replace("t=0 0", "t=0 0\r\na=ice-lite"), "line 5: found `a=ice-lite:`, wanted a full ICE agent"),
        (&text.replace("111", "96"), "payload type 96 means two things in one BUNDLE group"),
        (
            &format!("v=0\r\no=x\r\ns=x\r\n{}", "m=audio 9 x 0\r\n".repeat(65)),
            "line 68: found `m=audio 9 x 0`, wanted at most 64",
        ),
        (
            &format!("{text}{}", "a=fmtp:96 x-google-start-bitrate=800\r\n".repeat(28_000)),
            "1065039 bytes of SDP, at most 65536 are read",
        ),
        (&format!("{text}a={}", "x".repeat(3000)), "line 40: found `a=xxx"),
    ];
    for (offer, wanted) in cases {
        let reason = malformed(present(offer));

        assert!(reason.starts_with(wanted), "found {reason}\nwanted {wanted}");
        assert!(reason.chars().count() < 200, "{reason}");
    }
}

#[test]
fn only_transports_and_hashes_that_we_speak_are_accepted() {
    for proto in ["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVP"] {
        let reason = unsupported(present(&audio_video().replace("UDP/TLS/RTP/SAVPF", proto)));
        assert!(
            reason.starts_with(&format!("audio section (mid `0`) uses {proto}: wanted UDP/TLS/RTP/SAVPF")),
            "{reason}"
        );
    }
    let weak = audio_video().replace("sha-256 DA:7B", "sha-1 DA:7B");
    assert!(unsupported(present(&weak)).contains("found only `sha-1`"));
    let both = audio_video().replace("a=setup", "a=fingerprint:sha-1 00:11\r\na=setup");
    assert_eq!(presented("sha-1 too", &both).fingerprints.len(), 1);
    let separate = audio_video().replace("a=rtcp-mux\r\n", "").replace("a=rtcp-mux-only\r\n", "");
    assert_eq!(unsupported(present(&separate)), "no a=rtcp-mux: RTP and RTCP share one port");
}

#[test]
fn several_sections_need_a_bundle() {
    let reason = unsupported(present(&offer("", &[OPUS, VP8_H264])));
    assert_eq!(reason, "2 sections without a=group:BUNDLE: all media share one transport");
    let viewer = offer("", &[OPUS, VP8_H264]).replace("a=sendonly", "a=recvonly");
    assert!(unsupported(view(&viewer, &Shape::default())).contains("without a=group:BUNDLE"));
    let outside = offer("a=group:BUNDLE 0\n", &[OPUS, VP8_H264]);
    assert!(unsupported(present(&outside)).contains("is not in the BUNDLE group"));
}
