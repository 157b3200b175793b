//! How long packets stay in the server, as a histogram that costs its thread three stores per 64 viewers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::add;

/// One thread's delays of one kind of frame.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// Viewers by the bound that their delay is below; the last one is above all bounds.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    /// Microseconds times viewers.
    sum: AtomicU64,
}

impl Delays {
    /// So many viewers were sent a burst so long after it came.
    pub(super) fn add(&self, delay: Duration, viewers: u64) {
        let micros = delay.as_micros() as u64;
        let at = BOUNDS_US.partition_point(|bound| *bound < micros);
        add(&self.buckets[at], viewers);
        add(&self.sum, micros.wrapping_mul(viewers));
    }
}

/// The metric's name and label.
/// # Errors
/// When the name is not one: a bug of ours.
pub(super) fn description() -> Result<Desc, prometheus::Error> {
    Desc::new(NAME.to_owned(), HELP.to_owned(), vec![LABEL.to_owned()], HashMap::new())
}

/// All threads' delays of one kind of frame.
pub(super) fn sum<'a>(threads: impl Iterator<Item = &'a Delays>, frame: &str) -> Metric {
    let (mut counts, mut micros) = ([0_u64; BOUNDS_US.len() + 1], 0_u64);
    for thread in threads {
        for (count, bucket) in counts.iter_mut().zip(&thread.buckets) {
            *count += bucket.load(Ordering::Relaxed);
        }
        micros = micros.wrapping_add(thread.sum.load(Ordering::Relaxed));
    }
    let mut all = 0;
    let mut buckets = Vec::with_capacity(BOUNDS_US.len());
    for (count, bound) in counts.iter().zip(BOUNDS_US) {
        all += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(all);
        bucket.set_upper_bound(*bound as f64 / 1e6);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(micros as f64 / 1e6);

    let mut label = LabelPair::default();
    label.set_name(LABEL.to_owned());
    label.set_value(frame.to_owned());
    let mut metric = Metric::from_label(vec![label]);
    metric.set_histogram(histogram);
    metric
}

/// The whole metric.
pub(super) fn family(metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(NAME.to_owned());
    family.set_help(HELP.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(metrics);
    family
}

const NAME: &str = "tribune_forwarding_delay_seconds";
const HELP: &str = "From a burst's first packet in the kernel to its send to a viewer.";
const LABEL: &str = "frame";
/// Microseconds; fine where it matters: 2, 5, 15 and 33 ms.
const BOUNDS_US: &[u64] = &[
    250, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 7_000, 10_000, 15_000, 20_000, 25_000, 33_000, 50_000,
    100_000, 200_000, 500_000, 1_000_000,
];
