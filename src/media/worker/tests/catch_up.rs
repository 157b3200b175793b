//! Viewers who come late: they begin with the last key frame, and are soon where everybody is.

use std::collections::HashSet;

use super::super::*;
use super::client::Seen;
use super::numbering::assert_continuous;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, CHROMIUM_SIMULCAST, OBS, Rig, Weather, ms};
use crate::media::Role;
use crate::media::layer::{LayerChoice, LayerLimits};
use crate::wire::rtcp::{self, Event};
use crate::wire::sdp::Kind;

/// Pictures every 40 ms of so many packets, the first one a key frame if it is said; whatever is asked for.
fn play(rig: &mut Rig, presenter: usize, mut key: bool, pictures: usize, packets: usize) -> Vec<u32> {
    let mut tags = Vec::new();
    for _ in 0..pictures {
        tags.extend(rig.frame(presenter, Kind::Video, std::mem::take(&mut key), packets));
        rig.frame(presenter, Kind::Audio, true, 1);
        rig.run(ms(40));
    }
    tags
}

/// What a viewer has seen of the picture.
pub(super) fn video(rig: &Rig, viewer: usize) -> Vec<Seen> {
    rig.clients[viewer].of(rig.clients[viewer].video().ssrc)
}

/// Which packets these are.
pub(super) fn tags(seen: &[Seen]) -> Vec<u32> {
    seen.iter().map(|s| s.tag).collect()
}

/// The presenter's timestamp of a packet.
fn made(rig: &Rig, presenter: usize, tag: u32) -> u32 {
    rig.clients[presenter].sent.iter().find(|s| s.tag == tag).expect("it was sent").timestamp
}

#[test]
fn a_late_viewer_gets_all_since_the_key_frame_and_is_soon_live() {
    for (pictures, within) in [(1, 100), (50, 1500), (100, 1500), (250, 2200)] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        let mut all = play(&mut rig, presenter, true, pictures, 3);

        let viewer = rig.watch(1, CHROMIUM_PLAY);
        let joined = rig.now;
        let clock = rig.clients[presenter].track(Kind::Video);
        let joined_at = rig.clients[presenter].tracks[clock].timestamp(joined);
        all.extend(play(&mut rig, presenter, false, 75, 3));

        let seen = video(&rig, viewer);
        assert_eq!(tags(&seen), all);
        assert_continuous(&seen);
        assert!(seen[0].at <= joined + ms(1), "the picture is there at once");
        let off = seen[0].timestamp.wrapping_sub(joined_at).cast_signed();
        assert!(off.abs() < 9, "what is shown first stands for now, not for {off} ticks later");
        let is_late = |s: &&Seen| {
            let sent = rig.clients[presenter].sent.iter().find(|sent| sent.tag == s.tag).expect("it was sent");
            s.at > sent.at + ms(40)
        };
        let live = seen.iter().rev().find(is_late).map_or(joined, |s| s.at);
        assert!(live <= joined + ms(within), "{pictures} pictures: live after {:?}", live - joined);
        let last = &seen[seen.len() - 1];
        assert_eq!(last.timestamp, made(&rig, presenter, last.tag), "the clock is everybody's in the end");
        let counts = [Count::CatchUpBegun, Count::CatchUpDone, Count::CatchUpCut].map(|count| rig.count(count));
        assert_eq!(counts, [1, 1, 0]);
        rig.finish();
    }
}

#[test]
fn pictures_of_the_past_come_when_their_timestamps_say() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    play(&mut rig, presenter, true, 100, 3);

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let joined = rig.now;
    play(&mut rig, presenter, false, 75, 3);

    let seen = video(&rig, viewer);
    for packet in &seen {
        let told = Duration::from_micros(u64::from(packet.timestamp.wrapping_sub(seen[0].timestamp)) * 100 / 9);
        let came = packet.at - joined;
        assert!(came + ms(3) >= told && came <= told + ms(43), "it stands for {told:?} and came after {came:?}");
    }
    rig.finish();
}

#[test]
fn a_viewer_that_could_not_listen_yet_begins_once_more() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let mut all = play(&mut rig, presenter, true, 100, 3);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    all.extend(play(&mut rig, presenter, false, 5, 3));
    let before = video(&rig, viewer).len();

    let ssrc = rig.clients[viewer].video().ssrc;
    rig.rtcp(viewer, |out| rtcp::write_pli(out, 1, ssrc));
    all.extend(play(&mut rig, presenter, false, 75, 3));

    let seen = video(&rig, viewer);
    assert_continuous(&seen);
    assert_eq!(tags(&seen[before..]), all, "all since the key frame, once more");
    let last = &seen[seen.len() - 1];
    assert!(last.at <= rig.now, "and then what comes");
    rig.finish();
}

#[test]
fn nobody_begins_for_ever() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    play(&mut rig, presenter, true, 50, 3);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let ssrc = rig.clients[viewer].video().ssrc;

    for _ in 0..100 {
        rig.rtcp(viewer, |out| rtcp::write_pli(out, 1, ssrc));
        play(&mut rig, presenter, false, 1, 3);
    }

    assert_eq!(rig.count(Count::CatchUpBegun), 3);
    rig.finish();
}

#[test]
fn a_stretch_is_never_a_burst() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let track = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[track].size = 1100;
    // 200 packets a second; the key frame is larger than what may leave at once.
    rig.frame(presenter, Kind::Video, true, 60);
    rig.run(ms(40));
    play(&mut rig, presenter, false, 200, 8);

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let joined = rig.now;
    play(&mut rig, presenter, false, 50, 8);

    let seen = video(&rig, viewer);
    let mut counts = vec![0; 200];
    for packet in seen.iter().filter(|s| s.at < joined + ms(2000)) {
        counts[((packet.at - joined).as_millis() / 10) as usize] += 1;
    }
    // Ten times the rate is 20 packets and some in 10 ms.
    assert!(counts[0] <= 32 && counts[0] >= 28, "{} at once", counts[0]);
    assert!(counts[1..].iter().all(|count| *count <= 34), "{counts:?}");
    assert_eq!(seen.len(), 60 + 250 * 8);
    rig.finish();
}

#[test]
fn what_is_missed_of_a_stretch_is_sent_again_as_it_was() {
    for is_rtx in [true, false] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, OBS);
        // More than the ring holds.
        play(&mut rig, presenter, true, 120, 10);
        let viewer = rig.park_as(1, Role::Viewer, CHROMIUM_PLAY, |negotiated| {
            for section in negotiated.sections.iter_mut().filter(|_| !is_rtx) {
                section.sources[0].rtx = None;
                section.formats.iter_mut().for_each(|f| f.rtx = None);
            }
        });
        rig.connect(viewer);
        play(&mut rig, presenter, false, 50, 10);
        let (raw, seen) = (rig.clients[viewer].raw.clone(), video(&rig, viewer));
        let ssrc = rig.clients[viewer].video().ssrc;
        let numbers: Vec<u16> = [0, 1, 7, 500, 1199].map(|at| seen[at].seq).to_vec();

        rig.clients[viewer].raw.clear();
        rig.rtcp(viewer, |out| rtcp::write_nack(out, 1, ssrc, &numbers));
        rig.run(ms(5));

        if is_rtx {
            let rtx = rig.clients[viewer].video().rtx.expect("agreed");
            let again = rig.clients[viewer].of(rtx);
            let told = |s: &Seen| (s.timestamp, s.tag, s.marker);
            let wanted: Vec<_> = [0, 1, 7, 500, 1199].map(|at| told(&seen[at])).to_vec();
            assert_eq!(again.iter().map(told).collect::<Vec<_>>(), wanted);
        } else {
            let again = &rig.clients[viewer].raw;
            assert_eq!(again.len(), numbers.len());
            assert!(again.iter().all(|datagram| raw.contains(datagram)), "byte for byte");
        }
        rig.finish();
    }
}

#[test]
fn a_key_frame_ends_a_stretch() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let before = play(&mut rig, presenter, true, 100, 3);

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let meanwhile = play(&mut rig, presenter, false, 3, 3);
    let after = play(&mut rig, presenter, true, 50, 3);

    let seen = video(&rig, viewer);
    assert_continuous(&seen);
    let got = tags(&seen);
    let sent: Vec<u32> = before.into_iter().chain(meanwhile).collect();
    let cut = got.len() - after.len();
    assert_eq!(got[..cut], sent[..cut]);
    assert!(cut < sent.len(), "there is no use in the rest of it");
    assert_eq!(got[cut..], after);
    let times = |s: &Seen| (s.timestamp, made(&rig, presenter, s.tag));
    assert!(seen[cut..].iter().map(times).all(|(got, made)| got.wrapping_sub(made) < 3600), "straight from there");
    rig.finish();
}

#[test]
fn viewers_of_other_workers_begin_with_the_key_frame_too() {
    let mut rig = Rig::new(3);
    let presenter = rig.present(1, OBS);
    let mut all = play(&mut rig, presenter, true, 60, 3);

    let mut viewers = vec![rig.watch_at(1, 1, CHROMIUM_PLAY), rig.watch_at(2, 1, CHROMIUM_PLAY)];
    all.extend(play(&mut rig, presenter, false, 10, 3));
    viewers.push(rig.watch_at(2, 1, CHROMIUM_PLAY));
    all.extend(play(&mut rig, presenter, false, 60, 3));

    for viewer in viewers {
        assert_eq!(tags(&video(&rig, viewer)), all);
        assert_continuous(&video(&rig, viewer));
    }
    rig.finish();
}

#[test]
fn no_number_is_given_twice_whatever_order_packets_come_in() {
    for seed in 0..5 {
        let mut rig = Rig::new(2);
        let presenter = rig.present(1, CHROMIUM_PUBLISH);
        rig.clients[presenter].repairs = true;
        play(&mut rig, presenter, true, 40 + seed, 5);
        rig.weather = Weather { lost: 0, doubled: 30, late: 200, delay: ms(3) };
        let viewers = [rig.park(1, Role::Viewer, CHROMIUM_PLAY), rig.park(1, Role::Viewer, CHROMIUM_PLAY)];
        rig.clients[viewers[1]].at = 1;
        for viewer in viewers {
            rig.check(viewer, true);
            let hello = rig.clients[viewer].begin(rig.now);
            rig.launch_from(viewer, hello);
        }
        let after = play(&mut rig, presenter, false, 100, 5);
        rig.weather = Weather::default();
        rig.run(ms(500));

        for viewer in viewers {
            let seen = video(&rig, viewer);
            let numbers: HashSet<_> = seen.iter().map(|s| s.seq).collect();
            assert_eq!(numbers.len(), seen.len(), "a repetition does not open");
            let got: HashSet<_> = seen.iter().map(|s| s.tag).collect();
            let missing = after[..400].iter().filter(|tag| !got.contains(tag)).count();
            assert!(missing < 40, "{missing} are left to be asked for");
            let mut sorted = seen.clone();
            sorted.sort_by_key(|s| s.tag);
            assert!(sorted.windows(2).all(|w| w[1].seq > w[0].seq), "numbers are in the presenter's order");
        }
        rig.finish();
    }
}

#[test]
fn a_viewer_that_misses_much_is_sent_less_and_then_waits_for_a_key_frame() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let track = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[track].size = 1000;
    play(&mut rig, presenter, true, 250, 8);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let ssrc = rig.clients[viewer].video().ssrc;

    let mut asked = 0;
    loop {
        play(&mut rig, presenter, false, 1, 8);
        let seen = video(&rig, viewer);
        let numbers: Vec<u16> = seen[asked..].iter().map(|s| s.seq).step_by(3).take(40).collect();
        asked = seen.len();
        if rig.count(Count::CatchUpCut) > 0 {
            break;
        }
        assert!(!numbers.is_empty() && rig.count(Count::CatchUpDone) == 0, "it does not come to that");
        rig.rtcp(viewer, |out| rtcp::write_nack(out, 1, ssrc, &numbers));
    }
    let before = video(&rig, viewer).len();
    play(&mut rig, presenter, false, 20, 8);
    assert_eq!(video(&rig, viewer).len(), before, "the same is not tried again");
    let after = play(&mut rig, presenter, true, 20, 8);

    let seen = video(&rig, viewer);
    assert_eq!(tags(&seen)[before..], after);
    assert_continuous(&seen);
    rig.finish();
}

#[test]
fn pictures_are_reported_on_when_their_timestamps_are_everybody_s() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    play(&mut rig, presenter, true, 200, 3);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let joined = rig.now;
    play(&mut rig, presenter, false, 75, 3);

    let (picture, sound) = (rig.clients[viewer].video().ssrc, rig.clients[viewer].audio().ssrc);
    let mut told = Vec::new();
    for (at, report) in &rig.clients[viewer].reports {
        rtcp::read(report, |event| {
            if let Event::SenderReport { ssrc, rtp, .. } = event {
                told.push((*at - joined, ssrc, rtp));
            }
        });
    }
    let first = |ssrc| told.iter().find(|(_, s, _)| *s == ssrc).map(|(at, ..)| *at).expect("a report");
    assert_eq!(first(sound).as_millis() / 10, 50);
    assert!((ms(900)..ms(1800)).contains(&first(picture)), "{:?}", first(picture));
    let clock = &rig.clients[presenter].tracks[rig.clients[presenter].track(Kind::Video)];
    for (at, _, rtp) in told.iter().filter(|(_, ssrc, _)| *ssrc == picture) {
        let real = clock.timestamp(joined + *at);
        assert!(real.wrapping_sub(*rtp).wrapping_add(90) < 180, "the clock is the presenter's");
    }
    rig.finish();
}

#[test]
fn another_presenter_takes_over_from_a_stretch() {
    let mut rig = Rig::new(1);
    let first = rig.present(1, OBS);
    play(&mut rig, first, true, 200, 3);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    play(&mut rig, first, false, 5, 3);

    let second = rig.present(1, CHROMIUM_PUBLISH);
    rig.close(first, CloseReason::TakenOver);
    let after = play(&mut rig, second, true, 30, 3);

    let seen = video(&rig, viewer);
    assert_continuous(&seen);
    assert_eq!(tags(&seen)[seen.len() - after.len()..], after);
    let last = &seen[seen.len() - after.len() - 1];
    let gap = seen[seen.len() - after.len()].timestamp.wrapping_sub(last.timestamp);
    assert!(gap < 90 * 300, "{gap} ticks: time does not leap");
    rig.finish();
}

#[test]
fn a_viewer_of_another_layer_switches_without_waiting_for_a_key_frame_when_one_has_just_come() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_SIMULCAST);
    for (track, size) in [(1, 100), (2, 300), (3, 900)] {
        rig.clients[presenter].tracks[track].size = size;
    }
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(3000));
    let playing = |rig: &Rig, layer: u8| {
        let seen = video(rig, viewer);
        let tag = seen[seen.len() - 1].tag;
        rig.clients[presenter].sent.iter().find(|s| s.tag == tag).expect("sent").track == usize::from(layer) + 1
    };
    assert!(playing(&rig, 2));
    rig.clients[presenter].tracks[2].wants_keyframe = true;
    rig.live(&[presenter], ms(240));

    let choice = LayerChoice::Limited(LayerLimits { layer: Some(1), ..LayerLimits::default() });
    let session = rig.clients[viewer].id;
    let now = rig.now;
    rig.work(0, |w, air| w.mail(Mail::ChooseLayer { session, kind: Kind::Video, choice }, now, air));
    for _ in 0..15 {
        for track in 1..4 {
            rig.frame_of(presenter, track, false, 3);
        }
        rig.run(ms(40));
    }

    assert!(playing(&rig, 1));
    assert_continuous(&video(&rig, viewer));
    rig.finish();
}

#[test]
fn without_a_cache_a_viewer_waits() {
    let mut rig = Rig::keeping(1, Bounds { age: ms(1000), ..Bounds::default() });
    let presenter = rig.present(1, OBS);
    play(&mut rig, presenter, true, 50, 3);
    assert_eq!(rig.count(Count::CacheAge), 1, "it was too long");

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    play(&mut rig, presenter, false, 10, 3);
    assert!(video(&rig, viewer).is_empty());
    let after = play(&mut rig, presenter, true, 10, 3);

    assert_eq!(tags(&video(&rig, viewer)), after);
    rig.finish();
}

#[test]
fn many_who_come_at_once_share_what_may_be_sent() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let track = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[track].size = 1000;
    let watching = rig.watch(1, CHROMIUM_PLAY);
    let mut all = play(&mut rig, presenter, true, 50, 20);
    let viewers: Vec<_> = (0..40).map(|_| rig.park(1, Role::Viewer, CHROMIUM_PLAY)).collect();
    for viewer in &viewers {
        rig.connect(*viewer);
    }
    let joined = rig.now;
    let sent = rig.sends.len();
    all.extend(play(&mut rig, presenter, false, 100, 20));

    let mut datagrams = vec![0; 400];
    for (at, _, count) in &rig.sends[sent..] {
        datagrams[((*at - joined).as_millis() / 10).min(399) as usize] += count;
    }
    let most = datagrams.iter().max().expect("some");
    assert!(*most <= 1000 + 64 + 41 * 21, "{most} in 10 ms: a million bytes to those who come, and what is new to all");
    assert_eq!(tags(&video(&rig, watching)), all);
    for viewer in viewers {
        assert_eq!(tags(&video(&rig, viewer)), all);
    }
    rig.finish();
}

/// Sends a picture of these NAL units, a packet each.
pub(super) fn picture(rig: &mut Rig, presenter: usize, units: &[&[u8]]) {
    let track = rig.clients[presenter].track(Kind::Video);
    let now = rig.now;
    for (n, unit) in units.iter().enumerate() {
        let sent = rig.clients[presenter].packet(track, n + 1 == units.len(), false, unit, n as u32, now);
        rig.launch_from(presenter, vec![sent.datagram]);
    }
    rig.settle();
    rig.run(ms(40));
}

#[test]
fn parameter_sets_that_came_once_reach_those_who_come_later() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let early = rig.watch(1, CHROMIUM_PLAY);
    let (sps, pps): (&[u8], &[u8]) = (&[0x67, 0x42, 0xe0, 0x1f], &[0x68, 0xce, 0x3c, 0x80]);
    let (idr, slice): (&[u8], &[u8]) = (&[0x65, 0x88, 0x84, 0], &[0x41, 0x9a, 0, 0]);
    picture(&mut rig, presenter, &[sps, pps, idr]);
    (0..5).for_each(|_| picture(&mut rig, presenter, &[slice, slice]));
    picture(&mut rig, presenter, &[idr, idr]);
    (0..5).for_each(|_| picture(&mut rig, presenter, &[slice]));

    let late = rig.watch(1, CHROMIUM_PLAY);
    (0..50).for_each(|_| picture(&mut rig, presenter, &[slice]));

    let sets = [&[0x78, 0, 4], sps, &[0, 4], pps].concat();
    let (early, late) = (video(&rig, early), video(&rig, late));
    assert_continuous(&early);
    assert_continuous(&late);
    assert!(late[0].payload.starts_with(&sets) && late[1].payload.starts_with(idr));
    assert_eq!(late[0].timestamp, late[1].timestamp);
    let again: Vec<_> = early.iter().filter(|s| s.payload.starts_with(&sets)).collect();
    assert_eq!(again.len(), 1, "everybody gets the same");
    assert_eq!(early.len(), 3 + 10 + 3 + 55);
    rig.finish();
}
