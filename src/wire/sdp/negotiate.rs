//! Decides what of an offer is accepted.

use super::{Format, Local, Negotiated, Offer, Refusal, Section, Shape};

/// Answers a presenter's offer: every section `recvonly`.
/// # Errors
/// When a section cannot be accepted: no partial answers (RFC 9725 §4.4.3).
pub fn answer_presenter(_offer: &Offer, _local: &Local<'_>) -> Result<Negotiated, Refusal> {
    Err(Refusal::Malformed(String::new()))
}

/// Answers a viewer's offer: every usable section `sendonly`, others port 0.
/// # Errors
/// When no section is usable.
pub fn answer_viewer(
    _offer: &Offer,
    _local: &Local<'_>,
    _shape: &Shape,
) -> Result<Negotiated, Refusal> {
    Err(Refusal::Malformed(String::new()))
}

/// The format of a viewer's section that can carry what the presenter sends.
pub fn pick_format<'a>(_section: &'a Section, _sent: &Format) -> Option<&'a Format> {
    None
}
