//! How long packets were on their way: distributions of very many times in little room.

use std::time::Duration;

use super::stamp::{Delay, Part};

/// By part, since an evenly small delay of pictures says nothing about key frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    /// Pictures that build on others.
    pub(super) delta: Histogram,
    /// Key frames.
    pub(super) keyframe: Histogram,
    /// Sound.
    pub(super) audio: Histogram,
}

impl Delays {
    /// One more.
    pub(super) fn record(&mut self, delay: Delay) {
        let histogram = match delay.part {
            Part::Delta => &mut self.delta,
            Part::Keyframe => &mut self.keyframe,
            Part::Audio => &mut self.audio,
        };
        histogram.record(delay.time);
    }

    /// Another crowd's.
    pub(super) fn add(&mut self, other: &Self) {
        self.delta.add(&other.delta);
        self.keyframe.add(&other.keyframe);
        self.audio.add(&other.audio);
    }
}

/// Counts of times in buckets that are 3 % wide.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// Empty before the first.
    buckets: Vec<u64>,
    max: Duration,
}

impl Histogram {
    fn record(&mut self, time: Duration) {
        let at = bucket(time.as_micros().min(u128::from(u32::MAX)) as u32);
        if self.buckets.len() <= at {
            self.buckets.resize(at + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(at) {
            *count += 1;
        }
        self.max = self.max.max(time);
    }

    fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        self.max = self.max.max(other.max);
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The largest.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// What so many percent do not exceed (nearest rank, upper edge of its bucket); `None` of nothing.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut below = 0;
        let at = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_micros(edge(at)).min(self.max))
    }
}

/// Linear up to 32 µs, from there 32 buckets for each doubling.
fn bucket(micros: u32) -> usize {
    let exponent = micros.checked_ilog2().unwrap_or(0);
    let shift = exponent.saturating_sub(STEPS.ilog2());
    (shift * STEPS + (micros >> shift)) as usize
}

/// The largest number of microseconds in a bucket.
fn edge(bucket: usize) -> u64 {
    let (bucket, steps) = (bucket as u64, u64::from(STEPS));
    let shift = (bucket / steps).saturating_sub(1);
    let first = bucket - shift * steps;
    ((first + 1) << shift) - 1
}

const STEPS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_its_edge_says() {
        for micros in (0..5_000).chain([99_999, 1_000_000, u32::MAX / 2, u32::MAX]) {
            let edge = edge(bucket(micros));
            assert!(edge >= u64::from(micros) && edge as f64 <= f64::from(micros) * 1.04 + 0.5, "{micros}: {edge}");
        }
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        assert_eq!(low.percentile(50), None);

        (1..=50).for_each(|ms| low.record(Duration::from_millis(ms)));
        (51..=100).for_each(|ms| high.record(Duration::from_millis(ms)));
        low.add(&high);

        let ms = |percent| low.percentile(percent).expect("some").as_secs_f64() * 1e3;
        assert_eq!((low.count(), low.max()), (100, Duration::from_millis(100)));
        assert!((50.0..52.0).contains(&ms(50)) && (99.0..=100.0).contains(&ms(99)), "{} {}", ms(50), ms(99));
        assert!((ms(100) - 100.0).abs() < f64::EPSILON);
    }
}
