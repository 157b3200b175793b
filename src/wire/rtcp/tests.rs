//! What is read is compared with what the `rtc-rtcp` crate writes, what is written with what it reads.

use proptest::prelude::*;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet;
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{SdesType, SourceDescription};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::*;

/// All events of a datagram, and whether it was well-formed to the end.
fn events(datagram: &[u8]) -> (Vec<Event<'_>>, bool) {
    let mut events = Vec::new();
    let whole = read(datagram, |event| events.push(event));
    (events, whole)
}

/// The one packet that a writer wrote, as the other implementation reads it.
fn oracle<T: packet::Packet + Clone + 'static>(write: impl FnOnce(&mut Vec<u8>)) -> T {
    let mut out = Vec::new();
    write(&mut out);
    let packets = packet::unmarshal(&mut &out[..]).expect("it is well-formed");
    let [packet] = &packets[..] else {
        panic!("{} packets", packets.len());
    };
    packet.as_any().downcast_ref::<T>().expect("it is of this type").clone()
}

/// One of everything that we read, written by the other implementation, and what it means.
fn compound() -> (Vec<u8>, Vec<Event<'static>>) {
    let report = ReceptionReport {
        ssrc: 21,
        fraction_lost: 22,
        total_lost: 0x00ff_fffe,
        last_sequence_number: 23,
        jitter: 24,
        last_sender_report: 25,
        delay: 26,
    };
    let reports = vec![report];
    let packets: [Box<dyn packet::Packet>; 7] = [
        Box::new(SenderReport {
            ssrc: 1,
            ntp_time: 0x0102_0304_0506_0708,
            rtp_time: 3,
            packet_count: 4,
            octet_count: 5,
            reports: reports.clone(),
            ..SenderReport::default()
        }),
        Box::new(ReceiverReport { ssrc: 2, reports, ..ReceiverReport::default() }),
        Box::new(TransportLayerNack {
            sender_ssrc: 2,
            media_ssrc: 7,
            nacks: vec![
                NackPair { packet_id: 65_535, lost_packets: 0x8001 },
                NackPair { packet_id: 30, lost_packets: 0 },
            ],
        }),
        Box::new(PictureLossIndication { sender_ssrc: 2, media_ssrc: 0 }),
        Box::new(FullIntraRequest {
            sender_ssrc: 2,
            media_ssrc: 0,
            fir: vec![FirEntry { ssrc: 8, sequence_number: 1 }, FirEntry { ssrc: 9, sequence_number: 2 }],
        }),
        Box::new(ReceiverEstimatedMaximumBitrate { sender_ssrc: 2, bitrate: 3_000_000.0, ssrcs: vec![8, 9] }),
        Box::new(Goodbye { sources: vec![11, 12], reason: "gone".into() }),
    ];
    let heard =
        Event::Report { about: 21, fraction_lost: 22, lost: -2, highest: 23, jitter: 24, last_sr: 25, delay: 26 };
    let events = vec![
        Event::SenderReport { ssrc: 1, ntp: 0x0102_0304_0506_0708, rtp: 3, packets: 4, octets: 5 },
        heard,
        heard,
        Event::Nack { about: 7, packet_id: 65_535, bitmap: 0x8001 },
        Event::Nack { about: 7, packet_id: 30, bitmap: 0 },
        Event::Pli { about: 0 },
        Event::Fir { about: 8 },
        Event::Fir { about: 9 },
        Event::Remb { bitrate: 3_000_000 },
        Event::Bye { ssrc: 11 },
        Event::Bye { ssrc: 12 },
    ];
    let datagram = packet::marshal(&packets).expect("it fits").to_vec();
    (datagram, events)
}

#[test]
fn everything_in_a_compound_packet_is_read() {
    let (datagram, expected) = compound();

    assert_eq!(events(&datagram), (expected, true));
}

#[test]
fn a_truncated_compound_gives_what_came_before() {
    let (datagram, expected) = compound();
    let mut ends = Vec::new();
    let mut rest = &datagram[..];
    while let Some((_, after)) = Packet::split(rest) {
        rest = after;
        ends.push(datagram.len() - rest.len());
    }
    assert_eq!(ends.len(), 7);

    for cut in 1..datagram.len() {
        let (read, whole) = events(&datagram[..cut]);

        assert_eq!(whole, ends.contains(&cut), "{cut} bytes");
        assert!(expected.starts_with(&read), "{cut} bytes");
    }
}

#[test]
fn types_that_we_do_not_use_are_skipped() {
    // Application-defined, extended report, slice loss, a private feedback, then a PLI.
    let datagram = [
        &[0x80, 204, 0, 1, 0, 0, 0, 1][..],
        &[0x80, 207, 0, 1, 0, 0, 0, 1],
        &[0x82, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        &[0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'G', b'O', b'O', b'G'],
        &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9],
    ]
    .concat();

    assert_eq!(events(&datagram), (vec![Event::Pli { about: 9 }], true));
}

#[test]
fn padding_is_removed() {
    let nack = [0xa1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 9, 0, 7, 0, 0, 0, 0, 0, 4];
    let with_count = |count| {
        let mut datagram = nack;
        datagram[19] = count;
        datagram
    };
    let expected = vec![Event::Nack { about: 9, packet_id: 7, bitmap: 0 }];

    assert_eq!(events(&nack), (expected, true));
    for count in [0, 3, 17, 20, 255] {
        assert!(!events(&with_count(count)).1, "{count} bytes of padding");
    }
}

#[test]
fn other_versions_and_lying_counts_are_malformed() {
    let cases: [(&str, &[u8]); 6] = [
        ("version 1", &[0x41, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]),
        ("31 reports that are not there", &[0x9f, 201, 0, 1, 0, 0, 0, 1]),
        ("1 leaves, none is named", &[0x81, 203, 0, 0]),
        ("REMB for 255 sources", &[0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 255, 0, 0, 1]),
        ("half an entry", &[0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
        ("transport feedback without status", &[0x8f, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
    ];

    for (what, datagram) in cases {
        assert_eq!(events(datagram), (vec![], false), "{what}");
    }
}

#[test]
fn after_256_items_the_rest_is_not_read() {
    let sparse = |count: u16| -> Vec<u16> { (0..count).map(|n| n * 20).collect() };
    let mut full = Vec::new();
    write_nack(&mut full, 1, 2, &sparse(256));
    assert_eq!((events(&full).0.len(), events(&full).1), (256, true));

    write_pli(&mut full, 1, 2);

    assert_eq!((events(&full).0.len(), events(&full).1), (256, false));
}

#[test]
fn a_remb_beyond_64_bits_is_the_largest_number() {
    let remb = |exponent: u32, mantissa: u32| {
        let [a, b, c, d] = (exponent << 18 | mantissa).to_be_bytes();
        let datagram = [0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', a, b, c, d];
        let mut bitrate = None;
        assert!(read(&datagram, |event| bitrate = Some(event == Event::Remb { bitrate: u64::MAX })));
        bitrate.expect("there is one")
    };

    assert!(remb(63, 2) && remb(47, 0x3_ffff));
    assert!(!remb(63, 1) && !remb(46, 0x3_ffff) && !remb(63, 0));
}

#[test]
fn sender_reports_are_understood() {
    let report: SenderReport = oracle(|out| write_sender_report(out, 1, 0x0102_0304_0506_0708, 2, 3, 4));

    assert_eq!((report.ssrc, report.ntp_time, report.rtp_time), (1, 0x0102_0304_0506_0708, 2));
    assert_eq!((report.packet_count, report.octet_count, report.reports.len()), (3, 4, 0));
}

#[test]
fn receiver_reports_are_understood() {
    let reception = Reception { ssrc: 1, fraction_lost: 2, lost: -3, highest: 4, jitter: 5, last_sr: 6, delay: 7 };

    let report: ReceiverReport = oracle(|out| write_receiver_report(out, 9, &[reception; 40]));

    assert_eq!((report.ssrc, report.reports.len()), (9, 31));
    let expected = ReceptionReport {
        ssrc: 1,
        fraction_lost: 2,
        total_lost: 0x00ff_fffd,
        last_sequence_number: 4,
        jitter: 5,
        last_sender_report: 6,
        delay: 7,
    };
    assert!(report.reports.iter().all(|report| *report == expected));
}

#[test]
fn names_of_every_length_are_understood() {
    for len in [0, 1, 2, 3, 4, 5, 16, 255, 300] {
        let name = "n".repeat(len);

        let description: SourceDescription = oracle(|out| write_cname(out, 5, &name));

        let [chunk] = &description.chunks[..] else {
            panic!("{} chunks", description.chunks.len());
        };
        assert_eq!((chunk.source, chunk.items.len()), (5, 1));
        assert_eq!(chunk.items[0].sdes_type, SdesType::SdesCname);
        assert_eq!(chunk.items[0].text, name[..len.min(255)], "{len}");
    }
}

#[test]
fn the_short_messages_are_understood() {
    let bye: Goodbye = oracle(|out| write_bye(out, &[7, 8]));
    assert_eq!((bye.sources, bye.reason.len()), (vec![7, 8], 0));
    let bye: Goodbye = oracle(|out| write_bye(out, &[7; 40]));
    assert_eq!(bye.sources.len(), 31);

    let pli: PictureLossIndication = oracle(|out| write_pli(out, 1, 2));
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (1, 2));

    let fir: FullIntraRequest = oracle(|out| write_fir(out, 1, 2, 3));
    assert_eq!((fir.sender_ssrc, fir.media_ssrc), (1, 0));
    assert_eq!(fir.fir, [FirEntry { ssrc: 2, sequence_number: 3 }]);
}

#[test]
fn bitrates_keep_18_bits() {
    for bitrate in [1, 0x3_ffff, 0x4_0000, 3_000_000, 2_500_000_000_u64] {
        let remb: ReceiverEstimatedMaximumBitrate = oracle(|out| write_remb(out, 1, bitrate, &[2, 3]));

        assert_eq!((remb.sender_ssrc, remb.ssrcs), (1, vec![2, 3]));
        assert!((f64::from(remb.bitrate) - bitrate as f64).abs() <= bitrate as f64 / 131_072.0, "{bitrate}");
    }
    // The other implementation takes 0 for 2^23.
    let mut out = Vec::new();
    write_remb(&mut out, 1, 0, &[]);
    assert_eq!(events(&out), (vec![Event::Remb { bitrate: 0 }], true));
    out.clear();
    write_remb(&mut out, 1, u64::MAX, &[4; 300]);
    assert_eq!(events(&out), (vec![Event::Remb { bitrate: 0x3_ffff << 46 }], true));
}

#[test]
fn writers_append_to_a_compound_packet() {
    let mut out = vec![0; 5];

    write_receiver_report(&mut out, 1, &[]);
    write_cname(&mut out, 1, "me");
    write_nack(&mut out, 1, 2, &[7]);
    write_nack(&mut out, 1, 2, &[]);
    write_pli(&mut out, 1, 2);

    let expected = vec![Event::Nack { about: 2, packet_id: 7, bitmap: 0 }, Event::Pli { about: 2 }];
    assert_eq!(events(&out[5..]), (expected, true));
}

proptest! {
    #[test]
    fn a_nack_names_exactly_what_is_lost(start: u16, steps in prop::collection::vec(1..30_u16, 1..250)) {
        let mut seq = start;
        let lost: Vec<u16> = steps.iter().map(|step| { seq = seq.wrapping_add(*step); seq }).collect();

        let nack: TransportLayerNack = oracle(|out| write_nack(out, 1, 2, &lost));

        prop_assert_eq!((nack.sender_ssrc, nack.media_ssrc), (1, 2));
        let named: Vec<u16> = nack.nacks.iter().flat_map(NackPair::packet_list).collect();
        prop_assert_eq!(named, lost);
    }

    #[test]
    fn nothing_makes_the_reader_panic(
        kinds in prop::collection::vec((0..64_u8, 200..208_u8, prop::collection::vec(any::<u8>(), 0..60)), 0..8),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut datagram = Vec::new();
        for (count, kind, body) in &kinds {
            let words = body.len() / 4;
            datagram.extend_from_slice(&[0x80 | count, *kind, 0, words as u8]);
            datagram.extend_from_slice(&body[..4 * words]);
        }
        for datagram in [datagram, bytes] {
            let (events, _) = events(&datagram);
            prop_assert!(events.len() <= MAX_ITEMS);
        }
    }
}
