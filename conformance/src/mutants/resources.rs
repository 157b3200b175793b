//! Wrong servers, as far as HTTP shows it: methods, sessions, CORS, tokens.

use std::time::Duration;

use super::How::{Ask, Forge, Reply as Alter};
use super::proxy::Reply;
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "endpoint", when: When::Live, mutants: ENDPOINT },
    Group { name: "session", when: When::Live, mutants: SESSION },
    Group { name: "lasting", when: When::Live, mutants: LASTING },
    Group { name: "cors", when: When::Live, mutants: CORS },
    Group { name: "tokens", when: When::Live, mutants: TOKENS },
    Group { name: "idle", when: When::Idle, mutants: IDLE },
];

const ENDPOINT: &[Mutant] = &[
    Mutant::new(
        "page at the endpoint",
        &["W-4.1-01", "W-4.1-03"],
        Alter(|q, r| {
            if q.is("GET") {
                r.status = 200;
                r.body = b"<html>hello</html>".to_vec();
            }
        }),
    ),
    Mutant::new(
        "GET refused at the endpoint",
        &["W-4.1-01", "W-4.1-03"],
        Alter(|q, r| {
            if q.is("GET") {
                r.status = 405;
            }
        }),
    ),
    Mutant::new(
        "status text at the session",
        &["W-4.1-02", "W-4.1-03"],
        Alter(|q, r| {
            if q.at_session("GET") {
                r.status = 200;
                r.body = b"{}".to_vec();
            }
        }),
    ),
    Mutant::new(
        "HEAD unknown at the session",
        &["W-4.1-03"],
        Alter(|q, r| {
            if q.at_session("HEAD") {
                r.status = 404;
            }
        }),
    ),
    Mutant::new(
        "HEAD names no media type",
        &["WHEP-H4.2-01"],
        Alter(|q, r| {
            if q.is("HEAD") || q.is("GET") {
                r.drop("content-type");
            }
        }),
    ),
    Mutant::new(
        "405 without Allow",
        &["W-4.1-04"],
        Alter(|_, r| {
            if r.status == 405 {
                r.drop("allow");
            }
        }),
    ),
    Mutant::new(
        "Allow names what was refused",
        &["W-4.1-04"],
        Alter(|q, r| {
            if r.status == 405 {
                r.set("allow", &q.method);
            }
        }),
    ),
    Mutant::new("PUT does something", &["W-4.1-05"], Forge(|q| q.is("PUT").then(|| Reply::status(200)))),
    Mutant::new(
        "problem with another status",
        &["W-4.1-06"],
        Alter(|q, r| {
            if q.is("POST") && r.status >= 400 {
                r.set("content-type", "application/problem+json");
                r.body = br#"{"status":299}"#.to_vec();
            }
        }),
    ),
    Mutant::new(
        "500 for octets that are no text",
        &["W-4.1-07"],
        Alter(|q, r| {
            if q.body.first() == Some(&0xFF) {
                r.status = 500;
            }
        }),
    ),
    Mutant::new(
        "500 for chunked bodies",
        &["W-4.1-08"],
        Forge(|q| q.header("transfer-encoding").map(|_| Reply::status(500))),
    ),
    Mutant::new(
        "any media type will do",
        &["W-4.2-07"],
        Ask(|q| {
            if q.is("POST") {
                q.set("content-type", "application/sdp");
            }
        }),
    ),
    Mutant::new(
        "media type compared as text",
        &["W-4.2-08"],
        Forge(|q| {
            let odd = q.is("POST") && q.header("content-type").is_some_and(|t| t != "application/sdp");
            odd.then(|| Reply::status(415))
        }),
    ),
    Mutant::new("hello is an offer", &["W-4.2-09"], Forge(|q| (q.body == b"hello").then(|| Reply::status(201)))),
    Mutant::new(
        "nothing is an offer",
        &["W-4.2-10"],
        Forge(|q| (q.is("POST") && q.body.is_empty()).then(|| Reply::status(201))),
    ),
    Mutant::new("reads a mebibyte", &["W-4.2-11"], Forge(|q| (q.body.len() > 500_000).then(|| Reply::status(201)))),
    Mutant::new(
        "500 for unknown paths",
        &["W-4.2-23"],
        Alter(|q, r| {
            if q.path.ends_with("-nope/x") {
                r.status = 500;
            }
        }),
    ),
    Mutant::new(
        "302 for a trailing slash",
        &["W-4.5-01"],
        Forge(|q| (q.method == "POST" && q.path.ends_with('/')).then(|| Reply::status(302))),
    ),
];

const SESSION: &[Mutant] = &[
    Mutant::new(
        "200 instead of 201",
        &["W-4.2-01"],
        Alter(|q, r| {
            if q.is("POST") && r.is_created() {
                r.status = 200;
            }
        }),
    ),
    Mutant::new(
        "answer as text/plain",
        &["W-4.2-02"],
        Alter(|_, r| {
            if r.is_created() {
                r.set("content-type", "text/plain");
            }
        }),
    ),
    Mutant::new(
        "page instead of an answer",
        &["W-4.2-03"],
        Alter(|_, r| {
            if r.is_created() {
                r.body = b"<html></html>".to_vec();
            }
        }),
    ),
    Mutant::new("no Location", &["W-4.2-04"], Alter(|_, r| r.drop("location"))),
    Mutant::new(
        "Location of a session that is not there",
        &["W-4.2-04"],
        Alter(|_, r| {
            r.edit("location", |v| format!("{v}x"));
        }),
    )
    .alone(),
    Mutant::new("Location with a query", &["W-4.2-05"], Alter(|_, r| r.edit("location", |v| format!("{v}?a=1"))))
        .alone(),
    Mutant::new(
        "one Location for all",
        &["W-4.2-06"],
        Alter(|_, r| {
            if r.is_created() {
                r.set("location", "/session/1");
            }
        }),
    )
    .alone(),
    Mutant::new("weak ETag", &["W-4.2-12"], Alter(|_, r| r.edit("etag", |v| format!("W/{v}")))),
    Mutant::new("one ETag for all", &["W-4.2-13"], Alter(|_, r| r.edit("etag", |_| "\"1\"".into()))),
    Mutant::new(
        "204 for DELETE",
        &["W-4.2-15"],
        Alter(|q, r| {
            if q.at_session("DELETE") && !q.ended {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "DELETE that ends nothing",
        &["W-4.2-15", "W-4.2-17"],
        Forge(|q| q.at_session("DELETE").then(|| Reply::status(200))),
    ),
    Mutant::new(
        "DELETE refused",
        &["W-4.2-04", "W-4.2-15", "W-4.2-18", "W-4.2-19", "W-4.2-20", "WHEP-4.3-01"],
        Forge(|q| (q.at_session("DELETE") && !q.ended).then(|| Reply::status(500))),
    ),
    Mutant::new(
        "204 for what is gone",
        &["W-4.2-17"],
        Alter(|q, r| {
            if q.at_session("DELETE") && q.ended {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "DELETE with preconditions",
        &["W-4.2-18"],
        Forge(|q| (q.at_session("DELETE") && q.header("if-match").is_some()).then(|| Reply::status(412))),
    ),
    Mutant::new(
        "DELETE takes no body",
        &["W-4.2-19"],
        Forge(|q| (q.at_session("DELETE") && !q.body.is_empty()).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "renegotiates",
        &["W-4.2-20"],
        Forge(|q| {
            let sdp = q.header("content-type") == Some("application/sdp");
            (sdp && (q.at_session("PATCH") || q.at_session("POST"))).then(|| Reply::status(200))
        }),
    ),
    Mutant::new(
        "slow to answer",
        &["W-4.2-21"],
        Alter(|q, r| {
            if q.is("POST") {
                r.delay = Duration::from_millis(1100);
            }
        }),
    )
    .alone(),
];

const LASTING: &[Mutant] = &[Mutant::new(
    "forgets sessions at once",
    &["W-4.2-22"],
    Alter(|q, r| {
        if q.at_session("GET") && q.times > 0 {
            r.status = 404;
        }
    }),
)];

const CORS: &[Mutant] = &[
    Mutant::new(
        "no Allow-Origin for preflights",
        &["W-4.2-40"],
        Alter(|q, r| {
            if q.is_preflight() {
                r.drop("access-control-allow-origin");
            }
        }),
    ),
    Mutant::new("no Accept-Post", &["W-4.2-41"], Alter(|_, r| r.drop("accept-post"))),
    Mutant::new(
        "preflight of DELETE needs a token",
        &["CORS-01"],
        Alter(|q, r| {
            if q.header("access-control-request-method") == Some("DELETE") {
                r.status = 401;
            }
        }),
    ),
    Mutant::new(
        "star for Authorization",
        &["CORS-02"],
        Alter(|_, r| {
            r.edit("access-control-allow-headers", |_| "*".into());
        }),
    ),
    Mutant::new(
        "POST only",
        &["CORS-03", "W-OPT-02"],
        Alter(|_, r| {
            r.edit("access-control-allow-methods", |_| "POST".into());
        }),
    ),
    Mutant::new(
        "hides the headers of a 201",
        &["CORS-04"],
        Alter(|_, r| {
            if r.is_created() {
                r.drop("access-control-expose-headers");
            }
        }),
    ),
    Mutant::new(
        "errors without CORS",
        &["CORS-05"],
        Alter(|_, r| {
            if r.status >= 400 {
                r.drop("access-control-allow-origin");
            }
        }),
    ),
    Mutant::new(
        "star with credentials",
        &["CORS-06"],
        Alter(|_, r| {
            r.set("access-control-allow-origin", "*");
            r.set("access-control-allow-credentials", "true");
        }),
    ),
    Mutant::new(
        "echoes the origin without Vary",
        &["CORS-06"],
        Alter(|q, r| {
            r.drop("vary");
            r.set("access-control-allow-origin", q.header("origin").unwrap_or("*"));
        }),
    ),
    Mutant::new("no Max-Age", &["CORS-08"], Alter(|_, r| r.drop("access-control-max-age"))),
    Mutant::new(
        "ICE servers on preflights",
        &["W-4.6-20"],
        Alter(|q, r| {
            if q.is_preflight() {
                r.set("link", ICE_SERVER);
            }
        }),
    ),
    Mutant::new(
        "ICE servers for strangers",
        &["W-4.6-21"],
        Alter(|q, r| {
            if q.is("OPTIONS") && !q.is_preflight() {
                r.set("link", ICE_SERVER);
            }
        }),
    ),
    Mutant::new("no Accept-Patch", &["W-OPT-01"], Alter(|_, r| r.drop("accept-patch"))),
    Mutant::new(
        "OPTIONS without methods",
        &["W-OPT-02"],
        Alter(|q, r| {
            if q.is("OPTIONS") && !q.is_preflight() {
                r.drop("access-control-allow-methods");
            }
        }),
    ),
    Mutant::new(
        "no preflight for what is gone",
        &["W-OPT-03"],
        Alter(|q, r| {
            if q.at_session("OPTIONS") && q.ended {
                r.status = 404;
            }
        }),
    ),
    Mutant::new(
        "hides the ETag of a restart",
        &["CORS-07"],
        Alter(|q, r| {
            if q.at_session("PATCH") {
                r.drop("access-control-expose-headers");
            }
        }),
    ),
];

/// A Link that carries what strangers must not see.
const ICE_SERVER: &str = "<turn:turn.example:3478?transport=udp>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"";

const TOKENS: &[Mutant] = &[
    Mutant::new("refuses good tokens", &["W-4.7-01"], Forge(|q| q.is("POST").then(|| Reply::status(401)))).alone(),
    Mutant::new("no challenge", &["W-4.7-02", "W-4.7-03"], Alter(|_, r| r.drop("www-authenticate"))),
    Mutant::new(
        "error code without a token",
        &["W-4.7-02"],
        Alter(|q, r| {
            if q.header("authorization").is_none() {
                r.edit("www-authenticate", |_| "Bearer error=\"invalid_token\"".into());
            }
        }),
    ),
    Mutant::new(
        "no error code for a wrong token",
        &["W-4.7-03"],
        Alter(|_, r| {
            r.edit("www-authenticate", |_| "Bearer realm=\"x\"".into());
        }),
    ),
    Mutant::new(
        "takes what follows the token",
        &["W-4.7-05"],
        Ask(|q| {
            let words: Vec<String> =
                q.header("authorization").unwrap_or_default().split(' ').map(str::to_owned).collect();
            if let [scheme, token, _] = words.as_slice() {
                q.set("authorization", &format!("{scheme} {token}"));
            }
        }),
    ),
    Mutant::new(
        "Bearer in this spelling only",
        &["W-4.7-06"],
        Forge(|q| {
            let spelled = q.header("authorization").is_none_or(|v| v.starts_with("Bearer"));
            (!spelled).then(|| Reply::status(401))
        }),
    ),
    Mutant::new(
        "anybody may end a session",
        &["W-4.7.1-01"],
        Forge(|q| {
            let wrong = q.header("authorization").is_some_and(|v| v.contains("not-the-token"));
            (wrong && q.at_session("DELETE")).then(|| Reply::status(200))
        }),
    ),
    Mutant::new(
        "reads the body before the token",
        &["W-4.7.1-02"],
        Forge(|q| (q.is("POST") && !q.body.starts_with(b"v=0")).then(|| Reply::status(400))),
    ),
];

const IDLE: &[Mutant] = &[
    Mutant::new("no Retry-After", &["WHEP-4.2.8-01", "W-4.5-08"], Alter(|_, r| r.drop("retry-after"))),
    Mutant::new("Retry-After in words", &["W-4.5-08"], Alter(|_, r| r.edit("retry-after", |_| "soon".into()))),
    Mutant::new(
        "500 while idle",
        &["WHEP-4.2.8-01"],
        Alter(|_, r| {
            if r.status == 409 {
                r.status = 500;
            }
        }),
    ),
];
