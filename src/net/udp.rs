//! The media socket: batches in (GRO), batches out (GSO), through `quinn-udp`.

use std::collections::VecDeque;
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
        if sockets.is_empty() {
            report_buffers(&socket);
        }
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

/// Small buffers cost packets when there are many viewers, and the machine's owner alone can raise the limit.
fn report_buffers(socket: &Socket) {
    let raw = socket2::SockRef::from(&socket.socket);
    let (receive, send) = (raw.recv_buffer_size().unwrap_or(0), raw.send_buffer_size().unwrap_or(0));
    // The kernel says twice what it was asked for.
    if receive.min(send) < 2 * ENOUGH {
        tracing::info!(
            receive,
            send,
            "the kernel grants small socket buffers; for hundreds of viewers raise net.core.rmem_max and net.core.wmem_max"
        );
    }
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
        SocketOutbox { socket: self, counters, waiting: VecDeque::new() }
    }

    fn try_send(&self, path: Path, datagrams: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: path.remote,
            ecn: None,
            contents: datagrams,
            segment_size: (segment < datagrams.len()).then_some(segment),
            src_ip: path.local,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}

/// The socket as the media plane sees it.
pub(super) struct SocketOutbox<'a> {
    socket: &'a Socket,
    counters: Arc<WorkerCounters>,
    /// Sends that the full socket refused, the oldest first.
    waiting: VecDeque<(Path, Vec<u8>, usize)>,
}

impl SocketOutbox<'_> {
    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        while let Some((path, datagrams, segment)) = self.waiting.pop_front() {
            if !self.transmit(path, &datagrams, segment) {
                self.waiting.push_front((path, datagrams, segment));
                return;
            }
        }
    }

    /// `false` when the socket is full.
    fn transmit(&self, path: Path, datagrams: &[u8], segment: usize) -> bool {
        let count = datagrams.len().div_ceil(segment.max(1)) as u64;
        match self.socket.try_send(path, datagrams, segment) {
            Ok(()) => self.count(1, count, datagrams.len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // A device may refuse segments that it would take one by one.
            Err(_) if count > 1 => {
                for datagram in datagrams.chunks(segment) {
                    match self.socket.try_send(path, datagram, segment) {
                        Ok(()) => self.count(1, 1, datagram.len()),
                        Err(_) => self.counters.add(Count::DropSend, 1),
                    }
                }
            }
            Err(_) => self.counters.add(Count::DropSend, 1),
        }
        true
    }

    fn count(&self, sends: u64, datagrams: u64, bytes: usize) {
        self.counters.add(Count::Sends, sends);
        self.counters.add(Count::DatagramsSent, datagrams);
        self.counters.add(Count::BytesSent, bytes as u64);
    }
}

impl Outbox for SocketOutbox<'_> {
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize) {
        if self.waiting.is_empty() && self.transmit(path, datagrams, segment) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((path, datagrams.to_vec(), segment));
        } else {
            self.counters.add(Count::DropSend, datagrams.len().div_ceil(segment.max(1)) as u64);
        }
    }

    fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn max_segments(&self) -> usize {
        self.socket.state.max_gso_segments()
    }
}

/// Bytes: a key frame burst to thousands of viewers, or the datagrams of a busy turn.
const BUFFER: usize = 8 << 20;
/// Bytes below which it is worth a word.
const ENOUGH: usize = 2 << 20;
/// Sends that wait for a full socket: the rest of one viewer's burst, and replies to others.
const MAX_WAITING: usize = 64;
