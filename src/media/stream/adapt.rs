//! Which layers the viewers of a stream get.

use std::time::{Duration, Instant};

use super::Stream;
use crate::media::bandwidth::Bandwidth;
use crate::media::layer::{self, LayerChoice, LayerInfo, Playing, Reason, Scale};
use crate::wire::sdp::Kind;

impl Stream {
    /// Once per interval: what layers there are. `true` when it has looked: then it is time to adapt viewers, and to ask
    /// for the key frames that they wait for.
    pub fn measure(&mut self, now: Instant) -> bool {
        self.tracks[Kind::Video as usize].measure(now)
    }

    /// There is something to choose from.
    pub fn is_layered(&self) -> bool {
        self.tracks[Kind::Video as usize].is_layered()
    }

    /// The layer that a viewer gets of whom nothing is known.
    pub fn best_layer(&self) -> u8 {
        self.tracks[Kind::Video as usize].ladder.last().map_or(0, |rung| rung.layer)
    }

    /// Layers whose next key frame somebody here waits for, and could show; one bit each.
    pub fn awaited_layers(&self) -> u64 {
        let track = &self.tracks[Kind::Video as usize];
        let mut awaited = 0;
        for source in track.layers().iter().filter_map(|layer| layer.source.as_ref()) {
            let waits = |v: &super::Viewer| v.video.as_ref().is_some_and(|e| e.awaits(source));
            if source.presentation == self.presentation && self.viewers.iter().any(waits) {
                awaited |= 1 << (source.layer % 64);
            }
        }
        awaited
    }

    /// All layers that have been seen of this presenter.
    pub fn layer_infos(&self) -> Vec<LayerInfo> {
        self.tracks[Kind::Video as usize].infos()
    }

    /// Sets which layers a viewer wishes. It gets them with the next look.
    pub fn choose(&mut self, viewer: usize, choice: LayerChoice) {
        if let Some(viewer) = self.viewers.get_mut(viewer) {
            viewer.choice = choice;
            viewer.has_chosen = true;
        }
    }

    /// Decides which layers a viewer should get; says why when they are others than before. The allocation of what is
    /// known of its way happens here, so that streams with one layer do not pay for it.
    pub fn adapt(&mut self, viewer: usize, now: Instant) -> Option<Reason> {
        let track = &self.tracks[Kind::Video as usize];
        let viewer = self.viewers.get_mut(viewer)?;
        let video = viewer.video.as_mut()?;
        let extension = video.transport_cc();
        let bandwidth = video.bandwidth.get_or_insert_with(|| Box::new(Bandwidth::new(extension, now)));
        let allowed = viewer.choice.allowed(&track.ladder);
        let current = (video.wanted, video.scale);
        let has_chosen = std::mem::take(&mut viewer.has_chosen);
        let (rung, reason) = layer::pick(&allowed, viewer.choice.is_by_hand(), current, bandwidth, now)?;
        bandwidth.switched(now);
        if reason == Reason::Congestion {
            // What comes now is lost or late, and so would be the key frame behind it.
            video.held_until = Some(now + HOLD);
        }
        (video.wanted, video.scale) = (rung.layer, rung.scale());
        Some(if has_chosen { Reason::Hand } else { reason })
    }

    /// What a viewer gets, if that is something else than when it was asked last.
    pub fn news_of(&mut self, viewer: usize) -> Option<Playing> {
        let viewer = self.viewers.get_mut(viewer)?;
        let (layer, scale) = viewer.video.as_ref()?.playing()?;
        let bounded = |at: u8| (at != u8::MAX).then_some(at);
        let playing = Playing { layer, spatial: bounded(scale.spatial), temporal: bounded(scale.temporal) };
        (viewer.told.replace(playing) != Some(playing)).then_some(playing)
    }

    /// Another presenter: viewers begin with its first layer.
    pub(super) fn want_first_layer(&mut self) {
        for video in self.viewers.iter_mut().filter_map(|v| v.video.as_mut()) {
            (video.wanted, video.scale) = (0, Scale::ALL);
        }
    }
}

/// A presenter that is asked sends a key frame sooner.
const HOLD: Duration = Duration::from_millis(800);
