//! One track of a stream on one worker: what came lately of each of its layers, and what each costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Sync, WallClock};
use super::gop::{Bounds, Gop, Passed};
use super::layer::{LayerInfo, Rung};
use super::packet::{Packet, Ring, Source};
use crate::wire::picture;
use crate::wire::sdp::Kind;

/// One track of a stream on one worker.
#[derive(Default)]
pub struct Track {
    layers: Vec<Layer>,
    /// What viewers may choose from, the least first.
    pub ladder: Vec<Rung>,
    measured_at: Option<Instant>,
}

/// One simulcast encoding of a track; audio and plain video have one.
pub(super) struct Layer {
    ring: Ring,
    /// Everything since the last key frame, of pictures.
    gop: Gop,
    pub(super) source: Option<Arc<Source>>,
    pub(super) sync: Option<(u64, Sync)>,
    /// The newest packet: its number, timestamp and arrival.
    pub(super) newest: Option<(u64, u32, Instant)>,
    /// Between two of its pictures, smoothed.
    pace: Duration,
    meter: Meter,
    /// Of each spatial layer.
    sizes: picture::Sizes,
    /// The last key frame that a viewer here asked for.
    asked: Option<Instant>,
}

/// The rates of the layers of an encoding, by spatial and temporal layer.
#[derive(Default)]
struct Meter {
    /// Payload bytes in the current interval.
    bytes: [[u32; LAYERS]; LAYERS],
    /// Bits per second.
    rates: [[u64; LAYERS]; LAYERS],
    /// The most of it in the last seconds.
    peaks: [[u64; LAYERS]; LAYERS],
    /// Intervals measured.
    rounds: u64,
    /// Layers seen: one bit for each temporal one, by spatial one; none when packets do not tell.
    seen: [u8; LAYERS],
}

impl Track {
    /// A recent packet, or one since the last key frame.
    pub fn packet(&self, layer: u8, source: u64, seq: u64) -> Option<&Arc<Packet>> {
        let layer = self.layers.get(usize::from(layer))?;
        let cached = || layer.gop.get(seq).filter(|packet| packet.source.id == source);
        layer.ring.get(source, seq).or_else(cached)
    }

    /// What came since the last key frame of a layer.
    pub(super) fn gop(&self, layer: u8) -> Option<&Gop> {
        self.layers.get(usize::from(layer)).map(|layer| &layer.gop)
    }

    /// Keeps a packet for those who come later, but for those who are here it is none. Says which bound was passed.
    pub(super) fn keep(&mut self, packet: &Arc<Packet>, bounds: &Bounds) -> Option<Passed> {
        if packet.source.kind != Kind::Video {
            return None;
        }
        self.layer(packet.source.layer, Kind::Video).gop.insert(packet, bounds)
    }

    /// Forgets what was kept for those who come later.
    pub(super) fn forget_gops(&mut self) {
        for layer in &mut self.layers {
            layer.gop.clear();
        }
    }

    /// A source's clock was told.
    pub fn set_sync(&mut self, layer: u8, source: u64, sync: Sync) {
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.sync = Some((source, sync));
        }
    }

    /// What a source's RTP clock reads now, by the presenter's own report or (`by_report` false) by its last packet.
    pub fn rtp_now(&self, source: u64, clock: &WallClock, now: Instant, by_report: bool) -> Option<u32> {
        let layer = self.layers.iter().find(|l| l.is_of(source))?;
        let clock_rate = layer.source.as_ref()?.format.clock_rate;
        if by_report {
            let (_, sync) = layer.sync.filter(|(s, _)| *s == source)?;
            return Some(sync.rtp_at(clock.ntp(now), clock_rate));
        }
        let (_, rtp, at) = layer.newest?;
        Some(Sync { rtp, ntp: clock.ntp(at) }.rtp_at(clock.ntp(now), clock_rate))
    }

    /// Its encodings, in the presenter's order.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Takes in a packet; `false` when it was here before.
    pub(super) fn take(&mut self, packet: &Arc<Packet>) -> bool {
        self.layer(packet.source.layer, packet.source.kind).take(packet)
    }

    /// The state of a layer; a new one when nothing was known of it.
    fn layer(&mut self, at: u8, kind: Kind) -> &mut Layer {
        while self.layers.len() <= usize::from(at) {
            self.layers.push(Layer::new(kind));
        }
        &mut self.layers[usize::from(at)]
    }

    /// Another presenter: its layers mean something else.
    pub(super) fn forget_layers(&mut self) {
        self.ladder.clear();
        self.measured_at = None;
        for layer in &mut self.layers {
            layer.newest = None;
            layer.meter = Meter::default();
            layer.asked = None;
            layer.sizes = picture::Sizes::default();
            layer.gop.clear();
        }
    }

    /// Once per interval: which layers there are, and what they cost. `true` when it has looked.
    pub(super) fn measure(&mut self, now: Instant) -> bool {
        let since = *self.measured_at.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed < MEASURE_INTERVAL {
            return false;
        }
        self.measured_at = Some(now);
        let newest = self.layers.iter().filter_map(|l| l.newest).map(|(.., at)| at).max();
        self.ladder.clear();
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let is_sent =
                layer.newest.zip(newest).is_some_and(|((.., own), any)| own + STALE.max(layer.pace * 4) >= any);
            if is_sent {
                layer.meter.roll(elapsed);
                layer.meter.rungs(at as u8, layer.sizes, &mut self.ladder);
            } else {
                layer.meter = Meter { seen: layer.meter.seen, ..Meter::default() };
            }
        }
        // Sizes decide only when all are known.
        if self.ladder.iter().any(|rung| rung.size.is_none()) {
            self.ladder.sort_by_key(|rung| rung.cost);
        } else {
            self.ladder.sort_by_key(Rung::rank);
        }
        true
    }

    /// There is, or was, something to choose.
    pub(super) fn is_layered(&self) -> bool {
        self.layers.iter().filter(|l| l.newest.is_some()).count() > 1 || self.ladder.len() > 1
    }

    /// All layers that have been seen, sent now or not.
    pub(super) fn infos(&self) -> Vec<LayerInfo> {
        let mut infos = Vec::new();
        for (at, layer) in self.layers.iter().enumerate() {
            let Some(source) = layer.source.as_ref().filter(|_| layer.newest.is_some()) else {
                continue;
            };
            let mut rungs = Vec::new();
            layer.meter.rungs(at as u8, layer.sizes, &mut rungs);
            let tells = layer.meter.tells();
            infos.extend(rungs.iter().map(|rung| LayerInfo {
                layer: rung.layer,
                rid: source.rid.clone(),
                spatial: tells.then_some(rung.spatial),
                temporal: tells.then_some(rung.temporal),
                bitrate: rung.cost,
                width: rung.size.map(|(width, _)| width),
                height: rung.size.map(|(_, height)| height),
            }));
        }
        infos
    }

    /// A viewer here needs a key frame. `true` when the presenter's worker is to be told: not again within half a second,
    /// unless a key frame has come since.
    pub(super) fn ask_for_keyframe(&mut self, layer: u8, now: Instant) -> bool {
        // Viewers want none but the first, or one that was seen.
        let layer = self.layer(layer, Kind::Video);
        let is_repeat = layer.asked.is_some_and(|at| now.saturating_duration_since(at) < ASK_INTERVAL);
        if !is_repeat {
            layer.asked = Some(now);
        }
        !is_repeat
    }
}

impl Layer {
    fn new(kind: Kind) -> Self {
        let len = if kind == Kind::Video { VIDEO_RING } else { AUDIO_RING };
        Self {
            ring: Ring::new(len),
            gop: Gop::default(),
            source: None,
            sync: None,
            newest: None,
            pace: Duration::ZERO,
            meter: Meter::default(),
            sizes: picture::Sizes::default(),
            asked: None,
        }
    }

    fn take(&mut self, packet: &Arc<Packet>) -> bool {
        let source = &packet.source;
        if self.ring.get(source.id, packet.seq).is_some() {
            return false;
        }
        if !self.is_of(source.id) {
            self.source = Some(source.clone());
            self.newest = None;
        }
        if self.newest.is_some_and(|(newest, ..)| packet.seq + self.ring.len() as u64 <= newest) {
            // So late that it may have been here before: a number must not be sealed twice with other bytes.
            return false;
        }
        self.meter.count(packet);
        if packet.keyframe && source.kind == Kind::Video {
            self.asked = None;
            picture::sizes(source.format.codec, &packet.payload, &mut self.sizes);
        }
        // The arrival of a late or repaired packet says nothing of the time that it is from.
        if self.newest.is_none_or(|(seq, ..)| seq < packet.seq) {
            if let Some((_, _, before)) = self.newest.filter(|(_, timestamp, _)| *timestamp != packet.timestamp) {
                let gap = packet.received_at.saturating_duration_since(before).min(MAX_PACE);
                self.pace = (self.pace * 7 + gap) / 8;
            }
            self.newest = Some((packet.seq, packet.timestamp, packet.received_at));
        }
        self.ring.insert(packet.clone());
        true
    }

    pub(super) fn is_of(&self, source: u64) -> bool {
        self.source.as_ref().is_some_and(|s| s.id == source)
    }
}

impl Meter {
    fn count(&mut self, packet: &Packet) {
        let (mut spatial, mut temporal) = (0, 0);
        if let Some(descriptor) = packet.descriptor.filter(|d| d.is_layered) {
            spatial = usize::from(descriptor.spatial).min(LAYERS - 1);
            temporal = usize::from(descriptor.temporal).min(LAYERS - 1);
            self.seen[spatial] |= 1 << temporal;
        }
        self.bytes[spatial][temporal] += packet.payload.len() as u32;
    }

    fn roll(&mut self, elapsed: Duration) {
        self.rounds += 1;
        let weight = self.rounds.min(SMOOTHED);
        for (rate, bytes) in self.rates.as_flattened_mut().iter_mut().zip(self.bytes.as_flattened_mut()) {
            let measured = u64::from(std::mem::take(bytes)) * 8_000_000 / (elapsed.as_micros() as u64).max(1);
            *rate = (*rate * (weight - 1) + measured) / weight;
        }
        for (peak, rate) in self.peaks.as_flattened_mut().iter_mut().zip(self.rates.as_flattened()) {
            *peak = (*peak - *peak / PEAK_DECAY).max(*rate);
        }
    }

    /// Packets say which layer they are of.
    fn tells(&self) -> bool {
        self.seen.iter().any(|seen| *seen != 0)
    }

    /// Appends what can be sent of this encoding.
    fn rungs(&self, layer: u8, sizes: picture::Sizes, out: &mut Vec<Rung>) {
        let seen = if self.tells() { self.seen } else { [1, 0, 0, 0] };
        let spatials = seen.iter().rposition(|s| *s != 0).unwrap_or(0);
        let temporals = seen.iter().map(|s| s.checked_ilog2().unwrap_or(0)).max().unwrap_or(0) as usize;
        for spatial in 0..=spatials {
            for temporal in 0..=temporals {
                let sum = |rates: &[[u64; LAYERS]; LAYERS]| {
                    rates[..=spatial].iter().flat_map(|rates| &rates[..=temporal]).sum()
                };
                out.push(Rung {
                    layer,
                    spatial: spatial as u8,
                    temporal: temporal as u8,
                    is_whole: (spatial, temporal) == (spatials, temporals),
                    cost: sum(&self.rates),
                    peak: sum(&self.peaks),
                    size: sizes[spatial],
                });
            }
        }
    }
}

/// As often as the presenter is asked at most.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// About 2 s at 4 Mbit/s.
const VIDEO_RING: usize = 1024;
/// About 5 s.
const AUDIO_RING: usize = 256;
const MEASURE_INTERVAL: Duration = Duration::from_millis(200);
/// A layer of which nothing has come for so long while others went on is not sent any more, unless it is slow: an encoder
/// that is short of bits sends few pictures.
const STALE: Duration = Duration::from_millis(400);
/// One picture a second; slower ones are not worth waiting for.
const MAX_PACE: Duration = Duration::from_secs(1);
/// Intervals that a rate is smoothed over: about a second and a half.
const SMOOTHED: u64 = 8;
/// A peak is half forgotten after some nine seconds.
const PEAK_DECAY: u64 = 64;
/// Spatial layers, and temporal ones: as many as browsers send, and one more.
const LAYERS: usize = picture::LAYERS;
