//! The report of a broadcast: from the presenter's first packet to the end of the grace time.
//!
//! Reports are plain JSON files, one per broadcast, in the state directory: there are few of them, each is written by
//! one and read as a whole, an operator can read, copy and remove them, and no store has to be kept compatible. A file is
//! written beside its place and renamed, every half minute while the broadcast lasts; one that was not finished when the
//! process ended is closed at the next start.

use serde::{Deserialize, Serialize};

mod draft;
mod shelf;

pub(super) use draft::Draft;
pub use shelf::Shelf;

/// One broadcast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its name: its beginning, its stream and four random digits; also the name of its file.
    pub id: String,
    /// Its stream.
    pub stream: String,
    /// The presenter's first packet (RFC 3339).
    pub started: String,
    /// The end of the grace time, or of what is known of it; `None` while it lasts.
    pub ended: Option<String>,
    /// When it was written last (RFC 3339).
    pub written: String,
    /// The process ended before the broadcast did.
    pub interrupted: bool,
    /// From its beginning to its end, or until now.
    pub seconds: u64,
    /// Who presented, in order.
    pub presenters: Vec<Presented>,
    /// How often a presenter came after the first one.
    pub reconnects: u32,
    /// Who watched.
    pub viewers: Audience,
    /// From a viewer's answer to its first packet, in ms.
    pub first_packet_ms: Spread,
    /// From a viewer's answer to its first picture, in ms.
    pub first_picture_ms: Spread,
    /// What came.
    pub received: Traffic,
    /// What was sent to viewers.
    pub sent: Traffic,
    /// What was wrong.
    pub alarms: Vec<Alarmed>,
}

/// A presenter's session in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presented {
    /// Its session.
    pub session: String,
    /// Whose token it had.
    pub subject: Option<String>,
    /// Its client's name for itself.
    pub user_agent: Option<String>,
    /// The codec of its sound.
    pub audio: Option<String>,
    /// The codec of its picture.
    pub video: Option<String>,
    /// Pixels, of its picture as it was last; with simulcast of the encoding with the most bytes.
    pub width: Option<u16>,
    /// See `width`.
    pub height: Option<u16>,
    /// Its first packet.
    pub from: String,
    /// Its end.
    pub to: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
}

/// The viewers in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audience {
    /// The most at once.
    pub peak: usize,
    /// As many as there were all the time.
    pub average: f64,
    /// Sessions made.
    pub joins: u64,
    /// Sessions that were connected, those that were there at its beginning among them.
    pub sessions: u64,
    /// Different pairs of address and client, as far as they could be told apart; neither is kept.
    pub unique: usize,
    /// Between two samples, in seconds.
    pub sample_seconds: u32,
    /// The most viewers in each interval.
    pub samples: Vec<u32>,
}

/// How a time is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// Measured so often.
    pub count: u64,
    /// Half are below.
    pub p50: u32,
    /// Nineteen of twenty are below.
    pub p95: u32,
    /// None is above.
    pub max: u32,
}

/// Packets in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Media packets.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets lost on the way.
    pub lost: u64,
    /// Packets sent again.
    pub resent: u64,
}

impl Traffic {
    /// What is more than in the other.
    pub(super) fn beyond(&self, other: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
            lost: self.lost.saturating_sub(other.lost),
            resent: self.resent.saturating_sub(other.resent),
        }
    }

    /// Adds so much.
    pub(super) fn add(&mut self, more: &Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.lost += more.lost;
        self.resent += more.resent;
    }
}

/// An alarm in a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarmed {
    /// Its name.
    pub kind: String,
    /// When it began.
    pub from: String,
    /// When it was over.
    pub to: Option<String>,
    /// What it said.
    pub detail: String,
}
