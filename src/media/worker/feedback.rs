//! RTCP both ways.

use std::time::{Duration, Instant};

use super::{Count, Worker};
use crate::media::clock::WallClock;
use crate::media::egress::Egress;
use crate::media::mail::Mail;
use crate::media::outbox::Outbox;
use crate::media::session::{FIRST_REPORT, Half, REPORT_INTERVAL, STEPS};
use crate::media::{Notice, Step};
use crate::peer::ice::Path;
use crate::peer::srtp::SrtpError;
use crate::wire::rtcp;
use crate::wire::sdp::Kind;

impl Worker {
    /// An SRTCP datagram.
    pub(super) fn rtcp(&mut self, key: usize, bytes: &mut [u8], path: Path, now: Instant, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        let plain = match session.peer.open_rtcp(bytes) {
            Ok(len) => bytes.get(..len).unwrap_or_default(),
            Err(error) => {
                let count = if error == SrtpError::Replay { Count::DropReplay } else { Count::DropSrtp };
                return self.count(count, 1);
            }
        };
        session.last_heard = now;
        if session.peer.ice.follow(path) {
            self.move_media(key);
            self.tell_step(key, Step::Selected(path.remote));
        }
        match &self.sessions[key].half {
            Half::Presenter(_) => self.presenter_said(key, plain, now),
            Half::Viewer { at, .. } => {
                let at = *at;
                self.viewer_said(key, at, plain, now, out);
            }
            Half::Connecting { .. } | Half::Closing(_) => {}
        }
    }

    /// Says to a presenter what is due.
    pub(super) fn presenter_feedback(&mut self, key: usize, now: Instant, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        let Half::Presenter(ingress) = &mut session.half else {
            return;
        };
        if ingress.has_stopped(now) {
            self.notices.push(Notice::Flow { session: session.id, flows: false });
        }
        self.scratch.clear();
        let requests = ingress.feedback(now, &mut self.scratch);
        self.counters.add(Count::KeyframesAsked, requests);
        if let Some(health) = ingress.health(now) {
            session.steps = session.steps.saturating_add(1).min(STEPS);
            self.notices.push(Notice::Health { session: session.id, health: Box::new(health) });
        }
        self.send_rtcp(key, out);
    }

    /// Sends a viewer its sender reports: our clock and its timestamps, so that sound and picture stay together.
    pub(super) fn viewer_report(&mut self, key: usize, now: Instant, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        let Half::Viewer { at, report_at, vitals } = &mut session.half else {
            return;
        };
        if *report_at > now {
            return;
        }
        *report_at = now + REPORT_INTERVAL;
        let at = *at;
        let stream = &self.streams[session.stream];
        let Some(viewer) = stream.viewers.get(at) else {
            return;
        };
        if viewer.video.as_ref().is_some_and(|video| !video.is_straight()) {
            // Its pictures are reported on as soon as their timestamps say when they were made.
            *report_at = now + FIRST_REPORT;
        }
        viewer.tell(vitals, session.created);
        session.steps = session.steps.saturating_add(1).min(STEPS);
        let by_report = stream.is_in_sync();
        let clock = &self.shared.clock;

        self.scratch.clear();
        for (kind, egress) in viewer.egresses() {
            let Some((source, shift)) = egress.timeline() else {
                continue;
            };
            let track = &stream.tracks[kind as usize];
            let Some(rtp) = track.rtp_now(source, clock, now, by_report) else {
                continue;
            };
            let rtp = rtp.wrapping_add(shift);
            rtcp::write_sender_report(
                &mut self.scratch,
                egress.ssrc,
                clock.ntp(now),
                rtp,
                egress.packets,
                egress.octets,
            );
        }
        if self.scratch.is_empty() {
            return;
        }
        let ssrcs: Vec<u32> = viewer.egresses().map(|(_, egress)| egress.ssrc).collect();
        for ssrc in ssrcs {
            rtcp::write_cname(&mut self.scratch, ssrc, CNAME);
        }
        self.send_rtcp(key, out);
    }

    /// The presenter's next feedback is due now, not at its timer.
    pub(super) fn feedback_soon(&mut self, presenter: usize, now: Instant) {
        if let Some(session) = self.sessions.get_mut(presenter) {
            if let Some(armed) = session.armed.replace(now) {
                self.timers.remove(&(armed, presenter));
            }
            self.timers.insert((now, presenter));
        }
    }

    fn presenter_said(&mut self, key: usize, plain: &[u8], now: Instant) {
        let session = &mut self.sessions[key];
        let Half::Presenter(ingress) = &mut session.half else {
            return;
        };
        let clock = self.shared.clock;
        let mut told = false;
        rtcp::read(plain, |event| {
            if let rtcp::Event::SenderReport { ssrc, ntp, rtp, .. } = event {
                told |= ingress.sender_report(ssrc, ntp, rtp, &clock, now);
            }
        });
        if !told {
            return;
        }
        self.tell_clocks(key);
    }

    /// Tells wherever there are viewers how the clocks of the presenter read, if it is the one that they get.
    pub(super) fn tell_clocks(&mut self, key: usize) {
        let session = &self.sessions[key];
        let stream = &mut self.streams[session.stream];
        let Half::Presenter(ingress) = &session.half else {
            return;
        };
        if stream.presenter != Some(key) {
            return;
        }
        let outposts: Vec<_> = stream.route.outposts().filter(|o| *o != self.id).collect();
        for (source, sync) in ingress.syncs() {
            stream.tracks[source.kind as usize].set_sync(source.layer, source.id, sync);
            for outpost in &outposts {
                self.outgoing.push((
                    *outpost,
                    Mail::Clock {
                        stream: stream.route.stream,
                        kind: source.kind,
                        layer: source.layer,
                        source: source.id,
                        sync,
                    },
                ));
            }
        }
    }

    fn viewer_said(&mut self, key: usize, at: usize, plain: &[u8], now: Instant, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        let stream_key = session.stream;
        let clock = self.shared.clock;
        let Half::Viewer { vitals, .. } = &session.half else {
            return;
        };
        let stream = &mut self.streams[stream_key];
        let Some(viewer) = stream.viewers.get_mut(at) else {
            return;
        };
        let mut wants_keyframe = None;
        let mut resent = 0;
        let mut items = 0;
        let mut messages = 0;
        let mut reported_lost = 0;
        rtcp::read(plain, |event| match event {
            rtcp::Event::Nack { about, packet_id, bitmap } => {
                items += 1;
                if items <= MAX_NACK_ITEMS {
                    let numbers =
                        (0..16).filter(|bit| bitmap & (1 << bit) != 0).map(|bit| packet_id.wrapping_add(bit + 1));
                    let numbers = std::iter::once(packet_id).chain(numbers);
                    resent += viewer.resend(about, numbers, &stream.tracks, now, &mut self.run, out);
                }
            }
            rtcp::Event::Pli { about } | rtcp::Event::Fir { about } => {
                // Chromium asks about 0 before it has got anything.
                let is_meant = |(kind, e): &(Kind, &Egress)| *kind == Kind::Video && (e.ssrc == about || about == 0);
                if let Some((_, egress)) = viewer.egresses().find(is_meant) {
                    wants_keyframe = Some(egress.wanted);
                }
            }
            rtcp::Event::Report { about, lost, fraction_lost, last_sr, delay, .. } => {
                let lost = u64::try_from(lost).unwrap_or(0);
                // The picture stands for the session; where there is none, the sound.
                if viewer.video.as_ref().or(viewer.audio.as_ref()).is_some_and(|e| e.ssrc == about) {
                    vitals.reported(fraction_lost, lost, round_trip(&clock, last_sr, delay, now));
                }
                if let Some(video) = viewer.video.as_mut().filter(|e| e.ssrc == about) {
                    reported_lost = lost;
                    if let Some(bandwidth) = &mut video.bandwidth {
                        bandwidth.report(fraction_lost, now);
                    }
                }
            }
            rtcp::Event::Remb { bitrate } => {
                if let Some(bandwidth) = viewer.video.as_mut().and_then(|e| e.bandwidth.as_mut()) {
                    bandwidth.estimate(bitrate, now);
                }
            }
            rtcp::Event::TransportCc { body } => {
                messages += 1;
                if messages <= MAX_MESSAGES
                    && let Some(bandwidth) = viewer.video.as_mut().and_then(|e| e.bandwidth.as_mut())
                {
                    bandwidth.feedback(body, now);
                }
            }
            // A viewer's goodbye is its DTLS close or its DELETE.
            rtcp::Event::SenderReport { .. } | rtcp::Event::Bye { .. } => {}
        });
        session.summary.lost = session.summary.lost.max(reported_lost);
        self.counters.add(Count::PacketsResent, resent);
        if let Some(layer) = wants_keyframe {
            self.counters.add(Count::KeyframesWanted, 1);
            self.want_keyframe(stream_key, layer, now);
            self.begin_again(stream_key, at, now);
        }
    }

    fn send_rtcp(&mut self, key: usize, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        if self.scratch.is_empty() || session.peer.seal_rtcp(&mut self.scratch).is_err() {
            return;
        }
        if let Some(path) = session.peer.ice.selected() {
            out.send(path, &self.scratch, self.scratch.len());
        }
    }
}

/// From our sender report to this answer to it, without the time that the viewer kept it (RFC 3550 §6.4.1).
fn round_trip(clock: &WallClock, last_sr: u32, delay: u32, now: Instant) -> Option<Duration> {
    let elapsed = ((clock.ntp(now) >> 16) as u32).wrapping_sub(last_sr).wrapping_sub(delay);
    // In 1/65536 s. A clock that runs a little fast makes it less than nothing.
    let good = last_sr != 0 && elapsed < LONGEST_ROUND_TRIP;
    good.then(|| Duration::from_micros((u64::from(elapsed) * 1_000_000) >> 16))
}

/// 16 s, in 1/65536 s: what is more is no round trip.
const LONGEST_ROUND_TRIP: u32 = 16 << 16;

/// NACK items of one datagram that are looked at, 17 packets each.
const MAX_NACK_ITEMS: u32 = 16;
/// Transport-wide feedback messages of one datagram that are looked at.
const MAX_MESSAGES: u32 = 4;
/// The same for audio and video, so that players keep them together.
const CNAME: &str = "tribune";
