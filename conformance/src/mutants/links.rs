//! Wrong servers, as far as it shows in where they send their clients: redirects, overload, ICE servers, extensions; and
//! servers that are older than RFC 9725.

use super::How::{Forge, Reply as Alter};
use super::proxy::{Ask, Reply};
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "redirects", when: When::Live, mutants: REDIRECTS },
    Group { name: "ICE servers", when: When::Live, mutants: ICE_SERVERS },
    Group { name: "extensions", when: When::Live, mutants: EXTENSIONS },
    Group { name: "older drafts", when: When::Live, mutants: OLDER },
];

const REDIRECTS: &[Mutant] = &[
    Mutant::new("302", &["W-4.5-02"], Forge(|q| q.is("POST").then(|| elsewhere(q, 302, "/somewhere")))).alone(),
    Mutant::new("307 to nowhere", &["W-4.5-03"], Forge(|q| q.is("POST").then(|| elsewhere(q, 307, "/nowhere"))))
        .alone(),
    Mutant::new(
        "307 and a relative Location",
        &["W-4.5-04"],
        Forge(|q| {
            let moved = format!("{}?moved", q.path);
            q.is("POST").then(|| elsewhere(q, 307, &moved)).or_else(|| {
                let made = || Reply { body: ANSWER.into(), ..Reply::status(201) };
                let mut made = q.path.ends_with("?moved").then(made)?;
                made.set("location", "/session/moved");
                Some(made)
            })
        }),
    )
    .alone(),
    Mutant::new(
        "sessions move",
        &["W-4.5-05"],
        Forge(|q| q.at_session("PATCH").then(|| elsewhere(q, 307, "/session/moved"))),
    ),
    Mutant::new("503 without Retry-After", &["W-4.5-06"], Forge(|q| q.is("POST").then(|| Reply::status(503)))),
    Mutant::new("429 without Retry-After", &["W-4.5-07"], Forge(|q| q.is("POST").then(|| Reply::status(429)))),
];

/// A redirect to another path of the same server.
fn elsewhere(ask: &Ask, status: u16, path: &str) -> Reply {
    let mut reply = Reply::status(status);
    reply.set("location", &format!("http://{}{path}", ask.header("host").unwrap_or_default()));
    reply
}

const ICE_SERVERS: &[Mutant] = &[
    Mutant::new("STUN with slashes", &["W-4.6-02"], Alter(|_, r| link(r, "<stun://a.example>; rel=\"ice-server\"")))
        .alone(),
    Mutant::new(
        "TURN without credentials",
        &["W-4.6-03"],
        Alter(|_, r| link(r, "<turn:a.example>; rel=\"ice-server\"")),
    )
    .alone(),
    Mutant::new(
        "credentials by OAuth",
        &["W-4.6-04"],
        Alter(|_, r| link(r, "<stun:a.example>; rel=\"ice-server\"; credential-type=\"oauth\"")),
    )
    .alone(),
    Mutant::new(
        "two servers in one field",
        &["W-4.6-05"],
        Alter(|_, r| link(r, "<stun:a.example>; rel=\"ice-server\", <stun:b.example>; rel=\"ice-server\"")),
    )
    .alone(),
    Mutant::new("one TURN user for all", &["W-4.6-06"], Alter(|_, r| link(r, TURN))).alone(),
    Mutant::new(
        "TURN for strangers",
        &["W-4.6-07"],
        Alter(|_, r| {
            if r.status == 401 {
                r.add("link", TURN);
            }
        }),
    )
    .alone(),
];

/// A TURN server with its credentials.
const TURN: &str = "<turn:a.example>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"";

/// Adds a Link to a 201.
fn link(reply: &mut Reply, value: &str) {
    if reply.is_created() {
        reply.add("link", value);
    }
}

const EXTENSIONS: &[Mutant] = &[
    Mutant::new(
        "an extension with two URLs",
        &["W-4.9-01"],
        Alter(|_, r| link(r, "</x>; rel=\"urn:ietf:params:whep:ext:core:layer\"")),
    ),
    Mutant::new("an extension without a name", &["W-4.9-02"], Alter(|_, r| link(r, "</x>; rel=\"urn:example:x\"")))
        .alone(),
    Mutant::new(
        "nothing works without extensions",
        &["W-4.9-03"],
        Forge(|q| q.at_session("GET").then(|| Reply::status(404))),
    ),
    Mutant::new("a Link without brackets", &["W-4.9-04"], Alter(|_, r| link(r, "/x; rel=\"urn:example:x\""))),
    Mutant::new(
        "extensions for no page",
        &["W-4.9-05"],
        Alter(|q, r| {
            if q.is_preflight() && q.is_about_events() {
                r.drop("access-control-allow-origin");
            }
        }),
    ),
    Mutant::new(
        "an open server that reads tokens",
        &["W-4.7-07"],
        Forge(|q| (q.is("POST") && q.header("authorization").is_none()).then(|| Reply::status(201))),
    )
    .alone(),
    Mutant::new(
        "echoes what the URL says",
        &["W-4.7.1-03"],
        Alter(|q, r| {
            if q.path.contains("token=") {
                r.set("x-path", &q.path);
            }
        }),
    )
    .alone(),
];

const OLDER: &[Mutant] = &[
    Mutant::new(
        "offers itself when nothing is offered",
        &["LEG-01"],
        Forge(|q| (q.is("POST") && q.body.is_empty()).then(|| Reply { body: OFFER.into(), ..Reply::status(201) })),
    ),
    Mutant::new("405 for GET", &["LEG-02"], Forge(|q| q.is("GET").then(|| Reply::status(405)))),
    Mutant::new("406 without an offer", &["LEG-03"], Forge(|q| q.text().contains(" FOO/").then(|| Reply::status(406)))),
    Mutant::new("501 for a restart", &["LEG-04"], Forge(|q| q.at_session("PATCH").then(|| Reply::status(501)))),
    Mutant::new(
        "E-Tag",
        &["LEG-05"],
        Alter(|_, r| {
            if r.is_created() {
                r.set("e-tag", "1");
            }
        }),
    ),
    Mutant::new(
        "actions in the URL",
        &["LEG-06"],
        Alter(|_, r| r.edit("location", |location| format!("{location}?action=x"))),
    )
    .alone(),
    Mutant::new(
        "mutes by POST",
        &["LEG-07"],
        Forge(|q| (q.at_session("POST") && q.text().contains("\"video\"")).then(|| Reply::status(200))),
    ),
];

/// One section, as a server that answers.
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
/// One section, as a server that offers.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=setup:actpass\r\na=group:BUNDLE 0\r\n\
                     m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
