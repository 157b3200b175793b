//! One media section of an offer, interpreted.

use super::grammar::{Attribute, Media, excerpt};
use super::transport::Transport;
use super::{Feedback, Kind, Refusal, Source};

/// A media section as offered.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "most are attributes without a value: there or not there")]
pub(super) struct Offered<'a> {
    /// Index of its `m=` line, from 0.
    pub(super) index: usize,
    /// First word of its `m=` line.
    pub(super) media: &'a str,
    /// Audio or video; `None` for anything else, which is never accepted.
    pub(super) kind: Option<Kind>,
    /// Third word of its `m=` line.
    pub(super) proto: &'a str,
    /// The first format, whatever it is: what a rejected section repeats.
    pub(super) first_format: &'a str,
    /// Port of its `m=` line.
    pub(super) port: u16,
    /// `a=mid`; empty when there is none.
    pub(super) mid: &'a str,
    /// Seen from the client.
    pub(super) direction: Direction,
    /// Encoding types in order, without duplicates.
    pub(super) payloads: Vec<Encoding<'a>>,
    /// Header extensions in order; no id twice.
    pub(super) extensions: Vec<Extension<'a>>,
    /// Simulcast layers that the client would send, in order.
    pub(super) layers: Vec<Layer<'a>>,
    /// Declared sources.
    pub(super) sources: Vec<Source>,
    /// MediaStream ids (RFC 8830), without duplicates.
    pub(super) streams: Vec<&'a str>,
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
    pub(super) transport: Transport<'a>,
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoding<'a> {
    /// 0–127.
    pub(super) payload_type: u8,
    /// `<name>/<clock>[/<channels>]` as offered, to be repeated in the answer; empty when not known.
    pub(super) rtpmap: &'a str,
    /// Encoding name, in whatever case; empty when not known.
    pub(super) name: &'a str,
    /// Hz.
    pub(super) clock_rate: u32,
    /// Third part of `rtpmap`.
    pub(super) channels: Option<u8>,
    /// Parameters, without the payload type.
    pub(super) fmtp: &'a str,
    /// What of its `rtcp-fb` lines we know.
    pub(super) feedback: Feedback,
}

/// A header extension as offered (RFC 8285 §5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension<'a> {
    /// Local identifier; not yet checked to fit a packet.
    pub(super) id: u16,
    /// Who uses it, when the client says so.
    pub(super) direction: Option<Direction>,
    /// What it is.
    pub(super) uri: &'a str,
}

/// A simulcast layer (RFC 8853) with its restrictions (RFC 8851).
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    /// `rid-id`
    pub(super) rid: &'a str,
    /// `pt=…;max-width=…` as offered; mostly empty.
    pub(super) restrictions: &'a str,
}

impl<'a> Offered<'a> {
    /// Interprets a section. `session` are the attributes that hold for all of them.
    pub(super) fn read(index: usize, media: &Media<'a>, session: &[Attribute<'a>]) -> Result<Self, Refusal> {
        let kind = match media.name {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        let mut section = Self {
            index,
            kind,
            payloads: if kind.is_some() { payloads(media)? } else { Vec::new() },
            media: media.name,
            proto: media.proto,
            first_format: media.formats.first().copied().unwrap_or_default(),
            port: media.port,
            mid: "",
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
            section.direction = direction(attribute.key).unwrap_or(section.direction);
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
            section.layers = simulcast_layers(attribute.value, &declared);
        }
        section.sources = sources(&media.attributes);
        section.streams = streams(&media.attributes);
        Ok(section)
    }

    /// Takes in one attribute of the section; unknown ones are ignored.
    fn apply(&mut self, attribute: &Attribute<'a>) -> Result<(), Refusal> {
        let value = attribute.value;
        if let Some(direction) = direction(attribute.key) {
            self.direction = direction;
            return Ok(());
        }
        match attribute.key {
            "mid" => {
                if value.is_empty() || value.len() > MAX_MID || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(attribute.malformed("a mid of 1–64 visible ASCII characters"));
                }
                self.mid = value;
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
    fn rtpmap(&mut self, attribute: &Attribute<'a>) -> Result<(), Refusal> {
        let (payload_type, encoding) = split_word(attribute.value);
        let Some(payload) = self.payload(payload_type) else {
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
        payload.rtpmap = encoding;
        payload.name = name;
        payload.clock_rate = clock_rate;
        payload.channels = parts.next().and_then(|channels| channels.parse().ok());
        Ok(())
    }

    /// `a=fmtp:<payload type> <parameters>`
    fn fmtp(&mut self, value: &'a str) {
        let (payload_type, parameters) = split_word(value);
        if let Some(payload) = self.payload(payload_type)
            && payload.fmtp.is_empty()
        {
            payload.fmtp = parameters;
        }
    }

    /// The payload type that a word of an attribute names.
    fn payload(&mut self, word: &str) -> Option<&mut Encoding<'a>> {
        let payload_type: u8 = word.parse().ok()?;
        self.payloads.iter_mut().find(|payload| payload.payload_type == payload_type)
    }

    /// `a=rtcp-fb:<payload type or *> <message>` (RFC 4585 §4.2)
    fn feedback(&mut self, value: &str) {
        let (payload_type, message) = split_word(value);
        if payload_type == "*" {
            self.payloads.iter_mut().for_each(|payload| add(&mut payload.feedback, message));
        } else if let Some(payload) = self.payload(payload_type) {
            add(&mut payload.feedback, message);
        }
    }

    /// How messages name this section.
    pub(super) fn label(&self) -> String {
        if self.mid.is_empty() {
            format!("{} section {}", self.media, self.index)
        } else {
            format!("{} section (mid `{}`)", self.media, excerpt(self.mid))
        }
    }
}

/// The payload types of an `m=` line; those of RFC 3551 are known without `rtpmap`.
fn payloads<'a>(media: &Media<'a>) -> Result<Vec<Encoding<'a>>, Refusal> {
    let mut payloads: Vec<Encoding<'a>> = Vec::with_capacity(media.formats.len().min(MOST_PAYLOADS));
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
            rtpmap: "",
            name,
            clock_rate,
            channels: None,
            fmtp: "",
            feedback: Feedback::default(),
        });
    }
    Ok(payloads)
}

/// Adds a message of `rtcp-fb` to those of a payload type.
fn add(feedback: &mut Feedback, message: &str) {
    match message {
        "nack" => feedback.nack = true,
        "nack pli" => feedback.pli = true,
        "ccm fir" => feedback.fir = true,
        "transport-cc" => feedback.transport_cc = true,
        "goog-remb" => feedback.remb = true,
        _ => {}
    }
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
fn extension<'a>(attribute: &Attribute<'a>) -> Result<Extension<'a>, Refusal> {
    let (id, rest) = split_word(attribute.value);
    let (id, way) = id.split_once('/').map_or((id, None), |(id, way)| (id, Some(way)));
    let (uri, _) = split_word(rest);
    let way_known = way.is_none_or(|way| direction(way).is_some());
    let (Ok(id), false, true) = (id.parse(), uri.is_empty(), way_known) else {
        return Err(attribute.malformed("<id>[/<direction>] <uri>"));
    };
    Ok(Extension { id, direction: way.and_then(direction), uri })
}

/// `a=rid:<id> send [<restrictions>]` (RFC 8851 §10); layers that the client would receive are none of ours.
fn layer(value: &str) -> Option<Layer<'_>> {
    let (rid, rest) = split_word(value);
    let (way, restrictions) = split_word(rest);
    let sane = !rid.is_empty() && rid.len() <= MAX_RID && rid.bytes().all(is_rid_byte);
    (sane && way == "send").then_some(Layer { rid, restrictions })
}

/// Letters, digits, `-` and `_` (RFC 8851 §10).
fn is_rid_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The declared layers in the order of `a=simulcast:send 1;~2,3` (RFC 8853 §5.1):
/// of alternatives the first, paused or not.
fn simulcast_layers<'a>(value: &str, declared: &[Layer<'a>]) -> Vec<Layer<'a>> {
    let mut words = value.split_whitespace();
    while let Some(way) = words.next() {
        let streams = words.next().unwrap_or_default();
        if way != "send" {
            continue;
        }
        let mut layers: Vec<Layer<'a>> = Vec::new();
        for stream in streams.split(';') {
            let first = stream.split(',').next().unwrap_or_default().trim_start_matches('~');
            let taken = layers.iter().any(|layer| layer.rid == first);
            layers.extend(declared.iter().find(|layer| layer.rid == first && !taken));
        }
        return layers;
    }
    Vec::new()
}

/// Sources from `a=ssrc` and `a=ssrc-group`; those that only repeat or repair others do not count.
fn sources(attributes: &[Attribute<'_>]) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut repairing: Vec<u32> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.key == "ssrc-group") {
        let (semantics, rest) = split_word(attribute.value);
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
        let Ok(ssrc) = split_word(attribute.value).0.parse() else {
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
fn streams<'a>(attributes: &[Attribute<'a>]) -> Vec<&'a str> {
    let values = |key: &'static str| attributes.iter().filter(move |a| a.key == key).map(|a| a.value);
    let older = || values("ssrc").filter_map(|value| split_word(value).1.strip_prefix("msid:"));
    let mut streams: Vec<&str> = Vec::new();
    let mut add = |value| {
        let (stream, _) = split_word(value);
        // `-` says: a track without stream (RFC 8830 §2).
        if stream != "-" && !stream.is_empty() && streams.len() < 2 && !streams.contains(&stream) {
            streams.push(stream);
        }
    };
    if values("msid").next().is_some() {
        values("msid").for_each(&mut add);
    } else {
        older().for_each(&mut add);
    }
    streams
}

/// The first word and the rest.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim_ascii()))
}

/// Payload types that there can be.
const MOST_PAYLOADS: usize = 128;
/// Bytes of a mid.
const MAX_MID: usize = 64;
/// Bytes of a rid.
const MAX_RID: usize = 32;
/// Bytes of an encoding in `rtpmap`.
const MAX_ENCODING: usize = 64;
/// Sources of a section that are remembered; simulcast with everything needs 8.
const MAX_SOURCES: usize = 32;
