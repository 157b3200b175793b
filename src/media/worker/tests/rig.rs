//! The world around the workers: virtual time, mail between them, a network that loses and reorders when told to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;
use super::client::{self, Client};
use crate::media::{Role, Route, SessionSpec, Standing};
use crate::wire::sdp::{IceCredentials, Local, Negotiated, Offer, Shape, Source, answer_presenter, answer_viewer};

pub(super) const CHROMIUM_PUBLISH: &str = include_str!("../../../../tests/fixtures/offers/chromium-156-publish.sdp");
pub(super) const CHROMIUM_SIMULCAST: &str =
    include_str!("../../../../tests/fixtures/offers/chromium-156-publish-simulcast.sdp");
pub(super) const OBS: &str = include_str!("../../../../tests/fixtures/offers/obs-30.2.3.sdp");
pub(super) const FFMPEG: &str = include_str!("../../../../tests/fixtures/offers/ffmpeg-8.0.sdp");
pub(super) const CHROMIUM_PLAY: &str = include_str!("../../../../tests/fixtures/offers/chromium-156-play.sdp");
pub(super) const FIREFOX_PLAY: &str = include_str!("../../../../tests/fixtures/offers/firefox-153-play.sdp");

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Workers, clients and what is on its way between them.
pub(super) struct Rig {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) workers: Vec<Worker>,
    pub(super) shared: Arc<Shared>,
    pub(super) clients: Vec<Client>,
    pub(super) notices: Vec<Notice>,
    /// Sends of all workers: when, to whom, datagrams.
    pub(super) sends: Vec<(Instant, SocketAddr, usize)>,
    pub(super) weather: Weather,
    /// A send to this address panics, as a bug of ours would.
    pub(super) cursed: Option<SocketAddr>,
    /// Sends that the socket takes in one call before it is full.
    pub(super) room: Option<usize>,
    /// Narrow ways to clients.
    pub(super) narrow: BTreeMap<SocketAddr, Narrow>,
    /// Streams hold the last key frame.
    pub(super) holds: bool,
    /// Of the next session.
    pub(super) standing: Option<Standing>,
    counters: Vec<Arc<WorkerCounters>>,
    routes: BTreeMap<u64, Arc<Route>>,
    flights: BinaryHeap<Reverse<Flight>>,
    launched: u64,
    random: Random,
    parked: usize,
}

/// What the network does to datagrams, in thousandths; both ways.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Late by up to 30 ms, so that others overtake.
    pub(super) late: u64,
    pub(super) delay: Duration,
}

/// A way that carries so many bits a second, and keeps 300 ms of them.
pub(super) struct Narrow {
    pub(super) rate: u64,
    pub(super) busy_until: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    number: u64,
    /// The worker whose socket it comes to; `None`: to the client at the address.
    worker: Option<usize>,
    address: SocketAddr,
    bytes: Vec<u8>,
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        self.next() % 1000 < thousandths
    }
}

/// What a worker sent in one call.
pub(super) struct Air {
    sent: Vec<(Path, Vec<u8>, usize)>,
    cursed: Option<SocketAddr>,
    room: Option<usize>,
}

impl Outbox for Air {
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize) {
        assert!(self.cursed != Some(path.remote), "a bug, on purpose");
        self.sent.push((path, datagrams.to_vec(), segment));
    }

    fn is_full(&self) -> bool {
        self.room.is_some_and(|room| self.sent.len() >= room)
    }

    fn max_segments(&self) -> usize {
        64
    }
}

impl Rig {
    pub(super) fn new(workers: usize) -> Self {
        Self::keeping(workers, Bounds::default())
    }

    /// Workers that keep so much for viewers who come later.
    pub(super) fn keeping(workers: usize, gop: Bounds) -> Self {
        let start = Instant::now();
        let shared = Arc::new(Shared {
            lobby: Lobby::new(10_000),
            identity: Identity::generate().expect("a certificate"),
            clock: WallClock::new(start, Duration::from_hours(500_000)),
            gop,
            cached: IntGauge::new("bytes", "kept").expect("a gauge"),
        });
        let counters: Vec<_> = (0..workers).map(|_| Arc::new(WorkerCounters::default())).collect();
        let make = |at: usize| {
            let mut random = Random(at as u64);
            let randomness = Box::new(move || random.next());
            Worker::new(WorkerId(at as u8), shared.clone(), counters[at].clone(), randomness, start)
        };
        Self {
            start,
            now: start,
            workers: (0..workers).map(make).collect(),
            shared: shared.clone(),
            clients: Vec::new(),
            notices: Vec::new(),
            sends: Vec::new(),
            weather: Weather::default(),
            cursed: None,
            room: None,
            narrow: BTreeMap::new(),
            holds: false,
            standing: None,
            counters: counters.clone(),
            routes: BTreeMap::new(),
            flights: BinaryHeap::new(),
            launched: 0,
            random: Random(7),
            parked: 0,
        }
    }

    /// Parks a session; its client has sent nothing yet.
    pub(super) fn park(&mut self, stream: u64, role: Role, offer: &str) -> usize {
        self.park_as(stream, role, offer, |_| {})
    }

    /// Parks a session after `change` had its way with what was negotiated.
    pub(super) fn park_as(
        &mut self,
        stream: u64,
        role: Role,
        offer: &str,
        change: impl FnOnce(&mut Negotiated),
    ) -> usize {
        let at = self.clients.len();
        let local = IceCredentials { ufrag: format!("ours{at:04}"), pwd: format!("our-password-of-{at:08}") };
        let theirs = IceCredentials { ufrag: format!("them{at:04}"), pwd: format!("their-password-{at:09}") };
        let source = |n: u32| Source { ssrc: 1000 * (at as u32 + 1) + n, rtx: Some(1000 * (at as u32 + 1) + n + 1) };
        let bring = Local {
            ice: &local,
            fingerprint: self.shared.identity.fingerprint(),
            candidates: &[SocketAddr::from(([192, 0, 2, 1], 8080))],
            session_id: at as u64,
            msid: "tribune",
            audio: source(10),
            video: source(20),
        };
        let offer = Offer::parse(offer).expect("a real offer");
        let negotiated = match role {
            Role::Presenter => answer_presenter(&offer, &bring),
            Role::Viewer => answer_viewer(&offer, &bring, &Shape::default()),
        };
        let mut negotiated = negotiated.expect("an offer that is accepted");
        negotiated.remote_ice = theirs;
        negotiated.fingerprints = vec![client::fingerprint()];
        change(&mut negotiated);
        let server = self.shared.identity.fingerprint().clone();
        let client = Client::new(at, SessionId(at as u128), role, &local, &negotiated, server, self.now);
        let route = self.routes.entry(stream).or_insert_with(|| Route::holding(StreamId(stream), self.holds)).clone();
        let standing = self.standing.take();
        let created = self.now;
        let spec = SessionSpec { id: client.id, role, route, local_ice: local, negotiated, created, standing };
        assert!(self.shared.lobby.park(spec), "there is room");
        self.parked += 1;
        self.clients.push(client);
        at
    }

    /// A presenter that is connected.
    pub(super) fn present(&mut self, stream: u64, offer: &str) -> usize {
        let client = self.park(stream, Role::Presenter, offer);
        self.connect(client)
    }

    /// A viewer that is connected.
    pub(super) fn watch(&mut self, stream: u64, offer: &str) -> usize {
        let client = self.park(stream, Role::Viewer, offer);
        self.connect(client)
    }

    /// A viewer that is connected to this worker.
    pub(super) fn watch_at(&mut self, worker: usize, stream: u64, offer: &str) -> usize {
        let client = self.park(stream, Role::Viewer, offer);
        self.clients[client].at = worker;
        self.connect(client)
    }

    /// Checks, nominates and shakes hands.
    pub(super) fn connect(&mut self, client: usize) -> usize {
        self.check(client, true);
        let identity = self.clients[client].begin(self.now);
        self.launch_from(client, identity);
        self.settle();
        assert!(self.clients[client].is_live(), "connected");
        client
    }

    /// A connectivity check from where the client is.
    pub(super) fn check(&mut self, client: usize, nominate: bool) {
        let check = self.clients[client].check(nominate);
        self.send(client, check);
    }

    /// Sends a datagram from where the client is.
    pub(super) fn send(&mut self, client: usize, datagram: Vec<u8>) {
        self.launch_from(client, vec![datagram]);
        self.settle();
    }

    /// Seals and sends a compound packet.
    pub(super) fn rtcp(&mut self, client: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let datagram = self.clients[client].seal_rtcp(write);
        self.send(client, datagram);
    }

    /// Ends a session from our side, as control does.
    pub(super) fn close(&mut self, client: usize, reason: CloseReason) {
        let session = self.clients[client].id;
        for worker in 0..self.workers.len() {
            let now = self.now;
            self.work(worker, |w, air| w.mail(Mail::Close { session, reason }, now, air));
        }
        self.settle();
    }

    /// Lets time pass, from event to event.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        while self.now < end {
            let timers = self.workers.iter().map(Worker::next_timeout);
            let flight = self.flights.peek().map(|Reverse(f)| f.at);
            let clients = self.clients.iter().filter_map(Client::next_timeout);
            let next = timers.chain(flight).chain(clients).fold(end, Instant::min);
            self.now = next.max(self.now);
            for client in 0..self.clients.len() {
                let resent = self.clients[client].handle_timeout(self.now);
                self.launch_from(client, resent);
            }
            self.settle();
        }
    }

    /// Delivers what is due, at this moment, until everything is quiet.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut quiet = true;
            while self.flights.peek().is_some_and(|Reverse(f)| f.at <= self.now) {
                let Some(Reverse(flight)) = self.flights.pop() else { break };
                self.land(flight);
                quiet = false;
            }
            for at in 0..self.workers.len() {
                let now = self.now;
                if self.workers[at].next_timeout() <= now {
                    quiet = false;
                    self.work(at, |w, air| w.handle_timeout(now, air));
                }
                quiet &= !self.work(at, |w, air| w.turn(now, air)).unwrap_or(true);
                self.work(at, |w, air| w.shake_hands(now, air));
                let letters = std::mem::take(&mut self.workers[at].outgoing);
                for (to, mail) in letters {
                    quiet = false;
                    self.work(usize::from(to.0), |w, air| w.mail(mail, now, air));
                }
                let told = std::mem::take(&mut self.workers[at].notices);
                self.notices.extend(told);
            }
            if quiet {
                return;
            }
        }
        panic!("the workers spin");
    }

    /// What all workers counted.
    pub(super) fn count(&self, count: Count) -> u64 {
        self.counters.iter().map(|c| c.get(count)).sum()
    }

    /// How a client's session ended, if it has.
    pub(super) fn end_of(&self, client: usize) -> Option<(CloseReason, Summary)> {
        let id = self.clients[client].id;
        let ends: Vec<_> = (self.notices.iter())
            .filter_map(|n| match n {
                Notice::Closed { session, reason, summary } if *session == id => Some((*reason, *summary)),
                _ => None,
            })
            .collect();
        assert!(ends.len() <= 1, "an end is told once");
        ends.first().copied()
    }

    /// Makes the way to a client narrow, or wide again.
    pub(super) fn throttle(&mut self, client: usize, rate: Option<u64>) {
        let address = self.clients[client].address;
        match rate {
            Some(rate) => drop(self.narrow.insert(address, Narrow { rate, busy_until: self.now })),
            None => drop(self.narrow.remove(&address)),
        }
    }

    /// Ends everything; nothing may be left.
    pub(super) fn finish(mut self) {
        self.weather = Weather::default();
        self.cursed = None;
        self.shared.lobby.remove_all().into_iter().for_each(|_| self.parked -= 1);
        for at in 0..self.workers.len() {
            let now = self.now;
            self.work(at, |w, air| w.mail(Mail::CloseAll { reason: CloseReason::Draining }, now, air));
        }
        self.run(Duration::from_secs(40));
        self.assert_empty();
        let ended = self.notices.iter().filter(|n| matches!(n, Notice::Closed { .. })).count();
        assert_eq!(ended, self.parked, "one end for each session");
    }

    fn assert_empty(&self) {
        for worker in &self.workers {
            assert_eq!(worker.sessions.len(), 0, "sessions");
            assert_eq!(worker.by_address.len(), 0, "addresses");
            assert_eq!(worker.by_ufrag.len(), 0, "name fragments");
            assert_eq!(worker.by_id.len(), 0, "names");
            assert_eq!(worker.streams.len(), 0, "streams");
            assert_eq!(worker.by_stream.len(), 0, "streams by name");
            assert_eq!(worker.timers.len(), 0, "timers");
            assert_eq!(worker.handshakes.len(), 0, "handshakes");
            assert_eq!(worker.busy.len(), 0, "busy streams");
            assert_eq!(worker.catching.next_timeout(), None, "viewers who catch up");
        }
        assert_eq!(self.shared.lobby.traces(), 0, "the lobby");
        assert_eq!(self.shared.cached.get(), 0, "what is kept for those who come later");
        for route in self.routes.values() {
            assert_eq!((route.home(), route.outposts().count()), (None, 0), "routes");
        }
    }

    fn land(&mut self, flight: Flight) {
        let now = self.now;
        let Flight { worker, address, mut bytes, .. } = flight;
        if let Some(worker) = worker {
            let path = Path { remote: address, local: None };
            self.work(worker, |w, air| w.receive(&mut bytes, path, now, now, air));
            return;
        }
        if let Some(client) = self.clients.iter().position(|c| c.address == address) {
            let replies = self.clients[client].receive(bytes, now);
            self.launch_from(client, replies);
        }
    }

    pub(super) fn launch_from(&mut self, client: usize, datagrams: Vec<Vec<u8>>) {
        let (at, address) = (self.clients[client].at, self.clients[client].address);
        for datagram in datagrams {
            self.launch(Some(at), address, &datagram);
        }
    }

    fn launch(&mut self, worker: Option<usize>, address: SocketAddr, bytes: &[u8]) {
        let weather = self.weather;
        if self.random.happens(weather.lost) {
            return;
        }
        let mut queued = Duration::ZERO;
        if let Some(narrow) = self.narrow.get_mut(&address).filter(|_| worker.is_none()) {
            let start = narrow.busy_until.max(self.now);
            if start - self.now > ms(300) {
                return;
            }
            // With the headers of UDP and IP.
            narrow.busy_until = start + Duration::from_micros((bytes.len() as u64 + 28) * 8_000_000 / narrow.rate);
            queued = narrow.busy_until - self.now;
        }
        let copies = if self.random.happens(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.random.happens(weather.late) { ms(self.random.next() % 30) } else { Duration::ZERO };
            self.launched += 1;
            let at = self.now + weather.delay + late + queued;
            self.flights.push(Reverse(Flight { at, number: self.launched, worker, address, bytes: bytes.to_vec() }));
        }
    }

    /// Lets a worker work as its thread does: a panic ends the session that it happened in.
    pub(super) fn work<T>(&mut self, at: usize, work: impl FnOnce(&mut Worker, &mut Air) -> T) -> Option<T> {
        let mut air = Air { sent: Vec::new(), cursed: self.cursed, room: self.room };
        let worker = &mut self.workers[at];
        let done = catch_unwind(AssertUnwindSafe(|| work(worker, &mut air))).ok();
        if done.is_none() {
            assert!(self.cursed.is_some(), "a panic that nobody asked for");
            air.cursed = None;
            self.workers[at].recover(self.now, &mut air);
        }
        for (path, bytes, segment) in air.sent {
            self.sends.push((self.now, path.remote, bytes.len().div_ceil(segment)));
            for datagram in bytes.chunks(segment) {
                self.launch(None, path.remote, datagram);
            }
        }
        done
    }
}
