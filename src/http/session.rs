//! `/session/{id}`: the resource of one session (RFC 9725 §4.2), presenter's or viewer's.
//!
//! Its URL is unguessable and enough to end it: some players send no token here. A token that is sent must be right.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::control::auth::Identity;
use crate::control::limits::{Action, Key};
use crate::control::{Patched, SessionView};
use crate::media::{CloseReason, SessionId};
use crate::wire::sdp::{Fragment, Refusal};

use super::body::{self, Body};
use super::endpoint::SDP;
use super::problem::Problem;
use super::service::{App, authorization, empty};
use super::{conditions, counter};

/// GET and HEAD: is it still there? A client whose media has stopped finds out here what has become of its session.
/// # Errors
/// `Denied`, `TakenOver`, `Kicked`, `NoSession`.
pub(super) fn get(app: &App, id: SessionId, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    authorise(app, id, headers)?;
    let gone = || match app.control.wanted_end(id) {
        Some(CloseReason::TakenOver) => Problem::TakenOver,
        Some(CloseReason::Kicked) => Problem::Kicked,
        _ => Problem::NoSession,
    };
    let view = app.control.session(id).ok_or_else(gone)?;
    let mut response = empty();
    if let Ok(etag) = HeaderValue::from_str(&view.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// PATCH: candidates (204), or an ICE restart (200, with our new half and its entity-tag).
/// # Errors
/// In this order: `Denied`, `NoSession`, `TooMany`, wrong type, too large, malformed; preconditions last, because they
/// only matter to what would succeed otherwise (RFC 9110 §13.2.1).
pub(super) async fn patch(
    app: &App,
    id: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    authorise(app, id, headers)?;
    if app.control.session(id).is_none() {
        return Err(missed(app, client));
    }
    app.limit(Action::Change, &Key::Session(id))?;
    if app.control.is_countered(id) && body::expect_type(headers, SDP).is_ok() {
        return counter::answer(app, id, headers, client, body).await;
    }
    body::expect_type(headers, FRAGMENT)?;
    let body = body::read(headers, body, app.limits.fragment_bytes, app.limits.body).await?;
    let text = str::from_utf8(&body).map_err(|_| Refusal::Malformed("the fragment is not UTF-8".into()));
    let fragment = text.and_then(Fragment::parse).map_err(Problem::Fragment)?;

    let precondition = conditions::precondition(headers);
    let patched = app.control.patch(id, &fragment, &precondition, app.etag_policy).map_err(Problem::of_patch)?;
    let mut response = empty();
    match patched {
        Patched::Trickled => *response.status_mut() = StatusCode::NO_CONTENT,
        Patched::Restarted { etag, fragment } => {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
            if let Ok(etag) = HeaderValue::try_from(etag) {
                response.headers_mut().insert(ETAG, etag);
            }
            app.offer_ice_servers(response.headers_mut());
            *response.body_mut() = Body::from(fragment);
        }
    }
    Ok(response)
}

/// Nobody shall find a session by trying.
fn missed(app: &App, client: IpAddr) -> Problem {
    app.limit(Action::Miss, &Key::address(client)).err().unwrap_or(Problem::NoSession)
}

/// DELETE: ends it. Preconditions are not looked at (RFC 9725 §4.3.1).
/// # Errors
/// `Denied`, `NoSession`, `TooMany` for whoever misses often: nobody shall find a session by trying.
pub(super) fn delete(app: &App, id: SessionId, headers: &HeaderMap, client: IpAddr) -> Result<Response<Body>, Problem> {
    authorise(app, id, headers)?;
    if app.control.close(id, CloseReason::Deleted) {
        return Ok(empty());
    }
    Err(missed(app, client))
}

/// OPTIONS that is no preflight, of a session and what belongs to it.
/// # Errors
/// `NoSession`.
pub(super) fn exists(app: &App, id: SessionId) -> Result<(), Problem> {
    app.control.session(id).map(drop).ok_or(Problem::NoSession)
}

/// Without credentials the URL is the right, and for a session that was made without any it is always: players that send
/// `Bearer undefined` to an open stream send it here too. With a good token of somebody else the session does not exist,
/// so that nobody learns of it. A session outlives the token that it was made with.
pub(super) fn authorise(app: &App, id: SessionId, headers: &HeaderMap) -> Result<(), Problem> {
    let view = app.control.session(id);
    if view.as_ref().is_some_and(|view| view.subject.is_none()) {
        return Ok(());
    }
    let has_token = authorization(headers).map_err(Problem::Denied)?.is_some();
    // Where there is no session there is nothing to protect; and an old player's token says nothing against it.
    let Some(view) = view.filter(|_| has_token) else {
        return Ok(());
    };
    let who = app.recognize(headers).map_err(Problem::Denied)?;
    if owns(&who, &view) { Ok(()) } else { Err(Problem::NoSession) }
}

/// The media type of SDP fragments (RFC 8840 §10.2).
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Is it theirs?
fn owns(who: &Identity, view: &SessionView) -> bool {
    who.runs(&view.stream) || view.subject.as_ref() == Some(&who.subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::auth::Right;
    use crate::media::Role;
    use std::time::Instant;

    #[test]
    fn a_session_is_its_makers_and_the_admins() {
        let who = |subject: &str, right| Identity { subject: subject.into(), stream: None, right };
        let view = |subject: Option<&str>| SessionView {
            role: Role::Viewer,
            stream: "live".parse().expect("a good name"),
            subject: subject.map(str::to_owned),
            etag: String::new(),
            connected: true,
            created: Instant::now(),
        };

        assert!(owns(&who("ann", Right::Watch), &view(Some("ann"))));
        assert!(owns(&who("root", Right::Admin), &view(Some("ann"))));
        assert!(owns(&who("root", Right::Admin), &view(None)));
        let of_another = Identity { stream: "other".parse().ok(), ..who("root", Right::Admin) };
        assert!(!owns(&of_another, &view(Some("ann"))), "an admin of one stream is nobody on others");
        assert!(!owns(&who("bob", Right::Publish), &view(Some("ann"))));
        assert!(!owns(&who("bob", Right::Publish), &view(None)));
    }
}
