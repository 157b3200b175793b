//! What one viewer needs to get one track: numbering, timestamps and payload types of its own, continuous whoever
//! presents.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::catch_up::{CatchUp, KEPT};
use self::datagram::{put, seal, sealed_len, write};
use self::thin::Thin;
use super::bandwidth::Bandwidth;
use super::layer::Scale;
use super::outbox::{Outbox, Run};
use super::packet::{Packet, Source};
use crate::peer::ice::Path;
use crate::peer::srtp::RtpSealer;
use crate::wire::sdp::{self, Kind, Section, pick_format};

mod block;
mod catch_up;
mod datagram;
mod thin;

pub use self::catch_up::Next;

/// One track towards one viewer.
#[derive(Debug)]
pub struct Egress {
    /// Our SSRC.
    pub ssrc: u32,
    /// The layer that this viewer should get; switched to at its next key frame.
    pub wanted: u8,
    /// Packets and payload bytes sent, as sender reports count them: modulo 2^32.
    pub packets: u32,
    /// See `packets`.
    pub octets: u32,
    run: Option<Stretch>,
    /// Earlier stretches, newest last: what may still be asked for again.
    past: VecDeque<Stretch>,
    /// The number before the first one.
    before: u16,
    /// The highest number sent.
    newest: u64,
    last_timestamp: u32,
    last_at: Option<Instant>,
    /// Nothing is sent until the next key frame.
    is_cut: bool,
    last_captured: Option<u64>,
    /// Numbers of the picture sent last.
    last_id: u16,
    last_base: u8,
    /// The layers of an encoding that this viewer should get; followed where the coding allows.
    pub scale: Scale,
    thin: Option<Box<Thin>>,
    /// The way from a key frame of the past to now.
    catch_up: Option<Box<CatchUp>>,
    /// Nothing more of this layer until the wanted one begins, or until then: the way is to drain.
    pub held_until: Option<Instant>,
    /// What is known of the way to this viewer; only where there are layers to choose from.
    pub bandwidth: Option<Box<Bandwidth>>,
    /// The SSRC of retransmissions, where they are agreed, and the highest number sent of it.
    rtx: Option<u32>,
    rtx_newest: u64,
    /// What was agreed, shared with those who agreed on the same: a browser's list of formats is kilobytes.
    section: Arc<Section>,
}

/// A stretch of our numbering that comes from one source.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    source: u64,
    presentation: u64,
    layer: u8,
    payload_type: u8,
    rtx_payload_type: Option<u8>,
    /// First number of the source that belongs to it.
    first: u64,
    /// Ours less theirs, modulo 2^64 and 2^32.
    seq_shift: u64,
    timestamp_shift: u32,
    /// The same for the numbers of pictures.
    id_shift: u16,
    base_shift: u8,
    /// The layers of the encoding that go to this viewer.
    scale: Scale,
    /// One past the last number of the source that belongs to it; what comes behind is dropped, or of the next stretch.
    end: u64,
}

/// Where a packet goes in our numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Our extended sequence number.
    pub seq: u64,
    /// Our timestamp.
    pub timestamp: u32,
    /// Our payload type.
    pub payload_type: u8,
    /// Last packet of the picture, as this viewer gets it.
    pub marker: bool,
    /// What is added to the numbers of pictures.
    renumber: Option<(u16, u8)>,
    /// It gets a number of the transport's own, for feedback.
    is_numbered: bool,
}

impl Egress {
    /// A track from our source that has sent nothing. Of `first_seq` the lower 15 bits count (RFC 3711 §3.3.1).
    pub fn new(source: sdp::Source, section: Arc<Section>, first_seq: u16) -> Self {
        Self {
            ssrc: source.ssrc,
            wanted: 0,
            packets: 0,
            octets: 0,
            run: None,
            past: VecDeque::new(),
            before: first_seq & 0x7fff,
            newest: u64::from(first_seq & 0x7fff),
            last_timestamp: 0,
            last_at: None,
            is_cut: false,
            last_captured: None,
            last_id: 0,
            last_base: 0,
            scale: Scale::ALL,
            thin: None,
            catch_up: None,
            held_until: None,
            bandwidth: None,
            rtx: source.rtx,
            rtx_newest: u64::from(first_seq.rotate_left(7) & 0x7fff),
            section,
        }
    }

    /// Decides whether a packet goes to this viewer, and as what.
    pub fn admit(&mut self, packet: &Packet) -> Option<Place> {
        if self.catch_up.is_some() && !self.takes_live(packet) {
            return None;
        }
        let run = match &self.run {
            Some(run) if run.source == packet.source.id && !self.is_cut => *run,
            _ => self.begin(packet, packet)?,
        };
        self.admit_of(packet, run)
    }

    /// The same for a packet of what it gets now.
    fn admit_of(&mut self, packet: &Packet, run: Stretch) -> Option<Place> {
        if self.held_until.is_some_and(|until| packet.received_at < until) {
            return None;
        }
        if self.thin.is_some() || self.scale != Scale::ALL {
            return self.admit_some(packet, run);
        }
        if packet.seq < run.first {
            return None;
        }
        Some(self.place(packet, &run))
    }

    /// The place of a packet of this stretch.
    fn place(&mut self, packet: &Packet, stretch: &Stretch) -> Place {
        let mut place = stretch.place(packet, self.rtx.is_some() && self.bandwidth.is_some());
        // A picture of the past stands for a later moment.
        let mut later = 0;
        if self.catch_up.is_some() {
            if let Some(bent) = self.bent(place.seq, packet, stretch) {
                later = bent.wrapping_sub(std::mem::replace(&mut place.timestamp, bent));
            }
            self.forget_bend();
        }
        if place.seq > self.newest {
            let clock_rate = packet.source.format.clock_rate.max(1);
            self.newest = place.seq;
            self.last_timestamp = place.timestamp;
            self.last_at = Some(packet.received_at + Duration::from_secs(later.into()) / clock_rate);
            self.last_captured =
                packet.captured.map(|at| at.wrapping_add((u64::from(later) << 32) / u64::from(clock_rate)));
            if let Some(descriptor) = &packet.descriptor {
                self.last_id = descriptor.id.map_or(0, |id| id.value.wrapping_add(stretch.id_shift));
                self.last_base = descriptor.base.map_or(0, |(value, _)| value.wrapping_add(stretch.base_shift));
            }
        }
        place
    }

    /// Sends no pictures until the next key frame; the numbering closes behind them. True when it did until now.
    pub fn cut(&mut self) -> bool {
        let is_new = !self.is_cut && self.run.is_some() && self.section.kind == Kind::Video;
        self.is_cut |= is_new;
        self.stop_catching_up();
        is_new
    }

    /// Writes and seals an admitted packet behind `run`.
    pub fn send(
        &mut self,
        packet: &Packet,
        place: Place,
        sealer: &mut RtpSealer,
        run: &mut Run,
        out: &mut impl Outbox,
        path: Path,
    ) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        let (ssrc, mut block) = (self.ssrc, self.block(packet, place.seq));
        if place.is_numbered {
            self.number(&mut block, packet.payload.len());
        }
        put(packet, place, ssrc, &block, sealer, run, out, path);
    }

    /// Which packet a number that the viewer misses stands for: (source, layer, number there).
    pub fn trace(&self, seq: u16) -> Option<(u64, u8, u64)> {
        let (stretch, seq) = self.stretch_of(seq)?;
        Some((stretch.source, stretch.layer, seq.wrapping_sub(stretch.seq_shift)))
    }

    /// The way to this viewer has proved too narrow for the best layer.
    pub fn is_narrow(&self) -> bool {
        self.bandwidth.as_ref().is_some_and(|bandwidth| bandwidth.limit.is_some())
    }

    /// A narrow way has no room for what a key frame of the wanted layer has replaced or will replace.
    pub fn is_worth_resending(&self, source: u64) -> bool {
        !self.is_narrow() || (self.held_until.is_none() && self.run.as_ref().is_some_and(|run| run.source == source))
    }

    /// Sends a packet again: as a retransmission of its own numbering (RFC 4588) where agreed, else byte-identical.
    pub fn resend(
        &mut self,
        seq: u16,
        packet: &Packet,
        sealer: &mut RtpSealer,
        run: &mut Run,
        out: &mut impl Outbox,
        path: Path,
    ) {
        let Some((stretch, seq)) = self.stretch_of(seq).map(|(stretch, seq)| (*stretch, seq)) else {
            return;
        };
        let mut place = stretch.place(packet, self.bandwidth.is_some());
        if let Some(bent) = self.bent(seq, packet, &stretch) {
            place.timestamp = bent;
        }
        let mut block = self.block(packet, seq);
        if place.is_numbered && self.rtx.is_some() {
            self.number(&mut block, packet.payload.len() + OSN_LEN);
        }
        if let (Some(ssrc), Some(payload_type)) = (self.rtx, stretch.rtx_payload_type) {
            self.rtx_newest += 1;
            let rtx_seq = self.rtx_newest;
            let len = sealed_len(&block, packet.payload.len() + OSN_LEN, sealer);
            run.push(out, path, len, |buf| {
                let start = buf.len();
                write(buf, place.marker, false, payload_type, rtx_seq as u16, place.timestamp, ssrc, &block);
                let header_len = buf.len() - start;
                buf.extend_from_slice(&(seq as u16).to_be_bytes());
                place.copy(packet, buf);
                seal(sealer, buf, start, header_len, ssrc, rtx_seq);
            });
        } else {
            put(packet, Place { seq, ..place }, self.ssrc, &block, sealer, run, out, path);
        }
    }

    /// Fills the way up with repetitions of a packet, when the bandwidth is being probed.
    pub fn pad(
        &mut self,
        seq: u16,
        packet: &Packet,
        sealer: &mut RtpSealer,
        run: &mut Run,
        out: &mut impl Outbox,
        path: Path,
    ) {
        if self.rtx.is_none() || self.run.is_none_or(|stretch| stretch.rtx_payload_type.is_none()) {
            return;
        }
        let Some(bandwidth) = &mut self.bandwidth else {
            return;
        };
        let size = packet.payload.len().max(1);
        let count = (bandwidth.padding() / size).min(MAX_PADDING);
        bandwidth.padded(count * size);
        for _ in 0..count {
            self.resend(seq, packet, sealer, run, out, path);
        }
    }

    /// What it gets now: encoding and layers within. `None` as long as that is nothing.
    pub fn playing(&self) -> Option<(u8, Scale)> {
        self.run.as_ref().map(|run| (run.layer, run.scale))
    }

    /// The source of what it gets now.
    pub fn source(&self) -> Option<u64> {
        self.run.as_ref().map(|run| run.source)
    }

    /// Id of the extension for the transport's numbers, if the viewer agreed to one.
    pub fn transport_cc(&self) -> Option<u8> {
        let is_told = self.section.formats.iter().any(|format| format.feedback.transport_cc);
        self.section.extensions.transport_cc.filter(|_| is_told)
    }

    /// The source of what it gets now, and what is added to its timestamps; `None` while that is not the same for all.
    pub fn timeline(&self) -> Option<(u64, u32)> {
        self.run.as_ref().filter(|_| self.is_straight()).map(|run| (run.source, run.timestamp_shift))
    }

    /// Every SSRC that we send with.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.ssrc).chain(self.rtx)
    }

    /// Is this viewer waiting for a key frame of this source? Not if it could not show it.
    pub fn awaits(&self, source: &Source) -> bool {
        self.section.kind == Kind::Video
            && source.layer == self.wanted
            && (self.run.as_ref().is_none_or(|run| run.source != source.id || self.is_cut) || self.lacks_spatial())
            && pick_format(&self.section, &source.format).is_some()
    }

    /// Did the viewer agree on what this source sends?
    pub fn can_show(&self, source: &Source) -> bool {
        self.section.kind != source.kind || pick_format(&self.section, &source.format).is_some()
    }

    /// Begins a new stretch with this packet, if it may. `newest` is the packet of its source that has just come.
    fn begin(&mut self, packet: &Packet, newest: &Packet) -> Option<Stretch> {
        let source = &packet.source;
        if let Some(run) = &self.run {
            // A late packet of a presenter who has been replaced, or of a layer that this viewer does not get.
            let older = source.presentation < run.presentation;
            if older || (source.presentation == run.presentation && source.id < run.source && source.layer == run.layer)
            {
                return None;
            }
        }
        if source.kind == Kind::Video && (!packet.keyframe || source.layer != self.wanted) {
            return None;
        }
        self.begin_at(packet, newest)
    }

    /// The same, where it may.
    fn begin_at(&mut self, packet: &Packet, newest: &Packet) -> Option<Stretch> {
        let source = &packet.source;
        let format = pick_format(&self.section, &source.format)?;
        let first = packet.seq;
        let same = self.run.as_ref().filter(|run| run.source == source.id);
        let timestamp_shift = match (same, self.last_at) {
            (Some(run), _) => run.timestamp_shift.wrapping_add(self.lag(newest, run)),
            (None, None) => 0,
            (None, Some(last_at)) => {
                let elapsed = self.elapsed(newest).unwrap_or_else(|| {
                    let arrivals = newest.received_at.saturating_duration_since(last_at).max(ONE_FRAME);
                    ticks(arrivals, source.format.clock_rate)
                });
                self.last_timestamp.wrapping_add(elapsed).wrapping_sub(newest.timestamp)
            }
        };
        let (id_shift, base_shift) = self.picture_shifts(packet);
        let stretch = Stretch {
            source: source.id,
            presentation: source.presentation,
            layer: source.layer,
            payload_type: format.payload_type,
            rtx_payload_type: format.rtx,
            first,
            seq_shift: (self.newest + 1).wrapping_sub(first),
            timestamp_shift,
            id_shift,
            base_shift,
            scale: self.scale,
            end: u64::MAX,
        };
        self.is_cut = false;
        self.thin = None;
        self.held_until = None;
        if let Some(run) = &mut self.run {
            // Numbers behind what was sent are those of the next stretch: what comes late must not be sealed with them.
            run.end = run.end.min((self.newest + 1).wrapping_sub(run.seq_shift));
        }
        self.straighten();
        self.follow(stretch, MAX_PAST);
        Some(stretch)
    }

    /// Makes this the current stretch; of those before it, `keep` are kept at most.
    fn follow(&mut self, stretch: Stretch, keep: usize) {
        if let Some(past) = self.run.replace(stretch) {
            while self.past.len() >= keep {
                self.past.pop_front();
            }
            self.past.push_back(past);
        }
    }

    /// RTP time from the last packet to this one of another layer, by the clock that both were captured on.
    fn elapsed(&self, packet: &Packet) -> Option<u32> {
        let is_same = self.run.as_ref().is_some_and(|run| run.presentation == packet.source.presentation);
        let elapsed = packet.captured?.wrapping_sub(self.last_captured.filter(|_| is_same)?).cast_signed();
        let clock_rate = packet.source.format.clock_rate;
        let ticks = (i128::from(elapsed) * i128::from(clock_rate)) >> 32;
        // Pictures of two layers may be of one moment, but must not share a timestamp.
        Some((ticks as i64).clamp(i64::from(clock_rate / 1000), i64::from(clock_rate) * MAX_ELAPSED_S) as u32)
    }

    /// What is added to a new source's picture numbers, so that they go on from those before.
    fn picture_shifts(&self, packet: &Packet) -> (u16, u8) {
        let Some(descriptor) = packet.descriptor.filter(|_| self.run.is_some()) else {
            return (0, 0);
        };
        let id = descriptor.id.map_or(0, |id| self.last_id.wrapping_add(1).wrapping_sub(id.value));
        let base = descriptor.base.map_or(0, |(value, _)| self.last_base.wrapping_add(1).wrapping_sub(value));
        (id, base)
    }

    /// The stretch that one of our recent numbers belongs to, and that number extended.
    fn stretch_of(&self, seq: u16) -> Option<(&Stretch, u64)> {
        let back = u64::from((self.newest as u16).wrapping_sub(seq));
        let seq = self.newest.checked_sub(back).filter(|_| back < KEPT)?;
        let stretch = (self.past.iter().chain(&self.run).rev())
            .find(|stretch| stretch.first.wrapping_add(stretch.seq_shift) <= seq)?;
        Some((stretch, seq))
    }
}

impl Stretch {
    /// Where a packet of it goes.
    fn place(&self, packet: &Packet, has_feedback: bool) -> Place {
        let ends = packet.descriptor.is_some_and(|d| d.ends && d.spatial == self.scale.spatial);
        Place {
            seq: packet.seq.wrapping_add(self.seq_shift),
            timestamp: packet.timestamp.wrapping_add(self.timestamp_shift),
            payload_type: self.payload_type,
            marker: packet.marker || ends,
            renumber: (self.id_shift != 0 || self.base_shift != 0).then_some((self.id_shift, self.base_shift)),
            // Without retransmissions of their own numbering a resend must be the same bytes, number included.
            is_numbered: has_feedback && self.rtx_payload_type.is_some(),
        }
    }
}

impl Place {
    /// Appends the payload with its picture's numbers.
    fn copy(&self, packet: &Packet, buf: &mut Vec<u8>) {
        let start = buf.len();
        buf.extend_from_slice(&packet.payload);
        if let (Some((id, base)), Some(descriptor)) = (self.renumber, &packet.descriptor) {
            descriptor.renumber(buf.get_mut(start..).unwrap_or_default(), id, base);
        }
    }
}

fn ticks(elapsed: Duration, clock_rate: u32) -> u32 {
    (elapsed.as_nanos() * u128::from(clock_rate) / 1_000_000_000) as u32
}

/// Repetitions at once.
const MAX_PADDING: usize = 32;
/// What is believed of the time between two layers' pictures.
const MAX_ELAPSED_S: i64 = 10;
/// Original sequence number of a retransmission (RFC 4588 §4).
const OSN_LEN: usize = 2;
/// Stretches that may still be asked for: layer switches within the ring's time.
const MAX_PAST: usize = 4;
/// The least by which timestamps grow from one presenter or layer to the next.
const ONE_FRAME: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
#[cfg(test)]
mod thin_tests;
