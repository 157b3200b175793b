//! How much one client may ask for: token buckets in a bounded table.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::media::SessionId;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A WHIP POST, by identity: 5/s, 20 at once.
    Present,
    /// A WHEP POST, by address: 200/s, 500 at once. A whole school watches from behind one address.
    Watch,
    /// A DELETE of a session that is not there, by address: 10 a minute.
    Miss,
    /// A PATCH or a choice of layers, by session: 20/s, 100 at once.
    Change,
}

impl Action {
    /// How many at once, and how long until one more.
    fn rate(self) -> (u32, Duration) {
        match self {
            Self::Present => (20, Duration::from_millis(200)),
            Self::Watch => (500, Duration::from_millis(5)),
            Self::Miss => (10, Duration::from_secs(6)),
            Self::Change => (100, Duration::from_millis(50)),
        }
    }
}

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A client's address. Make it with [`Key::address`].
    Address(IpAddr),
    /// A token's subject.
    Subject(String),
    /// One session.
    Session(SessionId),
}

impl Key {
    /// One household is one key: IPv4 as it is, of IPv6 the /64, which is what a network hands to one customer.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::Address(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 @ IpAddr::V4(_) => Self::Address(v4),
        }
    }
}

/// Too much was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests: try again in {} s", .0.as_secs() + 1)]
pub struct RetryAfter(pub Duration);

/// The buckets of all clients. Shared; a call takes a short lock.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: Mutex<Generations>,
}

impl Limits {
    /// Counts one action and says whether it may be done.
    /// # Errors
    /// When the client's bucket is empty: when there will be something in it again.
    pub fn allow(&self, action: Action, key: &Key, now: Instant) -> Result<(), RetryAfter> {
        let (burst, interval) = action.rate();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.entry(action, key, now);

        // The bucket is kept as the moment when it is full again: one number, and a bucket that has not been used for
        // a while is full without anybody having touched it.
        let after = (*full_at).max(now) + interval;
        let room = interval * burst;
        if after > now + room {
            return Err(RetryAfter(after - (now + room)));
        }
        *full_at = after;
        Ok(())
    }
}

/// A table that forgets. When the younger half is full it becomes the older half, and the older half goes: what was
/// touched lately stays, and a flood of addresses costs a fixed amount of memory.
#[derive(Debug, Default)]
struct Generations {
    younger: HashMap<(Action, Key), Instant>,
    older: HashMap<(Action, Key), Instant>,
}

impl Generations {
    fn entry(&mut self, action: Action, key: &Key, now: Instant) -> &mut Instant {
        let key = (action, key.clone());
        if !self.younger.contains_key(&key) && self.younger.len() >= HALF {
            self.older = std::mem::take(&mut self.younger);
        }
        let known = self.older.remove(&key);
        self.younger.entry(key).or_insert_with(|| known.unwrap_or(now))
    }
}

/// Buckets in one generation; about 100 bytes each.
const HALF: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (limits, start) = (Limits::default(), Instant::now());
        let key = Key::Subject("publisher:live".to_owned());

        for _ in 0..20 {
            assert_eq!(limits.allow(Action::Present, &key, start), Ok(()));
        }
        let refused = limits.allow(Action::Present, &key, start);

        assert_eq!(refused, Err(RetryAfter(Duration::from_millis(200))));
        assert_eq!(limits.allow(Action::Present, &key, start + Duration::from_millis(200)), Ok(()));
        assert!(limits.allow(Action::Present, &key, start + Duration::from_millis(200)).is_err());
    }

    #[test]
    fn clients_and_actions_do_not_share_a_bucket() {
        let (limits, now) = (Limits::default(), Instant::now());
        let (one, other) = (Key::address([192, 0, 2, 1].into()), Key::address([192, 0, 2, 2].into()));
        while limits.allow(Action::Miss, &one, now).is_ok() {}

        assert_eq!(limits.allow(Action::Miss, &other, now), Ok(()));
        assert_eq!(limits.allow(Action::Watch, &one, now), Ok(()));
    }

    #[test]
    fn a_refused_action_costs_nothing() {
        let (limits, now) = (Limits::default(), Instant::now());
        let key = Key::address([192, 0, 2, 1].into());
        while limits.allow(Action::Miss, &key, now).is_ok() {}
        for _ in 0..1_000 {
            assert!(limits.allow(Action::Miss, &key, now).is_err());
        }

        assert_eq!(limits.allow(Action::Miss, &key, now + Duration::from_secs(6)), Ok(()));
    }

    #[test]
    fn one_ipv6_network_is_one_client_and_mapped_ipv4_is_ipv4() {
        let key = |text: &str| Key::address(text.parse().expect("an address"));

        assert_eq!(key("2001:db8:1:2::a"), key("2001:db8:1:2:ffff::b"));
        assert_ne!(key("2001:db8:1:2::a"), key("2001:db8:1:3::a"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded_and_remembers_whoever_is_active() {
        let (limits, now) = (Limits::default(), Instant::now());
        let busy = Key::address([192, 0, 2, 1].into());
        while limits.allow(Action::Miss, &busy, now).is_ok() {}

        for n in 0..(3 * HALF as u32) {
            let _ = limits.allow(Action::Miss, &Key::Address(IpAddr::V4((n + 0x0a00_0000).into())), now);
            if n % 1_000 == 0 {
                assert!(limits.allow(Action::Miss, &busy, now).is_err());
            }
        }

        let buckets = limits.buckets.lock().expect("not poisoned");
        assert!(buckets.younger.len() <= HALF && buckets.older.len() <= HALF);
    }
}
