//! Sessions that have ended, remembered for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::media::SessionId;

use super::directory::Departed;

/// Sessions that ended a short while ago: a repeated DELETE of one succeeds (a client that lost the first answer).
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    /// Whoever's summary is still to come.
    stones: HashMap<SessionId, Option<Departed>>,
    /// When each may be forgotten, the oldest first.
    order: VecDeque<(Instant, SessionId)>,
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
        self.stones.insert(id, awaited);
        self.order.push_back((now + REMEMBERED, id));
    }

    /// Did it end a short while ago?
    pub(super) fn holds(&mut self, id: SessionId, now: Instant) -> bool {
        self.expire(now);
        self.stones.contains_key(&id)
    }

    /// Whoever's summary has come now; `None` when none was awaited.
    pub(super) fn summarize(&mut self, id: SessionId) -> Option<Departed> {
        self.stones.get_mut(&id)?.take()
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
