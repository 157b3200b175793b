//! Who joins and leaves, and when.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::delay::Delays;
use super::link::CONNECT_WITHIN;
use super::offer::{Answer, offer, presentation};
use super::present::Presenting;
use super::presenter::{Presenter, Sent, Ssrcs};
use super::report::{Flow, Report, Tally};
use super::sockets;
use super::thread::{MediaThread, Newcomer, Watching};
use super::track::Counts;
use super::viewer::{Habits, Viewer};
use super::{Failure, LoadError, Options};
use crate::client::{Admitted, AskError, Endpoint, Url};
use crate::peer::dtls::Identity;
use crate::wire::sdp::IceCredentials;

/// Runs it all.
/// # Errors
/// When it could not begin.
pub(super) fn run(options: &Options) -> Result<Report, LoadError> {
    sockets::allow(options.viewers as usize)?;
    let identity = Arc::new(Identity::generate()?);
    let start = |number: u32| MediaThread::start(&format!("load {number}"), Arc::clone(&identity));
    let endpoint = |url: &Option<String>, token: &Option<String>| {
        url.as_ref().map(|url| Endpoint::new(url, token.as_deref(), options.insecure)).transpose()
    };
    let plan = Arc::new(Plan {
        whep: endpoint(&options.whep, &options.token)?,
        whip: endpoint(&options.whip, &options.whip_token)?,
        presenting: Mutex::default(),
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
        let presented = plan.present().await;
        let (joining, flow) = match (&presented, options.stay()) {
            (Err(_), _) => (Duration::ZERO, Flow::default()),
            (Ok(_), None) => watch_together(&plan).await,
            (Ok(_), Some(stay)) => come_and_go(&plan, stay).await,
        };
        progress.abort();
        let presenter = plan.stop_presenting(presented).await;
        signal.abort();
        let tally = std::mem::take(&mut *plan.tally());
        Report { viewers: plan.viewers().into(), joining, flow, tally, delays: plan.delays(), presenter }
    }))
}

/// What all tasks share.
struct Plan {
    options: Options,
    /// Where viewers are let in; without it there are none.
    whep: Option<Endpoint>,
    /// Where the presenter is let in.
    whip: Option<Endpoint>,
    presenting: Mutex<Option<Presenting>>,
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
    session: Option<Url>,
}

/// All join, watch together, and leave.
async fn watch_together(plan: &Arc<Plan>) -> (Duration, Flow) {
    let began = Instant::now();
    let mut joining = JoinSet::new();
    for number in 0..plan.viewers() {
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
    while plan.whep.is_some() && Instant::now() < end && !plan.is_stopped() {
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
                    let _ = self.goodbye(&session).await;
                }
                None
            }
        }
    }

    /// A viewer with how often it had to come back, or why not and what is to be cleared away.
    async fn try_join(&self, id: u64) -> Result<(Seated, u64), (Failure, Option<Url>)> {
        let local = credentials();
        let offer = offer(&local, self.identity.fingerprint(), random() >> 2);
        let (admitted, retries) = self.enter(offer).await.map_err(|failure| (failure.into(), None))?;
        let session = admitted.session;
        let fail = |failure| (failure, session.clone());

        let answer = Answer::parse(&admitted.answer).map_err(|lacks| fail(Failure::Answer(lacks.to_string())))?;
        let remotes = answer.best_candidates(admitted.peer);
        let habits = Habits { listens: (id - 1).is_multiple_of(self.options.sample.into()), nacks: self.options.nack };
        let mut failure = Failure::NoCheck;
        for (tried, remote) in remotes.iter().enumerate() {
            // The last one gets all the time that a browser would take.
            let is_last = tried + 1 == remotes.len();
            let patience = if is_last { CONNECT_WITHIN } else { NEXT_CANDIDATE };
            let socket = match sockets::open(*remote, self.options.from) {
                Ok(socket) => socket,
                Err(error) => {
                    failure = Failure::Socket(error.kind().to_string());
                    continue;
                }
            };
            let (asked, now) = (admitted.asked, Instant::now());
            let viewer = Viewer::new(&local, answer.clone(), *remote, habits, random(), patience, asked, now);
            let (connected, news) = oneshot::channel();
            self.thread(id).join(Newcomer { id, viewer, socket, connected }).await;
            failure = match news.await {
                Ok(Ok(())) => return Ok((Seated { id, session }, retries)),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Socket("its thread ended".into()),
            };
            // Elsewhere it would be the same.
            if failure != Failure::NoCheck {
                break;
            }
        }
        Err(fail(failure))
    }

    /// Asks for a session; comes back when the server says "later", a few times. Says how often.
    async fn enter(&self, offer: String) -> Result<(Admitted, u64), AskError> {
        let mut retries = 0;
        loop {
            let endpoint = self.whep.as_ref().ok_or_else(|| AskError::Foreign("no WHEP endpoint".into()))?;
            match endpoint.post(offer.clone()).await {
                Ok(admitted) => return Ok((admitted, retries)),
                Err(AskError::Status { status: 409 | 429 | 503, retry_after, .. }) if retries < RETRIES => {
                    retries += 1;
                    self.pause(Instant::now() + later(retry_after)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn goodbye(&self, session: &Url) -> Result<(), AskError> {
        match &self.whep {
            Some(endpoint) => endpoint.delete(session).await,
            None => Ok(()),
        }
    }

    /// Begins to present, if that is wanted.
    async fn present(&self) -> Result<Option<Url>, Failure> {
        let Some(endpoint) = &self.whip else {
            return Ok(None);
        };
        let (local, shape) = (credentials(), self.options.shape());
        let ssrcs = Ssrcs { video: random() as u32, audio: random() as u32 };
        let audio = shape.audio.then_some(ssrcs.audio);
        let offer = presentation(&local, self.identity.fingerprint(), random() >> 2, ssrcs.video, audio);
        let admitted = endpoint.post(offer).await?;
        let answer = Answer::parse(&admitted.answer).map_err(|lacks| Failure::Answer(lacks.to_string()))?;
        let remotes = answer.best_candidates(admitted.peer);
        let remote = *remotes.first().ok_or_else(|| Failure::Answer("no candidate".into()))?;
        let no_socket = |error: io::Error| Failure::Socket(error.kind().to_string());
        let socket = sockets::open(remote, self.options.from).map_err(no_socket)?;
        let presenter = Presenter::new(&local, answer, remote, (shape, ssrcs), random(), Instant::now());
        let started = Presenting::start(presenter, socket, Arc::clone(&self.identity));
        let (presenting, news) = started.map_err(no_socket)?;
        *self.presenting.lock().unwrap_or_else(PoisonError::into_inner) = Some(presenting);
        news.await.unwrap_or_else(|_| Err(Failure::Socket("its thread ended".into())))?;
        // For whoever waits for it.
        let _ = writeln!(io::stderr().lock(), "presenting");
        Ok(admitted.session)
    }

    /// Ends the presentation, politely; says what it was.
    async fn stop_presenting(&self, presented: Result<Option<Url>, Failure>) -> Option<Sent> {
        let session = match presented {
            Ok(session) => session,
            Err(failure) => {
                self.tally().failed(Failure::Presenter(Box::new(failure)));
                None
            }
        };
        let presenting = self.presenting.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let sent = presenting.sent();
        drop(presenting);
        if let (Some(endpoint), Some(session)) = (&self.whip, session)
            && let Err(error) = endpoint.delete(&session).await
        {
            self.tally().failed(error.into());
        }
        Some(sent)
    }

    /// How many are wanted.
    fn viewers(&self) -> u32 {
        if self.whep.is_some() { self.options.viewers } else { 0 }
    }

    /// Of all threads.
    fn delays(&self) -> Delays {
        let mut sum = Delays::default();
        self.threads.iter().for_each(|thread| sum.add(&thread.meter.delays()));
        sum
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
            Some(session) if !self.options.is_abrupt(number) => Some(self.goodbye(&session).await),
            _ => None,
        };
        self.thread(viewer.id).close(viewer.id).await;
        let mut tally = self.tally();
        match goodbye {
            None => tally.vanished += 1,
            Some(Ok(())) => tally.leaves += 1,
            Some(Err(AskError::Status { status, .. })) => tally.failed(Failure::Goodbye(status)),
            Some(Err(error)) => tally.failed(error.into()),
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
                "{:5.0} s  {} viewers  {} joined  {} left  {} failed  {:.0} packets/s  {:.1} Mbit/s  {} lost{}",
                flow.time.as_secs_f64(),
                watching.viewers,
                tally.joins,
                tally.leaves + tally.vanished,
                tally.failures(),
                (flow.packets - before.packets) as f64 / seconds,
                (flow.bytes - before.bytes) as f64 * 8e-6 / seconds,
                tally.lost() + watching.counts.lost,
                if plan.options.sample > 1 { "  (of those that read)" } else { "" },
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

/// When to come back: what the server says, within reason.
fn later(asked_for: Option<Duration>) -> Duration {
    asked_for.unwrap_or(MIN_LATER).clamp(MIN_LATER, MAX_LATER)
}

/// Without an answer to a check; then the next candidate is tried.
const NEXT_CANDIDATE: Duration = Duration::from_secs(2);
/// How often one viewer comes back.
const RETRIES: u64 = 5;
/// Also when the server does not say.
const MIN_LATER: Duration = Duration::from_secs(1);
/// A load that stands still measures nothing.
const MAX_LATER: Duration = Duration::from_secs(10);
/// What shells say of a program that ended by SIGINT.
const INTERRUPTED: i32 = 130;
