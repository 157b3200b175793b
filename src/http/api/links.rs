//! `/api/v1/links`: tokens for people, each a link and a QR code, to be revoked by name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::auth::{Identity, Right};
use crate::control::links::{Link, LinkError, seconds, time};
use crate::control::stream::StreamName;
use crate::control::wall;

use super::super::body::{self, Body};
use super::super::problem::Problem;
use super::super::qr;
use super::super::service::{App, empty};
use super::JSON;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    stream: String,
    right: Right,
    /// Seconds.
    #[serde(default = "a_day")]
    expires_in: u64,
    subject: Option<String>,
}

/// Makes a link. Its token is in the answer and nowhere else.
/// # Errors
/// `WrongType`, `TooLarge`, `Link` for what cannot be, `TooManyLinks`, `Internal` when it cannot be kept.
pub(super) async fn make(app: &App, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    body::expect_type(&parts.headers, JSON)?;
    let body = body::read(&parts.headers, body, MAX_BODY, app.limits.body).await?;
    let (identity, lifetime) = wanted(&body)?;
    let Some(stream) = identity.stream.clone().filter(|stream| app.control.can_be(stream)) else {
        return Err(Problem::Link("there is no such stream".to_owned()));
    };

    let token = app.auth.sign(&identity, lifetime);
    let now = seconds(SystemTime::now());
    let link = Link {
        id: token.id().ok_or(Problem::Internal)?,
        stream: stream.to_string(),
        right: identity.right,
        subject: identity.subject.clone(),
        created: now,
        expires: now.saturating_add(lifetime.as_secs()),
        revoked: false,
    };
    let (links, kept) = (Arc::clone(app.auth.links()), link.clone());
    apart(move || links.add(kept)).await?;
    app.control.tell_link(&link);

    let page = if identity.right == Right::Publish { "publish" } else { "watch" };
    let base = base(app, parts, identity.right);
    let url = format!("{base}/{page}/{stream}#{}", token.reveal());
    let mut shown = show(&link);
    (shown["token"], shown["qr_svg"]) = (token.reveal().into(), qr::svg(&url).into());
    shown["url"] = url.into();
    let mut response = super::json(&shown)?;
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/links/{}", link.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// All links that have not expired, the newest first. Their tokens are not known any more.
/// # Errors
/// `Internal`, if the list cannot be written.
pub(super) fn list(app: &App) -> Result<Response<Body>, Problem> {
    let links: Vec<Value> = app.auth.links().all().iter().map(show).collect();
    super::json(&json!({ "links": links }))
}

/// Revokes a link, and ends the sessions that were made with it. Neither waits for the disk.
/// # Errors
/// `NoLink`, `Internal` when it would be good again after a restart.
pub(super) async fn revoke(app: &App, id: &str) -> Result<Response<Body>, Problem> {
    let links = Arc::clone(app.auth.links());
    let link = links.revoke(id).ok_or(Problem::NoLink)?;
    app.control.end_link(&link);
    apart(move || links.save()).await?;
    Ok(empty())
}

/// Waits for the disk away from the threads that answer requests; done to its end also when the client hangs up.
async fn apart(work: impl FnOnce() -> Result<(), LinkError> + Send + 'static) -> Result<(), Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::Internal)?.map_err(problem)
}

/// Whose token it is to be, and for how long.
fn wanted(body: &[u8]) -> Result<(Identity, Duration), Problem> {
    let broken = "the body is not an object of stream, right (publish or watch), expires_in, subject";
    let wanted: Wanted = serde_json::from_slice(body).map_err(|_| Problem::BadRequest(broken))?;
    let wrong = |what: &str| Err(Problem::Link(what.to_owned()));
    let Ok(stream) = wanted.stream.parse::<StreamName>() else {
        return wrong("a stream name is 1–64 of A–Z a–z 0–9 _ -");
    };
    let default = match wanted.right {
        Right::Publish => format!("publisher:{stream}"),
        Right::Watch => format!("viewer:{stream}"),
        Right::Admin => return wrong("a link is to publish or to watch; an admin's token is made on the command line"),
    };
    if !(SHORTEST..=LONGEST).contains(&wanted.expires_in) {
        return wrong("expires_in is 60 to 31536000 seconds");
    }
    let subject = wanted.subject.filter(|subject| !subject.is_empty()).unwrap_or(default);
    if subject.chars().count() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
        return wrong("a subject is at most 128 characters, without control characters");
    }
    let identity = Identity { subject, stream: Some(stream), right: wanted.right };
    Ok((identity, Duration::from_secs(wanted.expires_in)))
}

fn show(link: &Link) -> Value {
    json!({
        "id": link.id,
        "stream": link.stream,
        "right": link.right,
        "subject": link.subject,
        "created": wall::rfc3339(time(link.created)),
        "expires": wall::rfc3339(time(link.expires)),
        "revoked": link.revoked,
    })
}

/// Where viewers find a stream, and a QR code of that: for whoever presents there.
/// # Errors
/// `NoStream` when there can be no such stream.
pub(super) fn share(app: &App, parts: &Parts, stream: &StreamName) -> Result<Response<Body>, Problem> {
    if !app.control.can_be(stream) {
        return Err(Problem::NoStream);
    }
    let base = base(app, parts, Right::Watch);
    let [watch, embed] = ["watch", "embed"].map(|page| format!("{base}/{page}/{stream}"));
    let open = app.control.status(stream).open;
    super::json(&json!({ "open": open, "qr_svg": qr::svg(&watch), "watch_url": watch, "embed_url": embed }))
}

/// Scheme and host that a link begins with: where the server is known to be, else where it was asked; by a name that is
/// good on this machine only (`localhost`), where other machines reach it. But a presenter's browser gives its camera to
/// `localhost` or to https, so without TLS its link stays here.
fn base(app: &App, parts: &Parts, right: Right) -> String {
    if let Some(url) = &app.public_url {
        return url.clone();
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(parts.uri.authority().map(Authority::as_str)).unwrap_or("localhost");
    let scheme = if app.secure { "https" } else { "http" };
    let is_far = right == Right::Watch || app.secure;
    let elsewhere = app.address.filter(|_| is_far).and_then(|address| elsewhere(host, address));
    format!("{scheme}://{}", elsewhere.as_deref().unwrap_or(host))
}

/// The same port at another address, if the host is this machine's name for itself.
fn elsewhere(host: &str, address: IpAddr) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let here = name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
    let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    here.then(|| match address {
        IpAddr::V4(v4) => format!("{v4}{port}"),
        IpAddr::V6(v6) => format!("[{v6}]{port}"),
    })
}

fn problem(error: LinkError) -> Problem {
    match error {
        LinkError::TooMany => Problem::TooManyLinks,
        LinkError::Io(error) => {
            tracing::error!(%error, "the list of links cannot be written");
            Problem::Internal
        }
    }
}

fn a_day() -> u64 {
    86_400
}

/// Bytes of a wish.
const MAX_BODY: usize = 4 * 1024;
/// In seconds.
const SHORTEST: u64 = 60;
/// In seconds: a year.
const LONGEST: u64 = 31_536_000;
/// In characters.
const LONGEST_SUBJECT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_link_is_read_with_its_defaults() {
        let (who, lifetime) = wanted(br#"{"stream": "talk", "right": "publish"}"#).expect("a wish");
        assert_eq!((who.subject.as_str(), who.right, lifetime.as_secs()), ("publisher:talk", Right::Publish, 86_400));

        let body = br#"{"stream": "talk", "right": "watch", "expires_in": 60, "subject": "Ann"}"#;
        let (who, lifetime) = wanted(body).expect("a wish");
        assert_eq!((who.subject.as_str(), who.right, lifetime.as_secs()), ("Ann", Right::Watch, 60));
    }

    #[test]
    fn a_name_that_is_good_here_only_is_replaced() {
        let lan = IpAddr::from([192, 168, 1, 5]);
        let cases = [
            ("localhost:8080", Some("192.168.1.5:8080")),
            ("127.0.0.1:9", Some("192.168.1.5:9")),
            ("[::1]:8080", Some("192.168.1.5:8080")),
            ("localhost", Some("192.168.1.5")),
            ("live.example.org", None),
            ("192.168.1.6:8080", None),
            ("local host", None),
        ];

        for (host, wanted) in cases {
            assert_eq!(elsewhere(host, lan).as_deref(), wanted, "{host}");
        }
        let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(elsewhere("localhost:8080", v6).as_deref(), Some("[fd00::2]:8080"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cases = [
            (400, String::new()),
            (400, "[]".to_owned()),
            (400, r#"{"stream": "talk"}"#.to_owned()),
            (400, r#"{"stream": "talk", "right": "own"}"#.to_owned()),
            (400, r#"{"stream": "talk", "right": "watch", "more": 1}"#.to_owned()),
            (400, r#"{"stream": "talk", "right": "watch", "expires_in": -1}"#.to_owned()),
            (422, r#"{"stream": "a b", "right": "watch"}"#.to_owned()),
            (422, r#"{"stream": "talk", "right": "admin"}"#.to_owned()),
            (422, r#"{"stream": "talk", "right": "watch", "expires_in": 59}"#.to_owned()),
            (422, r#"{"stream": "talk", "right": "watch", "expires_in": 31536001}"#.to_owned()),
            (422, r#"{"stream": "talk", "right": "watch", "subject": "a\u0007"}"#.to_owned()),
            (422, format!(r#"{{"stream": "talk", "right": "watch", "subject": "{}"}}"#, "x".repeat(129))),
        ];

        for (status, body) in cases {
            let problem = wanted(body.as_bytes()).expect_err(&body);
            assert_eq!(problem.status().as_u16(), status, "{body}");
        }
    }
}
