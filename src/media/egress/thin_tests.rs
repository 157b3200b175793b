//! Viewers that do not get all layers of an encoding.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::tests::{egress, source};
use super::{Egress, Place};
use crate::media::layer::Scale;
use crate::media::packet::{Packet, Padding, Source};
use crate::wire::descriptor::Descriptor;
use crate::wire::sdp::Codec;

/// Number of the first packet; what comes before exists.
const BASE: u64 = 1 << 16;

/// Three temporal layers: 0 2 1 2, each picture of two packets, ids of 15 bits.
fn vp8(source: &Arc<Source>, seq: u64) -> Packet {
    let (picture, is_second) = (seq / 2, seq % 2 == 1);
    let temporal = [0, 2, 1, 2][(picture % 4) as usize];
    let sync = u8::from(temporal > 0 && picture % 8 < 4) << 5;
    let id = (picture as u16 | 0x8000).to_be_bytes();
    let first = if is_second { 0x80 } else { 0x90 };
    let payload = [first, 0xe0, id[0], id[1], (picture / 4) as u8, temporal << 6 | sync, 1, 2, 3];
    packet(source, seq, picture, is_second, picture == 0 && !is_second, &payload, Codec::Vp8)
}

/// Two spatial layers, one packet each.
fn vp9(source: &Arc<Source>, seq: u64) -> Packet {
    let (picture, spatial) = (seq / 2, (seq % 2) as u8);
    let key = u8::from(picture > 0) << 6;
    let payload = [0xac | key, picture as u8 & 0x7f, spatial << 1, 7, 1, 2];
    packet(source, seq, picture, spatial == 1, picture == 0 && spatial == 0, &payload, Codec::Vp9)
}

fn packet(
    s: &Arc<Source>,
    seq: u64,
    picture: u64,
    marker: bool,
    keyframe: bool,
    payload: &[u8],
    codec: Codec,
) -> Packet {
    Packet {
        source: s.clone(),
        seq: BASE + seq,
        timestamp: picture as u32 * 3000,
        marker,
        keyframe,
        received_at: Instant::now(),
        captured: None,
        descriptor: Descriptor::parse(codec, payload, marker),
        orientation: None,
        padding: Padding::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn sent(packet: &Packet, place: Place) -> (u64, Option<u16>) {
    let mut payload = Vec::new();
    place.copy(packet, &mut payload);
    let id = Descriptor::parse(Codec::Vp8, &payload, false).and_then(|d| d.id).map(|id| id.value);
    (place.seq, id)
}

/// What goes to the viewer of these packets: source number, own number, picture id.
fn admit(egress: &mut Egress, packets: &[Packet]) -> Vec<(u64, u64, Option<u16>)> {
    let mut out = Vec::new();
    for packet in packets {
        if let Some(place) = egress.admit(packet) {
            let (seq, id) = sent(packet, place);
            out.push((packet.seq - BASE, seq, id));
        }
    }
    out
}

#[test]
fn numbers_and_picture_ids_close_behind_pictures_that_are_left_out() {
    let (mut egress, source) = (egress(), source(1, 1, 0));
    let packets: Vec<_> = (0..64).map(|seq| vp8(&source, seq)).collect();
    admit(&mut egress, &packets[..16]);

    egress.scale = Scale { spatial: 255, temporal: 0 };
    let thin = admit(&mut egress, &packets[16..]);

    assert!(thin.iter().all(|(from, ..)| from / 2 % 4 == 0), "only the lowest layer");
    assert!(thin.windows(2).all(|w| w[1].1 == w[0].1 + 1), "{thin:?}");
    let ids: Vec<_> = thin.chunks(2).map(|c| (c[0].2, c[1].2)).collect();
    assert!(ids.iter().all(|(a, b)| a == b));
    assert!(ids.windows(2).all(|w| w[1].0 == w[0].0.map(|id| id + 1)), "{ids:?}");
    for (from, own, _) in &thin {
        assert_eq!(egress.trace(*own as u16), Some((1, 0, BASE + *from)));
    }
}

#[test]
fn a_higher_temporal_layer_begins_where_nothing_it_needs_is_missing() {
    let (mut egress, source) = (egress(), source(1, 1, 0));
    let packets: Vec<_> = (0..64).map(|seq| vp8(&source, seq)).collect();
    egress.scale = Scale { spatial: 255, temporal: 0 };
    admit(&mut egress, &packets[..10]);

    egress.scale = Scale::ALL;
    let more = admit(&mut egress, &packets[10..]);

    let first_higher = more.iter().map(|(from, ..)| from / 2).find(|picture| picture % 4 != 0);
    assert_eq!(first_higher, Some(9), "the first that says so; 5, 6 and 7 do not");
    assert!(more.iter().filter(|(from, ..)| from / 2 >= 9).count() >= 46, "all from there on");
    assert!(more.windows(2).all(|w| w[1].1 == w[0].1 + 1));
}

#[test]
fn what_is_late_or_missing_keeps_its_place() {
    let (mut egress, source) = (egress(), source(1, 1, 0));
    egress.scale = Scale { spatial: 255, temporal: 0 };
    let arrives = |skip: &[u64]| (0..64).filter(|s| !skip.contains(s)).map(|s| vp8(&source, s)).collect::<Vec<_>>();
    // 8 and 16 begin pictures of the lowest layer; 25 ends one; 11 is of one that is left out.
    let came = admit(&mut egress, &arrives(&[8, 11, 16, 25]));

    let holes: Vec<_> = came.windows(2).filter(|w| w[1].1 != w[0].1 + 1).map(|w| (w[0].0, w[1].0)).collect();
    assert_eq!(holes, [(1, 9), (9, 17), (24, 32)], "one place for each that will be wanted");
    let late = admit(&mut egress, &[vp8(&source, 8), vp8(&source, 11), vp8(&source, 16), vp8(&source, 25)]);
    assert_eq!(late.iter().map(|(from, ..)| *from).collect::<Vec<_>>(), [8, 16, 25]);
    let all: std::collections::BTreeSet<_> = came.iter().chain(&late).map(|(_, own, _)| *own).collect();
    assert_eq!(all.len(), came.len() + late.len(), "no number twice");
    assert_eq!(
        all.last().zip(all.first()).map(|(last, first)| last - first + 1),
        Some(all.len() as u64),
        "no hole left"
    );
}

#[test]
fn what_comes_late_of_a_stretch_that_was_cut_gets_no_number_of_the_next() {
    let (mut egress, source) = (egress(), source(1, 1, 0));
    egress.scale = Scale { spatial: 255, temporal: 0 };
    let packets: Vec<_> = (0..64).map(|seq| Packet { keyframe: seq == 24, ..vp8(&source, seq) }).collect();
    let mut came = admit(&mut egress, &[Packet { keyframe: true, ..vp8(&source, 0) }]);
    came.extend(admit(&mut egress, &packets[1..10]));
    egress.cut();
    came.extend(admit(&mut egress, &packets[10..32]));

    // Repaired by the presenter: from where nothing was sent.
    came.extend(admit(&mut egress, &packets[16..18]));
    came.extend(admit(&mut egress, &packets[32..]));

    let numbers: std::collections::BTreeSet<_> = came.iter().map(|(_, own, _)| *own).collect();
    assert_eq!(numbers.len(), came.len(), "no number twice: {came:?}");
    assert!(came.windows(2).all(|w| w[1].1 == w[0].1 + 1));
}

#[test]
fn the_last_packet_of_the_highest_layer_sent_has_the_marker() {
    let (mut egress, source) = (egress_of(Codec::Vp9), source_of(Codec::Vp9));
    egress.scale = Scale { spatial: 0, temporal: 255 };

    let places: Vec<_> = (0..20).filter_map(|seq| egress.admit(&vp9(&source, seq))).collect();

    assert_eq!(places.len(), 10);
    assert!(places.iter().all(|place| place.marker));
    assert!(places.windows(2).all(|w| w[1].seq == w[0].seq + 1));
}

#[test]
fn a_higher_spatial_layer_begins_with_a_key_frame() {
    let (mut egress, source) = (egress_of(Codec::Vp9), source_of(Codec::Vp9));
    egress.scale = Scale { spatial: 0, temporal: 255 };
    assert_eq!((0..20).filter_map(|seq| egress.admit(&vp9(&source, seq))).count(), 10);

    egress.scale = Scale::ALL;
    assert_eq!((20..30).filter_map(|seq| egress.admit(&vp9(&source, seq))).count(), 5);
    assert!(egress.awaits(&source));
    let mut key = vp9(&source, 30);
    key.keyframe = true;
    assert!(egress.admit(&key).is_some());
    assert!(egress.admit(&vp9(&source, 31)).is_some_and(|place| place.marker));
    assert!(!egress.awaits(&source));
}

fn egress_of(codec: Codec) -> Egress {
    let mut egress = egress();
    Arc::make_mut(&mut egress.section).formats[0].codec = codec;
    egress
}

fn source_of(codec: Codec) -> Arc<Source> {
    let mut source = Arc::into_inner(source(1, 1, 0)).expect("nobody else has it");
    source.format.codec = codec;
    Arc::new(source)
}
