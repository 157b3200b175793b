//! One stream on one worker: its tracks, and the viewers that this worker serves. The track router.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Route;
use super::burst;
use super::clock::{Sync, WallClock};
use super::outbox::{Outbox, Run};
use super::packet::{Packet, Ring, Source};
use super::viewer::{Delivered, Viewer};
use crate::wire::sdp::Kind;

/// A stream as one worker sees it.
pub struct Stream {
    /// Which stream, and which workers have a part in it.
    pub route: Arc<Route>,
    /// The session of its presenter, when that is on this worker.
    pub presenter: Option<usize>,
    /// Audio and video, by `Kind as usize`.
    pub tracks: [Track; 2],
    /// This worker's viewers. Their order is theirs to keep: a session knows its viewer's index.
    pub viewers: Vec<Viewer>,
    /// Packets that have come since the last burst left.
    burst: Vec<Arc<Packet>>,
    burst_since: Option<Instant>,
    is_due: bool,
    /// The burst that is on its way to the viewers, and the next viewer to get it.
    sending: Vec<Arc<Packet>>,
    next_viewer: usize,
    /// Newest presenter seen.
    presentation: u64,
    /// The last key frame that a viewer here asked for.
    asked: Option<(u8, Instant)>,
}

/// One track of a stream on one worker.
#[derive(Default)]
pub struct Track {
    layers: Vec<Layer>,
    /// The layer that viewers should get.
    best: u8,
    measured_at: Option<Instant>,
}

/// One simulcast encoding of a track; audio and plain video have one.
struct Layer {
    ring: Ring,
    source: Option<Arc<Source>>,
    sync: Option<(u64, Sync)>,
    /// The newest packet: its number, timestamp and arrival.
    newest: Option<(u64, u32, Instant)>,
    /// Payload bytes in the current measuring interval.
    bytes: u64,
}

impl Stream {
    /// A stream that nothing is known of.
    pub fn new(route: Arc<Route>) -> Self {
        Self {
            route,
            presenter: None,
            tracks: [Track::default(), Track::default()],
            viewers: Vec::new(),
            burst: Vec::new(),
            burst_since: None,
            is_due: false,
            sending: Vec::new(),
            next_viewer: 0,
            presentation: 0,
            asked: None,
        }
    }

    /// Takes in a packet. `true` when it was new here; its burst leaves at the end of the frame, when it is large, or
    /// after 2 ms.
    pub fn take(&mut self, packet: Arc<Packet>, now: Instant) -> bool {
        let source = &packet.source;
        if source.presentation < self.presentation {
            return false;
        }
        if source.presentation > self.presentation {
            self.presentation = source.presentation;
            for track in &mut self.tracks {
                track.forget_layers();
            }
            self.want_best_layer();
            self.asked = None;
        }
        if !self.tracks[source.kind as usize].take(&packet) {
            return false;
        }
        if packet.keyframe && source.kind == Kind::Video {
            self.asked = None;
        }
        if self.burst.len() >= MAX_GATHERED {
            // The socket has been full for half a second and more: what viewers miss now they get again from the next key frame on.
            self.burst.clear();
        }
        self.burst_since.get_or_insert(now);
        self.is_due |= (packet.marker && source.kind == Kind::Video) || self.burst.len() + 1 >= MAX_BURST;
        self.burst.push(packet);
        true
    }

    /// When the burst that is gathering leaves at the latest; `None` while the one before it is on its way, which takes
    /// it along when it has arrived.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.burst_since.filter(|_| !self.is_sending()).map(|since| since + MAX_WAIT)
    }

    /// Closes the burst if it is due and the one before it has reached everybody. Returns its packets, to be mailed to
    /// other workers.
    pub fn close_burst(&mut self, now: Instant) -> Option<&[Arc<Packet>]> {
        let is_due = self.is_due || self.next_timeout().is_some_and(|at| at <= now);
        if !is_due || !self.sending.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.burst, &mut self.sending);
        burst::arrange(&mut self.sending);
        self.burst_since = None;
        self.is_due = false;
        self.next_viewer = 0;
        Some(&self.sending)
    }

    /// A burst is on its way.
    pub fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Sends the burst to at most `most` more viewers; returns how many got it and what was sent.
    pub fn deliver(&mut self, most: usize, run: &mut Run, out: &mut impl Outbox, now: Instant) -> (usize, Delivered) {
        let mut sum = Delivered::default();
        let end = self.viewers.len().min(self.next_viewer + most);
        let mut served = 0;
        for at in self.next_viewer..end {
            if out.is_full() {
                break;
            }
            served += 1;
            // Counted before it is served: if that panics, it is not its turn again.
            self.next_viewer = at + 1;
            let delivered = self.viewers[at].deliver(self.sending.iter().map(AsRef::as_ref), run, out, now);
            sum.packets += delivered.packets;
            sum.bytes += delivered.bytes;
        }
        if self.next_viewer >= self.viewers.len() {
            self.sending.clear();
        }
        (served, sum)
    }

    /// Adds a viewer; returns its index.
    pub fn add_viewer(&mut self, mut viewer: Viewer) -> usize {
        if let Some(video) = &mut viewer.video {
            video.wanted = self.tracks[Kind::Video as usize].best;
        }
        self.viewers.push(viewer);
        self.viewers.len() - 1
    }

    /// The session of the viewer that was served last.
    pub fn served_last(&self) -> Option<usize> {
        self.viewers.get(self.next_viewer.checked_sub(1)?).map(|v| v.session)
    }

    /// Removes a viewer. Others take its place: indices from there on that changed their session are returned.
    pub fn remove_viewer(&mut self, at: usize) -> Option<(Viewer, [usize; 2])> {
        if at >= self.viewers.len() {
            return None;
        }
        if at >= self.next_viewer {
            return Some((self.viewers.swap_remove(at), [at, at]));
        }
        // Those who have got the burst that is on its way stay in front of those who have not.
        self.next_viewer -= 1;
        self.viewers.swap(at, self.next_viewer);
        Some((self.viewers.swap_remove(self.next_viewer), [at, self.next_viewer]))
    }

    /// Chooses the layer that viewers get: the one that carries most. `true` once per interval: then it is time to ask
    /// for the key frame that viewers may be waiting for.
    pub fn choose_layer(&mut self, now: Instant) -> bool {
        let track = &mut self.tracks[Kind::Video as usize];
        let before = track.best;
        if !track.measure(now) {
            return false;
        }
        if track.best != before {
            self.want_best_layer();
        }
        true
    }

    /// Does anybody here wait for a key frame of this presenter, and could show it?
    pub fn awaits_keyframe(&self) -> Option<u8> {
        let track = &self.tracks[Kind::Video as usize];
        let source = track.layers.get(usize::from(track.best))?.source.as_ref()?;
        let is_current = source.presentation == self.presentation;
        let waiting = |v: &Viewer| v.video.as_ref().is_some_and(|e| e.awaits(source));
        (is_current && self.viewers.iter().any(waiting)).then_some(track.best)
    }

    fn want_best_layer(&mut self) {
        let best = self.best_layer();
        for video in self.viewers.iter_mut().filter_map(|v| v.video.as_mut()) {
            video.wanted = best;
        }
    }

    /// A viewer here needs a key frame of this layer. `true` when the presenter's worker is to be told: not again within
    /// half a second, unless a key frame has come since.
    pub fn ask_for_keyframe(&mut self, layer: u8, now: Instant) -> bool {
        let is_repeat = |(asked, at): (u8, Instant)| asked == layer && now.saturating_duration_since(at) < ASK_INTERVAL;
        if self.asked.is_some_and(is_repeat) {
            return false;
        }
        self.asked = Some((layer, now));
        true
    }

    /// The layer that viewers get.
    pub fn best_layer(&self) -> u8 {
        self.tracks[Kind::Video as usize].best
    }

    /// Audio and video of the presenter have both told their clocks, so that they can be kept in step.
    pub fn is_in_sync(&self) -> bool {
        let mut layers = self.tracks.iter().flat_map(|t| &t.layers).filter(|l| l.newest.is_some()).peekable();
        layers.peek().is_some() && layers.all(|l| l.sync.is_some_and(|(source, _)| l.is_of(source)))
    }

    /// Nothing of it is left on this worker.
    pub fn is_empty(&self) -> bool {
        self.presenter.is_none() && self.viewers.is_empty()
    }
}

impl Track {
    /// A recent packet.
    pub fn packet(&self, layer: u8, source: u64, seq: u64) -> Option<&Arc<Packet>> {
        self.layers.get(usize::from(layer))?.ring.get(source, seq)
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

    fn take(&mut self, packet: &Arc<Packet>) -> bool {
        let (source, at) = (&packet.source, usize::from(packet.source.layer));
        while self.layers.len() <= at {
            let len = if source.kind == Kind::Video { VIDEO_RING } else { AUDIO_RING };
            self.layers.push(Layer { ring: Ring::new(len), source: None, sync: None, newest: None, bytes: 0 });
        }
        let layer = &mut self.layers[at];
        if layer.ring.get(source.id, packet.seq).is_some() {
            return false;
        }
        if !layer.is_of(source.id) {
            layer.source = Some(source.clone());
            layer.newest = None;
        }
        if layer.newest.is_some_and(|(newest, ..)| packet.seq + layer.ring.len() as u64 <= newest) {
            // So late that it may have been here before: a number must not be sealed twice with other bytes.
            return false;
        }
        layer.bytes += packet.payload.len() as u64;
        // The arrival of a late or repaired packet says nothing of the time that it is from.
        if layer.newest.is_none_or(|(seq, ..)| seq < packet.seq) {
            layer.newest = Some((packet.seq, packet.timestamp, packet.received_at));
        }
        layer.ring.insert(packet.clone());
        true
    }

    /// Another presenter: its layers mean something else.
    fn forget_layers(&mut self) {
        self.best = 0;
        self.measured_at = None;
        for layer in &mut self.layers {
            layer.newest = None;
            layer.bytes = 0;
        }
    }

    /// Looks once per interval which layer carries most; `true` when it has.
    fn measure(&mut self, now: Instant) -> bool {
        let since = *self.measured_at.get_or_insert(now);
        if now.saturating_duration_since(since) < MEASURE_INTERVAL {
            return false;
        }
        self.measured_at = Some(now);
        let current = self.layers.get(usize::from(self.best)).map_or(0, |l| l.bytes);
        let most = self.layers.iter().enumerate().max_by_key(|(_, l)| l.bytes);
        if let Some((at, layer)) = most
            && layer.bytes > current + current / 4
        {
            self.best = at as u8;
        }
        for layer in &mut self.layers {
            layer.bytes = 0;
        }
        true
    }
}

impl Layer {
    fn is_of(&self, source: u64) -> bool {
        self.source.as_ref().is_some_and(|s| s.id == source)
    }
}

/// Packets of a burst: as many as one send may hold, less some for audio.
const MAX_BURST: usize = 40;
/// Packets that gather while the burst before them cannot leave.
const MAX_GATHERED: usize = 256;
/// As often as the presenter is asked at most.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// What a packet may wait for the rest of its frame.
const MAX_WAIT: Duration = Duration::from_millis(2);
/// About 2 s at 4 Mbit/s.
const VIDEO_RING: usize = 1024;
/// About 5 s.
const AUDIO_RING: usize = 256;
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
