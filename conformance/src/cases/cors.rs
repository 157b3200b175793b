//! OPTIONS and CORS: what a browser needs before it lets a page publish or play (Fetch; RFC 9725 §4.2, §4.6).

use super::seen;
use super::trickle::patchable;
use crate::case::{Case, Done, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, ORIGIN};
use crate::http::{Exchange, NoAnswer, Request, Response};
use crate::offer::Fixture;
use crate::url::Url;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.2-40", endpoint_preflight),
        Case::both("W-4.2-41", accept_post),
        Case::both("CORS-01", preflight_needs_no_token),
        Case::both("CORS-02", allowed_headers),
        Case::both("CORS-03", allowed_methods),
        Case::both("CORS-04", exposed_headers),
        Case::both("CORS-05", errors_have_cors),
        Case::both("CORS-06", origin_rules),
        Case::both("CORS-08", max_age),
        Case::both("W-4.6-20", no_ice_servers_on_preflight),
        Case::both("W-4.6-21", no_ice_servers_for_strangers),
        Case::both("W-OPT-01", accept_patch),
        Case::both("W-OPT-02", options_tells_patch),
        Case::both("W-OPT-03", options_of_nothing),
    ]
}

/// What a browser sends first: never with credentials.
async fn preflight(cx: &Context, url: &Url, method: &str, origin: &str) -> Result<Exchange, NoAnswer> {
    let request = Request::new("OPTIONS", url)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type");
    cx.http.send(request).await
}

/// True when the response lets a page of `origin` read it.
fn admits(response: &Response, origin: &str) -> bool {
    matches!(response.all("access-control-allow-origin").as_slice(), [one] if *one == "*" || *one == origin)
}

const ACAO: &str = "access-control-allow-origin";

async fn endpoint_preflight(cx: &Context, side: Side) -> Done {
    let exchange = preflight(cx, cx.endpoint(side)?, "POST", ORIGIN).await?;
    let good = exchange.response.is_success() && admits(&exchange.response, ORIGIN);
    Ok(Outcome::judge(good, "2xx that admits the origin", seen(&exchange, ACAO)).by(&exchange))
}

async fn accept_post(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let plain = cx.ask(side, "OPTIONS", endpoint).await?;
    let asked = preflight(cx, endpoint, "POST", ORIGIN).await?;
    let has = |exchange: &Exchange| exchange.response.lists("accept-post", "application/sdp");
    let observed = format!("plain {}; preflight {}", seen(&plain, "accept-post"), seen(&asked, "accept-post"));
    Ok(Outcome::judge(has(&plain) && has(&asked), "Accept-Post: application/sdp on both", observed).by(&plain))
}

async fn preflight_needs_no_token(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    for (url, method) in [(cx.endpoint(side)?, "POST"), (&session.url, "PATCH"), (&session.url, "DELETE")] {
        let exchange = preflight(cx, url, method, ORIGIN).await?;
        if !exchange.response.is_success() {
            complaints.push(format!("preflight for {method} {}: {}", url.path, exchange.status()));
        }
    }
    Ok(Outcome::complaints("2xx without Authorization", &complaints, "2xx for endpoint and session"))
}

async fn allowed_headers(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    let mut last = None;
    let wanted = [
        (cx.endpoint(side)?, "POST", &["authorization", "content-type"][..]),
        (&session.url, "PATCH", &["authorization", "content-type", "if-match"][..]),
    ];
    for (url, method, names) in wanted {
        let exchange = preflight(cx, url, method, ORIGIN).await?;
        for name in names {
            // The star never covers Authorization (Fetch, "CORS non-wildcard request-header name").
            let star = *name != "authorization" && exchange.response.lists("access-control-allow-headers", "*");
            if !star && !exchange.response.lists("access-control-allow-headers", name) {
                complaints.push(format!("{} does not allow {name}", url.path));
            }
        }
        last = Some(exchange);
    }
    let observed = last.as_ref().map(|e| seen(e, "access-control-allow-headers")).unwrap_or_default();
    Ok(Outcome::complaints("Authorization by name, Content-Type, If-Match", &complaints, observed))
}

async fn allowed_methods(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut complaints = Vec::new();
    // POST is always allowed by Fetch, but scripted OPTIONS, PATCH and DELETE are not.
    for (url, methods) in [(cx.endpoint(side)?, &["POST", "OPTIONS"][..]), (&session.url, &["PATCH", "DELETE"][..])] {
        for method in methods {
            let exchange = preflight(cx, url, method, ORIGIN).await?;
            let name = "access-control-allow-methods";
            if !exchange.response.lists(name, method) && !exchange.response.lists(name, "*") {
                complaints.push(format!("{} does not allow {method}", url.path));
            }
        }
    }
    let expected = "POST and OPTIONS on the endpoint, PATCH and DELETE on the session";
    Ok(Outcome::complaints(expected, &complaints, "all allowed"))
}

async fn exposed_headers(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let response = &exchange.response;
    let mut complaints = Vec::new();
    if !admits(response, ORIGIN) {
        complaints.push(format!("the 201 does not admit the origin ({})", seen(exchange, ACAO)));
    }
    for name in ["location", "link", "etag", "accept-post", "accept-patch"] {
        let exposed = response.lists("access-control-expose-headers", name)
            || response.lists("access-control-expose-headers", "*");
        // A browser does not need leave to read what is not there, except that Location always is.
        let matters = name == "location" || response.header(name).is_some();
        if matters && !exposed {
            complaints.push(format!("{name} is not exposed"));
        }
    }
    let fine = response.all("access-control-expose-headers").join(", ");
    Ok(Outcome::complaints("what the 201 carries is readable", &complaints, fine).by(exchange))
}

async fn errors_have_cors(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let mut tried = Vec::new();
    tried.push(cx.post_and_delete(side, cx.offering(side, Fixture::Hello)?).await?);
    let wrong_type = cx.offering(side, Fixture::Av)?.without("content-type").header("Content-Type", "text/plain");
    tried.push(cx.post_and_delete(side, wrong_type).await?);
    if cx.token(side).is_some() {
        let stranger = cx.offering(side, Fixture::Av)?.without("authorization");
        tried.push(cx.post_and_delete(side, stranger).await?);
    }
    tried.push(cx.http.send(cx.request(side, "PUT", endpoint).header("Origin", ORIGIN)).await?);
    let errors: Vec<&Exchange> = tried.iter().filter(|e| e.status() >= 300).collect();
    let complaints: Vec<String> = errors
        .iter()
        .filter(|e| !admits(&e.response, ORIGIN))
        .map(|e| format!("{} without {ACAO}", e.line()))
        .collect();
    if errors.is_empty() {
        return Ok(Outcome::new(Verdict::Skip, "", "the server gave no error"));
    }
    let fine = format!("all of {} errors", errors.len());
    Ok(Outcome::complaints("errors admit the origin too", &complaints, fine))
}

async fn origin_rules(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let mut complaints = Vec::new();
    let mut observed = Vec::new();
    for origin in [ORIGIN, "https://other.example"] {
        let exchange = preflight(cx, endpoint, "POST", origin).await?;
        let response = &exchange.response;
        let all = response.all(ACAO);
        match all.as_slice() {
            [] => observed.push(format!("{origin}: none")),
            ["*"] if response.header("access-control-allow-credentials") == Some("true") => {
                complaints.push("* together with Allow-Credentials: true".to_owned());
            }
            ["*"] => observed.push("*".to_owned()),
            [one] if *one == origin => {
                if !response.lists("vary", "origin") && !response.lists("vary", "*") {
                    complaints.push(format!("{origin} is reflected without Vary: Origin"));
                }
                observed.push(format!("{origin} reflected"));
            }
            // Another, fixed origin: this server serves one page only.
            [one] if one.contains("://") && !one.contains(',') => observed.push((*one).to_owned()),
            other => complaints.push(format!("{origin}: {}", other.join(" and "))),
        }
    }
    Ok(Outcome::complaints("* or one origin; Vary when reflected", &complaints, observed.join("; ")))
}

async fn max_age(cx: &Context, side: Side) -> Done {
    let exchange = preflight(cx, cx.endpoint(side)?, "POST", ORIGIN).await?;
    let name = "access-control-max-age";
    let seconds = exchange.response.header(name).and_then(|v| v.trim().parse::<u32>().ok());
    let good = seconds.is_some_and(|s| (600..=86_400).contains(&s));
    Ok(Outcome::judge(good, "600 to 86400 seconds", seen(&exchange, name)).by(&exchange))
}

/// The Link fields that configure STUN or TURN.
fn ice_servers(response: &Response) -> usize {
    response.all("link").iter().filter(|v| v.contains("ice-server")).count()
}

async fn no_ice_servers_on_preflight(cx: &Context, side: Side) -> Done {
    let exchange = preflight(cx, cx.endpoint(side)?, "POST", ORIGIN).await?;
    let count = ice_servers(&exchange.response);
    Ok(Outcome::judge(count == 0, "no ice-server Link", format!("{count} ice-server Links")).by(&exchange))
}

async fn no_ice_servers_for_strangers(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let told = cx.ask(side, "OPTIONS", endpoint).await?;
    let stranger = cx.http.send(Request::new("OPTIONS", endpoint)).await?;
    let count = ice_servers(&stranger.response);
    let observed = format!("with token {}, without {count}", ice_servers(&told.response));
    let leaks = cx.token(side).is_some() && count > 0;
    Ok(Outcome::judge(!leaks, "no credentials without a token", observed).by(&stranger))
}

async fn accept_patch(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    patchable(cx, &session).await?;
    let exchange = cx.ask(side, "OPTIONS", &session.url).await?;
    let good = exchange.response.lists("accept-patch", "application/trickle-ice-sdpfrag");
    let expected = "Accept-Patch: application/trickle-ice-sdpfrag";
    Ok(Outcome::judge(good, expected, seen(&exchange, "accept-patch")).by(&exchange))
}

async fn options_tells_patch(cx: &Context, side: Side) -> Done {
    patchable(cx, &cx.open(side, Fixture::Av).await?).await?;
    let endpoint = cx.endpoint(side)?;
    let request = cx.request(side, "OPTIONS", endpoint).header("Origin", ORIGIN);
    let exchange = cx.http.send(request).await?;
    let name = "access-control-allow-methods";
    let good = exchange.response.lists(name, "PATCH")
        && (exchange.response.lists("access-control-expose-headers", name)
            || exchange.response.lists("access-control-expose-headers", "*"));
    Ok(Outcome::judge(good, "PATCH in Allow-Methods, and that header exposed", seen(&exchange, name)).by(&exchange))
}

async fn options_of_nothing(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    // That session is deleted, so its URL is well-formed and names nothing.
    let exchange = preflight(cx, &session.url, "PATCH", ORIGIN).await?;
    Ok(Outcome::judge(exchange.response.is_success(), "2xx for the preflight", exchange.line()).by(&exchange))
}
