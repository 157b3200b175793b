//! The GOP cache: everything since a layer's last key frame, so that a new viewer need not wait for the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::packet::Packet;

/// How much one layer keeps, and all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Payload bytes.
    pub bytes: usize,
    /// Packets; with 0 nothing is ever kept.
    pub packets: usize,
    /// From the key frame's arrival to that of the newest packet.
    pub age: Duration,
    /// Payload bytes of all layers of all streams.
    pub total: usize,
}

impl Default for Bounds {
    /// Ten seconds of 6 Mbit/s.
    fn default() -> Self {
        Self { bytes: 8 << 20, packets: 8192, age: Duration::from_secs(20), total: 256 << 20 }
    }
}

/// The bound that a group of pictures has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Payload bytes.
    Bytes,
    /// Packets.
    Packets,
    /// Age.
    Age,
}

/// The packets of one source from its last key frame on, in the order of their numbers; those that are still missing
/// leave a hole. Empty while no whole beginning is known, and from where a bound was passed to the next key frame: half
/// a group of pictures is of no use to anybody.
#[derive(Debug, Default)]
pub struct Gop {
    /// The number of the first slot.
    first: u64,
    slots: VecDeque<Option<Arc<Packet>>>,
    bytes: usize,
}

impl Gop {
    /// Takes in a packet, in whatever order they come. Says which bound made it give up all that it had.
    pub fn insert(&mut self, packet: &Arc<Packet>, bounds: &Bounds) -> Option<Passed> {
        if bounds.packets == 0 {
            return None;
        }
        if self.start().is_none_or(|start| start.source.id != packet.source.id) {
            self.clear();
        }
        if packet.keyframe && self.begins_anew(packet) {
            self.restart(packet.seq);
        } else if packet.keyframe {
            self.lead(packet);
        }
        let at = match packet.seq.checked_sub(self.first) {
            Some(at) if !self.slots.is_empty() || packet.keyframe => at as usize,
            _ => return None,
        };
        if let Some(passed) = self.passes(packet, at, bounds) {
            self.clear();
            return Some(passed);
        }
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        if self.slots[at].is_none() {
            self.bytes += packet.payload.len();
            self.slots[at] = Some(packet.clone());
        }
        None
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes = 0;
    }

    /// The first packet of the key frame.
    pub fn start(&self) -> Option<&Arc<Packet>> {
        self.slots.front()?.as_ref()
    }

    /// The packet with this number.
    pub fn get(&self, seq: u64) -> Option<&Arc<Packet>> {
        let at = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.slots.get(at)?.as_ref()
    }

    /// The first packet with this number or a higher one.
    pub fn behind(&self, seq: u64) -> Option<&Arc<Packet>> {
        let at = usize::try_from(seq.saturating_sub(self.first)).ok()?;
        self.slots.iter().skip(at).flatten().next()
    }

    /// The packet with the highest number.
    pub fn newest(&self) -> Option<&Arc<Packet>> {
        self.slots.back()?.as_ref()
    }

    /// All of the key frame is here, as far as one can tell: a decoder can start.
    pub fn is_whole(&self) -> bool {
        let Some(start) = self.start() else {
            return false;
        };
        for packet in &self.slots {
            match packet {
                None => return false,
                Some(packet) if packet.timestamp != start.timestamp || packet.marker => return true,
                Some(_) => {}
            }
        }
        false
    }

    /// What is kept, in order.
    pub fn packets(&self) -> impl Iterator<Item = &Arc<Packet>> {
        self.slots.iter().flatten()
    }

    /// The number behind the newest packet; that of the first one when there is none.
    pub fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Payload bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A key frame's first packet, not a second one of the frame that the cache begins with (parameter sets and first
    /// slice are both marked), nor one older than that.
    fn begins_anew(&self, packet: &Packet) -> bool {
        self.start().is_none_or(|start| start.seq < packet.seq && start.timestamp != packet.timestamp)
    }

    /// Makes room in front for the parameter sets of the frame that it begins with, when they come late.
    fn lead(&mut self, packet: &Packet) {
        let is_its = self.start().is_some_and(|start| start.timestamp == packet.timestamp);
        let missing = self.first.saturating_sub(packet.seq);
        if is_its && (1..=MOST_LEADING).contains(&missing) {
            for _ in 0..missing {
                self.slots.push_front(None);
            }
            self.first = packet.seq;
        }
    }

    fn passes(&self, packet: &Packet, at: usize, bounds: &Bounds) -> Option<Passed> {
        let age = self.start().map_or(Duration::ZERO, |s| packet.received_at.saturating_duration_since(s.received_at));
        if at >= bounds.packets {
            Some(Passed::Packets)
        } else if self.bytes + packet.payload.len() > bounds.bytes {
            Some(Passed::Bytes)
        } else {
            (age > bounds.age).then_some(Passed::Age)
        }
    }

    /// What came before `seq` is no longer needed; what came behind it before it did, is.
    fn restart(&mut self, seq: u64) {
        let gone = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.slots.len());
        for packet in self.slots.drain(..gone).flatten() {
            self.bytes -= packet.payload.len();
        }
        self.first = seq;
    }
}

/// Packets of parameter sets in front of a picture.
const MOST_LEADING: u64 = 8;

#[cfg(test)]
mod tests;
