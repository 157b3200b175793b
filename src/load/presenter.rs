//! A presenter whose stream has an exact shape and costs next to nothing: no encoder, payloads of the right form and
//! size. Sans-I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Failure;
use super::link::{CONNECT_WITHIN, Heard, Link};
use super::offer::{AUDIO_TYPE, Answer, VIDEO_TYPE};
use super::stamp::{self, Part, Stamp};
use crate::peer::dtls::{Agreed, DtlsError, Identity};
use crate::peer::srtp::RtpSealer;
use crate::wire::sdp::IceCredentials;
use crate::wire::{rtcp, rtp};

/// What a stream looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Video, in bit/s of payload.
    pub(super) bitrate: u64,
    /// Pictures a second.
    pub(super) fps: u32,
    /// Between key frames that nobody asked for.
    pub(super) keyframes: Duration,
    /// With 50 audio packets a second.
    pub(super) audio: bool,
}

/// The names of its sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ssrcs {
    /// Pictures.
    pub(super) video: u32,
    /// Sound.
    pub(super) audio: u32,
}

/// A presenter that has its answer.
pub(super) struct Presenter {
    link: Link,
    shape: Shape,
    ssrcs: Ssrcs,
    /// Once it is connected, until it ends.
    media: Option<Box<Media>>,
    sent: Sent,
}

/// What it has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// RTP packets, without those sent again.
    pub(super) packets: u64,
    /// Pictures.
    pub(super) frames: u64,
    /// Of those, key frames.
    pub(super) keyframes: u64,
    /// Requests for a key frame that came.
    pub(super) plis: u64,
    /// Packets that were asked for again.
    pub(super) nacks: u64,
    /// Packets that were sent again.
    pub(super) resent: u64,
    /// Packets lost on the way to the server, as it last reported.
    pub(super) lost: i64,
    /// Why it ended before its time.
    pub(super) failure: Option<Failure>,
}

/// What a connected presenter has.
struct Media {
    sealer: RtpSealer,
    video: Source,
    audio: Source,
    frame_at: Instant,
    audio_at: Instant,
    report_at: Instant,
    keyframe_at: Instant,
    /// When a key frame may be sent again because somebody asks.
    gate: Instant,
    keyframe_wanted: bool,
    /// Payload bytes that are due; what does not fill a packet waits for the next picture.
    budget: u64,
    /// Bytes by which key frames were larger than their share, to be saved in the pictures after.
    debt: u64,
    /// The newest video packets as they were sent: a resend must be the same bytes.
    recent: VecDeque<(u16, BytesMut)>,
}

/// One source.
struct Source {
    ssrc: u32,
    payload_type: u8,
    /// Rollover counter and sequence number of the next packet.
    index: u64,
    packets: u32,
    octets: u32,
}

impl Presenter {
    /// A presenter that begins its checks now. `seed` is random.
    pub(super) fn new(
        local: &IceCredentials,
        answer: Answer,
        remote: SocketAddr,
        (shape, ssrcs): (Shape, Ssrcs),
        seed: u64,
        now: Instant,
    ) -> Self {
        let link = Link::new(local, answer, remote, seed, CONNECT_WITHIN, now);
        Self { link, shape, ssrcs, media: None, sent: Sent::default() }
    }

    /// Takes in a datagram; what is to be sent is appended to `out`.
    pub(super) fn receive(&mut self, identity: &Identity, datagram: &mut [u8], now: Instant, out: &mut Vec<BytesMut>) {
        match self.link.receive(identity, datagram, now, out) {
            Heard::Nothing | Heard::Undecryptable | Heard::Rtp(_) => {}
            Heard::Live(agreed) => {
                if let Err(error) = self.go_live(&agreed, now) {
                    self.fail(Failure::Dtls(error.to_string()));
                }
            }
            Heard::Rtcp(plain) => self.receive_rtcp(plain, out),
            Heard::Failed(failure) => self.fail(failure),
        }
    }

    /// Sends what is due. `wall` is the time since 1970.
    pub(super) fn handle_timeout(&mut self, now: Instant, wall: Duration, out: &mut Vec<BytesMut>) {
        if let Some(failure) = self.link.handle_timeout(now, out) {
            self.fail(failure);
        }
        let Some(media) = &mut self.media else {
            return;
        };
        // After a hole (the machine slept) it goes on from here: nothing is made up for.
        while media.frame_at <= now {
            media.frame_at = later(media.frame_at, Duration::from_secs(1) / self.shape.fps, now);
            media.picture(self.shape, now, wall, &mut self.sent, out);
        }
        while self.shape.audio && media.audio_at <= now {
            media.audio_at = later(media.audio_at, AUDIO_EVERY, now);
            media.sound(wall, &mut self.sent, out);
        }
        if media.report_at <= now {
            media.report_at = now + REPORTS;
            let packet = media.report(self.shape, wall);
            self.link.send_rtcp(packet, out);
        }
    }

    /// When [`Presenter::handle_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Instant {
        let link = self.link.next_timeout();
        let Some(media) = &self.media else {
            return link;
        };
        let at = media.frame_at.min(media.report_at).min(link);
        if self.shape.audio { at.min(media.audio_at) } else { at }
    }

    /// Keys are agreed.
    pub(super) fn is_live(&self) -> bool {
        self.media.is_some()
    }

    /// What it has done so far.
    pub(super) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        let mut bye = Vec::new();
        rtcp::write_receiver_report(&mut bye, self.ssrcs.video, &[]);
        rtcp::write_bye(&mut bye, &[self.ssrcs.video, self.ssrcs.audio]);
        self.link.send_rtcp(bye, out);
        self.link.close(now, out);
        self.media = None;
    }

    fn fail(&mut self, failure: Failure) {
        self.sent.failure.get_or_insert(failure);
        self.link.end();
        self.media = None;
    }

    fn go_live(&mut self, agreed: &Agreed, now: Instant) -> Result<(), DtlsError> {
        let source = |ssrc, payload_type| Source { ssrc, payload_type, index: 1, packets: 0, octets: 0 };
        self.media = Some(Box::new(Media {
            sealer: RtpSealer::new(&agreed.ours)?,
            video: source(self.ssrcs.video, VIDEO_TYPE),
            audio: source(self.ssrcs.audio, AUDIO_TYPE),
            frame_at: now,
            audio_at: now,
            report_at: now,
            keyframe_at: now,
            gate: now,
            keyframe_wanted: true,
            budget: 0,
            debt: 0,
            recent: VecDeque::with_capacity(RECENT),
        }));
        Ok(())
    }

    fn receive_rtcp(&mut self, plain: &[u8], out: &mut Vec<BytesMut>) {
        let (Some(media), sent, video) = (&mut self.media, &mut self.sent, self.ssrcs.video) else {
            return;
        };
        rtcp::read(plain, |event| match event {
            // One that comes too early is answered when it is not.
            rtcp::Event::Pli { .. } | rtcp::Event::Fir { .. } => {
                sent.plis += 1;
                media.keyframe_wanted = true;
            }
            rtcp::Event::Nack { about, packet_id, bitmap } if about == video => {
                let followers = (0..16).filter(|bit| bitmap >> bit & 1 == 1);
                let ids = followers.map(|bit| packet_id.wrapping_add(bit + 1));
                for id in std::iter::once(packet_id).chain(ids) {
                    sent.nacks += 1;
                    if let Some((_, datagram)) = media.recent.iter().find(|(recent, _)| *recent == id) {
                        sent.resent += 1;
                        out.push(datagram.clone());
                    }
                }
            }
            rtcp::Event::Report { about, lost, .. } if about == video => sent.lost = lost.into(),
            rtcp::Event::Nack { .. }
            | rtcp::Event::Report { .. }
            | rtcp::Event::SenderReport { .. }
            | rtcp::Event::Remb { .. }
            | rtcp::Event::TransportCc { .. }
            | rtcp::Event::Bye { .. } => {}
        });
    }
}

impl Media {
    /// One picture: as many full packets as are due, all of the same size.
    fn picture(&mut self, shape: Shape, now: Instant, wall: Duration, sent: &mut Sent, out: &mut Vec<BytesMut>) {
        let share = shape.bitrate / 8 / u64::from(shape.fps);
        // The nearest picture, not the next one: thirds of a second do not add up to whole ones.
        let key = self.keyframe_wanted && now >= self.gate
            || now + Duration::from_millis(500) / shape.fps >= self.keyframe_at;
        let mut due = share;
        if key {
            self.keyframe_wanted = false;
            self.keyframe_at = now + shape.keyframes;
            self.gate = now + KEYFRAME_GATE;
            due += share * (KEYFRAME_SHARES - 1);
            self.debt += share * (KEYFRAME_SHARES - 1);
        } else {
            // Paid back over as many pictures as usually follow, so that the bitrate is what was asked for.
            let pictures = (shape.keyframes.as_secs_f64() * f64::from(shape.fps)).max(2.0) as u64;
            let paid = (share * (KEYFRAME_SHARES - 1) / (pictures - 1)).min(self.debt).min(share / 2);
            self.debt -= paid;
            due -= paid;
        }
        self.budget += due;
        let packets = (self.budget / PAYLOAD as u64).max(1);
        self.budget = self.budget.saturating_sub(packets * PAYLOAD as u64);
        let stamp = Stamp { part: if key { Part::Keyframe } else { Part::Delta }, sent: wall };
        let timestamp = rtp_time(wall, VIDEO_CLOCK);
        for number in 0..packets {
            let index = self.video.index;
            let payload = picture_payload(key, number == 0, stamp);
            let sealed = self.video.packet(&mut self.sealer, number + 1 == packets, timestamp, &payload);
            let Some(datagram) = sealed else { return };
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((index as u16, datagram.clone()));
            out.push(datagram);
        }
        sent.packets += packets;
        sent.frames += 1;
        sent.keyframes += u64::from(key);
    }

    /// 20 ms of sound.
    fn sound(&mut self, wall: Duration, sent: &mut Sent, out: &mut Vec<BytesMut>) {
        let mut payload = vec![0; AUDIO_PAYLOAD - stamp::LEN];
        // A TOC that says CELT, fullband, 20 ms, stereo, one frame (RFC 6716 §3.1).
        if let Some(first) = payload.first_mut() {
            *first = 0xfc;
        }
        payload.extend_from_slice(&Stamp { part: Part::Audio, sent: wall }.bytes());
        let timestamp = rtp_time(wall, AUDIO_CLOCK);
        if let Some(datagram) = self.audio.packet(&mut self.sealer, false, timestamp, &payload) {
            out.push(datagram);
            sent.packets += 1;
        }
    }

    fn report(&self, shape: Shape, wall: Duration) -> Vec<u8> {
        let mut packet = Vec::new();
        let ntp = ntp(wall);
        for (source, clock) in [(&self.video, VIDEO_CLOCK), (&self.audio, AUDIO_CLOCK)] {
            if clock == VIDEO_CLOCK || shape.audio {
                let Source { ssrc, packets, octets, .. } = *source;
                rtcp::write_sender_report(&mut packet, ssrc, ntp, rtp_time(wall, clock), packets, octets);
                rtcp::write_cname(&mut packet, ssrc, CNAME);
            }
        }
        packet
    }
}

impl Source {
    /// A protected packet; `None` when the library refuses, which it does not.
    fn packet(&mut self, sealer: &mut RtpSealer, marker: bool, timestamp: u32, payload: &[u8]) -> Option<BytesMut> {
        let mut packet = Vec::with_capacity(payload.len() + 64);
        rtp::write_header(&mut packet, marker, false, self.payload_type, self.index as u16, timestamp, self.ssrc, &[]);
        let header = packet.len();
        packet.extend_from_slice(payload);
        sealer.seal(&mut packet, 0, header, self.ssrc, self.index).ok()?;
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        Some(BytesMut::from(packet.as_slice()))
    }
}

/// A packet of VP8 (RFC 7741 §4.2): a descriptor, then of the first one the frame tag, for key frames with the size.
fn picture_payload(key: bool, first: bool, stamp: Stamp) -> Vec<u8> {
    let mut payload = Vec::with_capacity(PAYLOAD);
    match (first, key) {
        (true, true) => payload.extend_from_slice(&[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]),
        (true, false) => payload.extend_from_slice(&[0x10, 0x11, 0, 0]),
        (false, _) => payload.push(0x00),
    }
    payload.resize(PAYLOAD - stamp::LEN, 0x55);
    payload.extend_from_slice(&stamp.bytes());
    payload
}

/// The next of regular moments; when it is long past, one from now.
fn later(at: Instant, step: Duration, now: Instant) -> Instant {
    let next = at + step;
    if next + HOLE < now { now + step } else { next }
}

/// A moment on a media clock that begins in 1970.
fn rtp_time(wall: Duration, clock: u64) -> u32 {
    ((wall.as_micros() as u64) * (clock / 1_000) / 1_000) as u32
}

/// RFC 3550 §4.
fn ntp(wall: Duration) -> u64 {
    let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
    wall.as_secs().wrapping_add(SINCE_1900) << 32 | fraction
}

/// Bytes of a video payload.
pub(super) const PAYLOAD: usize = 1_150;
/// Bytes of an audio payload: 64 kbit/s.
const AUDIO_PAYLOAD: usize = 160;
const AUDIO_EVERY: Duration = Duration::from_millis(20);
/// A key frame is so many times as large as the average picture.
const KEYFRAME_SHARES: u64 = 4;
/// Encoders do not make key frames more often, whoever asks.
const KEYFRAME_GATE: Duration = Duration::from_millis(300);
const REPORTS: Duration = Duration::from_secs(1);
/// Packets kept to be sent again: two seconds.
const RECENT: usize = 512;
/// A hole that is not made up for.
const HOLE: Duration = Duration::from_millis(500);
const VIDEO_CLOCK: u64 = 90_000;
const AUDIO_CLOCK: u64 = 48_000;
/// In SDP and reports.
pub(super) const CNAME: &str = "load";
/// Seconds from 1900 to 1970.
const SINCE_1900: u64 = 2_208_988_800;

#[cfg(test)]
mod tests;
