//! Sockets of viewers, and what the kernel says of them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{SockFilter, SockRef};

use super::LoadError;

/// A socket that talks to `remote` only, from a port of its own, and from this address if one is wanted.
/// # Errors
/// When there is no port or no way, or the address is not this machine's.
pub(super) fn open(remote: SocketAddr, from: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((from.unwrap_or(any), 0))?;
    socket.connect(remote)?;
    socket.set_nonblocking(true)?;
    // More than the kernel allows is cut to what it allows.
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    Ok(socket)
}

/// Lets no media in any more: what the kernel drops costs neither side a wake-up. STUN, DTLS and RTCP come in as before.
/// # Errors
/// When the kernel has no filters.
pub(super) fn deafen(socket: &UdpSocket) -> io::Result<()> {
    // The filter sees the UDP header (8 bytes), too. RFC 7983: RTP and RTCP begin with 128–191; RFC 5761 §4: then RTCP
    // has 192–223. Of a train of datagrams (GRO) the first one speaks for all.
    let load = |offset| SockFilter::new(LOAD_BYTE, 0, 0, offset);
    let at_least = |number, then, otherwise| SockFilter::new(JUMP_AT_LEAST, then, otherwise, number);
    SockRef::from(socket).attach_filter(&[
        load(8),
        at_least(192, 4, 0),
        at_least(128, 0, 3),
        load(9),
        at_least(224, 2, 0),
        at_least(192, 0, 1),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ])
}

/// Allows as many open files as that many viewers need.
/// # Errors
/// When the system's hard limit is lower.
pub(super) fn allow(viewers: usize) -> Result<(), LoadError> {
    let needed = viewers as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(allowed) = limit.maximum.filter(|allowed| *allowed < needed) {
        return Err(LoadError::Files { viewers, needed, allowed });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(io::Error::from)?;
    Ok(())
}

/// Datagrams that the kernel dropped because a socket was full, by local port. Empty where the kernel does not tell.
pub(super) fn drops() -> HashMap<u16, u64> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(of_line).filter(|(_, drops)| *drops > 0).collect()
}

/// Local port and drops of one line (proc(5)).
fn of_line(line: &str) -> Option<(u16, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (_, port) = words.nth(1)?.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, words.last()?.parse().ok()?))
}

/// Bytes. The kernel counts its own overhead too; this holds a key frame's burst.
const BUFFER: usize = 1 << 20;
/// `BPF_LD | BPF_B | BPF_ABS` of linux/filter.h.
const LOAD_BYTE: u16 = 0x30;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
/// HTTP connections, epoll, standard streams.
const OTHER_FILES: u64 = 1_100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let line = " 1185: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000  0 24573 2 0 17";

        assert_eq!(of_line(line), Some((8080, 17)));
        assert_eq!(of_line("   sl  local_address rem_address   st tx_queue rx_queue … drops"), None);
        assert_eq!(of_line(""), None);
    }

    #[test]
    fn a_deaf_socket_hears_everything_but_media() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let socket = open(server.local_addr().expect("bound"), None).expect("open");
        let at = socket.local_addr().expect("bound");

        deafen(&socket).expect("a kernel with filters");
        // STUN, DTLS, RTP twice (with and without marker), RTCP from both ends of its range, what nobody knows.
        let datagrams = [[0, 1], [22, 254], [0x80, 96], [0x90, 224], [0x80, 192], [0x81, 223], [0x80, 191], [200, 96]];
        for datagram in datagrams {
            server.send_to(&datagram, at).expect("sent");
        }

        let mut heard = Vec::new();
        let mut buffer = [0; 2];
        while socket.recv(&mut buffer).is_ok() {
            heard.push(buffer);
        }
        assert_eq!(heard, [[0, 1], [22, 254], [0x80, 192], [0x81, 223], [200, 96]]);
    }

    #[test]
    fn a_socket_speaks_from_the_address_that_is_wanted() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let other = IpAddr::from([127, 0, 0, 2]);

        let socket = open(server.local_addr().expect("bound"), Some(other)).expect("all of 127/8 is this machine's");

        assert_eq!(socket.local_addr().expect("bound").ip(), other);
    }

    #[test]
    fn a_socket_hears_only_whom_it_talks_to() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let socket = open(server.local_addr().expect("bound"), None).expect("open");
        let at = socket.local_addr().expect("bound");

        stranger.send_to(b"stranger", at).expect("sent");
        server.send_to(b"server", at).expect("sent");

        let mut buffer = [0; 16];
        let len = socket.recv(&mut buffer).expect("loopback delivers at once");
        assert_eq!(&buffer[..len], b"server");
    }
}
