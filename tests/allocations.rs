//! Sending a packet to a viewer allocates nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tribune::media::egress::Egress;
use tribune::media::gop::Bounds;
use tribune::media::outbox::{Outbox, Run};
use tribune::media::packet::{Packet, Padding, Source};
use tribune::media::stream::Stream;
use tribune::media::viewer::Viewer;
use tribune::media::{Route, StreamId};
use tribune::peer::ice::Path;
use tribune::peer::srtp::{Profile, RtpSealer, masters};
use tribune::wire::sdp::{self, Codec, ExtensionIds, Feedback, Format, Kind, Section};

const VIEWERS: usize = 100;

/// Counts what is sent, and keeps nothing.
#[derive(Default)]
struct Counted {
    datagrams: usize,
    sends: usize,
}

impl Outbox for Counted {
    fn send(&mut self, _: Path, datagrams: &[u8], segment: usize) {
        self.datagrams += datagrams.len().div_ceil(segment);
        self.sends += 1;
    }

    fn is_full(&self) -> bool {
        false
    }

    fn max_segments(&self) -> usize {
        64
    }
}

fn format(kind: Kind) -> Format {
    let (payload_type, codec, clock_rate) = match kind {
        Kind::Audio => (111, Codec::Opus, 48_000),
        Kind::Video => (96, Codec::H264, 90_000),
    };
    let channels = if kind == Kind::Audio { 2 } else { 0 };
    let feedback = Feedback::default();
    Format { payload_type, codec, clock_rate, channels, fmtp: String::new(), rtx: None, feedback }
}

fn egress(kind: Kind) -> Egress {
    let section = Section {
        index: 0,
        mid: "0".into(),
        kind,
        formats: vec![format(kind)],
        extensions: ExtensionIds { orientation: Some(4), ..ExtensionIds::default() },
        rids: Vec::new(),
        sources: Vec::new(),
        reduced_size_rtcp: false,
    };
    Egress::new(sdp::Source { ssrc: 1 + kind as u32, rtx: None }, Arc::new(section), 1)
}

fn stream() -> Stream {
    let material = vec![7; Profile::AesGcm.keying_material_len()];
    let (ours, _) = masters(Profile::AesGcm, &material, false).expect("right length");
    let mut stream = Stream::new(Route::new(StreamId(1)), Bounds::default());
    for session in 0..VIEWERS {
        let path = Path { remote: SocketAddr::from(([127, 0, 0, 1], session as u16 + 1)), local: None };
        let sealer = RtpSealer::new(&ours).expect("keys");
        stream.add_viewer(Viewer::new(session, path, sealer, Some(egress(Kind::Audio)), Some(egress(Kind::Video))));
    }
    stream
}

/// Bursts of nine video packets, the last one shorter, and a packet of sound.
fn bursts(count: u64, from: u64, start: Instant) -> Vec<Vec<Arc<Packet>>> {
    let source = |kind, id| Arc::new(Source { id, presentation: 1, kind, layer: 0, rid: None, format: format(kind) });
    let (audio, video) = (source(Kind::Audio, 1), source(Kind::Video, 2));
    let packet = |source: &Arc<Source>, seq: u64, burst: u64, marker: bool, len: usize| {
        Arc::new(Packet {
            source: source.clone(),
            seq,
            timestamp: burst as u32 * 3000,
            marker,
            keyframe: burst.is_multiple_of(50),
            received_at: start + Duration::from_millis(33 * burst),
            captured: None,
            descriptor: None,
            orientation: Some(1),
            padding: Padding::default(),
            payload: Bytes::from(vec![1; len]),
        })
    };
    let burst = |n: u64| {
        let mut packets = vec![packet(&audio, n, n, false, 120)];
        packets.extend((0..9).map(|p| packet(&video, n * 9 + p, n, p == 8, if p == 8 { 700 } else { 1100 })));
        packets
    };
    (from..from + count).map(burst).collect()
}

#[test]
fn delivery_allocates_nothing() {
    let (mut stream, mut run, mut out) = (stream(), Run::default(), Counted::default());
    let start = Instant::now();
    let mut deliver = |bursts: Vec<Vec<Arc<Packet>>>, out: &mut Counted| {
        for packets in &bursts {
            for packet in packets {
                assert!(stream.take(packet.clone(), start));
            }
            assert!(stream.close_burst(start).is_some());
            assert!(stream.start(start));
            while stream.is_sending() {
                stream.deliver(64, &mut run, out, start);
            }
        }
        bursts
    };
    // What is kept since a key frame finds its room once, by the end of a group of pictures.
    deliver(bursts(60, 0, start), &mut out);
    let steady = bursts(200, 60, start);
    out = Counted::default();

    let mut kept = None;
    let counted = allocation_counter::measure(|| kept = Some(deliver(steady, &mut out)));

    assert_eq!(out.datagrams, 200 * 10 * VIEWERS);
    assert_eq!(counted.count_total, 0);
    let proof = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(proof.count_total, 1, "allocations are counted");
}
