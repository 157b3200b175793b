//! Bearer tokens (RFC 9725 §4.7, RFC 6750).

use super::seen;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::{Exchange, Request};
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.7-01", token_works),
        Case::both("W-4.7-02", no_token),
        Case::both("W-4.7-03", wrong_token),
        Case::whip("W-4.7-04", token_without_rights),
        Case::both("W-4.7-05", malformed_authorization),
        Case::both("W-4.7-06", scheme_case),
        Case::both("W-4.7.1-01", session_is_protected),
        Case::both("W-4.7.1-02", token_before_body),
        Case::both("W-4.7-07", open_servers_ignore_authorization),
        Case::both("W-4.7.1-03", token_in_the_url),
        Case::both("W-4.7.1-04", forged_tokens),
        Case::fixed(
            "W-4.7.1-05",
            &[Side::Whip, Side::Whep],
            Verdict::NotApplicable,
            "a token's end is the operator's policy",
        ),
    ]
}

/// The token, or a skip when the target is open.
fn token(cx: &Context, side: Side) -> Result<&str, Halt> {
    cx.token(side).ok_or_else(|| Halt::Skip("no --token given".into()))
}

/// An offer with another Authorization.
fn with(cx: &Context, side: Side, fixture: Fixture, authorization: Option<&str>) -> Result<Request, Halt> {
    let request = cx.offering(side, fixture)?.without("authorization");
    Ok(authorization.iter().fold(request, |request, value| request.header("Authorization", value)))
}

/// The Authorization of somebody who has no business here.
fn wrong(cx: &Context) -> String {
    format!("Bearer {}", cx.target.wrong_token)
}

/// True when a POST without a token is refused, so that clauses about refusal mean something.
async fn is_protected(cx: &Context, side: Side) -> Result<(), Halt> {
    token(cx, side)?;
    let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, None)?).await?;
    if exchange.response.is_success() {
        return Err(Halt::Skip(format!("{} is open: a POST without token gave {}", side.name(), exchange.status())));
    }
    Ok(())
}

/// The `WWW-Authenticate` challenge of the Bearer scheme.
fn challenge(exchange: &Exchange) -> Option<&str> {
    let all = exchange.response.all("www-authenticate");
    all.into_iter().find(|v| v.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")))
}

async fn token_works(cx: &Context, side: Side) -> Done {
    token(cx, side)?;
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    Ok(Outcome::judge(exchange.status() == 201, "201 with the token", exchange.line()).by(&exchange))
}

async fn no_token(cx: &Context, side: Side) -> Done {
    token(cx, side)?;
    let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, None)?).await?;
    let observed = seen(&exchange, "www-authenticate");
    let bearer = challenge(&exchange);
    let verdict = match exchange.status() {
        200..=299 => Verdict::NotApplicable,
        401 if bearer.is_some_and(|c| !c.contains("error=")) => Verdict::Pass,
        // RFC 6750 §3.1: that there is no code is a SHOULD.
        401 if bearer.is_some() => Verdict::Warn,
        401 if exchange.response.header("www-authenticate").is_some() => Verdict::Warn,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "401, WWW-Authenticate: Bearer without error code", observed).by(&exchange))
}

async fn wrong_token(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, Some(&wrong(cx)))?).await?;
    let told = challenge(&exchange).is_some_and(|c| c.contains("invalid_token"));
    let good = exchange.status() == 401 && told;
    let expected = "401, WWW-Authenticate: Bearer error=\"invalid_token\"";
    Ok(Outcome::judge(good, expected, seen(&exchange, "www-authenticate")).by(&exchange))
}

async fn token_without_rights(cx: &Context, side: Side) -> Done {
    let watch = cx.target.watch_token.as_deref();
    let watch = watch.ok_or_else(|| Halt::Skip("no --watch-token given".into()))?;
    let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, Some(&format!("Bearer {watch}")))?).await?;
    let verdict = match exchange.status() {
        403 if challenge(&exchange).is_some_and(|c| c.contains("insufficient_scope")) => Verdict::Pass,
        401 | 403 => Verdict::Warn,
        _ => Verdict::Fail,
    };
    let expected = "403, WWW-Authenticate: Bearer error=\"insufficient_scope\"";
    Ok(Outcome::new(verdict, expected, seen(&exchange, "www-authenticate")).by(&exchange))
}

async fn malformed_authorization(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let token = token(cx, side)?;
    let good = format!("Bearer {token}");
    let mut complaints = Vec::new();
    let cases =
        [vec!["Bearer".to_owned()], vec![format!("Bearer {token} x")], vec![good.clone(), "Bearer b".to_owned()]];
    for headers in cases {
        let bare = with(cx, side, Fixture::Av, None)?;
        let request = headers.iter().fold(bare, |request, value| request.header("Authorization", value));
        let exchange = cx.post_and_delete(side, request).await?;
        if !matches!(exchange.status(), 400 | 401) {
            let shape = headers.join(" + ").replace(token, "$TOKEN");
            complaints.push(format!("{shape}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("400 or 401", &complaints, "400 or 401 for all"))
}

async fn scheme_case(cx: &Context, side: Side) -> Done {
    let token = token(cx, side)?;
    let mut complaints = Vec::new();
    for scheme in ["bearer", "BEARER"] {
        let request = with(cx, side, Fixture::Av, Some(&format!("{scheme} {token}")))?;
        let exchange = cx.post_and_delete(side, request).await?;
        if exchange.status() != 201 {
            complaints.push(format!("{scheme}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("201 whatever the case", &complaints, "201 for both"))
}

async fn session_is_protected(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let session = cx.open(side, Fixture::Av).await?;
    let wrong = Request::new("DELETE", &session.url).header("Authorization", &wrong(cx));
    let wrong = cx.http.send(wrong).await?;
    let bare = cx.http.send(Request::new("DELETE", &session.url)).await?;
    let observed = format!("DELETE with a wrong token {}, without token {}", wrong.status(), bare.status());
    let verdict = match (wrong.response.is_success(), bare.response.is_success()) {
        (true, _) => Verdict::Fail,
        (false, false) => Verdict::Pass,
        // The unguessable URL is a capability; some browser clients need that.
        (false, true) => Verdict::Info,
    };
    Ok(Outcome::new(verdict, "401 (or the URL as capability)", observed).by(&wrong))
}

async fn token_before_body(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let mut complaints = Vec::new();
    for fixture in [Fixture::Hello, Fixture::Empty] {
        let exchange = cx.post_and_delete(side, with(cx, side, fixture, Some(&wrong(cx)))?).await?;
        if exchange.status() != 401 {
            complaints.push(format!("{}: {}", fixture.name(), exchange.status()));
        }
    }
    Ok(Outcome::complaints("401 whatever the body", &complaints, "401"))
}

async fn open_servers_ignore_authorization(cx: &Context, side: Side) -> Done {
    let open = cx.post_and_delete(side, with(cx, side, Fixture::Av, None)?).await?;
    if !open.response.is_success() {
        return Err(Halt::NotApplicable(format!("{} is protected: {} without token", side.name(), open.status())));
    }
    let mut complaints = Vec::new();
    for value in ["Bearer undefined", "raw-key", "Bearer null"] {
        let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, Some(value))?).await?;
        if exchange.status() != 201 {
            complaints.push(format!("Authorization: {value}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("201 whatever Authorization says", &complaints, "201 for all"))
}

async fn token_in_the_url(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let (token, endpoint) = (token(cx, side)?, cx.endpoint(side)?);
    let joint = if endpoint.path.contains('?') { '&' } else { '?' };
    let mut taken = Vec::new();
    let mut leaked = Vec::new();
    for name in ["token", "access_token"] {
        let mut request = with(cx, side, Fixture::Av, None)?;
        request.url = endpoint.with_path(&format!("{}{joint}{name}={token}", endpoint.path));
        let exchange = cx.post_and_delete(side, request).await?;
        if exchange.response.is_success() {
            taken.push(name);
        }
        let answer = &exchange.response;
        if answer.text().contains(token) || answer.headers.iter().any(|(_, value)| value.contains(token)) {
            leaked.push(format!("?{name}= is echoed in the {}", exchange.status()));
        }
    }
    if !leaked.is_empty() {
        return Ok(Outcome::new(Verdict::Fail, "the token is never echoed", leaked.join("; ")));
    }
    let observed = if taken.is_empty() {
        "no token in the URL is taken".into()
    } else {
        format!("?{}= is taken", taken.join("=, ?"))
    };
    Ok(Outcome::new(Verdict::Info, "the token is never echoed", observed))
}

async fn forged_tokens(cx: &Context, side: Side) -> Done {
    is_protected(cx, side).await?;
    let token = token(cx, side)?;
    let parts: Vec<&str> = token.split('.').collect();
    let [head, payload, signature] = parts.as_slice() else {
        return Err(Halt::NotApplicable("the token is no JWT".into()));
    };
    if !head.starts_with("ey") {
        return Err(Halt::NotApplicable("the token is no JWT".into()));
    }
    let other: String = signature.chars().rev().collect();
    let mut complaints = Vec::new();
    let forged = [
        ("alg none", format!("{UNSIGNED}.{payload}.")),
        ("alg none, signature kept", format!("{UNSIGNED}.{payload}.{signature}")),
        ("no signature", format!("{head}.{payload}.")),
        ("another signature", format!("{head}.{payload}.{other}")),
        ("another payload", format!("{head}.e30.{signature}")),
    ];
    for (name, value) in forged {
        let exchange = cx.post_and_delete(side, with(cx, side, Fixture::Av, Some(&format!("Bearer {value}")))?).await?;
        if exchange.status() != 401 {
            complaints.push(format!("{name}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("401 for every forgery", &complaints, "401 for all"))
}

/// `{"alg":"none","typ":"JWT"}` in base64url.
const UNSIGNED: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
