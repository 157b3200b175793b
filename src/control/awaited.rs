//! Presenters that were there when the server ended, and are expected back.
//!
//! A presenter whose server has died needs a moment to find that out. Meanwhile its seat is kept for as long as its
//! silence would have been borne, and its viewers are told to wait for as long as they would have been kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::stream::{Policies, StreamName, StreamPolicy};

/// A stream that somebody presents, and who: what has to outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The stream.
    pub stream: StreamName,
    /// The identities of its presenters.
    pub presenters: Vec<String>,
}

/// All who are expected back.
#[derive(Debug, Default)]
pub(super) struct Awaited(HashMap<StreamName, Expected>);

/// The presenters of one stream.
#[derive(Debug)]
struct Expected {
    /// Those who have not come back yet.
    presenters: Vec<String>,
    /// Till then nobody else gets their seats.
    seats_until: Instant,
    /// Till then they are expected.
    until: Instant,
}

impl Awaited {
    /// Expects those who presented so long ago. Streams that cannot exist any more are left out.
    pub(super) fn expect(&mut self, all: Vec<Presented>, age: Duration, policies: &Policies, now: Instant) {
        for Presented { stream, presenters } in all {
            let grace = policies.of(&stream).map(|policy| policy.grace.saturating_sub(age)).unwrap_or_default();
            if !grace.is_zero() {
                let seats_until = now + grace.min(SEAT_KEPT);
                self.0.insert(stream, Expected { presenters, seats_until, until: now + grace });
            }
        }
    }

    /// For how long this identity is kept from the seat that it wants, because that is another's who is expected back.
    pub(super) fn keeps_out(
        &self,
        stream: &StreamName,
        policy: &StreamPolicy,
        subject: Option<&str>,
        now: Instant,
    ) -> Option<Duration> {
        let Expected { presenters, seats_until, .. } = self.0.get(stream)?;
        let subject = subject.unwrap_or_default();
        let rank = |subject: &str| policy.presenters.rank(subject);
        let others = presenters.iter().any(|other| other != subject && rank(other) == rank(subject));
        let left = seats_until.saturating_duration_since(now);
        (others && !presenters.iter().any(|own| own == subject) && !left.is_zero()).then_some(left)
    }

    /// One of them is back, or somebody has taken that seat.
    pub(super) fn seated(&mut self, stream: &StreamName, policy: &StreamPolicy, subject: Option<&str>) {
        let rank = policy.presenters.rank(subject.unwrap_or_default());
        if let Some(expected) = self.0.get_mut(stream) {
            expected.presenters.retain(|other| policy.presenters.rank(other) != rank);
            if expected.presenters.is_empty() {
                self.0.remove(stream);
            }
        }
    }

    /// Is anybody expected on this stream?
    pub(super) fn holds(&self, stream: &StreamName) -> bool {
        self.0.contains_key(stream)
    }

    /// Who is still expected, and where.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&StreamName, &[String])> {
        self.0.iter().map(|(stream, expected)| (stream, expected.presenters.as_slice()))
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, expected| expected.until > now);
    }
}

/// How long a session is kept that says nothing.
const SEAT_KEPT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stream::Presenters;

    fn name(name: &str) -> StreamName {
        name.parse().expect("a name")
    }

    fn awaited(stream: &str, presenters: &[&str], age: Duration, now: Instant) -> Awaited {
        let mut awaited = Awaited::default();
        let presenters = presenters.iter().map(ToString::to_string).collect();
        awaited.expect(vec![Presented { stream: name(stream), presenters }], age, &Policies::default(), now);
        awaited
    }

    #[test]
    fn a_seat_is_kept_for_as_long_as_silence_is_borne() {
        let (now, policy, talk) = (Instant::now(), StreamPolicy::default(), name("talk"));
        let awaited = awaited("talk", &["ann"], Duration::from_secs(5), now);

        assert_eq!(awaited.keeps_out(&talk, &policy, Some("ann"), now), None);
        assert_eq!(awaited.keeps_out(&talk, &policy, Some("bob"), now), Some(SEAT_KEPT));
        assert_eq!(awaited.keeps_out(&talk, &policy, Some("bob"), now + SEAT_KEPT), None);
        assert_eq!(awaited.keeps_out(&name("other"), &policy, Some("bob"), now), None);
    }

    #[test]
    fn a_backup_does_not_wait_for_another_seat() {
        let (now, talk) = (Instant::now(), name("talk"));
        let ranks = Presenters::Backup(["ann".to_owned(), "bob".to_owned()].into());
        let policy = StreamPolicy { presenters: ranks, ..StreamPolicy::default() };
        let mut awaited = awaited("talk", &["ann", "bob"], Duration::ZERO, now);

        assert_eq!(awaited.keeps_out(&talk, &policy, Some("bob"), now), None);
        awaited.seated(&talk, &policy, Some("bob"));
        assert!(awaited.holds(&talk), "ann is not back");
        awaited.seated(&talk, &policy, Some("ann"));
        assert!(!awaited.holds(&talk));
    }

    #[test]
    fn nobody_is_expected_for_longer_than_the_grace_time() {
        let (now, grace) = (Instant::now(), StreamPolicy::default().grace);
        let mut late = awaited("talk", &["ann"], Duration::from_secs(5), now);

        late.expire(now + grace.saturating_sub(Duration::from_secs(6)));
        assert!(late.holds(&name("talk")));
        late.expire(now + grace.saturating_sub(Duration::from_secs(5)));
        assert!(!late.holds(&name("talk")));
        assert!(!awaited("talk", &["ann"], grace, now).holds(&name("talk")));
    }
}
