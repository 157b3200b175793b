//! How sessions are made: an offer is negotiated, a place taken, the media plane told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::auth::Identity;
use super::directory::Entrant;
use super::layers::Video;
use super::limits::Key;
use super::patch::IceSession;
use super::records::Began;
use super::seats::Stage;
use super::stream::{IdlePolicy, Slate, StreamName};
use super::{Control, ids};
use crate::media::{CloseReason, Role, Route, SessionId, SessionSpec};
use crate::wire::sdp::{IceCredentials, Kind, Local, Negotiated, Refusal, Section, Shape};

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
    guard: Option<Arc<Control>>,
}

impl Opened {
    /// The answer reached the connection.
    pub fn delivered(mut self) {
        self.guard = None;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(control) = self.guard.take() {
            control.close(self.session, CloseReason::Abandoned);
        }
    }
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
    /// The seat is kept for somebody who presented until the server was started again.
    #[error("the presenter of this stream is expected back")]
    Awaited {
        /// Ask again after this.
        retry_after: Duration,
    },
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
    /// Many from the viewer's address are on their way in already.
    #[error("too many from this address are about to connect")]
    Crowded {
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

impl Control {
    /// Gives the presenter's seat to a client with whom `negotiate` agrees.
    pub(super) fn seat(
        self: &Arc<Self>,
        stream: &StreamName,
        who: &Identity,
        negotiate: impl FnOnce(&Local<'_>) -> Result<Negotiated, Refusal>,
    ) -> Result<Opened, OpenError> {
        let policy = self.policies.of(stream).ok_or(OpenError::UnknownStream)?;
        let proposal = self.propose(stream, Some(who), negotiate)?;
        let (entrant, answer) = (proposal.entrant.clone(), proposal.negotiated.answer.clone());
        let (shape, takes) = (first_formats(&proposal.negotiated.sections), kinds(&proposal.negotiated.sections));

        let replaced = self.directory.present(stream, policy, &entrant, shape, |route, standing| {
            self.media.open(SessionSpec { standing, ..proposal.spec(Role::Presenter, route) })
        })?;
        if let Some((old, departed)) = replaced {
            self.ended(old, &departed, CloseReason::TakenOver);
            self.directory.inscribe(old, CloseReason::TakenOver);
            self.media.close(old, CloseReason::TakenOver);
        }
        Ok(self.opened(Role::Presenter, stream, entrant, answer, takes))
    }

    /// Lets a viewer in with whom `negotiate` agrees.
    pub(super) fn admit(
        self: &Arc<Self>,
        stream: &StreamName,
        who: Option<&Identity>,
        from: IpAddr,
        negotiate: impl FnOnce(&Local<'_>, &Shape) -> Result<Negotiated, Refusal>,
    ) -> Result<Opened, OpenError> {
        let policy = self.policies.of(stream).ok_or(OpenError::UnknownStream)?;
        // Asked before the offer is weighed: while nobody presents, a crowd that comes back every few seconds is cheap.
        let shape = match (self.directory.stage(stream)?, policy.idle) {
            (Stage::Live(shape), _) | (Stage::Soon(shape) | Stage::Held(shape), IdlePolicy::Wait) => shape,
            (Stage::Soon(shape) | Stage::Held(shape), IdlePolicy::Conflict) if policy.slate == Slate::Hold => shape,
            (Stage::Empty, IdlePolicy::Wait) => Shape::default(),
            (Stage::Soon(_) | Stage::Held(_), IdlePolicy::Conflict) => {
                return Err(OpenError::Idle { retry_after: SOON });
            }
            (Stage::Empty, IdlePolicy::Conflict) => {
                return Err(OpenError::Idle { retry_after: ids::retry_after() });
            }
        };
        let mut proposal = self.propose(stream, who, |local| negotiate(local, &shape))?;
        proposal.entrant.from = Some(Key::address(from));
        let (entrant, answer) = (proposal.entrant.clone(), proposal.negotiated.answer.clone());
        let takes = kinds(&proposal.negotiated.sections);

        self.directory.watch(stream, policy, &entrant, |route| self.media.open(proposal.spec(Role::Viewer, route)))?;
        Ok(self.opened(Role::Viewer, stream, entrant, answer, takes))
    }

    /// Draws everything that is random about a session, and negotiates with it.
    pub(super) fn propose(
        &self,
        stream: &StreamName,
        who: Option<&Identity>,
        negotiate: impl FnOnce(&Local<'_>) -> Result<Negotiated, Refusal>,
    ) -> Result<Proposal, Refusal> {
        let ice = ids::ice();
        let (audio, video) = ids::sources();
        let negotiated = negotiate(&Local {
            ice: &ice,
            fingerprint: self.media.fingerprint(),
            candidates: &self.candidates,
            session_id: ids::sdp_session(),
            msid: stream.as_str(),
            audio,
            video,
        })?;
        let subject = who.map(|who| who.subject.clone());
        let ice_session = IceSession::new(ids::etag(1), &negotiated);
        let video = negotiated.sections.iter().find_map(Video::of);
        let entrant =
            Entrant { id: ids::session(), ice: ice_session, subject, video, from: None, created: Instant::now() };
        Ok(Proposal { entrant, ice, negotiated })
    }

    /// Counts a new session and puts it under its guard.
    pub(super) fn opened(
        self: &Arc<Self>,
        role: Role,
        stream: &StreamName,
        entrant: Entrant,
        answer: String,
        takes: [bool; 2],
    ) -> Opened {
        let (subject, at) = (entrant.subject.as_deref(), entrant.created);
        self.records.began(entrant.id, Began { role, stream, subject, takes, at });
        // Whoever has ended it already found nothing in the records that could end.
        if self.directory.session(entrant.id).is_none() {
            let reason = self.directory.inscription(entrant.id).unwrap_or(CloseReason::Abandoned);
            self.records.ended(entrant.id, reason, Instant::now());
        }
        self.meters.joined(role);
        self.meters.streams(self.directory.counts().1);
        Opened { session: entrant.id, etag: entrant.ice.etag, answer, guard: Some(Arc::clone(self)) }
    }
}

/// A session that both ends agree on and nobody has let in yet.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) entrant: Entrant,
    pub(super) ice: IceCredentials,
    pub(super) negotiated: Negotiated,
}

impl Proposal {
    pub(super) fn spec(self, role: Role, route: Arc<Route>) -> SessionSpec {
        let Self { entrant: Entrant { id, created, .. }, ice: local_ice, negotiated } = self;
        SessionSpec { id, role, route, local_ice, negotiated, created, standing: None }
    }
}

/// Whether there is sound and whether there is a picture.
pub(super) fn kinds(sections: &[Section]) -> [bool; 2] {
    [Kind::Audio, Kind::Video].map(|kind| sections.iter().any(|section| section.kind == kind))
}

/// What a presenter will send if it takes what it agreed on first. Its packets tell better, later.
fn first_formats(sections: &[Section]) -> Shape {
    let first = |kind: Kind| sections.iter().find(|section| section.kind == kind)?.formats.first().cloned();
    Shape { audio: first(Kind::Audio), video: first(Kind::Video) }
}

/// A presenter that has its answer is connected after a second, or something is wrong with it.
pub(super) const SOON: Duration = Duration::from_secs(1);
