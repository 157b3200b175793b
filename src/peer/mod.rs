//! One remote end: ICE, DTLS, SRTP. Sans-I/O: datagrams and time come in as arguments, datagrams go out.

pub mod dtls;
pub mod ice;
pub mod srtp;

use std::time::{Duration, Instant};

use bytes::BytesMut;

use self::dtls::{Agreed, DtlsError, Handshake, Identity, Progress, Resting};
use self::ice::Ice;
use self::srtp::{RtcpOpener, RtcpSealer, SrtpError};
use crate::wire::sdp::{DtlsRole, Fingerprint};

/// One remote end.
pub struct Peer {
    /// Its ICE agent.
    pub ice: Ice,
    phase: Phase,
}

/// How far the connection is; each state holds what exists in it.
enum Phase {
    Checking { role: DtlsRole, fingerprints: Vec<Fingerprint> },
    Handshaking(Box<Handshake>),
    Live { dtls: Dtls, rtcp_in: RtcpOpener, rtcp_out: RtcpSealer },
    Closed,
}

/// The DTLS association of a live peer.
enum Dtls {
    /// The peer may still repeat its last flight; `until` then the library's state is put to rest.
    Fresh {
        handshake: Box<Handshake>,
        until: Instant,
    },
    Resting(Resting),
}

/// What a DTLS datagram led to.
pub enum Event {
    /// Nothing to tell.
    Nothing,
    /// Keys are agreed.
    Connected(Agreed),
    /// The peer said goodbye.
    Closed,
}

impl Peer {
    /// A peer whose checks have begun.
    pub fn new(ice: Ice, role: DtlsRole, fingerprints: Vec<Fingerprint>) -> Self {
        Self { ice, phase: Phase::Checking { role, fingerprints } }
    }

    /// Begins the handshake where it is ours to begin; otherwise does nothing.
    /// # Errors
    /// When the library cannot begin.
    pub fn begin(&mut self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) -> Result<(), DtlsError> {
        if let Phase::Checking { role: DtlsRole::Client, fingerprints } = &mut self.phase {
            let fingerprints = std::mem::take(fingerprints);
            let handshake = Handshake::new(identity, DtlsRole::Client, fingerprints, now, out)?;
            self.phase = Phase::Handshaking(Box::new(handshake));
        }
        Ok(())
    }

    /// Takes in a DTLS datagram from an address that passed a check; replies are appended to `out`.
    /// # Errors
    /// When there will be no connection; what was appended should still be sent.
    pub fn receive_dtls(
        &mut self,
        identity: &Identity,
        datagram: &[u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Event, DtlsError> {
        self.begin(identity, now, out)?;
        if let Phase::Checking { role, fingerprints } = &mut self.phase {
            let handshake = Handshake::new(identity, *role, std::mem::take(fingerprints), now, out)?;
            self.phase = Phase::Handshaking(Box::new(handshake));
        }
        match &mut self.phase {
            Phase::Checking { .. } | Phase::Closed => Ok(Event::Nothing),
            Phase::Handshaking(handshake) => match handshake.read(identity, datagram, now, out)? {
                Progress::Pending => Ok(Event::Nothing),
                Progress::Closed => Ok(Event::Closed),
                Progress::Complete(agreed) => {
                    self.go_live(&agreed, now)?;
                    Ok(Event::Connected(agreed))
                }
            },
            Phase::Live { dtls, .. } => Ok(match dtls {
                Dtls::Fresh { handshake, .. } => match handshake.read(identity, datagram, now, out)? {
                    Progress::Closed => Event::Closed,
                    Progress::Pending | Progress::Complete(_) => Event::Nothing,
                },
                Dtls::Resting(resting) if resting.is_closed_by(identity, datagram, now) => Event::Closed,
                Dtls::Resting(_) => Event::Nothing,
            }),
        }
    }

    /// Opens RTCP in place; returns its plain length.
    /// # Errors
    /// As [`RtcpOpener::open`]; `Key` while there are no keys.
    pub fn open_rtcp(&mut self, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        match &mut self.phase {
            Phase::Live { rtcp_in, .. } => rtcp_in.open(datagram),
            Phase::Checking { .. } | Phase::Handshaking(_) | Phase::Closed => Err(SrtpError::Key),
        }
    }

    /// Protects a compound RTCP packet.
    /// # Errors
    /// As [`RtcpSealer::seal`]; `Key` while there are no keys.
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        match &mut self.phase {
            Phase::Live { rtcp_out, .. } => rtcp_out.seal(packet),
            Phase::Checking { .. } | Phase::Handshaking(_) | Phase::Closed => Err(SrtpError::Key),
        }
    }

    /// Keys are agreed and neither side has said goodbye.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Says goodbye and forgets the keys.
    pub fn close(&mut self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Live { dtls: Dtls::Fresh { mut handshake, .. }, .. } => handshake.close(now, out),
            Phase::Live { dtls: Dtls::Resting(resting), .. } => resting.close(identity, now, out),
            Phase::Checking { .. } | Phase::Handshaking(_) | Phase::Closed => {}
        }
    }

    /// Sends a lost flight again; puts a settled association to rest.
    pub fn handle_timeout(&mut self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) {
        match &mut self.phase {
            Phase::Handshaking(handshake) => handshake.handle_timeout(now, out),
            Phase::Live { dtls, .. } => {
                if let Dtls::Fresh { handshake, until } = dtls
                    && *until <= now
                {
                    match handshake.rest(identity) {
                        Ok(resting) => *dtls = Dtls::Resting(resting),
                        Err(_) => *until = now + SETTLED_AFTER,
                    }
                }
            }
            Phase::Checking { .. } | Phase::Closed => {}
        }
    }

    /// When [`Peer::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshaking(handshake) => handshake.next_timeout(),
            Phase::Live { dtls: Dtls::Fresh { until, .. }, .. } => Some(*until),
            Phase::Live { dtls: Dtls::Resting(_), .. } | Phase::Checking { .. } | Phase::Closed => None,
        }
    }

    fn go_live(&mut self, agreed: &Agreed, now: Instant) -> Result<(), DtlsError> {
        let rtcp_in = RtcpOpener::new(&agreed.theirs)?;
        let rtcp_out = RtcpSealer::new(&agreed.ours)?;
        if let Phase::Handshaking(handshake) = std::mem::replace(&mut self.phase, Phase::Closed) {
            let dtls = Dtls::Fresh { handshake, until: now + SETTLED_AFTER };
            self.phase = Phase::Live { dtls, rtcp_in, rtcp_out };
        }
        Ok(())
    }
}

/// A peer repeats its last flight for a few seconds when ours was lost (RFC 6347 §4.2.4).
const SETTLED_AFTER: Duration = Duration::from_secs(10);
