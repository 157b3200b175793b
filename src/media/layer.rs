//! Layers: what a viewer may ask for, and what there is to choose from.

use std::sync::Arc;

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
