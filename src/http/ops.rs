//! For operators and their machines: metrics and health.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::control::auth::Denied;

use super::body::Body;
use super::problem::Problem;
use super::service::{App, empty};

/// The Prometheus text. For the machine itself without a token, for others with the admin's: how many people watch is
/// nobody else's business.
/// # Errors
/// `Denied`, or `Internal` when a collector is broken.
pub(super) fn metrics(app: &App, headers: &HeaderMap, peer: IpAddr) -> Result<Response<Body>, Problem> {
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    if forwarded || !peer.to_canonical().is_loopback() {
        let who = app.identify(headers).map_err(Problem::Denied)?;
        if !who.is_admin() {
            return Err(Problem::Denied(Denied::Insufficient));
        }
    }
    let text = app.metrics.render().map_err(|error| {
        tracing::error!(%error, "metrics cannot be rendered");
        Problem::Internal
    })?;
    Ok(plain(text, "text/plain; version=0.0.4; charset=utf-8"))
}

/// The process answers, so it lives.
pub(super) fn live() -> Response<Body> {
    plain("ok\n".to_owned(), "text/plain; charset=utf-8")
}

/// May new sessions be sent here?
/// # Errors
/// `Draining`.
pub(super) fn ready(app: &App) -> Result<Response<Body>, Problem> {
    if app.control.is_ready() { Ok(live()) } else { Err(Problem::Draining { retry_after: Duration::from_secs(5) }) }
}

/// Text of a media type.
fn plain(text: String, media_type: &'static str) -> Response<Body> {
    let mut response = empty();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    *response.body_mut() = Body::from(Bytes::from(text));
    response
}

/// Put in by proxies and tunnels: then the peer's address says nothing of who asks.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
