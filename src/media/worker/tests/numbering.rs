//! A viewer's own numbering: continuous, whoever presents.

use super::super::*;
use super::client::Seen;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, CHROMIUM_SIMULCAST, FIREFOX_PLAY, OBS, Rig, ms};
use crate::wire::sdp::{Codec, Kind};
use crate::wire::seq::newer32;

/// No number is missing or doubled, and time never goes back.
pub(super) fn assert_continuous(seen: &[Seen]) {
    assert!(seen.len() > 1, "something came");
    for pair in seen.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "numbers follow each other");
        assert!(!newer32(pair[0].timestamp, pair[1].timestamp), "time goes on");
    }
}

#[test]
fn a_viewer_sees_the_source_and_types_that_it_agreed_to() {
    for (publish, play, video) in [
        (OBS, CHROMIUM_PLAY, Codec::H264),
        (CHROMIUM_PUBLISH, CHROMIUM_PLAY, Codec::Vp8),
        (CHROMIUM_PUBLISH, FIREFOX_PLAY, Codec::Vp8),
    ] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, publish);
        let viewer = rig.watch(1, play);

        rig.live(&[presenter], ms(500));

        let client = &rig.clients[viewer];
        for (kind, codec, source) in [(Kind::Video, video, client.video()), (Kind::Audio, Codec::Opus, client.audio())]
        {
            let seen = client.of(source.ssrc);
            assert_continuous(&seen);
            let section = client.sections.iter().find(|s| s.kind == kind).expect("such a section");
            let agreed =
                |s: &Seen| section.formats.iter().any(|f| f.payload_type == s.payload_type && f.codec == codec);
            assert!(seen.iter().all(agreed), "{kind:?}");
            let track = rig.clients[presenter].track(kind);
            let first = rig.clients[presenter].sent.iter().find(|s| s.tag == seen[0].tag).expect("it was sent");
            let last_tag = seen[seen.len() - 1].tag;
            let last = rig.clients[presenter].sent.iter().find(|s| s.tag == last_tag).expect("it was sent");
            assert_eq!(
                seen[seen.len() - 1].timestamp.wrapping_sub(seen[0].timestamp),
                last.timestamp.wrapping_sub(first.timestamp)
            );
            assert_ne!(source.ssrc, rig.clients[presenter].tracks[track].ssrc);
        }
        rig.finish();
    }
}

#[test]
fn a_long_stream_wraps_the_numbers_of_both_ends() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[video].index = 65_000;
    rig.clients[presenter].tracks[video].size = 8;

    for n in 0..2300 {
        rig.frame(presenter, Kind::Video, n == 0, 30);
        rig.clients[presenter].sent.clear();
        rig.clients[viewer].raw.clear();
        if n % 500 == 0 {
            rig.check(viewer, true);
        }
        rig.run(ms(20));
    }

    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_eq!(seen.len(), 69_000);
    assert_continuous(&seen);
    rig.finish();
}

#[test]
fn a_takeover_from_another_worker_with_another_codec_goes_on_under_the_same_numbers() {
    let mut rig = Rig::new(2);
    let first = rig.present(1, OBS);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.live(&[first], ms(1000));

    let second = rig.park(1, crate::media::Role::Presenter, CHROMIUM_PUBLISH);
    rig.clients[second].at = 1;
    rig.connect(second);
    // For a moment both send.
    rig.live(&[first, second], ms(100));
    rig.close(first, CloseReason::TakenOver);
    rig.live(&[second], ms(1000));

    for viewer in viewers {
        let client = &rig.clients[viewer];
        for source in [client.video(), client.audio()] {
            let seen = client.of(source.ssrc);
            assert_continuous(&seen);
            let from = |s: &Seen| s.tag >> 20;
            assert_eq!(from(&seen[0]), first as u32 + 1);
            let change = seen.iter().position(|s| from(s) == second as u32 + 1).expect("the second came through");
            assert!(seen[change..].iter().all(|s| from(s) == second as u32 + 1), "nothing of the first any more");
        }
        let video = client.of(client.video().ssrc);
        assert_ne!(video[0].payload_type, video[video.len() - 1].payload_type);
    }
    rig.finish();
}

#[test]
fn a_presenter_that_was_gone_for_ten_seconds_comes_back_ten_seconds_later() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let first = rig.present(1, CHROMIUM_PUBLISH);
    rig.live(&[first], ms(400));
    rig.close(first, CloseReason::Deleted);

    rig.run(ms(10_000));
    let second = rig.present(1, CHROMIUM_PUBLISH);
    rig.live(&[second], ms(400));

    let client = &rig.clients[viewer];
    for (source, rate) in [(client.video(), 90_000), (client.audio(), 48_000)] {
        let seen = client.of(source.ssrc);
        assert_continuous(&seen);
        for pair in seen.windows(2) {
            let real = pair[1].at.duration_since(pair[0].at).as_millis() as i64;
            let told = i64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp)) * 1000 / rate;
            assert!((real - told).abs() <= 25, "{real} ms passed, {told} ms told");
        }
        assert!(seen.windows(2).any(|p| p[1].at.duration_since(p[0].at) >= ms(10_000)));
    }
    rig.finish();
}

#[test]
fn viewers_of_a_simulcast_presenter_follow_a_plain_one() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let first = rig.present(1, CHROMIUM_SIMULCAST);
    for (n, size) in [(1, 100), (2, 300), (3, 900)] {
        rig.clients[first].tracks[n].size = size;
    }
    rig.live(&[first], ms(3000));
    rig.close(first, CloseReason::Deleted);

    let second = rig.present(1, OBS);
    rig.live(&[second], ms(1000));

    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_continuous(&seen);
    assert_eq!(seen[seen.len() - 1].tag >> 20, second as u32 + 1);
    rig.finish();
}

#[test]
fn packets_that_only_probe_leave_no_hole() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);

    for n in 0..20 {
        rig.frame(presenter, Kind::Video, n == 0, 3);
        let now = rig.now;
        let padding: Vec<_> = (0..5).map(|_| rig.clients[presenter].padding(video, now).datagram).collect();
        rig.launch_from(presenter, padding);
        rig.run(ms(40));
    }

    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_eq!(seen.len(), 60);
    assert_continuous(&seen);
    rig.finish();
}

#[test]
fn a_probe_that_comes_late_costs_no_packet() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    let mut tags = rig.frame(presenter, Kind::Video, true, 3);

    let now = rig.now;
    let late = rig.clients[presenter].padding(video, now);
    tags.extend(rig.frame(presenter, Kind::Video, false, 3));
    rig.send(presenter, late.datagram);
    tags.extend(rig.frame(presenter, Kind::Video, false, 3));

    assert_eq!(rig.clients[viewer].seen.iter().map(|s| s.tag).collect::<Vec<_>>(), tags);
    rig.finish();
}

#[test]
fn a_late_packet_of_the_codec_before_changes_nothing() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.frame(presenter, Kind::Video, true, 3);
    let now = rig.now;
    let late = rig.clients[presenter].frame(video, false, 1, now).remove(0);

    let section = rig.clients[presenter].tracks[video].section;
    let h264 = rig.clients[presenter].sections[section].formats.iter().find(|f| f.codec == Codec::H264);
    rig.clients[presenter].tracks[video].format = h264.expect("it offers H.264").clone();
    rig.frame(presenter, Kind::Video, true, 3);
    rig.send(presenter, late.datagram);
    let after = rig.frame(presenter, Kind::Video, false, 3);

    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_continuous(&seen);
    assert_eq!(seen[seen.len() - 3..].iter().map(|s| s.tag).collect::<Vec<_>>(), after);
    rig.finish();
}

#[test]
fn a_presenter_may_change_its_source_and_late_packets_of_the_old_one_are_dropped() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let audio = rig.clients[presenter].track(Kind::Audio);
    for _ in 0..5 {
        rig.frame(presenter, Kind::Audio, true, 1);
        rig.run(ms(20));
    }
    let now = rig.now;
    let late = rig.clients[presenter].frame(audio, true, 1, now).remove(0);

    rig.clients[presenter].tracks[audio].ssrc += 7;
    let mut after = Vec::new();
    for n in 0..5 {
        after.extend(rig.frame(presenter, Kind::Audio, true, 1));
        if n == 2 {
            rig.send(presenter, late.datagram.clone());
        }
        rig.run(ms(20));
    }

    let seen = rig.clients[viewer].of(rig.clients[viewer].audio().ssrc);
    assert_continuous(&seen);
    assert_eq!(seen[5..].iter().map(|s| s.tag).collect::<Vec<_>>(), after);
    rig.finish();
}
