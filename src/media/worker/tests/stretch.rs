//! Viewers who catch up while something else happens: the cache is of yesterday, has a hole, or is of another layer.

use super::super::*;
use super::catch_up::{tags, video};
use super::numbering::assert_continuous;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_SIMULCAST, OBS, Rig, ms};
use crate::media::Role;
use crate::media::layer::{LayerChoice, LayerLimits};
use crate::wire::sdp::Kind;

/// Pictures of three packets every 40 ms, the first one a key frame if it is said.
fn play(rig: &mut Rig, presenter: usize, mut key: bool, pictures: usize) -> Vec<u32> {
    let mut tags = Vec::new();
    for _ in 0..pictures {
        tags.extend(rig.frame(presenter, Kind::Video, std::mem::take(&mut key), 3));
        rig.run(ms(40));
    }
    tags
}

/// A viewer of a simulcast wishes this layer.
fn choose(rig: &mut Rig, viewer: usize, layer: u8) {
    let choice = LayerChoice::Limited(LayerLimits { layer: Some(layer), ..LayerLimits::default() });
    let (session, now) = (rig.clients[viewer].id, rig.now);
    rig.work(0, |w, air| w.mail(Mail::ChooseLayer { session, kind: Kind::Video, choice }, now, air));
}

/// Tags of pictures of the encodings of a simulcast, the least first; key frames where it is said.
fn layers(rig: &mut Rig, presenter: usize, keys: [bool; 3]) -> [Vec<u32>; 3] {
    let mut sent = [const { Vec::new() }; 3];
    for (layer, key) in keys.into_iter().enumerate() {
        sent[layer] = rig.frame_of(presenter, layer + 1, key, 3);
    }
    rig.run(ms(40));
    sent
}

/// A presenter of three encodings that are told apart by their sizes.
fn simulcast(rig: &mut Rig) -> usize {
    let presenter = rig.present(1, CHROMIUM_SIMULCAST);
    for (track, size) in [(1, 100), (2, 300), (3, 900)] {
        rig.clients[presenter].tracks[track].size = size;
    }
    presenter
}

#[test]
fn nobody_begins_with_what_an_outpost_had_before_its_viewers_went() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, OBS);
    let first = rig.watch_at(1, 1, CHROMIUM_PLAY);
    play(&mut rig, presenter, true, 10);
    // Another one shakes hands all the time, so that the worker does not forget the stream.
    let second = rig.park(1, Role::Viewer, CHROMIUM_PLAY);
    rig.clients[second].at = 1;
    rig.check(second, true);
    let hello = rig.clients[second].begin(rig.now);
    rig.launch_from(second, hello);
    rig.throttle(second, Some(1));
    rig.settle();
    rig.close(first, CloseReason::Deleted);
    let mut all = play(&mut rig, presenter, true, 10);
    assert!(!rig.clients[second].is_live());
    rig.throttle(second, None);
    all.extend(play(&mut rig, presenter, false, 50));
    assert!(rig.clients[second].is_live());
    all.extend(play(&mut rig, presenter, false, 50));

    assert_eq!(tags(&video(&rig, second)), all, "nothing of the first group of pictures");
    assert_continuous(&video(&rig, second));
    rig.finish();
}

#[test]
fn what_left_before_a_late_packet_reaches_a_new_outpost_too() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, OBS);
    let mut all = play(&mut rig, presenter, true, 5);
    let track = rig.clients[presenter].track(Kind::Video);
    let mut picture = rig.clients[presenter].frame(track, false, 3, rig.now);
    all.extend(picture.iter().map(|sent| sent.tag));
    let late = picture.remove(1);
    rig.launch_from(presenter, picture.into_iter().map(|sent| sent.datagram).collect());
    rig.run(ms(10));
    all.extend(play(&mut rig, presenter, false, 2));

    // It waits for others of its frame when the viewer comes.
    rig.launch_from(presenter, vec![late.datagram]);
    let viewer = rig.watch_at(1, 1, CHROMIUM_PLAY);
    all.extend(play(&mut rig, presenter, false, 50));

    let mut seen = video(&rig, viewer);
    seen.sort_by_key(|s| s.tag);
    assert_eq!(tags(&seen), all);
    assert_continuous(&seen);
    rig.finish();
}

#[test]
fn a_key_frame_of_what_it_gets_ends_a_stretch_for_who_wants_another_layer_too() {
    let mut rig = Rig::new(1);
    let presenter = simulcast(&mut rig);
    layers(&mut rig, presenter, [true; 3]);
    (0..75).for_each(|_| drop(layers(&mut rig, presenter, [false; 3])));
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    (0..3).for_each(|_| drop(layers(&mut rig, presenter, [false; 3])));
    let stretch = video(&rig, viewer).len();
    assert!((10..200).contains(&stretch), "{stretch} packets: on its way");

    choose(&mut rig, viewer, 1);
    let mut after = layers(&mut rig, presenter, [false, false, true])[2].clone();
    for _ in 0..20 {
        after.extend(&layers(&mut rig, presenter, [false; 3])[2]);
    }
    let wanted = layers(&mut rig, presenter, [false, true, false])[1].clone();

    let seen = video(&rig, viewer);
    let ends = tags(&seen);
    let (meanwhile, switched) = ends.split_at(ends.len() - 3);
    assert!(meanwhile.ends_with(&after), "it sees what it saw until the other layer begins");
    assert_eq!(switched, wanted);
    assert_continuous(&seen);
    rig.finish();
}

#[test]
fn who_begins_anew_before_its_turn_has_one_turn() {
    let mut rig = Rig::new(1);
    let presenter = simulcast(&mut rig);
    layers(&mut rig, presenter, [true; 3]);
    (0..75).for_each(|_| drop(layers(&mut rig, presenter, [false; 3])));
    rig.run(ms(5));
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.run(ms(75));
    layers(&mut rig, presenter, [false, true, false]);
    (0..5).for_each(|_| drop(layers(&mut rig, presenter, [false; 3])));
    assert_eq!(rig.count(Count::CatchUpDone), 0, "on its way");

    // Between two ticks a key frame takes it off its way, and a look at the layers sets it on another one.
    rig.run(ms(37));
    choose(&mut rig, viewer, 1);
    rig.frame_of(presenter, 3, true, 3);
    rig.run(ms(3));
    for _ in 0..25 {
        layers(&mut rig, presenter, [false; 3]);
    }

    let counts = [Count::CatchUpBegun, Count::CatchUpDone, Count::CatchUpCut].map(|count| rig.count(count));
    assert_eq!(counts, [2, 1, 0]);
    assert_continuous(&video(&rig, viewer));
    rig.finish();
}

#[test]
fn when_all_keep_too_much_the_oldest_gives_way_everywhere() {
    // A picture of three packets is 300 bytes.
    let mut rig = Rig::keeping(2, Bounds { total: 10_000, ..Bounds::default() });
    let presenters = [rig.present(1, OBS), rig.present(2, OBS)];
    let away = rig.watch_at(1, 1, CHROMIUM_PLAY);
    play(&mut rig, presenters[0], true, 10);
    play(&mut rig, presenters[1], true, 20);
    assert_eq!((rig.shared.cached.get(), rig.count(Count::CacheTotal)), (9_000, 0));
    assert_eq!(video(&rig, away).len(), 30);

    play(&mut rig, presenters[1], false, 4);

    assert_eq!((rig.shared.cached.get(), rig.count(Count::CacheTotal)), (24 * 300, 1));
    let late = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY), rig.watch(2, CHROMIUM_PLAY)];
    rig.run(ms(1_000));
    let seen = late.map(|viewer| video(&rig, viewer).len());
    assert_eq!(seen, [0, 0, 72], "pictures of the other stream only");
    play(&mut rig, presenters[0], true, 1);
    assert_eq!(rig.shared.cached.get(), 25 * 300, "from the next key frame on it keeps again");

    rig.close(presenters[1], CloseReason::Deleted);
    assert_eq!(rig.shared.cached.get(), 300);
    rig.finish();
}
