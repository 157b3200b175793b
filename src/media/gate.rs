//! Lets key frame requests through, not too many.

use std::time::{Duration, Instant};

/// One request per interval; those in between become one at its end. A thousand viewers' requests are one.
#[derive(Debug, Default)]
pub struct Gate {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Gate {
    /// Somebody wants a key frame.
    pub fn ask(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| now.max(last + INTERVAL));
        self.due.get_or_insert(earliest);
    }

    /// A key frame came: nobody waits any more.
    pub fn satisfied(&mut self) {
        self.due = None;
    }

    /// `true` when a request is to be sent now.
    pub fn poll(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|at| at > now) {
            return false;
        }
        self.due = None;
        self.last = Some(now);
        true
    }

    /// When to poll; `None` while nobody waits.
    pub fn next(&self) -> Option<Instant> {
        self.due
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
            let now = start + Duration::from_millis(ms);
            gate.ask(now);
            if gate.poll(now) {
                sent.push(ms);
            }
        }

        assert_eq!(sent, [0, 500]);
    }

    #[test]
    fn a_key_frame_satisfies_those_who_wait() {
        let start = Instant::now();
        let mut gate = Gate::default();
        gate.ask(start);
        assert!(gate.poll(start));
        gate.ask(start);

        gate.satisfied();

        assert_eq!(gate.next(), None);
        assert!(!gate.poll(start + INTERVAL));
    }
}
