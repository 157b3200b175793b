//! How a viewer's session is doing, for whoever asks: written by its worker, read by control whenever it likes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Numbers of one viewer's session. One writer; a reader may see some of them a moment before the others.
#[derive(Debug)]
pub struct Vitals {
    /// Smoothed share of the packets that it reports lost, in 1/65536.
    loss: AtomicU32,
    lost: AtomicU64,
    /// Microseconds; 0 = not known.
    round_trip: AtomicU32,
    packets: AtomicU64,
    bytes: AtomicU64,
    resent: AtomicU64,
    /// Milliseconds after its answer; `NEVER` before.
    first_media: AtomicU32,
    first_picture: AtomicU32,
}

/// What [`Vitals`] were at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VitalSigns {
    /// Smoothed share of the packets that it reports lost, 0–1.
    pub loss: f64,
    /// Packets that it reported lost.
    pub lost: u64,
    /// From a sender report to the answer to it, without the time that the viewer kept it.
    pub round_trip: Option<Duration>,
    /// Media packets sent, retransmissions not counted.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets sent again.
    pub resent: u64,
    /// From its answer to the first media packet sent.
    pub first_media: Option<Duration>,
    /// From its answer to the first video packet sent, which begins a key frame.
    pub first_picture: Option<Duration>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            loss: AtomicU32::new(0),
            lost: AtomicU64::new(0),
            round_trip: AtomicU32::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            first_media: AtomicU32::new(NEVER),
            first_picture: AtomicU32::new(NEVER),
        }
    }
}

impl Vitals {
    /// It reported how one of its tracks arrives: lost since its last report (in 1/256) and in all, and the round trip
    /// if that can be told.
    pub fn reported(&self, fraction_lost: u8, lost: u64, round_trip: Option<Duration>) {
        let (old, new) = (self.loss.load(Ordering::Relaxed), u32::from(fraction_lost) << 8);
        // Half of it is the last report's: a burst shows at once and is gone after a few seconds.
        self.loss.store(old / 2 + new / 2, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
        if let Some(round_trip) = round_trip {
            let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX).max(1);
            self.round_trip.store(micros, Ordering::Relaxed);
        }
    }

    /// So much has been sent to it until now. Packets and bytes are modulo 2^32, as sender reports count them: to be told
    /// before they have gone round.
    pub fn sent(&self, packets: u32, bytes: u32, resent: u64) {
        for (cell, now) in [(&self.packets, packets), (&self.bytes, bytes)] {
            let before = cell.load(Ordering::Relaxed);
            cell.store(before + u64::from(now.wrapping_sub(before as u32)), Ordering::Relaxed);
        }
        self.resent.store(resent, Ordering::Relaxed);
    }

    /// Its first media and video packets were sent so long after its answer.
    pub fn began(&self, first_media: Option<Duration>, first_picture: Option<Duration>) {
        for (cell, after) in [(&self.first_media, first_media), (&self.first_picture, first_picture)] {
            if let Some(after) = after {
                let millis = u32::try_from(after.as_millis()).unwrap_or(NEVER - 1);
                cell.store(millis, Ordering::Relaxed);
            }
        }
    }

    /// How they are now.
    pub fn read(&self) -> VitalSigns {
        let since = |cell: &AtomicU32| {
            let millis = cell.load(Ordering::Relaxed);
            (millis != NEVER).then(|| Duration::from_millis(millis.into()))
        };
        let round_trip = self.round_trip.load(Ordering::Relaxed);
        VitalSigns {
            loss: f64::from(self.loss.load(Ordering::Relaxed)) / 65_536.0,
            lost: self.lost.load(Ordering::Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip.into())),
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            resent: self.resent.load(Ordering::Relaxed),
            first_media: since(&self.first_media),
            first_picture: since(&self.first_picture),
        }
    }
}

/// It has not happened.
const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_beyond_four_billion() {
        let vitals = Vitals::default();

        for told in 1..=10_u64 {
            let (packets, bytes) = (told * 1_000_000, told * 1_200_000_000);
            vitals.sent(packets as u32, bytes as u32, told);
        }

        let signs = vitals.read();
        assert_eq!((signs.packets, signs.bytes, signs.resent), (10_000_000, 12_000_000_000, 10));
    }

    #[test]
    fn what_was_written_is_read() {
        let vitals = Vitals::default();
        assert_eq!(vitals.read(), VitalSigns::default());

        vitals.reported(64, 9, Some(Duration::from_millis(40)));
        vitals.reported(64, 12, None);
        vitals.sent(1_000, 900_000, 3);
        vitals.began(Some(Duration::from_millis(30)), None);

        let signs = vitals.read();
        assert!((signs.loss - 0.1875).abs() < 0.001, "{}", signs.loss);
        assert_eq!((signs.lost, signs.round_trip), (12, Some(Duration::from_millis(40))));
        assert_eq!((signs.packets, signs.bytes, signs.resent), (1_000, 900_000, 3));
        assert_eq!((signs.first_media, signs.first_picture), (Some(Duration::from_millis(30)), None));
    }
}
