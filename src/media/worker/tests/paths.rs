//! Addresses: who may send, where media goes, which worker a session belongs to.

use std::net::SocketAddr;

use super::super::*;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG, OBS, Rig, ms};
use crate::media::lobby::Restarting;
use crate::media::session::STEPS;
use crate::media::{Restart, Role};
use crate::wire::rtcp;
use crate::wire::sdp::Kind;

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([172, 16, 0, 1], n))
}

/// The worker that owns a client's session.
fn owner(rig: &Rig, client: usize) -> Option<usize> {
    rig.workers.iter().position(|w| w.by_id.contains_key(&rig.clients[client].id))
}

#[test]
fn what_comes_from_an_unchecked_address_is_dropped() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    let home = std::mem::replace(&mut rig.clients[presenter].address, address(9));
    rig.frame(presenter, Kind::Video, true, 4);
    rig.rtcp(presenter, |out| rtcp::write_bye(out, &[1]));

    assert_eq!(rig.count(Count::DropUnvalidated), 5);
    assert!(rig.clients[viewer].seen.is_empty());
    rig.clients[presenter].address = home;
    rig.frame(presenter, Kind::Video, true, 4);
    assert_eq!(rig.clients[viewer].seen.len(), 4);
    rig.finish();
}

#[test]
fn media_goes_where_the_viewer_nominates() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let home = rig.clients[viewer].address;
    rig.frame(presenter, Kind::Video, true, 4);
    let last_send = |rig: &Rig| rig.sends.last().map(|(_, to, _)| *to);
    assert_eq!(last_send(&rig), Some(home));

    rig.clients[viewer].address = address(9);
    rig.check(viewer, false);
    rig.frame(presenter, Kind::Video, false, 4);
    assert_eq!(last_send(&rig), Some(home), "a check alone moves nothing");
    rig.check(viewer, true);
    rig.frame(presenter, Kind::Video, false, 4);

    assert_eq!(last_send(&rig), Some(address(9)));
    rig.finish();
}

/// What was told of a client's connection.
fn steps(rig: &Rig, client: usize) -> Vec<Step> {
    let id = rig.clients[client].id;
    let its = |notice: &Notice| match notice {
        Notice::Step { session, step } if *session == id => Some(step.clone()),
        _ => None,
    };
    rig.notices.iter().filter_map(its).collect()
}

#[test]
fn the_way_of_a_connection_is_told() {
    let mut rig = Rig::new(2);
    let viewer = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    let home = rig.clients[viewer].address;
    rig.clients[viewer].address = address(8);
    rig.check(viewer, false);
    rig.clients[viewer].address = home;
    rig.connect(viewer);

    rig.clients[viewer].address = address(9);
    rig.check(viewer, false);
    rig.check(viewer, true);
    rig.check(viewer, true);

    let expected =
        [Step::Checked(address(8)), Step::Selected(home), Step::Checked(address(9)), Step::Selected(address(9))];
    assert_eq!(steps(&rig, viewer), expected);
    rig.finish();
}

#[test]
fn a_client_that_changes_its_mind_all_the_time_is_not_followed() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    for n in 0..200 {
        rig.clients[viewer].address = address(n % 2);
        rig.check(viewer, true);
    }
    let told = steps(&rig, viewer).len();
    assert_eq!(told, usize::from(STEPS));

    rig.run(Duration::from_secs(10));
    rig.clients[viewer].address = address(7);
    rig.check(viewer, true);
    assert_eq!(steps(&rig, viewer).last(), Some(&Step::Selected(address(7))), "later it is");
    rig.finish();
}

#[test]
fn a_presenter_whose_address_changes_goes_on_even_at_another_worker() {
    for other in [0, 1] {
        let mut rig = Rig::new(2);
        let presenter = rig.present(1, OBS);
        let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
        rig.live(&[presenter], ms(200));

        rig.clients[presenter].address = address(9);
        rig.clients[presenter].at = other;
        rig.check(presenter, true);
        let since = rig.clients[presenter].tagged;
        rig.live(&[presenter], ms(400));
        rig.run(ms(5));

        assert_eq!(owner(&rig, presenter), Some(0));
        for viewer in viewers {
            let new = rig.clients[viewer].seen.iter().filter(|s| s.tag & 0xf_ffff > since).count();
            assert_eq!(new as u32, rig.clients[presenter].tagged - since);
        }
        let answered = rig.clients[presenter].stun.len();
        rig.check(presenter, true);
        assert_eq!(rig.clients[presenter].stun.len(), answered + 1, "answered where it is now");
        rig.finish();
    }
}

#[test]
fn a_viewer_whose_address_changes_is_still_heard() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 4);

    rig.clients[viewer].address = address(9);
    rig.clients[viewer].at = 1;
    rig.check(viewer, true);
    rig.frame(presenter, Kind::Video, false, 4);
    let source = rig.clients[viewer].video();
    let lost = rig.clients[viewer].of(source.ssrc)[6].seq;
    rig.rtcp(viewer, |out| rtcp::write_nack(out, 1, source.ssrc, &[lost]));

    assert_eq!(rig.clients[viewer].of(source.rtx.expect("agreed")).len(), 1);
    let goodbye = rig.clients[viewer].goodbye(rig.now);
    rig.launch_from(viewer, goodbye);
    rig.settle();
    assert_eq!(rig.end_of(viewer).expect("it ended").0, CloseReason::PeerClosed);
    rig.finish();
}

#[test]
fn the_worker_that_gets_the_handshake_owns_the_session() {
    let mut rig = Rig::new(2);
    let viewer = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    rig.check(viewer, true);
    assert_eq!(rig.clients[viewer].stun.len(), 1);
    assert_eq!(owner(&rig, viewer), None, "a check alone claims nothing");

    rig.clients[viewer].at = 1;
    rig.connect(viewer);

    assert_eq!(owner(&rig, viewer), Some(1));
    rig.finish();
}

#[test]
fn where_we_begin_the_handshake_the_nominating_check_decides() {
    let mut rig = Rig::new(2);
    let presenter = rig.park(1, Role::Presenter, FFMPEG);
    rig.check(presenter, false);
    assert_eq!(owner(&rig, presenter), None);

    rig.clients[presenter].at = 1;
    rig.check(presenter, true);

    assert_eq!(owner(&rig, presenter), Some(1));
    assert!(rig.clients[presenter].is_live());
    rig.finish();
}

#[test]
fn a_client_that_never_nominates_is_connected_after_100_ms() {
    let mut rig = Rig::new(2);
    let presenter = rig.park(1, Role::Presenter, FFMPEG);
    rig.check(presenter, false);

    rig.run(ms(90));
    assert!(!rig.clients[presenter].is_live());
    rig.run(ms(70));

    assert!(rig.clients[presenter].is_live());
    rig.finish();
}

#[test]
fn viewers_of_all_workers_get_the_stream_and_their_requests_travel_home() {
    let mut rig = Rig::new(3);
    let presenter = rig.present(1, OBS);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY), rig.watch_at(2, 1, CHROMIUM_PLAY)];
    // Later than a viewer may begin once more.
    rig.live(&[presenter], ms(5200));
    let (before, _) = rig.clients[presenter].keyframe_requests();

    let ssrc = rig.clients[viewers[2]].video().ssrc;
    rig.rtcp(viewers[2], |out| rtcp::write_pli(out, 1, ssrc));
    rig.run(ms(5));

    assert_eq!(rig.clients[presenter].keyframe_requests().0, before + 1);
    let tags = |viewer: usize| rig.clients[viewer].seen.iter().map(|s| s.tag).collect::<Vec<_>>();
    assert_eq!(tags(viewers[0]).len(), rig.clients[presenter].sent.len());
    assert_eq!(tags(viewers[1]), tags(viewers[2]));
    let mut sorted = [tags(viewers[0]), tags(viewers[1])];
    for tags in &mut sorted {
        tags.sort_unstable();
    }
    assert_eq!(sorted[0], sorted[1]);
    rig.finish();
}

#[test]
fn a_client_that_comes_back_at_the_same_address_is_not_taken_for_its_old_session() {
    for at in [0, 1] {
        let mut rig = Rig::new(2);
        let presenter = rig.present(1, OBS);
        let first = rig.watch(1, CHROMIUM_PLAY);
        rig.clients[first].at = at;
        rig.check(first, true);
        rig.run(ms(3000));

        let second = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
        rig.clients[second].at = at;
        rig.clients[second].address = rig.clients[first].address;
        rig.clients[first].address = address(9);
        rig.connect(second);
        rig.frame(presenter, Kind::Video, true, 4);
        rig.run(ms(5));

        assert_eq!(rig.clients[second].seen.len(), 4);
        rig.finish();
    }
}

#[test]
fn an_address_in_use_cannot_be_taken_by_a_forged_check() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let thief = rig.park(2, Role::Viewer, CHROMIUM_PLAY);
    let victim = rig.clients[presenter].address;
    let home = std::mem::replace(&mut rig.clients[thief].address, victim);

    rig.frame(presenter, Kind::Video, true, 4);
    rig.check(thief, true);
    rig.frame(presenter, Kind::Video, false, 4);

    assert_eq!(rig.clients[viewer].seen.len(), 8);
    rig.clients[thief].address = home;
    rig.connect(thief);
    rig.finish();
}

#[test]
fn two_streams_do_not_mix() {
    let mut rig = Rig::new(2);
    let presenters = [rig.present(1, OBS), rig.present(2, CHROMIUM_PUBLISH)];
    let viewers: Vec<_> =
        [(0, 1), (1, 1), (0, 2), (1, 2)].map(|(w, s)| (rig.watch_at(w, s, CHROMIUM_PLAY), s)).to_vec();
    let lonely = rig.watch(3, CHROMIUM_PLAY);

    rig.live(&presenters, ms(600));
    for (viewer, _) in &viewers {
        let ssrc = rig.clients[*viewer].video().ssrc;
        rig.rtcp(*viewer, |out| rtcp::write_pli(out, 1, ssrc));
        rig.rtcp(*viewer, |out| rtcp::write_nack(out, 1, ssrc, &[1, 2, 3]));
    }
    rig.live(&presenters, ms(600));

    for (viewer, stream) in viewers {
        let presenter = presenters[stream as usize - 1] as u32 + 1;
        assert!(rig.clients[viewer].seen.len() > 100);
        assert!(rig.clients[viewer].seen.iter().all(|s| s.tag >> 20 == presenter));
    }
    assert!(rig.clients[lonely].raw.is_empty());
    rig.finish();
}

#[test]
fn garbage_of_one_session_touches_no_other() {
    let mut rig = Rig::new(2);
    let presenters = [rig.present(1, OBS), rig.present(2, CHROMIUM_PUBLISH)];
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch(2, CHROMIUM_PLAY)];
    rig.live(&presenters, ms(200));
    let mut random = super::rig::Random(99);

    for round in 0..2000_usize {
        let len = (random.next() % 300) as usize + 2;
        let mut garbage: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        garbage[0] = [0x80, 0x90, 0xb1, 22, 21, 20, 0, 1][round % 8];
        // Also what is authentic, but nonsense inside.
        let datagram = match round % 5 {
            0 => rig.clients[presenters[1]].seal_rtcp(|out| out.extend_from_slice(&garbage)),
            _ => garbage,
        };
        rig.send([presenters[1], viewers[1]][round % 2], datagram);
    }
    let before = rig.clients[viewers[0]].seen.len();
    rig.live(&presenters, ms(400));
    rig.run(ms(5));

    let (all, new) = (&rig.clients[viewers[0]].seen, rig.clients[viewers[0]].seen.len() - before);
    assert!(all.iter().all(|s| s.tag >> 20 == presenters[0] as u32 + 1));
    assert_eq!(new, 20 + 10 * 3 + before_keyframes(&rig, presenters[0]));
    assert!(rig.end_of(viewers[0]).is_none() && rig.end_of(presenters[0]).is_none());
    assert_eq!(rig.count(Count::Panics), 0);
    rig.finish();
}

/// Packets that key frames have more than others, in the last 400 ms.
fn before_keyframes(rig: &Rig, presenter: usize) -> usize {
    let video = rig.clients[presenter].track(Kind::Video);
    let recent = rig.clients[presenter]
        .sent
        .iter()
        .filter(|s| rig.now.duration_since(s.at) <= ms(405) && s.track == video)
        .count();
    recent - 30
}

#[test]
fn one_client_cannot_fill_the_queue_of_handshakes() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let (now, path) = (rig.now, Path { remote: rig.clients[viewer].address, local: None });
    let junk = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

    for _ in 0..100 {
        rig.work(0, |w, air| w.receive(&mut junk.clone(), path, now, now, air));
    }

    assert_eq!(rig.count(Count::DropDtls), 84);
    rig.settle();
    rig.finish();
}

/// Control's part of an ICE restart, as the handle does it.
fn restart(rig: &mut Rig, client: usize) {
    let (local, remote) = rig.clients[client].renew();
    let restart = Restart { session: rig.clients[client].id, local, remote };
    if let Restarting::Of(worker) = rig.shared.lobby.restart(&restart) {
        let now = rig.now;
        rig.work(usize::from(worker.0), |w, air| w.mail(Mail::Restart(restart), now, air));
    }
}

#[test]
fn a_restart_costs_no_packet_and_no_handshake() {
    for other in [0, 1] {
        let mut rig = Rig::new(2);
        let presenter = rig.present(1, OBS);
        let viewer = rig.watch(1, CHROMIUM_PLAY);
        rig.live(&[presenter], ms(200));
        let seen = rig.clients[viewer].seen.len();

        for client in [presenter, viewer] {
            restart(&mut rig, client);
        }
        rig.live(&[presenter], ms(200));
        assert!(rig.clients[viewer].seen.len() > seen, "media stays where it is meanwhile");
        for (client, port) in [(presenter, 8), (viewer, 9)] {
            let answered = rig.clients[client].stun.len();
            rig.clients[client].address = address(port);
            rig.clients[client].at = other;
            rig.check(client, true);
            assert_eq!(rig.clients[client].stun.len(), answered + 1, "the new credentials are known everywhere");
        }
        let since = rig.clients[presenter].tagged;
        rig.live(&[presenter], ms(400));
        rig.run(ms(5));

        let new = rig.clients[viewer].seen.iter().filter(|s| s.tag & 0xf_ffff > since).count();
        assert_eq!(new as u32, rig.clients[presenter].tagged - since);
        assert_eq!(rig.sends.last().map(|(_, to, _)| *to), Some(address(9)));
        rig.finish();
    }
}

#[test]
fn media_goes_where_a_viewer_reports_from_before_it_nominates() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(200));

    restart(&mut rig, viewer);
    rig.clients[viewer].address = address(9);
    rig.check(viewer, false);
    rig.frame(presenter, Kind::Video, false, 4);
    assert_ne!(rig.sends.last().map(|(_, to, _)| *to), Some(address(9)), "a check alone moves nothing");
    rig.rtcp(viewer, |_| {});
    rig.frame(presenter, Kind::Video, false, 4);

    assert_eq!(rig.sends.last().map(|(_, to, _)| *to), Some(address(9)));
    rig.finish();
}

#[test]
fn old_credentials_work_until_the_new_ones_nominate() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let mut old = rig.clients[viewer].identity();

    restart(&mut rig, viewer);
    restart(&mut rig, viewer);
    let answered = |rig: &Rig| rig.clients[viewer].stun.len();
    let before = answered(&rig);
    rig.clients[viewer].exchange(&mut old);
    rig.check(viewer, false);
    assert_eq!(answered(&rig), before + 1, "the old ones");
    rig.clients[viewer].exchange(&mut old);
    rig.check(viewer, true);
    assert_eq!(answered(&rig), before + 2, "the new ones");
    rig.clients[viewer].exchange(&mut old);
    rig.check(viewer, false);

    assert_eq!(answered(&rig), before + 2, "the old ones, too late");
    rig.finish();
}

#[test]
fn a_restart_before_the_client_has_come_is_as_good() {
    for (offer, role) in [(FFMPEG, Role::Presenter), (CHROMIUM_PLAY, Role::Viewer)] {
        let mut rig = Rig::new(2);
        let client = rig.park(1, role, offer);
        restart(&mut rig, client);
        rig.connect(client);
        restart(&mut rig, client);
        rig.check(client, true);
        restart(&mut rig, client);
        rig.finish();
    }
}

#[test]
fn a_restart_of_a_session_that_has_ended_leaves_nothing() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let (local, remote) = rig.clients[viewer].renew();
    let restart = Restart { session: rig.clients[viewer].id, local, remote };
    assert_eq!(rig.shared.lobby.restart(&restart), Restarting::Of(WorkerId(0)));

    rig.close(viewer, CloseReason::Deleted);
    let now = rig.now;
    rig.work(0, |w, air| w.mail(Mail::Restart(restart), now, air));

    rig.finish();
}
