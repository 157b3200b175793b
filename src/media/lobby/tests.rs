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
    SessionSpec { id: SessionId(n.into()), role: Role::Viewer, route, local_ice: credentials(n), negotiated, created }
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

    lobby.release(SessionId(1), "ours1", [path(1).remote].into_iter());
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
    lobby.release(SessionId(1), "ours1", [path(7).remote, path(1).remote].into_iter());

    assert!(matches!(datagram(&lobby, ME, Protocol::Rtp, 7), Known::Of(WorkerId(2))), "it is another's by now");
    lobby.release(SessionId(2), "ours2", [path(7).remote, path(2).remote].into_iter());
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
