//! `/api/v1/server` and `/api/v1/streams`: what can be watched now, and how it is doing.

use hyper::Response;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use crate::control::alarms::Alarm;
use crate::control::records::{Picture, PresenterStatus, Sound, Stage, StreamStatus};
use crate::control::stream::StreamName;
use crate::control::wall;
use crate::control::webhooks::{Line, LineStatus};
use crate::media::layer::LayerInfo;

use super::super::body::Body;
use super::super::problem::Problem;
use super::super::service::App;
use super::{presenter, rounded};

/// The whole server.
pub(super) fn server(app: &App) -> Value {
    let (control, load) = (&app.control, app.control.load());
    let [presenters, viewers] = control.connected();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": wall::stamp(control.began()),
        "uptime_s": control.began().elapsed().as_secs(),
        "ready": control.is_ready(),
        "sessions": control.sessions(),
        "presenters": presenters,
        "viewers": viewers,
        "streams": control.streams().len(),
        "capacity": {
            "max_sessions": control.max_sessions(),
            "free_viewer_places": control.places(),
            "media_threads": load.workers,
            "cpu": rounded(load.busy, 3),
            "packets_per_second": rounded(load.packets, 0),
            "cpu_us_per_packet": load.price.map(|price| rounded(price * 1e6, 3)),
            "room_packets_per_second": load.room().map(|room| rounded(room, 0)),
        },
        "webhooks": control.webhooks().iter().map(|line| webhook(line)).collect::<Vec<_>>(),
    })
}

/// How a webhook is. Of its URL without the path, which may be a secret.
fn webhook(line: &Line) -> Value {
    let LineStatus { waiting, counts, trouble, stopped } = line.status();
    json!({
        "number": line.number,
        "origin": line.hook.url.origin(),
        "state": if stopped { "stopped" } else if trouble.is_some() { "failing" } else { "well" },
        "trouble": trouble,
        "waiting": waiting,
        "sent": counts.sent,
        "failed": counts.failed,
        "dropped": counts.dropped,
    })
}

/// Lists the streams: for an admin's token all of them with everything, otherwise those that anybody may watch, and of
/// these what anybody may know.
/// # Errors
/// `Internal`, if the list cannot be written.
pub(super) fn list(app: &App, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
    let all = app.identify(headers).is_ok_and(|who| who.is_admin());
    let streams: Vec<Value> = if all {
        app.control.statuses().iter().map(show).collect()
    } else {
        // What nobody presents or watches any more is nobody's business but the admin's.
        let statuses = app.control.statuses();
        let visible = statuses.iter().filter(|one| one.open && (one.stage != Stage::Idle || one.viewers > 0));
        visible.map(outline).collect()
    };
    super::json(&json!({ "streams": streams }))
}

/// One stream, for an admin's token or the publish token of that stream.
/// # Errors
/// `Denied`, `NoStream` when there can be no such stream.
pub(super) fn one(app: &App, headers: &HeaderMap, name: &StreamName) -> Result<Response<Body>, Problem> {
    presenter(app, headers, name)?;
    if !app.control.can_be(name) {
        return Err(Problem::NoStream);
    }
    super::json(&show(&app.control.status(name)))
}

/// What anybody may know of a stream that anybody may watch.
fn outline(status: &StreamStatus) -> Value {
    json!({
        "name": status.name.as_str(),
        "state": status.stage.word(),
        "live": status.stage == Stage::Live,
        "viewers": { "now": status.viewers },
    })
}

/// All of a stream.
pub(super) fn show(status: &StreamStatus) -> Value {
    json!({
        "name": status.name.as_str(),
        "state": status.stage.word(),
        "live": status.stage == Stage::Live,
        "since": status.since.map(wall::stamp),
        "open": status.open,
        "presenter": status.presenter.as_ref().map(presenting),
        "viewers": { "now": status.viewers, "peak": status.peak, "average": rounded(status.average, 2) },
        "alarms": status.alarms.iter().map(alarm).collect::<Vec<_>>(),
        "report": status.report,
        "room_for_more": status.room,
    })
}

fn presenting(status: &PresenterStatus) -> Value {
    let person = &status.person;
    json!({
        "session": person.id.to_string(),
        "user_agent": person.user_agent,
        "subject": person.subject,
        "address": person.address,
        "connected_s": person.created.elapsed().as_secs(),
        "audio": status.audio.as_ref().map(sound),
        "video": status.video.as_ref().map(picture),
        "bitrate": rounded(status.bitrate, 0),
        "loss": rounded(status.loss, 4),
        "rtt_ms": person.health.and_then(|health| health.round_trip).map(|time| rounded(time.as_secs_f64() * 1e3, 1)),
    })
}

fn sound(sound: &Sound) -> Value {
    json!({
        "codec": sound.codec,
        "level_dbov": sound.level,
        "silent_s": rounded(sound.silent.as_secs_f64(), 1),
    })
}

fn picture(picture: &Picture) -> Value {
    // Without its pictures' sizes the last layer is as good as any.
    let largest = picture.layers.iter().max_by_key(|(info, _)| (info.height, info.width)).map(|(info, _)| info);
    json!({
        "codec": picture.codec,
        "width": largest.and_then(|info| info.width),
        "height": largest.and_then(|info| info.height),
        "layers": picture.layers.iter().map(layer).collect::<Vec<_>>(),
        "key_interval_ms": picture.key_interval.map(|interval| interval.as_millis() as u64),
        "has_b_frames": picture.has_b_frames,
        "is_frozen": picture.is_frozen,
    })
}

fn layer((info, fps): &(LayerInfo, f64)) -> Value {
    json!({
        "rid": info.rid.as_deref(),
        "spatial": info.spatial,
        "temporal": info.temporal,
        "bitrate": info.bitrate,
        "fps": rounded(*fps, 1),
        "width": info.width,
        "height": info.height,
    })
}

fn alarm(alarm: &Alarm) -> Value {
    json!({ "kind": alarm.kind.word(), "since": wall::stamp(alarm.since), "detail": alarm.detail })
}
