//! Decides what of an offer is accepted.

use super::answer;
use super::formats::{known_formats, least_preferred, pick_format};
use super::grammar::excerpt;
use super::section::{Direction, Offered};
use super::{Codec, ExtensionIds, Format, Kind, Local, Negotiated, Offer, Refusal, Section, Shape, Source};

/// Answers a presenter's offer: every section `recvonly`.
/// # Errors
/// When a section cannot be accepted: no partial answers (RFC 9725 §4.4.3).
pub fn answer_presenter(offer: &Offer<'_>, local: &Local<'_>) -> Result<Negotiated, Refusal> {
    let media: Vec<&Offered<'_>> =
        offer.sections.iter().filter(|section| section.kind.is_some() && !section.rejected).collect();
    if media.is_empty() {
        return Err(Refusal::Unsupported("nothing to receive: no audio or video section".into()));
    }
    for kind in [Kind::Audio, Kind::Video] {
        let count = media.iter().filter(|section| section.kind == Some(kind)).count();
        if count > 1 {
            return Err(Refusal::Unsupported(format!("{count} {} sections, at most one is accepted", word(kind))));
        }
    }
    one_stream(&media)?;
    one_transport(offer, &media)?;
    let mut sections = Vec::new();
    for section in media {
        if matches!(section.direction, Direction::RecvOnly | Direction::Inactive) {
            let reason = "would not send: wanted a=sendonly or a=sendrecv";
            return Err(Refusal::Unsupported(format!("{} {reason}", section.label())));
        }
        sections.push(accept(offer, section, Side::Presenter)?);
    }
    conclude(offer, local, sections, Side::Presenter)
}

/// Answers a viewer's offer: every usable section `sendonly`, others port 0.
/// # Errors
/// When no section is usable.
pub fn answer_viewer(offer: &Offer<'_>, local: &Local<'_>, shape: &Shape) -> Result<Negotiated, Refusal> {
    let mut sections: Vec<Section> = Vec::new();
    let mut unusable = Vec::new();
    let mut too_foreign = Vec::new();
    let willing = offer.sections.iter().filter(|section| !section.rejected);
    for offered in willing {
        let Some(kind) = offered.kind.filter(|kind| sections.iter().all(|section| section.kind != *kind)) else {
            continue;
        };
        if matches!(offered.direction, Direction::SendOnly | Direction::Inactive) {
            unusable.push(format!("{} would not receive", offered.label()));
            continue;
        }
        let mut section = match accept(offer, offered, Side::Viewer) {
            Ok(section) => section,
            Err(Refusal::Malformed(reason) | Refusal::Unsupported(reason)) => {
                unusable.push(reason);
                continue;
            }
        };
        if let Some(sent) = sent(shape, kind) {
            let Some(picked) = pick_format(&section, sent).map(|format| format.payload_type) else {
                too_foreign.push(format!("the stream sends {}, {}", describe(sent), offers(offered)));
                continue;
            };
            section.formats.sort_by_key(|format| format.payload_type != picked);
        }
        section.sources = vec![declared(&section, local)];
        sections.push(section);
    }
    let carried = sections.iter().any(|section| sent(shape, section.kind).is_some());
    if !too_foreign.is_empty() && !carried {
        return Err(Refusal::Unsupported(too_foreign.join("; ")));
    }
    if sections.is_empty() {
        let reasons = if unusable.is_empty() { "no audio or video section".to_owned() } else { unusable.join("; ") };
        return Err(Refusal::Unsupported(format!("nothing to send: {reasons}")));
    }
    let media: Vec<&Offered<'_>> = offer.sections.iter().filter(|offered| accepted(&sections, offered)).collect();
    one_transport(offer, &media)?;
    conclude(offer, local, sections, Side::Viewer)
}

/// Whose offer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// We receive.
    Presenter,
    /// We send.
    Viewer,
}

/// The one transport needs BUNDLE, unless there is only one section anyway, and RTCP on the same port.
fn one_transport(offer: &Offer<'_>, media: &[&Offered<'_>]) -> Result<(), Refusal> {
    if !offer.has_bundle && media.len() > 1 {
        let reason = format!("{} sections without a=group:BUNDLE: all media share one transport", media.len());
        return Err(Refusal::Unsupported(reason));
    }
    // Of bundled sections only the first needs to say so (RFC 9143 §9.3).
    if !offer.sections.iter().any(|section| section.rtcp_mux || section.rtcp_mux_only) {
        return Err(Refusal::Unsupported("no a=rtcp-mux: RTP and RTCP share one port".into()));
    }
    Ok(())
}

/// A stream has one presenter's MediaStream (RFC 9725 §4.4.2).
fn one_stream(media: &[&Offered<'_>]) -> Result<(), Refusal> {
    let mut streams: Vec<&str> = media.iter().flat_map(|section| &section.streams).copied().collect();
    streams.sort_unstable();
    streams.dedup();
    match streams.as_slice() {
        [] | [_] => Ok(()),
        more => Err(Refusal::Unsupported(format!("{} MediaStreams, at most one is accepted", more.len()))),
    }
}

/// Accepts a section with everything that we share, or says why not.
fn accept(offer: &Offer<'_>, offered: &Offered<'_>, side: Side) -> Result<Section, Refusal> {
    let refuse = |reason: String| Err(Refusal::Unsupported(format!("{} {reason}", offered.label())));
    let Some(kind) = offered.kind else {
        return refuse("is neither audio nor video".into());
    };
    if !PROTOS.contains(&offered.proto) {
        return refuse(format!("uses {}: wanted {}", excerpt(offered.proto), PROTOS.join(" or ")));
    }
    if offered.place.is_none() {
        return refuse("is not in the BUNDLE group: all media share one transport".into());
    }
    let formats = known_formats(offered);
    if formats.is_empty() {
        return refuse(format!("has no codec that can be forwarded: {}, wanted {}", offers(offered), known(kind)));
    }
    let extensions = extensions(offer, offered, side);
    let rids = match side {
        // Without the extension nothing would say which layer a packet is of.
        Side::Presenter if extensions.rid.is_some() => {
            answer::layers(offered, &formats).map(|layer| layer.rid.to_owned()).collect()
        }
        Side::Presenter | Side::Viewer => Vec::new(),
    };
    if rids.len() > MAX_LAYERS {
        return refuse(format!("has {} simulcast layers, at most {MAX_LAYERS} are accepted", rids.len()));
    }
    Ok(Section {
        index: offered.index,
        mid: offered.mid.to_owned(),
        kind,
        formats,
        extensions,
        rids,
        sources: if side == Side::Presenter { offered.sources.clone() } else { Vec::new() },
        reduced_size_rtcp: offered.rtcp_rsize,
    })
}

/// The header extensions that both ends use.
fn extensions(offer: &Offer<'_>, offered: &Offered<'_>, side: Side) -> ExtensionIds {
    let longest_id = if offer.allow_mixed || offered.allow_mixed { 255 } else { 14 };
    let mut ids = ExtensionIds::default();
    for extension in &offered.extensions {
        let works = match extension.direction {
            None | Some(Direction::SendRecv) => true,
            Some(Direction::SendOnly) => side == Side::Presenter,
            Some(Direction::RecvOnly) => side == Side::Viewer,
            Some(Direction::Inactive) => false,
        };
        // One-byte headers cannot have 15 (RFC 8285 §4.2).
        let Some(id) = u8::try_from(extension.id).ok().filter(|id| (1..=longest_id).contains(id) && *id != 15) else {
            continue;
        };
        if !works {
            continue;
        }
        if let Some(slot) = slot(&mut ids, extension.uri, side) {
            slot.get_or_insert(id);
        }
    }
    ids
}

/// Where the id of an extension belongs, if we have a use for it on this side. Viewers get one stream a section, without
/// names of layers; send times and audio levels are for the server.
fn slot<'a>(ids: &'a mut ExtensionIds, uri: &str, side: Side) -> Option<&'a mut Option<u8>> {
    let presenter = side == Side::Presenter;
    match uri {
        "urn:ietf:params:rtp-hdrext:sdes:mid" => Some(&mut ids.mid),
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" if presenter => Some(&mut ids.rid),
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" if presenter => Some(&mut ids.repaired_rid),
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" if presenter => Some(&mut ids.abs_send_time),
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level" if presenter => Some(&mut ids.audio_level),
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => Some(&mut ids.transport_cc),
        "urn:3gpp:video-orientation" => Some(&mut ids.orientation),
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" => Some(&mut ids.playout_delay),
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension" => {
            Some(&mut ids.dependency_descriptor)
        }
        _ => None,
    }
}

/// Writes the answer, with fewer formats if it would be too long.
fn conclude(
    offer: &Offer<'_>,
    local: &Local<'_>,
    mut sections: Vec<Section>,
    side: Side,
) -> Result<Negotiated, Refusal> {
    distinct_payload_types(&sections)?;
    let mut answer = answer::write(offer, local, &sections, side);
    while answer.len() > MAX_ANSWER {
        let Some(section) = sections.iter_mut().max_by_key(|section| section.formats.len()) else {
            break;
        };
        let Some(index) = least_preferred(&section.formats) else {
            return Err(Refusal::Unsupported(format!("the answer would be longer than {MAX_ANSWER} bytes")));
        };
        section.formats.remove(index);
        if side == Side::Viewer {
            section.sources = vec![declared(section, local)];
        }
        answer = answer::write(offer, local, &sections, side);
    }
    Ok(Negotiated {
        answer,
        remote_ice: offer.remote.ice.clone(),
        fingerprints: offer.remote.fingerprints.clone(),
        dtls: offer.remote.dtls,
        sections,
    })
}

/// In one transport a payload type means one thing (RFC 9143 §9.1), and packets may have nothing else to tell.
fn distinct_payload_types(sections: &[Section]) -> Result<(), Refusal> {
    let mut types: Vec<u8> = sections
        .iter()
        .flat_map(|section| &section.formats)
        .flat_map(|format| [Some(format.payload_type), format.rtx])
        .flatten()
        .collect();
    types.sort_unstable();
    match types.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => {
            let payload_type = pair.first().copied().unwrap_or_default();
            Err(Refusal::Malformed(format!("payload type {payload_type} means two things in one BUNDLE group")))
        }
        None => Ok(()),
    }
}

/// Our source of a viewer's section. Retransmissions have one only when the viewer takes them.
fn declared(section: &Section, local: &Local<'_>) -> Source {
    let source = match section.kind {
        Kind::Audio => local.audio,
        Kind::Video => local.video,
    };
    let resends = section.formats.iter().any(|format| format.rtx.is_some());
    Source { ssrc: source.ssrc, rtx: source.rtx.filter(|_| resends) }
}

/// Whether an offered section is among the accepted ones.
fn accepted(sections: &[Section], offered: &Offered<'_>) -> bool {
    sections.iter().any(|section| section.index == offered.index)
}

/// What the stream carries of a kind.
fn sent(shape: &Shape, kind: Kind) -> Option<&Format> {
    match kind {
        Kind::Audio => shape.audio.as_ref(),
        Kind::Video => shape.video.as_ref(),
    }
}

/// `audio` or `video`.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    }
}

/// Names of the codecs that can be forwarded.
fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "Opus, G722, PCMU or PCMA",
        Kind::Video => "H264, H265, VP8, VP9 or AV1",
    }
}

/// A format in a message.
fn describe(format: &Format) -> String {
    let name = match format.codec {
        Codec::Opus => "Opus",
        Codec::G722 => "G722",
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
        Codec::H264 => "H264",
        Codec::H265 => "H265",
        Codec::Vp8 => "VP8",
        Codec::Vp9 => "VP9",
        Codec::Av1 => "AV1",
    };
    if format.fmtp.is_empty() { name.to_owned() } else { format!("{name} ({})", excerpt(&format.fmtp)) }
}

/// The codecs of an offered section in a message.
fn offers(offered: &Offered<'_>) -> String {
    let mut names: Vec<String> = offered.payloads.iter().map(|payload| payload.name.to_ascii_lowercase()).collect();
    names.retain(|name| !name.is_empty() && *name != "rtx");
    names.sort_unstable();
    names.dedup();
    names.truncate(MAX_NAMES);
    if names.is_empty() {
        "offered nothing with a name".to_owned()
    } else {
        format!("offered {}", excerpt(&names.join(", ")))
    }
}

/// Transports that we speak, by their name in `m=` lines; the last is what old clients say for the first.
const PROTOS: [&str; 3] = ["UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF"];
/// Bytes of an answer: FFmpeg reads no more than 8 KiB.
const MAX_ANSWER: usize = 8191;
/// Simulcast layers of a section.
const MAX_LAYERS: usize = 8;
/// Codec names in a message.
const MAX_NAMES: usize = 10;
