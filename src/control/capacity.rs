//! How much more this machine can carry, by what it has cost so far.
//!
//! What a media thread does is counted: packets that come, packets that are forwarded, sends, joins. Their costs stand in
//! a fixed proportion, which was measured; so the processor time of the threads tells what a forwarded packet costs on this
//! machine, with one viewer as well as with a thousand. What is left of the cores, at the price of a packet in a large burst,
//! which is what there is when there is much to do, is room for so many packets a second. The way out of the machine is not
//! known and not counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Control;
use super::stream::StreamName;
use crate::metrics::{Count, WorkerCounters};

/// What the media threads do.
#[derive(Debug)]
pub(super) struct Capacity {
    workers: Vec<Arc<WorkerCounters>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<(Instant, Sum)>,
    load: Load,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    busy: Duration,
    received: u64,
    forwarded: u64,
    sends: u64,
    joins: u64,
}

impl Sum {
    fn of(worker: &WorkerCounters) -> Self {
        Self {
            busy: worker.busy(),
            received: worker.get(Count::PacketsReceived),
            forwarded: worker.get(Count::PacketsForwarded),
            sends: worker.get(Count::Sends),
            joins: worker.get(Count::Connected),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            busy: self.busy + other.busy,
            received: self.received + other.received,
            forwarded: self.forwarded + other.forwarded,
            sends: self.sends + other.sends,
            joins: self.joins + other.joins,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(before.busy),
            received: self.received.saturating_sub(before.received),
            forwarded: self.forwarded.saturating_sub(before.forwarded),
            sends: self.sends.saturating_sub(before.sends),
            joins: self.joins.saturating_sub(before.joins),
        }
    }

    /// All that was done, in forwarded packets that cost as much; `sends`: of those as many.
    fn work(&self, sends: f64) -> f64 {
        let other = self.received as f64 * RECEIVED + self.joins as f64 * JOIN;
        other + self.forwarded as f64 + sends * SEND
    }
}

/// How busy the media threads are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Threads.
    pub workers: usize,
    /// Share of their cores that they use, 0–1.
    pub busy: f64,
    /// Packets a second that they forward.
    pub packets: f64,
    /// Processor time of all that they do for a forwarded packet, in seconds; `None` while next to nothing is forwarded.
    pub price: Option<f64>,
    /// What forwarding a packet costs by itself, in seconds, without its send; `None` while nothing is known of it.
    unit: Option<f64>,
    /// Share of their cores that they would use if they sent large bursts only.
    least_busy: f64,
}

impl Load {
    /// Packets a second that they could forward in addition.
    pub fn room(&self) -> Option<f64> {
        let price = self.unit? * (1.0 + SEND / BURST);
        Some((FULL - self.least_busy).max(0.0) * self.workers as f64 / price)
    }

    /// What the threads did in this time; `before`: what a packet was known to cost.
    fn of(workers: usize, sum: &Sum, elapsed: Duration, before: Option<f64>) -> Self {
        let (seconds, busy) = (elapsed.as_secs_f64(), sum.busy.as_secs_f64());
        let share = |busy: f64| (busy / seconds / workers.max(1) as f64).min(1.0);
        let work = sum.work(sum.sends as f64);
        let measured = (work >= LEAST * seconds * RECEIVED).then(|| busy / work);
        let unit = match (before, measured) {
            (Some(before), Some(measured)) => Some(before + (measured - before) * WEIGHT),
            (known, measured) => measured.or(known),
        };
        let least = sum.work((sum.forwarded as f64 / BURST).min(sum.sends as f64)) * unit.unwrap_or(0.0);
        let packets = sum.forwarded as f64 / seconds;
        Self {
            workers,
            busy: share(busy),
            packets,
            price: (packets >= LEAST).then(|| busy / sum.forwarded as f64),
            unit,
            least_busy: share(least),
        }
    }
}

impl Capacity {
    /// Of these threads.
    pub(super) fn new(workers: Vec<Arc<WorkerCounters>>) -> Self {
        Self { workers, state: Mutex::default() }
    }

    /// Looks at them, if it is time.
    pub(super) fn tick(&self, now: Instant) {
        let sum = self.workers.iter().fold(Sum::default(), |sum, worker| sum.and(Sum::of(worker)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, before)) = state.looked else {
            state.looked = Some((now, sum));
            return;
        };
        let elapsed = now.saturating_duration_since(at);
        if elapsed < INTERVAL {
            return;
        }
        state.looked = Some((now, sum));
        state.load = Load::of(self.workers.len(), &sum.since(before), elapsed, state.load.unit);
    }

    /// How busy they were lately.
    pub(super) fn load(&self) -> Load {
        let load = self.state.lock().unwrap_or_else(PoisonError::into_inner).load;
        Load { workers: self.workers.len(), ..load }
    }
}

impl Control {
    /// How busy the media threads are.
    pub fn load(&self) -> Load {
        self.capacity.load()
    }

    /// How many more viewers of a stream with so many packets a second there is room for; `None` while that cannot be
    /// told.
    pub(super) fn room(&self, stream: &StreamName, packets: f64) -> Option<u64> {
        let by_processor = about((self.load().room()? / packets.max(1.0)) as u64);
        let places = self.directory.places(stream).map_or(0, |places| places as u64);
        Some(by_processor.min(places))
    }

    /// Sessions at most.
    pub fn max_sessions(&self) -> usize {
        self.directory.max_sessions()
    }

    /// Viewers that there is a place for.
    pub fn places(&self) -> usize {
        self.directory.free_places()
    }
}

/// Two digits of a number: nobody knows more of it.
fn about(number: u64) -> u64 {
    let step = 10_u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(1));
    number / step * step
}

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Share of a core that may be used: above it packets begin to be late.
const FULL: f64 = 0.8;
/// Packets a second from which on it can be told what they cost.
const LEAST: f64 = 20.0;
/// Of what was measured last in what is known.
const WEIGHT: f64 = 0.3;
/// A packet that comes costs as much as so many that are forwarded: the thread wakes for it, reads, and opens it,
const RECEIVED: f64 = 12.0;
/// a send call as so many packets in it,
const SEND: f64 = 3.0;
/// and a join as so many.
const JOIN: f64 = 450.0;
/// Packets in a send when there is much to do.
const BURST: f64 = 32.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// So much was done in a second by one thread.
    fn load(busy: f64, received: u64, forwarded: u64, sends: u64) -> Load {
        let sum = Sum { busy: Duration::from_secs_f64(busy), received, forwarded, sends, joins: 0 };
        Load::of(1, &sum, Duration::from_secs(1), None)
    }

    /// Viewers of 321 packets a second that there is room for.
    fn viewers(load: Load) -> f64 {
        load.room().expect("known") / 321.0
    }

    #[test]
    fn a_few_viewers_tell_as_much_as_many() {
        // Measured on one busy machine: seconds, packets in and out, sends.
        let cases = [
            (0.0065, 323, 0, 1),
            (0.011, 331, 331, 82),
            (0.010, 307, 918, 178),
            (0.020, 321, 3_209, 756),
            (0.054, 321, 16_050, 3_780),
            (0.110, 335, 49_573, 4_362),
        ];

        let told = cases.map(|(busy, received, forwarded, sends)| {
            viewers(load(busy, received, forwarded, sends)) + forwarded as f64 / 321.0
        });

        assert!(told.iter().all(|all| (850.0..1_500.0).contains(all)), "{told:?}");
    }

    #[test]
    fn small_bursts_are_no_want_of_room() {
        // Measured: 500 viewers with four packets a send, and 3,700, which is more than there was room for.
        let (half, full) = (load(0.44, 323, 160_500, 40_125), load(1.0, 345, 1_128_368, 32_331));

        assert!((900.0..3_270.0).contains(&viewers(half)), "{}", viewers(half));
        assert!(full.room().is_some_and(|room| room == 0.0));
    }

    #[test]
    fn nothing_is_told_while_nothing_is_done() {
        let load = load(0.002, 3, 3, 3);

        assert_eq!((load.price, load.room()), (None, None));
    }

    #[test]
    fn what_a_packet_costs_is_known_from_before() {
        let sum = |busy| Sum { busy: Duration::from_secs_f64(busy), received: 300, ..Sum::default() };
        let second = Duration::from_secs(1);
        let first = Load::of(1, &sum(0.006), second, None);

        let odd = Load::of(1, &sum(0.012), second, first.unit);
        let idle = Load::of(1, &Sum::default(), second, first.unit);

        let [first, odd, idle] = [first, odd, idle].map(viewers);
        assert!((0.7..0.9).contains(&(odd / first)), "{odd} after {first}");
        assert!(idle >= first, "{idle}");
    }

    #[test]
    fn a_number_is_told_as_well_as_it_is_known() {
        assert_eq!([0, 7, 42, 123, 1_187, 98_765].map(about), [0, 7, 42, 120, 1_100, 98_000]);
    }
}
