//! Between two presenters: the last key frame again and again, so that players show something, and also those who come
//! meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Stream;
use crate::media::packet::{Packet, Padding, Source};
use crate::wire::sdp::Kind;

/// The last key frame of a stream's first layer.
#[derive(Debug, Default)]
pub(super) struct Slate {
    picture: Vec<Arc<Packet>>,
    /// The number of the presentation that its repetitions are of, from the first one until somebody presents again.
    presentation: Option<u64>,
    repetitions: u64,
    /// When the next one is due.
    due: Option<Instant>,
}

impl Stream {
    /// When [`Stream::show_slate`] is due; never where there is none.
    pub(super) fn slate_at(&self) -> Option<Instant> {
        self.slate.due
    }

    /// Notes what may have to be shown again.
    pub(super) fn note_slate(&mut self, packet: &Arc<Packet>, now: Instant) {
        let slate = &mut self.slate;
        if !self.route.holds || slate.presentation == Some(packet.source.presentation) {
            return;
        }
        (slate.presentation, slate.due) = (None, Some(now + INTERVAL));
        if packet.source.kind == Kind::Audio || packet.source.layer != 0 {
            return;
        }
        let is_same = |of: &Arc<Packet>| of.source.id == packet.source.id && of.timestamp == packet.timestamp;
        if slate.picture.first().is_some_and(is_same) {
            if slate.picture.len() < LARGEST {
                slate.picture.push(Arc::clone(packet));
            }
        } else if packet.keyframe {
            slate.picture.clear();
            slate.picture.push(Arc::clone(packet));
        }
    }

    /// Shows the picture once more, if nobody presents.
    pub fn show_slate(&mut self, now: Instant) {
        if self.slate.due.is_none_or(|at| at > now) {
            return;
        }
        self.slate.due = Some(now + INTERVAL);
        let is_whole = self.slate.picture.iter().any(|packet| packet.marker);
        if self.route.home().is_some() || self.viewers.is_empty() || !is_whole {
            return;
        }
        let presentation = self.slate.presentation.unwrap_or_else(|| self.route.next_presentation());
        if self.route.home().is_some() {
            // Somebody has begun meanwhile, whose packets a higher number would shut out.
            return;
        }
        self.slate.presentation = Some(presentation);
        self.slate.repetitions += 1;
        let id = presentation << REPETITION_BITS | (self.slate.repetitions & ((1 << REPETITION_BITS) - 1));
        for packet in self.slate.picture.clone() {
            self.take(Arc::new(again(&packet, id, presentation, now)), now);
        }
    }
}

/// A packet as one of another source, so that each repetition gets numbers and a time of its own.
fn again(packet: &Packet, id: u64, presentation: u64, now: Instant) -> Packet {
    let Source { kind, layer, rid, format, .. } = &*packet.source;
    let source = Source { id, presentation, kind: *kind, layer: *layer, rid: rid.clone(), format: format.clone() };
    Packet {
        source: Arc::new(source),
        seq: packet.seq,
        timestamp: packet.timestamp,
        marker: packet.marker,
        keyframe: packet.keyframe,
        received_at: now,
        captured: None,
        descriptor: packet.descriptor,
        orientation: packet.orientation,
        padding: Padding::default(),
        payload: packet.payload.clone(),
    }
}

/// Between two repetitions. A newcomer waits no longer for a picture.
const INTERVAL: Duration = Duration::from_secs(1);
/// Packets; a picture that has more is not whole and not shown.
const LARGEST: usize = 192;
/// As those of a presenter's sources.
const REPETITION_BITS: u32 = 20;
