//! Wall-clock time as the API and the records write it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A time in UTC, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// In full.
    pub year: u64,
    /// 1 is January.
    pub month: u64,
    /// Of the month, from 1 on.
    pub day: u64,
    /// 0 is Thursday, as the day of the epoch was.
    pub weekday: u64,
    /// 0–23.
    pub hour: u64,
    /// 0–59.
    pub minute: u64,
    /// 0–59.
    pub second: u64,
}

impl Civil {
    /// Takes a time apart; what is before the epoch counts as the epoch.
    pub fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March here, so that a leap day is the last of its year; 400 years have 146,097 days.
        let day = days + 719_468;
        let (era, day) = (day / 146_097, day % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Five months have 153 days, again and again.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: era * 400 + year + u64::from(month <= 2),
            month,
            day,
            weekday: days % 7,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

/// A time in UTC with milliseconds (RFC 3339): `2024-10-09T10:00:00.000Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(time);
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The wall-clock time of a moment of the monotonic clock.
pub fn at(moment: Instant) -> SystemTime {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let past = wall.checked_sub(now.saturating_duration_since(moment));
    past.unwrap_or(UNIX_EPOCH) + moment.saturating_duration_since(now)
}

/// A moment as the API writes it.
pub fn stamp(moment: Instant) -> String {
    rfc3339(at(moment))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_wants_it() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (784_111_777_000, "1994-11-06T08:49:37.000Z"),
            (951_782_400_250, "2000-02-29T00:00:00.250Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ];

        for (millis, text) in cases {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }
}
