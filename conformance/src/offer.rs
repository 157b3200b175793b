//! The offers that the checks send. Each has the shape of what a real client sends, or one deliberate flaw.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::cli::Side;

/// The offers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixture {
    /// Audio then video, Opus, VP8 and H264 with RTX, the shape of a browser.
    Av,
    /// Video first.
    Va,
    /// Audio only.
    A,
    /// Video only.
    V,
    /// Audio only, without a BUNDLE group.
    AloneUngrouped,
    /// The second section is `bundle-only` with port 0 (RFC 9725 Figure 2).
    BundleOnly,
    /// No candidates, and none will follow.
    NoCandidates,
    /// `a=setup:passive`, as some FFmpeg versions send it.
    Passive,
    /// `a=setup:active`.
    Active,
    /// Three simulcast layers by rid, no SSRC lines.
    Simulcast,
    /// Two video sections.
    TwoVideos,
    /// Audio and video of two MediaStreams.
    TwoStreams,
    /// A data channel beside audio and video.
    DataChannel,
    /// Video with an invented codec only.
    UnknownCodec,
    /// Audio that works and video with an invented codec only.
    HalfUnknown,
    /// Video: an invented codec first, then H264; a viewer's takes VP8 too, since the stream decides.
    MixedCodecs,
    /// Several H264 profiles and packetization modes.
    H264,
    /// Unusual mids, payload types and extension ids.
    Odd,
    /// No `a=msid`.
    NoMsid,
    /// Bare LF line ends.
    Lf,
    /// Unknown lines, odd `o=` and `s=`, bandwidth and IPv6 lines.
    Talkative,
    /// `a=inactive` everywhere.
    Inactive,
    /// `a=recvonly` everywhere.
    RecvOnly,
    /// `a=sendonly` everywhere.
    SendOnly,
    /// `a=sendrecv` everywhere.
    SendRecv,
    /// Nothing at all.
    Empty,
    /// The word `hello`.
    Hello,
    /// Cut off behind `m=`.
    Truncated,
    /// No `a=ice-ufrag`.
    NoUfrag,
    /// No `a=fingerprint`.
    NoFingerprint,
    /// A mebibyte of well-formed lines.
    Huge,
}

impl Fixture {
    /// Every fixture with its name in the clause table.
    pub(crate) const ALL: [(Self, &'static str); 31] = [
        (Self::Av, "O-AV"),
        (Self::Va, "O-VA"),
        (Self::A, "O-A"),
        (Self::V, "O-V"),
        (Self::AloneUngrouped, "O-A-UNGROUPED"),
        (Self::BundleOnly, "O-BO"),
        (Self::NoCandidates, "O-NC"),
        (Self::Passive, "O-PASV"),
        (Self::Active, "O-ACT"),
        (Self::Simulcast, "O-SIM"),
        (Self::TwoVideos, "O-2V"),
        (Self::TwoStreams, "O-2S"),
        (Self::DataChannel, "O-DC"),
        (Self::UnknownCodec, "O-UNK"),
        (Self::HalfUnknown, "O-A-UNK"),
        (Self::MixedCodecs, "O-MIX"),
        (Self::H264, "O-H264x"),
        (Self::Odd, "O-ODD"),
        (Self::NoMsid, "O-NOMSID"),
        (Self::Lf, "O-LF"),
        (Self::Talkative, "O-TALK"),
        (Self::Inactive, "O-INACT"),
        (Self::RecvOnly, "O-RO"),
        (Self::SendOnly, "O-SO"),
        (Self::SendRecv, "O-SR"),
        (Self::Empty, "O-BAD1"),
        (Self::Hello, "O-BAD2"),
        (Self::Truncated, "O-BAD3"),
        (Self::NoUfrag, "O-BAD4"),
        (Self::NoFingerprint, "O-BAD5"),
        (Self::Huge, "O-BAD6"),
    ];

    /// The name in the clause table.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(fixture, _)| *fixture == self).map_or("O-?", |(_, name)| name)
    }

    /// The fixture of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| n.eq_ignore_ascii_case(name)).map(|(fixture, _)| *fixture)
    }

    /// The body to POST, with fresh ICE credentials.
    pub(crate) fn body(self, side: Side) -> String {
        let mut offer = Offer::new(side);
        match self {
            Self::Av => {}
            Self::Va => offer.sections.reverse(),
            Self::A | Self::AloneUngrouped => offer.sections.truncate(1),
            Self::V => offer.sections = vec![Section::video("1")],
            Self::BundleOnly => offer.bundle_only = true,
            Self::NoCandidates => offer.candidates = false,
            Self::Passive => offer.setup = "passive",
            Self::Active => offer.setup = "active",
            Self::Simulcast => offer.sections = vec![Section::audio("0"), Section::simulcast("1")],
            Self::TwoVideos => offer.sections.push(Section::video("2")),
            Self::TwoStreams => offer.streams = 2,
            Self::DataChannel => offer.sections.push(Section::data("2")),
            Self::UnknownCodec => offer.sections = vec![Section::with_codecs("1", &[INVENTED])],
            Self::HalfUnknown => {
                offer.sections = vec![Section::audio("0"), Section::with_codecs("1", &[INVENTED])];
            }
            Self::MixedCodecs => {
                let known: &[_] = if side == Side::Whip { &[H264_CBP] } else { &[VP8, H264_CBP] };
                let codecs = [&[INVENTED], known].concat();
                offer.sections = vec![Section::audio("0"), Section::with_codecs("1", &codecs)];
            }
            Self::H264 => {
                offer.sections = vec![Section::audio("0"), Section::with_codecs("1", &H264_PROFILES)];
            }
            Self::Odd => offer.sections = vec![Section::odd_audio(), Section::odd_video()],
            Self::NoMsid => offer.streams = 0,
            Self::Lf => return offer.text().replace("\r\n", "\n"),
            Self::Talkative => return talkative(&offer.text()),
            Self::Inactive => offer.direction = "inactive",
            Self::RecvOnly => offer.direction = "recvonly",
            Self::SendOnly => offer.direction = "sendonly",
            Self::SendRecv => offer.direction = "sendrecv",
            Self::Empty => return String::new(),
            Self::Hello => return "hello".into(),
            Self::Truncated => {
                let text = offer.text();
                return text.find("m=").and_then(|at| text.get(..at + 2)).unwrap_or_default().to_owned();
            }
            Self::NoUfrag => return drop_lines(&offer.text(), "a=ice-ufrag"),
            Self::NoFingerprint => return drop_lines(&offer.text(), "a=fingerprint"),
            Self::Huge => {
                return offer.text() + &"a=x-padding:0123456789abcdef0123456789abcdef\r\n".repeat(24_000);
            }
        }
        if self == Self::AloneUngrouped { drop_lines(&offer.text(), "a=group") } else { offer.text() }
    }
}

/// An offer under construction.
struct Offer {
    direction: &'static str,
    setup: &'static str,
    sections: Vec<Section>,
    bundle_only: bool,
    candidates: bool,
    /// How many MediaStreams the sections are spread over; 0 leaves `a=msid` out.
    streams: usize,
}

impl Offer {
    /// What an ordinary client of that side sends.
    fn new(side: Side) -> Self {
        Self {
            direction: match side {
                Side::Whip => "sendonly",
                Side::Whep => "recvonly",
            },
            setup: "actpass",
            sections: vec![Section::audio("0"), Section::video("1")],
            bundle_only: false,
            candidates: true,
            streams: 1,
        }
    }

    /// The SDP, lines ending in CRLF.
    fn text(&self) -> String {
        let (ufrag, pwd) = (random_text(8), random_text(24));
        let mids: Vec<&str> = self.sections.iter().map(|s| s.mid).collect();
        let mut lines = vec![
            "v=0".to_owned(),
            format!("o=- {} 2 IN IP4 127.0.0.1", random_number() >> 2),
            "s=-".into(),
            "t=0 0".into(),
            format!("a=group:BUNDLE {}", mids.join(" ")),
            "a=extmap-allow-mixed".into(),
            "a=msid-semantic: WMS *".into(),
        ];
        for (at, section) in self.sections.iter().enumerate() {
            let bundled = self.bundle_only && at > 0;
            let port = if bundled { 0 } else { 9 };
            lines.push(format!("m={} {port} {} {}", section.kind, section.proto(), section.formats()));
            lines.push("c=IN IP4 0.0.0.0".into());
            lines.push(format!("a=mid:{}", section.mid));
            if bundled {
                lines.push("a=bundle-only".into());
            } else {
                if self.candidates && at == 0 {
                    lines.push("a=candidate:1 1 udp 2122260223 192.0.2.77 50002 typ host".into());
                    lines.push("a=end-of-candidates".into());
                }
                lines.push(format!("a=ice-ufrag:{ufrag}"));
                lines.push(format!("a=ice-pwd:{pwd}"));
                lines.push("a=ice-options:trickle".into());
                lines.push(format!("a=fingerprint:sha-256 {FINGERPRINT}"));
                lines.push(format!("a=setup:{}", self.setup));
            }
            if section.kind == "application" {
                lines.push("a=sctp-port:5000".into());
                lines.push("a=max-message-size:262144".into());
                continue;
            }
            lines.push(format!("a={}", self.direction));
            lines.push("a=rtcp-mux".into());
            if !bundled {
                lines.push("a=rtcp-mux-only".into());
            }
            lines.push("a=rtcp-rsize".into());
            let sends = matches!(self.direction, "sendonly" | "sendrecv");
            if sends && self.streams > 0 {
                lines.push(format!("a=msid:stream-{} track-{at}", at % self.streams));
            }
            lines.extend(section.lines.iter().map(|line| format!("a={line}")));
            if sends && !section.by_rid {
                lines.push(format!("a=ssrc:{} cname:conformance", 1_000_001 + at));
            }
        }
        lines.join("\r\n") + "\r\n"
    }
}

/// One media section; `lines` are attributes without `a=`.
struct Section {
    kind: &'static str,
    mid: &'static str,
    payloads: Vec<String>,
    lines: Vec<String>,
    by_rid: bool,
}

impl Section {
    fn audio(mid: &'static str) -> Self {
        Self {
            kind: "audio",
            mid,
            payloads: vec!["111".into(), "0".into()],
            lines: owned(&[
                "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
                "extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
                "rtpmap:111 opus/48000/2",
                "rtcp-fb:111 transport-cc",
                "fmtp:111 minptime=10;useinbandfec=1",
                "rtpmap:0 PCMU/8000",
            ]),
            by_rid: false,
        }
    }

    fn video(mid: &'static str) -> Self {
        Self::with_codecs(mid, &[VP8, H264_CBP])
    }

    fn simulcast(mid: &'static str) -> Self {
        let mut section = Self::video(mid);
        section.by_rid = true;
        section.lines.extend(owned(&["rid:0 send", "rid:1 send", "rid:2 send", "simulcast:send 0;1;2"]));
        section
    }

    /// A video section with just these codecs, each with RTX.
    fn with_codecs(mid: &'static str, codecs: &[(u8, &str, &str)]) -> Self {
        let mut lines = owned(&[
            "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
            "extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            "extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            "extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        ]);
        let mut payloads = Vec::new();
        for (payload, codec, parameters) in codecs {
            lines.push(format!("rtpmap:{payload} {codec}/90000"));
            for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
                lines.push(format!("rtcp-fb:{payload} {feedback}"));
            }
            if !parameters.is_empty() {
                lines.push(format!("fmtp:{payload} {parameters}"));
            }
            let repair = payload + 1;
            lines.push(format!("rtpmap:{repair} rtx/90000"));
            lines.push(format!("fmtp:{repair} apt={payload}"));
            payloads.push(payload.to_string());
            payloads.push(repair.to_string());
        }
        Self { kind: "video", mid, payloads, lines, by_rid: false }
    }

    fn data(mid: &'static str) -> Self {
        Self { kind: "application", mid, payloads: Vec::new(), lines: Vec::new(), by_rid: true }
    }

    fn odd_audio() -> Self {
        let lines = owned(&["extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "rtpmap:63 opus/48000/2"]);
        Self { kind: "audio", mid: "x-7", payloads: vec!["63".into()], lines, by_rid: false }
    }

    fn odd_video() -> Self {
        let lines = owned(&[
            "extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
            "extmap:9 urn:example:never-heard-of",
            "extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            "rtpmap:35 H264/90000",
            "rtcp-fb:35 nack",
            "fmtp:35 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ]);
        Self { kind: "video", mid: "video0", payloads: vec!["35".into()], lines, by_rid: false }
    }

    fn proto(&self) -> &'static str {
        if self.kind == "application" { "UDP/DTLS/SCTP" } else { "UDP/TLS/RTP/SAVPF" }
    }

    fn formats(&self) -> String {
        if self.kind == "application" { "webrtc-datachannel".into() } else { self.payloads.join(" ") }
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

/// Adds what encoders are known to add and a server should read over.
fn talkative(text: &str) -> String {
    text.replacen("o=- ", "o=FFmpeg ", 1)
        .replacen("s=-", "s=My Publish Session", 1)
        .replace("c=IN IP4 0.0.0.0\r\n", "c=IN IP6 ::\r\nb=AS:2500\r\na=x-unknown:yes\r\na=what\r\n")
        + "\r\n"
}

/// Takes out the lines that start with `prefix`.
pub(crate) fn drop_lines(text: &str, prefix: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(prefix)).collect()
}

/// Letters and digits for names that must differ between sessions; nothing secret is derived from them.
pub(crate) fn random_text(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text = format!("{text}{:016x}", random_number());
    }
    text.truncate(length);
    text
}

/// 64 bits from the seed of a fresh hash map.
fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A sha-256 fingerprint of no certificate; these offers never reach DTLS.
const FINGERPRINT: &str = "55:AA:22:56:BB:9B:58:A5:CE:12:55:86:E3:CA:D9:77:\
                           92:39:97:E1:24:EA:D0:86:B0:2D:32:27:A4:EB:42:E9";
const INVENTED: (u8, &str, &str) = (96, "FOO", "");
const VP8: (u8, &str, &str) = (98, "VP8", "");
const H264_CBP: (u8, &str, &str) =
    (102, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
const H264_PROFILES: [(u8, &str, &str); 5] = [
    H264_CBP,
    (104, "H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
    (106, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
    (108, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
    (112, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f"),
];

#[cfg(test)]
mod tests;
