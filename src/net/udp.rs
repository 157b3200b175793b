//! The media socket: batches in (GRO), batches out (GSO), through `quinn-udp`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::media::outbox::Outbox;
use crate::metrics::{Count, WorkerCounters};
use crate::peer::ice::Path;

/// One worker's socket.
pub(super) struct Socket {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
}

/// Binds one socket per worker to the same port. Port 0 takes a free one.
/// # Errors
/// When the port is in use, or the address is not this machine's.
pub(super) fn bind(listen: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    let listen = usable(listen)?;
    let mut sockets = Vec::with_capacity(workers);
    let mut at = listen;
    for _ in 0..workers {
        let socket = open(at)?;
        at.set_port(socket.local_addr()?.port());
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The address that can be bound: without IPv6 on this machine, "everything" means everything over IPv4. Sharing a port
/// between our threads would let a second server share it too, so it is tried unshared first.
fn usable(listen: SocketAddr) -> io::Result<SocketAddr> {
    let unshared = |address: SocketAddr| -> io::Result<SocketAddr> {
        let socket = raw(address)?;
        socket.bind(&address.into())?;
        Ok(address)
    };
    match unshared(listen) {
        Err(error) if listen.ip() == IpAddr::from([0_u16; 8]) && error.kind() != io::ErrorKind::AddrInUse => {
            unshared(SocketAddr::new(super::ANY_V4.into(), listen.port()))
        }
        result => result,
    }
}

fn raw(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = raw(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    // More than the kernel allows is cut to what it allows.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    let socket = std::net::UdpSocket::from(socket);
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    Ok(Socket { socket, state })
}

impl Socket {
    /// Where it is bound.
    /// # Errors
    /// When the kernel says so.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Receives what is there.
    /// # Errors
    /// `WouldBlock` when nothing is.
    pub(super) fn receive(
        &self,
        bufs: &mut [io::IoSliceMut<'_>],
        metas: &mut [quinn_udp::RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.socket), bufs, metas)
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends through it, counting.
    pub(super) fn outbox(&self, counters: Arc<WorkerCounters>) -> SocketOutbox<'_> {
        SocketOutbox { socket: self, counters }
    }
}

/// The socket as the media plane sees it.
pub(super) struct SocketOutbox<'a> {
    socket: &'a Socket,
    counters: Arc<WorkerCounters>,
}

impl Outbox for SocketOutbox<'_> {
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize) {
        let transmit = Transmit {
            destination: path.remote,
            ecn: None,
            contents: datagrams,
            segment_size: (segment < datagrams.len()).then_some(segment),
            src_ip: path.local,
        };
        let count = datagrams.len().div_ceil(segment.max(1)) as u64;
        match self.socket.state.try_send(UdpSockRef::from(&self.socket.socket), &transmit) {
            Ok(()) => {
                self.counters.add(Count::Sends, 1);
                self.counters.add(Count::DatagramsSent, count);
                self.counters.add(Count::BytesSent, datagrams.len() as u64);
            }
            Err(_) => self.counters.add(Count::DropSend, count),
        }
    }

    fn max_segments(&self) -> usize {
        self.socket.state.max_gso_segments()
    }
}

/// Bytes: a key frame burst to thousands of viewers, or the datagrams of a busy turn.
const BUFFER: usize = 8 << 20;
