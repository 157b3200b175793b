//! `/api/v1`: what the people who run the show see and do. `openapi.json` beside this file says it all, and is served.
//!
//! JSON in and out, names in snake_case, times as RFC 3339 in UTC, durations in the unit that their name ends with. An
//! admin's token may do everything; a publish token sees its own stream; without a token there is the list of the streams
//! that anybody may watch.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::Value;

use crate::control::auth::{Denied, Right};
use crate::control::records::ShortId;
use crate::control::stream::StreamName;

use super::body::Body;
use super::problem::Problem;
use super::service::{App, empty};

mod events;
mod links;
mod reports;
mod sessions;
mod streams;

pub(super) use sessions::timeline_of;

/// What a path below `/api/v1` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `/openapi.json`
    Document,
    /// `/server`
    Server,
    /// `/streams`
    Streams,
    /// `/streams/{name}`
    Stream(StreamName),
    /// `/streams/{name}/share`
    Share(StreamName),
    /// `/sessions`
    Sessions,
    /// `/sessions/{id}`
    Session(ShortId),
    /// `/sessions/{id}/timeline`
    Timeline(ShortId),
    /// `/links`
    Links,
    /// `/links/{id}`
    Link(String),
    /// `/reports`
    Reports,
    /// `/reports/{id}`
    Report(String),
    /// `/events`
    Events,
}

impl Call {
    /// Finds what the segments behind `/api/v1` name.
    /// # Errors
    /// `NoResource`, `BadStreamName`, `NoSession`.
    pub(super) fn of(segments: &[&str]) -> Result<Self, Problem> {
        let session = |id: &str| id.parse().map_err(|()| Problem::NoSession);
        match segments {
            ["openapi.json"] => Ok(Self::Document),
            ["server"] => Ok(Self::Server),
            ["streams"] => Ok(Self::Streams),
            ["streams", name] => name.parse().map(Self::Stream).map_err(|_| Problem::BadStreamName),
            ["streams", name, "share"] => name.parse().map(Self::Share).map_err(|_| Problem::BadStreamName),
            ["sessions"] => Ok(Self::Sessions),
            ["sessions", id] => session(id).map(Self::Session),
            ["sessions", id, "timeline"] => session(id).map(Self::Timeline),
            ["links"] => Ok(Self::Links),
            ["links", id] => Ok(Self::Link((*id).to_owned())),
            ["reports"] => Ok(Self::Reports),
            ["reports", id] => Ok(Self::Report((*id).to_owned())),
            ["events"] => Ok(Self::Events),
            _ => Err(Problem::NoResource),
        }
    }

    /// The methods that work here.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Session(_) => "GET, HEAD, DELETE, OPTIONS",
            Self::Links => "GET, HEAD, POST, OPTIONS",
            Self::Link(_) => "DELETE, OPTIONS",
            Self::Document
            | Self::Server
            | Self::Streams
            | Self::Stream(_)
            | Self::Share(_)
            | Self::Sessions
            | Self::Timeline(_)
            | Self::Reports
            | Self::Report(_)
            | Self::Events => "GET, HEAD, OPTIONS",
        }
    }
}

/// Answers a request below `/api/v1`.
/// # Errors
/// `Denied`, and what each call says.
pub(super) async fn answer(
    app: &App,
    call: Call,
    parts: &Parts,
    body: Incoming,
    client: std::net::IpAddr,
) -> Result<Response<Body>, Problem> {
    let headers = &parts.headers;
    match call {
        Call::Document => Ok(document()),
        Call::Streams => streams::list(app, headers),
        Call::Stream(name) => streams::one(app, headers, &name),
        Call::Share(name) => {
            presenter(app, headers, &name)?;
            links::share(app, parts, &name)
        }
        Call::Events => events::open(app, parts, client),
        Call::Server
        | Call::Sessions
        | Call::Session(_)
        | Call::Timeline(_)
        | Call::Links
        | Call::Link(_)
        | Call::Reports
        | Call::Report(_) => {
            admin(app, headers)?;
            for_admins(app, call, parts, body).await
        }
    }
}

/// What an admin's token opens.
async fn for_admins(app: &App, call: Call, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let query = Query::of(parts)?;
    match call {
        Call::Server => json(&streams::server(app)),
        Call::Sessions => sessions::list(app, &query),
        Call::Session(id) if parts.method == Method::DELETE => sessions::kick(app, id),
        Call::Session(id) => sessions::one(app, id),
        Call::Timeline(id) => sessions::timeline(app, id),
        Call::Links if parts.method == Method::POST => links::make(app, parts, body).await,
        Call::Links => links::list(app),
        Call::Link(id) => links::revoke(app, &id).await,
        Call::Reports => reports::list(app, &query),
        Call::Report(id) => reports::one(app, &id),
        Call::Document | Call::Streams | Call::Stream(_) | Call::Share(_) | Call::Events => Err(Problem::NoResource),
    }
}

/// Has the request an admin's token?
/// # Errors
/// `Denied`.
fn admin(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let who = app.identify(headers).map_err(Problem::Denied)?;
    if who.is_admin() { Ok(()) } else { Err(Problem::Denied(Denied::Insufficient)) }
}

/// Has the request an admin's token, or the publish token of this stream?
/// # Errors
/// `Denied`.
fn presenter(app: &App, headers: &HeaderMap, stream: &StreamName) -> Result<(), Problem> {
    let who = app.identify(headers).map_err(Problem::Denied)?;
    app.auth.permit(&who, Right::Publish, stream).map_err(Problem::Denied)
}

/// What the query of a request says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    stream: Option<StreamName>,
    limit: Option<usize>,
    /// What the last page ended with.
    after: Option<String>,
}

impl Query {
    /// Names that are not known are passed over.
    /// # Errors
    /// `BadRequest` for values that cannot be.
    fn of(parts: &Parts) -> Result<Self, Problem> {
        let mut query = Self::default();
        for (name, value) in parts.uri.query().unwrap_or_default().split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "stream" => {
                    let stream = value.parse().map_err(|_| Problem::BadRequest("stream is not a stream's name"))?;
                    query.stream = Some(stream);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
                    query.limit = Some(limit.ok_or(Problem::BadRequest("limit is not a number from 1 to 5000"))?);
                }
                "after" => query.after = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(query)
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(USUALLY_LISTED)
    }
}

/// The description of all this.
fn document() -> Response<Body> {
    let mut response = empty();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    *response.body_mut() = Body::from(Bytes::from_static(include_bytes!("openapi.json")));
    response
}

/// A JSON document.
/// # Errors
/// `Internal`, if it cannot be written.
fn json(value: &Value) -> Result<Response<Body>, Problem> {
    let json = serde_json::to_vec(value).map_err(|_| Problem::Internal)?;
    let mut response = empty();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    *response.body_mut() = Body::from(Bytes::from(json));
    Ok(response)
}

/// A number with so many digits behind the point: what is measured is not more exact.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

const JSON: &str = "application/json";
/// Entries of a page, if nothing is said.
const USUALLY_LISTED: usize = 500;
/// Entries of a page at most.
const MOST_LISTED: usize = 5_000;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// A call's path in the document. Whoever adds a call adds it to [`calls`], too.
    fn template(call: &Call) -> &'static str {
        match call {
            Call::Document => "/api/v1/openapi.json",
            Call::Server => "/api/v1/server",
            Call::Streams => "/api/v1/streams",
            Call::Stream(_) => "/api/v1/streams/{name}",
            Call::Share(_) => "/api/v1/streams/{name}/share",
            Call::Sessions => "/api/v1/sessions",
            Call::Session(_) => "/api/v1/sessions/{id}",
            Call::Timeline(_) => "/api/v1/sessions/{id}/timeline",
            Call::Links => "/api/v1/links",
            Call::Link(_) => "/api/v1/links/{id}",
            Call::Reports => "/api/v1/reports",
            Call::Report(_) => "/api/v1/reports/{id}",
            Call::Events => "/api/v1/events",
        }
    }

    /// One of each.
    fn calls() -> [Call; 13] {
        let (id, name): (_, StreamName) = ("0123456789abcdef", "talk".parse().expect("a name"));
        let session: ShortId = id.parse().expect("an id");
        [
            Call::Document,
            Call::Server,
            Call::Streams,
            Call::Stream(name.clone()),
            Call::Share(name),
            Call::Sessions,
            Call::Session(session),
            Call::Timeline(session),
            Call::Links,
            Call::Link(id.to_owned()),
            Call::Reports,
            Call::Report(id.to_owned()),
            Call::Events,
        ]
    }

    #[test]
    fn every_call_with_each_of_its_methods_is_described_and_nothing_else() {
        let document: Value = serde_json::from_slice(include_bytes!("openapi.json")).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let of_the_api = paths.iter().filter(|(path, _)| path.starts_with("/api/v1/"));
        let described: BTreeMap<&str, BTreeSet<String>> = of_the_api
            .map(|(path, methods)| {
                let methods = methods.as_object().expect("methods").keys();
                (path.as_str(), methods.map(|method| method.to_uppercase()).collect())
            })
            .collect();

        let answered: BTreeMap<&str, BTreeSet<String>> = calls()
            .iter()
            .map(|call| {
                // HEAD is GET without a body, OPTIONS is for browsers: nobody needs a word about them.
                let methods = call.allow().split(", ").filter(|method| !matches!(*method, "HEAD" | "OPTIONS"));
                (template(call), methods.map(str::to_owned).collect())
            })
            .collect();

        assert_eq!(answered, described);
        for call in calls() {
            let path = template(&call).replace("{name}", "talk").replace("{id}", "0123456789abcdef");
            let segments: Vec<&str> = path.split('/').skip(3).collect();
            assert_eq!(Call::of(&segments).ok(), Some(call), "{path}");
        }
    }

    fn query(text: &str) -> Result<Query, Problem> {
        let (parts, ()) = hyper::Request::builder().uri(text).body(()).expect("a request").into_parts();
        Query::of(&parts)
    }

    #[test]
    fn a_query_is_read_or_refused() {
        let read = query("/x?stream=talk&limit=5&after=abc&other=1&flag").expect("a query");
        assert_eq!((read.stream.map(|name| name.to_string()).as_deref(), read.limit), (Some("talk"), Some(5)));
        assert_eq!(query("/x"), Ok(Query::default()));

        for bad in ["stream=", "stream=a.b", "limit=0", "limit=5001", "limit=x", "limit=-1"] {
            let problem = query(&format!("/x?{bad}")).expect_err(bad);
            assert_eq!(problem.status().as_u16(), 400, "{bad}");
        }
    }
}
