//! Streams, sessions, permissions: who may do what, and who is doing it now.

mod admission;
pub mod alarms;
mod arrivals;
pub mod auth;
pub mod awaited;
pub mod capacity;
pub mod counter;
mod directory;
pub mod events;
pub mod ice_servers;
mod identity;
mod ids;
pub mod journal;
pub mod layers;
pub mod limits;
pub mod links;
mod meters;
mod patch;
pub mod records;
pub mod reports;
mod seats;
pub mod stream;
pub mod timeline;
pub mod tokens;
mod tombstones;
pub mod wall;
pub mod webhooks;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::layer::LayerChoice;
use crate::media::{CloseReason, Notice, Restart, Role, SessionId, SessionSpec, Summary};
use crate::metrics::Metrics;
use crate::net::{Full, Handle};
use crate::wire::sdp::{Codec, Fingerprint, Kind, Offer, Refusal, answer_presenter, answer_viewer};

pub use admission::{OpenError, Opened};
use auth::Identity;
use awaited::Presented;
use capacity::Capacity;
use counter::Counters;
use directory::{Closing, Directory};
use events::Board;
use limits::Limits;
use meters::Meters;
pub use patch::{EtagPolicy, PatchError, Patched, Precondition};
use records::Records;
use stream::{Policies, StreamName};
use tombstones::Departed;

/// The control plane. One per process, shared.
#[derive(Debug)]
pub struct Control {
    media: Box<dyn MediaPlane>,
    candidates: Vec<SocketAddr>,
    policies: Arc<Policies>,
    directory: Directory,
    counters: Counters,
    limits: Limits,
    meters: Meters,
    records: Records,
    capacity: Capacity,
}

/// Settings of the control plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses that clients reach the media socket at, the best first; never empty.
    pub candidates: Vec<SocketAddr>,
    /// How streams are run.
    pub policies: Arc<Policies>,
    /// Most sessions at once. The last few places are for presenters.
    pub max_sessions: usize,
    /// Most viewers of one address who have their answer and are not connected yet.
    pub max_unconnected_per_address: usize,
}

/// What control needs of the media plane. No call blocks, none calls back.
pub trait MediaPlane: fmt::Debug + Send + Sync {
    /// Parks a session until its client comes; a `Closed` notice follows some day.
    /// # Errors
    /// `Full`; no notice follows then.
    fn open(&self, spec: SessionSpec) -> Result<(), Full>;
    /// Begins an ICE restart.
    /// # Errors
    /// `Full` when that is not possible now; nothing has changed then.
    fn restart(&self, restart: Restart) -> Result<(), Full>;
    /// Sets which layers a connected viewer gets. `false` when that is not possible now.
    fn choose_layer(&self, session: SessionId, kind: Kind, choice: LayerChoice) -> bool;
    /// Ends a session; a `Closed` notice follows. Unknown sessions are ignored.
    fn close(&self, session: SessionId, reason: CloseReason);
    /// Ends all sessions.
    fn close_all(&self, reason: CloseReason);
    /// SHA-256 of our DTLS certificate.
    fn fingerprint(&self) -> &Fingerprint;
}

impl MediaPlane for Handle {
    fn open(&self, spec: SessionSpec) -> Result<(), Full> {
        Handle::open(self, spec)
    }

    fn restart(&self, restart: Restart) -> Result<(), Full> {
        Handle::restart(self, restart)
    }

    fn choose_layer(&self, session: SessionId, kind: Kind, choice: LayerChoice) -> bool {
        Handle::choose_layer(self, session, kind, choice)
    }

    fn close(&self, session: SessionId, reason: CloseReason) {
        Handle::close(self, session, reason);
    }

    fn close_all(&self, reason: CloseReason) {
        Handle::close_all(self, reason);
    }

    fn fingerprint(&self) -> &Fingerprint {
        Handle::fingerprint(self)
    }
}

/// A session as others may see it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Presenter or viewer.
    pub role: Role,
    /// Its stream.
    pub stream: StreamName,
    /// Who made it; `None` for an anonymous viewer.
    pub subject: Option<String>,
    /// Entity-tag of its ICE session.
    pub etag: String,
    /// Keys are agreed.
    pub connected: bool,
    /// When it was made.
    pub created: Instant,
}

/// A stream as others may see it.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// Its name.
    pub name: StreamName,
    /// Somebody presents and is connected.
    pub live: bool,
    /// Viewers connected now.
    pub viewers: usize,
    /// Watching needs no token.
    pub open: bool,
    /// Who presents and is connected, whether or not something comes of it now.
    pub presenter: Option<SessionId>,
}

impl Control {
    /// Nobody is here yet.
    /// # Errors
    /// When its metrics are registered already: there is one control plane per process.
    pub fn new(
        media: impl MediaPlane + 'static,
        settings: Settings,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, prometheus::Error> {
        Ok(Arc::new(Self {
            media: Box::new(media),
            candidates: settings.candidates,
            directory: Directory::new(
                settings.max_sessions,
                settings.max_unconnected_per_address,
                Arc::clone(&settings.policies),
            ),
            policies: settings.policies,
            counters: Counters::default(),
            limits: Limits::default(),
            meters: Meters::register(&metrics.registry)?,
            records: Records::new(),
            capacity: Capacity::new(metrics.workers()),
        }))
    }

    /// Makes a presenter's session; takes over a session of the same identity.
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub fn present(self: &Arc<Self>, stream: &StreamName, who: &Identity, offer: &str) -> Result<Opened, OpenError> {
        let offer = Offer::parse(offer)?;
        if let Some(section) = offer.foreign_section().filter(|_| self.policies.whole_offers) {
            let why = format!("{section} is neither audio nor video (streams.whole_offers = false takes the rest)");
            return Err(Refusal::Unsupported(why).into());
        }
        self.seat(stream, who, |local| answer_presenter(&offer, local))
    }

    /// Makes a viewer's session; `from` is where its request came from.
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub fn watch(
        self: &Arc<Self>,
        stream: &StreamName,
        who: Option<&Identity>,
        from: IpAddr,
        offer: &str,
    ) -> Result<Opened, OpenError> {
        let offer = Offer::parse(offer)?;
        self.admit(stream, who, from, |local, shape| answer_viewer(&offer, local, shape))
    }

    /// Looks a session up. The id is the capability; a tombstone is not found here.
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        self.directory.session(id).or_else(|| self.counters.view(id, Instant::now()))
    }

    /// Why a session ended a short while ago, if somebody wanted it so: its client is not to come back by itself.
    pub fn wanted_end(&self, id: SessionId) -> Option<CloseReason> {
        self.directory.inscription(id)
    }

    /// Ends a session. `false` when it never was or is long gone; `true` also for one that ended within the last
    /// minute, so that a repeated DELETE succeeds.
    pub fn close(&self, id: SessionId, reason: CloseReason) -> bool {
        let now = Instant::now();
        if self.counters.withdraw(id, now) {
            return true;
        }
        match self.directory.close(id, now) {
            Closing::Now(departed) => {
                // First of all: its client may be asking at this moment.
                if reason == CloseReason::Kicked {
                    self.directory.inscribe(id, reason);
                }
                self.ended(id, &departed, reason);
                self.media.close(id, reason);
                true
            }
            Closing::Before => true,
            Closing::Never => false,
        }
    }

    /// Ends all sessions. Their places are freed as their notices come.
    pub fn close_all(&self, reason: CloseReason) {
        self.media.close_all(reason);
    }

    /// Every stream with a presenter or viewers, by name.
    pub fn streams(&self) -> Vec<StreamView> {
        self.directory.streams()
    }

    /// One stream; `None` when nobody presents or watches it.
    pub fn stream(&self, name: &StreamName) -> Option<StreamView> {
        self.directory.stream(name)
    }

    /// Sessions open now.
    pub fn sessions(&self) -> usize {
        self.directory.counts().0
    }

    /// How much one client may ask for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes in what a worker tells.
    pub fn notice(&self, notice: Notice) {
        let now = Instant::now();
        self.records.notice(&notice, now);
        match notice {
            Notice::Connected { session, .. } => {
                if let Some((role, after)) = self.directory.connected(session, now) {
                    self.meters.connected(role, after);
                    self.follow(session, now);
                    self.remind(session);
                    tracing::debug!(?session, role = meters::word(role), ?after, "session connected");
                }
            }
            // Sound has one layer; numbers and steps are for the records.
            Notice::Step { .. }
            | Notice::Vitals { .. }
            | Notice::Health { .. }
            | Notice::Layers { kind: Kind::Audio, .. }
            | Notice::Playing { kind: Kind::Audio, .. } => {}
            Notice::Layers { session, kind: Kind::Video, layers } => self.directory.layers(session, layers, now),
            Notice::Playing { session, kind: Kind::Video, playing } => self.directory.playing(session, playing),
            Notice::Started { session, kind, format } => self.directory.started(session, kind, format),
            Notice::Flow { session, flows } => self.directory.flow(session, flows),
            Notice::OnAir { session } => {
                self.directory.on_air(session, now);
                self.follow(session, now);
            }
            Notice::Unplayable { session } => self.directory.part(session, CloseReason::Unplayable, now),
            Notice::Closed { session, reason, summary } => {
                let (closing, departed) = self.directory.closed(session, now);
                if let Closing::Now(departed) = &closing {
                    self.ended(session, departed, reason);
                }
                if let Some(departed) = departed {
                    self.summarize(session, &departed, reason, &summary);
                }
            }
        }
    }

    /// Who presents, by stream: what has to outlive the process.
    pub fn presented(&self) -> Vec<Presented> {
        self.directory.presented()
    }

    /// Expects those back who presented when the server ended; `age` is how long ago that is.
    pub fn expect(&self, all: Vec<Presented>, age: Duration, now: Instant) {
        self.directory.expect(all, age, now);
    }

    /// No new sessions from now on; viewers are told to look for another server.
    pub fn drain(&self) {
        self.directory.drain();
        self.directory.boards(Board::reconnect);
    }

    /// Does what is due by the clock. To be called several times a second.
    pub fn tick(&self, now: Instant) {
        self.directory.boards(|board| board.tick(now));
        for (session, reason) in self.directory.parted(now) {
            self.close(session, reason);
        }
        self.look(now);
    }

    /// Ready for new sessions.
    pub fn is_ready(&self) -> bool {
        self.directory.is_ready()
    }

    /// Counts an end, once per session.
    fn ended(&self, id: SessionId, departed: &Departed, reason: CloseReason) {
        let now = Instant::now();
        self.records.ended(id, reason, now);
        self.follow_stream(&departed.stream, now);
        self.meters.ended(departed.role, reason);
        self.meters.streams(self.directory.counts().1);
    }

    /// The one line that a session leaves behind.
    fn summarize(&self, session: SessionId, departed: &Departed, reason: CloseReason, summary: &Summary) {
        self.records.summary(session, summary, Instant::now());
        if let Some(after) = summary.media_after {
            self.meters.first_media(departed.role, after);
        }
        tracing::info!(
            ?session,
            stream = %departed.stream,
            role = meters::word(departed.role),
            reason = reason.word(),
            seconds = summary.lasted.as_secs(),
            connected_ms = summary.connected_after.map(|after| after.as_millis() as u64),
            packets = summary.packets,
            bytes = summary.bytes,
            lost = summary.lost,
            resent = summary.resent,
            "session ended"
        );
    }
}

/// A codec's name as people write it, in lower case.
pub fn codec_word(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::G722 => "g722",
        Codec::Pcmu => "pcmu",
        Codec::Pcma => "pcma",
        Codec::H264 => "h264",
        Codec::H265 => "h265",
        Codec::Vp8 => "vp8",
        Codec::Vp9 => "vp9",
        Codec::Av1 => "av1",
    }
}

#[cfg(test)]
mod tests;
