//! Redirects and load (RFC 9725 §4.5): what was seen of them over the whole run, so these come late.

use crate::case::{Case, Done, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::Exchange;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.5-02", redirect_codes).in_phase(Phase::Last),
        Case::both("W-4.5-03", redirects_lead_somewhere).in_phase(Phase::Last),
        Case::both("W-4.5-04", absolute_location_after_redirect).in_phase(Phase::Last),
        Case::both("W-4.5-05", sessions_stay_where_they_are),
        Case::both("W-4.5-06", overload).in_phase(Phase::Last),
        Case::both("W-4.5-07", rate_limit).in_phase(Phase::Last),
    ]
}

/// The POSTs that got one of these answers.
fn diverted(cx: &Context, side: Side, wanted: impl Fn(u16) -> bool) -> Vec<Exchange> {
    let all = cx.diverted.borrow();
    all.iter().filter(|(s, exchange)| *s == side && wanted(exchange.status())).map(|(_, e)| e.clone()).collect()
}

fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status)
}

/// What a clause about redirects says where there are none.
fn none_seen() -> Outcome {
    Outcome::new(Verdict::NotApplicable, "", "no POST was redirected")
}

async fn redirect_codes(cx: &Context, side: Side) -> Done {
    // One more POST, so that the clause can be judged alone.
    cx.try_offer(side, Fixture::Av).await?;
    let seen = diverted(cx, side, is_redirect);
    let Some(first) = seen.first() else {
        return Ok(none_seen());
    };
    let mut complaints = Vec::new();
    for exchange in &seen {
        let location = exchange.response.header("location").unwrap_or("none");
        if !matches!(exchange.status(), 307 | 308) {
            complaints.push(format!("{} turns the POST into a GET at many clients", exchange.status()));
        }
        if !location.starts_with("http://") && !location.starts_with("https://") {
            complaints.push(format!("Location: {location} is not absolute"));
        }
    }
    complaints.sort();
    complaints.dedup();
    Ok(Outcome::complaints("307 (or 308) with an absolute Location", &complaints, first.line()).by(first))
}

async fn redirects_lead_somewhere(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    let seen = diverted(cx, side, is_redirect);
    if seen.is_empty() {
        return Ok(none_seen());
    }
    let expected = "the same POST at the other place gives 201, after at most 10 hops";
    Ok(Outcome::judge(exchange.status() == 201, expected, exchange.line()).by(&exchange))
}

async fn absolute_location_after_redirect(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    if exchange.request.url == *cx.endpoint(side)? {
        return Ok(none_seen());
    }
    let location = exchange.response.header("location").unwrap_or("none");
    let good = location.starts_with("http://") || location.starts_with("https://");
    let expected = "an absolute Location: many clients resolve it against the first URL";
    Ok(Outcome::judge(good, expected, location).by(&exchange))
}

async fn sessions_stay_where_they_are(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let fragment = cx.request(side, "PATCH", &session.url).header("Content-Type", super::trickle::FRAGMENT);
    let patch = cx.http.send(fragment.body("a=end-of-candidates\r\n")).await?;
    let delete = cx.close(&session).await?;
    let observed = format!("{}, {}", patch.line(), delete.line());
    let good = !is_redirect(patch.status()) && !is_redirect(delete.status());
    Ok(Outcome::judge(good, "no 3xx for PATCH and DELETE", observed).by(&patch))
}

/// Judges the answers with that status, all of which should say when to come back.
fn says_when(cx: &Context, side: Side, status: u16) -> Outcome {
    let seen = diverted(cx, side, |code| code == status);
    let Some(first) = seen.first() else {
        let hint = if cx.target.abuse { "" } else { " (--abuse tries harder)" };
        return Outcome::new(Verdict::NotApplicable, "", format!("no POST was answered {status}{hint}"));
    };
    let without = seen.iter().filter(|e| e.response.header("retry-after").is_none()).count();
    let observed = format!("{} times {status}, {without} without Retry-After", seen.len());
    Outcome::judge(without == 0, "Retry-After with each", observed).by(first)
}

async fn overload(cx: &Context, side: Side) -> Done {
    Ok(says_when(cx, side, 503))
}

async fn rate_limit(cx: &Context, side: Side) -> Done {
    Ok(says_when(cx, side, 429))
}
