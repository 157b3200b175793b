//! How watching begins, and how presenters are asked for key frames.

use super::super::*;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG, OBS, Rig, ms};
use crate::media::Role;
use crate::wire::rtcp;
use crate::wire::rtp::Header;
use crate::wire::sdp::Kind;

#[test]
fn a_viewer_starts_at_a_key_frame() {
    let mut rig = Rig::keeping(1, Bounds { packets: 0, ..Bounds::default() });
    let presenter = rig.present(1, OBS);
    rig.frame(presenter, Kind::Video, true, 4);

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.run(ms(10));
    assert_eq!(rig.clients[presenter].keyframe_requests(), (1, 0), "asked for when the viewer comes");
    rig.frame(presenter, Kind::Video, false, 4);
    assert!(rig.clients[viewer].seen.is_empty());
    let key = rig.frame(presenter, Kind::Video, true, 4);
    let delta = rig.frame(presenter, Kind::Video, false, 2);

    let tags: Vec<_> = rig.clients[viewer].seen.iter().map(|s| s.tag).collect();
    assert_eq!(tags, [key, delta].concat());
    rig.finish();
}

#[test]
fn sources_declared_in_each_other_s_section_play() {
    let mut rig = Rig::new(1);
    let presenter = rig.park(1, Role::Presenter, CHROMIUM_PUBLISH);
    let tracks = &mut rig.clients[presenter].tracks;
    let (audio, video) = (tracks[0].ssrc, tracks[1].ssrc);
    (tracks[0].ssrc, tracks[1].ssrc) = (video, audio);
    rig.connect(presenter);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    let sound = rig.frame(presenter, Kind::Audio, true, 1);
    let picture = rig.frame(presenter, Kind::Video, true, 4);
    rig.run(ms(2));

    let client = &rig.clients[viewer];
    let tags = |ssrc: u32| client.of(ssrc).iter().map(|s| s.tag).collect::<Vec<_>>();
    assert_eq!(tags(client.audio().ssrc), sound);
    assert_eq!(tags(client.video().ssrc), picture);
    rig.finish();
}

#[test]
fn the_first_packets_name_their_section() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(4000));

    let client = &rig.clients[viewer];
    for section in &client.sections {
        let id = section.extensions.mid.expect("Chromium offers it");
        let packets: Vec<_> =
            client.raw.iter().filter(|raw| section.sources[0].ssrc.to_be_bytes() == raw[8..12]).collect();
        let names = |raw: &[u8]| {
            let header = Header::parse(raw).expect("RTP");
            header.extensions(raw).any(|(i, value)| i == id && value == section.mid.as_bytes())
        };
        assert!(packets.len() > 150);
        assert!(packets[..100].iter().all(|raw| names(raw)));
        assert!(!packets[100..].iter().any(|raw| names(raw)));
    }
    rig.finish();
}

#[test]
fn sound_starts_at_once() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);

    let tags = rig.frame(presenter, Kind::Audio, true, 1);
    rig.run(ms(2));

    assert_eq!(rig.clients[viewer].seen.iter().map(|s| s.tag).collect::<Vec<_>>(), tags);
    rig.finish();
}

#[test]
fn a_thousand_requests_in_a_second_are_two_upstream() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 4);
    rig.run(ms(600));
    let (before, _) = rig.clients[presenter].keyframe_requests();
    let counted = rig.count(Count::KeyframesAsked);

    let ssrc = rig.clients[viewer].video().ssrc;
    for _ in 0..1000 {
        rig.run(Duration::from_micros(999));
        rig.rtcp(viewer, |out| rtcp::write_pli(out, 1, ssrc));
    }

    let (after, _) = rig.clients[presenter].keyframe_requests();
    assert_eq!(after - before, 2);
    assert_eq!(rig.count(Count::KeyframesWanted), 1000);
    assert_eq!(rig.count(Count::KeyframesAsked) - counted, 2, "those that were sent are counted");
    rig.finish();
}

#[test]
fn a_full_intra_request_is_heard() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 4);
    rig.run(ms(600));
    let (before, _) = rig.clients[presenter].keyframe_requests();

    let ssrc = rig.clients[viewer].video().ssrc;
    rig.rtcp(viewer, |out| rtcp::write_fir(out, 1, ssrc, 3));
    rig.run(ms(10));

    assert_eq!(rig.clients[presenter].keyframe_requests().0, before + 1);
    rig.finish();
}

#[test]
fn a_presenter_that_knows_only_full_intra_requests_gets_those() {
    let mut rig = Rig::new(1);
    let presenter = rig.park_as(1, Role::Presenter, CHROMIUM_PUBLISH, |negotiated| {
        for format in negotiated.sections.iter_mut().flat_map(|s| &mut s.formats) {
            format.feedback.pli = false;
        }
    });
    rig.connect(presenter);
    rig.frame(presenter, Kind::Video, true, 4);

    rig.watch(1, CHROMIUM_PLAY);
    rig.run(ms(10));

    assert_eq!(rig.clients[presenter].keyframe_requests(), (0, 1));
    rig.finish();
}

#[test]
fn a_presenter_that_knows_no_requests_gets_none() {
    let mut rig = Rig::new(1);
    let presenter = rig.park_as(1, Role::Presenter, CHROMIUM_PUBLISH, |negotiated| {
        for format in negotiated.sections.iter_mut().flat_map(|s| &mut s.formats) {
            (format.feedback.pli, format.feedback.fir) = (false, false);
        }
    });
    rig.connect(presenter);
    rig.frame(presenter, Kind::Video, true, 4);

    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let ssrc = rig.clients[viewer].video().ssrc;
    rig.rtcp(viewer, |out| rtcp::write_pli(out, 1, ssrc));
    rig.run(ms(600));

    assert_eq!(rig.clients[presenter].keyframe_requests(), (0, 0));
    assert_eq!(rig.count(Count::KeyframesAsked), 0);
    rig.finish();
}

#[test]
fn a_request_about_no_source_is_a_request() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.frame(presenter, Kind::Video, true, 4);
    rig.run(ms(600));
    let (before, _) = rig.clients[presenter].keyframe_requests();

    rig.rtcp(viewer, |out| rtcp::write_pli(out, 1, 0));
    rig.run(ms(10));

    assert_eq!(rig.clients[presenter].keyframe_requests().0, before + 1);
    rig.finish();
}

#[test]
fn a_key_frame_that_was_lost_is_asked_for_again() {
    let mut rig = Rig::new(2);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.clients[presenter].tracks[video].wants_keyframe = false;

    rig.live(&[presenter], ms(2500));

    for viewer in viewers {
        let ssrc = rig.clients[viewer].video().ssrc;
        assert!(rig.clients[viewer].of(ssrc).len() > 50);
    }
    rig.finish();
}

#[test]
fn a_frame_right_behind_the_handshake_is_not_lost() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let presenter = rig.park(1, Role::Presenter, FFMPEG);
    rig.clients[presenter].eager = true;

    rig.connect(presenter);
    rig.run(ms(5));

    assert_eq!(rig.clients[presenter].sent.len(), 3);
    assert_eq!(rig.clients[viewer].seen.len(), 3);
    rig.finish();
}
