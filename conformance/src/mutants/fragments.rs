//! Wrong servers, as far as PATCH shows it: trickled candidates and ICE restarts.

use super::How::{Ask, Forge, Reply as Alter};
use super::proxy::Reply;
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "trickle", when: When::Live, mutants: TRICKLE },
    Group { name: "restart", when: When::Live, mutants: RESTART },
];

const TRICKLE: &[Mutant] = &[
    Mutant::new(
        "no restart",
        &["W-4.3.1-01"],
        Forge(|q| (q.at_session("PATCH") && q.header("if-match") == Some("*")).then(|| Reply::status(422))),
    )
    .alone(),
    Mutant::new(
        "any media type for fragments",
        &["W-4.3.1-02", "W-4.3.1-09"],
        Ask(|q| {
            if q.at_session("PATCH") {
                q.set("content-type", FRAGMENT);
            }
        }),
    ),
    Mutant::new(
        "takes garbage",
        &["W-4.3.1-03"],
        Forge(|q| (q.at_session("PATCH") && q.text().contains("garbage")).then(|| Reply::status(204))),
    ),
    Mutant::new(
        "500 without If-Match",
        &["W-4.3.1-06"],
        Forge(|q| {
            (q.at_session("PATCH") && q.header("if-match").is_none() && q.header("content-type") == Some(FRAGMENT))
                .then(|| Reply::status(500))
        }),
    ),
    Mutant::new(
        "takes an invented tag",
        &["W-4.3.1-07"],
        Alter(|q, r| {
            if q.header("if-match") == Some("\"nope\"") && r.status == 412 {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "compares weakly",
        &["W-4.3.1-08"],
        Ask(|q| {
            if let Some(strong) = q.header("if-match").and_then(|tag| tag.strip_prefix("W/")).map(str::to_owned) {
                q.set("if-match", &strong);
            }
        }),
    ),
    Mutant::new(
        "preconditions come first",
        &["W-4.3.1-09"],
        Forge(|q| (q.at_session("PATCH") && q.header("if-match") == Some("\"nope\"")).then(|| Reply::status(412))),
    ),
    Mutant::new(
        "takes the tag of the old ICE session",
        &["W-4.3.1-10"],
        Alter(|q, r| {
            let old = q.header("if-match").is_some_and(|tag| !tag.contains("nope") && !tag.starts_with("W/"));
            if old && r.status == 412 {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "PATCH of what is gone",
        &["W-4.3.1-11"],
        Forge(|q| (q.at_session("PATCH") && q.ended && q.header("if-match") == Some("*")).then(|| Reply::status(204))),
    ),
    Mutant::new(
        "ETag on a 204",
        &["W-4.3.2-01", "W-4.3.2-02", "W-4.3.2-06", "W-4.3.2-07", "W-4.3.2-09"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 204 {
                r.set("etag", "\"1\"");
            }
        }),
    ),
    Mutant::new("no mDNS names", &["W-4.3.2-02"], Forge(|q| q.text().contains(".local").then(|| Reply::status(400)))),
    Mutant::new(
        "credentials in one place only",
        &["W-4.3.2-03"],
        Forge(|q| (q.at_session("PATCH") && q.body.starts_with(b"m=")).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "500 for an unknown mid",
        &["W-4.3.2-05"],
        Alter(|q, r| {
            if q.text().contains("a=mid:99") {
                r.status = 500;
            }
        }),
    ),
    Mutant::new(
        "no end of candidates",
        &["W-4.3.2-06"],
        Forge(|q| (q.at_session("PATCH") && q.text().contains("end-of-candidates")).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "a candidate only once",
        &["W-4.3.2-07"],
        Forge(|q| (q.at_session("PATCH") && q.times > 0).then(|| Reply::status(400))),
    )
    .alone(),
    Mutant::new(
        "star is for restarts only",
        &["W-4.3.2-09"],
        Alter(|q, r| {
            if q.at_session("PATCH") && q.header("if-match") == Some("*") && r.status == 204 {
                r.status = 412;
            }
        }),
    ),
];

const RESTART: &[Mutant] = &[
    Mutant::new(
        "restart without candidates in the answer",
        &["W-4.3.3-01"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 200 {
                r.rewrite(|text| text.split_inclusive('\n').filter(|l| !l.starts_with("a=candidate")).collect());
            }
        }),
    ),
    Mutant::new(
        "restart keeps no ETag",
        &["W-4.3.3-02"],
        Alter(|q, r| {
            if q.at_session("PATCH") {
                r.drop("etag");
            }
        }),
    ),
    Mutant::new(
        "restart without new credentials",
        &["W-4.3.3-01", "W-4.3.3-04"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 200 {
                r.rewrite(|text| text.replace("a=ice-ufrag:", "a=x-ufrag:"));
            }
        }),
    ),
    Mutant::new(
        "restart with a short password",
        &["W-4.3.3-07"],
        Forge(|q| q.text().contains("a=ice-pwd:short").then(|| Reply::status(200))),
    ),
    Mutant::new(
        "quoted star is a tag",
        &["W-4.3.3-08"],
        Forge(|q| (q.header("if-match") == Some("\"*\"")).then(|| Reply::status(412))),
    ),
    Mutant::new(
        "restart needs candidates",
        &["W-4.3.3-10"],
        Forge(|q| (q.at_session("PATCH") && !q.text().contains("a=candidate")).then(|| Reply::status(400))),
    ),
];

/// The media type of fragments.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
