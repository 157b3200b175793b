//! Viewers who catch up: a few packets each at every tick, behind what is sent to those who are there already.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Count, Worker};
use crate::media::gop::Passed;
use crate::media::mail::Mail;
use crate::media::outbox::Outbox;
use crate::media::session::Half;
use crate::media::viewer::Caught;
use crate::media::{StreamId, WorkerId};

/// Who catches up on one worker, and what may be sent to all of them until the next tick.
pub(super) struct Queue {
    /// Sessions, the next one first.
    sessions: VecDeque<usize>,
    /// How many of them have not had their turn in this tick.
    left: usize,
    /// Bytes.
    credit: u64,
    tick_at: Instant,
}

impl Queue {
    /// Nobody.
    pub(super) fn new(now: Instant) -> Self {
        Self { sessions: VecDeque::new(), left: 0, credit: 0, tick_at: now }
    }

    /// When the next tick is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        (!self.sessions.is_empty()).then_some(self.tick_at)
    }

    /// There is something to send in this tick.
    pub(super) fn has_more(&self) -> bool {
        self.left > 0 && self.credit > 0
    }

    /// Everybody gets a turn, when it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.left = self.sessions.len();
            self.credit = BYTES_PER_TICK;
            self.tick_at = now + TICK;
        }
    }

    /// A session that has just come does not wait for the tick. One that begins anew has its place already: a key frame
    /// may have taken it to what comes now since its last turn.
    fn admit(&mut self, session: usize, now: Instant) {
        if self.sessions.contains(&session) {
            return;
        }
        if self.sessions.is_empty() {
            self.credit = BYTES_PER_TICK;
            self.tick_at = now + TICK;
        }
        self.sessions.push_front(session);
        self.left += 1;
    }

    fn take(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        self.sessions.pop_front()
    }

    /// Its turn in this tick is over, or (`again`) not yet.
    fn give_back(&mut self, session: usize, again: bool) {
        self.sessions.push_back(session);
        self.left += usize::from(again);
    }
}

impl Worker {
    /// Lets a viewer begin with the last key frame, if it is here.
    pub(super) fn catch_up(&mut self, stream: usize, viewer: usize, now: Instant) {
        let stream = &mut self.streams[stream];
        if stream.catch_up(viewer, now)
            && let Some(viewer) = stream.viewers.get(viewer)
        {
            self.counters.add(Count::CatchUpBegun, 1);
            self.catching.admit(viewer.session, now);
        }
    }

    /// Lets a viewer that has just come begin once more, when the first key frame did not reach it.
    pub(super) fn begin_again(&mut self, stream: usize, viewer: usize, now: Instant) {
        let stream = &mut self.streams[stream];
        if stream.begin_again(viewer, now)
            && let Some(viewer) = stream.viewers.get(viewer)
        {
            self.counters.add(Count::CatchUpBegun, 1);
            self.catching.admit(viewer.session, now);
        }
    }

    /// All viewers who wait for a key frame of this layer begin with the last one, if it is here.
    pub(super) fn catch_up_all(&mut self, stream: usize, layer: u8, now: Instant) {
        let waiting: Vec<usize> = self.streams[stream].waiting(layer, now).collect();
        for viewer in waiting {
            self.catch_up(stream, viewer, now);
        }
    }

    /// Sends what is due to viewers who catch up: a bounded number of packets, then it is others' turn.
    pub(super) fn serve_catching(&mut self, now: Instant, out: &mut impl Outbox) {
        let mut packets = 0;
        while packets < PACKETS_PER_TURN && self.catching.has_more() && !out.is_full() {
            let Some(key) = self.catching.take() else {
                return;
            };
            let Some((at, stream)) = self.sessions.get(key).and_then(|session| match session.half {
                Half::Viewer { at, .. } => Some((at, session.stream)),
                Half::Connecting { .. } | Half::Presenter(_) | Half::Closing(_) => None,
            }) else {
                continue;
            };
            self.current = Some(key);
            let (sent, caught) = self.streams[stream].serve(at, PACKETS_AT_ONCE, &mut self.run, out, now);
            self.current = None;
            packets += sent.packets;
            self.catching.credit = self.catching.credit.saturating_sub(sent.bytes);
            self.counters.add(Count::CatchUpPackets, sent.packets);
            self.counters.add(Count::PacketsForwarded, sent.packets);
            self.counters.add(Count::PayloadForwarded, sent.bytes);
            match caught {
                Caught::Some => self.catching.give_back(key, true),
                Caught::Enough => self.catching.give_back(key, false),
                Caught::Up => self.counters.add(Count::CatchUpDone, 1),
                Caught::Nothing => {
                    self.counters.add(Count::CatchUpCut, 1);
                    let wanted = self.streams[stream].viewers.get(at).and_then(|v| v.video.as_ref());
                    if let Some(layer) = wanted.map(|video| video.wanted) {
                        self.want_keyframe(stream, layer, now);
                    }
                }
            }
        }
    }

    /// Asks the stream's home for what came before its first viewer here. What earlier viewers left here has a hole where
    /// nobody was.
    pub(super) fn want_cache(&mut self, stream: usize) {
        let stream = &mut self.streams[stream];
        if let Some(home) = stream.route.home().filter(|home| *home != self.id) {
            stream.forget_cache();
            self.outgoing.push((home, Mail::CacheWanted { stream: stream.route.stream, worker: self.id }));
        }
    }

    /// Another worker has its first viewer of a stream.
    pub(super) fn send_cache(&mut self, stream: StreamId, worker: WorkerId) {
        let Some(key) = self.by_stream.get(&stream) else {
            return;
        };
        for packets in self.streams[*key].kept() {
            self.outgoing.push((worker, Mail::Cached { stream, packets }));
        }
    }

    /// What the home kept of a layer.
    pub(super) fn take_cache(&mut self, stream: StreamId, packets: &[std::sync::Arc<super::Packet>], now: Instant) {
        if let (Some(key), Some(first)) = (self.by_stream.get(&stream).copied(), packets.first()) {
            self.streams[key].keep(packets);
            self.catch_up_all(key, first.source.layer, now);
        }
    }

    /// Takes note of what a stream keeps. When all keep too much, the oldest here gives way.
    pub(super) fn weigh_cache(&mut self, stream: usize) {
        self.shared.cached.add(self.streams[stream].weigh());
        while self.shared.cached.get() > (self.shared.gop.total as u64).cast_signed() {
            let oldest = self.streams.iter().filter_map(|(key, s)| Some((s.kept_since()?, key))).min();
            let Some(stream) = oldest.and_then(|(_, key)| self.streams.get_mut(key)) else {
                // It is of others, who look for themselves.
                return;
            };
            stream.forget_cache();
            self.shared.cached.add(stream.weigh());
            self.counters.add(Count::CacheTotal, 1);
            let route = &stream.route;
            for outpost in route.outposts().filter(|outpost| *outpost != self.id) {
                self.outgoing.push((outpost, Mail::CacheGone { stream: route.stream }));
            }
        }
    }

    /// The home keeps nothing any more.
    pub(super) fn lose_cache(&mut self, stream: StreamId) {
        if let Some(key) = self.by_stream.get(&stream) {
            self.streams[*key].forget_cache();
        }
    }

    /// Counts the caches that were given up.
    pub(super) fn count_given_up(&mut self, stream: usize) {
        for (passed, times) in self.streams[stream].given_up() {
            let count = match passed {
                Passed::Bytes => Count::CacheBytes,
                Passed::Packets => Count::CachePackets,
                Passed::Age => Count::CacheAge,
            };
            self.counters.add(count, times);
        }
    }
}

/// Between two turns of a viewer who catches up.
const TICK: Duration = Duration::from_millis(10);
/// To all of them on one worker: 800 Mbit/s.
const BYTES_PER_TICK: u64 = 1_000_000;
/// About 0.1 ms of sending, then those who are there already have their turn.
const PACKETS_PER_TURN: u64 = 192;
/// One viewer's share of that.
const PACKETS_AT_ONCE: u64 = 64;
