//! The answer's transport: BUNDLE, DTLS role and fingerprint, ICE lines (RFC 8839, 8842, 9143; RFC 9725 §4.4).

use std::net::IpAddr;

use super::sdp::{answers, sample};
use super::trickle::patchable;
use crate::answer::Sdp;
use crate::case::{Case, Done, Halt, Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
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
    let session = cx.open(side, Fixture::Av).await?;
    let takes_candidates = match patchable(cx, &session).await {
        Err(Halt::NotApplicable(_)) => false,
        other => other.map(|()| true)?,
    };
    let line = session.sdp.attr("ice-options").unwrap_or_default();
    let says_so = line.split(' ').any(|option| option == "trickle");
    let observed = format!("{line:?}, PATCH {}", if takes_candidates { "is understood" } else { "is not" });
    let expected = "session-level a=ice-options:trickle if and only if PATCH takes candidates";
    Ok(Outcome::judge(says_so == takes_candidates, expected, observed).by(&session.exchange))
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
        let line = sdp.tagged().and_then(|m| sdp.effective(m, "end-of-candidates"));
        if line.is_none() {
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
