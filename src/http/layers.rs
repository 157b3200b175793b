//! `/session/{id}/layer`: which layers of the video a viewer wants (WHEP core extensions, video layer selection).
//!
//! POST says so, DELETE leaves the choice to the server again. GET, of our own, tells what is wanted and what is sent.

use std::net::IpAddr;
use std::num::TryFromIntError;

use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use serde_json::{Map, Value, json};

use crate::control::layers::{LayerView, Wish, WishError};
use crate::control::limits::{Action, Key};
use crate::media::SessionId;
use crate::media::layer::{LayerChoice, LayerInfo, LayerLimits};

use super::body::{self, Body};
use super::events::missed;
use super::problem::Problem;
use super::service::{App, empty};
use super::session::authorise;

/// Says on a new session where its layers are chosen, behind `base` like its `Location`.
pub(super) fn link(headers: &mut HeaderMap, base: &str, session: SessionId) {
    if let Ok(link) = HeaderValue::try_from(format!("<{base}/session/{session}/layer>; rel=\"{EXTENSION}\"")) {
        headers.append(LINK, link);
    }
}

/// POST: takes in what the viewer wants. An object without wishes means that the server chooses.
/// # Errors
/// `Denied`, `WrongType`, `TooLarge`, `BadRequest`, `NoSession`, `TooMany`, `Wish`.
pub(super) async fn post(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    body: Incoming,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, headers)?;
    body::expect_type(headers, JSON)?;
    let body = body::read(headers, body, MAX_BODY, app.limits.body).await?;
    choose(app, session, wish(&body)?, client)
}

/// DELETE: the server chooses.
/// # Errors
/// `Denied`, `NoSession`, `TooMany`.
pub(super) fn delete(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, headers)?;
    choose(app, session, Wish::default(), client)
}

/// GET: what is wanted, what is sent, and what there is.
/// # Errors
/// `Denied`, `NoSession`.
pub(super) fn get(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    authorise(app, session, headers)?;
    let view = app.control.layers(session).ok_or_else(|| missed(app, client))?;
    let mut response = empty();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    *response.body_mut() = Body::from(show(&view).to_string());
    Ok(response)
}

fn choose(app: &App, session: SessionId, wish: Wish, client: IpAddr) -> Result<Response<Body>, Problem> {
    if app.control.session(session).is_none() {
        return Err(missed(app, client));
    }
    // Each choice is a letter to every media thread.
    app.limit(Action::Change, &Key::Session(session))?;
    match app.control.choose_layer(session, wish) {
        Ok(()) => Ok(empty()),
        Err(WishError::NoSession) => Err(missed(app, client)),
        Err(WishError::Busy) => Err(Problem::Overdue),
        Err(error @ (WishError::NoVideo | WishError::NoLayer(_))) => Err(Problem::Wish(error.to_string())),
    }
}

/// Reads a wish. Unknown members are passed over, `null` is the same as nothing.
fn wish(body: &[u8]) -> Result<Wish, Problem> {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Err(Problem::BadRequest("the body is not a JSON object with the layers that are wanted"));
    };
    let rid = text(&members, "rid")?;
    Ok(Wish {
        section: text(&members, "mediaId")?,
        // What it was called before October 2024.
        rid: if rid.is_some() { rid } else { text(&members, "encodingId")? },
        limits: LayerLimits {
            layer: None,
            spatial: number(&members, "spatialLayerId")?,
            temporal: number(&members, "temporalLayerId")?,
            max_spatial: number(&members, "maxSpatialLayerId")?,
            max_temporal: number(&members, "maxTemporalLayerId")?,
            max_width: number(&members, "maxWidth")?,
            max_height: number(&members, "maxHeight")?,
        },
    })
}

/// A text, or a number instead of it: players differ about `mediaId`.
fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Problem::BadRequest("mediaId, rid and encodingId are short texts")),
    }
}

/// A whole number that fits.
fn number<T: TryFrom<u64, Error = TryFromIntError>>(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().map(T::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) | None => {
                Err(Problem::BadRequest("layer ids are whole numbers up to 255, sizes whole numbers up to 65535"))
            }
        },
    }
}

/// What GET shows: the wish in the words of POST, and beside it what is sent.
fn show(view: &LayerView) -> Value {
    let mut members = Map::new();
    members.insert("mediaId".into(), view.section.to_string().into());
    let limits = match view.choice {
        LayerChoice::Automatic => LayerLimits::default(),
        LayerChoice::Limited(limits) => limits,
    };
    let wishes = [
        ("rid", view.rid.clone().map(Value::from)),
        ("spatialLayerId", limits.spatial.map(Value::from)),
        ("temporalLayerId", limits.temporal.map(Value::from)),
        ("maxSpatialLayerId", limits.max_spatial.map(Value::from)),
        ("maxTemporalLayerId", limits.max_temporal.map(Value::from)),
        ("maxWidth", limits.max_width.map(Value::from)),
        ("maxHeight", limits.max_height.map(Value::from)),
    ];
    members.extend(wishes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(playing) = view.playing {
        let rid = view.layers.iter().find(|layer| layer.layer == playing.layer).and_then(|layer| layer.rid.as_deref());
        let playing = json!({ "rid": rid, "spatialLayerId": playing.spatial, "temporalLayerId": playing.temporal });
        members.insert("playing".into(), playing);
    }
    members.insert("layers".into(), list(&view.layers));
    members.into()
}

/// Layers as in the `layers` event. What is not sent now has no bit rate.
pub(super) fn list(layers: &[LayerInfo]) -> Value {
    let describe = |layer: &LayerInfo| {
        // Each has a name of some kind; a video that is not layered is the lowest layer of itself.
        let nameless = layer.rid.is_none() && layer.spatial.is_none() && layer.temporal.is_none();
        let members = [
            ("rid", layer.rid.as_deref().map(Value::from)),
            ("spatialLayerId", layer.spatial.or(nameless.then_some(0)).map(Value::from)),
            ("temporalLayerId", layer.temporal.map(Value::from)),
            ("bitrate", (layer.bitrate > 0).then(|| layer.bitrate.into())),
            ("width", layer.width.map(Value::from)),
            ("height", layer.height.map(Value::from)),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>()
    };
    layers.iter().map(describe).map(Value::from).collect()
}

/// The extension's name.
const EXTENSION: &str = "urn:ietf:params:whep:ext:core:layer";
/// What a wish is written in.
pub(super) const JSON: &str = "application/json";
/// Bytes of a wish.
const MAX_BODY: usize = 4 * 1024;
/// Bytes of a name in it.
const MAX_TEXT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::layer::Playing;

    fn layer(rid: Option<&str>, bitrate: u64) -> LayerInfo {
        let rid = rid.map(Into::into);
        LayerInfo { layer: 0, rid, spatial: None, temporal: Some(1), bitrate, width: Some(320), height: Some(180) }
    }

    #[test]
    fn a_wish_is_read_as_players_write_it() {
        let all = br#"{"mediaId": "1", "rid": "h", "spatialLayerId": 1, "temporalLayerId": 2, "maxSpatialLayerId": 3,
            "maxTemporalLayerId": 4, "maxWidth": 640, "maxHeight": 360, "unknown": [1]}"#;

        let wish = wish(all).expect("a wish");

        assert_eq!((wish.section.as_deref(), wish.rid.as_deref()), (Some("1"), Some("h")));
        let LayerLimits { layer, spatial, temporal, max_spatial, max_temporal, max_width, max_height } = wish.limits;
        assert_eq!((layer, spatial, temporal, max_spatial, max_temporal), (None, Some(1), Some(2), Some(3), Some(4)));
        assert_eq!((max_width, max_height), (Some(640), Some(360)));
    }

    #[test]
    fn numbers_nulls_and_older_names_are_understood() {
        let older = wish(br#"{"mediaId": 1, "encodingId": "h", "rid": null, "maxWidth": null}"#).expect("a wish");

        assert_eq!((older.section.as_deref(), older.rid.as_deref()), (Some("1"), Some("h")));
        assert_eq!(wish(b"{}"), Ok(Wish::default()));
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        let long = format!("{{\"rid\": \"{}\"}}", "x".repeat(65));
        let cases = [
            "",
            "[]",
            "1",
            "{mediaId:1}",
            "{\"rid\":{}}",
            "{\"maxWidth\":-1}",
            "{\"maxHeight\":65536}",
            "{\"spatialLayerId\":1.5}",
            &long,
        ];

        for case in cases {
            let problem = wish(case.as_bytes()).expect_err(case);
            assert_eq!(problem.status().as_u16(), 400, "{case}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let shown = list(&[layer(Some("h"), 0), layer(None, 5)]);

        assert_eq!(shown[0], json!({ "rid": "h", "temporalLayerId": 1, "width": 320, "height": 180 }));
        assert_eq!(shown[1], json!({ "temporalLayerId": 1, "bitrate": 5, "width": 320, "height": 180 }));
        let plain = LayerInfo { temporal: None, ..layer(None, 5) };
        assert_eq!(list(&[plain])[0]["spatialLayerId"], 0);
    }

    #[test]
    fn a_choice_is_shown_in_the_words_of_the_wish() {
        let limits = LayerLimits { layer: Some(0), max_height: Some(360), ..LayerLimits::default() };
        let view = LayerView {
            section: 1,
            rid: Some("h".into()),
            choice: LayerChoice::Limited(limits),
            playing: Some(Playing { layer: 0, spatial: None, temporal: Some(2) }),
            layers: vec![layer(Some("h"), 9)],
        };

        let shown = show(&view);

        assert_eq!(shown["mediaId"], "1");
        assert_eq!((&shown["rid"], &shown["maxHeight"]), (&json!("h"), &json!(360)));
        assert_eq!(shown["playing"], json!({ "rid": "h", "spatialLayerId": null, "temporalLayerId": 2 }));
        assert_eq!(shown["layers"][0]["bitrate"], 9);
    }
}
