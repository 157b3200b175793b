//! What control may ask of the media plane.

use crate::media::{CloseReason, SessionId, SessionSpec};
use crate::wire::sdp::Fingerprint;

/// The media plane, as control sees it. Cheap to clone; no call blocks.
#[derive(Clone, Debug)]
pub struct Handle {}

/// No room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all session places are taken")]
pub struct Full;

impl Handle {
    /// Parks a session until its client's first authentic datagram. Freed after 15 s without a connection, with a
    /// `Closed` notice like any other session.
    /// # Errors
    /// `Full` when all places are taken; nothing is kept then and no notice follows.
    pub fn open(&self, _spec: SessionSpec) -> Result<(), Full> {
        Err(Full)
    }

    /// Ends a session; a `Closed` notice follows. Unknown sessions are ignored.
    pub fn close(&self, _session: SessionId, _reason: CloseReason) {}

    /// Ends all sessions.
    pub fn close_all(&self, _reason: CloseReason) {}

    /// SHA-256 of our DTLS certificate.
    pub fn fingerprint(&self) -> &Fingerprint {
        unreachable!()
    }
}
