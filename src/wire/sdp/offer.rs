//! Reads offers.

use super::Refusal;

/// An offer, parsed.
#[derive(Clone, Debug)]
pub struct Offer {}

impl Offer {
    /// Reads an offer.
    /// # Errors
    /// `Refusal::Malformed` when it is not SDP; names the line.
    pub fn parse(_text: &str) -> Result<Self, Refusal> {
        Err(Refusal::Malformed(String::new()))
    }
}
