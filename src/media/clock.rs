//! Our clock, and the presenter's in terms of it.

use std::time::{Duration, Instant};

/// Turns monotonic time into NTP timestamps (RFC 3550 §4: seconds since 1900, 32.32 fixed point).
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    base: Instant,
    ntp: u64,
}

impl WallClock {
    /// `since_unix_epoch` is the wall time at `base`.
    pub fn new(base: Instant, since_unix_epoch: Duration) -> Self {
        Self { base, ntp: fixed_point(since_unix_epoch).wrapping_add(NTP_TO_UNIX << 32) }
    }

    /// The NTP timestamp of a moment.
    pub fn ntp(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.base) {
            Some(after) => self.ntp.wrapping_add(fixed_point(after)),
            None => self.ntp.wrapping_sub(fixed_point(self.base.duration_since(at))),
        }
    }
}

/// A pair of simultaneous readings: RTP timestamp and our NTP time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// RTP timestamp.
    pub rtp: u32,
    /// Our NTP time.
    pub ntp: u64,
}

impl Sync {
    /// The RTP timestamp at another moment.
    pub fn rtp_at(&self, ntp: u64, clock_rate: u32) -> u32 {
        let elapsed = ntp.wrapping_sub(self.ntp).cast_signed();
        let ticks = (i128::from(elapsed) * i128::from(clock_rate)) >> 32;
        self.rtp.wrapping_add(ticks as u32)
    }

    /// Our NTP time at another RTP timestamp, less than half a cycle away.
    pub fn ntp_at(&self, rtp: u32, clock_rate: u32) -> u64 {
        let ticks = i128::from(rtp.wrapping_sub(self.rtp).cast_signed()) << 32;
        self.ntp.wrapping_add((ticks / i128::from(clock_rate.max(1))) as u64)
    }
}

/// A duration as 32.32 fixed-point seconds.
pub fn fixed_point(duration: Duration) -> u64 {
    (duration.as_secs() << 32) + ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Seconds from 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_ntp_is_a_second_of_rtp() {
        let base = Instant::now();
        let clock = WallClock::new(base, Duration::from_millis(1_500));
        let sync = Sync { rtp: u32::MAX - 10, ntp: clock.ntp(base) };
        let before = base.checked_sub(Duration::from_secs(1)).expect("the machine runs for a second");

        assert_eq!(clock.ntp(base), (NTP_TO_UNIX + 1) << 32 | 1 << 31);
        assert_eq!(sync.rtp_at(clock.ntp(base + Duration::from_secs(1)), 90_000), 89_989);
        assert_eq!(sync.rtp_at(clock.ntp(before), 48_000), sync.rtp.wrapping_sub(48_000));
        assert_eq!(sync.ntp_at(89_989, 90_000), clock.ntp(base + Duration::from_secs(1)));
        assert_eq!(sync.ntp_at(sync.rtp.wrapping_sub(48_000), 48_000), clock.ntp(before));
    }
}
