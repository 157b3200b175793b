//! Does a payload begin a key frame? Read from the few bytes that the payload formats keep in front.

use super::sdp::Codec;

/// True for a packet at which a decoder can start: the first packet of a key frame. For H.264 and H.265 that is the
/// parameter sets in front of it, and its first slice as well, for senders that signal parameter sets elsewhere.
/// Every audio packet is one. False for empty and truncated payloads.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => !payload.is_empty(),
        Codec::H264 => any_h264(payload, h264_can_start).unwrap_or(false),
        Codec::H265 => any_h265(payload, h265_can_start).unwrap_or(false),
        Codec::Vp8 => vp8_starts(payload).unwrap_or(false),
        Codec::Vp9 => vp9_starts(payload).unwrap_or(false),
        Codec::Av1 => av1_starts(payload).unwrap_or(false),
    }
}

/// Does the payload hold what a decoder must know before any picture: an H.264 SPS, an H.265 VPS or SPS, an AV1
/// sequence header? False for codecs that have no such thing.
pub fn has_parameter_sets(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => any_h264(payload, |kind, _| kind == H264_SPS).unwrap_or(false),
        Codec::H265 => any_h265(payload, |kind, _| matches!(kind, H265_VPS | H265_SPS)).unwrap_or(false),
        Codec::Av1 => av1_sequence_header(payload).is_some(),
        Codec::Vp8 | Codec::Vp9 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => false,
    }
}

/// Asks `is` about the type of every NAL unit that begins in the payload, and what follows its header (RFC 6184 §5).
/// `None` when the payload is truncated.
fn any_h264(payload: &[u8], is: impl Fn(u8, &[u8]) -> bool) -> Option<bool> {
    let is = |kind, rest: &[u8]| !rest.is_empty() && is(kind, rest);
    let (&header, rest) = payload.split_first()?;
    match header & 0x1f {
        H264_STAP_A => any_unit(rest, |unit| {
            let (&header, rest) = unit.split_first()?;
            Some(is(header & 0x1f, rest))
        }),
        H264_FU_A => {
            let (&fragment, rest) = rest.split_first()?;
            Some(fragment & FU_START != 0 && is(fragment & 0x1f, rest))
        }
        kind => Some(is(kind, rest)),
    }
}

/// SPS, or first slice of an IDR picture.
fn h264_can_start(kind: u8, rest: &[u8]) -> bool {
    kind == H264_SPS || (kind == H264_IDR && first_bit(rest))
}

/// Like [`any_h264`], for RFC 7798 §4.4.
fn any_h265(payload: &[u8], is: impl Fn(u8, &[u8]) -> bool) -> Option<bool> {
    let is = |kind, rest: &[u8]| !rest.is_empty() && is(kind, rest);
    let kind = |header: u8| header >> 1 & 0x3f;
    let (&[header, _], rest) = payload.split_first_chunk()?;
    match kind(header) {
        H265_AP => any_unit(rest, |unit| {
            let (&[header, _], rest) = unit.split_first_chunk()?;
            Some(is(kind(header), rest))
        }),
        H265_FU => {
            let (&fragment, rest) = rest.split_first()?;
            Some(fragment & FU_START != 0 && is(fragment & 0x3f, rest))
        }
        kind => Some(is(kind, rest)),
    }
}

/// VPS, SPS, or first slice segment of a picture at which a decoder can enter (IRAP).
fn h265_can_start(kind: u8, rest: &[u8]) -> bool {
    match kind {
        H265_VPS | H265_SPS => true,
        H265_IRAP_FIRST..=H265_IRAP_LAST => first_bit(rest),
        _ => false,
    }
}

/// The first bit of a slice header: `first_mb_in_slice` is 0 (H.264), `first_slice_segment_in_pic_flag` (H.265).
fn first_bit(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Walks over units with a 16-bit size before each; `None` when one is truncated.
fn any_unit(mut units: &[u8], is: impl Fn(&[u8]) -> Option<bool>) -> Option<bool> {
    let mut any = false;
    while !units.is_empty() {
        let (&size, rest) = units.split_first_chunk()?;
        let (unit, rest) = rest.split_at_checked(u16::from_be_bytes(size).into())?;
        any |= is(unit)?;
        units = rest;
    }
    Some(any)
}

/// RFC 7741 §4.2, §4.3
fn vp8_starts(payload: &[u8]) -> Option<bool> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let flags = take(&mut rest)?;
        if flags & 0x80 != 0 && take(&mut rest)? & 0x80 != 0 {
            // The second byte of a 15-bit picture id.
            take(&mut rest)?;
        }
        if flags & 0x40 != 0 {
            take(&mut rest)?;
        }
        if flags & 0x30 != 0 {
            take(&mut rest)?;
        }
    }
    let partition = first & 0x07;
    let starts_frame = first & 0x10 != 0 && partition == 0;
    let inter_frame = take(&mut rest)? & 0x01 != 0;
    Some(starts_frame && !inter_frame)
}

/// RFC 9628 §4.2
fn vp9_starts(payload: &[u8]) -> Option<bool> {
    let (&first, mut rest) = payload.split_first()?;
    let has = |bit: u8| first & bit != 0;
    if has(VP9_I) && take(&mut rest)? & 0x80 != 0 {
        // The second byte of a 15-bit picture id.
        take(&mut rest)?;
    }
    let mut spatial = 0;
    if has(VP9_L) {
        spatial = take(&mut rest)? >> 1 & 0x07;
        if !has(VP9_F) {
            // TL0PICIDX
            take(&mut rest)?;
        }
    }
    if !has(VP9_B) || has(VP9_P) || spatial != 0 {
        return Some(false);
    }
    if has(VP9_V) {
        skip_vp9_structure(&mut rest)?;
    }
    Some(!rest.is_empty())
}

/// Skips the scalability structure (RFC 9628 §4.2.1).
fn skip_vp9_structure(rest: &mut &[u8]) -> Option<()> {
    let first = take(rest)?;
    if first & 0x10 != 0 {
        let layers = usize::from(first >> 5) + 1;
        *rest = rest.get(4 * layers..)?;
    }
    if first & 0x08 != 0 {
        for _ in 0..take(rest)? {
            let references = take(rest)? >> 2 & 0x03;
            *rest = rest.get(references.into()..)?;
        }
    }
    Some(())
}

/// A new coded video sequence by flag, or by its sequence header (AV1 RTP §4.4).
fn av1_starts(payload: &[u8]) -> Option<bool> {
    let (&aggregation, rest) = payload.split_first()?;
    let continues = aggregation & AV1_Z != 0;
    let flagged = aggregation & AV1_N != 0 && !rest.is_empty();
    Some(!continues && (flagged || av1_sequence_header(payload).is_some()))
}

/// The sequence header, when that is the first OBU of the payload but for a temporal delimiter.
pub(super) fn av1_sequence_header(payload: &[u8]) -> Option<&[u8]> {
    let (&aggregation, mut rest) = payload.split_first()?;
    if aggregation & AV1_Z != 0 {
        return None;
    }
    // W: how many OBU elements; the last then has no size in front. 0: all have one.
    let count = aggregation >> 4 & 0x03;
    for index in 1..=2 {
        let element = if index == count {
            rest
        } else {
            let size = leb128(&mut rest)?;
            let (element, after) = rest.split_at_checked(size)?;
            rest = after;
            element
        };
        match element.first()? >> 3 & 0x0f {
            AV1_SEQUENCE_HEADER => return Some(element),
            // It should have been removed, but starts a temporal unit where it was not.
            AV1_TEMPORAL_DELIMITER if index != count => {}
            _ => break,
        }
    }
    None
}

/// Reads a LEB128 number of up to four bytes: more than a datagram can hold.
fn leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(rest)?;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes a byte off the front.
fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

const H264_IDR: u8 = 5;
const H264_SPS: u8 = 7;
const H264_STAP_A: u8 = 24;
const H264_FU_A: u8 = 28;

const H265_IRAP_FIRST: u8 = 16;
const H265_IRAP_LAST: u8 = 21;
const H265_VPS: u8 = 32;
const H265_SPS: u8 = 33;
const H265_AP: u8 = 48;
const H265_FU: u8 = 49;

/// First fragment of a NAL unit, in H.264 and H.265 alike.
const FU_START: u8 = 0x80;

/// VP9: picture id present.
const VP9_I: u8 = 0x80;
/// VP9: predicted from another picture.
const VP9_P: u8 = 0x40;
/// VP9: layer indices present.
const VP9_L: u8 = 0x20;
/// VP9: flexible mode.
const VP9_F: u8 = 0x10;
/// VP9: start of a layer frame.
const VP9_B: u8 = 0x08;
/// VP9: scalability structure present.
const VP9_V: u8 = 0x02;

/// AV1: the first OBU element continues one of the packet before.
const AV1_Z: u8 = 0x80;
/// AV1: first packet of a coded video sequence.
const AV1_N: u8 = 0x08;
const AV1_SEQUENCE_HEADER: u8 = 1;
const AV1_TEMPORAL_DELIMITER: u8 = 2;

#[cfg(test)]
mod tests;
