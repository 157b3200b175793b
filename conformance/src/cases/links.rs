//! What the 201 points to: STUN and TURN servers, and extensions (RFC 9725 §4.6 and §4.9, RFC 8288).

use super::seen;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, ORIGIN};
use crate::http::{Exchange, Request, Response};
use crate::link::{self, Link};
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.6-01", ice_servers_are_listed),
        Case::both("W-4.6-02", ice_server_uris),
        Case::both("W-4.6-03", turn_credentials),
        Case::both("W-4.6-04", credential_type),
        Case::both("W-4.6-05", one_link_per_field),
        Case::both("W-4.6-06", credentials_per_session),
        Case::both("W-4.6-07", nothing_for_strangers),
        Case::whep("WHEP-4.7-01", ice_servers_are_listed),
        Case::both("W-4.9-01", extensions_have_urls),
        Case::both("W-4.9-02", extension_names),
        Case::both("W-4.9-03", extensions_are_optional),
        Case::both("W-4.9-04", link_syntax),
        Case::both("W-4.9-05", extensions_have_cors),
    ]
}

/// Every link of a response that parses.
pub(super) fn links(response: &Response) -> Vec<Link> {
    response.all("link").into_iter().filter_map(|field| link::parse(field).ok()).flatten().collect()
}

/// The STUN and TURN servers of the sample.
///
/// # Errors
/// [`Halt::NotApplicable`] when it names none.
async fn ice_servers(cx: &Context, side: Side) -> Result<(Vec<Link>, &Exchange), Halt> {
    let exchange = &cx.sample(side).await?.exchange;
    let servers: Vec<Link> = links(&exchange.response).into_iter().filter(|l| l.is("ice-server")).collect();
    if servers.is_empty() {
        return Err(Halt::NotApplicable("the 201 names no ICE server".into()));
    }
    Ok((servers, exchange))
}

/// The extensions of the sample: links whose relation is a URN.
async fn extensions(cx: &Context, side: Side) -> Result<(Vec<Link>, &Exchange), Halt> {
    let exchange = &cx.sample(side).await?.exchange;
    let is_extension = |l: &Link| l.parameter("rel").is_some_and(|rel| rel.starts_with("urn:"));
    let found: Vec<Link> = links(&exchange.response).into_iter().filter(is_extension).collect();
    if found.is_empty() {
        return Err(Halt::NotApplicable("the 201 names no extension".into()));
    }
    Ok((found, exchange))
}

/// `<turn:…>, <stun:…>` for reports; never the credentials.
fn targets(links: &[Link]) -> String {
    links.iter().map(|l| format!("<{}>", l.target)).collect::<Vec<_>>().join(", ")
}

fn is_turn(link: &Link) -> bool {
    link.target.starts_with("turn:") || link.target.starts_with("turns:")
}

async fn ice_servers_are_listed(cx: &Context, side: Side) -> Done {
    let (servers, exchange) = ice_servers(cx, side).await?;
    Ok(Outcome::new(Verdict::Info, "recorded only", targets(&servers)).by(exchange))
}

async fn ice_server_uris(cx: &Context, side: Side) -> Done {
    let (servers, exchange) = ice_servers(cx, side).await?;
    let bad = |link: &&Link| !is_ice_uri(&link.target);
    let complaints: Vec<String> = servers.iter().filter(bad).map(|l| format!("<{}>", l.target)).collect();
    Ok(Outcome::complaints("stun:, stuns:, turn: or turns: URIs", &complaints, targets(&servers)).by(exchange))
}

/// RFC 7064 and RFC 7065: no slashes; a transport for TURN only.
fn is_ice_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let (host, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let host_is_fine = !host.is_empty() && !host.contains(['/', '@', ' ']);
    match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => host_is_fine && query.is_none(),
        "turn" | "turns" => host_is_fine && query.is_none_or(|q| matches!(q, "transport=udp" | "transport=tcp")),
        _ => false,
    }
}

/// The TURN servers among them.
fn turn_servers(servers: Vec<Link>) -> Result<Vec<Link>, Halt> {
    let turn: Vec<Link> = servers.into_iter().filter(is_turn).collect();
    if turn.is_empty() { Err(Halt::NotApplicable("the 201 names no TURN server".into())) } else { Ok(turn) }
}

async fn turn_credentials(cx: &Context, side: Side) -> Done {
    let (servers, exchange) = ice_servers(cx, side).await?;
    let turn = turn_servers(servers)?;
    let mut complaints = Vec::new();
    for server in &turn {
        for name in ["username", "credential"] {
            if server.parameter(name).is_none_or(str::is_empty) {
                complaints.push(format!("<{}> has no {name}", server.target));
            }
        }
    }
    Ok(Outcome::complaints("username and credential for TURN", &complaints, targets(&turn)).by(exchange))
}

async fn credential_type(cx: &Context, side: Side) -> Done {
    let (servers, exchange) = ice_servers(cx, side).await?;
    let types: Vec<&str> = servers.iter().filter_map(|l| l.parameter("credential-type")).collect();
    let good = types.iter().all(|t| *t == "password");
    let verdict = if good { Verdict::Info } else { Verdict::Warn };
    let observed = if types.is_empty() { "not sent".into() } else { types.join(", ") };
    Ok(Outcome::new(verdict, "absent, or \"password\"", observed).by(exchange))
}

async fn one_link_per_field(cx: &Context, side: Side) -> Done {
    let (_, exchange) = ice_servers(cx, side).await?;
    let mut complaints = Vec::new();
    let order = ["rel", "username", "credential", "credential-type"];
    for field in exchange.response.all("link").into_iter().filter(|f| f.contains("ice-server")) {
        let parsed = link::parse(field).unwrap_or_default();
        let [link] = parsed.as_slice() else {
            complaints.push(format!("{} links in one field", parsed.len()));
            continue;
        };
        let places: Vec<usize> =
            link.parameters.iter().filter_map(|(name, _)| order.iter().position(|o| o == name)).collect();
        if !places.is_sorted() {
            complaints.push(format!("<{}>: parameters are not in the usual order", link.target));
        }
        if link.parameters.iter().any(|(_, value)| value.contains([',', ';'])) {
            complaints.push(format!("<{}>: a comma or semicolon inside a value", link.target));
        }
    }
    let expected = "one link per field: rel; username; credential; credential-type";
    Ok(Outcome::complaints(expected, &complaints, "as naive parsers need it").by(exchange))
}

async fn credentials_per_session(cx: &Context, side: Side) -> Done {
    let (servers, _) = ice_servers(cx, side).await?;
    let first = turn_servers(servers)?;
    let second = cx.open(side, Fixture::Av).await?;
    let names = |links: &[Link]| -> Vec<String> {
        links.iter().filter(|l| is_turn(l)).filter_map(|l| l.parameter("username")).map(str::to_owned).collect()
    };
    let (one, two) = (names(&first), names(&links(&second.exchange.response)));
    let good = one.iter().all(|name| !two.contains(name));
    let observed = if good { "other user names" } else { "the same user name for two sessions" };
    Ok(Outcome::judge(good, "TURN credentials of its own for each session", observed).by(&second.exchange))
}

async fn nothing_for_strangers(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    if cx.token(side).is_none() {
        return Err(Halt::Skip("no --token given".into()));
    }
    let stranger = cx.offering(side, Fixture::Av)?.without("authorization");
    let post = cx.post_and_delete(side, stranger).await?;
    if post.response.is_success() {
        return Err(Halt::NotApplicable(format!("{} is open to everybody", side.name())));
    }
    let options = cx.http.send(Request::new("OPTIONS", endpoint)).await?;
    let told = |e: &Exchange| e.response.all("link").iter().any(|field| field.contains("ice-server"));
    let complaints: Vec<String> = [&post, &options].into_iter().filter(|e| told(e)).map(Exchange::line).collect();
    Ok(Outcome::complaints("no ice-server Link without a token", &complaints, "none").by(&post))
}

async fn extensions_have_urls(cx: &Context, side: Side) -> Done {
    let (found, exchange) = extensions(cx, side).await?;
    let mut complaints = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for link in &found {
        let name = link.parameter("rel").unwrap_or_default();
        if name.contains(' ') || names.contains(&name) {
            complaints.push(format!("{name} has no Link of its own"));
        }
        if let Err(why) = exchange.request.url.resolve(&link.target) {
            complaints.push(format!("{name}: {why}"));
        }
        names.push(name);
    }
    Ok(Outcome::complaints("one Link per extension, to a URL", &complaints, names.join(", ")).by(exchange))
}

async fn extension_names(cx: &Context, side: Side) -> Done {
    let (found, exchange) = extensions(cx, side).await?;
    let prefix = format!("urn:ietf:params:{}:ext:", side.name());
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    let names: Vec<&str> = found.iter().filter_map(|l| l.parameter("rel")).collect();
    for name in &names {
        match name.strip_prefix(&prefix) {
            None => wrong.push(*name),
            Some("core:server-sent-events" | "core:layer") if side == Side::Whep => {}
            Some(_) => unknown.push(*name),
        }
    }
    let (verdict, observed) = match (wrong.is_empty(), unknown.is_empty()) {
        (false, _) => (Verdict::Fail, wrong.join(", ")),
        (true, false) => (Verdict::Warn, format!("not in any registry: {}", unknown.join(", "))),
        (true, true) => (Verdict::Pass, names.join(", ")),
    };
    Ok(Outcome::new(verdict, &format!("{prefix}…, registered"), observed).by(exchange))
}

async fn extensions_are_optional(cx: &Context, side: Side) -> Done {
    // No check but those about extensions uses any Link, so a session that is made and ended shows it.
    let session = cx.open(side, Fixture::Av).await?;
    let get = cx.ask(side, "GET", &session.url).await?;
    let end = cx.close(&session).await?;
    let good = get.status() != 404 && end.response.is_success();
    let observed = format!("201, {}, {} without any extension", get.line(), end.line());
    Ok(Outcome::judge(good, "a session that works without extensions", observed).by(&session.exchange))
}

async fn link_syntax(cx: &Context, side: Side) -> Done {
    let exchange = &cx.sample(side).await?.exchange;
    let fields = exchange.response.all("link");
    if fields.is_empty() {
        return Err(Halt::NotApplicable("the 201 has no Link".into()));
    }
    let mut complaints: Vec<String> = fields.iter().filter_map(|field| link::parse(field).err()).collect();
    let without = |l: &Link| l.parameter("rel").is_none_or(str::is_empty);
    complaints
        .extend(links(&exchange.response).iter().filter(|l| without(l)).map(|l| format!("<{}>: no rel", l.target)));
    let fine = format!("{} fields", fields.len());
    Ok(Outcome::complaints("Link fields as RFC 8288 §3 writes them", &complaints, fine).by(exchange))
}

async fn extensions_have_cors(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let is_extension = |l: &Link| l.parameter("rel").is_some_and(|rel| rel.starts_with("urn:"));
    let found: Vec<Link> = links(&session.exchange.response).into_iter().filter(is_extension).collect();
    if found.is_empty() {
        return Err(Halt::NotApplicable("the 201 names no extension".into()));
    }
    let mut complaints = Vec::new();
    let mut last = None;
    for link in &found {
        let url = session.exchange.request.url.resolve(&link.target).map_err(Halt::Skip)?;
        let request = Request::new("OPTIONS", &url)
            .header("Origin", ORIGIN)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization,content-type");
        let exchange = cx.http.send(request).await?;
        let admits = exchange.response.header("access-control-allow-origin").is_some_and(|o| o == "*" || o == ORIGIN);
        if !exchange.response.is_success() || !admits {
            complaints.push(format!("{}: {}", url.path, seen(&exchange, "access-control-allow-origin")));
        }
        last = Some(exchange);
    }
    let outcome = Outcome::complaints("a preflight that admits the page", &complaints, "admitted everywhere");
    Ok(last.iter().fold(outcome, Outcome::by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_uris_have_no_slashes() {
        for uri in ["stun:a", "stuns:a:5349", "turn:a:3478?transport=udp", "turns:[::1]?transport=tcp"] {
            assert!(is_ice_uri(uri), "{uri}");
        }
        for uri in ["stun://a", "turn:", "stun:a?transport=udp", "turn:u@a", "turn:a?x=y", "http://a", "a"] {
            assert!(!is_ice_uri(uri), "{uri}");
        }
    }
}
