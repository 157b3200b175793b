//! DTLS 1.2 (RFC 6347) with `use_srtp` (RFC 5764), on `rtc-dtls`, with what that crate leaves to us: our preference
//! of SRTP profiles, bounds on what a stranger may make it do, and flights that survive any lost datagram.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as LibraryError;

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
        let crypto: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
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
    complete: bool,
    /// Datagrams of the peer's first flight, for a second try with the other profile; `None` once it is decided.
    first_flight: Option<Vec<BytesMut>>,
    /// What we sent last; sent again until the peer goes on.
    last_flight: Vec<BytesMut>,
    resend_at: Option<Instant>,
    resends: u32,
    records: usize,
    bytes: usize,
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
            complete: false,
            first_flight,
            last_flight: Vec::new(),
            resend_at: None,
            resends: 0,
            records: 0,
            bytes: 0,
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
        if !self.complete {
            self.account(datagram)?;
            if let Some(kept) = &mut self.first_flight {
                kept.push(BytesMut::from(datagram));
            }
        }
        let mut result = self.endpoint.read(now, PEER, None, BytesMut::from(datagram));
        if matches!(result, Err(LibraryError::ErrServerNoMatchingSrtpProfile))
            && let Some(kept) = self.first_flight.take()
        {
            // It drops the alert with the endpoint: the same hello gets another server, which knows the other profile.
            self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(identity.server_cm.clone()));
            result = Ok(Vec::new());
            for datagram in kept {
                result = self.endpoint.read(now, PEER, None, datagram);
                if result.is_err() {
                    break;
                }
            }
        }

        let sent = self.send(now, out);
        if sent {
            self.first_flight = None;
        }
        match result {
            Ok(events) => self.progress(&events),
            Err(LibraryError::ErrServerNoMatchingSrtpProfile) => Err(DtlsError::Profile),
            // A complete association outlives anything that does not authenticate.
            Err(LibraryError::ErrAlertFatalOrClose) if self.complete => Ok(Progress::Closed),
            Err(_) if self.complete => Ok(Progress::Pending),
            Err(error) => Err(DtlsError::library(error)),
        }
    }

    /// Sends the last flight again when it is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if self.complete || self.resend_at.is_none_or(|at| at > now) {
            return;
        }
        out.extend(self.last_flight.iter().cloned());
        self.resends += 1;
        self.resend_at = Some(now + FIRST_RESEND * 2_u32.pow(self.resends.min(4)));
    }

    /// When [`Handshake::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.complete { None } else { self.resend_at }
    }

    /// Says goodbye: a close_notify for a complete handshake.
    pub fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if self.complete {
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
        if self.complete || !events.iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete)) {
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
        self.complete = true;
        self.first_flight = None;
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
        self.resend_at = Some(now + FIRST_RESEND);
        true
    }

    /// The library recurses per fragment and rescans after each record: bound both before it sees them.
    fn account(&mut self, datagram: &[u8]) -> Result<(), DtlsError> {
        self.bytes += datagram.len();
        let mut rest = datagram;
        while let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER>() {
            self.records += 1;
            let [content_type, .., high, low] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            let epoch_0 = header[3] == 0 && header[4] == 0;
            if content_type == HANDSHAKE
                && epoch_0
                && let [_, a, b, c, ..] = *body
                && u32::from_be_bytes([0, a, b, c]) > MAX_MESSAGE
            {
                return Err(DtlsError::Bounds);
            }
            let Some((_, next)) = body.split_at_checked(length) else {
                break;
            };
            rest = next;
        }
        if self.bytes > MAX_BYTES || self.records > MAX_RECORDS {
            return Err(DtlsError::Bounds);
        }
        Ok(())
    }
}

/// A complete association at rest.
pub struct Resting {
    state: Box<[u8]>,
}

impl Resting {
    /// Reads a datagram that came late. `true` when it is the peer's authentic goodbye.
    pub fn is_closed_by(&self, identity: &Identity, datagram: &[u8], now: Instant) -> bool {
        let Some(mut endpoint) = self.wake(identity, now) else {
            return false;
        };
        matches!(
            endpoint.read(now, PEER, None, BytesMut::from(datagram)),
            Ok(events) if events.iter().any(|e| matches!(e, EndpointEvent::PeerClosed))
        )
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
/// The library forgets to re-arm its timer after a partial flight, so it has none: we resend.
const NEVER: Duration = Duration::from_secs(86_400);
const FIRST_RESEND: Duration = Duration::from_millis(250);
const RECORD_HEADER: usize = 13;
const HANDSHAKE: u8 = 22;
/// Bytes of one handshake message.
const MAX_MESSAGE: u32 = 8 * 1024;
/// Bytes of an unfinished handshake: a browser's flights are below 3 KB and are repeated a few times at most.
const MAX_BYTES: usize = 32 * 1024;
const MAX_RECORDS: usize = 128;

#[cfg(test)]
mod tests {}
