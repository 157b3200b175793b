//! PATCH: ICE restart (RFC 9725 §4.3.3). No check here needs a live peer.

use super::session::is_strong;
use super::trickle::{CANDIDATE, FRAGMENT, fragment, fresh, patch, restarted};
use crate::answer::Sdp;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::offer::random_text;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.3.3-01", restart),
        Case::both("W-4.3.3-02", restart_etag),
        Case::both("W-4.3.3-04", restart_credentials),
        Case::both("W-4.3.3-07", failed_restart),
        Case::both("W-4.3.3-08", quoted_star),
        Case::both("W-4.3.3-03", same_ice_options),
        Case::both("W-4.3.3-09", restart_with_the_current_tag),
        Case::both("W-4.3.3-10", restart_without_candidates),
        Case::both("W-4.3.3-11", restart_without_if_match),
        Case::both("W-4.3.3-12", fragment_form),
        Case::both("CORS-07", restart_exposes_etag),
    ]
}

async fn restart(cx: &Context, side: Side) -> Done {
    let (session, exchange) = restarted(cx, side).await?;
    let mut complaints = Vec::new();
    if exchange.status() != 200 {
        complaints.push(exchange.line());
    }
    if exchange.response.media_type().as_deref() != Some(FRAGMENT) {
        complaints.push(super::seen(&exchange, "content-type"));
    }
    let text = exchange.response.text();
    for line in ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"] {
        if !text.lines().any(|l| l.starts_with(line)) {
            complaints.push(format!("no {line}"));
        }
    }
    cx.close(&session).await?;
    Ok(Outcome::complaints("200, an sdpfrag with ufrag, pwd and candidates", &complaints, exchange.line())
        .by(&exchange))
}

async fn restart_etag(cx: &Context, side: Side) -> Done {
    let (session, exchange) = restarted(cx, side).await?;
    let old = session.exchange.response.header("etag");
    let new = exchange.response.header("etag");
    let good = new.is_some_and(is_strong) && new != old;
    Ok(Outcome::judge(good, "a new strong ETag", format!("was {old:?}, is {new:?}")).by(&exchange))
}

async fn restart_credentials(cx: &Context, side: Side) -> Done {
    let (session, exchange) = restarted(cx, side).await?;
    let text = exchange.response.text();
    let new = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().to_owned();
    let old = |sdp: &Sdp, name: &str| sdp.tagged().and_then(|m| sdp.effective(m, name)).unwrap_or_default().to_owned();
    let changed =
        new("a=ice-ufrag:") != old(&session.sdp, "ice-ufrag") && new("a=ice-pwd:") != old(&session.sdp, "ice-pwd");
    let there = !new("a=ice-ufrag:").is_empty();
    let observed = if changed && there { "changed" } else { "not changed" };
    Ok(Outcome::judge(changed && there, "another ufrag and pwd", observed).by(&exchange))
}

async fn failed_restart(cx: &Context, side: Side) -> Done {
    let (session, _) = restarted(cx, side).await?;
    let bad = patch(cx, &session, Some("*"), &fragment(&session, &random_text(8), "short", CANDIDATE)).await?;
    let end = cx.close(&session).await?;
    let observed = format!("a 5-character password: {}; afterwards {}", bad.status(), end.line());
    let good = bad.response.is_client_error() && end.response.is_success();
    Ok(Outcome::judge(good, "4xx, and the session lives on", observed).by(&bad))
}

async fn quoted_star(cx: &Context, side: Side) -> Done {
    let (session, _) = restarted(cx, side).await?;
    let exchange = patch(cx, &session, Some("\"*\""), &fresh(&session)).await?;
    Ok(Outcome::judge(exchange.status() == 200, "200, as for the bare star", exchange.line()).by(&exchange))
}

async fn restart_without_candidates(cx: &Context, side: Side) -> Done {
    let (session, _) = restarted(cx, side).await?;
    let body = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", random_text(8), random_text(24));
    let exchange = patch(cx, &session, Some("*"), &body).await?;
    Ok(Outcome::judge(exchange.status() == 200, "200", exchange.line()).by(&exchange))
}

async fn restart_exposes_etag(cx: &Context, side: Side) -> Done {
    let (_, exchange) = restarted(cx, side).await?;
    let name = "access-control-expose-headers";
    let good = exchange.response.lists(name, "etag") || exchange.response.lists(name, "*");
    Ok(Outcome::judge(good, "ETag exposed on the restart's 200", super::seen(&exchange, name)).by(&exchange))
}

async fn same_ice_options(cx: &Context, side: Side) -> Done {
    let (session, exchange) = restarted(cx, side).await?;
    let text = exchange.response.text();
    let mut complaints = Vec::new();
    for name in ["ice-options", "ice-pacing", "ice-lite"] {
        let answer = session.sdp.tagged().and_then(|m| session.sdp.effective(m, name));
        let line = format!("a={name}");
        let fragment = text.lines().filter_map(|l| l.strip_prefix(&line));
        let fragment = fragment.map(|rest| rest.strip_prefix(':').unwrap_or(rest)).next();
        if answer != fragment {
            complaints.push(format!("{name}: answer {answer:?}, restart {fragment:?}"));
        }
    }
    Ok(Outcome::complaints("ice-options, ice-pacing and ice-lite as in the answer", &complaints, "the same")
        .by(&exchange))
}

async fn restart_with_the_current_tag(cx: &Context, side: Side) -> Done {
    let (session, exchange) = restarted(cx, side).await?;
    let tag = exchange.response.header("etag").map(str::to_owned);
    let tag = tag.ok_or_else(|| Halt::Skip("the restart gave no ETag".into()))?;
    let again = patch(cx, &session, Some(&tag), &fresh(&session)).await?;
    let verdict = if matches!(again.status(), 200 | 412) { Verdict::Info } else { Verdict::Fail };
    Ok(Outcome::new(verdict, "200 or 412", again.line()).by(&again))
}

async fn restart_without_if_match(cx: &Context, side: Side) -> Done {
    let (session, _) = restarted(cx, side).await?;
    let exchange = patch(cx, &session, None, &fresh(&session)).await?;
    let verdict = match exchange.status() {
        428 => Verdict::Pass,
        200 if !cx.target.strict => Verdict::Info,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "428", exchange.line()).by(&exchange))
}

async fn fragment_form(cx: &Context, side: Side) -> Done {
    let (_, exchange) = restarted(cx, side).await?;
    let text = exchange.response.text();
    let mut complaints = Vec::new();
    if text.split_inclusive('\n').any(|line| !line.ends_with("\r\n")) {
        complaints.push("a line without CRLF".to_owned());
    }
    let hosts = text.lines().filter(|l| l.starts_with("a=candidate:") && l.contains(" typ host")).count();
    if hosts == 0 {
        complaints.push("no host candidate".to_owned());
    }
    let expected = "CRLF, few host candidates";
    Ok(Outcome::complaints(expected, &complaints, format!("CRLF, {hosts} host candidates")).by(&exchange))
}
