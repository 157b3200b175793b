//! Sends clients to another server of ours when this one cannot take them (RFC 9725 §4.5).

use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::body::Body;
use super::problem::Problem;
use super::service::{App, empty};

/// A refusal, or 307 to another server where that may help. Only 307 keeps method and body with every client. Nobody is
/// sent on twice: servers that are all full would send their clients round in circles.
/// # Errors
/// The refusal, when there is nobody to send the client to.
pub(super) fn or_refuse(app: &App, parts: &Parts, problem: Problem) -> Result<Response<Body>, Problem> {
    let may_help = matches!(problem, Problem::Full { .. } | Problem::Draining { .. });
    let Some(server) = app.next_redirect().filter(|_| may_help && !was_sent(parts)) else {
        return Err(problem);
    };
    let Ok(location) = HeaderValue::try_from(format!("{server}{}?{SENT}", parts.uri.path())) else {
        return Err(problem);
    };
    let mut response = empty();
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// What stands before the path of a `Location`: for clients that came here directly nothing, because an absolute path is
/// right behind any proxy; others may resolve it against the server that they asked first.
pub(super) fn base(app: &App, parts: &Parts) -> String {
    if !was_sent(parts) {
        return String::new();
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(parts.uri.authority().map(hyper::http::uri::Authority::as_str));
    let scheme = if app.secure { "https" } else { "http" };
    app.public_url.clone().or_else(|| host.map(|host| format!("{scheme}://{host}"))).unwrap_or_default()
}

/// Another server has sent the client here.
fn was_sent(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.split('&').any(|part| part == SENT))
}

/// In the query of a redirect.
const SENT: &str = "redirected=1";
