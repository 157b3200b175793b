//! The synthetic stream: valid RTP with payload headers as an encoder writes them; the picture itself is filler.

use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::format::Codec;
use str0m::media::{Mid, Pt, Rid, Rids};
use str0m::rtp::RtpWrite;

/// Writes Opus every 20 ms and a frame of VP8 or H264 every 40 ms into each track that sends.
#[derive(Default)]
pub(super) struct Synthetic {
    first_sequence: u64,
    /// Layers that are sent no more.
    dropped: Vec<&'static str>,
    started: Option<Instant>,
    ticks: u32,
    frames: u32,
    keyframe_wanted: bool,
    mids: Vec<Mid>,
    tracks: Vec<Outgoing>,
}

/// A track that we send.
struct Outgoing {
    mid: Mid,
    rid: Option<Rid>,
    pt: Pt,
    codec: Codec,
    sequence: u64,
}

impl Synthetic {
    /// A stream whose numbering starts there.
    pub(super) fn starting_at(first_sequence: u64) -> Self {
        Self { first_sequence, ..Self::default() }
    }

    /// Sends a layer no more.
    pub(super) fn drop_layer(&mut self, rid: &'static str) {
        self.dropped.push(rid);
    }

    /// A section that may turn out to send; must be known before the clock starts.
    pub(super) fn add(&mut self, mid: Mid) {
        self.mids.push(mid);
    }

    /// Starts the clock.
    pub(super) fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// The next frame is a key frame.
    pub(super) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// When the next packets are due.
    pub(super) fn due(&self) -> Instant {
        self.started.map_or_else(Instant::now, |start| start + TICK * self.ticks)
    }

    /// Writes what is due into `rtc`; gives the number of packets.
    pub(super) fn send(&mut self, rtc: &mut Rtc, now: Instant) -> u64 {
        self.find_tracks(rtc);
        let tick = self.ticks;
        self.ticks = self.ticks.wrapping_add(1);
        let is_frame = tick.is_multiple_of(2);
        let keyframe = is_frame && (self.keyframe_wanted || self.frames.is_multiple_of(KEYFRAME_INTERVAL));
        let mut sent = 0;
        let dropped = |rid: Rid| self.dropped.iter().any(|name| Rid::from(*name) == rid);
        for track in self.tracks.iter_mut().filter(|track| !track.rid.is_some_and(dropped)) {
            let (payloads, time) = match track.codec {
                Codec::Opus => (vec![opus()], tick.wrapping_mul(960)),
                _ if !is_frame => continue,
                Codec::H264 => (h264(keyframe), tick.wrapping_mul(1800)),
                _ => (vp8(keyframe, self.frames as u16), tick.wrapping_mul(1800)),
            };
            let payloads = marked(payloads, track.rid);
            let count = payloads.len();
            let Some(stream) = rtc.direct_api().stream_tx_by_mid(track.mid, track.rid).map(|s| s.ssrc()) else {
                continue;
            };
            for (at, payload) in payloads.into_iter().enumerate() {
                let marker = track.codec != Codec::Opus && at + 1 == count;
                let packet = RtpWrite::new(track.pt, track.sequence.into(), time, now, payload)
                    .marker(marker)
                    .nackable(track.codec != Codec::Opus);
                track.sequence += 1;
                if let Some(stream) = rtc.direct_api().stream_tx(&stream) {
                    stream.write_rtp(packet);
                    sent += 1;
                }
            }
        }
        if is_frame {
            self.frames = self.frames.wrapping_add(1);
            self.keyframe_wanted = false;
        }
        sent
    }

    /// Looks once which sections send, and with which of the negotiated codecs.
    fn find_tracks(&mut self, rtc: &Rtc) {
        if self.ticks > 0 {
            return;
        }
        for mid in self.mids.iter().copied() {
            let Some(media) = rtc.media(mid).filter(|m| m.direction().is_sending()) else {
                continue;
            };
            let params = rtc.codec_config().params();
            let usable = media.remote_pts().iter().find_map(|pt| {
                let codec = params.iter().find(|p| p.pt() == *pt)?.spec().codec;
                matches!(codec, Codec::Opus | Codec::Vp8 | Codec::H264).then_some((*pt, codec))
            });
            if let Some((pt, codec)) = usable {
                let rids = match media.rids_tx() {
                    Rids::Specific(rids) if !rids.is_empty() => rids.iter().copied().map(Some).collect(),
                    _ => vec![None],
                };
                let sequence = self.first_sequence;
                self.tracks.extend(rids.into_iter().map(|rid| Outgoing { mid, rid, pt, codec, sequence }));
            }
        }
    }
}

/// 20 ms of Opus: the TOC byte for 20 ms CELT stereo, then filler.
fn opus() -> Vec<u8> {
    let mut payload = vec![0xA5; 120];
    if let Some(toc) = payload.first_mut() {
        *toc = 0xFC;
    }
    payload
}

/// A VP8 frame: a payload descriptor with a 15-bit picture id (RFC 7741 §4.2), then a payload header (§4.3).
fn vp8(keyframe: bool, picture: u16) -> Vec<Vec<u8>> {
    let [high, low] = (picture & 0x7FFF).to_be_bytes();
    let packets = if keyframe { 4 } else { 1 };
    (0..packets)
        .map(|at| {
            let start = if at == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0x80, high | 0x80, low];
            if at == 0 && keyframe {
                // Frame tag with P = 0 and show_frame, the start code, then 320×180.
                payload.extend([0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x40, 0x01, 0xB4, 0x00]);
            } else if at == 0 {
                payload.extend([0x11, 0x02, 0x00]);
            }
            payload.resize(900, 0x5A);
            payload
        })
        .collect()
}

/// An H264 access unit as single NAL units (RFC 6184 §5.6), so that packetization-mode 0 and 1 both allow it.
fn h264(keyframe: bool) -> Vec<Vec<u8>> {
    if !keyframe {
        return vec![slice(0x41)];
    }
    // Parameter sets of a 320×180 constrained baseline stream.
    let sps = vec![0x67, 0x42, 0xC0, 0x1F, 0x8C, 0x8D, 0x40, 0xA0, 0xBD, 0xA1, 0x00, 0x00, 0x0F, 0x08, 0x84, 0x6A];
    let pps = vec![0x68, 0xCE, 0x3C, 0x80];
    vec![sps, pps, slice(0x65)]
}

/// One slice NAL unit with that header octet.
fn slice(header: u8) -> Vec<u8> {
    let mut payload = vec![header, 0x88, 0x84];
    payload.resize(900, 0x5A);
    payload
}

/// Writes into the last octet of large packets which layer they are of, so that a viewer can tell.
fn marked(mut payloads: Vec<Vec<u8>>, rid: Option<Rid>) -> Vec<Vec<u8>> {
    let name = rid.and_then(|rid| RIDS.into_iter().find(|name| Rid::from(*name) == rid));
    if let Some(mark) = name.map(mark) {
        for payload in payloads.iter_mut().filter(|payload| payload.len() >= 400) {
            payload.pop();
            payload.push(mark);
        }
    }
    payloads
}

/// The mark of the layer with that rid.
pub(crate) fn mark(rid: &str) -> u8 {
    rid.bytes().next().unwrap_or_default()
}

/// True when a payload is the start of a key frame.
pub(super) fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => {
            let extended = payload.first().is_some_and(|b| b & 0x80 != 0);
            let start = payload.first().is_some_and(|b| b & 0x10 != 0);
            // Our descriptors are four octets long; a server may drop or renumber the picture id but not add to it.
            let long_id = extended && payload.get(2).is_some_and(|b| b & 0x80 != 0);
            let header = if long_id { 4 } else { usize::from(extended) + 1 };
            start && payload.get(header).is_some_and(|b| b & 1 == 0)
        }
        Codec::H264 => payload.first().is_some_and(|b| matches!(b & 0x1F, 5 | 7 | 24)),
        _ => false,
    }
}

/// Opus packets are this far apart; video frames twice that.
const TICK: Duration = Duration::from_millis(20);
/// Frames between key frames that nobody asked for: two seconds.
const KEYFRAME_INTERVAL: u32 = 50;
/// The layers of a simulcast stream.
pub(crate) const RIDS: [&str; 3] = ["h", "m", "l"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_recognised_where_they_start() {
        assert!(starts_keyframe(Codec::Vp8, &vp8(true, 300)[0]));
        assert!(!starts_keyframe(Codec::Vp8, &vp8(true, 300)[1]));
        assert!(!starts_keyframe(Codec::Vp8, &vp8(false, 301)[0]));
        assert!(starts_keyframe(Codec::H264, &h264(true)[0]));
        assert!(!starts_keyframe(Codec::H264, &h264(false)[0]));
        assert!(!starts_keyframe(Codec::Vp8, &[]));
    }
}
