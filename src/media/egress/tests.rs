//! What one viewer is sent, with keys on both ends.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::media::outbox::Kept;
use crate::media::packet::Padding;
use crate::peer::srtp::{Profile, RtpOpener, masters};
use crate::wire::rtp::Header;
use crate::wire::sdp::{Codec, ExtensionIds, Feedback, Format};

fn format(payload_type: u8) -> Format {
    Format {
        payload_type,
        codec: Codec::Vp8,
        clock_rate: 90_000,
        channels: 0,
        fmtp: String::new(),
        rtx: None,
        feedback: Feedback::default(),
    }
}

/// A viewer's video without retransmissions of their own numbering.
pub(super) fn egress() -> Egress {
    let section = Section {
        index: 0,
        mid: "0".into(),
        kind: Kind::Video,
        formats: vec![format(100)],
        extensions: ExtensionIds { orientation: Some(5), ..ExtensionIds::default() },
        rids: Vec::new(),
        sources: Vec::new(),
        reduced_size_rtcp: false,
    };
    Egress::new(sdp::Source { ssrc: 7, rtx: None }, Arc::new(section), 0x7ff0)
}

pub(super) fn source(id: u64, presentation: u64, layer: u8) -> Arc<Source> {
    Arc::new(Source { id, presentation, kind: Kind::Video, layer, rid: None, format: format(96) })
}

fn packet(source: &Arc<Source>, seq: u64, keyframe: bool, at: Instant) -> Packet {
    Packet {
        source: source.clone(),
        seq,
        timestamp: seq as u32 * 3000,
        marker: true,
        keyframe,
        received_at: at,
        captured: None,
        descriptor: None,
        orientation: keyframe.then_some(1),
        padding: Padding::default(),
        payload: Bytes::from(vec![seq as u8; 50]),
    }
}

#[test]
fn a_resend_without_rtx_is_the_same_bytes_in_both_profiles_and_across_a_takeover() {
    for profile in [Profile::AesGcm, Profile::AesCm] {
        let material: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
        let (ours, _) = masters(profile, &material, false).expect("right length");
        let (_, theirs) = masters(profile, &material, true).expect("right length");
        let mut sealer = RtpSealer::new(&ours).expect("keys");
        let mut opener = RtpOpener::new(&theirs).expect("keys");
        let path = Path { remote: SocketAddr::from(([127, 0, 0, 1], 1)), local: None };
        let (mut egress, mut run, mut kept, now) = (egress(), Run::default(), Kept::default(), Instant::now());

        let (first, second) = (source(1, 1, 0), source(2, 2, 0));
        let packets: Vec<_> = (0..30)
            .map(|n| packet(&first, 40_000 + n, n == 0, now))
            .chain((0..30).map(|n| packet(&second, 70_000 + n, n == 0, now)))
            .collect();
        for (n, packet) in packets.iter().enumerate() {
            packet.pad(n as u8 % 7);
            let place = egress.admit(packet).expect("it goes to this viewer");
            egress.send(packet, place, &mut sealer, &mut run, &mut kept, path);
        }
        run.flush(&mut kept, path);
        let sent: Vec<_> = std::mem::take(&mut kept.0).into_iter().map(|(_, d)| d).collect();
        let numbers: Vec<_> = sent.iter().map(|d| Header::parse(d).expect("we wrote it").sequence).collect();
        for (n, datagram) in sent.iter().enumerate().skip(20) {
            packets[n].pad(9);
            egress.resend(numbers[n], &packets[n], &mut sealer, &mut run, &mut kept, path);
            run.flush(&mut kept, path);
            assert_eq!(&kept.0[n - 20].1, datagram, "{profile:?} {n}");
        }
        for (n, mut datagram) in sent.into_iter().enumerate() {
            let header = Header::parse(&datagram).expect("we wrote it");
            let end = opener.open(&header, &mut datagram).expect("it opens");
            let (payload, padding) = datagram[header.len..end].split_at(50);
            assert_eq!(payload, packets[n].payload);
            assert_eq!((padding.len(), header.padding), (n % 7, n % 7 > 0));
            assert!(padding.last().is_none_or(|count| usize::from(*count) == n % 7));
        }

        assert_eq!(numbers[0], 0x7ff1);
        assert!(numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)));
    }
}

#[test]
fn numbers_are_traced_to_the_packet_that_they_were() {
    let (mut egress, now) = (egress(), Instant::now());
    let (first, second) = (source(1, 1, 0), source(2, 2, 0));

    let one = egress.admit(&packet(&first, 500, true, now)).expect("a key frame");
    let two = egress.admit(&packet(&second, 90, true, now)).expect("a key frame");

    assert_eq!(egress.trace(one.seq as u16), Some((1, 0, 500)));
    assert_eq!(egress.trace(two.seq as u16), Some((2, 0, 90)));
    assert_eq!(egress.trace(one.seq as u16 - 1), None, "before the first");
}

#[test]
fn a_replaced_presenter_and_a_layer_that_is_not_wanted_are_not_admitted() {
    let (mut egress, now) = (egress(), Instant::now());
    let (old, new, other_layer) = (source(1, 1, 0), source(2, 2, 0), source(3, 2, 1));
    egress.admit(&packet(&old, 500, true, now)).expect("a key frame");
    egress.admit(&packet(&new, 600, true, now)).expect("a key frame");

    assert_eq!(egress.admit(&packet(&old, 501, true, now)), None);
    assert_eq!(egress.admit(&packet(&other_layer, 700, true, now)), None);
    egress.wanted = 1;
    assert_eq!(egress.admit(&packet(&other_layer, 701, false, now)), None, "it begins with a key frame");
    assert!(egress.admit(&packet(&new, 601, false, now)).is_some(), "until then the other goes on");
    assert!(egress.admit(&packet(&other_layer, 702, true, now)).is_some());
    assert_eq!(egress.admit(&packet(&new, 602, true, now)), None);
}

#[test]
fn a_viewer_waits_only_for_what_it_can_show() {
    let mut egress = egress();
    let mut foreign = Source { id: 1, presentation: 1, kind: Kind::Video, layer: 0, rid: None, format: format(96) };

    assert!(egress.awaits(&foreign));
    foreign.format.codec = Codec::H264;
    assert!(!egress.awaits(&foreign));
    let shown = source(2, 2, 0);
    egress.admit(&packet(&shown, 1, true, Instant::now())).expect("a key frame");
    assert!(!egress.awaits(&shown));
}
