//! Offers of our own to viewers whose offers cannot be taken, until they are answered (WHEP draft, counter-offers).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::media::{Role, SessionId};
use crate::wire::sdp::{IceCredentials, Local, Shape, Source, offer_to_viewer, take_answer};

use super::admission::{Proposal, kinds};
use super::auth::Identity;
use super::directory::Entrant;
use super::layers::Video;
use super::limits::Key;
use super::patch::IceSession;
use super::seats::Stage;
use super::stream::StreamName;
use super::{Control, OpenError, SessionView, ids};

/// What a viewer gets whose offer cannot be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CounterPolicy {
    /// A refusal that says why. Two widespread players take an offer of ours for something else.
    #[default]
    Off,
    /// An offer of ours.
    OnCodecMismatch,
}

/// An offer of ours.
#[derive(Clone, Debug)]
pub struct CounterOffer {
    /// The session that an answer will make.
    pub session: SessionId,
    /// Strong entity-tag of its ICE session, with quotes.
    pub etag: String,
    /// SDP.
    pub offer: String,
    /// How long it can be answered.
    pub valid_for: Duration,
}

/// Why an answer makes no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing was offered, or too long ago.
    #[error("there is no such session; its offer may have expired")]
    NoSession,
    /// The offer has been answered.
    #[error("the offer has been answered already")]
    Answered,
    /// The answer cannot be taken, or there is no room. It may be answered again.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The offers that can be answered.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<HashMap<SessionId, Counter>>);

#[derive(Debug)]
struct Counter {
    until: Instant,
    /// `None`: answered.
    waiting: Option<Waiting>,
}

/// Everything that was drawn for an offer.
#[derive(Clone, Debug)]
struct Waiting {
    stream: StreamName,
    subject: Option<String>,
    etag: String,
    ice: IceCredentials,
    sdp_session: u64,
    audio: Source,
    video: Source,
    shape: Shape,
    /// Where the viewer comes from.
    from: Key,
    created: Instant,
}

impl Counters {
    /// A session as others may see it, while its offer can be answered.
    pub(super) fn view(&self, id: SessionId, now: Instant) -> Option<SessionView> {
        let offers = self.offers();
        let waiting = offers.get(&id).filter(|counter| now < counter.until)?.waiting.as_ref()?;
        Some(SessionView {
            role: Role::Viewer,
            stream: waiting.stream.clone(),
            subject: waiting.subject.clone(),
            etag: waiting.etag.clone(),
            connected: false,
            created: waiting.created,
        })
    }

    /// Takes an offer back. `false` when it is not there, has expired or was answered.
    pub(super) fn withdraw(&self, id: SessionId, now: Instant) -> bool {
        let mut offers = self.offers();
        let open = offers.get(&id).is_some_and(|counter| counter.waiting.is_some() && now < counter.until);
        if open {
            offers.remove(&id);
        }
        open
    }

    fn put(&self, id: SessionId, waiting: Waiting, now: Instant) -> Result<(), OpenError> {
        let mut offers = self.offers();
        if offers.len() >= MOST {
            offers.retain(|_, counter| now < counter.until);
        }
        if offers.len() >= MOST {
            return Err(OpenError::Full { retry_after: ids::retry_after() });
        }
        offers.insert(id, Counter { until: now + VALID, waiting: Some(waiting) });
        Ok(())
    }

    /// Takes an offer out, to be answered.
    fn take(&self, id: SessionId, now: Instant) -> Result<Waiting, AnswerError> {
        let mut offers = self.offers();
        let counter = offers.get_mut(&id).filter(|counter| now < counter.until).ok_or(AnswerError::NoSession)?;
        counter.waiting.take().ok_or(AnswerError::Answered)
    }

    /// The answer was not taken: there may be another.
    fn put_back(&self, id: SessionId, waiting: Waiting) {
        if let Some(counter) = self.offers().get_mut(&id) {
            counter.waiting = Some(waiting);
        }
    }

    /// The table. Each change is complete before anything in it can panic, so a poisoned lock still guards a good one.
    fn offers(&self) -> MutexGuard<'_, HashMap<SessionId, Counter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Makes an offer to a viewer whose own could not be taken; `from` is where its request came from. It takes no place
    /// before it is answered.
    /// # Errors
    /// `Idle`, `Draining`, `Full`.
    pub fn counter(
        &self,
        stream: &StreamName,
        who: Option<&Identity>,
        from: IpAddr,
    ) -> Result<CounterOffer, OpenError> {
        let shape = match self.directory.stage(stream)? {
            Stage::Live(shape) | Stage::Soon(shape) => shape,
            Stage::Held(_) | Stage::Empty => return Err(OpenError::Idle { retry_after: ids::retry_after() }),
        };
        let (id, now, (audio, video)) = (ids::session(), Instant::now(), ids::sources());
        let waiting = Waiting {
            stream: stream.clone(),
            subject: who.map(|who| who.subject.clone()),
            etag: ids::etag(1),
            ice: ids::ice(),
            sdp_session: ids::sdp_session(),
            audio,
            video,
            shape,
            from: Key::address(from),
            created: now,
        };
        let (offer, etag) = (offer_to_viewer(&self.local(&waiting), &waiting.shape), waiting.etag.clone());
        self.counters.put(id, waiting, now)?;
        Ok(CounterOffer { session: id, etag, offer, valid_for: VALID })
    }

    /// Was an offer of ours the beginning of this session, a short while ago?
    pub fn is_countered(&self, id: SessionId) -> bool {
        let now = Instant::now();
        self.counters.offers().get(&id).is_some_and(|counter| now < counter.until)
    }

    /// Takes the answer to an offer of ours: the session begins. Returns that offer.
    /// # Errors
    /// See [`AnswerError`].
    pub fn answer(self: &Arc<Self>, id: SessionId, answer: &str) -> Result<String, AnswerError> {
        let waiting = self.counters.take(id, Instant::now())?;
        match self.conclude(id, &waiting, answer) {
            Ok(()) => Ok(offer_to_viewer(&self.local(&waiting), &waiting.shape)),
            Err(error) => {
                self.counters.put_back(id, waiting);
                Err(error.into())
            }
        }
    }

    fn conclude(self: &Arc<Self>, id: SessionId, waiting: &Waiting, answer: &str) -> Result<(), OpenError> {
        let negotiated = take_answer(answer, &self.local(waiting), &waiting.shape)?;
        let policy = self.policies.of(&waiting.stream).ok_or(OpenError::UnknownStream)?;
        let entrant = Entrant {
            id,
            ice: IceSession::new(waiting.etag.clone(), &negotiated),
            subject: waiting.subject.clone(),
            video: negotiated.sections.iter().find_map(Video::of),
            created: Instant::now(),
            from: Some(waiting.from.clone()),
        };
        let takes = kinds(&negotiated.sections);
        let proposal = Proposal { entrant: entrant.clone(), ice: waiting.ice.clone(), negotiated };
        let open = |route| self.media.open(proposal.spec(Role::Viewer, route));
        self.directory.watch(&waiting.stream, policy, &entrant, open)?;
        self.opened(Role::Viewer, &waiting.stream, entrant, String::new(), takes).delivered();
        Ok(())
    }

    fn local<'a>(&'a self, waiting: &'a Waiting) -> Local<'a> {
        Local {
            ice: &waiting.ice,
            fingerprint: self.media.fingerprint(),
            candidates: &self.candidates,
            session_id: waiting.sdp_session,
            msid: waiting.stream.as_str(),
            audio: waiting.audio,
            video: waiting.video,
        }
    }
}

/// What the draft says where nothing else is said.
const VALID: Duration = Duration::from_secs(30);
/// Offers at once; about 1 KiB each.
const MOST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(now: Instant) -> Waiting {
        let source = Source { ssrc: 1, rtx: None };
        Waiting {
            stream: "live".parse().expect("a good name"),
            subject: None,
            etag: ids::etag(1),
            ice: ids::ice(),
            sdp_session: 1,
            audio: source,
            video: source,
            shape: Shape::default(),
            from: Key::address([192, 0, 2, 1].into()),
            created: now,
        }
    }

    #[test]
    fn an_offer_is_answered_once_and_in_time() {
        let (counters, now, id) = (Counters::default(), Instant::now(), SessionId(1));
        counters.put(id, waiting(now), now).expect("room");

        assert!(counters.view(id, now).is_some_and(|view| !view.connected));
        assert_eq!(counters.take(id, now + VALID).err(), Some(AnswerError::NoSession));
        let taken = counters.take(id, now + VALID / 2).expect("open");
        assert_eq!(counters.take(id, now).err(), Some(AnswerError::Answered));
        assert!(
            counters.view(id, now).is_none() && !counters.withdraw(id, now),
            "the session is another's business now"
        );
        counters.put_back(id, taken);

        assert!(counters.take(id, now).is_ok(), "an answer that was not taken may be mended");
    }

    #[test]
    fn an_offer_can_be_withdrawn() {
        let (counters, now, id) = (Counters::default(), Instant::now(), SessionId(1));
        counters.put(id, waiting(now), now).expect("room");

        assert!(!counters.withdraw(id, now + VALID));
        assert!(counters.withdraw(id, now));

        assert!(!counters.withdraw(id, now));
        assert_eq!(counters.take(id, now).err(), Some(AnswerError::NoSession));
    }

    #[test]
    fn offers_that_nobody_answers_make_room() {
        let (counters, now) = (Counters::default(), Instant::now());
        for n in 0..MOST {
            counters.put(SessionId(n as u128), waiting(now), now).expect("room");
        }

        assert!(matches!(counters.put(SessionId(u128::MAX), waiting(now), now), Err(OpenError::Full { .. })));
        assert!(counters.put(SessionId(u128::MAX), waiting(now), now + VALID).is_ok());

        assert_eq!(counters.offers().len(), 1);
    }
}
