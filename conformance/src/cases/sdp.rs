//! The answer as SDP: what holds for WHIP and WHEP alike (RFC 3264, 8839, 8842, 8866, 9143, 9429; RFC 9725 §4.4).

use std::net::IpAddr;

use crate::answer::{Media, Sdp, parameter};
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
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
        Case::both("WHIP-4.4.1-01", bundle),
        Case::both("WHIP-4.4.1-02", tagged_section),
        Case::both("WHIP-4.4.1-05", rtcp_mux),
        Case::both("WHIP-4.4.1-06", rtcp_mux_only),
        Case::both("WHIP-4.4.1-07", no_bundle_group),
        Case::both("WHIP-4.4.1-08", transport_repeated),
        Case::both("WHIP-4.4.4-01", setup_role),
        Case::both("WHIP-4.4.4-02", setup_active),
        Case::both("WHIP-4.4.4-03", setup_passive),
        Case::both("DTLS-SDP-01", fingerprint),
        Case::both("ICE-SDP-01", credentials),
        Case::both("ICE-SDP-02", ice_lite),
        Case::both("ICE-SDP-03", ice_options),
        Case::both("ICE-SDP-04", has_candidates),
        Case::both("ICE-SDP-05", end_of_candidates),
        Case::both("ICE-SDP-06", first_candidate),
        Case::both("ICE-SDP-07", component_one),
    ]
}

/// Opens sessions for `fixtures` and collects what `look` finds wrong in their answers.
async fn answers(
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
async fn sample(cx: &Context, side: Side, expected: &str, look: impl Fn(&Sdp, &mut Vec<String>) -> String) -> Done {
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
    let good = video.is_some_and(|m| m.port != 0)
        && formats.iter().any(|f| f == "102")
        && !formats.iter().any(|f| f == "96" || f == "97");
    Ok(Outcome::judge(good, "H264 (102) without the invented 96", formats.join(" ")).by(&session.exchange))
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

async fn bundle(cx: &Context, side: Side) -> Done {
    answers(cx, side, &[Fixture::Av, Fixture::Va], "one BUNDLE group of all accepted mids", |_, answer, complaints| {
        let accepted: Vec<&str> = answer.accepted().filter_map(|m| m.attr("mid")).collect();
        let group = answer.bundle();
        if group.as_ref() != Some(&accepted) {
            complaints.push(format!("accepted {accepted:?}, grouped {group:?}"));
        }
    })
    .await
}

async fn tagged_section(cx: &Context, side: Side) -> Done {
    let fixtures = [Fixture::Av, Fixture::Va, Fixture::BundleOnly];
    answers(cx, side, &fixtures, "ICE and DTLS lines in the first bundled section", |_, answer, complaints| {
        let Some(tagged) = answer.tagged() else {
            complaints.push("no section is accepted".into());
            return;
        };
        for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup"] {
            if answer.effective(tagged, name).is_none() {
                complaints.push(format!("no a={name}"));
            }
        }
        if tagged.port == 0 {
            complaints.push("its port is 0".into());
        }
    })
    .await
}

async fn rtcp_mux(cx: &Context, side: Side) -> Done {
    sample(cx, side, "a=rtcp-mux in each accepted section", |sdp, complaints| {
        complaints.extend(sdp.accepted().filter(|m| !m.has("rtcp-mux")).map(|m| format!("{} has none", m.kind)));
        "in each".into()
    })
    .await
}

async fn rtcp_mux_only(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let count = session.sdp.accepted().filter(|m| m.has("rtcp-mux-only")).count();
    // RFC 9725 asks for it, RFC 8858 §3 forbids it in answers: nobody can be blamed.
    let observed = format!("in {count} of {} sections", session.sdp.accepted().count());
    Ok(Outcome::new(Verdict::Info, "either way", observed))
}

async fn no_bundle_group(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::AloneUngrouped).await?;
    Ok(Outcome::judge(exchange.status() == 201, "201 for one section without a group", exchange.line()).by(&exchange))
}

async fn transport_repeated(cx: &Context, side: Side) -> Done {
    sample(cx, side, "ICE, DTLS and rtcp-mux lines in every accepted section", |sdp, complaints| {
        for media in sdp.accepted() {
            for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux"] {
                if !media.has(name) {
                    complaints.push(format!("{}: no a={name}", media.kind));
                }
            }
        }
        "repeated".into()
    })
    .await
}

/// The `a=setup` of the tagged section.
fn setup(session: &Session) -> Option<&str> {
    session.sdp.tagged().and_then(|m| session.sdp.effective(m, "setup"))
}

async fn setup_role(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let role = setup(session);
    let good = matches!(role, Some("active" | "passive"));
    Ok(Outcome::judge(good, "a=setup:active or passive", format!("{role:?}")).by(&session.exchange))
}

async fn setup_active(cx: &Context, side: Side) -> Done {
    let exchange = cx.post(side, cx.offering(side, Fixture::Active)?).await?;
    let sdp = Sdp::parse(&exchange.response.text()).ok();
    let role = sdp.as_ref().and_then(|sdp| sdp.effective(sdp.tagged()?, "setup"));
    let observed = format!("{}, setup {role:?}", exchange.line());
    let good = match exchange.status() {
        201 => role == Some("passive"),
        status => matches!(status, 400 | 422),
    };
    Ok(Outcome::judge(good, "201 with a=setup:passive, or 422/400", observed).by(&exchange))
}

async fn setup_passive(cx: &Context, side: Side) -> Done {
    let exchange = cx.post(side, cx.offering(side, Fixture::Passive)?).await?;
    let sdp = Sdp::parse(&exchange.response.text()).ok();
    let role = sdp.as_ref().and_then(|sdp| sdp.effective(sdp.tagged()?, "setup"));
    let verdict = match exchange.status() {
        201 if role == Some("active") => Verdict::Pass,
        400..=499 => Verdict::Info,
        _ => Verdict::Fail,
    };
    let observed = format!("{}, setup {role:?}", exchange.line());
    Ok(Outcome::new(verdict, "201 with a=setup:active", observed).by(&exchange))
}

async fn fingerprint(cx: &Context, side: Side) -> Done {
    sample(cx, side, "a sha-256 (or longer) fingerprint", |sdp, complaints| {
        for media in sdp.accepted() {
            let line = sdp.effective(media, "fingerprint").unwrap_or_default();
            let (hash, hex) = line.split_once(' ').unwrap_or_default();
            let octets = match hash.to_ascii_lowercase().as_str() {
                "sha-256" => 32,
                "sha-384" => 48,
                "sha-512" => 64,
                _ => 0,
            };
            let pairs: Vec<&str> = hex.split(':').collect();
            let is_hex = pairs.iter().all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok());
            if octets == 0 || pairs.len() != octets || !is_hex {
                complaints.push(format!("{}: {line:?}", media.kind));
            }
        }
        "present; that it is the certificate's hash shows in the live checks".into()
    })
    .await
}

async fn credentials(cx: &Context, side: Side) -> Done {
    let first = cx.sample(side).await?.sdp.clone();
    let second = cx.open(side, Fixture::Av).await?;
    let read = |sdp: &Sdp, name: &str| -> String {
        sdp.tagged().and_then(|m| sdp.effective(m, name)).unwrap_or_default().to_owned()
    };
    let mut complaints = Vec::new();
    for (name, least) in [("ice-ufrag", 4), ("ice-pwd", 22)] {
        let (one, two) = (read(&first, name), read(&second.sdp, name));
        let ice_chars = one.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/');
        if one.len() < least || one.len() > 256 || !ice_chars {
            complaints.push(format!("{name} has {} characters or odd ones", one.len()));
        }
        if one == two {
            complaints.push(format!("{name} is the same in two sessions"));
        }
    }
    Ok(Outcome::complaints("4+ and 22+ ice-chars, fresh per session", &complaints, "well-formed and fresh"))
}

async fn ice_lite(cx: &Context, side: Side) -> Done {
    sample(cx, side, "a=ice-lite, if any, at session level", |sdp, complaints| {
        complaints.extend(sdp.media.iter().filter(|m| m.has("ice-lite")).map(|m| format!("in the {} section", m.kind)));
        format!("lite: {}", if sdp.attr("ice-lite").is_some() { "yes" } else { "no" })
    })
    .await
}

async fn ice_options(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let line = session.sdp.attr("ice-options").unwrap_or_default();
    let good = line.split(' ').any(|option| option == "trickle");
    Ok(Outcome::judge(good, "session-level a=ice-options:trickle", format!("{line:?}")).by(&session.exchange))
}

/// The candidate lines of the tagged section, split into words.
fn candidates(sdp: &Sdp) -> Vec<Vec<&str>> {
    let lines = sdp.tagged().into_iter().flat_map(|m| m.attrs("candidate"));
    lines.map(|line| line.split(' ').collect()).collect()
}

async fn has_candidates(cx: &Context, side: Side) -> Done {
    sample(cx, side, "candidates in the tagged section", |sdp, complaints| {
        let found = candidates(sdp);
        if found.is_empty() {
            complaints.push("none".into());
        }
        format!("{} candidates", found.len())
    })
    .await
}

async fn end_of_candidates(cx: &Context, side: Side) -> Done {
    sample(cx, side, "a=end-of-candidates", |sdp, complaints| {
        if !sdp.tagged().is_some_and(|m| sdp.effective(m, "end-of-candidates").is_some()) {
            complaints.push("not there".into());
        }
        "there".into()
    })
    .await
}

async fn first_candidate(cx: &Context, side: Side) -> Done {
    let local = cx.http.address(cx.endpoint(side)?).await?.ip().is_loopback();
    sample(cx, side, "first: component 1, udp, typ host, an address that can be reached", |sdp, complaints| {
        let found = candidates(sdp);
        let Some(first) = found.first() else {
            complaints.push("no candidate".into());
            return String::new();
        };
        let word = |at: usize| first.get(at).copied().unwrap_or_default();
        if word(1) != "1" || !word(2).eq_ignore_ascii_case("udp") || word(7) != "host" {
            complaints.push(first.join(" "));
        }
        for line in &found {
            let text = line.get(4).copied().unwrap_or_default();
            let usable = match text.parse::<IpAddr>() {
                Ok(ip) if ip.is_unspecified() => false,
                // In a lab the server is on this machine.
                Ok(ip) if ip.is_loopback() => local,
                Ok(IpAddr::V4(ip)) => !ip.is_link_local(),
                Ok(IpAddr::V6(_)) => true,
                Err(_) => false,
            };
            if !usable {
                complaints.push(format!("address {text}"));
            }
        }
        first.join(" ")
    })
    .await
}

async fn component_one(cx: &Context, side: Side) -> Done {
    sample(cx, side, "component 1 only", |sdp, complaints| {
        let others = candidates(sdp).into_iter().filter(|words| words.get(1) != Some(&"1"));
        complaints.extend(others.map(|words| words.join(" ")));
        "component 1 only".into()
    })
    .await
}
