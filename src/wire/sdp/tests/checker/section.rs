//! Rules for what is inside one accepted section.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Faults, Sdp, Section};

/// Payload types: offered ones, with the offered meaning; feedback no more than offered.
pub(super) fn formats(faults: &mut Faults, offered: &Section<'_>, section: &Section<'_>) {
    let types: Vec<&str> = section.types().collect();
    for payload_type in &types {
        faults.unless(offered.types().any(|other| other == *payload_type), || format!("{payload_type} is not offered"));
        let meaning =
            |section: &Section<'_>| section.about("rtpmap", payload_type).first().map(|map| map.to_lowercase());
        let known = match *payload_type {
            "0" => Some("pcmu/8000".to_owned()),
            "8" => Some("pcma/8000".to_owned()),
            "9" => Some("g722/8000".to_owned()),
            _ => None,
        };
        let (wanted, map) = (meaning(offered).or(known), meaning(section));
        faults.unless(map.is_some() && map == wanted, || format!("{payload_type} is {map:?} for {wanted:?}"));
        let parameters = |section: &Section<'_>| {
            let fmtp = section.about("fmtp", payload_type).into_iter().find(|fmtp| !fmtp.is_empty());
            fmtp.map(str::to_owned)
        };
        let (wanted, found) = (parameters(offered), parameters(section));
        faults.unless(found == wanted, || format!("{payload_type} has {found:?} for {wanted:?}"));
        if map.is_some_and(|map| map.starts_with("rtx/")) {
            let mut parameters = found.as_deref().unwrap_or_default().split(';');
            let apt = parameters.find_map(|parameter| parameter.trim().strip_prefix("apt="));
            faults.unless(apt.is_some_and(|apt| types.contains(&apt)), || format!("{payload_type} repeats {apt:?}"));
        }
        for message in section.about("rtcp-fb", payload_type) {
            let agreed = ["*", *payload_type].iter().any(|of| offered.about("rtcp-fb", of).contains(&message));
            faults.unless(agreed, || format!("feedback `{message}` of {payload_type} is not offered"));
        }
    }
    for key in ["rtpmap", "fmtp", "rtcp-fb"] {
        for value in section.all(key) {
            let of = value.split(' ').next().unwrap_or_default();
            faults.unless(types.contains(&of), || format!("{key} of {of}, which is not accepted"));
        }
    }
}

/// Header extensions: offered ones with the offered ids, direction turned round.
pub(super) fn extensions(faults: &mut Faults, offer: &Sdp<'_>, offered: &Section<'_>, section: &Section<'_>) {
    let mixed = offered.one("extmap-allow-mixed").or_else(|| offer.session.one("extmap-allow-mixed")).is_some();
    let mut ids = BTreeSet::new();
    for value in section.all("extmap") {
        let (head, uri) = value.split_once(' ').unwrap_or_default();
        let (id, direction) = head.split_once('/').unwrap_or((head, ""));
        let turned = match direction {
            "sendonly" => "/recvonly",
            "recvonly" => "/sendonly",
            "sendrecv" => "/sendrecv",
            _ => "",
        };
        let mut candidates = offered.all("extmap").chain(offer.session.all("extmap"));
        let agreed = candidates.any(|other| {
            let mut words = other.split_whitespace();
            words.next() == Some(&format!("{id}{turned}")) && words.next() == Some(uri)
        });
        faults.unless(agreed, || format!("extension {value} is not offered"));
        faults.unless(ids.insert(id), || format!("extension id {id} twice"));
        let number: u16 = id.parse().unwrap_or(0);
        faults.unless((1..=14).contains(&number) || (mixed && (16..=255).contains(&number)), || format!("id {id}"));
    }
}

/// Towards presenters: layers in offered order on one line, no sources of ours.
pub(super) fn layers(faults: &mut Faults, offered: &Section<'_>, section: &Section<'_>) {
    for key in ["msid", "ssrc", "ssrc-group"] {
        faults.unless(section.one(key).is_none(), || format!("{key} in a section that we receive"));
    }
    let rids: Vec<&str> = section.all("rid").filter_map(|rid| rid.split(' ').next()).collect();
    let received = section.all("rid").all(|rid| rid.split(' ').nth(1) == Some("recv"));
    faults.unless(received, || "a rid that we would not receive".into());
    let lines: Vec<&str> = section.all("simulcast").collect();
    faults.unless(lines.len() <= 1, || "several simulcast lines".into());
    let answered: Vec<&str> = match lines.first() {
        Some(line) => line.strip_prefix("recv ").unwrap_or_default().split(';').collect(),
        None => Vec::new(),
    };
    faults.unless(answered == rids, || format!("simulcast {answered:?} with rids {rids:?}"));
    let text = offered.all("simulcast").last().unwrap_or_default();
    let mut rest = text;
    for rid in answered {
        let found = rest.find(rid);
        faults.unless(found.is_some(), || format!("layer {rid} is not in `{text}` in this order"));
        rest = found.and_then(|at| rest.get(at + rid.len()..)).unwrap_or_default();
    }
}

/// Towards viewers: one track of one stream, every source of it declared, no layers.
pub(super) fn sources(faults: &mut Faults, section: &Section<'_>) {
    for key in ["rid", "simulcast"] {
        faults.unless(section.one(key).is_none(), || format!("{key} to a viewer"));
    }
    faults.unless(section.all("msid").count() == 1, || "wanted one msid".into());
    let declared: Vec<&str> = section.all("ssrc").filter_map(|ssrc| ssrc.split(' ').next()).collect();
    let grouped: Vec<&str> = section.about("ssrc-group", "FID").iter().flat_map(|group| group.split(' ')).collect();
    let repeats = section.all("rtpmap").any(|map| map.to_lowercase().contains(" rtx/"));
    faults.unless(declared.len() == if grouped.is_empty() { 1 } else { 2 }, || format!("sources {declared:?}"));
    faults.unless(grouped.iter().all(|ssrc| declared.contains(ssrc)), || format!("FID {grouped:?} of {declared:?}"));
    faults.unless(repeats || grouped.is_empty(), || "a source for retransmissions that are not agreed".into());
}

/// Only the tagged section has candidates: UDP hosts of component 1, IPv4 and the best first, then the end.
pub(super) fn candidates(faults: &mut Faults, section: &Section<'_>, tagged: bool) {
    let candidates: Vec<Vec<&str>> = section.all("candidate").map(|value| value.split(' ').collect()).collect();
    faults.unless(candidates.is_empty() != tagged, || format!("{} candidates, tagged: {tagged}", candidates.len()));
    faults.unless(section.all("end-of-candidates").count() == usize::from(tagged), || "end-of-candidates".into());
    let mut above = u32::MAX;
    for (index, candidate) in candidates.iter().enumerate() {
        let [_, "1", "udp", priority, address, port, "typ", "host"] = candidate.as_slice() else {
            faults.unless(false, || format!("candidate {candidate:?}"));
            continue;
        };
        let priority = priority.parse().unwrap_or(u32::MAX);
        faults.unless(priority < above, || format!("priority {priority} after {above}"));
        above = priority;
        let address = address.parse::<IpAddr>();
        faults.unless(address.is_ok(), || format!("address {address:?}"));
        faults.unless(index > 0 || address.is_ok_and(|address| address.is_ipv4()), || "the first is not IPv4".into());
        faults.unless(port.parse::<u16>().is_ok_and(|port| port > 0), || format!("port {port}"));
    }
}
