//! What older drafts asked for, and what is only recorded. Nothing here can fail.

use super::seen;
use super::trickle::fresh;
use crate::answer::Sdp;
use crate::case::{Case, Done, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, ORIGIN};
use crate::http::Request;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("LEG-01", server_offer),
        Case::both("LEG-02", methods_of_old_drafts),
        Case::both("LEG-03", codes_of_old_drafts),
        Case::both("LEG-04", patch_codes_of_old_drafts),
        Case::both("LEG-05", odd_headers),
        Case::both("LEG-06", odd_locations),
        Case::both("LEG-07", mute_by_post),
        Case::both("CORS-09", private_network),
    ]
}

/// LEGACY when the old behaviour shows, else INFO.
fn record(legacy: bool, observed: impl Into<String>) -> Outcome {
    Outcome::new(if legacy { Verdict::Legacy } else { Verdict::Info }, "recorded only", observed)
}

async fn server_offer(cx: &Context, side: Side) -> Done {
    let request = cx.offering_text(side, "")?.header("Accept", "application/sdp");
    let exchange = cx.post_and_delete(side, request).await?;
    let offered = Sdp::parse(&exchange.response.text()).is_ok_and(|sdp| {
        let setup = sdp.tagged().and_then(|m| sdp.effective(m, "setup"));
        exchange.response.is_success() && setup == Some("actpass")
    });
    let what = if offered { "a server's offer for an empty POST" } else { "no server's offer for an empty POST" };
    Ok(record(offered, format!("{}: {what}", exchange.line())).by(&exchange))
}

async fn methods_of_old_drafts(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let (get, head) = (cx.ask(side, "GET", endpoint).await?, cx.ask(side, "HEAD", endpoint).await?);
    Ok(record(get.status() == 405, format!("{}, {}", get.line(), head.line())).by(&get))
}

async fn codes_of_old_drafts(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::UnknownCodec).await?;
    let counter = exchange.response.media_type().as_deref() == Some("application/sdp");
    let legacy = exchange.status() == 406 && !counter;
    Ok(record(legacy, format!("{} for an offer that cannot be taken", exchange.line())).by(&exchange))
}

async fn patch_codes_of_old_drafts(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let exchange = super::trickle::patch(cx, &session, Some("*"), &fresh(&session)).await?;
    Ok(record(exchange.status() == 501, format!("{} for a restart", exchange.line())).by(&exchange))
}

async fn odd_headers(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let odd: Vec<&str> =
        ["e-tag", "accept-patch", "id"].into_iter().filter(|name| exchange.response.header(name).is_some()).collect();
    let observed = if odd.is_empty() { "none of E-Tag, Accept-Patch, ID on the 201".into() } else { odd.join(", ") };
    Ok(record(odd.contains(&"e-tag"), observed).by(exchange))
}

async fn odd_locations(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let location = exchange.response.header("location").unwrap_or_default();
    Ok(record(location.contains("action=") || location.contains("token="), seen(exchange, "location")).by(exchange))
}

async fn mute_by_post(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let request = cx.request(side, "POST", &session.url).header("Content-Type", "application/json");
    let exchange = cx.http.send(request.body("{\"video\":true}")).await?;
    Ok(record(exchange.response.is_success(), format!("{} for a JSON mute", exchange.line())).by(&exchange))
}

async fn private_network(cx: &Context, side: Side) -> Done {
    let request = Request::new("OPTIONS", cx.endpoint(side)?)
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Private-Network", "true");
    let exchange = cx.http.send(request).await?;
    Ok(record(false, seen(&exchange, "access-control-allow-private-network")).by(&exchange))
}
