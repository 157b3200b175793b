//! One stream on one worker: its tracks, and the viewers that this worker serves. The track router.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Route;
use super::burst::Bursts;
use super::egress::Egress;
use super::gop::Bounds;
use super::layer::LayerInfo;
use super::outbox::{Outbox, Run};
use super::packet::Packet;
use super::track::Track;
use super::viewer::{Delivered, Viewer};
use crate::wire::sdp::Kind;

mod adapt;
mod cache;
mod slate;

use slate::Slate;

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
    /// What is on its way to them, and what will be.
    bursts: Bursts,
    /// The next viewer to get the burst that is leaving.
    next_viewer: usize,
    /// Where to go on when viewers must be cut.
    next_cut: usize,
    /// Bursts that left too late, one after the other.
    late: u32,
    /// Viewers that were cut because bursts left too late, and because they could not leave at all.
    pub shed: u64,
    /// See `shed`.
    pub missed: u64,
    /// When viewers were last cut.
    shed_at: Option<Instant>,
    /// How much is kept for those who come later.
    bounds: Bounds,
    /// Caches given up, by the bound that was passed.
    given_up: [u64; 3],
    /// Payload bytes of the caches, as they were last weighed.
    weighed: usize,
    /// Newest presenter seen.
    presentation: u64,
    /// Presenter and payload type of the pictures that came last, and whether viewers have yet to be asked if they can
    /// show them.
    pictures: (u64, u8),
    is_other: bool,
    slate: Slate,
    /// Layers that control was told of, and when.
    pub told_layers: Option<(Instant, Vec<LayerInfo>)>,
}

impl Stream {
    /// A stream that nothing is known of.
    pub fn new(route: Arc<Route>, bounds: Bounds) -> Self {
        Self {
            route,
            presenter: None,
            tracks: [Track::default(), Track::default()],
            viewers: Vec::new(),
            bursts: Bursts::default(),
            next_viewer: 0,
            next_cut: 0,
            late: 0,
            shed: 0,
            missed: 0,
            shed_at: None,
            bounds,
            given_up: [0; 3],
            weighed: 0,
            presentation: 0,
            pictures: (0, 0),
            is_other: false,
            slate: Slate::default(),
            told_layers: None,
        }
    }

    /// Takes in a packet. `true` when it was new here; its burst leaves at the end of the frame, when it is large, or
    /// after 2 ms.
    pub fn take(&mut self, packet: Arc<Packet>, now: Instant) -> bool {
        let source = &packet.source;
        if !self.follow(source.presentation) {
            return false;
        }
        if !self.tracks[source.kind as usize].take(&packet) {
            return false;
        }
        self.note_slate(&packet, now);
        if packet.source.kind == Kind::Video {
            let pictures = (packet.source.presentation, packet.source.format.payload_type);
            self.is_other |= std::mem::replace(&mut self.pictures, pictures) != pictures;
        }
        self.remember(&packet);
        if !self.bursts.take(packet, now) {
            // The socket has been full for half a second and more.
            self.missed += self.cut(self.viewers.len());
            self.shed_at = Some(now);
        }
        true
    }

    /// Begins anew when the presenter is another one. `false` when it is one who has been replaced.
    fn follow(&mut self, presentation: u64) -> bool {
        if presentation > self.presentation {
            self.presentation = presentation;
            for track in &mut self.tracks {
                track.forget_layers();
            }
            self.told_layers = None;
            self.want_first_layer();
        }
        presentation == self.presentation
    }

    /// The sessions of the viewers who cannot show what has begun to come; empty most of the time.
    pub fn misfits(&mut self) -> Vec<usize> {
        if !std::mem::take(&mut self.is_other) {
            return Vec::new();
        }
        let sources = self.tracks[Kind::Video as usize].layers().iter().filter_map(|layer| layer.source.as_ref());
        let Some(source) = sources.max_by_key(|source| source.id) else {
            return Vec::new();
        };
        let is_misfit = |v: &&Viewer| v.video.as_ref().is_some_and(|video| !video.can_show(source));
        self.viewers.iter().filter(is_misfit).map(|viewer| viewer.session).collect()
    }

    /// When the packets that have gathered are due at the latest, or the slate.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.bursts.next_timeout().into_iter().chain(self.slate_at()).min()
    }

    /// What has been taken in has waited already, on another worker.
    pub fn hurry(&mut self) {
        self.bursts.hurry();
    }

    /// Returns the packets that are due, to be mailed to other workers: those do not wait for our viewers.
    pub fn close_burst(&mut self, now: Instant) -> Option<&[Arc<Packet>]> {
        self.bursts.settle(now)
    }

    /// Lets what is due leave to our viewers, if the burst before it has reached everybody. When it comes too late, some
    /// viewers are cut: they get no pictures until the next key frame, so that the others get them in time.
    pub fn start(&mut self, now: Instant) -> bool {
        let Some(late) = self.bursts.start(now) else {
            return false;
        };
        self.next_viewer = 0;
        self.late = if late > TOO_LATE { self.late + 1 } else { 0 };
        if self.late >= LATE_BURSTS {
            self.late = 0;
            self.shed_at = Some(now);
            self.shed += self.cut(self.viewers.len().div_ceil(CUT_SHARE));
        }
        true
    }

    /// A burst is on its way.
    pub fn is_sending(&self) -> bool {
        !self.bursts.leaving().is_empty()
    }

    /// When the kernel got the first packet of the burst that leaves or left last, and whether it is of a key frame.
    pub fn arrived(&self) -> Option<(Instant, bool)> {
        self.bursts.arrived()
    }

    /// Sends the burst to at most `most` more viewers, fewer when it is large; returns how many got it and what was sent.
    pub fn deliver(&mut self, most: usize, run: &mut Run, out: &mut impl Outbox, now: Instant) -> (usize, Delivered) {
        let mut sum = Delivered::default();
        let end = self.viewers.len().min(self.next_viewer + most);
        let mut served = 0;
        for at in self.next_viewer..end {
            if out.is_full() || sum.packets >= PACKETS_PER_TURN {
                break;
            }
            served += 1;
            // Counted before it is served: if that panics, it is not its turn again.
            self.next_viewer = at + 1;
            let delivered = self.viewers[at].deliver(self.bursts.leaving().iter().map(AsRef::as_ref), run, out, now);
            sum.packets += delivered.packets;
            sum.bytes += delivered.bytes;
        }
        if self.next_viewer >= self.viewers.len() {
            self.bursts.finish();
        }
        (served, sum)
    }

    /// Cuts the pictures of the next so many viewers; returns for how many that is new.
    fn cut(&mut self, count: usize) -> u64 {
        let mut cut = 0;
        for _ in 0..count {
            self.next_cut = if self.next_cut + 1 < self.viewers.len() { self.next_cut + 1 } else { 0 };
            let video = self.viewers.get_mut(self.next_cut).and_then(|viewer| viewer.video.as_mut());
            cut += u64::from(video.is_some_and(Egress::cut));
        }
        cut
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

/// A turn ends after so many: about a millisecond of sending, then the socket is read again.
pub const PACKETS_PER_TURN: u64 = 768;
/// Bursts that leave later than this, several in a row, show that there are more viewers than can be served.
const TOO_LATE: Duration = Duration::from_millis(150);
/// See `TOO_LATE`.
const LATE_BURSTS: u32 = 3;
/// One in so many viewers is cut each time.
const CUT_SHARE: usize = 4;
