//! Lets key frame requests through, not too many.

use std::time::{Duration, Instant};

/// One request per interval; those in between become one at its end. A thousand viewers' requests are one.
#[derive(Debug, Default)]
pub struct Gate {
    last: Option<Instant>,
    waiting: bool,
}

impl Gate {
    /// Somebody wants a key frame.
    pub fn ask(&mut self) {
        self.waiting = true;
    }

    /// A key frame came: nobody waits any more.
    pub fn satisfied(&mut self) {
        self.waiting = false;
    }

    /// `true` when a request is to be sent now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.next().is_some_and(|at| at <= now) || (self.waiting && self.last.is_none());
        if due {
            self.waiting = false;
            self.last = Some(now);
        }
        due
    }

    /// When to poll again; `None` while nobody waits.
    pub fn next(&self) -> Option<Instant> {
        let last = self.last?;
        self.waiting.then_some(last + INTERVAL)
    }

    /// Somebody waits, whenever it is let through.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }
}

/// A key frame costs the presenter ten times a delta frame.
const INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_requests_are_one_per_interval() {
        let start = Instant::now();
        let mut gate = Gate::default();
        let mut sent = Vec::new();

        for ms in 0..1000 {
            gate.ask();
            if gate.poll(start + Duration::from_millis(ms)) {
                sent.push(ms);
            }
        }

        assert_eq!(sent, [0, 500]);
    }

    #[test]
    fn a_key_frame_satisfies_those_who_wait() {
        let start = Instant::now();
        let mut gate = Gate::default();
        gate.ask();
        assert!(gate.poll(start));
        gate.ask();

        gate.satisfied();

        assert_eq!(gate.next(), None);
        assert!(!gate.poll(start + INTERVAL));
    }
}
