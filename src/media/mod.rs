//! One worker's state: sessions, tracks, fan-out, feedback. Sans-I/O: datagrams, commands, mail and time come in as
//! arguments, datagrams go out through an [`Outbox`](outbox::Outbox), news as [`Notice`]s.

pub mod bandwidth;
pub mod burst;
pub mod clock;
pub mod egress;
pub mod gate;
pub mod gop;
pub mod health;
pub mod ingress;
pub mod layer;
pub mod lineup;
pub mod lobby;
pub mod mail;
pub mod outbox;
pub mod packet;
pub mod session;
pub mod stream;
pub mod track;
pub mod viewer;
pub mod vitals;
pub mod worker;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::health::Health;
use self::layer::{LayerInfo, Playing};
use self::lineup::Lineup;
use self::vitals::Vitals;
use crate::peer::srtp::Profile;
use crate::wire::sdp::{Format, IceCredentials, Kind, Negotiated};

/// Names one session: 128 random bits. Knowing it is the right to end it, so it is never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    /// 32 lower-case hex digits, as in the session's URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    /// The first four bytes: enough to follow a session through a log, too little to end it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", (self.0 >> 96) as u32)
    }
}

impl FromStr for SessionId {
    type Err = ();

    /// Exactly 32 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let canonical = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(Self).map_err(drop)
    }
}

/// Names one stream inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// Which worker, from 0; at most 64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub u8);

/// Where a stream's packets come from and go to. Made once per stream by control, shared by all workers.
#[derive(Debug)]
pub struct Route {
    /// Which stream.
    pub stream: StreamId,
    /// Viewers see the last key frame while nobody presents.
    pub holds: bool,
    home: AtomicU32,
    outposts: AtomicU64,
    presentations: AtomicU64,
    lineup: Mutex<Lineup>,
}

impl Route {
    /// A route without presenter and viewers.
    pub fn new(stream: StreamId) -> Arc<Self> {
        Self::holding(stream, false)
    }

    /// The same; `holds`: viewers see the last key frame while nobody presents.
    pub fn holding(stream: StreamId, holds: bool) -> Arc<Self> {
        Arc::new(Self {
            stream,
            holds,
            home: AtomicU32::new(u32::MAX),
            outposts: AtomicU64::new(0),
            presentations: AtomicU64::new(0),
            lineup: Mutex::default(),
        })
    }

    /// The worker that owns the presenter.
    pub fn home(&self) -> Option<WorkerId> {
        u8::try_from(self.home.load(Ordering::Acquire)).ok().map(WorkerId)
    }

    /// Sets or clears the presenter's worker.
    pub fn set_home(&self, home: Option<WorkerId>) {
        self.home.store(home.map_or(u32::MAX, |w| w.0.into()), Ordering::Release);
    }

    /// A number for a new presenter, higher than all before it.
    pub fn next_presentation(&self) -> u64 {
        self.presentations.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Its presenters, where there can be several.
    pub fn lineup(&self) -> MutexGuard<'_, Lineup> {
        // Nothing in there panics half-way.
        self.lineup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers with viewers.
    pub fn outposts(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let bits = self.outposts.load(Ordering::Acquire);
        (0..64).filter(move |w| bits & (1 << w) != 0).map(WorkerId)
    }

    /// Says whether this worker has viewers of the stream.
    pub fn set_outpost(&self, worker: WorkerId, has_viewers: bool) {
        let bit = 1 << worker.0;
        if has_viewers {
            self.outposts.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.outposts.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// Which way a session's media flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends to us.
    Presenter,
    /// Receives from us.
    Viewer,
}

/// All that a worker needs to run a session.
#[derive(Debug)]
pub struct SessionSpec {
    /// Its name.
    pub id: SessionId,
    /// Presenter or viewer.
    pub role: Role,
    /// The stream that it belongs to.
    pub route: Arc<Route>,
    /// Our half of the ICE credentials.
    pub local_ice: IceCredentials,
    /// What offer and answer agreed on.
    pub negotiated: Negotiated,
    /// When the answer was made.
    pub created: Instant,
    /// A presenter's place among several; `None` for a viewer, and for the only presenter that there can be.
    pub standing: Option<Standing>,
}

/// A presenter's place among those of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Of those who send the one with the lowest is on air.
    pub rank: u8,
    /// How long it sends without a gap before it takes the place of one with a higher rank.
    pub back_after: Duration,
}

/// A client's ICE restart: the credentials of its new ICE session (RFC 9725 §4.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Which session.
    pub session: SessionId,
    /// Our new half.
    pub local: IceCredentials,
    /// The client's new half.
    pub remote: IceCredentials,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// DELETE on the session.
    Deleted,
    /// The client hung up before it got the answer.
    Abandoned,
    /// The same identity presents again.
    TakenOver,
    /// An operator ended it.
    Kicked,
    /// The link that it was made with was revoked.
    Revoked,
    /// The peer sent a DTLS close_notify or a fatal alert.
    PeerClosed,
    /// Nothing authentic came for 30 s.
    Silent,
    /// No connection within 15 s of the answer.
    NeverConnected,
    /// Nobody has presented for the grace time.
    NoPresenter,
    /// The presenter sends something now that this viewer did not agree on.
    Unplayable,
    /// The DTLS handshake failed: no common SRTP profile, wrong certificate, bad records.
    HandshakeFailed,
    /// The worker has no room.
    Refused,
    /// A bug in our code, met by this session only.
    Panicked,
    /// The server shuts down.
    Draining,
}

impl CloseReason {
    /// A fixed word for logs and metric labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Abandoned => "abandoned",
            Self::TakenOver => "taken_over",
            Self::Kicked => "kicked",
            Self::Revoked => "revoked",
            Self::PeerClosed => "peer_closed",
            Self::Silent => "silent",
            Self::NeverConnected => "never_connected",
            Self::NoPresenter => "no_presenter",
            Self::Unplayable => "unplayable",
            Self::HandshakeFailed => "handshake_failed",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Draining => "draining",
        }
    }
}

/// What a session did, told once at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// From answer to end.
    pub lasted: Duration,
    /// From answer to the end of the DTLS handshake.
    pub connected_after: Option<Duration>,
    /// From answer to the first media packet received (presenter) or sent (viewer).
    pub media_after: Option<Duration>,
    /// Media packets received (presenter) or sent (viewer), retransmissions not counted.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Presenter: packets that never came. Viewer: packets that it reported lost.
    pub lost: u64,
    /// Presenter: packets that we asked for again. Viewer: packets that we sent again.
    pub resent: u64,
}

/// A step of a session's connection, for its flight recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An address of the client's has passed its first check.
    Checked(SocketAddr),
    /// Media goes there or comes from there from now on, as far as the client has said.
    Selected(SocketAddr),
    /// The DTLS handshake failed, and why.
    Failed(String),
}

/// What workers tell control.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A session's connection has come a step further. A client that changes its mind all the time is not followed.
    Step {
        /// Whose.
        session: SessionId,
        /// How far.
        step: Step,
    },
    /// Keys are agreed; media may flow.
    Connected {
        /// Who.
        session: SessionId,
        /// From where.
        remote: SocketAddr,
        /// How media is protected.
        profile: Profile,
    },
    /// Where a viewer's numbers can be read from now on. Told once, behind `Connected`.
    Vitals {
        /// The viewer's session.
        session: SessionId,
        /// Its numbers.
        vitals: Arc<Vitals>,
    },
    /// How a presenter is doing; once a second.
    Health {
        /// The presenter's session.
        session: SessionId,
        /// What it sent.
        health: Box<Health>,
    },
    /// The presenter's first packet of a track came, or its format changed.
    Started {
        /// The presenter's session.
        session: SessionId,
        /// Which track.
        kind: Kind,
        /// What it sends.
        format: Format,
    },
    /// The presenter's media has stopped for a while, though its session has not ended; or goes on.
    Flow {
        /// The presenter's session.
        session: SessionId,
        /// Something comes.
        flows: bool,
    },
    /// Of several presenters this one is what viewers get from now on.
    OnAir {
        /// The presenter's session.
        session: SessionId,
    },
    /// A viewer cannot show what the presenter sends now.
    Unplayable {
        /// The viewer's session.
        session: SessionId,
    },
    /// The layers of a track have changed, or their sizes and bit rates; at most one a second.
    Layers {
        /// The presenter's session.
        session: SessionId,
        /// Which track.
        kind: Kind,
        /// All that have been seen, in the order of the offer, spatial and temporal layers ascending.
        layers: Vec<LayerInfo>,
    },
    /// A viewer gets other layers than before.
    Playing {
        /// The viewer's session.
        session: SessionId,
        /// Which track.
        kind: Kind,
        /// What it gets now.
        playing: Playing,
    },
    /// The session is gone.
    Closed {
        /// Who.
        session: SessionId,
        /// Why.
        reason: CloseReason,
        /// What it did.
        summary: Summary,
    },
}
