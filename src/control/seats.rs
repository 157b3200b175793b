//! A stream's presenters: who sits where, who is on air, and since when nobody is.

use std::time::{Duration, Instant};

use crate::media::SessionId;
use crate::wire::sdp::{Format, Kind, Shape};

use super::stream::Presenters;

/// The presenters of one stream, one for each rank at most.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// By rank, the lowest first.
    taken: Vec<Seat>,
    /// Whose media viewers get, as the media plane says. It says so only where there can be several.
    on_air: Option<SessionId>,
    /// What was presented last, once somebody has.
    last: Option<Shape>,
    /// When it was seen first that nobody sits here any more.
    vacant_since: Option<Instant>,
}

/// What a viewer would find on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody presents.
    Empty,
    /// Somebody is about to: the session is made, its keys are not agreed yet.
    Soon(Shape),
    /// Somebody has presented this and is awaited back.
    Held(Shape),
    /// Somebody presents this.
    Live(Shape),
}

/// A presenter's place, taken.
#[derive(Debug)]
pub(super) struct Seat {
    session: SessionId,
    subject: Option<String>,
    rank: u8,
    shape: Shape,
    flow: Flow,
    since: Instant,
}

/// How far a presenter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// It has its answer.
    Invited,
    /// It has its keys; it sends, or has not begun.
    Connected,
    /// It has sent something, and nothing lately.
    Stopped,
}

/// Somebody else has the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Seats {
    /// The session that an identity would replace.
    /// # Errors
    /// `Taken` by somebody who is not replaced.
    pub(super) fn rival(
        &self,
        policy: &Presenters,
        subject: Option<&str>,
        now: Instant,
    ) -> Result<Option<SessionId>, Taken> {
        let rank = policy.rank(subject.unwrap_or_default());
        let Some(seat) = self.taken.iter().find(|seat| seat.rank == rank) else {
            return Ok(None);
        };
        let may = match policy {
            Presenters::Takeover | Presenters::Backup(_) => seat.subject.as_deref() == subject,
            Presenters::Reject => seat.is_stale(now),
        };
        if may { Ok(Some(seat.session)) } else { Err(Taken) }
    }

    /// Seats a session; whoever sat there leaves by [`Seats::leave`].
    pub(super) fn take(&mut self, session: SessionId, subject: Option<String>, rank: u8, shape: Shape, now: Instant) {
        let at = self.taken.partition_point(|seat| seat.rank <= rank);
        self.taken.insert(at, Seat { session, subject, rank, shape, flow: Flow::Invited, since: now });
        self.vacant_since = None;
    }

    /// Frees a session's seat. `false` when it had none.
    pub(super) fn leave(&mut self, session: SessionId) -> bool {
        let Some(at) = self.taken.iter().position(|seat| seat.session == session) else {
            return false;
        };
        let seat = self.taken.remove(at);
        if self.on_air == Some(session) {
            self.on_air = None;
        }
        if seat.flow != Flow::Invited {
            self.last = Some(seat.shape);
        }
        true
    }

    /// The session's keys are agreed.
    pub(super) fn connected(&mut self, session: SessionId) {
        self.set(session, Flow::Connected);
    }

    /// The session's media stopped, or goes on.
    pub(super) fn flow(&mut self, session: SessionId, flows: bool) {
        self.set(session, if flows { Flow::Connected } else { Flow::Stopped });
    }

    /// The session's media is what viewers get.
    pub(super) fn on_air(&mut self, session: SessionId) {
        if self.taken.iter().any(|seat| seat.session == session) {
            self.on_air = Some(session);
        }
    }

    /// A presenter sends this.
    pub(super) fn started(&mut self, session: SessionId, kind: Kind, format: Format) {
        if let Some(seat) = self.taken.iter_mut().find(|seat| seat.session == session) {
            match kind {
                Kind::Audio => seat.shape.audio = Some(format),
                Kind::Video => seat.shape.video = Some(format),
            }
        }
    }

    /// Do viewers get the media of this session?
    pub(super) fn is_on_air(&self, session: SessionId) -> bool {
        self.air().is_some_and(|seat| seat.session == session)
    }

    /// Somebody presents, and it shows.
    pub(super) fn is_live(&self) -> bool {
        self.air().is_some_and(|seat| seat.flow == Flow::Connected)
    }

    /// The identities that sit here.
    pub(super) fn subjects(&self) -> impl Iterator<Item = String> {
        self.taken.iter().filter_map(|seat| seat.subject.clone())
    }

    /// Who presents, if its keys are agreed.
    pub(super) fn presenter(&self) -> Option<SessionId> {
        self.air().filter(|seat| seat.flow != Flow::Invited).map(|seat| seat.session)
    }

    /// Nobody sits here.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// What a viewer would find.
    pub(super) fn stage(&self) -> Stage {
        match (self.air(), &self.last) {
            (Some(seat), _) if seat.flow == Flow::Invited => Stage::Soon(seat.shape.clone()),
            (Some(seat), _) => Stage::Live(seat.shape.clone()),
            (None, Some(last)) => Stage::Held(last.clone()),
            (None, None) => Stage::Empty,
        }
    }

    /// Nobody has presented for so long.
    pub(super) fn is_given_up(&mut self, grace: Duration, now: Instant) -> bool {
        if !self.is_empty() {
            return false;
        }
        let since = *self.vacant_since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= grace;
        if is_over {
            self.last = None;
        }
        is_over
    }

    /// Whose media viewers get, or would get if there were any.
    fn air(&self) -> Option<&Seat> {
        let told = self.taken.iter().find(|seat| self.on_air == Some(seat.session));
        let connected = || self.taken.iter().find(|seat| seat.flow != Flow::Invited);
        told.or_else(connected).or_else(|| self.taken.first())
    }

    fn set(&mut self, session: SessionId, flow: Flow) {
        if let Some(seat) = self.taken.iter_mut().find(|seat| seat.session == session) {
            seat.flow = flow;
        }
    }
}

impl Seat {
    /// Nothing has come of it lately.
    fn is_stale(&self, now: Instant) -> bool {
        match self.flow {
            Flow::Invited => now.saturating_duration_since(self.since) >= STALE,
            Flow::Connected => false,
            Flow::Stopped => true,
        }
    }
}

/// A client that has its answer is connected by then, or has gone.
const STALE: Duration = Duration::from_secs(3);
