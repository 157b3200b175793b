//! PATCH on a session: more candidates of the same ICE session, or a new one (RFC 9725 §4.3).

use std::collections::VecDeque;

use crate::media::{Restart, SessionId};
use crate::net::Full;
use crate::wire::sdp::fragment::{self, Fragment, Tagged};
use crate::wire::sdp::{IceCredentials, Negotiated};

use super::{Control, ids};

/// What a request demands of the session's entity-tag (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    Missing,
    /// That there is one.
    Any,
    /// That it is one of these strong tags, quotes included; none matches when there was no readable one.
    Tags(Vec<String>),
}

/// Must candidates say which ICE session they belong to? A restart always must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtagPolicy {
    /// Candidates of the present ICE session need no entity-tag. Widespread players send none.
    #[default]
    Lenient,
    /// Whoever sends none is told so (RFC 9725 §4.3.1).
    Strict,
}

/// What became of a PATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Candidates were taken note of.
    Trickled,
    /// A new ICE session has begun; media stays on the old path until the new one is nominated.
    Restarted {
        /// Its strong entity-tag, with quotes.
        etag: String,
        /// Our half of it, as an SDP fragment.
        fragment: String,
    },
}

/// Why a PATCH was not taken. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It never was, or has ended.
    #[error("there is no such session; it may have ended")]
    NoSession,
    /// It must say which ICE session it means.
    #[error("If-Match is missing")]
    Required,
    /// It means another ICE session.
    #[error("the ICE session has changed")]
    Stale,
    /// The media plane cannot take it now.
    #[error("no restart is possible now")]
    Unable,
}

/// The ICE session of one session, as PATCH sees it.
#[derive(Clone, Debug)]
pub(super) struct IceSession {
    /// Its strong entity-tag, with quotes.
    pub(super) etag: String,
    remote_ufrag: String,
    tagged: Tagged,
    restarts: u32,
    /// The client's name fragments before: what still comes of them comes too late.
    past: VecDeque<String>,
}

impl IceSession {
    /// The first one.
    pub(super) fn new(etag: String, negotiated: &Negotiated) -> Self {
        let remote_ufrag = negotiated.remote_ice.ufrag.clone();
        Self { etag, remote_ufrag, tagged: Tagged::of(negotiated), restarts: 0, past: VecDeque::new() }
    }

    /// Judges a fragment: `None` for candidates of this ICE session, the client's credentials for a restart.
    fn judge<'a>(
        &self,
        fragment: &'a Fragment,
        precondition: &Precondition,
        policy: EtagPolicy,
    ) -> Result<Option<&'a IceCredentials>, PatchError> {
        // Only the credentials tell a restart: players send `If-Match: *` with plain candidates, too. A new password
        // under the old name is none either: checks would not show it.
        let renewed = fragment.credentials.as_ref().filter(|credentials| credentials.ufrag != self.remote_ufrag);
        match precondition {
            Precondition::Missing if renewed.is_some() || policy == EtagPolicy::Strict => Err(PatchError::Required),
            Precondition::Tags(tags) if !tags.contains(&self.etag) => Err(PatchError::Stale),
            _ if renewed.is_some_and(|credentials| self.past.contains(&credentials.ufrag)) => Err(PatchError::Stale),
            Precondition::Missing | Precondition::Any | Precondition::Tags(_) => Ok(renewed),
        }
    }

    fn restarted(&mut self, remote_ufrag: String) {
        self.restarts = self.restarts.wrapping_add(1);
        self.etag = ids::etag(self.restarts.wrapping_add(1));
        if self.past.len() == MOST_PAST {
            self.past.pop_front();
        }
        self.past.push_back(std::mem::replace(&mut self.remote_ufrag, remote_ufrag));
    }

    /// Takes a fragment; a restart is begun by `restart` before it is noted.
    /// # Errors
    /// `Required`, `Stale` or `Unable`.
    pub(super) fn patch(
        &mut self,
        fragment: &Fragment,
        precondition: &Precondition,
        policy: EtagPolicy,
        restart: impl FnOnce(&IceCredentials) -> Result<IceCredentials, Full>,
    ) -> Result<Option<IceCredentials>, PatchError> {
        let Some(remote) = self.judge(fragment, precondition, policy)? else {
            return Ok(None);
        };
        let local = restart(remote).map_err(|Full| PatchError::Unable)?;
        self.restarted(remote.ufrag.clone());
        Ok(Some(local))
    }
}

impl Control {
    /// Takes a client's fragment. Requests of one session are taken one after the other, and the last restart counts.
    /// # Errors
    /// See [`PatchError`]; the session goes on in every case.
    pub fn patch(
        &self,
        session: SessionId,
        fragment: &Fragment,
        precondition: &Precondition,
        policy: EtagPolicy,
    ) -> Result<Patched, PatchError> {
        let restart = |remote: &IceCredentials| {
            let local = ids::ice();
            self.media.restart(Restart { session, local: local.clone(), remote: remote.clone() })?;
            Ok(local)
        };
        let (begun, ice) = self.directory.patch(session, |ice| {
            let begun = ice.patch(fragment, precondition, policy, restart)?;
            Ok((begun, ice.clone()))
        })?;
        let Some(local) = begun else {
            tracing::debug!(?session, candidates = fragment.candidates, "candidates came");
            return Ok(Patched::Trickled);
        };
        tracing::debug!(?session, restarts = ice.restarts, "ice restarted");
        let fragment = fragment::restarted(&local, &self.candidates, &ice.tagged);
        Ok(Patched::Restarted { etag: ice.etag, fragment })
    }
}

/// Nobody has more restarts on the way than this.
const MOST_PAST: usize = 4;
