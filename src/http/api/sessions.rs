//! `/api/v1/sessions`: who is there, how it arrives there, and what happened to it.

use std::net::IpAddr;

use hyper::Response;
use hyper::header::{CONTENT_DISPOSITION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::control::records::{Person, Recording, ShortId, role_word};
use crate::control::timeline::{Happening, Moment};
use crate::control::wall;
use crate::media::{CloseReason, Role, SessionId};

use super::super::body::Body;
use super::super::problem::Problem;
use super::super::service::{App, empty};
use super::super::{events, session};
use super::{Query, rounded};

/// Open sessions, the oldest first, a page at a time.
/// # Errors
/// `BadRequest` when `after` names none that is known.
pub(super) fn list(app: &App, query: &Query) -> Result<Response<Body>, Problem> {
    let persons = app.control.persons(query.stream.as_ref());
    let from = match &query.after {
        None => 0,
        Some(after) => {
            // Whoever a page ended with may have left before the next one is asked for.
            let last = after.parse().ok().and_then(|after| app.control.called(after));
            let last = last.and_then(|last| app.control.person(last));
            let last = last.ok_or(Problem::BadRequest("after is not a session's id"))?;
            persons.partition_point(|person| (person.created, person.id) <= (last.created, last.id))
        }
    };
    let page: Vec<&Person> = persons.iter().skip(from).take(query.limit()).collect();
    let is_last = from + page.len() >= persons.len();
    let next = page.last().filter(|_| !is_last).map(|person| person.id.to_string());
    let sessions: Vec<Value> = page.into_iter().map(show).collect();
    super::json(&json!({ "sessions": sessions, "total": persons.len(), "next": next }))
}

/// One session, for a while also when it is over.
/// # Errors
/// `NoSession`.
pub(super) fn one(app: &App, id: ShortId) -> Result<Response<Body>, Problem> {
    let person = app.control.called(id).and_then(|id| app.control.person(id));
    super::json(&show(&person.ok_or(Problem::NoSession)?))
}

/// Ends a session.
/// # Errors
/// `NoSession`.
pub(super) fn kick(app: &App, id: ShortId) -> Result<Response<Body>, Problem> {
    let id = app.control.called(id).ok_or(Problem::NoSession)?;
    if app.control.close(id, CloseReason::Kicked) { Ok(empty()) } else { Err(Problem::NoSession) }
}

/// What happened to a session.
/// # Errors
/// `NoSession`.
pub(super) fn timeline(app: &App, id: ShortId) -> Result<Response<Body>, Problem> {
    let recording = app.control.called(id).and_then(|id| app.control.recording(id));
    download(&recording.ok_or(Problem::NoSession)?)
}

/// The same for whoever knows the session's URL, which is whoever made it.
/// # Errors
/// `Denied`, `NoSession`, `TooMany` for whoever misses often.
pub(in crate::http) fn timeline_of(
    app: &App,
    id: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
) -> Result<Response<Body>, Problem> {
    session::authorise(app, id, headers)?;
    download(&app.control.recording(id).ok_or_else(|| events::missed(app, client))?)
}

fn download(recording: &Recording) -> Result<Response<Body>, Problem> {
    let moments: Vec<Value> = recording.moments.iter().map(|moment| happened(&recording.person, moment)).collect();
    let mut response = super::json(&json!({
        "session": show(&recording.person),
        "entries": moments,
        "offer": recording.offer,
        "answer": recording.answer,
    }))?;
    let name = format!("inline; filename=\"tribune-{}.json\"", recording.person.id);
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn happened(person: &Person, moment: &Moment) -> Value {
    let (event, detail) = match &moment.what {
        Happening::Http { method, resource, status } => {
            ("http", json!({ "method": method, "resource": resource, "status": status }))
        }
        Happening::Checked(remote) => ("path_checked", json!({ "remote": remote })),
        Happening::Selected(remote) => ("path_selected", json!({ "remote": remote })),
        Happening::HandshakeFailed(why) => ("handshake_failed", json!({ "why": why })),
        Happening::Connected(remote, profile) => ("connected", json!({ "remote": remote, "srtp": profile.word() })),
        Happening::Started { kind, codec } => ("started", json!({ "kind": kind, "codec": codec })),
        Happening::FirstPacket => ("first_packet", json!({})),
        Happening::FirstPicture => ("first_picture", json!({})),
        Happening::FirstKeyFrame => ("first_key_frame", json!({})),
        Happening::Size(width, height) => ("size", json!({ "width": width, "height": height })),
        Happening::Layer { playing, rid } => {
            let detail = json!({ "rid": rid, "spatial": playing.spatial, "temporal": playing.temporal });
            ("layer", detail)
        }
        Happening::LossBegan(share) => ("loss_began", json!({ "loss": rounded(*share, 4) })),
        Happening::LossEnded => ("loss_ended", json!({})),
        Happening::Alarm(kind, on) => ("alarm", json!({ "kind": kind, "on": on })),
        Happening::Flow(flows) => ("flow", json!({ "flows": flows })),
        Happening::OnAir => ("on_air", json!({})),
        Happening::Unplayable => ("unplayable", json!({})),
        Happening::LeftOut(count) => ("left_out", json!({ "count": count })),
        Happening::Closed(reason) => ("closed", json!({ "reason": reason.word() })),
    };
    let (at, after) = (wall::stamp(person.created + moment.after), moment.after.as_millis() as u64);
    json!({ "at": at, "after_ms": after, "event": event, "detail": detail })
}

/// All of a session.
fn show(person: &Person) -> Value {
    let (signs, [audio, video]) = (&person.signs, person.codecs);
    let state = match (person.ended, person.connected_after) {
        (Some(_), _) => "ended",
        (None, Some(_)) => "connected",
        (None, None) => "connecting",
    };
    let millis = |time: Option<std::time::Duration>| time.map(|time| time.as_millis() as u64);
    let layer = person
        .playing
        .as_ref()
        .map(|(playing, rid)| json!({ "rid": rid, "spatial": playing.spatial, "temporal": playing.temporal }));
    let summary = person.summary.filter(|_| person.role == Role::Presenter);
    let health = person.health.unwrap_or_default();
    let loss = match person.role {
        Role::Presenter => health.lost as f64 / (health.packets + health.lost).max(1) as f64,
        Role::Viewer => signs.loss,
    };
    let round_trip = signs.round_trip.or(health.round_trip);
    json!({
        "id": person.id.to_string(),
        "stream": person.stream.as_str(),
        "role": role_word(person.role),
        "state": state,
        "user_agent": person.user_agent,
        "address": person.address,
        "media_address": person.remote,
        "subject": person.subject,
        "link": person.link,
        "joined": wall::stamp(person.created),
        "ended": person.ended.map(|(at, _)| wall::stamp(at)),
        "reason": person.ended.map(|(_, reason)| reason.word()),
        "connected_after_ms": millis(person.connected_after),
        "first_packet_ms": millis(signs.first_media),
        "first_picture_ms": millis(signs.first_picture),
        "codec": { "audio": audio, "video": video },
        "layer": layer,
        "loss": rounded(loss, 4),
        "lost": summary.map_or(signs.lost, |summary| summary.lost),
        "rtt_ms": round_trip.map(|time| rounded(time.as_secs_f64() * 1e3, 1)),
        "packets": summary.map_or(signs.packets, |summary| summary.packets),
        "bytes": summary.map_or(signs.bytes, |summary| summary.bytes),
        "resent": summary.map_or(signs.resent, |summary| summary.resent),
    })
}
