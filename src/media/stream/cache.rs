//! What a stream keeps for viewers who come later, and how they get it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Stream;
use crate::media::egress::Egress;
use crate::media::gop::{Gop, Passed};
use crate::media::outbox::{Outbox, Run};
use crate::media::packet::Packet;
use crate::media::viewer::{Caught, Delivered, Viewer};
use crate::wire::sdp::Kind;

impl Stream {
    /// Keeps packets of the home's cache: they came before this worker had a viewer. In order.
    pub fn keep(&mut self, packets: &[Arc<Packet>]) {
        for packet in packets {
            if self.follow(packet.source.presentation) {
                self.remember(packet);
            }
        }
    }

    /// What is kept of each layer, without what has yet to leave: outposts get that with everybody.
    pub fn kept(&self) -> impl Iterator<Item = Vec<Arc<Packet>>> {
        let layers = 0..self.tracks[VIDEO].layers().len() as u8;
        let leaves_later =
            |packet: &Arc<Packet>| self.bursts.waiting().iter().any(|waiting| Arc::ptr_eq(waiting, packet));
        layers
            .filter_map(|layer| self.tracks[VIDEO].gop(layer))
            .map(move |gop| gop.packets().filter(|packet| !leaves_later(packet)).cloned().collect())
    }

    /// Nobody begins with what is kept: its presenter has gone, or it was not kept up.
    pub fn forget_cache(&mut self) {
        self.tracks[VIDEO].forget_gops();
    }

    /// Payload bytes that are kept more than when this was asked last. Only the presenter's worker counts them.
    pub fn weigh(&mut self) -> i64 {
        let layers = 0..self.tracks[VIDEO].layers().len() as u8;
        let kept = layers.filter_map(|layer| self.tracks[VIDEO].gop(layer)).map(Gop::bytes).sum();
        let counted = if self.presenter.is_some() { kept } else { 0 };
        let before = std::mem::replace(&mut self.weighed, counted);
        (counted as u64).cast_signed() - (before as u64).cast_signed()
    }

    /// When the key frame came that the oldest of what is kept begins with; `None` where nothing was weighed.
    pub fn kept_since(&self) -> Option<Instant> {
        let layers = (0..self.tracks[VIDEO].layers().len() as u8).filter(|_| self.weighed > 0);
        layers.filter_map(|layer| Some(self.tracks[VIDEO].gop(layer)?.start()?.received_at)).min()
    }

    /// There are more viewers than can be served as it is.
    fn is_shedding(&self, now: Instant) -> bool {
        self.shed_at.is_some_and(|at| now.saturating_duration_since(at) < RESPITE)
    }

    /// Lets a viewer begin with the last key frame of the layer that it should get, if that is kept. True when it does.
    pub fn catch_up(&mut self, viewer: usize, now: Instant) -> bool {
        if self.is_shedding(now) {
            return false;
        }
        let Some(video) = self.viewers.get_mut(viewer).and_then(|viewer| viewer.video.as_mut()) else {
            return false;
        };
        self.tracks[VIDEO].gop(video.wanted).is_some_and(|gop| video.catch_up(gop, now))
    }

    /// A viewer that has only just come says that it has nothing to show: the key frame it began with was sent before it
    /// could listen (Firefox drops packets that come right behind the handshake). It may begin with it once more. True
    /// when it does.
    pub fn begin_again(&mut self, viewer: usize, now: Instant) -> bool {
        let is_shedding = self.is_shedding(now);
        let Some(Viewer { first_media: Some(first), beginnings, video: Some(video), .. }) =
            self.viewers.get_mut(viewer)
        else {
            return false;
        };
        let since = now.saturating_duration_since(*first);
        let soonest = FIRST_WORD + PATIENCE * u32::from(*beginnings);
        if !(soonest..BEGINNING).contains(&since) || *beginnings >= MOST_BEGINNINGS || is_shedding {
            return false;
        }
        let begins =
            self.tracks[VIDEO].gop(video.wanted).is_some_and(|gop| gop.is_whole() && video.begin_again(gop, now));
        *beginnings += u8::from(begins);
        begins
    }

    /// Viewers who wait for a key frame of a layer that is kept here, unless it may be on its way to them.
    pub fn waiting(&self, layer: u8, now: Instant) -> impl Iterator<Item = usize> {
        let start = self.tracks[VIDEO].gop(layer).and_then(|gop| gop.start());
        let has_left = |start: &&Arc<Packet>| now.saturating_duration_since(start.received_at) > ON_ITS_WAY;
        let source = start.filter(has_left).map(|start| &start.source);
        let waits = move |video: &Egress| source.is_some_and(|source| video.awaits(source));
        let viewers = self.viewers.iter().enumerate();
        viewers.filter(move |(_, v)| v.video.as_ref().is_some_and(waits)).map(|(at, _)| at)
    }

    /// Sends a viewer that catches up what is due to it, at most `most` packets.
    pub fn serve(
        &mut self,
        viewer: usize,
        most: u64,
        run: &mut Run,
        out: &mut impl Outbox,
        now: Instant,
    ) -> (Delivered, Caught) {
        let source = self.viewers.get(viewer).and_then(|v| v.video.as_ref()?.source());
        let limit = source.map_or(u64::MAX, |source| self.limit(source));
        let Some((viewer, layer)) =
            self.viewers.get_mut(viewer).and_then(|v| Some((v.video.as_ref()?.playing()?.0, v))).map(|(l, v)| (v, l))
        else {
            return (Delivered::default(), Caught::Up);
        };
        match self.tracks[VIDEO].gop(layer) {
            Some(gop) => viewer.catch_up(gop, limit, most, run, out, now),
            None => (Delivered::default(), Caught::Up),
        }
    }

    /// Keeps a packet for those who come later.
    pub(super) fn remember(&mut self, packet: &Arc<Packet>) {
        if let Some(passed) = self.tracks[packet.source.kind as usize].keep(packet, &self.bounds) {
            self.given_up[passed as usize] += 1;
        }
    }

    /// How often caches were given up since this was asked last, by the bound that was passed.
    pub fn given_up(&mut self) -> [(Passed, u64); 3] {
        let counts = std::mem::take(&mut self.given_up);
        [Passed::Bytes, Passed::Packets, Passed::Age].map(|passed| (passed, counts[passed as usize]))
    }

    /// The least number of a source that waits for the end of its frame: its padding is not settled.
    fn limit(&self, source: u64) -> u64 {
        self.bursts.waiting().iter().filter(|p| p.source.id == source).map(|p| p.seq).min().unwrap_or(u64::MAX)
    }
}

const VIDEO: usize = Kind::Video as usize;
/// By then a key frame has reached all viewers, unless they are too many.
const ON_ITS_WAY: Duration = Duration::from_millis(250);
/// After viewers had to be cut, nobody is sent more than what comes.
const RESPITE: Duration = Duration::from_secs(3);
/// What a viewer says sooner after its first packet it said before that.
const FIRST_WORD: Duration = Duration::from_millis(100);
/// Between two beginnings: the first word about the one may come behind the other.
const PATIENCE: Duration = Duration::from_millis(400);
/// Who is there for longer has lost something on the way, and is not to lose more by getting more.
const BEGINNING: Duration = Duration::from_secs(5);
/// Each is as much as a whole group of pictures.
const MOST_BEGINNINGS: u8 = 2;
