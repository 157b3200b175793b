//! A strict reader of answers, which knows nothing of the code that wrote them.
//!
//! It needs only the two texts, so that tests of the whole server can use it too.

mod section;

use std::collections::BTreeSet;

use section::{candidates, extensions, formats, layers, sources};

/// Whose offer was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// Sends to the server.
    Presenter,
    /// Receives from the server.
    Viewer,
}

/// Everything that is wrong with an answer; empty when it is good.
pub(crate) fn faults(offer: &str, answer: &str, party: Party) -> Vec<String> {
    let mut faults = Faults::default();
    faults.unless(answer.len() < 8192, || format!("{} bytes", answer.len()));
    faults.unless(answer.ends_with("\r\n"), || "no CRLF at the end".into());
    faults.unless(!answer.replace("\r\n", "").contains(['\r', '\n']), || "bare CR or LF".into());
    let (offer, answer) = (Sdp::read(offer), Sdp::read(answer));
    header(&mut faults, &offer, &answer);
    faults.unless(offer.media.len() == answer.media.len(), || {
        format!("{} sections for {}", answer.media.len(), offer.media.len())
    });
    let group = bundle(&offer, &answer, &mut faults);
    let accepted: Vec<(&Section, &Section)> =
        offer.media.iter().zip(&answer.media).filter(|(_, section)| section.port() != "0").collect();
    faults.unless(!accepted.is_empty(), || "nothing is accepted".into());
    for (offered, section) in offer.media.iter().zip(&answer.media) {
        same_section(&mut faults, offered, section);
        if section.port() == "0" {
            faults.unless(section.one("candidate").is_none(), || "candidates in a rejected section".into());
            continue;
        }
        transport(&mut faults, &offer, &answer, section);
        directions(&mut faults, &offer, offered, section, party);
        formats(&mut faults, offered, section);
        extensions(&mut faults, &offer, offered, section);
        match party {
            Party::Presenter => layers(&mut faults, offered, section),
            Party::Viewer => sources(&mut faults, section),
        }
        let tagged = group.first().is_none_or(|mid| section.one("mid") == Some(mid));
        candidates(&mut faults, section, tagged);
    }
    for kind in ["audio", "video"] {
        let count = accepted.iter().filter(|(_, section)| section.word(0) == kind).count();
        faults.unless(count <= 1, || format!("{count} {kind} sections"));
    }
    let types: Vec<&str> = accepted.iter().flat_map(|(_, section)| section.types()).collect();
    let distinct: BTreeSet<&str> = types.iter().copied().collect();
    faults.unless(types.len() == distinct.len(), || format!("a payload type twice: {types:?}"));
    let streams: BTreeSet<Option<&str>> =
        accepted.iter().map(|(_, section)| section.one("msid").and_then(|msid| msid.split(' ').next())).collect();
    faults.unless(streams.len() <= 1, || format!("streams {streams:?}"));
    faults.found
}

/// The findings so far.
#[derive(Default)]
struct Faults {
    /// One sentence each.
    found: Vec<String>,
}

impl Faults {
    /// Notes a fault, unless all is well.
    fn unless(&mut self, good: bool, fault: impl FnOnce() -> String) {
        if !good {
            self.found.push(fault());
        }
    }
}

/// A description, split into lines.
struct Sdp<'a> {
    /// Lines before the first `m=`.
    session: Section<'a>,
    /// Its sections.
    media: Vec<Section<'a>>,
}

/// Lines of one section.
#[derive(Default)]
struct Section<'a> {
    /// In order, without line ends.
    lines: Vec<&'a str>,
}

impl<'a> Sdp<'a> {
    /// Splits a description.
    fn read(text: &'a str) -> Self {
        let mut parts = vec![Section::default()];
        for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                parts.push(Section::default());
            }
            parts.last_mut().expect("starts with one").lines.push(line);
        }
        let session = parts.remove(0);
        Self { session, media: parts }
    }
}

impl<'a> Section<'a> {
    /// A word of the `m=` line.
    fn word(&self, index: usize) -> &'a str {
        let line = self.lines.first().and_then(|line| line.strip_prefix("m=")).unwrap_or_default();
        line.split_whitespace().nth(index).unwrap_or_default()
    }

    /// The port of the `m=` line.
    fn port(&self) -> &'a str {
        self.word(1)
    }

    /// The payload types of the `m=` line.
    fn types(&self) -> impl Iterator<Item = &'a str> {
        self.lines.first().copied().unwrap_or_default().split_whitespace().skip(3)
    }

    /// Values of an attribute.
    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| {
            let line = line.strip_prefix("a=")?;
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name == key).then(|| value.trim())
        })
    }

    /// The first value of an attribute.
    fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// Rest of those values of an attribute that begin with a word.
    fn about(&self, key: &str, word: &str) -> Vec<&'a str> {
        let split = |value: &'a str| value.split_once([' ', '\t']).unwrap_or((value, ""));
        self.all(key).map(split).filter(|(first, _)| *first == word).map(|(_, rest)| rest.trim()).collect()
    }
}

/// `v=`, `o=`, `s=`, `t=` and the attributes of the session.
fn header(faults: &mut Faults, offer: &Sdp<'_>, answer: &Sdp<'_>) {
    let mixed = |sdp: &Sdp<'_>| sdp.session.one("extmap-allow-mixed").is_some();
    faults.unless(mixed(offer) == mixed(answer), || "extmap-allow-mixed of the session".into());
    let lines = &answer.session.lines;
    let origin: Vec<&str> = lines.get(1).copied().unwrap_or_default().split(' ').collect();
    let numeric = |index: usize| origin.get(index).is_some_and(|word| word.parse::<u64>().is_ok_and(|n| n < 1 << 63));
    faults.unless(lines.first() == Some(&"v=0"), || "no v=0".into());
    faults.unless(origin.len() == 6 && numeric(1) && numeric(2), || format!("origin {origin:?}"));
    faults.unless(lines.get(2).is_some_and(|line| line.starts_with("s=") && line.len() > 2), || "no s=".into());
    faults.unless(lines.get(3) == Some(&"t=0 0"), || "no t=0 0".into());
    faults.unless(answer.session.all("ice-lite").count() == 1, || "ice-lite is a line of the session".into());
    let sections = &answer.media;
    faults.unless(sections.iter().all(|section| section.one("ice-lite").is_none()), || "ice-lite in a section".into());
    faults.unless(answer.session.one("ice-options") == Some("trickle ice2"), || "ice-options of the session".into());
    faults.unless(sections.iter().all(|s| s.one("ice-options").is_none()), || "ice-options in a section".into());
}

/// The group has exactly the accepted mids, in the order of the offer's group. Returns them.
fn bundle<'a>(offer: &Sdp<'a>, answer: &Sdp<'a>, faults: &mut Faults) -> Vec<&'a str> {
    let group = |sdp: &Sdp<'a>| {
        let mids = sdp.session.about("group", "BUNDLE").into_iter().find(|mids| !mids.is_empty());
        mids.map(|mids| mids.split_whitespace().collect::<Vec<&str>>())
    };
    let accepted: BTreeSet<&str> =
        answer.media.iter().filter(|section| section.port() != "0").map(|s| s.one("mid").unwrap_or_default()).collect();
    match (group(offer), group(answer)) {
        (None, None) => {
            faults.unless(accepted.len() == 1, || "several sections without BUNDLE".into());
            Vec::new()
        }
        (Some(offered), Some(answered)) => {
            let mut wanted: Vec<&str> = Vec::new();
            for mid in offered {
                if accepted.contains(mid) && !wanted.contains(&mid) {
                    wanted.push(mid);
                }
            }
            faults.unless(wanted == answered && wanted.len() == accepted.len(), || format!("BUNDLE {answered:?}"));
            answered
        }
        (offered, answered) => {
            faults.unless(false, || format!("BUNDLE {answered:?} for {offered:?}"));
            Vec::new()
        }
    }
}

/// Same kind, protocol and mid as offered.
fn same_section(faults: &mut Faults, offered: &Section<'_>, section: &Section<'_>) {
    for index in [0, 2] {
        faults.unless(offered.word(index) == section.word(index), || {
            format!("word {index} of {:?}", section.lines.first())
        });
    }
    faults.unless(["0", "9"].contains(&section.port()), || format!("port {}", section.port()));
    faults.unless(section.types().next().is_some(), || "no formats".into());
    let last = |section: &Section<'_>| section.all("mid").last().map(str::to_owned);
    faults.unless(last(offered) == last(section), || format!("mid {:?}", section.one("mid")));
    let connections = section.lines.iter().filter(|line| line.starts_with("c=")).count();
    faults.unless(connections == 1, || format!("{connections} c= lines"));
}

/// ICE, DTLS and RTCP lines: in every accepted section the same.
fn transport(faults: &mut Faults, offer: &Sdp<'_>, answer: &Sdp<'_>, section: &Section<'_>) {
    let same = |key: &str| {
        let values: BTreeSet<Option<&str>> =
            answer.media.iter().filter(|section| section.port() != "0").map(|section| section.one(key)).collect();
        values.len() == 1 && section.all(key).count() == 1
    };
    for key in ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux"] {
        faults.unless(same(key), || format!("{key} is not in every section once and the same"));
    }
    let length = |key: &str| section.one(key).unwrap_or_default().len();
    faults.unless((4..=256).contains(&length("ice-ufrag")), || "length of ice-ufrag".into());
    faults.unless((22..=256).contains(&length("ice-pwd")), || "length of ice-pwd".into());
    let setup = section.one("setup").unwrap_or_default();
    let offered: BTreeSet<&str> =
        offer.media.iter().chain([&offer.session]).flat_map(|section| section.all("setup")).collect();
    let good = match offered.into_iter().collect::<Vec<_>>().as_slice() {
        [] | ["actpass" | "active"] => setup == "passive",
        ["passive"] => setup == "active",
        _ => ["active", "passive"].contains(&setup),
    };
    faults.unless(good, || format!("setup:{setup}"));
}

/// One direction, the opposite of what the client does; flags only when offered.
fn directions(faults: &mut Faults, offer: &Sdp<'_>, offered: &Section<'_>, section: &Section<'_>, party: Party) {
    let words = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let directions = |section: &Section<'_>| {
        let lines = section.lines.iter().filter_map(|line| line.strip_prefix("a="));
        lines.filter(|line| words.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, theirs) = match party {
        Party::Presenter => ("recvonly", "sendonly"),
        Party::Viewer => ("sendonly", "recvonly"),
    };
    let of_client = directions(offered).pop().or_else(|| directions(&offer.session).pop()).unwrap_or("sendrecv".into());
    faults.unless(directions(section) == [ours], || format!("direction {:?}", directions(section)));
    faults.unless(of_client == theirs || of_client == "sendrecv", || format!("accepted a {of_client} section"));
    for key in ["rtcp-mux-only", "rtcp-rsize", "extmap-allow-mixed"] {
        let wanted = offered.one(key).is_some();
        faults.unless(section.one(key).is_some() == wanted, || format!("{key}, offered: {wanted}"));
    }
}
