//! Nets that lose, copy and reorder.

use super::*;

/// Runs a handshake over such a net; returns how long it took, if it completed, and how many datagrams were sent.
fn run<'a>(hall: &Hall, case: Case, limit: Duration, fate: impl FnMut(usize) -> Vec<Duration> + 'a) -> Ran {
    let (pairing, profiles, expected) = case;
    let mut link = hall.link(pairing, profiles, Box::new(fate));
    let took = link.run(limit);
    if took.is_some() {
        assert_same_keys(&link, expected);
    }
    Ran { took, datagrams: link.sent }
}

struct Ran {
    took: Option<Duration>,
    datagrams: usize,
}

/// How many datagrams a handshake without any loss takes.
fn datagrams(hall: &Hall, case: Case) -> usize {
    let ran = run(hall, case, LIMIT, |_| vec![DELAY]);
    assert!(ran.took.is_some() && ran.datagrams >= 6, "{case:?}");
    ran.datagrams
}

fn losing(lost: &[usize]) -> impl FnMut(usize) -> Vec<Duration> {
    move |k| if lost.contains(&k) { Vec::new() } else { vec![DELAY] }
}

#[test]
fn any_datagram_may_be_lost() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for lost in 0..datagrams(&hall, case) {
            let ran = run(&hall, case, LIMIT, losing(&[lost]));

            // The library waits a second before it repeats anything.
            let bound = Duration::from_millis(if case.0 == Pairing::Ours { 500 } else { 1_200 });
            assert!(ran.took.is_some_and(|took| took <= bound), "{case:?} without {lost}: {:?}", ran.took);
        }
    }
}

#[test]
fn any_two_datagrams_may_be_lost() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for first in 0..datagrams(&hall, case) {
            for second in first + 1..first + 12 {
                let ran = run(&hall, case, LIMIT, losing(&[first, second]));

                assert!(ran.took.is_some(), "{case:?} without {first} and {second}");
            }
        }
    }
}

#[test]
fn any_datagram_may_arrive_twice_at_once_or_later() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for copied in 0..datagrams(&hall, case) {
            for later in [DELAY, 2 * DELAY, 10 * DELAY] {
                let ran = run(&hall, case, LIMIT, |k| if k == copied { vec![DELAY, later] } else { vec![DELAY] });

                assert!(ran.took.is_some_and(|took| took <= 6 * DELAY), "{case:?}, {copied} twice: {:?}", ran.took);
            }
        }
    }
}

#[test]
fn any_datagram_may_be_overtaken() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for late in 0..datagrams(&hall, case) {
            for by in [DELAY / 2, 30 * DELAY] {
                let ran = run(&hall, case, LIMIT, |k| vec![if k == late { DELAY + by } else { DELAY }]);

                assert!(ran.took.is_some(), "{case:?}, {late} late by {by:?}");
            }
        }
    }
}

#[test]
fn a_lossy_net_delays_a_handshake_but_does_not_stop_it() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for percent in [5, 10, 20] {
            for seed in 0..50_u64 {
                let mut random = Random(seed * 1_000 + percent);
                let ran =
                    run(&hall, case, 3 * LIMIT, |_| if random.below(100) < percent { Vec::new() } else { vec![DELAY] });

                assert!(ran.took.is_some(), "{case:?}, {percent} %, seed {seed}");
            }
        }
    }
}

#[test]
fn a_bad_net_loses_copies_and_reorders_at_once() {
    let hall = Hall::new();

    for seed in 0..200_u64 {
        let mut random = Random(seed);
        let fate = |_| match random.below(10) {
            0 => Vec::new(),
            1 => vec![DELAY, DELAY + Duration::from_millis(random.below(400))],
            _ => vec![DELAY + Duration::from_millis(random.below(50))],
        };
        let ran = run(&hall, (Pairing::Ours, &[], Profile::AesGcm), 3 * LIMIT, fate);

        assert!(ran.took.is_some(), "seed {seed}");
    }
}

/// A small generator (SplitMix64): the same losses in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const LIMIT: Duration = Duration::from_secs(5);
