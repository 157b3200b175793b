//! A clip as RTP: on time, in packets, from a key frame when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS, MIME_TYPE_VP8, MIME_TYPE_VP9,
};
use rtc::rtp::Packet;
use rtc::rtp::codec::av1::Av1Payloader;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::codec::h265::HevcPayloader;
use rtc::rtp::codec::opus::OpusPayloader;
use rtc::rtp::codec::vp8::Vp8Payloader;
use rtc::rtp::codec::vp9::Vp9Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::MediaEngine;

use super::Program;
use super::clip::Clip;
use crate::call::{Call, CallError, random, wanted};
use crate::wire::sdp::Codec;

/// What a sender has done so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Payload bytes.
    pub(super) bytes: AtomicU64,
    /// RTP packets.
    pub(super) packets: AtomicU64,
    /// Pictures.
    pub(super) pictures: AtomicU64,
    /// Requests for a key frame.
    pub(super) wishes: AtomicU64,
}

/// Sends the layers of one track.
pub(super) struct Sender {
    track: Arc<TrackLocalStaticRTP>,
    layers: Vec<Layer>,
    /// What it has done so far.
    pub(super) meter: Arc<Meter>,
    payload_type: u8,
}

/// One clip, with the state of its source.
struct Layer {
    clip: Arc<Clip>,
    ssrc: u32,
    /// Empty when it is the only one.
    rid: String,
    payloader: Box<dyn Payloader>,
    /// Ids and values of the header extensions of every packet.
    extensions: Vec<(u8, Bytes)>,
    sequence: u16,
    timestamp: u32,
    /// Index of the next frame.
    next: usize,
    /// When that is due, after the beginning.
    due: Duration,
    /// When a request for a key frame was last answered.
    answered: Option<Instant>,
}

/// The codecs and senders of a program.
/// # Errors
/// When the library refuses a codec.
pub(super) fn prepare(program: &Program) -> Result<(MediaEngine, Vec<Sender>), CallError> {
    let mut engine = MediaEngine::default();
    let mut senders = Vec::new();
    for clips in [&program.video, &program.audio.iter().cloned().collect::<Vec<_>>()] {
        let Some(first) = clips.first() else { continue };
        let (parameters, kind) = parameters(first.codec);
        engine.register_codec(parameters.clone(), kind)?;
        let rids = if clips.len() > 1 { &RIDS[..] } else { &[""] };
        let layers: Vec<_> = clips.iter().zip(rids).map(|(clip, rid)| Layer::new(clip, rid)).collect();
        let name = if kind == RtpCodecKind::Audio { "audio" } else { "video" };
        let codings = layers.iter().map(|layer| RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                rid: layer.rid.clone(),
                ssrc: Some(layer.ssrc),
                ..Default::default()
            },
            active: true,
            codec: parameters.rtp_codec.clone(),
            ..Default::default()
        });
        let track = MediaStreamTrack::new("tribune".into(), name.into(), name.into(), kind, codings.collect());
        senders.push(Sender {
            track: Arc::new(TrackLocalStaticRTP::new(track)),
            layers,
            meter: Arc::default(),
            payload_type: parameters.payload_type,
        });
    }
    Ok((engine, senders))
}

/// Of all senders, for the offer.
pub(super) fn tracks(senders: &[Sender]) -> Vec<Arc<dyn TrackLocal>> {
    senders.iter().map(|sender| Arc::clone(&sender.track) as Arc<dyn TrackLocal>).collect()
}

impl Sender {
    /// Takes over what was negotiated.
    /// # Errors
    /// When the connection is gone, or the server did not take this track.
    pub(super) async fn bind(&mut self, call: &Call) -> Result<(), CallError> {
        let own: Arc<dyn TrackLocal> = Arc::clone(&self.track) as _;
        for transceiver in call.connection().get_transceivers().await {
            let Some(sender) = transceiver.sender().await? else { continue };
            if !Arc::ptr_eq(sender.track(), &own) {
                continue;
            }
            let mid = transceiver.mid().await?.unwrap_or_default();
            let parameters = sender.get_parameters().await?.rtp_parameters;
            if let Some(codec) = parameters.codecs.first() {
                self.payload_type = codec.payload_type;
            }
            let id = |uri: &str| parameters.header_extensions.iter().find(|ext| ext.uri == uri).map(|ext| ext.id as u8);
            for layer in self.layers.iter_mut().filter(|layer| !layer.rid.is_empty()) {
                let values = [(MID, &mid), (RID, &layer.rid)];
                let known = values.into_iter().filter_map(|(uri, value)| Some((id(uri)?, Bytes::from(value.clone()))));
                layer.extensions = known.collect();
            }
        }
        Ok(())
    }

    /// Sends until the clip ends; the longest layer counts. `on_request`: goes on at a key frame when one is asked for.
    /// # Errors
    /// When the connection is gone.
    pub(super) async fn play(mut self, began: Instant, looped: bool, on_request: bool) -> Result<(), CallError> {
        let track = Arc::clone(&self.track);
        loop {
            let due = self.layers.iter().filter(|layer| layer.next < layer.clip.frames.len()).map(|layer| layer.due);
            let Some(due) = due.min() else { return Ok(()) };
            tokio::select! {
                () = tokio::time::sleep_until((began + due).into()) => {
                    for layer in self.layers.iter_mut().filter(|layer| layer.due <= due) {
                        layer.send(&self.track, self.payload_type, &self.meter, looped).await?;
                    }
                }
                event = track.poll() => {
                    let Some(TrackLocalEvent::OnRtcpPacket(packets)) = event else { return Err(CallError::Lost) };
                    for ssrc in packets.iter().flat_map(|packet| wanted(packet.as_ref())) {
                        self.meter.wishes.fetch_add(1, Ordering::Relaxed);
                        let asked = self.layers.iter_mut().filter(|layer| layer.ssrc == ssrc && on_request);
                        asked.for_each(|layer| layer.jump(looped));
                    }
                }
            }
        }
    }
}

impl Layer {
    fn new(clip: &Arc<Clip>, rid: &str) -> Self {
        let payloader: Box<dyn Payloader> = match clip.codec {
            Codec::H264 => Box::new(H264Payloader::default()),
            Codec::H265 => Box::new(HevcPayloader),
            Codec::Vp9 => Box::new(Vp9Payloader::default()),
            Codec::Av1 => Box::new(Av1Payloader::default()),
            Codec::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Box::new(payloader)
            }
            Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => Box::new(OpusPayloader),
        };
        let random = random();
        Self {
            clip: Arc::clone(clip),
            ssrc: random as u32,
            rid: rid.to_owned(),
            payloader,
            extensions: Vec::new(),
            // Far from wrapping, so that a loss of the first packets cannot confuse the rollover counter.
            sequence: (random >> 32) as u16 & 0x3fff,
            timestamp: (random >> 16) as u32,
            next: 0,
            due: Duration::ZERO,
            answered: None,
        }
    }

    /// Goes on at a key frame, unless it has just done so.
    fn jump(&mut self, looped: bool) {
        let is_new = self.answered.is_none_or(|at| at.elapsed() >= GATE);
        if is_new && let Some(next) = self.clip.next_key(self.next, looped) {
            self.next = next;
            self.answered = Some(Instant::now());
        }
    }

    /// Sends one frame.
    async fn send(
        &mut self,
        track: &TrackLocalStaticRTP,
        payload_type: u8,
        meter: &Meter,
        looped: bool,
    ) -> Result<(), CallError> {
        let Some(frame) = self.clip.frames.get(self.next) else {
            return Ok(());
        };
        let payloads = self.payloader.payload(MTU, &frame.data)?;
        let last = payloads.len().saturating_sub(1);
        for (number, payload) in payloads.into_iter().enumerate() {
            meter.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            meter.packets.fetch_add(1, Ordering::Relaxed);
            let mut packet = Packet { payload, ..Default::default() };
            packet.header.version = 2;
            packet.header.marker = number == last && self.clip.codec != Codec::Opus;
            packet.header.payload_type = payload_type;
            packet.header.sequence_number = self.sequence;
            packet.header.timestamp = self.timestamp;
            packet.header.ssrc = self.ssrc;
            for (id, value) in &self.extensions {
                packet.header.set_extension(*id, value.clone())?;
            }
            self.sequence = self.sequence.wrapping_add(1);
            track.write_rtp(packet).await?;
        }
        meter.pictures.fetch_add(u64::from(self.clip.codec != Codec::Opus), Ordering::Relaxed);
        let ticks = frame.lasts.as_secs_f64() * f64::from(self.clip.clock_rate());
        self.timestamp = self.timestamp.wrapping_add(ticks.round() as u32);
        self.due += frame.lasts;
        self.next += 1;
        if looped && self.next == self.clip.frames.len() {
            self.next = 0;
        }
        Ok(())
    }
}

/// What is offered for a codec.
fn parameters(codec: Codec) -> (RTCRtpCodecParameters, RtpCodecKind) {
    let (mime, payload_type, fmtp) = match codec {
        Codec::Vp8 => (MIME_TYPE_VP8, 96, ""),
        Codec::Vp9 => (MIME_TYPE_VP9, 98, "profile-id=0"),
        Codec::Av1 => (MIME_TYPE_AV1, 45, "level-idx=5;profile=0;tier=0"),
        Codec::H265 => (MIME_TYPE_HEVC, 104, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
        Codec::H264 => (MIME_TYPE_H264, 102, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
        Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => {
            (MIME_TYPE_OPUS, 111, "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1")
        }
    };
    let is_audio = mime == MIME_TYPE_OPUS;
    let rtp_codec = RTCRtpCodec {
        mime_type: mime.to_owned(),
        clock_rate: if is_audio { 48_000 } else { 90_000 },
        channels: if is_audio { 2 } else { 0 },
        sdp_fmtp_line: fmtp.to_owned(),
        rtcp_feedback: Vec::new(),
    };
    let kind = if is_audio { RtpCodecKind::Audio } else { RtpCodecKind::Video };
    (RTCRtpCodecParameters { rtp_codec, payload_type }, kind)
}

/// Bytes of a payload, so that the datagram passes everywhere.
const MTU: usize = 1_150;
/// More often a key frame is not worth its bits.
const GATE: Duration = Duration::from_millis(500);
/// Of layers, the largest first, as browsers like to call them.
const RIDS: [&str; 3] = ["f", "h", "q"];
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
