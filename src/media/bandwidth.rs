//! What the way to a viewer carries: enough for its layer, or for a higher one? Learned from what the viewer reports of
//! each packet (transport-wide feedback), else from its loss reports and its own estimate.
//!
//! A choice among few layers does not need a rate at every moment, but two answers: is this layer too much, and is there
//! room for the next one? Too much shows as a queue that does not drain or as loss. Room shows only when it is used: for
//! most of a second, retransmissions nobody asked for fill the way up to the next layer's rate.

use std::time::{Duration, Instant};

use crate::wire::rtcp;

/// What is known of the way to one viewer.
#[derive(Debug)]
pub struct Bandwidth {
    /// Id of the extension that carries the transport's numbers; 0 = not agreed.
    pub extension: u8,
    started: Instant,
    now: Instant,
    next: u16,
    sent: Box<[Sent]>,
    /// Newest last; the last one is growing.
    windows: [Window; WINDOWS],
    rolled: Instant,
    queue: Queue,
    has_feedback: bool,
    reports: Reports,
    /// Bits per second that the viewer's layer may have; `None`: no limit met so far.
    pub limit: Option<u64>,
    /// Since then the viewer's layer does not come.
    pub stopped_at: Option<Instant>,
    /// Until then the last change shows its effect.
    settled_at: Instant,
    raised_at: Option<Instant>,
    failures: u32,
    probe: Probe,
}

/// One packet on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// In ticks since `started`.
    at: u32,
    /// Payload; 0 when its fate is known.
    bytes: u16,
    number: u16,
}

/// What was reported within 1/8 s.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    arrived: u32,
    lost: u32,
    bytes: u32,
    /// The least time in queues, in ticks.
    queue: Option<i32>,
}

/// The time that packets spend in queues: their delay above the least of the last minute.
#[derive(Debug)]
struct Queue {
    reference: Option<u32>,
    least: [i32; 2],
    turned: Instant,
}

/// What viewers without transport-wide feedback tell.
#[derive(Debug, Default)]
struct Reports {
    /// Share of packets lost, in 1/256, and when it was told.
    loss: Option<(u8, Instant)>,
    /// The viewer's own estimate in bit/s, and when it was told.
    estimate: Option<(u64, Instant)>,
    /// The most lost during the probe.
    worst: Option<u8>,
}

/// Looking for room.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// Not before.
    Waiting(Instant),
    /// Filling the way up to `target` bits per second; `credit` bytes of `rate` bits per second have not been sent.
    Running { since: Instant, target: u64, rate: u64, credit: u64, paid: Instant },
}

/// What is to be done about a viewer's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Stay,
    /// It must cost no more than this, in bit/s.
    Down(u64),
    /// The next higher one fits.
    Up,
}

impl Bandwidth {
    /// Nothing known. `extension`: id of the extension for the transport's numbers, if agreed.
    pub fn new(extension: Option<u8>, now: Instant) -> Self {
        Self {
            extension: extension.unwrap_or(0),
            started: now,
            now,
            next: 1,
            sent: vec![Sent::default(); MAX_SENT].into_boxed_slice(),
            windows: [Window::default(); WINDOWS],
            rolled: now,
            queue: Queue { reference: None, least: [i32::MAX; 2], turned: now },
            has_feedback: false,
            reports: Reports::default(),
            limit: None,
            stopped_at: None,
            settled_at: now + SETTLE,
            raised_at: None,
            failures: 0,
            probe: Probe::Waiting(now + FIRST_PROBE),
        }
    }

    /// Time goes on: what is sent from here on is sent now.
    pub fn turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// A packet leaves with this much payload; returns its number in the transport.
    pub fn send(&mut self, payload: usize) -> u16 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let at = ticks(self.now.saturating_duration_since(self.started));
        let slot = &mut self.sent[usize::from(number) % MAX_SENT];
        *slot = Sent { at, bytes: payload.clamp(1, usize::from(u16::MAX)) as u16, number };
        number
    }

    /// The viewer tells which packets came, and when.
    pub fn feedback(&mut self, body: &[u8], now: Instant) {
        self.roll(now);
        self.has_feedback = true;
        let Self { sent, windows, queue, .. } = self;
        let Some(window) = windows.last_mut() else {
            return;
        };
        rtcp::read_transport_cc(body, |number, arrival| {
            let slot = &mut sent[usize::from(number) % MAX_SENT];
            let bytes = std::mem::take(&mut slot.bytes);
            if slot.number != number || bytes == 0 {
                slot.bytes = bytes;
                return;
            }
            let Some(arrival) = arrival else {
                window.lost += 1;
                return;
            };
            window.arrived += 1;
            window.bytes += u32::from(bytes);
            let spent = queue.spent(arrival.wrapping_sub(slot.at), now);
            window.queue = Some(window.queue.map_or(spent, |least| least.min(spent)));
        });
        // A probe must end before the queue that it makes overflows.
        let is_filling = window.queue.is_some_and(|queue| queue > PROBE_LIMIT);
        if is_filling && matches!(self.probe, Probe::Running { .. }) {
            self.fail(now);
        }
    }

    /// The viewer tells how much it lost of late, in 1/256.
    pub fn report(&mut self, fraction_lost: u8, now: Instant) {
        self.reports.loss = Some((fraction_lost, now));
        self.reports.worst = self.reports.worst.max(Some(fraction_lost));
    }

    /// The viewer tells what it thinks that the way carries, in bit/s.
    pub fn estimate(&mut self, bitrate: u64, now: Instant) {
        self.reports.estimate = Some((bitrate, now));
    }

    /// The viewer gets another layer from here on.
    pub fn switched(&mut self, now: Instant) {
        self.settled_at = now + SETTLE;
    }

    /// The viewer's layer does not come, and all others are too much for its way: is that so short that the layer may
    /// only be slow?
    pub fn is_patient(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(*self.stopped_at.get_or_insert(now)) < PATIENCE
    }

    /// What to do about a layer that costs `cost` bit/s, when the next higher one costs `next`; both measured.
    pub fn judge(&mut self, cost: u64, next: Option<u64>, now: Instant) -> Verdict {
        self.roll(now);
        if let Probe::Running { since, target, .. } = self.probe {
            return match self.outcome(since, target, next, now) {
                None => Verdict::Stay,
                Some(true) => {
                    self.raised_at = Some(now);
                    self.limit = Some(target);
                    self.probe = Probe::Waiting(now);
                    Verdict::Up
                }
                Some(false) => {
                    self.fail(now);
                    Verdict::Stay
                }
            };
        }
        if now >= self.settled_at
            && let Some(delivered) = self.congestion(cost, now)
        {
            let was_too_early = self.raised_at.is_some_and(|at| now.saturating_duration_since(at) < REGRET);
            self.failures = if was_too_early { self.failures + 1 } else { 0 };
            let limit = (delivered * 9 / 10).min(cost * 19 / 20);
            self.limit = Some(limit);
            self.settled_at = now + SETTLE;
            self.probe = Probe::Waiting(now + self.pause());
            return Verdict::Down(limit);
        }
        match (self.limit, next) {
            (Some(_), Some(next)) => self.begin_probe(cost, next, now),
            // The best there is has gone well for a while: whatever comes above it is worth a try.
            (Some(_), None) if self.raised_at.is_some_and(|at| now.saturating_duration_since(at) > TRUST) => {
                self.limit = None;
                self.failures = 0;
            }
            _ => {}
        }
        Verdict::Stay
    }

    /// Bytes of padding that are due.
    pub fn padding(&mut self) -> usize {
        let Probe::Running { rate, credit, paid, .. } = &mut self.probe else {
            return 0;
        };
        let elapsed = self.now.saturating_duration_since(*paid).min(MAX_CATCH_UP);
        *paid = self.now;
        *credit += (u128::from(*rate) * elapsed.as_micros() / 8_000_000) as u64;
        *credit as usize
    }

    /// So much of it was sent.
    pub fn padded(&mut self, bytes: usize) {
        if let Probe::Running { credit, .. } = &mut self.probe {
            *credit = credit.saturating_sub(bytes as u64);
        }
    }

    /// There is no room.
    fn fail(&mut self, now: Instant) {
        self.failures += 1;
        self.settled_at = now + SETTLE;
        self.probe = Probe::Waiting(now + self.pause());
    }

    fn begin_probe(&mut self, cost: u64, next: u64, now: Instant) {
        if let Probe::Waiting(at) = self.probe
            && now >= at
            && now >= self.settled_at
        {
            let target = next + next / 10;
            self.reports.worst = None;
            self.probe = Probe::Running { since: now, target, rate: target.saturating_sub(cost), credit: 0, paid: now };
        }
    }

    /// How a probe went; `None` as long as it is open.
    fn outcome(&self, since: Instant, target: u64, next: Option<u64>, now: Instant) -> Option<bool> {
        let elapsed = now.saturating_duration_since(since);
        if next.is_none() {
            return Some(false);
        }
        if !self.has_feedback {
            if self.reports.worst.is_some_and(|worst| worst > LOSS_OF_5_PERCENT) {
                return Some(false);
            }
            return (elapsed >= BLIND_PROBE).then_some(self.reports.worst.is_some());
        }
        if elapsed >= WINDOW * 3 && self.is_congested(2, 15) {
            return Some(false);
        }
        if elapsed < PROBE {
            return None;
        }
        if !self.is_congested(WINDOWS - 1, 5) && self.delivered() >= target * 17 / 20 {
            return Some(true);
        }
        (elapsed >= MAX_PROBE).then_some(false)
    }

    /// What came through, in bit/s, when that is less than it should be.
    fn congestion(&self, cost: u64, now: Instant) -> Option<u64> {
        if self.has_feedback {
            return self.is_congested(WINDOWS - 1, 10).then(|| self.delivered());
        }
        // A report of before the last change is about what was before it.
        let is_fresh = |at: Instant| at >= self.settled_at && now.saturating_duration_since(at) < FRESH;
        if let Some((loss, at)) = self.reports.loss
            && loss > LOSS_OF_10_PERCENT
            && is_fresh(at)
        {
            return Some(cost * (256 - u64::from(loss)) / 256);
        }
        let (estimate, at) = self.reports.estimate?;
        (is_fresh(at) && estimate < cost * 4 / 5).then_some(estimate)
    }

    /// The last `count` full windows show a queue that does not drain, or more than `percent` of loss.
    fn is_congested(&self, count: usize, percent: u32) -> bool {
        let windows = || self.windows.iter().rev().skip(1).take(count);
        let seen = windows().filter(|w| w.queue.is_some()).count();
        let queue = windows().filter_map(|w| w.queue).min().unwrap_or(0);
        let (arrived, lost) = windows().fold((0, 0), |(a, l), w| (a + w.arrived, l + w.lost));
        let is_lossy = arrived + lost >= FEW && lost * 100 > (arrived + lost) * percent;
        (seen > 1 && queue > QUEUE_LIMIT) || is_lossy
    }

    /// Bits per second that came through lately.
    fn delivered(&self) -> u64 {
        let full = &self.windows[..WINDOWS - 1];
        let bytes: u64 = full.iter().map(|w| u64::from(w.bytes)).sum();
        bytes * 8_000 / (WINDOW.as_millis() as u64 * full.len() as u64)
    }

    /// Between two probes: longer after each that failed.
    fn pause(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::from_secs(2),
            2 => Duration::from_secs(3),
            3..=10 => Duration::from_secs(4),
            _ => Duration::from_secs(15),
        }
    }

    fn roll(&mut self, now: Instant) {
        let steps = (now.saturating_duration_since(self.rolled).as_millis() / WINDOW.as_millis()) as usize;
        if steps == 0 {
            return;
        }
        self.rolled += WINDOW * steps as u32;
        let steps = steps.min(WINDOWS);
        self.windows.rotate_left(steps);
        self.windows[WINDOWS - steps..].fill(Window::default());
    }
}

impl Queue {
    /// Ticks in queues of a packet that took `delay`, on two clocks of unknown offset.
    fn spent(&mut self, delay: u32, now: Instant) -> i32 {
        let reference = *self.reference.get_or_insert(delay);
        let delay = delay.wrapping_sub(reference).cast_signed();
        if now.saturating_duration_since(self.turned) > EPOCH {
            self.turned = now;
            self.least = [self.least[1], i32::MAX];
        }
        self.least[1] = self.least[1].min(delay);
        delay.saturating_sub(self.least[0].min(self.least[1]))
    }
}

fn ticks(elapsed: Duration) -> u32 {
    (elapsed.as_micros() / 250) as u32
}

/// Packets on their way that are remembered: a second of 10 Mbit/s.
const MAX_SENT: usize = 1024;
/// Half a second, and what is coming in.
const WINDOWS: usize = 5;
const WINDOW: Duration = Duration::from_millis(125);
/// A queue that holds every packet of half a second for longer does not drain: 60 ms, in ticks of 250 µs.
const QUEUE_LIMIT: i32 = 240;
/// No packet of the newest window waited less while a probe runs: 100 ms.
const PROBE_LIMIT: i32 = 400;
/// Packets of which a share says something.
const FEW: u32 = 10;
/// Half of what the least delay is taken from: clocks drift.
const EPOCH: Duration = Duration::from_secs(30);
/// A change needs its key frame, and the queue some time to drain.
const SETTLE: Duration = Duration::from_millis(1500);
const FIRST_PROBE: Duration = Duration::from_secs(2);
/// How long a probe takes when all goes well, and at most.
const PROBE: Duration = Duration::from_millis(750);
const MAX_PROBE: Duration = Duration::from_secs(2);
/// Without transport-wide feedback: two or three reports.
const BLIND_PROBE: Duration = Duration::from_millis(2500);
/// A step up that is taken back so soon was a mistake.
const REGRET: Duration = Duration::from_secs(8);
/// A step up that lasted so long was none.
const TRUST: Duration = Duration::from_secs(15);
/// What floods a narrow way is worse than a picture that stands still for so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Older reports say nothing of now.
const FRESH: Duration = Duration::from_secs(3);
/// Padding of so much time is made up for.
const MAX_CATCH_UP: Duration = Duration::from_millis(100);
/// Of 256.
const LOSS_OF_10_PERCENT: u8 = 26;
/// See `LOSS_OF_10_PERCENT`.
const LOSS_OF_5_PERCENT: u8 = 13;

#[cfg(test)]
mod tests;
