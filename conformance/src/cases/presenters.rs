//! What viewers meet as presenters come, go and change (WHEP draft §4.2.6, §4.2.8, §4.3).

use std::time::{Duration, Instant};

use str0m::media::MediaKind;
use tokio::time::sleep;

use super::events::Channel;
use super::media::{BOTH, CONNECT, connected, how_far, plays, torn_down};
use super::trickle::{fresh, more, patch};
use crate::answer::Sdp;
use crate::case::{Case, Done, Halt, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::Fixture;
use crate::rtc::{Live, Seen};

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("SDP-13", every_codec),
        Case::whep("WHEP-4.5.x-01", dtls_roles),
        Case::whep("WHEP-4.4-01", patch_rules),
        Case::whep("WHEP-4.3-02", ended_by_the_server).in_phase(Phase::Own),
        Case::whep("WHEP-4.5.1-01", tag_of_a_rejected_section).in_phase(Phase::Own),
        Case::whep("WHEP-4.2.8-03", waiting_viewer).in_phase(Phase::Own),
        Case::whep("WHEP-4.2.8-04", presenter_returns).in_phase(Phase::Own),
        Case::whep("WHEP-4.2.8-05", other_codec).in_phase(Phase::Own),
    ]
}

/// A presenter of these kinds that sends; its offer went through `edit`.
async fn presenting(cx: &Context, kinds: &[MediaKind], edit: impl Fn(&str) -> String) -> Result<(Session, Live), Halt> {
    let (session, mut live) = cx.join(Side::Whip, kinds, edit).await?;
    cx.hold(&session);
    if live.until(CONNECT, |seen| seen.sent > 25).await {
        return Ok((session, live));
    }
    Err(Halt::Skip(format!("the presenter sends nothing: {}", how_far(&live.seen()))))
}

/// Ends a presenter as a good client does.
async fn leave(cx: &Context, session: &Session, live: &mut Live) -> Result<(), Halt> {
    live.close().await;
    cx.close(session).await?;
    Ok(())
}

async fn every_codec(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let video = session.sdp.media.iter().find(|m| m.kind == "video" && m.port != 0);
    let video = video.ok_or_else(|| Halt::Skip("no video was accepted".into()))?;
    let mut codecs: Vec<String> = video.formats.iter().filter_map(|format| video.codec(format)).collect();
    codecs.retain(|codec| !codec.starts_with("RTX"));
    let has = |name: &str| codecs.iter().any(|codec| codec.starts_with(name));
    let good = has("VP8") && has("H264");
    let expected = "VP8 and H264, so that another presenter can follow";
    Ok(Outcome::judge(good, expected, codecs.join(", ")).by(&session.exchange))
}

async fn dtls_roles(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for (fixture, allowed) in [(Fixture::Av, &["active", "passive"][..]), (Fixture::Active, &["passive"][..])] {
        let session = cx.open(side, fixture).await?;
        cx.close(&session).await?;
        for media in session.sdp.accepted() {
            let setup = session.sdp.effective(media, "setup").unwrap_or("missing");
            if !allowed.contains(&setup) {
                complaints.push(format!("{}: setup {setup}", fixture.name()));
            }
        }
    }
    Ok(Outcome::complaints("active or passive; passive for active", &complaints, "as JSEP has it"))
}

async fn patch_rules(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let tag = session.exchange.response.header("etag").unwrap_or("*").to_owned();
    let trickle = patch(cx, &session, Some(&tag), &more(&session)?).await?;
    let restart = patch(cx, &session, Some("*"), &fresh(&session)).await?;
    if matches!((trickle.status(), restart.status()), (405 | 501, 405 | 501)) {
        return Err(Halt::NotApplicable(format!("sessions take no PATCH: {}", trickle.line())));
    }
    let stale = patch(cx, &session, Some("\"nope\""), &more(&session)?).await?;
    let observed = format!("trickle {}, restart {}, stale tag {}", trickle.status(), restart.status(), stale.status());
    let good = matches!(trickle.status(), 204 | 422) && matches!(restart.status(), 200 | 422) && stale.status() == 412;
    Ok(Outcome::judge(good, "204, 200 (422 for the one that is missing) and 412", observed).by(&restart))
}

async fn ended_by_the_server(cx: &Context, side: Side) -> Done {
    let (session, mut presenter) = presenting(cx, &BOTH, str::to_owned).await?;
    let viewer = connected(cx, side).await;
    leave(cx, &session, &mut presenter).await?;
    let (session, mut live) = viewer?;
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut status = 200;
    while Instant::now() < deadline && !matches!(status, 404 | 410) {
        sleep(Duration::from_millis(250)).await;
        status = cx.ask(side, "GET", &session.url).await?.status();
    }
    let kept = !matches!(status, 404 | 410);
    if kept {
        // The server keeps viewers for the next presenter, so we ask it to end this one.
        cx.close(&session).await?;
    }
    let told = live.until(Duration::from_secs(1), torn_down).await;
    let how = if kept { "kept after the presenter; after DELETE" } else { "ended with the presenter;" };
    let observed = format!("{how} {} on the wire", if told { "a sign" } else { "no sign" });
    Ok(Outcome::judge(told, "close_notify, an alert or STUN 403", observed))
}

async fn tag_of_a_rejected_section(cx: &Context, side: Side) -> Done {
    let (session, mut presenter) = presenting(cx, &[MediaKind::Audio], str::to_owned).await?;
    let exchange = cx.try_offer(side, Fixture::Va).await;
    leave(cx, &session, &mut presenter).await?;
    let exchange = exchange?;
    let answer = Sdp::parse(&exchange.response.text()).map_err(|e| Halt::Skip(format!("{}: {e}", exchange.line())))?;
    let mut complaints = Vec::new();
    let group = answer.bundle().unwrap_or_default();
    for media in answer.media.iter().filter(|m| m.port == 0) {
        if media.attr("mid").is_some_and(|mid| group.contains(&mid)) {
            complaints.push(format!("rejected {} is in BUNDLE", media.kind));
        }
    }
    match answer.tagged() {
        None => complaints.push("nothing is accepted".to_owned()),
        Some(tagged) => {
            for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "candidate"] {
                if answer.effective(tagged, name).is_none() {
                    complaints.push(format!("the first of BUNDLE ({}) has no {name}", tagged.kind));
                }
            }
        }
    }
    let kinds: Vec<&str> = answer.accepted().map(|m| m.kind.as_str()).collect();
    let fine = format!("accepted: {}", kinds.join(", "));
    let expected = "the first section of BUNDLE is an accepted one with ICE, DTLS and candidates";
    Ok(Outcome::complaints(expected, &complaints, fine).by(&exchange))
}

async fn waiting_viewer(cx: &Context, side: Side) -> Done {
    let (session, mut live) = match connected(cx, side).await {
        Err(Halt::Skip(why)) => return Err(Halt::NotApplicable(format!("no session while nobody publishes: {why}"))),
        other => other?,
    };
    cx.hold(&session);
    let (published, mut presenter) = presenting(cx, &BOTH, str::to_owned).await?;
    let good = live.until(Duration::from_secs(5), plays).await;
    leave(cx, &published, &mut presenter).await?;
    cx.close(&session).await?;
    let seen = live.seen();
    let starts = seen.track(MediaKind::Video).is_some_and(|t| t.starts_at_keyframe);
    let observed = format!("{}, {}", seen.summary(), if starts { "a key frame first" } else { "no key frame first" });
    Ok(Outcome::judge(good && starts, "media without a new POST, a key frame first", observed))
}

/// True when both tracks have that many packets.
fn has(seen: &Seen, packets: u64) -> bool {
    BOTH.iter().all(|kind| seen.track(*kind).is_some_and(|t| t.packets >= packets))
}

async fn presenter_returns(cx: &Context, side: Side) -> Done {
    let (first, mut presenter) = presenting(cx, &BOTH, str::to_owned).await?;
    let viewer = connected(cx, side).await;
    let (session, mut live) = match viewer {
        Ok(viewer) => viewer,
        Err(halt) => {
            leave(cx, &first, &mut presenter).await?;
            return Err(halt);
        }
    };
    cx.hold(&session);
    let mut events = match Channel::of(session.clone()) {
        Ok(channel) => channel.listen(cx, "[\"inactive\"]").await.ok(),
        Err(_) => None,
    };
    live.until(Duration::from_secs(5), |seen| has(seen, 20)).await;
    leave(cx, &first, &mut presenter).await?;
    let told = match &mut events {
        Some(stream) => stream.until("inactive", Duration::from_secs(2)).await.0.is_some(),
        None => live.until(Duration::from_secs(2), torn_down).await,
    };
    let ended = torn_down(&live.seen());
    let before = live.seen();
    let (second, mut presenter) = presenting(cx, &BOTH, str::to_owned).await?;
    let more = |seen: &Seen| {
        let grown = |kind| seen.track(kind).map_or(0, |t| t.packets) > before.track(kind).map_or(0, |t| t.packets) + 20;
        BOTH.into_iter().all(grown)
    };
    let resumed = !ended && live.until(Duration::from_secs(5), more).await;
    leave(cx, &second, &mut presenter).await?;
    cx.close(&session).await?;
    let seen = live.seen();
    let mut complaints = Vec::new();
    if !told {
        complaints.push("nothing tells the viewer within 2 s".to_owned());
    }
    if !ended && !resumed {
        complaints.push("the viewer gets nothing of the next presenter".to_owned());
    }
    if resumed && (seen.tracks.len() != BOTH.len() || seen.tracks.iter().any(|t| t.missing() > 0)) {
        complaints.push(format!("numbering breaks: {} tracks, {}", seen.tracks.len(), seen.summary()));
    }
    let how = if ended { "the session is ended" } else { "the viewer plays on, numbering continuous" };
    Ok(Outcome::complaints("viewers are told; they play on, or are ended cleanly", &complaints, how))
}

/// Takes a video codec and its RTX out of an offer.
fn without_codec(offer: &str, codec: &str) -> String {
    let Ok(sdp) = Sdp::parse(offer) else {
        return offer.to_owned();
    };
    let mut gone: Vec<String> = Vec::new();
    for media in &sdp.media {
        let is = |f: &&String| media.codec(f).is_some_and(|c| c.starts_with(codec));
        gone.extend(media.formats.iter().filter(is).cloned());
        let repairs = |f: &&String| media.of_format("fmtp", f).any(|p| gone.iter().any(|g| p == format!("apt={g}")));
        let more: Vec<String> = media.formats.iter().filter(repairs).cloned().collect();
        gone.extend(more);
    }
    let is_about = |line: &str| {
        let value = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|prefix| line.strip_prefix(prefix));
        value.is_some_and(|v| gone.iter().any(|g| v.split(' ').next() == Some(g)))
    };
    let shorten = |line: &str| -> String {
        if !line.starts_with("m=") {
            return line.to_owned();
        }
        let words = line.trim_end().split(' ').enumerate();
        let kept: Vec<&str> = words.filter(|(at, w)| *at < 3 || !gone.iter().any(|g| g == w)).map(|(_, w)| w).collect();
        kept.join(" ") + "\r\n"
    };
    offer.split_inclusive('\n').filter(|line| !is_about(line)).map(shorten).collect()
}

async fn other_codec(cx: &Context, side: Side) -> Done {
    let (first, mut presenter) = presenting(cx, &BOTH, |offer| without_codec(offer, "H264")).await?;
    let viewer = connected(cx, side).await;
    let (session, mut live) = match viewer {
        Ok(viewer) => viewer,
        Err(halt) => {
            leave(cx, &first, &mut presenter).await?;
            return Err(halt);
        }
    };
    cx.hold(&session);
    live.until(Duration::from_secs(5), |seen| has(seen, 20)).await;
    leave(cx, &first, &mut presenter).await?;
    let before = live.seen();
    let (second, mut presenter) = presenting(cx, &BOTH, |offer| without_codec(offer, "VP8")).await?;
    let video = |seen: &Seen| seen.track(MediaKind::Video).map_or(0, |t| t.packets);
    let plays_on = live.until(Duration::from_secs(5), |seen| video(seen) > video(&before) + 20).await;
    leave(cx, &second, &mut presenter).await?;
    cx.close(&session).await?;
    let ended = torn_down(&before);
    let observed = match (plays_on, ended) {
        (true, _) => "video goes on with the other codec",
        (false, true) => "the viewer is ended",
        (false, false) => "the viewer gets no video and is not told",
    };
    Ok(Outcome::new(
        if plays_on || ended { Verdict::Pass } else { Verdict::Fail },
        "VP8, then H264: the payload type changes, or the viewer is ended",
        observed,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_leaves_no_trace_in_an_offer() {
        let offer = without_codec(&Fixture::Av.body(Side::Whip), "VP8");

        assert!(offer.contains("m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"), "{offer}");
        assert!(
            !offer.contains("VP8")
                && !offer.contains("rtpmap:98")
                && !offer.contains("rtpmap:99")
                && !offer.contains("apt=98")
        );
        assert!(offer.contains("a=rtpmap:111 opus"));
    }
}
