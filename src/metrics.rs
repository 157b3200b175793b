//! Counters and gauges. Names are `tribune_<noun>_<unit>[_total]`, base units, no label that a client can choose.

use std::sync::Arc;

use prometheus::{Registry, TextEncoder};

/// All that is measured. One per process.
#[derive(Debug)]
pub struct Metrics {
    /// Floors register what they count here, once, at start.
    pub registry: Registry,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Registry::new(),
        })
    }

    /// The Prometheus text format.
    /// # Errors
    /// When a collector yields an inconsistent family: a bug of ours.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
