//! Real sockets on loopback.

use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::time::Duration;

use quinn_udp::RecvMeta;

use super::*;
use crate::media::gop::Bounds;
use crate::media::{CloseReason, Role, Route, SessionId, SessionSpec, StreamId};
use crate::peer::dtls::{Handshake, Progress};
use crate::wire::Protocol;
use crate::wire::sdp::{DtlsRole, IceCredentials, Local, Offer, Shape, Source, answer_viewer};
use crate::wire::stun::{self, Check, Class, Message};

const OFFER: &str = include_str!("../../tests/fixtures/offers/chromium-156-play.sdp");

fn settings(port: u16) -> Settings {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Settings { listen, workers: NonZeroUsize::new(2), max_sessions: 100, gop: Bounds::default() }
}

fn credentials(whose: &str, n: u128) -> IceCredentials {
    IceCredentials { ufrag: format!("{whose}{n:04}"), pwd: format!("a-password-of-24-chars-{n:04}") }
}

/// A viewer's session whose client has this certificate.
fn spec(handle: &Handle, identity: &Identity, n: u128) -> SessionSpec {
    let local_ice = credentials("ours", n);
    let local = Local {
        ice: &local_ice,
        fingerprint: handle.fingerprint(),
        candidates: &[SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
        session_id: 1,
        msid: "tribune",
        audio: Source { ssrc: 1, rtx: None },
        video: Source { ssrc: 3, rtx: Some(4) },
    };
    let offer = Offer::parse(OFFER).expect("a real offer");
    let mut negotiated = answer_viewer(&offer, &local, &Shape::default()).expect("an offer that is accepted");
    negotiated.remote_ice = credentials("them", n);
    negotiated.fingerprints = vec![identity.fingerprint().clone()];
    let (id, route) = (SessionId(n), Route::new(StreamId(1)));
    SessionSpec { id, role: Role::Viewer, route, local_ice, negotiated, created: Instant::now(), standing: None }
}

/// A client's socket, connected to the server.
fn socket(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buf = [0; 2048];
    let len = socket.recv(&mut buf).expect("the server answers");
    buf[..len].to_vec()
}

/// Checks and shakes hands as a browser does.
fn connect(socket: &UdpSocket, handle: &Handle, identity: &Identity, n: u128) {
    let username = format!("ours{n:04}:them{n:04}");
    let transaction = [n as u8; 12];
    let check = Check { transaction, username: &username, priority: 1, controlling: 1, use_candidate: true };
    let mut datagram = Vec::new();
    stun::write_check(&mut datagram, &check, &stun::Key::new(&credentials("ours", n).pwd));
    socket.send(&datagram).expect("loopback");
    let answer = receive(socket);
    assert_eq!(Message::parse(&answer).expect("a STUN message").class, Class::Success);

    let mut out = Vec::new();
    let fingerprints = vec![handle.fingerprint().clone()];
    let mut handshake =
        Handshake::new(identity, DtlsRole::Client, fingerprints, Instant::now(), &mut out).expect("a handshake begins");
    loop {
        for flight in out.drain(..) {
            socket.send(&flight).expect("loopback");
        }
        let datagram = receive(socket);
        if Protocol::of(&datagram) != Some(Protocol::Dtls) {
            continue;
        }
        let progress = handshake.read(identity, &datagram, Instant::now(), &mut out).expect("it goes on");
        if matches!(progress, Progress::Complete(_)) {
            return;
        }
    }
}

/// How many datagrams a socket has.
fn waiting(socket: &udp::Socket) -> usize {
    let mut sum = 0;
    let mut buffers = vec![vec![0; 1 << 16]; quinn_udp::BATCH_SIZE];
    let mut metas = vec![RecvMeta::default(); quinn_udp::BATCH_SIZE];
    loop {
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let Ok(count) = socket.receive(&mut slices, &mut metas) else {
            return sum;
        };
        sum += metas[..count].iter().map(|m| m.len.div_ceil(m.stride.max(1))).sum::<usize>();
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let (notices, _keep) = mpsc::channel(16);
    let media = start(&settings(0), &Metrics::new(), notices.clone()).expect("a free port");

    let second = start(&settings(media.port()), &Metrics::new(), notices);

    assert_eq!(second.err().map(|e| e.kind()), Some(ErrorKind::AddrInUse));
    assert_eq!(media.workers(), 2);
    media.stop();
}

#[test]
fn the_kernel_spreads_clients_over_the_sockets_of_one_port() {
    let sockets = udp::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 2).expect("a free port");
    let port = sockets[0].local_addr().expect("bound").port();
    assert_eq!(sockets[1].local_addr().expect("bound").port(), port);

    let clients: Vec<_> = (0..64).map(|_| socket(port)).collect();
    for client in &clients {
        client.send(b"\x80hello").expect("loopback");
    }

    let came: Vec<_> = sockets.iter().map(waiting).collect();
    assert_eq!(came.iter().sum::<usize>(), 64);
    assert!(came.iter().all(|count| *count > 0), "{came:?}");
}

#[test]
fn sessions_connect_and_end_whichever_worker_they_come_to() {
    let (notices, mut told) = mpsc::channel(100);
    let media = start(&settings(0), &Metrics::new(), notices).expect("a free port");
    let (handle, identity) = (media.handle(), Identity::generate().expect("a certificate"));

    let clients: Vec<_> = (0..16).map(|n| (n, socket(media.port()))).collect();
    for (n, socket) in &clients {
        handle.open(spec(&handle, &identity, *n)).expect("there is room");
        connect(socket, &handle, &identity, *n);
        let step = told.blocking_recv().expect("told");
        assert!(matches!(step, Notice::Step { session, .. } if session == SessionId(*n)), "{step:?}");
        let notice = told.blocking_recv().expect("told");
        assert!(matches!(told.blocking_recv(), Some(Notice::Vitals { .. })));
        assert!(matches!(notice, Notice::Connected { session, .. } if session == SessionId(*n)), "{notice:?}");
    }
    for (n, socket) in &clients {
        handle.close(SessionId(*n), CloseReason::Deleted);
        let notice = told.blocking_recv().expect("told");
        let is_its = |n: &Notice, id| matches!(n, Notice::Closed { session, reason: CloseReason::Deleted, .. } if *session == id);
        assert!(is_its(&notice, SessionId(*n)), "{notice:?}");
        while Protocol::of(&receive(socket)) != Some(Protocol::Dtls) {}
    }

    media.stop();
}

#[test]
fn a_parked_session_ends_without_a_worker() {
    let (notices, mut told) = mpsc::channel(16);
    let media = start(&settings(0), &Metrics::new(), notices).expect("a free port");
    let (handle, identity) = (media.handle(), Identity::generate().expect("a certificate"));

    for n in 0..100 {
        handle.open(spec(&handle, &identity, n)).expect("there is room");
    }
    assert!(handle.open(spec(&handle, &identity, 100)).is_err(), "all places are taken");
    handle.close(SessionId(5), CloseReason::Abandoned);

    let notice = told.blocking_recv().expect("told");
    assert!(matches!(notice, Notice::Closed { session: SessionId(5), reason: CloseReason::Abandoned, .. }));
    assert!(handle.open(spec(&handle, &identity, 100)).is_ok(), "its place is free");
    media.stop();
}
