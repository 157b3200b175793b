//! What a viewer gets of a presenter with three layers: the `layers` event, the layer it chose, and what is left when
//! that one stops. One presenter and one viewer do for all of these clauses.

use std::time::Duration;

use serde_json::Value;
use str0m::media::MediaKind;

use super::events::{is_old, watching, wrong_layers};
use super::layers::chooser;
use super::simulcast::{end, presented};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::EventStream;
use crate::rtc::{Live, Order, Seen, Track, mark};

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("EVT-12", layers_event).in_phase(Phase::Own),
        Case::whep("LEG-08", old_layers_event).in_phase(Phase::Own),
        Case::whep("LAY-02", layer_is_chosen).in_phase(Phase::Own),
        Case::whep("LAY-07", layer_that_stops).in_phase(Phase::Own),
        Case::whep("LAY-08", one_stream_over_switches).in_phase(Phase::Own),
    ]
}

/// What was seen of one presenter, for all the clauses that it tells about.
pub(crate) struct Play {
    /// The first `layers` event, if one came.
    announced: Option<Value>,
    /// For each layer that was chosen: the status, and whether it came.
    chosen: Vec<(&'static str, u16, bool)>,
    /// The viewer's tracks after that.
    tracks: Vec<Track>,
    /// Whether another layer came after the chosen one had stopped.
    recovered: bool,
    /// The `layers` event about that, if one came.
    stopped: Option<Value>,
}

/// Plays it, once for all clauses.
async fn play(cx: &Context) -> Result<&Play, Halt> {
    cx.layers.get_or_try_init(|| perform(cx)).await
}

/// Presents, watches, chooses, and stops the layer that was chosen last.
async fn perform(cx: &Context) -> Result<Play, Halt> {
    let (session, presenter) = presented(cx).await?;
    let seen = watch(cx, &presenter).await;
    end(cx, &session, presenter).await?;
    seen
}

async fn watch(cx: &Context, presenter: &Live) -> Result<Play, Halt> {
    let (channel, mut viewer) = watching(cx, Side::Whep).await?;
    channel.needs("layers")?;
    let mut stream = channel.listen(cx, "[\"layers\"]").await?;
    let chooser = chooser(channel.session.clone())?;
    if !viewer.until(PATIENCE, |seen| shown(seen).is_some()).await {
        return Err(Halt::Skip(format!("no layer to be seen: {}", viewer.seen().summary())));
    }
    let announced = next_layers(&mut stream, all_there).await;
    let mut chosen = Vec::new();
    for rid in CHOICES {
        let body = format!("{{\"mediaId\":\"{}\",\"rid\":\"{rid}\"}}", chooser.video);
        let status = chooser.choose(cx, &body).await?.status();
        let came = viewer.until(PATIENCE, |seen| shown(seen) == Some(mark(rid))).await;
        chosen.push((rid, status, came));
    }
    let tracks = viewer.seen().tracks;
    presenter.order(Order::Drop(LAST)).await;
    let gone = |layers: &Value| !sends(layers, LAST);
    let (recovered, stopped) = tokio::join!(
        viewer.until(PATIENCE, |seen| shown(seen).is_some_and(|shown| shown != mark(LAST))),
        next_layers(&mut stream, gone)
    );
    Ok(Play { announced, chosen, tracks, recovered, stopped })
}

/// The mark of the layer that came last.
fn shown(seen: &Seen) -> Option<u8> {
    seen.track(MediaKind::Video).and_then(|track| track.mark)
}

/// The next `layers` event that is `wanted`, else the last that came in time.
async fn next_layers(stream: &mut EventStream, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let Some(message) = stream.until("layers", left).await.0 else {
            return last;
        };
        let layers = serde_json::from_str(&message.data.join("")).ok();
        if layers.as_ref().is_some_and(&wanted) {
            return layers;
        }
        last = layers.or(last);
    }
}

/// The layers of all sections.
fn each(layers: &Value) -> impl Iterator<Item = &Value> {
    layers.as_object().into_iter().flatten().filter_map(|(_, list)| list.as_array()).flatten()
}

/// True when the layer with that rid has a bit rate.
fn sends(layers: &Value, rid: &str) -> bool {
    let has_rate = |layer: &Value| layer.get("bitrate").and_then(Value::as_f64).is_some_and(|rate| rate > 0.0);
    each(layers).any(|layer| layer.get("rid").and_then(Value::as_str) == Some(rid) && has_rate(layer))
}

/// True when every layer that is published is announced as being sent.
fn all_there(layers: &Value) -> bool {
    crate::rtc::RIDS.iter().all(|rid| sends(layers, rid))
}

async fn layers_event(cx: &Context, _: Side) -> Done {
    let play = play(cx).await?;
    let expected = "m-line index → array of layers with rid; those that are sent have a bit rate";
    let Some(layers) = &play.announced else {
        return Ok(Outcome::new(Verdict::Fail, expected, "no layers event"));
    };
    if is_old(layers) {
        return Ok(Outcome::new(Verdict::Legacy, expected, layers.to_string()));
    }
    let mut complaints = wrong_layers(layers);
    if !all_there(layers) {
        complaints.push(format!("three layers are sent, announced is {layers}"));
    }
    Ok(Outcome::complaints(expected, &complaints, layers.to_string()))
}

async fn old_layers_event(cx: &Context, _: Side) -> Done {
    let layers = play(cx).await?.announced.as_ref().ok_or_else(|| Halt::Skip("no layers event".into()))?;
    let verdict = if is_old(layers) { Verdict::Legacy } else { Verdict::Info };
    Ok(Outcome::new(verdict, "recorded only", layers.to_string()))
}

async fn layer_is_chosen(cx: &Context, _: Side) -> Done {
    let play = play(cx).await?;
    let mut complaints = Vec::new();
    for (rid, status, came) in &play.chosen {
        if *status != 200 || !came {
            complaints.push(format!("rid {rid}: {status}, {}", if *came { "it came" } else { "it did not come" }));
        }
    }
    let switches: Vec<bool> = play.tracks.iter().flat_map(|track| track.switches.iter().copied()).collect();
    let late = switches.iter().filter(|at_keyframe| !**at_keyframe).count();
    if late > 0 {
        complaints.push(format!("{late} of {} switches were not at a key frame", switches.len()));
    }
    let expected = "200, and the layer comes, from a key frame on";
    Ok(Outcome::complaints(expected, &complaints, format!("{} switches, each at a key frame", switches.len())))
}

async fn one_stream_over_switches(cx: &Context, _: Side) -> Done {
    let play = play(cx).await?;
    if !play.chosen.iter().any(|(_, _, came)| *came) {
        return Err(Halt::Skip("no layer that was chosen came".into()));
    }
    let videos: Vec<&Track> = play.tracks.iter().filter(|t| t.kind == MediaKind::Video && t.mark.is_some()).collect();
    let missing: u64 = videos.iter().map(|track| track.missing()).sum();
    let leaps: u64 = videos.iter().map(|track| track.leaps).sum();
    let observed = format!("{} SSRC, {missing} numbers missing, {leaps} leaps of the timestamp", videos.len());
    let good = videos.len() == 1 && missing == 0 && leaps == 0;
    Ok(Outcome::judge(good, "one SSRC, numbers and timestamps go on over switches", observed))
}

async fn layer_that_stops(cx: &Context, _: Side) -> Done {
    let play = play(cx).await?;
    let mut complaints = Vec::new();
    if !play.recovered {
        complaints.push(format!("no other layer within {} s", PATIENCE.as_secs()));
    }
    match &play.stopped {
        Some(layers) if !sends(layers, LAST) => {}
        Some(layers) => complaints.push(format!("the event still has it: {layers}")),
        None => complaints.push("no layers event".into()),
    }
    Ok(Outcome::complaints("another layer comes, and a layers event tells", &complaints, "both"))
}

/// Chosen one after the other.
const CHOICES: [&str; 2] = ["l", LAST];
/// Chosen last, then stopped.
const LAST: &str = "m";
/// A server that counts bit rates needs some seconds to see a layer stop.
const PATIENCE: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_without_bit_rate_is_not_sent() {
        let layers =
            serde_json::json!({ "1": [{ "rid": "h", "bitrate": 9 }, { "rid": "m", "bitrate": 0 }, { "rid": "l" }] });

        assert!(sends(&layers, "h"));
        assert!(!sends(&layers, "m") && !sends(&layers, "l") && !sends(&layers, "x"));
        assert!(!all_there(&layers));
    }
}
