//! Layer selection, an extension of WHEP: a viewer chooses what it gets of a simulcast or scalable stream.

use super::events::{Channel, EVENTS};
use super::links::links;
use super::seen;
use crate::case::{Case, Done, Halt, Outcome};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::http::Exchange;
use crate::offer::Fixture;
use crate::url::Url;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("LAY-01", advertised_with_events),
        Case::whep("LAY-03", every_constraint),
        Case::whep("LAY-04", automatic_again),
        Case::whep("LAY-05", delete),
        Case::whep("LAY-06", unknown_layers),
    ]
}

/// The relation of the extension.
const LAYER: &str = "urn:ietf:params:whep:ext:core:layer";

/// Where a session's layer is chosen.
pub(super) struct Chooser {
    session: Session,
    url: Url,
    /// Index of the video section.
    pub(super) video: usize,
}

impl Chooser {
    /// Asks for what that JSON says.
    pub(super) async fn choose(&self, cx: &Context, body: &str) -> Result<Exchange, Halt> {
        let request = cx.request(Side::Whep, "POST", &self.url).header("Content-Type", "application/json");
        Ok(cx.http.send(request.body(body)).await?)
    }
}

/// Reads the link of a session.
pub(super) fn chooser(session: Session) -> Result<Chooser, Halt> {
    let found = links(&session.exchange.response).into_iter().find(|l| l.is(LAYER));
    let link = found.ok_or_else(|| Halt::NotApplicable("layer selection is not advertised".into()))?;
    let url = session.exchange.request.url.resolve(&link.target).map_err(Halt::Skip)?;
    let video = session.sdp.media.iter().position(|m| m.kind == "video" && m.port != 0);
    let video = video.ok_or_else(|| Halt::Skip("no video was accepted".into()))?;
    Ok(Chooser { session, url, video })
}

/// A session that never connects, for what HTTP alone can tell.
async fn choosing(cx: &Context, side: Side) -> Result<Chooser, Halt> {
    chooser(cx.open(side, Fixture::Av).await?)
}

async fn advertised_with_events(cx: &Context, side: Side) -> Done {
    let chooser = choosing(cx, side).await?;
    let exchange = chooser.session.exchange.clone();
    let outcome = match Channel::of(chooser.session) {
        Err(_) => Outcome::judge(false, &format!("a Link to {EVENTS} too"), "no such Link"),
        Ok(channel) => {
            let told = channel.needs("layers").is_ok();
            let observed = seen(&exchange, "link");
            Outcome::judge(told, "layers among the advertised events", observed)
        }
    };
    Ok(outcome.by(&exchange))
}

async fn every_constraint(cx: &Context, side: Side) -> Done {
    let chooser = choosing(cx, side).await?;
    let mut complaints = Vec::new();
    let mut codes = Vec::new();
    let names =
        ["spatialLayerId", "temporalLayerId", "maxSpatialLayerId", "maxTemporalLayerId", "maxWidth", "maxHeight"];
    for name in names {
        let value = if name.ends_with("Id") { 0 } else { 640 };
        let exchange = chooser.choose(cx, &format!("{{\"mediaId\":\"{}\",\"{name}\":{value}}}", chooser.video)).await?;
        codes.push(format!("{name} {}", exchange.status()));
        if exchange.status() != 200 && !exchange.response.is_client_error() {
            complaints.push(format!("{name}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("200 or 4xx for each", &complaints, codes.join(", ")))
}

async fn automatic_again(cx: &Context, side: Side) -> Done {
    let chooser = choosing(cx, side).await?;
    let mut complaints = Vec::new();
    let mut last = None;
    for body in [format!("{{\"mediaId\":\"{}\"}}", chooser.video), "{}".into()] {
        let exchange = chooser.choose(cx, &body).await?;
        if exchange.status() != 200 {
            complaints.push(format!("{body}: {}", exchange.status()));
        }
        last = Some(exchange);
    }
    let outcome = Outcome::complaints("200 for an object without constraints", &complaints, "200 for both");
    Ok(last.iter().fold(outcome, Outcome::by))
}

async fn delete(cx: &Context, side: Side) -> Done {
    let chooser = choosing(cx, side).await?;
    let exchange = cx.ask(side, "DELETE", &chooser.url).await?;
    Ok(Outcome::judge(matches!(exchange.status(), 200 | 204), "200 or 204", exchange.line()).by(&exchange))
}

async fn unknown_layers(cx: &Context, side: Side) -> Done {
    let chooser = choosing(cx, side).await?;
    let mut complaints = Vec::new();
    let mut last = None;
    let unknown = format!("{{\"mediaId\":\"{}\",\"rid\":\"nope\"}}", chooser.video);
    for body in [unknown.as_str(), "{\"mediaId\":\"77\",\"rid\":\"nope\"}", "{\"mediaId\":", "[]"] {
        let exchange = chooser.choose(cx, body).await?;
        if !exchange.response.is_client_error() {
            complaints.push(format!("{body}: {}", exchange.status()));
        }
        last = Some(exchange);
    }
    let outcome = Outcome::complaints("4xx", &complaints, "4xx for all");
    Ok(last.iter().fold(outcome, Outcome::by))
}
