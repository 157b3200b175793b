//! Streams, sessions, permissions: who may do what, and who is doing it now.

pub mod auth;
pub mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::{CloseReason, Notice, Role, SessionId};
use crate::wire::sdp::Refusal;

use auth::Identity;
use stream::StreamName;

/// The control plane. One per process, shared.
#[derive(Debug)]
pub struct Control {}

/// A session made for a client. If it is dropped before [`Opened::delivered`] the session ends as `Abandoned`: the
/// client hung up before it got its answer.
#[derive(Debug)]
pub struct Opened {
    /// Its name, for the `Location`.
    pub session: SessionId,
    /// Strong entity-tag of its ICE session, with quotes.
    pub etag: String,
    /// The SDP answer.
    pub answer: String,
}

impl Opened {
    /// The answer reached the connection.
    pub fn delivered(self) {}
}

/// Why no session was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The offer cannot be taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else presents on this stream.
    #[error("somebody else is presenting on this stream")]
    Busy,
    /// Nobody presents on this stream now.
    #[error("nobody is presenting on this stream yet")]
    Idle {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// Streams are provisioned and this is none of them.
    #[error("there is no such stream")]
    UnknownStream,
    /// The server or the stream has all the sessions it may have.
    #[error("all session places are taken")]
    Full {
        /// Ask again after this.
        retry_after: Duration,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining {
        /// Ask again after this.
        retry_after: Duration,
    },
}

/// A session as others may see it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Presenter or viewer.
    pub role: Role,
    /// Its stream.
    pub stream: StreamName,
    /// Who made it; `None` for an anonymous viewer.
    pub subject: Option<String>,
    /// Entity-tag of its ICE session.
    pub etag: String,
    /// Keys are agreed.
    pub connected: bool,
    /// When it was made.
    pub created: Instant,
}

/// A stream as others may see it.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// Its name.
    pub name: StreamName,
    /// Somebody presents and is connected.
    pub live: bool,
    /// Viewers connected now.
    pub viewers: usize,
    /// Watching needs no token.
    pub open: bool,
}

impl Control {
    /// Makes a presenter's session; takes over a session of the same identity.
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub fn present(
        self: &Arc<Self>,
        _stream: &StreamName,
        _who: &Identity,
        _offer: &str,
    ) -> Result<Opened, OpenError> {
        Err(OpenError::Busy)
    }

    /// Makes a viewer's session.
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub fn watch(
        self: &Arc<Self>,
        _stream: &StreamName,
        _who: Option<&Identity>,
        _offer: &str,
    ) -> Result<Opened, OpenError> {
        Err(OpenError::Busy)
    }

    /// Looks a session up. The id is the capability; a tombstone is not found here.
    pub fn session(&self, _id: SessionId) -> Option<SessionView> {
        None
    }

    /// Ends a session. `false` when it never was or is long gone; `true` also for one that ended within the last
    /// minute, so that a repeated DELETE succeeds.
    pub fn close(&self, _id: SessionId, _reason: CloseReason) -> bool {
        false
    }

    /// Every stream with a presenter or viewers, by name.
    pub fn streams(&self) -> Vec<StreamView> {
        Vec::new()
    }

    /// One stream; `None` when nobody presents or watches it.
    pub fn stream(&self, _name: &StreamName) -> Option<StreamView> {
        None
    }

    /// Takes in what a worker tells.
    pub fn notice(&self, _notice: Notice) {}

    /// No new sessions from now on.
    pub fn drain(&self) {}

    /// Ready for new sessions.
    pub fn is_ready(&self) -> bool {
        true
    }
}
