//! Layers: what a viewer may ask for, and what there is to choose from.

use std::sync::Arc;
use std::time::Instant;

use super::bandwidth::{Bandwidth, Verdict};

/// Who chooses the layers that a viewer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerChoice {
    /// We do: the best that the way to the viewer carries.
    #[default]
    Automatic,
    /// We do, within what the viewer wants.
    Limited(LayerLimits),
}

/// What a viewer wants; `None` = no such wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerLimits {
    /// This simulcast encoding, by its index in the presenter's offer, whatever the bandwidth; while it is not sent, the
    /// next lower one that is.
    pub layer: Option<u8>,
    /// This spatial layer of an encoding, whatever the bandwidth.
    pub spatial: Option<u8>,
    /// This temporal layer, whatever the bandwidth.
    pub temporal: Option<u8>,
    /// No spatial layer above this one.
    pub max_spatial: Option<u8>,
    /// No temporal layer above this one.
    pub max_temporal: Option<u8>,
    /// No picture wider than this, in pixels, as far as there is a narrower one.
    pub max_width: Option<u16>,
    /// No picture higher than this, in pixels, as far as there is a lower one.
    pub max_height: Option<u16>,
}

/// One layer of a track, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Simulcast encoding: its index in the presenter's offer; 0 without simulcast.
    pub layer: u8,
    /// The encoding's rid; `None` without simulcast.
    pub rid: Option<Arc<str>>,
    /// Spatial layer; `None` where the packets do not tell.
    pub spatial: Option<u8>,
    /// Temporal layer; `None` where the packets do not tell.
    pub temporal: Option<u8>,
    /// Bits per second of payload, with all that this layer builds on; 0 = not sent now.
    pub bitrate: u64,
    /// Pixels, when its last key frame told.
    pub width: Option<u16>,
    /// Pixels, when its last key frame told.
    pub height: Option<u16>,
}

impl LayerInfo {
    /// Is the other worth telling of?
    pub fn differs(&self, other: &Self) -> bool {
        let tenth = self.bitrate / 10;
        let is_close = other.bitrate.abs_diff(self.bitrate) <= tenth && (self.bitrate == 0) == (other.bitrate == 0);
        !is_close || Self { bitrate: 0, ..self.clone() } != Self { bitrate: 0, ..other.clone() }
    }
}

/// What a viewer gets at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playing {
    /// Simulcast encoding.
    pub layer: u8,
    /// Highest spatial layer; `None`: all there are.
    pub spatial: Option<u8>,
    /// Highest temporal layer; `None`: all there are.
    pub temporal: Option<u8>,
}

/// The layers within one encoding that a viewer gets: up to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Highest spatial layer.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
}

impl Scale {
    /// Whatever there is.
    pub const ALL: Self = Self { spatial: u8::MAX, temporal: u8::MAX };
}

/// A combination of layers that can be sent, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Simulcast encoding.
    pub layer: u8,
    /// Highest spatial layer in it.
    pub spatial: u8,
    /// Highest temporal layer in it.
    pub temporal: u8,
    /// These are all layers that the encoding has.
    pub is_whole: bool,
    /// Bits per second of payload.
    pub cost: u64,
    /// The most that it cost in the last seconds.
    pub peak: u64,
    /// Width and height in pixels, when known.
    pub size: Option<(u16, u16)>,
}

/// Why a viewer gets other layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asked for them, or for an end of them.
    Hand,
    /// Nothing speaks against the best there is.
    Start,
    /// The way to it carries no more.
    Congestion,
    /// The way to it has proved to carry more.
    Room,
    /// The presenter stopped sending what it got.
    Stopped,
}

impl Rung {
    /// What a viewer's numbering needs to know of it.
    pub fn scale(&self) -> Scale {
        if self.is_whole { Scale::ALL } else { Scale { spatial: self.spatial, temporal: self.temporal } }
    }

    /// Is it clearly better than the other: more of the same encoding, a larger picture, or, of one size, a quarter more
    /// of rate?
    pub fn beats(&self, other: &Self) -> bool {
        if self.layer == other.layer {
            return (self.spatial, self.temporal) > (other.spatial, other.temporal);
        }
        match (self.area(), other.area()) {
            (Some(ours), Some(theirs)) if ours != theirs => ours > theirs,
            _ => self.cost > other.cost + other.cost / 4,
        }
    }

    /// What it is ordered by: what looks better comes later.
    pub fn rank(&self) -> (u32, u8, u64) {
        (self.area().unwrap_or(0), self.temporal, self.cost)
    }

    fn area(&self) -> Option<u32> {
        self.size.map(|(width, height)| u32::from(width) * u32::from(height))
    }
}

impl LayerChoice {
    /// The rungs of a ladder that a viewer may get, the least first; never none unless the ladder has none.
    pub fn allowed(&self, ladder: &[Rung]) -> Vec<Rung> {
        let limits = match self {
            Self::Automatic => LayerLimits::default(),
            Self::Limited(limits) => *limits,
        };
        let wanted: Vec<Rung> = ladder.iter().filter(|rung| limits.admit(rung, ladder)).copied().collect();
        let least = wanted.first().map(|rung| (rung.layer, rung.spatial));
        let finest = |of: &Rung| {
            let same = wanted.iter().filter(|r| (r.layer, r.spatial) == (of.layer, of.spatial));
            same.map(|r| r.temporal).max()
        };
        // Frames are left out only when there is nothing smaller to send.
        let allowed: Vec<Rung> = (wanted.iter())
            .filter(|rung| Some((rung.layer, rung.spatial)) == least || Some(rung.temporal) == finest(rung))
            .copied()
            .collect();
        if allowed.is_empty() { ladder.first().copied().into_iter().collect() } else { allowed }
    }

    /// The viewer names the layer that it wants: what the way carries does not matter.
    pub fn is_by_hand(&self) -> bool {
        match self {
            Self::Automatic => false,
            Self::Limited(limits) => limits.layer.is_some() || limits.spatial.is_some() || limits.temporal.is_some(),
        }
    }
}

impl LayerLimits {
    fn admit(&self, rung: &Rung, ladder: &[Rung]) -> bool {
        let within = |most: Option<u16>, of: fn((u16, u16)) -> u16| {
            most.zip(rung.size).is_none_or(|(most, size)| of(size) <= most)
        };
        let highest = |of: fn(&Rung) -> u8| ladder.iter().filter(|r| r.layer == rung.layer).map(of).max().unwrap_or(0);
        let is = |wanted: Option<u8>, of: fn(&Rung) -> u8| wanted.is_none_or(|w| of(rung) == w.min(highest(of)));
        let layer = self.layer.map(|wanted| nearest(wanted, ladder));
        layer.is_none_or(|layer| rung.layer == layer)
            && is(self.spatial, |r| r.spatial)
            && is(self.temporal, |r| r.temporal)
            && self.max_spatial.is_none_or(|most| rung.spatial <= most)
            && self.max_temporal.is_none_or(|most| rung.temporal <= most)
            && within(self.max_width, |size| size.0)
            && within(self.max_height, |size| size.1)
    }
}

/// The encoding that is wanted, or while it is not sent the best below it, else the least above it.
fn nearest(wanted: u8, ladder: &[Rung]) -> u8 {
    let has = |layer: u8| ladder.iter().any(|r| r.layer == layer);
    let below = (0..=wanted).rev().find(|layer| has(*layer));
    below.or_else(|| (wanted..=u8::MAX).find(|layer| has(*layer))).unwrap_or(wanted)
}

/// What a viewer that gets `current` should get of the rungs that it may have, and why if that is something else.
pub fn pick(
    allowed: &[Rung],
    is_by_hand: bool,
    current: (u8, Scale),
    bandwidth: &mut Bandwidth,
    now: Instant,
) -> Option<(Rung, Reason)> {
    let best = allowed.last()?;
    let at = allowed.iter().position(|rung| (rung.layer, rung.scale()) == current);
    let Some(at) = at else {
        let limit = bandwidth.limit.filter(|_| !is_by_hand).unwrap_or(u64::MAX);
        let is_too_much = allowed.iter().all(|rung| rung.cost > limit);
        if is_too_much && bandwidth.is_patient(now) {
            return None;
        }
        return Some((fitting(allowed, limit).unwrap_or(*best), Reason::Stopped));
    };
    bandwidth.stopped_at = None;
    if is_by_hand {
        return (at + 1 < allowed.len()).then_some((*best, Reason::Hand));
    }
    let own = allowed.get(at)?;
    let next = allowed.get(at + 1);
    match bandwidth.judge(own.cost, next.map(|rung| rung.peak), now) {
        Verdict::Up => next.map(|rung| (*rung, Reason::Room)),
        Verdict::Down(limit) if at > 0 => {
            let below = allowed.get(..at).unwrap_or_default();
            fitting(below, limit).map(|rung| (rung, Reason::Congestion))
        }
        Verdict::Stay | Verdict::Down(_) => {
            (bandwidth.limit.is_none() && best.beats(own)).then_some((*best, Reason::Start))
        }
    }
}

/// The best of these that costs no more than `limit`, else the first.
fn fitting(rungs: &[Rung], limit: u64) -> Option<Rung> {
    rungs.iter().rev().find(|rung| rung.cost <= limit).or(rungs.first()).copied()
}
