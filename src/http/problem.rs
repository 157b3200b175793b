//! Everything that can go wrong with a request, and the one place that picks status codes for it (RFC 9457).

use std::fmt::Write as _;
use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::control::auth::Denied;
use crate::control::{OpenError, PatchError};
use crate::wire::sdp::Refusal;

use super::body::Body;
use super::session::FRAGMENT;

/// Why a request is refused. The text of a variant becomes the `detail`: it says what was found and what is wanted,
/// and never repeats a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// Not a request that an honest client sends.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Credentials are missing, wrong, or not enough.
    #[error("{0}")]
    Denied(Denied),
    /// The path names nothing.
    #[error("there is nothing at this path; publish to /whip/{{stream}}, watch at /whep/{{stream}}")]
    NoResource,
    /// The path would name a stream, but not with this name.
    #[error("a stream name is 1–64 of A–Z a–z 0–9 _ -")]
    BadStreamName,
    /// Streams are provisioned and this is none of them.
    #[error("there is no such stream")]
    NoStream,
    /// Unknown, ended, or somebody else's.
    #[error("there is no such session; it may have ended")]
    NoSession,
    /// Ended, because the same identity presents in another one.
    #[error("this session has ended: its presenter has made another one")]
    TakenOver,
    /// Ended, because whoever runs the server wanted it so.
    #[error("this session has ended: whoever runs this server has ended it")]
    Kicked,
    /// Unknown, or expired.
    #[error("there is no such link; it may have expired")]
    NoLink,
    /// Unknown, or old.
    #[error("there is no such report; old ones go when there are many")]
    NoReport,
    /// A link that cannot be made.
    #[error("{0}")]
    Link(String),
    /// As many links as are kept.
    #[error("there are as many links as are kept; they go when they expire")]
    TooManyLinks,
    /// The method means nothing here.
    #[error("this method does nothing here; use one of: {allow}")]
    Method {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// The body did not come in time.
    #[error("the body did not arrive within {} s", .0.as_secs_f32())]
    BodyTimeout(Duration),
    /// The body is over the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Most bytes taken.
        limit: usize,
    },
    /// Not the media type of this endpoint.
    #[error("Content-Type is {found}, {wanted} is wanted")]
    WrongType {
        /// What the request says, cleaned.
        found: String,
        /// What this resource takes.
        wanted: &'static str,
    },
    /// A list of events that holds something else, or is none.
    #[error("{0}")]
    EventKinds(String),
    /// A second answer to an offer of ours.
    #[error("the offer has been answered already; the session lives")]
    Answered,
    /// Layers that are not to be had.
    #[error("{0}")]
    Wish(String),
    /// The body is compressed.
    #[error("the body has a Content-Encoding, send it without one")]
    Encoded,
    /// The offer cannot be taken.
    #[error("{0}")]
    Offer(Refusal),
    /// The SDP fragment cannot be taken.
    #[error("{0}")]
    Fragment(Refusal),
    /// A PATCH that does not say which ICE session it means.
    #[error("If-Match is missing: say which ICE session is meant, by its ETag, or * for a restart")]
    PreconditionRequired,
    /// A PATCH for another ICE session.
    #[error("the ICE session is another one by now: its ETag does not match, or its credentials are old ones")]
    PreconditionFailed,
    /// The ICE restart cannot be done now.
    #[error("no ICE restart is possible now; the session goes on, ask again later")]
    NoRestart,
    /// Somebody else presents.
    #[error("somebody else is presenting on this stream")]
    Busy,
    /// Somebody else is expected back.
    #[error("the presenter of this stream is expected back; ask again later")]
    Awaited {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// Nobody presents.
    #[error("nobody is presenting on this stream yet; ask again later")]
    Idle {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// Too many from one place.
    #[error("too many connections or requests from this address; ask again later")]
    TooMany {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// No room.
    #[error("the server has all it can carry; ask again later")]
    Full {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// Shutting down.
    #[error("the server is shutting down; ask again later")]
    Draining {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// The answer was not ready in time.
    #[error("the answer was not ready in time; ask again later")]
    Overdue,
    /// A bug of ours.
    #[error("the server made a mistake; it is logged there")]
    Internal,
}

impl Problem {
    /// What control says, as a client sees it.
    pub(super) fn of_open(error: OpenError) -> Self {
        match error {
            OpenError::Refused(refusal) => Self::Offer(refusal),
            OpenError::Busy => Self::Busy,
            OpenError::Awaited { retry_after } => Self::Awaited { retry_after },
            OpenError::Idle { retry_after } => Self::Idle { retry_after },
            OpenError::UnknownStream => Self::NoStream,
            OpenError::Full { retry_after } => Self::Full { retry_after },
            OpenError::Crowded { retry_after } => Self::TooMany { retry_after },
            OpenError::Draining { retry_after } => Self::Draining { retry_after },
        }
    }

    /// What control says to a PATCH.
    pub(super) fn of_patch(error: PatchError) -> Self {
        match error {
            PatchError::NoSession => Self::NoSession,
            PatchError::Required => Self::PreconditionRequired,
            PatchError::Stale => Self::PreconditionFailed,
            PatchError::Unable => Self::NoRestart,
        }
    }

    /// The status code.
    pub(super) fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// Status, stable last part of `type`, title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", "Bad request"),
            Self::Denied(Denied::Missing) => (StatusCode::UNAUTHORIZED, "token-missing", "A token is needed"),
            Self::Denied(Denied::Malformed) => (StatusCode::BAD_REQUEST, "token-malformed", "Broken credentials"),
            Self::Denied(Denied::Invalid) => (StatusCode::UNAUTHORIZED, "token-invalid", "The token is not valid"),
            Self::Denied(Denied::Insufficient) => {
                (StatusCode::FORBIDDEN, "token-insufficient", "The token does not allow this")
            }
            Self::NoResource => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::BadStreamName => (StatusCode::NOT_FOUND, "bad-stream-name", "Not a stream name"),
            Self::NoStream => (StatusCode::NOT_FOUND, "no-such-stream", "No such stream"),
            Self::NoSession => (StatusCode::NOT_FOUND, "no-such-session", "No such session"),
            Self::TakenOver => (StatusCode::NOT_FOUND, "session-taken-over", "The session was taken over"),
            Self::Kicked => (StatusCode::NOT_FOUND, "session-kicked", "The session was ended"),
            Self::NoLink => (StatusCode::NOT_FOUND, "no-such-link", "No such link"),
            Self::NoReport => (StatusCode::NOT_FOUND, "no-such-report", "No such report"),
            Self::Link(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no-such-link-possible", "Not a possible link"),
            Self::TooManyLinks => (StatusCode::CONFLICT, "too-many-links", "Too many links"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::BodyTimeout(_) => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body came too slowly"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::WrongType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-media-type", "Wrong media type"),
            Self::EventKinds(_) => (StatusCode::BAD_REQUEST, "unknown-events", "Not a list of events"),
            Self::Answered => (StatusCode::CONFLICT, "already-answered", "The offer has been answered"),
            Self::Wish(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no-such-layer", "No such layer"),
            Self::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoded", "Content-Encoding not taken"),
            Self::Offer(Refusal::Malformed(_)) => (StatusCode::BAD_REQUEST, "malformed-sdp", "The SDP is broken"),
            Self::Offer(Refusal::Unsupported(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unsupported-offer", "The offer cannot be taken")
            }
            Self::Fragment(_) => (StatusCode::BAD_REQUEST, "malformed-fragment", "The SDP fragment is broken"),
            Self::PreconditionRequired => {
                (StatusCode::PRECONDITION_REQUIRED, "precondition-required", "An entity-tag is needed")
            }
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition-failed", "Another ICE session"),
            Self::NoRestart => (StatusCode::SERVICE_UNAVAILABLE, "no-restart", "No ICE restart now"),
            Self::Busy => (StatusCode::CONFLICT, "stream-busy", "The stream has a presenter"),
            Self::Awaited { .. } => (StatusCode::CONFLICT, "stream-awaited", "The stream's presenter is expected"),
            Self::Idle { .. } => (StatusCode::CONFLICT, "stream-idle", "The stream has no presenter"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "full", "No room"),
            Self::Draining { .. } => (StatusCode::SERVICE_UNAVAILABLE, "draining", "Shutting down"),
            Self::Overdue => (StatusCode::SERVICE_UNAVAILABLE, "overdue", "Not ready in time"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Server error"),
        }
    }

    /// When to ask again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Awaited { retry_after }
            | Self::Idle { retry_after }
            | Self::TooMany { retry_after }
            | Self::Full { retry_after }
            | Self::Draining { retry_after } => Some(*retry_after),
            Self::Overdue => Some(Duration::from_secs(5)),
            Self::NoRestart => Some(Duration::from_secs(1)),
            Self::BadRequest(_)
            | Self::Denied(_)
            | Self::NoResource
            | Self::BadStreamName
            | Self::NoStream
            | Self::NoSession
            | Self::TakenOver
            | Self::Kicked
            | Self::NoLink
            | Self::NoReport
            | Self::Link(_)
            | Self::TooManyLinks
            | Self::Method { .. }
            | Self::BodyTimeout(_)
            | Self::TooLarge { .. }
            | Self::WrongType { .. }
            | Self::Encoded
            | Self::EventKinds(_)
            | Self::Wish(_)
            | Self::Answered
            | Self::Offer(_)
            | Self::Fragment(_)
            | Self::PreconditionRequired
            | Self::PreconditionFailed
            | Self::Busy
            | Self::Internal => None,
        }
    }

    /// The `WWW-Authenticate` challenge (RFC 6750 §3): without credentials there is no error code.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Denied(Denied::Missing) => Some(r#"Bearer realm="tribune""#),
            Self::Denied(Denied::Malformed) => Some(r#"Bearer realm="tribune", error="invalid_request""#),
            Self::Denied(Denied::Invalid) => Some(r#"Bearer realm="tribune", error="invalid_token""#),
            Self::Denied(Denied::Insufficient) => Some(r#"Bearer realm="tribune", error="insufficient_scope""#),
            _ => None,
        }
    }

    /// The problem document.
    fn document(&self) -> String {
        let (status, slug, title) = self.kind();
        let document = serde_json::json!({
            "type": format!("urn:tribune:problem:{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        document.to_string()
    }

    /// The whole response.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.document()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        match self {
            Self::Method { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::WrongType { wanted, .. } => {
                let name = if wanted == FRAGMENT { "accept-patch" } else { "accept-post" };
                headers.insert(name, HeaderValue::from_static(wanted));
            }
            Self::Encoded => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            _ => {}
        }
        response
    }

    /// The whole response as HTTP/1.1 bytes, for a connection that is closed unread.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let document = self.document();
        let status = self.status();
        let mut text = format!("HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\nconnection: close\r\n");
        text.push_str("access-control-allow-origin: *\r\ncache-control: no-store\r\n");
        if let Some(after) = self.retry_after() {
            // Writing into a String cannot fail.
            let _ = write!(text, "retry-after: {}\r\n", whole_seconds(after));
        }
        let _ = write!(text, "content-length: {}\r\n\r\n{document}", document.len());
        text.into_bytes()
    }
}

/// Rounded up, at least 1: `Retry-After: 0` makes clients spin.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

const PROBLEM_JSON: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::endpoint::SDP;

    /// One of each kind with the status that a client must see.
    fn all() -> Vec<(Problem, u16)> {
        let retry_after = Duration::from_millis(2_500);
        vec![
            (Problem::BadRequest("x"), 400),
            (Problem::Denied(Denied::Missing), 401),
            (Problem::Denied(Denied::Malformed), 400),
            (Problem::Denied(Denied::Invalid), 401),
            (Problem::Denied(Denied::Insufficient), 403),
            (Problem::NoResource, 404),
            (Problem::BadStreamName, 404),
            (Problem::of_open(OpenError::UnknownStream), 404),
            (Problem::NoSession, 404),
            (Problem::TakenOver, 404),
            (Problem::Kicked, 404),
            (Problem::NoLink, 404),
            (Problem::NoReport, 404),
            (Problem::Link("x".into()), 422),
            (Problem::TooManyLinks, 409),
            (Problem::Method { allow: "GET" }, 405),
            (Problem::BodyTimeout(Duration::from_secs(10)), 408),
            (Problem::TooLarge { limit: 65_536 }, 413),
            (Problem::WrongType { found: "`text/plain`".into(), wanted: SDP }, 415),
            (Problem::Encoded, 415),
            (Problem::EventKinds("x".into()), 400),
            (Problem::Wish("x".into()), 422),
            (Problem::Answered, 409),
            (Problem::of_open(Refusal::Malformed("line 3: x".into()).into()), 400),
            (Problem::of_open(Refusal::Unsupported("two audio sections".into()).into()), 422),
            (Problem::Fragment(Refusal::Malformed("line 1: x".into())), 400),
            (Problem::of_patch(PatchError::Required), 428),
            (Problem::of_patch(PatchError::Stale), 412),
            (Problem::of_patch(PatchError::Unable), 503),
            (Problem::of_open(OpenError::Busy), 409),
            (Problem::of_open(OpenError::Awaited { retry_after }), 409),
            (Problem::of_open(OpenError::Idle { retry_after }), 409),
            (Problem::TooMany { retry_after }, 429),
            (Problem::of_open(OpenError::Full { retry_after }), 503),
            (Problem::of_open(OpenError::Draining { retry_after }), 503),
            (Problem::Overdue, 503),
            (Problem::Internal, 500),
        ]
    }

    #[test]
    fn every_problem_has_its_status_and_its_own_type() {
        let mut types = std::collections::HashSet::new();

        for (problem, status) in all() {
            let document: serde_json::Value = serde_json::from_str(&problem.document()).expect("JSON");
            assert_eq!(document["status"], status, "{problem:?}");
            assert_eq!(document["detail"], problem.to_string());
            assert!(types.insert(document["type"].to_string()), "{problem:?}");
            let response = problem.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        }
        assert_eq!(types.len(), all().len());
    }

    #[test]
    fn a_challenge_comes_with_every_401_and_403() {
        for (problem, status) in all() {
            let challenge = problem.clone().into_response().headers().get(WWW_AUTHENTICATE).cloned();
            match status {
                401 | 403 => assert!(challenge.is_some(), "{problem:?}"),
                400 => {}
                _ => assert!(challenge.is_none(), "{problem:?}"),
            }
        }
        let missing = Problem::Denied(Denied::Missing).into_response();
        assert_eq!(missing.headers()[WWW_AUTHENTICATE], r#"Bearer realm="tribune""#);
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (time, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_500, 3)] {
            assert_eq!(whole_seconds(Duration::from_millis(time)), seconds);
        }
        for (problem, status) in all() {
            let has = problem.clone().into_response().headers().contains_key(RETRY_AFTER);
            if matches!(status, 429 | 503) {
                assert!(has, "{problem:?}");
            }
        }
        let busy = Problem::Busy.into_response();
        assert!(!busy.headers().contains_key(RETRY_AFTER), "another presenter does not go away by waiting");
    }

    #[test]
    fn a_refusal_as_bytes_is_a_whole_response() {
        let bytes = Problem::Full { retry_after: Duration::from_secs(5) }.into_bytes();

        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(head.contains("\r\nretry-after: 5\r\n"));
        assert!(head.contains("\r\nconnection: close\r\n"));
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
    }
}
