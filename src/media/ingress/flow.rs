//! Whether anything comes: a presenter can be gone long before its session ends.

use std::time::{Duration, Instant};

/// When media came last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    last: Option<Instant>,
    is_stopped: bool,
}

impl Flow {
    /// Media came. `true` when it had stopped.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        std::mem::take(&mut self.is_stopped)
    }

    /// `true` when nothing has come for a while, once. A presenter that has not begun has not stopped.
    pub(super) fn has_stopped(&mut self, now: Instant) -> bool {
        let is_news = self.next().is_some_and(|at| at <= now);
        self.is_stopped |= is_news;
        is_news
    }

    /// When [`Flow::has_stopped`] may have news.
    pub(super) fn next(&self) -> Option<Instant> {
        self.last.filter(|_| !self.is_stopped).map(|last| last + STOPPED)
    }
}

/// Sound comes every 20 ms, also silence several times a second; a browser sends a picture of a still screen once a second.
const STOPPED: Duration = Duration::from_secs(2);
