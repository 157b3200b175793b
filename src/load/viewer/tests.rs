use super::super::link::{CONNECT_WITHIN, SILENCE};
use super::*;
use crate::peer::ice::{Checked, Ice, Path};
use crate::peer::srtp::{RtcpSealer, RtpSealer};
use crate::peer::{Event, Peer};
use crate::wire::rtcp::write_sender_report;
use crate::wire::sdp::{DtlsRole, Fingerprint};
use crate::wire::stun::{Check, Class, Key, Message};
use crate::wire::{Protocol, stun};

/// A viewer and the server's end of it, in virtual time.
struct Pair {
    now: Instant,
    identity: Identity,
    viewer: Viewer,
    server: Peer,
    sealer: Option<RtpSealer>,
    agreed: Option<Agreed>,
    /// RTCP that came to the server.
    reports: Vec<Vec<u8>>,
}

const VIEWER: &str = "192.0.2.1:5000";
const SERVER: &str = "192.0.2.2:8080";
const OPUS: u8 = 126;
const VP8: u8 = 96;
/// Payload descriptor, then a frame tag with the inverse key frame bit.
const KEYFRAME: &[u8] = &[0x10, 0x00, 1, 2];
const DELTA: &[u8] = &[0x10, 0x01, 1, 2];

impl Pair {
    /// `dtls` is the viewer's part.
    fn new(dtls: DtlsRole, habits: Habits) -> Self {
        let identity = Identity::generate().expect("a certificate");
        let expected = identity.fingerprint().clone();
        Self::expecting(expected, identity, dtls, habits)
    }

    /// The viewer expects this fingerprint.
    fn expecting(expected: Fingerprint, identity: Identity, dtls: DtlsRole, habits: Habits) -> Self {
        let now = Instant::now();
        let client = IceCredentials { ufrag: "load".into(), pwd: "load-password-of-24-chars".into() };
        let server = IceCredentials { ufrag: "serv".into(), pwd: "serv-password-of-24-chars".into() };
        let fingerprints: Vec<Fingerprint> = vec![identity.fingerprint().clone()];
        let theirs = if dtls == DtlsRole::Client { DtlsRole::Server } else { DtlsRole::Client };
        let answer = Answer {
            ice: server.clone(),
            fingerprints: vec![expected],
            dtls,
            candidates: vec![SERVER.parse().expect("good")],
        };
        Self {
            now,
            viewer: Viewer::new(
                &client,
                answer,
                SERVER.parse().expect("good"),
                habits,
                7 << 32,
                CONNECT_WITHIN,
                now,
                now,
            ),
            server: Peer::new(Ice::new(&server, &client), theirs, fingerprints),
            identity,
            sealer: None,
            agreed: None,
            reports: Vec::new(),
        }
    }

    /// Connected, with `habits`.
    fn live(habits: Habits) -> Self {
        let mut pair = Self::new(DtlsRole::Client, habits);
        pair.exchange(|_| false);
        assert!(pair.viewer.is_live());
        pair
    }

    /// Lets time pass until the viewer wants something.
    fn wait(&mut self) {
        self.now = self.now.max(self.viewer.next_timeout());
    }

    /// The viewer does what is due, then both talk until there is nothing more to say. What `loses` says yes to does
    /// not reach the server.
    fn exchange(&mut self, mut loses: impl FnMut(&[u8]) -> bool) {
        let mut up = Vec::new();
        self.viewer.handle_timeout(self.now, &mut up);
        while !up.is_empty() {
            let mut down = Vec::new();
            for mut datagram in up.drain(..) {
                if !loses(&datagram) {
                    self.serve(&mut datagram, &mut down);
                }
            }
            for mut datagram in down {
                let at = Moment { now: self.now, wall: None };
                self.viewer.receive(&self.identity, &mut datagram, at, &mut up);
            }
        }
    }

    /// What a server does with a datagram.
    fn serve(&mut self, datagram: &mut [u8], down: &mut Vec<BytesMut>) {
        match Protocol::of(datagram) {
            Some(Protocol::Stun) => {
                let mut reply = Vec::new();
                let message = Message::parse(datagram).expect("a message");
                let path = Path { remote: VIEWER.parse().expect("good"), local: None };
                let checked = self.server.ice.check(&message, path, self.now, &mut reply);
                assert!(matches!(checked, Checked::Answered { nominates: true, .. }), "{checked:?}");
                down.push(BytesMut::from(reply.as_slice()));
                self.server.begin(&self.identity, self.now, down).expect("it begins");
            }
            Some(Protocol::Dtls) => {
                match self.server.receive_dtls(&self.identity, datagram, self.now, down).expect("it is good") {
                    Event::Connected(agreed) => {
                        self.sealer = Some(RtpSealer::new(&agreed.ours).expect("keys"));
                        self.agreed = Some(agreed);
                    }
                    Event::Nothing | Event::Closed => {}
                }
            }
            Some(Protocol::Rtcp) => {
                let end = self.server.open_rtcp(datagram).expect("it is protected");
                self.reports.push(datagram[..end].to_vec());
            }
            Some(Protocol::Rtp) | None => panic!("a viewer sends no such thing"),
        }
    }

    /// A packet for the viewer, protected.
    fn packet(&mut self, payload_type: u8, ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        rtp::write_header(&mut packet, true, false, payload_type, sequence, 0, ssrc, &[]);
        let len = packet.len();
        packet.extend_from_slice(payload);
        let sealer = self.sealer.as_mut().expect("connected");
        sealer.seal(&mut packet, 0, len, ssrc, sequence.into()).expect("sealed");
        packet
    }

    fn deliver(&mut self, mut datagram: Vec<u8>) {
        let at = Moment { now: self.now, wall: None };
        self.viewer.receive(&self.identity, &mut datagram, at, &mut Vec::new());
    }

    fn send(&mut self, payload_type: u8, ssrc: u32, sequence: u16, payload: &[u8]) {
        let packet = self.packet(payload_type, ssrc, sequence, payload);
        self.deliver(packet);
    }
}

const PLAIN: Habits = Habits { listens: true, nacks: false };

#[test]
fn a_viewer_connects_in_either_part_of_the_handshake() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut pair = Pair::new(role, PLAIN);

        pair.exchange(|_| false);

        assert!(pair.viewer.is_live() && pair.server.is_live(), "{role:?}");
        assert_eq!(pair.viewer.seen.profile, Some(Profile::AesGcm));
        assert_eq!(pair.viewer.seen.connected, Some(Duration::ZERO));
    }
}

#[test]
fn a_lost_check_and_a_lost_hello_are_sent_again() {
    let mut pair = Pair::new(DtlsRole::Client, PLAIN);
    let (mut lost_checks, mut lost_hellos) = (0, 0);

    for _ in 0..20 {
        pair.exchange(|datagram| match Protocol::of(datagram) {
            Some(Protocol::Stun) if lost_checks < 2 => {
                lost_checks += 1;
                true
            }
            Some(Protocol::Dtls) if lost_hellos < 1 => {
                lost_hellos += 1;
                true
            }
            _ => false,
        });
        if pair.viewer.is_live() {
            break;
        }
        pair.wait();
    }

    assert!(pair.viewer.is_live());
    assert_eq!((lost_checks, lost_hellos), (2, 1));
    assert!(pair.viewer.seen.connected < Some(Duration::from_secs(1)), "{:?}", pair.viewer.seen.connected);
}

#[test]
fn nobody_there_is_noticed() {
    let mut pair = Pair::new(DtlsRole::Client, PLAIN);
    let began = pair.now;

    while pair.viewer.failure().is_none() {
        pair.wait();
        pair.exchange(|_| true);
    }

    assert_eq!(pair.viewer.failure(), Some(&Failure::NoCheck));
    assert_eq!(pair.now, began + CONNECT_WITHIN);
}

#[test]
fn another_certificate_is_refused() {
    let another = Fingerprint { hash: crate::wire::sdp::Hash::Sha256, value: vec![0; 32] };
    let identity = Identity::generate().expect("a certificate");
    let mut pair = Pair::expecting(another, identity, DtlsRole::Client, PLAIN);

    pair.exchange(|_| false);

    assert!(matches!(pair.viewer.failure(), Some(Failure::Dtls(_))), "{:?}", pair.viewer.failure());
}

#[test]
fn packets_are_counted_and_the_first_of_each_kind_is_timed() {
    let mut pair = Pair::live(PLAIN);

    pair.now += Duration::from_millis(10);
    pair.send(OPUS, 1, 100, b"sound");
    pair.now += Duration::from_millis(10);
    pair.send(VP8, 2, 500, DELTA);
    pair.now += Duration::from_millis(10);
    pair.send(VP8, 2, 502, KEYFRAME);
    let again = pair.packet(VP8, 2, 503, DELTA);
    pair.deliver(again.clone());
    pair.deliver(again);

    let seen = pair.viewer.end();
    assert_eq!(seen.first_packet, Some(Duration::from_millis(10)));
    assert_eq!(seen.first_keyframe, Some(Duration::from_millis(30)));
    assert_eq!(seen.first_picture, seen.first_keyframe, "it has one packet");
    assert_eq!(seen.counts, Counts { packets: 5, lost: 1, duplicates: 1, reordered: 0, gaps: 1 });
    assert_eq!(seen.undecryptable, 0);
    pair.send(VP8, 2, 600, DELTA);
    assert_eq!(pair.viewer.counts().packets, 5, "nothing counts after the end");
}

#[test]
fn those_that_do_not_listen_are_content_with_a_key_frame() {
    for (listens, undecryptable, packets) in [(true, 1, 2), (false, 0, 0)] {
        let mut pair = Pair::live(Habits { listens, nacks: false });
        pair.send(VP8, 2, 1, KEYFRAME);
        let mut forged = pair.packet(VP8, 2, 2, DELTA);
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }

        pair.deliver(forged);

        assert_eq!(pair.viewer.seen.undecryptable, undecryptable);
        assert_eq!(pair.viewer.counts().packets, packets);
        assert!(pair.viewer.seen.first_keyframe.is_some());
    }
}

#[test]
fn a_viewer_reports_every_second_and_keeps_its_consent() {
    let mut pair = Pair::live(PLAIN);
    pair.send(VP8, 2, 10, KEYFRAME);
    pair.send(VP8, 2, 12, DELTA);
    let mut checks = 0;

    let began = pair.now;
    while pair.viewer.next_timeout() <= began + Duration::from_secs(5) {
        pair.wait();
        pair.exchange(|datagram| {
            checks += u32::from(Protocol::of(datagram) == Some(Protocol::Stun));
            false
        });
    }

    assert_eq!((pair.reports.len(), checks), (5, 2));
    let mut lost = Vec::new();
    assert!(rtcp::read(&pair.reports[0], |event| {
        if let rtcp::Event::Report { about: 2, lost: count, .. } = event {
            lost.push(count);
        }
    }));
    assert_eq!(lost, [1]);
}

#[test]
fn lost_packets_are_asked_for_only_when_wanted() {
    for (nacks, expected) in [(true, vec![11]), (false, vec![])] {
        let mut pair = Pair::live(Habits { listens: true, nacks });
        pair.send(VP8, 2, 10, KEYFRAME);
        pair.send(VP8, 2, 12, DELTA);

        pair.wait();
        pair.exchange(|_| false);

        let mut asked = Vec::new();
        for report in &pair.reports {
            rtcp::read(report, |event| {
                if let rtcp::Event::Nack { about: 2, packet_id, .. } = event {
                    asked.push(packet_id);
                }
            });
        }
        assert_eq!(asked, expected);
        if nacks {
            pair.send(VP8 + 1, 3, 1, &[0, 11, 0x10, 0x01]);
            let seen = Seen { counts: pair.viewer.counts(), ..pair.viewer.seen.clone() };
            assert_eq!((seen.retransmissions, seen.counts.lost), (1, 0));
        }
    }
}

#[test]
fn goodbye_and_silence_are_told_apart() {
    let mut closed = Pair::live(PLAIN);
    let mut down = Vec::new();
    closed.server.close(&closed.identity, closed.now, &mut down);
    for datagram in down {
        closed.deliver(datagram.to_vec());
    }
    assert_eq!(closed.viewer.failure(), Some(&Failure::Closed));

    let mut silent = Pair::live(PLAIN);
    let heard_at = silent.now;
    while silent.viewer.failure().is_none() {
        silent.wait();
        silent.exchange(|_| true);
    }
    assert_eq!(silent.viewer.failure(), Some(&Failure::Silent));
    assert_eq!(silent.now, heard_at + SILENCE);
}

#[test]
fn a_sender_report_is_heard() {
    let mut pair = Pair::live(PLAIN);
    pair.send(VP8, 2, 10, KEYFRAME);
    let mut report = Vec::new();
    write_sender_report(&mut report, 2, 0x1234_5678_9abc_def0, 0, 1, 1);
    let agreed = pair.agreed.take().expect("connected");
    let mut sealer = RtcpSealer::new(&agreed.ours).expect("keys");
    sealer.seal(&mut report).expect("sealed");
    pair.deliver(report);

    pair.wait();
    pair.exchange(|_| false);

    let mut heard = None;
    rtcp::read(&pair.reports[0], |event| {
        if let rtcp::Event::Report { last_sr, .. } = event {
            heard = Some(last_sr);
        }
    });
    assert_eq!(heard, Some(0x5678_9abc));
}

#[test]
fn a_server_that_checks_is_answered() {
    let mut pair = Pair::new(DtlsRole::Client, PLAIN);
    let key = Key::new("load-password-of-24-chars");
    let mut datagram = Vec::new();
    let check =
        Check { transaction: [9; 12], username: "load:serv", priority: 1, controlling: 1, use_candidate: false };
    stun::write_check(&mut datagram, &check, &key);
    let mut out = Vec::new();

    let at = Moment { now: pair.now, wall: None };
    pair.viewer.receive(&pair.identity, &mut datagram, at, &mut out);

    let reply = Message::parse(&out[0]).expect("a message");
    assert_eq!((reply.class, reply.transaction, reply.mapped), (Class::Success, [9; 12], SERVER.parse().ok()));
    assert!(reply.verify(&key));
}
