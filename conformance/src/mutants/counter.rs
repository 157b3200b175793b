//! Wrong servers, as far as counter-offers show it. The healthy server must make them.

use super::How::{Forge, Reply as Alter};
use super::proxy::Reply;
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[Group { name: "counter-offers", when: When::Live, mutants: COUNTER_OFFERS }];

const COUNTER_OFFERS: &[Mutant] = &[
    Mutant::new(
        "counter-offer without Location",
        &["WHEP-4.2.2-01"],
        Alter(|_, r| on_offer(r, |r| r.drop("location"))),
    )
    .alone(),
    Mutant::new(
        "valid-until without quotes",
        &["WHEP-4.2.2-02"],
        Alter(|_, r| on_offer(r, |r| r.edit("content-type", |value| value.replace('"', "")))),
    ),
    Mutant::new(
        "200 for an answer",
        &["WHEP-4.2.2-04", "WHEP-4.2.2-05"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 204 {
                r.status = 200;
            }
        }),
    ),
    Mutant::new(
        "takes an answer that is none",
        &["WHEP-4.2.2-05"],
        Forge(|q| (q.at_session("PATCH") && q.text().ends_with("hello")).then(|| Reply::status(204))),
    ),
    Mutant::new(
        "offers to receive",
        &["WHEP-4.2.2-06"],
        Alter(|_, r| on_offer(r, |r| r.rewrite(|sdp| sdp.replace("a=sendonly", "a=recvonly")))),
    )
    .alone(),
    Mutant::new(
        "offers to be passive",
        &["WHEP-4.2.2-07"],
        Alter(|_, r| on_offer(r, |r| r.rewrite(|sdp| sdp.replace("a=setup:actpass", "a=setup:passive")))),
    )
    .alone(),
    Mutant::new(
        "204 for what is cancelled",
        &["WHEP-4.2.2-09"],
        Alter(|q, r| {
            if q.at_session("DELETE") {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "takes two answers",
        &["WHEP-4.2.2-10"],
        Alter(|q, r| {
            if q.at_session("PATCH") && q.times > 0 && !q.ended && r.status >= 400 {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "406 for everybody",
        &["WHEP-4.2.2-11"],
        Forge(|q| (q.is("POST") && q.text().contains("VP8")).then(|| Reply::status(406))),
    )
    .alone(),
];

/// Alters counter-offers only.
fn on_offer(reply: &mut Reply, change: impl Fn(&mut Reply)) {
    if reply.status == 406 {
        change(reply);
    }
}
