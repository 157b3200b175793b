//! One viewer: a controlling ICE agent, a DTLS end, and the keys to open what comes. Sans-I/O.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Failure;
use super::offer::{Answer, Carries, carries};
use super::track::{Counts, Track};
use crate::peer::dtls::{Agreed, DtlsError, Handshake, Identity, Progress};
use crate::peer::srtp::{Profile, RtcpOpener, RtcpSealer, RtpOpener, SrtpError};
use crate::wire::keyframe::starts_keyframe;
use crate::wire::rtp::Header;
use crate::wire::sdp::{Codec, DtlsRole, IceCredentials};
use crate::wire::stun::{Check, Class, Key, Message};
use crate::wire::{Protocol, rtcp, rtp, stun};

/// How a viewer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Everything is decrypted; otherwise only until the first key frame, then headers are read as they are.
    pub(super) decrypts: bool,
    /// Lost packets are asked for.
    pub(super) nacks: bool,
}

/// A viewer that has its answer.
pub(super) struct Viewer {
    remote: SocketAddr,
    local_key: Key,
    remote_key: Key,
    username: String,
    /// Random; a check's transaction is this and a number.
    seed: u64,
    checks: u32,
    check_at: Instant,
    /// When the offer was sent.
    asked: Instant,
    /// When it must be connected.
    deadline: Instant,
    last_heard: Instant,
    habits: Habits,
    phase: Phase,
    seen: Seen,
}

/// How far it is.
enum Phase {
    Checking { role: DtlsRole, answer: Box<Answer> },
    Handshaking(Box<Handshake>),
    Live(Box<Live>),
    Over,
}

/// What a connected viewer has.
struct Live {
    handshake: Handshake,
    rtp_in: RtpOpener,
    rtcp_in: RtcpOpener,
    rtcp_out: RtcpSealer,
    tracks: Vec<Track>,
    report_at: Instant,
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
    /// What was agreed.
    pub(super) profile: Option<Profile>,
    /// All tracks together, without retransmissions.
    pub(super) counts: Counts,
    /// Retransmissions that came.
    pub(super) retransmissions: u64,
    /// Packets that could not be decrypted.
    pub(super) undecryptable: u64,
    /// Why it ended before its time.
    pub(super) failure: Option<Failure>,
}

impl Viewer {
    /// A viewer that begins its checks now. `seed` is random.
    pub(super) fn new(
        local: &IceCredentials,
        answer: Answer,
        remote: SocketAddr,
        habits: Habits,
        seed: u64,
        asked: Instant,
        now: Instant,
    ) -> Self {
        Self {
            remote,
            local_key: Key::new(&local.pwd),
            remote_key: Key::new(&answer.ice.pwd),
            username: format!("{}:{}", answer.ice.ufrag, local.ufrag),
            seed,
            checks: 0,
            check_at: now,
            asked,
            deadline: now + CONNECT_WITHIN,
            last_heard: now,
            habits,
            phase: Phase::Checking { role: answer.dtls, answer: Box::new(answer) },
            seen: Seen::default(),
        }
    }

    /// Takes in a datagram; what is to be sent is appended to `out`.
    pub(super) fn receive(&mut self, identity: &Identity, datagram: &mut [u8], now: Instant, out: &mut Vec<BytesMut>) {
        match Protocol::of(datagram) {
            Some(Protocol::Stun) => self.receive_stun(identity, datagram, now, out),
            Some(Protocol::Dtls) => {
                if let Err(error) = self.receive_dtls(identity, datagram, now, out) {
                    self.fail(Failure::Dtls(error.to_string()));
                }
            }
            Some(Protocol::Rtp) => self.receive_rtp(datagram, now),
            Some(Protocol::Rtcp) => self.receive_rtcp(datagram, now),
            None => {}
        }
    }

    /// Does what is due: checks, lost flights, reports.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        match &mut self.phase {
            Phase::Over => return,
            Phase::Checking { .. } if now >= self.deadline => return self.fail(Failure::NoCheck),
            Phase::Handshaking(_) if now >= self.deadline => {
                return self.fail(Failure::Dtls("it did not end in time".into()));
            }
            Phase::Live(_) if now >= self.last_heard + SILENCE => return self.fail(Failure::Silent),
            Phase::Checking { .. } => {}
            Phase::Handshaking(handshake) => handshake.handle_timeout(now, out),
            Phase::Live(live) => live.report(self.seed as u32, self.habits, now, out),
        }
        if self.check_at <= now {
            self.check(now, out);
        }
    }

    /// When [`Viewer::handle_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Checking { .. } => Some(self.deadline),
            Phase::Handshaking(handshake) => handshake.next_timeout().map(|at| at.min(self.deadline)),
            Phase::Live(live) => Some(live.next_timeout(self.habits)),
            Phase::Over => return self.check_at + Duration::from_hours(1),
        };
        phase.map_or(self.check_at, |at| at.min(self.check_at))
    }

    /// Keys are agreed.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Why it is over, if it is.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.seen.failure.as_ref()
    }

    /// What it has seen so far.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = self.seen.clone();
        if let Phase::Live(live) = &self.phase {
            seen.counts = live.counts();
        }
        seen
    }

    /// What it has counted so far.
    pub(super) fn counts(&self) -> Counts {
        match &self.phase {
            Phase::Live(live) => live.counts(),
            Phase::Checking { .. } | Phase::Handshaking(_) | Phase::Over => self.seen.counts,
        }
    }

    /// It looks away: what comes from now on does not count. Returns what it has seen.
    pub(super) fn end(&mut self) -> Seen {
        let seen = self.seen();
        self.seen = seen.clone();
        self.phase = Phase::Over;
        seen
    }

    fn fail(&mut self, failure: Failure) {
        self.seen.failure.get_or_insert(failure);
        self.end();
    }

    /// A connectivity check that nominates, later a consent check (RFC 7675 §5.1).
    fn check(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        self.checks = self.checks.wrapping_add(1);
        let mut datagram = Vec::with_capacity(128);
        let check = Check {
            transaction: self.transaction(self.checks),
            username: &self.username,
            priority: PRIORITY,
            controlling: self.seed,
            use_candidate: true,
        };
        stun::write_check(&mut datagram, &check, &self.remote_key);
        out.push(BytesMut::from(datagram.as_slice()));
        let interval = match &self.phase {
            Phase::Checking { .. } => FIRST_CHECKS * 2_u32.pow(self.checks.min(4) - 1),
            Phase::Handshaking(_) | Phase::Live(_) | Phase::Over => CONSENT,
        };
        self.check_at = now + interval;
    }

    /// What changes comes first: servers may look at a part only.
    fn transaction(&self, number: u32) -> [u8; 12] {
        let mut transaction = [0; 12];
        let (head, tail) = transaction.split_at_mut(8);
        head.copy_from_slice(&self.seed.wrapping_add(number.into()).to_be_bytes());
        tail.copy_from_slice(&((self.seed >> 32) as u32).to_be_bytes());
        transaction
    }

    fn receive_stun(&mut self, identity: &Identity, datagram: &[u8], now: Instant, out: &mut Vec<BytesMut>) {
        let Some(message) = Message::parse(datagram) else {
            return;
        };
        match message.class {
            // A server with a full agent checks, too.
            Class::Request if message.verify(&self.local_key) => {
                let mut reply = Vec::with_capacity(96);
                stun::write_success(&mut reply, &message.transaction, self.remote, &self.local_key);
                out.push(BytesMut::from(reply.as_slice()));
            }
            Class::Success if self.is_ours(&message) && message.verify(&self.remote_key) => {
                self.last_heard = now;
                if let Err(error) = self.begin(identity, now, out) {
                    self.fail(Failure::Dtls(error.to_string()));
                }
            }
            Class::Request | Class::Success | Class::Error | Class::Indication => {}
        }
    }

    fn is_ours(&self, message: &Message<'_>) -> bool {
        let oldest = self.checks.saturating_sub(OUTSTANDING);
        (oldest..=self.checks).any(|number| self.transaction(number) == message.transaction)
    }

    /// The path works: the handshake begins.
    fn begin(&mut self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) -> Result<(), DtlsError> {
        let Phase::Checking { role, answer } = &self.phase else {
            return Ok(());
        };
        let handshake = Handshake::new(identity, *role, answer.fingerprints.clone(), now, out)?;
        self.phase = Phase::Handshaking(Box::new(handshake));
        self.check_at = now + CONSENT;
        Ok(())
    }

    fn receive_dtls(
        &mut self,
        identity: &Identity,
        datagram: &[u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<(), DtlsError> {
        let handshake = match &mut self.phase {
            Phase::Handshaking(handshake) => handshake.as_mut(),
            Phase::Live(live) => &mut live.handshake,
            Phase::Checking { .. } | Phase::Over => return Ok(()),
        };
        match handshake.read(identity, datagram, now, out)? {
            Progress::Pending => {}
            Progress::Complete(agreed) => self.go_live(&agreed, now)?,
            Progress::Closed => self.fail(Failure::Closed),
        }
        Ok(())
    }

    fn go_live(&mut self, agreed: &Agreed, now: Instant) -> Result<(), DtlsError> {
        let rtp_in = RtpOpener::new(&agreed.theirs)?;
        let rtcp_in = RtcpOpener::new(&agreed.theirs)?;
        let rtcp_out = RtcpSealer::new(&agreed.ours)?;
        if let Phase::Handshaking(handshake) = std::mem::replace(&mut self.phase, Phase::Over) {
            let report_at = now + REPORTS;
            let live = Live { handshake: *handshake, rtp_in, rtcp_in, rtcp_out, tracks: Vec::new(), report_at };
            self.phase = Phase::Live(Box::new(live));
        }
        self.last_heard = now;
        self.seen.profile = Some(agreed.profile);
        self.seen.connected = Some(now.saturating_duration_since(self.asked));
        Ok(())
    }

    fn receive_rtp(&mut self, datagram: &mut [u8], now: Instant) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some((header, carried)) = Header::parse(datagram).and_then(|h| Some((h, carries(h.payload_type)?))) else {
            self.seen.undecryptable += 1;
            return;
        };
        self.last_heard = now;
        let since = now.saturating_duration_since(self.asked);
        self.seen.first_packet.get_or_insert(since);
        if let Carries::Media(codec) = carried {
            live.track(&header, codec).arrived(header.sequence, header.timestamp, now);
        }
        let waits = self.seen.first_keyframe.is_none() && is_video(carried);
        if !(self.habits.decrypts || self.habits.nacks || waits) {
            return;
        }
        let payload = match live.rtp_in.open(&header, datagram) {
            Ok(end) => datagram.get(header.len..end).and_then(|payload| rtp::unpad(&header, payload)),
            // It came twice, which the track has counted.
            Err(SrtpError::Replay) => None,
            Err(_) => {
                self.seen.undecryptable += 1;
                None
            }
        };
        match (carried, payload) {
            (Carries::Media(codec), Some(payload)) if waits && starts_keyframe(codec, payload) => {
                self.seen.first_keyframe = Some(since);
            }
            (Carries::Rtx(of), Some(&[high, low, _, ..])) => {
                self.seen.retransmissions += 1;
                let original = u16::from_be_bytes([high, low]);
                if let Some(track) = live.tracks.iter_mut().find(|track| track.payload_type == of) {
                    track.repaired(original, now);
                }
            }
            (Carries::Media(_) | Carries::Rtx(_), _) => {}
        }
    }

    fn receive_rtcp(&mut self, datagram: &mut [u8], now: Instant) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(plain) = live.rtcp_in.open(datagram).ok().and_then(|end| datagram.get(..end)) else {
            self.seen.undecryptable += 1;
            return;
        };
        self.last_heard = now;
        let tracks = &mut live.tracks;
        rtcp::read(plain, |event| {
            if let rtcp::Event::SenderReport { ssrc, ntp, .. } = event
                && let Some(track) = tracks.iter_mut().find(|track| track.ssrc == ssrc)
            {
                track.sender_report(ntp, now);
            }
        });
    }
}

impl Live {
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

    /// Sends what is due of receiver reports and requests for lost packets.
    fn report(&mut self, ssrc: u32, habits: Habits, now: Instant, out: &mut Vec<BytesMut>) {
        let mut packet = Vec::new();
        if self.report_at <= now {
            self.report_at = now + REPORTS;
            let receptions: Vec<_> = self.tracks.iter_mut().map(|track| track.reception(now)).collect();
            rtcp::write_receiver_report(&mut packet, ssrc, &receptions);
            rtcp::write_cname(&mut packet, ssrc, "load");
        }
        if habits.nacks {
            for track in &mut self.tracks {
                let missing = track.missing(now);
                rtcp::write_nack(&mut packet, ssrc, track.ssrc, &missing);
            }
        }
        if !packet.is_empty() && self.rtcp_out.seal(&mut packet).is_ok() {
            out.push(BytesMut::from(packet.as_slice()));
        }
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

/// From the answer on; a browser gives up a little later.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// The second check follows the first so soon, then in doubling intervals, at most eight times as long.
const FIRST_CHECKS: Duration = Duration::from_millis(50);
/// RFC 7675 §5.1 has 5 s; browsers use half of it.
const CONSENT: Duration = Duration::from_millis(2_500);
/// Unanswered checks whose answer would still be taken.
const OUTSTANDING: u32 = 8;
/// After this long without anything authentic the server is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// Between receiver reports.
const REPORTS: Duration = Duration::from_secs(1);
/// Of a peer-reflexive candidate with the best local preference (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

#[cfg(test)]
mod tests;
