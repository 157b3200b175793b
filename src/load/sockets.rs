//! Sockets of viewers, and what the kernel says of them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

use super::LoadError;

/// A socket that talks to `remote` only, from an address and port of its own.
/// # Errors
/// When there is no port or no way.
pub(super) fn open(remote: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(remote)?;
    socket.set_nonblocking(true)?;
    // More than the kernel allows is cut to what it allows.
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    Ok(socket)
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
    fn a_socket_hears_only_whom_it_talks_to() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let socket = open(server.local_addr().expect("bound")).expect("open");
        let at = socket.local_addr().expect("bound");

        stranger.send_to(b"stranger", at).expect("sent");
        server.send_to(b"server", at).expect("sent");

        let mut buffer = [0; 16];
        let len = socket.recv(&mut buffer).expect("loopback delivers at once");
        assert_eq!(&buffer[..len], b"server");
    }
}
