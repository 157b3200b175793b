//! Presenters that are not the only one of their stream: which of them viewers get.

use std::time::Instant;

use super::{Count, Worker};
use crate::media::lineup::Part;
use crate::media::packet::Packet;
use crate::media::session::Half;
use crate::media::{Notice, Standing};
use crate::wire::sdp::Kind;

impl Worker {
    /// A presenter with its keys stands by.
    pub(super) fn stand_by(&mut self, key: usize, standing: Standing) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let Half::Presenter(ingress) = &mut session.half {
            ingress.stand_by();
            self.streams[session.stream].route.lineup().enter(session.id, standing);
        }
    }

    /// A presenter's packet, if viewers get it now.
    pub(super) fn cast(&mut self, at: usize, key: usize, packet: Packet, now: Instant) -> Option<Packet> {
        let (session, stream) = (self.sessions.get_mut(key)?, &mut self.streams[at]);
        let Half::Presenter(ingress) = &mut session.half else {
            return None;
        };
        if !ingress.has_rivals() {
            // Without the seat it has been taken over.
            return (stream.presenter == Some(key)).then_some(packet);
        }
        let is_key = packet.keyframe && packet.source.kind == Kind::Video && packet.source.layer == 0;
        let part = stream.route.lineup().look(session.id, packet.source.kind, is_key, packet.received_at);
        match part {
            // Parameter sets in front of it may have taken over: then its source has been renewed meanwhile.
            Part::OnAir => {
                let packet = ingress.renew(packet).and_then(|packet| ingress.behind(packet));
                self.counters.add(Count::DropStandby, ingress.dropped());
                packet
            }
            Part::TakeOver => self.take_over(at, key, packet, now),
            Part::StandBy | Part::Due => {
                if stream.presenter == Some(key) {
                    stream.presenter = None;
                }
                ingress.keep(packet);
                if part == Part::Due {
                    ingress.want_keyframe(0, now);
                    self.feedback_soon(key, now);
                }
                None
            }
        }
    }

    /// Sends on what a presenter has held back, as far as it is due.
    pub(super) fn release(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let at = session.stream;
        if let Half::Presenter(ingress) = &mut session.half {
            for packet in ingress.released(now) {
                self.distribute(at, packet, now);
            }
        }
    }

    /// Viewers get this presenter from its packet on.
    fn take_over(&mut self, at: usize, key: usize, packet: Packet, now: Instant) -> Option<Packet> {
        let (session, stream) = (self.sessions.get_mut(key)?, &mut self.streams[at]);
        let Half::Presenter(ingress) = &mut session.half else {
            return None;
        };
        stream.presenter = Some(key);
        stream.route.set_home(Some(self.id));
        let is_key = packet.keyframe;
        let packet = if packet.source.kind == Kind::Video {
            ingress.keep(packet);
            None
        } else {
            Some(packet)
        };
        ingress.go_on_air(stream.route.next_presentation(), now);
        let packet = packet.and_then(|packet| ingress.renew(packet));
        if !is_key {
            ingress.want_keyframe(0, now);
        }
        self.notices.push(Notice::OnAir { session: session.id });
        self.tell_clocks(key);
        self.release(key, now);
        self.feedback_soon(key, now);
        packet
    }
}
