//! RTP and RTCP with a live peer: what a server does for loss, key frames, clocks and feedback (RFC 3550, 4585, 5104,
//! 5285, 5506, 8834; RFC 9725 §4.6.1).

use std::time::{Duration, Instant};

use str0m::media::{KeyframeRequestKind, MediaKind};
use tokio::time::sleep;

use super::media::{BOTH, CONNECT, connected, plays};
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::drop_lines;
use crate::rtc::{Live, Order, Style};

/// The checks of this file. Those of a presenter bring a viewer too, where one is allowed.
pub(super) fn cases() -> Vec<Case> {
    let both = &[Side::Whip, Side::Whep];
    let own = |id, check: fn(&'static str) -> Case| check(id).in_phase(Phase::Own);
    vec![
        Case::whip("W-4.6.1-01", congestion_feedback),
        Case::whip("RTP-04", keyframe_requests),
        Case::both("RTP-06", reports),
        Case::whep("RTP-01", undeclared_sources).in_phase(Phase::Own),
        Case::whep("RTP-02", mid_wins).in_phase(Phase::Own),
        own("RTP-05", |id| Case::whep(id, ingest_loss)),
        own("RTP-07", |id| Case::whep(id, sparse_extensions)),
        own("RTP-09", |id| Case::whep(id, wrap)),
        own("SEC-12", |id| Case::whep(id, replays)),
        Case::whep("RTP-03", reduced_size),
        Case::both("RTP-08", no_encrypted_extensions),
        Case::fixed("RTP-10", both, Verdict::Info, "a BYE that is followed by more media is not tried"),
        Case::fixed("RTP-11", both, Verdict::Info, "the synthetic stream has single NAL units only"),
        Case::fixed("RTP-12", both, Verdict::Info, "the synthetic stream has no B-frames"),
        Case::fixed("RTP-13", both, Verdict::Info, "str0m offers no way to send padding alone"),
        Case::both("RTP-15", one_port_for_all),
        Case::whep("RTP-17", burst).beside(),
        Case::whep("WHEP-PLAY-03", repairs).beside(),
        Case::whep("WHEP-PLAY-04", keyframe_on_request),
        Case::whep("WHEP-PLAY-05", clocks),
        Case::fixed("WHEP-PLAY-06", &[Side::Whep], Verdict::Info, "a viewer's bandwidth cannot be throttled from here"),
        Case::whep("WHEP-PLAY-07", mid_on_the_wire),
    ]
}

/// A presenter that sends.
async fn presenting(cx: &Context, style: Style, edit: impl Fn(&str) -> String) -> Result<(Session, Live), Halt> {
    let (session, mut live) = cx.join_as(Side::Whip, &BOTH, style, edit).await?;
    cx.hold(&session);
    if live.until(CONNECT, |seen| seen.sent > 25).await {
        return Ok((session, live));
    }
    Err(Halt::Skip("the presenter never connected".into()))
}

/// Judges that a viewer gets both tracks of a presenter, after `then` was ordered.
async fn arrives(
    cx: &Context,
    style: Style,
    edit: impl Fn(&str) -> String,
    then: Option<Order>,
    expected: &str,
    good: impl Fn(&Live) -> Option<String>,
) -> Done {
    let (session, mut presenter) = presenting(cx, style, edit).await?;
    if let Some(order) = then {
        presenter.order(order).await;
    }
    let viewer = connected(cx, Side::Whep).await;
    let outcome = match viewer {
        Ok((_, mut live)) => {
            let enough =
                |seen: &crate::rtc::Seen| BOTH.iter().all(|kind| seen.track(*kind).is_some_and(|t| t.packets >= 60));
            let played = live.until(Duration::from_secs(6), enough).await;
            // A packet that is under way is not lost.
            sleep(Duration::from_millis(300)).await;
            let complaint = good(&live);
            let observed = complaint.clone().unwrap_or_else(|| live.seen().summary());
            Outcome::judge(played && complaint.is_none(), expected, observed)
        }
        Err(Halt::Skip(why)) => Outcome::new(Verdict::Fail, expected, why),
        Err(other) => return Err(other),
    };
    presenter.close().await;
    cx.close(&session).await?;
    Ok(outcome)
}

/// A complaint when the numbering of a track has holes.
fn whole(live: &Live) -> Option<String> {
    let seen = live.seen();
    let holes = seen.tracks.iter().any(|track| track.missing() > 0);
    holes.then(|| seen.summary())
}

/// Takes the lines about SSRCs and the MID extension out.
fn undeclared(offer: &str) -> String {
    let text = drop_lines(&drop_lines(offer, "a=ssrc"), "a=ssrc-group");
    text.split_inclusive('\n').filter(|line| !line.contains("hdrext:sdes:mid")).collect()
}

async fn undeclared_sources(cx: &Context, _: Side) -> Done {
    arrives(cx, Style::USUAL, undeclared, None, "both tracks play without a=ssrc and without MID", whole).await
}

/// Gives each section the SSRC lines of the other.
fn swapped(offer: &str) -> String {
    let sections: Vec<&str> = offer.split("m=").collect();
    let [head, one, two] = sections.as_slice() else {
        return offer.to_owned();
    };
    let ssrcs =
        |section: &str| -> String { section.split_inclusive('\n').filter(|line| line.starts_with("a=ssrc")).collect() };
    let rest = |section: &str| drop_lines(section, "a=ssrc");
    format!("{head}m={}{}m={}{}", rest(one), ssrcs(two), rest(two), ssrcs(one))
}

async fn mid_wins(cx: &Context, _: Side) -> Done {
    let expected = "both tracks play though a=ssrc names the other section";
    arrives(cx, Style::USUAL, swapped, None, expected, whole).await
}

async fn sparse_extensions(cx: &Context, _: Side) -> Done {
    // The section that is not told of the other extensions still sees packets that carry MID alone.
    let only_mid = |offer: &str| -> String {
        let keep = |line: &&str| !line.starts_with("a=extmap:") || line.contains("hdrext:sdes:mid");
        offer.split_inclusive('\n').filter(keep).collect()
    };
    arrives(cx, Style::USUAL, only_mid, None, "both tracks play with MID as the only extension", whole).await
}

async fn ingest_loss(cx: &Context, _: Side) -> Done {
    let expected = "what a presenter loses is asked for and repaired";
    arrives(cx, Style::USUAL, str::to_owned, Some(Order::Mumble(20)), expected, whole).await
}

async fn wrap(cx: &Context, _: Side) -> Done {
    let style = Style { first_sequence: 65_500, ..Style::USUAL };
    arrives(cx, style, str::to_owned, None, "both tracks play over the wrap of their numbers", whole).await
}

async fn replays(cx: &Context, _: Side) -> Done {
    let twice = |live: &Live| {
        let seen = live.seen();
        let long = seen.tracks.iter().find(|t| t.packets > t.last - t.first + 1);
        long.map(|t| format!("{} {} packets for {} numbers", t.kind, t.packets, t.last - t.first + 1))
    };
    let expected = "packets that come twice are passed on once";
    arrives(cx, Style::USUAL, str::to_owned, Some(Order::Stammer), expected, twice).await
}

async fn congestion_feedback(cx: &Context, side: Side) -> Done {
    let (session, mut live) = presenting(cx, Style::USUAL, str::to_owned).await?;
    live.until(Duration::from_secs(3), |_| false).await;
    let reports = live.seen().reports;
    live.close().await;
    cx.close(&session).await?;
    let offered = session.offer()?.text.contains("transport-wide-cc");
    let answered = session.sdp.text.contains("transport-wide-cc");
    let good = if answered { reports.transport >= 8 } else { reports.remb > 0 || reports.receiver > 0 };
    let observed = format!(
        "in 3 s: {} transport feedbacks ({}), {} REMB, {} receiver reports, on {}",
        reports.transport,
        if answered {
            "negotiated"
        } else if offered {
            "offered, not taken"
        } else {
            "not offered"
        },
        reports.remb,
        reports.receiver,
        side.name()
    );
    Ok(Outcome::judge(good, "transport-cc at least every 250 ms, or REMB or reports", observed))
}

async fn keyframe_requests(cx: &Context, _: Side) -> Done {
    let (session, mut live) = presenting(cx, Style::USUAL, str::to_owned).await?;
    let quiet = live.seen().keyframe_requests;
    let viewer = connected(cx, Side::Whep).await;
    let asked = live.until(Duration::from_secs(2), |seen| seen.keyframe_requests > quiet).await;
    let start = Instant::now();
    let before = live.seen().keyframe_requests;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.extend(connected(cx, Side::Whep).await.ok());
    }
    let took = start.elapsed().as_secs_f64();
    let count = live.seen().keyframe_requests - before;
    live.close().await;
    cx.close(&session).await?;
    viewer.map_err(|halt| match halt {
        Halt::Skip(why) => Halt::Skip(format!("no viewer: {why}")),
        other => other,
    })?;
    let few = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) <= took * 2.0 + 1.0;
    let observed = format!(
        "{} when a viewer joined, {count} for {} more in {took:.1} s",
        if asked { "asked" } else { "not asked" },
        crowd.len()
    );
    Ok(Outcome::judge(asked && few, "PLI or FIR when a viewer joins, two a second at most", observed))
}

async fn reports(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let good = live
        .until(Duration::from_secs(6), |seen| match side {
            Side::Whip => seen.reports.receiver + seen.reports.sender > 0,
            Side::Whep => seen.reports.sender > 0,
        })
        .await;
    let reports = live.seen().reports;
    cx.close(&session).await?;
    let observed = format!("{} sender reports, {} receiver reports", reports.sender, reports.receiver);
    let expected = if side == Side::Whip { "a receiver report within 5 s" } else { "a sender report within 5 s" };
    Ok(Outcome::judge(good, expected, observed))
}

/// A viewer that plays.
async fn playing(cx: &Context, side: Side) -> Result<(Session, Live), Halt> {
    let (session, mut live) = connected(cx, side).await?;
    if live.until(Duration::from_secs(5), plays).await {
        return Ok((session, live));
    }
    Err(Halt::Skip(format!("no media: {}", live.seen().summary())))
}

/// Asks for a key frame right after one came, when none is due for a while; gives the time until it comes.
async fn key_frame_after(live: &mut Live, kind: KeyframeRequestKind) -> Option<Duration> {
    let newest = |seen: &crate::rtc::Seen| seen.track(MediaKind::Video).and_then(|t| t.keyframe_at);
    let before = newest(&live.seen());
    live.until(Duration::from_secs(4), |seen| newest(seen) != before).await;
    let before = newest(&live.seen());
    // Servers merge requests; half a second after the last one is soon enough to be heard.
    sleep(Duration::from_millis(600)).await;
    let asked = Instant::now();
    live.order(Order::Keyframe(kind)).await;
    live.until(Duration::from_millis(1100), |seen| newest(seen) != before).await;
    newest(&live.seen()).filter(|_| newest(&live.seen()) != before).map(|at| at.saturating_duration_since(asked))
}

async fn keyframe_on_request(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    let mut complaints = Vec::new();
    let mut fine = Vec::new();
    for (name, kind) in [("PLI", KeyframeRequestKind::Pli), ("FIR", KeyframeRequestKind::Fir)] {
        match key_frame_after(&mut live, kind).await {
            Some(took) => fine.push(format!("{name} {} ms", took.as_millis())),
            None => complaints.push(format!("no key frame within 1.1 s of a {name}")),
        }
    }
    cx.close(&session).await?;
    Ok(Outcome::complaints("a key frame after PLI and after FIR", &complaints, fine.join(", ")))
}

async fn reduced_size(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    let before = live.seen().reduced;
    let came = key_frame_after(&mut live, KeyframeRequestKind::Pli).await;
    let sent = live.seen().reduced - before;
    cx.close(&session).await?;
    if sent == 0 {
        return Ok(Outcome::new(Verdict::Info, "PLI without a report is understood", "it was sent with a report"));
    }
    let observed = format!("{sent} sent, {}", if came.is_some() { "a key frame came" } else { "no key frame came" });
    Ok(Outcome::judge(came.is_some(), "PLI without a report is understood", observed))
}

async fn no_encrypted_extensions(cx: &Context, side: Side) -> Done {
    let offer = crate::offer::Fixture::Av.body(side).replacen("t=0 0\r\n", "t=0 0\r\na=cryptex\r\n", 1);
    let exchange = cx.post_and_delete(side, cx.offering_text(side, &offer)?).await?;
    let text = exchange.response.text();
    let taken = text.contains("a=cryptex") || text.contains("hdrext:encrypt");
    let observed = format!("{}, {}", exchange.line(), if taken { "taken" } else { "not taken" });
    let verdict = match (exchange.status(), taken) {
        (201, false) => Verdict::Pass,
        (201, true) => Verdict::Info,
        _ => Verdict::Fail,
    };
    Ok(Outcome::new(verdict, "201; encrypted extensions only when negotiated", observed).by(&exchange))
}

async fn one_port_for_all(cx: &Context, side: Side) -> Done {
    let (session, mut live) = connected(cx, side).await?;
    let probe = crate::probe::Probe::new(cx, &session).await?;
    let before = live.seen();
    for _ in 0..5 {
        live.order(Order::Send(super::ice::ordinary(&probe))).await;
    }
    let answered = live.until(Duration::from_secs(2), |seen| seen.stun_answers >= before.stun_answers + 5).await;
    let count = |seen: &crate::rtc::Seen| match side {
        Side::Whip => seen.sent,
        Side::Whep => seen.tracks.iter().map(|t| t.packets).sum(),
    };
    let start = count(&before);
    let flows = live.until(Duration::from_secs(3), |seen| count(seen) > start + 25).await;
    let seen = live.seen();
    let alive = seen.failure.is_none() && seen.alert_at.is_none();
    cx.close(&session).await?;
    let observed = format!(
        "{} answers to checks among media, media {}",
        seen.stun_answers - before.stun_answers,
        if flows && alive { "goes on" } else { "stopped" }
    );
    Ok(Outcome::judge(answered && flows && alive, "checks are answered while media flows on the same port", observed))
}

async fn burst(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    // The beginning, which a cache may send faster than it came.
    sleep(Duration::from_secs(1)).await;
    let most = live.seen().tracks.iter().map(|t| t.burst).max().unwrap_or_default();
    cx.close(&session).await?;
    Ok(Outcome::new(Verdict::Info, "paced", format!("at most {most} packets within 10 ms")))
}

async fn repairs(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    live.order(Order::Mishear(15)).await;
    let start = live.seen().track(MediaKind::Video).map_or(0, |t| t.last);
    let far = |seen: &crate::rtc::Seen| seen.track(MediaKind::Video).is_some_and(|t| t.last > start + 60);
    live.until(Duration::from_secs(6), far).await;
    live.order(Order::Mishear(u64::MAX)).await;
    // What was lost last is on its way.
    sleep(Duration::from_millis(500)).await;
    let seen = live.seen();
    cx.close(&session).await?;
    let missing = seen.track(MediaKind::Video).map_or(u64::MAX, crate::rtc::Track::missing);
    Ok(Outcome::judge(far(&seen) && missing == 0, "lost packets are sent again", seen.summary()))
}

async fn clocks(cx: &Context, side: Side) -> Done {
    let (session, mut live) = playing(cx, side).await?;
    let told = |seen: &crate::rtc::Seen| BOTH.iter().all(|k| seen.track(*k).is_some_and(|t| t.origin.is_some()));
    live.until(Duration::from_secs(8), told).await;
    let seen = live.seen();
    cx.close(&session).await?;
    let mut complaints = Vec::new();
    let origins: Vec<_> = BOTH.iter().filter_map(|kind| seen.track(*kind)?.origin).collect();
    let mut fine = "sender reports for both tracks".to_owned();
    match origins.as_slice() {
        [_, _] => {
            // Timestamps of the two tracks start anywhere, so only that both clocks are told can be judged here.
            fine = format!("{fine}; {} sender reports", seen.reports.sender);
        }
        _ => complaints.push(format!("sender reports for {} of 2 tracks", origins.len())),
    }
    let ours: Vec<&String> = seen.tracks.iter().filter_map(|t| seen.reports.names.get(&t.ssrc)).collect();
    if let Some(other) = ours.iter().find(|name| ours.first() != Some(name)) {
        complaints.push(format!("different CNAMEs: {} and {other}", ours.first().map_or("", |name| name.as_str())));
    }
    Ok(Outcome::complaints("sender reports for each track, one CNAME", &complaints, fine))
}

async fn mid_on_the_wire(cx: &Context, side: Side) -> Done {
    let (session, live) = playing(cx, side).await?;
    let seen = live.seen();
    cx.close(&session).await?;
    let mut complaints = Vec::new();
    for track in &seen.tracks {
        let kind = track.kind.to_string();
        let section = session.sdp.media.iter().find(|m| m.kind == kind);
        let negotiated = section.is_some_and(|m| m.attrs("extmap").any(|e| e.contains("hdrext:sdes:mid")));
        let mid = section.and_then(|m| m.attr("mid"));
        if !negotiated {
            complaints.push(format!("{kind}: the MID extension was offered and not taken"));
        } else if track.mid.as_deref() != mid {
            complaints.push(format!("{kind}: MID {:?} on the wire, {mid:?} in the answer", track.mid));
        }
    }
    Ok(Outcome::complaints("the MID of its section in the first packets", &complaints, "as answered"))
}
