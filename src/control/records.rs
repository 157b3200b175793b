//! What is known of sessions and broadcasts, for whoever runs the show: who is there, how it arrives, what is wrong.
//!
//! The directory decides; what stands here only watches, behind a lock of its own, so nothing that is asked here ever
//! keeps a client waiting. Numbers of viewers are read from their [`Vitals`] when somebody asks and once a second.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::journal::{Journal, News, Progress};
use super::reports::{Report, Shelf};
use super::stream::StreamName;
use super::timeline::Happening;
use super::{Control, StreamView};
use crate::media::{CloseReason, Notice, Role, SessionId, Summary};
use crate::wire::sdp::Kind;

mod person;
mod show;

pub use person::{About, Person, Recording, ShortId};
pub use show::{Picture, PresenterStatus, Sound, Stage, StreamStatus};

pub(super) use person::Began;
use person::Entry;
use show::Show;

/// Everything that is known. Shared.
#[derive(Debug)]
pub(super) struct Records {
    state: Mutex<State>,
    pub(super) journal: Journal,
    pub(super) shelf: OnceLock<Shelf>,
    pub(super) began: Instant,
}

#[derive(Debug)]
struct State {
    /// Each by itself: a table of them as they are has room for twice as many where it has grown.
    sessions: HashMap<SessionId, Box<Entry>>,
    short: HashMap<ShortId, SessionId>,
    /// Those that are over, the oldest first.
    over: VecDeque<(Instant, SessionId)>,
    /// Those whose descriptions are kept, the oldest first, and the bytes of all these.
    described: VecDeque<SessionId>,
    described_bytes: usize,
    shows: HashMap<StreamName, Show>,
    looked: Instant,
}

impl Records {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                sessions: HashMap::new(),
                short: HashMap::new(),
                over: VecDeque::new(),
                described: VecDeque::new(),
                described_bytes: 0,
                shows: HashMap::new(),
                looked: now,
            }),
            journal: Journal::default(),
            shelf: OnceLock::new(),
            began: now,
        }
    }

    /// A session has been made.
    pub(super) fn began(&self, id: SessionId, began: Began<'_>) {
        let Began { role, stream, at, .. } = began;
        let mut state = self.state();
        state.expire(at);
        state.short.insert(ShortId::of(id), id);
        state.sessions.insert(id, Box::new(Entry::new(began)));
        if let Some(show) = state.shows.get_mut(stream) {
            show.joined(role);
        }
        drop(state);
        self.journal.tell(Some(stream), &News::Session(id, role, Progress::Connecting));
    }

    /// Who made a session, and with which descriptions.
    pub(super) fn describe(&self, id: SessionId, about: About) {
        let state = &mut *self.state();
        let Some(entry) = state.sessions.get_mut(&id) else {
            return;
        };
        state.described_bytes += about.size();
        state.described.push_back(id);
        entry.about = about;
        if entry.is_watching()
            && let Some(show) = state.shows.get_mut(&entry.stream)
        {
            show.seen(&entry.about);
        }
        while state.described_bytes > DESCRIBED_BYTES
            && let Some(oldest) = state.described.pop_front()
        {
            if let Some(entry) = state.sessions.get_mut(&oldest) {
                state.described_bytes -= entry.about.forget();
            }
        }
    }

    /// A session's resource was asked for something.
    pub(super) fn asked(&self, id: SessionId, method: &'static str, resource: &'static str, status: u16) {
        if let Some(entry) = self.state().sessions.get_mut(&id) {
            entry.timeline.add(Instant::now(), Happening::Http { method, resource, status });
        }
    }

    /// A session is over.
    pub(super) fn ended(&self, id: SessionId, reason: CloseReason, now: Instant) {
        let mut guard = self.state();
        let State { sessions, shows, over, .. } = &mut *guard;
        let Some(entry) = sessions.get_mut(&id).filter(|entry| entry.ended.is_none()) else {
            return;
        };
        let first = entry.end(reason, now);
        let (stream, role, created) = (entry.stream.clone(), entry.role, entry.created);
        if let Some(show) = shows.get_mut(&stream) {
            entry.was_on_air = show.presenter == Some(id);
            show.first(created, first);
            show.left(id, entry, now);
        }
        over.push_back((now, id));
        guard.expire(now);
        drop(guard);
        self.journal.tell(Some(&stream), &News::Session(id, role, Progress::Ended(reason)));
    }

    /// What a session did comes after its end.
    pub(super) fn summary(&self, id: SessionId, summary: &Summary, now: Instant) {
        let state = &mut *self.state();
        if let Some(entry) = state.sessions.get_mut(&id) {
            entry.summary = Some(*summary);
            if let Some(show) = state.shows.get_mut(&entry.stream) {
                show.summed(id, entry, now);
            }
        }
    }

    /// A worker tells something of a session.
    pub(super) fn notice(&self, notice: &Notice, now: Instant) {
        let state = &mut *self.state();
        let id = match notice {
            Notice::Step { session, .. }
            | Notice::Connected { session, .. }
            | Notice::Vitals { session, .. }
            | Notice::Health { session, .. }
            | Notice::Started { session, .. }
            | Notice::Flow { session, .. }
            | Notice::OnAir { session }
            | Notice::Unplayable { session }
            | Notice::Layers { session, .. }
            | Notice::Playing { session, .. } => *session,
            Notice::Closed { .. } => return,
        };
        let Some(entry) = state.sessions.get_mut(&id) else {
            return;
        };
        let (stream, role) = (entry.stream.clone(), entry.role);
        let show = state.shows.entry(stream.clone()).or_insert_with(|| Show::new(now));
        match notice {
            Notice::Step { step, .. } => entry.step(step, now),
            Notice::Connected { remote, profile, .. } => {
                entry.connected(*remote, *profile, now);
                show.connected(entry);
                self.journal.tell(Some(&stream), &News::Session(id, role, Progress::Connected));
            }
            Notice::Vitals { vitals, .. } => entry.vitals = Some(Arc::clone(vitals)),
            Notice::Started { kind, format, .. } => {
                entry.started(*kind, format, now);
                show.started(*kind, format);
                if show.begin(&stream, id, now) {
                    state.see(&stream);
                }
            }
            Notice::Layers { kind: Kind::Video, layers, .. } => entry.layers.clone_from(layers),
            Notice::Playing { kind: Kind::Video, playing, .. } => {
                let presenter = show.presenter;
                let rid = presenter.and_then(|id| state.sessions.get(&id)).and_then(|of| of.rid(playing.layer));
                if let Some(entry) = state.sessions.get_mut(&id) {
                    entry.plays(*playing, rid, now);
                }
            }
            Notice::Health { health, .. } => {
                entry.healthy(health, now);
                if show.presenter == Some(id) {
                    for change in show.look(id, entry, health, now) {
                        entry.timeline.add(now, Happening::Alarm(change.alarm.kind.word(), change.on));
                        self.journal.tell(Some(&stream), &News::Alarm(&change));
                    }
                }
            }
            Notice::Flow { flows, .. } => entry.timeline.add(now, Happening::Flow(*flows)),
            Notice::OnAir { .. } => entry.timeline.add(now, Happening::OnAir),
            Notice::Unplayable { .. } => entry.timeline.add(now, Happening::Unplayable),
            Notice::Layers { kind: Kind::Audio, .. }
            | Notice::Playing { kind: Kind::Audio, .. }
            | Notice::Closed { .. } => {}
        }
    }

    /// How a stream stands now by the directory.
    pub(super) fn follow(&self, stream: &StreamName, view: Option<&StreamView>, grace: Duration, now: Instant) {
        let state = &mut *self.state();
        let watching = view.map_or(0, |view| view.viewers);
        if view.is_none() && !state.shows.contains_key(stream) {
            return;
        }
        let show = state.shows.entry(stream.clone()).or_insert_with(|| Show::new(now));
        let presenter = view.and_then(|view| view.presenter);
        for change in show.follow(presenter, watching, grace, now) {
            change.tell(&self.journal, stream, show);
        }
        // A presenter that was silent for longer than the grace time, or stood by, has sent its first packet before.
        let sends = |id: &SessionId| state.sessions.get(id).is_some_and(|entry| entry.codecs != [None; 2]);
        let begins = presenter.filter(sends).is_some_and(|id| show.begin(stream, id, now));
        if let Some(report) = show.finished.take()
            && let Some(shelf) = self.shelf.get()
        {
            self.journal.tell(Some(stream), &News::Report(&report.id));
            shelf.put(report);
        }
        if show.is_forgettable() {
            state.shows.remove(stream);
        }
        if begins {
            state.see(stream);
        }
    }

    /// Once a second: what viewers' numbers tell, and what the reports keep of it. Returns the streams to be followed.
    pub(super) fn tick(&self, now: Instant) -> Option<Vec<StreamName>> {
        let state = &mut *self.state();
        if now.saturating_duration_since(state.looked) < LOOK_AGAIN {
            return None;
        }
        state.looked = now;
        state.expire(now);
        for entry in state.sessions.values_mut().filter(|entry| entry.ended.is_none()) {
            let first = entry.look(now);
            if let Some(show) = state.shows.get_mut(&entry.stream).filter(|_| entry.role == Role::Viewer) {
                show.first(entry.created, first);
                show.sent(&entry.account());
            }
        }
        for (name, show) in &mut state.shows {
            if let Some(watching) = show.count() {
                self.journal.tell(Some(name), &News::Viewers(watching));
            }
            if let (Some(report), Some(shelf)) = (show.sample(now), self.shelf.get()) {
                shelf.put(report);
            }
        }
        Some(state.shows.keys().cloned().collect())
    }

    /// The report of that name, of a broadcast that lasts, as far as it is.
    pub(super) fn growing(&self, id: &str, now: Instant) -> Option<Report> {
        self.state().shows.values().find_map(|show| show.growing(id, now))
    }

    /// All broadcasts end now: the process does.
    pub(super) fn close(&self, now: Instant) {
        let state = &mut *self.state();
        let Some(shelf) = self.shelf.get() else {
            return;
        };
        let mut last = Vec::new();
        for (stream, show) in &mut state.shows {
            if let Some(report) = show.finish(now) {
                self.journal.tell(Some(stream), &News::Report(&report.id));
                last.push(report);
            }
        }
        shelf.close(last);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything in it can panic; and what stands here decides nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A session as those who run the show see it.
    fn person(&self, id: SessionId) -> Option<Person> {
        let entry = self.sessions.get(&id)?;
        Some(Person::of(id, entry, self.codecs(&entry.stream)))
    }

    /// What the presenter of a stream sends.
    fn codecs(&self, stream: &StreamName) -> [Option<&'static str>; 2] {
        let presenter = self.shows.get(stream).and_then(|show| show.presenter);
        presenter.and_then(|id| self.sessions.get(&id)).map(|presenter| presenter.codecs).unwrap_or_default()
    }

    /// Whoever watches a broadcast that begins.
    fn see(&mut self, stream: &StreamName) {
        if let Some(show) = self.shows.get_mut(stream) {
            let there = self.sessions.values().filter(|entry| entry.is_watching() && entry.stream == *stream);
            there.for_each(|entry| show.seen(&entry.about));
        }
    }

    /// Forgets sessions that have been over for long.
    fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.over.front().copied()
            && (self.over.len() > MOST_OVER || now.saturating_duration_since(at) >= REMEMBERED)
        {
            self.over.pop_front();
            self.short.remove(&ShortId::of(id));
            if let Some(mut entry) = self.sessions.remove(&id) {
                self.described_bytes -= entry.about.forget();
            }
        }
        // One that stays for months would hold the names of all who came after it here. Looked through this rarely it
        // costs a session that leaves next to nothing.
        if self.described.len() > 2 * self.sessions.len() {
            let sessions = &self.sessions;
            self.described.retain(|id| sessions.contains_key(id));
        }
    }
}

impl Control {
    /// The records follow a session's stream.
    pub(super) fn follow(&self, id: SessionId, now: Instant) {
        if let Some(view) = self.session(id) {
            self.follow_stream(&view.stream, now);
        }
    }

    /// The records follow a stream.
    pub(super) fn follow_stream(&self, stream: &StreamName, now: Instant) {
        let grace = self.policies.of(stream).map(|policy| policy.grace).unwrap_or_default();
        self.records.follow(stream, self.directory.stream(stream).as_ref(), grace, now);
    }

    /// Once a second the records look at everybody.
    pub(super) fn look(&self, now: Instant) {
        self.capacity.tick(now);
        for stream in self.records.tick(now).unwrap_or_default() {
            self.follow_stream(&stream, now);
        }
    }

    /// The process ends: what is known is written down.
    pub fn close_records(&self) {
        self.records.close(Instant::now());
    }

    /// Since when the records are kept.
    pub fn began(&self) -> Instant {
        self.records.began
    }

    /// Can there be a stream of that name?
    pub fn can_be(&self, stream: &StreamName) -> bool {
        self.policies.of(stream).is_some()
    }

    /// Says who made a session, for those who run the show.
    pub fn describe(&self, id: SessionId, about: About) {
        self.records.describe(id, about);
    }

    /// A session's resource was asked for something.
    pub fn asked(&self, id: SessionId, method: &'static str, resource: &'static str, status: u16) {
        self.records.asked(id, method, resource, status);
    }

    /// Which session is called that.
    pub fn called(&self, short: ShortId) -> Option<SessionId> {
        self.records.state().short.get(&short).copied()
    }

    /// A session as those who run the show see it, for a while also when it is over.
    pub fn person(&self, id: SessionId) -> Option<Person> {
        self.records.state().person(id)
    }

    /// Open sessions, of all streams or of one, the oldest first.
    pub fn persons(&self, stream: Option<&StreamName>) -> Vec<Person> {
        let state = self.records.state();
        let open = state.sessions.iter().filter(|(_, entry)| entry.ended.is_none());
        let wanted = open.filter(|(_, entry)| stream.is_none_or(|stream| entry.stream == *stream));
        let mut persons: Vec<_> =
            wanted.map(|(id, entry)| Person::of(*id, entry, state.codecs(&entry.stream))).collect();
        drop(state);
        persons.sort_by_key(|person| (person.created, person.id));
        persons
    }

    /// Presenters and viewers that are connected.
    pub fn connected(&self) -> [usize; 2] {
        let state = self.records.state();
        let connected = state.sessions.values().filter(|entry| entry.is_connected());
        let mut counts = [0, 0];
        connected.for_each(|entry| counts[usize::from(entry.role == Role::Viewer)] += 1);
        counts
    }

    /// How a stream is doing.
    pub fn status(&self, name: &StreamName) -> StreamStatus {
        let view = self.stream(name);
        self.status_of(name, view.as_ref(), Instant::now())
    }

    /// How all streams are doing that somebody presents or watches, or did so a short while ago; by name.
    pub fn statuses(&self) -> Vec<StreamStatus> {
        let (views, now) = (self.streams(), Instant::now());
        let mut names: Vec<StreamName> = self.records.state().shows.keys().cloned().collect();
        names.extend(views.iter().map(|view| view.name.clone()));
        names.sort_unstable();
        names.dedup();
        let view = |name: &StreamName| views.binary_search_by(|view| view.name.cmp(name)).ok().map(|at| &views[at]);
        names.iter().map(|name| self.status_of(name, view(name), now)).collect()
    }

    fn status_of(&self, name: &StreamName, view: Option<&StreamView>, now: Instant) -> StreamStatus {
        let state = self.records.state();
        let show = state.shows.get(name);
        let entry = view.and_then(|view| view.presenter);
        let entry = entry.and_then(|id| state.sessions.get(&id).map(|entry| (id, &**entry)));
        let mut status = StreamStatus::of(name, view, show, entry, self.policies.watch_is_open(name), now);
        drop(state);
        status.room = status.packets_per_viewer.and_then(|rate| self.room(name, rate));
        status
    }
}

/// A fixed word.
pub fn role_word(role: Role) -> &'static str {
    super::meters::word(role)
}

/// Between two looks at everybody's numbers.
const LOOK_AGAIN: Duration = Duration::from_millis(900);
/// Sessions that are over are remembered for so long,
const REMEMBERED: Duration = Duration::from_hours(1);
/// and so many of them; about 3 KiB each.
const MOST_OVER: usize = 512;
/// Of the offers and answers that are kept: those of the latest hundred or so, which are what is asked for.
const DESCRIBED_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_does_not_keep_the_names_of_all_who_came_after() {
        let (records, stream, at) = (Records::new(), "live".parse().expect("a name"), Instant::now());
        let began = Began { role: Role::Viewer, stream: &stream, subject: None, takes: [true; 2], at };
        let about = || About { offer: Some("v=0".into()), ..About::default() };
        records.began(SessionId(0), began);
        records.describe(SessionId(0), about());

        for n in 1..10 * MOST_OVER as u128 {
            records.began(SessionId(n << 64), began);
            records.describe(SessionId(n << 64), about());
            records.ended(SessionId(n << 64), CloseReason::Deleted, at);
        }

        let state = records.state();
        assert!(state.described.len() <= 2 * state.sessions.len(), "{}", state.described.len());
        assert_eq!(state.described_bytes, 3 * state.sessions.len());
    }
}
