//! When to try again.

use std::time::Duration;

/// Longer and longer waits, no two alike, so that a thousand clients of one server do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Again {
    attempts: u32,
}

impl Again {
    /// The wait before the next attempt; `asked_for` is what the server wants, `random` any number.
    pub(crate) fn wait(&mut self, asked_for: Option<Duration>, random: u64) -> Duration {
        let step = (FIRST * 2_u32.saturating_pow(self.attempts)).min(LAST);
        self.attempts = (self.attempts + 1).min(16);
        let jitter = step.mul_f64((random % 1_000) as f64 / 2_000.0);
        match asked_for {
            // Never earlier than the server wants.
            Some(least) => least.min(LONGEST) + jitter.min(FIRST),
            None => step / 2 + jitter,
        }
    }

    /// It worked: the next failure is a new one.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(30);
/// Of what a server may ask for.
const LONGEST: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew() {
        let mut again = Again::default();
        let waits: Vec<u64> = (0..8).map(|_| again.wait(None, 999).as_secs()).collect();

        assert_eq!(waits, [0, 1, 3, 7, 15, 29, 29, 29]);
        again.reset();
        assert_eq!(again.wait(None, 0), Duration::from_millis(500));
    }

    #[test]
    fn the_server_is_not_asked_before_it_wants() {
        let mut again = Again::default();

        assert!(again.wait(Some(Duration::from_secs(7)), 0) >= Duration::from_secs(7));
        assert!(again.wait(Some(Duration::from_secs(7)), 999) <= Duration::from_secs(8));
        assert!(again.wait(Some(Duration::MAX), 999) <= LONGEST + FIRST);
    }
}
