//! The first picture that a viewer can show. Sans-I/O.

use crate::wire::keyframe::{has_parameter_sets, starts_keyframe};
use crate::wire::rtp::Header;
use crate::wire::sdp::Codec;

/// Waits for all packets of a key frame, with what its decoder must know before (as far as packets tell: an H.264 SPS,
/// an H.265 VPS or SPS, an AV1 sequence header).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    has_sets: bool,
    key: Option<Key>,
}

/// The key frame that comes at the moment.
#[derive(Clone, Copy, Debug)]
struct Key {
    timestamp: u32,
    /// Number of its first packet.
    first: u16,
    /// Packets that came.
    packets: u16,
    /// Packets it has, once its last one has come.
    all: Option<u16>,
}

impl Opening {
    /// A packet came, for the first time. `true` when with it all has come that is needed.
    pub(super) fn take(&mut self, codec: Codec, place: Place, payload: &[u8]) -> bool {
        self.has_sets |= has_parameter_sets(codec, payload);
        if starts_keyframe(codec, payload) && self.key.is_none_or(|key| key.timestamp != place.timestamp) {
            self.key = Some(Key { timestamp: place.timestamp, first: place.sequence, packets: 0, all: None });
        }
        let Some(key) = self.key.as_mut().filter(|key| key.timestamp == place.timestamp) else {
            return false;
        };
        let before = place.sequence.wrapping_sub(key.first);
        if before >= MAX_PACKETS {
            // Overtaken by the first one: this key frame is never seen to be whole, the next one will be.
            return false;
        }
        key.packets += 1;
        if place.marker {
            key.all = Some(before + 1);
        }
        let is_enough = self.has_sets || matches!(codec, Codec::Vp8 | Codec::Vp9);
        is_enough && key.all.is_some_and(|all| key.packets >= all)
    }
}

/// Where a packet is in its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its number.
    pub(super) sequence: u16,
    /// That of its picture.
    pub(super) timestamp: u32,
    /// It is the last one of its picture.
    pub(super) marker: bool,
}

impl Place {
    /// What a header says.
    pub(super) fn of(header: &Header) -> Self {
        Self { sequence: header.sequence, timestamp: header.timestamp, marker: header.marker }
    }
}

/// Of one picture.
const MAX_PACKETS: u16 = 0x4000;

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 1, 2, 3];
    const PPS: &[u8] = &[0x68, 1, 2];
    const FIRST: &[u8] = &[0x7c, 0x85, 0x88, 1];
    const LAST: &[u8] = &[0x7c, 0x45, 1];
    const OTHER: &[u8] = &[0x41, 0x9a, 1];

    /// The packet, of all these, with which a picture was complete.
    fn completed(codec: Codec, packets: &[(u16, u32, bool, &[u8])]) -> Option<usize> {
        let mut opening = Opening::default();
        packets.iter().position(|(sequence, timestamp, marker, payload)| {
            opening.take(codec, Place { sequence: *sequence, timestamp: *timestamp, marker: *marker }, payload)
        })
    }

    #[test]
    fn a_picture_is_complete_with_all_packets_and_its_parameter_sets() {
        let row: [(u16, u32, bool, &[u8]); 5] =
            [(9, 1, true, OTHER), (10, 2, false, SPS), (11, 2, false, PPS), (12, 2, false, FIRST), (13, 2, true, LAST)];
        let overtaken = [row[1], row[2], row[4], row[3]];

        assert_eq!(completed(Codec::H264, &row), Some(4));
        assert_eq!(completed(Codec::H264, &overtaken), Some(3));
        assert_eq!(completed(Codec::H264, &[row[1], row[2], row[4]]), None, "one is missing");
    }

    #[test]
    fn without_parameter_sets_a_key_frame_is_none() {
        let bare: [(u16, u32, bool, &[u8]); 2] = [(12, 2, false, FIRST), (13, 2, true, LAST)];

        assert_eq!(completed(Codec::H264, &bare), None);
        let earlier: (u16, u32, bool, &[u8]) = (65_535, 1, true, SPS);
        assert_eq!(completed(Codec::H264, &[earlier, bare[0], bare[1]]), Some(0), "a lone set counts as a picture");
    }

    #[test]
    fn vp8_needs_no_parameter_sets_and_numbers_wrap() {
        let key: &[u8] = &[0x10, 0x00, 1, 2];
        let more: &[u8] = &[0x00, 1];

        assert_eq!(completed(Codec::Vp8, &[(65_535, 7, false, key), (0, 7, false, more), (1, 7, true, more)]), Some(2));
    }
}
