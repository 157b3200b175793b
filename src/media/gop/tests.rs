use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::media::packet::{Padding, Source};
use crate::wire::sdp::{Codec, Feedback, Format, Kind};

const BOUNDS: Bounds = Bounds { bytes: 1000, packets: 20, age: Duration::from_secs(10), total: 1000 };

struct Presenter {
    source: Arc<Source>,
    started: Instant,
}

impl Presenter {
    fn new(id: u64) -> Self {
        let format = Format {
            payload_type: 96,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            channels: 0,
            fmtp: String::new(),
            rtx: None,
            feedback: Feedback::default(),
        };
        let source = Source { id, presentation: 1, kind: Kind::Video, layer: 0, rid: None, format };
        Self { source: Arc::new(source), started: Instant::now() }
    }

    /// One packet a picture, 10 pictures a second, 10 bytes each.
    fn packet(&self, seq: u64, keyframe: bool) -> Arc<Packet> {
        self.at(seq, seq, keyframe, 10)
    }

    fn at(&self, seq: u64, picture: u64, keyframe: bool, bytes: usize) -> Arc<Packet> {
        Arc::new(Packet {
            source: self.source.clone(),
            seq,
            timestamp: (picture * 9000) as u32,
            marker: true,
            keyframe,
            received_at: self.started + Duration::from_millis(100 * picture),
            captured: None,
            descriptor: None,
            orientation: None,
            padding: Padding::default(),
            payload: Bytes::from(vec![0; bytes]),
        })
    }
}

fn numbers(gop: &Gop) -> Vec<u64> {
    gop.packets().map(|p| p.seq).collect()
}

#[test]
fn a_gop_begins_with_the_last_key_frame() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    for seq in 0..10 {
        gop.insert(&presenter.packet(seq, seq == 3 || seq == 7), &BOUNDS);
    }

    assert_eq!(numbers(&gop), [7, 8, 9]);
    assert_eq!((gop.bytes(), gop.end()), (30, 10));
}

#[test]
fn nothing_is_kept_before_a_key_frame_came() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    gop.insert(&presenter.packet(1, false), &BOUNDS);

    assert!(gop.start().is_none());
}

#[test]
fn parameter_sets_and_first_slice_of_one_picture_are_one_beginning() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    gop.insert(&presenter.at(5, 9, true, 10), &BOUNDS);
    gop.insert(&presenter.at(6, 9, true, 10), &BOUNDS);

    assert_eq!(numbers(&gop), [5, 6]);
}

#[test]
fn a_repaired_key_frame_keeps_what_came_before_it_arrived() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    for (seq, keyframe) in [(1, true), (2, false), (4, false), (5, false), (3, true)] {
        gop.insert(&presenter.packet(seq, keyframe), &BOUNDS);
    }

    assert_eq!(numbers(&gop), [3, 4, 5]);
    assert_eq!(gop.bytes(), 30);
}

#[test]
fn a_late_packet_fills_its_hole_once() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    for (seq, keyframe) in [(1, true), (3, false), (2, false), (2, false), (0, true)] {
        gop.insert(&presenter.packet(seq, keyframe), &BOUNDS);
    }

    assert_eq!(numbers(&gop), [1, 2, 3]);
    assert_eq!(gop.bytes(), 30);
    assert_eq!(gop.get(2).map(|p| p.seq), Some(2));
}

#[test]
fn parameter_sets_that_come_late_go_in_front() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    for seq in [7, 8, 5, 6] {
        gop.insert(&presenter.at(seq, 9, seq != 6 && seq != 8, 10), &BOUNDS);
    }

    assert_eq!(numbers(&gop), [5, 6, 7, 8]);
    assert_eq!(gop.get(6).map(|p| p.seq), Some(6));
}

#[test]
fn a_key_frame_with_a_hole_is_not_whole() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());
    let packet = |seq, marker| {
        let packet = Arc::into_inner(presenter.at(seq, 9, seq == 5, 10)).expect("one owner");
        Arc::new(Packet { marker, ..packet })
    };

    gop.insert(&packet(5, false), &BOUNDS);
    assert!(!gop.is_whole(), "its end is missing");
    gop.insert(&packet(7, true), &BOUNDS);
    assert!(!gop.is_whole(), "its middle is missing");
    gop.insert(&packet(6, false), &BOUNDS);

    assert!(gop.is_whole());
}

#[test]
fn a_cache_without_room_keeps_nothing() {
    let (presenter, mut gop) = (Presenter::new(1), Gop::default());

    let passed = gop.insert(&presenter.packet(1, true), &Bounds { packets: 0, ..BOUNDS });

    assert!(passed.is_none() && gop.start().is_none());
}

#[test]
fn another_source_begins_anew() {
    let (before, after, mut gop) = (Presenter::new(1), Presenter::new(2), Gop::default());
    gop.insert(&before.packet(1, true), &BOUNDS);

    gop.insert(&after.packet(2, false), &BOUNDS);
    assert!(gop.start().is_none());
    gop.insert(&after.packet(3, true), &BOUNDS);

    assert_eq!(numbers(&gop), [3]);
}

#[test]
fn past_a_bound_nothing_is_kept_until_the_next_key_frame() {
    let presenter = Presenter::new(1);
    let over = [
        (0..20).map(|seq| presenter.at(seq, seq, seq == 0, 51)).collect::<Vec<_>>(),
        (0..21).map(|seq| presenter.packet(seq, seq == 0)).collect(),
        vec![presenter.at(0, 0, true, 10), presenter.at(1, 101, false, 10)],
        vec![presenter.packet(0, true), presenter.at(u64::MAX / 2, 1, false, 10)],
    ];
    let why = [Passed::Bytes, Passed::Packets, Passed::Age, Passed::Packets];
    for (packets, why) in over.into_iter().zip(why) {
        let mut gop = Gop::default();
        let passed: Vec<_> = packets.iter().filter_map(|packet| gop.insert(packet, &BOUNDS)).collect();
        assert_eq!(passed, [why]);
        assert!(gop.start().is_none() && gop.bytes() == 0);

        gop.insert(&presenter.packet(2000, false), &BOUNDS);
        assert!(gop.start().is_none());
        gop.insert(&presenter.packet(2001, true), &BOUNDS);
        assert_eq!(numbers(&gop), [2001]);
    }
}
