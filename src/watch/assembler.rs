//! Packets in any order → pictures in theirs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rtc::rtp::Packet;

use crate::wire::keyframe::starts_keyframe;
use crate::wire::sdp::Codec;
use crate::wire::seq::Extender;

/// Puts the packets of one source in order.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    extender: Extender,
    /// The number that is to come next.
    next: Option<u64>,
    waiting: BTreeMap<u64, (Packet, Instant)>,
    /// Something of the picture that is being put together is missing.
    broken: bool,
    /// Of the picture that is being put together.
    key: bool,
    /// Packets that never came.
    pub(super) lost: u64,
    /// How often some were missing.
    pub(super) gaps: u64,
}

/// A packet whose turn it is.
#[derive(Debug)]
pub(super) struct Turn {
    /// Itself.
    pub(super) packet: Packet,
    /// It ends a picture.
    pub(super) ends: Option<Picture>,
    /// It begins a key frame.
    pub(super) begins_key: bool,
}

/// A picture, or a packet of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// All of its packets came.
    pub(super) complete: bool,
    /// A decoder can begin here.
    pub(super) key: bool,
}

impl Assembler {
    /// Takes in a packet; gives back those whose turn it is.
    pub(super) fn push(&mut self, packet: Packet, codec: Codec, now: Instant) -> Vec<Turn> {
        let number = self.extender.extend(packet.header.sequence_number);
        let next = *self.next.get_or_insert(number);
        if number >= next {
            self.waiting.insert(number, (packet, now));
        }
        let mut turns = Vec::new();
        while let Some((number, since)) = self.waiting.first_key_value().map(|(number, (_, since))| (*number, *since)) {
            let missing = number.saturating_sub(self.next.unwrap_or(number));
            if missing > 0 {
                // A retransmission may still come.
                if self.waiting.len() < MAX_WAITING && now.saturating_duration_since(since) < PATIENCE {
                    break;
                }
                self.lost += missing;
                self.gaps += 1;
                self.broken = true;
            }
            self.next = Some(number + 1);
            let Some((packet, _)) = self.waiting.remove(&number) else { break };
            turns.push(self.turn(packet, codec));
        }
        turns
    }

    /// A picture is missing something: only a key frame helps.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn turn(&mut self, packet: Packet, codec: Codec) -> Turn {
        let begins_key = starts_keyframe(codec, &packet.payload);
        self.key |= begins_key;
        // Empty packets are padding; they belong to no picture.
        let ends = (packet.header.marker || codec == Codec::Opus) && !packet.payload.is_empty();
        let ends = ends.then(|| {
            let complete = !std::mem::take(&mut self.broken);
            Picture { complete, key: std::mem::take(&mut self.key) }
        });
        Turn { packet, ends, begins_key }
    }
}

/// After this long a lost packet is lost.
const PATIENCE: Duration = Duration::from_millis(400);
/// Packets that wait for one.
const MAX_WAITING: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u16, marker: bool, payload: &'static [u8]) -> Packet {
        let mut packet = Packet { payload: payload.into(), ..Default::default() };
        (packet.header.sequence_number, packet.header.marker) = (number, marker);
        packet
    }

    const KEY: &[u8] = &[0x10, 0x00, 1, 2];
    const DELTA: &[u8] = &[0x10, 0x01, 1, 2];
    const MORE: &[u8] = &[0x00, 1];

    #[test]
    fn pictures_are_complete_when_all_packets_came_in_whatever_order() {
        let (mut assembler, now) = (Assembler::default(), Instant::now());
        let mut pictures = Vec::new();
        for packet in [packet(9, false, KEY), packet(11, true, DELTA), packet(10, true, MORE), packet(12, true, DELTA)]
        {
            pictures.extend(assembler.push(packet, Codec::Vp8, now).into_iter().filter_map(|turn| turn.ends));
        }

        let seen: Vec<_> = pictures.iter().map(|picture| (picture.complete, picture.key)).collect();
        assert_eq!(seen, [(true, true), (true, false), (true, false)]);
        assert_eq!((assembler.lost, assembler.gaps), (0, 0));
    }

    #[test]
    fn a_packet_that_does_not_come_costs_its_picture() {
        let (mut assembler, now) = (Assembler::default(), Instant::now());
        assembler.push(packet(65_534, true, KEY), Codec::Vp8, now);
        assert!(assembler.push(packet(0, true, DELTA), Codec::Vp8, now).is_empty(), "it may still come");

        let turns = assembler.push(packet(1, true, DELTA), Codec::Vp8, now + PATIENCE);

        let complete: Vec<_> = turns.iter().filter_map(|turn| Some(turn.ends?.complete)).collect();
        assert_eq!(complete, [false, true]);
        assert_eq!((assembler.lost, assembler.gaps), (1, 1));
    }

    #[test]
    fn what_comes_twice_or_too_late_is_dropped() {
        let (mut assembler, now) = (Assembler::default(), Instant::now());
        assert_eq!(assembler.push(packet(5, true, KEY), Codec::Vp8, now).len(), 1);

        assert!(assembler.push(packet(5, true, KEY), Codec::Vp8, now).is_empty());
        assert!(assembler.push(packet(4, true, KEY), Codec::Vp8, now).is_empty());
    }
}
