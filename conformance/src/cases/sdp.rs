//! The answer as SDP: sections, codecs and form, for WHIP and WHEP alike (RFC 3264, 8285, 8866, 9429).

use crate::answer::{Media, Sdp, parameter};
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::both("SDP-01", same_sections),
        Case::both("SDP-02", same_mids),
        Case::both("SDP-03", offered_payload_types),
        Case::both("SDP-04", codec_parameters),
        Case::both("SDP-05", feedback_subset),
        Case::both("SDP-06", extension_subset),
        Case::both("SDP-07", form),
        Case::both("SDP-08", rejected_outside_bundle),
        Case::both("SDP-09", tolerates_line_ends_and_unknown_lines),
        Case::both("SDP-11", no_common_codec),
        Case::both("SDP-12", unknown_codec_skipped),
        Case::whip("SDP-14", every_h264_profile),
        Case::both("SDP-15", size),
        Case::both("SDP-16", rtx_ssrcs_declared),
    ]
}

/// Opens sessions for `fixtures` and collects what `look` finds wrong in their answers.
pub(super) async fn answers(
    cx: &Context,
    side: Side,
    fixtures: &[Fixture],
    expected: &str,
    look: impl Fn(&Sdp, &Sdp, &mut Vec<String>),
) -> Done {
    let mut complaints = Vec::new();
    let mut judged = Vec::new();
    let mut refused = Vec::new();
    for fixture in fixtures {
        match cx.open(side, *fixture).await {
            Ok(session) => {
                cx.close(&session).await?;
                let mut found = Vec::new();
                look(&session.offer()?, &session.sdp, &mut found);
                complaints.extend(found.into_iter().map(|c| format!("{}: {c}", fixture.name())));
                judged.push(fixture.name());
            }
            Err(Halt::Skip(why)) => refused.push(why),
            Err(broken) => return Err(broken),
        }
    }
    if judged.is_empty() {
        return Err(Halt::Skip(refused.join("; ")));
    }
    Ok(Outcome::complaints(expected, &complaints, format!("holds for {}", judged.join(", "))))
}

/// Judges the shared sample answer.
pub(super) async fn sample(
    cx: &Context,
    side: Side,
    expected: &str,
    look: impl Fn(&Sdp, &mut Vec<String>) -> String,
) -> Done {
    let session = cx.sample(side).await?;
    let mut complaints = Vec::new();
    let fine = look(&session.sdp, &mut complaints);
    Ok(Outcome::complaints(expected, &complaints, fine).by(&session.exchange))
}

async fn same_sections(cx: &Context, side: Side) -> Done {
    let mut fixtures = vec![Fixture::Av, Fixture::Va, Fixture::A, Fixture::V];
    if side == Side::Whep {
        fixtures.push(Fixture::DataChannel);
    }
    answers(cx, side, &fixtures, "the offer's sections in the offer's order", |offer, answer, complaints| {
        let shape =
            |sdp: &Sdp| -> Vec<String> { sdp.media.iter().map(|m| format!("{} {}", m.kind, m.proto)).collect() };
        if shape(offer) != shape(answer) {
            complaints.push(format!("{:?}", shape(answer)));
        }
    })
    .await
}

async fn same_mids(cx: &Context, side: Side) -> Done {
    answers(cx, side, &[Fixture::Av, Fixture::Odd], "the offered mids", |offer, answer, complaints| {
        for (asked, given) in offer.media.iter().zip(&answer.media) {
            if asked.attr("mid") != given.attr("mid") {
                complaints.push(format!("offered {:?}, answered {:?}", asked.attr("mid"), given.attr("mid")));
            }
        }
    })
    .await
}

async fn offered_payload_types(cx: &Context, side: Side) -> Done {
    answers(cx, side, &[Fixture::Av, Fixture::Odd], "offered payload types only", |offer, answer, complaints| {
        for (asked, given) in offer.media.iter().zip(answer.media.iter()).filter(|(_, given)| given.port != 0) {
            for format in &given.formats {
                if !asked.formats.contains(format) {
                    complaints.push(format!("{} {format} was not offered", given.kind));
                } else if given.codec(format).is_some() && given.codec(format) != asked.codec(format) {
                    complaints.push(format!("{format} was {:?}, is {:?}", asked.codec(format), given.codec(format)));
                }
            }
        }
    })
    .await
}

async fn codec_parameters(cx: &Context, side: Side) -> Done {
    let expected = "packetization-mode, profile, apt and channels as offered";
    answers(cx, side, &[Fixture::Av, Fixture::H264], expected, |offer, answer, complaints| {
        for (asked, given) in offer.media.iter().zip(answer.media.iter()).filter(|(_, given)| given.port != 0) {
            for format in &given.formats {
                complaints.extend(parameters_differ(asked, given, format));
            }
        }
    })
    .await
}

/// What is wrong with one payload type.
fn parameters_differ(asked: &Media, given: &Media, format: &str) -> Option<String> {
    let codec = given.codec(format)?;
    let list = |media: &Media| media.of_format("fmtp", format).next().unwrap_or_default().to_owned();
    let (wanted, got) = (list(asked), list(given));
    if codec.starts_with("RTX/") {
        let apt = parameter(&got, "apt").unwrap_or_default();
        let known = given.formats.iter().any(|f| f == apt);
        return (!known).then(|| format!("RTX {format} repairs {apt:?}, which is not accepted"));
    }
    if codec.starts_with("H264/") {
        let mode = |l: &str| parameter(l, "packetization-mode").unwrap_or("0").to_owned();
        let profile =
            |l: &str| parameter(l, "profile-level-id").unwrap_or("42000a").get(..4).map(str::to_ascii_lowercase);
        let same = mode(&wanted) == mode(&got) && profile(&wanted) == profile(&got);
        return (!same).then(|| format!("H264 {format}: offered \"{wanted}\", answered \"{got}\""));
    }
    (codec.starts_with("OPUS/") && codec != "OPUS/48000/2").then(|| format!("{format} is {codec}"))
}

async fn feedback_subset(cx: &Context, side: Side) -> Done {
    // The odd offer has only "nack" for its video.
    answers(cx, side, &[Fixture::Av, Fixture::Odd], "no rtcp-fb that was not offered", |offer, answer, complaints| {
        for (asked, given) in offer.media.iter().zip(&answer.media) {
            let offered: Vec<&str> = asked.attrs("rtcp-fb").collect();
            let extra = given.attrs("rtcp-fb").filter(|line| {
                let wild = line.split_once(' ').map(|(_, rest)| format!("* {rest}")).unwrap_or_default();
                !offered.contains(line) && !offered.contains(&wild.as_str())
            });
            complaints.extend(extra.map(|line| format!("{}: {line}", given.kind)));
        }
    })
    .await
}

async fn extension_subset(cx: &Context, side: Side) -> Done {
    answers(cx, side, &[Fixture::Av, Fixture::Odd], "offered extensions with their ids", |offer, answer, complaints| {
        for (asked, given) in offer.media.iter().zip(&answer.media) {
            // The id may carry a direction, the URI may be followed by attributes.
            let pairs = |media: &Media| -> Vec<(String, String)> {
                let pair = |line: &str| {
                    let mut words = line.split(' ');
                    let id = words.next()?.split('/').next()?.to_owned();
                    Some((id, words.next()?.to_owned()))
                };
                media.attrs("extmap").filter_map(pair).collect()
            };
            let offered = pairs(asked);
            for (id, uri) in pairs(given) {
                if uri == "urn:example:never-heard-of" {
                    complaints.push(format!("accepted the invented {uri}"));
                } else if !offered.contains(&(id.clone(), uri.clone())) {
                    complaints.push(format!("{}: {id} {uri} was not offered so", given.kind));
                }
            }
        }
    })
    .await
}

async fn form(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let sdp = &session.sdp;
    let mut complaints = Vec::new();
    let line = |prefix: &str| sdp.session.iter().find_map(|l| l.strip_prefix(prefix)).map(str::to_owned);
    let origin = line("o=").unwrap_or_default();
    let words: Vec<&str> = origin.split(' ').collect();
    let number = |at: usize| words.get(at).is_some_and(|w| w.parse::<u64>().is_ok());
    if words.len() != 6 || !number(1) || !number(2) {
        complaints.push(format!("o={origin}"));
    }
    if line("s=").is_none_or(|name| name.is_empty()) {
        complaints.push("s= is missing or empty".into());
    }
    if line("t=").as_deref() != Some("0 0") {
        complaints.push("no t=0 0".into());
    }
    let has_connection = |lines: &[String]| lines.iter().any(|l| l.starts_with("c="));
    if !has_connection(&sdp.session) && !sdp.accepted().all(|m| has_connection(&m.lines)) {
        complaints.push("a section without c=".into());
    }
    if complaints.is_empty() && sdp.text.split_inclusive('\n').any(|l| !l.ends_with("\r\n")) {
        return Ok(Outcome::new(Verdict::Warn, "lines end in CRLF", "bare LF").by(&session.exchange));
    }
    Ok(Outcome::complaints("o=, s=, t=, c= as RFC 8866 has them", &complaints, "well-formed").by(&session.exchange))
}

async fn rejected_outside_bundle(cx: &Context, side: Side) -> Done {
    let fixtures = [Fixture::Av, Fixture::DataChannel, Fixture::TwoVideos];
    answers(cx, side, &fixtures, "port 0 sections are not in the BUNDLE group", |_, answer, complaints| {
        let group = answer.bundle().unwrap_or_default();
        for media in answer.media.iter().filter(|m| m.port == 0 && !m.has("bundle-only")) {
            if media.attr("mid").is_some_and(|mid| group.contains(&mid)) {
                complaints.push(format!("rejected {} is in BUNDLE {}", media.kind, group.join(" ")));
            }
        }
    })
    .await
}

async fn tolerates_line_ends_and_unknown_lines(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for fixture in [Fixture::Lf, Fixture::Talkative] {
        let exchange = cx.try_offer(side, fixture).await?;
        if exchange.status() != 201 {
            complaints.push(format!("{}: {}", fixture.name(), exchange.status()));
        }
    }
    Ok(Outcome::complaints("201", &complaints, "201 for both"))
}

async fn no_common_codec(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::UnknownCodec).await?;
    Ok(Outcome::judge(exchange.response.is_client_error(), "4xx (422 is best)", exchange.line()).by(&exchange))
}

async fn unknown_codec_skipped(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::MixedCodecs).await?;
    cx.close(&session).await?;
    let video = session.sdp.media.iter().find(|m| m.kind == "video");
    let formats = video.map(|m| m.formats.clone()).unwrap_or_default();
    let accepted = video.is_some_and(|m| m.port != 0);
    if side == Side::Whep && !accepted {
        // A viewer's section is rejected when it lacks the codec that is being sent.
        return Err(Halt::Skip("the stream's video is neither VP8 nor H264".into()));
    }
    let has = |wanted: &[&str]| formats.iter().any(|format| wanted.contains(&format.as_str()));
    let good = accepted && has(&["98", "102"]) && !has(&["96", "97"]);
    let expected = "VP8 (98) or H264 (102), without the invented 96";
    Ok(Outcome::judge(good, expected, formats.join(" ")).by(&session.exchange))
}

async fn every_h264_profile(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::H264).await?;
    cx.close(&session).await?;
    let video = session.sdp.media.iter().find(|m| m.kind == "video" && m.port != 0);
    let formats = video.map(|m| m.formats.clone()).unwrap_or_default();
    let missing: Vec<String> = ["102", "104", "106", "108", "112"]
        .into_iter()
        .filter(|pt| !formats.iter().any(|f| f == pt))
        .map(|pt| format!("payload type {pt} is not accepted"))
        .collect();
    Ok(Outcome::complaints("all five H264 profiles", &missing, formats.join(" ")).by(&session.exchange))
}

async fn size(cx: &Context, side: Side) -> Done {
    sample(cx, side, "fewer than 8192 octets", |sdp, complaints| {
        let observed = format!("{} octets", sdp.text.len());
        if sdp.text.len() >= 8192 {
            complaints.push(observed.clone());
        }
        observed
    })
    .await
}

async fn rtx_ssrcs_declared(cx: &Context, side: Side) -> Done {
    sample(cx, side, "every SSRC of a FID group has its own line", |sdp, complaints| {
        for media in &sdp.media {
            let declared: Vec<&str> = media.attrs("ssrc").filter_map(|l| l.split(' ').next()).collect();
            for group in media.attrs("ssrc-group").filter_map(|l| l.strip_prefix("FID ")) {
                let missing = group.split(' ').filter(|ssrc| !declared.contains(ssrc));
                complaints.extend(missing.map(|ssrc| format!("{}: {ssrc} is only in the group", media.kind)));
            }
        }
        "declared, or no groups".into()
    })
    .await
}
