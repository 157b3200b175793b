//! What came, in numbers.

use std::time::{Duration, Instant};

use rtc::rtp::Packet;
use serde_json::{Value, json};

use super::assembler::{Assembler, Turn};
use crate::wire::rtcp::Statistics;
use crate::wire::sdp::Codec;
use crate::wire::seq::Extender;

/// One kind of media over all connections.
#[derive(Debug, Default)]
pub(super) struct Medium {
    /// Of the newest packet.
    pub(super) codec: Option<Codec>,
    /// Width and height of the newest key frame, where the format says it in its first packet.
    size: Option<(u16, u16)>,
    /// How often the size changed: another layer, or another presenter.
    size_changes: u64,
    packets: u64,
    bytes: u64,
    /// Complete pictures, or packets of sound.
    pub(super) frames: u64,
    keyframes: u64,
    broken: u64,
    freezes: u64,
    frozen: Duration,
    first_packet: Option<Duration>,
    first_keyframe: Option<Duration>,
    /// The first frame that was whole and could be shown or heard.
    first_frame: Option<Duration>,
    newest_frame: Option<Instant>,
    source: Option<Source>,
    /// Of sources that are over.
    lost: u64,
    gaps: u64,
}

/// The source that sends now.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    assembler: Assembler,
    extender: Extender,
    statistics: Statistics,
}

impl Medium {
    /// A packet came; `asked` is when the offer was sent. Gives back what can be played, in order.
    pub(super) fn receive(&mut self, packet: Packet, codec: Codec, asked: Instant, now: Instant) -> Vec<Turn> {
        let since = now.saturating_duration_since(asked);
        self.first_packet.get_or_insert(since);
        self.codec = Some(codec);
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
        let source = self.source(packet.header.ssrc, codec);
        let number = source.extender.extend(packet.header.sequence_number);
        source.statistics.arrived(number, packet.header.timestamp, now);
        let turns = source.assembler.push(packet, codec, now);
        for turn in &turns {
            self.count(turn, codec, since, now);
        }
        turns
    }

    /// The picture cannot be shown: a key frame is wanted.
    pub(super) fn wants_keyframe(&self) -> bool {
        let broken = self.source.as_ref().is_some_and(|source| source.assembler.is_broken());
        self.codec.is_some_and(|codec| codec != Codec::Opus) && (broken || self.first_keyframe.is_none())
    }

    /// The name of the source that sends now.
    pub(super) fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// A connection ended: what was missing then is not asked for any more, and the wait for the next is a freeze only
    /// once it is over.
    pub(super) fn end_source(&mut self) {
        if let Some(source) = self.source.take() {
            self.lost += source.assembler.lost;
            self.gaps += source.assembler.gaps;
        }
    }

    fn source(&mut self, ssrc: u32, codec: Codec) -> &mut Source {
        if self.source.as_ref().is_some_and(|source| source.ssrc != ssrc) {
            self.end_source();
        }
        self.source.get_or_insert_with(|| Source {
            ssrc,
            assembler: Assembler::default(),
            extender: Extender::default(),
            statistics: Statistics::new(if codec == Codec::Opus { 48_000 } else { 90_000 }),
        })
    }

    fn count(&mut self, turn: &Turn, codec: Codec, since: Duration, now: Instant) {
        if turn.begins_key {
            self.first_keyframe.get_or_insert(since);
            let size = size(codec, &turn.packet.payload);
            if size.is_some() && size != self.size {
                self.size_changes += u64::from(self.size.is_some());
                self.size = size;
            }
        }
        let Some(picture) = turn.ends else { return };
        // Before the first key frame nothing can be shown.
        if !picture.complete || self.first_keyframe.is_none() {
            self.broken += 1;
            return;
        }
        self.frames += 1;
        self.first_frame.get_or_insert(since);
        self.keyframes += u64::from(picture.key);
        if let Some(before) = self.newest_frame.replace(now) {
            let gap = now.saturating_duration_since(before);
            if gap > FREEZE {
                self.freezes += 1;
                self.frozen += gap;
            }
        }
    }

    fn lost(&self) -> (u64, u64) {
        let current = self.source.as_ref().map_or((0, 0), |source| (source.assembler.lost, source.assembler.gaps));
        (self.lost + current.0, self.gaps + current.1)
    }

    fn jitter(&self, now: Instant) -> Option<Duration> {
        let source = self.source.as_ref()?;
        let rate = if self.codec == Some(Codec::Opus) { 48_000.0 } else { 90_000.0 };
        let jitter = source.statistics.clone().reception(source.ssrc, now).jitter;
        Some(Duration::from_secs_f64(f64::from(jitter) / rate))
    }

    /// What a line or the report says of it; `before` is the same some `time` ago.
    pub(super) fn summary(&self, before: Past, time: Duration, now: Instant) -> Summary {
        let seconds = time.as_secs_f64().max(1e-3);
        let (lost, gaps) = self.lost();
        Summary {
            codec: self.codec.map(|codec| format!("{codec:?}").to_uppercase()),
            size: self.size,
            size_changes: self.size_changes,
            fps: (self.frames - before.frames) as f64 / seconds,
            kilobits: (self.bytes - before.bytes) as f64 * 8e-3 / seconds,
            packets: self.packets,
            frames: self.frames,
            keyframes: self.keyframes,
            broken: self.broken,
            lost,
            gaps,
            freezes: self.freezes,
            frozen: self.frozen,
            jitter: self.jitter(now),
            first_packet: self.first_packet,
            first_keyframe: self.first_keyframe,
            first_frame: self.first_frame,
        }
    }

    /// To compare with later.
    pub(super) fn past(&self) -> Past {
        Past { frames: self.frames, bytes: self.bytes }
    }
}

/// What was counted at some time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    frames: u64,
    bytes: u64,
}

/// All that is said about one kind of media.
#[derive(Debug)]
pub(super) struct Summary {
    codec: Option<String>,
    size: Option<(u16, u16)>,
    size_changes: u64,
    fps: f64,
    kilobits: f64,
    packets: u64,
    frames: u64,
    keyframes: u64,
    broken: u64,
    lost: u64,
    gaps: u64,
    freezes: u64,
    frozen: Duration,
    jitter: Option<Duration>,
    first_packet: Option<Duration>,
    first_keyframe: Option<Duration>,
    first_frame: Option<Duration>,
}

impl Summary {
    /// For programs; times in milliseconds.
    pub(super) fn json(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        json!({
            "codec": self.codec,
            "width": self.size.map(|size| size.0),
            "height": self.size.map(|size| size.1),
            "size_changes": self.size_changes,
            "fps": self.fps,
            "kbit_per_second": self.kilobits,
            "packets": self.packets,
            "frames": self.frames,
            "keyframes": self.keyframes,
            "frames_broken": self.broken,
            "packets_lost": self.lost,
            "gaps": self.gaps,
            "freezes": self.freezes,
            "frozen_ms": ms(Some(self.frozen)),
            "jitter_ms": ms(self.jitter),
            "first_packet_ms": ms(self.first_packet),
            "first_keyframe_ms": ms(self.first_keyframe),
            "first_frame_ms": ms(self.first_frame),
        })
    }

    /// For people, in a line.
    pub(super) fn line(&self) -> String {
        let Some(codec) = &self.codec else {
            return "–".to_owned();
        };
        let size = self.size.map(|(width, height)| format!(" {width}×{height}")).unwrap_or_default();
        let jitter = self.jitter.unwrap_or_default().as_secs_f64() * 1e3;
        format!(
            "{codec}{size} {:.0} fps {:.0} kbit/s, {} lost, jitter {jitter:.1} ms",
            self.fps, self.kilobits, self.lost
        )
    }

    /// For people, at the end.
    pub(super) fn paragraph(&self, name: &str) -> String {
        if self.codec.is_none() {
            return format!("{name}: nothing came\n");
        }
        let ms = |time: Option<Duration>| {
            time.map_or_else(|| "–".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
        };
        format!(
            "{name}: {}\n  {} packets, {} frames ({} key), {} broken; {} packets lost in {} gaps\n  \
             first packet {}, first key frame {}, first whole frame {}; {} freezes, {} in all; {} changes of size\n",
            self.line(),
            self.packets,
            self.frames,
            self.keyframes,
            self.broken,
            self.lost,
            self.gaps,
            ms(self.first_packet),
            ms(self.first_keyframe),
            ms(self.first_frame),
            self.freezes,
            ms(Some(self.frozen)),
            self.size_changes,
        )
    }
}

/// Width and height, of VP8 only: others hide them behind bits that only a decoder reads.
pub(super) fn size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
    if codec != Codec::Vp8 {
        return None;
    }
    // The frame header's start code (RFC 6386 §9.1) follows a descriptor of 1 to 6 bytes and a tag of three.
    let at = payload.windows(3).take(MAX_VP8_PREFIX).position(|window| window == [0x9d, 0x01, 0x2a])?;
    let [w0, w1, h0, h1] = *payload.get(at + 3..)?.first_chunk()?;
    Some((u16::from_le_bytes([w0, w1]) & 0x3fff, u16::from_le_bytes([h0, h1]) & 0x3fff))
}

/// Longer without a picture is a freeze.
const FREEZE: Duration = Duration::from_millis(500);
const MAX_VP8_PREFIX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    const DELTA: &[u8] = &[0x10, 0x01, 0, 0];

    fn packet(number: u16, payload: &'static [u8]) -> Packet {
        let mut packet = Packet { payload: payload.into(), ..Default::default() };
        (packet.header.sequence_number, packet.header.marker, packet.header.ssrc) = (number, true, 7);
        packet
    }

    #[test]
    fn pictures_count_from_the_first_key_frame_on_and_silence_is_a_freeze() {
        let (mut medium, asked) = (Medium::default(), Instant::now());
        let mut at = |number, payload, ms| {
            medium.receive(packet(number, payload), Codec::Vp8, asked, asked + Duration::from_millis(ms));
        };
        at(1, DELTA, 10);
        at(2, KEY, 40);
        at(3, DELTA, 80);
        at(4, DELTA, 680);

        let json = medium.summary(Past::default(), Duration::from_secs(1), asked).json();

        assert_eq!((&json["frames"], &json["keyframes"], &json["frames_broken"]), (&json!(3), &json!(1), &json!(1)));
        assert_eq!((&json["width"], &json["height"]), (&json!(640), &json!(360)));
        assert_eq!((&json["freezes"], &json["frozen_ms"]), (&json!(1), &json!(600.0)));
        assert_eq!((&json["first_packet_ms"], &json["first_keyframe_ms"]), (&json!(10.0), &json!(40.0)));
        assert_eq!(json["first_frame_ms"], json!(40.0));
    }

    #[test]
    fn another_source_begins_anew_without_loss() {
        let (mut medium, now) = (Medium::default(), Instant::now());
        medium.receive(packet(1, KEY), Codec::Vp8, now, now);
        let mut other = packet(900, KEY);
        other.header.ssrc = 8;

        medium.receive(other, Codec::Vp8, now, now);

        assert_eq!((medium.lost(), medium.frames, medium.ssrc()), ((0, 0), 2, Some(8)));
    }
}
