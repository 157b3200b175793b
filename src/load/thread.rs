//! A media thread: waits for the sockets of its viewers, reads, answers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::{mpsc, oneshot};

use super::Failure;
use super::delay::Delays;
use super::sockets;
use super::stamp::Delay;
use super::track::Counts;
use super::viewer::{Moment, Seen, Viewer};
use crate::peer::dtls::Identity;
use crate::wire::Protocol;

/// A viewer that moves in.
pub(super) struct Newcomer {
    /// No two have the same; not 0.
    pub(super) id: u64,
    /// Itself.
    pub(super) viewer: Viewer,
    /// Its socket, connected to the server.
    pub(super) socket: UdpSocket,
    /// Told once: connected, or why not.
    pub(super) connected: oneshot::Sender<Result<(), Failure>>,
}

/// What a viewer went through, at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Itself.
    pub(super) seen: Seen,
    /// Datagrams, or trains of them (GSO) that the kernel counts as one, that came while the socket was full: the load is
    /// to blame for them, not the server.
    pub(super) overflowed: u64,
}

/// What a thread is asked to do.
enum Command {
    Join(Box<Newcomer>),
    /// Count no more; the socket stays open, so that what still comes bothers nobody.
    Leave {
        id: u64,
        reply: oneshot::Sender<Outcome>,
    },
    /// Forget it.
    Close(u64),
    Stop,
}

/// What all viewers of a thread have got so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// RTP packets.
    pub(super) packets: AtomicU64,
    /// Their bytes, from the RTP header to the SRTP tag.
    pub(super) bytes: AtomicU64,
    /// Of the viewers that are there now; renewed every second.
    watching: Mutex<Watching>,
    delays: Mutex<Delays>,
}

/// The viewers that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watching {
    /// How many are connected.
    pub(super) viewers: u64,
    /// What they count.
    pub(super) counts: Counts,
}

/// A running thread. It ends when this is dropped.
pub(super) struct MediaThread {
    commands: mpsc::Sender<Command>,
    bell: Arc<OwnedFd>,
    /// What it has got so far.
    pub(super) meter: Arc<Meter>,
    thread: Option<JoinHandle<()>>,
}

impl MediaThread {
    /// Starts a thread.
    /// # Errors
    /// When the system has no threads or no epoll.
    pub(super) fn start(name: &str, identity: Arc<Identity>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let meter = Arc::new(Meter::default());
        let mut room = Room {
            identity,
            inbox,
            bell: Arc::clone(&bell),
            poll,
            meter: Arc::clone(&meter),
            seats: HashMap::new(),
            timers: BinaryHeap::new(),
            buffers: Buffers::new(),
            out: Vec::new(),
            delays: Vec::new(),
            metered_at: Instant::now(),
            drops: (Instant::now(), HashMap::new()),
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || room.run())?;
        Ok(Self { commands, bell, meter, thread: Some(thread) })
    }

    /// A viewer moves in.
    pub(super) async fn join(&self, newcomer: Newcomer) {
        self.send(Command::Join(Box::new(newcomer))).await;
    }

    /// A viewer's counting ends. `None` when the thread is gone.
    pub(super) async fn leave(&self, id: u64) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Leave { id, reply }).await;
        outcome.await.ok()
    }

    /// A viewer's socket is closed.
    pub(super) async fn close(&self, id: u64) {
        self.send(Command::Close(id)).await;
    }

    async fn send(&self, command: Command) {
        // It fails when the thread is gone; whoever waits for an answer notices.
        let _ = self.commands.send(command).await;
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        // A full queue is being worked through: it is not full for long.
        while let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(Command::Stop) {
            self.ring();
            std::thread::yield_now();
        }
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Meter {
    /// The viewers that were there a second ago.
    pub(super) fn watching(&self) -> Watching {
        *self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long packets were on their way, as far as viewers can tell.
    pub(super) fn delays(&self) -> Delays {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state of a thread.
struct Room {
    identity: Arc<Identity>,
    inbox: mpsc::Receiver<Command>,
    bell: Arc<OwnedFd>,
    poll: OwnedFd,
    meter: Arc<Meter>,
    seats: HashMap<u64, Seat>,
    /// One good entry for each viewer, and stale ones.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    buffers: Buffers,
    out: Vec<BytesMut>,
    /// Of the batch that is being read.
    delays: Vec<Delay>,
    metered_at: Instant,
    /// See [`sockets::drops`], and when it was read.
    drops: (Instant, HashMap<u16, u64>),
}

/// A viewer with its socket.
struct Seat {
    viewer: Viewer,
    socket: UdpSocket,
    state: UdpSocketState,
    /// Its entry in the timers.
    armed: Option<Instant>,
    connected: Option<oneshot::Sender<Result<(), Failure>>>,
    /// Media is kept out by the kernel.
    is_deaf: bool,
}

impl Room {
    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while self.obey() {
            let now = Instant::now();
            self.handle_timers(now);
            if now >= self.metered_at + METERED {
                self.metered_at = now;
                self.publish();
            }
            let wake = self.timers.peek().map_or(now + METERED, |Reverse((at, _))| *at).min(self.metered_at + METERED);
            let wait = wake.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
            events.clear();
            // Interrupted or not: the loop looks at everything anyway.
            let _ = epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout));
            for event in &events {
                match event.data.u64() {
                    BELL => {
                        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
                    }
                    id => self.read(id),
                }
            }
        }
    }

    /// Does what it is told; `false` when it is to stop.
    fn obey(&mut self) -> bool {
        for _ in 0..COMMANDS_PER_TURN {
            match self.inbox.try_recv() {
                Ok(Command::Join(newcomer)) => self.join(*newcomer),
                Ok(Command::Leave { id, reply }) => {
                    let outcome = self.leave(id);
                    let _ = reply.send(outcome);
                }
                Ok(Command::Close(id)) => drop(self.seats.remove(&id)),
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
        // There may be more, and the bell rang for it already.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        true
    }

    fn join(&mut self, newcomer: Newcomer) {
        let Newcomer { id, viewer, socket, connected } = newcomer;
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).and_then(|state| {
            epoll::add(&self.poll, &socket, epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
            Ok(state)
        });
        match state {
            Ok(state) => {
                let seat = Seat { viewer, socket, state, armed: None, connected: Some(connected), is_deaf: false };
                self.seats.insert(id, seat);
                self.tend(id, Instant::now());
            }
            Err(error) => {
                let _ = connected.send(Err(Failure::Socket(error.to_string())));
            }
        }
    }

    fn leave(&mut self, id: u64) -> Outcome {
        let Some(seat) = self.seats.get_mut(&id) else {
            return Outcome::default();
        };
        let seen = seat.viewer.end();
        let mut overflowed = 0;
        if seen.counts.lost > 0
            && let Ok(at) = seat.socket.local_addr()
        {
            let (read_at, drops) = &mut self.drops;
            // The kernel's table is long: it is not read for each of a thousand viewers that leave together.
            if drops.is_empty() || read_at.elapsed() > METERED {
                *drops = sockets::drops();
                *read_at = Instant::now();
            }
            overflowed = drops.get(&at.port()).copied().unwrap_or(0);
        }
        Outcome { seen, overflowed }
    }

    fn handle_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if let Some(seat) = self.seats.get_mut(&id)
                && seat.armed == Some(at)
            {
                seat.armed = None;
                self.tend(id, now);
            }
        }
    }

    /// Lets a viewer do what is due, sends what it has to say, and sets its alarm.
    fn tend(&mut self, id: u64, now: Instant) {
        let Some(seat) = self.seats.get_mut(&id) else {
            return;
        };
        if seat.viewer.next_timeout() <= now {
            seat.viewer.handle_timeout(now, &mut self.out);
        }
        for datagram in self.out.drain(..) {
            // What cannot be sent is lost, as on any network; what matters is sent again.
            let _ = seat.socket.send(&datagram);
        }
        seat.tell();
        let due = seat.viewer.next_timeout();
        if seat.armed.is_none_or(|armed| due < armed) {
            seat.armed = Some(due);
            self.timers.push(Reverse((due, id)));
        }
    }

    /// Reads one batch of a viewer; if there is more, the next wait says so at once.
    fn read(&mut self, id: u64) {
        let Some(seat) = self.seats.get_mut(&id) else {
            return;
        };
        let Buffers { bytes, metas } = &mut self.buffers;
        let mut slices: Vec<_> = bytes.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        // An error is a datagram of ours that nobody wanted; silence will tell.
        let count = seat.state.recv(UdpSockRef::from(&seat.socket), &mut slices, metas).unwrap_or(0);
        let now = Instant::now();
        let (mut packets, mut octets) = (0, 0);
        let is_counted = seat.viewer.habits().listens;
        self.delays.clear();
        for (buffer, meta) in bytes.iter_mut().zip(metas).take(count) {
            let at = Moment { now, wall: meta.timestamp };
            let received = buffer.get_mut(..meta.len).unwrap_or_default();
            for datagram in received.chunks_mut(meta.stride.max(1)) {
                if is_counted && Protocol::of(datagram) == Some(Protocol::Rtp) {
                    packets += 1;
                    octets += datagram.len() as u64;
                }
                self.delays.extend(seat.viewer.receive(&self.identity, datagram, at, &mut self.out));
            }
        }
        self.meter.packets.fetch_add(packets, Ordering::Relaxed);
        self.meter.bytes.fetch_add(octets, Ordering::Relaxed);
        if !self.delays.is_empty() {
            let mut delays = self.meter.delays.lock().unwrap_or_else(PoisonError::into_inner);
            self.delays.drain(..).for_each(|delay| delays.record(delay));
        }
        if !is_counted && !seat.is_deaf && seat.viewer.has_seen_a_picture() {
            // Where the kernel has no filters it goes on reading what it does not count.
            let _ = sockets::deafen(&seat.socket);
            seat.is_deaf = true;
        }
        self.tend(id, now);
    }

    fn publish(&self) {
        let mut watching = Watching::default();
        for seat in self.seats.values() {
            watching.viewers += u64::from(seat.viewer.is_live());
            watching.counts.add(&seat.viewer.counts());
        }
        *self.meter.watching.lock().unwrap_or_else(PoisonError::into_inner) = watching;
    }
}

impl Seat {
    /// Tells who waits for it that the viewer is connected, or will never be.
    fn tell(&mut self) {
        let news = match self.viewer.failure() {
            Some(failure) => Err(failure.clone()),
            None if self.viewer.is_live() => Ok(()),
            None => return,
        };
        if let Some(connected) = self.connected.take() {
            let _ = connected.send(news);
        }
    }
}

/// Receive buffers for one batch.
struct Buffers {
    bytes: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
}

impl Buffers {
    fn new() -> Self {
        Self { bytes: vec![vec![0; GRO]; BATCH], metas: vec![RecvMeta::default(); BATCH] }
    }
}

/// What the bell's events are called; viewers are numbered from 1.
const BELL: u64 = 0;
/// Waiting for a thread; whoever has more to say waits.
const COMMANDS: usize = 256;
/// Then the sockets are read.
const COMMANDS_PER_TURN: usize = 16;
/// Sockets looked at in one turn.
const EVENTS: usize = 256;
/// Datagrams, or trains of them, read from a socket at once.
const BATCH: usize = 8;
/// Bytes of a train of datagrams (GRO).
const GRO: usize = 1 << 16;
/// Between two looks at all viewers.
const METERED: Duration = Duration::from_secs(1);
