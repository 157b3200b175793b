//! Raw datagrams at the media port: STUN as RFC 8445 has it, and what must be ignored before anybody is known.

use std::time::Duration;

use super::abuse::ECDHE_ECDSA_AES128_GCM;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::Fixture;
use crate::probe::Probe;
use crate::stun::{CONTROLLED, CONTROLLING, Request, Response, USE_CANDIDATE, USERNAME};

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("ICE-01", answers_checks),
        Case::both("ICE-02", ignores_strangers).beside(),
        Case::both("ICE-04", bare_checks),
        Case::both("ICE-06", role_conflict),
        Case::both("SEC-08", no_media_without_srtp).beside(),
        Case::both("SEC-10", no_amplification).beside(),
    ]
}

/// A fresh session and a socket at it.
async fn probing(cx: &Context, side: Side) -> Result<(Session, Probe), Halt> {
    let session = cx.open(side, Fixture::Av).await?;
    let probe = Probe::new(cx, &session).await?;
    Ok((session, probe))
}

/// An ordinary check that nominates.
pub(super) fn ordinary(probe: &Probe) -> Vec<u8> {
    nominating(probe.check()).signed(&probe.password).finish()
}

/// The attributes of a controlling client that nominates.
fn nominating(request: Request) -> Request {
    request.with(CONTROLLING, &TIE_BREAKER.to_be_bytes()).with(USE_CANDIDATE, &[])
}

/// `success`, `error 401` or `silence` for reports.
pub(super) fn name(response: Option<&Response>) -> String {
    response.map_or("silence".into(), Response::name)
}

async fn answers_checks(cx: &Context, side: Side) -> Done {
    let (_, probe) = probing(cx, side).await?;
    let response = probe.ask(&ordinary(&probe)).await;
    let expected = "success with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT";
    let Some(response) = response.filter(Response::is_success) else {
        return Ok(Outcome::new(Verdict::Fail, expected, "no success response within 1.2 s"));
    };
    let mut complaints = Vec::new();
    let local = probe.local();
    match response.mapped() {
        None => complaints.push("no XOR-MAPPED-ADDRESS".to_owned()),
        // Across a network a NAT may stand between, so the address can only be judged on this machine.
        Some(mapped) if local.is_some_and(|l| l.ip().is_loopback()) && Some(mapped) != local => {
            complaints.push(format!("mapped {mapped}, sent from {local:?}"));
        }
        Some(_) => {}
    }
    if !response.is_signed(&probe.password) {
        complaints.push("MESSAGE-INTEGRITY is missing or wrong".into());
    }
    if !response.has_fingerprint() {
        complaints.push("FINGERPRINT is missing or wrong".into());
    }
    Ok(Outcome::complaints(expected, &complaints, format!("success, mapped {:?}", response.mapped())))
}

async fn ignores_strangers(cx: &Context, side: Side) -> Done {
    let (_, probe) = probing(cx, side).await?;
    let (server, client) = probe.username.split_once(':').unwrap_or_default();
    let named = |username: &str| nominating(Request::new().with(USERNAME, username.as_bytes()));
    let bad = [
        ("a wrong server ufrag", named(&format!("{server}x:{client}")).signed(&probe.password)),
        ("a wrong password", nominating(probe.check()).signed("not-the-password-of-anybody")),
        ("no MESSAGE-INTEGRITY", nominating(probe.check())),
        ("no USERNAME", nominating(Request::new()).signed(&probe.password)),
    ];
    let mut complaints = Vec::new();
    for (what, request) in bad {
        let request = request.finish();
        let heard = probe.exchange(&request, QUIET, |d| Response::to(&request, d).is_some()).await;
        let response = heard.last().and_then(|datagram| Response::to(&request, datagram));
        if response.as_ref().is_some_and(Response::is_success) {
            complaints.push(format!("success for {what}"));
        }
    }
    let good = probe.ask(&ordinary(&probe)).await;
    if !good.as_ref().is_some_and(Response::is_success) {
        complaints.push(format!("a good check afterwards: {}", name(good.as_ref())));
    }
    let expected = "401 or silence, and the session lives on";
    Ok(Outcome::complaints(expected, &complaints, "no success for four bad checks, success for a good one"))
}

async fn bare_checks(cx: &Context, side: Side) -> Done {
    let (_, probe) = probing(cx, side).await?;
    let request = Request::new().with(USERNAME, probe.username.as_bytes()).with(USE_CANDIDATE, &[]);
    let response = probe.ask(&request.signed(&probe.password).finish()).await;
    let good = response.as_ref().is_some_and(Response::is_success);
    Ok(Outcome::judge(good, "success without PRIORITY and ICE-CONTROLLING", name(response.as_ref())))
}

async fn role_conflict(cx: &Context, side: Side) -> Done {
    let (session, probe) = probing(cx, side).await?;
    // With the highest tie-breaker it is the server that has to complain.
    let request = probe.check().with(CONTROLLED, &u64::MAX.to_be_bytes()).signed(&probe.password).finish();
    let response = probe.ask(&request).await;
    let is_lite = session.sdp.attr("ice-lite").is_some();
    let verdict = match response.as_ref().and_then(Response::error) {
        Some(487) => Verdict::Pass,
        // RFC 8445 §7.3.1 is for full implementations.
        _ if is_lite => Verdict::Info,
        _ => Verdict::Fail,
    };
    let observed = format!("{} from a {} server", name(response.as_ref()), if is_lite { "lite" } else { "full" });
    Ok(Outcome::new(verdict, "487 Role Conflict", observed))
}

async fn no_media_without_srtp(cx: &Context, side: Side) -> Done {
    let (_, probe) = probing(cx, side).await?;
    let verified = probe.ask(&ordinary(&probe)).await;
    if !verified.as_ref().is_some_and(Response::is_success) {
        return Err(Halt::Skip(format!("the check before it got {}", name(verified.as_ref()))));
    }
    let mut media = 0;
    for number in 0..20_u16 {
        let heard = probe.exchange(&plain_rtp(number), Duration::from_millis(40), |_| false).await;
        media += heard.iter().filter(|d| matches!(d.first(), Some(128..=191))).count();
    }
    let alive = probe.ask(&ordinary(&probe)).await;
    let observed = format!("{media} RTP or RTCP datagrams before DTLS, then a check: {}", name(alive.as_ref()));
    let good = media == 0 && alive.as_ref().is_some_and(Response::is_success);
    Ok(Outcome::judge(good, "no RTP or RTCP before DTLS, plain RTP ignored", observed))
}

/// A packet of Opus that nobody encrypted.
fn plain_rtp(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 960).to_be_bytes());
    packet.extend(1_000_001_u32.to_be_bytes());
    packet.resize(132, 0xA5);
    packet
}

async fn no_amplification(cx: &Context, side: Side) -> Done {
    let (session, _) = probing(cx, side).await?;
    let mut complaints = Vec::new();
    let unsigned = |probe: &Probe| Request::new().with(USERNAME, probe.username.as_bytes()).finish();
    for what in ["DTLS ClientHello", "STUN without integrity", "RTP", "noise"] {
        // Each from an address of its own, which the server has never heard of.
        let probe = Probe::new(cx, &session).await?;
        let datagram = match what {
            "DTLS ClientHello" => client_hello(&[], ECDHE_ECDSA_AES128_GCM, false, 0),
            "STUN without integrity" => unsigned(&probe),
            "RTP" => plain_rtp(1),
            _ => vec![0xFF; 64],
        };
        let heard = probe.exchange(&datagram, QUIET, |_| false).await;
        let octets: usize = heard.iter().map(Vec::len).sum();
        // An error response to STUN is a few octets longer than the shortest request, and no lever.
        let allowed = if what.starts_with("STUN") { datagram.len() + 64 } else { datagram.len() };
        if octets > allowed {
            complaints.push(format!("{octets} octets for {} of {what}", datagram.len()));
        }
    }
    Ok(Outcome::complaints("no more octets than were sent", &complaints, "no more than were sent, four times"))
}

/// A DTLS 1.2 ClientHello (RFC 6347 §4.2) with the extensions that WebRTC needs; a modern one says that it knows 1.3
/// too and comes in two fragments. `sequence` counts the tries.
pub(super) fn client_hello(cookie: &[u8], suite: [u8; 2], modern: bool, sequence: u8) -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend([0x5A; 32]);
    // No session id, the cookie, one suite, no compression.
    body.push(0);
    body.push(cookie.len() as u8);
    body.extend(cookie);
    body.extend([0, 2, suite[0], suite[1], 1, 0]);
    let versions: &[u8] = if modern { &[0x00, 0x2B, 0, 5, 4, 0xFE, 0xFC, 0xFE, 0xFD] } else { &[] };
    let extensions: [&[u8]; 6] = [
        &[0x00, 0x0A, 0, 4, 0, 2, 0x00, 0x17],       // supported_groups: secp256r1
        &[0x00, 0x0B, 0, 2, 1, 0],                   // ec_point_formats: uncompressed
        &[0x00, 0x0D, 0, 4, 0, 2, 0x04, 0x03],       // signature_algorithms: ecdsa_secp256r1_sha256
        &[0x00, 0x0E, 0, 5, 0, 2, 0x00, 0x01, 0x00], // use_srtp: AES128_CM_HMAC_SHA1_80
        &[0x00, 0x17, 0, 0],                         // extended_master_secret
        versions,                                    // supported_versions: 1.3 and 1.2
    ];
    let extensions = extensions.concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);

    let number = u16::from(!cookie.is_empty());
    let (one, two) = body.split_at(if modern { 40 } else { body.len() });
    let first = record(&body, 0, one, number, sequence * 2);
    if two.is_empty() { first } else { [first, record(&body, one.len(), two, number, sequence * 2 + 1)].concat() }
}

/// A record with a fragment of a ClientHello.
fn record(whole: &[u8], offset: usize, part: &[u8], message: u16, sequence: u8) -> Vec<u8> {
    let three = |n: usize| -> Vec<u8> { (n as u32).to_be_bytes().get(1..).unwrap_or_default().to_vec() };
    let head = [vec![1], three(whole.len()), message.to_be_bytes().to_vec(), three(offset), three(part.len())].concat();
    let handshake = [&head, part].concat();
    let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, sequence];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

/// Any number does; the server is never controlling.
const TIE_BREAKER: u64 = 0x0123_4567_89AB_CDEF;
/// How long nothing may come.
const QUIET: Duration = Duration::from_millis(250);
