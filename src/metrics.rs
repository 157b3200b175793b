//! Counters and gauges. Names are `tribune_<noun>_<unit>[_total]`, base units, no label that a client can choose.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use self::delays::Delays;

mod delays;

/// All that is measured. One per process.
#[derive(Debug)]
pub struct Metrics {
    /// Floors register what they count here, once, at start.
    pub registry: Registry,
    /// Payload bytes kept for viewers who come later, of all streams.
    pub cached: IntGauge,
    workers: OnceLock<Vec<Arc<WorkerCounters>>>,
}

impl Metrics {
    /// Nothing counted yet.
    /// # Panics
    /// Never: what it registers has valid names.
    pub fn new() -> Arc<Self> {
        let cached = IntGauge::new("tribune_gop_cache_bytes", "Payload kept for viewers who come later.");
        let cached = cached.expect("a name and a help text that are valid");
        Arc::new(Self { registry: Registry::new(), cached, workers: OnceLock::new() })
    }

    /// Shows what these media threads count.
    /// # Errors
    /// When it was called before.
    pub fn show_media(&self, workers: Vec<Arc<WorkerCounters>>) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.cached.clone()))?;
        self.registry.register(Box::new(MediaCollector::new(workers.clone())?))?;
        // Registering fails the second time.
        let _ = self.workers.set(workers);
        Ok(())
    }

    /// The media threads' counters; none before they are shown.
    pub fn workers(&self) -> Vec<Arc<WorkerCounters>> {
        self.workers.get().cloned().unwrap_or_default()
    }

    /// The Prometheus text format.
    /// # Errors
    /// When a collector yields an inconsistent family: a bug of ours.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

macro_rules! counts {
    ($($variant:ident $name:literal $label:literal $value:literal $help:literal),* $(,)?) => {
        /// What media threads count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $(#[doc = $help] $variant),*
        }

        /// Metric name, label, label value and help of each, in order.
        const COUNTS: &[(Count, &str, &str, &str, &str)] = &[
            $((Count::$variant, $name, $label, $value, $help)),*
        ];
    };
}

counts! {
    DatagramsReceived "tribune_media_datagrams_total" "direction" "in" "Datagrams received.",
    DatagramsSent "tribune_media_datagrams_total" "direction" "out" "Datagrams sent.",
    BytesReceived "tribune_media_bytes_total" "direction" "in" "UDP payload bytes received.",
    BytesSent "tribune_media_bytes_total" "direction" "out" "UDP payload bytes sent.",
    Sends "tribune_media_sends_total" "" "" "Send calls; one carries up to 64 datagrams.",
    PacketsReceived "tribune_rtp_packets_total" "direction" "in" "RTP packets of presenters.",
    PacketsForwarded "tribune_rtp_packets_total" "direction" "out" "RTP packets to viewers, resends not counted.",
    PayloadReceived "tribune_rtp_payload_bytes_total" "direction" "in" "RTP payload of presenters.",
    PayloadForwarded "tribune_rtp_payload_bytes_total" "direction" "out" "RTP payload to viewers.",
    PacketsResent "tribune_rtp_resent_packets_total" "" "" "Packets sent again to viewers that missed them.",
    KeyframesWanted "tribune_keyframe_requests_total" "from" "viewers" "Key frame requests of viewers.",
    KeyframesAsked "tribune_keyframe_requests_total" "from" "server" "Key frame requests to presenters.",
    SwitchHand "tribune_layer_switches_total" "reason" "hand" "The viewer asked for other layers.",
    SwitchStart "tribune_layer_switches_total" "reason" "start" "Nothing speaks against better layers.",
    SwitchCongestion "tribune_layer_switches_total" "reason" "congestion" "The way to the viewer carries less.",
    SwitchRoom "tribune_layer_switches_total" "reason" "room" "The way to the viewer has proved to carry more.",
    SwitchStopped "tribune_layer_switches_total" "reason" "stopped" "The presenter does not send the layers any more.",
    Connected "tribune_handshakes_total" "result" "connected" "DTLS handshakes that ended well.",
    HandshakeFailed "tribune_handshakes_total" "result" "failed" "DTLS handshakes that failed.",
    ProfileGcm "tribune_srtp_sessions_total" "profile" "aes_gcm" "Sessions on AES-128-GCM.",
    ProfileCm "tribune_srtp_sessions_total" "profile" "aes_cm" "Sessions on AES-128-CM with HMAC-SHA1-80.",
    DropUnclassified "tribune_datagrams_dropped_total" "reason" "unclassified" "Neither STUN, DTLS, RTP nor RTCP.",
    DropUnvalidated "tribune_datagrams_dropped_total" "reason" "unvalidated_source" "From an address without a check.",
    DropStun "tribune_datagrams_dropped_total" "reason" "stun" "STUN that is malformed or not authentic.",
    DropDtls "tribune_datagrams_dropped_total" "reason" "dtls" "DTLS that could not be processed.",
    DropSrtp "tribune_datagrams_dropped_total" "reason" "srtp" "SRTP or SRTCP that does not open.",
    DropReplay "tribune_datagrams_dropped_total" "reason" "replay" "SRTP or SRTCP seen before.",
    DropRtp "tribune_datagrams_dropped_total" "reason" "rtp" "RTP that makes no sense here.",
    DropUnknownSource "tribune_datagrams_dropped_total" "reason" "unknown_source" "RTP of no negotiated source.",
    DropStandby "tribune_datagrams_dropped_total" "reason" "standby" "More than may wait behind a presenter that takes over.",
    DropSend "tribune_datagrams_dropped_total" "reason" "send" "The socket did not take it.",
    CutLate "tribune_viewer_cuts_total" "reason" "late" "Viewers cut to the next key frame because bursts left too late.",
    CutFull "tribune_viewer_cuts_total" "reason" "full" "Viewers cut to the next key frame because nothing could be sent.",
    CatchUpBegun "tribune_catch_ups_total" "state" "begun" "Viewers who began with the last key frame, from the cache.",
    CatchUpDone "tribune_catch_ups_total" "state" "done" "Viewers who have come from there to what is sent to all.",
    CatchUpCut "tribune_catch_ups_total" "state" "cut" "Viewers who wait for the next key frame instead.",
    CatchUpPackets "tribune_catch_up_packets_total" "" "" "RTP packets sent from the cache to viewers who catch up.",
    CacheBytes "tribune_gop_given_up_total" "bound" "bytes" "Groups of pictures too large to be kept.",
    CachePackets "tribune_gop_given_up_total" "bound" "packets" "Groups of too many packets to be kept.",
    CacheTotal "tribune_gop_given_up_total" "bound" "total" "Groups of pictures that gave way to those of other streams.",
    CacheAge "tribune_gop_given_up_total" "bound" "age" "Groups of pictures too long to be kept.",
    MailLost "tribune_mail_lost_total" "" "" "Letters between threads that found a full queue.",
    Panics "tribune_session_panics_total" "" "" "Bugs of ours, each ending one session.",
}

/// What one media thread counts. Written by that thread only.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Processor time in nanoseconds.
    busy: AtomicU64,
    counts: [AtomicU64; COUNTS.len()],
    /// Of packets that are not of key frames, and of those that are.
    delays: [Delays; 2],
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            busy: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; COUNTS.len()],
            delays: Default::default(),
        }
    }
}

impl WorkerCounters {
    /// Adds.
    pub fn add(&self, count: Count, n: u64) {
        add(&self.counts[count as usize], n);
    }

    /// Reads.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// The thread has taken so much processor time in all.
    pub fn worked(&self, busy: Duration) {
        self.busy.store(busy.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Processor time that the thread has taken; a little old.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// A burst, of a key frame or not, has been sent to so many viewers, so long after its first packet came.
    pub fn delay(&self, is_key: bool, delay: Duration, viewers: u64) {
        self.delays[usize::from(is_key)].add(delay, viewers);
    }
}

/// One writer: a load and a store are cheaper than a locked addition.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Sums the threads' counters whenever somebody asks.
struct MediaCollector {
    workers: Vec<Arc<WorkerCounters>>,
    families: HashMap<&'static str, IntCounterVec>,
    busy: Counter,
    delays: Desc,
}

impl MediaCollector {
    fn new(workers: Vec<Arc<WorkerCounters>>) -> Result<Self, prometheus::Error> {
        let mut families = HashMap::new();
        for (_, name, label, _, help) in COUNTS {
            if !families.contains_key(name) {
                let labels: &[&str] = if label.is_empty() { &[] } else { &[label] };
                families.insert(*name, IntCounterVec::new(Opts::new(*name, *help), labels)?);
            }
        }
        let busy = Counter::new("tribune_media_cpu_seconds_total", "Processor time of the media threads.")?;
        let delays = delays::description()?;
        Ok(Self { workers, families, busy, delays })
    }
}

impl Collector for MediaCollector {
    fn desc(&self) -> Vec<&Desc> {
        let families = self.families.values().flat_map(Collector::desc);
        families.chain(self.busy.desc()).chain([&self.delays]).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (count, name, label, value, _) in COUNTS {
            let values: &[&str] = if label.is_empty() { &[] } else { &[value] };
            let Some(Ok(shown)) = self.families.get(name).map(|f| f.get_metric_with_label_values(values)) else {
                continue;
            };
            let sum: u64 = self.workers.iter().map(|w| w.get(*count)).sum();
            shown.inc_by(sum.saturating_sub(shown.get()));
        }
        let busy: Duration = self.workers.iter().map(|worker| worker.busy()).sum();
        self.busy.inc_by((busy.as_secs_f64() - self.busy.get()).max(0.0));
        let delays = ["delta", "key"].iter().enumerate().map(|(at, frame)| {
            let threads = self.workers.iter().map(|worker| &worker.delays[at]);
            delays::sum(threads, frame)
        });
        let delays = delays::family(delays.collect());
        self.families.values().flat_map(Collector::collect).chain(self.busy.collect()).chain([delays]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let metrics = Metrics::new();
        let workers: Vec<_> = (0..2).map(|_| Arc::new(WorkerCounters::default())).collect();
        metrics.show_media(workers.clone()).expect("shown once");

        workers[0].add(Count::PacketsForwarded, 3);
        workers[1].add(Count::PacketsForwarded, 4);
        workers[1].add(Count::Panics, 1);
        workers[0].delay(false, Duration::from_micros(1500), 64);
        workers[1].delay(false, Duration::from_millis(40), 36);

        let text = metrics.render().expect("consistent families");
        assert!(text.contains("tribune_rtp_packets_total{direction=\"out\"} 7"), "{text}");
        assert!(text.contains("tribune_session_panics_total 1"), "{text}");
        let delay = "tribune_forwarding_delay_seconds";
        for line in [
            r#"_bucket{frame="delta",le="0.001"} 0"#,
            r#"_bucket{frame="delta",le="0.002"} 64"#,
            r#"_bucket{frame="delta",le="0.033"} 64"#,
            r#"_bucket{frame="delta",le="+Inf"} 100"#,
            r#"_sum{frame="delta"} 1.536"#,
            r#"_count{frame="delta"} 100"#,
            r#"_count{frame="key"} 0"#,
        ] {
            assert!(text.contains(&format!("{delay}{line}\n")), "{line} in {text}");
        }
    }
}
