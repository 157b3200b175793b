//! PATCH: trickle ICE and its preconditions (RFC 9725 §4.3, RFC 8840). Nothing here needs a live peer.

use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, ORIGIN, Session};
use crate::http::Exchange;
use crate::offer::{Fixture, random_text};

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.3.1-01", supported),
        Case::both("W-4.3.1-02", wrong_type),
        Case::both("W-4.3.1-03", malformed),
        Case::both("W-4.3.1-04", half_support),
        Case::both("W-4.3.1-05", no_support),
        Case::both("W-4.3.1-06", missing_if_match),
        Case::both("W-4.3.1-07", stale_if_match),
        Case::both("W-4.3.1-08", if_match_lists),
        Case::both("W-4.3.1-09", preconditions_come_last),
        Case::both("W-4.3.1-10", late_fragment),
        Case::both("W-4.3.1-11", ended_session),
        Case::both("W-4.3.2-01", trickle),
        Case::both("W-4.3.2-02", odd_candidates),
        Case::both("W-4.3.2-03", session_level_credentials),
        Case::both("W-4.3.2-04", repeated_for_other_sections),
        Case::both("W-4.3.2-05", unknown_mid),
        Case::both("W-4.3.2-06", end_of_candidates),
        Case::both("W-4.3.2-07", duplicates),
        Case::both("W-4.3.2-08", after_connecting),
        Case::both("W-4.3.2-09", star_on_trickle),
        Case::both("W-4.3.2-10", password_change_alone),
    ]
}

/// The media type of fragments.
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// A candidate in a network that is reserved for documentation.
pub(super) const CANDIDATE: &str = "a=candidate:2 1 udp 2122194687 192.0.2.88 50004 typ host\r\n";

/// The ICE credentials that our offer carried.
fn offered(session: &Session) -> Result<(String, String), Halt> {
    let offer = session.offer()?;
    let read = |name: &str| offer.media.iter().find_map(|m| m.attr(name)).unwrap_or_default().to_owned();
    Ok((read("ice-ufrag"), read("ice-pwd")))
}

/// A fragment for the tagged section, as most clients write it.
pub(super) fn fragment(session: &Session, ufrag: &str, pwd: &str, lines: &str) -> String {
    let mid = session.sdp.tagged().and_then(|m| m.attr("mid")).unwrap_or("0").to_owned();
    let kind = session.sdp.tagged().map_or("audio", |m| m.kind.as_str());
    format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm={kind} 9 RTP/AVP 0\r\na=mid:{mid}\r\n{lines}")
}

/// One more candidate under the credentials of the offer.
pub(super) fn more(session: &Session) -> Result<String, Halt> {
    let (ufrag, pwd) = offered(session)?;
    Ok(fragment(session, &ufrag, &pwd, CANDIDATE))
}

/// Fresh credentials: an ICE restart.
pub(super) fn fresh(session: &Session) -> String {
    fragment(session, &random_text(8), &random_text(24), CANDIDATE)
}

/// Sends a fragment.
pub(super) async fn patch(
    cx: &Context,
    session: &Session,
    if_match: Option<&str>,
    body: &str,
) -> Result<Exchange, Halt> {
    let request = cx.request(session.side, "PATCH", &session.url).header("Content-Type", FRAGMENT);
    let request = if_match.iter().fold(request.header("Origin", ORIGIN), |r, tag| r.header("If-Match", tag));
    Ok(cx.http.send(request.body(body)).await?)
}

/// A session whose entity-tag is known.
async fn tagged(cx: &Context, side: Side) -> Result<(Session, String), Halt> {
    let session = cx.open(side, Fixture::Av).await?;
    let tag = session.exchange.response.header("etag").map(str::to_owned);
    tag.map(|tag| (session, tag)).ok_or_else(|| Halt::Skip("the 201 has no ETag".into()))
}

/// A session whose entity-tag is known and that takes candidates.
async fn trickling(cx: &Context, side: Side) -> Result<(Session, String), Halt> {
    let (session, tag) = tagged(cx, side).await?;
    let exchange = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    if matches!(exchange.status(), 405 | 422 | 501) {
        return Err(Halt::NotApplicable(format!("no trickle: {}", exchange.line())));
    }
    Ok((session, tag))
}

/// Tells whether sessions of this server understand PATCH at all.
///
/// # Errors
/// [`Halt::NotApplicable`] when they do not (405, or 501 as old drafts had it).
pub(super) async fn patchable(cx: &Context, session: &Session) -> Result<(), Halt> {
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let exchange = patch(cx, session, Some(&tag), &more(session)?).await?;
    if matches!(exchange.status(), 405 | 501) {
        return Err(Halt::NotApplicable(format!("sessions take no PATCH: {}", exchange.line())));
    }
    Ok(())
}

/// A session that was restarted, with the answer to that.
pub(super) async fn restarted(cx: &Context, side: Side) -> Result<(Session, Exchange), Halt> {
    let session = cx.open(side, Fixture::Av).await?;
    let exchange = patch(cx, &session, Some("*"), &fresh(&session)).await?;
    if exchange.response.is_success() && exchange.status() != 204 {
        Ok((session, exchange))
    } else {
        Err(Halt::NotApplicable(format!("no restart: {}", exchange.line())))
    }
}

async fn supported(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let candidate = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    let credentials = patch(cx, &session, Some("*"), &fresh(&session)).await?;
    let observed = format!("trickle {}, restart {}", candidate.status(), credentials.status());
    let good = candidate.response.is_success() && credentials.status() == 200;
    Ok(Outcome::judge(good, "trickle and restart through PATCH", observed))
}

/// What a session says to one more candidate and to fresh credentials.
async fn both_kinds(cx: &Context, side: Side) -> Result<(Exchange, Exchange), Halt> {
    let session = cx.open(side, Fixture::Av).await?;
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let candidate = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    let credentials = patch(cx, &session, Some("*"), &fresh(&session)).await?;
    Ok((candidate, credentials))
}

async fn half_support(cx: &Context, side: Side) -> Done {
    let (trickle, restart) = both_kinds(cx, side).await?;
    let observed = format!("trickle {}, restart {}", trickle.status(), restart.status());
    let verdict = match (trickle.response.is_success(), restart.response.is_success()) {
        (true, true) => Verdict::Pass,
        (false, false) => Verdict::NotApplicable,
        (one, _) => match if one { restart.status() } else { trickle.status() } {
            422 => Verdict::Pass,
            // Drafts up to -09.
            405 => Verdict::Legacy,
            _ => Verdict::Fail,
        },
    };
    Ok(Outcome::new(verdict, "both, or 422 for the one that is missing", observed).by(&restart))
}

async fn no_support(cx: &Context, side: Side) -> Done {
    let (trickle, restart) = both_kinds(cx, side).await?;
    if trickle.response.is_success() || restart.response.is_success() {
        return Err(Halt::NotApplicable("PATCH is supported".into()));
    }
    let allow = trickle.response.header("allow").is_some();
    let good = (trickle.status() == 405 && allow) || trickle.status() == 501;
    Ok(Outcome::judge(good, "405 with Allow", super::seen(&trickle, "allow")).by(&trickle))
}

async fn wrong_type(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let mut complaints = Vec::new();
    for media_type in [Some("application/json"), Some("text/plain"), None] {
        let request = cx.request(side, "PATCH", &session.url).header("If-Match", &tag).body(more(&session)?);
        let request = media_type.iter().fold(request, |r, t| r.header("Content-Type", t));
        let exchange = cx.http.send(request).await?;
        if !exchange.response.is_client_error() {
            complaints.push(format!("{}: {}", media_type.unwrap_or("no type"), exchange.status()));
        }
    }
    Ok(Outcome::complaints("4xx (415 is best)", &complaints, "4xx for all"))
}

async fn malformed(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, _) = offered(&session)?;
    let mut complaints = Vec::new();
    let half = format!("a=ice-ufrag:{ufrag}x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{CANDIDATE}");
    for (name, body) in [("garbage", "a=candidate:garbage\r\n"), ("ufrag without pwd", &half), ("empty", "")] {
        let exchange = patch(cx, &session, Some(&tag), body).await?;
        if !exchange.response.is_client_error() {
            complaints.push(format!("{name}: {}", exchange.status()));
        }
    }
    let good = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    if !good.response.is_success() {
        complaints.push(format!("a good fragment afterwards: {}", good.status()));
    }
    Ok(Outcome::complaints("4xx, and the session lives on", &complaints, "4xx for all, session lives"))
}

async fn missing_if_match(cx: &Context, side: Side) -> Done {
    let (session, _) = trickling(cx, side).await?;
    let exchange = patch(cx, &session, None, &more(&session)?).await?;
    let verdict = match exchange.status() {
        428 => Verdict::Pass,
        // Kind to clients that know nothing of entity-tags.
        204 if !cx.target.strict => Verdict::Info,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "428", exchange.line()).by(&exchange))
}

async fn stale_if_match(cx: &Context, side: Side) -> Done {
    let (session, _) = trickling(cx, side).await?;
    let exchange = patch(cx, &session, Some("\"nope\""), &more(&session)?).await?;
    Ok(Outcome::judge(exchange.status() == 412, "412", exchange.line()).by(&exchange))
}

async fn if_match_lists(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let list = patch(cx, &session, Some(&format!("\"a\", {tag}")), &more(&session)?).await?;
    let weak = patch(cx, &session, Some(&format!("W/{tag}")), &more(&session)?).await?;
    let observed = format!("list {}, weak {}", list.status(), weak.status());
    let good = list.response.is_success() && weak.status() == 412;
    Ok(Outcome::judge(good, "a list with the tag 204, the weak form 412", observed).by(&list))
}

async fn preconditions_come_last(cx: &Context, side: Side) -> Done {
    let (session, _) = trickling(cx, side).await?;
    let request = cx.request(side, "PATCH", &session.url).header("Content-Type", "text/plain");
    let wrong_type = cx.http.send(request.header("If-Match", "\"nope\"").body(more(&session)?)).await?;
    cx.close(&session).await?;
    let ended = patch(cx, &session, Some("\"nope\""), &more(&session)?).await?;
    let observed = format!("wrong type {}, ended session {}", wrong_type.status(), ended.status());
    let masked = [&wrong_type, &ended].iter().any(|e| matches!(e.status(), 412 | 428) || e.response.is_success());
    Ok(Outcome::judge(!masked, "415 and 404, not 412", observed).by(&wrong_type))
}

async fn late_fragment(cx: &Context, side: Side) -> Done {
    let (session, tag) = tagged(cx, side).await?;
    let late = more(&session)?;
    let exchange = patch(cx, &session, Some("*"), &fresh(&session)).await?;
    if exchange.status() != 200 {
        return Err(Halt::NotApplicable(format!("no restart: {}", exchange.line())));
    }
    let exchange = patch(cx, &session, Some(&tag), &late).await?;
    Ok(Outcome::judge(exchange.status() == 412, "412 for the tag of the old ICE session", exchange.line())
        .by(&exchange))
}

async fn ended_session(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    patchable(cx, &session).await?;
    cx.close(&session).await?;
    let exchange = patch(cx, &session, Some("*"), &more(&session)?).await?;
    Ok(Outcome::judge(matches!(exchange.status(), 404 | 410), "404", exchange.line()).by(&exchange))
}

/// Judges a fragment that must be taken as trickle.
fn taken(exchange: &Exchange) -> Outcome {
    let tagged = exchange.response.header("etag").is_some();
    let length = exchange.response.body.len();
    let good = exchange.status() == 204 && !tagged && length == 0;
    let observed = format!("{}, {length} octets, {} ETag", exchange.line(), if tagged { "with" } else { "no" });
    Outcome::judge(good, "204, empty, without ETag", observed).by(exchange)
}

async fn trickle(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    Ok(taken(&patch(cx, &session, Some(&tag), &more(&session)?).await?))
}

async fn odd_candidates(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, pwd) = offered(&session)?;
    let lines = [
        "a=candidate:3 1 tcp 1518214911 192.0.2.88 9 typ host tcptype active\r\n",
        "a=candidate:4 1 udp 2122194687 3b9f0f3e-0d1c-4d8e-9f57-6d8f1e7a0c11.local 50006 typ host\r\n",
        "a=candidate:5 1 udp 2122194687 2001:db8::7 50007 typ host\r\n",
        "a=candidate:6 1 udp 2122194687 nowhere.example 50008 typ host\r\n",
        "a=candidate:7 1 foo 2122194687 192.0.2.88 50009 typ host\r\n",
        CANDIDATE,
    ];
    Ok(taken(&patch(cx, &session, Some(&tag), &fragment(&session, &ufrag, &pwd, &lines.concat())).await?))
}

async fn session_level_credentials(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, pwd) = offered(&session)?;
    let mut complaints = Vec::new();
    let at_media =
        format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n{CANDIDATE}");
    let at_session = fragment(&session, &ufrag, &pwd, CANDIDATE);
    for (name, body) in [("media level", at_media), ("session level", at_session)] {
        let exchange = patch(cx, &session, Some(&tag), &body).await?;
        if exchange.status() != 204 {
            complaints.push(format!("{name}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("204 for credentials at either level", &complaints, "204 for both"))
}

async fn unknown_mid(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, pwd) = offered(&session)?;
    let body = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 RTP/AVP 0\r\na=mid:99\r\n{CANDIDATE}");
    let exchange = patch(cx, &session, Some(&tag), &body).await?;
    Ok(Outcome::judge(exchange.status() < 500, "204 or 4xx", exchange.line()).by(&exchange))
}

async fn end_of_candidates(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, pwd) = offered(&session)?;
    let body = fragment(&session, &ufrag, &pwd, "a=end-of-candidates\r\n");
    Ok(taken(&patch(cx, &session, Some(&tag), &body).await?))
}

async fn duplicates(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    // The first copy was sent while finding out that the session trickles.
    Ok(taken(&patch(cx, &session, Some(&tag), &more(&session)?).await?))
}

async fn star_on_trickle(cx: &Context, side: Side) -> Done {
    let (session, _) = trickling(cx, side).await?;
    Ok(taken(&patch(cx, &session, Some("*"), &more(&session)?).await?))
}

async fn repeated_for_other_sections(cx: &Context, side: Side) -> Done {
    let (session, tag) = trickling(cx, side).await?;
    let (ufrag, pwd) = offered(&session)?;
    let mut body = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
    for media in &session.sdp.media {
        let mid = media.attr("mid").unwrap_or_default();
        body = format!("{body}m={} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n{CANDIDATE}", media.kind);
    }
    Ok(taken(&patch(cx, &session, Some(&tag), &body).await?))
}

async fn after_connecting(cx: &Context, side: Side) -> Done {
    let (session, live) = super::media::connected(cx, side).await?;
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let exchange = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    if matches!(exchange.status(), 405 | 422 | 501) {
        return Err(Halt::NotApplicable(format!("no trickle: {}", exchange.line())));
    }
    let alive = live.seen().failure.is_none();
    let outcome = taken(&exchange);
    Ok(if alive { outcome } else { Outcome::new(Verdict::Fail, "204, and the session goes on", "the session broke") })
}

async fn password_change_alone(cx: &Context, side: Side) -> Done {
    let (session, _) = trickling(cx, side).await?;
    let (ufrag, _) = offered(&session)?;
    let exchange = patch(cx, &session, Some("*"), &fragment(&session, &ufrag, &random_text(24), CANDIDATE)).await?;
    let verdict = if exchange.status() < 500 { Verdict::Info } else { Verdict::Fail };
    Ok(Outcome::new(verdict, "200, 204 or 4xx", exchange.line()).by(&exchange))
}
