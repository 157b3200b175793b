//! Messages are read back by the `rtc-rtcp` crate and compared with what was recorded.

use proptest::prelude::*;
use rtc_rtcp::packet;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc, TransportLayerCc};

use super::*;
use crate::wire::rtcp::{Event, read};

/// One message as a sender understands it: base, number and time in ticks (`None` = lost) of each packet, count.
struct Told {
    packets: Vec<(u16, Option<u64>)>,
    messages: u8,
}

fn written(arrivals: &mut Arrivals) -> Vec<u8> {
    let mut out = Vec::new();
    arrivals.write(&mut out, 9);
    out
}

/// Writes a message and lets the other implementation read it.
fn told(arrivals: &mut Arrivals) -> Told {
    let out = written(arrivals);
    assert!(out.len() <= 1200, "{} bytes", out.len());
    assert!(out.len().is_multiple_of(4));
    let packets = packet::unmarshal(&mut &out[..]).expect("it is well-formed");
    let [packet] = &packets[..] else {
        panic!("{} packets", packets.len());
    };
    let message = packet.as_any().downcast_ref::<TransportLayerCc>().expect("it is transport feedback");
    assert_eq!((message.sender_ssrc, message.media_ssrc), (1, 9));

    let symbols = message.packet_chunks.iter().flat_map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => {
            vec![run.packet_status_symbol; run.run_length.into()]
        }
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    });
    let mut deltas = message.recv_deltas.iter();
    let mut time = i64::from(message.reference_time) * 256;
    let packets = symbols.take(message.packet_status_count.into()).enumerate().map(|(n, symbol)| {
        let came = symbol != SymbolTypeTcc::PacketNotReceived;
        let came = came.then(|| {
            time += deltas.next().expect("each arrival has a delta").delta / 250;
            time as u64
        });
        (message.base_sequence_number.wrapping_add(n as u16), came)
    });
    let packets: Vec<_> = packets.collect();
    assert_eq!(packets.len(), usize::from(message.packet_status_count));
    assert_eq!(deltas.count(), 0);
    Told { packets, messages: message.fb_pkt_count }
}

#[test]
fn nothing_recorded_is_nothing_written() {
    let mut arrivals = Arrivals::new(1);

    assert!(!arrivals.pending());
    assert!(written(&mut arrivals).is_empty());
}

#[test]
fn arrivals_and_losses_are_told_once() {
    let mut arrivals = Arrivals::new(1);
    for (seq, millis) in [(65_534, 1000), (65_535, 1001), (2, 1100), (1, 1099)] {
        arrivals.record(seq, millis * 1000);
    }
    assert!(arrivals.pending());

    let first = told(&mut arrivals);
    assert!(!arrivals.pending());
    arrivals.record(4, 1_200_000);
    let second = told(&mut arrivals);

    let expected = [(65_534, Some(4000)), (65_535, Some(4004)), (0, None), (1, Some(4396)), (2, Some(4400))];
    assert_eq!(first.packets, expected);
    assert_eq!(second.packets, [(3, None), (4, Some(4800))]);
    assert_eq!((first.messages, second.messages), (0, 1));
}

#[test]
fn a_late_packet_is_told_with_what_came_around_it() {
    let mut arrivals = Arrivals::new(1);
    for seq in [10, 11, 13, 14] {
        arrivals.record(seq, 64_000 + u64::from(seq) * 1000);
    }
    assert_eq!(told(&mut arrivals).packets.len(), 5);

    arrivals.record(12, 90_000);

    assert!(arrivals.pending());
    assert_eq!(told(&mut arrivals).packets, [(12, Some(360)), (13, Some(308)), (14, Some(312))]);
}

#[test]
fn of_duplicates_the_first_counts() {
    let mut arrivals = Arrivals::new(1);
    arrivals.record(10, 64_000);
    arrivals.record(10, 99_000);
    assert_eq!(told(&mut arrivals).packets, [(10, Some(256))]);

    arrivals.record(10, 120_000);

    assert!(!arrivals.pending());
}

#[test]
fn a_wide_gap_starts_anew() {
    let mut narrow = Arrivals::new(1);
    let mut wide = Arrivals::new(1);
    for arrivals in [&mut narrow, &mut wide] {
        arrivals.record(0, 64_000);
    }
    narrow.record(513, 65_000);
    wide.record(514, 65_000);

    let narrow = told(&mut narrow).packets;
    assert_eq!((narrow.len(), narrow.last()), (514, Some(&(513, Some(260)))));
    assert_eq!(told(&mut wide).packets, [(514, Some(260))]);
}

#[test]
fn a_pause_too_long_for_a_delta_begins_a_message() {
    let mut arrivals = Arrivals::new(1);
    arrivals.record(0, 64_000);
    arrivals.record(1, 64_000 + 32_767 * 250);
    arrivals.record(2, 64_000 + 65_535 * 250);

    assert_eq!(told(&mut arrivals).packets, [(0, Some(256)), (1, Some(256 + 32_767))]);
    assert!(arrivals.pending());
    assert_eq!(told(&mut arrivals).packets, [(2, Some(256 + 65_535))]);
}

#[test]
fn a_long_row_is_told_in_several_messages() {
    let mut arrivals = Arrivals::new(1);
    for n in 0..2000_u64 {
        arrivals.record(n as u16, n * 100_000);
    }

    let mut seen = Vec::new();
    while arrivals.pending() {
        let told = told(&mut arrivals).packets;
        assert!((300..=1000).contains(&told.len()) || seen.len() + told.len() == 2000, "{}", told.len());
        seen.extend(told);
    }

    let expected: Vec<_> = (0..2000).map(|n| (n, Some(u64::from(n) * 400))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_is_never_told_is_bounded() {
    let mut arrivals = Arrivals::new(1);
    for n in 0..100_000_u64 {
        arrivals.record((n * 3) as u16, n * 1000);
    }

    let mut count = 0;
    while arrivals.pending() {
        count += told(&mut arrivals).packets.len();
    }

    assert_eq!(count, 2048);
}

#[test]
fn reference_time_wraps_after_24_bits() {
    let mut arrivals = Arrivals::new(1);
    arrivals.record(0, ((1 << 24) + 5) * 64_000);

    assert_eq!(told(&mut arrivals).packets, [(0, Some(5 * 256))]);
}

#[test]
fn our_own_reader_gives_the_body_without_padding() {
    let mut arrivals = Arrivals::new(1);
    arrivals.record(7, 64_000);
    let out = written(&mut arrivals);
    let mut bodies = Vec::new();

    assert!(read(&out, |event| match event {
        Event::TransportCc { body } => bodies.push(body),
        _ => panic!("{event:?}"),
    }));

    // Base 7, one packet, reference 1, message 0; a run of one small delta, and the delta.
    assert_eq!(bodies, [&[0, 7, 0, 1, 0, 0, 1, 0, 0x20, 1, 0][..]]);
}

proptest! {
    #[test]
    fn a_sender_learns_exactly_what_was_recorded(
        start: u16,
        steps in prop::collection::vec((1..4_u16, prop_oneof![0..20_u64, 0..2000_u64, 0..40_000_u64]), 1..600),
    ) {
        let mut arrivals = Arrivals::new(1);
        let mut expected = Vec::new();
        let (mut seq, mut tick) = (start, 1000);
        arrivals.record(seq, tick * 250);
        expected.push((seq, Some(tick)));
        for (step, pause) in steps {
            for _ in 1..step {
                seq = seq.wrapping_add(1);
                expected.push((seq, None));
            }
            seq = seq.wrapping_add(1);
            tick += pause;
            arrivals.record(seq, tick * 250 + 249);
            expected.push((seq, Some(tick)));
        }

        let mut seen = Vec::new();
        while arrivals.pending() {
            seen.extend(told(&mut arrivals).packets);
        }

        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_record_leaves_something_that_can_be_written(
        records in prop::collection::vec((any::<u16>(), any::<u64>()), 1..200),
    ) {
        let mut arrivals = Arrivals::new(1);
        for (seq, at) in records {
            arrivals.record(seq, at);
        }
        for _ in 0..10_000 {
            if arrivals.pending() {
                let _ = written(&mut arrivals);
            }
        }
        prop_assert!(!arrivals.pending());
    }
}
