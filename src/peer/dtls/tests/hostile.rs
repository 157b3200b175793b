//! Peers that mean harm or pack strangely, and strangers who send from a peer's address.

use super::*;

/// A record under that epoch.
fn record(content_type: u8, epoch: u8, sequence: u16, content: &[u8]) -> Vec<u8> {
    let mut record = vec![content_type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0];
    record.extend_from_slice(&sequence.to_be_bytes());
    record.extend_from_slice(&(content.len() as u16).to_be_bytes());
    record.extend_from_slice(content);
    record
}

/// A piece of a ClientHello that claims to be `length` bytes long.
fn fragment(length: u32, message: u16, offset: u32, piece: &[u8]) -> Vec<u8> {
    let mut fragment = vec![1];
    fragment.extend_from_slice(&length.to_be_bytes()[1..]);
    fragment.extend_from_slice(&message.to_be_bytes());
    fragment.extend_from_slice(&offset.to_be_bytes()[1..]);
    fragment.extend_from_slice(&(piece.len() as u32).to_be_bytes()[1..]);
    fragment.extend_from_slice(piece);
    fragment
}

/// Feeds a new server until it has had enough; what it says then, and after how many datagrams.
fn refused(datagrams: impl Iterator<Item = Vec<u8>>) -> (Option<DtlsError>, usize) {
    let (hall, now) = (Hall::new(), Instant::now());
    let fingerprints = vec![hall.other.fingerprint().clone()];
    let mut out = Vec::new();
    let mut server = Handshake::new(&hall.ours, DtlsRole::Server, fingerprints, now, &mut out).expect("it begins");
    let mut taken = 0;
    for datagram in datagrams {
        taken += 1;
        if let Err(error) = server.read(&hall.ours, &datagram, now, &mut out) {
            assert!(server.next_timeout().is_none(), "nothing more to do");
            assert!(matches!(server.read(&hall.ours, &datagram, now, &mut out), Ok(Progress::Pending)), "it is over");
            return (Some(error), taken);
        }
    }
    assert!(out.is_empty(), "there is nothing to answer");
    (None, taken)
}

#[test]
fn thousands_of_tiny_fragments_are_refused_before_they_cost_anything() {
    // One per record, one per datagram; a hundred per record; and the same byte again and again.
    let single = (0..27_000).rev().map(|k| record(22, 0, k as u16, &fragment(8_000, 0, k % 8_000, &[0])));
    let packed = (0..270_u32).map(|r| {
        let fragments: Vec<u8> = (0..100).flat_map(|k| fragment(8_000, 0, (100 * r + k) % 8_000, &[0])).collect();
        record(22, 0, r as u16, &fragments)
    });
    let same = (0..27_000).map(|k| record(22, 0, k as u16, &fragment(8_000, 0, 7, &[0])));

    for (what, (error, taken)) in [("single", refused(single)), ("packed", refused(packed)), ("same", refused(same))] {
        assert!(matches!(error, Some(DtlsError::Bounds)), "{what}: {error:?}");
        assert!(taken <= 129, "{what}: {taken} datagrams");
    }
}

#[test]
fn a_message_that_no_honest_peer_sends_is_refused_at_its_first_fragment() {
    let huge = (0..2_000_u32).map(|k| record(22, 0, k as u16, &fragment(2_000_000, 0, 1_000 * k, &[0; 1_000])));
    let hidden = [fragment(10, 0, 0, &[0; 5]), fragment(8_193, 1, 0, &[0; 5])].concat();

    assert!(matches!(refused(huge), (Some(DtlsError::Bounds), 1)));
    assert!(matches!(refused(std::iter::once(record(22, 0, 0, &hidden))), (Some(DtlsError::Bounds), 1)));
}

#[test]
fn a_flood_of_records_is_refused() {
    let records = (0..1_000).map(|k| record(20, 0, k, &[1]));
    let at_once: Vec<u8> = (0..1_000).flat_map(|k| record(20, 0, k, &[1])).collect();
    let bytes = (0..100).map(|k| record(23, 1, k, &[0; 1_200]));

    assert!(matches!(refused(records), (Some(DtlsError::Bounds), 129)));
    assert!(matches!(refused(std::iter::once(at_once)), (Some(DtlsError::Bounds), 1)));
    assert!(matches!(refused(bytes), (Some(DtlsError::Bounds), 28)));
}

#[test]
fn nonsense_before_the_hello_is_passed_over() {
    let empty = record(22, 0, 1, &fragment(1_000, 0, 0, &[]));
    let beyond = record(22, 0, 2, &fragment(10, 0, 8, &[0; 5]));
    let far_ahead = record(22, 0, 4, &fragment(4, 40_000, 0, &[0; 4]));
    let truncated = record(22, 0, 5, &fragment(100, 0, 0, &[0; 50]))[..40].to_vec();
    let data = record(23, 0, 6, b"data without keys");
    let warning = record(21, 0, 9, &[1, 90]);
    let next_epoch = record(22, 7, 7, &[0; 60]);
    let unknown = record(63, 0, 8, &[0; 60]);
    let nonsense = [empty, beyond, far_ahead, truncated, data, warning, next_epoch, unknown, vec![22], vec![]];
    for (pairing, profiles, _) in PAIRINGS.into_iter().filter(|(pairing, ..)| *pairing != Pairing::OurClient) {
        let mut link = Hall::new().link(pairing, profiles, fair());
        for datagram in &nonsense {
            link.server.read(datagram, link.now, &mut Vec::new());
        }

        let took = link.run(Duration::from_secs(1));

        assert!(took.is_some(), "{pairing:?}: {:?}", link.server.error());
    }
}

#[test]
fn what_comes_in_clear_after_completion_is_ignored() {
    let close_notify = record(21, 0, 900, &[1, 0]);
    let fatal = record(21, 0, 901, &[2, 40]);
    let sealed_badly = record(21, 1, 902, &[0; 26]);
    let finished_badly = record(22, 1, 903, &[0; 48]);
    let hello = record(22, 0, 904, &fragment(100, 0, 0, &[0; 100]));
    let queued = record(22, 2, 905, &[0; 1_000]);
    let garbage = (0..64_u8).map(|b| vec![b; 64]);
    for (pairing, profiles, expected) in PAIRINGS {
        let mut link = Hall::new().link(pairing, profiles, fair());
        link.run(Duration::from_secs(1)).expect("complete");
        let sent = link.sent;
        let forged = [&close_notify, &fatal, &sealed_badly, &finished_badly, &hello, &queued].map(Clone::clone);
        let forged: Vec<BytesMut> = forged.into_iter().chain(garbage.clone()).map(|d| BytesMut::from(&d[..])).collect();
        let count = forged.len();

        let to_server = pairing != Pairing::OurClient;
        link.post(to_server, forged);
        link.settle(Duration::from_secs(5));

        assert_eq!(link.sent, sent + count, "{pairing:?}: nothing was answered");
        assert!(!link.server.is_closed() && link.server.error().is_none(), "{pairing:?}");
        assert!(!link.client.is_closed() && link.client.error().is_none(), "{pairing:?}");
        assert_same_keys(&link, expected);
        // It is still there for who holds the keys.
        let mut goodbye = Vec::new();
        if to_server {
            link.client.close(link.now, &mut goodbye);
        } else {
            link.server.close(link.now, &mut goodbye);
        }
        link.post(to_server, goodbye);
        link.settle(Duration::from_secs(1));
        assert!(if to_server { link.server.is_closed() } else { link.client.is_closed() }, "{pairing:?}");
    }
}

#[test]
fn a_certificate_that_was_not_announced_ends_the_handshake_before_any_key() {
    let hall = Hall::new();
    for (pairing, profiles, _) in PAIRINGS {
        let now = Instant::now();
        let wrong = Fingerprint { hash: Hash::Sha256, value: vec![7; 32] };
        let mut link = hall.link(pairing, profiles, fair());
        let (role, begun) =
            if pairing == Pairing::OurClient { (DtlsRole::Client, true) } else { (DtlsRole::Server, false) };
        let mut out = Vec::new();
        let suspicious = Box::new(Ours::new(&hall.ours, role, &wrong, now, &mut out));
        if begun {
            link = Link::new(suspicious, link.server, out, now, fair());
        } else {
            link.server = suspicious;
        }

        assert_eq!(link.run(Duration::from_secs(1)), None, "{pairing:?}");

        let ours = if begun { &link.client } else { &link.server };
        assert!(matches!(ours.error(), Some(DtlsError::Certificate)), "{pairing:?}: {:?}", ours.error());
        assert!(ours.agreed().is_none(), "{pairing:?}");
        link.settle(Duration::from_secs(5));
        let theirs = if begun { &link.server } else { &link.client };
        assert!(theirs.is_closed() || theirs.error().is_some(), "{pairing:?}: the peer is told");
    }
}

#[test]
fn who_holds_the_keys_gets_no_more_through_than_a_finished_and_a_goodbye() {
    // The library recurses per fragment in encrypted records too; a key is no proof of good will.
    let large = record(22, 1, 1, &[0; 1_200]);
    let data = record(23, 1, 2, &[0; 40]);
    let finished = record(22, 1, 3, &[0; 48]);
    let alert = record(21, 1, 4, &[0; 26]);
    let large_alert = record(21, 1, 5, &[0; 1_200]);
    let mut intake = Intake::default();

    assert_eq!(intake.take_encrypted(&[large.clone(), finished.clone(), data.clone()].concat()), finished);
    let repeated: usize = (0..1_000).map(|_| intake.take_encrypted(&finished).len()).sum();
    assert_eq!(repeated, 31 * finished.len(), "repetitions have an end");
    assert_eq!(intake.take_encrypted(&alert), alert, "a goodbye is always heard");
    assert_eq!(Intake::alerts(&[large, data, finished, alert.clone(), large_alert].concat()), alert);
}

#[test]
fn a_piece_is_as_long_as_it_says_whatever_follows_it_in_its_record() {
    let head = record(22, 0, 0, &fragment(6, 0, 0, b"abcd"));
    let tail_and_next = record(22, 0, 1, &[fragment(6, 0, 4, b"ef"), fragment(3, 1, 0, b"ghi")].concat());
    let empty = record(22, 0, 2, &fragment(0, 2, 0, b""));
    let whole =
        |sequence, message, body: &[u8]| record(22, 0, sequence, &fragment(body.len() as u32, message, 0, body));
    let mut intake = Intake::default();

    assert!(intake.take(&head).expect("within bounds").datagram.is_empty());
    let taken = intake.take(&[tail_and_next, empty, head].concat()).expect("within bounds");

    assert_eq!(taken.datagram, [whole(0, 0, b"abcdef"), whole(1, 1, b"ghi"), whole(2, 2, b"")].concat());
    assert!(taken.repeats, "the head came twice");
}
