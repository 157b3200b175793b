//! Loss on both sides, and how it is made good.

use std::collections::HashSet;

use super::super::*;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, OBS, Rig, Weather, ms};
use crate::media::Role;
use crate::wire::rtcp;
use crate::wire::sdp::Kind;

/// Everything that a viewer got of its video, in order, no matter how.
fn tags(rig: &Rig, viewer: usize) -> Vec<u32> {
    let source = rig.clients[viewer].video();
    let seen = rig.clients[viewer].seen.iter();
    seen.filter(|s| s.ssrc == source.ssrc || Some(s.ssrc) == source.rtx).map(|s| s.tag).collect()
}

/// A viewer without retransmissions of their own numbering.
fn watch_without_rtx(rig: &mut Rig) -> usize {
    let viewer = rig.park_as(1, Role::Viewer, CHROMIUM_PLAY, |negotiated| {
        for section in &mut negotiated.sections {
            section.sources[0].rtx = None;
            section.formats.iter_mut().for_each(|f| f.rtx = None);
        }
    });
    rig.connect(viewer)
}

fn nack(rig: &mut Rig, viewer: usize, seqs: &[u16]) {
    let ssrc = rig.clients[viewer].video().ssrc;
    rig.rtcp(viewer, |out| rtcp::write_nack(out, 1, ssrc, seqs));
}

#[test]
fn what_the_presenter_loses_is_asked_for_and_reaches_viewers_once() {
    for offer in [CHROMIUM_PUBLISH, OBS] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, offer);
        let viewer = rig.watch(1, CHROMIUM_PLAY);
        rig.clients[presenter].repairs = true;
        let video = rig.clients[presenter].track(Kind::Video);
        let mut sent = rig.frame(presenter, Kind::Video, true, 3);

        let now = rig.now;
        let frame = rig.clients[presenter].frame(video, false, 6, now);
        sent.extend(frame.iter().map(|s| s.tag));
        let arrives = frame.into_iter().enumerate().filter(|(n, _)| *n != 1 && *n != 3).map(|(_, s)| s.datagram);
        rig.launch_from(presenter, arrives.collect());
        rig.run(ms(5));
        assert_eq!(tags(&rig, viewer).len(), 7);
        rig.run(ms(500));

        let mut got = tags(&rig, viewer);
        got.sort_unstable();
        assert_eq!(got, sent, "each once");
        let summary = rig.workers[0].sessions.iter().find_map(|(_, s)| match &s.half {
            Half::Presenter(ingress) => Some(ingress.totals()),
            _ => None,
        });
        assert_eq!(summary.expect("a presenter").3, 2, "two were asked for, once");
        rig.finish();
    }
}

#[test]
fn sound_that_is_lost_and_cannot_be_asked_for_stops_nothing() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let audio = rig.clients[presenter].track(Kind::Audio);

    rig.frame(presenter, Kind::Audio, true, 1);
    let now = rig.now;
    rig.clients[presenter].frame(audio, true, 1, now);
    rig.frame(presenter, Kind::Audio, true, 1);
    rig.run(ms(3000));

    assert_eq!(rig.clients[viewer].seen.len(), 2);
    rig.finish();
}

#[test]
fn a_resend_has_numbers_of_its_own_and_says_which_packet_it_is() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 6);
    let source = rig.clients[viewer].video();
    let lost = rig.clients[viewer].of(source.ssrc)[2].clone();

    nack(&mut rig, viewer, &[lost.seq]);
    nack(&mut rig, viewer, &[lost.seq]);

    let again = rig.clients[viewer].of(source.rtx.expect("agreed"));
    assert_eq!(again.len(), 1, "not twice within a round trip");
    assert_eq!(again[0].payload[..2], lost.seq.to_be_bytes());
    assert_eq!(again[0].payload[2..], lost.payload);
    assert_eq!((again[0].timestamp, again[0].marker), (lost.timestamp, lost.marker));
    let section = rig.clients[viewer].sections.iter().find(|s| s.kind == Kind::Video).expect("video");
    let format = section.formats.iter().find(|f| f.payload_type == lost.payload_type).expect("agreed");
    assert_eq!(Some(again[0].payload_type), format.rtx);

    rig.run(ms(100));
    nack(&mut rig, viewer, &[lost.seq]);
    let again = rig.clients[viewer].of(source.rtx.expect("agreed"));
    assert_eq!(again.len(), 2, "it may be lost again");
    assert_eq!(again[1].seq, again[0].seq.wrapping_add(1));
    rig.finish();
}

#[test]
fn without_agreed_retransmission_the_same_bytes_are_sent_again() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = watch_without_rtx(&mut rig);
    rig.frame(presenter, Kind::Video, true, 6);
    rig.run(ms(100));
    let lost = rig.clients[viewer].of(rig.clients[viewer].video().ssrc)[2].seq;
    let first = rig.clients[viewer].raw[2].clone();
    let before = rig.clients[viewer].raw.len();

    nack(&mut rig, viewer, &[lost]);

    assert_eq!(rig.clients[viewer].raw[before..], [first]);
    rig.finish();
}

#[test]
fn numbers_that_were_never_sent_are_ignored() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 6);
    let seen = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    let before = rig.clients[viewer].raw.len();

    let unknown: Vec<u16> = (1..200).map(|n| seen[5].seq.wrapping_add(n)).collect();
    nack(&mut rig, viewer, &unknown);
    nack(&mut rig, viewer, &[seen[0].seq.wrapping_sub(1), seen[0].seq.wrapping_sub(30_000)]);
    rig.rtcp(viewer, |out| rtcp::write_nack(out, 1, 0xdead_beef, &[seen[0].seq]));

    assert_eq!(rig.clients[viewer].raw.len(), before);
    rig.finish();
}

#[test]
fn resends_are_at_most_a_quarter_of_what_is_sent() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[video].size = 1000;
    let source = rig.clients[viewer].video();

    let mut sent = 0;
    for n in 0..400 {
        sent += rig.frame(presenter, Kind::Video, n == 0, 5).len();
        rig.run(ms(30));
        let seen = rig.clients[viewer].of(source.ssrc);
        let numbers: Vec<u16> = seen[seen.len() - 5..].iter().map(|s| s.seq).collect();
        nack(&mut rig, viewer, &numbers);
    }

    let again = rig.clients[viewer].of(source.rtx.expect("agreed")).len();
    let burst = 128 * 1024 / 1000;
    assert!(again <= sent / 4 + burst + 1, "{again} of {sent}");
    assert!(again >= sent / 4, "{again} of {sent}");
    rig.finish();
}

#[test]
fn what_was_lost_before_a_takeover_is_still_sent_again() {
    let mut rig = Rig::new(1);
    let first = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(first, Kind::Video, true, 6);
    let second = rig.present(1, OBS);
    rig.frame(second, Kind::Video, true, 6);
    let source = rig.clients[viewer].video();
    let seen = rig.clients[viewer].of(source.ssrc);
    assert_eq!(seen.len(), 12);

    nack(&mut rig, viewer, &[seen[5].seq, seen[6].seq]);

    let again = rig.clients[viewer].of(source.rtx.expect("agreed"));
    assert_eq!(again.iter().map(|s| s.tag).collect::<Vec<_>>(), [seen[5].tag, seen[6].tag]);
    rig.finish();
}

#[test]
fn a_presenter_far_away_is_soon_asked_only_once_per_packet() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    rig.clients[presenter].repairs = true;
    let video = rig.clients[presenter].track(Kind::Video);
    rig.frame(presenter, Kind::Video, true, 3);
    rig.weather.delay = ms(150);
    let mut asked = Vec::new();

    for _ in 0..15 {
        let before = rig.clients[presenter].reports.len();
        let frame = rig.clients[presenter].frame(video, false, 3, rig.now);
        let arrives = frame.into_iter().enumerate().filter(|(n, _)| *n != 1).map(|(_, s)| s.datagram).collect();
        rig.launch_from(presenter, arrives);
        rig.run(ms(1000));
        let mut nacks = 0;
        for (_, report) in &rig.clients[presenter].reports[before..] {
            rtcp::read(report, |event| nacks += usize::from(matches!(event, rtcp::Event::Nack { .. })));
        }
        asked.push(nacks);
    }

    assert_eq!((asked[0], asked[14]), (3, 1), "{asked:?}");
    rig.finish();
}

/// Asks for what is missing among the last 200 numbers.
fn nack_missing(rig: &mut Rig, viewer: usize) {
    let source = rig.clients[viewer].video();
    let seen = rig.clients[viewer].of(source.ssrc);
    let again = rig.clients[viewer].of(source.rtx.expect("agreed"));
    let repaired = again.iter().map(|s| u16::from_be_bytes([s.payload[0], s.payload[1]]));
    let have: HashSet<u16> = seen.iter().map(|s| s.seq).chain(repaired).collect();
    let Some(first) = seen.first() else { return };
    let newest = seen.iter().map(|s| s.seq.wrapping_sub(first.seq)).max().unwrap_or(0);
    let missing = (newest.saturating_sub(200)..newest).map(|n| first.seq.wrapping_add(n));
    let missing: Vec<u16> = missing.filter(|seq| !have.contains(seq)).collect();
    if !missing.is_empty() {
        nack(rig, viewer, &missing);
    }
}

#[test]
fn over_a_bad_network_everything_arrives_once() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    rig.clients[presenter].repairs = true;
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.live(&[presenter], ms(200));
    let since = rig.clients[presenter].tagged;

    rig.weather = Weather { lost: 30, doubled: 20, late: 50, delay: ms(20) };
    for _ in 0..100 {
        rig.live(&[presenter], ms(100));
        for viewer in viewers {
            nack_missing(&mut rig, viewer);
        }
    }
    let until = rig.clients[presenter].tagged;
    rig.weather = Weather { delay: ms(20), ..Weather::default() };
    for _ in 0..20 {
        rig.live(&[presenter], ms(100));
        for viewer in viewers {
            nack_missing(&mut rig, viewer);
        }
    }

    let video = rig.clients[presenter].track(Kind::Video);
    let base = (presenter as u32 + 1) << 20;
    let wanted: Vec<u32> = (rig.clients[presenter].sent.iter())
        .filter(|s| s.track == video && s.tag > base + since && s.tag <= base + until)
        .map(|s| s.tag)
        .collect();
    assert!(wanted.len() > 700);
    for viewer in viewers {
        let got: HashSet<u32> = tags(&rig, viewer).into_iter().collect();
        let missing: Vec<_> = wanted.iter().filter(|t| !got.contains(t)).collect();
        // What never reached us, however often asked for, stays lost.
        assert!(missing.len() <= wanted.len() / 200, "{} of {} missing", missing.len(), wanted.len());
        let main = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
        let distinct: HashSet<u32> = main.iter().map(|s| s.tag).collect();
        assert_eq!(distinct.len(), main.len(), "nothing twice");
    }
    rig.finish();
}

#[test]
fn a_repair_that_comes_after_a_thousand_packets_goes_no_further() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.frame(presenter, Kind::Video, true, 3);
    let late = rig.clients[presenter].frame(video, false, 3, rig.now).swap_remove(0);
    for _ in 0..30 {
        rig.frame(presenter, Kind::Video, false, 40);
    }
    let before = tags(&rig, viewer).len();

    let repair = rig.clients[presenter].again(&late);
    rig.send(presenter, repair);
    rig.run(ms(20));

    assert!(before > 1000);
    assert_eq!(tags(&rig, viewer).len(), before, "its number may have been sealed before");
    rig.finish();
}
