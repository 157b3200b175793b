//! Viewers who have their answer and are not connected yet, counted by address: a flood of POSTs from a few addresses
//! must not take the places of everybody else.

use std::collections::HashMap;

use super::limits::Key;

/// Those on their way in. At most one entry per session.
#[derive(Debug, Default)]
pub(super) struct Arrivals(HashMap<Key, usize>);

impl Arrivals {
    /// How many are on their way from there.
    pub(super) fn from(&self, address: &Key) -> usize {
        self.0.get(address).copied().unwrap_or(0)
    }

    /// One more.
    pub(super) fn add(&mut self, address: Key) {
        *self.0.entry(address).or_default() += 1;
    }

    /// One is connected, or has given up.
    pub(super) fn remove(&mut self, address: &Key) {
        if let Some(count) = self.0.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(address);
            }
        }
    }
}
