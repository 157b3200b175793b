//! DTLS 1.2 (RFC 6347) with `use_srtp` (RFC 5764), on `rtc-dtls`, with what that crate leaves to us: our preference
//! of SRTP profiles, bounds on what a stranger may make it do, and flights that survive any lost datagram.

mod crypto;
mod intake;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as LibraryError;

use self::crypto::Crypto;
use self::intake::{Intake, RECORD_HEADER};
use super::srtp::{self, Master, Profile, SrtpError};
use crate::wire::sdp::{DtlsRole, Fingerprint, Hash};

/// What all sessions share: our certificate and the prepared configurations.
pub struct Identity {
    crypto: Arc<dyn RTCCryptoProvider>,
    fingerprint: Fingerprint,
    server_gcm: Arc<HandshakeConfig>,
    server_cm: Arc<HandshakeConfig>,
    client: Arc<HandshakeConfig>,
}

impl Identity {
    /// Makes a certificate (ECDSA P-256) that lives as long as this value.
    /// # Errors
    /// When the crypto library fails, which it does on an unusable machine only.
    pub fn generate() -> Result<Self, DtlsError> {
        let crypto: Arc<dyn RTCCryptoProvider> = Arc::new(Crypto::default());
        let certificate =
            Certificate::generate_self_signed(vec!["tribune".into()], crypto.crypto()).map_err(DtlsError::library)?;
        let der = certificate.certificate.first().ok_or(DtlsError::Certificate)?;
        let value = digest::digest(&digest::SHA256, der).as_ref().to_vec();

        let gcm = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        let cm = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let build = |is_client: bool, profiles: Vec<SrtpProtectionProfile>| {
            ConfigBuilder::default()
                .with_crypto_provider(crypto.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(profiles)
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                // The peer is known by the fingerprint in its offer, which we compare before any key is used.
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_flight_interval(NEVER)
                .build(is_client, None)
                .map(Arc::new)
                .map_err(DtlsError::library)
        };
        Ok(Self {
            fingerprint: Fingerprint { hash: Hash::Sha256, value },
            server_gcm: build(false, vec![gcm])?,
            server_cm: build(false, vec![cm])?,
            client: build(true, vec![gcm, cm])?,
            crypto,
        })
    }

    /// SHA-256 of our certificate.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// Why a handshake, or what came after it, failed.
#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    /// The peer offers neither of our SRTP profiles.
    #[error("no common SRTP protection profile")]
    Profile,
    /// The peer's certificate is none of those in its offer.
    #[error("the peer's certificate does not match its fingerprint")]
    Certificate,
    /// More handshake data than an honest peer needs.
    #[error("handshake exceeds its bounds")]
    Bounds,
    /// SRTP keys could not be made.
    #[error(transparent)]
    Srtp(#[from] SrtpError),
    /// The library's own word.
    #[error("{0}")]
    Library(String),
}

impl DtlsError {
    #[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
    fn library(error: LibraryError) -> Self {
        Self::Library(error.to_string())
    }
}

/// What a handshake agreed on.
pub struct Agreed {
    /// The SRTP profile.
    pub profile: Profile,
    /// Keys for what we send.
    pub ours: Master,
    /// Keys for what we receive.
    pub theirs: Master,
}

/// What a datagram led to.
pub enum Progress {
    /// Nothing to tell.
    Pending,
    /// The handshake is complete and the certificate is the offered one.
    Complete(Agreed),
    /// The peer closed.
    Closed,
}

/// A handshake under way, or just over.
pub struct Handshake {
    endpoint: Endpoint,
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    stage: Stage,
    intake: Intake,
    /// Datagrams of the peer's first flight, for a second try with the other profile; `None` once it is decided.
    first_flight: Option<Vec<BytesMut>>,
    /// What we sent last and when; sent again until the peer goes on.
    last_flight: Vec<BytesMut>,
    sent_at: Instant,
    resends: u32,
}

/// How far a handshake is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Shaking,
    Complete,
    /// It failed, or one side has said goodbye.
    Over,
}

impl Handshake {
    /// A server that waits for the ClientHello, or a client that has queued its own.
    /// # Errors
    /// When the library cannot begin.
    pub fn new(
        identity: &Identity,
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Self, DtlsError> {
        let endpoint = match role {
            DtlsRole::Server => Endpoint::new(PEER, TransportProtocol::UDP, Some(identity.server_gcm.clone())),
            DtlsRole::Client => Endpoint::new(PEER, TransportProtocol::UDP, None),
        };
        let first_flight = (role == DtlsRole::Server).then(Vec::new);
        let mut handshake = Self {
            endpoint,
            role,
            fingerprints,
            stage: Stage::Shaking,
            intake: Intake::default(),
            first_flight,
            last_flight: Vec::new(),
            sent_at: now,
            resends: 0,
        };
        if role == DtlsRole::Client {
            handshake.endpoint.connect(now, PEER, identity.client.clone(), None).map_err(DtlsError::library)?;
            handshake.send(now, out);
        }
        Ok(handshake)
    }

    /// Takes in a datagram; what is to be sent is appended to `out`.
    /// # Errors
    /// When the handshake cannot succeed any more. What was appended, perhaps an alert, should still be sent.
    pub fn read(
        &mut self,
        identity: &Identity,
        datagram: &[u8],
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Result<Progress, DtlsError> {
        let (fed, repeats) = match self.stage {
            Stage::Shaking => {
                let taken = self.intake.take(datagram).inspect_err(|_| self.stage = Stage::Over)?;
                (taken.datagram, taken.repeats)
            }
            Stage::Complete => (self.intake.take_encrypted(datagram), false),
            Stage::Over => return Ok(Progress::Pending),
        };
        if repeats && now.duration_since(self.sent_at) >= SHORTEST_RESEND {
            self.resend(now, out);
        }
        if fed.is_empty() {
            return Ok(Progress::Pending);
        }

        let result = self.feed(identity, &fed, now);
        if self.send(now, out) {
            self.first_flight = None;
        }
        let progress = match result {
            Ok(events) => self.progress(&events),
            Err(LibraryError::ErrServerNoMatchingSrtpProfile) => Err(DtlsError::Profile),
            // A complete association outlives anything that does not authenticate.
            Err(LibraryError::ErrAlertFatalOrClose) if self.stage == Stage::Complete => Ok(Progress::Closed),
            Err(_) if self.stage == Stage::Complete => Ok(Progress::Pending),
            Err(error) => Err(DtlsError::library(error)),
        };
        if matches!(progress, Err(_) | Ok(Progress::Closed)) {
            self.stage = Stage::Over;
        }
        if matches!(progress, Err(DtlsError::Certificate)) {
            // The library has told the peer that all is well.
            self.endpoint.stop(now, PEER);
            self.send(now, out);
        }
        progress
    }

    /// Hands a datagram to the library, to a second one when the first has the wrong profile.
    fn feed(&mut self, identity: &Identity, fed: &[u8], now: Instant) -> Result<Vec<EndpointEvent>, LibraryError> {
        if let Some(kept) = &mut self.first_flight {
            kept.push(BytesMut::from(fed));
        }
        let result = self.endpoint.read(now, PEER, None, BytesMut::from(fed));
        if !matches!(result, Err(LibraryError::ErrServerNoMatchingSrtpProfile)) {
            return result;
        }
        let Some(kept) = self.first_flight.take() else {
            return result;
        };
        // The alert is dropped with the endpoint: the same hello gets another server, which knows the other profile.
        self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(identity.server_cm.clone()));
        let mut result = Ok(Vec::new());
        for datagram in kept {
            result = self.endpoint.read(now, PEER, None, datagram);
            if result.is_err() {
                break;
            }
        }
        result
    }

    /// Sends the last flight again when it is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.resend(now, out);
        }
    }

    /// When [`Handshake::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let waits = self.stage == Stage::Shaking && !self.last_flight.is_empty();
        waits.then(|| self.sent_at + FIRST_RESEND * 2_u32.pow(self.resends.min(6)))
    }

    /// Says goodbye: a close_notify for a complete handshake.
    pub fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if self.stage == Stage::Complete {
            self.stage = Stage::Over;
            self.endpoint.stop(now, PEER);
            self.send(now, out);
        }
    }

    /// All that is needed to say goodbye later, in a few hundred bytes instead of the library's 11 KB.
    /// # Errors
    /// Before the handshake is complete.
    pub fn rest(&self, identity: &Identity) -> Result<Resting, DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::Certificate)?;
        let mut bare = State::new(identity.crypto.clone(), state.is_client());
        bare.unmarshal_binary(&state.marshal_binary().map_err(DtlsError::library)?).map_err(DtlsError::library)?;
        // It has been compared; nobody asks for it again.
        bare.peer_certificates = Vec::new();
        let bytes = bare.marshal_binary().map_err(DtlsError::library)?;
        Ok(Resting { state: bytes.into_boxed_slice() })
    }

    fn progress(&mut self, events: &[EndpointEvent]) -> Result<Progress, DtlsError> {
        if events.iter().any(|e| matches!(e, EndpointEvent::PeerClosed)) {
            return Ok(Progress::Closed);
        }
        if self.stage == Stage::Complete || !events.iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete)) {
            return Ok(Progress::Pending);
        }
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::Certificate)?;
        let shown = state.peer_certificates.first().ok_or(DtlsError::Certificate)?;
        if !self.fingerprints.iter().any(|f| matches(f, shown)) {
            return Err(DtlsError::Certificate);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AesGcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::AesCm,
            _ => return Err(DtlsError::Profile),
        };
        let material = state
            .export_keying_material(EXPORTER_LABEL, &[], profile.keying_material_len())
            .map_err(DtlsError::library)?;
        let (ours, theirs) = srtp::masters(profile, material.as_ref(), self.role == DtlsRole::Client)?;
        self.stage = Stage::Complete;
        self.first_flight = None;
        self.last_flight = Vec::new();
        self.fingerprints = Vec::new();
        Ok(Progress::Complete(Agreed { profile, ours, theirs }))
    }

    /// Moves what the library wants to send to `out`; remembers it as the last flight.
    fn send(&mut self, now: Instant, out: &mut Vec<BytesMut>) -> bool {
        let mut flight = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit() {
            flight.push(transmit.message);
        }
        if flight.is_empty() {
            return false;
        }
        out.extend(flight.iter().cloned());
        self.last_flight = flight;
        self.resends = 0;
        self.sent_at = now;
        true
    }

    /// Sends the last flight again.
    fn resend(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        let resends = self.resends + 1;
        // A server that has sent its HelloVerifyRequest or its Finished has no timer. It sends them again when ours are
        // repeated, and for that they must not look like copies that the net made: the library numbers them anew.
        let renumbers = self.role == DtlsRole::Client && resends <= MAX_RENUMBERED && !self.awaits_certificate();
        let due = renumbers.then(|| self.endpoint.poll_timeout(&PEER));
        if let Some(due) = due.flatten() {
            // A failure leaves nothing to send, and the copies remain.
            let _ = self.endpoint.handle_timeout(PEER, due);
        }
        if !self.send(now, out) {
            // Where the peer has a timer, copies do, and an end of this library forgets its timer for any other repetition.
            out.extend(self.last_flight.iter().cloned());
        }
        self.sent_at = now;
        self.resends = resends;
    }

    /// The last flight is a ClientHello with a cookie.
    fn awaits_certificate(&self) -> bool {
        let hello = self.last_flight.first().and_then(|d| d.get(RECORD_HEADER..RECORD_HEADER + 6));
        matches!(hello, Some([CLIENT_HELLO, _, _, _, message @ ..]) if message != [0, 0])
    }
}

/// A complete association at rest.
pub struct Resting {
    state: Box<[u8]>,
}

impl Resting {
    /// Reads a datagram that came late. `true` when it is the peer's authentic goodbye or fatal alert.
    pub fn is_closed_by(&self, identity: &Identity, datagram: &[u8], now: Instant) -> bool {
        let alerts = Intake::alerts(datagram);
        if alerts.is_empty() {
            return false;
        }
        let Some(mut endpoint) = self.wake(identity, now) else {
            return false;
        };
        match endpoint.read(now, PEER, None, BytesMut::from(alerts.as_slice())) {
            Ok(events) => events.iter().any(|e| matches!(e, EndpointEvent::PeerClosed)),
            Err(error) => matches!(error, LibraryError::ErrAlertFatalOrClose),
        }
    }

    /// Our goodbye: a close_notify.
    pub fn close(&self, identity: &Identity, now: Instant, out: &mut Vec<BytesMut>) {
        let Some(mut endpoint) = self.wake(identity, now) else {
            return;
        };
        endpoint.stop(now, PEER);
        while let Some(transmit) = endpoint.poll_transmit() {
            out.push(transmit.message);
        }
    }

    fn wake(&self, identity: &Identity, now: Instant) -> Option<Endpoint> {
        let mut state = State::new(identity.crypto.clone(), false);
        state.unmarshal_binary(&self.state).ok()?;
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        endpoint.connect(now, PEER, identity.client.clone(), Some(state)).ok()?;
        Some(endpoint)
    }
}

fn matches(fingerprint: &Fingerprint, certificate: &[u8]) -> bool {
    let algorithm = match fingerprint.hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, certificate).as_ref() == fingerprint.value
}

/// The library names connections by address; ours has one connection, whatever address the peer moves to.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
/// RFC 5764 §4.2
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// The library forgets to re-arm its timer after a partial flight: ours decides when, the library's never fires.
const NEVER: Duration = Duration::from_hours(24);
/// FFmpeg reads past a ClientHello that comes with the answer to its check, so the first flight is often lost.
const FIRST_RESEND: Duration = Duration::from_millis(100);
/// A peer that repeats itself gets our flight again at once, but not more often than this.
const SHORTEST_RESEND: Duration = Duration::from_millis(50);
const CLIENT_HELLO: u8 = 1;
/// The library fails the handshake when it sends a flight for the eighth time.
const MAX_RENUMBERED: u32 = 6;

#[cfg(test)]
mod tests;
