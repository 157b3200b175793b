//! How sessions end: a goodbye that cannot be missed, then nothing of them is left.

use std::time::Instant;

use super::{Count, Owner, Worker};
use crate::media::outbox::Outbox;
use crate::media::session::{CLOSING, Closing, GOODBYE_INTERVAL, GOODBYES, Half, Session};
use crate::media::{CloseReason, Notice};
use crate::wire::rtcp;

impl Worker {
    /// Ends a session from our side: RTCP BYE and close_notify, sent three times, then 403 to its checks for a while
    /// (RFC 7675 §5.2). Control hears of it at once.
    pub(super) fn end(&mut self, key: usize, reason: CloseReason, now: Instant, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let (live, path) = (session.peer.is_live(), session.peer.ice.selected());
        let Some(path) = path.filter(|_| live) else {
            return self.drop_session(key, reason, now, out);
        };
        self.current = Some(key);
        let goodbye_rtcp = self.bye(key);
        self.leave(key, reason, now);

        let session = &mut self.sessions[key];
        let mut goodbye = Vec::new();
        if let Some(mut packet) = goodbye_rtcp
            && session.peer.seal_rtcp(&mut packet).is_ok()
        {
            goodbye.push(bytes::BytesMut::from(packet.as_slice()));
        }
        session.peer.close(&self.shared.identity, now, &mut goodbye);
        for datagram in &goodbye {
            out.send(path, datagram, datagram.len());
        }
        let again_at = Some(now + GOODBYE_INTERVAL);
        session.half = Half::Closing(Closing { until: now + CLOSING, again_at, times: 1, goodbye, path });
        self.arm(key);
        self.current = None;
    }

    /// Forgets a session at once: its peer is gone, or was never there.
    pub(super) fn drop_session(&mut self, key: usize, reason: CloseReason, now: Instant, out: &mut impl Outbox) {
        if reason == CloseReason::PeerClosed {
            self.send_flights(key, out);
        }
        self.leave(key, reason, now);
        self.forget(key);
    }

    /// Says goodbye once more, or forgets the session when its time is over.
    pub(super) fn repeat_goodbye(&mut self, key: usize, now: Instant, out: &mut impl Outbox) {
        let Half::Closing(closing) = &mut self.sessions[key].half else {
            return;
        };
        if closing.until <= now {
            return self.forget(key);
        }
        if closing.again_at.is_some_and(|at| at <= now) {
            for datagram in &closing.goodbye {
                out.send(closing.path, datagram, datagram.len());
            }
            closing.times += 1;
            closing.again_at = (closing.times < GOODBYES).then_some(now + GOODBYE_INTERVAL);
            if closing.again_at.is_none() {
                closing.goodbye = Vec::new();
            }
        }
    }

    /// Takes a session out of its stream and tells control. A session that has left already is left alone.
    fn leave(&mut self, key: usize, reason: CloseReason, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if self.by_id.get(&session.id) != Some(&key) {
            return;
        }
        self.by_id.remove(&session.id);
        let mut summary = session.summary;
        summary.lasted = now.saturating_duration_since(session.created);
        let (id, at) = (session.id, session.stream);

        match &session.half {
            Half::Presenter(ingress) => {
                (summary.packets, summary.bytes, summary.lost, summary.resent) = ingress.totals();
                let stream = &mut self.streams[at];
                if ingress.has_rivals() {
                    stream.route.lineup().leave(id);
                }
                if stream.presenter == Some(key) {
                    stream.presenter = None;
                    stream.forget_cache();
                    // A presenter that took over on another worker has made that one the home.
                    if stream.route.home() == Some(self.id) {
                        stream.route.set_home(None);
                    }
                }
            }
            Half::Viewer { at: place, vitals, .. } => {
                let (stream, place) = (at, *place);
                if let Some((viewer, moved)) = self.streams[stream].remove_viewer(place) {
                    viewer.tell(vitals, session.created);
                    let signs = vitals.read();
                    (summary.packets, summary.bytes, summary.resent) = (signs.packets, signs.bytes, signs.resent);
                    summary.lost = summary.lost.max(signs.lost);
                    summary.media_after = viewer.first_media.map(|at| at.saturating_duration_since(session.created));
                    for place in moved {
                        self.tell_place(stream, place);
                    }
                }
                let stream = &self.streams[at];
                if stream.viewers.is_empty() {
                    stream.route.set_outpost(self.id, false);
                }
            }
            Half::Connecting { .. } | Half::Closing(_) => {}
        }
        self.shared.cached.add(self.streams[at].weigh());
        self.notices.push(Notice::Closed { session: id, reason, summary });
        self.drop_stream_if_unused(at, key);
    }

    /// Tells a session where its viewer is now.
    fn tell_place(&mut self, stream: usize, place: usize) {
        let session = self.streams[stream].viewers.get(place).map(|v| v.session);
        if let Some(Half::Viewer { at, .. }) = session.and_then(|s| self.sessions.get_mut(s)).map(|s| &mut s.half) {
            *at = place;
        }
    }

    fn drop_stream_if_unused(&mut self, stream: usize, leaving: usize) {
        let in_use = |(key, session): (usize, &Session)| {
            key != leaving && session.stream == stream && !matches!(session.half, Half::Closing(_))
        };
        if self.streams[stream].is_empty() && !self.sessions.iter().any(in_use) {
            let gone = self.streams.remove(stream);
            self.by_stream.remove(&gone.route.stream);
            self.busy.retain(|s| *s != stream);
        }
    }

    fn forget(&mut self, key: usize) {
        let Some(session) = self.sessions.try_remove(key) else {
            return;
        };
        if let Some(armed) = session.armed {
            self.timers.remove(&(armed, key));
        }
        for ufrag in session.peer.ice.ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for address in session.peer.ice.addresses() {
            if matches!(self.by_address.get(&address), Some(Owner::Here(k)) if *k == key) {
                self.by_address.remove(&address);
            }
        }
        self.shared.lobby.release(session.id, &session.ufrag, &session.peer.ice);
    }

    /// The BYE of what we send to this peer (RFC 3550 §6.6), behind an empty report.
    fn bye(&self, key: usize) -> Option<Vec<u8>> {
        let session = &self.sessions[key];
        let Half::Viewer { at, .. } = &session.half else {
            return None;
        };
        let viewer = self.streams[session.stream].viewers.get(*at)?;
        let ssrcs: Vec<u32> = viewer.egresses().flat_map(|(_, egress)| egress.ssrcs()).collect();
        let mut packet = Vec::new();
        rtcp::write_receiver_report(&mut packet, *ssrcs.first()?, &[]);
        rtcp::write_bye(&mut packet, &ssrcs);
        Some(packet)
    }

    /// Counts what a closed session's counters would otherwise lose.
    pub(super) fn count(&self, count: Count, n: u64) {
        self.counters.add(count, n);
    }
}
