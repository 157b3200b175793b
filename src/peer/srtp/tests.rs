use rtc_crypto::providers::AwsLcRsProvider;

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
    let crypto = AwsLcRsProvider::new();
    let (ours, _) = masters(profile, &material(profile), false).expect("right length");
    let (_, theirs) = masters(profile, &material(profile), true).expect("right length");
    (RtpSealer::new(&ours, &crypto).expect("keys"), RtpOpener::new(&theirs, &crypto).expect("keys"))
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

#[test]
fn the_library_opens_what_we_seal_and_we_open_what_it_seals() {
    let crypto = AwsLcRsProvider::new();
    let material = material(Profile::AesGcm);
    let (ours, theirs) = masters(Profile::AesGcm, &material, false).expect("right length");
    let mut their_receive = context(&ours, &crypto).expect("keys");
    let mut their_send = context(&theirs, &crypto).expect("keys");
    let mut sealer = RtpSealer::new(&ours, &crypto).expect("keys");
    let mut opener = RtpOpener::new(&theirs, &crypto).expect("keys");

    let (mut sealed, header) = packet(7, b"to them");
    sealer.seal(&mut sealed, 0, header.len, SSRC, 7).expect("sealed");
    assert_eq!(&their_receive.decrypt_rtp(&sealed).expect("they open it")[12..], b"to them");

    let (plain, header) = packet(9, b"to us");
    let mut sealed = their_send.encrypt_rtp(&plain).expect("they seal it").to_vec();
    let end = opener.open(&header, &mut sealed).expect("we open it");
    assert_eq!(&sealed[header.len..end], b"to us");

    let mut report = vec![0x80, 201, 0, 1];
    report.extend_from_slice(&SSRC.to_be_bytes());
    let mut sealed = report.clone();
    RtcpSealer::new(&ours, &crypto).expect("keys").seal(&mut sealed).expect("sealed");
    assert_eq!(&their_receive.decrypt_rtcp(&sealed).expect("they open it")[..], report);

    let mut sealed = their_send.encrypt_rtcp(&report).expect("they seal it").to_vec();
    let end = RtcpOpener::new(&theirs, &crypto).expect("keys").open(&mut sealed).expect("we open it");
    assert_eq!(&sealed[..end], report);
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
