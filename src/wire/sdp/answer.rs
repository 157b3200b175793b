//! Writes answers.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use super::negotiate::Side;
use super::section::{Direction, Encoding, Layer, Offered};
use super::{DtlsRole, ExtensionIds, Feedback, Fingerprint, Format, Hash, Kind, Local, Offer, Section, Source};

/// The answer that accepts `sections`, and no others of the offer.
pub(super) fn write(offer: &Offer<'_>, local: &Local<'_>, sections: &[Section], side: Side) -> String {
    let mut lines = Lines { text: String::with_capacity(USUAL_SIZE) };
    let order = transport_order(offer, sections);
    session(&mut lines, offer, local, &order);
    for offered in &offer.sections {
        let Some(section) = sections.iter().find(|section| section.index == offered.index) else {
            rejected(&mut lines, offered);
            continue;
        };
        head(&mut lines, offered, section);
        transport(&mut lines, offer, offered, local);
        match side {
            Side::Presenter => lines.push("a=recvonly"),
            Side::Viewer => {
                lines.push("a=sendonly");
                sources(&mut lines, section.kind, &section.sources, local);
            }
        }
        extensions(&mut lines, offered, &section.extensions);
        for format in &section.formats {
            payload(&mut lines, offered, format);
        }
        simulcast(&mut lines, offered, section);
        // Candidates belong to the transport: only the tagged section has them (RFC 9143 §7.3.1).
        if order.first().is_some_and(|tagged| tagged.index == offered.index) {
            candidate_lines(&mut lines, local.candidates);
        }
    }
    lines.text
}

/// The client's layers that we can accept: those not restricted to formats that we refuse.
pub(super) fn layers<'a>(offered: &'a Offered<'_>, formats: &'a [Format]) -> impl Iterator<Item = &'a Layer<'a>> {
    offered.layers.iter().filter(|layer| restrictions(layer, formats).is_some())
}

/// The accepted sections in the order of the offer's BUNDLE group: the first is the tagged one (RFC 9143 §7.3.1).
fn transport_order<'a>(offer: &'a Offer<'a>, sections: &[Section]) -> Vec<&'a Offered<'a>> {
    let accepted = |offered: &&Offered<'_>| sections.iter().any(|section| section.index == offered.index);
    let mut order: Vec<&Offered<'_>> = offer.sections.iter().filter(accepted).collect();
    order.sort_by_key(|offered| offered.place);
    order
}

/// Lines that end in CRLF.
#[derive(Default)]
pub(super) struct Lines {
    /// What is written so far.
    pub(super) text: String,
}

impl Lines {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    /// Adds a line that is put together from parts.
    pub(super) fn push_with(&mut self, line: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(line);
        self.text.push_str("\r\n");
    }
}

/// Everything before the first `m=`.
fn session(lines: &mut Lines, offer: &Offer<'_>, local: &Local<'_>, order: &[&Offered<'_>]) {
    lines.push("v=0");
    lines.push_with(format_args!("o=tribune {} 1 IN IP4 127.0.0.1", local.session_id));
    lines.push("s=-");
    lines.push("t=0 0");
    if offer.has_bundle {
        let mids: Vec<&str> = order.iter().map(|offered| offered.mid).collect();
        lines.push_with(format_args!("a=group:BUNDLE {}", mids.join(" ")));
    }
    if offer.allow_mixed {
        lines.push("a=extmap-allow-mixed");
    }
    ice_options(lines);
    lines.push("a=msid-semantic: WMS *");
}

/// What kind of ICE agent we are; the same in every answer and after every restart (RFC 9725 §4.3.3).
pub(super) fn ice_options(lines: &mut Lines) {
    lines.push("a=ice-lite");
    lines.push("a=ice-options:trickle ice2");
}

/// A section that is not accepted: port 0, and one format because the grammar wants one (RFC 3264 §6).
fn rejected(lines: &mut Lines, offered: &Offered<'_>) {
    lines.push_with(format_args!("m={} 0 {} {}", offered.media, offered.proto, offered.first_format));
    lines.push("c=IN IP4 0.0.0.0");
    mid(lines, offered);
    lines.push("a=inactive");
}

/// The `m=` line of an accepted section, and whose answer it is.
fn head(lines: &mut Lines, offered: &Offered<'_>, section: &Section) {
    let _ = write!(lines.text, "m={} 9 {}", offered.media, offered.proto);
    for payload_type in section.formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]).flatten() {
        let _ = write!(lines.text, " {payload_type}");
    }
    lines.push("");
    lines.push("c=IN IP4 0.0.0.0");
    mid(lines, offered);
}

/// `a=mid`, when the offer has one.
fn mid(lines: &mut Lines, offered: &Offered<'_>) {
    if !offered.mid.is_empty() {
        lines.push_with(format_args!("a=mid:{}", offered.mid));
    }
}

/// ICE, DTLS and RTCP lines. RFC 9429 would have them once; aiortc and werift look for them in every section.
fn transport(lines: &mut Lines, offer: &Offer<'_>, offered: &Offered<'_>, local: &Local<'_>) {
    lines.push_with(format_args!("a=ice-ufrag:{}", local.ice.ufrag));
    lines.push_with(format_args!("a=ice-pwd:{}", local.ice.pwd));
    fingerprint(lines, local.fingerprint);
    lines.push(match offer.remote.dtls {
        DtlsRole::Client => "a=setup:active",
        DtlsRole::Server => "a=setup:passive",
    });
    lines.push("a=rtcp-mux");
    // RFC 9725 §4.4.1 asks for it, RFC 8858 §3 forbids it in answers; who offers it takes it.
    if offered.rtcp_mux_only {
        lines.push("a=rtcp-mux-only");
    }
    if offered.rtcp_rsize {
        lines.push("a=rtcp-rsize");
    }
    if offered.allow_mixed {
        lines.push("a=extmap-allow-mixed");
    }
}

/// `a=fingerprint:<hash> AB:CD:…`
pub(super) fn fingerprint(lines: &mut Lines, fingerprint: &Fingerprint) {
    lines.text.push_str(match fingerprint.hash {
        Hash::Sha256 => "a=fingerprint:sha-256",
        Hash::Sha384 => "a=fingerprint:sha-384",
        Hash::Sha512 => "a=fingerprint:sha-512",
    });
    for (index, byte) in fingerprint.value.iter().enumerate() {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0').to_ascii_uppercase();
        lines.text.push(if index == 0 { ' ' } else { ':' });
        lines.text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    lines.push("");
}

/// What we send to a viewer: one stream, and in it one track of each kind.
pub(super) fn sources(lines: &mut Lines, kind: Kind, sources: &[Source], local: &Local<'_>) {
    let track = match kind {
        Kind::Audio => "audio0",
        Kind::Video => "video0",
    };
    lines.push_with(format_args!("a=msid:{} {track}", local.msid));
    for source in sources {
        if let Some(rtx) = source.rtx {
            lines.push_with(format_args!("a=ssrc-group:FID {} {rtx}", source.ssrc));
        }
        for ssrc in [Some(source.ssrc), source.rtx].into_iter().flatten() {
            lines.push_with(format_args!("a=ssrc:{ssrc} cname:{}", local.msid));
        }
    }
}

/// The agreed header extensions in offered order, with their offered ids.
fn extensions(lines: &mut Lines, offered: &Offered<'_>, ids: &ExtensionIds) {
    let agreed = [
        ids.mid,
        ids.rid,
        ids.repaired_rid,
        ids.transport_cc,
        ids.abs_send_time,
        ids.audio_level,
        ids.orientation,
        ids.playout_delay,
        ids.dependency_descriptor,
    ];
    for extension in &offered.extensions {
        if !agreed.iter().flatten().any(|id| u16::from(*id) == extension.id) {
            continue;
        }
        // Who sends here receives there (RFC 8285 §6).
        let direction = match extension.direction {
            None => "",
            Some(Direction::SendRecv) => "/sendrecv",
            Some(Direction::SendOnly) => "/recvonly",
            Some(Direction::RecvOnly) => "/sendonly",
            Some(Direction::Inactive) => "/inactive",
        };
        lines.push_with(format_args!("a=extmap:{}{direction} {}", extension.id, extension.uri));
    }
}

/// An accepted payload type, and that of its retransmissions.
fn payload(lines: &mut Lines, offered: &Offered<'_>, format: &Format) {
    let find = |wanted: u8| offered.payloads.iter().find(move |payload| payload.payload_type == wanted);
    if let Some(payload) = find(format.payload_type) {
        encoding(lines, payload);
    }
    feedback(lines, format.payload_type, format.feedback);
    if let Some(rtx) = format.rtx.and_then(find) {
        encoding(lines, rtx);
    }
}

/// `a=rtpmap` and `a=fmtp` as offered.
fn encoding(lines: &mut Lines, payload: &Encoding<'_>) {
    let payload_type = payload.payload_type;
    if payload.rtpmap.is_empty() {
        lines.push_with(format_args!(
            "a=rtpmap:{payload_type} {}/{}",
            payload.name.to_ascii_uppercase(),
            payload.clock_rate
        ));
    } else {
        lines.push_with(format_args!("a=rtpmap:{payload_type} {}", payload.rtpmap));
    }
    if !payload.fmtp.is_empty() {
        lines.push_with(format_args!("a=fmtp:{payload_type} {}", payload.fmtp));
    }
}

/// Agreed `a=rtcp-fb` lines.
fn feedback(lines: &mut Lines, payload_type: u8, feedback: Feedback) {
    let messages = [
        (feedback.remb, "goog-remb"),
        (feedback.transport_cc, "transport-cc"),
        (feedback.fir, "ccm fir"),
        (feedback.nack, "nack"),
        (feedback.pli, "nack pli"),
    ];
    for (_, message) in messages.iter().filter(|(agreed, _)| *agreed) {
        lines.push_with(format_args!("a=rtcp-fb:{payload_type} {message}"));
    }
}

/// The accepted layers, all on one line: OBS counts the semicolons.
fn simulcast(lines: &mut Lines, offered: &Offered<'_>, section: &Section) {
    if section.rids.is_empty() {
        return;
    }
    for layer in offered.layers.iter().filter(|layer| section.rids.iter().any(|rid| rid == layer.rid)) {
        let restrictions = restrictions(layer, &section.formats).unwrap_or_default();
        let separator = if restrictions.is_empty() { "" } else { " " };
        lines.push_with(format_args!("a=rid:{} recv{separator}{restrictions}", layer.rid));
    }
    lines.push_with(format_args!("a=simulcast:recv {}", section.rids.join(";")));
}

/// A layer's restrictions as offered, with only accepted payload types in `pt=` (RFC 8851 §6); `None` when
/// that leaves none.
fn restrictions(layer: &Layer<'_>, formats: &[Format]) -> Option<String> {
    let mut kept = Vec::new();
    for restriction in layer.restrictions.split(';').map(str::trim).filter(|restriction| !restriction.is_empty()) {
        let Some(types) = restriction.strip_prefix("pt=") else {
            kept.push(restriction.to_owned());
            continue;
        };
        let accepted = |word: &&str| formats.iter().any(|format| word.parse() == Ok(format.payload_type));
        let types: Vec<&str> = types.split(',').map(str::trim).filter(accepted).collect();
        if types.is_empty() {
            return None;
        }
        kept.push(format!("pt={}", types.join(",")));
    }
    Some(kept.join(";"))
}

/// All of our candidates, the best first: FFmpeg takes the first and nothing else. None come later.
pub(super) fn candidate_lines(lines: &mut Lines, candidates: &[SocketAddr]) {
    if candidates.is_empty() {
        return;
    }
    for (index, address) in (0..=u16::MAX).zip(candidates) {
        // RFC 8445 §5.1.2.1 with type preference 126 (host), falling local preference and component 1.
        let priority = (126 << 24) + (u32::from(u16::MAX - index) << 8) + (256 - 1);
        let (ip, port) = (address.ip(), address.port());
        lines.push_with(format_args!("a=candidate:{} 1 udp {priority} {ip} {port} typ host", u32::from(index) + 1));
    }
    lines.push("a=end-of-candidates");
}

/// Bytes of a usual answer to a browser.
const USUAL_SIZE: usize = 4096;
