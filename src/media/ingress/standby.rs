//! A presenter that is not the only one: what it has sent since its last key frame is kept, so that viewers see a picture
//! at once when it takes over, also of a presenter that makes no key frame when asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Ingress;
use crate::media::packet::{Packet, Padding, Source};
use crate::wire::sdp::Kind;

/// What a presenter that stands by, or has just taken over, holds back.
#[derive(Debug, Default)]
pub(super) struct Standby {
    /// Pictures of the first layer from a key frame on; empty while they are too many.
    kept: VecDeque<Packet>,
    /// On its way to the viewers, in parts; what comes meanwhile is behind it.
    leaving: VecDeque<Packet>,
    /// When the next part is due.
    due: Option<Instant>,
    /// Packets that viewers should have got and do not.
    dropped: u64,
}

impl Ingress {
    /// There can be others beside this one: it stands by until it is told that it is on air.
    pub fn stand_by(&mut self) {
        self.standby = Some(Box::default());
    }

    /// Others can be on air instead.
    pub fn has_rivals(&self) -> bool {
        self.standby.is_some()
    }

    /// Keeps a packet that viewers do not get now.
    pub fn keep(&mut self, packet: Packet) {
        let Some(standby) = &mut self.standby else {
            return;
        };
        // Whoever was on air until now has nothing to say any more.
        (standby.leaving, standby.due) = (VecDeque::new(), None);
        if packet.source.kind == Kind::Video && packet.source.layer == 0 {
            standby.keep(packet);
        }
    }

    /// Viewers get this presenter from now on, with numbers above those of all before. What was kept leaves in parts.
    pub fn go_on_air(&mut self, presentation: u64, now: Instant) {
        (self.presentation, self.next_source) = (presentation, 0);
        let mut renewed = Vec::new();
        for lane in &mut self.lanes {
            let Some(source) = &mut lane.source else {
                continue;
            };
            self.next_source += 1;
            let before = Arc::clone(source);
            *source = Arc::new(Source {
                id: presentation << super::SOURCE_BITS | self.next_source,
                presentation,
                kind: before.kind,
                layer: before.layer,
                rid: before.rid.clone(),
                format: before.format.clone(),
            });
            renewed.push((before.id, Arc::clone(source)));
        }
        if let Some(standby) = &mut self.standby {
            standby.release(&renewed, now);
        }
    }

    /// A packet that came before its presenter went on air, as of its source now; `None` when that has changed.
    pub fn renew(&self, packet: Packet) -> Option<Packet> {
        let (kind, layer) = (packet.source.kind, packet.source.layer);
        let mut sources = self.lanes.iter().filter_map(|lane| lane.source.as_ref());
        let source = sources.find(|source| source.kind == kind && source.layer == layer)?;
        let same = source.format.payload_type == packet.source.format.payload_type;
        same.then(|| Packet { source: Arc::clone(source), ..packet })
    }

    /// A packet of the presenter on air: goes to viewers at once, or has its place behind what is leaving.
    pub fn behind(&mut self, packet: Packet) -> Option<Packet> {
        let Some(standby) = self.standby.as_mut().filter(|standby| !standby.leaving.is_empty()) else {
            return Some(packet);
        };
        if packet.source.kind == Kind::Audio {
            return Some(packet);
        }
        if standby.leaving.len() < 2 * MOST_KEPT {
            standby.leaving.push_back(packet);
        } else {
            standby.dropped += 1;
        }
        None
    }

    /// Packets that had no place behind what is leaving, since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        self.standby.as_mut().map_or(0, |standby| std::mem::take(&mut standby.dropped))
    }

    /// The next part of what is leaving, when it is due.
    pub fn released(&mut self, now: Instant) -> Vec<Packet> {
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.due.is_some_and(|at| at <= now)) else {
            return Vec::new();
        };
        let part = standby.leaving.len().min(PART);
        let packets = standby.leaving.drain(..part).collect();
        standby.due = (!standby.leaving.is_empty()).then_some(now + PAUSE);
        packets
    }

    /// When [`Ingress::released`] has something.
    pub(super) fn release_at(&self) -> Option<Instant> {
        self.standby.as_ref()?.due
    }
}

impl Standby {
    fn keep(&mut self, packet: Packet) {
        let is_same = |of: &Packet| of.source.id == packet.source.id;
        let is_before = |first: &Packet| packet.seq < first.seq && packet.timestamp != first.timestamp;
        if self.kept.front().is_some_and(|first| is_same(first) && is_before(first)) {
            // Of a picture before the key frame, repaired.
            return;
        }
        if packet.keyframe && self.kept.front().is_none_or(|first| first.timestamp != packet.timestamp) {
            self.kept.retain(|kept| is_same(kept) && kept.seq > packet.seq);
        } else if self.kept.len() >= MOST_KEPT || !self.kept.front().is_some_and(is_same) {
            return self.kept.clear();
        }
        // What comes late has its place in its picture.
        let at = self.kept.iter().rposition(|kept| kept.seq < packet.seq).map_or(0, |at| at + 1);
        self.kept.insert(at, packet);
    }

    /// Lets what was kept leave. Its frames follow each other in a moment, so that the newest is shown on time: to players
    /// the past has just happened.
    fn release(&mut self, renewed: &[(u64, Arc<Source>)], now: Instant) {
        let Some(newest) = self.kept.back().map(|packet| packet.timestamp) else {
            return;
        };
        let pairs = self.kept.iter().zip(self.kept.iter().skip(1));
        let frames = 1 + pairs.filter(|(a, b)| a.timestamp != b.timestamp).count() as u32;
        let (mut left, mut last) = (frames, None);
        for packet in std::mem::take(&mut self.kept) {
            if last.replace(packet.timestamp) != Some(packet.timestamp) {
                left -= 1;
            }
            let Some((_, source)) = renewed.iter().find(|(before, _)| *before == packet.source.id) else {
                continue;
            };
            // Together never longer than the silence that made this presenter take over.
            let step = (source.format.clock_rate / 1000).min(source.format.clock_rate / 10 / frames);
            let timestamp = newest.wrapping_sub(left * step);
            let ago = Duration::from_secs((left * step).into()) / source.format.clock_rate;
            let received_at = now.checked_sub(ago).unwrap_or(now);
            let (source, padding) = (Arc::clone(source), Padding::default());
            self.leaving.push_back(Packet { source, timestamp, received_at, captured: None, padding, ..packet });
        }
        self.due = Some(now);
    }
}

/// Some 800 kB. A group of pictures that is longer is not worth sending to everybody at once.
const MOST_KEPT: usize = 768;
/// Packets that leave together, and the pause between them: some 30 Mbit/s.
const PART: usize = 16;
/// See `PART`.
const PAUSE: Duration = Duration::from_millis(5);
