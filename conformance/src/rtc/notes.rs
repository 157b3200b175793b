//! What a client notes about the RTP and RTCP that it receives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use str0m::media::MediaKind;
use str0m::rtp::RtpPacket;
use str0m::rtp::rtcp::{Rtcp, SdesType};

/// One received RTP stream.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// Audio or video, by payload type.
    pub(crate) kind: MediaKind,
    /// Its synchronisation source.
    pub(crate) ssrc: u32,
    /// Packets received.
    pub(crate) packets: u64,
    /// Extended sequence number of the first packet.
    pub(crate) first: u64,
    /// Highest extended sequence number.
    pub(crate) last: u64,
    /// When the first packet came.
    pub(crate) since: Instant,
    /// True when the first video packet seen starts a key frame of the synthetic stream.
    pub(crate) starts_at_keyframe: bool,
    /// When the newest key frame came.
    pub(crate) keyframe_at: Option<Instant>,
    /// The value of the `sdes:mid` extension, when some packet carried it.
    pub(crate) mid: Option<String>,
    /// The moment, on the sender's clock, at which the first packet's timestamp was zero seconds old.
    pub(crate) origin: Option<SystemTime>,
    /// Most packets that came within ten milliseconds.
    pub(crate) burst: u64,
    /// The mark of the newest large packet: which layer of the synthetic stream it is of.
    pub(crate) mark: Option<u8>,
    /// For each change of the mark, whether it came with the start of a key frame; bounded.
    pub(crate) switches: Vec<bool>,
    /// How often the timestamp ran backwards or more than ten seconds ahead from one packet to the next in order.
    pub(crate) leaps: u64,
    newest_time: Option<(u64, u32)>,
    window: (Option<Instant>, u64),
}

impl Track {
    /// A stream of which one packet came.
    pub(super) fn new(kind: MediaKind, packet: &RtpPacket, keyframe: bool, now: Instant) -> Self {
        let number = *packet.seq_no;
        let mut track = Self {
            kind,
            ssrc: *packet.header.ssrc,
            packets: 0,
            first: number,
            last: number,
            since: now,
            starts_at_keyframe: keyframe,
            keyframe_at: None,
            mid: None,
            origin: None,
            burst: 0,
            mark: None,
            switches: Vec::new(),
            leaps: 0,
            newest_time: None,
            window: (None, 0),
        };
        track.note(packet, keyframe, now);
        track
    }

    /// Notes one more packet.
    pub(super) fn note(&mut self, packet: &RtpPacket, keyframe: bool, now: Instant) {
        let number = *packet.seq_no;
        self.packets += 1;
        self.note_layer(packet, keyframe);
        self.first = self.first.min(number);
        self.last = self.last.max(number);
        if keyframe {
            self.keyframe_at = Some(now);
        }
        if let Some(mid) = packet.header.ext_vals.mid {
            self.mid.get_or_insert(mid.to_string());
        }
        if let Some(info) = packet.last_sender_info {
            let age = Duration::try_from_secs_f64(info.rtp_time.as_seconds()).ok();
            self.origin = age.and_then(|age| info.ntp_time.checked_sub(age));
        }
        let (start, count) = &mut self.window;
        if start.is_some_and(|start| now.saturating_duration_since(start) < BURST) {
            *count += 1;
        } else {
            (*start, *count) = (Some(now), 1);
        }
        self.burst = self.burst.max(*count);
    }

    /// Notes of which layer a packet is, and whether its timestamp follows those before.
    fn note_layer(&mut self, packet: &RtpPacket, keyframe: bool) {
        // Small packets, such as parameter sets, carry no mark.
        let mark = packet.payload.last().copied().filter(|_| packet.payload.len() >= MARKED);
        if mark.is_some() {
            if self.mark.is_some() && self.mark != mark && self.switches.len() < MOST_SWITCHES {
                self.switches.push(keyframe);
            }
            self.mark = mark;
        }
        let (number, time) = (*packet.seq_no, packet.header.timestamp);
        match self.newest_time {
            Some((newest, _)) if number <= newest => {}
            Some((_, before)) => {
                self.leaps += u64::from(time.wrapping_sub(before) > FARTHEST);
                self.newest_time = Some((number, time));
            }
            None => self.newest_time = Some((number, time)),
        }
    }

    /// Packets that the numbering promises and that did not come.
    pub(crate) fn missing(&self) -> u64 {
        (self.last - self.first + 1).saturating_sub(self.packets)
    }
}

/// RTCP packets that came in, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    /// Sender reports.
    pub(crate) sender: u64,
    /// Receiver reports.
    pub(crate) receiver: u64,
    /// Negative acknowledgements.
    pub(crate) nack: u64,
    /// Picture losses and full intra requests by SSRC.
    pub(crate) keyframe: BTreeMap<u32, u64>,
    /// Transport-wide congestion feedback.
    pub(crate) transport: u64,
    /// Estimates of the receiver's bandwidth.
    pub(crate) remb: u64,
    /// CNAME by SSRC.
    pub(crate) names: BTreeMap<u32, String>,
    /// When the first and the last report came.
    pub(crate) span: Option<(Instant, Instant)>,
}

impl Reports {
    /// Notes one packet.
    pub(super) fn note(&mut self, packet: &Rtcp, now: Instant) {
        match packet {
            Rtcp::SenderReport(_) => self.sender += 1,
            Rtcp::ReceiverReport(_) => self.receiver += 1,
            Rtcp::Nack(_) => self.nack += 1,
            Rtcp::Pli(pli) => self.count(*pli.ssrc),
            Rtcp::Fir(fir) => fir.reports.iter().for_each(|entry| self.count(*entry.ssrc)),
            Rtcp::Twcc(_) => self.transport += 1,
            Rtcp::Remb(_) => self.remb += 1,
            Rtcp::SourceDescription(descriptions) => {
                for chunk in descriptions.reports.iter() {
                    let name = chunk.values.iter().find(|(kind, _)| *kind == SdesType::CNAME);
                    if let Some((_, name)) = name.filter(|_| self.names.len() < MOST_SOURCES) {
                        self.names.insert(*chunk.ssrc, name.clone());
                    }
                }
            }
            _ => return,
        }
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
    }

    /// One more request for a key frame.
    fn count(&mut self, ssrc: u32) {
        if self.keyframe.len() < MOST_SOURCES || self.keyframe.contains_key(&ssrc) {
            *self.keyframe.entry(ssrc).or_default() += 1;
        }
    }
}

/// Packets that come within this time are one burst.
const BURST: Duration = Duration::from_millis(10);
/// Packets of at least so many octets carry a mark.
const MARKED: usize = 400;
/// Changes of layer that are noted.
const MOST_SWITCHES: usize = 64;
/// Ten seconds of video at 90 kHz; more is no time that went by.
const FARTHEST: u32 = 900_000;
/// More than any session has.
const MOST_SOURCES: usize = 64;
