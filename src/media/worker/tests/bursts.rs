//! When packets leave, and in which company.

use super::super::*;
use super::rig::{CHROMIUM_PLAY, OBS, Rig, ms};
use crate::media::mail::Mail;
use crate::wire::sdp::Kind;

/// Datagrams of each send to a viewer since some moment.
fn sends(rig: &Rig, viewer: usize, since: usize) -> Vec<usize> {
    let to = rig.clients[viewer].address;
    rig.sends[since..].iter().filter(|(_, at, _)| *at == to).map(|(_, _, count)| *count).collect()
}

/// Gives a worker the packets of a frame, without letting it send.
fn receive(rig: &mut Rig, presenter: usize, key: bool, packets: usize) -> Vec<u32> {
    let video = rig.clients[presenter].track(Kind::Video);
    let (now, path) = (rig.now, Path { remote: rig.clients[presenter].address, local: None });
    let frame = rig.clients[presenter].frame(video, key, packets, now);
    for sent in &frame {
        let mut bytes = sent.datagram.clone();
        rig.work(0, |w, air| w.receive(&mut bytes, path, now, now, air));
    }
    frame.iter().map(|s| s.tag).collect()
}

fn turn(rig: &mut Rig) -> bool {
    let now = rig.now;
    rig.work(0, |w, air| w.turn(now, air)).expect("no panic")
}

#[test]
fn a_frame_leaves_as_one_at_its_marker() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let since = rig.sends.len();

    rig.frame(presenter, Kind::Video, true, 12);

    assert_eq!(sends(&rig, viewer, since), [12]);
    rig.finish();
}

#[test]
fn a_frame_does_not_wait_for_handshakes_that_came_before_it() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let (now, path) = (rig.now, Path { remote: rig.clients[viewer].address, local: None });
    let since = rig.sends.len();

    for _ in 0..8 {
        rig.work(0, |w, air| w.receive(&mut [22, 254, 253, 0, 0, 0, 0], path, now, now, air));
    }
    receive(&mut rig, presenter, true, 12);
    let has_more = turn(&mut rig);

    assert_eq!(sends(&rig, viewer, since), [12]);
    assert!(has_more && rig.workers[0].has_handshakes());
    rig.settle();
    assert!(!rig.workers[0].has_handshakes(), "their turn comes");
    rig.finish();
}

#[test]
fn a_large_frame_leaves_by_forties() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    let since = rig.sends.len();

    for sent in rig.clients[presenter].frame(video, true, 100, rig.now) {
        rig.send(presenter, sent.datagram);
    }

    assert_eq!(sends(&rig, viewer, since), [40, 40, 20]);
    rig.finish();
}

#[test]
fn what_has_no_marker_leaves_after_two_milliseconds() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.run(ms(10));
    let (came, video) = (rig.now, rig.clients[presenter].track(Kind::Video));

    let mut frame = rig.clients[presenter].frame(video, true, 3, came);
    frame.pop();
    for sent in frame {
        rig.send(presenter, sent.datagram);
    }
    assert!(rig.clients[viewer].seen.is_empty());
    rig.run(ms(10));

    let left = rig.clients[viewer].seen[0].at.duration_since(came);
    assert_eq!(left, ms(2));
    rig.finish();
}

#[test]
fn sound_between_two_pictures_leaves_at_once() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    rig.frame(presenter, Kind::Audio, true, 1);

    assert_eq!(rig.clients[viewer].seen.len(), 1);
    rig.finish();
}

#[test]
fn packets_that_come_while_a_burst_is_sent_leave_in_the_next() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewers: Vec<_> = (0..150).map(|_| rig.watch(1, CHROMIUM_PLAY)).collect();
    rig.settle();
    let since = rig.sends.len();

    let mut tags = receive(&mut rig, presenter, true, 3);
    assert!(turn(&mut rig));
    assert_eq!(rig.sends.len() - since, 64, "viewers a turn");
    tags.extend(receive(&mut rig, presenter, false, 3));
    tags.extend(receive(&mut rig, presenter, false, 3));
    assert!(turn(&mut rig));
    assert_eq!(rig.sends.len() - since, 128);
    rig.settle();

    for viewer in viewers {
        assert_eq!(sends(&rig, viewer, since), [3, 6]);
        assert_eq!(rig.clients[viewer].seen.iter().map(|s| s.tag).collect::<Vec<_>>(), tags);
    }
    rig.finish();
}

#[test]
fn nobody_is_skipped_or_served_twice_when_others_leave_in_the_middle_of_a_burst() {
    for leaving in [vec![0, 63, 5], vec![149, 64, 100], vec![3, 149, 70, 148, 0]] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        let viewers: Vec<_> = (0..150).map(|_| rig.watch(1, CHROMIUM_PLAY)).collect();
        rig.settle();

        let mut tags = receive(&mut rig, presenter, true, 3);
        turn(&mut rig);
        for at in &leaving {
            let session = rig.clients[viewers[*at]].id;
            let mail = Mail::Close { session, reason: CloseReason::Deleted };
            let now = rig.now;
            rig.work(0, |w, air| w.mail(mail, now, air));
        }
        rig.settle();
        tags.extend(rig.frame(presenter, Kind::Video, false, 2));

        for (at, viewer) in viewers.iter().enumerate().filter(|(at, _)| !leaving.contains(at)) {
            let seen: Vec<_> = rig.clients[*viewer].seen.iter().map(|s| s.tag).collect();
            assert_eq!(seen, tags, "viewer {at} of {leaving:?}");
            // Its session still finds it.
            rig.close(*viewer, CloseReason::Deleted);
            assert_eq!(rig.end_of(*viewer).expect("it ended").1.packets, 5);
        }
        rig.finish();
    }
}

#[test]
fn a_full_socket_holds_the_burst_back_and_nobody_misses_it() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewers: Vec<_> = (0..10).map(|_| rig.watch(1, CHROMIUM_PLAY)).collect();
    rig.settle();
    let since = rig.sends.len();

    rig.room = Some(4);
    let mut tags = receive(&mut rig, presenter, true, 3);
    assert!(turn(&mut rig));
    assert_eq!(rig.sends.len() - since, 4);
    rig.room = Some(0);
    assert!(turn(&mut rig));
    assert_eq!(rig.sends.len() - since, 4, "nothing goes out while it is full");
    tags.extend(receive(&mut rig, presenter, false, 2));
    assert!(rig.workers[0].next_timeout() > rig.now + ms(2), "waiting for the socket is not spinning");
    rig.room = None;
    rig.settle();

    for viewer in viewers {
        assert_eq!(sends(&rig, viewer, since), [3, 2]);
        assert_eq!(rig.clients[viewer].seen.iter().map(|s| s.tag).collect::<Vec<_>>(), tags);
    }
    rig.finish();
}

#[test]
fn a_socket_that_stays_full_costs_viewers_packets_but_no_memory() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.settle();

    rig.room = Some(0);
    for _ in 0..200 {
        receive(&mut rig, presenter, false, 30);
        turn(&mut rig);
    }
    rig.room = None;
    rig.settle();
    let tags = rig.frame(presenter, Kind::Video, true, 3);

    let seen: Vec<_> = rig.clients[viewer].seen.iter().map(|s| s.tag).collect();
    assert!(seen.len() < 300, "{} packets were kept", seen.len());
    assert!(seen.ends_with(&tags));
    rig.finish();
}

#[test]
fn a_turn_is_short_when_bursts_are_large() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    for _ in 0..50 {
        rig.watch(1, CHROMIUM_PLAY);
    }
    rig.settle();
    let since = rig.sends.len();

    receive(&mut rig, presenter, true, 40);
    assert!(turn(&mut rig));

    assert_eq!(rig.sends.len() - since, 20, "768 packets are 20 viewers");
    rig.finish();
}

#[test]
fn other_workers_do_not_wait_for_a_full_socket_at_home() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, OBS);
    let at_home = rig.watch(1, CHROMIUM_PLAY);
    rig.watch_at(1, 1, CHROMIUM_PLAY);
    rig.settle();
    let since = rig.sends.len();

    rig.room = Some(0);
    for _ in 0..3 {
        receive(&mut rig, presenter, true, 3);
        turn(&mut rig);
    }

    let mailed = rig.workers[0].outgoing.iter().filter(|(_, mail)| matches!(mail, Mail::Packets { .. }));
    assert_eq!(mailed.count(), 3);
    assert!(sends(&rig, at_home, since).is_empty());
    rig.room = None;
    rig.settle();
    assert_eq!(sends(&rig, at_home, since), [3, 6]);
    rig.finish();
}

#[test]
fn what_cannot_be_served_in_time_is_shed_by_viewer_until_the_next_key_frame() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewers: Vec<_> = (0..8).map(|_| rig.watch(1, CHROMIUM_PLAY)).collect();
    rig.settle();
    let mut tags = receive(&mut rig, presenter, true, 3);
    for _ in 0..3 {
        rig.now += ms(10);
        tags.extend(receive(&mut rig, presenter, false, 3));
        rig.now += ms(190);
        // As many sends as there are viewers: one burst goes out, and the next one only begins.
        rig.room = Some(viewers.len());
        turn(&mut rig);
    }
    rig.room = None;
    rig.settle();
    rig.frame(presenter, Kind::Video, false, 2);
    let sound = rig.frame(presenter, Kind::Audio, false, 1);
    rig.run(ms(10));
    let last = rig.frame(presenter, Kind::Video, true, 2);

    let missing = |viewer: &usize| tags.iter().any(|tag| rig.clients[*viewer].seen.iter().all(|s| s.tag != *tag));
    assert_eq!(viewers.iter().filter(|v| missing(v)).count(), 2, "one in four");
    assert_eq!(rig.count(Count::CutLate), 2);
    for viewer in viewers {
        let seen = &rig.clients[viewer].seen;
        let heard: Vec<_> = seen.iter().filter(|s| sound.contains(&s.tag)).collect();
        assert_eq!(heard.len(), 1, "sound goes on");
        let video: Vec<_> = seen.iter().filter(|s| s.ssrc != heard[0].ssrc).collect();
        assert!(video.iter().map(|s| s.tag).collect::<Vec<_>>().ends_with(&last));
        assert!(video.windows(2).all(|w| w[1].seq == w[0].seq.wrapping_add(1)), "the numbering has no gap");
    }
    rig.finish();
}
