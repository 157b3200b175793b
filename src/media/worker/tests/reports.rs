//! What is reported to viewers and presenters.

use rtc_rtcp::packet;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc, TransportLayerCc};

use super::super::*;
use super::rig::{CHROMIUM_PLAY, CHROMIUM_PUBLISH, OBS, Rig, ms};
use crate::media::clock::fixed_point;
use crate::wire::rtcp::{self, Event};
use crate::wire::sdp::Kind;

/// The last sender report about a source: NTP, RTP, packets, octets.
fn sender_report(rig: &Rig, viewer: usize, source: u32) -> Option<(u64, u32, u32, u32)> {
    let mut last = None;
    for (_, report) in &rig.clients[viewer].reports {
        rtcp::read(report, |event| {
            if let Event::SenderReport { ssrc, ntp, rtp, packets, octets } = event
                && ssrc == source
            {
                last = Some((ntp, rtp, packets, octets));
            }
        });
    }
    last
}

/// Milliseconds on the sender's clock at which a timestamp was taken, by its last report.
fn taken_at(rig: &Rig, viewer: usize, source: u32, timestamp: u32, rate: f64) -> f64 {
    let (ntp, rtp, ..) = sender_report(rig, viewer, source).expect("a report");
    let ticks = f64::from(timestamp.wrapping_sub(rtp).cast_signed());
    // Seconds since 1900 leave a double 1 µs of precision only: count from the test's start.
    let since_start = ntp.wrapping_sub(rig.shared.clock.ntp(rig.start)).cast_signed() as f64 / 2_f64.powi(32);
    (since_start + ticks / rate) * 1000.0
}

/// The presenter's own reports: its clock is 1 h off, and it sends pictures 80 ms after it took them.
fn report(rig: &mut Rig, presenter: usize) {
    let now = rig.now;
    let ntp = fixed_point(now.duration_since(rig.start) + Duration::from_hours(1));
    for track in rig.clients[presenter].tracks.clone() {
        let rtp = track.timestamp(now);
        rig.rtcp(presenter, |out| rtcp::write_sender_report(out, track.ssrc, ntp, rtp, 1, 1));
    }
}

#[test]
fn sound_and_picture_stay_together() {
    let mut rig = Rig::new(2);
    let presenter = rig.present(1, OBS);
    let viewers = [rig.watch(1, CHROMIUM_PLAY), rig.watch_at(1, 1, CHROMIUM_PLAY)];
    let video = rig.clients[presenter].track(Kind::Video);

    for n in 0..200 {
        // Pictures are encoded for 80 ms before they leave; sound leaves at once.
        let made = rig.clients[presenter].frame(video, n == 0, 3, rig.now);
        rig.frame(presenter, Kind::Audio, true, 1);
        rig.run(ms(20));
        if n % 25 == 0 {
            report(&mut rig, presenter);
        }
        rig.run(ms(60));
        rig.launch_from(presenter, made.into_iter().map(|s| s.datagram).collect());
        rig.settle();
    }

    for viewer in viewers {
        for (kind, source, rate) in
            [(Kind::Video, rig.clients[viewer].video(), 90_000.0), (Kind::Audio, rig.clients[viewer].audio(), 48_000.0)]
        {
            let seen = rig.clients[viewer].of(source.ssrc);
            let last = &seen[seen.len() - 1];
            let made = rig.clients[presenter].sent.iter().find(|s| s.tag == last.tag).expect("it was sent");
            let real = made.at.duration_since(rig.start).as_secs_f64() * 1000.0;
            let told = taken_at(&rig, viewer, source.ssrc, last.timestamp, rate);
            assert!((real - told).abs() < 1.0, "{kind:?}: taken at {real} ms, told {told} ms");
        }
    }
    rig.finish();
}

#[test]
fn without_the_presenters_reports_arrivals_tell_the_time_even_when_some_are_repairs() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    let video = rig.clients[presenter].track(Kind::Video);
    rig.live(&[presenter], ms(3000));
    let late = rig.clients[presenter].frame(video, false, 1, rig.now).remove(0);
    rig.live(&[presenter], ms(440));
    // It comes just before the report.
    rig.send(presenter, late.datagram);
    rig.run(ms(600));

    for (source, rate) in [(rig.clients[viewer].video(), 90_000.0), (rig.clients[viewer].audio(), 48_000.0)] {
        let seen = rig.clients[viewer].of(source.ssrc);
        let last = &seen[seen.len() - 2];
        let made = rig.clients[presenter].sent.iter().find(|s| s.tag == last.tag).expect("it was sent");
        let real = made.at.duration_since(rig.start).as_secs_f64() * 1000.0;
        let told = taken_at(&rig, viewer, source.ssrc, last.timestamp, rate);
        assert!((real - told).abs() < 5.0, "taken at {real} ms, told {told} ms");
    }
    rig.finish();
}

#[test]
fn sender_reports_count_what_was_sent_and_name_one_sender() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let viewer = rig.watch(1, CHROMIUM_PLAY);
    rig.live(&[presenter], ms(400));
    rig.run(ms(3000));

    for source in [rig.clients[viewer].video(), rig.clients[viewer].audio()] {
        let seen = rig.clients[viewer].of(source.ssrc);
        let octets: usize = seen.iter().map(|s| s.payload.len()).sum();
        let (.., packets, told) = sender_report(&rig, viewer, source.ssrc).expect("a report");
        assert_eq!((packets as usize, told as usize), (seen.len(), octets));
    }
    let (_, last) = rig.clients[viewer].reports.last().expect("a report");
    let names = last.windows(9).filter(|w| *w == b"\x01\x07tribune").count();
    assert_eq!(names, 2, "the same name for both sources");
    rig.finish();
}

#[test]
fn presenters_hear_of_their_losses_and_jitter() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, OBS);
    let audio = rig.clients[presenter].track(Kind::Audio);
    let ssrc = rig.clients[presenter].tracks[audio].ssrc;
    report_once(&mut rig, presenter, ssrc);

    for n in 0..100_u64 {
        let packet = rig.clients[presenter].frame(audio, true, 1, rig.now).remove(0);
        // Every other one is 5 ms late, every tenth is lost.
        let late = ms(n % 2 * 5);
        rig.run(late);
        if n % 10 != 5 {
            rig.send(presenter, packet.datagram);
        }
        rig.run(ms(20).saturating_sub(late));
    }
    rig.run(ms(1000));

    let mut last = None;
    for (_, report) in &rig.clients[presenter].reports {
        rtcp::read(report, |event| {
            if let Event::Report { about, lost, jitter, highest, .. } = event
                && about == ssrc
            {
                last = Some((lost, jitter, highest));
            }
        });
    }
    let (lost, jitter, highest) = last.expect("a report");
    assert_eq!(lost, 10);
    assert!((150..=240).contains(&jitter), "{jitter} of 240 ticks");
    assert_eq!(u64::from(highest), rig.clients[presenter].tracks[audio].index - 1);
    rig.finish();
}

fn report_once(rig: &mut Rig, presenter: usize, ssrc: u32) {
    rig.frame(presenter, Kind::Video, true, 1);
    rig.rtcp(presenter, |out| rtcp::write_sender_report(out, ssrc, 1 << 40, 7, 1, 1));
}

#[test]
fn transport_feedback_tells_exactly_what_arrived() {
    let mut rig = Rig::new(1);
    let presenter = rig.present(1, CHROMIUM_PUBLISH);
    let video = rig.clients[presenter].track(Kind::Video);
    let mut arrived = Vec::new();
    for n in 0..300 {
        let number = rig.clients[presenter].transport_cc;
        let packet = match n % 7 {
            3 => rig.clients[presenter].padding(video, rig.now),
            _ => rig.clients[presenter].frame(video, n == 0, 1, rig.now).remove(0),
        };
        if n == 0 || n % 11 != 5 {
            arrived.push((number, rig.now));
            rig.send(presenter, packet.datagram);
        }
        rig.run(ms(3));
    }
    rig.run(ms(200));

    let mut told = std::collections::BTreeMap::new();
    for (_, report) in &rig.clients[presenter].reports {
        for packet in packet::unmarshal(&mut &report[..]).expect("another implementation reads it") {
            let Some(message) = packet.as_any().downcast_ref::<TransportLayerCc>() else { continue };
            let symbols = message.packet_chunks.iter().flat_map(|chunk| match chunk {
                PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; run.run_length.into()],
                PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
            });
            let mut deltas = message.recv_deltas.iter();
            let mut micros = i64::from(message.reference_time) * 64_000;
            for (n, symbol) in symbols.take(message.packet_status_count.into()).enumerate() {
                if symbol != SymbolTypeTcc::PacketNotReceived {
                    micros += deltas.next().expect("each arrival has a delta").delta;
                    told.insert(message.base_sequence_number.wrapping_add(n as u16), micros);
                }
            }
        }
    }
    assert_eq!(told.len(), arrived.len());
    let (first, began) = arrived[0];
    for (number, at) in &arrived {
        let real = at.duration_since(began).as_micros() as i64;
        let after = told.get(number).expect("it arrived") - told[&first];
        assert!((real - after).abs() <= 250, "{number}: {real} µs, told {after} µs");
    }
    rig.finish();
}

#[test]
fn only_presenters_without_transport_feedback_get_an_estimate() {
    for (offer, wants) in [(OBS, true), (CHROMIUM_PUBLISH, false)] {
        let mut rig = Rig::new(1);
        let presenter = rig.present(1, offer);
        rig.live(&[presenter], ms(3000));

        let mut estimates = Vec::new();
        for (_, report) in &rig.clients[presenter].reports {
            rtcp::read(report, |event| {
                if let Event::Remb { bitrate } = event {
                    estimates.push(bitrate);
                }
            });
        }
        assert_eq!(!estimates.is_empty(), wants);
        assert!(estimates.iter().all(|bitrate| *bitrate >= 1_490_000), "{estimates:?}");
        rig.finish();
    }
}
