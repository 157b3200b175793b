//! How long sessions live: those that never connect, and those that somebody else wants to replace.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::media::{connected, torn_down};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::offer::Fixture;

/// The checks of this file. The first one waits: beside other viewers, but a presenter has the stream for itself.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("W-4.2-22", never_connects).beside(),
        Case::whip("W-4.2-22", never_connects).in_phase(Phase::Own).beside(),
        Case::whip("W-4.2-24", second_publisher),
    ]
}

async fn never_connects(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    cx.hold(&session);
    let start = Instant::now();
    let first = cx.ask(side, "GET", &session.url).await?;
    if !first.response.is_success() {
        return Err(Halt::Skip(format!("GET does not tell whether a session is there: {}", first.line())));
    }
    let expected = "404 after 10 to 60 s";
    while start.elapsed() < LONGEST {
        sleep(Duration::from_millis(500)).await;
        let probe = cx.ask(side, "GET", &session.url).await?;
        if !probe.response.is_success() {
            let took = start.elapsed();
            let observed = format!("{} after {:.1} s", probe.line(), took.as_secs_f64());
            let good = matches!(probe.status(), 404 | 410) && took > SHORTEST;
            return Ok(Outcome::judge(good, expected, observed).by(&probe));
        }
    }
    cx.close(&session).await?;
    Ok(Outcome::new(Verdict::Fail, expected, "still there after 62 s").by(&first))
}

async fn second_publisher(cx: &Context, side: Side) -> Done {
    let (first, mut live) = connected(cx, side).await?;
    // Not through the context's own POST: that one asks again after a 409.
    let request = match cx.target.other_token.as_deref() {
        Some(token) => {
            let request = cx.offering(side, Fixture::Av)?.without("authorization");
            request.header("Authorization", &format!("Bearer {token}"))
        }
        None => cx.offering(side, Fixture::Av)?,
    };
    let second = cx.post_once(side, request).await?;
    let ended = live.until(Duration::from_secs(3), torn_down).await;
    let gone = matches!(cx.ask(side, "GET", &first.url).await?.status(), 404 | 410);
    let location = second.response.header("location").and_then(|l| second.request.url.resolve(l).ok());
    let died = match location.filter(|_| second.response.is_success()) {
        Some(url) => matches!(cx.ask(side, "GET", &url).await?.status(), 404 | 410),
        None => false,
    };
    let (verdict, what) = match second.status() {
        403 | 409 if !ended && !gone => (Verdict::Pass, "the first goes on"),
        403 | 409 => (Verdict::Fail, "yet the first is ended"),
        201 if died => (Verdict::Fail, "then the second is gone"),
        201 if ended || gone => (Verdict::Pass, "the second takes over, the first is ended"),
        201 => (Verdict::Fail, "and both go on"),
        _ => (Verdict::Fail, "neither refused nor taken over"),
    };
    let observed = format!("{}, {what}", second.line());
    Ok(Outcome::new(verdict, "409, 403, or the first session is ended", observed).by(&second))
}

/// A phone on a bad network needs that long.
const SHORTEST: Duration = Duration::from_secs(10);
/// A little more than the minute that a session may take.
const LONGEST: Duration = Duration::from_secs(62);
