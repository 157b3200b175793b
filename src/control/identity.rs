//! Whose a token is, and what it allows.

use super::stream::StreamName;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Present on the token's stream.
    Publish,
    /// Watch the token's stream.
    Watch,
    /// Everything on every stream.
    Admin,
}

/// Whoever a good token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's subject; a presenter that comes back with the same one takes its own session over.
    pub subject: String,
    /// The one stream that it is for; `None`: all (admin).
    pub stream: Option<StreamName>,
    /// What it allows.
    pub right: Right,
}

impl Identity {
    /// May it do everything on all streams? An admin of one stream may not.
    pub fn is_admin(&self) -> bool {
        self.right == Right::Admin && self.stream.is_none()
    }

    /// May it do everything on this stream?
    pub fn runs(&self, stream: &StreamName) -> bool {
        self.right == Right::Admin && self.stream.as_ref().is_none_or(|own| own == stream)
    }
}
