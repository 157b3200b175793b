//! Sequence numbers that wrap.

/// Extends 16-bit sequence numbers to 64 bits (RFC 3550 A.1).
///
/// The first number seen, s, becomes 65536 + s, so that numbers before it exist.
#[derive(Clone, Debug, Default)]
pub struct Extender {
    newest: Option<u64>,
}

impl Extender {
    /// The extended number; what is newer than all before becomes the new reference.
    pub fn extend(&mut self, seq: u16) -> u64 {
        let extended = self.peek(seq);
        self.newest = self.newest.max(Some(extended));
        extended
    }

    /// The extended number, without remembering it.
    pub fn peek(&self, seq: u16) -> u64 {
        let Some(newest) = self.newest else {
            return FIRST_CYCLE + u64::from(seq);
        };
        // Half a cycle away counts as older, as in `newer16`. `newest` is never below one cycle: no underflow.
        let distance = seq.wrapping_sub(newest as u16).cast_signed();
        newest.wrapping_add_signed(distance.into())
    }

    /// The newest number that `extend` has seen.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }
}

/// Is `a` newer than `b`, modulo 2^16? Numbers half a cycle apart are not.
pub fn newer16(a: u16, b: u16) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// Is `a` newer than `b`, modulo 2^32? Numbers half a cycle apart are not.
pub fn newer32(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// What an extended number has in front of its first cycle.
const FIRST_CYCLE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_number_leaves_room_for_earlier_ones() {
        let mut extender = Extender::default();

        assert_eq!(extender.newest(), None);
        assert_eq!(extender.peek(3), 65_539);
        assert_eq!(extender.extend(3), 65_539);
        assert_eq!(extender.extend(65_535), 65_535);
        assert_eq!(extender.newest(), Some(65_539));
    }

    #[test]
    fn numbers_grow_over_the_wrap_and_late_ones_fall_back() {
        let mut extender = Extender::default();

        assert_eq!(extender.extend(65_534), 131_070);
        assert_eq!(extender.extend(1), 131_073);
        assert_eq!(extender.extend(65_535), 131_071);
        assert_eq!(extender.peek(2), 131_074);
        assert_eq!(extender.newest(), Some(131_073));
    }

    #[test]
    fn half_a_cycle_away_is_older() {
        let mut extender = Extender::default();
        extender.extend(0);

        assert_eq!(extender.peek(32_767), 65_536 + 32_767);
        assert_eq!(extender.peek(32_768), 65_536 - 32_768);
        assert!(newer16(32_767, 0) && !newer16(32_768, 0) && !newer16(0, 32_768));
        assert!(newer32(0, u32::MAX) && !newer32(u32::MAX, 0) && !newer32(1 << 31, 0));
        assert!(!newer16(7, 7) && !newer32(7, 7));
    }

    proptest! {
        #[test]
        fn small_steps_are_followed_exactly(start: u16, steps in prop::collection::vec(-300_i64..300, 1..500)) {
            let mut extender = Extender::default();
            let mut at = i64::try_from(extender.extend(start)).unwrap_or_default();

            for step in steps {
                let newest = at;
                prop_assert_eq!(extender.extend((newest + step) as u16), (newest + step) as u64);
                at = newest.max(newest + step);
            }
        }
    }
}
