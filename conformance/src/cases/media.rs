//! Live media: ICE, DTLS and RTP with a real peer, from the presenter to a viewer and to the end of a session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use str0m::media::MediaKind;
use tokio::time::sleep;

use super::ice::{name, ordinary};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::drop_lines;
use crate::probe::Probe;
use crate::rtc::{Live, Seen};

/// The checks of this file. On WHEP they need the presenter that runs in the background; those that publish themselves
/// come last.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("W-4.2-16", torn_down_after_delete).beside(),
        Case::both("ICE-12", close_notify_ends_the_session),
        Case::both("ICE-03", peer_reflexive),
        Case::both("DTLS-SDP-02", fingerprint_is_checked).beside(),
        Case::whep("WHIP-4.4.1-03", one_transport),
        Case::whep("WHEP-PLAY-01", first_frame),
        Case::whep("WHEP-PLAY-02", own_numbering).beside(),
        Case::whep("RTP-16", packet_size),
        Case::whep("WHEP-4.2.8-02", playable_after_publishing).in_phase(Phase::Own),
    ]
}

/// Audio and video.
pub(super) const BOTH: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];
/// How long ICE and DTLS may take; Chrome gives up after 15 s.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// A connected client, or why not.
pub(super) async fn connected(cx: &Context, side: Side) -> Result<(Session, Live), Halt> {
    let (session, mut live) = cx.join(side, &BOTH, str::to_owned).await?;
    if live.until(CONNECT, |seen| seen.connected_at.is_some()).await {
        return Ok((session, live));
    }
    Err(Halt::Skip(format!("never connected: {}", how_far(&live.seen()))))
}

/// The last milestone of a connection.
pub(super) fn how_far(seen: &Seen) -> String {
    let stage = match (seen.ice_at, seen.connected_at) {
        (_, Some(_)) => "connected",
        (Some(_), None) => "ICE worked, DTLS did not",
        (None, None) => "no ICE",
    };
    seen.failure.as_ref().map_or(stage.into(), |why| format!("{stage} ({why})"))
}

/// True when both kinds of track have some packets.
pub(super) fn plays(seen: &Seen) -> bool {
    BOTH.iter().all(|kind| seen.track(*kind).is_some_and(|t| t.packets >= 10))
}

/// True when the server told that the session is over.
pub(super) fn torn_down(seen: &Seen) -> bool {
    seen.close_notify_at.is_some() || seen.alert_at.is_some() || seen.stun_error_at.is_some()
}

async fn torn_down_after_delete(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let exchange = cx.close(&session).await?;
    let start = Instant::now();
    let ended = live.until(Duration::from_secs(1), torn_down).await;
    // What was on its way may still come for two seconds; behind that nothing.
    sleep(Duration::from_secs(2).saturating_sub(start.elapsed())).await;
    let deadline = Instant::now();
    sleep(Duration::from_millis(700)).await;
    let seen = live.seen();
    let probe = Probe::new(cx, &session).await?;
    let check = probe.ask(&ordinary(&probe)).await;
    let how = match (seen.close_notify_at, seen.alert_at, seen.stun_error_at) {
        (Some(_), _, _) => "DTLS close_notify",
        (None, Some(_), _) => "a DTLS alert",
        (None, None, Some(_)) => "a STUN error",
        (None, None, None) => "no sign on the wire",
    };
    let still = seen.media_at.is_some_and(|at| at > deadline);
    let media = if still { "goes on" } else { "stopped" };
    let observed = format!("{}, {how}; after 2 s media {media}, checks get {}", exchange.line(), name(check.as_ref()));
    let expected = "close_notify, fatal alert or STUN 403 within 1 s; after 2 s no media and no STUN success";
    let good = ended && !still && !check.is_some_and(|response| response.is_success());
    Ok(Outcome::judge(good, expected, observed).by(&exchange))
}

async fn close_notify_ends_the_session(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let before = cx.ask(side, "GET", &session.url).await?;
    if !before.response.is_success() {
        return Err(Halt::Skip(format!("a live session cannot be probed: {}", before.line())));
    }
    live.close().await;
    for _ in 0..8 {
        let exchange = cx.ask(side, "GET", &session.url).await?;
        if matches!(exchange.status(), 404 | 410) {
            return Ok(Outcome::new(Verdict::Pass, "404 within 2 s of close_notify", exchange.line()).by(&exchange));
        }
        sleep(Duration::from_millis(250)).await;
    }
    Ok(Outcome::new(Verdict::Fail, "404 within 2 s of close_notify", "the session is still there"))
}

async fn peer_reflexive(cx: &Context, side: Side) -> Done {
    let (_, mut live) = cx.join(side, &BOTH, |offer| drop_lines(offer, "a=candidate")).await?;
    let good = live.until(CONNECT, |seen| seen.connected_at.is_some()).await;
    Ok(Outcome::judge(good, "connects without candidates in the offer", how_far(&live.seen())))
}

async fn fingerprint_is_checked(cx: &Context, side: Side) -> Done {
    // Prove first that a right fingerprint connects; otherwise failing to connect would prove nothing.
    let (session, live) = connected(cx, side).await?;
    drop(live);
    cx.close(&session).await?;
    let (session, mut live) = cx.join(side, &BOTH, spoil_fingerprint).await?;
    let shook_hands = live.until(Duration::from_secs(3), |seen| seen.connected_at.is_some()).await;
    // In DTLS 1.2 our side may finish first; what counts is that the peer ends it and no media flows.
    sleep(Duration::from_secs(1)).await;
    let seen = live.seen();
    let ended = seen.alert_at.is_some() || seen.close_notify_at.is_some() || seen.failure.is_some();
    let media = seen.media_at.is_some();
    let probe = cx.ask(side, "GET", &session.url).await?;
    let gone = matches!(probe.status(), 404 | 410);
    let observed = format!(
        "handshake {}, {}, media {}, session {}",
        if shook_hands { "finished" } else { "did not finish" },
        if ended { "ended by the server" } else { "not ended" },
        if media { "flows" } else { "does not flow" },
        if gone { "gone" } else { "still there" }
    );
    let good = !media && (!shook_hands || ended || gone);
    Ok(Outcome::judge(good, "a certificate other than the offered one is refused", observed))
}

/// Turns every fingerprint into that of another certificate. ("sha-256" holds no 0 or 1; 64 hex digits do.)
fn spoil_fingerprint(offer: &str) -> String {
    let swap = |c| match c {
        '0' => '1',
        '1' => '0',
        other => other,
    };
    let spoil = |line: &str| -> String {
        if line.starts_with("a=fingerprint:") { line.chars().map(swap).collect() } else { line.to_owned() }
    };
    offer.split_inclusive('\n').map(spoil).collect()
}

async fn one_transport(cx: &Context, side: Side) -> Done {
    let (_, mut live) = connected(cx, side).await?;
    live.until(Duration::from_secs(5), plays).await;
    let seen = live.seen();
    let observed = format!("{} from {} addresses", seen.summary(), seen.sources.len());
    Ok(Outcome::judge(plays(&seen) && seen.sources.len() == 1, "both tracks on one 5-tuple", observed))
}

async fn first_frame(cx: &Context, side: Side) -> Done {
    let (_, mut live) = connected(cx, side).await?;
    let start = live.seen().connected_at;
    live.until(Duration::from_secs(5), |seen| seen.track(MediaKind::Video).is_some()).await;
    let seen = live.seen();
    let Some((track, start)) = seen.track(MediaKind::Video).zip(start) else {
        return Ok(Outcome::new(Verdict::Fail, "video within 1 s", "no video at all"));
    };
    let took = track.since.saturating_duration_since(start);
    let frame = if track.starts_at_keyframe { "a key frame" } else { "no key frame" };
    let observed = format!("first packet after {} ms, {frame}", took.as_millis());
    let good = track.starts_at_keyframe && took < Duration::from_secs(1);
    Ok(Outcome::judge(good, "a key frame within 1 s of connecting", observed))
}

async fn own_numbering(cx: &Context, side: Side) -> Done {
    let (_, mut one) = connected(cx, side).await?;
    let (_, mut two) = connected(cx, side).await?;
    let mut complaints = Vec::new();
    let mut numbers = BTreeSet::new();
    for live in [&mut one, &mut two] {
        let enough = |seen: &Seen| BOTH.iter().all(|kind| seen.track(*kind).is_some_and(|t| t.packets >= 50));
        if !live.until(Duration::from_secs(8), enough).await {
            complaints.push(format!("too little media: {}", live.seen().summary()));
        }
        let seen = live.seen();
        for track in &seen.tracks {
            numbers.insert(track.ssrc);
            if track.missing() > 0 {
                complaints.push(format!("{}: {} numbers missing", track.kind, track.missing()));
            }
        }
        if seen.tracks.len() != BOTH.len() {
            complaints.push(format!("{} SSRCs for two tracks", seen.tracks.len()));
        }
    }
    let expected = "two tracks per viewer, no gap in their numbering";
    let fine = format!("{}; {} different SSRCs over two viewers", one.seen().summary(), numbers.len());
    Ok(Outcome::complaints(expected, &complaints, fine))
}

async fn packet_size(cx: &Context, side: Side) -> Done {
    let (_, mut live) = connected(cx, side).await?;
    live.until(Duration::from_secs(5), plays).await;
    let seen = live.seen();
    if !plays(&seen) {
        return Err(Halt::Skip(format!("no media: {}", seen.summary())));
    }
    Ok(Outcome::judge(seen.largest <= 1400, "at most 1400 octets", format!("largest {} octets", seen.largest)))
}

/// The whole line: publish, ask again, play, stop.
async fn playable_after_publishing(cx: &Context, side: Side) -> Done {
    let (session, mut presenter) = connected(cx, Side::Whip).await?;
    cx.hold(&session);
    presenter.until(Duration::from_secs(5), |seen| seen.sent > 25).await;
    let viewer = connected(cx, side).await;
    let outcome = match viewer {
        Ok((_, mut live)) => {
            let good = live.until(Duration::from_secs(5), plays).await;
            Outcome::judge(good, "201 once somebody publishes, and both tracks play", live.seen().summary())
        }
        Err(Halt::Skip(why)) => Outcome::new(Verdict::Fail, "201 once somebody publishes, and both tracks play", why),
        Err(broken) => return Err(broken),
    };
    presenter.close().await;
    cx.close(&session).await?;
    Ok(outcome)
}
