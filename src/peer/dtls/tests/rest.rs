//! Saying goodbye: fresh from the handshake, and long after.

use super::*;

/// Which ends are at rest when one of them says goodbye.
const AT_REST: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

fn complete<'a>(hall: &Hall, (pairing, profiles, _): Case) -> Link<'a> {
    let mut link = hall.link(pairing, profiles, fair());
    link.run(Duration::from_secs(1)).expect("complete");
    link
}

#[test]
fn a_goodbye_is_understood_fresh_and_at_rest_in_both_directions() {
    let hall = Hall::new();

    for case in PAIRINGS {
        for from_client in [true, false] {
            for (client_rests, server_rests) in AT_REST {
                let mut link = complete(&hall, case);
                if client_rests {
                    link.client.rest();
                }
                if server_rests {
                    link.server.rest();
                }
                link.settle(Duration::from_mins(1));

                let mut goodbye = Vec::new();
                let sender = if from_client { &mut link.client } else { &mut link.server };
                sender.close(link.now, &mut goodbye);
                assert_eq!(goodbye.len(), 1, "{case:?}: one datagram");
                link.post(from_client, goodbye);
                link.settle(Duration::from_secs(1));

                let receiver = if from_client { &link.server } else { &link.client };
                let rest = (client_rests, server_rests);
                assert!(receiver.is_closed(), "{case:?}, from client: {from_client}, at rest: {rest:?}");
                assert!(receiver.error().is_none(), "{case:?}, from client: {from_client}, at rest: {rest:?}");
            }
        }
    }
}

#[test]
fn what_rests_is_small() {
    let hall = Hall::new();
    let now = Instant::now();

    for pairing in [Pairing::OurServer, Pairing::OurClient] {
        let mut link = complete(&hall, (pairing, &[GCM], Profile::AesGcm));
        let ours = if pairing == Pairing::OurServer { &mut link.server } else { &mut link.client };

        let bytes = ours.rest();

        assert!((100..600).contains(&bytes), "{pairing:?}: {bytes} bytes");
        let mut out = Vec::new();
        ours.read(b"\x16 nobody repeats a flight for that long", now, &mut out);
        assert!(out.is_empty() && !ours.is_closed());
    }
}

#[test]
fn nobody_without_the_keys_ends_what_rests() {
    let hall = Hall::new();
    let mut link = complete(&hall, PAIRINGS[0]);
    let mut another = complete(&hall, PAIRINGS[0]);
    link.server.rest();
    let mut goodbye = Vec::new();
    another.client.close(another.now, &mut goodbye);
    let in_clear = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x63\0\x02\x01\0";
    let fatal_in_clear = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x64\0\x02\x02\x28";

    let mut out = Vec::new();
    for forged in [&goodbye[0][..], in_clear, fatal_in_clear, &[0x15; 3], &[]] {
        link.server.read(forged, link.now, &mut out);
    }

    assert!(!link.server.is_closed() && out.is_empty());
}

#[test]
fn a_flight_repeated_after_completion_is_answered_until_it_rests() {
    let hall = Hall::new();
    for case in PAIRINGS.into_iter().filter(|(pairing, ..)| *pairing != Pairing::OurClient) {
        // The server's last flight is lost three times; the client's comes in between.
        let fate = |k| if [5, 7, 9].contains(&k) { Vec::new() } else { vec![DELAY] };
        let mut link = hall.link(case.0, case.1, Box::new(fate));

        let took = link.run(Duration::from_secs(9));

        assert!(took.is_some(), "{case:?}");
        assert_same_keys(&link, case.2);
    }
}

#[test]
fn nothing_rests_before_it_is_complete() {
    let hall = Hall::new();
    let mut out = Vec::new();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let handshake = Handshake::new(&hall.ours, role, Vec::new(), Instant::now(), &mut out).expect("it begins");

        assert!(handshake.rest(&hall.ours).is_err());
    }
}
