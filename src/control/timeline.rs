//! The flight recorder: what happened to one session, bounded, without secrets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::media::CloseReason;
use crate::media::layer::Playing;
use crate::peer::srtp::Profile;

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Its resource was asked for something.
    Http {
        /// The method.
        method: &'static str,
        /// Which of its resources.
        resource: &'static str,
        /// How it was answered.
        status: u16,
    },
    /// An address of its client's has passed its first check.
    Checked(SocketAddr),
    /// Its media goes there or comes from there from now on.
    Selected(SocketAddr),
    /// The DTLS handshake failed, and why.
    HandshakeFailed(String),
    /// Keys are agreed with this address, for media to be protected so: ICE and DTLS are done.
    Connected(SocketAddr, Profile),
    /// The presenter's first packet of this codec came.
    Started {
        /// `audio` or `video`.
        kind: &'static str,
        /// Its name.
        codec: &'static str,
    },
    /// The first media packet was sent.
    FirstPacket,
    /// The first packet of video, of a key frame, was sent.
    FirstPicture,
    /// A viewer gets other layers.
    Layer {
        /// What it gets.
        playing: Playing,
        /// The encoding's name, if it has one.
        rid: Option<String>,
    },
    /// A presenter's first key frame came.
    FirstKeyFrame,
    /// A presenter's picture has another width and height than before, in pixels.
    Size(u16, u16),
    /// More than a twentieth of the packets get lost; the share, 0–1.
    LossBegan(f64),
    /// Hardly anything gets lost any more.
    LossEnded,
    /// Something is wrong with what a presenter sends: an alarm's name, and whether it is raised.
    Alarm(&'static str, bool),
    /// So many things are left out here.
    LeftOut(u32),
    /// A presenter's media goes on, or has stopped for a while.
    Flow(bool),
    /// Of several presenters this is the one that viewers get from now on.
    OnAir,
    /// A viewer cannot show what the presenter sends now.
    Unplayable,
    /// The end.
    Closed(CloseReason),
}

/// When something happened, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// After the session was made.
    pub after: Duration,
    /// What happened.
    pub what: Happening,
}

/// What happened to one session: its beginning is kept, and its end; what there is too much of is left out between.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    began: Instant,
    first: Vec<Moment>,
    last: VecDeque<Moment>,
    left_out: u32,
}

impl Timeline {
    /// Of a session that is made now.
    pub(super) fn new(began: Instant) -> Self {
        Self { began, first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    /// Something happened at this moment.
    pub(super) fn add(&mut self, at: Instant, what: Happening) {
        self.add_after(at.saturating_duration_since(self.began), what);
    }

    /// Something happened so long after the beginning.
    pub(super) fn add_after(&mut self, after: Duration, what: Happening) {
        let moment = Moment { after, what };
        if self.first.len() < FIRST {
            return self.first.push(moment);
        }
        if self.last.len() >= LAST {
            self.last.pop_front();
            self.left_out = self.left_out.saturating_add(1);
        }
        self.last.push_back(moment);
    }

    /// All of it, in the order of time.
    pub(super) fn moments(&self) -> Vec<Moment> {
        let gap = self.last.front().filter(|_| self.left_out > 0);
        let gap = gap.map(|next| Moment { after: next.after, what: Happening::LeftOut(self.left_out) });
        let mut all: Vec<Moment> = self.first.iter().cloned().chain(gap).chain(self.last.iter().cloned()).collect();
        all.sort_by_key(|moment| moment.after);
        all
    }
}

/// A session description without what is secret: ICE passwords, fingerprints, keys, and the client's addresses.
pub(super) fn masked(sdp: &str) -> String {
    let mask = |line: &str| {
        for secret in MASKED {
            if line.get(..secret.len()).is_some_and(|start| start.eq_ignore_ascii_case(secret)) {
                return format!("{secret}…\n");
            }
        }
        format!("{line}\n")
    };
    sdp.lines().map(mask).collect()
}

/// How lines begin that are masked. The first two name the machine, as the third does for RTCP.
const MASKED: [&str; 12] = [
    "o=",
    "c=",
    "a=rtcp:",
    "a=ice-pwd:",
    "a=ice-ufrag:",
    "a=fingerprint:",
    "a=candidate:",
    "a=remote-candidates:",
    "a=crypto:",
    "a=key-mgmt:",
    "k=",
    "a=identity:",
];

/// Moments kept of the beginning.
const FIRST: usize = 48;
/// Moments kept of the end.
const LAST: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut timeline = Timeline::new(Instant::now());

        for n in 0..1_000 {
            timeline.add_after(Duration::from_millis(n), Happening::LossEnded);
        }
        timeline.add_after(Duration::from_secs(1), Happening::Closed(CloseReason::Deleted));

        let moments = timeline.moments();
        assert_eq!(moments.len(), FIRST + 1 + LAST);
        assert!(moments.is_sorted_by_key(|moment| moment.after));
        assert!(moments.iter().any(|moment| moment.what == Happening::LeftOut(1_001 - (FIRST + LAST) as u32)));
        assert_eq!(moments.last().map(|m| m.what.clone()), Some(Happening::Closed(CloseReason::Deleted)));
    }

    #[test]
    fn what_is_told_late_stands_where_it_happened() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start);
        timeline.add(start + Duration::from_secs(2), Happening::LossEnded);
        timeline.add_after(Duration::from_secs(1), Happening::FirstPacket);

        let order: Vec<_> = timeline.moments().into_iter().map(|moment| moment.what).collect();

        assert_eq!(order, [Happening::FirstPacket, Happening::LossEnded]);
    }

    #[test]
    fn a_description_loses_its_secrets() {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\nc=IN IP4 192.0.2.77\r\na=rtcp:9 IN IP4 192.0.2.77\r\n\
            k=clear:secret4\r\na=ice-pwd:secret1\r\nA=ICE-UFRAG:secret2\r\na=fingerprint:sha-256 secret3\r\n\
            a=candidate:1 1 udp 1 192.0.2.77 9 typ host\r\na=mid:0\r\n";

        let masked = masked(offer);

        assert!(!masked.contains("secret") && !masked.contains("192.0.2.77"), "{masked}");
        assert!(masked.starts_with("v=0\n") && masked.ends_with("a=mid:0\n"), "{masked}");
    }
}
