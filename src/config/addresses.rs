//! Which addresses the media socket is reached at: the candidates of every answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A network interface's name and one of its addresses.
pub type Interface = (String, IpAddr);

/// The addresses to put into answers, the best first; never empty.
///
/// First what the configuration says; then the address listened on, or if that is any, those of this machine: IPv4
/// before IPv6, public before private, because there are clients that try the first one only. Loopback addresses are
/// there only when there is nothing else: browsers reach this machine at its other addresses too, and not all of them
/// take a loopback candidate.
pub fn candidates(listen: SocketAddr, port: u16, public: &[IpAddr], interfaces: &[Interface]) -> Vec<SocketAddr> {
    let mut found: Vec<IpAddr> = public.iter().map(IpAddr::to_canonical).collect();
    if listen.ip().is_unspecified() {
        found.extend(own(listen.is_ipv6(), interfaces));
    } else {
        found.push(listen.ip().to_canonical());
    }

    let mut candidates: Vec<SocketAddr> = Vec::with_capacity(MOST);
    for ip in found {
        let candidate = SocketAddr::new(ip, port);
        if candidates.len() < MOST && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates
}

/// The addresses of this machine, the best first.
fn own(takes_ipv6: bool, interfaces: &[Interface]) -> Vec<IpAddr> {
    let usable = |ip: IpAddr| rank(ip).filter(|_| takes_ipv6 || ip.is_ipv4()).map(|rank| (rank, ip));
    let of = |wanted: fn(&str) -> bool| {
        let mut ranked: Vec<_> =
            interfaces.iter().filter(|(name, _)| wanted(name)).filter_map(|(_, ip)| usable(*ip)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, ip)| ip).collect::<Vec<_>>()
    };
    let real = of(|name| !is_of_containers(name));
    let any = if real.is_empty() { of(|_| true) } else { real };
    if any.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { any }
}

/// Addresses of container bridges are of no use to anybody outside.
fn is_of_containers(interface: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "cni", "flannel"].iter().any(|prefix| interface.starts_with(prefix))
}

/// The smaller the better; `None`: not a candidate.
fn rank(ip: IpAddr) -> Option<u8> {
    match ip {
        _ if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => None,
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_broadcast() => None,
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let behind_carrier = a == 100 && (64..128).contains(&b);
            Some(u8::from(v4.is_private() || behind_carrier))
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        IpAddr::V6(v6) => Some(if v6.is_unique_local() { 3 } else { 2 }),
    }
}

/// More candidates only make clients check longer; FFmpeg reads 8 KiB of an answer at most.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listen: &str, public: &[&str], interfaces: &[(&str, &str)]) -> Vec<String> {
        let ip = |text: &&str| text.parse::<IpAddr>().expect("an address");
        let public: Vec<_> = public.iter().map(ip).collect();
        let interfaces: Vec<_> = interfaces.iter().map(|(name, address)| ((*name).to_owned(), ip(address))).collect();
        let candidates = candidates(listen.parse().expect("an address"), 8080, &public, &interfaces);
        candidates.into_iter().map(|candidate| candidate.ip().to_string()).collect()
    }

    const MACHINE: [(&str, &str); 8] = [
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("eth0", "fe80::1"),
        ("eth0", "fd00::5"),
        ("eth0", "2001:db8::5"),
        ("eth0", "192.168.1.5"),
        ("eth1", "203.0.113.5"),
        ("docker0", "172.17.0.1"),
    ];

    #[test]
    fn public_ipv4_comes_first_and_ipv6_last() {
        assert_eq!(of("[::]:8080", &[], &MACHINE), ["203.0.113.5", "192.168.1.5", "2001:db8::5", "fd00::5"]);
    }

    #[test]
    fn an_ipv4_socket_has_no_ipv6_candidates() {
        assert_eq!(of("0.0.0.0:8080", &[], &MACHINE), ["203.0.113.5", "192.168.1.5"]);
    }

    #[test]
    fn configured_addresses_come_before_all_others() {
        assert_eq!(
            of("0.0.0.0:8080", &["198.51.100.1", "192.168.1.5"], &MACHINE),
            ["198.51.100.1", "192.168.1.5", "203.0.113.5"]
        );
    }

    #[test]
    fn a_socket_on_one_address_is_reached_there_only() {
        assert_eq!(of("192.168.1.5:8080", &[], &MACHINE), ["192.168.1.5"]);
        assert_eq!(of("127.0.0.1:8080", &[], &MACHINE), ["127.0.0.1"]);
        assert_eq!(of("10.0.0.5:8080", &["203.0.113.9"], &MACHINE), ["203.0.113.9", "10.0.0.5"]);
    }

    #[test]
    fn bridges_of_containers_and_loopback_are_the_last_resort() {
        let (lo, docker) = (("lo", "127.0.0.1"), ("docker0", "172.17.0.1"));

        assert_eq!(of("[::]:8080", &[], &[lo, docker]), ["172.17.0.1"]);
        assert_eq!(of("[::]:8080", &[], &[lo]), ["127.0.0.1"]);
        assert_eq!(of("[::]:8080", &[], &[]), ["127.0.0.1"]);
    }

    #[test]
    fn there_are_never_many() {
        let many: Vec<String> = (1..100).map(|n| format!("10.0.0.{n}")).collect();
        let interfaces: Vec<_> = many.iter().map(|address| ("eth0", address.as_str())).collect();

        assert_eq!(of("[::]:8080", &[], &interfaces).len(), MOST);
    }
}
