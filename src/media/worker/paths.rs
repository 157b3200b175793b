//! Whose a datagram is: checks by the name that they carry, all else by where it comes from.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Count, Owner, Worker};
use crate::media::lobby::{Known, Parked};
use crate::media::mail::{Datagram, Mail};
use crate::media::outbox::Outbox;
use crate::media::session::{Half, STEPS, Session};
use crate::media::{CloseReason, Notice, Restart, Step, Summary, WorkerId};
use crate::peer::Peer;
use crate::peer::ice::{Checked, Path};
use crate::wire::Protocol;
use crate::wire::stun::Message;

impl Worker {
    /// A datagram other than STUN from an address that belongs to no session here.
    pub(super) fn stranger(
        &mut self,
        protocol: Protocol,
        bytes: &mut [u8],
        path: Path,
        arrived: Instant,
        now: Instant,
        out: &mut impl Outbox,
    ) {
        match self.shared.lobby.datagram(self.id, protocol, path.remote) {
            Known::No | Known::Answered => self.counters.add(Count::DropUnvalidated, 1),
            Known::Of(worker) if worker == self.id => self.counters.add(Count::DropUnvalidated, 1),
            Known::Of(worker) => {
                self.remember(path.remote, worker);
                self.forward(worker, bytes, path, arrived);
            }
            Known::Yours(parked) => {
                let key = self.adopt(*parked, now, out);
                self.session_datagram(key, protocol, bytes, path, arrived, now, out);
            }
        }
    }

    /// A check. It belongs to the session that it names, wherever it comes from: a client may come back at the address
    /// of its old session.
    pub(super) fn stun(&mut self, bytes: &[u8], path: Path, now: Instant, out: &mut impl Outbox) {
        let Some(message) = Message::parse(bytes) else {
            return self.counters.add(Count::DropStun, 1);
        };
        let Some((ufrag, _)) = message.ufrags() else {
            return self.counters.add(Count::DropStun, 1);
        };
        let ours = self.by_ufrag.get(ufrag).copied();
        if let Some(Owner::Here(holder)) = self.by_address.get(&path.remote)
            && ours != Some(*holder)
            && !self.is_quiet(*holder, now)
        {
            // A sender's address can be forged: nobody loses the address that it is using.
            return self.counters.add(Count::DropStun, 1);
        }
        if let Some(key) = ours {
            return self.check(key, &message, path, now, out);
        }
        self.scratch.clear();
        let known = self.shared.lobby.check(self.id, &message, path, now, &mut self.scratch);
        if !self.scratch.is_empty() {
            out.send(path, &self.scratch, self.scratch.len());
        }
        match known {
            Known::No => self.counters.add(Count::DropStun, 1),
            // What comes from there next is to be looked up in the lobby.
            Known::Answered => drop(self.by_address.remove(&path.remote)),
            Known::Of(worker) if worker == self.id => self.counters.add(Count::DropStun, 1),
            Known::Of(worker) => self.forward(worker, bytes, path, now),
            Known::Yours(parked) => {
                self.adopt(*parked, now, out);
            }
        }
    }

    /// A session that does not use its address any more, as far as one can tell.
    fn is_quiet(&self, key: usize, now: Instant) -> bool {
        self.sessions.get(key).is_none_or(|session| {
            matches!(session.half, Half::Closing(_))
                || now.saturating_duration_since(session.last_heard) >= ADDRESS_IN_USE
        })
    }

    /// Makes a parked session ours.
    pub(super) fn adopt(&mut self, parked: Parked, now: Instant, out: &mut impl Outbox) -> usize {
        let Parked { spec, ice, .. } = parked;
        let addresses: Vec<_> = ice.addresses().collect();
        let ufrags: Vec<_> = ice.ufrags().map(str::to_owned).collect();
        let stream = self.stream(&spec.route);
        let negotiated = spec.negotiated;
        let selected = ice.selected().map(|path| path.remote);
        let key = self.sessions.insert(Session {
            id: spec.id,
            role: spec.role,
            stream,
            ufrag: spec.local_ice.ufrag,
            peer: Peer::new(ice, negotiated.dtls, negotiated.fingerprints),
            half: Half::Connecting { sections: negotiated.sections, standing: spec.standing },
            created: spec.created,
            waiting_dtls: 0,
            last_heard: now,
            armed: None,
            summary: Summary::default(),
            steps: STEPS,
        });
        self.by_id.insert(spec.id, key);
        self.by_ufrag.extend(ufrags.into_iter().map(|ufrag| (ufrag, key)));
        for address in addresses {
            self.by_address.insert(address, Owner::Here(key));
            if selected != Some(address) {
                self.tell_step(key, Step::Checked(address));
            }
        }
        if let Some(selected) = selected {
            self.tell_step(key, Step::Selected(selected));
        }

        self.current = Some(key);
        let begun = self.sessions[key].peer.begin(&self.shared.identity, now, &mut self.flights);
        self.send_flights(key, out);
        if begun.is_err() {
            self.end(key, CloseReason::HandshakeFailed, now, out);
        }
        self.arm(key);
        self.current = None;
        key
    }

    /// The client begins a new ICE session: its checks find this session by another name, too.
    pub(super) fn restart_ice(&mut self, restart: &Restart) {
        let Some(key) = self.by_id.get(&restart.session).copied() else {
            // It has ended meanwhile.
            return self.shared.lobby.retire(&restart.local.ufrag);
        };
        self.by_ufrag.insert(restart.local.ufrag.clone(), key);
        if let Some(abandoned) = self.sessions[key].peer.ice.restart(&restart.local, &restart.remote) {
            self.by_ufrag.remove(&abandoned);
            self.shared.lobby.retire(&abandoned);
        }
    }

    fn check(&mut self, key: usize, message: &Message<'_>, path: Path, now: Instant, out: &mut impl Outbox) {
        self.current = Some(key);
        let session = &mut self.sessions[key];
        let selected = session.peer.ice.selected();
        self.scratch.clear();
        if matches!(session.half, Half::Closing(_)) {
            session.peer.ice.forbid(message, &mut self.scratch);
        } else {
            match session.peer.ice.check(message, path, now, &mut self.scratch) {
                Checked::Ignored => self.counters.add(Count::DropStun, 1),
                Checked::Refused => {}
                Checked::Answered { new_address, evicted, retired, .. } => {
                    session.last_heard = now;
                    if let Some(retired) = retired {
                        self.by_ufrag.remove(&retired);
                        self.shared.lobby.retire(&retired);
                    }
                    if let Some(evicted) = evicted
                        && matches!(self.by_address.get(&evicted), Some(Owner::Here(k)) if *k == key)
                    {
                        self.by_address.remove(&evicted);
                    }
                    let is_here = matches!(self.by_address.get(&path.remote), Some(Owner::Here(k)) if *k == key);
                    if new_address || !is_here {
                        self.by_address.insert(path.remote, Owner::Here(key));
                        self.shared.lobby.move_address(&session.ufrag, path.remote, evicted);
                    }
                    self.move_media(key);
                    let moved = self.sessions[key]
                        .peer
                        .ice
                        .selected()
                        .filter(|now| selected.map(|s| s.remote) != Some(now.remote));
                    if new_address && moved.is_none() {
                        self.tell_step(key, Step::Checked(path.remote));
                    }
                    if let Some(moved) = moved {
                        self.tell_step(key, Step::Selected(moved.remote));
                    }
                }
            }
        }
        if !self.scratch.is_empty() {
            out.send(path, &self.scratch, self.scratch.len());
        }
        self.current = None;
    }

    /// Tells control how a session's connection comes along, unless it has told much of it just now.
    pub(super) fn tell_step(&mut self, key: usize, step: Step) {
        if let Some(session) = self.sessions.get_mut(key)
            && let Some(left) = session.steps.checked_sub(1)
        {
            session.steps = left;
            self.notices.push(Notice::Step { session: session.id, step });
        }
    }

    /// A viewer's media goes where its agent says.
    pub(super) fn move_media(&mut self, key: usize) {
        let session = &self.sessions[key];
        if let (Half::Viewer { at, .. }, Some(selected)) = (&session.half, session.peer.ice.selected())
            && let Some(viewer) = self.streams[session.stream].viewers.get_mut(*at)
        {
            viewer.path = selected;
        }
    }

    fn remember(&mut self, address: SocketAddr, worker: WorkerId) {
        if self.by_address.len() < MAX_ADDRESSES {
            self.by_address.insert(address, Owner::There(worker));
        }
    }

    pub(super) fn forward(&mut self, worker: WorkerId, bytes: &[u8], path: Path, arrived: Instant) {
        if bytes.len() > MAX_STRAY_BYTES {
            return self.counters.add(Count::DropUnclassified, 1);
        }
        let datagram = Datagram { bytes: bytes.to_vec(), from: path.remote, to: path.local, arrived };
        self.outgoing.push((worker, Mail::Stray(datagram)));
    }
}

const MAX_ADDRESSES: usize = 1 << 20;
/// Presenters send all the time, viewers report or check about once a second.
const ADDRESS_IN_USE: Duration = Duration::from_secs(3);

/// An Ethernet frame's worth.
const MAX_STRAY_BYTES: usize = 2048;
