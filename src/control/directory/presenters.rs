//! What becomes of presenters once they are seated, and of their viewers when they go.

use std::time::{Duration, Instant};

use super::{Directory, Parting, Session, Stream, Table};
use crate::control::stream::IdlePolicy;
use crate::media::layer::LayerInfo;
use crate::media::{CloseReason, Role, SessionId};
use crate::wire::sdp::{Format, Kind};

impl Directory {
    /// A presenter sends this now.
    pub(in crate::control) fn started(&self, id: SessionId, kind: Kind, format: Format) {
        self.of_presenter(id, |stream| stream.seats.started(id, kind, format));
    }

    /// A presenter's media stopped, or goes on.
    pub(in crate::control) fn flow(&self, id: SessionId, flows: bool) {
        self.of_presenter(id, |stream| stream.seats.flow(id, flows));
    }

    /// Of several presenters this one is what viewers get.
    pub(in crate::control) fn on_air(&self, id: SessionId, now: Instant) {
        self.of_presenter(id, |stream| {
            tracing::info!(session = ?id, "presenter on air");
            stream.seats.on_air(id);
            if !stream.board.layers_now().is_empty() {
                // Those of the presenter before it; this one's, if it has any, are told later.
                stream.board.layers(Vec::new(), now);
            }
        });
    }

    /// The presenter's video has these layers now. Heard only from whoever is on air.
    pub(in crate::control) fn layers(&self, id: SessionId, layers: Vec<LayerInfo>, now: Instant) {
        self.of_presenter(id, |stream| {
            if stream.seats.is_on_air(id) {
                stream.board.layers(layers, now);
            }
        });
    }

    /// A viewer is told to make a new session; the one that it has ends soon, as [`Directory::parted`] says.
    pub(in crate::control) fn part(&self, id: SessionId, reason: CloseReason, now: Instant) {
        let Table { sessions, parting, .. } = &mut *self.table();
        if let Some(session) = sessions.get_mut(&id).filter(|session| session.role == Role::Viewer) {
            part(id, session, parting, reason, now);
        }
    }

    /// Tells viewers to make new sessions where nobody has presented for the grace time. Returns those whose time is
    /// over, not too many at once.
    pub(in crate::control) fn parted(&self, now: Instant) -> Vec<(SessionId, CloseReason)> {
        let Table { streams, sessions, parting, awaited, .. } = &mut *self.table();
        awaited.expire(now);
        for (name, stream) in streams.iter_mut() {
            let Some(policy) = self.policies.of(name).filter(|policy| policy.idle == IdlePolicy::Conflict) else {
                continue;
            };
            if stream.seats.is_given_up(policy.grace, now) {
                for (id, session) in sessions.iter_mut().filter(|(_, s)| s.stream == *name) {
                    part(*id, session, parting, CloseReason::NoPresenter, now);
                }
            }
        }
        let due = parting.iter().take(PARTED_AT_ONCE).take_while(|(at, ..)| *at <= now).count();
        parting.drain(..due).map(|(_, id, reason)| (id, reason)).collect()
    }

    /// Does something with the stream that a session presents on.
    fn of_presenter(&self, id: SessionId, action: impl FnOnce(&mut Stream)) {
        let mut table = self.table();
        let presents = table.sessions.get(&id).filter(|session| session.role == Role::Presenter);
        let Some(name) = presents.map(|session| session.stream.clone()) else {
            return;
        };
        if let Some(stream) = table.streams.get_mut(&name) {
            action(stream);
        }
        table.tell_live(&name);
    }
}

/// Tells a session that it ends, and writes down when; the first time only.
fn part(id: SessionId, session: &mut Session, parting: &mut Parting, reason: CloseReason, now: Instant) {
    if !std::mem::replace(&mut session.is_parting, true) {
        session.events.part();
        parting.push_back((now + PARTING, id, reason));
    }
}

/// From the event to the end: it reaches the player first.
const PARTING: Duration = Duration::from_secs(1);
/// A worker's mailbox has room for as many, and more.
const PARTED_AT_ONCE: usize = 500;
