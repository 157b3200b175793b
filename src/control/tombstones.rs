//! Sessions that have ended, remembered for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::media::{CloseReason, Role, SessionId};

use super::stream::StreamName;

/// Sessions that ended a short while ago: a repeated DELETE of one succeeds (a client that lost the first answer).
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    stones: HashMap<SessionId, Stone>,
    /// When each may be forgotten, the oldest first.
    order: VecDeque<(Instant, SessionId)>,
}

/// A session that left: what its summary line needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Departed {
    pub(super) role: Role,
    pub(super) stream: StreamName,
}

/// What is remembered of one session.
#[derive(Debug)]
struct Stone {
    /// Whoever's summary is still to come.
    awaited: Option<Departed>,
    /// Why it ended, where its client may ask.
    reason: Option<CloseReason>,
}

impl Tombstones {
    /// Remembers a session that has ended; `awaited` while its summary is still to come.
    pub(super) fn bury(&mut self, id: SessionId, awaited: Option<Departed>, now: Instant) {
        self.expire(now);
        if self.order.len() >= MOST_TOMBSTONES
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.stones.remove(&oldest);
        }
        self.stones.insert(id, Stone { awaited, reason: None });
        self.order.push_back((now + REMEMBERED, id));
    }

    /// Did it end a short while ago?
    pub(super) fn holds(&mut self, id: SessionId, now: Instant) -> bool {
        self.expire(now);
        self.stones.contains_key(&id)
    }

    /// Whoever's summary has come now; `None` when none was awaited.
    pub(super) fn summarize(&mut self, id: SessionId) -> Option<Departed> {
        self.stones.get_mut(&id)?.awaited.take()
    }

    /// Writes down why a session has ended.
    pub(super) fn inscribe(&mut self, id: SessionId, reason: CloseReason) {
        if let Some(stone) = self.stones.get_mut(&id) {
            stone.reason = Some(reason);
        }
    }

    /// Why a session ended a short while ago, as far as that was written down.
    pub(super) fn inscription(&self, id: SessionId) -> Option<CloseReason> {
        self.stones.get(&id)?.reason
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, id)) = self.order.front().filter(|(until, _)| *until <= now) {
            self.stones.remove(id);
            self.order.pop_front();
        }
    }
}

/// How long a DELETE may be repeated.
const REMEMBERED: Duration = Duration::from_mins(1);
/// About 100 bytes each.
const MOST_TOMBSTONES: usize = 65_536;
