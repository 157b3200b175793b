//! Clauses that have no mutant.

/// Why there is no mutant for a clause, or why the healthy server may break it.
pub(super) fn explained(id: &str) -> Option<&'static str> {
    EXPLAINED.iter().find(|(ids, _)| ids.contains(&id)).map(|(_, why)| *why)
}

/// Clauses that cannot have a mutant here.
const EXPLAINED: &[(&[&str], &str)] = &[
    (
        &["W-4.2-14", "WHIP-4.4.1-06", "ICE-07", "RTP-17", "CORS-09", "W-4.6-01", "WHEP-4.7-01", "WHEP-4.2.2-08"],
        "only recorded, never FAIL",
    ),
    (&["WHIP-4.8-01"], "only recorded, never FAIL: simulcast is a MAY"),
    (&["ICE-06", "W-4.3.3-05"], "only recorded on a server that is ICE lite"),
    (
        &[
            "RTP-10",
            "RTP-11",
            "RTP-12",
            "RTP-13",
            "ICE-14",
            "SEC-06",
            "WHEP-PLAY-06",
            "WHIP-4.8-10",
            "EVT-14",
            "W-4.7.1-05",
        ],
        "not tried, only said so",
    ),
    (&["SEC-01"], "plain HTTP is no fault on the same machine"),
    (&["SEC-03", "SEC-04"], "floods, which are sent only when asked for; the case `manners` shows both verdicts"),
    (&["W-4.7.1-04"], "the tokens of the healthy server are no JWTs, so there is nothing to forge"),
    (&["WHEP-4.2.2-03"], "the counter-offers of the healthy server say how long they are valid"),
    (&["EVT-10", "WHEP-4.2.8-03"], "the healthy server makes no session while nobody publishes"),
];
