//! Sending a packet to a viewer allocates nothing: as it comes, from the cache, or of another layer than before.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tribune::media::egress::Egress;
use tribune::media::gop::Bounds;
use tribune::media::outbox::{Outbox, Run};
use tribune::media::packet::{Packet, Padding, Source};
use tribune::media::stream::Stream;
use tribune::media::viewer::{Caught, Viewer};
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
    let mut stream = Stream::new(Route::new(StreamId(1)), Bounds::default());
    add_viewers(&mut stream);
    stream
}

fn add_viewers(stream: &mut Stream) {
    let material = vec![7; Profile::AesGcm.keying_material_len()];
    let (ours, _) = masters(Profile::AesGcm, &material, false).expect("right length");
    for session in 0..VIEWERS {
        let path = Path { remote: SocketAddr::from(([127, 0, 0, 1], session as u16 + 1)), local: None };
        let sealer = RtpSealer::new(&ours).expect("keys");
        stream.add_viewer(Viewer::new(session, path, sealer, Some(egress(Kind::Audio)), Some(egress(Kind::Video))));
    }
}

fn source(kind: Kind, id: u64, layer: u8) -> Arc<Source> {
    Arc::new(Source { id, presentation: 1, kind, layer, rid: None, format: format(kind) })
}

/// A packet of a burst; every fiftieth burst begins with a key frame.
fn packet(source: &Arc<Source>, seq: u64, burst: u64, marker: bool, len: usize, start: Instant) -> Arc<Packet> {
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
}

/// Bursts of nine video packets, the last one shorter, and a packet of sound.
fn bursts(count: u64, from: u64, start: Instant) -> Vec<Vec<Arc<Packet>>> {
    let (audio, video) = (source(Kind::Audio, 1, 0), source(Kind::Video, 2, 0));
    let burst = |n: u64| {
        let mut packets = vec![packet(&audio, n, n, false, 120, start)];
        packets.extend((0..9).map(|p| packet(&video, n * 9 + p, n, p == 8, if p == 8 { 700 } else { 1100 }, start)));
        packets
    };
    (from..from + count).map(burst).collect()
}

/// Bursts of three packets of each of two layers.
fn layered(count: u64, from: u64, start: Instant) -> Vec<Vec<Arc<Packet>>> {
    let layers = [source(Kind::Video, 1, 0), source(Kind::Video, 2, 1)];
    let burst = |n: u64| {
        let of = |layer| (0..3).map(move |p| packet(layer, n * 3 + p, n, p == 2, 1000, start));
        layers.iter().flat_map(of).collect()
    };
    (from..from + count).map(burst).collect()
}

/// Sends bursts to all viewers.
fn deliver(stream: &mut Stream, bursts: &[Vec<Arc<Packet>>], run: &mut Run, out: &mut Counted, now: Instant) {
    for packets in bursts {
        for packet in packets {
            assert!(stream.take(packet.clone(), now));
        }
        assert!(stream.close_burst(now).is_some());
        assert!(stream.start(now));
        while stream.is_sending() {
            stream.deliver(64, run, out, now);
        }
    }
}

#[test]
fn delivery_allocates_nothing() {
    let (mut stream, mut run, mut out) = (stream(), Run::default(), Counted::default());
    let start = Instant::now();
    // What is kept since a key frame finds its room once, by the end of a group of pictures.
    deliver(&mut stream, &bursts(60, 0, start), &mut run, &mut out, start);
    let steady = bursts(200, 60, start);
    out = Counted::default();

    let counted = allocation_counter::measure(|| deliver(&mut stream, &steady, &mut run, &mut out, start));

    assert_eq!(out.datagrams, 200 * 10 * VIEWERS);
    assert_eq!(counted.count_total, 0);
    let proof = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(proof.count_total, 1, "allocations are counted");
}

#[test]
fn catching_up_allocates_nothing() {
    let (mut run, mut out) = (Run::default(), Counted::default());
    let mut stream = Stream::new(Route::new(StreamId(1)), Bounds::default());
    let start = Instant::now();
    deliver(&mut stream, &bursts(50, 0, start), &mut run, &mut out, start);
    add_viewers(&mut stream);
    let mut now = start + Duration::from_millis(33 * 50);
    let mut serve = |stream: &mut Stream, viewers: Range<usize>, now: &mut Instant, out: &mut Counted| {
        for viewer in viewers {
            let mut served = Caught::Some;
            while served != Caught::Up {
                *now += Duration::from_millis(10);
                served = stream.serve(viewer, 64, &mut run, out, *now).1;
                assert_ne!(served, Caught::Nothing, "it is not cut");
            }
        }
    };
    // Where a viewer is on its way has its room from the beginning; what is sent together finds its room once.
    assert!(stream.catch_up(0, now));
    serve(&mut stream, 0..1, &mut now, &mut out);
    assert!((1..5).all(|viewer| stream.catch_up(viewer, now)));
    out = Counted::default();

    let counted = allocation_counter::measure(|| serve(&mut stream, 1..5, &mut now, &mut out));

    assert_eq!(out.datagrams, 4 * 50 * 9);
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_switch_of_layers_allocates_nothing() {
    let (mut stream, mut run, mut out) = (stream(), Run::default(), Counted::default());
    let start = Instant::now();
    let mut switch = |stream: &mut Stream, groups: &[Vec<Vec<Arc<Packet>>>], out: &mut Counted| {
        for (at, bursts) in groups.iter().enumerate() {
            for video in stream.viewers.iter_mut().filter_map(|viewer| viewer.video.as_mut()) {
                video.wanted = (at % 2) as u8;
            }
            deliver(stream, bursts, &mut run, out, start);
        }
    };
    let groups: Vec<_> = (0..8).map(|group| layered(50, 50 * group, start)).collect();
    // What may still be asked for of earlier layers finds its room with the first switch.
    switch(&mut stream, &groups[..4], &mut out);
    out = Counted::default();

    let counted = allocation_counter::measure(|| switch(&mut stream, &groups[4..], &mut out));

    // Twice the picture of the layer that was left came before the key frame of the other one.
    assert_eq!(out.datagrams, (4 * 50 + 2) * 3 * VIEWERS, "one layer each");
    assert_eq!(counted.count_total, 0);
}
