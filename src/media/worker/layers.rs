//! Which layers each viewer gets.

use std::time::{Duration, Instant};

use super::{Count, Worker};
use crate::media::layer::{LayerChoice, Reason};
use crate::media::session::Half;
use crate::media::{Notice, SessionId};
use crate::wire::sdp::Kind;

impl Worker {
    /// A viewer's wish, if it is here. Sound has one layer.
    pub(super) fn choose_layer(&mut self, session: SessionId, kind: Kind, choice: LayerChoice, now: Instant) {
        let Some(session) = self.by_id.get(&session).and_then(|key| self.sessions.get(*key)) else {
            return;
        };
        if let Half::Viewer { at, .. } = session.half
            && kind == Kind::Video
        {
            let stream = session.stream;
            self.streams[stream].choose(at, choice);
            if self.streams[stream].is_layered() {
                self.adapt(stream, at, now);
            }
        }
    }

    /// Looks now and then which layers there are, which of them each viewer should get, and which key frames somebody
    /// waits for, be it because of that or because the last one was lost.
    pub(super) fn follow_layers(&mut self, key: usize, now: Instant) {
        if !self.streams[key].measure(now) {
            return;
        }
        if self.streams[key].is_layered() {
            for viewer in 0..self.streams[key].viewers.len() {
                self.adapt(key, viewer, now);
                self.tell_playing(key, viewer);
            }
            self.tell_layers(key, now);
        }
        let mut awaited = self.streams[key].awaited_layers();
        while awaited != 0 {
            let layer = awaited.trailing_zeros() as u8;
            awaited &= awaited - 1;
            self.catch_up_all(key, layer, now);
            self.want_keyframe(key, layer, now);
        }
    }

    fn adapt(&mut self, stream: usize, viewer: usize, now: Instant) {
        let Some(reason) = self.streams[stream].adapt(viewer, now) else {
            return;
        };
        self.counters.add(count(reason), 1);
    }

    fn tell_playing(&mut self, stream: usize, viewer: usize) {
        let Some(playing) = self.streams[stream].news_of(viewer) else {
            return;
        };
        let session = self.streams[stream].viewers.get(viewer).and_then(|v| self.sessions.get(v.session));
        if let Some(session) = session.map(|s| s.id) {
            self.notices.push(Notice::Playing { session, kind: Kind::Video, playing });
        }
    }

    /// Tells control of the presenter's layers, when they have changed.
    fn tell_layers(&mut self, stream: usize, now: Instant) {
        let stream = &mut self.streams[stream];
        let Some(session) = stream.presenter.and_then(|key| self.sessions.get(key)).map(|s| s.id) else {
            return;
        };
        let is_soon =
            stream.told_layers.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) < TELL_PAUSE);
        if is_soon {
            return;
        }
        let layers = stream.layer_infos();
        let is_news = stream.told_layers.as_ref().is_none_or(|(_, told)| {
            told.len() != layers.len() || told.iter().zip(&layers).any(|(old, new)| old.differs(new))
        });
        if is_news {
            stream.told_layers = Some((now, layers.clone()));
            self.notices.push(Notice::Layers { session, kind: Kind::Video, layers });
        }
    }
}

fn count(reason: Reason) -> Count {
    match reason {
        Reason::Hand => Count::SwitchHand,
        Reason::Start => Count::SwitchStart,
        Reason::Congestion => Count::SwitchCongestion,
        Reason::Room => Count::SwitchRoom,
        Reason::Stopped => Count::SwitchStopped,
    }
}

/// Layers are told at most once a second.
const TELL_PAUSE: Duration = Duration::from_secs(1);
