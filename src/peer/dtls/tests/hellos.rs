//! What browsers really say first: the first flights of Chromium 156 and Firefox 153, two datagrams each.

use std::ops::Range;

use super::*;

struct Hello {
    browser: &'static str,
    datagrams: [&'static [u8]; 2],
}

const HELLOS: [Hello; 2] = [
    Hello {
        browser: "Chromium",
        datagrams: [
            include_bytes!("../../../../tests/fixtures/dtls/chromium-hello-1.bin"),
            include_bytes!("../../../../tests/fixtures/dtls/chromium-hello-2.bin"),
        ],
    },
    Hello {
        browser: "Firefox",
        datagrams: [
            include_bytes!("../../../../tests/fixtures/dtls/firefox-hello-1.bin"),
            include_bytes!("../../../../tests/fixtures/dtls/firefox-hello-2.bin"),
        ],
    },
];

/// Our server, fed by hand.
struct Server {
    hall: Hall,
    handshake: Handshake,
    now: Instant,
}

impl Server {
    fn new() -> Self {
        let (hall, now) = (Hall::new(), Instant::now());
        let fingerprints = vec![hall.other.fingerprint().clone()];
        let handshake = Handshake::new(&hall.ours, DtlsRole::Server, fingerprints, now, &mut Vec::new());
        Self { handshake: handshake.expect("it begins"), hall, now }
    }

    /// What it answers.
    fn read(&mut self, datagrams: &[Vec<u8>]) -> Vec<BytesMut> {
        let mut out = Vec::new();
        for datagram in datagrams {
            let progress = self.handshake.read(&self.hall.ours, datagram, self.now, &mut out);
            assert!(matches!(progress, Ok(Progress::Pending)), "it goes on");
        }
        out
    }
}

/// The handshake message that these datagrams carry, with the header of one that is whole.
fn message(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut header = datagrams[0][13..25].to_vec();
    header.copy_within(1..4, 9);
    header[6..9].fill(0);
    datagrams.iter().fold(header, |message, datagram| [&message[..], &datagram[25..]].concat())
}

/// Cuts a message into datagrams that end at these places.
fn cut(message: &[u8], ends: &[usize], first_record: u8) -> Vec<Vec<u8>> {
    let (header, body) = message.split_at(12);
    let starts = std::iter::once(&0).chain(ends);
    (starts.zip(ends.iter().chain([&body.len()])).zip(first_record..))
        .map(|((start, end), record)| {
            let piece = &body[*start..*end];
            let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, record];
            datagram.extend_from_slice(&(12 + piece.len() as u16).to_be_bytes());
            datagram.extend_from_slice(&header[..6]);
            datagram.extend_from_slice(&(*start as u32).to_be_bytes()[1..]);
            datagram.extend_from_slice(&(piece.len() as u32).to_be_bytes()[1..]);
            datagram.extend_from_slice(piece);
            datagram
        })
        .collect()
}

/// The second hello: the first one with the cookie of a HelloVerifyRequest.
fn with_cookie(hello: &[u8], verify_request: &[u8]) -> Vec<u8> {
    assert_eq!((verify_request[0], verify_request[13]), (22, 3), "a HelloVerifyRequest");
    let cookie = &verify_request[27..];
    assert_eq!(usize::from(cookie[0]), cookie.len() - 1);
    // Version (2) and random (32) come before the session id; an empty cookie follows it.
    let at = 12 + 34 + 1 + usize::from(hello[12 + 34]);
    assert_eq!(hello[at], 0, "the first hello has no cookie");
    let mut second = [&hello[..at], cookie, &hello[at + 1..]].concat();
    let length = (second.len() as u32 - 12).to_be_bytes();
    second[1..4].copy_from_slice(&length[1..]);
    second[4..6].copy_from_slice(&[0, 1]);
    second[9..12].copy_from_slice(&length[1..]);
    second
}

/// The ways in which a hello of two datagrams may come.
fn deliveries(datagrams: &[Vec<u8>]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let [one, two] = datagrams else { panic!("two datagrams") };
    let again = |datagram: &Vec<u8>| {
        let mut again = datagram.clone();
        again[10] += 2;
        again
    };
    let whole = message(datagrams);
    let third = (whole.len() - 12) / 3;
    let thirds = cut(&whole, &[third, 2 * third], one[10]);
    vec![
        ("in order", vec![one.clone(), two.clone()]),
        ("swapped", vec![two.clone(), one.clone()]),
        ("the first one lost and both repeated", vec![two.clone(), again(one), again(two)]),
        ("the second one lost and both repeated", vec![one.clone(), again(one), again(two)]),
        ("in three parts", thirds.clone()),
        ("in three parts, backwards", thirds.iter().rev().cloned().collect()),
        (
            "in three parts, the middle one lost and repeated",
            vec![thirds[0].clone(), thirds[2].clone(), again(&thirds[1])],
        ),
        ("cut elsewhere when repeated", vec![two.clone(), again(&thirds[0]), again(&thirds[1]), again(&thirds[2])]),
    ]
}

/// Where the list of SRTP profiles is in a message whose extensions begin at `at`.
fn profiles(message: &[u8], mut at: usize) -> Range<usize> {
    loop {
        let length = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        if message[at..at + 2] == [0, 14] {
            return at + 6..at + 6 + usize::from(message[at + 5]);
        }
        at += 4 + length;
    }
}

/// The profiles that a ClientHello lists.
fn offered(hello: &[u8]) -> Range<usize> {
    // Version and random; then, each with its length: session id, cookie, cipher suites, compression methods.
    let mut at = 12 + 34;
    for length_bytes in [1, 1, 2, 1] {
        at += length_bytes + usize::from(hello[at + length_bytes - 1]);
    }
    profiles(hello, at + 2)
}

/// The profile in the ServerHello that begins this datagram.
fn chosen(certificate_flight: &[u8]) -> &[u8] {
    assert_eq!(certificate_flight[13], 2, "a ServerHello");
    let hello = &certificate_flight[13..];
    &hello[profiles(hello, 12 + 34 + 1 + usize::from(hello[12 + 34]) + 2 + 1 + 2)]
}

#[test]
fn a_browser_gets_gcm_however_its_hellos_arrive() {
    for Hello { browser, datagrams } in HELLOS {
        let first = datagrams.map(<[u8]>::to_vec);
        let ways = deliveries(&first).len();
        for way in 0..ways {
            for second_way in 0..ways {
                let mut server = Server::new();
                let (how, delivered) = deliveries(&first).swap_remove(way);

                let verify = server.read(&delivered);
                assert_eq!(verify.len(), 1, "{browser}, {how}: one HelloVerifyRequest");
                let second = cut(&with_cookie(&message(&first), &verify[0]), &[1_150], 8);
                let (how, delivered) = deliveries(&second).swap_remove(second_way);
                let flight = server.read(&delivered);

                assert_eq!(flight.len(), 1, "{browser}, {how}: one datagram with all messages");
                assert_eq!(chosen(&flight[0]), [0, 7], "{browser}, {how}: AEAD_AES_128_GCM");
            }
        }
    }
}

#[test]
fn a_browser_without_gcm_gets_cm_however_its_hellos_arrive() {
    for Hello { browser, datagrams } in HELLOS {
        let mut whole = message(&datagrams.map(<[u8]>::to_vec));
        let list = offered(&whole);
        for profile in whole[list].chunks_exact_mut(2).filter(|p| p[1] == 7 || p[1] == 8) {
            profile.copy_from_slice(&[0, 2]);
        }
        let first = cut(&whole, &[1_100], 0);
        for (how, delivered) in deliveries(&first) {
            let mut server = Server::new();

            let verify = server.read(&delivered);
            let flight = server.read(&cut(&with_cookie(&whole, &verify[0]), &[1_150], 8));

            assert_eq!(chosen(&flight[0]), [0, 1], "{browser}, {how}: AES128_CM_HMAC_SHA1_80");
        }
    }
}

#[test]
fn a_hello_that_is_repeated_gets_its_answer_again_but_not_for_every_copy() {
    for Hello { browser, datagrams } in HELLOS {
        let first = datagrams.map(<[u8]>::to_vec);
        let mut server = Server::new();
        let verify = server.read(&first);

        assert_eq!(server.read(&first), Vec::<BytesMut>::new(), "{browser}: at once");
        server.now += Duration::from_millis(60);
        assert_eq!(server.read(&first), verify, "{browser}: later");
    }
}
