//! The way of a packet: from the presenter's datagram to every viewer.

use std::sync::Arc;
use std::time::Instant;

use super::{Count, Worker};
use crate::media::egress::Egress;
use crate::media::ingress::{Dropped, Ingress};
use crate::media::mail::Mail;
use crate::media::outbox::Outbox;
use crate::media::packet::Packet;
use crate::media::session::{FIRST_REPORT, Half};
use crate::media::stream::{PACKETS_PER_TURN, Stream};
use crate::media::viewer::Viewer;
use crate::media::{CloseReason, Notice, Role, Route, Standing, StreamId};
use crate::peer::dtls::{Agreed, DtlsError};
use crate::peer::srtp::{Profile, RtpOpener, RtpSealer, SrtpError};
use crate::wire::sdp::{Kind, Section};

impl Worker {
    /// The stream's state on this worker.
    pub(super) fn stream(&mut self, route: &Arc<Route>) -> usize {
        if let Some(key) = self.by_stream.get(&route.stream) {
            return *key;
        }
        let key = self.streams.insert(Stream::new(route.clone(), self.shared.gop));
        self.by_stream.insert(route.stream, key);
        key
    }

    /// Keys are agreed: the session becomes what it was made for.
    pub(super) fn connected(&mut self, key: usize, agreed: &Agreed, now: Instant, out: &mut impl Outbox) {
        let session = &mut self.sessions[key];
        session.last_heard = now;
        session.summary.connected_after = Some(now.saturating_duration_since(session.created));
        let Half::Connecting { sections, standing } = &mut session.half else {
            return;
        };
        let (sections, standing) = (std::mem::take(sections), *standing);
        let (id, role) = (session.id, session.role);
        let remote = session.peer.ice.selected().map(|p| p.remote);
        let made = match role {
            Role::Presenter => self.become_presenter(key, agreed, sections, standing, now),
            Role::Viewer => self.become_viewer(key, agreed, sections, now),
        };
        let Some(remote) = remote.filter(|_| made.is_ok()) else {
            return self.drop_session(key, CloseReason::HandshakeFailed, now, out);
        };
        self.counters.add(Count::Connected, 1);
        self.counters.add(if agreed.profile == Profile::AesGcm { Count::ProfileGcm } else { Count::ProfileCm }, 1);
        self.notices.push(Notice::Connected { session: id, remote, profile: agreed.profile });
        if let Half::Viewer { vitals, .. } = &self.sessions[key].half {
            self.notices.push(Notice::Vitals { session: id, vitals: Arc::clone(vitals) });
        }
    }

    /// A presenter's SRTP datagram.
    pub(super) fn rtp(&mut self, key: usize, bytes: &mut [u8], arrived: Instant, now: Instant) {
        let session = &mut self.sessions[key];
        let Half::Presenter(ingress) = &mut session.half else {
            return self.counters.add(Count::DropUnknownSource, 1);
        };
        match ingress.receive(bytes, arrived) {
            Ok(received) => {
                session.last_heard = now;
                session.summary.media_after.get_or_insert(now.saturating_duration_since(session.created));
                self.counters.add(Count::PacketsReceived, 1);
                self.counters.add(Count::PayloadReceived, received.packet.payload.len() as u64);
                let (id, at) = (session.id, session.stream);
                if ingress.heard(now) {
                    self.notices.push(Notice::Flow { session: id, flows: true });
                }
                if received.is_new_source {
                    let source = &received.packet.source;
                    let (kind, format) = (source.kind, source.format.clone());
                    self.notices.push(Notice::Started { session: id, kind, format });
                }
                for packet in received.before.into_iter().chain([received.packet]) {
                    self.take(at, key, packet, now);
                }
            }
            Err(dropped) => {
                let (count, is_authentic) = match dropped {
                    Dropped::Srtp(SrtpError::Replay) => (Count::DropReplay, false),
                    Dropped::Srtp(_) => (Count::DropSrtp, false),
                    Dropped::Unknown => (Count::DropUnknownSource, true),
                    Dropped::Malformed => (Count::DropRtp, false),
                    Dropped::Padding => (Count::PacketsReceived, true),
                };
                if is_authentic {
                    session.last_heard = now;
                }
                self.counters.add(count, 1);
            }
        }
        self.arm(key);
    }

    /// Packets from the stream's home.
    pub(super) fn take_mailed(&mut self, stream: StreamId, packets: Vec<Arc<Packet>>, now: Instant) {
        let Some(key) = self.by_stream.get(&stream).copied() else {
            return;
        };
        for packet in packets {
            self.streams[key].take(packet, now);
        }
        self.streams[key].hurry();
        self.close_burst(key, now);
        self.follow_layers(key, now);
        self.part_misfits(key);
    }

    /// Closes the bursts that are due, of presenters and of slates.
    pub(super) fn close_bursts(&mut self, now: Instant) {
        for key in 0..self.streams.capacity() {
            if let Some(stream) = self.streams.get_mut(key)
                && stream.next_timeout().is_some_and(|at| at <= now)
            {
                stream.show_slate(now);
                self.close_burst(key, now);
            }
        }
    }

    /// Sends to some of the viewers who wait for a burst.
    pub(super) fn deliver(&mut self, now: Instant, out: &mut impl Outbox) {
        let (mut left, mut packets) = (VIEWERS_PER_TURN, 0);
        while left > 0
            && packets < PACKETS_PER_TURN
            && let Some(key) = self.busy.pop_front()
        {
            let Some(stream) = self.streams.get_mut(key) else {
                continue;
            };
            self.delivering = Some(key);
            let (served, sent) = stream.deliver(left, &mut self.run, out, now);
            self.delivering = None;
            left = left.saturating_sub(served.max(1));
            packets += sent.packets;
            if let Some((arrived, is_key)) = stream.arrived() {
                self.departures.push(Departure { arrived, is_key, viewers: served as u64 });
            }
            self.counters.add(Count::PacketsForwarded, sent.packets);
            self.counters.add(Count::PayloadForwarded, sent.bytes);
            if stream.is_sending() {
                self.busy.push_back(key);
            } else {
                // What gathered meanwhile leaves as one, larger burst.
                self.close_burst(key, now);
            }
        }
    }

    /// A viewer somewhere needs a key frame.
    pub(super) fn want_keyframe(&mut self, stream: usize, layer: u8, now: Instant) {
        let stream = &mut self.streams[stream];
        if !stream.ask_for_keyframe(layer, now) {
            return;
        }
        let (home, stream) = (stream.route.home(), stream.route.stream);
        match home {
            Some(home) if home == self.id => self.want_keyframe_here(stream, layer, now),
            Some(home) => self.outgoing.push((home, Mail::KeyframeWanted { stream, layer })),
            None => {}
        }
    }

    /// The presenter is asked for a key frame, if it is here and has not been asked just now.
    pub(super) fn want_keyframe_here(&mut self, stream: StreamId, layer: u8, now: Instant) {
        let Some(stream) = self.by_stream.get(&stream) else {
            return;
        };
        let Some(presenter) = self.streams[*stream].presenter else {
            return;
        };
        if let Some(Half::Presenter(ingress)) = self.sessions.get_mut(presenter).map(|s| &mut s.half) {
            ingress.want_keyframe(layer, now);
            self.feedback_soon(presenter, now);
        }
    }

    fn become_presenter(
        &mut self,
        key: usize,
        agreed: &Agreed,
        sections: Vec<Section>,
        standing: Option<Standing>,
        now: Instant,
    ) -> Result<(), DtlsError> {
        let opener = RtpOpener::new(&agreed.theirs)?;
        let ssrc = (self.randomness)() as u32;
        let session = &mut self.sessions[key];
        let stream = &mut self.streams[session.stream];
        let presentation = if standing.is_none() {
            // In this order: a slate elsewhere that gets a higher number sees that somebody presents.
            stream.route.set_home(Some(self.id));
            stream.route.next_presentation()
        } else {
            0
        };
        session.half = Half::Presenter(Box::new(Ingress::new(opener, sections, presentation, ssrc, now)));
        if let Some(standing) = standing {
            self.stand_by(key, standing);
        } else {
            stream.presenter = Some(key);
        }
        Ok(())
    }

    fn become_viewer(
        &mut self,
        key: usize,
        agreed: &Agreed,
        sections: Vec<Section>,
        now: Instant,
    ) -> Result<(), DtlsError> {
        let sealer = RtpSealer::new(&agreed.ours)?;
        let path = self.sessions[key].peer.ice.selected().ok_or(DtlsError::Bounds)?;
        let (mut audio, mut video) = (None, None);
        for mut section in sections {
            let Some(source) = section.sources.pop() else { continue };
            let egress = match section.kind {
                Kind::Audio => &mut audio,
                Kind::Video => &mut video,
            };
            *egress = Some(Egress::new(source, self.share(section), (self.randomness)() as u16));
        }
        let stream = self.sessions[key].stream;
        let at = self.streams[stream].add_viewer(Viewer::new(key, path, sealer, audio, video));
        self.streams[stream].route.set_outpost(self.id, true);
        self.sessions[key].half = Half::Viewer { at, report_at: now + FIRST_REPORT, vitals: Arc::default() };
        if self.streams[stream].viewers.len() == 1 {
            self.want_cache(stream);
        }
        self.catch_up(stream, at, now);
        let layer = self.streams[stream].best_layer();
        self.want_keyframe(stream, layer, now);
        Ok(())
    }

    /// What was agreed, the same for all who agreed on the same. Viewers of one kind of browser do, but for our sources.
    fn share(&mut self, section: Section) -> Arc<Section> {
        if let Some(known) = self.agreed.iter().find(|known| ***known == section) {
            return Arc::clone(known);
        }
        if self.agreed.len() >= MOST_AGREED {
            self.agreed.pop_front();
        }
        let section = Arc::new(section);
        self.agreed.push_back(Arc::clone(&section));
        section
    }

    /// A packet of the presenter on this worker.
    fn take(&mut self, at: usize, presenter: usize, packet: Packet, now: Instant) {
        if let Some(packet) = self.cast(at, presenter, packet, now) {
            self.distribute(at, packet, now);
        }
    }

    /// A packet that viewers get.
    pub(super) fn distribute(&mut self, at: usize, packet: Packet, now: Instant) {
        if self.streams[at].take(Arc::new(packet), now) {
            self.close_burst(at, now);
            self.follow_layers(at, now);
            self.part_misfits(at);
        }
    }

    /// The presenter has begun to send something else: tells of the viewers who did not agree on it.
    fn part_misfits(&mut self, key: usize) {
        for session in self.streams[key].misfits() {
            if let Some(session) = self.sessions.get(session).map(|s| s.id) {
                self.notices.push(Notice::Unplayable { session });
            }
        }
    }

    /// Sends the burst on its way if it is due, to our viewers and to the outposts.
    fn close_burst(&mut self, key: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let (id, home, outposts) = (stream.route.stream, stream.route.home(), stream.route.outposts());
        if let Some(packets) = stream.close_burst(now)
            && home == Some(self.id)
        {
            for outpost in outposts.filter(|o| *o != self.id) {
                self.outgoing.push((outpost, Mail::Packets { stream: id, packets: packets.to_vec() }));
            }
        }
        if stream.start(now) && !self.busy.contains(&key) {
            self.busy.push_back(key);
        }
        for (count, cut) in [(Count::CutLate, &mut stream.shed), (Count::CutFull, &mut stream.missed)] {
            self.counters.add(count, std::mem::take(cut));
        }
        self.count_given_up(key);
        self.weigh_cache(key);
    }

    /// What [`Worker::turn`] has sent was in the kernel's hands by then.
    pub fn departed(&mut self, at: Instant) {
        for Departure { arrived, is_key, viewers } in self.departures.drain(..) {
            self.counters.delay(is_key, at.saturating_duration_since(arrived), viewers);
        }
    }
}

/// Viewers that were sent to in one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    /// When the kernel got the first packet that they were sent.
    arrived: Instant,
    /// Part of a key frame.
    is_key: bool,
    viewers: u64,
}

/// Between two looks at the socket.
const VIEWERS_PER_TURN: usize = 64;
/// Kinds of browsers, in their versions, that come at one time.
const MOST_AGREED: usize = 32;
