//! One session on its worker: the cold half, touched by signalling, feedback and timers only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::ingress::Ingress;
use super::vitals::Vitals;
use super::{Role, SessionId, Standing, Summary};
use crate::peer::Peer;
use crate::peer::ice::Path;
use crate::wire::sdp::Section;

/// A claimed session.
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Presenter or viewer.
    pub role: Role,
    /// Its stream on this worker.
    pub stream: usize,
    /// Our first name fragment: the session's name in the lobby.
    pub ufrag: String,
    /// The remote end.
    pub peer: Peer,
    /// How far it is.
    pub half: Half,
    /// When its answer was made.
    pub created: Instant,
    /// Its DTLS datagrams that wait for their turn.
    pub waiting_dtls: usize,
    /// When something authentic came last.
    pub last_heard: Instant,
    /// The entry of this session in the worker's timers.
    pub armed: Option<Instant>,
    /// For its end.
    pub summary: Summary,
    /// Steps of its connection that may still be told; there is one more with each report.
    pub steps: u8,
}

/// What a session has, depending on how far it is.
pub enum Half {
    /// No keys yet.
    Connecting {
        /// What was negotiated.
        sections: Vec<Section>,
        /// Of a presenter that is not the only one.
        standing: Option<Standing>,
    },
    /// Sends to us.
    Presenter(Box<Ingress>),
    /// Receives from us.
    Viewer {
        /// Its place among the stream's viewers on this worker.
        at: usize,
        /// When the next sender report is due.
        report_at: Instant,
        /// Its numbers, for control.
        vitals: Arc<Vitals>,
    },
    /// Over: its checks are refused for a while and its goodbye is repeated.
    Closing(Closing),
}

/// A session that has ended.
pub struct Closing {
    /// When it is forgotten.
    pub until: Instant,
    /// When the goodbye is sent again.
    pub again_at: Option<Instant>,
    /// How often it has been sent.
    pub times: u32,
    /// The goodbye: protected RTCP BYE and DTLS close_notify.
    pub goodbye: Vec<BytesMut>,
    /// Where it goes.
    pub path: Path,
}

impl Session {
    /// When its timers need a look.
    pub fn next_timeout(&self) -> Instant {
        let half = match &self.half {
            Half::Connecting { .. } => self.created + super::lobby::CONNECT_WITHIN,
            Half::Presenter(ingress) => ingress.next_timeout().min(self.last_heard + SILENCE),
            Half::Viewer { report_at, .. } => (*report_at).min(self.last_heard + SILENCE),
            Half::Closing(closing) => closing.again_at.unwrap_or(closing.until).min(closing.until),
        };
        self.peer.next_timeout().map_or(half, |peer| peer.min(half))
    }

    /// Nothing authentic came for too long (RFC 7675 §5.1).
    pub fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) >= SILENCE
    }
}

/// Steps of a connection that are told at once at most.
pub const STEPS: u8 = 16;
/// A client that is gone is noticed after this.
pub const SILENCE: Duration = Duration::from_secs(30);
/// Checks of an ended session are refused for this long (RFC 7675 §5.2), then ignored.
pub const CLOSING: Duration = Duration::from_secs(5);
/// The goodbye is sent three times: it may be lost.
pub const GOODBYES: u32 = 3;
/// Between goodbyes.
pub const GOODBYE_INTERVAL: Duration = Duration::from_millis(50);
/// Sender reports: soon at first, so that players bring sound and picture in step, then seldom.
pub const FIRST_REPORT: Duration = Duration::from_millis(500);
/// See `FIRST_REPORT`.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::egress::Egress;
    use crate::media::viewer::Viewer;
    use crate::peer::ice::Ice;

    #[test]
    fn what_is_kept_for_each_viewer_is_small() {
        // In bytes, and apart from what these point to: see that it is worth it before you make one of them larger.
        let sizes = [
            ("a session", size_of::<Session>(), 704),
            ("its peer", size_of::<Peer>(), 384),
            ("the ICE agent of that", size_of::<Ice>(), 256),
            ("a viewer", size_of::<Viewer>(), 640),
            ("each track of that", size_of::<Egress>(), 224),
        ];

        for (what, size, most) in sizes {
            assert!(size <= most, "{what} takes {size} bytes, more than {most}");
        }
    }
}
