use rtc_crypto::providers::AwsLcRsProvider;

use self::link::{DELAY, End, Fate, Link, Ours, Plain, fair};
use super::*;
use crate::peer::srtp::{RtpOpener, RtpSealer};
use crate::wire::rtp::{self, Header};

mod hellos;
mod hostile;
mod link;
mod loss;
mod rest;

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const CM_32: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32;

/// Who shakes hands with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pairing {
    /// Our client, our server.
    Ours,
    /// The library's client, our server.
    OurServer,
    /// Our client, the library's server.
    OurClient,
}

/// Who, which profiles the library's end has, and what must come of it.
type Case = (Pairing, &'static [SrtpProtectionProfile], Profile);

/// Every pairing with the sets of profiles that matter.
const PAIRINGS: [Case; 6] = [
    (Pairing::Ours, &[], Profile::AesGcm),
    (Pairing::OurServer, &[GCM], Profile::AesGcm),
    (Pairing::OurServer, &[CM, GCM], Profile::AesGcm),
    (Pairing::OurServer, &[CM_32, CM], Profile::AesCm),
    (Pairing::OurClient, &[GCM, CM], Profile::AesGcm),
    (Pairing::OurClient, &[CM], Profile::AesCm),
];

/// Certificates, made once: keys take longer than handshakes.
struct Hall {
    ours: Arc<Identity>,
    other: Arc<Identity>,
    certificate: Certificate,
    certificate_fingerprint: Fingerprint,
}

impl Hall {
    fn new() -> Self {
        let crypto = AwsLcRsProvider::new();
        let certificate = Certificate::generate_self_signed(vec!["plain".into()], crypto.crypto()).expect("made");
        let value = digest::digest(&digest::SHA256, &certificate.certificate[0]).as_ref().to_vec();
        Self {
            ours: Arc::new(Identity::generate().expect("made")),
            other: Arc::new(Identity::generate().expect("made")),
            certificate,
            certificate_fingerprint: Fingerprint { hash: Hash::Sha256, value },
        }
    }

    fn plain(&self, is_client: bool, profiles: &[SrtpProtectionProfile]) -> HandshakeConfig {
        ConfigBuilder::default()
            .with_crypto_provider(Arc::new(AwsLcRsProvider::new()))
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(is_client, None)
            .expect("a configuration")
    }

    fn link<'a>(&self, pairing: Pairing, profiles: &[SrtpProtectionProfile], fate: Fate<'a>) -> Link<'a> {
        let now = Instant::now();
        let mut begun = Vec::new();
        let out = &mut begun;
        let their_fingerprint = match pairing {
            Pairing::Ours => self.other.fingerprint(),
            Pairing::OurServer | Pairing::OurClient => &self.certificate_fingerprint,
        };
        let client: Box<dyn End> = match pairing {
            Pairing::Ours => Box::new(Ours::new(&self.other, DtlsRole::Client, self.ours.fingerprint(), now, out)),
            Pairing::OurServer => Box::new(Plain::new(self.plain(true, profiles), true, now, out)),
            Pairing::OurClient => Box::new(Ours::new(&self.ours, DtlsRole::Client, their_fingerprint, now, out)),
        };
        let server: Box<dyn End> = match pairing {
            Pairing::Ours | Pairing::OurServer => {
                Box::new(Ours::new(&self.ours, DtlsRole::Server, their_fingerprint, now, out))
            }
            Pairing::OurClient => Box::new(Plain::new(self.plain(false, profiles), false, now, out)),
        };
        Link::new(client, server, begun, now, fate)
    }
}

/// What one side seals the other opens, both ways.
fn assert_same_keys(link: &Link<'_>, profile: Profile) {
    let client = link.client.agreed().expect("complete");
    let server = link.server.agreed().expect("complete");
    assert_eq!((client.profile, server.profile), (profile, profile));
    assert_opens(&client.ours, &server.theirs);
    assert_opens(&server.ours, &client.theirs);
}

fn assert_opens(sender: &Master, receiver: &Master) {
    let mut packet = Vec::new();
    rtp::write_header(&mut packet, true, false, 96, 7, 90_000, 1, &[]);
    packet.extend_from_slice(b"payload");
    let header = Header::parse(&packet).expect("we just wrote it");
    let mut sealer = RtpSealer::new(sender).expect("keys");
    sealer.seal(&mut packet, 0, header.len, 1, 7).expect("sealed");

    let end = RtpOpener::new(receiver).expect("keys").open(&header, &mut packet).expect("the same keys");

    assert_eq!(&packet[header.len..end], b"payload");
}

#[test]
fn both_ends_derive_the_same_keys_and_gcm_wins_wherever_both_have_it() {
    let hall = Hall::new();

    for (pairing, profiles, expected) in PAIRINGS {
        let mut link = hall.link(pairing, profiles, fair());

        let took = link.run(Duration::from_secs(1));

        assert!(took.is_some_and(|took| took <= 6 * DELAY), "{pairing:?} {profiles:?}: {took:?}");
        assert_eq!(link.sent, 6, "{pairing:?}: each flight is one datagram");
        assert_same_keys(&link, expected);
    }
}

#[test]
fn a_client_with_none_of_our_profiles_is_told_so() {
    let hall = Hall::new();

    for profiles in [&[CM_32][..], &[SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm, CM_32]] {
        let mut link = hall.link(Pairing::OurServer, profiles, fair());

        assert_eq!(link.run(Duration::from_secs(1)), None);

        assert!(matches!(link.server.error(), Some(DtlsError::Profile)), "{:?}", link.server.error());
        link.settle(Duration::from_secs(1));
        assert!(link.client.error().is_some(), "it got an alert");
    }
}

#[test]
fn a_client_without_srtp_gets_no_keys() {
    let mut link = Hall::new().link(Pairing::OurServer, &[], fair());

    assert_eq!(link.run(Duration::from_secs(1)), None);

    assert!(matches!(link.server.error(), Some(DtlsError::Profile)), "{:?}", link.server.error());
}

#[test]
fn any_of_several_fingerprints_of_any_length_will_do() {
    let hall = Hall::new();
    let der = &hall.certificate.certificate[0];
    let hashes = [(Hash::Sha256, &digest::SHA256), (Hash::Sha384, &digest::SHA384), (Hash::Sha512, &digest::SHA512)];
    for (hash, algorithm) in hashes {
        let right = Fingerprint { hash, value: digest::digest(algorithm, der).as_ref().to_vec() };
        let wrong = Fingerprint { hash, value: vec![1; right.value.len()] };
        for (fingerprints, is_right) in [
            (vec![right.clone()], true),
            (vec![wrong.clone(), right.clone()], true),
            (vec![wrong], false),
            (vec![], false),
        ] {
            let mut link = hall.link(Pairing::OurServer, &[GCM], fair());
            link.server = Box::new(Ours::with(&hall.ours, DtlsRole::Server, fingerprints, link.now, &mut Vec::new()));

            let took = link.run(Duration::from_secs(1));

            assert_eq!(took.is_some(), is_right, "{hash:?}");
            assert_eq!(matches!(link.server.error(), Some(DtlsError::Certificate)), !is_right, "{hash:?}");
        }
    }
}
