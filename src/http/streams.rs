//! `/api/v1/streams`: what can be watched now.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;

use crate::control::auth::Right;

use super::body::Body;
use super::problem::Problem;
use super::service::{App, empty};

/// One entry of the list.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    live: bool,
    viewers: usize,
}

/// The whole document.
#[derive(Serialize)]
struct Document<'a> {
    streams: Vec<Entry<'a>>,
}

/// Lists the streams that anybody may watch; for an admin's token all of them.
/// # Errors
/// `Internal`, if the list cannot be written.
pub(super) fn list(app: &App, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let all = app.identify(headers).is_ok_and(|who| who.right == Right::Admin);
    let streams = app.control.streams();
    let visible = streams.iter().filter(|stream| all || stream.open);
    let entries = visible.map(|s| Entry { name: s.name.as_str(), live: s.live, viewers: s.viewers }).collect();
    let json = serde_json::to_vec(&Document { streams: entries }).map_err(|_| Problem::Internal)?;
    let mut response = empty();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(Bytes::from(json));
    Ok(response)
}
