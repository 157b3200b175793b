//! One viewer: what it gets, how it reports, what it asks for again. Sans-I/O.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Failure;
use super::link::{Heard, Link};
use super::offer::{Answer, Carries, carries};
use super::opening::{Opening, Place};
use super::stamp::{self, Delay};
use super::track::{Counts, Track};
use crate::peer::dtls::{Agreed, DtlsError, Identity};
use crate::peer::srtp::{Profile, RtpOpener, SrtpError};
use crate::wire::keyframe::starts_keyframe;
use crate::wire::rtp::Header;
use crate::wire::sdp::{Codec, IceCredentials};
use crate::wire::{rtcp, rtp};

/// How a viewer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// It reads, decrypts and counts everything; otherwise all is over for it with the first whole key frame, and it
    /// only keeps the connection.
    pub(super) listens: bool,
    /// Lost packets are asked for.
    pub(super) nacks: bool,
}

/// A viewer that has its answer.
pub(super) struct Viewer {
    link: Link,
    /// When the offer was sent.
    asked: Instant,
    habits: Habits,
    /// Once it is connected, until it ends.
    media: Option<Box<Media>>,
    seen: Seen,
}

/// What a connected viewer has.
struct Media {
    rtp_in: RtpOpener,
    /// Of us, in what we report.
    ssrc: u32,
    tracks: Vec<Track>,
    opening: Opening,
    report_at: Instant,
    last_picture: Option<Instant>,
}

/// A time without pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// When they went on, since 1970.
    pub(super) ended: Duration,
    pub(super) lasted: Duration,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For intervals.
    pub(super) now: Instant,
    /// Since 1970, when the kernel took the datagram in, if it says so: for comparing with other processes.
    pub(super) wall: Option<Duration>,
}

/// What a viewer went through. Times count from the sending of the offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Keys were agreed.
    pub(super) connected: Option<Duration>,
    /// The first packet came.
    pub(super) first_packet: Option<Duration>,
    /// The first packet of a key frame came.
    pub(super) first_keyframe: Option<Duration>,
    /// The last packet came of a key frame that can be decoded.
    pub(super) first_picture: Option<Duration>,
    /// What was agreed.
    pub(super) profile: Option<Profile>,
    /// It was one of those that count packets.
    pub(super) listened: bool,
    /// All tracks together, without retransmissions.
    pub(super) counts: Counts,
    /// Retransmissions that came.
    pub(super) retransmissions: u64,
    /// Packets that could not be decrypted.
    pub(super) undecryptable: u64,
    /// Times without pictures, the first ones.
    pub(super) pauses: Vec<Pause>,
    /// Why it ended before its time.
    pub(super) failure: Option<Failure>,
}

impl Viewer {
    /// A viewer that begins its checks now, and gives up after `patience`. `seed` is random.
    #[expect(clippy::too_many_arguments, reason = "all of it is given by whoever sat it down")]
    pub(super) fn new(
        local: &IceCredentials,
        answer: Answer,
        remote: SocketAddr,
        habits: Habits,
        seed: u64,
        patience: Duration,
        asked: Instant,
        now: Instant,
    ) -> Self {
        let link = Link::new(local, answer, remote, seed, patience, now);
        Self { link, asked, habits, media: None, seen: Seen::default() }
    }

    /// Takes in a datagram; what is to be sent is appended to `out`. Says how long a packet was on its way when its
    /// presenter has written that into it.
    pub(super) fn receive(
        &mut self,
        identity: &Identity,
        datagram: &mut [u8],
        at: Moment,
        out: &mut Vec<BytesMut>,
    ) -> Option<Delay> {
        match self.link.receive(identity, datagram, at.now, out) {
            Heard::Nothing => {}
            Heard::Live(agreed) => {
                if let Err(error) = self.go_live(&agreed, at.now) {
                    self.fail(Failure::Dtls(error.to_string()));
                }
            }
            Heard::Rtp(packet) => return self.receive_rtp(packet, at),
            Heard::Rtcp(plain) => self.receive_rtcp(plain, at.now),
            Heard::Undecryptable => self.seen.undecryptable += 1,
            Heard::Failed(failure) => self.fail(failure),
        }
        None
    }

    /// Does what is due: checks, lost flights, reports.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if let Some(failure) = self.link.handle_timeout(now, out) {
            self.fail(failure);
        }
        if let Some(media) = &mut self.media {
            let packet = media.report(self.habits, now);
            self.link.send_rtcp(packet, out);
        }
    }

    /// When [`Viewer::handle_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Instant {
        let link = self.link.next_timeout();
        self.media.as_ref().map_or(link, |media| media.next_timeout(self.habits).min(link))
    }

    /// Keys are agreed.
    pub(super) fn is_live(&self) -> bool {
        self.media.is_some()
    }

    /// The first key frame has come: all that a crowd is asked about has happened.
    pub(super) fn has_seen_a_picture(&self) -> bool {
        self.seen.first_picture.is_some()
    }

    /// How it behaves.
    pub(super) fn habits(&self) -> Habits {
        self.habits
    }

    /// Why it is over, if it is.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.seen.failure.as_ref()
    }

    /// What it has counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.media.as_ref().map_or(self.seen.counts, |media| media.counts())
    }

    /// It looks away: what comes from now on does not count. Returns what it has seen.
    pub(super) fn end(&mut self) -> Seen {
        self.seen.counts = self.counts();
        self.seen.listened = self.habits.listens && self.seen.connected.is_some();
        self.media = None;
        self.link.end();
        self.seen.clone()
    }

    fn fail(&mut self, failure: Failure) {
        self.seen.failure.get_or_insert(failure);
        self.end();
    }

    fn go_live(&mut self, agreed: &Agreed, now: Instant) -> Result<(), DtlsError> {
        let rtp_in = RtpOpener::new(&agreed.theirs)?;
        // Any number will do; it only has to be the same in all reports.
        let ssrc = self.link.ssrc();
        let media = Media {
            rtp_in,
            ssrc,
            tracks: Vec::new(),
            opening: Opening::default(),
            report_at: now + REPORTS,
            last_picture: None,
        };
        self.media = Some(Box::new(media));
        self.seen.profile = Some(agreed.profile);
        self.seen.connected = Some(now.saturating_duration_since(self.asked));
        Ok(())
    }

    fn receive_rtp(&mut self, datagram: &mut [u8], at: Moment) -> Option<Delay> {
        let media = self.media.as_mut()?;
        let Some((header, carried)) = Header::parse(datagram).and_then(|h| Some((h, carries(h.payload_type)?))) else {
            self.seen.undecryptable += 1;
            return None;
        };
        self.link.heard(at.now);
        let since = at.now.saturating_duration_since(self.asked);
        self.seen.first_packet.get_or_insert(since);
        if let Carries::Media(codec) = carried
            && self.habits.listens
        {
            media.track(&header, codec).arrived(header.sequence, header.timestamp, at.now);
            if is_video(carried) {
                let lasted = media.last_picture.replace(at.now).map(|last| at.now.saturating_duration_since(last));
                if let Some((lasted, ended)) = lasted.filter(|lasted| *lasted >= PAUSE).zip(at.wall)
                    && self.seen.pauses.len() < MOST_PAUSES
                {
                    self.seen.pauses.push(Pause { ended, lasted });
                }
            }
        }
        let waits = self.seen.first_picture.is_none() && is_video(carried);
        if !(self.habits.listens || waits) {
            return None;
        }
        let payload = match media.rtp_in.open(&header, datagram) {
            Ok(end) => datagram.get(header.len..end).and_then(|payload| rtp::unpad(&header, payload)),
            // It came twice, which the track has counted.
            Err(SrtpError::Replay) => None,
            Err(_) => {
                self.seen.undecryptable += 1;
                None
            }
        };
        match (carried, payload) {
            (Carries::Media(codec), Some(payload)) => {
                if waits {
                    self.seen.watch_for_a_picture(&mut media.opening, codec, Place::of(&header), payload, since);
                }
                let has_settled = since >= self.seen.connected? + SETTLING;
                return stamp::read(payload)?.delay(at.wall?).filter(|_| has_settled);
            }
            (Carries::Rtx(of), Some(&[high, low, ref payload @ ..])) if !payload.is_empty() => {
                self.seen.retransmissions += 1;
                let original = u16::from_be_bytes([high, low]);
                if self.seen.first_picture.is_none()
                    && let Some(Carries::Media(codec)) = carries(of)
                {
                    let place = Place { sequence: original, ..Place::of(&header) };
                    self.seen.watch_for_a_picture(&mut media.opening, codec, place, payload, since);
                }
                if let Some(track) = media.tracks.iter_mut().find(|track| track.payload_type == of) {
                    track.repaired(original, at.now);
                }
            }
            (Carries::Rtx(_), _) | (Carries::Media(_), None) => {}
        }
        None
    }

    fn receive_rtcp(&mut self, plain: &[u8], now: Instant) {
        let Some(media) = &mut self.media else {
            return;
        };
        rtcp::read(plain, |event| {
            if let rtcp::Event::SenderReport { ssrc, ntp, .. } = event
                && let Some(track) = media.tracks.iter_mut().find(|track| track.ssrc == ssrc)
            {
                track.sender_report(ntp, now);
            }
        });
    }
}

impl Seen {
    /// Another packet of the pictures that come before the first one can be shown.
    fn watch_for_a_picture(
        &mut self,
        opening: &mut Opening,
        codec: Codec,
        place: Place,
        payload: &[u8],
        since: Duration,
    ) {
        if starts_keyframe(codec, payload) {
            self.first_keyframe.get_or_insert(since);
        }
        if opening.take(codec, place, payload) {
            self.first_picture = Some(since);
        }
    }
}

impl Media {
    /// The track of a packet, new or known.
    fn track(&mut self, header: &Header, codec: Codec) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.ssrc == header.ssrc).unwrap_or_else(|| {
            let clock_rate = if codec == Codec::Opus { 48_000 } else { 90_000 };
            self.tracks.push(Track::new(header.ssrc, header.payload_type, clock_rate));
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[at];
        // A codec may change in the middle of a stream.
        track.payload_type = header.payload_type;
        track
    }

    /// What is due of receiver reports and requests for lost packets; often nothing.
    fn report(&mut self, habits: Habits, now: Instant) -> Vec<u8> {
        let mut packet = Vec::new();
        if self.report_at <= now {
            self.report_at = now + REPORTS;
            let receptions: Vec<_> = self.tracks.iter_mut().map(|track| track.reception(now)).collect();
            rtcp::write_receiver_report(&mut packet, self.ssrc, &receptions);
            rtcp::write_cname(&mut packet, self.ssrc, "load");
        }
        if habits.nacks {
            for track in &mut self.tracks {
                let missing = track.missing(now);
                rtcp::write_nack(&mut packet, self.ssrc, track.ssrc, &missing);
            }
        }
        packet
    }

    fn next_timeout(&self, habits: Habits) -> Instant {
        let missing = self.tracks.iter().filter_map(Track::next_missing).min().filter(|_| habits.nacks);
        missing.map_or(self.report_at, |at| at.min(self.report_at))
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for track in &self.tracks {
            sum.add(&track.counts());
        }
        sum
    }
}

fn is_video(carried: Carries) -> bool {
    matches!(carried, Carries::Media(codec) if codec != Codec::Opus)
}

/// What comes first is older, on purpose: it begins at the last key frame and catches up.
const SETTLING: Duration = Duration::from_secs(3);
/// Without pictures; shorter ones are the network's and the presenter's.
const PAUSE: Duration = Duration::from_millis(200);
/// Of one viewer.
const MOST_PAUSES: usize = 64;
/// Between receiver reports.
const REPORTS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
