//! What control counts.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::media::{CloseReason, Role};

/// Sessions and streams, as counted for operators.
#[derive(Debug)]
pub(super) struct Meters {
    streams: IntGauge,
    sessions: IntGaugeVec,
    joins: IntCounterVec,
    ends: IntCounterVec,
    connect: HistogramVec,
    first_media: HistogramVec,
}

impl Meters {
    /// Registers everything, each role at zero, so that a rate over a fresh server is defined.
    /// # Errors
    /// When one of the names is taken already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = |name: &str, help: &str| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), &["role"])
        };
        let meters = Self {
            streams: IntGauge::new("tribune_streams", "Streams with a presenter or viewers.")?,
            sessions: IntGaugeVec::new(Opts::new("tribune_sessions", "Open sessions."), &["role"])?,
            joins: IntCounterVec::new(Opts::new("tribune_joins_total", "Sessions made."), &["role"])?,
            ends: IntCounterVec::new(
                Opts::new("tribune_session_ends_total", "Sessions ended, by reason."),
                &["role", "reason"],
            )?,
            connect: seconds("tribune_session_connect_seconds", "From the answer to agreed keys.")?,
            first_media: seconds("tribune_first_media_seconds", "From the answer to the first media packet.")?,
        };
        registry.register(Box::new(meters.streams.clone()))?;
        registry.register(Box::new(meters.sessions.clone()))?;
        registry.register(Box::new(meters.joins.clone()))?;
        registry.register(Box::new(meters.ends.clone()))?;
        registry.register(Box::new(meters.connect.clone()))?;
        registry.register(Box::new(meters.first_media.clone()))?;
        for role in [Role::Presenter, Role::Viewer] {
            meters.sessions.with_label_values(&[word(role)]).set(0);
            meters.joins.with_label_values(&[word(role)]).inc_by(0);
        }
        Ok(meters)
    }

    pub(super) fn joined(&self, role: Role) {
        self.joins.with_label_values(&[word(role)]).inc();
        self.sessions.with_label_values(&[word(role)]).inc();
    }

    pub(super) fn ended(&self, role: Role, reason: CloseReason) {
        self.ends.with_label_values(&[word(role), reason.word()]).inc();
        self.sessions.with_label_values(&[word(role)]).dec();
    }

    pub(super) fn connected(&self, role: Role, after: Duration) {
        self.connect.with_label_values(&[word(role)]).observe(after.as_secs_f64());
    }

    pub(super) fn first_media(&self, role: Role, after: Duration) {
        self.first_media.with_label_values(&[word(role)]).observe(after.as_secs_f64());
    }

    pub(super) fn streams(&self, now: usize) {
        self.streams.set(i64::try_from(now).unwrap_or(i64::MAX));
    }
}

/// A fixed word for labels and logs.
pub(super) fn word(role: Role) -> &'static str {
    match role {
        Role::Presenter => "presenter",
        Role::Viewer => "viewer",
    }
}

/// A join on a LAN takes some 50 ms, over a bad link seconds; after 15 s a session is given up.
const SECONDS: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0];
