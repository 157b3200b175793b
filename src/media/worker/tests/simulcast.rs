//! Layers: learned from the first packets, chosen by bitrate, switched at key frames.

use super::numbering::assert_continuous;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_SIMULCAST, Rig, ms};
use crate::wire::sdp::Kind;

/// Track and layer of each video packet that a viewer got.
fn layers(rig: &Rig, presenter: usize, viewer: usize) -> Vec<usize> {
    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    let track = |tag: u32| rig.clients[presenter].sent.iter().find(|s| s.tag == tag).expect("it was sent").track;
    seen.iter().map(|s| track(s.tag) - rig.clients[presenter].track(Kind::Video)).collect()
}

/// A presenter of three layers, the last one the best.
fn present(rig: &mut Rig) -> usize {
    let presenter = rig.present(1, CHROMIUM_SIMULCAST);
    assert_eq!(rig.clients[presenter].tracks.len(), 4);
    for (track, size) in [(1, 100), (2, 300), (3, 900)] {
        rig.clients[presenter].tracks[track].size = size;
    }
    presenter
}

#[test]
fn viewers_get_the_best_layer_from_a_key_frame_on() {
    let mut rig = Rig::new(2);
    let presenter = present(&mut rig);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];

    rig.live(&[presenter], ms(3000));

    assert!(rig.clients[presenter].tracks[1..].iter().all(|t| t.tells_rid == 0), "most packets do not tell");
    for viewer in viewers {
        let layers = layers(&rig, presenter, viewer);
        assert_eq!((layers[0], layers[layers.len() - 1]), (0, 2));
        assert_eq!(layers.windows(2).filter(|w| w[0] != w[1]).count(), 1, "one switch");
        assert_continuous(&rig.clients[viewer].of(rig.clients[viewer].video().ssrc));
    }
    rig.finish();
}

#[test]
fn a_layer_that_stops_is_left_within_two_seconds() {
    let mut rig = Rig::new(2);
    let presenter = present(&mut rig);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.live(&[presenter], ms(3000));

    let best = rig.clients[presenter].tracks.pop().expect("the best layer");
    rig.live(&[presenter], ms(2200));
    for viewer in viewers {
        assert_eq!(layers(&rig, presenter, viewer).last(), Some(&1));
    }
    rig.clients[presenter].tracks.push(best);
    rig.live(&[presenter], ms(3000));

    for viewer in viewers {
        assert_eq!(layers(&rig, presenter, viewer).last(), Some(&2), "and taken again when it is back");
        assert_continuous(&rig.clients[viewer].of(rig.clients[viewer].video().ssrc));
    }
    rig.finish();
}

#[test]
fn when_all_stop_but_the_least_that_one_is_shown() {
    let mut rig = Rig::new(1);
    let presenter = present(&mut rig);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(3000));

    rig.clients[presenter].tracks.truncate(2);
    rig.live(&[presenter], ms(2200));

    assert_eq!(layers(&rig, presenter, viewer).last(), Some(&0));
    rig.finish();
}

#[test]
fn late_packets_of_the_layer_before_are_not_forwarded() {
    let mut rig = Rig::new(1);
    let presenter = present(&mut rig);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(400));
    let late = rig.clients[presenter].frame(1, true, 3, rig.now);
    rig.live(&[presenter], ms(2600));
    assert_eq!(layers(&rig, presenter, viewer).last(), Some(&2));

    let before = rig.clients[viewer].seen.len();
    rig.launch_from(presenter, late.into_iter().map(|s| s.datagram).collect());
    rig.run(ms(10));

    assert_eq!(rig.clients[viewer].seen.len(), before);
    rig.finish();
}

#[test]
fn what_a_layer_loses_is_repaired_in_that_layer() {
    let mut rig = Rig::new(1);
    let presenter = present(&mut rig);
    rig.clients[presenter].repairs = true;
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(3000));

    let frame = rig.clients[presenter].frame(3, false, 5, rig.now);
    let tags: Vec<_> = frame.iter().map(|s| s.tag).collect();
    let arrives = frame.into_iter().enumerate().filter(|(n, _)| *n != 2).map(|(_, s)| s.datagram).collect();
    rig.launch_from(presenter, arrives);
    rig.run(ms(200));

    let mut got: Vec<_> = rig.clients[viewer].seen.iter().map(|s| s.tag).filter(|t| tags.contains(t)).collect();
    got.sort_unstable();
    assert_eq!(got, tags);
    rig.finish();
}
