//! Ways of known width, in virtual time.

use super::*;
use crate::wire::rtcp::{Arrivals, Event, read};

/// A way that carries `rate` bit/s behind a queue of 300 ms, and a viewer that tells every 50 ms what came.
struct Way {
    bandwidth: Bandwidth,
    arrivals: Arrivals,
    start: Instant,
    now: Instant,
    busy_until: Instant,
    flights: Vec<(Instant, u16)>,
}

impl Way {
    fn new() -> Self {
        let start = Instant::now();
        let bandwidth = Bandwidth::new(Some(3), start);
        Self { bandwidth, arrivals: Arrivals::new(1), start, now: start, busy_until: start, flights: Vec::new() }
    }

    fn send(&mut self, bytes: usize, rate: u64) {
        let number = self.bandwidth.send(bytes);
        let start = self.busy_until.max(self.now);
        if start - self.now <= Duration::from_millis(300) {
            self.busy_until = start + Duration::from_micros(bytes as u64 * 8_000_000 / rate);
            self.flights.push((self.busy_until + Duration::from_millis(20), number));
        }
    }

    /// `seconds` of a layer that costs `cost`, over a way of `rate`; returns what was judged, and when.
    fn run(&mut self, seconds: u64, cost: u64, next: Option<u64>, rate: u64) -> Vec<(Duration, Verdict)> {
        let begin = self.now;
        let mut verdicts = Vec::new();
        for step in 1..=seconds * 40 {
            self.now = begin + Duration::from_millis(25 * step);
            self.bandwidth.turn(self.now);
            let frame = (cost / 320) as usize;
            for part in 0..frame.div_ceil(1100) {
                self.send((frame - part * 1100).min(1100), rate);
            }
            let padding = self.bandwidth.padding() / 500;
            self.bandwidth.padded(padding * 500);
            (0..padding).for_each(|_| self.send(500, rate));
            let came: Vec<_> = self.flights.extract_if(.., |(at, _)| *at <= self.now).collect();
            for (at, number) in came {
                self.arrivals.record(number, (at - self.start).as_micros() as u64);
            }
            if step % 2 == 0 && self.arrivals.pending() {
                let mut out = Vec::new();
                self.arrivals.write(&mut out, 1);
                read(&out, |event| {
                    if let Event::TransportCc { body } = event {
                        self.bandwidth.feedback(body, self.now);
                    }
                });
            }
            if step % 8 == 0 {
                let verdict = self.bandwidth.judge(cost, next, self.now);
                if verdict != Verdict::Stay {
                    self.bandwidth.switched(self.now);
                    verdicts.push((self.now - begin, verdict));
                }
            }
        }
        verdicts
    }
}

#[test]
fn a_way_that_is_wide_enough_is_left_alone() {
    let mut way = Way::new();

    assert_eq!(way.run(30, 1_500_000, None, 10_000_000), []);
    assert_eq!(way.bandwidth.limit, None);
}

#[test]
fn a_way_that_becomes_narrow_is_noticed_within_a_second_and_a_half() {
    let mut way = Way::new();
    way.run(5, 1_500_000, None, 10_000_000);

    let verdicts = way.run(3, 1_500_000, None, 500_000);

    let (after, Verdict::Down(limit)) = verdicts[0] else { panic!("{verdicts:?}") };
    assert!(after <= Duration::from_millis(1500), "{after:?}");
    assert!((300_000..550_000).contains(&limit), "{limit}");
}

#[test]
fn a_probe_finds_room_where_there_is_some() {
    let mut way = Way::new();
    way.run(2, 1_500_000, None, 500_000);
    way.run(8, 150_000, Some(1_500_000), 500_000);

    let verdicts = way.run(8, 150_000, Some(1_500_000), 10_000_000);

    let (after, verdict) = verdicts[0];
    assert_eq!(verdict, Verdict::Up);
    assert!(after <= Duration::from_secs(7), "{after:?}");
}

#[test]
fn a_probe_finds_no_room_where_there_is_none_and_they_become_rare() {
    let mut way = Way::new();
    way.run(2, 1_500_000, None, 500_000);

    let verdicts = way.run(60, 150_000, Some(600_000), 500_000);
    assert!(!verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Up), "{verdicts:?}");
    assert!(way.bandwidth.failures > 10, "it tried");
    let before = way.bandwidth.failures;
    way.run(60, 150_000, Some(600_000), 500_000);
    assert!(way.bandwidth.failures - before <= 5, "but not all the time");
}

#[test]
fn without_feedback_of_packets_loss_reports_and_estimates_decide() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut by_loss = Bandwidth::new(None, start);
    let mut by_estimate = Bandwidth::new(None, start);

    assert_eq!(by_loss.judge(1_000_000, None, at(2000)), Verdict::Stay);
    by_loss.report(128, at(2100));
    by_estimate.estimate(400_000, at(2100));

    let (Verdict::Down(half), Verdict::Down(told)) =
        (by_loss.judge(1_000_000, None, at(2200)), by_estimate.judge(1_000_000, None, at(2200)))
    else {
        panic!("both ways are too narrow")
    };
    assert!(half <= 500_000 && told <= 400_000);
    by_loss.report(0, at(4000));
    assert_eq!(by_loss.judge(100_000, Some(1_000_000), at(4900)), Verdict::Stay, "a trial begins");
    by_loss.report(0, at(6000));
    assert_eq!(by_loss.judge(100_000, Some(1_000_000), at(7600)), Verdict::Up);
}

#[test]
fn feedback_about_packets_that_were_not_sent_changes_nothing() {
    let start = Instant::now();
    let mut bandwidth = Bandwidth::new(Some(3), start);
    let body = [0, 9, 0x0f, 0xff, 0, 0, 1, 0, 0x0f, 0xff];

    for ms in 0..100 {
        bandwidth.feedback(&body, start + Duration::from_millis(20 * ms));
    }

    assert_eq!(bandwidth.judge(1_000_000, None, start + Duration::from_secs(3)), Verdict::Stay);
}
