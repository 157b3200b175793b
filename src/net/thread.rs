//! A media thread: waits, reads, works, sends.

use std::io::IoSliceMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_udp::RecvMeta;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::error::TrySendError;

use super::handle::Office;
use super::udp::{Socket, SocketOutbox};
use crate::media::WorkerId;
use crate::media::outbox::Outbox;
use crate::media::worker::Worker;
use crate::metrics::{Count, WorkerCounters};
use crate::peer::ice::Path;

/// Runs a worker until the office closes.
pub(super) fn run(id: WorkerId, office: &Office, socket: &Socket, counters: &Arc<WorkerCounters>) {
    let mut worker = Worker::new(id, office.shared.clone(), counters.clone(), Box::new(random), Instant::now());
    let mut out = socket.outbox(counters.clone());
    let mut inbox = Inbox::new();
    let mailbox = &office.mailboxes[usize::from(id.0)];
    let mut clock_at = Instant::now();

    while !office.stop.load(Ordering::Acquire) {
        for _ in 0..READS_PER_TURN {
            if !inbox.read(socket, &mut worker, &mut out) {
                break;
            }
        }
        for _ in 0..LETTERS_PER_TURN {
            let Some(mail) = mailbox.take() else { break };
            let now = Instant::now();
            guarded(&mut worker, now, &mut out, |worker, out| worker.mail(mail, now, out));
        }
        let now = Instant::now();
        if worker.next_timeout() <= now {
            guarded(&mut worker, now, &mut out, |worker, out| worker.handle_timeout(now, out));
        }
        guarded(&mut worker, now, &mut out, |worker, out| worker.turn(now, out));
        let now = Instant::now();
        worker.departed(now);
        while worker.has_handshakes() {
            let at = Instant::now();
            guarded(&mut worker, at, &mut out, |worker, out| worker.shake_hands(at, out));
            if now.elapsed() >= HANDSHAKES {
                break;
            }
        }
        post(&mut worker, office, counters);
        out.flush();
        if clock_at <= now {
            clock_at = now + CLOCK_INTERVAL;
            counters.worked(processor_time());
        }

        let is_stuck = out.is_full() && !worker.has_handshakes();
        if mailbox.is_empty() && (is_stuck || !worker.has_work()) {
            let mut wait = worker.next_timeout().saturating_duration_since(Instant::now());
            if !worker.notices.is_empty() {
                wait = wait.min(NOTICE_RETRY);
            }
            let ready = if out.is_full() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds =
                [PollFd::from_borrowed_fd(socket.fd(), ready), PollFd::from_borrowed_fd(mailbox.bell(), PollFlags::IN)];
            let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
            // Interrupted or not: the loop looks at everything anyway.
            let _ = poll(&mut fds, Some(&timeout));
            if fds[1].revents().contains(PollFlags::IN) {
                mailbox.hear();
            }
        }
    }
}

/// A panic ends the session that it happened in, not the thread.
fn guarded<O: Outbox, T>(
    worker: &mut Worker,
    now: Instant,
    out: &mut O,
    work: impl FnOnce(&mut Worker, &mut O) -> T,
) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(worker, out))).ok();
    if done.is_none() {
        worker.recover(now, out);
    }
    done
}

/// Receive buffers for one batch.
struct Inbox {
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
}

impl Inbox {
    fn new() -> Self {
        Self {
            buffers: vec![vec![0; BUFFER]; quinn_udp::BATCH_SIZE],
            metas: vec![RecvMeta::default(); quinn_udp::BATCH_SIZE],
        }
    }

    /// Reads one batch and gives it to the worker. `true` when it was full: there may be more.
    fn read(&mut self, socket: &Socket, worker: &mut Worker, out: &mut SocketOutbox<'_>) -> bool {
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let Ok(count) = socket.receive(&mut slices, &mut self.metas) else {
            return false;
        };
        let now = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();

        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(count) {
            let path = Path { remote: meta.addr, local: meta.dst_ip };
            // The kernel's stamp is wall time: an age survives a change of that clock, within reason.
            let age = meta.timestamp.map_or(Duration::ZERO, |at| wall.saturating_sub(at)).min(MAX_AGE);
            let arrived = now.checked_sub(age).unwrap_or(now);
            for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                guarded(worker, now, out, |worker, out| worker.receive(datagram, path, arrived, now, out));
            }
        }
        count == self.metas.len()
    }
}

/// Posts letters to the other workers and news to control.
fn post(worker: &mut Worker, office: &Office, counters: &WorkerCounters) {
    for (to, mail) in worker.outgoing.drain(..) {
        let posted = office.mailboxes.get(usize::from(to.0)).is_some_and(|mailbox| mailbox.post(mail));
        if !posted {
            counters.add(Count::MailLost, 1);
        }
    }
    let mut told = 0;
    for notice in &worker.notices {
        match office.notices.try_send(notice.clone()) {
            Ok(()) | Err(TrySendError::Closed(_)) => told += 1,
            // Control is slow: what is left is told later. Each session has a bounded number of them.
            Err(TrySendError::Full(_)) => break,
        }
    }
    worker.notices.drain(..told);
}

/// What this thread has taken of its core so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // It fails on no machine that has come this far; a predictable SSRC would harm nobody.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Batches that are read before it is time to send again: as good as all, for the presenter's datagrams are among them.
const READS_PER_TURN: usize = 16;
const LETTERS_PER_TURN: usize = 256;
/// Work on handshakes per turn, and then the one that has begun: most datagrams take 0.05 ms, a last flight 0.2 to 0.4.
const HANDSHAKES: Duration = Duration::from_micros(200);
/// GRO fills up to 64 KiB.
const BUFFER: usize = 1 << 16;
/// Between two looks at the processor time, which is a system call.
const CLOCK_INTERVAL: Duration = Duration::from_millis(100);
const NOTICE_RETRY: Duration = Duration::from_millis(10);
const MAX_AGE: Duration = Duration::from_secs(1);
