//! Simulcast ingest (RFC 9725 §4.8; RFC 8851, 8852, 8853): the answer, and three layers on the wire.

use std::time::Duration;

use str0m::media::MediaKind;

use super::media::{BOTH, CONNECT, connected, plays};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::{Fixture, drop_lines};
use crate::rtc::{Live, Order, Style};

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whip("WHIP-4.8-01", supported),
        Case::whip("WHIP-4.8-04", extensions),
        Case::whip("WHIP-4.8-05", layers_by_rid).in_phase(Phase::Own),
        Case::whip("WHIP-4.8-06", a_layer_stops).in_phase(Phase::Own),
        Case::whip("WHIP-4.8-07", all_layers),
        Case::whip("WHIP-4.8-08", declined),
        Case::whip("WHIP-4.8-09", requests_by_layer).in_phase(Phase::Own),
        Case::fixed("WHIP-4.8-10", &[Side::Whip], Verdict::Info, "str0m sends no scalable streams"),
    ]
}

/// An answer to three layers.
async fn answered(cx: &Context, side: Side) -> Result<Session, Halt> {
    let session = cx.open(side, Fixture::Simulcast).await?;
    cx.close(&session).await?;
    Ok(session)
}

/// True when layers were taken.
fn takes_layers(session: &Session) -> bool {
    session.sdp.media.iter().any(|m| m.has("simulcast"))
}

async fn supported(cx: &Context, side: Side) -> Done {
    let session = answered(cx, side).await?;
    let observed = if takes_layers(&session) { "a=simulcast in the answer" } else { "no a=simulcast in the answer" };
    Ok(Outcome::new(Verdict::Info, "simulcast, or one layer", observed).by(&session.exchange))
}

async fn extensions(cx: &Context, side: Side) -> Done {
    let session = answered(cx, side).await?;
    let Some(given) = session.sdp.media.iter().find(|m| m.has("simulcast")) else {
        return Err(Halt::NotApplicable("simulcast is not accepted".into()));
    };
    let offer = session.offer()?;
    let mut complaints = Vec::new();
    for name in ["sdes:mid", "sdes:rtp-stream-id"] {
        let find = |media: &crate::answer::Media| media.attrs("extmap").find(|e| e.ends_with(name)).map(str::to_owned);
        let asked = offer.media.iter().find(|m| m.kind == "video").and_then(find);
        if find(given) != asked {
            complaints.push(format!("offered {asked:?}, answered {:?}", find(given)));
        }
    }
    Ok(Outcome::complaints("MID and RID extensions with the offered ids", &complaints, "both").by(&session.exchange))
}

async fn all_layers(cx: &Context, side: Side) -> Done {
    let session = answered(cx, side).await?;
    let line = session.sdp.media.iter().find_map(|m| m.attr("simulcast"));
    let line = line.ok_or_else(|| Halt::NotApplicable("simulcast is not accepted".into()))?;
    let count = line.strip_prefix("recv ").unwrap_or_default().split(';').count();
    Ok(Outcome::judge(count == 3, "three layers separated by semicolons", line).by(&session.exchange))
}

async fn declined(cx: &Context, side: Side) -> Done {
    let session = answered(cx, side).await?;
    if takes_layers(&session) {
        return Err(Halt::NotApplicable("simulcast is accepted".into()));
    }
    let rids = session.sdp.media.iter().filter(|m| m.has("rid")).count();
    Ok(Outcome::judge(rids == 0, "neither a=simulcast nor a=rid", format!("{rids} sections with a=rid")))
}

/// A presenter of three layers whose SSRCs are not declared, and a viewer of it.
async fn three_layers(cx: &Context) -> Result<(Session, Live, Live), Halt> {
    let (session, presenter) = presented(cx).await?;
    let (_, viewer) = connected(cx, Side::Whep).await?;
    Ok((session, presenter, viewer))
}

/// A presenter of three layers whose SSRCs are not declared.
pub(super) async fn presented(cx: &Context) -> Result<(Session, Live), Halt> {
    let style = Style { simulcast: true, ..Style::USUAL };
    let undeclared = |offer: &str| drop_lines(offer, "a=ssrc");
    let (session, mut presenter) = cx.join_as(Side::Whip, &BOTH, style, undeclared).await?;
    cx.hold(&session);
    if !takes_layers(&session) {
        cx.close(&session).await?;
        return Err(Halt::NotApplicable("simulcast is not accepted".into()));
    }
    if !presenter.until(CONNECT, |seen| seen.sent > 100).await {
        return Err(Halt::Skip("the presenter never connected".into()));
    }
    if cx.endpoint(Side::Whep).is_err() {
        return Err(Halt::Skip("no --whep given, so nobody can watch".into()));
    }
    Ok((session, presenter))
}

/// Ends what [`three_layers`] made.
pub(super) async fn end(cx: &Context, session: &Session, mut presenter: Live) -> Result<(), Halt> {
    presenter.close().await;
    cx.close(session).await?;
    cx.clean_up_side(Side::Whep).await;
    Ok(())
}

async fn layers_by_rid(cx: &Context, _: Side) -> Done {
    let (session, presenter, mut viewer) = three_layers(cx).await?;
    let good = viewer.until(Duration::from_secs(6), plays).await;
    let seen = viewer.seen();
    end(cx, &session, presenter).await?;
    Ok(Outcome::judge(good, "layers with undeclared SSRCs are known by RID and play", seen.summary()))
}

async fn a_layer_stops(cx: &Context, _: Side) -> Done {
    let (session, presenter, mut viewer) = three_layers(cx).await?;
    let played = viewer.until(Duration::from_secs(6), plays).await;
    presenter.order(Order::Drop("h")).await;
    presenter.order(Order::Drop("m")).await;
    // Long enough for the server to see that the layers are gone.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let count = |live: &Live| live.seen().tracks.iter().filter(|t| t.kind == MediaKind::Video).map(|t| t.packets).sum();
    let before: u64 = count(&viewer);
    viewer.until(Duration::from_secs(2), |_| false).await;
    let more = count(&viewer) - before;
    end(cx, &session, presenter).await?;
    let observed = format!("{more} packets of video in 2 s after two of three layers stopped");
    Ok(Outcome::judge(played && more > 20, "the layer that is left goes on", observed))
}

async fn requests_by_layer(cx: &Context, _: Side) -> Done {
    let (session, presenter, mut viewer) = three_layers(cx).await?;
    viewer.until(Duration::from_secs(6), plays).await;
    let asked = presenter.seen().reports.keyframe;
    end(cx, &session, presenter).await?;
    let observed = format!("requests for {} SSRCs: {:?}", asked.len(), asked.values().collect::<Vec<_>>());
    Ok(Outcome::judge(!asked.is_empty() && asked.len() <= 3, "requests name the SSRC of a layer", observed))
}
