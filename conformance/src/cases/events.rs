//! Server-sent events, an extension of WHEP (draft-ietf-wish-whep-ext): what the server tells viewers beside media.

use std::time::Duration;

use tokio::time::Instant;

use super::links::links;
use super::media::connected;
use super::seen;
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::{Context, ORIGIN, Session};
use crate::http::{EventStream, Exchange, Heard, Message, Request};
use crate::link::Link;
use crate::offer::Fixture;
use crate::rtc::Live;
use crate::url::Url;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("EVT-01", advertised),
        Case::whep("EVT-02", streams_are_made),
        Case::whep("EVT-03", unknown_types),
        Case::whep("EVT-04", wrong_bodies),
        Case::whep("EVT-05", event_stream),
        Case::whep("EVT-06", no_token_needed),
        Case::whep("EVT-07", form_of_messages).beside(),
        Case::whep("EVT-08", only_what_was_asked).beside(),
        Case::whep("EVT-09", active_at_start),
        Case::whep("EVT-10", no_inactive_at_start).in_phase(Phase::Idle),
        Case::whep("EVT-11", inactive_at_the_end).in_phase(Phase::Own),
        Case::whep("EVT-13", viewer_count),
        Case::fixed(
            "EVT-14",
            &[Side::Whep],
            Verdict::Info,
            "sent before a planned removal, which cannot be asked for from outside",
        ),
        Case::whep("EVT-15", streams_are_dropped),
        Case::whep("EVT-16", streams_end_with_the_session),
        Case::whep("EVT-17", keep_alive).beside(),
        Case::whep("EVT-18", direct_get),
    ]
}

/// The relation of the extension.
pub(super) const EVENTS: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
/// The types that the draft names.
const KNOWN: [&str; 6] = ["active", "inactive", "layers", "reconnect", "viewercount", "scte35"];
/// Long enough for an event that is due at once.
const SOON: Duration = Duration::from_secs(2);

/// Where a session's events are asked for.
pub(super) struct Channel {
    /// The session.
    pub(super) session: Session,
    /// What the link says.
    pub(super) link: Link,
    /// Where it leads.
    pub(super) url: Url,
}

impl Channel {
    /// Reads the link of a session.
    pub(super) fn of(session: Session) -> Result<Self, Halt> {
        let found = links(&session.exchange.response).into_iter().find(|l| l.is(EVENTS));
        let link = found.ok_or_else(|| Halt::NotApplicable("server-sent events are not advertised".into()))?;
        let url = session.exchange.request.url.resolve(&link.target).map_err(Halt::Skip)?;
        Ok(Self { session, link, url })
    }

    /// The types that the link promises, if it says.
    fn promised(&self) -> Option<Vec<&str>> {
        let list = self.link.parameter("events")?;
        Some(list.split(',').map(str::trim).filter(|event| !event.is_empty()).collect())
    }

    /// Stops a check that needs a type which is not offered.
    pub(super) fn needs(&self, event: &str) -> Result<(), Halt> {
        if self.promised().is_none_or(|promised| promised.contains(&event)) {
            return Ok(());
        }
        Err(Halt::NotApplicable(format!("{event} events are not advertised")))
    }

    /// Asks for a stream with that JSON body.
    async fn ask(&self, cx: &Context, body: Option<&str>) -> Result<Exchange, Halt> {
        let mut request = cx.request(Side::Whep, "POST", &self.url).header("Origin", ORIGIN);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        Ok(cx.http.send(request).await?)
    }

    /// Makes a stream; gives its URL.
    async fn make(&self, cx: &Context, events: &str) -> Result<Url, Halt> {
        let exchange = self.ask(cx, Some(events)).await?;
        let location = exchange.response.header("location").filter(|_| exchange.response.is_success());
        let location = location.ok_or_else(|| Halt::Skip(format!("no event stream: {}", exchange.line())))?;
        self.url.resolve(location).map_err(Halt::Skip)
    }

    /// Makes a stream and opens it.
    pub(super) async fn listen(&self, cx: &Context, events: &str) -> Result<EventStream, Halt> {
        let url = self.make(cx, events).await?;
        let (exchange, stream) = cx.http.listen(get(&url)).await?;
        stream.ok_or_else(|| Halt::Skip(format!("no event stream: {}", exchange.line())))
    }
}

/// What a browser's `EventSource` sends.
fn get(url: &Url) -> Request {
    Request::new("GET", url).header("Accept", "text/event-stream").header("Origin", ORIGIN)
}

/// A session that never connects, for what HTTP alone can tell.
async fn channel(cx: &Context, side: Side) -> Result<Channel, Halt> {
    Channel::of(cx.open(side, Fixture::Av).await?)
}

/// A viewer that plays.
pub(super) async fn watching(cx: &Context, side: Side) -> Result<(Channel, Live), Halt> {
    let (session, live) = connected(cx, side).await?;
    Ok((Channel::of(session)?, live))
}

async fn advertised(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let promised = channel.promised();
    let unknown: Vec<&str> = promised.iter().flatten().copied().filter(|event| !KNOWN.contains(event)).collect();
    let observed = promised.map_or("no list".into(), |list| list.join(","));
    Ok(Outcome::judge(unknown.is_empty(), &format!("some of {}", KNOWN.join(", ")), observed)
        .by(&channel.session.exchange))
}

async fn streams_are_made(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let mut complaints = Vec::new();
    let mut last = None;
    for (name, body) in [("[\"active\"]", Some("[\"active\"]")), ("[]", Some("[]")), ("no body", None)] {
        let exchange = channel.ask(cx, body).await?;
        let location = exchange.response.header("location").and_then(|l| channel.url.resolve(l).ok());
        if exchange.status() != 201 || location.is_none() {
            complaints.push(format!("{name}: {}", seen(&exchange, "location")));
        }
        last = Some(exchange);
    }
    let outcome = Outcome::complaints("201 with the Location of a stream", &complaints, "201 for all three");
    Ok(last.iter().fold(outcome, Outcome::by))
}

async fn unknown_types(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let mut complaints = Vec::new();
    let mut last = None;
    for body in ["[\"nope\"]", "[\"active\",\"nope\"]"] {
        let exchange = channel.ask(cx, Some(body)).await?;
        if exchange.status() != 400 || exchange.response.header("location").is_some() {
            complaints.push(format!("{body}: {}", seen(&exchange, "location")));
        }
        last = Some(exchange);
    }
    let outcome = Outcome::complaints("400, and no stream", &complaints, "400 for both");
    Ok(last.iter().fold(outcome, Outcome::by))
}

async fn wrong_bodies(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let mut complaints = Vec::new();
    for body in ["[\"active\"", "{\"a\":1}", "[1]"] {
        let exchange = channel.ask(cx, Some(body)).await?;
        if !exchange.response.is_client_error() {
            complaints.push(format!("{body}: {}", exchange.status()));
        }
    }
    let request = cx.request(side, "POST", &channel.url).header("Content-Type", "application/sdp");
    let exchange = cx.http.send(request.body("[\"active\"]")).await?;
    if !exchange.response.is_client_error() {
        complaints.push(format!("application/sdp: {}", exchange.status()));
    }
    Ok(Outcome::complaints("400 for bad JSON, 415 for another type", &complaints, "4xx for all").by(&exchange))
}

async fn event_stream(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let url = channel.make(cx, "[\"active\"]").await?;
    let (exchange, stream) = cx.http.listen(get(&url)).await?;
    let mut complaints = Vec::new();
    let response = &exchange.response;
    if !["no-cache", "no-store"].iter().any(|word| response.lists("cache-control", word)) {
        complaints.push(seen(&exchange, "cache-control"));
    }
    let begun = Instant::now();
    match stream {
        None => complaints.push(seen(&exchange, "content-type")),
        Some(mut stream) => {
            let first = stream.next(Duration::from_secs(3)).await;
            // Without a presenter of ours nothing need come.
            let due = cx.endpoint(Side::Whip).is_ok();
            if due && (!matches!(first, Heard::Message(_)) || begun.elapsed() > Duration::from_secs(1)) {
                complaints.push(format!("the first event: {} after {} ms", name(&first), begun.elapsed().as_millis()));
            }
        }
    }
    let expected = "200 text/event-stream, not cacheable, the first event within a second";
    Ok(Outcome::complaints(expected, &complaints, exchange.line()).by(&exchange))
}

/// For reports.
fn name(heard: &Heard) -> &'static str {
    match heard {
        Heard::Message(_) => "came",
        Heard::Silence => "nothing",
        Heard::End => "the stream ended",
    }
}

async fn no_token_needed(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let url = channel.make(cx, "[]").await?;
    let (exchange, stream) = cx.http.listen(get(&url)).await?;
    Ok(Outcome::judge(stream.is_some(), "200 without Authorization", exchange.line()).by(&exchange))
}

async fn form_of_messages(cx: &Context, side: Side) -> Done {
    let (channel, _live) = watching(cx, side).await?;
    let mut stream = channel.listen(cx, "[\"active\"]").await?;
    let mut complaints = Vec::new();
    let mut seen = Vec::new();
    let deadline = Instant::now() + SOON;
    while let Heard::Message(message) = stream.next(deadline.saturating_duration_since(Instant::now())).await {
        if message.event.is_none() && message.data.is_empty() {
            continue;
        }
        complaints.extend(fault(&message));
        seen.extend(message.event);
    }
    if seen.is_empty() && complaints.is_empty() {
        return Err(Halt::Skip("no event came within 2 s".into()));
    }
    Ok(Outcome::complaints("a known event and one data line of JSON", &complaints, seen.join(", ")))
}

/// What is wrong with the form of an event.
fn fault(message: &Message) -> Option<String> {
    let event = message.event.as_deref().unwrap_or("none");
    let [data] = message.data.as_slice() else {
        return Some(format!("{event}: {} data lines", message.data.len()));
    };
    if !KNOWN.contains(&event) {
        return Some(format!("event: {event} is not of the draft"));
    }
    let is_json = serde_json::from_str::<serde_json::Value>(data).is_ok_and(|value| value.is_object());
    (!is_json && event != "scte35").then(|| format!("{event}: data is no JSON object: {data}"))
}

async fn only_what_was_asked(cx: &Context, side: Side) -> Done {
    let (channel, _live) = watching(cx, side).await?;
    channel.needs("viewercount")?;
    let mut stream = channel.listen(cx, "[\"active\"]").await?;
    // Another viewer would change the count.
    let other = cx.open(side, Fixture::Av).await?;
    let (unwanted, before) = stream.until("viewercount", SOON).await;
    cx.close(&other).await?;
    let mut events: Vec<String> = before.into_iter().chain(unwanted).filter_map(|m| m.event).collect();
    events.dedup();
    let good = events.iter().all(|event| event == "active");
    Ok(Outcome::judge(good, "active only", if events.is_empty() { "nothing".into() } else { events.join(", ") }))
}

async fn active_at_start(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    channel.needs("active")?;
    let mut stream = channel.listen(cx, "[\"active\"]").await?;
    let (active, _) = stream.until("active", SOON).await;
    let observed = active.as_ref().map_or("no event".into(), |m| m.data.join(" | "));
    let good = active.is_some_and(|m| m.data.first().is_some_and(|data| data.trim().starts_with('{')));
    Ok(Outcome::judge(good, "an active event while somebody publishes, data {}", observed))
}

async fn no_inactive_at_start(cx: &Context, side: Side) -> Done {
    let channel = match channel(cx, side).await {
        Err(Halt::Skip(why)) => return Err(Halt::NotApplicable(format!("no session while nobody publishes: {why}"))),
        other => other?,
    };
    channel.needs("inactive")?;
    let mut stream = channel.listen(cx, "[\"active\",\"inactive\"]").await?;
    let (inactive, _) = stream.until("inactive", Duration::from_secs(1)).await;
    let observed = if inactive.is_some() { "inactive" } else { "no inactive" };
    Ok(Outcome::judge(inactive.is_none(), "no initial inactive", observed))
}

async fn inactive_at_the_end(cx: &Context, side: Side) -> Done {
    let (session, mut presenter) = connected(cx, Side::Whip).await?;
    cx.hold(&session);
    presenter.until(Duration::from_secs(5), |seen| seen.sent > 25).await;
    let viewer = watching(cx, side).await;
    let heard = match &viewer {
        Ok((channel, _)) => match channel.needs("inactive") {
            Ok(()) => Some(channel.listen(cx, "[\"inactive\"]").await),
            Err(_) => None,
        },
        Err(_) => None,
    };
    presenter.close().await;
    cx.close(&session).await?;
    let (channel, _live) = viewer?;
    channel.needs("inactive")?;
    let mut stream = heard.ok_or_else(|| Halt::Skip("no event stream".into()))??;
    let (inactive, _) = stream.until("inactive", Duration::from_secs(5)).await;
    let observed = inactive.as_ref().map_or("no event within 5 s".into(), |m| m.data.join(" | "));
    Ok(Outcome::judge(inactive.is_some(), "an inactive event when the presenter leaves", observed))
}

/// True for the shape that drafts up to October 2024 had.
pub(super) fn is_old(layers: &serde_json::Value) -> bool {
    layers.to_string().contains("encodingId") || layers.get("0").is_some_and(|m| m.get("layers").is_some())
}

/// What is wrong with the form of a `layers` event.
pub(super) fn wrong_layers(layers: &serde_json::Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, list) in layers.as_object().into_iter().flatten() {
        if index.parse::<u16>().is_err() {
            complaints.push(format!("{index} is no index of a section"));
        }
        let Some(list) = list.as_array() else {
            complaints.push(format!("{index}: no array"));
            continue;
        };
        let named = |layer: &serde_json::Value| {
            ["rid", "spatialLayerId", "temporalLayerId"].iter().any(|key| layer.get(key).is_some())
        };
        if !list.iter().all(named) {
            complaints.push(format!("{index}: a layer without rid, spatialLayerId or temporalLayerId"));
        }
    }
    if !layers.is_object() {
        complaints.push("no object".to_owned());
    }
    complaints
}

async fn viewer_count(cx: &Context, side: Side) -> Done {
    let (channel, _live) = watching(cx, side).await?;
    channel.needs("viewercount")?;
    let mut stream = channel.listen(cx, "[\"viewercount\"]").await?;
    let (first, _) = stream.until("viewercount", Duration::from_secs(4)).await;
    let (_second, _other) = connected(cx, side).await?;
    let mut counts = vec![count(first.as_ref())];
    let deadline = Instant::now() + Duration::from_secs(6);
    while counts.last().copied().flatten().is_none_or(|n| n < 2) {
        let (next, _) = stream.until("viewercount", deadline.saturating_duration_since(Instant::now())).await;
        if next.is_none() {
            break;
        }
        counts.push(count(next.as_ref()));
    }
    let seen: Vec<String> = counts.iter().map(|n| n.map_or("none".into(), |n| n.to_string())).collect();
    let good = counts.last().copied().flatten().is_some_and(|n| n >= 2);
    Ok(Outcome::judge(good, "{\"viewercount\":N}, N growing to 2 with a second viewer", seen.join(", ")))
}

fn count(message: Option<&Message>) -> Option<u64> {
    let data: serde_json::Value = serde_json::from_str(message?.data.first()?).ok()?;
    data.get("viewercount")?.as_u64()
}

async fn streams_are_dropped(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let url = channel.make(cx, "[\"active\"]").await?;
    let delete = cx.ask(side, "DELETE", &url).await?;
    let (after, _) = cx.http.listen(get(&url)).await?;
    let observed = format!("{}, then {}", delete.line(), after.line());
    let good = delete.response.is_success() && after.status() == 404;
    Ok(Outcome::judge(good, "2xx, then 404", observed).by(&delete))
}

async fn streams_end_with_the_session(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let url = channel.make(cx, "[\"active\"]").await?;
    let (exchange, stream) = cx.http.listen(get(&url)).await?;
    let mut stream = stream.ok_or_else(|| Halt::Skip(format!("no event stream: {}", exchange.line())))?;
    cx.close(&channel.session).await?;
    let ended = stream.ends_within(Duration::from_secs(3)).await;
    let (after, _) = cx.http.listen(get(&url)).await?;
    let observed = format!("{}, then {}", if ended { "ended" } else { "still open after 3 s" }, after.line());
    Ok(Outcome::judge(ended && after.status() == 404, "the connection ends, then 404", observed).by(&after))
}

async fn keep_alive(cx: &Context, side: Side) -> Done {
    let (channel, _live) = watching(cx, side).await?;
    cx.hold(&channel.session);
    let url = channel.make(cx, "[\"active\"]").await?;
    let (exchange, stream) = cx.http.listen(get(&url)).await?;
    let mut stream = stream.ok_or_else(|| Halt::Skip(format!("no event stream: {}", exchange.line())))?;
    let (mut longest, mut retry, mut id) = (Duration::ZERO, false, None);
    let (begun, mut last) = (Instant::now(), Instant::now());
    let mut kept = false;
    while begun.elapsed() < IDLE {
        let heard = stream.next(IDLE.saturating_sub(begun.elapsed())).await;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        match heard {
            Heard::Message(message) => {
                kept |= message.comment;
                retry |= message.retry;
                id = message.id.or(id);
            }
            Heard::Silence => {}
            Heard::End => break,
        }
    }
    let mut complaints = Vec::new();
    if !kept {
        complaints.push("no comment in 32 s".to_owned());
    }
    if longest > Duration::from_secs(31) {
        complaints.push(format!("silent for {} s", longest.as_secs()));
    }
    if id.is_none() {
        complaints.push("no id".to_owned());
    }
    if !retry {
        complaints.push("no retry".to_owned());
    }
    cx.close(&channel.session).await?;
    let fine = format!("longest silence {} s, retry and id set", longest.as_secs());
    Ok(Outcome::complaints("a comment at least every 30 s, id, retry", &complaints, fine).by(&exchange))
}

async fn direct_get(cx: &Context, side: Side) -> Done {
    let channel = channel(cx, side).await?;
    let (exchange, stream) = cx.http.listen(get(&channel.url)).await?;
    Ok(Outcome::judge(stream.is_some(), "an event stream at the advertised URL itself", exchange.line()).by(&exchange))
}

/// Proxies cut connections that are silent for longer.
const IDLE: Duration = Duration::from_secs(32);
