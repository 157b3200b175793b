//! What a presenter is told: reports, NACKs, key frame requests, congestion feedback.

use std::time::{Duration, Instant};

use super::Ingress;
use crate::wire::rtcp::{self, Arrivals};

impl Ingress {
    /// Appends what is due to be said to the presenter: reports, NACKs, key frame requests, congestion feedback. Returns
    /// how many key frame requests there are.
    pub fn feedback(&mut self, now: Instant, out: &mut Vec<u8>) -> u64 {
        let mut body = Vec::new();
        self.ask_again(now, &mut body);
        let requests = self.ask_for_keyframes(now, &mut body);
        if self.feedback_at <= now {
            self.feedback_at = now + FEEDBACK_INTERVAL;
            if let Some(arrivals) = &mut self.arrivals
                && arrivals.pending()
            {
                arrivals.write(&mut body, self.about);
            }
        }
        let report = self.report_at <= now;
        if body.is_empty() && !report {
            return requests;
        }

        // A compound packet begins with a report (RFC 3550 §6.1), even an empty one.
        let mut receptions = Vec::new();
        if report {
            let lanes = self.lanes.iter_mut().filter(|l| l.packets > 0 && !l.is_rtx).take(MAX_RECEPTIONS);
            receptions.extend(lanes.map(|l| l.statistics.reception(l.ssrc, now)));
        }
        rtcp::write_receiver_report(out, self.ssrc, &receptions);
        if report {
            rtcp::write_cname(out, self.ssrc, CNAME);
            self.write_remb(now, &receptions, &mut body);
            self.report_at = now + REPORT_INTERVAL;
        }
        out.extend_from_slice(&body);
        requests
    }

    /// When [`Ingress::feedback`] or [`Ingress::has_stopped`] is due.
    pub fn next_timeout(&self) -> Instant {
        let pending = self.arrivals.as_ref().is_some_and(Arrivals::pending);
        let feedback = pending.then_some(self.feedback_at);
        let lanes = self.lanes.iter().flat_map(|l| [l.losses.next(), l.gate.next()]);
        lanes.chain([feedback, self.flow.next(), self.release_at()]).flatten().fold(self.report_at, Instant::min)
    }

    fn ask_again(&mut self, now: Instant, out: &mut Vec<u8>) {
        let mut due = Vec::new();
        for lane in self.lanes.iter_mut().filter(|l| !l.is_rtx) {
            if lane.losses.next().is_none_or(|at| at > now) {
                continue;
            }
            due.clear();
            lane.losses.due(now, &mut due);
            if !due.is_empty() {
                lane.asked += due.len() as u64;
                lane.round_trip.asked(&due, now);
                let numbers: Vec<u16> = due.iter().map(|seq| *seq as u16).collect();
                rtcp::write_nack(out, self.ssrc, lane.ssrc, &numbers);
            }
        }
    }

    fn ask_for_keyframes(&mut self, now: Instant, out: &mut Vec<u8>) -> u64 {
        let mut requests = 0;
        for lane in self.lanes.iter_mut().filter(|l| !l.is_rtx) {
            if !lane.gate.poll(now) {
                continue;
            }
            lane.pulse.asked(now);
            let feedback = lane.source.as_ref().map(|s| s.format.feedback).unwrap_or_default();
            if feedback.pli {
                rtcp::write_pli(out, self.ssrc, lane.ssrc);
            } else if feedback.fir {
                self.fir_seq = self.fir_seq.wrapping_add(1);
                rtcp::write_fir(out, self.ssrc, lane.ssrc, self.fir_seq);
            } else {
                // It did not agree to any request (RFC 4585 §4.2); its key frames come when they come.
                continue;
            }
            requests += 1;
        }
        requests
    }

    /// Without transport-wide feedback the presenter follows our estimate: what comes through may grow by half a
    /// second, less where packets get lost (draft-alvestrand-rmcat-remb-03 §2).
    fn write_remb(&mut self, now: Instant, receptions: &[rtcp::Reception], out: &mut Vec<u8>) {
        let elapsed = now.saturating_duration_since(self.report_at) + REPORT_INTERVAL;
        let rate = (u128::from(self.bytes_since_remb) * 8 * 1_000_000 / elapsed.as_micros().max(1)) as u64;
        self.bytes_since_remb = 0;
        let wants = self.lanes.iter().any(|l| l.source.as_ref().is_some_and(|s| s.format.feedback.remb));
        if self.arrivals.is_some() || !wants {
            return;
        }
        let worst = receptions.iter().map(|r| r.fraction_lost).max().unwrap_or(0);
        let bitrate = if worst > LOSS_OF_10_PERCENT { rate * 85 / 100 } else { (rate * 3 / 2).max(REMB_FLOOR) };
        let about: Vec<u32> = self.lanes.iter().filter(|l| !l.is_rtx).map(|l| l.ssrc).collect();
        rtcp::write_remb(out, self.ssrc, bitrate, &about);
    }
}

/// How long the presenter takes to send a packet again: from asking to its coming. Nothing else tells a receiver of the
/// round trip; a request that was lost makes it seem longer, which does no harm.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: Duration,
    /// A repair has been timed.
    is_known: bool,
    /// A packet that was asked for, and when for the first time.
    probe: Option<(u64, Instant)>,
    /// The newest packet that was ever asked for.
    newest: u64,
}

impl RoundTrip {
    /// Nothing is known yet: as browsers do, 100 ms are assumed, so that most presenters are asked once per packet.
    pub(super) fn new() -> Self {
        Self { smoothed: Duration::from_millis(100), is_known: false, probe: None, newest: 0 }
    }

    /// These packets, in order, are asked for now.
    fn asked(&mut self, seqs: &[u64], now: Instant) {
        if self.probe.is_none_or(|(_, at)| now.saturating_duration_since(at) > PROBE_LIFE) {
            self.probe = seqs.iter().find(|seq| **seq > self.newest).map(|seq| (*seq, now));
        }
        self.newest = seqs.last().copied().unwrap_or(0).max(self.newest);
    }

    /// A packet came. Returns the time to wait before it is asked for again, if that is known better now.
    pub(super) fn arrived(&mut self, seq: u64, now: Instant) -> Option<Duration> {
        let (_, asked) = self.probe.take_if(|(probe, _)| *probe == seq)?;
        self.is_known = true;
        // RFC 6298 §2.3, with the same weight.
        self.smoothed = (self.smoothed * 7 + now.saturating_duration_since(asked)) / 8;
        Some(self.wait())
    }

    /// The time that repairs take, if there were any.
    pub(super) fn known(&self) -> Option<Duration> {
        self.is_known.then_some(self.smoothed)
    }

    /// The time to wait before a packet is asked for again: a repair that is a little late is not asked for twice.
    pub(super) fn wait(&self) -> Duration {
        self.smoothed + self.smoothed / 4
    }
}

/// draft-holmer-rmcat-transport-wide-cc-extensions-01 leaves it to us; browsers expect 50–250 ms.
pub(super) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// Receiver reports and estimates.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const MAX_RECEPTIONS: usize = 31;
/// Of 256.
const LOSS_OF_10_PERCENT: u8 = 26;
/// Bits per second that a presenter may always try.
const REMB_FLOOR: u64 = 1_500_000;
const CNAME: &str = "tribune";
/// A packet that has not come by then does not come.
const PROBE_LIFE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_repair_approaches_the_time_that_repairs_take() {
        let start = Instant::now();
        let mut round_trip = RoundTrip::new();
        assert_eq!(round_trip.wait(), Duration::from_millis(125));

        for n in 1..40_u64 {
            let now = start + Duration::from_secs(n);
            round_trip.asked(&[n * 10, n * 10 + 1], now);
            assert_eq!(round_trip.arrived(n * 10 + 1, now), None, "one at a time is timed");
            assert!(round_trip.arrived(n * 10, now + Duration::from_millis(300)).is_some());
        }

        let wait = round_trip.wait();
        assert!((Duration::from_millis(370)..Duration::from_millis(376)).contains(&wait), "{wait:?}");
    }
}
