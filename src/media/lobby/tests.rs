//! Parking, claiming and forgetting, without workers.

use super::*;
use crate::media::{Role, Route, StreamId};
use crate::wire::sdp::{IceCredentials, Negotiated};
use crate::wire::stun::{self, Check};

const ME: WorkerId = WorkerId(0);
const OTHER: WorkerId = WorkerId(1);

fn credentials(n: u8) -> IceCredentials {
    IceCredentials { ufrag: format!("ours{n}"), pwd: format!("our-password-of-24-ch-{n:03}") }
}

fn spec(n: u8, dtls: DtlsRole, created: Instant) -> SessionSpec {
    let remote_ice = IceCredentials { ufrag: "them".into(), pwd: "their-password-of-24-ch.".into() };
    let negotiated =
        Negotiated { answer: String::new(), remote_ice, fingerprints: Vec::new(), dtls, sections: Vec::new() };
    let route = Route::new(StreamId(1));
    SessionSpec {
        id: SessionId(n.into()),
        role: Role::Viewer,
        route,
        local_ice: credentials(n),
        negotiated,
        created,
        standing: None,
    }
}

fn path(port: u16) -> Path {
    Path { remote: SocketAddr::from(([192, 0, 2, 1], port)), local: None }
}

/// A check of a session's client as a worker passes it on.
fn check(lobby: &Lobby, worker: WorkerId, n: u8, id: u8, use_candidate: bool, port: u16, now: Instant) -> Known {
    let username = format!("ours{n}:them");
    let check = Check { transaction: [id; 12], username: &username, priority: 1, controlling: 1, use_candidate };
    let mut datagram = Vec::new();
    stun::write_check(&mut datagram, &check, &stun::Key::new(&credentials(n).pwd));
    let message = Message::parse(&datagram).expect("we wrote it");
    lobby.check(worker, &message, path(port), now, &mut Vec::new())
}

/// The agent of a session whose client was at these ports.
fn seen(n: u8, ports: &[u16]) -> Ice {
    let remote = IceCredentials { ufrag: "them".into(), pwd: "their-password-of-24-ch.".into() };
    let mut ice = Ice::new(&credentials(n), &remote);
    for (id, port) in (0..).zip(ports) {
        let check = Check {
            transaction: [id; 12],
            username: &format!("ours{n}:them"),
            priority: 1,
            controlling: 1,
            use_candidate: false,
        };
        let mut datagram = Vec::new();
        stun::write_check(&mut datagram, &check, &stun::Key::new(&credentials(n).pwd));
        let message = Message::parse(&datagram).expect("we wrote it");
        ice.check(&message, path(*port), Instant::now(), &mut Vec::new());
    }
    ice
}

fn restart(n: u8, ufrag: &str) -> Restart {
    Restart {
        session: SessionId(n.into()),
        local: IceCredentials { ufrag: ufrag.into(), pwd: "our-password-after-restart".into() },
        remote: IceCredentials { ufrag: "them2".into(), pwd: "their-password-of-24-ch.".into() },
    }
}

fn datagram(lobby: &Lobby, worker: WorkerId, protocol: Protocol, port: u16) -> Known {
    lobby.datagram(worker, protocol, path(port).remote)
}

#[test]
fn parked_and_claimed_sessions_take_places() {
    let now = Instant::now();
    let lobby = Lobby::new(2);

    assert!(lobby.park(spec(1, DtlsRole::Server, now)));
    assert!(!lobby.park(spec(1, DtlsRole::Server, now)), "its name is in use");
    check(&lobby, ME, 1, 1, true, 1, now);
    assert!(matches!(datagram(&lobby, ME, Protocol::Dtls, 1), Known::Yours(_)));
    assert!(!lobby.park(spec(1, DtlsRole::Server, now)), "still in use");
    assert!(lobby.park(spec(2, DtlsRole::Server, now)));
    assert!(!lobby.park(spec(3, DtlsRole::Server, now)), "all places are taken");

    lobby.release(SessionId(1), "ours1", &seen(1, &[1]));
    assert!(lobby.park(spec(3, DtlsRole::Server, now)));
    assert_eq!(lobby.len(), 2);
    assert_eq!(lobby.remove_all().len(), 2);
    assert_eq!(lobby.traces(), 0);
}

#[test]
fn only_parked_sessions_expire() {
    let now = Instant::now();
    let lobby = Lobby::new(10);
    for n in 1..=3 {
        lobby.park(spec(n, DtlsRole::Server, now));
        check(&lobby, ME, n, n, true, n.into(), now);
    }
    assert!(matches!(datagram(&lobby, ME, Protocol::Dtls, 2), Known::Yours(_)));
    lobby.park(spec(4, DtlsRole::Server, now + Duration::from_secs(1)));

    assert!(lobby.expire(now + Duration::from_millis(14_999)).is_empty());
    let mut expired: Vec<_> = lobby.expire(now + CONNECT_WITHIN).iter().map(|p| p.spec.id.0).collect();
    expired.sort_unstable();

    assert_eq!(expired, [1, 3]);
    assert!(matches!(datagram(&lobby, OTHER, Protocol::Dtls, 2), Known::Of(ME)));
    assert!(matches!(datagram(&lobby, OTHER, Protocol::Dtls, 1), Known::No));
}

#[test]
fn the_first_handshake_datagram_claims() {
    let now = Instant::now();
    let lobby = Lobby::new(10);
    lobby.park(spec(1, DtlsRole::Server, now));

    assert!(matches!(datagram(&lobby, ME, Protocol::Dtls, 1), Known::No), "no check came from there");
    assert!(matches!(check(&lobby, ME, 1, 1, true, 1, now), Known::Answered));
    assert!(matches!(datagram(&lobby, ME, Protocol::Rtp, 1), Known::No), "media claims nothing");
    assert!(matches!(datagram(&lobby, OTHER, Protocol::Dtls, 1), Known::Yours(_)));

    assert!(matches!(datagram(&lobby, ME, Protocol::Dtls, 1), Known::Of(OTHER)));
    assert!(matches!(check(&lobby, ME, 1, 2, true, 1, now), Known::Of(OTHER)));
    assert!(lobby.remove(SessionId(1)).is_none(), "control has to ask its worker");
}

#[test]
fn where_we_are_the_client_nomination_or_time_claims() {
    let now = Instant::now();
    let lobby = Lobby::new(10);
    for n in [1, 2, 3] {
        lobby.park(spec(n, DtlsRole::Client, now));
    }

    assert!(matches!(check(&lobby, ME, 1, 1, false, 1, now), Known::Answered));
    assert!(matches!(datagram(&lobby, ME, Protocol::Dtls, 1), Known::No));
    assert!(matches!(check(&lobby, OTHER, 1, 2, true, 2, now), Known::Yours(_)));
    assert!(matches!(check(&lobby, ME, 2, 3, false, 3, now), Known::Answered));
    assert!(lobby.claim_overdue(OTHER, now + Duration::from_millis(99)).is_empty());
    let claimed = lobby.claim_overdue(OTHER, now + CLAIM_AFTER);

    assert_eq!(claimed.iter().map(|p| p.spec.id.0).collect::<Vec<_>>(), [2], "nobody has heard of 3");
}

#[test]
fn addresses_follow_their_session() {
    let now = Instant::now();
    let lobby = Lobby::new(10);
    for n in [1, 2] {
        lobby.park(spec(n, DtlsRole::Server, now));
        check(&lobby, ME, n, n, true, n.into(), now);
        assert!(matches!(datagram(&lobby, WorkerId(n), Protocol::Dtls, n.into()), Known::Yours(_)));
    }

    lobby.move_address("ours1", path(7).remote, Some(path(1).remote));
    assert!(matches!(datagram(&lobby, ME, Protocol::Rtp, 7), Known::Of(WorkerId(1))));
    assert!(matches!(datagram(&lobby, ME, Protocol::Rtp, 1), Known::No));
    lobby.move_address("ours2", path(7).remote, Some(path(7).remote));
    lobby.release(SessionId(1), "ours1", &seen(1, &[7, 1]));

    assert!(matches!(datagram(&lobby, ME, Protocol::Rtp, 7), Known::Of(WorkerId(2))), "it is another's by now");
    lobby.release(SessionId(2), "ours2", &seen(2, &[7, 2]));
    assert_eq!(lobby.traces(), 0);
}

#[test]
fn a_removed_session_leaves_nothing() {
    let now = Instant::now();
    let lobby = Lobby::new(10);
    lobby.park(spec(1, DtlsRole::Server, now));
    check(&lobby, ME, 1, 1, true, 1, now);

    let parked = lobby.remove(SessionId(1)).expect("it is parked");

    assert_eq!(parked.spec.id, SessionId(1));
    assert_eq!(lobby.traces(), 0);
}

#[test]
fn a_restart_gives_a_session_a_second_name_until_it_is_over() {
    let now = Instant::now();
    let lobby = Lobby::new(3);
    assert!(lobby.park(spec(1, DtlsRole::Server, now)));
    assert!(lobby.park(spec(2, DtlsRole::Server, now)));

    assert_eq!(lobby.restart(&restart(9, "new9")), Restarting::No, "nobody");
    assert_eq!(lobby.restart(&restart(1, "ours2")), Restarting::No, "a name that is in use");
    assert_eq!(lobby.restart(&restart(1, "new1")), Restarting::Done);
    assert_eq!(lobby.restart(&restart(1, "new2")), Restarting::Done);
    let check =
        Check { transaction: [9; 12], username: "new2:them2", priority: 1, controlling: 1, use_candidate: true };
    let mut datagram_of_it = Vec::new();
    stun::write_check(&mut datagram_of_it, &check, &stun::Key::new("our-password-after-restart"));
    let message = Message::parse(&datagram_of_it).expect("we wrote it");
    assert!(matches!(lobby.check(ME, &message, path(1), now, &mut Vec::new()), Known::Answered));
    assert!(matches!(datagram(&lobby, OTHER, Protocol::Dtls, 1), Known::Yours(_)));
    assert!(matches!(lobby.check(ME, &message, path(1), now, &mut Vec::new()), Known::Of(OTHER)));
    assert_eq!(lobby.restart(&restart(1, "new3")), Restarting::Of(OTHER));

    lobby.retire("new3");
    let mut ice = seen(1, &[1]);
    ice.restart(&restart(1, "new2").local, &restart(1, "new2").remote);
    lobby.release(SessionId(1), "ours1", &ice);
    assert_eq!(lobby.remove_all().len(), 1);
    assert_eq!(lobby.traces(), 0);
}
