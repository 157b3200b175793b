//! Consent and movement: clients that fall silent, move to another address, or restart ICE while media flows
//! (RFC 7675; RFC 8445 §8; RFC 9725 §4.3.3, §4.4.5).

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ice::ordinary;
use super::media::{connected, plays, torn_down};
use super::trickle::{fragment, patch};
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::{Fixture, random_text};
use crate::probe::Probe;
use crate::rtc::{Live, Order};

/// The checks of this file. Those that wait for a session to expire run beside the others.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("ICE-07", lite),
        Case::both("ICE-SDP-08", tcp_candidates),
        Case::whep("ICE-05", later_nomination),
        Case::whep("ICE-08", media_stops).beside(),
        Case::whep("ICE-09", silence_is_noticed).beside(),
        Case::whep("ICE-10", no_revival).beside(),
        Case::both("ICE-11", revoked_at_once),
        Case::whep("ICE-13", strangers_end_nothing).beside(),
        Case::fixed("ICE-14", &[Side::Whip], Verdict::Info, "a presenter that pauses for a minute is not waited for"),
        Case::whep("W-4.3.3-05", new_candidates),
        Case::whep("W-4.3.3-06", restart_without_a_gap).beside(),
        Case::whep("W-4.3.3-13", restart_then_silence).beside(),
    ]
}

async fn lite(cx: &Context, side: Side) -> Done {
    let is_lite = cx.sample(side).await?.sdp.attr("ice-lite").is_some();
    let observed = if is_lite { "ICE lite" } else { "full ICE" };
    Ok(Outcome::new(Verdict::Info, "full ICE unless the server is publicly reachable", observed))
}

async fn tcp_candidates(cx: &Context, side: Side) -> Done {
    let sdp = &cx.sample(side).await?.sdp;
    let lines: Vec<Vec<&str>> =
        sdp.tagged().into_iter().flat_map(|m| m.attrs("candidate")).map(|line| line.split(' ').collect()).collect();
    let priority = |words: &[&str]| words.get(3).and_then(|p| p.parse::<u32>().ok()).unwrap_or_default();
    let is = |words: &[&str], transport: &str| words.get(2).is_some_and(|t| t.eq_ignore_ascii_case(transport));
    let least_udp = lines.iter().filter(|w| is(w, "udp")).map(|w| priority(w)).min().unwrap_or(u32::MAX);
    let mut complaints = Vec::new();
    let tcp: Vec<_> = lines.iter().filter(|words| is(words, "tcp")).collect();
    for words in &tcp {
        if !words.windows(2).any(|pair| pair == ["tcptype", "passive"]) {
            complaints.push(format!("{} is not passive", words.join(" ")));
        }
        if priority(words) >= least_udp {
            complaints.push(format!("{} comes before UDP", words.join(" ")));
        }
    }
    let fine = format!("{} TCP candidates", tcp.len());
    Ok(Outcome::complaints("tcptype passive, below UDP", &complaints, fine))
}

/// A viewer that gets media.
async fn playing(cx: &Context, side: Side) -> Result<(Session, Live), Halt> {
    let (session, mut live) = connected(cx, side).await?;
    cx.hold(&session);
    if live.until(Duration::from_secs(5), plays).await {
        return Ok((session, live));
    }
    Err(Halt::Skip(format!("no media: {}", live.seen().summary())))
}

async fn later_nomination(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    let probe = Probe::new(cx, &session).await?;
    live.order(Order::Move).await;
    // What a client sends from its new address: a check that nominates.
    live.order(Order::Send(ordinary(&probe))).await;
    let before = live.seen();
    let count = |seen: &crate::rtc::Seen| seen.tracks.iter().map(|t| t.packets).sum::<u64>();
    let start = count(&before);
    let moved = live.until(Duration::from_secs(3), |seen| count(seen) > start + 30).await;
    let observed = format!("{} packets at the new address within 3 s", count(&live.seen()) - start);
    cx.close(&session).await?;
    Ok(Outcome::judge(moved, "media follows USE-CANDIDATE to another address", observed))
}

/// Waits until a session is gone; gives the time, or `None` when it outlived [`LONGEST`].
async fn until_gone(cx: &Context, session: &Session) -> Result<Option<Duration>, Halt> {
    let start = Instant::now();
    let first = cx.ask(session.side, "GET", &session.url).await?;
    if !first.response.is_success() {
        return Err(Halt::Skip(format!("GET does not tell whether a session is there: {}", first.line())));
    }
    while start.elapsed() < LONGEST {
        sleep(Duration::from_millis(500)).await;
        let probe = cx.ask(session.side, "GET", &session.url).await?;
        if matches!(probe.status(), 404 | 410) {
            return Ok(Some(start.elapsed()));
        }
    }
    cx.close(session).await?;
    Ok(None)
}

/// Judges when a silent client's session ended.
fn in_time(gone: Option<Duration>) -> Outcome {
    let observed = gone.map_or("still there after 66 s".into(), |t| format!("gone after {:.0} s", t.as_secs_f64()));
    let good = gone.is_some_and(|t| t > SHORTEST);
    Outcome::judge(good, "404 after 20 to 66 s of silence", observed)
}

async fn media_stops(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    live.order(Order::Freeze).await;
    let start = Instant::now();
    // Consent lasts for 30 s (RFC 7675 §5.1); then nothing may come for a while.
    sleep(Duration::from_secs(34)).await;
    let before = live.seen().media_at;
    sleep(Duration::from_secs(2)).await;
    let seen = live.seen();
    let still = seen.media_at != before;
    let last = seen.media_at.map(|at| at.saturating_duration_since(start).as_secs_f64()).unwrap_or_default();
    cx.close(&session).await?;
    let observed = format!("last media {last:.1} s after the last good check");
    Ok(Outcome::judge(!still, "no media 33 s after the client fell silent", observed))
}

async fn silence_is_noticed(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    live.order(Order::Freeze).await;
    Ok(in_time(until_gone(cx, &session).await?))
}

async fn no_revival(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    live.order(Order::Freeze).await;
    if until_gone(cx, &session).await?.is_none() {
        return Err(Halt::Skip("the session never expired".into()));
    }
    live.order(Order::Wake).await;
    // What the socket took in before the session expired is read now.
    sleep(Duration::from_secs(1)).await;
    let before = live.seen().media_at;
    sleep(Duration::from_millis(2500)).await;
    let revived = live.seen().media_at != before;
    let probe = cx.ask(side, "GET", &session.url).await?;
    let observed = format!("{}, {}", if revived { "media again" } else { "no media" }, probe.line());
    let good = !revived && matches!(probe.status(), 404 | 410);
    Ok(Outcome::judge(good, "no media and 404 when the client is back after expiry", observed))
}

async fn revoked_at_once(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let exchange = cx.close(&session).await?;
    let told = live.until(Duration::from_secs(1), torn_down).await;
    let observed = format!("{}, {} on the wire", exchange.line(), if told { "a sign" } else { "silence" });
    Ok(Outcome::judge(told, "close_notify, an alert or STUN 403 within 1 s", observed).by(&exchange))
}

async fn strangers_end_nothing(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    // What anybody can forge: an alert that nobody encrypted, epoch 0, close_notify; and a BYE without SRTCP.
    let alert = vec![21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    let bye = vec![0x81, 203, 0, 1, 0x12, 0x34, 0x56, 0x78];
    for datagram in [alert, bye, vec![0xFF; 64]] {
        live.order(Order::Send(datagram)).await;
    }
    // And a port that is unreachable for a moment: the old one, while media is on its way there.
    let probe = Probe::new(cx, &session).await?;
    live.order(Order::Move).await;
    // Some packets of media have to find that port closed.
    sleep(Duration::from_millis(300)).await;
    live.order(Order::Send(ordinary(&probe))).await;
    let count = |seen: &crate::rtc::Seen| seen.tracks.iter().map(|t| t.packets).sum::<u64>();
    let start = count(&live.seen());
    let alive = live.until(Duration::from_secs(3), |seen| count(seen) > start + 30).await;
    let get = cx.ask(side, "GET", &session.url).await?;
    cx.close(&session).await?;
    let observed = format!("{} packets afterwards, {}", count(&live.seen()) - start, get.line());
    let expected = "plain alerts, plain RTCP and ICMP errors end no session";
    Ok(Outcome::judge(alive && get.response.is_success(), expected, observed))
}

/// Restarts ICE on a session; gives a signed check under the new credentials.
async fn restart(cx: &Context, session: &Session) -> Result<Vec<u8>, Halt> {
    let (ufrag, password) = (random_text(8), random_text(24));
    let exchange = patch(cx, session, Some("*"), &fragment(session, &ufrag, &password, "")).await?;
    if exchange.status() != 200 {
        return Err(Halt::NotApplicable(format!("no restart: {}", exchange.line())));
    }
    let text = exchange.response.text();
    let read = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let mut probe = Probe::new(cx, session).await?;
    probe.username = format!("{}:{ufrag}", read("a=ice-ufrag:"));
    probe.password = read("a=ice-pwd:");
    Ok(ordinary(&probe))
}

async fn new_candidates(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    if session.sdp.attr("ice-lite").is_some() {
        return Err(Halt::NotApplicable("a lite server sends no checks".into()));
    }
    Ok(Outcome::new(Verdict::Info, "checks go to the new candidates only", "not watched on a full ICE server"))
}

/// RTP packets that came so far.
fn packets(live: &Live) -> u64 {
    live.seen().tracks.iter().map(|track| track.packets).sum()
}

async fn restart_without_a_gap(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    let ssrcs = |live: &Live| -> Vec<u32> { live.seen().tracks.iter().map(|t| t.ssrc).collect() };
    let before = ssrcs(&live);
    live.order(Order::Watch).await;
    let check = restart(cx, &session).await?;
    // Until the new pair is nominated media stays on the old one.
    sleep(Duration::from_millis(700)).await;
    let held = live.seen().silence;
    let before_move = packets(&live);
    live.order(Order::Move).await;
    // One of them may be lost; a server takes the same nomination more than once.
    for _ in 0..2 {
        live.order(Order::Send(check.clone())).await;
        // As far apart as a client's own repetitions are (RFC 8445 §14.3).
        sleep(Duration::from_millis(650)).await;
    }
    let seen = live.seen();
    let moved = packets(&live) - before_move;
    let recent = seen.media_at.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
    let gap = seen.silence;
    cx.close(&session).await?;
    let same = before == ssrcs(&live);
    let observed = format!(
        "longest silence {} ms ({} ms before the nomination), SSRCs {}, {moved} packets at the new port, media {}",
        gap.as_millis(),
        held.as_millis(),
        if same { "kept" } else { "changed" },
        if recent { "goes on" } else { "stopped" }
    );
    let good = recent && same && moved > 0 && gap < Duration::from_secs(1);
    let expected = "media on the old pair, then at the port that is nominated; no gap of 1 s, same SSRCs and keys";
    Ok(Outcome::judge(good, expected, observed))
}

async fn restart_then_silence(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    let _never_sent = restart(cx, &session).await?;
    live.order(Order::Freeze).await;
    Ok(in_time(until_gone(cx, &session).await?))
}

/// Consent expires after 30 s; a little earlier is no fault of a server that measures from the last check.
const SHORTEST: Duration = Duration::from_secs(20);
/// A minute, and 10 %.
const LONGEST: Duration = Duration::from_secs(66);
