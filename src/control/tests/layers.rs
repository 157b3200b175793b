//! What viewers want reaches the media plane.

use super::super::layers::{Wish, WishError};
use super::*;
use crate::media::layer::{LayerInfo, LayerLimits};

#[test]
fn a_viewer_chooses_layers_that_the_presenter_has_and_is_not_forgotten() {
    let house = House::new();
    let presenter = house.live("live", "ann");
    let viewer = house.watch("live").expect("let in");
    let layer = |layer: u8, rid: &str| LayerInfo {
        layer,
        rid: Some(rid.into()),
        spatial: None,
        temporal: None,
        bitrate: 1,
        width: None,
        height: None,
    };
    let wish = |rid: &str| Wish { rid: Some(rid.into()), ..Wish::default() };
    let chosen = || house.media.0.chosen.lock().expect("not poisoned").clone();
    let low = LayerChoice::Limited(LayerLimits { layer: Some(0), ..LayerLimits::default() });

    assert!(matches!(house.control.choose_layer(viewer, wish("l")), Err(WishError::NoLayer(_))));
    let layers = vec![layer(0, "l"), layer(1, "h")];
    house.control.notice(Notice::Layers { session: presenter, kind: Kind::Video, layers });
    assert_eq!(house.control.choose_layer(viewer, wish("l")), Ok(()));
    assert_eq!(chosen(), [(viewer, low)]);
    house.connect(viewer);

    assert_eq!(chosen(), [(viewer, low); 2], "the media plane knows viewers only once they are connected");
    assert_eq!(house.control.choose_layer(presenter, wish("l")), Err(WishError::NoSession));
    house.end(presenter, CloseReason::Deleted);
    assert!(matches!(house.control.choose_layer(viewer, wish("l")), Err(WishError::NoLayer(_))));
    assert!(house.control.layers(viewer).is_some_and(|view| view.choice == low && view.layers.is_empty()));
}
