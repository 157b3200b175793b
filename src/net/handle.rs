//! What control may ask of the media plane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::mpsc;

use super::mailbox::Mailbox;
use crate::media::layer::LayerChoice;
use crate::media::lobby::{Parked, Restarting};
use crate::media::mail::Mail;
use crate::media::worker::Shared;
use crate::media::{CloseReason, Notice, Restart, SessionId, SessionSpec, Summary};
use crate::wire::sdp::{Fingerprint, Kind};

/// The media plane, as control sees it. Cheap to clone; no call blocks.
#[derive(Clone)]
pub struct Handle {
    office: Arc<Office>,
}

/// What the threads and the handle share.
pub(super) struct Office {
    pub(super) shared: Arc<Shared>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) stop: AtomicBool,
}

/// No room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all session places are taken")]
pub struct Full;

impl Handle {
    pub(super) fn new(office: Arc<Office>) -> Self {
        Self { office }
    }

    pub(super) fn office(&self) -> &Office {
        &self.office
    }

    /// Parks a session until its client's first authentic datagram. Freed after 15 s without a connection, with a
    /// `Closed` notice like any other session.
    /// # Errors
    /// `Full` when all places are taken; nothing is kept then and no notice follows.
    pub fn open(&self, spec: SessionSpec) -> Result<(), Full> {
        if self.office.shared.lobby.park(spec) { Ok(()) } else { Err(Full) }
    }

    /// Begins an ICE restart; the old credentials work until a check nominates with the new ones.
    /// # Errors
    /// `Full` when it cannot be begun; nothing has changed then.
    pub fn restart(&self, restart: Restart) -> Result<(), Full> {
        let lobby = &self.office.shared.lobby;
        let worker = match lobby.restart(&restart) {
            Restarting::Done => return Ok(()),
            Restarting::No => return Err(Full),
            Restarting::Of(worker) => worker,
        };
        let ufrag = restart.local.ufrag.clone();
        let mailbox = self.office.mailboxes.get(usize::from(worker.0));
        if mailbox.is_some_and(|mailbox| mailbox.order(Mail::Restart(restart))) {
            return Ok(());
        }
        lobby.retire(&ufrag);
        Err(Full)
    }

    /// Ends a session; a `Closed` notice follows. Unknown sessions are ignored.
    pub fn close(&self, session: SessionId, reason: CloseReason) {
        if let Some(parked) = self.office.shared.lobby.remove(session) {
            return self.tell_closed(&parked, reason);
        }
        for mailbox in &self.office.mailboxes {
            if !mailbox.order(Mail::Close { session, reason }) {
                tracing::warn!(?session, "an order to close found no room");
            }
        }
    }

    /// Ends all sessions.
    pub fn close_all(&self, reason: CloseReason) {
        for parked in self.office.shared.lobby.remove_all() {
            self.tell_closed(&parked, reason);
        }
        for mailbox in &self.office.mailboxes {
            if !mailbox.order(Mail::CloseAll { reason }) {
                tracing::warn!("an order to close everything found no room");
            }
        }
    }

    /// Sets which layers a viewer gets; holds until it is set again. Only a connected session is found: control tells it
    /// again when `Notice::Connected` comes. `false` when a worker is too busy to take the wish.
    pub fn choose_layer(&self, session: SessionId, kind: Kind, choice: LayerChoice) -> bool {
        let post = |mailbox: &Mailbox| mailbox.post(Mail::ChooseLayer { session, kind, choice });
        // All of them get it, also behind one that is too busy.
        self.office.mailboxes.iter().filter(|mailbox| !post(mailbox)).count() == 0
    }

    /// SHA-256 of our DTLS certificate.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.office.shared.identity.fingerprint()
    }

    fn tell_closed(&self, parked: &Parked, reason: CloseReason) {
        let lasted = Instant::now().saturating_duration_since(parked.spec.created);
        let summary = Summary { lasted, ..Summary::default() };
        let notice = Notice::Closed { session: parked.spec.id, reason, summary };
        // Full means that control is far behind; it asked for this end and knows of it.
        let _ = self.office.notices.try_send(notice);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
