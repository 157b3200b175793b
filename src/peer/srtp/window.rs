//! Protection against replay.

/// Which indices of one source have been seen: the newest and `64 * WORDS` before it (RFC 3711 §3.3.2).
pub(super) struct Window<const WORDS: usize> {
    /// The highest one.
    pub(super) newest: Option<u64>,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self { newest: None, seen: [0; WORDS] }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    const LEN: u64 = 64 * WORDS as u64;

    /// Seen, or too old to tell.
    pub(super) fn has_seen(&self, index: u64) -> bool {
        let Some(newest) = self.newest else {
            return false;
        };
        if index > newest {
            return false;
        }
        newest - index >= Self::LEN || self.seen[Self::word(index)] & Self::bit(index) != 0
    }

    /// This one came.
    pub(super) fn mark(&mut self, index: u64) {
        match self.newest {
            None => self.newest = Some(index),
            Some(newest) if index > newest => {
                if index - newest >= Self::LEN {
                    self.seen = [0; WORDS];
                } else {
                    for skipped in newest + 1..=index {
                        self.seen[Self::word(skipped)] &= !Self::bit(skipped);
                    }
                }
                self.newest = Some(index);
            }
            Some(_) => {}
        }
        self.seen[Self::word(index)] |= Self::bit(index);
    }

    fn word(index: u64) -> usize {
        (index / 64) as usize % WORDS
    }

    fn bit(index: u64) -> u64 {
        1 << (index % 64)
    }
}
