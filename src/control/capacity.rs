//! How much more this machine can carry, by what it has cost so far.
//!
//! A media thread's cost is nearly all sending, and sending costs about the same per packet whoever it goes to. So the
//! processor time that the threads took, divided by the packets that they forwarded, is the price of a packet; what is
//! left of their cores, at that price, is room for so many packets a second. The way out of the machine is not known and
//! not counted. With a handful of viewers a packet seems dearer than it will be with many, because bursts are small: the
//! estimate is careful then and grows.

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
    packets: u64,
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
    /// Processor time of a forwarded packet, in seconds; `None` while next to nothing is forwarded.
    pub price: Option<f64>,
}

impl Load {
    /// Packets a second that they could forward in addition.
    pub fn room(&self) -> Option<f64> {
        Some((FULL - self.busy).max(0.0) * self.workers as f64 / self.price?)
    }
}

impl Capacity {
    /// Of these threads.
    pub(super) fn new(workers: Vec<Arc<WorkerCounters>>) -> Self {
        Self { workers, state: Mutex::default() }
    }

    /// Looks at them, if it is time.
    pub(super) fn tick(&self, now: Instant) {
        let sum = self.workers.iter().fold(Sum::default(), |sum, worker| Sum {
            busy: sum.busy + worker.busy(),
            packets: sum.packets + worker.get(Count::PacketsForwarded),
        });
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
        let busy = sum.busy.saturating_sub(before.busy);
        state.load = load(self.workers.len(), busy, sum.packets.saturating_sub(before.packets), elapsed);
    }

    /// How busy they were lately.
    pub(super) fn load(&self) -> Load {
        let load = self.state.lock().unwrap_or_else(PoisonError::into_inner).load;
        Load { workers: self.workers.len(), ..load }
    }
}

fn load(workers: usize, busy: Duration, packets: u64, elapsed: Duration) -> Load {
    let seconds = elapsed.as_secs_f64();
    let rate = packets as f64 / seconds;
    Load {
        workers,
        busy: (busy.as_secs_f64() / seconds / workers.max(1) as f64).min(1.0),
        packets: rate,
        price: (rate >= LEAST).then(|| busy.as_secs_f64() / packets as f64),
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
        let by_processor = (self.load().room()? / packets.max(1.0)) as u64;
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

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Share of a core that may be used: above it packets begin to be late.
const FULL: f64 = 0.8;
/// Packets a second from which on the price of one can be told.
const LEAST: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_is_left_at_the_price_of_a_packet() {
        let load = load(2, Duration::from_secs(2), 1_000_000, Duration::from_secs(5));

        assert_eq!((load.busy, load.packets), (0.2, 200_000.0));
        let room = load.room().expect("known");
        assert!((room - 600_000.0).abs() < 1.0, "{room}");
    }

    #[test]
    fn nothing_is_told_while_nothing_is_sent() {
        let load = load(1, Duration::from_millis(2), 3, Duration::from_secs(5));

        assert_eq!((load.price, load.room()), (None, None));
    }

    #[test]
    fn a_full_machine_has_no_room() {
        let load = load(1, Duration::from_secs(5), 1_000_000, Duration::from_secs(5));

        assert_eq!(load.room(), Some(0.0));
    }
}
