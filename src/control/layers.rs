//! Which layers a viewer wants (WHEP core extensions, video layer selection).

use crate::media::SessionId;
use crate::media::layer::{LayerChoice, LayerInfo, LayerLimits, Playing};
use crate::wire::sdp::{Kind, Section};

use super::Control;

/// What a viewer says that it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The media section that is meant, by its index or its mid; `None`: the video.
    pub section: Option<String>,
    /// A simulcast encoding.
    pub rid: Option<String>,
    /// Everything else; the encoding in it is not looked at.
    pub limits: LayerLimits,
}

/// What a viewer wants, and what it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerView {
    /// Index of the video's media section.
    pub section: usize,
    /// The encoding that it wants.
    pub rid: Option<String>,
    /// Everything that it wants.
    pub choice: LayerChoice,
    /// What it gets, as far as the media plane has told.
    pub playing: Option<Playing>,
    /// All that there is.
    pub layers: Vec<LayerInfo>,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// No viewer's session, or none any more.
    #[error("there is no such session; it may have ended")]
    NoSession,
    /// It means something that is not this viewer's video.
    #[error("there is no video at that media section; mediaId is the index of an m-line, from 0")]
    NoVideo,
    /// The presenter sends no such encoding.
    #[error("the stream has no layer with that rid now; it has: {0}")]
    NoLayer(String),
    /// The media plane has no time.
    #[error("the server is too busy to change layers; ask again")]
    Busy,
}

/// The video of one viewer: where it is in its description, and what the viewer wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Video {
    /// Index of its media section.
    pub(super) section: usize,
    /// `a=mid`; may be empty.
    pub(super) mid: String,
    /// The encoding that the viewer wants.
    pub(super) rid: Option<String>,
    /// Everything that the viewer wants.
    pub(super) choice: LayerChoice,
    /// What the viewer gets.
    pub(super) playing: Option<Playing>,
}

impl Video {
    /// Of a viewer's media section, when it is video.
    pub(super) fn of(section: &Section) -> Option<Self> {
        let Section { index, mid, kind, .. } = section;
        let video =
            Self { section: *index, mid: mid.clone(), rid: None, choice: LayerChoice::Automatic, playing: None };
        (*kind == Kind::Video).then_some(video)
    }

    /// Takes a wish in, and tells what it means for these layers. A wish that cannot be granted changes nothing.
    /// # Errors
    /// `NoVideo`, `NoLayer`.
    pub(super) fn wish(&mut self, wish: Wish, layers: &[LayerInfo]) -> Result<LayerChoice, WishError> {
        // By its index as in the extension; or by its mid, which is often the same.
        let meant = |section: &str| section.parse() == Ok(self.section) || section == self.mid && !section.is_empty();
        if !wish.section.as_deref().is_none_or(meant) {
            return Err(WishError::NoVideo);
        }
        let layer = wish.rid.as_deref().map(|rid| find(layers, rid)).transpose()?;
        let limits = LayerLimits { layer, ..wish.limits };
        let wants_nothing = limits == LayerLimits::default();
        self.choice = if wants_nothing { LayerChoice::Automatic } else { LayerChoice::Limited(limits) };
        self.rid = wish.rid;
        Ok(self.choice)
    }

    /// What there is to see.
    pub(super) fn view(&self, layers: &[LayerInfo]) -> LayerView {
        let Self { section, rid, choice, playing, .. } = self.clone();
        LayerView { section, rid, choice, playing, layers: layers.to_vec() }
    }
}

impl Control {
    /// Takes in which layers a viewer wants.
    /// # Errors
    /// See [`WishError`]; what it gets has not changed then.
    pub fn choose_layer(&self, session: SessionId, wish: Wish) -> Result<(), WishError> {
        let choice = self.directory.wish(session, wish)?;
        if self.media.choose_layer(session, Kind::Video, choice) { Ok(()) } else { Err(WishError::Busy) }
    }

    /// Which layers a viewer wants and gets; `None` when it is over or has no video.
    pub fn layers(&self, session: SessionId) -> Option<LayerView> {
        self.directory.layer_view(session)
    }

    /// What a viewer wanted before it was connected, the media plane has not heard.
    pub(super) fn remind(&self, session: SessionId) {
        let choice = self.directory.layer_view(session).map(|view| view.choice);
        if let Some(choice @ LayerChoice::Limited(_)) = choice
            && !self.media.choose_layer(session, Kind::Video, choice)
        {
            tracing::warn!(?session, "a choice of layers found no room");
        }
    }
}

/// The encoding of that name.
fn find(layers: &[LayerInfo], rid: &str) -> Result<u8, WishError> {
    let named = |layer: &&LayerInfo| layer.rid.as_deref() == Some(rid);
    if let Some(layer) = layers.iter().find(named) {
        return Ok(layer.layer);
    }
    let mut rids: Vec<&str> = layers.iter().filter_map(|layer| layer.rid.as_deref()).collect();
    rids.dedup();
    Err(WishError::NoLayer(if rids.is_empty() { "none with a name".to_owned() } else { rids.join(", ") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Vec<LayerInfo> {
        let layer = |(layer, rid): (u8, &str)| LayerInfo {
            layer,
            rid: Some(rid.into()),
            spatial: None,
            temporal: None,
            bitrate: 1_000,
            width: None,
            height: None,
        };
        [(0, "l"), (1, "h")].map(layer).to_vec()
    }

    fn video() -> Video {
        Video { section: 1, mid: "v".into(), rid: None, choice: LayerChoice::Automatic, playing: None }
    }

    fn wish(section: Option<&str>, rid: Option<&str>) -> Wish {
        let (section, rid) = (section.map(str::to_owned), rid.map(str::to_owned));
        Wish { section, rid, limits: LayerLimits::default() }
    }

    #[test]
    fn an_encoding_is_wanted_by_its_rid() {
        let mut video = video();

        let choice = video.wish(wish(Some("1"), Some("h")), &layers()).expect("granted");

        assert_eq!(choice, LayerChoice::Limited(LayerLimits { layer: Some(1), ..LayerLimits::default() }));
        assert_eq!(video.view(&layers()).rid.as_deref(), Some("h"));
        assert_eq!(video.wish(wish(None, None), &layers()), Ok(LayerChoice::Automatic));
        assert_eq!(video.view(&layers()).rid, None);
    }

    #[test]
    fn the_video_is_meant_by_index_or_mid_or_not_at_all() {
        for good in [None, Some("1"), Some("v")] {
            assert_eq!(video().wish(wish(good, None), &[]), Ok(LayerChoice::Automatic), "{good:?}");
        }
        for bad in ["0", "2", "", "x", "-1"] {
            assert_eq!(video().wish(wish(Some(bad), None), &[]), Err(WishError::NoVideo), "{bad:?}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_granted_changes_nothing() {
        let mut video = video();
        video.wish(wish(None, Some("l")), &layers()).expect("granted");
        let before = video.clone();

        assert_eq!(video.wish(wish(None, Some("m")), &layers()), Err(WishError::NoLayer("l, h".into())));
        assert!(matches!(video.wish(wish(None, Some("l")), &[]), Err(WishError::NoLayer(_))));
        assert_eq!(video.wish(wish(Some("0"), Some("h")), &layers()), Err(WishError::NoVideo));

        assert_eq!(video, before);
    }
}
