//! Sender and receiver reports, CNAME and BYE (RFC 3550 §6).

use std::time::{Duration, Instant};

use super::{BYE, Event, Packet, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, push_words, word, write};

/// Reads a sender or receiver report. `None` when it is truncated or `each` has had enough.
pub(super) fn read<'a>(packet: &Packet<'a>, each: &mut impl FnMut(Event<'a>) -> Option<()>) -> Option<()> {
    let mut rest = packet.body;
    let rest = &mut rest;
    let ssrc = word(rest)?;
    if packet.kind == SENDER_REPORT {
        each(Event::SenderReport {
            ssrc,
            ntp: u64::from(word(rest)?) << 32 | u64::from(word(rest)?),
            rtp: word(rest)?,
            packets: word(rest)?,
            octets: word(rest)?,
        })?;
    }
    for _ in 0..packet.count {
        let about = word(rest)?;
        let loss = word(rest)?;
        each(Event::Report {
            about,
            fraction_lost: (loss >> 24) as u8,
            // Shifting up and down again extends the sign of the 24 bits.
            lost: (loss << 8).cast_signed() >> 8,
            highest: word(rest)?,
            jitter: word(rest)?,
            last_sr: word(rest)?,
            delay: word(rest)?,
        })?;
    }
    Some(())
}

/// Reads a BYE; its reason is skipped.
pub(super) fn read_bye<'a>(packet: &Packet<'a>, each: &mut impl FnMut(Event<'a>) -> Option<()>) -> Option<()> {
    let mut rest = packet.body;
    for _ in 0..packet.count {
        let ssrc = word(&mut rest)?;
        each(Event::Bye { ssrc })?;
    }
    Some(())
}

/// How we receive a source: one report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all, −2^23 to 2^23 − 1.
    pub lost: i32,
    /// Highest sequence number, extended to 32 bits.
    pub highest: u32,
    /// Interarrival jitter in RTP timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time in the last sender report; 0 = none came.
    pub last_sr: u32,
    /// Time since that sender report came, in 1/65536 s.
    pub delay: u32,
}

/// Appends a sender report without report blocks. `ntp` is in 32.32 fixed-point seconds since 1900, `rtp` the same
/// moment on the media clock, `octets` counts payload only.
pub fn write_sender_report(out: &mut Vec<u8>, ssrc: u32, ntp: u64, rtp: u32, packets: u32, octets: u32) {
    write(out, SENDER_REPORT, 0, |out| {
        push_words(out, &[ssrc, (ntp >> 32) as u32, ntp as u32, rtp, packets, octets]);
    });
}

/// Appends a receiver report; of `receptions` the first 31 are written.
pub fn write_receiver_report(out: &mut Vec<u8>, sender: u32, receptions: &[Reception]) {
    let receptions = &receptions[..receptions.len().min(MAX_COUNT)];
    write(out, RECEIVER_REPORT, receptions.len() as u8, |out| {
        push_words(out, &[sender]);
        for r in receptions {
            let loss = u32::from(r.fraction_lost) << 24 | r.lost.cast_unsigned() & 0x00ff_ffff;
            push_words(out, &[r.ssrc, loss, r.highest, r.jitter, r.last_sr, r.delay]);
        }
    });
}

/// Appends a source description with one CNAME (RFC 3550 §6.5.1), of which at most 255 bytes are written.
pub fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let cname = &cname[..cname.floor_char_boundary(255)];
    write(out, SOURCE_DESCRIPTION, 1, |out| {
        push_words(out, &[ssrc]);
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname.as_bytes());
        // A list of items ends with one to four zeros; the chunk's SSRC is a whole word.
        let zeros = 4 - (2 + cname.len()) % 4;
        out.extend_from_slice(&[0; 4][..zeros]);
    });
}

/// Appends a BYE; of `ssrcs` the first 31 are written.
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(MAX_COUNT)];
    write(out, BYE, ssrcs.len() as u8, |out| push_words(out, ssrcs));
}

/// Jitter and loss of one source, for receiver reports (RFC 3550 A.3, A.8).
#[derive(Clone, Debug)]
pub struct Statistics {
    clock_rate: u32,
    /// `None` before the first packet.
    counts: Option<Counts>,
    last_sr: Option<(u32, Instant)>,
}

/// What is counted from the first packet on. Sequence numbers are extended.
#[derive(Clone, Debug)]
struct Counts {
    first: u64,
    highest: u64,
    received: u64,
    /// `expected` and `received` when the last report was made.
    reported: (u64, u64),
    epoch: Instant,
    timestamp: u32,
    /// Arrival minus timestamp of the last packet that counted, in timestamp units; wraps.
    transit: u32,
    /// Sixteen times the jitter, so that integers lose nothing.
    jitter: u32,
}

impl Statistics {
    /// Nothing received yet. `clock_rate` in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, counts: None, last_sr: None }
    }

    /// A packet came, for the first time or again; `seq` as extended by [`Extender`](crate::wire::seq::Extender).
    pub fn arrived(&mut self, seq: u64, timestamp: u32, now: Instant) {
        let Some(counts) = &mut self.counts else {
            self.counts = Some(Counts {
                first: seq,
                highest: seq,
                received: 1,
                reported: (0, 0),
                epoch: now,
                timestamp,
                transit: 0u32.wrapping_sub(timestamp),
                jitter: 0,
            });
            return;
        };
        counts.received += 1;
        if seq <= counts.highest {
            // Late or sent again: its delay says nothing of the network's jitter.
            return;
        }
        counts.highest = seq;
        // The packets of one picture share a timestamp but are paced: only the first of them measures.
        if timestamp != counts.timestamp {
            counts.timestamp = timestamp;
            let arrival = ticks(now.saturating_duration_since(counts.epoch), self.clock_rate);
            counts.measure(arrival.wrapping_sub(timestamp), self.clock_rate.saturating_mul(5).min(MAX_STEP));
        }
    }

    /// A sender report came with this NTP time.
    pub fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sr = Some(((ntp >> 16) as u32, now));
    }

    /// The report block for now; the next one counts its loss from here.
    pub fn reception(&mut self, ssrc: u32, now: Instant) -> Reception {
        let (last_sr, delay) =
            self.last_sr.map_or((0, 0), |(ntp, came)| (ntp, ticks(now.saturating_duration_since(came), 65_536)));
        let mut reception = Reception { ssrc, last_sr, delay, ..Reception::default() };
        let lost = self.lost();
        if let Some(counts) = &mut self.counts {
            reception.fraction_lost = counts.fraction_lost();
            reception.lost = lost.clamp(-(1 << 23), (1 << 23) - 1) as i32;
            // The extender starts in cycle 1, reports start in cycle 0.
            reception.highest = counts.highest.wrapping_sub(1 << 16) as u32;
            reception.jitter = counts.jitter >> 4;
        }
        reception
    }

    /// Packets that never came; negative when duplicates came.
    pub fn lost(&self) -> i64 {
        self.counts.as_ref().map_or(0, |counts| counts.expected().wrapping_sub(counts.received).cast_signed())
    }
}

impl Counts {
    /// Packets from the first to the highest.
    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// Takes a new transit time into the jitter (RFC 3550 A.8). A step above `limit` is a clock that was set, not
    /// jitter.
    fn measure(&mut self, transit: u32, limit: u32) {
        let step = transit.wrapping_sub(self.transit).cast_signed().unsigned_abs();
        self.transit = transit;
        if step <= limit {
            self.jitter = self.jitter + step - ((self.jitter + 8) >> 4);
        }
    }

    /// The share lost since the last call, in 1/256 (RFC 3550 A.3).
    fn fraction_lost(&mut self) -> u8 {
        let (expected, received) = (self.expected() - self.reported.0, self.received - self.reported.1);
        self.reported = (self.expected(), self.received);
        let lost = expected.saturating_sub(received);
        (lost * 256).checked_div(expected).map_or(0, |fraction| fraction.min(255) as u8)
    }
}

/// A duration in units of 1/`rate` s; wraps.
fn ticks(duration: Duration, rate: u32) -> u32 {
    (duration.as_nanos() * u128::from(rate) / 1_000_000_000) as u32
}

/// What the five count bits of a header can say.
const MAX_COUNT: usize = 31;
/// Longest step of transit time that can count as jitter: sixteen times this must fit 32 bits.
const MAX_STEP: u32 = 1 << 24;
/// Type of the CNAME item.
const CNAME: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms of a 48 kHz clock.
    const FRAME: u32 = 960;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_received_is_all_zero() {
        let now = Instant::now();

        let reception = Statistics::new(48_000).reception(7, now);

        assert_eq!(reception, Reception { ssrc: 7, ..Reception::default() });
    }

    #[test]
    fn losses_are_counted_since_the_start_and_since_the_last_report() {
        let now = Instant::now();
        let mut statistics = Statistics::new(48_000);
        for seq in 0..100 {
            if seq % 4 != 1 {
                statistics.arrived(65_536 + 500 + seq, 0, now);
            }
        }

        let first = statistics.reception(7, now);
        for seq in 100..200 {
            statistics.arrived(65_536 + 500 + seq, 0, now);
        }
        let second = statistics.reception(7, now);
        let third = statistics.reception(7, now);

        assert_eq!((first.fraction_lost, first.lost, first.highest), (64, 25, 599));
        assert_eq!((second.fraction_lost, second.lost, second.highest), (0, 25, 699));
        assert_eq!((third.fraction_lost, third.lost), (0, 25));
        assert_eq!(statistics.lost(), 25);
    }

    #[test]
    fn the_highest_number_counts_cycles_from_zero() {
        let now = Instant::now();
        let mut statistics = Statistics::new(48_000);

        statistics.arrived(65_536 + 65_535, 0, now);
        assert_eq!(statistics.reception(7, now).highest, 65_535);
        statistics.arrived(65_536 + 65_536, 0, now);
        assert_eq!(statistics.reception(7, now).highest, 65_536);
    }

    #[test]
    fn duplicates_make_the_loss_negative() {
        let now = Instant::now();
        let mut statistics = Statistics::new(48_000);
        for _ in 0..3 {
            statistics.arrived(65_536, 0, now);
        }

        let reception = statistics.reception(7, now);

        assert_eq!((reception.lost, reception.fraction_lost), (-2, 0));
    }

    #[test]
    fn a_total_loss_is_255_of_256() {
        let now = Instant::now();
        let mut statistics = Statistics::new(48_000);
        statistics.arrived(65_536, 0, now);
        let _ = statistics.reception(7, now);

        statistics.arrived(65_536 + 30_000, 0, now);

        assert_eq!(statistics.reception(7, now).fraction_lost, 255);
    }

    #[test]
    fn the_loss_stays_within_24_bits() {
        let now = Instant::now();
        let mut statistics = Statistics::new(48_000);

        statistics.arrived(65_536, 0, now);
        statistics.arrived(1 << 40, 0, now);

        assert_eq!(statistics.reception(7, now).lost, 0x7f_ffff);
    }

    #[test]
    fn even_arrivals_have_no_jitter() {
        let start = Instant::now();
        let mut statistics = Statistics::new(48_000);

        for n in 0..100_u32 {
            let timestamp = 0xffff_f000_u32.wrapping_add(n * FRAME);
            statistics.arrived(65_536 + u64::from(n), timestamp, start + ms(20) * n);
        }

        assert_eq!(statistics.reception(7, start).jitter, 0);
    }

    #[test]
    fn jitter_approaches_the_mean_step() {
        let start = Instant::now();
        let mut statistics = Statistics::new(48_000);

        // Every other packet is 5 ms (240 ticks) late: each step is 240.
        for n in 0..500_u32 {
            let late = ms(u64::from(n % 2) * 5);
            statistics.arrived(65_536 + u64::from(n), n * FRAME, start + ms(20) * n + late);
        }

        let jitter = statistics.reception(7, start).jitter;
        assert!((238..=240).contains(&jitter), "{jitter}");
    }

    #[test]
    fn packets_of_one_picture_late_ones_and_clock_jumps_are_no_jitter() {
        let start = Instant::now();
        let mut statistics = Statistics::new(90_000);

        statistics.arrived(65_536, 0, start);
        statistics.arrived(65_538, 0, start + ms(15));
        statistics.arrived(65_537, 0, start + ms(400));
        statistics.arrived(65_539, 9_000, start + ms(100));
        statistics.arrived(65_540, 3_000_000_000, start + ms(133));
        statistics.arrived(65_541, 3_000_009_000, start + ms(233));

        assert_eq!(statistics.reception(7, start).jitter, 0);
    }

    #[test]
    fn an_absurd_clock_rate_overflows_nothing() {
        let start = Instant::now();
        let mut statistics = Statistics::new(u32::MAX);

        for n in 0..1000_u32 {
            statistics.arrived(65_536 + u64::from(n), n.wrapping_mul(0x7fff_ffff), start + ms(7) * n);
        }

        assert_eq!(statistics.reception(7, start).lost, 0);
    }

    #[test]
    fn the_last_sender_report_is_echoed_with_its_age() {
        let start = Instant::now();
        let mut statistics = Statistics::new(48_000);

        statistics.sender_report(0x0102_0304_0506_0708, start);

        let reception = statistics.reception(7, start + ms(1500));
        assert_eq!((reception.last_sr, reception.delay), (0x0304_0506, 98_304));
    }
}
