//! Places for connections: so many in all, so many per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_per_address: usize,
    /// Not counted per address.
    exempt: Vec<IpAddr>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One taken place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// `None` for an exempt address.
    address: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All are taken.
    Total,
    /// This address has all that one may have.
    Address,
}

impl Places {
    /// All free.
    pub(super) fn new(most: usize, most_per_address: usize, exempt: &[IpAddr]) -> Arc<Self> {
        let exempt = exempt.iter().map(IpAddr::to_canonical).collect();
        Arc::new(Self { most, most_per_address, exempt, taken: Mutex::default() })
    }

    /// Takes a place for a connection from `address`.
    /// # Errors
    /// `Total` or `Address` when there is none.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let address = address.to_canonical();
        let address = (!self.exempt.contains(&address)).then(|| network(address));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.most {
            return Err(NoPlace::Total);
        }
        if let Some(address) = address {
            let count = taken.by_address.entry(address).or_default();
            if *count >= self.most_per_address {
                return Err(NoPlace::Address);
            }
            *count += 1;
        }
        taken.total += 1;
        Ok(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: an IPv6 customer has a whole /64 to call from.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let places = Places::new(10, 1, &[]);

        let first = places.take(address("192.0.2.1")).expect("a place");
        assert_eq!(places.take(address("192.0.2.1")).err(), Some(NoPlace::Address));
        drop(first);

        assert!(places.take(address("192.0.2.1")).is_ok());
        assert!(places.taken.lock().expect("not poisoned").by_address.is_empty(), "nothing is kept of who has left");
    }

    #[test]
    fn one_network_is_one_address() {
        let places = Places::new(10, 1, &[]);
        let _held: Vec<Place> =
            ["192.0.2.1", "2001:db8::1"].map(|a| places.take(address(a)).expect("a place")).into_iter().collect();

        assert_eq!(places.take(address("::ffff:192.0.2.1")).err(), Some(NoPlace::Address));
        assert_eq!(places.take(address("2001:db8::ffff")).err(), Some(NoPlace::Address));
        assert!(places.take(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn an_exempt_address_counts_only_towards_the_total() {
        let places = Places::new(3, 1, &[address("127.0.0.1")]);

        let held: Vec<Place> = (0..3).map(|_| places.take(address("127.0.0.1")).expect("a place")).collect();

        assert_eq!(places.take(address("127.0.0.1")).err(), Some(NoPlace::Total));
        assert_eq!(held.len(), 3);
    }
}
