//! The WHIP and WHEP endpoints (RFC 9725 §4.1–4.2, WHEP draft §4.1–4.2): the same resource with another role.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::control::auth::{Denied, Identity, Right, token_id};
use crate::control::counter::CounterPolicy;
use crate::control::limits::{Action, Key};
use crate::control::records::About;
use crate::control::stream::StreamName;
use crate::control::{OpenError, Opened};
use crate::media::{CloseReason, Role, SessionId};
use crate::wire::sdp::Refusal;

use super::body::{self, Body};
use super::problem::Problem;
use super::route::Route;
use super::service::{App, authorization, empty};
use super::session::FRAGMENT;
use super::{counter, elsewhere, events, layers};

/// Whoever may use an endpoint, and how.
#[derive(Debug)]
pub(super) enum Guest {
    /// Presents on the stream.
    Presenter(StreamName, Identity),
    /// Watches the stream, perhaps without a name.
    Viewer(StreamName, Option<Identity>),
}

impl Guest {
    /// Lets a request in at the endpoint of a stream; `None` at the one that takes the stream from the token.
    /// # Errors
    /// `Denied`.
    pub(super) fn admit(
        app: &App,
        role: Role,
        stream: Option<StreamName>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let admitted = if let Some(stream) = stream {
            Self::admit_to(app, role, stream, headers)
        } else {
            let named = app.identify(headers).and_then(|who| who.stream.ok_or(Denied::Insufficient));
            named.and_then(|stream| Self::admit_to(app, role, stream, headers))
        };
        admitted.map_err(Problem::Denied)
    }

    fn admit_to(app: &App, role: Role, stream: StreamName, headers: &HeaderMap) -> Result<Self, Denied> {
        let right = match role {
            Role::Presenter => Right::Publish,
            Role::Viewer => Right::Watch,
        };
        let who = app.identify(headers).and_then(|who| app.auth.permit(&who, right, &stream).map(|()| who));
        match role {
            Role::Presenter => Ok(Self::Presenter(stream, who?)),
            Role::Viewer if app.auth.watch_is_open(&stream) => {
                // Players send `Bearer undefined` and the like to open servers; only what two readers could read
                // differently is refused.
                authorization(headers)?;
                Ok(Self::Viewer(stream, who.ok()))
            }
            Role::Viewer => Ok(Self::Viewer(stream, Some(who?))),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Presenter(..) => Role::Presenter,
            Self::Viewer(..) => Role::Viewer,
        }
    }

    /// Has this request, which does nothing, credentials that would be let in here?
    pub(super) fn knows(app: &App, route: &Route, headers: &HeaderMap) -> bool {
        let (right, stream) = match route {
            Route::Endpoint(Role::Presenter, stream) => (Right::Publish, Some(stream)),
            Route::Endpoint(Role::Viewer, stream) => (Right::Watch, Some(stream)),
            Route::EndpointByToken(_) => (Right::Watch, None),
            _ => return false,
        };
        app.identify(headers).is_ok_and(|who| stream.is_none_or(|stream| app.auth.permit(&who, right, stream).is_ok()))
    }

    /// Counts an attempt: a presenter's by its name, a viewer's by its address, where a whole school may sit behind.
    fn limit(&self, app: &App, client: IpAddr) -> Result<(), Problem> {
        match self {
            Self::Presenter(_, who) => app.limit(Action::Present, &Key::Subject(who.subject.clone())),
            Self::Viewer(..) => app.limit(Action::Watch, &Key::address(client)),
        }
    }

    /// An offer of ours instead of the viewer's, if that is wanted; a presenter's is only refused.
    fn counter(&self, app: &App, refusal: Refusal, client: IpAddr, base: &str) -> Result<Response<Body>, Problem> {
        match (self, app.whep_counter_offer) {
            (Self::Viewer(stream, who), CounterPolicy::OnCodecMismatch) => {
                counter::offer(app, stream, who.as_ref(), client, base)
            }
            (Self::Presenter(..), _) | (_, CounterPolicy::Off) => Err(Problem::Offer(refusal)),
        }
    }

    /// Hands the offer to control.
    fn open(&self, app: &App, client: IpAddr, offer: &str) -> Result<Opened, OpenError> {
        match self {
            Self::Presenter(stream, who) => app.control.present(stream, who, offer),
            Self::Viewer(stream, who) => app.control.watch(stream, who.as_ref(), client, offer),
        }
    }
}

/// POST: an offer comes, a session and its answer go back. The body is not read before the guest is let in.
/// # Errors
/// In this order: asked too often, wrong type, body too large or broken, then what control says.
pub(super) async fn post(
    app: &App,
    guest: Guest,
    client: IpAddr,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let headers = &parts.headers;
    guest.limit(app, client)?;
    body::expect_type(headers, SDP)?;
    let offer = body::read(headers, body, app.limits.offer_bytes, app.limits.body).await?;
    let offer = text(&offer)?;
    match guest.open(app, client, offer) {
        Ok(opened) => {
            introduce(app, opened.session, headers, client, (offer, &opened.answer));
            let mut response = created(opened, guest.role(), &elsewhere::base(app, parts));
            app.offer_ice_servers(response.headers_mut());
            Ok(response)
        }
        Err(OpenError::Refused(refusal @ Refusal::Unsupported(_))) => {
            match guest.counter(app, refusal, client, &elsewhere::base(app, parts)) {
                Ok(mut response) => {
                    app.offer_ice_servers(response.headers_mut());
                    Ok(response)
                }
                Err(problem) => elsewhere::or_refuse(app, parts, problem),
            }
        }
        Err(error) => elsewhere::or_refuse(app, parts, Problem::of_open(error)),
    }
}

/// Tells for those who run the show who has made a session: with which description, and which one of ours.
pub(super) fn introduce(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
    (theirs, ours): (&str, &str),
) {
    let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
    let link = authorization(headers).ok().flatten().and_then(token_id);
    let about = About {
        user_agent: agent.as_deref().map(clean),
        address: Some(client),
        link: link.clone(),
        offer: Some(theirs.into()),
        answer: Some(ours.into()),
    };
    app.control.describe(session, about);
    // Whoever revokes it from here on finds this session; whoever did before has not.
    if link.is_some_and(|link| app.auth.links().is_revoked(&link)) {
        app.control.close(session, CloseReason::Revoked);
    }
}

/// GET and HEAD: here is an endpoint. WHEP ones say so by their type, for discovery; both have no content.
pub(super) fn get(role: Role) -> Response<Body> {
    let mut response = empty();
    response.headers_mut().insert("accept-post", HeaderValue::from_static(SDP));
    if role == Role::Viewer {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
    }
    response
}

/// 201 with the answer. If this response never reaches the connection the session ends.
fn created(opened: Opened, role: Role, base: &str) -> Response<Body> {
    let mut response = empty();
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
    // An absolute path: right behind any proxy, and the one form that every client resolves correctly.
    if let Ok(location) = HeaderValue::try_from(format!("{base}/session/{}", opened.session)) {
        headers.insert(LOCATION, location);
    }
    if let Ok(etag) = HeaderValue::from_str(&opened.etag) {
        headers.insert(ETAG, etag);
    }
    if role == Role::Viewer {
        events::link(headers, base, opened.session);
        layers::link(headers, base, opened.session);
    }
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    *response.body_mut() = Body::answer(opened);
    response
}

/// The body as text.
/// # Errors
/// `Offer` when it is none.
pub(super) fn text(body: &Bytes) -> Result<&str, Problem> {
    let broken = |reason| Problem::Offer(Refusal::Malformed(reason));
    if body.is_empty() {
        return Err(broken("the body is empty, an SDP offer is wanted".into()));
    }
    str::from_utf8(body).map_err(|e| broken(format!("the offer is not UTF-8 after byte {}", e.valid_up_to())))
}

/// Characters of a client's name that are kept.
const LONGEST_AGENT: usize = 256;
/// The one media type of offers and answers.
pub(super) const SDP: &str = "application/sdp";

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;

    #[test]
    fn a_body_that_is_no_text_is_broken_sdp() {
        assert!(text(&Bytes::from_static(b"v=0\r\n")).is_ok());
        for (body, reason) in [(&b""[..], "empty"), (&b"v=0\xff"[..], "after byte 3")] {
            let problem = text(&Bytes::copy_from_slice(body)).expect_err(reason);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
            assert!(problem.to_string().contains(reason), "{problem}");
        }
    }

    #[test]
    fn only_whep_says_its_type_when_asked() {
        assert!(!get(Role::Presenter).headers().contains_key(CONTENT_TYPE));
        assert_eq!(get(Role::Viewer).headers()[CONTENT_TYPE], SDP);
        assert!(get(Role::Viewer).body().is_end_stream());
    }
}
