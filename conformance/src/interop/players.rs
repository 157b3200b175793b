//! The clients as data: what each sends, in which order, and what it insists on. Read from their sources and
//! captures; a client that tolerates everything at a step has no entry for it.

use crate::answer::Sdp;
use crate::cli::Side;
use crate::offer::random_text;

/// One client.
pub(super) struct Player {
    /// Name and version.
    pub(super) name: &'static str,
    /// Where the sequence is known from.
    pub(super) source: &'static str,
    pub(super) side: Side,
    /// Its offer as captured.
    pub(super) offer: &'static str,
    /// Lines that are appended to the capture.
    pub(super) extra: &'static str,
    /// Headers beside Content-Type and Authorization.
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) preflight: Preflight,
    /// Statuses of the POST with which it goes on.
    pub(super) accepts: &'static [u16],
    pub(super) location: Location,
    pub(super) needs: &'static [Needs],
    pub(super) patches: &'static [Patch],
    pub(super) delete: Delete,
    pub(super) shape: Shape,
}

/// What comes before the POST.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Preflight {
    None,
    /// The browser asks, without credentials.
    Browser,
    /// The client's own code asks, with its token.
    Scripted,
}

/// How a client resolves the Location.
#[derive(Clone, Copy)]
pub(super) enum Location {
    /// Against the URL that answered (RFC 3986).
    Effective,
    /// Against the URL that it was configured with.
    Configured,
    /// Absolute when it starts with `http`, else it is the path.
    Path,
    /// Only when it starts with `/` or is absolute.
    SlashOrAbsolute,
    /// Absolute when it contains `http` anywhere, a path when it starts with `/`.
    ContainsHttp,
}

/// What a client insists on in the answer.
#[derive(Clone, Copy)]
pub(super) enum Needs {
    ExactType,
    FirstLine,
    UdpHostFirst,
    CandidateFirst,
    Small,
    Fingerprint,
    Active,
    EverySection,
    AllLayers,
    OneOfEach,
    ETag,
}

/// One PATCH.
pub(super) struct Patch {
    pub(super) step: &'static str,
    /// Sent only when OPTIONS lists PATCH in Access-Control-Allow-Methods.
    pub(super) only_if_advertised: bool,
    pub(super) authorized: bool,
    /// A header; the value `tag` stands for the entity-tag of the 201, if there is one.
    pub(super) header: Option<(&'static str, &'static str)>,
    pub(super) body: Body,
    /// Statuses with which it goes on.
    pub(super) wants: &'static [u16],
}

/// Forms of a fragment.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Credentials at session level, all candidates, `end-of-candidates`.
    All,
    /// The same candidate under every mid, component 0.
    EveryMid,
    /// Credentials inside the section.
    InSection,
    /// Fresh credentials and nothing else: a restart.
    Restart,
    /// A candidate as JSON, under the type of fragments.
    Json,
}

/// The last request.
#[derive(Clone, Copy)]
pub(super) struct Delete {
    pub(super) authorized: bool,
    /// Carries the entity-tag of the 201.
    pub(super) if_match: bool,
    /// Statuses without a complaint of the client; none when it sends no DELETE.
    pub(super) wants: &'static [u16],
}

/// The offer of the live client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// With candidates.
    Whole,
    /// Without, and none follow.
    NoCandidates,
    /// Without, and DTLS passive.
    Passive,
}

impl Body {
    /// The body for that offer.
    pub(super) fn text(self, offer: &Sdp, answer: &Sdp) -> String {
        let first = offer.tagged();
        let read = |name: &str| first.and_then(|m| offer.effective(m, name)).unwrap_or_default().to_owned();
        let (ufrag, pwd, mid) = (read("ice-ufrag"), read("ice-pwd"), read("mid"));
        let credentials = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.77 50002 typ host\r\n";
        match self {
            Self::All => {
                format!(
                    "{credentials}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n{candidate}a=end-of-candidates\r\n"
                )
            }
            Self::EveryMid => {
                let mids = answer.media.iter().filter_map(|m| m.attr("mid"));
                let candidate = candidate.replace(" 1 udp", " 0 udp");
                let sections = mids.map(|mid| format!("m=audio 9 RTP/AVP 0\r\na=mid:{mid}\r\n{candidate}"));
                credentials + &sections.collect::<String>()
            }
            Self::InSection => {
                format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n{credentials}{candidate}")
            }
            Self::Restart => format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", random_text(8), random_text(24)),
            Self::Json => format!(
                "{{\"candidate\":\"candidate:1 1 udp 2122260223 192.0.2.77 50002 typ host\",\"sdpMLineIndex\":0,\
                 \"sdpMid\":\"{mid}\",\"usernameFragment\":\"{ufrag}\"}}"
            ),
        }
    }
}

const OK: &[u16] = &[200, 201, 202, 203, 204];
/// whip-whep throws for anything else.
const TOLERATED: &[u16] = &[200, 204, 405, 501];

/// Defaults to change: no preflight, only 201, DELETE with the token and any 2xx.
const PLAIN: Player = Player {
    name: "",
    source: "",
    side: Side::Whip,
    offer: "",
    extra: "",
    headers: &[],
    preflight: Preflight::None,
    accepts: &[201],
    location: Location::Effective,
    needs: &[],
    patches: &[],
    delete: Delete { authorized: true, if_match: false, wants: OK },
    shape: Shape::Whole,
};

/// Its fragments go to both kinds of endpoint.
const fn trickle(step: &'static str, header: Option<(&'static str, &'static str)>, wants: &'static [u16]) -> Patch {
    Patch { step, only_if_advertised: false, authorized: true, header, body: Body::All, wants }
}

/// As [`trickle`], where OPTIONS lists PATCH.
const fn if_told(
    header: Option<(&'static str, &'static str)>,
    authorized: bool,
    body: Body,
    wants: &'static [u16],
) -> Patch {
    Patch { step: "PATCH a candidate", only_if_advertised: true, authorized, header, body, wants }
}

macro_rules! capture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/offers/", $name, ".sdp"))
    };
}

const OBS: Player = Player {
    source: "obs-webrtc: curl, libdatachannel",
    headers: &[("Accept", "*/*"), ("User-Agent", "Mozilla/5.0 (OBS-Studio/32.2.2; Linux x86_64; en-US)")],
    location: Location::Path,
    delete: Delete { authorized: true, if_match: false, wants: &[200] },
    shape: Shape::NoCandidates,
    ..PLAIN
};

const FFMPEG: Player = Player {
    source: "libavformat/whip.c",
    headers: &[("Accept", "*/*"), ("Icy-MetaData", "1"), ("Cache-Control", "no-cache")],
    accepts: OK,
    needs: &[Needs::FirstLine, Needs::UdpHostFirst, Needs::Small, Needs::Fingerprint, Needs::Active],
    shape: Shape::Passive,
    ..PLAIN
};

const MEDOOZE: Player = Player {
    source: "npm whip-whep 1.2",
    preflight: Preflight::Browser,
    headers: &[("Origin", "https://player.example")],
    accepts: OK,
    location: Location::Configured,
    shape: Shape::NoCandidates,
    ..PLAIN
};

const EYEVINN: Player = Player {
    source: "@eyevinn",
    preflight: Preflight::Scripted,
    headers: &[("Origin", "https://player.example")],
    accepts: OK,
    location: Location::SlashOrAbsolute,
    ..PLAIN
};

const MEETECHO: Player = Player {
    source: "simple-whip-client, simple-whep-client: libsoup",
    location: Location::ContainsHttp,
    needs: &[Needs::ExactType, Needs::FirstLine, Needs::CandidateFirst],
    patches: &[trickle("PATCH candidates", Some(("If-Match", "tag")), &[200, 204])],
    delete: Delete { authorized: true, if_match: true, wants: &[200] },
    ..PLAIN
};

const READER: Player = Player {
    source: "MediaMTX reader.js, publisher.js",
    preflight: Preflight::Scripted,
    headers: &[("Origin", "https://player.example")],
    location: Location::Configured,
    patches: &[Patch {
        step: "PATCH a candidate",
        only_if_advertised: false,
        authorized: false,
        header: Some(("If-Match", "*")),
        body: Body::All,
        wants: &[204],
    }],
    delete: Delete { authorized: false, if_match: false, wants: OK },
    ..PLAIN
};

const MEDIAMTX_GO: Player = Player {
    source: "MediaMTX whip:// and whep:// sources",
    preflight: Preflight::Scripted,
    location: Location::Configured,
    needs: &[Needs::ExactType, Needs::ETag, Needs::OneOfEach],
    patches: &[if_told(Some(("If-Match", "tag")), true, Body::InSection, &[204])],
    delete: Delete { authorized: true, if_match: false, wants: &[200] },
    ..PLAIN
};

/// The clients, presenters first.
pub(super) const PLAYERS: &[Player] = &[
    Player { name: "OBS 32.2", offer: capture!("obs-32.2.2"), ..OBS },
    Player { name: "OBS 30.2", offer: capture!("obs-30.2.3"), shape: Shape::Whole, ..OBS },
    Player { name: "OBS 32.2 simulcast", offer: capture!("obs-32.2.2-simulcast3"), needs: &[Needs::AllLayers], ..OBS },
    Player { name: "FFmpeg 8.0", offer: capture!("ffmpeg-8.0"), ..FFMPEG },
    Player { name: "FFmpeg 9", offer: capture!("ffmpeg-9.0.2"), ..FFMPEG },
    Player {
        name: "GStreamer whipclientsink",
        source: "gst-plugins-rs net/webrtc",
        offer: capture!("gst-1.28.8-whipclientsink"),
        accepts: &[200, 201],
        location: Location::Configured,
        ..PLAIN
    },
    Player {
        name: "GStreamer whipsink",
        source: "gst-plugins-rs net/webrtchttp",
        offer: capture!("gst-1.28.8-whipsink"),
        accepts: &[200, 201],
        location: Location::Configured,
        ..PLAIN
    },
    Player {
        name: "whip-whep publisher",
        offer: capture!("chromium-156-publish"),
        patches: &[
            trickle("PATCH candidates", Some(("If-Match", "tag")), TOLERATED),
            Patch {
                step: "PATCH a restart",
                only_if_advertised: false,
                authorized: true,
                header: Some(("If-Match", "*")),
                body: Body::Restart,
                wants: TOLERATED,
            },
        ],
        ..MEDOOZE
    },
    Player {
        name: "Eyevinn whip-web-client",
        offer: capture!("chromium-156-publish"),
        patches: &[if_told(Some(("ETag", "tag")), true, Body::EveryMid, OK)],
        delete: Delete { authorized: false, if_match: false, wants: OK },
        ..EYEVINN
    },
    Player { name: "simple-whip-client", offer: capture!("gst-1.28.8-whipsink"), ..MEETECHO },
    Player { name: "MediaMTX publisher.js", offer: capture!("chromium-156-publish"), ..READER },
    Player { name: "MediaMTX Go publisher", offer: capture!("chromium-156-publish"), ..MEDIAMTX_GO },
    Player {
        name: "aiortc publisher",
        source: "aiortc",
        offer: capture!("aiortc-1.16.0-publish"),
        needs: &[Needs::EverySection],
        ..PLAIN
    },
    Player {
        name: "Chromium simulcast",
        source: "Chromium",
        preflight: Preflight::Browser,
        offer: capture!("chromium-156-publish-simulcast"),
        ..PLAIN
    },
    Player {
        name: "Firefox publisher",
        source: "Firefox",
        preflight: Preflight::Browser,
        offer: capture!("firefox-153-publish"),
        ..PLAIN
    },
    Player {
        name: "GStreamer whepclientsrc",
        source: "gst-plugins-rs net/webrtc",
        side: Side::Whep,
        offer: capture!("gst-1.28.8-whepclientsrc"),
        location: Location::Configured,
        ..PLAIN
    },
    Player {
        name: "GStreamer whepsrc",
        source: "gst-plugins-rs net/webrtchttp",
        side: Side::Whep,
        offer: capture!("gst-1.28.8-whepsrc"),
        accepts: &[200, 201],
        location: Location::Configured,
        ..PLAIN
    },
    Player {
        name: "whip-whep player",
        side: Side::Whep,
        offer: capture!("chromium-156-play"),
        patches: &[
            trickle("PATCH candidates", None, TOLERATED),
            Patch {
                step: "PATCH a restart",
                only_if_advertised: false,
                authorized: true,
                header: Some(("If-Match", "*")),
                body: Body::Restart,
                wants: TOLERATED,
            },
        ],
        ..MEDOOZE
    },
    Player {
        name: "Eyevinn webrtc-player",
        side: Side::Whep,
        preflight: Preflight::Browser,
        offer: capture!("chromium-156-play"),
        delete: Delete { authorized: true, if_match: false, wants: OK },
        ..EYEVINN
    },
    Player { name: "simple-whep-client", side: Side::Whep, offer: capture!("gst-1.28.8-whepsrc"), ..MEETECHO },
    Player {
        name: "MediaMTX reader.js",
        side: Side::Whep,
        offer: capture!("chromium-156-play"),
        extra: "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:7\r\na=sctp-port:5000\r\n",
        ..READER
    },
    Player { name: "MediaMTX Go reader", side: Side::Whep, offer: capture!("chromium-156-play"), ..MEDIAMTX_GO },
    Player {
        name: "react-native-whip-whep",
        source: "software-mansion",
        side: Side::Whep,
        offer: capture!("chromium-156-play"),
        headers: &[("Accept", "application/sdp")],
        location: Location::Path,
        patches: &[Patch {
            step: "PATCH a candidate as JSON",
            only_if_advertised: false,
            authorized: false,
            header: None,
            body: Body::Json,
            // What is refused here costs it trickle, not the session.
            wants: &[200, 204, 400, 415, 422, 428],
        }],
        ..PLAIN
    },
    Player {
        name: "aiortc player",
        source: "aiortc",
        side: Side::Whep,
        offer: capture!("aiortc-1.16.0-play"),
        needs: &[Needs::EverySection],
        ..PLAIN
    },
    Player {
        name: "Firefox player",
        source: "Firefox",
        side: Side::Whep,
        preflight: Preflight::Browser,
        offer: capture!("firefox-153-play"),
        ..PLAIN
    },
];
