//! What the HTTP server counts.

use std::time::Duration;

use hyper::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of the HTTP server. Every label has a closed set of values.
#[derive(Debug)]
pub(super) struct Measures {
    requests: IntCounterVec,
    seconds: HistogramVec,
    refused: IntCounterVec,
    connections: IntGauge,
}

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// All places are taken.
    Total,
    /// The address has all its places.
    Address,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The kernel has no more file descriptors or buffers.
    Accept,
}

impl Measures {
    /// Makes and registers them.
    /// # Errors
    /// When the registry has them already.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("tribune_http_requests_total", "HTTP requests answered"),
            &["route", "method", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("tribune_http_request_seconds", "From the head of a request to its response")
                .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            &["route"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new("tribune_http_connections_refused_total", "Connections that were not served"),
            &["reason"],
        )?;
        let connections = IntGauge::new("tribune_http_connections", "HTTP connections now")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self { requests, seconds, refused, connections })
    }

    /// Counts one request.
    pub(super) fn request(&self, route: &'static str, method: &Method, status: StatusCode, took: Duration) {
        self.requests.with_label_values(&[route, word(method), status.as_str()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Counts one connection until what is returned is dropped.
    pub(super) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// Counts one connection that was not served.
    pub(super) fn refused(&self, why: Refused) {
        let reason = match why {
            Refused::Total => "total",
            Refused::Address => "address",
            Refused::Handshake => "handshake",
            Refused::Accept => "accept",
        };
        self.refused.with_label_values(&[reason]).inc();
    }
}

/// A connection that is counted, however it ends.
#[derive(Debug)]
pub(super) struct Connected(IntGauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method from a closed set: clients invent their own.
pub(super) fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_choose_a_label() {
        let registry = Registry::new();
        let measures = Measures::new(&registry).expect("an empty registry");

        for method in ["GET", "BREW", "evil\"}"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
            measures.request("unknown", &method, StatusCode::NOT_FOUND, Duration::ZERO);
        }

        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        assert!(text.contains(r#"tribune_http_requests_total{method="other",route="unknown",status="404"} 2"#));
        assert!(!text.contains("BREW"));
    }
}
