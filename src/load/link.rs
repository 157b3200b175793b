//! The way to the server: a controlling ICE agent, a DTLS end, and RTCP in the clear. Viewers and the presenter have
//! one each. Sans-I/O.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Failure;
use super::offer::Answer;
use crate::peer::dtls::{Agreed, DtlsError, Handshake, Identity, Progress};
use crate::peer::srtp::{RtcpOpener, RtcpSealer};
use crate::wire::sdp::{DtlsRole, IceCredentials};
use crate::wire::stun::{Check, Class, Key, Message};
use crate::wire::{Protocol, stun};

/// A way that is being made, stands, or is over.
pub(super) struct Link {
    remote: SocketAddr,
    local_key: Key,
    remote_key: Key,
    username: String,
    /// Random; a check's transaction is this and a number.
    seed: u64,
    checks: u32,
    check_at: Instant,
    /// When it must stand.
    deadline: Instant,
    last_heard: Instant,
    phase: Phase,
}

/// How far it is.
enum Phase {
    Checking { role: DtlsRole, answer: Box<Answer> },
    Handshaking(Box<Handshake>),
    Live(Box<Live>),
    Over,
}

/// What a way that stands has.
struct Live {
    handshake: Handshake,
    rtcp_in: RtcpOpener,
    rtcp_out: RtcpSealer,
}

/// What a datagram, or time, led to.
pub(super) enum Heard<'a> {
    /// Nothing that others need to know.
    Nothing,
    /// Keys are agreed.
    Live(Agreed),
    /// A protected packet.
    Rtp(&'a mut [u8]),
    /// RTCP in the clear.
    Rtcp(&'a [u8]),
    /// RTCP that could not be opened.
    Undecryptable,
    /// It is over.
    Failed(Failure),
}

impl Link {
    /// Begins to check `remote` now, and gives up after `patience`. `seed` is random.
    pub(super) fn new(
        local: &IceCredentials,
        answer: Answer,
        remote: SocketAddr,
        seed: u64,
        patience: Duration,
        now: Instant,
    ) -> Self {
        Self {
            remote,
            local_key: Key::new(&local.pwd),
            remote_key: Key::new(&answer.ice.pwd),
            username: format!("{}:{}", answer.ice.ufrag, local.ufrag),
            seed,
            checks: 0,
            check_at: now,
            deadline: now + patience,
            last_heard: now,
            phase: Phase::Checking { role: answer.dtls, answer: Box::new(answer) },
        }
    }

    /// Takes in a datagram; what is to be sent is appended to `out`.
    pub(super) fn receive<'a>(
        &mut self,
        identity: &Identity,
        datagram: &'a mut [u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Heard<'a> {
        match (Protocol::of(datagram), &mut self.phase) {
            (Some(Protocol::Stun), _) => self.receive_stun(identity, datagram, now, out),
            (Some(Protocol::Dtls), _) => {
                let heard = self.receive_dtls(identity, datagram, now, out);
                heard.unwrap_or_else(|error| self.fail(Failure::Dtls(error.to_string())))
            }
            (Some(Protocol::Rtp), Phase::Live(_)) => Heard::Rtp(datagram),
            (Some(Protocol::Rtcp), Phase::Live(live)) => match live.rtcp_in.open(datagram) {
                Ok(end) => {
                    self.last_heard = now;
                    Heard::Rtcp(datagram.get(..end).unwrap_or_default())
                }
                Err(_) => Heard::Undecryptable,
            },
            (Some(Protocol::Rtp | Protocol::Rtcp) | None, _) => Heard::Nothing,
        }
    }

    /// Does what is due: checks and lost flights. Says why when it gives up.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) -> Option<Failure> {
        let over = match &mut self.phase {
            Phase::Over => return None,
            Phase::Checking { .. } if now >= self.deadline => Some(Failure::NoCheck),
            Phase::Handshaking(_) if now >= self.deadline => Some(Failure::Dtls("it did not end in time".into())),
            Phase::Live(_) if now >= self.last_heard + SILENCE => Some(Failure::Silent),
            Phase::Checking { .. } | Phase::Live(_) => None,
            Phase::Handshaking(handshake) => {
                handshake.handle_timeout(now, out);
                None
            }
        };
        if over.is_some() {
            self.phase = Phase::Over;
        } else if self.check_at <= now {
            self.check(now, out);
        }
        over
    }

    /// When [`Link::handle_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Checking { .. } => Some(self.deadline),
            Phase::Handshaking(handshake) => handshake.next_timeout().map(|at| at.min(self.deadline)),
            Phase::Live(_) => None,
            Phase::Over => return self.check_at + Duration::from_hours(1),
        };
        phase.map_or(self.check_at, |at| at.min(self.check_at))
    }

    /// A source name of our own.
    pub(super) fn ssrc(&self) -> u32 {
        self.seed as u32
    }

    /// Something authentic came that is not its own: a media packet.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Protects and sends RTCP.
    pub(super) fn send_rtcp(&mut self, mut packet: Vec<u8>, out: &mut Vec<BytesMut>) {
        if let Phase::Live(live) = &mut self.phase
            && !packet.is_empty()
            && live.rtcp_out.seal(&mut packet).is_ok()
        {
            out.push(BytesMut::from(packet.as_slice()));
        }
    }

    /// Ends it without a word.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
    }

    /// Ends it with `close_notify`.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if let Phase::Live(live) = &mut self.phase {
            live.handshake.close(now, out);
        }
        self.end();
    }

    fn fail<'a>(&mut self, failure: Failure) -> Heard<'a> {
        self.end();
        Heard::Failed(failure)
    }

    /// A connectivity check that nominates, later a consent check (RFC 7675 §5.1).
    fn check(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        self.checks = self.checks.wrapping_add(1);
        let mut datagram = Vec::with_capacity(128);
        let check = Check {
            transaction: self.transaction(self.checks),
            username: &self.username,
            priority: PRIORITY,
            controlling: self.seed,
            use_candidate: true,
        };
        stun::write_check(&mut datagram, &check, &self.remote_key);
        out.push(BytesMut::from(datagram.as_slice()));
        let interval = match &self.phase {
            Phase::Checking { .. } => FIRST_CHECKS * 2_u32.pow(self.checks.min(4) - 1),
            Phase::Handshaking(_) | Phase::Live(_) | Phase::Over => CONSENT,
        };
        self.check_at = now + interval;
    }

    /// What changes comes first: servers may look at a part only.
    fn transaction(&self, number: u32) -> [u8; 12] {
        let mut transaction = [0; 12];
        let (head, tail) = transaction.split_at_mut(8);
        head.copy_from_slice(&self.seed.wrapping_add(number.into()).to_be_bytes());
        tail.copy_from_slice(&((self.seed >> 32) as u32).to_be_bytes());
        transaction
    }

    fn receive_stun<'a>(
        &mut self,
        identity: &Identity,
        datagram: &[u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Heard<'a> {
        let Some(message) = Message::parse(datagram) else {
            return Heard::Nothing;
        };
        match message.class {
            // A server with a full agent checks, too.
            Class::Request if message.verify(&self.local_key) => {
                let mut reply = Vec::with_capacity(96);
                stun::write_success(&mut reply, &message.transaction, self.remote, &self.local_key);
                out.push(BytesMut::from(reply.as_slice()));
            }
            Class::Success if self.is_ours(&message) && message.verify(&self.remote_key) => {
                self.last_heard = now;
                if let Err(error) = self.begin(identity, now, out) {
                    return self.fail(Failure::Dtls(error.to_string()));
                }
            }
            Class::Request | Class::Success | Class::Error | Class::Indication => {}
        }
        Heard::Nothing
    }

    fn is_ours(&self, message: &Message<'_>) -> bool {
        let oldest = self.checks.saturating_sub(OUTSTANDING);
        (oldest..=self.checks).any(|number| self.transaction(number) == message.transaction)
    }

    /// The path works: the handshake begins.
    fn begin(&mut self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) -> Result<(), DtlsError> {
        let Phase::Checking { role, answer } = &self.phase else {
            return Ok(());
        };
        let handshake = Handshake::new(identity, *role, answer.fingerprints.clone(), now, out)?;
        self.phase = Phase::Handshaking(Box::new(handshake));
        self.check_at = now + CONSENT;
        Ok(())
    }

    fn receive_dtls<'a>(
        &mut self,
        identity: &Identity,
        datagram: &[u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Heard<'a>, DtlsError> {
        let handshake = match &mut self.phase {
            Phase::Handshaking(handshake) => handshake.as_mut(),
            Phase::Live(live) => &mut live.handshake,
            Phase::Checking { .. } | Phase::Over => return Ok(Heard::Nothing),
        };
        Ok(match handshake.read(identity, datagram, now, out)? {
            Progress::Pending => Heard::Nothing,
            Progress::Complete(agreed) => {
                self.go_live(&agreed, now)?;
                Heard::Live(agreed)
            }
            Progress::Closed => self.fail(Failure::Closed),
        })
    }

    fn go_live(&mut self, agreed: &Agreed, now: Instant) -> Result<(), DtlsError> {
        let rtcp_in = RtcpOpener::new(&agreed.theirs)?;
        let rtcp_out = RtcpSealer::new(&agreed.ours)?;
        if let Phase::Handshaking(handshake) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.phase = Phase::Live(Box::new(Live { handshake: *handshake, rtcp_in, rtcp_out }));
        }
        self.last_heard = now;
        Ok(())
    }
}

/// From the answer on; a browser gives up a little later.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// The second check follows the first so soon, then in doubling intervals, at most eight times as long.
const FIRST_CHECKS: Duration = Duration::from_millis(50);
/// RFC 7675 §5.1 has 5 s; browsers use half of it.
const CONSENT: Duration = Duration::from_millis(2_500);
/// Unanswered checks whose answer would still be taken.
const OUTSTANDING: u32 = 8;
/// After this long without anything authentic the server is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// Of a peer-reflexive candidate with the best local preference (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
