//! What viewers are told about their stream while they watch (WHEP core extensions, server-sent events).
//!
//! A stream has one [`Board`] on which the latest events stand. Readers hold nothing but their place on it, so a slow one
//! costs no memory: it catches up, or finds out that it is too late and is told how things stand now.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::media::SessionId;
use crate::media::layer::LayerInfo;

use super::layers::Video;
use super::{Control, ids};

/// What kinds of events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Somebody presents.
    Active,
    /// Nobody presents any more.
    Inactive,
    /// What layers the video has.
    Layers,
    /// The viewer shall make a new session.
    Reconnect,
    /// How many watch.
    ViewerCount,
}

impl EventKind {
    /// All of them, in the order in which they are advertised.
    pub const ALL: [Self; 5] = [Self::Active, Self::Inactive, Self::Layers, Self::Reconnect, Self::ViewerCount];

    /// Its name in the extension.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Layers => "layers",
            Self::Reconnect => "reconnect",
            Self::ViewerCount => "viewercount",
        }
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or(())
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds(u8);

impl EventKinds {
    /// Every kind.
    pub fn all() -> Self {
        EventKind::ALL.into_iter().collect()
    }

    fn holds(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// Something that viewers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody presents.
    Active,
    /// Nobody presents any more.
    Inactive,
    /// The video has these layers now.
    Layers(Arc<[LayerInfo]>),
    /// Make a new session: this one ends soon.
    Reconnect,
    /// So many watch.
    ViewerCount(usize),
}

impl Event {
    /// Of which kind it is.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Active => EventKind::Active,
            Self::Inactive => EventKind::Inactive,
            Self::Layers(_) => EventKind::Layers,
            Self::Reconnect => EventKind::Reconnect,
            Self::ViewerCount(_) => EventKind::ViewerCount,
        }
    }

    /// Of these only the latest says anything.
    fn is_state(&self) -> bool {
        match self {
            Self::Layers(_) | Self::ViewerCount(_) => true,
            Self::Active | Self::Inactive | Self::Reconnect => false,
        }
    }
}

/// What is told about one stream.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    live: bool,
    viewers: usize,
    /// The last count on the board, and when it was put there.
    told: (usize, Option<Instant>),
    /// Empty while nobody presents.
    layers: Arc<[LayerInfo]>,
    /// When `layers` have to be on the board, if they are not.
    layers_due: Option<Instant>,
    /// Number of the newest event; 0 before the first.
    last: u64,
    /// Number of the newest event that no longer stands here though nothing newer replaces it.
    forgotten: u64,
    /// Numbers rise, with gaps.
    history: VecDeque<(u64, Event)>,
}

impl Board {
    /// An empty one.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// Somebody presents now, or nobody.
    pub(super) fn live(&self, live: bool) {
        let mut state = self.state();
        if state.live != live {
            state.live = live;
            (state.layers, state.layers_due) = (Arc::default(), None);
            let event = if live { Event::Active } else { Event::Inactive };
            self.put(&mut state, event);
        }
    }

    /// So many watch now. Told by the next [`Board::tick`] that finds it due.
    pub(super) fn viewers(&self, viewers: usize) {
        self.state().viewers = viewers;
    }

    /// The video has these layers now. That is told at once when there are others than before; when only their bit rates
    /// have changed, now and then.
    pub(super) fn layers(&self, layers: Vec<LayerInfo>, now: Instant) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.layers, layers.into());
        if same(&before, &state.layers) {
            let due = now + LAYERS_PAUSE * self.crowds();
            state.layers_due.get_or_insert(due);
        } else {
            self.put_layers(&mut state);
        }
    }

    /// The layers that the video has now.
    pub(super) fn layers_now(&self) -> Arc<[LayerInfo]> {
        Arc::clone(&self.state().layers)
    }

    /// Everybody shall make a new session.
    pub(super) fn reconnect(&self) {
        self.put(&mut self.state(), Event::Reconnect);
    }

    /// Puts a changed count on the board, at most once a second, and bit rates; the more seldom the more read them.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.state();
        let (told, at) = state.told;
        let pause = COUNT_PAUSE * self.crowds();
        if told != state.viewers && at.is_none_or(|at| now.saturating_duration_since(at) >= pause) {
            state.told = (state.viewers, Some(now));
            let event = Event::ViewerCount(state.viewers);
            self.put(&mut state, event);
        }
        if state.layers_due.is_some_and(|due| due <= now) {
            self.put_layers(&mut state);
        }
    }

    /// How many crowds there are to be told; at least one.
    fn crowds(&self) -> u32 {
        u32::try_from(self.changed.receiver_count() / CROWD).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn put_layers(&self, state: &mut State) {
        state.layers_due = None;
        let event = Event::Layers(Arc::clone(&state.layers));
        self.put(state, event);
    }

    fn put(&self, state: &mut State, event: Event) {
        if event.is_state() {
            state.history.retain(|(_, old)| old.kind() != event.kind());
        }
        if state.history.len() >= HISTORY
            && let Some((number, _)) = state.history.pop_front()
        {
            state.forgotten = number;
        }
        state.last += 1;
        state.history.push_back((state.last, event));
        self.changed.send_replace(());
    }

    /// The board. Each change is complete before anything in it can panic, so a poisoned lock still guards a good one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How things stand, for somebody who knows nothing. Nobody is told that nothing has begun yet.
    fn summary(&self) -> Vec<Event> {
        let active = self.live.then_some(Event::Active);
        let layers = (!self.layers.is_empty()).then(|| Event::Layers(Arc::clone(&self.layers)));
        active.into_iter().chain(layers).chain([Event::ViewerCount(self.viewers)]).collect()
    }

    /// How things stand, for somebody who has missed something.
    fn correction(&self) -> Vec<Event> {
        let inactive = (!self.live).then_some(Event::Inactive);
        inactive.into_iter().chain(self.summary()).collect()
    }
}

/// Names one event stream of a session: 128 random bits. Knowing it, and the session's, is the right to read it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventStreamId(u128);

impl fmt::Display for EventStreamId {
    /// 32 lower-case hex digits, as in its URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EventStreamId {
    /// The first four bytes, as of a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", (self.0 >> 96) as u32)
    }
}

impl FromStr for EventStreamId {
    type Err = ();

    /// Exactly 32 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<SessionId>().map(|id| Self(id.0))
    }
}

/// The event streams of one session. They end with it.
#[derive(Debug, Default)]
pub(super) struct EventStreams(VecDeque<EventStream>);

#[derive(Debug)]
struct EventStream {
    id: EventStreamId,
    kinds: EventKinds,
    /// How things stood when it was made.
    beginning: Vec<Event>,
    /// The newest event that `beginning` knows of.
    from: u64,
    /// Whose turn it is to read: a later reader replaces an earlier one. Without a sender the stream is over.
    turn: watch::Sender<Turn>,
}

/// What the readers of one event stream are told besides what stands on the board.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Grows with each reader.
    reader: u64,
    /// This session ends soon, whatever the others do.
    is_parting: bool,
}

impl EventStreams {
    /// Makes one; with too many of them the oldest ends.
    pub(super) fn create(&mut self, board: &Board, kinds: EventKinds) -> EventStreamId {
        if self.0.len() >= STREAMS_PER_SESSION {
            self.0.pop_front();
        }
        let id = EventStreamId(u128::from_be_bytes(ids::random()));
        let state = board.state();
        let (beginning, from) = (state.summary(), state.last);
        self.0.push_back(EventStream { id, kinds, beginning, from, turn: watch::Sender::default() });
        id
    }

    /// Reads one from its beginning, or on from the event that the reader saw last. `video`: index of the viewer's video
    /// section.
    pub(super) fn read(
        &self,
        board: &Arc<Board>,
        video: Option<usize>,
        id: EventStreamId,
        seen: Option<u64>,
    ) -> Option<Reader> {
        let stream = self.0.iter().find(|stream| stream.id == id)?;
        let state = board.state();
        let known = |number: &u64| (state.forgotten..=state.last).contains(number);
        let (beginning, place) = match seen.filter(|seen| *seen <= state.last) {
            Some(seen) if known(&seen) => (Vec::new(), seen),
            None if known(&stream.from) => (stream.beginning.clone(), stream.from),
            Some(_) | None => (state.correction(), state.last),
        };
        drop(state);
        stream.turn.send_modify(|turn| turn.reader += 1);
        let turn = stream.turn.subscribe();
        let mine = turn.borrow().reader;
        let changed = board.changed.subscribe();
        let (kinds, board) = (stream.kinds, Arc::clone(board));
        Some(Reader { kinds, beginning, place, board, changed, video, turn, mine, knows_of_parting: false })
    }

    /// Tells this session's readers to make a new one.
    pub(super) fn part(&self) {
        self.0.iter().for_each(|stream| stream.turn.send_modify(|turn| turn.is_parting = true));
    }

    /// Is there one of that name?
    pub(super) fn has(&self, id: EventStreamId) -> bool {
        self.0.iter().any(|stream| stream.id == id)
    }

    /// Ends one. `false` when there is none of that name.
    pub(super) fn remove(&mut self, id: EventStreamId) -> bool {
        let before = self.0.len();
        self.0.retain(|stream| stream.id != id);
        self.0.len() < before
    }
}

impl Control {
    /// Makes an event stream for a viewer's session; `None` when it is over or no viewer's.
    pub fn create_events(&self, session: SessionId, kinds: EventKinds) -> Option<EventStreamId> {
        self.directory.event_streams(session, |streams, board, _| streams.create(board, kinds))
    }

    /// Reads an event stream, on from the event that the reader saw last; `None` when there is no such stream.
    pub fn read_events(&self, session: SessionId, stream: EventStreamId, seen: Option<u64>) -> Option<Reader> {
        let read = |streams: &mut EventStreams, board: &Arc<Board>, video: Option<&Video>| {
            streams.read(board, video.map(|video| video.section), stream, seen)
        };
        self.directory.event_streams(session, read).flatten()
    }

    /// Is there such an event stream?
    pub fn has_events(&self, session: SessionId, stream: EventStreamId) -> bool {
        self.directory.event_streams(session, |streams, _, _| streams.has(stream)).unwrap_or(false)
    }

    /// Ends an event stream; `false` when there is no such stream.
    pub fn remove_events(&self, session: SessionId, stream: EventStreamId) -> bool {
        self.directory.event_streams(session, |streams, _, _| streams.remove(stream)).unwrap_or(false)
    }
}

/// Are these the same layers, but for their bit rates?
fn same(before: &[LayerInfo], now: &[LayerInfo]) -> bool {
    let fixed = |layer: &LayerInfo| LayerInfo { bitrate: u64::from(layer.bitrate > 0), ..layer.clone() };
    before.iter().map(fixed).eq(now.iter().map(fixed))
}

/// Whoever reads an event stream.
#[derive(Debug)]
pub struct Reader {
    kinds: EventKinds,
    beginning: Vec<Event>,
    /// The newest event that was read or passed over.
    place: u64,
    board: Arc<Board>,
    changed: watch::Receiver<()>,
    /// Index of the viewer's video section.
    video: Option<usize>,
    turn: watch::Receiver<Turn>,
    mine: u64,
    knows_of_parting: bool,
}

/// What a reader gets at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// In order; never empty.
    pub events: Vec<Event>,
    /// To go on after the last of them.
    pub number: u64,
    /// Index of the viewer's video section, which `Layers` are of.
    pub video: usize,
}

impl Reader {
    /// The next events; `None` when the stream is over. May be dropped while it waits; nothing is lost then.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            self.changed.mark_unchanged();
            let Turn { reader, is_parting } = *self.turn.borrow_and_update();
            if reader != self.mine {
                return None;
            }
            if let Some(news) = self.news() {
                return Some(news);
            }
            if is_parting
                && !std::mem::replace(&mut self.knows_of_parting, true)
                && self.kinds.holds(EventKind::Reconnect)
            {
                let video = self.video.unwrap_or_default();
                return Some(News { events: vec![Event::Reconnect], number: self.place, video });
            }
            tokio::select! {
                biased;
                // The board lives as long as this reader does.
                _ = self.changed.changed() => {}
                turn = self.turn.changed() => if turn.is_err() {
                    // The stream's last words may have come with its end.
                    return self.news();
                }
            }
        }
    }

    /// What came since the last time, as far as it is wanted.
    fn news(&mut self) -> Option<News> {
        let state = self.board.state();
        let mut events = std::mem::take(&mut self.beginning);
        if self.place < state.forgotten {
            events.extend(state.correction());
        } else {
            events.extend(state.history.iter().filter(|(n, _)| *n > self.place).map(|(_, event)| event.clone()));
        }
        self.place = state.last;
        // Who takes no video has no use for its layers.
        let of_use = |event: &Event| self.video.is_some() || event.kind() != EventKind::Layers;
        events.retain(|event| self.kinds.holds(event.kind()) && of_use(event));
        (!events.is_empty()).then_some(News { events, number: self.place, video: self.video.unwrap_or_default() })
    }
}

/// Between two counts.
const COUNT_PAUSE: Duration = Duration::from_secs(1);
/// Between two tellings of bit rates.
const LAYERS_PAUSE: Duration = Duration::from_secs(5);
/// So many readers are told once a second; twice as many every two seconds.
const CROWD: usize = 1_000;
/// Events that a reader may be behind.
const HISTORY: usize = 32;
/// A page needs one; a page that was reloaded may leave one behind.
const STREAMS_PER_SESSION: usize = 4;

#[cfg(test)]
mod tests;
