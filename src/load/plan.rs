//! Who joins and leaves, and when.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::door::Door;
use super::offer::{Answer, offer};
use super::report::{Flow, Report, Tally};
use super::sockets;
use super::thread::{MediaThread, Newcomer, Watching};
use super::track::Counts;
use super::viewer::{Habits, Viewer};
use super::{Failure, LoadError, Options};
use crate::peer::dtls::Identity;
use crate::wire::sdp::IceCredentials;

/// Runs it all.
/// # Errors
/// When it could not begin.
pub(super) fn run(options: &Options) -> Result<Report, LoadError> {
    sockets::allow(options.viewers as usize)?;
    let identity = Arc::new(Identity::generate()?);
    let start = |number: u32| MediaThread::start(&format!("load {number}"), Arc::clone(&identity));
    let plan = Arc::new(Plan {
        door: Door::new(options)?,
        threads: (0..options.threads).map(start).collect::<io::Result<_>>()?,
        entering: Arc::new(Semaphore::new(options.parallel as usize)),
        identity,
        tally: Mutex::default(),
        names: AtomicU64::new(1),
        leavers: AtomicU64::new(0),
        stop: watch::channel(false).0,
        options: options.clone(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let progress = tokio::spawn(progress(Arc::clone(&plan)));
        let signal = tokio::spawn(stop_at_signal(Arc::clone(&plan)));
        let (joining, flow) = match options.stay() {
            None => watch_together(&plan).await,
            Some(stay) => come_and_go(&plan, stay).await,
        };
        progress.abort();
        signal.abort();
        let tally = std::mem::take(&mut *plan.tally());
        Report { viewers: options.viewers.into(), joining, flow, tally }
    }))
}

/// What all tasks share.
struct Plan {
    options: Options,
    door: Door,
    identity: Arc<Identity>,
    threads: Vec<MediaThread>,
    /// Those who are joining or leaving hold a permit.
    entering: Arc<Semaphore>,
    tally: Mutex<Tally>,
    names: AtomicU64,
    leavers: AtomicU64,
    /// True: the user has seen enough.
    stop: watch::Sender<bool>,
}

/// A viewer that is connected.
struct Seated {
    id: u64,
    session: Option<Uri>,
}

/// All join, watch together, and leave.
async fn watch_together(plan: &Arc<Plan>) -> (Duration, Flow) {
    let began = Instant::now();
    let mut joining = JoinSet::new();
    for number in 0..plan.options.viewers {
        plan.pause(began + plan.options.pace() * number).await;
        let Ok(permit) = Arc::clone(&plan.entering).acquire_owned().await else { break };
        if plan.is_stopped() {
            break;
        }
        let plan = Arc::clone(plan);
        joining.spawn(async move {
            let _permit = permit;
            plan.join().await
        });
    }
    let seated: Vec<Seated> = joining.join_all().await.into_iter().flatten().collect();
    let joined_in = began.elapsed();

    let before = plan.flow(began);
    plan.pause(Instant::now() + plan.options.span()).await;
    let after = plan.flow(began);

    // First all look away: what the goodbyes of some do to the others is not part of it.
    let mut ending = JoinSet::new();
    for viewer in seated {
        let plan = Arc::clone(plan);
        ending.spawn(async move {
            plan.look_away(&viewer).await;
            let _permit = plan.entering.acquire().await;
            plan.leave(viewer).await;
        });
    }
    ending.join_all().await;
    let flow = Flow {
        time: after.time.saturating_sub(before.time),
        packets: after.packets - before.packets,
        bytes: after.bytes - before.bytes,
    };
    (joined_in, flow)
}

/// Viewers join one after the other, each stays for a while.
async fn come_and_go(plan: &Arc<Plan>, stay: Duration) -> (Duration, Flow) {
    let began = Instant::now();
    let end = began + plan.options.span();
    let crowd = Arc::new(Semaphore::new(plan.options.viewers as usize));
    let mut visits = JoinSet::new();
    let mut next = began;
    while Instant::now() < end && !plan.is_stopped() {
        plan.pause(next.min(end)).await;
        let Ok(permit) = Arc::clone(&crowd).acquire_owned().await else { break };
        let now = Instant::now();
        // After a jam the pace is kept, what was missed is not made up for in a rush.
        next = (next + plan.options.pace()).max(now.checked_sub(plan.options.pace()).unwrap_or(now));
        while visits.try_join_next().is_some() {}
        let plan = Arc::clone(plan);
        visits.spawn(async move {
            let _permit = permit;
            let seated = {
                let _entering = plan.entering.acquire().await;
                plan.join().await
            };
            let Some(viewer) = seated else { return };
            plan.pause(Instant::now() + stay).await;
            plan.look_away(&viewer).await;
            let _entering = plan.entering.acquire().await;
            plan.leave(viewer).await;
        });
    }
    let joined_in = began.elapsed();
    visits.join_all().await;
    (joined_in, plan.flow(began))
}

impl Plan {
    /// One viewer: POST, ICE, DTLS. `None` when it failed, which is counted.
    async fn join(&self) -> Option<Seated> {
        let id = self.names.fetch_add(1, Ordering::Relaxed);
        match self.try_join(id).await {
            Ok((seated, retries)) => {
                self.tally().joined(retries);
                Some(seated)
            }
            Err((failure, session)) => {
                self.tally().failed(failure);
                self.thread(id).close(id).await;
                if let Some(session) = session {
                    // It has failed already; that it cannot even say goodbye adds nothing.
                    let _ = self.door.exit(&session).await;
                }
                None
            }
        }
    }

    /// A viewer with how often it had to come back, or why not and what is to be cleared away.
    async fn try_join(&self, id: u64) -> Result<(Seated, u64), (Failure, Option<Uri>)> {
        let local = credentials();
        let offer = offer(&local, self.identity.fingerprint(), random() >> 2);
        let admitted = self.door.enter(offer).await.map_err(|failure| (failure, None))?;
        let session = admitted.session;
        let fail = |failure| (failure, session.clone());

        let answer = Answer::parse(&admitted.answer).map_err(|lacks| fail(Failure::Answer(lacks.to_string())))?;
        let remote =
            answer.best_candidate(admitted.peer).ok_or_else(|| fail(Failure::Answer("no candidate".into())))?;
        let socket = sockets::open(remote).map_err(|error| fail(Failure::Socket(error.kind().to_string())))?;
        let habits = Habits { decrypts: id.is_multiple_of(self.options.sample.into()), nacks: self.options.nack };
        let viewer = Viewer::new(&local, answer, remote, habits, random(), admitted.asked, Instant::now());
        let (connected, news) = oneshot::channel();
        self.thread(id).join(Newcomer { id, viewer, socket, connected }).await;
        match news.await {
            Ok(Ok(())) => Ok((Seated { id, session }, admitted.retries)),
            Ok(Err(failure)) => Err(fail(failure)),
            Err(_) => Err(fail(Failure::Socket("its thread ended".into()))),
        }
    }

    /// What comes from now on is not counted.
    async fn look_away(&self, viewer: &Seated) {
        if let Some(outcome) = self.thread(viewer.id).leave(viewer.id).await {
            self.tally().ended(outcome);
        }
    }

    /// Goodbye, or not even that.
    async fn leave(&self, viewer: Seated) {
        let number = self.leavers.fetch_add(1, Ordering::Relaxed);
        let goodbye = match viewer.session {
            Some(session) if !self.options.is_abrupt(number) => Some(self.door.exit(&session).await),
            _ => None,
        };
        self.thread(viewer.id).close(viewer.id).await;
        let mut tally = self.tally();
        match goodbye {
            None => tally.vanished += 1,
            Some(Ok(())) => tally.leaves += 1,
            Some(Err(Failure::Status(status))) => tally.failed(Failure::Goodbye(status)),
            Some(Err(failure)) => tally.failed(failure),
        }
    }

    fn thread(&self, id: u64) -> &MediaThread {
        &self.threads[id as usize % self.threads.len()]
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but not for longer than the user wants.
    async fn pause(&self, until: Instant) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// What all threads got so far.
    fn flow(&self, began: Instant) -> Flow {
        let sum = |each: fn(&MediaThread) -> &AtomicU64| -> u64 {
            self.threads.iter().map(|thread| each(thread).load(Ordering::Relaxed)).sum()
        };
        Flow { time: began.elapsed(), packets: sum(|t| &t.meter.packets), bytes: sum(|t| &t.meter.bytes) }
    }

    /// Who is there now.
    fn watching(&self) -> Watching {
        let mut sum = Watching { viewers: 0, counts: Counts::default() };
        for thread in &self.threads {
            let watching = thread.meter.watching();
            sum.viewers += watching.viewers;
            sum.counts.add(&watching.counts);
        }
        sum
    }
}

/// A line a second on standard error.
async fn progress(plan: Arc<Plan>) {
    let began = Instant::now();
    let mut before = plan.flow(began);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (flow, watching) = (plan.flow(began), plan.watching());
        let seconds = flow.time.saturating_sub(before.time).as_secs_f64().max(1e-3);
        let line = {
            let tally = plan.tally();
            format!(
                "{:5.0} s  {} viewers  {} joined  {} left  {} failed  {:.0} packets/s  {:.1} Mbit/s  {} lost",
                flow.time.as_secs_f64(),
                watching.viewers,
                tally.joins,
                tally.leaves + tally.vanished,
                tally.failures(),
                (flow.packets - before.packets) as f64 / seconds,
                (flow.bytes - before.bytes) as f64 * 8e-6 / seconds,
                tally.lost() + watching.counts.lost,
            )
        };
        // Nobody may be reading; the result counts.
        let _ = writeln!(io::stderr().lock(), "{line}");
        before = flow;
    }
}

/// SIGINT: everybody leaves politely and the result so far is printed. A second one is not waited for.
async fn stop_at_signal(plan: Arc<Plan>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        plan.stop.send_replace(true);
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    }
}

/// Fresh ones.
fn credentials() -> IceCredentials {
    IceCredentials { ufrag: format!("{:016x}", random()), pwd: format!("{:016x}{:016x}", random(), random()) }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // It fails on no machine that has come this far.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// What shells say of a program that ended by SIGINT.
const INTERRUPTED: i32 = 130;
