//! How sessions end, and that nothing of them is left.

use super::super::*;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG, OBS, Rig, ms};
use crate::media::Role;
use crate::wire::rtcp;
use crate::wire::sdp::Kind;
use crate::wire::stun::Class;

fn byes(rig: &Rig, client: usize) -> usize {
    let mut byes = 0;
    for (_, report) in &rig.clients[client].reports {
        rtcp::read(report, |event| byes += usize::from(matches!(event, rtcp::Event::Bye { .. })));
    }
    byes
}

#[test]
fn a_viewer_that_leaves_at_once_is_counted_to_its_last_packet() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 4);
    rig.run(ms(5));
    let id = rig.clients[viewer].id;
    let its = |notice: &Notice| match notice {
        Notice::Vitals { session, vitals } if *session == id => Some(Arc::clone(vitals)),
        _ => None,
    };
    let vitals = rig.notices.iter().find_map(its).expect("told");
    assert_eq!(vitals.read().packets, 0, "no report has been due");

    rig.close(viewer, CloseReason::Deleted);

    let (_, summary) = rig.end_of(viewer).expect("told");
    let signs = vitals.read();
    assert_eq!((signs.packets, signs.bytes), (summary.packets, summary.bytes));
    assert_eq!(signs.packets as usize, rig.clients[viewer].seen.len());
    assert!(signs.packets > 0 && signs.first_media.is_some() && signs.first_picture.is_some(), "{signs:?}");
    rig.finish();
}

#[test]
fn a_deleted_viewer_is_told_three_times_and_refused_for_five_seconds() {
    for settled in [ms(100), ms(12_000)] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        let viewer = rig.watch(1, CHROMIUM_PLAY);
        rig.live(&[presenter], ms(200));
        rig.run(settled);

        rig.close(viewer, CloseReason::Deleted);
        let seen = rig.clients[viewer].seen.len();
        let (reason, summary) = rig.end_of(viewer).expect("told at once");
        rig.live(&[presenter], ms(400));

        assert_eq!(reason, CloseReason::Deleted);
        assert_eq!(summary.packets as usize, seen);
        assert_eq!(rig.clients[viewer].seen.len(), seen, "nothing more is sent");
        assert_eq!(rig.clients[viewer].alerts, 3, "close_notify, after {settled:?}");
        // Sound, pictures and their retransmissions; repetitions are the same datagram and do not open again.
        assert_eq!(byes(&rig, viewer), 3);
        rig.check(viewer, true);
        assert_eq!(rig.clients[viewer].stun.last(), Some(&(Class::Error, Some(403))));
        rig.run(ms(5000));
        let answers = rig.clients[viewer].stun.len();
        rig.check(viewer, true);
        assert_eq!(rig.clients[viewer].stun.len(), answers, "silence");
        rig.finish();
    }
}

#[test]
fn a_deleted_presenter_is_told_and_its_packets_go_nowhere() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(200));

    rig.close(presenter, CloseReason::Deleted);
    let seen = rig.clients[viewer].seen.len();
    rig.live(&[presenter], ms(200));

    assert_eq!(rig.clients[viewer].seen.len(), seen);
    assert_eq!(rig.clients[presenter].alerts, 3);
    let (_, summary) = rig.end_of(presenter).expect("told");
    assert_eq!(summary.packets as usize, seen);
    rig.finish();
}

#[test]
fn a_peer_that_says_goodbye_is_gone_at_once() {
    for settled in [ms(100), ms(12_000)] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        let viewer = rig.watch(1, CHROMIUM_PLAY);
        rig.run(settled);

        for client in [viewer, presenter] {
            let goodbye = rig.clients[client].goodbye(rig.now);
            rig.launch_from(client, goodbye);
            rig.settle();
            assert_eq!(rig.end_of(client).expect("it ended").0, CloseReason::PeerClosed);
        }

        assert_eq!(rig.shared.lobby.len(), 0);
        rig.finish();
    }
}

#[test]
fn thirty_seconds_of_silence_end_a_session() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let noisy = rig.watch(1, CHROMIUM_PLAY);

    for _ in 0..14 {
        rig.frame(presenter, Kind::Audio, true, 1);
        rig.check(noisy, true);
        rig.run(ms(2000));
    }
    assert!(rig.end_of(viewer).is_none());
    rig.run(ms(2100));

    assert_eq!(rig.end_of(viewer).expect("it ended").0, CloseReason::Silent);
    assert!(rig.end_of(noisy).is_none() && rig.end_of(presenter).is_none());
    assert_eq!(rig.clients[viewer].alerts, 3, "it may still hear us");
    rig.finish();
}

#[test]
fn who_never_comes_is_forgotten_after_15_seconds() {
    let mut rig = Rig::new(2);
    let silent = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    let checking = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    let stuck = rig.park(1, Role::Presenter, FFMPEG);
    rig.check(checking, true);
    // It is claimed, but its handshake never gets an answer.
    rig.check(stuck, true);
    let begun = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    rig.check(begun, true);
    let hello = rig.clients[begun].begin(rig.now);
    rig.launch_from(begun, hello);
    rig.weather.lost = 1000;

    rig.run(ms(14_900));
    let waiting = rig.shared.lobby.len();
    rig.run(ms(200));

    assert!(waiting >= 3, "{waiting}");
    for client in [silent, checking, begun] {
        assert_eq!(rig.end_of(client).expect("it ended").0, CloseReason::NeverConnected);
    }
    rig.finish();
}

#[test]
fn a_wrong_certificate_ends_in_a_failed_handshake() {
    for (role, offer) in [(Role::Viewer, CHROMIUM_PLAY), (Role::Presenter, FFMPEG)] {
        let mut rig = Rig::new(1);
        let client = rig.park_as(1, role, offer, |negotiated| negotiated.fingerprints[0].value[0] ^= 1);

        rig.check(client, true);
        let hello = rig.clients[client].begin(rig.now);
        rig.launch_from(client, hello);
        rig.settle();

        assert_eq!(rig.end_of(client).expect("it ended").0, CloseReason::HandshakeFailed);
        assert_eq!(rig.count(Count::HandshakeFailed), 1);
        rig.finish();
    }
}

#[test]
fn a_panic_while_sending_to_one_viewer_ends_that_viewer_only() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewers: Vec<_> = (0..5).map(|_| rig.watch(1, CHROMIUM_PLAY)).collect();
    rig.live(&[presenter], ms(200));
    let since = rig.clients[presenter].tagged;

    rig.cursed = Some(rig.clients[viewers[2]].address);
    rig.live(&[presenter], ms(400));

    assert_eq!(rig.count(Count::Panics), 1);
    assert_eq!(rig.end_of(viewers[2]).expect("it ended").0, CloseReason::Panicked);
    for viewer in [0, 1, 3, 4].map(|n| viewers[n]) {
        assert!(rig.end_of(viewer).is_none());
        let new = rig.clients[viewer].seen.iter().filter(|s| s.tag & 0xf_ffff > since).count();
        assert_eq!(new as u32, rig.clients[presenter].tagged - since, "not a packet less");
    }
    rig.finish();
}

#[test]
fn a_panic_in_anything_else_ends_the_session_that_it_is_about() {
    // A check at a known address, a check at a new one, a report, a goodbye.
    for case in 0..4 {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch(1, CHROMIUM_PLAY)];
        rig.live(&[presenter], ms(100));
        rig.run(ms(5));
        if case == 1 {
            rig.clients[viewers[0]].address.set_port(9);
        }
        rig.cursed = Some(rig.clients[viewers[0]].address);

        match case {
            0 | 1 => rig.check(viewers[0], true),
            2 => rig.run(ms(3000)),
            _ => rig.close(viewers[0], CloseReason::Deleted),
        }

        assert_eq!(rig.count(Count::Panics), 1, "case {case}");
        assert!(rig.end_of(viewers[0]).is_some(), "case {case}");
        rig.cursed = None;
        let before = rig.clients[viewers[1]].seen.len();
        rig.live(&[presenter], ms(100));
        assert!(rig.clients[viewers[1]].seen.len() > before, "case {case}");
        rig.finish();
    }
}

#[test]
fn two_hundred_come_and_go_and_nothing_is_left() {
    let mut rig = Rig::new(3);
    let presenter = rig.present(1, OBS);
    for n in 0..200_usize {
        let viewer = rig.watch_at(n % 3, 1 + n as u64 % 2, CHROMIUM_PLAY);
        rig.live(&[presenter], ms(20));
        match n % 4 {
            0 => rig.close(viewer, CloseReason::Deleted),
            1 => {
                let goodbye = rig.clients[viewer].goodbye(rig.now);
                rig.launch_from(viewer, goodbye);
                rig.settle();
            }
            _ => {}
        }
    }

    rig.finish();
}
