//! Codecs and their variants: which payload types are the same thing, and which can stand in for another.

use super::section::{Encoding, Offered};
use super::{Codec, Format, Kind, Section};

/// The format of a viewer's section that can carry what the presenter sends.
pub fn pick_format<'a>(section: &'a Section, sent: &Format) -> Option<&'a Format> {
    let ranked = section.formats.iter().filter_map(|format| Some((distance(format, sent)?, format)));
    ranked.min_by_key(|(distance, _)| *distance).map(|(_, format)| format)
}

/// How far a viewer's format is from what the presenter sends: 0 is the same thing, `None` cannot carry it.
fn distance(format: &Format, sent: &Format) -> Option<u8> {
    if format.codec != sent.codec {
        return None;
    }
    let (theirs, ours) = (Variant::of(format), Variant::of(sent));
    match format.codec {
        // Labels of H.264 say little: OBS writes 42e01f over High streams, GStreamer leaves them out. Decoders read the
        // stream's own parameter sets, so any H.264 is better than none; packetization mode 1 covers mode 0.
        Codec::H264 => Some(match (theirs == ours, theirs.packetization_mode == 1) {
            (true, _) => 0,
            (false, true) if theirs.profile.is_some() && theirs.family() == ours.family() => 1,
            (false, true) => 2,
            (false, false) => 3,
        }),
        Codec::Vp9 | Codec::Av1 => (theirs.profile == ours.profile).then_some(0),
        Codec::H265 => match (theirs.profile, ours.profile) {
            (theirs, ours) if theirs == ours => Some(0),
            (None, _) | (_, None) => Some(1),
            (Some(_), Some(_)) => None,
        },
        Codec::G722 | Codec::Pcmu | Codec::Pcma => (theirs.channels == ours.channels).then_some(0),
        Codec::Opus | Codec::Vp8 => Some(0),
    }
}

/// The formats of a section that we can forward, in offered order, one of each variant.
pub(super) fn known_formats(section: &Offered<'_>) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    let mut variants = Vec::new();
    for payload in &section.payloads {
        let Some(format) = format(section, payload) else {
            continue;
        };
        let variant = Variant::of(&format);
        if !variants.contains(&variant) {
            variants.push(variant);
            formats.push(format);
        }
    }
    formats
}

/// The index of a format that another one of the same codec can stand in for, or else of the last one;
/// `None` when there is only one left.
pub(super) fn least_preferred(formats: &[Format]) -> Option<usize> {
    let redundant = |index: &usize| {
        let (before, rest) = formats.split_at_checked(*index).unwrap_or_default();
        rest.first().is_some_and(|format| before.iter().any(|other| other.codec == format.codec))
    };
    (1..formats.len()).rev().find(redundant).or_else(|| formats.len().checked_sub(1).filter(|last| *last > 0))
}

/// Whether the payload type can be told from RTCP on the same port: the marker bit makes 64–95 look
/// like it (RFC 5761 §4).
fn can_share_port(payload_type: u8) -> bool {
    !(64..=95).contains(&payload_type)
}

/// A payload type as a format, with its retransmissions, when it is one that we forward.
fn format(section: &Offered<'_>, payload: &Encoding<'_>) -> Option<Format> {
    let codec = codec(section.kind?, payload.name, payload.clock_rate)?;
    let rtx = section.payloads.iter().find(|rtx| {
        rtx.name.eq_ignore_ascii_case("rtx")
            && rtx.clock_rate == payload.clock_rate
            && can_share_port(rtx.payload_type)
            && parameter(rtx.fmtp, "apt").is_some_and(|apt| apt.parse() == Ok(payload.payload_type))
    });
    can_share_port(payload.payload_type).then(|| Format {
        payload_type: payload.payload_type,
        codec,
        clock_rate: payload.clock_rate,
        channels: match codec {
            // Always two (RFC 7587 §7); GStreamer leaves the number out.
            Codec::Opus => payload.channels.unwrap_or(2),
            Codec::G722 | Codec::Pcmu | Codec::Pcma => payload.channels.unwrap_or(1),
            Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => 0,
        },
        fmtp: payload.fmtp.to_owned(),
        rtx: rtx.map(|rtx| rtx.payload_type),
        feedback: payload.feedback,
    })
}

/// The codec of an encoding name and clock.
fn codec(kind: Kind, name: &str, clock_rate: u32) -> Option<Codec> {
    let known = CODECS.iter().find(|(k, n, c, _)| (*k, *c) == (kind, clock_rate) && n.eq_ignore_ascii_case(name));
    known.map(|(.., codec)| *codec)
}

/// Encoding names and clocks of the codecs that we forward.
const CODECS: [(Kind, &str, u32, Codec); 9] = [
    (Kind::Audio, "opus", 48_000, Codec::Opus),
    (Kind::Audio, "g722", 8_000, Codec::G722),
    (Kind::Audio, "pcmu", 8_000, Codec::Pcmu),
    (Kind::Audio, "pcma", 8_000, Codec::Pcma),
    (Kind::Video, "h264", 90_000, Codec::H264),
    (Kind::Video, "h265", 90_000, Codec::H265),
    (Kind::Video, "vp8", 90_000, Codec::Vp8),
    (Kind::Video, "vp9", 90_000, Codec::Vp9),
    (Kind::Video, "av1", 90_000, Codec::Av1),
];

/// What tells payload types of one codec apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    /// What it carries.
    codec: Codec,
    /// Profile where the codec has one; `None` when an H.264 or H.265 offer does not say.
    profile: Option<Profile>,
    /// H.264 only (RFC 6184 §8.1).
    packetization_mode: u8,
    /// Audio only.
    channels: u8,
}

/// A codec's profile, without the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// H.264 `profile_idc` 66.
    Baseline,
    /// H.264 Baseline without the tools that nobody implements.
    ConstrainedBaseline,
    /// H.264 `profile_idc` 77.
    Main,
    /// H.264 `profile_idc` 100.
    High,
    /// H.264 High without interlacing and B slices.
    ConstrainedHigh,
    /// Any other H.264 `profile_idc`, or the number of a VP9, AV1 or H.265 profile.
    Number(u8),
}

impl Variant {
    /// The variant of a format.
    fn of(format: &Format) -> Self {
        let number = |key| parameter(&format.fmtp, key).and_then(|value| value.parse().ok());
        let profile = match format.codec {
            Codec::H264 => parameter(&format.fmtp, "profile-level-id").and_then(h264_profile),
            Codec::H265 => number("profile-id").map(Profile::Number),
            Codec::Vp9 => Some(Profile::Number(number("profile-id").unwrap_or(0))),
            Codec::Av1 => Some(Profile::Number(number("profile").unwrap_or(0))),
            Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma | Codec::Vp8 => None,
        };
        let packetization_mode =
            if format.codec == Codec::H264 { number("packetization-mode").unwrap_or(0) } else { 0 };
        Self { codec: format.codec, profile, packetization_mode, channels: format.channels }
    }

    /// Its H.264 profile without constraints.
    fn family(self) -> Option<Profile> {
        self.profile.map(|profile| match profile {
            Profile::Baseline | Profile::ConstrainedBaseline => Profile::Baseline,
            Profile::High | Profile::ConstrainedHigh => Profile::High,
            Profile::Main | Profile::Number(_) => profile,
        })
    }
}

/// The profile in `profile-level-id`: `profile_idc` and constraint flags (RFC 6184 §8.1, table 5).
fn h264_profile(id: &str) -> Option<Profile> {
    let idc = u8::from_str_radix(id.get(..2)?, 16).ok()?;
    let flags = u8::from_str_radix(id.get(2..4)?, 16).ok()?;
    Some(match (idc, flags) {
        (66, flags) if flags & 0b0100_0000 != 0 => Profile::ConstrainedBaseline,
        (77, flags) if flags & 0b1000_0000 != 0 => Profile::ConstrainedBaseline,
        (88, flags) if flags & 0b1100_0000 == 0b1100_0000 => Profile::ConstrainedBaseline,
        (66, _) => Profile::Baseline,
        (77, _) => Profile::Main,
        (100, flags) if flags & 0b0000_1100 == 0b0000_1100 => Profile::ConstrainedHigh,
        (100, _) => Profile::High,
        _ => Profile::Number(idc),
    })
}

/// The value of a parameter in `key=value;key=value`.
fn parameter<'a>(fmtp: &'a str, key: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })
}
