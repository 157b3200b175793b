//! Feedback on media: NACK, PLI, FIR, REMB (RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb-03).

use std::time::{Duration, Instant};

use super::{Event, PAYLOAD_FEEDBACK, Packet, TRANSPORT_CC, TRANSPORT_FEEDBACK, push_words, word, write};

/// Reads a feedback packet; formats that we do not use are skipped. `None` when it is truncated or `each` has had
/// enough.
pub(super) fn read<'a>(packet: &Packet<'a>, each: &mut impl FnMut(Event<'a>) -> Option<()>) -> Option<()> {
    let mut rest = packet.body;
    let rest = &mut rest;
    let _sender = word(rest)?;
    let about = word(rest)?;
    match (packet.kind, packet.count) {
        (TRANSPORT_FEEDBACK, NACK) => {
            while !rest.is_empty() {
                let pair = word(rest)?;
                each(Event::Nack { about, packet_id: (pair >> 16) as u16, bitmap: pair as u16 })?;
            }
            Some(())
        }
        (TRANSPORT_FEEDBACK, TRANSPORT_CC) => {
            let body = *rest;
            (body.len() >= 8).then_some(())?;
            each(Event::TransportCc { body })
        }
        (PAYLOAD_FEEDBACK, PLI) => each(Event::Pli { about }),
        (PAYLOAD_FEEDBACK, FIR) => {
            while !rest.is_empty() {
                let about = word(rest)?;
                let _sequence = word(rest)?;
                each(Event::Fir { about })?;
            }
            Some(())
        }
        (PAYLOAD_FEEDBACK, APPLICATION) => {
            if word(rest) != Some(REMB) {
                return Some(());
            }
            let bits = word(rest)?;
            let sources = (bits >> 24) as usize;
            (rest.len() >= 4 * sources).then_some(())?;
            each(Event::Remb { bitrate: bitrate(bits >> 18 & 0x3f, bits & MAX_MANTISSA) })
        }
        _ => Some(()),
    }
}

/// `mantissa` × 2^`exponent`, or the largest number.
fn bitrate(exponent: u32, mantissa: u32) -> u64 {
    let mantissa = u64::from(mantissa);
    if mantissa.leading_zeros() < exponent {
        return u64::MAX;
    }
    mantissa << exponent
}

/// Appends a picture loss indication.
pub fn write_pli(out: &mut Vec<u8>, sender: u32, about: u32) {
    write(out, PAYLOAD_FEEDBACK, PLI, |out| {
        push_words(out, &[sender, about]);
    });
}

/// Appends a full intra request; `sequence` grows by one with each new request, not with repetitions of one.
pub fn write_fir(out: &mut Vec<u8>, sender: u32, about: u32, sequence: u8) {
    write(out, PAYLOAD_FEEDBACK, FIR, |out| {
        push_words(out, &[sender, 0, about, u32::from(sequence) << 24]);
    });
}

/// Appends a generic NACK for these sequence numbers, sorted the way that sequence numbers are. Nothing is written
/// when there are none; after 256 pairs the rest is left out, so that the datagram stays below 1,200 bytes.
pub fn write_nack(out: &mut Vec<u8>, sender: u32, about: u32, lost: &[u16]) {
    let mut rest = lost;
    if rest.is_empty() {
        return;
    }
    write(out, TRANSPORT_FEEDBACK, NACK, |out| {
        push_words(out, &[sender, about]);
        for _ in 0..MAX_PAIRS {
            let Some((&first, after)) = rest.split_first() else {
                return;
            };
            let distance = |seq: u16| seq.wrapping_sub(first);
            let near = after.iter().take_while(|&&seq| distance(seq) <= 16);
            let (count, bitmap) = near.fold((0, 0u32), |(count, bitmap), &seq| {
                // Bit 0 is the packet after the first; a repetition of the first shifts out.
                (count + 1, bitmap | (1 << distance(seq)) >> 1)
            });
            push_words(out, &[u32::from(first) << 16 | bitmap]);
            rest = &after[count..];
        }
    });
}

/// Appends a REMB for these sources, of which the first 255 are written. `bitrate` in bit/s; 18 bits of it remain.
pub fn write_remb(out: &mut Vec<u8>, sender: u32, bitrate: u64, about: &[u32]) {
    let about = &about[..about.len().min(255)];
    let exponent = (64 - 18_u32).saturating_sub(bitrate.leading_zeros());
    let mantissa = (bitrate >> exponent) as u32;
    write(out, PAYLOAD_FEEDBACK, APPLICATION, |out| {
        push_words(out, &[sender, 0, REMB, (about.len() as u32) << 24 | exponent << 18 | mantissa]);
        push_words(out, about);
    });
}

/// What is missing of one source, and when to ask for it (RFC 4585).
#[derive(Clone, Debug)]
pub struct Losses {
    newest: Option<u64>,
    /// Sorted by number; at most `MAX_MISSING`.
    missing: Vec<Missing>,
    /// Between two requests for one packet.
    retry: Duration,
    given_up: u64,
}

/// One packet that did not come.
#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: u64,
    noted: Instant,
    ask_at: Instant,
    asked: u8,
}

impl Missing {
    /// Asked often enough, or too old to be of use when it came.
    fn hopeless(&self, now: Instant) -> bool {
        now >= self.noted + MAX_AGE || (self.asked >= MAX_REQUESTS && now >= self.ask_at)
    }
}

impl Losses {
    /// Nothing is missing.
    pub fn new() -> Self {
        Self { newest: None, missing: Vec::new(), retry: MIN_RETRY, given_up: 0 }
    }

    /// How long a packet takes to come when asked for; requests are repeated no sooner, and not within 50 ms.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.retry = round_trip.clamp(MIN_RETRY, MAX_AGE);
    }

    /// A packet came, extended by [`Extender`](crate::wire::seq::Extender). Notes what is missing before it; after a
    /// gap of more than 512 it is no use to ask for anything.
    pub fn arrived(&mut self, seq: u64, now: Instant) {
        let Some(newest) = self.newest else {
            self.newest = Some(seq);
            return;
        };
        if seq <= newest {
            if let Ok(index) = self.missing.binary_search_by_key(&seq, |missing| missing.seq) {
                self.missing.remove(index);
            }
            return;
        }
        self.newest = Some(seq);
        let gap = (seq - newest - 1) as usize;
        let kept = MAX_MISSING.saturating_sub(gap);
        let forgotten = self.missing.len().saturating_sub(kept);
        self.given_up += forgotten as u64;
        self.missing.drain(..forgotten);
        if gap <= MAX_MISSING {
            self.missing.extend((newest + 1..seq).map(|seq| Missing {
                seq,
                noted: now,
                ask_at: now + REORDERING,
                asked: 0,
            }));
        }
    }

    /// Appends the numbers to ask for now, sorted, at most 256 (the rest stays due): 10 ms after the gap was seen,
    /// then once per round trip, at most 10 times and for 2 s.
    pub fn due(&mut self, now: Instant, into: &mut Vec<u64>) {
        let before = self.missing.len();
        self.missing.retain(|missing| !missing.hopeless(now));
        self.given_up += (before - self.missing.len()) as u64;
        let due = self.missing.iter_mut().filter(|missing| missing.ask_at <= now);
        for missing in due.take(MAX_PAIRS) {
            missing.asked += 1;
            missing.ask_at = now + self.retry;
            into.push(missing.seq);
        }
    }

    /// When [`due`](Self::due) has something to do next.
    pub fn next(&self) -> Option<Instant> {
        let times = self.missing.iter().map(|missing| missing.ask_at.min(missing.noted + MAX_AGE));
        times.min()
    }

    /// Packets that we stopped asking for. Those skipped by a gap of more than 512 never were asked for.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

impl Default for Losses {
    fn default() -> Self {
        Self::new()
    }
}

/// Feedback formats (FMT).
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION: u8 = 15;

/// "REMB"
const REMB: u32 = u32::from_be_bytes(*b"REMB");
/// 18 bits
const MAX_MANTISSA: u32 = (1 << 18) - 1;
/// 1,024 bytes of NACK pairs.
const MAX_PAIRS: usize = 256;

/// Holes remembered at once: half a second of a 10 Mbit/s stream.
const MAX_MISSING: usize = 512;
/// How long a packet may be overtaken before we call it missing.
const REORDERING: Duration = Duration::from_millis(10);
/// See [`Losses::set_round_trip`].
const MIN_RETRY: Duration = Duration::from_millis(50);
/// Viewers' jitter buffers are gone by then.
const MAX_AGE: Duration = Duration::from_secs(2);
/// See [`Losses::due`].
const MAX_REQUESTS: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of which 100 came, and then these.
    fn after(seqs: &[u64], now: Instant) -> Losses {
        let mut losses = Losses::new();
        losses.arrived(100, now);
        for seq in seqs {
            losses.arrived(*seq, now);
        }
        losses
    }

    fn due(losses: &mut Losses, now: Instant) -> Vec<u64> {
        let mut into = Vec::new();
        losses.due(now, &mut into);
        into
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_row_without_gaps_asks_for_nothing() {
        let start = Instant::now();
        let mut losses = after(&[101, 102, 99, 102], start);

        assert_eq!(losses.next(), None);
        assert!(due(&mut losses, start + ms(5000)).is_empty());
        assert_eq!(losses.given_up(), 0);
    }

    #[test]
    fn a_gap_is_asked_for_after_10_ms() {
        let start = Instant::now();
        let mut losses = after(&[103, 105], start);

        assert_eq!(losses.next(), Some(start + ms(10)));
        assert!(due(&mut losses, start + ms(9)).is_empty());
        assert_eq!(due(&mut losses, start + ms(10)), [101, 102, 104]);
        assert!(due(&mut losses, start + ms(10)).is_empty());
        assert_eq!(losses.next(), Some(start + ms(60)));
    }

    #[test]
    fn what_came_late_is_not_asked_for() {
        let start = Instant::now();
        let mut losses = after(&[104, 102], start);

        assert_eq!(due(&mut losses, start + ms(10)), [101, 103]);
        losses.arrived(101, start + ms(30));
        assert_eq!(due(&mut losses, start + ms(60)), [103]);
        losses.arrived(103, start + ms(70));
        assert_eq!(losses.next(), None);
        assert_eq!(losses.given_up(), 0);
    }

    #[test]
    fn requests_repeat_once_per_round_trip() {
        let start = Instant::now();
        let mut losses = after(&[102], start);
        losses.set_round_trip(ms(150));

        assert_eq!(due(&mut losses, start + ms(10)), [101]);
        assert!(due(&mut losses, start + ms(159)).is_empty());
        assert_eq!(due(&mut losses, start + ms(160)), [101]);

        losses.set_round_trip(ms(1));
        assert_eq!(due(&mut losses, start + ms(310)), [101]);
        assert_eq!(losses.next(), Some(start + ms(360)), "not within 50 ms");
    }

    #[test]
    fn after_ten_requests_a_packet_is_given_up() {
        let start = Instant::now();
        let mut losses = after(&[102], start);
        let mut asked = 0;

        while let Some(now) = losses.next() {
            asked += due(&mut losses, now).len();
        }

        assert_eq!((asked, losses.given_up()), (10, 1));
    }

    #[test]
    fn after_two_seconds_a_packet_is_given_up() {
        let start = Instant::now();
        let mut losses = after(&[102], start);
        losses.set_round_trip(ms(1500));

        assert_eq!(due(&mut losses, start + ms(10)), [101]);
        assert_eq!(due(&mut losses, start + ms(1510)), [101]);
        assert_eq!(losses.next(), Some(start + ms(2000)));
        assert!(due(&mut losses, start + ms(2000)).is_empty());
        assert_eq!((losses.next(), losses.given_up()), (None, 1));
    }

    #[test]
    fn a_gap_of_512_is_noted_and_a_larger_one_forgets_all() {
        let start = Instant::now();
        let mut wide = after(&[100 + 513], start);
        let wider = after(&[102, 102 + 514], start);

        assert_eq!(due(&mut wide, start + ms(10)).len(), 256, "a datagram's worth");
        assert_eq!(wide.next(), Some(start + ms(10)));
        assert_eq!(due(&mut wide, start + ms(10)).last(), Some(&612));
        assert_eq!(wider.next(), None);
        assert_eq!(wider.given_up(), 1);
    }

    #[test]
    fn at_most_512_holes_are_remembered() {
        let start = Instant::now();
        let mut losses = after(&[], start);

        for step in 1..=600 {
            losses.arrived(100 + 2 * step, start);
        }

        assert_eq!(losses.given_up(), 88);
        assert_eq!(due(&mut losses, start + ms(10)).first(), Some(&(101 + 2 * 88)));
    }
}
