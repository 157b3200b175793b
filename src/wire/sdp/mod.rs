//! Session descriptions: what a client offers, what we answer, what was agreed.
//!
//! `parse` an offer, then `answer_presenter` or `answer_viewer`. All or nothing: an answer is returned together with
//! everything the session needs to know of it, or a refusal says why not.

mod answer;
mod counter;
mod formats;
pub mod fragment;
mod grammar;
pub mod negotiate;
pub mod offer;
mod section;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;
use std::net::SocketAddr;

pub use counter::{offer_to_viewer, take_answer};
pub use formats::pick_format;
pub use fragment::{Fragment, Tagged};
pub use negotiate::{answer_presenter, answer_viewer};
pub use offer::Offer;

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
}

/// The codecs that we forward. Nothing is ever decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587
    Opus,
    /// ITU-T G.722, RFC 3551
    G722,
    /// G.711 µ-law, RFC 3551
    Pcmu,
    /// G.711 A-law, RFC 3551
    Pcma,
    /// RFC 6184
    H264,
    /// RFC 7798
    H265,
    /// RFC 7741
    Vp8,
    /// RFC 9628
    Vp9,
    /// AOM RTP payload format for AV1
    Av1,
}

/// Feedback messages that both ends speak for a format (RFC 4585 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of messages, each there or not there")]
pub struct Feedback {
    /// `nack`
    pub nack: bool,
    /// `nack pli`
    pub pli: bool,
    /// `ccm fir`
    pub fir: bool,
    /// `transport-cc`
    pub transport_cc: bool,
    /// `goog-remb`
    pub remb: bool,
}

/// One payload type of an accepted section: a codec with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// RTP payload type, 0–127.
    pub payload_type: u8,
    /// What it carries.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Audio channels as in `rtpmap`; 0 for video.
    pub channels: u8,
    /// Format parameters as offered, without the payload type; empty when there are none.
    pub fmtp: String,
    /// Payload type of its retransmissions (RFC 4588), when agreed.
    pub rtx: Option<u8>,
    /// Agreed feedback.
    pub feedback: Feedback,
}

/// Header extension ids of one section (RFC 8285), as agreed for this session; `None` = not agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    pub abs_send_time: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    pub audio_level: Option<u8>,
    /// `urn:3gpp:video-orientation`
    pub orientation: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    pub playout_delay: Option<u8>,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    pub dependency_descriptor: Option<u8>,
}

/// A source of RTP and that of its retransmissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of its retransmissions (`ssrc-group:FID`).
    pub rtx: Option<u32>,
}

/// One accepted media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Index of its `m=` line, from 0.
    pub index: usize,
    /// `a=mid`; empty when the offer has none.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// Accepted formats in the order of the answer; never empty.
    pub formats: Vec<Format>,
    /// Agreed header extensions.
    pub extensions: ExtensionIds,
    /// Accepted simulcast layers in offered order; empty without simulcast.
    pub rids: Vec<String>,
    /// Presenter: the sources that the offer declares (maybe none). Viewer: exactly one, ours.
    pub sources: Vec<Source>,
    /// `a=rtcp-rsize` was offered.
    pub reduced_size_rtcp: bool,
}

/// An ICE user name fragment and password (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4–256 ice-chars.
    pub ufrag: String,
    /// 22–256 ice-chars.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    /// Leaves the password out: credentials never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

/// A certificate's hash (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Which hash.
    pub hash: Hash,
    /// Its value: 32, 48 or 64 bytes.
    pub value: Vec<u8>,
}

/// Hash functions that we accept for fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// Our part in the DTLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We answer `setup:active` and send the ClientHello.
    Client,
    /// We answer `setup:passive`.
    Server,
}

/// What we bring to an answer.
#[derive(Clone, Debug)]
pub struct Local<'a> {
    /// Fresh credentials of this session.
    pub ice: &'a IceCredentials,
    /// Hash of our DTLS certificate.
    pub fingerprint: &'a Fingerprint,
    /// UDP host candidates, the best first; never empty.
    pub candidates: &'a [SocketAddr],
    /// `sess-id` of the `o=` line; below 2^62.
    pub session_id: u64,
    /// Stream id of `a=msid` towards viewers, and CNAME.
    pub msid: &'a str,
    /// SSRCs for what we send to a viewer: audio and video, each with its retransmissions.
    pub audio: Source,
    /// See `audio`.
    pub video: Source,
}

/// What a stream carries now, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The presenter's audio format.
    pub audio: Option<Format>,
    /// The presenter's video format.
    pub video: Option<Format>,
}

/// The outcome of an offer and its answer.
#[derive(Clone, Debug)]
pub struct Negotiated {
    /// The answer, CRLF lines, under 8 KiB.
    pub answer: String,
    /// The client's credentials.
    pub remote_ice: IceCredentials,
    /// The client's certificate must match one of these; never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// Our part in the handshake.
    pub dtls: DtlsRole,
    /// Accepted sections; never empty; at most one audio and one video.
    pub sections: Vec<Section>,
}

/// Why an offer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not SDP, or SDP that cannot be used at all: HTTP 400.
    #[error("{0}")]
    Malformed(String),
    /// Understood, but not something that this server does: HTTP 422.
    #[error("{0}")]
    Unsupported(String),
}
