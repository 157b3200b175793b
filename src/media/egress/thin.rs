//! Fewer layers of one encoding: what is above them is left out, and the numbering closed behind it.

use super::{Egress, Place, Stretch};
use crate::media::layer::Scale;
use crate::media::packet::Packet;
use crate::wire::descriptor::{Descriptor, Switch};
use crate::wire::sdp::Codec;

/// Where a viewer is that does not get all layers of its encoding.
#[derive(Debug)]
pub(super) struct Thin {
    /// What it gets.
    scale: Scale,
    /// Timestamp of the newest picture.
    picture: Option<u32>,
    /// Behind the newest picture a higher temporal layer may begin.
    may_rise: bool,
    /// The newest packet: its number, whether it was sent, whether it ended its layer's part of the picture.
    seen: u64,
    is_kept: bool,
    is_end: bool,
}

impl Thin {
    /// Follows what is wanted as far as the coding allows: down with any picture, up where nothing is missing.
    fn begin_picture(&mut self, packet: &Packet, descriptor: &Descriptor, wanted: Scale) {
        let may_rise = std::mem::take(&mut self.may_rise);
        let temporal = if may_rise { wanted.temporal } else { self.scale.temporal.min(wanted.temporal) };
        self.scale = Scale { spatial: self.scale.spatial.min(wanted.spatial), temporal };
        if packet.keyframe {
            self.scale = wanted;
        }
        match descriptor.switch {
            Switch::With if descriptor.temporal <= wanted.temporal => {
                self.scale.temporal = self.scale.temporal.max(descriptor.temporal);
            }
            Switch::Behind if descriptor.temporal <= self.scale.temporal => self.may_rise = true,
            Switch::No | Switch::With | Switch::Behind => {}
        }
        self.picture = Some(packet.timestamp);
    }
}

impl Egress {
    /// Decides about a packet of the current source for a viewer that does not get all of it.
    pub(super) fn admit_some(&mut self, packet: &Packet, run: Stretch) -> Option<Place> {
        let descriptor = packet.descriptor.unwrap_or(Descriptor { begins: true, ends: true, ..Descriptor::default() });
        let mut thin = self.thin.take().unwrap_or_else(|| {
            let seen = packet.seq.wrapping_sub(1);
            Box::new(Thin { scale: run.scale, picture: None, may_rise: false, seen, is_kept: true, is_end: true })
        });
        let place = if packet.seq <= thin.seen {
            self.admit_late(packet, &descriptor)
        } else {
            self.admit_next(packet, &descriptor, run, &mut thin)
        };
        self.thin = Some(thin);
        place
    }

    /// A higher spatial layer waits for its key frame.
    pub(super) fn lacks_spatial(&self) -> bool {
        self.thin.as_ref().is_some_and(|thin| thin.scale.spatial < self.scale.spatial)
    }

    /// A packet that others have overtaken goes where its place was kept.
    fn admit_late(&mut self, packet: &Packet, descriptor: &Descriptor) -> Option<Place> {
        let is_its = |s: &&Stretch| s.source == packet.source.id && (s.first..s.end).contains(&packet.seq);
        let stretch = *self.run.iter().chain(self.past.iter().rev()).find(is_its)?;
        includes(stretch.scale, descriptor).then(|| self.place(packet, &stretch))
    }

    fn admit_next(
        &mut self,
        packet: &Packet,
        descriptor: &Descriptor,
        mut run: Stretch,
        thin: &mut Thin,
    ) -> Option<Place> {
        if thin.picture != Some(packet.timestamp) {
            thin.begin_picture(packet, descriptor, self.scale);
        }
        let missing = packet.seq - thin.seen - 1;
        let is_kept = includes(thin.scale, descriptor);
        // What is missing before this packet is of the packet before, or of this one, or of both.
        let are_missing_kept = match (thin.is_kept, is_kept) {
            (true, true) => true,
            (true, false) => !thin.is_end,
            (false, true) => !descriptor.begins,
            (false, false) => false,
        };
        if thin.is_kept && !is_kept {
            run.end = if are_missing_kept { packet.seq } else { thin.seen + 1 };
            self.run = Some(run);
        }
        if is_kept && (!thin.is_kept || run.scale != thin.scale) {
            let first = if are_missing_kept && !thin.is_kept { packet.seq - missing } else { packet.seq };
            run = self.resume(packet, descriptor, run, first, thin);
        }
        (thin.seen, thin.is_kept, thin.is_end) = (packet.seq, is_kept, descriptor.ends || packet.marker);
        is_kept.then(|| self.place(packet, &run))
    }

    /// Goes on behind what was left out, or with other layers.
    fn resume(&mut self, packet: &Packet, descriptor: &Descriptor, run: Stretch, first: u64, thin: &Thin) -> Stretch {
        let mut next = Stretch { first, scale: thin.scale, end: u64::MAX, ..run };
        if !thin.is_kept {
            next.seq_shift = run.end.wrapping_add(run.seq_shift).wrapping_sub(first);
            // VP8 decoders take a missing picture for a lost one; VP9 pictures name those they need by distance.
            if packet.source.format.codec == Codec::Vp8
                && let Some(id) = descriptor.id
            {
                next.id_shift = self.last_id.wrapping_add(1).wrapping_sub(id.value);
            }
        } else if let Some(run) = &mut self.run {
            run.end = first;
        }
        self.follow(next, MAX_PAST_THIN);
        next
    }
}

fn includes(scale: Scale, descriptor: &Descriptor) -> bool {
    descriptor.spatial <= scale.spatial && descriptor.temporal <= scale.temporal
}

/// One for each picture that was left out, within the ring's time.
const MAX_PAST_THIN: usize = 128;
