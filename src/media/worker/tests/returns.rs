//! Presenters who go, come back and stand in for each other, as their viewers see it.

use super::super::*;
use super::catch_up::picture;
use super::client::Seen;
use super::numbering::assert_continuous;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, OBS, Rig, ms};
use crate::media::{Role, Standing};
use crate::wire::keyframe::starts_keyframe;
use crate::wire::sdp::{Codec, Kind};

impl Rig {
    /// A presenter among several.
    fn stand(&mut self, rank: u8, worker: usize, offer: &str) -> usize {
        self.standing = Some(Standing { rank, back_after: Duration::from_secs(5) });
        let client = self.park(1, Role::Presenter, offer);
        self.clients[client].at = worker;
        self.connect(client)
    }

    /// Sound and pictures of presenters who make a key frame once a second, whoever asks.
    fn deaf(&mut self, presenters: &[usize], span: Duration) {
        let (start, end) = (self.start, self.now + span);
        while self.now < end {
            let step = self.now.duration_since(start).as_millis() / 20;
            for presenter in presenters.iter().copied() {
                self.frame(presenter, Kind::Audio, true, 1);
                if step.is_multiple_of(2) {
                    let key = step.is_multiple_of(50) || self.clients[presenter].sent.len() < 3;
                    self.frame(presenter, Kind::Video, key, if key { 6 } else { 3 });
                }
            }
            self.run(ms(20));
        }
    }

    /// Who was on air, one after the other.
    fn aired(&self) -> Vec<usize> {
        let client = |id: SessionId| self.clients.iter().position(|c| c.id == id).expect("one of ours");
        let aired = self.notices.iter().filter_map(|n| match n {
            Notice::OnAir { session } => Some(client(*session)),
            _ => None,
        });
        aired.collect()
    }

    fn flows(&self, client: usize) -> Vec<bool> {
        let id = self.clients[client].id;
        let flows = self.notices.iter().filter_map(|n| match n {
            Notice::Flow { session, flows } if *session == id => Some(*flows),
            _ => None,
        });
        flows.collect()
    }

    /// Numbers and times of both tracks go on; returns the pictures.
    fn seen_by(&self, viewer: usize) -> Vec<Seen> {
        let client = &self.clients[viewer];
        assert_continuous(&client.of(client.audio().ssrc));
        let pictures = client.of(client.video().ssrc);
        assert_continuous(&pictures);
        pictures
    }
}

/// Where pictures of other presenters begin: index of the first packet.
fn changes(pictures: &[Seen]) -> Vec<usize> {
    (1..pictures.len()).filter(|at| pictures[at - 1].tag >> 20 != pictures[*at].tag >> 20).collect()
}

/// The longest time without a picture.
fn longest_gap(pictures: &[Seen]) -> Duration {
    pictures.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).max().expect("pictures")
}

/// Times told and times passed differ by no more than this anywhere.
fn assert_told_as_passed(pictures: &[Seen], most_ms: i64) {
    let first = &pictures[0];
    for picture in pictures {
        let passed = picture.at.duration_since(first.at).as_millis() as i64;
        let told = i64::from(picture.timestamp.wrapping_sub(first.timestamp)) / 90;
        assert!((passed - told).abs() <= most_ms, "{passed} ms passed, {told} ms told");
    }
}

#[test]
fn a_backup_takes_over_with_a_key_frame_and_gives_back_without_a_gap() {
    for (worker, offer) in [(0, CHROMIUM_PUBLISH), (1, OBS)] {
        let mut rig = Rig::new(2);
        let main = rig.stand(0, 0, CHROMIUM_PUBLISH);
        let spare = rig.stand(1, worker, offer);
        let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
        rig.live(&[main, spare], ms(2_000));

        rig.live(&[spare], ms(2_000));
        rig.live(&[main, spare], ms(4_900));
        assert_eq!(rig.aired(), [main, spare], "not before it has been steady for a while");
        rig.live(&[main, spare], ms(1_000));

        assert_eq!(rig.aired(), [main, spare, main]);
        for viewer in viewers {
            let pictures = rig.seen_by(viewer);
            let changes = changes(&pictures);
            assert_eq!(changes.len(), 2);
            for at in changes {
                let of = |codec| starts_keyframe(codec, &pictures[at].payload);
                assert!(of(Codec::Vp8) || of(Codec::H264), "begins with a key frame");
            }
            assert!(longest_gap(&pictures) <= ms(350), "{:?}", longest_gap(&pictures));
            // What was kept is told a millisecond apart, as if it had just happened: within a tenth of a second.
            assert_told_as_passed(&pictures, 100);
        }
        rig.finish();
    }
}

#[test]
fn a_backup_that_makes_no_key_frame_when_asked_shows_a_picture_at_once_all_the_same() {
    let mut rig = Rig::new(2);
    let main = rig.stand(0, 0, OBS);
    let spare = rig.stand(1, 1, OBS);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    rig.deaf(&[main, spare], ms(2_500));

    rig.deaf(&[spare], ms(2_600));

    assert_eq!(rig.aired(), [main, spare]);
    for viewer in viewers {
        let pictures = rig.seen_by(viewer);
        let change = changes(&pictures)[0];
        assert!(starts_keyframe(Codec::H264, &pictures[change].payload));
        assert!(longest_gap(&pictures) <= ms(350), "{:?}", longest_gap(&pictures));
        assert_told_as_passed(&pictures, 60);
        let last = pictures.iter().filter(|seen| seen.tag >> 20 == spare as u32 + 1).collect::<Vec<_>>();
        assert_eq!(pictures[change..].len(), last.len(), "nothing of the first any more");
    }
    rig.finish();
}

#[test]
fn a_backup_takes_over_at_once_from_a_presenter_that_leaves() {
    let mut rig = Rig::new(1);
    let main = rig.stand(0, 0, CHROMIUM_PUBLISH);
    let spare = rig.stand(1, 0, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[main, spare], ms(1_000));

    rig.close(main, CloseReason::Deleted);
    rig.live(&[spare], ms(1_000));

    assert_eq!(rig.aired(), [main, spare]);
    assert!(longest_gap(&rig.seen_by(viewer)) <= ms(100));
    rig.finish();
}

#[test]
fn a_presenter_that_comes_back_with_other_sources_and_sizes_goes_on_under_the_same_numbers() {
    let mut rig = Rig::new(1);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let first = rig.present(1, CHROMIUM_PUBLISH);
    rig.live(&[first], ms(1_000));

    // Its process is gone: no goodbye. It comes back before its session has ended, which is then taken over.
    rig.run(ms(5_000));
    let second = rig.present(1, CHROMIUM_PUBLISH);
    rig.close(first, CloseReason::TakenOver);
    let video = rig.clients[second].track(Kind::Video);
    rig.clients[second].tracks[video].size = 900;
    rig.live(&[second], ms(1_000));

    let pictures = rig.seen_by(viewer);
    let change = changes(&pictures)[0];
    assert!(starts_keyframe(Codec::Vp8, &pictures[change].payload));
    assert!(pictures[change].payload.len() > pictures[change - 1].payload.len());
    assert_told_as_passed(&pictures, 45);
    assert_eq!(rig.flows(first), [false], "told while it was gone");
    rig.finish();
}

#[test]
fn a_presenter_that_sends_nothing_for_a_while_is_missed_and_welcome_again() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    rig.run(ms(5_000));
    assert!(rig.flows(presenter).is_empty(), "it has not begun yet");

    rig.live(&[presenter], ms(500));
    rig.run(ms(1_900));
    assert!(rig.flows(presenter).is_empty());
    rig.run(ms(200));
    assert_eq!(rig.flows(presenter), [false]);
    rig.live(&[presenter], ms(500));

    assert_eq!(rig.flows(presenter), [false, true]);
    rig.finish();
}

#[test]
fn of_the_viewers_only_those_are_sent_away_who_cannot_show_the_new_codec() {
    let mut rig = Rig::new(2);
    let narrow = |rig: &mut Rig, worker| {
        let viewer = rig.park_as(1, Role::Viewer, CHROMIUM_PLAY, |negotiated| {
            for section in negotiated.sections.iter_mut().filter(|s| s.kind == Kind::Video) {
                section.formats.retain(|format| format.codec == Codec::Vp8);
            }
        });
        rig.clients[viewer].at = worker;
        rig.connect(viewer)
    };
    let first = rig.present(1, CHROMIUM_PUBLISH);
    let wide = rig.watch(1, CHROMIUM_PLAY);
    let narrow = [narrow(&mut rig, 0), narrow(&mut rig, 1)];
    rig.live(&[first], ms(500));
    rig.close(first, CloseReason::TakenOver);

    let second = rig.present(1, OBS);
    rig.live(&[second], ms(1_000));

    let mut away: Vec<_> = (rig.notices.iter())
        .filter_map(|n| if let Notice::Unplayable { session } = n { Some(*session) } else { None })
        .collect();
    away.sort_unstable_by_key(|id| id.0);
    assert_eq!(away, narrow.map(|viewer| rig.clients[viewer].id));
    assert_eq!(changes(&rig.seen_by(wide)).len(), 1);
    rig.finish();
}

#[test]
fn the_last_key_frame_is_held_until_somebody_presents_again() {
    let mut rig = Rig::new(2);
    rig.holds = true;
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    let first = rig.present(1, CHROMIUM_PUBLISH);
    rig.live(&[first], ms(1_000));
    rig.run(ms(3_000));
    let silent = rig.seen_by(viewers[0]).len();
    rig.close(first, CloseReason::Silent);

    rig.run(ms(3_000));
    let late = rig.watch_at(1, 1, CHROMIUM_PLAY);
    rig.run(ms(3_000));
    let second = rig.present(1, OBS);
    rig.live(&[second], ms(1_000));

    for viewer in viewers.into_iter().chain([late]) {
        let pictures = rig.seen_by(viewer);
        let change = changes(&pictures);
        assert_eq!(change.len(), 1, "first the one, then the other");
        assert!(starts_keyframe(Codec::Vp8, &pictures[0].payload));
        assert!(starts_keyframe(Codec::H264, &pictures[change[0]].payload));
        if viewer != late {
            let held = &pictures[silent..change[0]];
            assert!(held.len() >= 5 * 6 && held.len() <= 7 * 6, "once a second: {}", held.len());
            assert!(held.chunks(6).all(|frame| frame[0].payload == pictures[0].payload && frame[5].marker));
            assert!(longest_gap(&pictures[silent..]) <= ms(1_050));
        }
        assert_told_as_passed(&pictures, 60);
    }
    rig.finish();
}

#[test]
fn a_key_frame_that_takes_over_behind_parameter_sets_put_in_front_of_it_is_whole() {
    let mut rig = Rig::new(1);
    let (main, spare) = (rig.stand(0, 0, OBS), rig.stand(1, 0, OBS));
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let (sps, pps): (&[u8], &[u8]) = (&[0x67, 0x42, 0xe0, 0x1f], &[0x68, 0xce, 0x3c, 0x80]);
    let (idr, slice): (&[u8], &[u8]) = (&[0x65, 0x88, 0x84, 0], &[0x41, 0x9a, 0, 0]);
    for presenter in [main, spare] {
        picture(&mut rig, presenter, &[sps, pps, idr]);
    }
    for _ in 0..20 {
        picture(&mut rig, spare, &[slice]);
    }
    for _ in 0..80 {
        for presenter in [main, spare] {
            picture(&mut rig, presenter, &[slice]);
        }
    }

    picture(&mut rig, main, &[idr, idr]);
    for _ in 0..3 {
        picture(&mut rig, main, &[slice]);
    }

    assert_eq!(rig.aired(), [main, spare, main]);
    let pictures = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_continuous(&pictures);
    let kinds: Vec<_> = pictures[pictures.len() - 6..].iter().map(|seen| seen.payload[0] & 0x1f).collect();
    assert_eq!(kinds, [24, 5, 5, 1, 1, 1], "parameter sets, the key frame, what follows");
    rig.finish();
}

#[test]
fn what_a_backup_kept_leaves_in_order_though_some_of_it_came_late() {
    let mut rig = Rig::new(1);
    let (main, spare) = (rig.stand(0, 0, OBS), rig.stand(1, 0, OBS));
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let (sps, pps): (&[u8], &[u8]) = (&[0x67, 0x42, 0xe0, 0x1f], &[0x68, 0xce, 0x3c, 0x80]);
    let (idr, slice): (&[u8], &[u8]) = (&[0x65, 0x88, 0x84, 0], &[0x41, 0x9a, 0, 0]);
    for presenter in [main, spare] {
        picture(&mut rig, presenter, &[sps, pps, idr]);
    }
    let track = rig.clients[spare].track(Kind::Video);
    let mut late = Vec::new();
    for n in 0..10 {
        let now = rig.now;
        let [first, second] =
            [false, true].map(|marker| rig.clients[spare].packet(track, marker, false, slice, n, now).datagram);
        rig.launch_from(spare, vec![first]);
        late.push(second);
        // The last packet of the fourth picture is lost, and sent again two pictures later.
        if !(3..5).contains(&n) {
            late.reverse();
            rig.launch_from(spare, std::mem::take(&mut late));
        }
        picture(&mut rig, main, &[slice]);
    }

    (0..20).for_each(|_| picture(&mut rig, spare, &[slice]));

    assert_eq!(rig.aired(), [main, spare]);
    let pictures = rig.clients[viewer].of(rig.clients[viewer].video().ssrc);
    assert_continuous(&pictures);
    assert_eq!(pictures.len(), 3 + 10 + 3 + 20 + 20);
    rig.finish();
}

#[test]
fn what_has_no_place_behind_a_presenter_that_takes_over_is_counted() {
    let mut rig = Rig::new(1);
    let main = rig.stand(0, 0, OBS);
    let spare = rig.stand(1, 0, OBS);
    rig.watch(1, CHROMIUM_PLAY);
    rig.deaf(&[main, spare], ms(2_500));
    for _ in 0..200 {
        if rig.aired().len() < 2 {
            rig.frame(spare, Kind::Video, false, 3);
            rig.run(ms(5));
        }
    }
    assert_eq!((rig.aired(), rig.count(Count::DropStandby)), (vec![main, spare], 0));

    // What it has kept is leaving, and it goes on faster than that.
    rig.frame(spare, Kind::Video, false, 2_000);

    assert!(rig.count(Count::DropStandby) > 400, "{}", rig.count(Count::DropStandby));
    rig.finish();
}
