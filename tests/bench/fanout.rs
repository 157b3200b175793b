//! The track router in process: packets × viewers through a real socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tribune::media::egress::Egress;
use tribune::media::gop::Bounds;
use tribune::media::outbox::Run;
use tribune::media::stream::Stream;
use tribune::media::viewer::Viewer;
use tribune::media::{Route, StreamId};
use tribune::peer::ice::Path;
use tribune::peer::srtp::{Profile, RtpSealer, masters};
use tribune::wire::sdp::{ExtensionIds, Kind, Section, Source};

use crate::ground::{self, Mix, Sender, Sink, median};
use crate::network::HERE;

/// CPU nanoseconds per packet and viewer.
pub(crate) fn per_packet(mix: &Mix, viewers: usize) -> f64 {
    let sink = Sink::new(viewers, HERE);
    let mut stream = Stream::new(Route::new(StreamId(1)), Bounds::default());
    for v in 0..viewers {
        stream.add_viewer(viewer(v, Path { remote: sink.address(v), local: None }));
    }
    let (video, audio) = (ground::source(Kind::Video), ground::source(Kind::Audio));
    let mut sender = Sender::new();
    let mut run = Run::default();
    let (mut video_seq, mut audio_seq) = (65_536, 65_536);

    median(if viewers > 500 { 5 } else { 9 }, || {
        let mut packets = 0;
        for burst in mix.bursts {
            let now = Instant::now();
            for bytes in burst.audio {
                audio_seq += 1;
                stream.take(Arc::new(ground::packet(&audio, audio_seq, *bytes, false, now)), now);
            }
            for (at, bytes) in burst.video.iter().enumerate() {
                video_seq += 1;
                let marker = at + 1 == burst.video.len();
                stream.take(Arc::new(ground::packet(&video, video_seq, *bytes, marker, now)), now);
            }
            let due = now + Duration::from_millis(2);
            assert!(stream.close_burst(due).is_some());
            assert!(stream.start(due));
            while stream.is_sending() {
                let (_, sent) = stream.deliver(64, &mut run, &mut sender, now);
                packets += sent.packets as usize;
            }
        }
        packets
    })
}

/// A viewer as negotiation makes it.
pub(crate) fn viewer(number: usize, path: Path) -> Viewer {
    let material: Vec<u8> = (0..Profile::AesGcm.keying_material_len()).map(|b| (b ^ number) as u8).collect();
    let (ours, _) = masters(Profile::AesGcm, &material, false).unwrap();
    let sealer = RtpSealer::new(&ours).unwrap();
    let egress = |kind| {
        let mut section = section(kind, number as u32);
        Some(Egress::new(section.sources.pop()?, Arc::new(section), number as u16))
    };
    Viewer::new(number, path, sealer, egress(Kind::Audio), egress(Kind::Video))
}

fn section(kind: Kind, number: u32) -> Section {
    Section {
        index: kind as usize,
        mid: (kind as u8).to_string(),
        kind,
        formats: vec![ground::source(kind).format.clone()],
        extensions: ExtensionIds::default(),
        rids: Vec::new(),
        sources: vec![Source { ssrc: number * 2 + kind as u32 + 1, rtx: None }],
        reduced_size_rtcp: true,
    }
}
