//! The endpoint as an HTTP resource: methods, media types, bodies (RFC 9725 §4.1 and §4.2, RFC 9110).

use std::time::Duration;

use super::{is_empty, seen};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::Exchange;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.1-01", get_endpoint),
        Case::both("W-4.1-02", get_session),
        Case::both("W-4.1-03", head),
        Case::whep("WHEP-H4.2-01", head_names_sdp),
        Case::both("W-4.1-04", allow_on_405),
        Case::both("W-4.1-05", meaningless_methods),
        Case::both("W-4.1-06", problem_details),
        Case::both("W-4.1-07", client_faults_are_4xx),
        Case::both("W-4.1-08", body_framings),
        Case::both("W-4.2-07", wrong_media_type),
        Case::both("W-4.2-08", media_type_spelling),
        Case::both("W-4.2-09", malformed_offer),
        Case::both("W-4.2-10", empty_offer),
        Case::both("W-4.2-11", huge_offer),
        Case::both("W-4.2-23", unknown_path),
        Case::both("W-4.5-01", no_post_was_redirected).in_phase(Phase::Last),
    ]
}

async fn get_endpoint(cx: &Context, side: Side) -> Done {
    let exchange = cx.ask(side, "GET", cx.endpoint(side)?).await?;
    Ok(no_content(&exchange))
}

async fn get_session(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let exchange = cx.ask(side, "GET", &session.url).await?;
    Ok(no_content(&exchange))
}

/// Judges a GET that must be a 2xx without content.
fn no_content(exchange: &Exchange) -> Outcome {
    let (status, length) = (exchange.status(), exchange.response.body.len());
    let observed = format!("{}, {length} octets", exchange.line());
    let verdict = match status {
        200..=299 if length == 0 => Verdict::Pass,
        // Drafts up to -14 demanded it.
        405 => Verdict::Legacy,
        _ => Verdict::Fail,
    };
    Outcome::new(verdict, "2xx without content", observed).by(exchange)
}

async fn head(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    let mut differences = Vec::new();
    let mut last = None;
    for (name, url) in [("endpoint", cx.endpoint(side)?), ("session", &session.url)] {
        let get = cx.ask(side, "GET", url).await?;
        let request = cx.request(side, "HEAD", url);
        let octets = request.head("Connection: close\r\n");
        let head = cx.http.raw(request, &[octets.as_bytes()]).await?;
        if !is_empty(&head.response) {
            complaints.push(format!("{name}: HEAD came with {} octets of body", head.response.body.len()));
        }
        if head.status() != get.status() {
            complaints.push(format!("{name}: HEAD {} but GET {}", head.status(), get.status()));
        }
        for (header, value) in &get.response.headers {
            // These describe the message or the moment, not the resource.
            let differs = !matches!(header.as_str(), "date" | "connection" | "keep-alive" | "transfer-encoding");
            if differs && !head.response.all(header).contains(&value.as_str()) {
                differences.push(format!("{name}: HEAD lacks \"{header}: {value}\" of GET"));
            }
        }
        last = Some(head);
    }
    let broken = !complaints.is_empty();
    complaints.extend(differences);
    let expected = "HEAD as GET, without body";
    let mut outcome = Outcome::complaints(expected, &complaints, "same status and headers, no body");
    if !broken && outcome.verdict == Verdict::Fail {
        // RFC 9110 §9.3.2: that there is no body is a MUST, that the fields are the same a SHOULD.
        outcome.verdict = Verdict::Warn;
    }
    Ok(last.map_or(outcome.clone(), |exchange| outcome.by(&exchange)))
}

async fn head_names_sdp(cx: &Context, side: Side) -> Done {
    let exchange = cx.ask(side, "HEAD", cx.endpoint(side)?).await?;
    let good = exchange.status() == 200 && exchange.response.media_type().as_deref() == Some("application/sdp");
    let expected = "200 with Content-Type: application/sdp";
    Ok(Outcome::judge(good, expected, seen(&exchange, "content-type")).by(&exchange))
}

async fn allow_on_405(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    let mut found = 0;
    for (url, methods) in [(cx.endpoint(side)?, ["PUT", "PATCH"]), (&session.url, ["PUT", "POST"])] {
        for method in methods {
            let exchange = cx.ask(side, method, url).await?;
            if exchange.status() != 405 {
                continue;
            }
            found += 1;
            let allow = exchange.response.list("allow");
            if exchange.response.header("allow").is_none() {
                complaints.push(format!("{method} {}: 405 without Allow", url.path));
            } else if allow.iter().any(|m| m == method) {
                complaints.push(format!("{method} {}: refused, yet in Allow: {}", url.path, allow.join(", ")));
            }
        }
    }
    if found == 0 {
        return Ok(Outcome::new(Verdict::NotApplicable, "", "no method was answered 405"));
    }
    Ok(Outcome::complaints("Allow with every 405", &complaints, format!("{found} times 405, each with Allow")))
}

async fn meaningless_methods(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    let tried = [(cx.endpoint(side)?, ["PUT", "PATCH", "DELETE"]), (&session.url, ["PUT", "POST", "TRACE"])];
    for (url, methods) in tried {
        for method in methods {
            let exchange = cx.ask(side, method, url).await?;
            if !matches!(exchange.status(), 405 | 501) {
                complaints.push(format!("{method} {}: {}", url.path, exchange.status()));
            }
        }
    }
    Ok(Outcome::complaints("405", &complaints, "405 for all"))
}

async fn problem_details(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Hello).await?;
    let text = exchange.response.text();
    if exchange.response.media_type().as_deref() != Some("application/problem+json") {
        let observed = format!("not used: {}", seen(&exchange, "content-type"));
        return Ok(Outcome::new(Verdict::Info, "problem details, if any, say the status", observed).by(&exchange));
    }
    let problem: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let status = problem.as_ref().and_then(|p| p.get("status")).and_then(serde_json::Value::as_u64);
    let good = problem.is_some_and(|p| p.is_object()) && status.is_none_or(|s| s == u64::from(exchange.status()));
    Ok(Outcome::judge(good, "a JSON object whose status is the HTTP status", text).by(&exchange))
}

async fn client_faults_are_4xx(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    let faults = [Fixture::Hello, Fixture::Truncated, Fixture::NoUfrag, Fixture::NoFingerprint, Fixture::UnknownCodec];
    for fixture in faults {
        match cx.try_offer(side, fixture).await {
            Ok(exchange) if exchange.status() >= 500 => {
                complaints.push(format!("{}: {}", fixture.name(), exchange.status()));
            }
            Ok(_) => {}
            Err(Halt::Broken(why)) => {
                complaints.push(format!("{}: no answer ({why})", fixture.name()));
            }
            Err(skip) => return Err(skip),
        }
    }
    let garbage = cx.offering(side, Fixture::Av)?.body([0xFF, 0xFE, 0x00, 0x80]);
    let exchange = cx.post_and_delete(side, garbage).await?;
    if exchange.status() >= 500 {
        complaints.push(format!("octets that are not UTF-8: {}", exchange.status()));
    }
    Ok(Outcome::complaints("4xx for every fault of the client", &complaints, "no 5xx, no broken connection"))
}

async fn body_framings(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    let mut deliberate = Vec::new();
    let mut continued = false;
    for framing in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
        let request = cx.offering(side, Fixture::Av)?;
        let length = request.body.len();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let (extra, body) = if framing.starts_with("Expect") {
            (format!("{framing}\r\nContent-Length: {length}\r\nConnection: close\r\n"), body)
        } else {
            let (one, two) = body.split_at(body.find("m=").unwrap_or_default());
            let chunked = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
            (format!("{framing}\r\nConnection: close\r\n"), chunked)
        };
        let head = request.head(&extra);
        let whole = format!("{head}{body}");
        cx.wait_for_turn(side).await;
        let parts: &[&[u8]] =
            if framing.starts_with("Expect") { &[head.as_bytes(), body.as_bytes()] } else { &[whole.as_bytes()] };
        let exchange = cx.http.raw(request, parts).await?;
        cx.remember(side, &exchange);
        cx.clean_up_side(side).await;
        continued |= exchange.response.continued;
        match exchange.status() {
            201 => {}
            status @ (411 | 417) => deliberate.push(format!("{framing}: {status}")),
            status => complaints.push(format!("{framing}: {status}")),
        }
    }
    let endpoint = cx.endpoint(side)?;
    let twice = vec![cx.request(side, "OPTIONS", endpoint), cx.request(side, "OPTIONS", endpoint)];
    if let Err(error) = cx.http.send_all(twice).await {
        complaints.push(format!("second request on a connection: {error}"));
    }
    if complaints.is_empty() && !deliberate.is_empty() {
        return Ok(Outcome::new(Verdict::Warn, "all framings of HTTP/1.1", deliberate.join("; ")));
    }
    let interim = if continued { "with" } else { "without" };
    let fine = format!("100-continue ({interim} an interim response), chunked and keep-alive work");
    Ok(Outcome::complaints("201 with 100-continue, chunked and keep-alive", &complaints, fine))
}

async fn wrong_media_type(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    let mut codes = Vec::new();
    for media_type in [Some("text/plain"), Some("application/json"), None] {
        let mut request = cx.offering(side, Fixture::Av)?.without("content-type");
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        let exchange = cx.post_and_delete(side, request).await?;
        let note = format!("{}: {}", media_type.unwrap_or("no type"), exchange.status());
        if exchange.response.is_client_error() {
            codes.push(note);
        } else {
            complaints.push(note);
        }
    }
    Ok(Outcome::complaints("4xx (415 is best)", &complaints, codes.join("; ")))
}

async fn media_type_spelling(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for spelling in ["Application/SDP", "application/sdp; charset=utf-8", "application/sdp;charset=UTF-8"] {
        let request = cx.offering(side, Fixture::Av)?.without("content-type").header("Content-Type", spelling);
        let exchange = cx.post_and_delete(side, request).await?;
        if exchange.status() != 201 {
            complaints.push(format!("{spelling}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("201", &complaints, "201 for all spellings"))
}

async fn malformed_offer(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    let mut codes = Vec::new();
    for fixture in [Fixture::Hello, Fixture::Truncated, Fixture::NoUfrag, Fixture::NoFingerprint] {
        let exchange = cx.try_offer(side, fixture).await?;
        let note = format!("{}: {}", fixture.name(), exchange.status());
        if exchange.response.is_client_error() {
            codes.push(note);
        } else {
            complaints.push(note);
        }
    }
    Ok(Outcome::complaints("4xx (400 is best)", &complaints, codes.join("; ")))
}

async fn empty_offer(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Empty).await?;
    Ok(Outcome::judge(exchange.response.is_client_error(), "4xx", exchange.line()).by(&exchange))
}

async fn huge_offer(cx: &Context, side: Side) -> Done {
    let request = cx.offering(side, Fixture::Huge)?;
    let mut octets =
        request.head(&format!("Content-Length: {}\r\nConnection: close\r\n", request.body.len())).into_bytes();
    octets.extend_from_slice(&request.body);
    cx.wait_for_turn(side).await;
    let exchange = cx.http.raw(request, &[&octets]).await?;
    cx.remember(side, &exchange);
    let took = exchange.response.took;
    let observed = format!("{} after {} ms", exchange.line(), took.as_millis());
    let good = matches!(exchange.status(), 400 | 413) && took < Duration::from_secs(2);
    Ok(Outcome::judge(good, "413 or 400 within 2 s", observed).by(&exchange))
}

async fn unknown_path(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let path = endpoint.path.split('?').next().unwrap_or_default();
    let mut request = cx.offering(side, Fixture::Av)?;
    request.url = endpoint.with_path(&format!("{path}-nope/x"));
    let exchange = cx.post_and_delete(side, request).await?;
    let verdict = match exchange.status() {
        404 => Verdict::Pass,
        201 => Verdict::Info,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "404", exchange.line()).by(&exchange))
}

/// Looks at every POST that the run sent so far.
async fn no_post_was_redirected(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let mut request = cx.offering(side, Fixture::Av)?;
    request.url = endpoint.with_path(&format!("{}/", endpoint.path.trim_end_matches('/')));
    cx.post_and_delete(side, request).await?;
    let codes: Vec<u16> = cx.post_codes.borrow().iter().filter(|(s, _)| *s == side).map(|(_, code)| *code).collect();
    let bad = codes.iter().filter(|code| matches!(code, 301..=303)).count();
    let observed = format!("{bad} of {} POSTs, one of them with a trailing slash", codes.len());
    Ok(Outcome::judge(bad == 0, "no POST answered 301, 302 or 303", observed))
}
