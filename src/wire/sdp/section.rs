//! One media section of an offer, interpreted.

use super::grammar::{Attribute, Media, excerpt};
use super::transport::Transport;
use super::{Feedback, Kind, Refusal, Source};

/// A media section as offered.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "most are attributes without a value: there or not there")]
pub(super) struct Offered {
    /// Index of its `m=` line, from 0.
    pub(super) index: usize,
    /// First word of its `m=` line.
    pub(super) media: String,
    /// Audio or video; `None` for anything else, which is never accepted.
    pub(super) kind: Option<Kind>,
    /// Third word of its `m=` line.
    pub(super) proto: String,
    /// The first format, whatever it is: what a rejected section repeats.
    pub(super) first_format: String,
    /// Port of its `m=` line.
    pub(super) port: u16,
    /// `a=mid`; empty when there is none.
    pub(super) mid: String,
    /// Seen from the client.
    pub(super) direction: Direction,
    /// Encoding types in order, without duplicates.
    pub(super) payloads: Vec<Encoding>,
    /// Header extensions in order; no id twice.
    pub(super) extensions: Vec<Extension>,
    /// Simulcast layers that the client would send, in order.
    pub(super) layers: Vec<Layer>,
    /// Declared sources.
    pub(super) sources: Vec<Source>,
    /// MediaStream ids (RFC 8830), without duplicates.
    pub(super) streams: Vec<String>,
    /// `a=bundle-only`
    pub(super) bundle_only: bool,
    /// `a=rtcp-mux`
    pub(super) rtcp_mux: bool,
    /// `a=rtcp-mux-only`
    pub(super) rtcp_mux_only: bool,
    /// `a=rtcp-rsize`
    pub(super) rtcp_rsize: bool,
    /// `a=extmap-allow-mixed` in this section.
    pub(super) allow_mixed: bool,
    /// Its ICE and DTLS lines.
    pub(super) transport: Transport,
    /// The client itself offers it as rejected. Set by the offer, which knows the BUNDLE group.
    pub(super) rejected: bool,
    /// Its place among those that share the one transport, in the order of the BUNDLE group. Set by the offer.
    pub(super) place: Option<usize>,
}

/// Who sends, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Both.
    SendRecv,
    /// The client.
    SendOnly,
    /// The server.
    RecvOnly,
    /// Nobody.
    Inactive,
}

/// A payload type as offered.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    /// 0–127.
    pub(super) payload_type: u8,
    /// `<name>/<clock>[/<channels>]` as offered, to be repeated in the answer; empty when not known.
    pub(super) rtpmap: String,
    /// Encoding name in lower case.
    pub(super) name: String,
    /// Hz.
    pub(super) clock_rate: u32,
    /// Third part of `rtpmap`.
    pub(super) channels: Option<u8>,
    /// Parameters, without the payload type.
    pub(super) fmtp: String,
    /// What of its `rtcp-fb` lines we know.
    pub(super) feedback: Feedback,
}

/// A header extension as offered (RFC 8285 §5).
#[derive(Clone, Debug)]
pub(super) struct Extension {
    /// Local identifier; not yet checked to fit a packet.
    pub(super) id: u16,
    /// Who uses it, when the client says so.
    pub(super) direction: Option<Direction>,
    /// What it is.
    pub(super) uri: String,
}

/// A simulcast layer (RFC 8853) with its restrictions (RFC 8851).
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// `rid-id`
    pub(super) rid: String,
    /// `pt=…;max-width=…` as offered; mostly empty.
    pub(super) restrictions: String,
}

impl Offered {
    /// Interprets a section. `session` are the attributes that hold for all of them.
    pub(super) fn read(index: usize, media: Media, session: &[Attribute]) -> Result<Self, Refusal> {
        let kind = match media.name.as_str() {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        let mut section = Self {
            index,
            kind,
            payloads: if kind.is_some() { payloads(&media)? } else { Vec::new() },
            media: media.name,
            proto: media.proto,
            first_format: media.formats.into_iter().next().unwrap_or_default(),
            port: media.port,
            mid: String::new(),
            direction: Direction::SendRecv,
            extensions: Vec::new(),
            layers: Vec::new(),
            sources: Vec::new(),
            streams: Vec::new(),
            bundle_only: false,
            rtcp_mux: false,
            rtcp_mux_only: false,
            rtcp_rsize: false,
            allow_mixed: false,
            transport: Transport::default(),
            rejected: false,
            place: None,
        };
        for attribute in session {
            section.direction = direction(&attribute.key).unwrap_or(section.direction);
        }
        let mut simulcast = None;
        for attribute in &media.attributes {
            section.transport.apply(attribute)?;
            section.apply(attribute)?;
            if attribute.key == "simulcast" {
                simulcast = Some(attribute);
            }
        }
        for attribute in session.iter().filter(|attribute| attribute.key == "extmap") {
            let extension = extension(attribute)?;
            if section.extensions.iter().all(|own| own.id != extension.id) {
                section.extensions.push(extension);
            }
        }
        let declared = std::mem::take(&mut section.layers);
        if let Some(attribute) = simulcast {
            section.layers = simulcast_layers(&attribute.value, &declared);
        }
        section.sources = sources(&media.attributes);
        section.streams = streams(&media.attributes);
        Ok(section)
    }

    /// Takes in one attribute of the section; unknown ones are ignored.
    fn apply(&mut self, attribute: &Attribute) -> Result<(), Refusal> {
        let value = attribute.value.as_str();
        if let Some(direction) = direction(&attribute.key) {
            self.direction = direction;
            return Ok(());
        }
        match attribute.key.as_str() {
            "mid" => {
                if value.is_empty() || value.len() > MAX_MID || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(attribute.malformed("a mid of 1–64 visible ASCII characters"));
                }
                value.clone_into(&mut self.mid);
            }
            "bundle-only" => self.bundle_only = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-mux-only" => self.rtcp_mux_only = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "extmap-allow-mixed" => self.allow_mixed = true,
            "rtpmap" => self.rtpmap(attribute)?,
            "fmtp" => self.fmtp(value),
            "rtcp-fb" => self.feedback(value),
            "extmap" if self.kind.is_some() => {
                let extension = extension(attribute)?;
                if self.extensions.iter().any(|other| other.id == extension.id) {
                    return Err(attribute.malformed("every id once"));
                }
                self.extensions.push(extension);
            }
            "rid" => self.layers.extend(layer(value)),
            _ => {}
        }
        Ok(())
    }

    /// `a=rtpmap:<payload type> <name>/<clock rate>[/<channels>]`; the first one of a payload type counts.
    fn rtpmap(&mut self, attribute: &Attribute) -> Result<(), Refusal> {
        let (payload_type, encoding) = split_word(&attribute.value);
        let Some(payload) = self.payloads.iter_mut().find(|payload| is(payload_type, payload)) else {
            return Ok(());
        };
        if payload.clock_rate != 0 && !payload.rtpmap.is_empty() {
            return Ok(());
        }
        let mut parts = encoding.split('/');
        let name = parts.next().unwrap_or_default();
        let clock_rate = parts.next().and_then(|clock| clock.parse().ok()).filter(|clock| *clock > 0);
        let Some(clock_rate) = clock_rate.filter(|_| !name.is_empty() && encoding.len() <= MAX_ENCODING) else {
            return Err(attribute.malformed("<payload type> <name>/<clock rate>[/<channels>]"));
        };
        encoding.clone_into(&mut payload.rtpmap);
        payload.name = name.to_ascii_lowercase();
        payload.clock_rate = clock_rate;
        payload.channels = parts.next().and_then(|channels| channels.parse().ok());
        Ok(())
    }

    /// `a=fmtp:<payload type> <parameters>`
    fn fmtp(&mut self, value: &str) {
        let (payload_type, parameters) = split_word(value);
        let Some(payload) = self.payloads.iter_mut().find(|payload| is(payload_type, payload)) else {
            return;
        };
        if payload.fmtp.is_empty() {
            parameters.clone_into(&mut payload.fmtp);
        }
    }

    /// `a=rtcp-fb:<payload type or *> <message>` (RFC 4585 §4.2)
    fn feedback(&mut self, value: &str) {
        let (payload_type, message) = split_word(value);
        for payload in &mut self.payloads {
            if payload_type != "*" && !is(payload_type, payload) {
                continue;
            }
            match message {
                "nack" => payload.feedback.nack = true,
                "nack pli" => payload.feedback.pli = true,
                "ccm fir" => payload.feedback.fir = true,
                "transport-cc" => payload.feedback.transport_cc = true,
                "goog-remb" => payload.feedback.remb = true,
                _ => {}
            }
        }
    }

    /// How messages name this section.
    pub(super) fn label(&self) -> String {
        if self.mid.is_empty() {
            format!("{} section {}", self.media, self.index)
        } else {
            format!("{} section (mid `{}`)", self.media, excerpt(&self.mid))
        }
    }
}

/// The payload types of an `m=` line; those of RFC 3551 are known without `rtpmap`.
fn payloads(media: &Media) -> Result<Vec<Encoding>, Refusal> {
    let mut payloads: Vec<Encoding> = Vec::new();
    for format in &media.formats {
        let Some(payload_type) = format.parse::<u8>().ok().filter(|payload_type| *payload_type < 128) else {
            if !media.proto.contains("RTP/") {
                continue;
            }
            return Err(super::grammar::malformed(media.line, format, "a payload type (0–127)"));
        };
        if payloads.iter().any(|payload| payload.payload_type == payload_type) {
            continue;
        }
        let (name, clock_rate) = match payload_type {
            0 => ("pcmu", 8000),
            8 => ("pcma", 8000),
            9 => ("g722", 8000),
            _ => ("", 0),
        };
        payloads.push(Encoding {
            payload_type,
            rtpmap: String::new(),
            name: name.to_owned(),
            clock_rate,
            channels: None,
            fmtp: String::new(),
            feedback: Feedback::default(),
        });
    }
    Ok(payloads)
}

/// Whether a word of an attribute names this payload type.
fn is(word: &str, payload: &Encoding) -> bool {
    word.parse() == Ok(payload.payload_type)
}

/// `sendrecv` and its kin.
fn direction(word: &str) -> Option<Direction> {
    match word {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// `a=extmap:<id>[/<direction>] <uri> [<attributes>]` (RFC 8285 §8)
fn extension(attribute: &Attribute) -> Result<Extension, Refusal> {
    let (id, rest) = split_word(&attribute.value);
    let (id, way) = id.split_once('/').map_or((id, None), |(id, way)| (id, Some(way)));
    let (uri, _) = split_word(rest);
    let way_known = way.is_none_or(|way| direction(way).is_some());
    let (Ok(id), false, true) = (id.parse(), uri.is_empty(), way_known) else {
        return Err(attribute.malformed("<id>[/<direction>] <uri>"));
    };
    Ok(Extension { id, direction: way.and_then(direction), uri: uri.to_owned() })
}

/// `a=rid:<id> send [<restrictions>]` (RFC 8851 §10); layers that the client would receive are none of ours.
fn layer(value: &str) -> Option<Layer> {
    let (rid, rest) = split_word(value);
    let (way, restrictions) = split_word(rest);
    let sane = !rid.is_empty() && rid.len() <= MAX_RID && rid.bytes().all(is_rid_byte);
    (sane && way == "send").then(|| Layer { rid: rid.to_owned(), restrictions: restrictions.to_owned() })
}

/// Letters, digits, `-` and `_` (RFC 8851 §10).
fn is_rid_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The declared layers in the order of `a=simulcast:send 1;~2,3` (RFC 8853 §5.1):
/// of alternatives the first, paused or not.
fn simulcast_layers(value: &str, declared: &[Layer]) -> Vec<Layer> {
    let mut words = value.split_whitespace();
    while let Some(way) = words.next() {
        let streams = words.next().unwrap_or_default();
        if way != "send" {
            continue;
        }
        let mut layers: Vec<Layer> = Vec::new();
        for stream in streams.split(';') {
            let first = stream.split(',').next().unwrap_or_default().trim_start_matches('~');
            let taken = layers.iter().any(|layer| layer.rid == first);
            layers.extend(declared.iter().find(|layer| layer.rid == first && !taken).cloned());
        }
        return layers;
    }
    Vec::new()
}

/// Sources from `a=ssrc` and `a=ssrc-group`; those that only repeat or repair others do not count.
fn sources(attributes: &[Attribute]) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut repairing: Vec<u32> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.key == "ssrc-group") {
        let (semantics, rest) = split_word(&attribute.value);
        let mut ssrcs = rest.split_whitespace().map_while(|ssrc| ssrc.parse::<u32>().ok());
        let (Some(ssrc), Some(repair)) = (ssrcs.next(), ssrcs.next()) else {
            continue;
        };
        if !matches!(semantics, "FID" | "FEC" | "FEC-FR") || repairing.len() >= MAX_SOURCES {
            continue;
        }
        repairing.push(repair);
        match sources.iter_mut().find(|source| source.ssrc == ssrc) {
            Some(source) if semantics == "FID" => source.rtx = Some(repair),
            Some(_) => {}
            None => sources.push(Source { ssrc, rtx: (semantics == "FID").then_some(repair) }),
        }
    }
    for attribute in attributes.iter().filter(|attribute| attribute.key == "ssrc") {
        let Ok(ssrc) = split_word(&attribute.value).0.parse() else {
            continue;
        };
        let known = repairing.contains(&ssrc) || sources.iter().any(|source| source.ssrc == ssrc);
        if !known && sources.len() < MAX_SOURCES {
            sources.push(Source { ssrc, rtx: None });
        }
    }
    sources
}

/// MediaStream ids from `a=msid`, or else from the older `a=ssrc:… msid:`.
fn streams(attributes: &[Attribute]) -> Vec<String> {
    let own = attributes.iter().filter(|attribute| attribute.key == "msid").map(|attribute| attribute.value.as_str());
    let older = attributes
        .iter()
        .filter(|attribute| attribute.key == "ssrc")
        .filter_map(|attribute| split_word(&attribute.value).1.strip_prefix("msid:"));
    let mut streams: Vec<String> = Vec::new();
    let any_own = own.clone().next().is_some();
    let found: Box<dyn Iterator<Item = &str>> = if any_own { Box::new(own) } else { Box::new(older) };
    for value in found {
        let (stream, _) = split_word(value);
        // `-` says: a track without stream (RFC 8830 §2).
        if stream != "-" && !stream.is_empty() && streams.len() < 2 && !streams.iter().any(|known| known == stream) {
            streams.push(stream.to_owned());
        }
    }
    streams
}

/// The first word and the rest.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim_ascii()))
}

/// Bytes of a mid.
const MAX_MID: usize = 64;
/// Bytes of a rid.
const MAX_RID: usize = 32;
/// Bytes of an encoding in `rtpmap`.
const MAX_ENCODING: usize = 64;
/// Sources of a section that are remembered; simulcast with everything needs 8.
const MAX_SOURCES: usize = 32;
