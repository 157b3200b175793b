//! Wrong servers, as far as datagrams show it: ICE, DTLS, RTP and RTCP.

use std::time::Duration;

use super::How::{Ask, Forge, Wire};
use super::proxy::Reply;
use super::relay::Fate::{Elsewhere, Flood, Lose, Pass};
use super::{Group, Mutant, When};
use crate::cli::Side;
use crate::stun::PRIORITY;

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "ice", when: When::Live, mutants: ICE },
    Group { name: "media", when: When::Live, mutants: MEDIA },
    Group { name: "own presenter", when: When::Own, mutants: OWN },
];

const ICE: &[Mutant] = &[
    Mutant::new(
        "signs with another password",
        &["ICE-01"],
        Wire(|p| {
            p.forge_integrity = p.is_stun_answer();
            Pass
        }),
    ),
    Mutant::new(
        "does not sign",
        &["ICE-01"],
        Wire(|p| {
            p.drop_integrity = p.is_stun_answer();
            Pass
        }),
    ),
    Mutant::new(
        "no STUN fingerprint",
        &["ICE-01"],
        Wire(|p| {
            p.drop_fingerprint = p.is_stun_answer();
            Pass
        }),
    ),
    Mutant::new(
        "no XOR-MAPPED-ADDRESS",
        &["ICE-01"],
        Wire(|p| {
            p.drop_mapped = p.is_stun_answer();
            Pass
        }),
    ),
    Mutant::new(
        "takes checks that nobody signed",
        &["ICE-02"],
        Wire(|p| {
            let unsigned = p.to_server && p.stun.as_ref().is_some_and(|stun| stun.is_request() && !stun.was_signed);
            if let Some(stun) = p.stun.as_mut().filter(|_| unsigned) {
                stun.was_signed = true;
                p.altered = true;
            }
            Pass
        }),
    ),
    Mutant::new(
        "wants PRIORITY",
        &["ICE-04"],
        Wire(|p| {
            let bare = p.to_server && p.stun.as_ref().is_some_and(|stun| stun.find(PRIORITY).is_none());
            if bare { Lose } else { Pass }
        }),
    ),
    Mutant::new("media for whoever knocks", &["SEC-08", "SEC-10"], Wire(|_| Flood)),
];

const MEDIA: &[Mutant] = &[
    Mutant::new(
        "DELETE that ends nothing",
        &["W-4.2-16"],
        Forge(|q| q.at_session("DELETE").then(|| Reply::status(200))),
    ),
    Mutant::new(
        "ends in silence",
        &["W-4.2-16"],
        Wire(|p| {
            let told = p.dtls() == Some(21) || p.stun.as_ref().is_some_and(crate::stun::Message::is_error);
            if told && !p.to_server { Lose } else { Pass }
        }),
    ),
    Mutant::new(
        "deaf to the end of a client",
        &["ICE-12"],
        Wire(|p| if p.to_server && (p.dtls() == Some(21) || p.is_rtcp()) { Lose } else { Pass }),
    ),
    Mutant::new("answers no check", &["ICE-03"], Wire(|p| if p.is_stun_answer() { Lose } else { Pass })).alone(),
    Mutant::new(
        "looks at no fingerprint",
        &["DTLS-SDP-02"],
        Ask(|q| {
            // The check swaps 0 and 1 in its second offer; here they are swapped back.
            if q.is("POST") && q.times > 0 {
                q.body = swap_back(&q.text()).into_bytes();
            }
        }),
    )
    .alone(),
    Mutant::new(
        "sound from another port",
        &["WHIP-4.4.1-03"],
        Wire(|p| if p.is_media() && p.payload_type() == Some(111) { Elsewhere } else { Pass }),
    )
    .alone(),
    Mutant::new(
        "first picture after three seconds",
        &["WHEP-PLAY-01"],
        Wire(|p| if p.is_media() && p.age < Duration::from_secs(3) { Lose } else { Pass }),
    ),
    Mutant::new(
        "gaps in the numbering",
        &["WHEP-PLAY-02"],
        Wire(|p| {
            let lost = p.is_media() && p.sequence().is_some_and(|number| number % 10 == 0);
            if lost || (p.to_server && p.is_rtcp()) { Lose } else { Pass }
        }),
    ),
    Mutant::new(
        "datagrams that are too long",
        &["RTP-16"],
        Wire(|p| {
            if p.is_media() && p.number % 10 == 5 {
                p.octets.resize(1450, 0);
            }
            Pass
        }),
    )
    .alone(),
];

/// Undoes what the check did to its fingerprint lines.
fn swap_back(offer: &str) -> String {
    let swap = |c| match c {
        '0' => '1',
        '1' => '0',
        other => other,
    };
    let line = |line: &str| -> String {
        if line.starts_with("a=fingerprint:") { line.chars().map(swap).collect() } else { line.to_owned() }
    };
    offer.split_inclusive('\n').map(line).collect()
}

const OWN: &[Mutant] = &[Mutant::new(
    "never has a presenter",
    &["WHEP-4.2.8-02"],
    Forge(|q| (q.is("POST") && q.side == Some(Side::Whep)).then(|| Reply::status(409))),
)];
