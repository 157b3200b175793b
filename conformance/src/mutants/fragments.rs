//! Wrong servers, as far as PATCH shows it: trickled candidates and ICE restarts.

use super::How::{Ask, Forge, Reply as Alter};
use super::proxy::Reply;
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "trickle", when: When::Live, mutants: TRICKLE },
    Group { name: "restart", when: When::Live, mutants: RESTART },
    Group { name: "other fragments", when: When::Live, mutants: OTHERS },
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

const OTHERS: &[Mutant] = &[
    Mutant::new(
        "400 for restarts",
        &["W-4.3.1-04"],
        Forge(|q| (q.at_session("PATCH") && q.header("if-match") == Some("*")).then(|| Reply::status(400))),
    )
    .alone(),
    Mutant::new("405 without Allow", &["W-4.3.1-05"], Forge(|q| q.at_session("PATCH").then(|| Reply::status(405))))
        .alone(),
    Mutant::new(
        "one section only",
        &["W-4.3.2-04"],
        Forge(|q| (q.at_session("PATCH") && q.text().matches("m=").count() > 1).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "200 for trickle",
        &["W-4.3.2-04", "W-4.3.2-08"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 204 {
                r.status = 200;
            }
        }),
    )
    .alone(),
    Mutant::new(
        "500 for a new password",
        &["W-4.3.2-10"],
        Forge(|q| (q.at_session("PATCH") && q.header("if-match") == Some("*")).then(|| Reply::status(500))),
    )
    .alone(),
    Mutant::new(
        "restart without ice-options",
        &["W-4.3.3-03"],
        Alter(|q, r| {
            if q.at_session("PATCH") {
                r.rewrite(|text| text.split_inclusive('\n').filter(|l| !l.starts_with("a=ice-options")).collect());
            }
        }),
    ),
    Mutant::new(
        "500 for a second restart",
        &["W-4.3.3-09", "W-4.3.3-11"],
        Forge(|q| {
            let again = q.at_session("PATCH") && q.times > 0 && q.header("if-match") != Some("*");
            again.then(|| Reply::status(500))
        }),
    )
    .alone(),
    Mutant::new(
        "restart in bare line feeds",
        &["W-4.3.3-12"],
        Alter(|q, r| {
            if q.at_session("PATCH") {
                r.rewrite(|text| text.replace("\r\n", "\n"));
            }
        }),
    ),
    Mutant::new(
        "a port for each restart",
        &["SEC-05"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 200 {
                let port = 40_000 + q.times;
                let line = |line: &str| {
                    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
                    if let Some(word) = words.get_mut(5).filter(|_| line.starts_with("a=candidate")) {
                        *word = port.to_string();
                    }
                    words.join(" ")
                };
                r.rewrite(|text| text.split_inclusive('\n').map(line).collect());
            }
        }),
    ),
];

/// The media type of fragments.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
