//! Closes the numbering behind packets that only probe the bandwidth.

/// The probes of one source, so that viewers see no holes where they were.
#[derive(Debug, Default)]
pub(super) struct Padding {
    /// All that were dropped, and the latest of them in order.
    total: u64,
    recent: Vec<u64>,
    /// The newest packet that has a number: what is before it cannot be closed any more.
    numbered: u64,
}

impl Padding {
    /// Drops a probe. One that was overtaken by media leaves its hole: closing it would give two packets one number.
    pub(super) fn drop(&mut self, seq: u64) {
        if seq < self.numbered {
            return;
        }
        let Err(at) = self.recent.binary_search(&seq) else {
            return;
        };
        if self.recent.len() == MAX_RECENT {
            if at == 0 {
                return;
            }
            self.recent.remove(0);
            self.recent.insert(at - 1, seq);
        } else {
            self.recent.insert(at, seq);
        }
        self.total += 1;
    }

    /// The number of a media packet; `None` when it comes too late to tell.
    pub(super) fn closed(&mut self, seq: u64) -> Option<u64> {
        if self.recent.len() == MAX_RECENT && self.recent.first().is_some_and(|first| seq < *first) {
            return None;
        }
        self.numbered = self.numbered.max(seq);
        let later = self.recent.len() - self.recent.partition_point(|dropped| *dropped < seq);
        seq.checked_sub(self.total - later as u64)
    }
}

/// Probes whose place is remembered, for media that they overtook.
const MAX_RECENT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_leaves_no_hole_in_the_numbering() {
        let mut padding = Padding::default();

        assert_eq!(padding.closed(100), Some(100));
        padding.drop(101);
        padding.drop(102);
        padding.drop(102);
        assert_eq!(padding.closed(103), Some(101));
        assert_eq!(padding.closed(100), Some(100), "a late packet keeps its place");
        padding.drop(105);

        assert_eq!(padding.closed(104), Some(102));
        assert_eq!(padding.closed(106), Some(103));
    }

    #[test]
    fn padding_that_was_overtaken_gives_no_number_twice() {
        let mut padding = Padding::default();

        assert_eq!(padding.closed(100), Some(100));
        assert_eq!(padding.closed(102), Some(102));
        padding.drop(101);

        assert_eq!(padding.closed(103), Some(103));
    }

    #[test]
    fn much_padding_is_still_counted() {
        let mut padding = Padding::default();

        for seq in 1000..1500 {
            padding.drop(seq);
        }

        assert_eq!(padding.closed(1500), Some(1000));
        assert_eq!(padding.closed(1200), None, "nobody knows how many were before it");
    }
}
