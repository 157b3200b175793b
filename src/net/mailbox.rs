//! A thread's letters: a bounded queue, and something that wakes the thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};

use crate::media::mail::Mail;

/// A media thread's mailbox.
pub(super) struct Mailbox {
    letters: ArrayQueue<Mail>,
    /// Control's orders: not to be lost because packets fill the other queue.
    orders: ArrayQueue<Mail>,
    bell: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    /// # Errors
    /// When the process has no more file descriptors.
    pub(super) fn new(max_sessions: usize) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { letters: ArrayQueue::new(CAPACITY), orders: ArrayQueue::new(max_sessions + SPARE), bell })
    }

    /// Posts a letter and wakes the thread. `false` when the queue is full: the letter is lost.
    pub(super) fn post(&self, mail: Mail) -> bool {
        let posted = self.letters.push(mail).is_ok();
        self.wake();
        posted
    }

    /// Posts control's order, with room for one per session. `false` when it is lost all the same.
    pub(super) fn order(&self, order: Mail) -> bool {
        let posted = self.orders.push(order).is_ok();
        self.wake();
        posted
    }

    /// Takes the oldest order, else the oldest letter.
    pub(super) fn take(&self) -> Option<Mail> {
        self.orders.pop().or_else(|| self.letters.pop())
    }

    /// There are letters.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.orders.is_empty()
    }

    /// Wakes the thread.
    pub(super) fn wake(&self) {
        // It fails only when the bell has rung 2^64 times unheard.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Silences the bell.
    pub(super) fn hear(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
    }

    /// What to wait for.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// A whole presenter whose address changed fits: 4,096 datagrams are 3 s of 12 Mbit/s.
const CAPACITY: usize = 4096;
/// Orders that concern no session in particular.
const SPARE: usize = 64;
