//! IVF: the container of VP8, VP9 and AV1 test streams.

use std::time::Duration;

use bytes::Bytes;

use super::clip::{Clip, FormatError, Frame};
use crate::wire::sdp::Codec;

/// Reads a file; a frame that is cut short ends it. `lasts` replaces the file's own pace.
/// # Errors
/// When it is no IVF file, holds another codec, or nothing.
pub(super) fn read(data: &Bytes, lasts: Option<Duration>) -> Result<Clip, FormatError> {
    let header = data.first_chunk::<HEADER>().filter(|header| header.starts_with(b"DKIF"));
    let header = header.ok_or(FormatError::Not("an IVF file"))?;
    let codec = match &header[8..12] {
        b"VP80" => Codec::Vp8,
        b"VP90" => Codec::Vp9,
        b"AV01" => Codec::Av1,
        _ => return Err(FormatError::Unsupported("this codec", "VP8, VP9 or AV1")),
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    // Ticks a second are rate / scale.
    let (rate, scale) = (f64::from(word(16)), f64::from(word(20)));
    let tick = Duration::try_from_secs_f64(scale / rate).ok().filter(|tick| TICKS.contains(tick));
    let tick = lasts.or(tick).ok_or(FormatError::Unsupported("its frame rate", "1 to 1000 a second"))?;
    let start = usize::from(u16::from_le_bytes([header[6], header[7]])).max(HEADER);
    let mut rest = data.get(start..).map_or_else(Bytes::new, |rest| data.slice_ref(rest));
    let mut frames = Vec::new();
    while let Some(head) = rest.first_chunk::<FRAME_HEADER>() {
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(frame) = rest.get(FRAME_HEADER..).and_then(|body| body.get(..len)) else {
            break;
        };
        let data = rest.slice_ref(frame);
        rest = rest.slice(FRAME_HEADER + len..);
        if !data.is_empty() {
            frames.push(Frame { key: is_key(codec, &data), data, lasts: tick });
        }
    }
    if frames.is_empty() { Err(FormatError::Empty) } else { Ok(Clip { codec, frames }) }
}

/// Read from the first bits of a frame.
fn is_key(codec: Codec, frame: &[u8]) -> bool {
    let first = frame.first().copied().unwrap_or_default();
    match codec {
        // RFC 6386 §9.1: the inverse key frame bit.
        Codec::Vp8 => first & 1 == 0,
        // Frame marker 2, profile below 3, not a repeated frame, frame type 0.
        Codec::Vp9 => first >> 6 == 2 && first & 0b1100 == 0 && first & 0b0011_0000 != 0b0011_0000,
        // A key frame is a temporal unit with a sequence header (AV1 §7.5), after a delimiter of two bytes.
        Codec::Av1 => frame.get(2).is_some_and(|header| header >> 3 & 15 == 1),
        Codec::H264 | Codec::H265 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => false,
    }
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 12;
/// Between frames.
const TICKS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(codec: [u8; 4], rate: u32, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = [b"DKIF\0\0\x20\0".as_slice(), &codec, &[0; 4]].concat();
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&[1, 0, 0, 0]);
        file.extend_from_slice(&[0; 8]);
        for frame in frames {
            file.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            file.extend_from_slice(&[0; 8]);
            file.extend_from_slice(frame);
        }
        file
    }

    #[test]
    fn frames_are_read_with_their_kind_and_pace() {
        let clip = read(&file(*b"VP80", 25, &[&[0x10, 1], &[0x11], &[]]).into(), None).expect("good");

        let expected = [(true, 2), (false, 1)].map(|(key, len)| (key, len, Duration::from_millis(40)));
        let seen: Vec<_> = clip.frames.iter().map(|frame| (frame.key, frame.data.len(), frame.lasts)).collect();
        assert_eq!((clip.codec, seen), (Codec::Vp8, expected.to_vec()));
    }

    #[test]
    fn what_is_cut_short_ends_the_clip_there() {
        let whole = file(*b"VP80", 25, &[&[0x10, 1], &[0x11, 1, 2]]);

        let clip = read(&whole[..whole.len() - 1].to_vec().into(), None).expect("good");

        assert_eq!(clip.frames.len(), 1);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_a_reason() {
        let refusal = |file: Vec<u8>| read(&file.into(), None).expect_err("bad");

        assert_eq!(refusal(Vec::new()), FormatError::Not("an IVF file"));
        assert_eq!(refusal(file(*b"VP80", 25, &[])), FormatError::Empty);
        assert!(matches!(refusal(file(*b"H264", 25, &[&[1]])), FormatError::Unsupported(..)));
        assert!(matches!(refusal(file(*b"VP80", 0, &[&[1]])), FormatError::Unsupported(..)));
    }

    proptest! {
        #[test]
        fn junk_does_no_harm(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&junk.clone().into(), None);
            let _ = read(&[file(*b"VP90", 30, &[]), junk].concat().into(), None);
        }
    }
}
