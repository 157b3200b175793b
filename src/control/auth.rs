//! Who may do what: bearer tokens, signed or static.

use super::stream::StreamName;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Why a request is not let in (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credentials, or another scheme: 401 without an error code.
    #[error("a bearer token is needed")]
    Missing,
    /// Not a well-formed bearer credential: 400 `invalid_request`.
    #[error("the Authorization header is not `Bearer` and one token")]
    Malformed,
    /// Unknown, forged, expired or revoked: 401 `invalid_token`.
    #[error("the token is not valid here or has expired")]
    Invalid,
    /// A good token for something else: 403 `insufficient_scope`.
    #[error("the token does not allow this")]
    Insufficient,
}

/// Keeps the secret and the static tokens.
#[derive(Debug)]
pub struct Auth {}

impl Auth {
    /// Reads the value of an `Authorization` header; `None` when the request had none. Constant time in the token.
    /// # Errors
    /// `Missing`, `Malformed` or `Invalid`.
    pub fn identify(&self, _authorization: Option<&[u8]>) -> Result<Identity, Denied> {
        Err(Denied::Missing)
    }

    /// May this identity do that on that stream? Admin may do all; publish includes watch.
    /// # Errors
    /// `Insufficient`.
    pub fn permit(
        &self,
        _who: &Identity,
        _right: Right,
        _stream: &StreamName,
    ) -> Result<(), Denied> {
        Err(Denied::Insufficient)
    }

    /// Does watching this stream need a token?
    pub fn watch_is_open(&self, _stream: &StreamName) -> bool {
        true
    }
}
