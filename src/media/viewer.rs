//! A viewer inside its stream: the hot half of a viewer's session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::egress::{Egress, Next};
use super::gop::Gop;
use super::layer::{LayerChoice, Playing};
use super::outbox::{Outbox, Run};
use super::packet::Packet;
use super::track::Track;
use super::vitals::Vitals;
use crate::peer::ice::Path;
use crate::peer::srtp::RtpSealer;
use crate::wire::sdp::Kind;

/// All that is needed to send a stream to one viewer.
pub struct Viewer {
    /// The session that it is the hot half of.
    pub session: usize,
    /// Where it is.
    pub path: Path,
    /// Its audio track, if it takes one.
    pub audio: Option<Egress>,
    /// Its video track, if it takes one.
    pub video: Option<Egress>,
    /// When the first media packet was sent.
    pub first_media: Option<Instant>,
    /// How often it began once more with the last key frame, because the first one did not reach it.
    pub beginnings: u8,
    /// When the first packet of video was sent, in ms after the first media packet; `NEVER` before. Kept small.
    first_picture: u16,
    /// Packets sent again.
    pub resent: u64,
    /// Which layers it wishes.
    pub choice: LayerChoice,
    /// It wished something since its layers were looked at.
    pub has_chosen: bool,
    /// What control was told that it gets.
    pub told: Option<Playing>,
    sealer: RtpSealer,
    /// Bytes that may still be spent on resends.
    resend_credit: u64,
    /// What was sent again lately: (SSRC, number, when).
    resends: VecDeque<(u32, u16, Instant)>,
}

impl Viewer {
    /// A viewer that has got nothing yet.
    pub fn new(session: usize, path: Path, sealer: RtpSealer, audio: Option<Egress>, video: Option<Egress>) -> Self {
        Self {
            session,
            path,
            audio,
            video,
            first_media: None,
            beginnings: 0,
            first_picture: NEVER,
            resent: 0,
            choice: LayerChoice::Automatic,
            has_chosen: false,
            told: None,
            sealer,
            resend_credit: RESEND_BURST,
            resends: VecDeque::new(),
        }
    }

    /// Sends what of these packets this viewer gets. The packet's path: no allocation, no lock, no hash.
    pub fn deliver<'a>(
        &mut self,
        packets: impl Iterator<Item = &'a Packet>,
        run: &mut Run,
        out: &mut impl Outbox,
        now: Instant,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        if let Some(bandwidth) = self.video.as_mut().and_then(|video| video.bandwidth.as_mut()) {
            bandwidth.turn(now);
        }
        let mut last_picture = None;
        for packet in packets {
            let egress = match packet.source.kind {
                Kind::Audio => &mut self.audio,
                Kind::Video => &mut self.video,
            };
            let Some(egress) = egress else { continue };
            let Some(place) = egress.admit(packet) else {
                continue;
            };
            egress.send(packet, place, &mut self.sealer, run, out, self.path);
            delivered.packets += 1;
            delivered.bytes += packet.payload.len() as u64;
            if packet.source.kind == Kind::Video {
                last_picture = Some((packet, place.seq));
            }
        }
        if let (Some(video), Some((packet, seq))) = (&mut self.video, last_picture) {
            video.pad(seq as u16, packet, &mut self.sealer, run, out, self.path);
        }
        run.flush(out, self.path);
        self.count(delivered, last_picture.is_some(), now);
        delivered
    }

    /// Sends of the cache what is due to a viewer that catches up: packets below number `limit`, `most` of them at most.
    pub fn catch_up(
        &mut self,
        gop: &Gop,
        limit: u64,
        most: u64,
        run: &mut Run,
        out: &mut impl Outbox,
        now: Instant,
    ) -> (Delivered, Caught) {
        let mut delivered = Delivered::default();
        let Some(video) = &mut self.video else {
            return (delivered, Caught::Up);
        };
        if let Some(bandwidth) = &mut video.bandwidth {
            bandwidth.turn(now);
        }
        let caught = loop {
            if delivered.packets >= most || out.is_full() {
                break Caught::Some;
            }
            let packet = match video.next_cached(gop, limit, now) {
                Next::Packet(packet) => packet,
                Next::Wait => break Caught::Enough,
                Next::Live => break Caught::Up,
                Next::Cut => break Caught::Nothing,
            };
            let Some(place) = video.place_cached(packet) else {
                continue;
            };
            video.send(packet, place, &mut self.sealer, run, out, self.path);
            delivered.packets += 1;
            delivered.bytes += packet.payload.len() as u64;
        };
        run.flush(out, self.path);
        self.count(delivered, true, now);
        (delivered, caught)
    }

    /// Remembers what was sent for the first time.
    fn count(&mut self, delivered: Delivered, has_video: bool, now: Instant) {
        if delivered.packets > 0 {
            self.first_media.get_or_insert(now);
            if has_video {
                let after = now.saturating_duration_since(*self.first_media.get_or_insert(now)).as_millis();
                if self.first_picture == NEVER {
                    self.first_picture = u16::try_from(after).unwrap_or(NEVER).min(NEVER - 1);
                }
            }
            self.resend_credit = (self.resend_credit + delivered.bytes / RESEND_SHARE).min(RESEND_BURST);
        }
    }

    /// Sends again what the viewer misses of one NACK item, as far as it is still there and affordable. Returns how
    /// many were sent.
    pub fn resend(
        &mut self,
        about: u32,
        numbers: impl Iterator<Item = u16>,
        tracks: &[Track; 2],
        now: Instant,
        run: &mut Run,
        out: &mut impl Outbox,
    ) -> u64 {
        let is_narrow = self.video.as_ref().is_some_and(Egress::is_narrow);
        if is_narrow {
            self.resend_credit = self.resend_credit.min(NARROW_BURST);
        }
        let pause = if is_narrow { NARROW_PAUSE } else { RESEND_PAUSE };
        while self.resends.front().is_some_and(|(_, _, at)| now.duration_since(*at) > pause) {
            self.resends.pop_front();
        }
        let (egress, kind) = match (&mut self.audio, &mut self.video) {
            (Some(audio), _) if audio.ssrc == about => (audio, Kind::Audio),
            (_, Some(video)) if video.ssrc == about => (video, Kind::Video),
            _ => return 0,
        };
        let mut sent = 0;
        for seq in numbers {
            let Some((source, layer, number)) = egress.trace(seq) else {
                continue;
            };
            if !egress.is_worth_resending(source) {
                continue;
            }
            let Some(packet) = tracks[kind as usize].packet(layer, source, number) else {
                continue;
            };
            let cost = packet.payload.len() as u64;
            let is_repeat = self.resends.iter().any(|(ssrc, s, _)| *ssrc == about && *s == seq);
            if is_repeat || self.resend_credit < cost || self.resends.len() >= MAX_RESENDS {
                continue;
            }
            self.resend_credit -= cost;
            self.resends.push_back((about, seq, now));
            egress.resend(seq, packet, &mut self.sealer, run, out, self.path);
            sent += 1;
        }
        run.flush(out, self.path);
        self.resent += sent;
        if kind == Kind::Video {
            egress.missed(sent as u32);
        }
        sent
    }

    /// When the first packet of video was sent.
    pub fn first_picture(&self) -> Option<Instant> {
        let after = Some(self.first_picture).filter(|after| *after != NEVER)?;
        Some(self.first_media? + Duration::from_millis(after.into()))
    }

    /// Packets sent and their payload bytes, modulo 2^32, resends not counted.
    pub fn totals(&self) -> (u32, u32) {
        let each = self.egresses().map(|(_, egress)| (egress.packets, egress.octets));
        each.fold((0, 0), |sum: (u32, u32), one| (sum.0.wrapping_add(one.0), sum.1.wrapping_add(one.1)))
    }

    /// Writes down what has been sent to it, and how long after `created` that began.
    pub fn tell(&self, vitals: &Vitals, created: Instant) {
        let (packets, bytes) = self.totals();
        vitals.sent(packets, bytes, self.resent);
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(created));
        vitals.began(since(self.first_media), since(self.first_picture()));
    }

    /// The tracks that it takes.
    pub fn egresses(&self) -> impl Iterator<Item = (Kind, &Egress)> {
        let audio = self.audio.as_ref().map(|e| (Kind::Audio, e));
        audio.into_iter().chain(self.video.as_ref().map(|e| (Kind::Video, e)))
    }
}

/// What one delivery sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Packets.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
}

/// How far a viewer is that catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// More is due now.
    Some,
    /// More is due later.
    Enough,
    /// It gets what comes now.
    Up,
    /// It needs a key frame.
    Nothing,
}

/// No picture yet.
const NEVER: u16 = u16::MAX;
/// Resends are at most a quarter of what is sent.
const RESEND_SHARE: u64 = 4;
/// Bytes that may be sent again at once: a lost key frame.
const RESEND_BURST: u64 = 128 * 1024;
/// The same packet is not sent again sooner: the last one may be on its way.
const RESEND_PAUSE: Duration = Duration::from_millis(20);
/// Where the way is narrow, a resend stands in its queue: repeating it meanwhile would fill the queue with nothing else.
const NARROW_PAUSE: Duration = Duration::from_millis(300);
/// See `RESEND_BURST`, where the way is narrow.
const NARROW_BURST: u64 = 16 * 1024;
/// Resends within the pause.
const MAX_RESENDS: usize = 64;
