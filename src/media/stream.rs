//! One stream on one worker: its tracks, and the viewers that this worker serves. The track router.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Route;
use super::burst;
use super::layer::LayerInfo;
use super::outbox::{Outbox, Run};
use super::packet::Packet;
use super::track::Track;
use super::viewer::{Delivered, Viewer};
use crate::wire::sdp::Kind;

mod adapt;

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
    /// Layers that control was told of, and when.
    pub told_layers: Option<(Instant, Vec<LayerInfo>)>,
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
            told_layers: None,
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
            self.told_layers = None;
            self.want_first_layer();
        }
        if !self.tracks[source.kind as usize].take(&packet) {
            return false;
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
            video.wanted = self.best_layer();
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

    /// A viewer here needs a key frame of this layer. `true` when the presenter's worker is to be told: not again within
    /// half a second, unless a key frame has come since.
    pub fn ask_for_keyframe(&mut self, layer: u8, now: Instant) -> bool {
        self.tracks[Kind::Video as usize].ask_for_keyframe(layer, now)
    }

    /// Audio and video of the presenter have both told their clocks, so that they can be kept in step.
    pub fn is_in_sync(&self) -> bool {
        let mut layers = self.tracks.iter().flat_map(Track::layers).filter(|l| l.newest.is_some()).peekable();
        layers.peek().is_some() && layers.all(|l| l.sync.is_some_and(|(source, _)| l.is_of(source)))
    }

    /// Nothing of it is left on this worker.
    pub fn is_empty(&self) -> bool {
        self.presenter.is_none() && self.viewers.is_empty()
    }
}

/// Packets of a burst: as many as one send may hold, less some for audio.
const MAX_BURST: usize = 40;
/// Packets that gather while the burst before them cannot leave.
const MAX_GATHERED: usize = 256;
/// What a packet may wait for the rest of its frame.
const MAX_WAIT: Duration = Duration::from_millis(2);
