//! Wrong servers, as far as viewers' extensions show it: server-sent events, layer selection, and what takes half a minute.

use super::How::{Ask, Events, Forge, Reply as Alter, Wire};
use super::proxy::Reply;
use super::relay::Fate::{Linger, Lose, Pass};
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "event streams", when: When::Live, mutants: STREAMS },
    Group { name: "events", when: When::Live, mutants: NEWS },
    Group { name: "choice of layers", when: When::Live, mutants: CHOICE },
    Group { name: "layers on the wire", when: When::Own, mutants: LAYERS },
    Group { name: "keep-alive", when: When::Waiting, mutants: KEEP_ALIVE },
    Group { name: "silent viewer", when: When::Waiting, mutants: SILENT },
    Group { name: "expiry", when: When::Waiting, mutants: EXPIRY },
    Group { name: "revival", when: When::Waiting, mutants: REVIVAL },
    Group { name: "restart and silence", when: When::Waiting, mutants: RESTARTED },
];

const STREAMS: &[Mutant] = &[
    Mutant::new(
        "promises an invented event",
        &["EVT-01"],
        Alter(|_, r| r.edit("link", |link| link.replace("events=\"", "events=\"nope,"))),
    ),
    Mutant::new(
        "200 for an event stream",
        &["EVT-02"],
        Alter(|q, r| {
            if q.is_about_events() && r.is_created() {
                r.status = 200;
            }
        }),
    ),
    Mutant::new(
        "takes unknown events",
        &["EVT-03"],
        Ask(|q| {
            if q.is_about_events() {
                q.body = q.text().replace("nope", "active").into_bytes();
            }
        }),
    ),
    Mutant::new(
        "any JSON will do",
        &["EVT-04"],
        Forge(|q| (q.is_about_events() && q.body.starts_with(b"{")).then(|| Reply::status(201))),
    ),
    Mutant::new("events may be cached", &["EVT-05"], Alter(|_, r| r.drop("cache-control"))),
    Mutant::new(
        "events need a token",
        &["EVT-06"],
        Forge(|q| {
            let bare = q.method == "GET" && q.is_about_events() && q.header("authorization").is_none();
            bare.then(|| Reply::status(401))
        }),
    )
    .alone(),
    Mutant::new(
        "event streams cannot be dropped",
        &["EVT-15"],
        Forge(|q| (q.method == "DELETE" && q.is_about_events()).then(|| Reply::status(200))),
    ),
    Mutant::new(
        "events outlive their session",
        &["EVT-16"],
        Forge(|q| (q.at_session("DELETE") && !q.is_about_events()).then(|| Reply::status(200))),
    ),
    Mutant::new(
        "no events at the advertised URL",
        &["EVT-18"],
        Forge(|q| (q.method == "GET" && q.path.ends_with("/events")).then(|| Reply::status(404))),
    ),
];

const NEWS: &[Mutant] = &[
    Mutant::new("data that is no JSON", &["EVT-07"], Events(|block| Some(block.replace("data: ", "data: ~")))).alone(),
    Mutant::new(
        "all events whatever is asked",
        &["EVT-08"],
        Ask(|q| {
            if q.is_about_events() {
                q.body = b"[\"active\",\"viewercount\"]".to_vec();
            }
        }),
    )
    .alone(),
    Mutant::new(
        "does not tell that somebody presents",
        &["EVT-09"],
        Events(|block| (!block.contains("event: active")).then(|| block.to_owned())),
    )
    .alone(),
    Mutant::new(
        "counts no viewers",
        &["EVT-13"],
        Events(|block| Some(block.replace("\"viewercount\":", "\"count\":"))),
    )
    .alone(),
];

const CHOICE: &[Mutant] = &[
    Mutant::new(
        "layers without their event",
        &["LAY-01"],
        Alter(|_, r| r.edit("link", |link| link.replace("layers,", "").replace(",layers\"", "\""))),
    ),
    Mutant::new(
        "500 for a width",
        &["LAY-03"],
        Forge(|q| (q.at_layer("POST") && q.text().contains("maxWidth")).then(|| Reply::status(500))),
    ),
    Mutant::new(
        "no way back to automatic",
        &["LAY-04"],
        Forge(|q| (q.at_layer("POST") && q.body == b"{}").then(|| Reply::status(400))),
    ),
    Mutant::new("405 for DELETE of a choice", &["LAY-05"], Forge(|q| q.at_layer("DELETE").then(|| Reply::status(405)))),
    Mutant::new(
        "takes any layer",
        &["LAY-06"],
        Forge(|q| (q.at_layer("POST") && q.text().contains("nope")).then(|| Reply::status(200))),
    ),
];

/// What presenters tell about themselves by going away is kept from viewers.
const NO_INACTIVE: super::How = Events(|block| (!block.contains("event: inactive")).then(|| block.to_owned()));

const LAYERS: &[Mutant] = &[
    Mutant::new("does not tell that nobody presents", &["EVT-11", "WHEP-4.2.8-04"], NO_INACTIVE).alone(),
    Mutant::new(
        "layers as old drafts have them",
        &["EVT-12", "LEG-08"],
        Events(|block| Some(block.replace("\"rid\":", "\"encodingId\":"))),
    )
    .alone(),
    Mutant::new("choices change nothing", &["LAY-02"], Forge(|q| q.at_layer("POST").then(|| Reply::status(200))))
        .alone(),
    Mutant::new(
        "layers never stop",
        &["LAY-07"],
        Events(|block| Some(block.replace("\"rid\":", "\"bitrate\":9,\"rid\":"))),
    )
    .alone(),
    Mutant::new(
        "gaps over switches",
        &["LAY-08"],
        Wire(|p| {
            let lost = p.is_media() && p.sequence().is_some_and(|number| number % 16 == 0);
            if lost || (p.path > 0 && p.to_server && p.is_rtcp()) { Lose } else { Pass }
        }),
    )
    .alone(),
];

const KEEP_ALIVE: &[Mutant] = &[Mutant::new(
    "event streams fall silent",
    &["EVT-17"],
    Events(|block| (!block.starts_with(':')).then(|| block.to_owned())),
)];

const SILENT: &[Mutant] = &[Mutant::new(
    "media for whoever fell silent",
    &["ICE-08"],
    Wire(|p| if p.is_media() && (40..43).contains(&p.number) { Linger } else { Pass }),
)];

/// Tells that a session is gone while it is not.
const FORGETS: super::How = Alter(|q, r| {
    if q.at_session("GET") && q.times > 0 {
        r.status = 404;
    }
});

const EXPIRY: &[Mutant] = &[Mutant::new("forgets sessions at once", &["ICE-09"], FORGETS)];

const REVIVAL: &[Mutant] = &[Mutant::new("media for a session that is gone", &["ICE-10"], FORGETS)];

const RESTARTED: &[Mutant] = &[Mutant::new("forgets sessions at once", &["W-4.3.3-13"], FORGETS)];
