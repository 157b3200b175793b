//! The state of one media thread. Datagrams, mail, time and turns come in; nothing else touches it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use prometheus::IntGauge;
use slab::Slab;

use super::clock::WallClock;
use super::gop::Bounds;
use super::lobby::Lobby;
use super::mail::{Datagram, Mail};
use super::outbox::{Outbox, Run};
use super::packet::Packet;
use super::session::{Half, Session};
use super::stream::Stream;
use super::{CloseReason, Notice, SessionId, Step, StreamId, Summary, WorkerId};
use crate::metrics::{Count, WorkerCounters};
use crate::peer::Event;
use crate::peer::dtls::Identity;
use crate::peer::ice::Path;
use crate::wire::Protocol;
use crate::wire::sdp::Section;

mod catch_up;
mod close;
mod feedback;
mod layers;
mod lineup;
mod media;
mod paths;

/// What all workers share.
pub struct Shared {
    /// Sessions that wait, and who owns the others.
    pub lobby: Lobby,
    /// Our certificate.
    pub identity: Identity,
    /// Wall time.
    pub clock: WallClock,
    /// How much is kept of each layer for viewers who come later.
    pub gop: Bounds,
    /// Payload bytes that are kept of all streams, by the workers of their presenters: the others share the packets.
    pub cached: IntGauge,
}

/// One worker.
pub struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    counters: Arc<WorkerCounters>,
    sessions: Slab<Session>,
    by_address: HashMap<SocketAddr, Owner>,
    by_ufrag: HashMap<String, usize>,
    by_id: HashMap<SessionId, usize>,
    streams: Slab<Stream>,
    by_stream: HashMap<StreamId, usize>,
    timers: BTreeSet<(Instant, usize)>,
    sweep_at: Instant,
    forget_at: Instant,
    /// DTLS datagrams: up to 0.3 ms of work each, so a few after each turn.
    handshakes: VecDeque<(usize, SessionId, Datagram)>,
    /// What viewers agreed on lately: the next one with the same browser agrees on the same.
    agreed: VecDeque<Arc<Section>>,
    /// Streams with packets to send, the next one first.
    busy: VecDeque<usize>,
    /// Viewers who catch up.
    catching: catch_up::Queue,
    /// What this turn has sent.
    departures: Vec<media::Departure>,
    run: Run,
    scratch: Vec<u8>,
    flights: Vec<BytesMut>,
    /// The session whose state is being worked on; ended if that panics.
    current: Option<usize>,
    /// The stream whose burst is being sent; if that panics, it is the fault of the viewer served last.
    delivering: Option<usize>,
    /// Letters to other workers, to be posted.
    pub outgoing: Vec<(WorkerId, Mail)>,
    /// News for control, to be told.
    pub notices: Vec<Notice>,
    randomness: Box<dyn FnMut() -> u64 + Send>,
}

/// Whose an address is.
#[derive(Clone, Copy)]
enum Owner {
    Here(usize),
    There(WorkerId),
}

impl Worker {
    /// A worker without sessions. `randomness` yields unpredictable numbers.
    pub fn new(
        id: WorkerId,
        shared: Arc<Shared>,
        counters: Arc<WorkerCounters>,
        randomness: Box<dyn FnMut() -> u64 + Send>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            shared,
            counters,
            sessions: Slab::new(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_id: HashMap::new(),
            streams: Slab::new(),
            by_stream: HashMap::new(),
            timers: BTreeSet::new(),
            sweep_at: now + SWEEP_INTERVAL,
            forget_at: now + FORGET_INTERVAL,
            handshakes: VecDeque::new(),
            agreed: VecDeque::new(),
            busy: VecDeque::new(),
            catching: catch_up::Queue::new(now),
            departures: Vec::new(),
            run: Run::default(),
            scratch: Vec::new(),
            flights: Vec::new(),
            current: None,
            delivering: None,
            outgoing: Vec::new(),
            notices: Vec::new(),
            randomness,
        }
    }

    /// Takes in a datagram from the socket. `arrived` is when the kernel got it. Its bytes may be changed.
    pub fn receive(&mut self, bytes: &mut [u8], path: Path, arrived: Instant, now: Instant, out: &mut impl Outbox) {
        self.counters.add(Count::DatagramsReceived, 1);
        self.counters.add(Count::BytesReceived, bytes.len() as u64);
        let Some(protocol) = Protocol::of(bytes) else {
            self.counters.add(Count::DropUnclassified, 1);
            return;
        };
        match self.by_address.get(&path.remote).copied() {
            _ if protocol == Protocol::Stun => self.stun(bytes, path, now, out),
            Some(Owner::Here(key)) => self.session_datagram(key, protocol, bytes, path, arrived, now, out),
            Some(Owner::There(worker)) => self.forward(worker, bytes, path, arrived),
            None => self.stranger(protocol, bytes, path, arrived, now, out),
        }
    }

    /// Takes in a letter.
    pub fn mail(&mut self, mail: Mail, now: Instant, out: &mut impl Outbox) {
        match mail {
            Mail::Close { session, reason } => {
                if let Some(key) = self.by_id.get(&session) {
                    self.end(*key, reason, now, out);
                }
            }
            Mail::CloseAll { reason } => {
                for key in self.by_id.values().copied().collect::<Vec<_>>() {
                    self.end(key, reason, now, out);
                }
            }
            Mail::ChooseLayer { session, kind, choice } => self.choose_layer(session, kind, choice, now),
            Mail::Restart(restart) => self.restart_ice(&restart),
            Mail::Stray(Datagram { mut bytes, from, to, arrived }) => {
                let path = Path { remote: from, local: to };
                let Some(protocol) = Protocol::of(&bytes) else {
                    return;
                };
                match self.by_address.get(&from).copied() {
                    _ if protocol == Protocol::Stun => self.stun(&bytes, path, now, out),
                    Some(Owner::Here(key)) => {
                        self.session_datagram(key, protocol, &mut bytes, path, arrived, now, out);
                    }
                    // The session has moved on; it must not go round in circles.
                    Some(Owner::There(_)) | None => self.counters.add(Count::DropUnvalidated, 1),
                }
            }
            Mail::Packets { stream, packets } => self.take_mailed(stream, packets, now),
            Mail::Clock { stream, kind, layer, source, sync } => {
                if let Some(key) = self.by_stream.get(&stream) {
                    self.streams[*key].tracks[kind as usize].set_sync(layer, source, sync);
                }
            }
            Mail::CacheWanted { stream, worker } => self.send_cache(stream, worker),
            Mail::CacheGone { stream } => self.lose_cache(stream),
            Mail::Cached { stream, packets } => self.take_cache(stream, &packets, now),
            Mail::KeyframeWanted { stream, layer } => self.want_keyframe_here(stream, layer, now),
        }
    }

    /// One turn of work: sends to a bounded number of viewers. `true` when there is more to do, handshakes among it.
    pub fn turn(&mut self, now: Instant, out: &mut impl Outbox) -> bool {
        self.departures.clear();
        self.deliver(now, out);
        self.serve_catching(now, out);
        self.has_work()
    }

    /// Goes on with one handshake, after those have been served who watch already: a datagram is up to 0.3 ms of work.
    pub fn shake_hands(&mut self, now: Instant, out: &mut impl Outbox) {
        let Some((key, id, mut datagram)) = self.handshakes.pop_front() else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(key).filter(|s| s.id == id) {
            session.waiting_dtls -= 1;
            let path = Path { remote: datagram.from, local: datagram.to };
            self.dtls(key, &mut datagram.bytes, path, now, out);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Outbox) {
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, key));
            if let Some(session) = self.sessions.get_mut(key) {
                session.armed = None;
                self.session_timeout(key, now, out);
                // Whatever a session thinks is due again at once must not hold up the others.
                self.arm_not_before(key, now + MIN_PAUSE);
            }
        }
        self.close_bursts(now);
        self.catching.handle_timeout(now);
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_INTERVAL;
            self.sweep(now, out);
        }
        if self.forget_at <= now {
            self.forget_at = now + FORGET_INTERVAL;
            self.by_address.retain(|_, owner| matches!(owner, Owner::Here(_)));
        }
    }

    /// When [`Worker::handle_timeout`] is due at the latest.
    pub fn next_timeout(&self) -> Instant {
        let timer = self.timers.first().map(|(at, _)| *at);
        let bursts = self.streams.iter().filter_map(|(_, s)| s.next_timeout());
        bursts.chain(timer).chain(self.catching.next_timeout()).fold(self.sweep_at, Instant::min)
    }

    /// Work on a session's state panicked: that session ends, the others go on.
    pub fn recover(&mut self, now: Instant, out: &mut impl Outbox) {
        self.counters.add(Count::Panics, 1);
        self.run = Run::default();
        self.scratch.clear();
        self.flights.clear();
        if let Some(stream) = self.delivering.take() {
            // The burst goes on behind the viewer that it stopped at.
            self.current = self.streams.get(stream).and_then(Stream::served_last);
            self.busy.push_front(stream);
        }
        if let Some(key) = self.current.take() {
            self.drop_session(key, CloseReason::Panicked, now, out);
        }
    }

    /// There is more to do at once.
    pub fn has_work(&self) -> bool {
        self.has_handshakes() || !self.busy.is_empty() || self.catching.has_more()
    }

    /// Handshake datagrams wait for their turn.
    pub fn has_handshakes(&self) -> bool {
        !self.handshakes.is_empty()
    }

    /// Sessions on this worker, those that are closing not counted.
    pub fn sessions(&self) -> usize {
        self.by_id.len()
    }

    #[expect(clippy::too_many_arguments, reason = "a datagram with its envelope, and when and where it is worked on")]
    fn session_datagram(
        &mut self,
        key: usize,
        protocol: Protocol,
        bytes: &mut [u8],
        path: Path,
        arrived: Instant,
        now: Instant,
        out: &mut impl Outbox,
    ) {
        self.current = Some(key);
        match protocol {
            // Checks go by their user name, whatever address they come from.
            Protocol::Stun => {}
            Protocol::Dtls => {
                let session = &mut self.sessions[key];
                if self.handshakes.len() >= MAX_HANDSHAKES
                    || session.waiting_dtls >= MAX_WAITING
                    || bytes.len() > MAX_HANDSHAKE_BYTES
                {
                    // The peer sends it again.
                    self.counters.add(Count::DropDtls, 1);
                } else {
                    session.waiting_dtls += 1;
                    let id = session.id;
                    let datagram = Datagram { bytes: bytes.to_vec(), from: path.remote, to: path.local, arrived };
                    self.handshakes.push_back((key, id, datagram));
                }
            }
            Protocol::Rtp => {
                self.finish_handshake(key, now, out);
                if self.sessions.contains(key) {
                    self.rtp(key, bytes, arrived, now);
                }
            }
            Protocol::Rtcp => self.rtcp(key, bytes, path, now, out),
        }
        self.current = None;
    }

    fn dtls(&mut self, key: usize, bytes: &mut [u8], path: Path, now: Instant, out: &mut impl Outbox) {
        self.current = Some(key);
        let session = &mut self.sessions[key];
        let was_live = session.peer.is_live();
        let event = session.peer.receive_dtls(&self.shared.identity, bytes, now, &mut self.flights);
        let selected = session.peer.ice.selected().unwrap_or(path);
        for flight in self.flights.drain(..) {
            out.send(selected, &flight, flight.len());
        }
        match event {
            Ok(Event::Nothing) => {}
            Ok(Event::Connected(agreed)) => self.connected(key, &agreed, now, out),
            Ok(Event::Closed) => self.drop_session(key, CloseReason::PeerClosed, now, out),
            Err(_) if was_live => self.counters.add(Count::DropDtls, 1),
            Err(error) => {
                tracing::debug!(session = ?self.sessions[key].id, %error, "handshake failed");
                self.counters.add(Count::HandshakeFailed, 1);
                self.tell_step(key, Step::Failed(error.to_string()));
                self.drop_session(key, CloseReason::HandshakeFailed, now, out);
            }
        }
        if self.sessions.contains(key) {
            self.arm(key);
        }
        self.current = None;
    }

    /// Media right behind the last handshake datagram is worth waiting for: it begins with a key frame.
    fn finish_handshake(&mut self, key: usize, now: Instant, out: &mut impl Outbox) {
        while let Some(session) = self.sessions.get_mut(key)
            && session.waiting_dtls > 0
            && matches!(session.half, Half::Connecting { .. })
        {
            let id = session.id;
            let is_its = |(k, i, _): &(usize, SessionId, Datagram)| (*k, *i) == (key, id);
            let Some((_, _, mut datagram)) =
                self.handshakes.iter().position(is_its).and_then(|at| self.handshakes.remove(at))
            else {
                return;
            };
            session.waiting_dtls -= 1;
            let path = Path { remote: datagram.from, local: datagram.to };
            self.dtls(key, &mut datagram.bytes, path, now, out);
        }
        self.current = Some(key);
    }

    fn session_timeout(&mut self, key: usize, now: Instant, out: &mut impl Outbox) {
        self.current = Some(key);
        self.sessions[key].peer.handle_timeout(&self.shared.identity, now, &mut self.flights);
        self.send_flights(key, out);
        let session = &self.sessions[key];
        match &session.half {
            Half::Connecting { .. } => {
                if now.saturating_duration_since(session.created) >= super::lobby::CONNECT_WITHIN {
                    self.drop_session(key, CloseReason::NeverConnected, now, out);
                }
            }
            Half::Presenter(_) | Half::Viewer { .. } if session.is_silent(now) => {
                self.end(key, CloseReason::Silent, now, out);
            }
            Half::Presenter(_) => {
                self.release(key, now);
                self.presenter_feedback(key, now, out);
            }
            Half::Viewer { .. } => self.viewer_report(key, now, out),
            Half::Closing(_) => self.repeat_goodbye(key, now, out),
        }
        self.current = None;
    }

    fn send_flights(&mut self, key: usize, out: &mut impl Outbox) {
        let path = self.sessions[key].peer.ice.selected();
        for flight in self.flights.drain(..) {
            if let Some(path) = path {
                out.send(path, &flight, flight.len());
            }
        }
    }

    /// The session's own timer, moved to where it is due next.
    fn arm(&mut self, key: usize) {
        if let Some(session) = self.sessions.get(key) {
            self.arm_not_before(key, session.created);
        }
    }

    fn arm_not_before(&mut self, key: usize, earliest: Instant) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let next = session.next_timeout().max(earliest);
        if session.armed == Some(next) {
            return;
        }
        if let Some(armed) = session.armed.replace(next) {
            self.timers.remove(&(armed, key));
        }
        self.timers.insert((next, key));
    }

    fn sweep(&mut self, now: Instant, out: &mut impl Outbox) {
        for parked in self.shared.lobby.claim_overdue(self.id, now) {
            self.adopt(*parked, now, out);
        }
        if self.id == WorkerId(0) {
            for parked in self.shared.lobby.expire(now) {
                let lasted = now.saturating_duration_since(parked.spec.created);
                let summary = Summary { lasted, ..Summary::default() };
                let (session, reason) = (parked.spec.id, CloseReason::NeverConnected);
                // Whether checks came at all tells a closed port from a handshake that does not come through.
                let checked = parked.ice.addresses().map(|from| Notice::Step { session, step: Step::Checked(from) });
                self.notices.extend(checked);
                self.notices.push(Notice::Closed { session, reason, summary });
            }
        }
    }
}

/// Waiting handshake datagrams; clients repeat theirs.
const MAX_HANDSHAKES: usize = 4096;
/// Of one session: a flight and its repetition.
const MAX_WAITING: usize = 16;
/// A flight's datagram is below the path's MTU; some clients let IP fragment theirs.
const MAX_HANDSHAKE_BYTES: usize = 4096;
/// Between two looks at one session's timers.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);
/// How long a worker remembers that an address is another's.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
