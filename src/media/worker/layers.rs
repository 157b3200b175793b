//! Which layers each viewer gets.

use std::time::Instant;

use super::Worker;
use crate::media::SessionId;
use crate::media::layer::LayerChoice;
use crate::media::session::Half;
use crate::wire::sdp::Kind;

impl Worker {
    /// A viewer's wish, if it is here. Sound has one layer.
    pub(super) fn choose_layer(&mut self, session: SessionId, kind: Kind, choice: LayerChoice, _now: Instant) {
        let Some(session) = self.by_id.get(&session).and_then(|key| self.sessions.get(*key)) else {
            return;
        };
        if let Half::Viewer { at, .. } = session.half
            && kind == Kind::Video
            && let Some(viewer) = self.streams[session.stream].viewers.get_mut(at)
        {
            viewer.choice = choice;
        }
    }
}
