use super::*;
use crate::wire::sdp::IceCredentials;
use crate::wire::stun::{self, Check, Message};

/// Two peers, each with its own identity.
struct Pair {
    identities: [Identity; 2],
    /// The DTLS server, then the client.
    peers: [Peer; 2],
    now: Instant,
    agreed: [Option<Agreed>; 2],
    closed: [bool; 2],
}

const SERVER: usize = 0;
const CLIENT: usize = 1;

impl Pair {
    fn new() -> Self {
        let identities = [(); 2].map(|()| Identity::generate().expect("made"));
        let ice = |ours: &str, theirs: &str| Ice::new(&credentials(ours), &credentials(theirs));
        let peers = [
            Peer::new(ice("server", "client"), DtlsRole::Server, vec![identities[CLIENT].fingerprint().clone()]),
            Peer::new(ice("client", "server"), DtlsRole::Client, vec![identities[SERVER].fingerprint().clone()]),
        ];
        Self { identities, peers, now: Instant::now(), agreed: [None, None], closed: [false; 2] }
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        let begun = pair.begin();
        pair.exchange(SERVER, begun);
        assert!(pair.peers.iter().all(Peer::is_live));
        pair
    }

    fn begin(&mut self) -> Vec<BytesMut> {
        let mut out = Vec::new();
        self.peers[CLIENT].begin(&self.identities[CLIENT], self.now, &mut out).expect("it begins");
        out
    }

    /// Delivers these datagrams and all that they lead to.
    fn exchange(&mut self, to: usize, datagrams: Vec<BytesMut>) {
        let mut replies = Vec::new();
        for datagram in datagrams {
            match self.peers[to].receive_dtls(&self.identities[to], &datagram, self.now, &mut replies) {
                Ok(Event::Nothing) => {}
                Ok(Event::Connected(agreed)) => self.agreed[to] = Some(agreed),
                Ok(Event::Closed) => self.closed[to] = true,
                Err(error) => panic!("{error}"),
            }
        }
        if !replies.is_empty() {
            self.exchange(1 - to, replies);
        }
    }

    /// Passes the time of all timers that are due within `span`; what that sends is lost.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for (peer, identity) in self.peers.iter_mut().zip(&self.identities) {
            while let Some(at) = peer.next_timeout().filter(|at| *at <= end) {
                peer.handle_timeout(identity, at, &mut Vec::new());
                assert!(peer.next_timeout() != Some(at), "a timer that was served is set again later");
            }
        }
        self.now = end;
    }

    fn close(&mut self, which: usize) -> Vec<BytesMut> {
        let mut goodbye = Vec::new();
        self.peers[which].close(&self.identities[which], self.now, &mut goodbye);
        goodbye
    }
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.into(), pwd: format!("{ufrag}-password-of-24-chars") }
}

/// A receiver report without any report.
fn report() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0, 0, 0, 7]
}

fn assert_rtcp_flows(pair: &mut Pair) {
    for from in [SERVER, CLIENT] {
        let mut packet = report();
        pair.peers[from].seal_rtcp(&mut packet).expect("it has keys");
        assert_eq!(packet.len(), 8 + 16 + 4, "a tag and an index follow");

        let length = pair.peers[1 - from].open_rtcp(&mut packet).expect("the same keys");

        assert_eq!(packet[..length], report());
    }
}

#[test]
fn two_peers_connect_exchange_reports_and_part() {
    let mut pair = Pair::new();
    assert!(!pair.peers[SERVER].is_live());

    let begun = pair.begin();
    pair.exchange(SERVER, begun);

    let [Some(server), Some(client)] = &pair.agreed else { panic!("both are connected") };
    assert_eq!((server.profile, client.profile), (srtp::Profile::AesGcm, srtp::Profile::AesGcm));
    assert_rtcp_flows(&mut pair);
    let goodbye = pair.close(CLIENT);
    assert_eq!(goodbye.len(), 1);
    pair.exchange(SERVER, goodbye);
    assert_eq!(pair.closed, [true, false]);
    assert!(!pair.peers[SERVER].is_live() && !pair.peers[CLIENT].is_live());
}

#[test]
fn a_client_begins_once_and_a_server_waits() {
    let mut pair = Pair::new();
    let mut out = Vec::new();

    pair.peers[SERVER].begin(&pair.identities[SERVER], pair.now, &mut out).expect("nothing to do");
    assert!(out.is_empty() && pair.peers[SERVER].next_timeout().is_none());
    assert_eq!(pair.begin().len(), 1);
    assert_eq!(pair.begin().len(), 0, "again");
    assert!(pair.peers[CLIENT].next_timeout().is_some());
}

#[test]
fn a_client_begins_with_the_first_datagram_if_nobody_told_it_to() {
    let mut pair = Pair::new();
    let mut out = Vec::new();

    let event = pair.peers[CLIENT].receive_dtls(&pair.identities[CLIENT], b"\x16early", pair.now, &mut out);

    assert!(matches!(event, Ok(Event::Nothing)));
    pair.exchange(SERVER, out);
    assert!(pair.peers.iter().all(Peer::is_live));
}

#[test]
fn a_lost_flight_is_sent_again_ever_more_rarely() {
    let mut pair = Pair::new();
    let mut last = pair.begin();
    let mut at = Vec::new();
    let begun = pair.now;

    while let Some(due) = pair.peers[CLIENT].next_timeout().filter(|due| *due < begun + Duration::from_secs(15)) {
        let mut out = Vec::new();
        let early = begun + (due - begun).saturating_sub(Duration::from_millis(1));
        pair.peers[CLIENT].handle_timeout(&pair.identities[CLIENT], early, &mut out);
        assert!(out.is_empty(), "it is not due");
        pair.peers[CLIENT].handle_timeout(&pair.identities[CLIENT], due, &mut out);
        assert_eq!(out.len(), last.len());
        assert_eq!(out[0][13..], last[0][13..], "the same message");
        // A copy would be taken for one that the net made. The library makes six of them.
        assert_eq!(out[0] != last[0], at.len() < 6);
        last = out;
        at.push((due - begun).as_millis());
    }

    assert_eq!(at, [100, 300, 700, 1_500, 3_100, 6_300, 12_700]);
}

#[test]
fn nothing_is_protected_or_opened_without_keys() {
    let mut pair = Pair::new();
    let begun = pair.begin();
    for peer in &mut pair.peers {
        assert_eq!(peer.seal_rtcp(&mut report()), Err(SrtpError::Key));
        assert_eq!(peer.open_rtcp(&mut report()), Err(SrtpError::Key));
    }
    pair.exchange(SERVER, begun);
    let mut late = report();
    pair.peers[CLIENT].seal_rtcp(&mut late).expect("it has keys");

    let goodbye = pair.close(CLIENT);
    pair.exchange(SERVER, goodbye);

    for peer in &mut pair.peers {
        assert_eq!(peer.seal_rtcp(&mut report()), Err(SrtpError::Key));
        assert_eq!(peer.open_rtcp(&mut late.clone()), Err(SrtpError::Key));
    }
}

#[test]
fn a_settled_peer_rests_goes_on_and_says_goodbye() {
    for who in [SERVER, CLIENT] {
        let mut pair = Pair::connected();
        assert!(pair.peers.iter().all(|p| p.next_timeout() == Some(pair.now + SETTLED_AFTER)));

        pair.pass(SETTLED_AFTER);

        assert!(pair.peers.iter().all(|p| p.next_timeout().is_none()), "nothing is left to do");
        assert!(pair.peers.iter().all(|p| matches!(p.phase, Phase::Live { dtls: Dtls::Resting(_), .. })));
        assert_rtcp_flows(&mut pair);
        let goodbye = pair.close(who);
        pair.exchange(1 - who, goodbye);
        assert!(pair.closed[1 - who], "from {who}");
        assert!(pair.peers.iter().all(|p| !p.is_live()));
    }
}

#[test]
fn a_closed_peer_does_nothing_more() {
    let mut pair = Pair::connected();
    let mut again = Pair::new().begin();
    pair.close(SERVER);

    again.extend(pair.close(SERVER));
    assert_eq!(again.len(), 1, "one goodbye is enough");
    pair.exchange(SERVER, again);

    assert!(pair.peers[SERVER].next_timeout().is_none());
    assert!(!pair.peers[SERVER].is_live());
}

#[test]
fn a_peer_that_failed_is_closed() {
    let mut pair = Pair::new();
    let mut out = Vec::new();
    let huge = b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0c\x01\xff\xff\xff\0\0\0\0\0\0\0\0";

    let event = pair.peers[SERVER].receive_dtls(&pair.identities[SERVER], huge, pair.now, &mut out);

    assert!(matches!(event, Err(DtlsError::Bounds)));
    assert!(matches!(pair.peers[SERVER].phase, Phase::Closed));
    let begun = pair.begin();
    pair.exchange(SERVER, begun);
    assert!(!pair.peers[SERVER].is_live(), "it does not begin again");
}

#[test]
fn a_peer_that_is_closed_before_it_is_connected_says_nothing() {
    for begun in [false, true] {
        let mut pair = Pair::new();
        if begun {
            pair.begin();
        }

        assert!(pair.close(CLIENT).is_empty());

        assert!(pair.begin().is_empty());
        assert!(pair.peers[CLIENT].next_timeout().is_none());
    }
}

#[test]
fn its_ice_agent_answers_in_every_phase() {
    let mut pair = Pair::connected();
    let key = stun::Key::new(&credentials("server").pwd);
    let path = ice::Path { remote: "192.0.2.1:9".parse().expect("an address"), local: None };
    for (id, seconds) in [(1, 0), (2, 60)] {
        pair.pass(Duration::from_secs(seconds));
        let (mut datagram, mut reply) = (Vec::new(), Vec::new());
        let username = "server:client";
        let check = Check { transaction: [id; 12], username, priority: 1, controlling: 1, use_candidate: true };
        stun::write_check(&mut datagram, &check, &key);
        let message = Message::parse(&datagram).expect("a STUN message");

        let checked = pair.peers[SERVER].ice.check(&message, path, pair.now, &mut reply);

        assert!(matches!(checked, ice::Checked::Answered { nominates: true, .. }), "{checked:?}");
        assert!(!reply.is_empty());
        assert_eq!(pair.peers[SERVER].ice.selected(), Some(path));
    }
}
