//! The session as a resource: what a 201 carries, how sessions end (RFC 9725 §4.2, §4.3.1).

use std::time::Duration;

use super::seen;
use crate::answer::Sdp;
use crate::case::{Case, Done, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::Exchange;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.2-01", created),
        Case::both("W-4.2-02", content_type),
        Case::both("W-4.2-03", body_is_an_answer),
        Case::both("W-4.2-04", location),
        Case::both("W-4.2-05", location_form),
        Case::both("W-4.2-06", distinct_sessions),
        Case::both("W-4.2-12", strong_etag),
        Case::both("W-4.2-13", distinct_etags),
        Case::both("W-4.2-14", not_cacheable),
        Case::both("W-4.2-15", delete),
        Case::both("W-4.2-17", gone_after_delete),
        Case::both("W-4.2-18", delete_ignores_preconditions),
        Case::both("W-4.2-19", delete_with_a_body),
        Case::both("W-4.2-20", no_renegotiation),
        Case::both("W-4.2-21", prompt),
    ]
}

async fn created(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    Ok(Outcome::judge(exchange.status() == 201, "201 Created", exchange.line()).by(&exchange))
}

async fn content_type(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let plain = exchange.response.header("content-type").is_some_and(|v| v.eq_ignore_ascii_case("application/sdp"));
    let verdict = match exchange.response.media_type().as_deref() {
        Some("application/sdp") if plain => Verdict::Pass,
        // Right, but several clients compare the whole string.
        Some("application/sdp") => Verdict::Warn,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "Content-Type: application/sdp", seen(exchange, "content-type")).by(exchange))
}

async fn body_is_an_answer(cx: &Context, side: Side) -> Done {
    // Not the shared sample: that one is only there when its body parsed.
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    if !exchange.response.is_success() {
        return Ok(Outcome::new(Verdict::Skip, "", format!("no 2xx: {}", exchange.line())));
    }
    let outcome = match Sdp::parse(&exchange.response.text()) {
        Err(why) => Outcome::new(Verdict::Fail, "an SDP answer", why),
        Ok(sdp) => Outcome::judge(sdp.media.len() == 2, "2 media sections", format!("{} sections", sdp.media.len())),
    };
    Ok(outcome.by(&exchange))
}

async fn location(cx: &Context, side: Side) -> Done {
    let exchange = cx.post(side, cx.offering(side, Fixture::Av)?).await?;
    if !exchange.response.is_success() {
        return Ok(Outcome::new(Verdict::Skip, "", format!("no 2xx: {}", exchange.line())));
    }
    let all = exchange.response.all("location");
    let expected = "one Location, naming a session that is there";
    let [reference] = all.as_slice() else {
        return Ok(Outcome::new(Verdict::Fail, expected, format!("{} Location headers", all.len())).by(&exchange));
    };
    let outcome = match exchange.request.url.resolve(reference) {
        Err(why) => Outcome::new(Verdict::Fail, expected, why),
        Ok(url) if url == exchange.request.url => Outcome::new(Verdict::Fail, expected, "names the endpoint itself"),
        Ok(url) => {
            let options = cx.ask(side, "OPTIONS", &url).await?;
            let delete = cx.delete(side, &url).await?;
            let there = options.status() != 404 && delete.response.is_success();
            Outcome::judge(there, expected, format!("{reference}: {}, {}", options.line(), delete.line()))
        }
    };
    Ok(outcome.by(&exchange))
}

async fn location_form(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let value = exchange.response.header("location").unwrap_or_default();
    let absolute = value.starts_with("http://") || value.starts_with("https://");
    let mut complaints = Vec::new();
    if !absolute && !value.starts_with('/') {
        complaints.push("neither absolute nor starting with /".to_owned());
    }
    if value.contains('?') {
        complaints.push("has a query".to_owned());
    }
    if !absolute && value.contains("http") {
        complaints.push("relative, yet holds \"http\"".to_owned());
    }
    Ok(Outcome::complaints("absolute or /path, no query", &complaints, value).by(exchange))
}

async fn distinct_sessions(cx: &Context, side: Side) -> Done {
    let first = cx.sample(side).await?.url.to_string();
    let second = cx.open(side, Fixture::Av).await?;
    let other = second.url.to_string();
    Ok(Outcome::judge(first != other, "another Location for each POST", other).by(&second.exchange))
}

async fn strong_etag(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let observed = seen(exchange, "etag");
    let verdict = match exchange.response.header("etag") {
        // Only servers that support ICE restart must send one.
        None => Verdict::Info,
        Some(tag) if is_strong(tag) => Verdict::Pass,
        Some(_) => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "a strong entity-tag, \"…\"", observed).by(exchange))
}

/// RFC 9110 §8.8.3, without the weak form.
pub(super) fn is_strong(tag: &str) -> bool {
    let inner = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.is_some_and(|t| t.chars().all(|c| c == '\u{21}' || ('\u{23}'..='\u{7E}').contains(&c) || c >= '\u{80}'))
}

async fn distinct_etags(cx: &Context, side: Side) -> Done {
    let first = cx.sample(side).await?.exchange.response.header("etag").map(str::to_owned);
    let second = cx.open(side, Fixture::Av).await?;
    let other = second.exchange.response.header("etag");
    let (Some(first), Some(other)) = (first, other) else {
        return Ok(Outcome::new(Verdict::NotApplicable, "", "no ETag is sent"));
    };
    Ok(Outcome::judge(first != other, "another ETag per ICE session", format!("{first} and {other}")))
}

async fn not_cacheable(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let good = exchange.response.lists("cache-control", "no-store");
    let verdict = if good { Verdict::Pass } else { Verdict::Info };
    Ok(Outcome::new(verdict, "Cache-Control: no-store", seen(exchange, "cache-control")).by(exchange))
}

async fn delete(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let exchange = cx.close(&session).await?;
    let verdict = match exchange.status() {
        200 => Verdict::Pass,
        // Legal, but OBS and others log an error unless it is 200.
        201..=299 => Verdict::Warn,
        _ => Verdict::Fail,
    };
    // A 2xx that ends nothing is no DELETE; a plain probe shows it where GET is understood.
    let after = cx.ask(side, "GET", &session.url).await?;
    let observed = format!("{}, then {}", exchange.line(), after.line());
    let verdict = if after.response.is_success() { Verdict::Fail } else { verdict };
    Ok(Outcome::new(verdict, "200, and the session is gone", observed).by(&exchange))
}

async fn gone_after_delete(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    cx.close(&session).await?;
    let again = cx.delete(side, &session.url).await?;
    let get = cx.ask(side, "GET", &session.url).await?;
    let patch = cx.request(side, "PATCH", &session.url).header("Content-Type", "application/trickle-ice-sdpfrag");
    let patch = cx.http.send(patch.body("a=end-of-candidates\r\n")).await?;
    let is_gone = |exchange: &Exchange| matches!(exchange.status(), 404 | 410);
    let observed = [&again, &get, &patch].map(Exchange::line).join(", ");
    // Where no session takes PATCH, an ended one need not differ.
    let patch_is_gone = is_gone(&patch) || matches!(patch.status(), 405 | 501);
    let verdict = match (is_gone(&again), is_gone(&get) && patch_is_gone) {
        (true, true) => Verdict::Pass,
        // A tombstone that remembers how the session ended.
        (false, true) if again.status() == 200 => Verdict::Info,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "404 for DELETE, GET and PATCH", observed).by(&again))
}

async fn delete_ignores_preconditions(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let request = cx.request(side, "DELETE", &session.url).header("If-Match", "\"nope\"");
    let exchange = cx.http.send(request).await?;
    Ok(Outcome::judge(exchange.response.is_success(), "2xx in spite of If-Match", exchange.line()).by(&exchange))
}

async fn delete_with_a_body(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let request = cx.request(side, "DELETE", &session.url).header("Content-Type", "application/sdp").body("0123456789");
    let exchange = cx.http.send(request).await?;
    Ok(Outcome::judge(exchange.response.is_success(), "2xx", exchange.line()).by(&exchange))
}

async fn no_renegotiation(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    for method in ["POST", "PATCH"] {
        let mut request = cx.request(side, method, &session.url).header("Content-Type", "application/sdp");
        if let Some(tag) = session.exchange.response.header("etag") {
            request = request.header("If-Match", tag);
        }
        cx.wait_for_turn(side).await;
        let exchange = cx.http.send(request.body(Fixture::Av.body(side))).await?;
        cx.remember(side, &exchange);
        if !exchange.response.is_client_error() {
            complaints.push(exchange.line());
        }
    }
    let end = cx.close(&session).await?;
    if !end.response.is_success() {
        complaints.push(format!("afterwards {}", end.line()));
    }
    Ok(Outcome::complaints("4xx, and the session lives on", &complaints, "4xx for both, session lives"))
}

async fn prompt(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let took = exchange.response.took;
    let observed = format!("{} ms", took.as_millis());
    Ok(Outcome::judge(took < Duration::from_secs(1), "below 1 s on an idle network", observed).by(exchange))
}
