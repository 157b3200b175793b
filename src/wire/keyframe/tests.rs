//! Payloads as the codecs' RTP formats write them, whole and cut.

use proptest::prelude::*;

use super::*;

const ALL: [Codec; 9] =
    [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma, Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1];

/// Payload, whether it starts a key frame, what it is.
type Case = (&'static [u8], bool, &'static str);

fn judge(codec: Codec, cases: &[Case]) {
    assert!(!cases.is_empty());
    for (payload, starts, what) in cases {
        assert_eq!(starts_keyframe(codec, payload), *starts, "{what}");
    }
}

#[test]
fn h264_starts_at_an_sps_or_at_the_first_slice_of_an_idr() {
    judge(
        Codec::H264,
        &[
            (&[0x67, 0x42, 0xe0, 0x1f], true, "SPS"),
            (&[0x67], false, "SPS cut to its header"),
            (&[0x68, 0xce], false, "PPS"),
            (&[0x65, 0x88], true, "first slice of an IDR"),
            (&[0x65, 0x40], false, "later slice of an IDR"),
            (&[0x41, 0x9a], false, "slice of another picture"),
            (&[0x09, 0xf0], false, "access unit delimiter"),
            (&[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce], true, "STAP-A of SPS and PPS"),
            (&[0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 0x42], true, "STAP-A, SPS second"),
            (&[0x78, 0, 2, 0x68, 0xce, 0, 2, 0x06, 1], false, "STAP-A of PPS and SEI"),
            (&[0x7c, 0x85, 0x88], true, "FU-A, start of an IDR"),
            (&[0x7c, 0x05, 0x88], false, "FU-A, middle of an IDR"),
            (&[0x7c, 0x45, 0x88], false, "FU-A, end of an IDR"),
            (&[0x7c, 0x81, 0x88], false, "FU-A, start of another slice"),
            (&[0x7c, 0x87, 0x42], true, "FU-A, start of an SPS"),
        ],
    );
}

#[test]
fn h265_starts_at_parameter_sets_or_at_the_first_slice_of_an_irap() {
    judge(
        Codec::H265,
        &[
            (&[32 << 1, 1, 0x0c], true, "VPS"),
            (&[32 << 1, 1], false, "VPS cut to its header"),
            (&[33 << 1, 1, 0x01], true, "SPS"),
            (&[34 << 1, 1, 0xc1], false, "PPS"),
            (&[19 << 1, 1, 0x80], true, "IDR_W_RADL"),
            (&[16 << 1, 1, 0x80], true, "BLA_W_LP"),
            (&[21 << 1, 1, 0x80], true, "CRA"),
            (&[21 << 1, 1, 0x40], false, "later slice of a CRA"),
            (&[22 << 1, 1, 0x80], false, "reserved"),
            (&[1 << 1, 1, 0x80], false, "TRAIL_R"),
            (&[48 << 1, 1, 0, 3, 35 << 1, 1, 0x50, 0, 3, 33 << 1, 1, 1], true, "AP with an SPS"),
            (&[48 << 1, 1, 0, 3, 35 << 1, 1, 0x50, 0, 3, 1 << 1, 1, 0x80], false, "AP without"),
            (&[49 << 1, 1, 0x93, 0x80], true, "FU, start of an IDR"),
            (&[49 << 1, 1, 19, 0x80], false, "FU, middle of an IDR"),
            (&[49 << 1, 1, 0x81, 0x80], false, "FU, start of another slice"),
        ],
    );
}

#[test]
fn vp8_starts_at_the_first_partition_of_an_intra_frame() {
    judge(
        Codec::Vp8,
        &[
            (&[0x10, 0x00], true, "key frame"),
            (&[0x10, 0x01], false, "inter frame"),
            (&[0x00, 0x00], false, "not the first packet"),
            (&[0x11, 0x00], false, "another partition"),
            (&[0x90, 0x80, 0x11, 0x00], true, "7-bit picture id"),
            (&[0x90, 0x80, 0x91, 0x01, 0x00], true, "15-bit picture id"),
            (&[0x90, 0x80, 0x91, 0x01, 0x01], false, "15-bit picture id, inter frame"),
            (&[0x90, 0xf0, 0x91, 0x01, 5, 6, 0x00], true, "all extensions"),
            (&[0x90, 0x10, 6, 0x00], true, "KEYIDX only"),
            (&[0x90, 0x20, 6, 0x01], false, "TID only, inter frame"),
        ],
    );
}

#[test]
fn vp9_starts_at_an_unpredicted_frame_of_the_lowest_layer() {
    judge(
        Codec::Vp9,
        &[
            (&[0x08, 0x82], true, "key frame without anything"),
            (&[0x48, 0x82], false, "predicted"),
            (&[0x00, 0x82], false, "not the first packet"),
            (&[0x88, 0x11, 0x82], true, "7-bit picture id"),
            (&[0x88, 0x91, 0x01, 0x82], true, "15-bit picture id"),
            (&[0xa8, 0x11, 0x00, 0x07, 0x82], true, "layer 0, not flexible"),
            (&[0xa8, 0x11, 0x02, 0x07, 0x82], false, "layer 1, not flexible"),
            (&[0xb8, 0x11, 0x00, 0x82], true, "layer 0, flexible"),
            (&[0xb8, 0x11, 0x02, 0x82], false, "layer 1, flexible"),
            (&[0x0a, 0x18, 1, 2, 3, 4, 1, 0x04, 9, 0x82], true, "scalability structure"),
        ],
    );
}

#[test]
fn av1_starts_at_a_new_sequence() {
    judge(
        Codec::Av1,
        &[
            (&[0x18, 0x0a, 0x0b], true, "N, one element"),
            (&[0x10, 0x08, 0x00], true, "sequence header without N"),
            (&[0x10, 0x30, 0x00], false, "frame"),
            (&[0x00, 0x02, 0x08, 0x00, 0x01, 0x30], true, "sequence header of two sized elements"),
            (&[0x20, 0x01, 0x10, 0x08, 0x00], true, "sequence header behind a temporal delimiter"),
            (&[0x20, 0x01, 0x10, 0x30, 0x00], false, "frame behind a temporal delimiter"),
            (&[0x90, 0x08, 0x00], false, "continuation that looks like one"),
            (&[0x00, 0xff, 0xff, 0xff, 0xff, 0x01], false, "size without end"),
        ],
    );
}

#[test]
fn audio_starts_anywhere() {
    for codec in &ALL[..4] {
        assert!(starts_keyframe(*codec, &[0]));
        assert!(!has_parameter_sets(*codec, &[0]));
    }
}

#[test]
fn parameter_sets_are_found_in_all_packings() {
    let sets: [(Codec, &[u8]); 6] = [
        (Codec::H264, &[0x67, 0x42]),
        (Codec::H264, &[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce]),
        (Codec::H264, &[0x7c, 0x87, 0x42]),
        (Codec::H265, &[33 << 1, 1, 1]),
        (Codec::H265, &[48 << 1, 1, 0, 3, 32 << 1, 1, 1]),
        (Codec::Av1, &[0x18, 0x0a, 0x0b]),
    ];
    let others: [(Codec, &[u8]); 5] = [
        (Codec::H264, &[0x65, 0x88]),
        (Codec::H264, &[0x68, 0xce]),
        (Codec::H265, &[19 << 1, 1, 0x80]),
        (Codec::Av1, &[0x18, 0x30, 0x0b]),
        (Codec::Vp8, &[0x10, 0x00]),
    ];

    for (codec, payload) in sets {
        assert!(has_parameter_sets(codec, payload), "{codec:?} {payload:?}");
    }
    for (codec, payload) in others {
        assert!(!has_parameter_sets(codec, payload), "{codec:?} {payload:?}");
    }
}

#[test]
fn truncated_payloads_start_nothing() {
    // Each of these is a key frame only when whole.
    let whole: [(Codec, &[u8]); 10] = [
        (Codec::H264, &[0x65, 0x88]),
        (Codec::H264, &[0x78, 0, 2, 0x67, 0x42]),
        (Codec::H264, &[0x7c, 0x85, 0x88]),
        (Codec::H265, &[19 << 1, 1, 0x80]),
        (Codec::H265, &[48 << 1, 1, 0, 3, 33 << 1, 1, 1]),
        (Codec::H265, &[49 << 1, 1, 0x93, 0x80]),
        (Codec::Vp8, &[0x90, 0xf0, 0x91, 0x01, 5, 6, 0x00]),
        (Codec::Vp9, &[0x8a, 0x91, 1, 0x38, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0x04, 9, 0x82]),
        (Codec::Av1, &[0x00, 0x02, 0x08, 0x00]),
        (Codec::Av1, &[0x20, 0x01, 0x10, 0x08]),
    ];

    for (codec, payload) in whole {
        for cut in 0..payload.len() {
            assert!(!starts_keyframe(codec, &payload[..cut]), "{codec:?}, {cut} bytes");
        }
        assert!(starts_keyframe(codec, payload), "{codec:?}");
    }
    for codec in ALL {
        assert!(!starts_keyframe(codec, &[]) && !has_parameter_sets(codec, &[]));
    }
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for codec in ALL {
            let _ = starts_keyframe(codec, &payload);
            let _ = has_parameter_sets(codec, &payload);
        }
    }
}
