use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::wire::rtp;

const SSRC: u32 = 0x1234_5678;

fn material(profile: Profile) -> Vec<u8> {
    (0..profile.keying_material_len() as u8).map(|b| b.wrapping_mul(37)).collect()
}

fn packet(sequence: u16, payload: &[u8]) -> (Vec<u8>, Header) {
    let mut packet = Vec::new();
    rtp::write_header(&mut packet, true, false, 96, sequence, 90_000, SSRC, &[]);
    packet.extend_from_slice(payload);
    let header = Header::parse(&packet).expect("we just wrote it");
    (packet, header)
}

fn pair(profile: Profile) -> (RtpSealer, RtpOpener) {
    let (ours, _) = masters(profile, &material(profile), false).expect("right length");
    let (_, theirs) = masters(profile, &material(profile), true).expect("right length");
    (RtpSealer::new(&ours).expect("keys"), RtpOpener::new(&theirs).expect("keys"))
}

#[test]
fn what_is_sealed_opens_across_the_wrap_of_the_sequence_number() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let (mut sealer, mut opener) = pair(profile);

        for index in 65_530..65_545_u64 {
            let (mut packet, header) = packet(index as u16, b"payload");
            sealer.seal(&mut packet, 0, header.len, SSRC, index - 65_530 + 65_530).expect("sealed");
            assert_ne!(&packet[12..19], b"payload");

            let end = opener.open(&header, &mut packet).unwrap_or_else(|e| panic!("{profile:?} {index}: {e}"));

            assert_eq!(&packet[header.len..end], b"payload");
        }
    }
}

/// The other implementation.
fn context(master: &Master) -> Context {
    let profile = match master.profile {
        Profile::AesGcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AesCm => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let crypto = AwsLcRsProvider::new();
    Context::new(&master.key, &master.salt, profile, None, None, crypto.crypto()).expect("keys")
}

#[test]
fn another_implementation_opens_what_we_seal_and_we_open_what_it_seals() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let (ours, theirs) = masters(profile, &material(profile), false).expect("right length");
        let (mut they_open, mut they_seal) = (context(&ours), context(&theirs));
        let mut sealer = RtpSealer::new(&ours).expect("keys");
        let mut opener = RtpOpener::new(&theirs).expect("keys");

        for index in 65_500..65_600_u64 {
            let (mut sealed, header) = packet(index as u16, b"to them");
            sealer.seal(&mut sealed, 0, header.len, SSRC, index).expect("sealed");
            assert_eq!(&they_open.decrypt_rtp(&sealed).expect("they open it")[12..], b"to them", "{profile:?} {index}");

            let (plain, header) = packet(index as u16, b"to us");
            let mut sealed = they_seal.encrypt_rtp(&plain).expect("they seal it").to_vec();
            let end = opener.open(&header, &mut sealed).expect("we open it");
            assert_eq!(&sealed[header.len..end], b"to us", "{profile:?} {index}");
        }

        let mut report = vec![0x80, 201, 0, 1];
        report.extend_from_slice(&SSRC.to_be_bytes());
        report.extend_from_slice(&[0x81, 206, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        let mut sealer = RtcpSealer::new(&ours).expect("keys");
        let mut opener = RtcpOpener::new(&theirs).expect("keys");
        for _ in 0..3 {
            let mut sealed = report.clone();
            sealer.seal(&mut sealed).expect("sealed");
            assert_eq!(&they_open.decrypt_rtcp(&sealed).expect("they open it")[..], report, "{profile:?}");

            let mut sealed = they_seal.encrypt_rtcp(&report).expect("they seal it").to_vec();
            let copy = sealed.clone();
            let end = opener.open(&mut sealed).expect("we open it");
            assert_eq!(&sealed[..end], report, "{profile:?}");
            assert_eq!(opener.open(&mut copy.clone()), Err(SrtpError::Replay), "{profile:?}");
        }
    }
}

#[test]
fn nothing_is_kept_of_sources_that_are_not_authentic() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let (_, mut opener) = pair(profile);

        for ssrc in 0..1000_u32 {
            let mut forged = Vec::new();
            rtp::write_header(&mut forged, false, false, 96, 1, 0, ssrc, &[]);
            forged.resize(60, 7);
            let header = Header::parse(&forged).expect("we just wrote it");
            assert_eq!(opener.open(&header, &mut forged), Err(SrtpError::Authentication));
        }

        assert!(opener.sources.is_empty());
    }
}

#[test]
fn truncated_packets_are_refused_at_every_length() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let (ours, theirs) = masters(profile, &material(profile), false).expect("right length");
        let mut sealed = vec![0x80, 201, 0, 1, 1, 2, 3, 4];
        RtcpSealer::new(&theirs).expect("keys").seal(&mut sealed).expect("sealed");
        let mut rtcp = RtcpOpener::new(&theirs).expect("keys");
        let (mut rtp_packet, header) = packet(1, b"x");
        RtpSealer::new(&ours).expect("keys").seal(&mut rtp_packet, 0, header.len, SSRC, 1).expect("sealed");
        let mut rtp = RtpOpener::new(&ours).expect("keys");

        for len in 0..sealed.len() {
            assert!(rtcp.open(&mut sealed[..len].to_vec()).is_err(), "{profile:?} RTCP of {len} bytes");
        }
        for len in header.len..rtp_packet.len() {
            assert!(rtp.open(&header, &mut rtp_packet[..len].to_vec()).is_err(), "{profile:?} RTP of {len} bytes");
        }
    }
}

#[test]
fn a_replayed_or_forged_packet_is_refused_and_harms_nothing() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let (mut sealer, mut opener) = pair(profile);
        let (mut first, header) = packet(100, b"once");
        sealer.seal(&mut first, 0, header.len, SSRC, 100).expect("sealed");

        let mut forged = first.clone();
        forged[14] ^= 1;
        assert!(opener.open(&header, &mut forged).is_err());
        assert!(opener.open(&header, &mut first.clone()).is_ok());
        assert!(opener.open(&header, &mut first.clone()).is_err());
    }
}

#[test]
fn no_more_than_sixteen_sources_are_kept() {
    let (mut sealer, mut opener) = pair(Profile::AesGcm);

    for ssrc in 0..20_u32 {
        let mut packet = Vec::new();
        rtp::write_header(&mut packet, false, false, 96, 1, 0, ssrc, &[]);
        packet.push(1);
        let header = Header::parse(&packet).expect("we just wrote it");
        sealer.seal(&mut packet, 0, header.len, ssrc, 1).expect("sealed");

        let opened = opener.open(&header, &mut packet);

        assert_eq!(opened.is_ok(), ssrc < 16, "source {ssrc}");
    }
}

#[test]
fn a_late_packet_within_the_window_opens_once() {
    let (mut sealer, mut opener) = pair(Profile::AesGcm);
    let mut seal = |sequence: u16| {
        let (mut packet, header) = packet(sequence, b"x");
        sealer.seal(&mut packet, 0, header.len, SSRC, sequence.into()).expect("sealed");
        (packet, header)
    };
    let (newest, newest_header) = seal(3000);
    let (late, late_header) = seal(2100);
    let (too_late, too_late_header) = seal(1900);

    assert!(opener.open(&newest_header, &mut newest.clone()).is_ok());
    assert!(opener.open(&late_header, &mut late.clone()).is_ok());
    assert_eq!(opener.open(&late_header, &mut late.clone()), Err(SrtpError::Replay));
    assert_eq!(opener.open(&too_late_header, &mut too_late.clone()), Err(SrtpError::Replay));
}
