//! Who is on which stream now: one table behind one mutex.
//!
//! A session is checked, opened in the media plane and entered under one hold of the lock, so two requests never win the
//! same seat and a failure leaves nothing behind. That is safe because opening never blocks, and because the media plane
//! answers by notices in a queue, never by calling back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::media::layer::{LayerChoice, Playing};
use crate::media::{CloseReason, Role, Route, SessionId, Standing, StreamId};
use crate::net::Full;
use crate::wire::sdp::Shape;

use super::arrivals::Arrivals;
use super::awaited::{Awaited, Presented};
use super::events::{Board, EventStreams};
use super::layers::{LayerView, Video, Wish, WishError};
use super::limits::Key;
use super::patch::{IceSession, PatchError};
use super::seats::{Seats, Stage};
use super::stream::{Policies, Presenters, Slate, StreamName, StreamPolicy};
use super::tombstones::{Departed, Tombstones};
use super::{OpenError, SessionView, StreamView, ids};

mod presenters;

/// All streams and sessions of this process. No method blocks on anything but the table's lock.
#[derive(Debug)]
pub(super) struct Directory {
    max_sessions: usize,
    max_unconnected_per_address: usize,
    policies: Arc<Policies>,
    table: Mutex<Table>,
}

/// A session on its way in.
#[derive(Clone, Debug)]
pub(super) struct Entrant {
    pub(super) id: SessionId,
    pub(super) ice: IceSession,
    pub(super) subject: Option<String>,
    /// A viewer's video, if it takes one.
    pub(super) video: Option<Video>,
    /// Where a viewer comes from.
    pub(super) from: Option<Key>,
    pub(super) created: Instant,
}

/// What came of a wish to end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// It was open until now.
    Now(Departed),
    /// It had ended a short while ago.
    Before,
    /// It never was, or is long gone.
    Never,
}

impl Directory {
    /// An empty table for so many sessions, of which so many viewers from one address may be on their way in.
    pub(super) fn new(max_sessions: usize, max_unconnected_per_address: usize, policies: Arc<Policies>) -> Self {
        Self { max_sessions, max_unconnected_per_address, policies, table: Mutex::default() }
    }

    /// Gives a presenter's seat to a session and returns the one that had it.
    /// # Errors
    /// `Draining`, `Awaited`, `Busy` or `Full`; nothing has changed then.
    pub(super) fn present(
        &self,
        name: &StreamName,
        policy: &StreamPolicy,
        entrant: &Entrant,
        shape: Shape,
        open: impl FnOnce(Arc<Route>, Option<Standing>) -> Result<(), Full>,
    ) -> Result<Option<(SessionId, Departed)>, OpenError> {
        let table = &mut *self.table();
        table.refuse_when_draining()?;
        let subject = entrant.subject.as_deref();
        if let Some(retry_after) = table.awaited.keeps_out(name, policy, subject, entrant.created) {
            return Err(OpenError::Awaited { retry_after });
        }
        let seats = table.streams.get(name).map(|stream| &stream.seats);
        let replaced = seats.map_or(Ok(None), |seats| seats.rival(&policy.presenters, subject, entrant.created));
        let replaced = replaced.map_err(|_| OpenError::Busy)?;
        // Whoever takes a seat over brings no additional session.
        if replaced.is_none() && table.sessions.len() >= self.max_sessions {
            return Err(full());
        }

        let rank = policy.presenters.rank(subject.unwrap_or_default());
        let standing = matches!(policy.presenters, Presenters::Backup(_))
            .then_some(Standing { rank, back_after: policy.back_after });
        let stream = table.enter(name, policy, Role::Presenter, entrant, |route| open(route, standing))?;
        stream.seats.take(entrant.id, entrant.subject.clone(), rank, shape, entrant.created);
        table.awaited.seated(name, policy, subject);
        let departed = replaced.and_then(|old| {
            let departed = table.leave(old)?;
            table.tombstones.bury(old, Some(departed.clone()), entrant.created);
            Some((old, departed))
        });
        // Whoever has just taken the seat is not connected yet.
        table.tell_live(name);
        Ok(departed)
    }

    /// Lets a viewer in.
    /// # Errors
    /// `Draining`, `Full` or `Crowded`; nothing has changed then.
    pub(super) fn watch(
        &self,
        name: &StreamName,
        policy: &StreamPolicy,
        entrant: &Entrant,
        open: impl FnOnce(Arc<Route>) -> Result<(), Full>,
    ) -> Result<(), OpenError> {
        let table = &mut *self.table();
        table.refuse_when_draining()?;
        let viewers = table.streams.get(name).map_or(0, |stream| stream.viewers);
        if table.sessions.len() >= self.viewer_places() || policy.max_viewers.is_some_and(|most| viewers >= most) {
            return Err(full());
        }
        if entrant.from.as_ref().is_some_and(|from| table.arrivals.from(from) >= self.max_unconnected_per_address) {
            return Err(OpenError::Crowded { retry_after: ids::retry_after() });
        }

        table.enter(name, policy, Role::Viewer, entrant, open)?.viewers += 1;
        Ok(())
    }

    /// What a viewer would find on the stream now.
    /// # Errors
    /// `Draining`.
    pub(super) fn stage(&self, name: &StreamName) -> Result<Stage, OpenError> {
        let table = self.table();
        table.refuse_when_draining()?;
        let stage = table.streams.get(name).map_or(Stage::Empty, |stream| stream.seats.stage());
        let is_held = stage == Stage::Empty && table.awaited.holds(name);
        Ok(if is_held { Stage::Held(Shape::default()) } else { stage })
    }

    /// A session as others may see it; `None` when it is over.
    pub(super) fn session(&self, id: SessionId) -> Option<SessionView> {
        self.table().sessions.get(&id).map(|session| SessionView {
            role: session.role,
            stream: session.stream.clone(),
            subject: session.subject.clone(),
            etag: session.ice.etag.clone(),
            connected: session.connected,
            created: session.created,
        })
    }

    /// Works on a session's ICE session, under the lock: one request after the other.
    /// # Errors
    /// `NoSession`, or what `work` says.
    pub(super) fn patch<T>(
        &self,
        id: SessionId,
        work: impl FnOnce(&mut IceSession) -> Result<T, PatchError>,
    ) -> Result<T, PatchError> {
        let mut table = self.table();
        work(&mut table.sessions.get_mut(&id).ok_or(PatchError::NoSession)?.ice)
    }

    /// Every stream, by name.
    pub(super) fn streams(&self) -> Vec<StreamView> {
        let table = self.table();
        let mut views: Vec<_> = table.streams.iter().map(|(name, stream)| self.view(name, stream)).collect();
        drop(table);
        views.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// One stream.
    pub(super) fn stream(&self, name: &StreamName) -> Option<StreamView> {
        let table = self.table();
        table.streams.get(name).map(|stream| self.view(name, stream))
    }

    /// The session's keys are agreed. Returns its role and age, the first time only.
    pub(super) fn connected(&self, id: SessionId, now: Instant) -> Option<(Role, Duration)> {
        let mut table = self.table();
        let session = table.sessions.get_mut(&id).filter(|session| !session.connected)?;
        session.connected = true;
        let from = session.from.take();
        let (role, name, age) = (session.role, session.stream.clone(), now.saturating_duration_since(session.created));
        from.inspect(|from| table.arrivals.remove(from));
        if let Some(stream) = table.streams.get_mut(&name) {
            match role {
                Role::Viewer => {
                    stream.watching += 1;
                    stream.board.viewers(stream.watching);
                }
                Role::Presenter => stream.seats.connected(id),
            }
        }
        table.tell_live(&name);
        Some((role, age))
    }

    /// The viewer gets this now.
    pub(super) fn playing(&self, id: SessionId, playing: Playing) {
        let mut table = self.table();
        if let Some(video) = table.sessions.get_mut(&id).and_then(|session| session.video.as_mut()) {
            video.playing = Some(playing);
        }
    }

    /// Takes in which layers a viewer wants.
    /// # Errors
    /// `NoSession`, `NoVideo`, `NoLayer`; nothing has changed then.
    pub(super) fn wish(&self, id: SessionId, wish: Wish) -> Result<LayerChoice, WishError> {
        let Table { sessions, streams, .. } = &mut *self.table();
        let session = sessions.get_mut(&id).filter(|session| session.role == Role::Viewer);
        let session = session.ok_or(WishError::NoSession)?;
        let stream = streams.get(&session.stream).ok_or(WishError::NoSession)?;
        session.video.as_mut().ok_or(WishError::NoVideo)?.wish(wish, &stream.board.layers_now())
    }

    /// Which layers a viewer wants and gets; `None` when it is over or has no video.
    pub(super) fn layer_view(&self, id: SessionId) -> Option<LayerView> {
        let table = self.table();
        let session = table.sessions.get(&id).filter(|session| session.role == Role::Viewer)?;
        let stream = table.streams.get(&session.stream)?;
        Some(session.video.as_ref()?.view(&stream.board.layers_now()))
    }

    /// Does something with the event streams of a viewer's session; `None` when it is over or no viewer's.
    pub(super) fn event_streams<T>(
        &self,
        id: SessionId,
        action: impl FnOnce(&mut EventStreams, &Arc<Board>, Option<&Video>) -> T,
    ) -> Option<T> {
        let Table { sessions, streams, .. } = &mut *self.table();
        let session = sessions.get_mut(&id).filter(|session| session.role == Role::Viewer)?;
        let board = &streams.get(&session.stream)?.board;
        Some(action(&mut session.events, board, session.video.as_ref()))
    }

    /// Does something with the boards of all streams.
    pub(super) fn boards(&self, action: impl FnMut(&Board)) {
        self.table().streams.values().map(|stream| &*stream.board).for_each(action);
    }

    /// Frees a session's place because somebody asked for its end. Its summary is still to come.
    pub(super) fn close(&self, id: SessionId, now: Instant) -> Closing {
        let table = &mut *self.table();
        if let Some(departed) = table.leave(id) {
            table.tombstones.bury(id, Some(departed.clone()), now);
            return Closing::Now(departed);
        }
        if table.tombstones.holds(id, now) { Closing::Before } else { Closing::Never }
    }

    /// The media plane says that a session is gone. `Closing::Now`: nobody had asked for its end. The summary of a
    /// session is due to whom this returns, with `Some`, and only once.
    pub(super) fn closed(&self, id: SessionId, now: Instant) -> (Closing, Option<Departed>) {
        let table = &mut *self.table();
        if let Some(departed) = table.leave(id) {
            table.tombstones.bury(id, None, now);
            return (Closing::Now(departed.clone()), Some(departed));
        }
        let awaited = table.tombstones.summarize(id);
        (if awaited.is_some() { Closing::Before } else { Closing::Never }, awaited)
    }

    /// Writes down why a session has ended, before its client can ask.
    pub(super) fn inscribe(&self, id: SessionId, reason: CloseReason) {
        self.table().tombstones.inscribe(id, reason);
    }

    /// Why a session ended a short while ago, as far as that was written down.
    pub(super) fn inscription(&self, id: SessionId) -> Option<CloseReason> {
        self.table().tombstones.inscription(id)
    }

    /// Who presents, and who is expected to, by stream.
    pub(super) fn presented(&self) -> Vec<Presented> {
        let table = self.table();
        let seated = table.streams.iter().map(|(name, stream)| (name, stream.seats.subjects().collect()));
        let awaited = table.awaited.iter().map(|(name, presenters)| (name, presenters.to_vec()));
        let mut all: BTreeMap<&StreamName, Vec<String>> = BTreeMap::new();
        for (name, presenters) in seated.chain(awaited).filter(|(_, presenters): &(_, Vec<_>)| !presenters.is_empty()) {
            all.entry(name).or_default().extend(presenters);
        }
        all.into_iter().map(|(name, presenters)| Presented { stream: name.clone(), presenters }).collect()
    }

    /// Expects those back who presented so long ago.
    pub(super) fn expect(&self, all: Vec<Presented>, age: Duration, now: Instant) {
        self.table().awaited.expect(all, age, &self.policies, now);
    }

    /// Lets nobody in from now on.
    pub(super) fn drain(&self) {
        self.table().draining = true;
    }

    /// Is there a place, and may it be taken?
    pub(super) fn is_ready(&self) -> bool {
        let table = self.table();
        !table.draining && table.sessions.len() < self.viewer_places()
    }

    /// Sessions and streams now.
    pub(super) fn counts(&self) -> (usize, usize) {
        let table = self.table();
        (table.sessions.len(), table.streams.len())
    }

    /// Sessions at most.
    pub(super) fn max_sessions(&self) -> usize {
        self.max_sessions
    }

    /// Places for viewers that are free.
    pub(super) fn free_places(&self) -> usize {
        self.viewer_places().saturating_sub(self.table().sessions.len())
    }

    /// Places for viewers of this stream that are free; `None` when there can be no such stream.
    pub(super) fn places(&self, name: &StreamName) -> Option<usize> {
        let policy = self.policies.of(name)?;
        let table = self.table();
        let free = self.viewer_places().saturating_sub(table.sessions.len());
        let viewers = table.streams.get(name).map_or(0, |stream| stream.viewers);
        Some(policy.max_viewers.map_or(free, |most| free.min(most.saturating_sub(viewers))))
    }

    /// Viewers leave a few places free: a crowd never keeps a presenter out.
    fn viewer_places(&self) -> usize {
        self.max_sessions - (self.max_sessions / 8).min(PRESENTER_PLACES)
    }

    fn view(&self, name: &StreamName, stream: &Stream) -> StreamView {
        StreamView {
            name: name.clone(),
            live: stream.seats.is_live(),
            viewers: stream.watching,
            open: self.policies.watch_is_open(name),
            presenter: stream.seats.presenter(),
        }
    }

    /// The table. Each change is complete before anything in it can panic, so a poisoned lock still guards a good one.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> OpenError {
    OpenError::Full { retry_after: ids::retry_after() }
}

/// What the lock guards.
#[derive(Debug, Default)]
struct Table {
    draining: bool,
    /// Streams made so far: the next one's id.
    made: u64,
    streams: HashMap<StreamName, Stream>,
    sessions: HashMap<SessionId, Session>,
    arrivals: Arrivals,
    awaited: Awaited,
    tombstones: Tombstones,
    parting: Parting,
}

/// Viewers who have been told to make a new session, and when the one that they have ends; the soonest first.
type Parting = VecDeque<(Instant, SessionId, CloseReason)>;

/// A stream with a presenter or viewers. It goes when the last one of them goes.
#[derive(Debug)]
struct Stream {
    route: Arc<Route>,
    /// What its viewers are told.
    board: Arc<Board>,
    seats: Seats,
    /// Viewers' sessions.
    viewers: usize,
    /// Those of them that are connected.
    watching: usize,
}

/// An open session.
#[derive(Debug)]
struct Session {
    role: Role,
    stream: StreamName,
    subject: Option<String>,
    ice: IceSession,
    /// Where a viewer comes from that is not connected yet.
    from: Option<Key>,
    connected: bool,
    created: Instant,
    video: Option<Video>,
    events: EventStreams,
    /// It has been told that it ends.
    is_parting: bool,
}

impl Table {
    fn refuse_when_draining(&self) -> Result<(), OpenError> {
        if self.draining { Err(OpenError::Draining { retry_after: ids::retry_after_restart() }) } else { Ok(()) }
    }

    /// Puts on the stream's board whether somebody presents.
    fn tell_live(&self, name: &StreamName) {
        if let Some(stream) = self.streams.get(name) {
            stream.board.live(stream.seats.is_live());
        }
    }

    /// Opens the session in the media plane and only then writes it down.
    fn enter(
        &mut self,
        name: &StreamName,
        policy: &StreamPolicy,
        role: Role,
        entrant: &Entrant,
        open: impl FnOnce(Arc<Route>) -> Result<(), Full>,
    ) -> Result<&mut Stream, OpenError> {
        let known = self.streams.get(name).map(|stream| Arc::clone(&stream.route));
        let route = known.unwrap_or_else(|| Route::holding(StreamId(self.made), policy.slate == Slate::Hold));
        open(Arc::clone(&route)).map_err(|Full| full())?;

        if let Some(from) = &entrant.from {
            self.arrivals.add(from.clone());
        }
        self.sessions.insert(
            entrant.id,
            Session {
                role,
                stream: name.clone(),
                subject: entrant.subject.clone(),
                ice: entrant.ice.clone(),
                from: entrant.from.clone(),
                connected: false,
                created: entrant.created,
                video: entrant.video.clone(),
                events: EventStreams::default(),
                is_parting: false,
            },
        );
        Ok(self.streams.entry(name.clone()).or_insert_with(|| {
            self.made += 1;
            Stream { route, board: Board::new(), seats: Seats::default(), viewers: 0, watching: 0 }
        }))
    }

    /// Takes a session out, with its seat or its place among the viewers.
    fn leave(&mut self, id: SessionId) -> Option<Departed> {
        let Session { role, stream: name, connected, from, .. } = self.sessions.remove(&id)?;
        from.inspect(|from| self.arrivals.remove(from));
        if let Some(stream) = self.streams.get_mut(&name) {
            match role {
                Role::Viewer => {
                    stream.viewers -= 1;
                    stream.watching -= usize::from(connected);
                    stream.board.viewers(stream.watching);
                }
                Role::Presenter => {
                    if stream.seats.leave(id) {
                        stream.board.live(stream.seats.is_live());
                    }
                }
            }
            if stream.seats.is_empty() && stream.viewers == 0 {
                self.streams.remove(&name);
            }
        }
        Some(Departed { role, stream: name })
    }
}

/// Places that viewers do not get.
const PRESENTER_PLACES: usize = 16;
