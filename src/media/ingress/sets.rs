//! Parameter sets of H.264 for key frames that come without: some presenters send them once, and viewers come later.

/// The parameter sets of one source, and where they were put in.
#[derive(Debug, Default)]
pub(super) struct Sets {
    sps: Vec<u8>,
    pps: Vec<u8>,
    /// The picture that the newest packet is of, its number, and whether all of the picture so far has come in order.
    picture: Option<(u32, u64)>,
    is_whole: bool,
    /// The picture has brought sets of its own.
    is_equipped: bool,
    /// Numbers in front of which sets were put, the latest of them in order, and how many in all.
    places: Vec<u64>,
    total: u64,
}

impl Sets {
    /// The source sends something else now.
    pub(super) fn forget(&mut self) {
        self.sps.clear();
        self.pps.clear();
    }

    /// Looks at a packet; `starts` when it begins a key frame. Returns what is to be sent in front of it: parameter sets,
    /// when the picture has none, as one aggregation packet (RFC 6184 §5.7.1).
    pub(super) fn look(&mut self, seq: u64, timestamp: u32, payload: &[u8], starts: bool) -> Option<Vec<u8>> {
        let before = self.picture;
        if before.is_some_and(|(_, newest)| seq <= newest) {
            return None;
        }
        let follows = before.is_some_and(|(_, newest)| seq == newest + 1);
        if before.is_none_or(|(picture, _)| picture != timestamp) {
            (self.is_whole, self.is_equipped) = (follows, false);
        } else {
            self.is_whole &= follows;
        }
        self.picture = Some((timestamp, seq));
        self.collect(payload);
        let is_bare = starts && self.is_whole && !self.is_equipped && !self.sps.is_empty() && !self.pps.is_empty();
        if !is_bare {
            return None;
        }
        self.is_equipped = true;
        self.places.push(seq);
        self.total += 1;
        if self.places.len() > MOST_PLACES {
            self.places.remove(0);
        }
        let mut out = vec![STAP_A | self.sps.first().map_or(0, |header| header & IMPORTANCE)];
        for set in [&self.sps, &self.pps] {
            out.extend_from_slice(&(set.len() as u16).to_be_bytes());
            out.extend_from_slice(set);
        }
        Some(out)
    }

    /// The number of a packet among those that were put in; `None` when it comes too late to tell. The number before that
    /// of a packet with sets in front is theirs.
    pub(super) fn spread(&self, seq: u64) -> Option<u64> {
        if self.places.len() == MOST_PLACES && self.places.first().is_some_and(|first| seq < *first) {
            return None;
        }
        let later = self.places.len() - self.places.partition_point(|place| *place <= seq);
        Some(seq + self.total - later as u64)
    }

    fn collect(&mut self, payload: &[u8]) {
        let Some((&header, rest)) = payload.split_first() else {
            return;
        };
        if header & KIND != STAP_A {
            return self.keep(payload);
        }
        let mut units = rest;
        while let Some((size, rest)) = units.split_first_chunk::<2>()
            && let Some((unit, rest)) = rest.split_at_checked(u16::from_be_bytes(*size).into())
        {
            self.keep(unit);
            units = rest;
        }
    }

    fn keep(&mut self, unit: &[u8]) {
        let set = match unit.first().map(|header| header & KIND) {
            Some(SPS) => &mut self.sps,
            Some(PPS) => &mut self.pps,
            Some(_) | None => return,
        };
        self.is_equipped = true;
        if unit.len() <= LARGEST && set != unit {
            set.clear();
            set.extend_from_slice(unit);
        }
    }
}

/// Of the first byte of a NAL unit (RFC 6184 §1.3).
const KIND: u8 = 0x1f;
const IMPORTANCE: u8 = 0x60;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
/// Bytes of a set; a larger one would not fit into a packet with the other.
const LARGEST: usize = 512;
/// Places that are remembered, for packets that come late.
const MOST_PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f];
    const FIRST_PPS: &[u8] = &[0x68, 0xce, 0x3c];
    const IDR: &[u8] = &[0x65, 0x88, 0];
    const SLICE: &[u8] = &[0x41, 0x9a, 0];

    /// Two key frames, the first one with sets, two other pictures between them.
    fn begin(sets: &mut Sets) {
        let first = [(FIRST_SPS, false), (FIRST_PPS, false), (IDR, true)];
        for (seq, (payload, starts)) in (10..).zip(first) {
            assert_eq!(sets.look(seq, 0, payload, starts), None);
        }
        assert_eq!(sets.look(13, 3000, SLICE, false), None);
        assert_eq!(sets.look(14, 6000, SLICE, false), None);
    }

    #[test]
    fn a_key_frame_without_sets_gets_those_before() {
        let mut sets = Sets::default();
        begin(&mut sets);

        let put = sets.look(15, 9000, IDR, true).expect("sets");

        assert_eq!(put, [&[0x78, 0, 4], FIRST_SPS, &[0, 3], FIRST_PPS].concat());
        assert_eq!([14, 15, 16].map(|seq| sets.spread(seq)), [Some(14), Some(16), Some(17)]);
        assert_eq!(sets.look(16, 9000, IDR, true), None, "once a picture");
    }

    #[test]
    fn a_key_frame_with_sets_gets_no_others() {
        let mut sets = Sets::default();
        begin(&mut sets);
        let both = [&[0x78, 0, 4], FIRST_SPS, &[0, 3], FIRST_PPS].concat();

        assert_eq!(sets.look(15, 9000, &both, true), None);
        assert_eq!(sets.look(16, 9000, IDR, true), None);

        assert_eq!(sets.spread(16), Some(16));
    }

    #[test]
    fn sets_that_may_have_been_lost_are_not_put_in() {
        let mut sets = Sets::default();
        begin(&mut sets);

        assert_eq!(sets.look(17, 9000, IDR, true), None, "15 and 16 are missing");
        assert_eq!(sets.look(15, 9000, FIRST_SPS, true), None, "and come late");

        assert_eq!([15, 16, 17].map(|seq| sets.spread(seq)), [Some(15), Some(16), Some(17)]);
    }

    #[test]
    fn numbers_stay_in_order_over_many_key_frames() {
        let mut sets = Sets::default();
        begin(&mut sets);
        let mut last = sets.spread(14).expect("a number");

        for seq in 15..500 {
            let is_key = seq % 3 == 0;
            let put = sets.look(seq, seq as u32 * 3000, if is_key { IDR } else { SLICE }, is_key);
            let number = sets.spread(seq).expect("a number");
            assert_eq!(number, last + 1 + u64::from(put.is_some()));
            last = number;
        }

        assert_eq!(sets.spread(20), None, "too late to tell");
    }
}
