//! Counter-offers: the server refuses a viewer's offer and makes one itself (WHEP draft §4.2.2).

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::media::{CONNECT, how_far, plays};
use super::seen;
use crate::answer::Sdp;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::date;
use crate::http::Exchange;
use crate::offer::Fixture;
use crate::rtc::{Client, Live};
use crate::url::Url;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("WHEP-4.2.2-01", form),
        Case::whep("WHEP-4.2.2-02", valid_until),
        Case::whep("WHEP-4.2.2-03", thirty_seconds).beside(),
        Case::whep("WHEP-4.2.2-04", answered),
        Case::whep("WHEP-4.2.2-05", malformed_answer),
        Case::whep("WHEP-4.2.2-06", directions),
        Case::whep("WHEP-4.2.2-07", transport),
        Case::whep("WHEP-4.2.2-08", etag),
        Case::whep("WHEP-4.2.2-09", cancelled),
        Case::whep("WHEP-4.2.2-10", second_answer),
        Case::whep("WHEP-4.2.2-11", not_for_ordinary_offers),
    ]
}

/// A counter-offer that waits for its answer.
struct Pending {
    /// The POST and its 406.
    exchange: Exchange,
    /// Where the answer goes.
    url: Url,
    /// The server's offer.
    offer: Sdp,
}

/// Posts what the stream cannot satisfy, until one offer is answered by 406; else the last refusal.
async fn refusal(cx: &Context, side: Side) -> Result<Exchange, Halt> {
    let mut last = None;
    // No codec at all in common; then only the codec that the stream probably does not have.
    for fixture in [Fixture::UnknownCodec, Fixture::H264] {
        let exchange = cx.post(side, cx.offering(side, fixture)?).await?;
        if exchange.status() == 406 {
            return Ok(exchange);
        }
        if !exchange.response.is_success() {
            last = Some(exchange);
        }
    }
    last.ok_or_else(|| Halt::Skip("the server refused none of the odd offers".into()))
}

/// A fresh counter-offer.
///
/// # Errors
/// [`Halt::NotApplicable`] where the server makes none.
async fn pending(cx: &Context, side: Side) -> Result<Pending, Halt> {
    let exchange = refusal(cx, side).await?;
    if exchange.status() != 406 {
        return Err(Halt::NotApplicable(format!("no counter-offer: {}", exchange.line())));
    }
    let location = exchange.response.header("location").ok_or_else(|| Halt::Skip("the 406 has no Location".into()))?;
    let url = exchange.request.url.resolve(location).map_err(Halt::Skip)?;
    let offer = Sdp::parse(&exchange.response.text()).map_err(|e| Halt::Skip(format!("the 406 has no SDP: {e}")))?;
    Ok(Pending { exchange, url, offer })
}

impl Pending {
    /// Sends an answer.
    async fn patch(&self, cx: &Context, answer: &str) -> Result<Exchange, Halt> {
        let mut request = cx.request(Side::Whep, "PATCH", &self.url).header("Content-Type", "application/sdp");
        if let Some(tag) = self.exchange.response.header("etag") {
            request = request.header("If-Match", tag);
        }
        Ok(cx.http.send(request.body(answer)).await?)
    }

    /// A client for the offer, and its answer.
    async fn accept(&self, cx: &Context) -> Result<(Live, String), Halt> {
        let ip = cx.local_ip(Side::Whep).await?;
        Client::accepting(ip, &self.offer.text).await.map_err(Halt::Skip)
    }
}

async fn form(cx: &Context, side: Side) -> Done {
    let exchange = refusal(cx, side).await?;
    if exchange.status() != 406 {
        return Ok(Outcome::new(Verdict::Info, "", format!("no counter-offer: {}", exchange.line())).by(&exchange));
    }
    let mut complaints = Vec::new();
    if exchange.response.media_type().as_deref() != Some("application/sdp") {
        complaints.push(seen(&exchange, "content-type"));
    }
    if let Err(why) = Sdp::parse(&exchange.response.text()) {
        complaints.push(format!("body: {why}"));
    }
    if exchange.response.header("location").is_none() {
        complaints.push("no Location".to_owned());
    }
    let expected = "406, application/sdp, an SDP offer, Location";
    Ok(Outcome::complaints(expected, &complaints, exchange.line()).by(&exchange))
}

/// The `valid-until` parameter of a 406.
fn limit(exchange: &Exchange) -> Option<String> {
    let value = exchange.response.header("content-type")?;
    let at = value.to_ascii_lowercase().find("valid-until=")?;
    value.get(at + "valid-until=".len()..).map(|rest| rest.split(';').next().unwrap_or_default().trim().to_owned())
}

async fn valid_until(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let Some(value) = limit(&pending.exchange) else {
        return Err(Halt::NotApplicable("the counter-offer has no valid-until".into()));
    };
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let until = quoted.and_then(date::seconds);
    // The server's own clock, when it tells the time; else ours.
    let told = pending.exchange.response.header("date").and_then(date::seconds);
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    let good = until.is_some_and(|until| until > told.unwrap_or(ours));
    Ok(Outcome::judge(good, "a quoted HTTP-date in the future", value).by(&pending.exchange))
}

async fn thirty_seconds(cx: &Context, side: Side) -> Done {
    let (one, two) = (pending(cx, side).await?, pending(cx, side).await?);
    if limit(&one.exchange).is_some() {
        return Err(Halt::NotApplicable("the counter-offer says how long it is valid".into()));
    }
    let ((_first, early), (_second, late)) = (one.accept(cx).await?, two.accept(cx).await?);
    // One answer well within the time, one well after it.
    sleep(Duration::from_secs(25)).await;
    let early = one.patch(cx, &early).await?;
    sleep(Duration::from_secs(10)).await;
    let late = two.patch(cx, &late).await?;
    let observed = format!("after 25 s {}, after 35 s {}", early.status(), late.status());
    let good = early.status() == 204 && late.response.is_client_error();
    Ok(Outcome::judge(good, "204 after 25 s, 4xx after 35 s", observed).by(&late))
}

async fn answered(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let (mut live, answer) = pending.accept(cx).await?;
    let exchange = pending.patch(cx, &answer).await?;
    let connected = exchange.response.is_success() && live.until(CONNECT, |seen| seen.connected_at.is_some()).await;
    let flows = connected && live.until(Duration::from_secs(5), |seen| !seen.tracks.is_empty()).await;
    let seen = live.seen();
    let observed = format!("{}, {}, {}", exchange.line(), how_far(&seen), seen.summary());
    let good = exchange.status() == 204 && flows;
    let note = if plays(&seen) { " (audio and video)" } else { "" };
    Ok(Outcome::judge(good, "204, then media", observed + note).by(&exchange))
}

async fn malformed_answer(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let (_live, answer) = pending.accept(cx).await?;
    let bad = pending.patch(cx, "v=0\r\nhello").await?;
    let good = pending.patch(cx, &answer).await?;
    let observed = format!("bad {}, then good {}", bad.status(), good.status());
    let holds = bad.response.is_client_error() && good.status() == 204;
    Ok(Outcome::judge(holds, "4xx, then 204", observed).by(&bad))
}

async fn directions(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let of_media = pending.offer.media.iter().filter(|m| m.kind != "application");
    let wrong = of_media.filter(|m| !matches!(m.direction(), "sendonly" | "sendrecv"));
    let complaints: Vec<String> = wrong.map(|m| format!("{} is {}", m.kind, m.direction())).collect();
    Ok(Outcome::complaints("a=sendonly", &complaints, "sendonly").by(&pending.exchange))
}

async fn transport(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let offer = &pending.offer;
    let mut complaints = Vec::new();
    let setup = offer.tagged().and_then(|m| offer.effective(m, "setup"));
    if setup != Some("actpass") {
        complaints.push(format!("setup is {setup:?}"));
    }
    let group = offer.bundle().unwrap_or_default();
    for media in &offer.media {
        match media.attr("mid") {
            Some(mid) if group.contains(&mid) => {}
            mid => complaints.push(format!("{}: mid {mid:?} is not in BUNDLE", media.kind)),
        }
        for name in ["ice-ufrag", "ice-pwd", "fingerprint"] {
            if offer.effective(media, name).is_none() {
                complaints.push(format!("{}: no {name}", media.kind));
            }
        }
        if media.kind != "application" && !media.has("msid") {
            complaints.push(format!("{}: no msid", media.kind));
        }
    }
    let expected = "setup:actpass, BUNDLE, mid, msid, ICE credentials, fingerprint";
    Ok(Outcome::complaints(expected, &complaints, "all there").by(&pending.exchange))
}

async fn etag(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    Ok(Outcome::new(Verdict::Info, "recorded only", seen(&pending.exchange, "etag")).by(&pending.exchange))
}

async fn cancelled(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let delete = cx.delete(side, &pending.url).await?;
    let (_live, answer) = pending.accept(cx).await?;
    let after = pending.patch(cx, &answer).await?;
    let observed = format!("{}, then {}", delete.line(), after.line());
    let good = delete.status() == 200 && after.response.is_client_error();
    Ok(Outcome::judge(good, "200, and no answer is taken afterwards", observed).by(&delete))
}

async fn second_answer(cx: &Context, side: Side) -> Done {
    let pending = pending(cx, side).await?;
    let (_live, answer) = pending.accept(cx).await?;
    let (first, second) = (pending.patch(cx, &answer).await?, pending.patch(cx, &answer).await?);
    let observed = format!("first {}, second {}", first.status(), second.status());
    let good = first.response.is_success() && second.response.is_client_error();
    Ok(Outcome::judge(good, "4xx (409 is best) for the second", observed).by(&second))
}

async fn not_for_ordinary_offers(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    Ok(Outcome::judge(exchange.status() != 406, "201 for the offer of a browser", exchange.line()).by(&exchange))
}
