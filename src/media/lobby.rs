//! Where sessions wait for their client, and how workers find each other's sessions.
//!
//! Any worker answers the checks of a parked session from here. A session is claimed by the worker that shows where
//! its media will come: the one that gets its first DTLS datagram or, where we are the DTLS client, its first
//! nominating check; failing that, 100 ms after its first check. The one lock of the media plane; no packet of a
//! claimed session takes it unless its address changed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Restart, SessionId, SessionSpec, WorkerId};
use crate::peer::ice::{Checked, Ice, Path};
use crate::wire::Protocol;
use crate::wire::sdp::DtlsRole;
use crate::wire::stun::Message;

/// All parked sessions, and who owns the claimed ones.
pub struct Lobby {
    state: Mutex<State>,
    max_sessions: usize,
}

#[derive(Default)]
struct State {
    /// By name fragment, apart from the claimed ones: there are few, and workers look through them often.
    parked: HashMap<String, Box<Parked>>,
    claimed: HashMap<String, WorkerId>,
    /// Name fragments of ICE restarts, and the first one of the same session.
    aliases: HashMap<String, String>,
    by_address: HashMap<SocketAddr, String>,
    by_id: HashMap<SessionId, String>,
}

/// A session whose client has not shown up yet, or has only sent checks.
pub struct Parked {
    /// What the session is to be.
    pub spec: SessionSpec,
    /// Its agent, which may have answered checks already.
    pub ice: Ice,
    first_check: Option<Instant>,
}

/// What has become of an ICE restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarting {
    /// The session is parked and has it.
    Done,
    /// The session is this worker's, which must be told.
    Of(WorkerId),
    /// There is no such session, or the name is in use.
    No,
}

/// What the lobby knows about a datagram.
pub enum Known {
    /// Nothing: drop it.
    No,
    /// It was a check of a parked session and has been dealt with.
    Answered,
    /// The session is yours now.
    Yours(Box<Parked>),
    /// It belongs to another worker.
    Of(WorkerId),
}

impl Lobby {
    /// An empty lobby for at most so many sessions, parked and claimed.
    pub fn new(max_sessions: usize) -> Self {
        Self { state: Mutex::default(), max_sessions }
    }

    /// Parks a session. `false` when all places are taken or its name is in use.
    pub fn park(&self, spec: SessionSpec) -> bool {
        let mut state = self.lock();
        let ufrag = spec.local_ice.ufrag.clone();
        if state.len() >= self.max_sessions || state.is_taken(&ufrag) {
            return false;
        }
        let ice = Ice::new(&spec.local_ice, &spec.negotiated.remote_ice);
        state.by_id.insert(spec.id, ufrag.clone());
        state.parked.insert(ufrag, Box::new(Parked { spec, ice, first_check: None }));
        true
    }

    /// Begins an ICE restart. From now on every worker knows whose the new name is.
    pub fn restart(&self, restart: &Restart) -> Restarting {
        let mut state = self.lock();
        let state = &mut *state;
        let (ufrag, Some(name)) = (&restart.local.ufrag, state.by_id.get(&restart.session).cloned()) else {
            return Restarting::No;
        };
        if state.is_taken(ufrag) {
            return Restarting::No;
        }
        let restarting = if let Some(parked) = state.parked.get_mut(&name) {
            if let Some(abandoned) = parked.ice.restart(&restart.local, &restart.remote) {
                state.aliases.remove(&abandoned);
            }
            Restarting::Done
        } else if let Some(worker) = state.claimed.get(&name) {
            Restarting::Of(*worker)
        } else {
            return Restarting::No;
        };
        state.aliases.insert(ufrag.clone(), name);
        restarting
    }

    /// A name fragment is over: a restart has made it the old one, or was abandoned.
    pub fn retire(&self, ufrag: &str) {
        self.lock().aliases.remove(ufrag);
    }

    /// A Binding request that the worker knows no session for.
    pub fn check(&self, me: WorkerId, message: &Message<'_>, path: Path, now: Instant, reply: &mut Vec<u8>) -> Known {
        let Some((ufrag, _)) = message.ufrags() else {
            return Known::No;
        };
        let mut state = self.lock();
        let state = &mut *state;
        let name = state.aliases.get(ufrag).map_or(ufrag, String::as_str).to_owned();
        let Some(parked) = state.parked.get_mut(&name) else {
            return state.owner(&name);
        };
        let Checked::Answered { evicted, nominates, retired, .. } = parked.ice.check(message, path, now, reply) else {
            return Known::No;
        };
        parked.first_check.get_or_insert(now);
        let claims = parked.spec.negotiated.dtls == DtlsRole::Client && nominates;
        if let Some(retired) = retired {
            state.aliases.remove(&retired);
        }
        state.move_address(&name, path.remote, evicted);
        if claims { state.claim(&name, me) } else { Known::Answered }
    }

    /// A datagram other than STUN from an address that the worker knows no session for.
    pub fn datagram(&self, me: WorkerId, protocol: Protocol, from: SocketAddr) -> Known {
        let mut state = self.lock();
        let Some(ufrag) = state.by_address.get(&from).cloned() else {
            return Known::No;
        };
        match state.parked.get(&ufrag) {
            None => state.owner(&ufrag),
            Some(parked) if protocol == Protocol::Dtls && parked.spec.negotiated.dtls == DtlsRole::Server => {
                state.claim(&ufrag, me)
            }
            Some(_) => Known::No,
        }
    }

    /// Sessions that are DTLS servers to us and whose client checks without nominating: claimed for the caller.
    pub fn claim_overdue(&self, me: WorkerId, now: Instant) -> Vec<Box<Parked>> {
        let mut state = self.lock();
        let is_overdue = |parked: &Parked| {
            parked.spec.negotiated.dtls == DtlsRole::Client
                && parked.first_check.is_some_and(|at| now.duration_since(at) >= CLAIM_AFTER)
        };
        let overdue = state.ufrags_where(is_overdue);
        let claimed = overdue.iter().map(|ufrag| state.claim(ufrag, me));
        claimed.filter_map(|known| if let Known::Yours(parked) = known { Some(parked) } else { None }).collect()
    }

    /// Parked sessions whose client never came: removed.
    pub fn expire(&self, now: Instant) -> Vec<Box<Parked>> {
        let mut state = self.lock();
        let expired = state.ufrags_where(|parked| now.duration_since(parked.spec.created) >= CONNECT_WITHIN);
        expired.iter().filter_map(|ufrag| state.remove_parked(ufrag)).collect()
    }

    /// Removes a parked session by name; `None` when it is claimed or gone.
    pub fn remove(&self, session: SessionId) -> Option<Box<Parked>> {
        let mut state = self.lock();
        let ufrag = state.by_id.get(&session)?.clone();
        state.remove_parked(&ufrag)
    }

    /// Removes all parked sessions.
    pub fn remove_all(&self) -> Vec<Box<Parked>> {
        let mut state = self.lock();
        let all = state.ufrags_where(|_| true);
        all.iter().filter_map(|ufrag| state.remove_parked(ufrag)).collect()
    }

    /// A claimed session passed a check from one more address, and maybe lost one for it.
    pub fn move_address(&self, ufrag: &str, added: SocketAddr, evicted: Option<SocketAddr>) {
        self.lock().move_address(ufrag, added, evicted);
    }

    /// A claimed session has ended.
    pub fn release(&self, session: SessionId, ufrag: &str, ice: &Ice) {
        let mut state = self.lock();
        state.drop_traces(ufrag, ice);
        state.claimed.remove(ufrag);
        state.by_id.remove(&session);
    }

    /// Sessions, parked and claimed.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that is kept, of sessions past and present.
    #[cfg(test)]
    pub fn traces(&self) -> usize {
        let state = self.lock();
        state.len() + state.by_address.len() + state.by_id.len() + state.aliases.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one session must not become everybody's: each change here is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn len(&self) -> usize {
        self.parked.len() + self.claimed.len()
    }

    fn is_taken(&self, ufrag: &str) -> bool {
        self.parked.contains_key(ufrag) || self.claimed.contains_key(ufrag) || self.aliases.contains_key(ufrag)
    }

    fn owner(&self, ufrag: &str) -> Known {
        self.claimed.get(ufrag).map_or(Known::No, |worker| Known::Of(*worker))
    }

    fn claim(&mut self, ufrag: &str, by: WorkerId) -> Known {
        let Some((ufrag, parked)) = self.parked.remove_entry(ufrag) else {
            return self.owner(ufrag);
        };
        self.claimed.insert(ufrag, by);
        Known::Yours(parked)
    }

    fn remove_parked(&mut self, ufrag: &str) -> Option<Box<Parked>> {
        let parked = self.parked.remove(ufrag)?;
        self.drop_traces(ufrag, &parked.ice);
        self.by_id.remove(&parked.spec.id);
        Some(parked)
    }

    /// Forgets where a session's client was and how its checks named it.
    fn drop_traces(&mut self, ufrag: &str, ice: &Ice) {
        for address in ice.addresses() {
            self.drop_address(ufrag, address);
        }
        for alias in ice.ufrags() {
            self.aliases.remove(alias);
        }
    }

    fn move_address(&mut self, ufrag: &str, added: SocketAddr, evicted: Option<SocketAddr>) {
        if let Some(evicted) = evicted {
            self.drop_address(ufrag, evicted);
        }
        self.by_address.insert(added, ufrag.to_owned());
    }

    /// Forgets an address, unless it is another session's by now.
    fn drop_address(&mut self, ufrag: &str, address: SocketAddr) {
        if self.by_address.get(&address).is_some_and(|u| u == ufrag) {
            self.by_address.remove(&address);
        }
    }

    fn ufrags_where(&self, wanted: impl Fn(&Parked) -> bool) -> Vec<String> {
        self.parked.iter().filter(|(_, parked)| wanted(parked)).map(|(ufrag, _)| ufrag.clone()).collect()
    }
}

/// From the answer to the end of the handshake.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// A dual-stack client checks from several addresses at once; the nomination says which one it means.
const CLAIM_AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
