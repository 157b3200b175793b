//! Catching up: a viewer that comes, or comes back, begins with the last key frame and what followed it, sent faster than
//! it was made until it has reached what comes now.
//!
//! Players go by timestamps. Those of the past are drawn together so that to a player the stretch looks like a stream
//! of more pictures a second that arrive just in time: it neither plays the past at its old pace nor takes what is sent
//! late for a slow network. From the bend on, where the stretch meets what comes now, they are those of everybody. The
//! numbering needs nothing of the kind: it runs on as the source's does.
//!
//! Measured with Chromium 156 at ages of 0–10 s (twelve viewers of one stream of VP8, 640×360, 30 pictures a second, the
//! stretch sent within a second, timestamps drawn together K times): how far the last of them was behind those who were
//! there before, how much its jitter buffer held on average, and freezes of all.
//!
//! | K | after 1 s | after 2 s | after 4 s | jitter buffer | freezes |
//! |---|---|---|---|---|---|
//! | 4 | 133 ms | 100 ms | 67 ms | 6–78 ms | 1 |
//! | as fast as it is sent, 2–10 | 167 ms | 67 ms | 0 ms | 7–45 ms | 0 |
//! | 50 | 700 ms | 767 ms | 2033 ms | 13–268 ms | 13 |
//! | 1000: all of it is now | 300 ms | over 1 s | 1167 ms | 181–753 ms | 14 |
//!
//! Timestamps that lie closer than the packets come look like a network that grows slower and slower: the player begins to
//! buffer against it, and stays so. No playout-delay extension is needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Egress, Place, Stretch, ticks};
use crate::media::gop::Gop;
use crate::media::packet::Packet;
use crate::wire::sdp::Kind;

/// The way of one viewer from a key frame to now.
#[derive(Debug)]
pub(super) struct CatchUp {
    bend: Bend,
    /// Still on its way: it gets pictures from the cache only.
    reading: Option<Reading>,
    /// The key frame that it began with, by source and number: once is enough.
    key: (u64, u64),
}

/// How timestamps of the past are drawn together.
#[derive(Debug)]
struct Bend {
    /// Our numbers that it is about: from the first of the stretch to one past the last that can be of the past. Source
    /// timestamps alone would be taken for the past again after half a day.
    numbers: std::ops::Range<u64>,
    /// The source's timestamp from which on nothing is changed.
    at: u32,
    /// How far back it goes.
    span: u32,
    /// What is left of a tick before `at`, in 1/2^32.
    slope: u32,
}

/// Where a viewer is in the cache.
#[derive(Debug)]
struct Reading {
    source: u64,
    /// The timestamp of the key frame.
    from: u32,
    clock_rate: u32,
    /// The next number of the source.
    next: u64,
    /// Where that is missing: the first one behind it that is there.
    beyond: u64,
    /// Everything in the cache was sent: the next packet that comes is for this viewer, too.
    is_level: bool,
    began: Instant,
    /// Times the pace at which the stretch was made, in 1/256.
    speed: u32,
    /// Bytes per second, and what of them has not been spent at `paid`.
    rate: i64,
    credit: i64,
    paid: Instant,
    /// Packets that the viewer missed, and those sent, since the rate was last lowered.
    missed: u32,
    sent: u32,
    /// How often the rate was lowered.
    slower: u32,
    /// It is of no use.
    is_hopeless: bool,
}

/// What a viewer that catches up gets next.
#[derive(Debug)]
pub enum Next<'a> {
    /// This packet.
    Packet(&'a Arc<Packet>),
    /// Nothing for a moment.
    Wait,
    /// What comes now.
    Live,
    /// The cache has gone, or the way to the viewer does not carry it: the next key frame.
    Cut,
}

impl Bend {
    /// The bent timestamp of a packet, before the shift.
    fn timestamp(&self, seq: u64, timestamp: u32) -> Option<u32> {
        let back = self.at.wrapping_sub(timestamp);
        let is_past = back.wrapping_sub(1) < self.span && self.numbers.contains(&seq);
        is_past.then(|| self.at.wrapping_sub(((u64::from(back) * u64::from(self.slope)) >> 32) as u32))
    }
}

impl Reading {
    /// Everything up to this number of the source has been sent, or is not for this viewer. What is due next?
    fn next<'a>(&mut self, gop: &'a Gop, limit: u64, now: Instant) -> Next<'a> {
        let Some(start) = gop.start().filter(|start| start.source.id == self.source) else {
            return Next::Cut;
        };
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed > MOST || self.is_hopeless {
            return Next::Cut;
        }
        if start.seq > self.next {
            // Another key frame has come; it is on its way.
            return Next::Wait;
        }
        self.pay(now);
        let limit = limit.min(gop.end());
        while self.next < limit {
            let Some(packet) = gop.get(self.next) else {
                if !self.skip(gop, limit, now) {
                    return Next::Wait;
                }
                continue;
            };
            let passed = (u64::from(ticks(elapsed, self.clock_rate)) * u64::from(self.speed)) >> 8;
            let is_early = u64::from(packet.timestamp.wrapping_sub(self.from)) > passed;
            let is_ahead = packet.timestamp.wrapping_sub(self.from).cast_signed() > 0;
            if (is_early && is_ahead) || self.credit <= 0 {
                return Next::Wait;
            }
            self.next += 1;
            self.sent += 1;
            self.credit -= (packet.payload.len() as u64).cast_signed();
            return Next::Packet(packet);
        }
        self.is_level = true;
        Next::Live
    }

    /// Leaves a hole behind that will not be filled any more. False while it may be.
    fn skip(&mut self, gop: &Gop, limit: u64, now: Instant) -> bool {
        let is_fresh = |p: &Arc<Packet>| now.saturating_duration_since(p.received_at) < REPAIR;
        // Holes can be long: they are not looked through at each turn.
        if self.beyond > self.next && gop.get(self.beyond).is_some_and(is_fresh) {
            return false;
        }
        let Some(follows) = gop.behind(self.next).filter(|packet| packet.seq < limit) else {
            return false;
        };
        self.beyond = follows.seq;
        if is_fresh(follows) {
            return false;
        }
        self.next = follows.seq;
        true
    }

    fn pay(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.paid).min(MOST_PAID);
        self.paid = now;
        let most = BURST.max(self.rate / 50);
        self.credit = (self.credit + self.rate * (elapsed.as_micros() as u64).cast_signed() / 1_000_000).min(most);
    }

    /// The viewer misses so many packets.
    fn miss(&mut self, count: u32) {
        self.missed += count;
        if self.missed < FEW || self.missed * LOSSY < self.sent {
            return;
        }
        (self.missed, self.sent) = (0, 0);
        self.rate /= 2;
        self.credit = self.credit.min(0);
        self.slower += 1;
        self.is_hopeless = self.slower > MOST_SLOWER;
    }
}

impl Egress {
    /// Begins with the key frame of this cache, if that helps. True when it does.
    pub fn catch_up(&mut self, gop: &Gop, now: Instant) -> bool {
        let (Some(key), Some(head)) = (gop.start(), gop.newest()) else {
            return false;
        };
        let since = now.saturating_duration_since(head.received_at);
        let is_fresh = since < STALE;
        let clock_rate = key.source.format.clock_rate;
        let age = head.timestamp.wrapping_sub(key.timestamp).wrapping_add(ticks(since.min(STALE), clock_rate));
        let is_sane = age / clock_rate.max(1) <= MOST_S;
        let is_narrow = self.is_narrow() || self.held_until.is_some_and(|at| now < at);
        let is_repeat =
            self.catch_up.as_ref().is_some_and(|c| c.reading.is_some() || c.key == (key.source.id, key.seq));
        // A higher spatial layer of what it gets is not worth sending the rest again.
        let is_playing = self.run.as_ref().is_some_and(|run| run.source == key.source.id && !self.is_cut);
        // A switch must not take a viewer back to what it has seen long ago, when it gets pictures meanwhile.
        let gets_pictures =
            !self.is_cut && self.last_at.is_some_and(|at| now.saturating_duration_since(at) < STANDSTILL);
        let is_back = gets_pictures && age > ticks(MOST_BACK, clock_rate);
        if !is_fresh || !is_sane || is_narrow || is_repeat || is_playing || is_back {
            return false;
        }
        if !self.awaits(&key.source) || !gop.is_whole() {
            return false;
        }
        let Some(stretch) = self.begin(key, head) else {
            return false;
        };
        let speed = (u64::from(age) * 256 / u64::from(ticks(TARGET, clock_rate).max(1)) + 256).clamp(SLOWEST, FASTEST);
        // While the stretch is sent, as much as this comes behind it.
        let span = (u64::from(age) * speed / (speed - 256)) as u32;
        let first = stretch.first.wrapping_add(stretch.seq_shift);
        let bend = Bend {
            numbers: first..first + BENT,
            at: key.timestamp.wrapping_add(span),
            span,
            slope: ((256 << 32) / speed) as u32,
        };
        let millis = (u64::from(age) * 1000 / u64::from(clock_rate.max(1))).max(1000);
        let rate = (gop.bytes() as u64 * 1000 * 10 / millis).cast_signed();
        let reading = Reading {
            source: key.source.id,
            from: key.timestamp,
            clock_rate,
            next: key.seq,
            beyond: key.seq,
            is_level: false,
            began: now,
            speed: speed as u32,
            rate: rate.clamp(LEAST_RATE, MOST_RATE),
            credit: BURST,
            paid: now,
            missed: 0,
            sent: 0,
            slower: 0,
            is_hopeless: false,
        };
        let catch_up = CatchUp { bend, reading: Some(reading), key: (key.source.id, key.seq) };
        if self.catch_up.replace(Box::new(catch_up)).is_some() {
            // What was bent before could not be sent again as it was.
            self.past.clear();
        }
        self.keep_behind(key, stretch);
        true
    }

    /// Begins once more with what it has begun with already; goes on as it was where that may not be. True when it does.
    pub fn begin_again(&mut self, gop: &Gop, now: Instant) -> bool {
        let was_cut = self.is_cut;
        let key = self.catch_up.as_ref().map(|catch_up| catch_up.key);
        self.cut();
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.key.1 = u64::MAX;
        }
        if self.catch_up(gop, now) {
            return true;
        }
        self.is_cut = was_cut;
        if let (Some(catch_up), Some(key)) = (&mut self.catch_up, key) {
            catch_up.key = key;
        }
        false
    }

    /// Gets pictures from the cache, not as they come.
    pub fn is_catching_up(&self) -> bool {
        self.catch_up.as_ref().is_some_and(|catch_up| catch_up.reading.is_some())
    }

    /// The newest timestamp says when its picture was made: it does not while the past is drawn together.
    pub fn is_straight(&self) -> bool {
        let Some(CatchUp { bend, reading, .. }) = self.catch_up.as_deref() else {
            return true;
        };
        let shift = self.run.as_ref().map_or(0, |run| run.timestamp_shift);
        let ahead = bend.at.wrapping_add(shift).wrapping_sub(self.last_timestamp).cast_signed();
        reading.is_none() && (ahead <= 0 || !bend.numbers.contains(&self.newest))
    }

    /// What is due of the cache, of numbers below `limit`.
    pub fn next_cached<'a>(&mut self, gop: &'a Gop, limit: u64, now: Instant) -> Next<'a> {
        let Some(reading) = self.catch_up.as_mut().and_then(|catch_up| catch_up.reading.as_mut()) else {
            return Next::Live;
        };
        let next = reading.next(gop, limit, now);
        if matches!(next, Next::Cut) {
            self.stop_catching_up();
            self.cut();
        }
        next
    }

    /// Where a cached packet goes.
    pub fn place_cached(&mut self, packet: &Packet) -> Option<Place> {
        let run = *self.run.as_ref().filter(|run| run.source == packet.source.id)?;
        self.admit_of(packet, run)
    }

    /// The viewer misses so many packets: of a stretch that means that it comes too fast.
    pub fn missed(&mut self, count: u32) {
        if let Some(reading) = self.catch_up.as_mut().and_then(|catch_up| catch_up.reading.as_mut()) {
            reading.miss(count);
        }
    }

    /// Is this packet, which has just come, for a viewer that catches up? When its cursor has come to it, or when it begins
    /// a key frame that makes the rest of the cache worthless.
    pub(super) fn takes_live(&mut self, packet: &Packet) -> bool {
        let Some(reading) = self.catch_up.as_ref().and_then(|catch_up| catch_up.reading.as_ref()) else {
            return true;
        };
        if packet.source.kind != Kind::Video || packet.source.id != reading.source {
            return true;
        }
        let is_key = packet.keyframe && packet.timestamp != reading.from;
        let is_next = packet.seq >= reading.next;
        if is_next && is_key {
            self.stop_catching_up();
            self.is_cut = true;
            // Until the layer begins that it wants now, what it sees goes on; but not on a way that is to drain.
            if packet.source.layer != self.wanted && self.held_until.is_none() {
                self.begin_at(packet, packet);
            }
        } else if is_next && reading.is_level {
            self.stop_catching_up();
        }
        !self.is_catching_up()
    }

    /// From here on it gets what comes; what was sent keeps its timestamps.
    pub(super) fn stop_catching_up(&mut self) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.reading = None;
        }
    }

    /// What comes behind the numbers sent so far is straight.
    pub(super) fn straighten(&mut self) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.reading = None;
            catch_up.bend.numbers.end = catch_up.bend.numbers.end.min(self.newest + 1);
        }
    }

    /// What is added when the past was drawn a little beyond this packet, which has just come.
    pub(super) fn lag(&self, packet: &Packet, run: &Stretch) -> u32 {
        if self.is_straight() {
            return 0;
        }
        let least = self.last_timestamp.wrapping_add(packet.source.format.clock_rate / 1000);
        let behind = least.wrapping_sub(packet.timestamp.wrapping_add(run.timestamp_shift));
        if behind.cast_signed() > 0 { behind } else { 0 }
    }

    /// The timestamp of a packet of the past, when it is drawn towards now.
    pub(super) fn bent(&self, seq: u64, packet: &Packet, stretch: &Stretch) -> Option<u32> {
        let timestamp = self.catch_up.as_ref()?.bend.timestamp(seq, packet.timestamp)?;
        Some(timestamp.wrapping_add(stretch.timestamp_shift))
    }

    /// Nothing of the stretch will be asked for any more.
    pub(super) fn forget_bend(&mut self) {
        if self.catch_up.as_ref().is_some_and(|c| c.reading.is_none() && self.newest >= c.bend.numbers.end + KEPT) {
            self.catch_up = None;
        }
    }

    /// The stretch begins later than all that was sent.
    fn keep_behind(&mut self, key: &Packet, stretch: Stretch) {
        let seq = stretch.first.wrapping_add(stretch.seq_shift);
        let Some(first) = self.bent(seq, key, &stretch).filter(|_| self.last_at.is_some()) else {
            return;
        };
        let least = self.last_timestamp.wrapping_add(key.source.format.clock_rate / 1000);
        let behind = least.wrapping_sub(first).cast_signed();
        if let Some(run) = self.run.as_mut().filter(|_| behind > 0) {
            run.timestamp_shift = run.timestamp_shift.wrapping_add(behind.cast_unsigned());
        }
    }
}

/// A stretch is sent in so much time, if that is not too fast.
const TARGET: Duration = Duration::from_secs(1);
/// Twice and ten times the pace at which it was made, in 1/256.
const SLOWEST: u64 = 2 * 256;
/// See `SLOWEST`.
const FASTEST: u64 = 10 * 256;
/// A viewer that has not caught up by then never will.
const MOST: Duration = Duration::from_secs(15);
/// A stream of which nothing has come for so long has stopped.
const STALE: Duration = Duration::from_secs(5);
/// A viewer that has got no picture for so long sees none.
const STANDSTILL: Duration = Duration::from_millis(500);
/// As far back as a viewer that sees something may be taken.
const MOST_BACK: Duration = Duration::from_millis(500);
/// Timestamps of one group of pictures that lie farther apart are nonsense, in seconds.
const MOST_S: u32 = 120;
/// A hole is waited for as long as the presenter may still fill it.
const REPAIR: Duration = Duration::from_millis(150);
/// Bytes that leave at once: most key frames.
const BURST: i64 = 32 * 1024;
/// Bytes per second: 4 and 50 Mbit/s.
const LEAST_RATE: i64 = 500_000;
/// See `LEAST_RATE`.
const MOST_RATE: i64 = 6_250_000;
/// What was not sent for longer is not made up for.
const MOST_PAID: Duration = Duration::from_millis(20);
/// How often a viewer that loses packets is sent fewer of them, before it is sent none.
const MOST_SLOWER: u32 = 2;
/// Packets missed that say something, and the share of those sent that is too much.
const FEW: u32 = 16;
/// See `FEW`.
const LOSSY: u32 = 20;
/// More numbers than any cache holds, and than come while it is sent.
const BENT: u64 = 1 << 15;
/// Numbers that may be asked for behind it.
pub(super) const KEPT: u64 = 1 << 14;
