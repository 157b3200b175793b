//! H.264 and H.265 as a stream of NAL units with start codes (ITU-T H.264 and H.265, Annex B).

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::clip::{Clip, FormatError, Frame};
use crate::wire::sdp::Codec;

/// Reads a stream, a picture a frame. Every picture lasts as long as every other.
/// # Errors
/// When there is no start code, or no picture.
pub(super) fn read(data: &Bytes, codec: Codec, lasts: Duration) -> Result<Clip, FormatError> {
    let (mut frames, mut picture) = (Vec::new(), Picture::default());
    let mut any = false;
    for unit in units(data) {
        any = true;
        let Some(kind) = Unit::of(codec, unit) else {
            continue;
        };
        if picture.has_slice && kind.begins_a_picture {
            frames.extend(std::mem::take(&mut picture).frame(lasts));
        }
        picture.data.extend_from_slice(&START_CODE);
        picture.data.extend_from_slice(unit);
        picture.has_slice |= kind.is_slice;
        picture.key |= kind.is_key;
    }
    frames.extend(picture.frame(lasts));
    match (any, frames.is_empty()) {
        (false, _) => Err(FormatError::Not("a stream with start codes (Annex B)")),
        (true, true) => Err(FormatError::Empty),
        (true, false) => Ok(Clip { codec, frames }),
    }
}

/// A picture under construction, with what stands before it.
#[derive(Default)]
struct Picture {
    data: BytesMut,
    has_slice: bool,
    key: bool,
}

impl Picture {
    fn frame(self, lasts: Duration) -> Option<Frame> {
        self.has_slice.then(|| Frame { data: self.data.freeze(), lasts, key: self.key })
    }
}

/// What matters of a NAL unit.
struct Unit {
    is_slice: bool,
    is_key: bool,
    /// After a slice: it belongs to the next picture.
    begins_a_picture: bool,
}

impl Unit {
    fn of(codec: Codec, unit: &[u8]) -> Option<Self> {
        let first = *unit.first()?;
        let (is_slice, is_key, first_slice, leads) = if codec == Codec::H265 {
            let kind = first >> 1 & 0x3f;
            let starts = unit.get(2).is_some_and(|byte| byte & 0x80 != 0);
            (kind < 32, (16..=21).contains(&kind), starts, matches!(kind, 32..=35 | 39 | 41..=44 | 48..=55))
        } else {
            let kind = first & 0x1f;
            // first_mb_in_slice is 0 when its first bit is 1 (Exp-Golomb).
            let starts = unit.get(1).is_some_and(|byte| byte & 0x80 != 0);
            (matches!(kind, 1..=5), kind == 5, starts, matches!(kind, 6..=9 | 14..=18))
        };
        Some(Self { is_slice, is_key, begins_a_picture: leads || (is_slice && first_slice) })
    }
}

/// NAL units between start codes, without the zeros around them.
fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let unit = rest?;
        let end = unit.windows(3).position(|window| window == [0, 0, 1]).unwrap_or(unit.len());
        rest = after_start_code(unit.get(end..).unwrap_or_default());
        let unit = unit.get(..end).unwrap_or_default();
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        unit.get(..unit.len() - zeros)
    })
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    let at = data.windows(3).position(|window| window == [0, 0, 1])?;
    data.get(at + 3..)
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LASTS: Duration = Duration::from_millis(40);

    fn stream(units: &[&[u8]]) -> Bytes {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn slices_of_a_picture_stay_together_with_what_stands_before_them() {
        let units: [&[u8]; 7] =
            [&[0x67, 1], &[0x68, 2], &[0x65, 0x80], &[0x65, 0x40], &[0x41, 0x80], &[0x09, 0x10], &[0x41, 0x80]];

        let clip = read(&stream(&units), Codec::H264, LASTS).expect("good");

        let seen: Vec<_> = clip.frames.iter().map(|frame| (frame.key, frame.data.clone())).collect();
        assert_eq!(seen, [(true, stream(&units[..4])), (false, stream(&units[4..5])), (false, stream(&units[5..]))]);
    }

    #[test]
    fn h265_is_told_by_its_own_types() {
        let units: [&[u8]; 4] = [&[0x40, 1, 1], &[0x26, 1, 0x80], &[0x02, 1, 0x80], &[0x02, 1, 0x00]];

        let clip = read(&stream(&units), Codec::H265, LASTS).expect("good");

        assert_eq!(clip.frames.iter().map(|frame| frame.key).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert!(matches!(read(&Bytes::from_static(b"hello"), Codec::H264, LASTS), Err(FormatError::Not(_))));
        assert!(matches!(read(&stream(&[&[0x67, 1]]), Codec::H264, LASTS), Err(FormatError::Empty)));
    }

    proptest! {
        #[test]
        fn junk_does_no_harm(junk in proptest::collection::vec(0_u8..4, 0..200)) {
            for codec in [Codec::H264, Codec::H265] {
                let _ = read(&junk.clone().into(), codec, LASTS);
            }
        }
    }
}
