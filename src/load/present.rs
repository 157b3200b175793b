//! The presenter's own thread and socket.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::oneshot;

use super::Failure;
use super::presenter::{Presenter, Sent};
use crate::peer::dtls::Identity;

/// A presenter at work. It says goodbye and ends when this is dropped.
pub(super) struct Presenting {
    sent: Arc<Mutex<Sent>>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Presenting {
    /// Starts; the receiver is told once: connected, or why not.
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(
        presenter: Presenter,
        socket: UdpSocket,
        identity: Arc<Identity>,
    ) -> io::Result<(Self, oneshot::Receiver<Result<(), Failure>>)> {
        let (connected, news) = oneshot::channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let sent = Arc::new(Mutex::new(Sent::default()));
        let mut desk = Desk {
            presenter,
            socket,
            identity,
            bell: Arc::clone(&bell),
            sent: Arc::clone(&sent),
            connected: Some(connected),
        };
        let thread = std::thread::Builder::new().name("load presenter".into()).spawn(move || desk.run())?;
        Ok((Self { sent, bell, thread: Some(thread) }, news))
    }

    /// What it has done so far.
    pub(super) fn sent(&self) -> Sent {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Presenting {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the thread.
struct Desk {
    presenter: Presenter,
    socket: UdpSocket,
    identity: Arc<Identity>,
    bell: Arc<OwnedFd>,
    sent: Arc<Mutex<Sent>>,
    connected: Option<oneshot::Sender<Result<(), Failure>>>,
}

impl Desk {
    fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM];
        let mut out = Vec::new();
        loop {
            self.presenter.handle_timeout(Instant::now(), wall(), &mut out);
            self.send(&mut out);
            if self.wait() {
                break;
            }
            for _ in 0..DATAGRAMS_PER_TURN {
                let Some(datagram) = self.socket.recv(&mut buffer).ok().and_then(|len| buffer.get_mut(..len)) else {
                    break;
                };
                self.presenter.receive(&self.identity, datagram, Instant::now(), &mut out);
            }
            self.send(&mut out);
            self.tell();
        }
        self.presenter.close(Instant::now(), &mut out);
        self.send(&mut out);
        self.tell();
    }

    /// Until something is due or came; `true` when it is to end.
    fn wait(&self) -> bool {
        let wait = self.presenter.next_timeout().saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        let mut both = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&*self.bell, PollFlags::IN)];
        // Interrupted or not: the loop looks at everything anyway.
        let _ = poll(&mut both, Some(&timeout));
        both.last().is_some_and(|bell| bell.revents().contains(PollFlags::IN))
    }

    fn send(&self, out: &mut Vec<bytes::BytesMut>) {
        for datagram in out.drain(..) {
            // What cannot be sent is lost, as on any network; the server asks for it again.
            let _ = self.socket.send(&datagram);
        }
    }

    fn tell(&mut self) {
        let sent = self.presenter.sent();
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone_from(sent);
        let news = match &sent.failure {
            Some(failure) => Err(failure.clone()),
            None if self.presenter.is_live() => Ok(()),
            None => return,
        };
        if let Some(connected) = self.connected.take() {
            let _ = connected.send(news);
        }
    }
}

/// Since 1970: what the kernel's arrival times count from.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Bytes; servers send the presenter nothing larger.
const DATAGRAM: usize = 2_048;
/// Then what is due is sent.
const DATAGRAMS_PER_TURN: usize = 64;
