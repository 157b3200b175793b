//! The GOP cache: everything since a layer's last key frame, so that a new viewer need not wait for the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::packet::Packet;

/// How much one layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Payload bytes.
    pub bytes: usize,
    /// Packets.
    pub packets: usize,
    /// From the key frame's arrival to that of the newest packet.
    pub age: Duration,
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
    /// Takes in a packet, in whatever order they come.
    pub fn insert(&mut self, packet: &Arc<Packet>, bounds: &Bounds) {
        if !self.start().is_some_and(|start| start.source.id == packet.source.id) {
            self.clear();
        }
        if packet.keyframe && self.begins_anew(packet) {
            self.restart(packet.seq);
        }
        let at = match packet.seq.checked_sub(self.first) {
            Some(at) if !self.slots.is_empty() || packet.keyframe => at as usize,
            _ => return,
        };
        let age = self.start().map_or(Duration::ZERO, |s| packet.received_at.saturating_duration_since(s.received_at));
        if at >= bounds.packets || self.bytes + packet.payload.len() > bounds.bytes || age > bounds.age {
            return self.clear();
        }
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        if self.slots[at].is_none() {
            self.bytes += packet.payload.len();
            self.slots[at] = Some(packet.clone());
        }
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

    /// What came before `seq` is no longer needed; what came behind it before it did, is.
    fn restart(&mut self, seq: u64) {
        let gone = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.slots.len());
        for packet in self.slots.drain(..gone).flatten() {
            self.bytes -= packet.payload.len();
        }
        self.first = seq;
    }
}

#[cfg(test)]
mod tests;
