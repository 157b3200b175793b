//! Counters and gauges. Names are `tribune_<noun>_<unit>[_total]`, base units, no label that a client can choose.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};

/// All that is measured. One per process.
#[derive(Debug)]
pub struct Metrics {
    /// Floors register what they count here, once, at start.
    pub registry: Registry,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { registry: Registry::new() })
    }

    /// Shows what these media threads count.
    /// # Errors
    /// When it was called before.
    pub fn show_media(&self, workers: Vec<Arc<WorkerCounters>>) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(MediaCollector::new(workers)?))
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
    DropSend "tribune_datagrams_dropped_total" "reason" "send" "The socket did not take it.",
    MailLost "tribune_mail_lost_total" "" "" "Letters between threads that found a full queue.",
    Panics "tribune_session_panics_total" "" "" "Bugs of ours, each ending one session.",
}

/// What one media thread counts. Written by that thread only.
#[derive(Debug)]
pub struct WorkerCounters([AtomicU64; COUNTS.len()]);

impl Default for WorkerCounters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTS.len()])
    }
}

impl WorkerCounters {
    /// Adds.
    pub fn add(&self, count: Count, n: u64) {
        // One writer: a load and a store are cheaper than a locked addition.
        let counter = &self.0[count as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

/// Sums the threads' counters whenever somebody asks.
struct MediaCollector {
    workers: Vec<Arc<WorkerCounters>>,
    families: HashMap<&'static str, IntCounterVec>,
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
        Ok(Self { workers, families })
    }
}

impl Collector for MediaCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.families.values().flat_map(Collector::desc).collect()
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
        self.families.values().flat_map(Collector::collect).collect()
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

        let text = metrics.render().expect("consistent families");
        assert!(text.contains("tribune_rtp_packets_total{direction=\"out\"} 7"), "{text}");
        assert!(text.contains("tribune_session_panics_total 1"), "{text}");
    }
}
