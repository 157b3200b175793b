//! What came of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::delay::{Delays, Histogram};
use super::presenter::Sent;
use super::thread::Outcome;
use super::track::Counts;
use super::viewer::Pause;
use crate::peer::srtp::Profile;

/// What is counted while viewers join and leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Viewers that were connected.
    pub(super) joins: u64,
    /// Viewers that said goodbye, and the server agreed.
    pub(super) leaves: u64,
    /// Viewers that went without a word.
    pub(super) vanished: u64,
    /// How often the server said "later".
    pub(super) retries: u64,
    /// Most at once.
    most: u64,
    present: u64,
    failures: BTreeMap<Failure, u64>,
    connected: Vec<Duration>,
    first_packet: Vec<Duration>,
    first_keyframe: Vec<Duration>,
    first_picture: Vec<Duration>,
    gcm: u64,
    /// Viewers that counted packets.
    listened: u64,
    /// Of the viewers that have left.
    counts: Counts,
    retransmissions: u64,
    undecryptable: u64,
    overflowed: u64,
    pauses: Vec<Pause>,
}

impl Tally {
    /// A viewer is connected, after so many retries.
    pub(super) fn joined(&mut self, retries: u64) {
        self.joins += 1;
        self.retries += retries;
        self.present += 1;
        self.most = self.most.max(self.present);
    }

    /// Something went wrong for one viewer.
    pub(super) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// A viewer that was connected has left.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        let Outcome { seen, overflowed } = outcome;
        self.present = self.present.saturating_sub(1);
        self.listened += u64::from(seen.listened);
        self.counts.add(&seen.counts);
        self.retransmissions += seen.retransmissions;
        self.undecryptable += seen.undecryptable;
        self.overflowed += overflowed;
        self.pauses.extend(seen.pauses.iter().take(MOST_PAUSES.saturating_sub(self.pauses.len())));
        self.gcm += u64::from(seen.profile == Some(Profile::AesGcm));
        self.connected.extend(seen.connected);
        self.first_packet.extend(seen.first_packet);
        self.first_keyframe.extend(seen.first_keyframe);
        self.first_picture.extend(seen.first_picture);
        match seen.failure {
            Some(failure) => self.failed(failure),
            None if seen.first_packet.is_none() => self.failed(Failure::NoMedia),
            None => {}
        }
    }

    /// All failures.
    pub(super) fn failures(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Packets that the viewers who left did not get.
    pub(super) fn lost(&self) -> u64 {
        self.counts.lost
    }
}

/// What came while it was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    /// How long.
    pub(super) time: Duration,
    /// RTP packets.
    pub(super) packets: u64,
    /// Their bytes, from the RTP header to the SRTP tag.
    pub(super) bytes: u64,
}

/// All that can be said at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Viewers wanted, at once.
    pub(super) viewers: u64,
    /// How long joins went on.
    pub(super) joining: Duration,
    /// While all were there; when viewers come and go, all the time.
    pub(super) flow: Flow,
    /// Everything else.
    pub(super) tally: Tally,
    /// Of packets that say when they were sent.
    pub(super) delays: Delays,
    /// What the presenter did, if we had one.
    pub(super) presenter: Option<Sent>,
}

impl Report {
    /// Every viewer joined and got media.
    pub(super) fn is_good(&self) -> bool {
        let presented = self.presenter.as_ref().is_none_or(|sent| sent.failure.is_none() && sent.packets > 0);
        presented && self.tally.failures() == 0 && (self.tally.joins > 0 || self.viewers == 0)
    }

    /// One object.
    pub(super) fn json(&self) -> Value {
        let Tally { counts, .. } = &self.tally;
        let failures: BTreeMap<String, u64> =
            self.tally.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect();
        json!({
            "viewers": self.viewers,
            "viewers_connected": self.tally.most,
            "joins": self.tally.joins,
            "joins_per_second": self.joins_per_second(),
            "leaves": self.tally.leaves,
            "vanished": self.tally.vanished,
            "retries": self.tally.retries,
            "failures": self.tally.failures(),
            "failures_by_reason": failures,
            "connected_ms": Distribution::of(&self.tally.connected).json(),
            "first_packet_ms": Distribution::of(&self.tally.first_packet).json(),
            "first_keyframe_ms": Distribution::of(&self.tally.first_keyframe).json(),
            "pictures": self.tally.first_picture.len(),
            "first_picture_ms": Distribution::of(&self.tally.first_picture).json(),
            "viewers_sampled": self.tally.listened,
            "aes_gcm": self.tally.gcm,
            "seconds": self.flow.time.as_secs_f64(),
            "packets_per_second": self.packets_per_second(),
            "megabits_per_second": self.megabits_per_second(),
            "packets_received": counts.packets,
            "packets_lost": counts.lost,
            "packets_overflowed": self.tally.overflowed,
            "packets_duplicated": counts.duplicates,
            "packets_reordered": counts.reordered,
            "packets_undecryptable": self.tally.undecryptable,
            "retransmissions": self.tally.retransmissions,
            "gaps": counts.gaps,
            "pauses": self.tally.pauses.iter().map(of_pause).collect::<Vec<_>>(),
            "delay_ms": {
                "delta": of_histogram(&self.delays.delta).json(),
                "keyframe": of_histogram(&self.delays.keyframe).json(),
                "audio": of_histogram(&self.delays.audio).json(),
            },
            "presenter": self.presenter.as_ref().map(of_presenter),
        })
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let Tally { counts, .. } = &self.tally;
        let mut table = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<24}{value}");
        };
        line(
            "viewers",
            format!("{} wanted, {} at once, {} with AES-GCM", self.viewers, self.tally.most, self.tally.gcm),
        );
        line(
            "joins",
            format!("{} ({:.1}/s), {} retries", self.tally.joins, self.joins_per_second(), self.tally.retries),
        );
        line("leaves", format!("{}, and {} without a word", self.tally.leaves, self.tally.vanished));
        line("failures", self.tally.failures().to_string());
        for (failure, count) in &self.tally.failures {
            line("", format!("{count} × {failure}"));
        }
        line("POST → connected", Distribution::of(&self.tally.connected).to_string());
        line("POST → first packet", Distribution::of(&self.tally.first_packet).to_string());
        line("POST → first key frame", Distribution::of(&self.tally.first_keyframe).to_string());
        line("POST → all of it", Distribution::of(&self.tally.first_picture).to_string());
        let rate = format!("{:.0} packets/s, {:.1} Mbit/s", self.packets_per_second(), self.megabits_per_second());
        line("received", format!("{} packets; over {:.1} s {rate}", counts.packets, self.flow.time.as_secs_f64()));
        let expected = counts.packets.saturating_sub(counts.duplicates) + counts.lost;
        let share = 100.0 * counts.lost as f64 / expected.max(1) as f64;
        let full = format!("{} found our own sockets full", self.tally.overflowed);
        line("lost", format!("{} packets ({share:.4} %) in {} gaps; {full}", counts.lost, counts.gaps));
        line("twice, late", format!("{}, {}", counts.duplicates, counts.reordered));
        line("not decryptable", self.tally.undecryptable.to_string());
        line("retransmissions", self.tally.retransmissions.to_string());
        let Delays { delta, keyframe, audio } = &self.delays;
        for (name, delays) in [("delay, pictures", delta), ("delay, key frames", keyframe), ("delay, audio", audio)] {
            if delays.count() > 0 {
                line(name, format!("{}; {} packets", of_histogram(delays), delays.count()));
            }
        }
        if let Some(sent) = &self.presenter {
            let Sent { packets, frames, keyframes, plis, nacks, resent, lost, failure } = sent;
            line("presented", format!("{packets} packets, {frames} pictures, {keyframes} key frames; {lost} lost"));
            line("asked of the presenter", format!("{plis} key frames, {nacks} packets ({resent} sent again)"));
            if let Some(failure) = failure {
                line("", format!("it ended: {failure}"));
            }
        }
        table
    }

    fn joins_per_second(&self) -> f64 {
        per_second(self.tally.joins, self.joining)
    }

    fn packets_per_second(&self) -> f64 {
        self.for_all(per_second(self.flow.packets, self.flow.time))
    }

    fn megabits_per_second(&self) -> f64 {
        self.for_all(per_second(self.flow.bytes * 8, self.flow.time) / 1e6)
    }

    /// What those who count got, as if all had counted.
    fn for_all(&self, rate: f64) -> f64 {
        if self.tally.listened == 0 { rate } else { rate * self.tally.joins as f64 / self.tally.listened as f64 }
    }
}

fn of_presenter(sent: &Sent) -> Value {
    json!({
        "packets": sent.packets,
        "frames": sent.frames,
        "keyframes": sent.keyframes,
        "packets_lost": sent.lost,
        "keyframes_requested": sent.plis,
        "packets_requested": sent.nacks,
        "packets_resent": sent.resent,
        "failure": sent.failure.as_ref().map(ToString::to_string),
    })
}

fn of_pause(pause: &Pause) -> Value {
    json!({ "ended": pause.ended.as_secs_f64(), "ms": pause.lasted.as_secs_f64() * 1e3 })
}

fn of_histogram(times: &Histogram) -> Distribution {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let at = |percent| times.percentile(percent).map(ms);
    Distribution((|| Some([at(50)?, at(95)?, at(99)?, ms(times.max())]))())
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// Percentiles of times, in milliseconds; `None` of no times.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Distribution(Option<[f64; 4]>);

impl Distribution {
    fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        // Nearest rank: the smallest value that so many percent do not exceed.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|time| time.as_secs_f64() * 1e3)
        };
        Self((|| Some([at(50)?, at(95)?, at(99)?, at(100)?]))())
    }

    fn json(self) -> Value {
        self.0.map_or(Value::Null, |[p50, p95, p99, max]| json!({ "p50": p50, "p95": p95, "p99": p99, "max": max }))
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("–"),
            Some([p50, p95, p99, max]) => {
                write!(f, "p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
            }
        }
    }
}

/// Told one by one.
const MOST_PAUSES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::viewer::Seen;
    use super::*;

    fn ms(milliseconds: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        milliseconds.into_iter().map(Duration::from_millis).collect()
    }

    fn outcome(packets: u64, failure: Option<Failure>) -> Outcome {
        let first = (packets > 0).then_some(Duration::from_millis(20));
        let counts = Counts { packets, lost: 1, ..Counts::default() };
        let seen = Seen {
            first_packet: first,
            first_keyframe: first,
            first_picture: first,
            counts,
            failure,
            ..Seen::default()
        };
        Outcome { seen, overflowed: 1 }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(Distribution::of(&ms((1..=100).rev())), Distribution(Some([50.0, 95.0, 99.0, 100.0])));
        assert_eq!(Distribution::of(&ms([7])), Distribution(Some([7.0; 4])));
        assert_eq!(Distribution::of(&ms([1, 2])), Distribution(Some([1.0, 2.0, 2.0, 2.0])));
        assert_eq!(Distribution::of(&[]).json(), Value::Null);
    }

    #[test]
    fn a_good_end_is_one_where_everybody_got_something() {
        let mut report = Report { viewers: 1, ..Report::default() };
        assert!(!report.is_good(), "nobody came");

        report.tally.joined(0);
        report.tally.ended(outcome(5, None));
        assert!(report.is_good());

        let mut without_media = report.clone();
        without_media.tally.joined(0);
        without_media.tally.ended(outcome(0, None));
        assert!(!without_media.is_good());

        report.tally.failed(Failure::Status(404));
        assert!(!report.is_good());
    }

    #[test]
    fn the_object_says_what_the_tally_counted() {
        let mut report = Report { viewers: 3, joining: Duration::from_secs(2), ..Report::default() };
        report.flow = Flow { time: Duration::from_secs(4), packets: 100, bytes: 1_000_000 };
        report.tally.joined(2);
        report.tally.joined(0);
        report.tally.ended(outcome(5, None));
        report.tally.ended(outcome(7, Some(Failure::Silent)));
        report.tally.failed(Failure::Status(503));
        report.tally.failed(Failure::Status(503));

        let json = report.json();

        assert_eq!((&json["viewers"], &json["viewers_connected"], &json["joins"]), (&json!(3), &json!(2), &json!(2)));
        assert_eq!((&json["retries"], &json["failures"]), (&json!(2), &json!(3)));
        assert_eq!(json["failures_by_reason"], json!({ "HTTP 503": 2, "the connection fell silent": 1 }));
        assert_eq!((&json["packets_received"], &json["packets_lost"]), (&json!(12), &json!(2)));
        assert_eq!(json["packets_overflowed"], json!(2));
        assert_eq!((&json["packets_per_second"], &json["megabits_per_second"]), (&json!(25.0), &json!(2.0)));
        assert_eq!(json["joins_per_second"], json!(1.0));
        assert_eq!(json["pictures"], json!(2));
        assert!(report.table().contains("2 × HTTP 503"));
    }
}
