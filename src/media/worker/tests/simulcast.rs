//! Layers: learned from the first packets, chosen by bitrate, switched at key frames.

use super::super::*;
use super::numbering::assert_continuous;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_SIMULCAST, Rig, ms};
use crate::media::layer::{LayerChoice, LayerLimits};
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
fn a_layer_that_stops_is_left_within_a_second() {
    let mut rig = Rig::new(2);
    let presenter = present(&mut rig);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.live(&[presenter], ms(3000));

    let best = rig.clients[presenter].tracks.pop().expect("the best layer");
    rig.live(&[presenter], ms(1000));
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

/// A presenter of about 70, 600 and 1,500 kbit/s.
fn present_rates(rig: &mut Rig) -> usize {
    let presenter = rig.present(1, CHROMIUM_SIMULCAST);
    for (track, size) in [(1, 110), (2, 1000), (3, 1190)] {
        rig.clients[presenter].tracks[track].size = size;
    }
    presenter
}

/// When the viewer first got this layer from then on.
fn got(rig: &Rig, presenter: usize, viewer: usize, layer: usize, since: Instant) -> Option<Duration> {
    let client = &rig.clients[viewer];
    let all = layers(rig, presenter, viewer);
    let seen = client.of(client.video().ssrc);
    seen.iter().zip(all).find(|(s, l)| s.at >= since && *l == layer).map(|(s, _)| s.at - since)
}

#[test]
fn a_narrow_way_gets_a_lower_layer_and_a_wide_one_the_best_again() {
    let mut rig = Rig::new(2);
    let presenter = present_rates(&mut rig);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.live(&[presenter], ms(4000));
    assert!(viewers.iter().all(|v| layers(&rig, presenter, *v).last() == Some(&2)));

    let throttled = rig.now;
    rig.throttle(viewers[1], Some(300_000));
    rig.live(&[presenter], ms(20_000));
    let fell = got(&rig, presenter, viewers[1], 0, throttled).expect("the low layer came");
    let lifted = rig.now;
    rig.throttle(viewers[1], None);
    rig.live(&[presenter], ms(12_000));
    let rose = got(&rig, presenter, viewers[1], 2, lifted).expect("the high layer came");

    assert!(fell < ms(3000), "fell after {fell:?}");
    assert!(rose < ms(10_000), "rose after {rose:?}");
    let others = layers(&rig, presenter, viewers[0]);
    assert_eq!(others.windows(2).filter(|w| w[0] != w[1]).count(), 1, "the other viewer saw nothing of it");
    assert_continuous(&rig.clients[viewers[0]].of(rig.clients[viewers[0]].video().ssrc));
    assert!(rig.count(Count::SwitchCongestion) >= 1 && rig.count(Count::SwitchRoom) >= 1);
    rig.finish();
}

#[test]
fn while_the_way_is_narrow_the_low_layer_comes_whole() {
    let mut rig = Rig::new(1);
    let presenter = present_rates(&mut rig);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(3000));
    rig.throttle(viewer, Some(300_000));
    rig.live(&[presenter], ms(6000));

    let (sent, seen) = (rig.clients[presenter].sent.len(), rig.clients[viewer].seen.len());
    rig.live(&[presenter], ms(30_000));
    rig.run(ms(400));

    let came: Vec<_> = rig.clients[viewer].seen[seen..].iter().map(|s| s.tag).collect();
    let low: Vec<_> = rig.clients[presenter].sent[sent..].iter().filter(|s| s.track == 1).map(|s| s.tag).collect();
    let missing = low.iter().filter(|tag| !came.contains(tag)).count();
    assert!(missing * 100 < low.len() * 3, "{missing} of {} are missing", low.len());
    rig.finish();
}

#[test]
fn one_layer_costs_no_numbers() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, super::rig::CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    rig.live(&[presenter], ms(2000));

    assert!(rig.clients[viewer].seen.len() > 100);
    assert_eq!(rig.clients[viewer].numbered, 0);
    rig.finish();
}

#[test]
fn a_viewer_gets_the_layer_that_it_names_until_it_names_none() {
    let mut rig = Rig::new(1);
    let presenter = present(&mut rig);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch(1, CHROMIUM_PLAY)];
    rig.live(&[presenter], ms(2000));
    let choose = |rig: &mut Rig, choice| {
        let (session, now) = (rig.clients[viewers[0]].id, rig.now);
        rig.work(0, |w, air| w.mail(Mail::ChooseLayer { session, kind: Kind::Video, choice }, now, air));
        rig.live(&[presenter], ms(1000));
        *layers(rig, presenter, viewers[0]).last().expect("something came")
    };

    let limits = LayerLimits { layer: Some(1), ..LayerLimits::default() };
    assert_eq!(choose(&mut rig, LayerChoice::Limited(limits)), 1);
    assert_eq!(choose(&mut rig, LayerChoice::Limited(LayerLimits { layer: Some(0), ..limits })), 0);
    assert_eq!(choose(&mut rig, LayerChoice::Automatic), 2);

    let playing = |n: &Notice| match n {
        Notice::Playing { session, playing, .. } if *session == rig.clients[viewers[0]].id => Some(playing.layer),
        _ => None,
    };
    let told: Vec<_> = rig.notices.iter().filter_map(playing).collect();
    assert_eq!(told, [0, 2, 1, 0, 2]);
    assert_eq!(rig.count(Count::SwitchHand), 3);
    assert_eq!(layers(&rig, presenter, viewers[1]).windows(2).filter(|w| w[0] != w[1]).count(), 1);
    assert_continuous(&rig.clients[viewers[0]].of(rig.clients[viewers[0]].video().ssrc));
    rig.finish();
}

#[test]
fn control_is_told_of_the_layers_and_of_one_that_stops() {
    let mut rig = Rig::new(2);
    let presenter = present(&mut rig);
    let _viewer = rig.watch_at(1, 1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(4000));
    let told = |rig: &Rig| {
        let sets = rig.notices.iter().filter_map(|n| match n {
            Notice::Layers { layers, .. } => Some(layers.clone()),
            _ => None,
        });
        sets.collect::<Vec<_>>()
    };

    let layers = told(&rig).pop().expect("told");
    assert!(told(&rig).len() <= 5, "at most one a second");
    let rids: Vec<_> = layers.iter().map(|l| l.rid.as_deref().unwrap_or_default()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    assert!(layers.windows(2).all(|w| 0 < w[0].bitrate && w[0].bitrate < w[1].bitrate), "{layers:?}");

    rig.clients[presenter].tracks.pop();
    rig.live(&[presenter], ms(2000));
    let layers = told(&rig).pop().expect("told");
    assert_eq!(layers.iter().map(|l| l.bitrate > 0).collect::<Vec<_>>(), [true, true, false]);
    rig.finish();
}
