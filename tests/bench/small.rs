//! Single steps: protection, demultiplexing, connectivity checks.

use tribune::peer::srtp::{Profile, RtpOpener, RtpSealer, masters};
use tribune::wire::Protocol;
use tribune::wire::rtp::{self, Header};
use tribune::wire::stun::{self, Check, Key, Message};

use crate::Row;
use crate::ground::{VIDEO_BYTES, median};

pub(crate) fn run() -> Vec<Row> {
    let row = |what: &str, nanos| Row::cpu(what, "packet", nanos);
    vec![
        row("demultiplex a datagram by its first bytes", demux()),
        row("parse an RTP header with two extensions", header()),
        row("seal 1,150 bytes, AES-128-GCM", seal(Profile::AesGcm)),
        row("seal 1,150 bytes, AES-128-CM with HMAC-SHA1-80", seal(Profile::AesCm)),
        row("open 1,150 bytes, AES-128-GCM", open(Profile::AesGcm)),
        row("open 1,150 bytes, AES-128-CM with HMAC-SHA1-80", open(Profile::AesCm)),
        row("answer a connectivity check", check()),
    ]
}

fn demux() -> f64 {
    let datagrams: Vec<[u8; 2]> = (0..=255_u8).map(|b| [b, b.wrapping_mul(31)]).collect();
    median(9, || {
        for datagram in &datagrams {
            std::hint::black_box(Protocol::of(std::hint::black_box(datagram)));
        }
        datagrams.len()
    })
}

fn plain(sequence: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(1500);
    rtp::write_header(&mut packet, true, false, 96, sequence, 1, 0x1234, &[0x10, b'0', 0x31, 1, 2, 0, 0, 0]);
    packet.resize(packet.len() + VIDEO_BYTES, 7);
    packet
}

fn header() -> f64 {
    let packet = plain(1);
    median(9, || {
        for _ in 0..1000 {
            let packet = std::hint::black_box(&packet);
            let header = Header::parse(packet).unwrap();
            std::hint::black_box(header.extensions(packet).count());
        }
        1000
    })
}

fn seal(profile: Profile) -> f64 {
    let (ours, _) = masters(profile, &vec![3; profile.keying_material_len()], false).unwrap();
    let mut sealer = RtpSealer::new(&ours).unwrap();
    let (mut buf, source) = (Vec::with_capacity(2000), plain(1));
    let mut index = 0_u64;
    median(9, || {
        for _ in 0..100 {
            index += 1;
            buf.clear();
            buf.extend_from_slice(&source);
            buf[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            sealer.seal(&mut buf, 0, 24, 0x1234, index).unwrap();
        }
        100
    })
}

fn open(profile: Profile) -> f64 {
    const PACKETS: u64 = 2000;
    let (ours, _) = masters(profile, &vec![3; profile.keying_material_len()], false).unwrap();
    let mut sealer = RtpSealer::new(&ours).unwrap();
    let sealed: Vec<Vec<u8>> = (1..=PACKETS)
        .map(|index| {
            let mut packet = plain(index as u16);
            sealer.seal(&mut packet, 0, 24, 0x1234, index).unwrap();
            packet
        })
        .collect();
    let mut buf = Vec::with_capacity(2000);
    median(9, || {
        let mut opener = RtpOpener::new(&ours).unwrap();
        for packet in &sealed {
            buf.clear();
            buf.extend_from_slice(packet);
            let header = Header::parse(&buf).unwrap();
            opener.open(&header, &mut buf).unwrap();
        }
        sealed.len()
    })
}

fn check() -> f64 {
    let key = Key::new("a-password-of-22-chars");
    let mut request = Vec::new();
    let check = Check { transaction: [7; 12], username: "ours:them", priority: 1, controlling: 2, use_candidate: true };
    stun::write_check(&mut request, &check, &key);
    let mut reply = Vec::new();
    median(9, || {
        for _ in 0..100 {
            let message = Message::parse(std::hint::black_box(&request)).unwrap();
            assert!(message.verify(&key));
            reply.clear();
            stun::write_success(&mut reply, &message.transaction, "192.0.2.1:4000".parse().unwrap(), &key);
        }
        100
    })
}
