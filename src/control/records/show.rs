//! One stream in the records: is it live, who presents, what is wrong, and the report that grows meanwhile.

use std::time::{Duration, Instant};

use super::person::{About, Entry, First, Person, ShortId};
use crate::control::StreamView;
use crate::control::alarms::{self, Alarm, AlarmKind, Change, Watchman};
use crate::control::journal::{Journal, News};
use crate::control::reports::{Draft, Report, Traffic};
use crate::control::stream::StreamName;
use crate::media::health::Health;
use crate::media::layer::LayerInfo;
use crate::media::{Role, SessionId};
use crate::wire::sdp::{Codec, Format, Kind};

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Somebody presents.
    Live,
    /// The presenter has left a short while ago and may come back.
    Grace,
    /// Nobody presents.
    Idle,
}

impl Stage {
    /// A fixed word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Grace => "grace",
            Self::Idle => "idle",
        }
    }
}

/// How a stream is doing.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: StreamName,
    /// How far it is.
    pub stage: Stage,
    /// Since when it is so far; `None` when it has not been live lately.
    pub since: Option<Instant>,
    /// Watching needs no token.
    pub open: bool,
    /// Who presents.
    pub presenter: Option<PresenterStatus>,
    /// Viewers connected now.
    pub viewers: usize,
    /// The most of them in this broadcast.
    pub peak: usize,
    /// As many as there were all the time of it.
    pub average: f64,
    /// What is wrong.
    pub alarms: Vec<Alarm>,
    /// The report that will be made of this broadcast.
    pub report: Option<String>,
    /// Packets a second that one viewer gets.
    pub packets_per_viewer: Option<f64>,
    /// How many more viewers the machine would hold, when that can be told.
    pub room: Option<u64>,
}

/// How a presenter is doing.
#[derive(Clone, Debug)]
pub struct PresenterStatus {
    /// Its session.
    pub person: Person,
    /// What it sends for the ears.
    pub audio: Option<Sound>,
    /// What it sends for the eyes.
    pub video: Option<Picture>,
    /// Bits per second, of everything.
    pub bitrate: f64,
    /// Share of its packets that did not come, 0–1.
    pub loss: f64,
}

/// What a presenter sends for the ears.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Its codec.
    pub codec: Option<&'static str>,
    /// The loudest level of the last second in dBov, −127–0, when it says so.
    pub level: Option<i8>,
    /// Nothing has been heard for so long.
    pub silent: Duration,
}

/// What a presenter sends for the eyes.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its codec.
    pub codec: Option<&'static str>,
    /// Its layers, with frames a second of their encodings.
    pub layers: Vec<(LayerInfo, f64)>,
    /// Between the last two key frames.
    pub key_interval: Option<Duration>,
    /// There are B-frames.
    pub has_b_frames: bool,
    /// It does not change.
    pub is_frozen: bool,
}

/// What is known of a stream.
#[derive(Debug)]
pub(super) struct Show {
    stage: Stage,
    since: Instant,
    pub(super) presenter: Option<SessionId>,
    /// Codec of the sound.
    sound: Option<Codec>,
    watchman: Watchman,
    watching: usize,
    /// What readers were told last.
    told: usize,
    draft: Option<Draft>,
    pub(super) finished: Option<Report>,
}

/// What has changed with a stream.
#[derive(Debug)]
pub(super) enum Turn {
    Stage(Stage),
    Alarm(Change),
}

impl Turn {
    pub(super) fn tell(&self, journal: &Journal, stream: &StreamName, show: &Show) {
        match self {
            Self::Stage(stage) => journal.tell(Some(stream), &News::Stream(*stage, show.presenter)),
            Self::Alarm(change) => journal.tell(Some(stream), &News::Alarm(change)),
        }
    }
}

impl Show {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stage: Stage::Idle,
            since: now,
            presenter: None,
            sound: None,
            watchman: Watchman::default(),
            watching: 0,
            told: 0,
            draft: None,
            finished: None,
        }
    }

    /// How it stands by the directory.
    pub(super) fn follow(
        &mut self,
        presenter: Option<SessionId>,
        watching: usize,
        grace: Duration,
        now: Instant,
    ) -> Vec<Turn> {
        self.watching = watching;
        if let Some(draft) = &mut self.draft {
            draft.watching(watching, now);
        }
        let mut turns = Vec::new();
        if presenter != self.presenter {
            self.presenter = presenter;
            turns.extend(self.watchman.leave().into_iter().map(Turn::Alarm));
            for turn in &turns {
                self.note(turn, now);
            }
            if let (Some(id), Some(draft)) = (presenter, &mut self.draft) {
                draft.presenter_came(ShortId::of(id), now);
            }
            self.enter(if presenter.is_some() { Stage::Live } else { Stage::Grace }, now, &mut turns);
        } else if self.stage == Stage::Grace && now.saturating_duration_since(self.since) >= grace.max(SETTLED) {
            self.finished = self.draft.take().map(|draft| draft.finish(now, false));
            self.enter(Stage::Idle, now, &mut turns);
        }
        turns
    }

    fn enter(&mut self, stage: Stage, now: Instant, turns: &mut Vec<Turn>) {
        if self.stage != stage {
            (self.stage, self.since) = (stage, now);
        }
        // A takeover is news as well.
        turns.push(Turn::Stage(stage));
    }

    fn note(&mut self, turn: &Turn, now: Instant) {
        if let (Turn::Alarm(change), Some(draft)) = (turn, &mut self.draft) {
            draft.alarm(change, now);
        }
    }

    /// A session of it has been made.
    pub(super) fn joined(&mut self, role: Role) {
        if let (Role::Viewer, Some(draft)) = (role, &mut self.draft) {
            draft.joined();
        }
    }

    /// A viewer is somebody.
    pub(super) fn seen(&mut self, about: &About) {
        if let Some(draft) = &mut self.draft {
            draft.seen(about.address, about.user_agent.as_deref());
        }
    }

    /// A session of it is connected.
    pub(super) fn connected(&mut self, entry: &Entry) {
        if let (Role::Viewer, Some(draft)) = (entry.role, &mut self.draft) {
            draft.connected();
            draft.seen(entry.about.address, entry.about.user_agent.as_deref());
        }
    }

    /// A session of it is over.
    pub(super) fn left(&mut self, id: SessionId, entry: &Entry, now: Instant) {
        if let (Role::Presenter, Some(draft)) = (entry.role, &mut self.draft) {
            draft.presenter_left(ShortId::of(id), entry.ended.map(|(_, reason)| reason), now);
        }
    }

    /// What a session of it did in all is known.
    pub(super) fn summed(&mut self, id: SessionId, entry: &mut Entry, now: Instant) {
        let (first, more) = (entry.look(now), entry.account());
        match entry.role {
            Role::Viewer => {
                self.first(entry.created, first);
                self.sent(&more);
            }
            Role::Presenter => {
                if let Some(draft) = &mut self.draft {
                    draft.presenter_over(ShortId::of(id), &more, entry.was_on_air);
                }
            }
        }
    }

    /// So much more has been sent to viewers.
    pub(super) fn sent(&mut self, more: &Traffic) {
        if let Some(draft) = &mut self.draft {
            draft.sent(more);
        }
    }

    /// The presenter sends this.
    pub(super) fn started(&mut self, kind: Kind, format: &Format) {
        if kind == Kind::Audio {
            self.sound = Some(format.codec);
        }
    }

    /// Something comes from the presenter: a broadcast begins, or goes on. `true` when it begins.
    pub(super) fn begin(&mut self, name: &StreamName, id: SessionId, now: Instant) -> bool {
        if self.presenter != Some(id) {
            return false;
        }
        let begins = self.draft.is_none();
        self.draft.get_or_insert_with(|| Draft::new(name, self.watching, now)).presenter_came(ShortId::of(id), now);
        begins
    }

    /// Takes in how the presenter is doing.
    pub(super) fn look(&mut self, id: SessionId, entry: &Entry, health: &Health, now: Instant) -> Vec<Change> {
        let changes = self.watchman.look(health, self.sound, now);
        if let Some(draft) = &mut self.draft {
            for change in &changes {
                draft.alarm(change, now);
            }
            draft.presented(&Person::of(id, entry, entry.codecs), health);
        }
        changes
    }

    /// First packets of a viewer, whose session was made then, were seen.
    pub(super) fn first(&mut self, created: Instant, first: First) {
        if let Some(draft) = &mut self.draft {
            draft.first(created, first.media, first.picture);
        }
    }

    /// How many watch, if readers were told another number.
    pub(super) fn count(&mut self) -> Option<usize> {
        let changed = self.told != self.watching;
        self.told = self.watching;
        changed.then_some(self.watching)
    }

    /// Once a second; what is to be kept of the report in case that the process ends.
    pub(super) fn sample(&mut self, now: Instant) -> Option<Report> {
        self.draft.as_mut()?.sample(now)
    }

    /// The report that grows, if that is its name.
    pub(super) fn growing(&self, id: &str, now: Instant) -> Option<Report> {
        self.draft.as_ref().filter(|draft| draft.id() == id).map(|draft| draft.so_far(now))
    }

    /// The process ends.
    pub(super) fn finish(&mut self, now: Instant) -> Option<Report> {
        self.draft.take().map(|draft| draft.finish(now, false))
    }

    /// Nothing of it is left.
    pub(super) fn is_forgettable(&self) -> bool {
        self.stage == Stage::Idle && self.watching == 0 && self.draft.is_none() && self.finished.is_none()
    }
}

impl StreamStatus {
    pub(super) fn of(
        name: &StreamName,
        view: Option<&StreamView>,
        show: Option<&Show>,
        presenter: Option<(SessionId, &Entry)>,
        open: bool,
        now: Instant,
    ) -> Self {
        let viewers = view.map_or(0, |view| view.viewers);
        let live = view.is_some_and(|view| view.live);
        let draft = show.and_then(|show| show.draft.as_ref());
        let stage = match show.map_or(Stage::Idle, |show| show.stage) {
            _ if live => Stage::Live,
            // The records follow in a moment.
            Stage::Live => Stage::Grace,
            other => other,
        };
        Self {
            name: name.clone(),
            stage,
            since: show.filter(|show| show.stage != Stage::Idle).map(|show| show.since),
            open,
            presenter: presenter.map(|(id, entry)| PresenterStatus::of(id, entry, show, now)),
            viewers,
            peak: draft.map_or(0, Draft::peak).max(viewers),
            average: draft.map_or(viewers as f64, |draft| draft.average(now)),
            alarms: show.map(|show| show.watchman.alarms().cloned().collect()).unwrap_or_default(),
            report: draft.map(|draft| draft.id().to_owned()),
            packets_per_viewer: presenter.and_then(|(_, entry)| entry.pace).filter(|rate| *rate >= 1.0),
            room: None,
        }
    }
}

impl PresenterStatus {
    fn of(id: SessionId, entry: &Entry, show: Option<&Show>, now: Instant) -> Self {
        let person = Person::of(id, entry, entry.codecs);
        let health = person.health.unwrap_or_default();
        let is_on = |kind| show.is_some_and(|show| show.watchman.is_on(kind));
        let [audio, video] = person.codecs;
        let sound = |codec| Sound {
            codec: Some(codec),
            level: health.audio.and_then(|audio| audio.loudest).map(|level| -level.min(127).cast_signed()),
            silent: show.map(|show| show.watchman.silent_for(now)).unwrap_or_default(),
        };
        let seconds = health.interval.as_secs_f64().max(0.001);
        let frames = |layer: u8| health.frames.get(usize::from(layer)).copied().unwrap_or(0);
        // Layers are told where there is a choice; a plain video is one of its own.
        let plain = health.video.filter(|_| entry.layers.is_empty()).map(|video| LayerInfo {
            layer: 0,
            rid: None,
            spatial: None,
            temporal: None,
            bitrate: (f64::from(video.bytes) * 8.0 / seconds) as u64,
            width: video.size.map(|(width, _)| width),
            height: video.size.map(|(_, height)| height),
        });
        let layers = entry.layers.iter().cloned().chain(plain);
        let layers = layers.map(|info| (f64::from(frames(info.layer)) / seconds, info)).map(|(fps, info)| (info, fps));
        let picture = |codec| Picture {
            codec: Some(codec),
            layers: layers.collect(),
            key_interval: health.video.and_then(|video| video.key_interval),
            has_b_frames: is_on(AlarmKind::BFrames),
            is_frozen: is_on(AlarmKind::Frozen) || is_on(AlarmKind::NoVideo),
        };
        Self {
            audio: audio.map(sound),
            video: video.map(picture),
            bitrate: alarms::bitrate(&health),
            loss: alarms::lost(&health),
            person,
        }
    }
}

/// Until the last numbers of viewers are there for the report, which are told every two seconds.
const SETTLED: Duration = Duration::from_secs(3);
