//! Our own offer to a viewer, when the viewer's fits nothing that the stream has (WHEP draft, counter-offers).
//!
//! Its answer reads like an offer of the viewer's own that has only what ours had, so it is weighed as one.

use super::answer::{Lines, candidate_lines, fingerprint, sources};
use super::{Codec, Format, Kind, Local, Negotiated, Offer, Refusal, Shape, Source, answer_viewer};

/// An offer of everything that could be forwarded; what the stream carries now comes first.
pub fn offer_to_viewer(local: &Local<'_>, shape: &Shape) -> String {
    let mut lines = Lines::default();
    lines.push("v=0");
    lines.push_with(format_args!("o=tribune {} 1 IN IP4 127.0.0.1", local.session_id));
    lines.push("s=-");
    lines.push("t=0 0");
    lines.push("a=group:BUNDLE 0 1");
    lines.push("a=ice-lite");
    lines.push("a=msid-semantic: WMS *");
    section(&mut lines, local, Kind::Audio, &AUDIO, shape.audio.as_ref());
    // Candidates belong to the transport: only the tagged section has them (RFC 9143 §7.3.1).
    candidate_lines(&mut lines, local.candidates);
    section(&mut lines, local, Kind::Video, &VIDEO, shape.video.as_ref());
    lines.text
}

/// What an answer to such an offer comes to. `local` is what the offer was made with.
/// # Errors
/// `Malformed` when it is no SDP, or not an answer to this offer; `Unsupported` when it accepts nothing that the stream
/// has.
pub fn take_answer(answer: &str, local: &Local<'_>, shape: &Shape) -> Result<Negotiated, Refusal> {
    let answer = Offer::parse(answer)?;
    let mids: Vec<(Option<Kind>, &str)> = answer.sections.iter().map(|s| (s.kind, s.mid)).collect();
    if mids != [(Some(Kind::Audio), "0"), (Some(Kind::Video), "1")] {
        return Err(Refusal::Malformed(
            "an answer has the sections of the offer: audio with mid 0, video with mid 1".into(),
        ));
    }
    answer_viewer(&answer, local, shape)
}

/// What we can offer of one codec.
struct Entry {
    codec: Codec,
    payload_type: u8,
    rtpmap: &'static str,
    /// Parameters, when the stream does not say others.
    fmtp: &'static str,
}

const fn entry(codec: Codec, payload_type: u8, rtpmap: &'static str, fmtp: &'static str) -> Entry {
    Entry { codec, payload_type, rtpmap, fmtp }
}

const AUDIO: [Entry; 4] = [
    entry(Codec::Opus, 111, "opus/48000/2", "minptime=10;useinbandfec=1"),
    entry(Codec::G722, 9, "G722/8000", ""),
    entry(Codec::Pcmu, 0, "PCMU/8000", ""),
    entry(Codec::Pcma, 8, "PCMA/8000", ""),
];

/// The payload type after each is that of its retransmissions.
const VIDEO: [Entry; 5] = [
    entry(Codec::H264, 96, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    entry(Codec::Vp8, 98, "VP8/90000", ""),
    entry(Codec::Vp9, 100, "VP9/90000", "profile-id=0"),
    entry(Codec::Av1, 102, "AV1/90000", ""),
    entry(Codec::H265, 104, "H265/90000", ""),
];

/// One media section.
fn section(lines: &mut Lines, local: &Local<'_>, kind: Kind, entries: &[Entry], sent: Option<&Format>) {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by_key(|entry| sent.is_none_or(|sent| sent.codec != entry.codec));
    let (media, mid, source) = match kind {
        Kind::Audio => ("audio", 0, Source { rtx: None, ..local.audio }),
        Kind::Video => ("video", 1, local.video),
    };
    let rtx = |entry: &Entry| source.rtx.map(|_| entry.payload_type + 1);
    let types = entries.iter().flat_map(|entry| [Some(entry.payload_type), rtx(entry)]).flatten();
    let types: Vec<String> = types.map(|payload_type| payload_type.to_string()).collect();
    lines.push_with(format_args!("m={media} 9 UDP/TLS/RTP/SAVPF {}", types.join(" ")));
    lines.push("c=IN IP4 0.0.0.0");
    lines.push_with(format_args!("a=mid:{mid}"));
    lines.push_with(format_args!("a=ice-ufrag:{}", local.ice.ufrag));
    lines.push_with(format_args!("a=ice-pwd:{}", local.ice.pwd));
    fingerprint(lines, local.fingerprint);
    lines.push("a=setup:actpass");
    lines.push("a=rtcp-mux");
    lines.push("a=rtcp-rsize");
    lines.push("a=sendonly");
    sources(lines, kind, &[source], local);
    for (id, uri, for_audio) in EXTENSIONS {
        if for_audio || kind == Kind::Video {
            lines.push_with(format_args!("a=extmap:{id} {uri}"));
        }
    }
    for entry in entries {
        payload(lines, kind, entry, sent, rtx(entry));
    }
}

/// One codec, and its retransmissions.
fn payload(lines: &mut Lines, kind: Kind, entry: &Entry, sent: Option<&Format>, rtx: Option<u8>) {
    let Entry { codec, payload_type, rtpmap, fmtp } = entry;
    let fmtp = sent.filter(|sent| sent.codec == *codec && !sent.fmtp.is_empty()).map_or(*fmtp, |sent| &sent.fmtp);
    lines.push_with(format_args!("a=rtpmap:{payload_type} {rtpmap}"));
    if !fmtp.is_empty() {
        lines.push_with(format_args!("a=fmtp:{payload_type} {fmtp}"));
    }
    if kind == Kind::Video {
        for message in ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"] {
            lines.push_with(format_args!("a=rtcp-fb:{payload_type} {message}"));
        }
    }
    if let Some(rtx) = rtx {
        lines.push_with(format_args!("a=rtpmap:{rtx} rtx/90000"));
        lines.push_with(format_args!("a=fmtp:{rtx} apt={payload_type}"));
    }
}

/// Header extensions towards viewers: id, name, whether sound has it too.
const EXTENSIONS: [(u8, &str, bool); 4] = [
    (2, "urn:3gpp:video-orientation", false),
    (3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", true),
    (4, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", false),
    (5, "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension", false),
];
