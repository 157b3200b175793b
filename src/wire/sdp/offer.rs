//! Reads offers.

use super::Refusal;
use super::grammar::{self, Attribute};
use super::section::{Offered, split_word};
use super::transport::{Remote, Transport};

/// An offer, parsed; what it says is borrowed from its text.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// All of its media sections, in order.
    pub(super) sections: Vec<Offered<'a>>,
    /// Whether there is a BUNDLE group; who is in it is said by `Offered::place`.
    pub(super) has_bundle: bool,
    /// `a=extmap-allow-mixed` for the whole session.
    pub(super) allow_mixed: bool,
    /// The client's end of the transport.
    pub(super) remote: Remote,
}

impl<'a> Offer<'a> {
    /// A section that is there for something else than sound and pictures, such as a data channel; for messages.
    pub fn foreign_section(&self) -> Option<String> {
        self.sections.iter().find(|section| section.kind.is_none() && !section.rejected).map(Offered::label)
    }

    /// Reads an offer.
    /// # Errors
    /// `Refusal::Malformed` when it is not SDP; names the line.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let description = grammar::read(text)?;
        let session = description.session;
        let mut session_transport = Transport::default();
        for attribute in &session {
            session_transport.apply(attribute)?;
        }
        let mut sections = Vec::with_capacity(description.media.len());
        for (index, media) in description.media.iter().enumerate() {
            let line = media.line;
            let section = Offered::read(index, media, &session)?;
            if !section.mid.is_empty() && sections.iter().any(|other: &Offered<'_>| other.mid == section.mid) {
                return Err(grammar::malformed(line, &format!("a=mid:{}", section.mid), "every mid once"));
            }
            sections.push(section);
        }
        let bundle = bundle(&session);
        for section in &mut sections {
            section.place = match &bundle {
                Some(mids) => mids.iter().position(|mid| *mid == section.mid),
                // The one transport is that of the only section; more than one is refused later.
                None => Some(section.index),
            };
            // Some clients put bundled sections at port 0 without a=bundle-only, but with transport lines.
            let with_others = bundle.is_some() && section.place.is_some() && section.transport.has_ice();
            section.rejected = section.port == 0 && !section.bundle_only && !with_others;
        }
        let remote = Remote::find(&places(&sections, bundle.as_deref(), &session_transport))?;
        let allow_mixed = session.iter().any(|attribute| attribute.key == "extmap-allow-mixed");
        Ok(Self { sections, has_bundle: bundle.is_some(), allow_mixed, remote })
    }
}

/// The mids of the first BUNDLE group (RFC 9143 §7.2). Mids that name no section do no harm: FFmpeg writes them.
fn bundle<'a>(session: &[Attribute<'a>]) -> Option<Vec<&'a str>> {
    session.iter().filter(|attribute| attribute.key == "group").find_map(|attribute| {
        let (semantics, mids) = split_word(attribute.value);
        let mids: Vec<&str> = mids.split_whitespace().collect();
        (semantics == "BUNDLE" && !mids.is_empty()).then_some(mids)
    })
}

/// Where to look for ICE and DTLS lines: the tagged section (RFC 9143 §7.3.1), then any other, then the session alone.
fn places<'a>(sections: &[Offered<'a>], bundle: Option<&[&str]>, session: &Transport<'a>) -> Vec<Transport<'a>> {
    let tagged =
        bundle.and_then(|mids| mids.iter().find_map(|mid| sections.iter().find(|section| section.mid == *mid)));
    let others = sections.iter().filter(|section| !section.rejected);
    let mut places: Vec<Transport<'a>> =
        tagged.into_iter().chain(others).map(|section| section.transport.or(session)).collect();
    places.push(session.clone());
    places
}
