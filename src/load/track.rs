//! Which packets of one source came: lost, twice, late.

use std::time::Instant;

use crate::wire::rtcp::{Losses, Reception, Statistics};
use crate::wire::seq::Extender;

/// What is counted of one source, or summed over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Packets that came, duplicates too.
    pub(super) packets: u64,
    /// Numbers between the first and the newest that never came.
    pub(super) lost: u64,
    /// Packets that came again.
    pub(super) duplicates: u64,
    /// Packets that a newer one had overtaken.
    pub(super) reordered: u64,
    /// How often numbers were skipped; some may have come later.
    pub(super) gaps: u64,
}

impl Counts {
    /// Adds another source's.
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.gaps += other.gaps;
    }
}

/// One source.
#[derive(Debug)]
pub(super) struct Track {
    /// Its name.
    pub(super) ssrc: u32,
    /// Its payload type.
    pub(super) payload_type: u8,
    extender: Extender,
    /// First and newest number, extended.
    span: Option<(u64, u64)>,
    /// Which of the newest numbers came.
    seen: [u64; WORDS],
    unique: u64,
    counts: Counts,
    statistics: Statistics,
    losses: Losses,
}

impl Track {
    /// A source that has sent nothing. `clock_rate` in Hz.
    pub(super) fn new(ssrc: u32, payload_type: u8, clock_rate: u32) -> Self {
        Self {
            ssrc,
            payload_type,
            extender: Extender::default(),
            span: None,
            seen: [0; WORDS],
            unique: 0,
            counts: Counts::default(),
            statistics: Statistics::new(clock_rate),
            losses: Losses::new(),
        }
    }

    /// A packet came.
    pub(super) fn arrived(&mut self, sequence: u16, timestamp: u32, now: Instant) {
        let seq = self.extender.extend(sequence);
        self.statistics.arrived(seq, timestamp, now);
        self.count(seq, now);
    }

    /// The packet of this number came as a retransmission.
    pub(super) fn repaired(&mut self, sequence: u16, now: Instant) {
        let seq = self.extender.peek(sequence);
        self.count(seq, now);
    }

    /// A sender report came with this NTP time.
    pub(super) fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.statistics.sender_report(ntp, now);
    }

    /// For the next receiver report.
    pub(super) fn reception(&mut self, now: Instant) -> Reception {
        self.statistics.reception(self.ssrc, now)
    }

    /// What is to be asked for again now.
    pub(super) fn missing(&mut self, now: Instant) -> Vec<u16> {
        let mut due = Vec::new();
        self.losses.due(now, &mut due);
        due.into_iter().map(|seq| seq as u16).collect()
    }

    /// When [`Track::missing`] has something.
    pub(super) fn next_missing(&self) -> Option<Instant> {
        self.losses.next()
    }

    /// What has come and what has not, so far.
    pub(super) fn counts(&self) -> Counts {
        let expected = self.span.map_or(0, |(first, newest)| newest - first + 1);
        Counts { lost: expected.saturating_sub(self.unique), ..self.counts }
    }

    fn count(&mut self, seq: u64, now: Instant) {
        self.losses.arrived(seq, now);
        self.counts.packets += 1;
        let Some((first, newest)) = self.span else {
            self.span = Some((seq, seq));
            self.mark(seq);
            return;
        };
        if seq > newest {
            self.counts.gaps += u64::from(seq > newest + 1);
            for skipped in newest + 1..=seq.min(newest + WINDOW) {
                self.unmark(skipped);
            }
            self.span = Some((first, seq));
            self.mark(seq);
        } else if seq + WINDOW <= newest || self.has_seen(seq) {
            // Older than the window reaches back: more likely sent again than a thousand packets late.
            self.counts.duplicates += 1;
        } else {
            self.counts.reordered += 1;
            self.span = Some((first.min(seq), newest));
            self.mark(seq);
        }
    }

    fn mark(&mut self, seq: u64) {
        self.unique += 1;
        if let Some(word) = self.seen.get_mut(word(seq)) {
            *word |= bit(seq);
        }
    }

    fn unmark(&mut self, seq: u64) {
        if let Some(word) = self.seen.get_mut(word(seq)) {
            *word &= !bit(seq);
        }
    }

    fn has_seen(&self, seq: u64) -> bool {
        self.seen.get(word(seq)).is_some_and(|word| word & bit(seq) != 0)
    }
}

fn word(seq: u64) -> usize {
    (seq / 64) as usize % WORDS
}

fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

const WORDS: usize = 16;
const WINDOW: u64 = 64 * WORDS as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sequences: impl IntoIterator<Item = u16>) -> Counts {
        let mut track = Track::new(1, 96, 90_000);
        let now = Instant::now();
        for sequence in sequences {
            track.arrived(sequence, 0, now);
        }
        track.counts()
    }

    #[test]
    fn a_row_without_holes_has_no_loss_even_over_the_wrap() {
        let row = (0..5_000_u32).map(|n| n.wrapping_add(64_000) as u16);

        assert_eq!(after(row), Counts { packets: 5_000, ..Counts::default() });
    }

    #[test]
    fn what_never_came_is_lost() {
        let counts = after([10, 11, 14, 15, 17]);

        assert_eq!(counts, Counts { packets: 5, lost: 3, gaps: 2, ..Counts::default() });
    }

    #[test]
    fn what_came_late_is_not_lost_and_what_came_twice_makes_up_for_nothing() {
        assert_eq!(after([10, 12, 11]), Counts { packets: 3, gaps: 1, reordered: 1, ..Counts::default() });
        assert_eq!(after([10, 12, 12]), Counts { packets: 3, gaps: 1, lost: 1, duplicates: 1, ..Counts::default() });
        assert_eq!(after([10, 9]), Counts { packets: 2, reordered: 1, ..Counts::default() });
        assert_eq!(after([65_535, 0, 65_535]), Counts { packets: 3, duplicates: 1, ..Counts::default() });
    }

    #[test]
    fn a_long_gap_leaves_no_old_marks_behind() {
        let counts = after([0, 1, 2, 3_000, 2_999, 2_050, 1_000]);

        assert_eq!(counts.packets, 7);
        assert_eq!((counts.reordered, counts.duplicates), (2, 1));
        assert_eq!(counts.lost, 3_001 - 6);
    }

    #[test]
    fn a_retransmission_fills_the_hole() {
        let mut track = Track::new(1, 96, 90_000);
        let now = Instant::now();
        track.arrived(7, 0, now);
        track.arrived(9, 0, now);
        let later = now + std::time::Duration::from_millis(20);
        assert_eq!(track.missing(later), [8]);

        track.repaired(8, later);

        assert_eq!(track.counts().lost, 0);
        assert!(track.missing(later + std::time::Duration::from_secs(1)).is_empty());
    }
}
