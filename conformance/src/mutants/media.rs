//! Wrong servers, as far as datagrams show it: ICE, DTLS, RTP and RTCP.

use std::time::Duration;

use super::How::{Ask, Forge, Reply as Alter, Wire};
use super::proxy::Reply;
use super::relay::Fate::{Elsewhere, Flood, Lose, Pass};
use super::{Group, Mutant, When};
use crate::cli::Side;
use crate::stun::PRIORITY;

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "ice", when: When::Live, mutants: ICE },
    Group { name: "media", when: When::Live, mutants: MEDIA },
    Group { name: "consent", when: When::Live, mutants: CONSENT },
    Group { name: "rtp", when: When::Live, mutants: RTP },
    Group { name: "playing", when: When::Quiet, mutants: PLAYING },
    Group { name: "feedback", when: When::Presenting, mutants: FEEDBACK },
    Group { name: "layers", when: When::Presenting, mutants: LAYERS },
    Group { name: "layers that are sent", when: When::Presenting, mutants: SENT_LAYERS },
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
        // The names of the sections go with them.
        "first picture after three seconds",
        &["WHEP-PLAY-01"],
        Wire(|p| if p.is_media() && p.age < Duration::from_secs(3) { Lose } else { Pass }),
    )
    .alone(),
    Mutant::new(
        "keeps the names of sections to itself",
        &["WHEP-PLAY-07"],
        Alter(|_, r| r.replace("urn:ietf:params:rtp-hdrext:sdes:mid", "urn:example:never-heard-of")),
    )
    .alone(),
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

/// Sends media to no address but the first.
const FIRST_ADDRESS: super::How = Wire(|p| if p.is_media() && p.path > 0 { Lose } else { Pass });

const CONSENT: &[Mutant] = &[
    Mutant::new("stays with the first address", &["ICE-05"], FIRST_ADDRESS).alone(),
    Mutant::new("leaves whoever moves", &["ICE-13"], FIRST_ADDRESS).alone(),
    Mutant::new("stays where it was before a restart", &["W-4.3.3-06"], FIRST_ADDRESS).alone(),
    Mutant::new(
        "ends in silence",
        &["ICE-11"],
        Wire(|p| {
            let told = p.dtls() == Some(21) || p.stun.as_ref().is_some_and(crate::stun::Message::is_error);
            if told && !p.to_server { Lose } else { Pass }
        }),
    ),
];

const RTP: &[Mutant] = &[
    Mutant::new(
        "sends no RTCP",
        &["RTP-06", "WHEP-PLAY-05"],
        Wire(|p| if !p.to_server && p.is_rtcp() { Lose } else { Pass }),
    ),
    Mutant::new(
        "few checks are answered",
        &["RTP-15"],
        Wire(|p| if p.is_stun_answer() && p.number >= 4 { Lose } else { Pass }),
    )
    .alone(),
    Mutant::new(
        "media that nobody can decrypt",
        &["SEC-09"],
        Wire(|p| {
            let is_media = p.is_media();
            if let Some(last) = p.octets.last_mut().filter(|_| is_media) {
                *last ^= 1;
            }
            Pass
        }),
    )
    .alone(),
    Mutant::new(
        "no handshake",
        &["SEC-07", "RTP-14"],
        Wire(|p| if p.dtls().is_some() && !p.to_server { Lose } else { Pass }),
    )
    .alone(),
    Mutant::new(
        "hexadecimal in capitals only",
        &["DTLS-SDP-03"],
        Forge(|q| q.text().contains("SHA-256 ").then(|| Reply::status(400))),
    ),
    Mutant::new(
        "sessions are numbered",
        &["SEC-02"],
        Alter(|_, r| {
            if r.is_created() {
                r.set("location", "/session/1");
            }
        }),
    )
    .alone(),
    Mutant::new(
        "takes any name",
        &["SEC-13"],
        Forge(|q| (q.method == "POST" && q.path.contains("%0")).then(|| Reply::status(201))),
    ),
    Mutant::new(
        "chokes on many candidates",
        &["SEC-11"],
        Forge(|q| (q.text().matches("a=candidate").count() > 100).then(|| Reply::status(500))),
    ),
    Mutant::new("chokes on cryptex", &["RTP-08"], Forge(|q| q.text().contains("cryptex").then(|| Reply::status(400)))),
    Mutant::new(
        "TCP before UDP",
        &["ICE-SDP-08"],
        Alter(|_, r| {
            if r.is_created() {
                let tcp = "a=candidate:9 1 tcp 4294967295 127.0.0.1 9 typ host tcptype active\r\n";
                r.rewrite(|text| text.replacen("a=candidate:", &format!("{tcp}a=candidate:"), 1));
            }
        }),
    ),
];

const PLAYING: &[Mutant] = &[Mutant::new(
    "deaf to RTCP",
    &["RTP-03", "WHEP-PLAY-03", "WHEP-PLAY-04"],
    Wire(|p| if p.to_server && p.is_rtcp() { Lose } else { Pass }),
)];

const FEEDBACK: &[Mutant] = &[Mutant::new(
    "sends no RTCP",
    &["W-4.6.1-01", "RTP-04"],
    Wire(|p| if !p.to_server && p.is_rtcp() { Lose } else { Pass }),
)];

const LAYERS: &[Mutant] = &[
    Mutant::new(
        "RID extension under another id",
        &["WHIP-4.8-04"],
        Alter(|_, r| {
            r.replace(
                "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp",
                "a=extmap:12 urn:ietf:params:rtp-hdrext:sdes:rtp",
            );
        }),
    ),
    Mutant::new("two layers of three", &["WHIP-4.8-07"], Alter(|_, r| r.replace("recv 0;1;2", "recv 0;1"))),
    Mutant::new("layers of no simulcast", &["WHIP-4.8-08"], Alter(|_, r| r.without(&["a=simulcast"]))).alone(),
];

const SENT_LAYERS: &[Mutant] = &[
    Mutant::new("passes on no layer", &["WHIP-4.8-05"], NO_PICTURE).alone(),
    Mutant::new(
        "stops with a layer",
        &["WHIP-4.8-06"],
        Wire(|p| if p.is_media() && p.age > Duration::from_secs(3) { Lose } else { Pass }),
    )
    .alone(),
    Mutant::new("asks for no key frame", &["WHIP-4.8-09"], NO_REQUESTS).alone(),
];

/// Loses what presenters send beyond sound.
const NO_PICTURE: super::How = Wire(|p| {
    let long = p.octets.len() > 400;
    if p.to_server && p.is_rtp() && long { Lose } else { Pass }
});

/// Loses what is said to presenters about their media.
const NO_REQUESTS: super::How = Wire(|p| if p.path == 0 && !p.to_server && p.is_rtcp() { Lose } else { Pass });

const OWN: &[Mutant] = &[
    Mutant::new("asks for nothing again", &["RTP-05"], NO_REQUESTS).alone(),
    Mutant::new(
        "ends viewers in silence",
        &["WHEP-4.3-02"],
        Wire(|p| {
            let told = p.dtls() == Some(21) || p.stun.as_ref().is_some_and(crate::stun::Message::is_error);
            if told && !p.to_server { Lose } else { Pass }
        }),
    )
    .alone(),
    Mutant::new(
        "no transport for viewers",
        &["WHEP-4.5.1-01"],
        Alter(|q, r| {
            if q.side == Some(Side::Whep) {
                r.without(&["a=ice-ufrag"]);
            }
        }),
    )
    .alone(),
    Mutant::new(
        "one video codec for ever",
        &["WHEP-4.2.8-05"],
        Wire(|p| if p.is_media() && !matches!(p.payload_type(), Some(96 | 111)) { Lose } else { Pass }),
    )
    .alone(),
    Mutant::new(
        "never has a presenter",
        &["WHEP-4.2.8-02"],
        Forge(|q| (q.is("POST") && q.side == Some(Side::Whep)).then(|| Reply::status(409))),
    )
    .alone(),
    Mutant::new("passes on no picture", &["RTP-01", "RTP-02", "RTP-07", "RTP-09", "SEC-12"], NO_PICTURE).alone(),
];
