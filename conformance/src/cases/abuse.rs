//! Security and abuse (RFC 9725 §5): transport security, session names, floods, odd paths, and DTLS by hand.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::ice::{client_hello, ordinary};
use super::media::{BOTH, CONNECT, connected, plays};
use super::trickle::{fresh, patch};
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::offer::{Fixture, random_text};
use crate::probe::Probe;
use crate::stun::Response;

/// The checks of this file. Floods are sent only when they are asked for.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("SEC-01", https),
        Case::both("SEC-02", random_names),
        Case::both("SEC-03", post_flood),
        Case::both("SEC-04", delete_flood),
        Case::both("SEC-05", restarts_keep_their_port),
        Case::fixed("SEC-06", &[Side::Whip, Side::Whep], Verdict::Info, "public pages of a server are not known here"),
        Case::both("SEC-07", mandatory_suites),
        Case::whep("SEC-09", media_decrypts),
        Case::both("SEC-11", many_candidates),
        Case::both("SEC-13", odd_names),
        Case::both("RTP-14", modern_hello),
        Case::both("DTLS-SDP-03", fingerprint_spelling),
    ]
}

async fn https(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let verdict = match (endpoint.tls, endpoint.is_loopback()) {
        (true, _) => Verdict::Pass,
        // In a lab nobody listens in between.
        (false, true) => Verdict::Info,
        (false, false) => Verdict::Fail,
    };
    let observed = if endpoint.tls { "https" } else { "plain http" };
    Ok(Outcome::new(verdict, "https", observed))
}

async fn random_names(cx: &Context, side: Side) -> Done {
    let mut names: Vec<String> = Vec::new();
    for _ in 0..8 {
        let session = cx.open(side, Fixture::Av).await?;
        cx.close(&session).await?;
        let path = session.url.path.split('?').next().unwrap_or_default().to_owned();
        names.push(path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().to_owned());
    }
    let distinct = names.iter().collect::<BTreeSet<_>>().len();
    let shortest = names.iter().map(String::len).min().unwrap_or_default();
    // Places where all names agree carry no randomness: a counter or a clock agrees nearly everywhere.
    let place = |at: usize| names.iter().map(|n| n.as_bytes().get(at)).collect::<BTreeSet<_>>().len();
    let varying = (0..shortest).filter(|at| place(*at) > 2).count();
    let observed = format!("{distinct} of {} distinct, {varying} of {shortest} characters vary", names.len());
    // 122 bits are 21 characters of base64; the dashes and version of a UUID do not vary.
    Ok(Outcome::judge(distinct == names.len() && varying >= 20, "16 random octets in each session URL", observed))
}

/// A skip unless floods were asked for.
fn only_when_asked(cx: &Context) -> Result<(), Halt> {
    if cx.target.abuse { Ok(()) } else { Err(Halt::Skip("floods the server: give --abuse".into())) }
}

async fn post_flood(cx: &Context, side: Side) -> Done {
    only_when_asked(cx)?;
    let start = Instant::now();
    let mut limited = 0;
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(5) && sent < 1000 {
        let exchange = cx.http.send(cx.offering(side, Fixture::Hello)?).await?;
        sent += 1;
        limited += u32::from(matches!(exchange.status(), 429 | 503));
    }
    let alive = cx.ask(side, "OPTIONS", cx.endpoint(side)?).await?;
    let observed = format!("{limited} of {sent} POSTs limited; afterwards {}", alive.line());
    let good = limited > 0 && (alive.response.is_success() || alive.status() == 429);
    Ok(Outcome::judge(good, "429 or 503 at 200 POST/s, and the server stays responsive", observed))
}

async fn delete_flood(cx: &Context, side: Side) -> Done {
    only_when_asked(cx)?;
    let session = cx.sample(side).await?;
    let folder = session.url.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let mut codes = BTreeSet::new();
    for _ in 0..500 {
        let url = session.url.with_path(&format!("{folder}/{}", random_text(22)));
        codes.insert(cx.ask(side, "DELETE", &url).await?.status());
    }
    let observed = format!("500 guesses gave {codes:?}");
    let good = codes.contains(&429) && codes.iter().all(|code| (400..500).contains(code));
    Ok(Outcome::judge(good, "404, then 429", observed))
}

async fn restarts_keep_their_port(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let mut places = BTreeSet::new();
    for _ in 0..5 {
        let exchange = patch(cx, &session, Some("*"), &fresh(&session)).await?;
        if exchange.status() == 429 {
            break;
        }
        if exchange.status() != 200 {
            return Err(Halt::NotApplicable(format!("no restart: {}", exchange.line())));
        }
        let text = exchange.response.text();
        let lines = text.lines().filter(|line| line.starts_with("a=candidate:"));
        places.insert(lines.filter_map(|l| l.split(' ').nth(5)).collect::<Vec<_>>().join(" "));
    }
    Ok(Outcome::judge(places.len() == 1, "five restarts take no new port", format!("ports {places:?}")))
}

/// The records of a DTLS handshake that came: content type, and the handshake message's type and body.
fn messages(datagrams: &[Vec<u8>]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut found = Vec::new();
    for datagram in datagrams {
        let mut rest = datagram.as_slice();
        while let (Some(head), Some(length)) = (rest.first(), rest.get(11..13)) {
            let length = length.iter().fold(0, |n, octet| n * 256 + usize::from(*octet));
            let Some(body) = rest.get(13..13 + length) else { break };
            found.push((*head, body.first().copied().unwrap_or_default(), body.get(12..).unwrap_or_default().to_vec()));
            rest = rest.get(13 + length..).unwrap_or_default();
        }
    }
    found
}

/// Sends a ClientHello, answers the cookie, and gives the ServerHello that came, if any.
async fn server_hello(probe: &Probe, suite: [u8; 2], modern: bool) -> Option<Vec<u8>> {
    let is_dtls = |d: &[u8]| d.first().is_some_and(|b| (20..=25).contains(b));
    let mut cookie = Vec::new();
    for sequence in 0..4 {
        let hello = client_hello(&cookie, suite, modern, sequence);
        let heard = probe.exchange(&hello, Duration::from_millis(600), is_dtls).await;
        for (content, kind, body) in messages(&heard) {
            match (content, kind) {
                (22, 2) => return Some(body),
                // HelloVerifyRequest: version, length, cookie (RFC 6347 §4.2.1).
                (22, 3) => cookie = body.get(3..).unwrap_or_default().to_vec(),
                (21, _) => return None,
                _ => {}
            }
        }
    }
    None
}

/// A socket whose address the session knows.
async fn known(cx: &Context, side: Side) -> Result<Probe, Halt> {
    let session = cx.open(side, Fixture::Av).await?;
    let role = session.sdp.tagged().and_then(|m| session.sdp.effective(m, "setup")).unwrap_or_default();
    if role != "passive" {
        return Err(Halt::Skip(format!("the server is the DTLS client (setup:{role})")));
    }
    let probe = Probe::new(cx, &session).await?;
    let answer = probe.ask(&ordinary(&probe)).await;
    if answer.as_ref().is_some_and(Response::is_success) {
        return Ok(probe);
    }
    Err(Halt::Skip("the check before it got no success".into()))
}

async fn mandatory_suites(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    match server_hello(&known(cx, side).await?, ECDHE_ECDSA_AES128_GCM, false).await {
        None => complaints.push("no ServerHello for TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()),
        Some(hello) => {
            // Version, random, session id; then the suite (RFC 5246 §7.4.1.3).
            let skip = hello.get(34).map_or(0, |length| 35 + usize::from(*length));
            if hello.get(skip..skip + 2) != Some(&ECDHE_ECDSA_AES128_GCM) {
                complaints.push("another cipher suite than the offered one".into());
            }
            // use_srtp with one profile, AES128_CM_HMAC_SHA1_80, and no MKI (RFC 5764 §4.1.1).
            if !hello.windows(9).any(|w| w == [0, 14, 0, 5, 0, 2, 0, 1, 0]) {
                complaints.push("no use_srtp with SRTP_AES128_CM_HMAC_SHA1_80".into());
            }
        }
    }
    if server_hello(&known(cx, side).await?, ECDHE_ECDSA_NULL, false).await.is_some() {
        complaints.push("a suite without encryption is taken".into());
    }
    let expected = "ECDHE-ECDSA-AES128-GCM with AES128_CM_SHA1_80, and never NULL";
    Ok(Outcome::complaints(expected, &complaints, "the mandatory set works, NULL is refused"))
}

async fn modern_hello(cx: &Context, side: Side) -> Done {
    let hello = server_hello(&known(cx, side).await?, ECDHE_ECDSA_AES128_GCM, true).await;
    let observed = if hello.is_some() { "ServerHello" } else { "no ServerHello" };
    Ok(Outcome::judge(hello.is_some(), "an answer to a hello that offers DTLS 1.3 too, in two fragments", observed))
}

async fn media_decrypts(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let good = live.until(Duration::from_secs(5), plays).await;
    cx.close(&session).await?;
    Ok(Outcome::judge(good, "media that decrypts with the exported keys", live.seen().summary()))
}

async fn many_candidates(cx: &Context, side: Side) -> Done {
    let line = |n: u32| {
        format!("a=candidate:{n} 1 udp {} 10.{}.1.{} {} typ host\r\n", 2_000_000 + n, n % 8, n + 1, 40_000 + n)
    };
    let lines = (0..200).map(line).collect::<Vec<_>>().concat();
    let offer = Fixture::Av.body(side).replacen("a=candidate:", &format!("{lines}a=candidate:"), 1);
    let exchange = cx.post_and_delete(side, cx.offering_text(side, &offer)?).await?;
    let lite = exchange.response.text().contains("a=ice-lite");
    let how = if lite { "lite: sends no checks" } else { "full ICE" };
    let good = exchange.status() == 201 || exchange.response.is_client_error();
    Ok(Outcome::judge(good, "200 candidates do no harm", format!("{}, {how}", exchange.line())).by(&exchange))
}

async fn odd_names(cx: &Context, side: Side) -> Done {
    let endpoint = cx.endpoint(side)?;
    let folder = endpoint.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    for name in ["a%0d%0aX-Injected:%20yes", "..%2f..%2fetc%2fpasswd", "a%00b", "%2e%2e", "a%0aSet-Cookie:%20a=b"] {
        let mut request = cx.offering(side, Fixture::Av)?;
        request.url = endpoint.with_path(&format!("{folder}/{name}"));
        let exchange = cx.post_and_delete(side, request).await?;
        let injected = exchange.response.header("x-injected").or(exchange.response.header("set-cookie")).is_some();
        if injected || !exchange.response.is_client_error() {
            complaints.push(format!(
                "{name}: {}{}",
                exchange.status(),
                if injected { ", header injected" } else { "" }
            ));
        }
    }
    Ok(Outcome::complaints("4xx, and nothing of the name in headers", &complaints, "4xx for all"))
}

async fn fingerprint_spelling(cx: &Context, side: Side) -> Done {
    let odd = |offer: &str| -> String {
        let line = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(hex) => format!("a=fingerprint:SHA-256 {}", hex.to_ascii_lowercase()),
            None => line.to_owned(),
        };
        offer.split_inclusive('\n').map(line).collect()
    };
    let joined = cx.join(side, &BOTH, odd).await;
    let expected = "connects whatever the case of the fingerprint";
    match joined {
        Ok((session, mut live)) => {
            let good = live.until(CONNECT, |seen| seen.connected_at.is_some()).await;
            // The server may look at the certificate after the client is done.
            let kept = !live.until(Duration::from_millis(700), super::media::torn_down).await;
            cx.close(&session).await?;
            let observed = if good && kept { "connected" } else { "not connected" };
            Ok(Outcome::judge(good && kept, expected, observed))
        }
        Err(Halt::Skip(why)) => Ok(Outcome::new(Verdict::Fail, expected, why)),
        Err(other) => Err(other),
    }
}

/// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, which WebRTC must have (RFC 8827 §6.5).
pub(super) const ECDHE_ECDSA_AES128_GCM: [u8; 2] = [0xC0, 0x2B];
/// `TLS_ECDHE_ECDSA_WITH_NULL_SHA`.
const ECDHE_ECDSA_NULL: [u8; 2] = [0xC0, 0x06];
