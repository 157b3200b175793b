//! `/session/{id}`: the resource of one session (RFC 9725 §4.2), presenter's or viewer's.
//!
//! Its URL is unguessable and enough to end it: some players send no token here. A token that is sent must be right.

use std::net::IpAddr;

use hyper::Response;
use hyper::header::{ETAG, HeaderMap, HeaderValue};

use crate::control::SessionView;
use crate::control::auth::{Identity, Right};
use crate::control::limits::{Action, Key};
use crate::media::{CloseReason, SessionId};

use super::body::Body;
use super::problem::Problem;
use super::service::{App, authorization, empty};

/// GET and HEAD: is it still there?
/// # Errors
/// `Denied`, `NoSession`.
pub(super) fn get(app: &App, id: SessionId, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    authorise(app, id, headers)?;
    let view = app.control.session(id).ok_or(Problem::NoSession)?;
    let mut response = empty();
    if let Ok(etag) = HeaderValue::from_str(&view.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// DELETE: ends it. Preconditions are not looked at (RFC 9725 §4.3.1).
/// # Errors
/// `Denied`, `NoSession`, `TooMany` for whoever misses often: nobody shall find a session by trying.
pub(super) fn delete(app: &App, id: SessionId, headers: &HeaderMap, client: IpAddr) -> Result<Response<Body>, Problem> {
    authorise(app, id, headers)?;
    if app.control.close(id, CloseReason::Deleted) {
        return Ok(empty());
    }
    app.limit(Action::Miss, &Key::address(client))?;
    Err(Problem::NoSession)
}

/// OPTIONS that is no preflight, of a session and what belongs to it.
/// # Errors
/// `NoSession`.
pub(super) fn exists(app: &App, id: SessionId) -> Result<(), Problem> {
    app.control.session(id).map(drop).ok_or(Problem::NoSession)
}

/// Without credentials the URL is the right, and for a session that was made without any it is always: players that send
/// `Bearer undefined` to an open stream send it here too. With a good token of somebody else the session does not exist,
/// so that nobody learns of it.
pub(super) fn authorise(app: &App, id: SessionId, headers: &HeaderMap) -> Result<(), Problem> {
    let view = app.control.session(id);
    if view.as_ref().is_some_and(|view| view.subject.is_none()) {
        return Ok(());
    }
    if authorization(headers).map_err(Problem::Denied)?.is_none() {
        return Ok(());
    }
    let who = app.identify(headers).map_err(Problem::Denied)?;
    match view {
        Some(view) if !owns(&who, &view) => Err(Problem::NoSession),
        _ => Ok(()),
    }
}

/// Is it theirs?
fn owns(who: &Identity, view: &SessionView) -> bool {
    who.right == Right::Admin || view.subject.as_ref() == Some(&who.subject)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(!owns(&who("bob", Right::Publish), &view(Some("ann"))));
        assert!(!owns(&who("bob", Right::Publish), &view(None)));
    }
}
