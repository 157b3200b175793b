//! What one presenter sends: opened, told apart by source, stripped of what is only between it and us, and reported on.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

mod feedback;
mod flow;
mod padding;
mod pulse;
mod sets;
mod standby;

use self::feedback::{FEEDBACK_INTERVAL, REPORT_INTERVAL, RoundTrip};
use self::flow::Flow;
use self::padding::Padding;
use self::pulse::Pulse;
use self::sets::Sets;
use self::standby::Standby;
use super::clock::{Sync, WallClock};
use super::gate::Gate;
use super::packet::{Packet, Source};
use crate::peer::srtp::{RtpOpener, SrtpError};
use crate::wire::dependency::{self, Structure};
use crate::wire::descriptor::Descriptor;
use crate::wire::keyframe::starts_keyframe;
use crate::wire::rtcp::{Arrivals, Losses, Statistics};
use crate::wire::rtp::{self, Header};
use crate::wire::sdp::{Codec, Kind, Section};
use crate::wire::seq::Extender;

/// The receiving side of a presenter's session.
pub struct Ingress {
    opener: RtpOpener,
    sections: Vec<Section>,
    presentation: u64,
    lanes: Vec<Lane>,
    /// Sources that the presenter has replaced; as many as the SRTP session opens at most.
    retired: Vec<u32>,
    next_source: u64,
    arrivals: Option<Arrivals>,
    /// Any media SSRC of the transport, for feedback about all of it.
    about: u32,
    started: Instant,
    /// Our NTP time less the presenter's; one for all its tracks, so that they stay in step.
    clock_offset: Option<u64>,
    bytes_since_remb: u64,
    feedback_at: Instant,
    report_at: Instant,
    /// When its health was told.
    health_at: Instant,
    /// Our SSRC as a receiver.
    ssrc: u32,
    fir_seq: u8,
    flow: Flow,
    /// Only where there can be several presenters.
    standby: Option<Box<Standby>>,
}

/// One SSRC of the presenter.
struct Lane {
    ssrc: u32,
    section: usize,
    layer: u8,
    /// Retransmissions of the media with this kind and layer.
    is_rtx: bool,
    source: Option<Arc<Source>>,
    /// A packet of the source has been handed on.
    is_announced: bool,
    extender: Extender,
    statistics: Statistics,
    losses: Losses,
    round_trip: RoundTrip,
    padding: Padding,
    /// Parameter sets of H.264.
    sets: Sets,
    /// Layers of AV1.
    structure: Option<Box<Structure>>,
    gate: Gate,
    sync: Option<Sync>,
    pulse: Pulse,
    packets: u64,
    payload_bytes: u64,
    asked: u64,
}

/// Why a packet goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It does not open.
    Srtp(SrtpError),
    /// Header or padding make no sense.
    Malformed,
    /// Neither its SSRC, extensions nor payload type tell what it is.
    Unknown,
    /// Only there to probe the bandwidth.
    Padding,
}

/// What a packet brought.
pub struct Received {
    /// What viewers need in front of it, when the presenter leaves it out.
    pub before: Option<Packet>,
    /// The packet.
    pub packet: Packet,
    /// Its source is new: tell everybody.
    pub is_new_source: bool,
}

impl Ingress {
    /// Nothing received yet. `ssrc` is ours as a receiver.
    pub fn new(opener: RtpOpener, sections: Vec<Section>, presentation: u64, ssrc: u32, now: Instant) -> Self {
        let transport_cc = sections
            .iter()
            .any(|s| s.extensions.transport_cc.is_some() && s.formats.iter().any(|f| f.feedback.transport_cc));
        Self {
            opener,
            sections,
            presentation,
            lanes: Vec::new(),
            retired: Vec::new(),
            next_source: 0,
            arrivals: transport_cc.then(|| Arrivals::new(ssrc)),
            about: 0,
            started: now,
            clock_offset: None,
            bytes_since_remb: 0,
            feedback_at: now + FEEDBACK_INTERVAL,
            report_at: now + REPORT_INTERVAL,
            health_at: now,
            ssrc,
            fir_seq: 0,
            flow: Flow::default(),
            standby: None,
        }
    }

    /// An authentic packet came. `true` when nothing had come for a while before.
    pub fn heard(&mut self, now: Instant) -> bool {
        self.flow.heard(now)
    }

    /// `true` when nothing has come for a while; said once.
    pub fn has_stopped(&mut self, now: Instant) -> bool {
        self.flow.has_stopped(now)
    }

    /// Grows with each presenter of a stream.
    pub fn presentation(&self) -> u64 {
        self.presentation
    }

    /// Takes in an SRTP datagram, which is opened in place.
    /// # Errors
    /// Why it goes no further. `Unknown` and later are authentic all the same.
    pub fn receive(&mut self, datagram: &mut [u8], arrived: Instant) -> Result<Received, Dropped> {
        let header = Header::parse(datagram).ok_or(Dropped::Malformed)?;
        let end = self.opener.open(&header, datagram).map_err(Dropped::Srtp)?;
        let plain = datagram.get(..end).ok_or(Dropped::Malformed)?;
        let at = self.lane(&header, plain).ok_or(Dropped::Unknown)?;
        self.note_arrival(&header, plain, at, arrived);
        self.bytes_since_remb += plain.len() as u64;

        let sealed = plain.get(header.len..).ok_or(Dropped::Malformed)?;
        let payload = rtp::unpad(&header, sealed).ok_or(Dropped::Malformed)?;
        if self.lanes[at].is_rtx {
            let (osn, payload) = payload.split_first_chunk::<2>().ok_or(Dropped::Padding)?;
            let (section, layer) = (self.lanes[at].section, self.lanes[at].layer);
            let original = (self.lanes.iter())
                .position(|l| !l.is_rtx && l.section == section && l.layer == layer)
                .ok_or(Dropped::Unknown)?;
            let payload_type = self.original_payload_type(section, header.payload_type).ok_or(Dropped::Unknown)?;
            let mut header = header;
            (header.payload_type, header.sequence) = (payload_type, u16::from_be_bytes(*osn));
            self.take(original, &header, plain, payload, arrived, false)
        } else {
            self.take(at, &header, plain, payload, arrived, true)
        }
    }

    /// Takes in a sender report: how the presenter's clock reads in ours. `true` when it concerned a known source.
    pub fn sender_report(&mut self, ssrc: u32, ntp: u64, rtp: u32, clock: &WallClock, now: Instant) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|l| l.ssrc == ssrc && !l.is_rtx) else {
            return false;
        };
        lane.statistics.sender_report(ntp, now);
        let offset = *self.clock_offset.get_or_insert_with(|| clock.ntp(now).wrapping_sub(ntp));
        lane.sync = Some(Sync { rtp, ntp: ntp.wrapping_add(offset) });
        true
    }

    /// The clock reading of a source, when its presenter reported one.
    pub fn syncs(&self) -> impl Iterator<Item = (&Arc<Source>, Sync)> {
        self.lanes.iter().filter_map(|l| Some((l.source.as_ref()?, l.sync?)))
    }

    /// Somebody needs a key frame of this layer.
    pub fn want_keyframe(&mut self, layer: u8, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|l| !l.is_rtx && l.layer == layer) {
            if self.sections[lane.section].kind == Kind::Video {
                lane.gate.ask(now);
            }
        }
    }

    /// Packets, payload bytes, lost, asked for again.
    pub fn totals(&self) -> (u64, u64, u64, u64) {
        self.lanes.iter().filter(|l| !l.is_rtx).fold((0, 0, 0, 0), |sum, l| {
            (
                sum.0 + l.packets,
                sum.1 + l.payload_bytes,
                sum.2 + u64::try_from(l.statistics.lost()).unwrap_or(0),
                sum.3 + l.asked,
            )
        })
    }

    fn take(
        &mut self,
        at: usize,
        header: &Header,
        plain: &[u8],
        payload: &[u8],
        arrived: Instant,
        in_order: bool,
    ) -> Result<Received, Dropped> {
        let section = &self.sections[self.lanes[at].section];
        let format =
            (section.formats.iter()).find(|f| f.payload_type == header.payload_type).ok_or(Dropped::Unknown)?;
        let (kind, codec) = (section.kind, format.codec);
        let (orientation, audio_level) = (section.extensions.orientation, section.extensions.audio_level);
        let dependency = section.extensions.dependency_descriptor;
        let dependency = dependency.and_then(|id| header.extensions(plain).find(|(i, _)| *i == id)).map(|(_, v)| v);

        let lane = &mut self.lanes[at];
        let newest = lane.extender.newest();
        let seq = lane.extender.extend(header.sequence);
        if lane.source.as_ref().is_none_or(|s| s.format.payload_type != header.payload_type) {
            if self.next_source >= MAX_CHANGES {
                return Err(Dropped::Unknown);
            }
            if newest.is_some_and(|newest| seq <= newest) {
                // Late, from before the presenter changed its codec: what it sends now goes on.
                return Err(Dropped::Unknown);
            }
            self.next_source += 1;
            let id = self.presentation << SOURCE_BITS | self.next_source;
            let (presentation, layer) = (self.presentation, lane.layer);
            let rid = section.rids.get(usize::from(layer)).map(|rid| Arc::from(rid.as_str()));
            lane.source = Some(Arc::new(Source { id, presentation, kind, layer, rid, format: format.clone() }));
            lane.is_announced = false;
            lane.sets.forget();
            lane.pulse.forget_sizes();
        }
        if format.feedback.nack {
            lane.losses.arrived(seq, arrived);
            if let Some(wait) = lane.round_trip.arrived(seq, arrived) {
                lane.losses.set_round_trip(wait);
            }
        }
        if in_order {
            lane.statistics.arrived(seq, header.timestamp, arrived);
        }
        if payload.is_empty() {
            lane.padding.drop(seq);
            return Err(Dropped::Padding);
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(Dropped::Malformed);
        }
        lane.packets += 1;
        lane.payload_bytes += payload.len() as u64;
        let keyframe = starts_keyframe(codec, payload);
        if keyframe {
            lane.gate.satisfied();
        }
        match kind {
            Kind::Audio => {
                let level = audio_level.and_then(|id| header.extensions(plain).find(|(i, _)| *i == id));
                let level = level.and_then(|(_, value)| value.first()).map(|byte| byte & 0x7f);
                lane.pulse.sound(payload.len(), level, arrived);
            }
            Kind::Video => {
                let is_newest = newest.is_none_or(|newest| seq > newest);
                if keyframe {
                    lane.pulse.measure(codec, payload);
                }
                lane.pulse.picture((header.timestamp, header.marker, keyframe), payload.len(), is_newest, arrived);
            }
        }
        let source = lane.source.clone().ok_or(Dropped::Unknown)?;
        let orientation = orientation.and_then(|id| {
            header.extensions(plain).find(|(i, _)| *i == id).and_then(|(_, value)| value.first().copied())
        });
        let descriptor = match dependency {
            Some(extension) if codec == Codec::Av1 => dependency::read(extension, &mut lane.structure),
            _ => Descriptor::parse(codec, payload, header.marker),
        };
        let seq = lane.padding.closed(seq).ok_or(Dropped::Unknown)?;
        let sets = (codec == Codec::H264).then(|| lane.sets.look(seq, header.timestamp, payload, keyframe)).flatten();
        let packet = Packet {
            source,
            seq: lane.sets.spread(seq).ok_or(Dropped::Unknown)?,
            timestamp: header.timestamp,
            marker: header.marker,
            keyframe,
            received_at: arrived,
            captured: lane.sync.map(|sync| sync.ntp_at(header.timestamp, format.clock_rate)),
            descriptor,
            orientation,
            padding: super::packet::Padding::default(),
            payload: Bytes::copy_from_slice(payload),
        };
        let is_new_source = !std::mem::replace(&mut lane.is_announced, true);
        let before = sets.map(|sets| Packet {
            source: Arc::clone(&packet.source),
            seq: packet.seq - 1,
            marker: false,
            descriptor: None,
            padding: super::packet::Padding::default(),
            payload: Bytes::from(sets),
            ..packet
        });
        Ok(Received { before, packet, is_new_source })
    }

    /// The lane of a packet; a new one when the packet tells what it is.
    fn lane(&mut self, header: &Header, plain: &[u8]) -> Option<usize> {
        if let Some(at) = self.lanes.iter().position(|l| l.ssrc == header.ssrc) {
            return Some(at);
        }
        if self.retired.contains(&header.ssrc) {
            // Late: it must not displace the source that came after it.
            return None;
        }
        let (section, layer, is_rtx) = self.identify(header, plain)?;
        if self.lanes.len() >= MAX_LANES {
            return None;
        }
        // A presenter that changes its SSRC goes on under the new one.
        let is_before = |l: &&Lane| l.section == section && l.layer == layer && l.is_rtx == is_rtx;
        if let Some(before) = self.lanes.iter().find(is_before).map(|l| l.ssrc) {
            self.lanes.retain(|l| l.ssrc != before);
            self.retired.push(before);
        }
        if self.about == 0 {
            self.about = header.ssrc;
        }
        let clock_rate = self.sections[section].formats.first().map_or(90_000, |f| f.clock_rate);
        let (mut losses, round_trip) = (Losses::new(), RoundTrip::new());
        losses.set_round_trip(round_trip.wait());
        self.lanes.push(Lane {
            ssrc: header.ssrc,
            section,
            layer,
            is_rtx,
            source: None,
            is_announced: false,
            extender: Extender::default(),
            statistics: Statistics::new(clock_rate),
            losses,
            round_trip,
            padding: Padding::default(),
            sets: Sets::default(),
            structure: None,
            gate: Gate::default(),
            sync: None,
            pulse: Pulse::default(),
            packets: 0,
            payload_bytes: 0,
            asked: 0,
        });
        Some(self.lanes.len() - 1)
    }

    /// Section, layer, and whether these are retransmissions. A MID decides against a declared SSRC, and so does a payload
    /// type that the section does not have (RFC 9143 §9.2); layers are told by rid (RFC 8852).
    fn identify(&self, header: &Header, plain: &[u8]) -> Option<(usize, u8, bool)> {
        let value = |id: Option<u8>| {
            let id = id?;
            header.extensions(plain).find(|(i, _)| *i == id).map(|(_, value)| value)
        };
        let candidates = || {
            self.sections.iter().enumerate().filter_map(|(at, section)| {
                if value(section.extensions.mid).is_some_and(|mid| mid != section.mid.as_bytes()) {
                    return None;
                }
                let is_media = section.formats.iter().any(|f| f.payload_type == header.payload_type);
                let is_rtx = section.formats.iter().any(|f| f.rtx == Some(header.payload_type));
                (is_media || is_rtx).then_some((at, section, is_rtx))
            })
        };
        let is_declared = |section: &Section| {
            let mut sources = section.sources.iter();
            section.rids.is_empty() && sources.any(|s| s.ssrc == header.ssrc || s.rtx == Some(header.ssrc))
        };
        if let Some((at, _, is_rtx)) = candidates().find(|(_, section, _)| is_declared(section)) {
            return Some((at, 0, is_rtx));
        }
        candidates().find_map(|(at, section, is_rtx)| {
            if section.rids.is_empty() {
                return Some((at, 0, is_rtx));
            }
            let ids = section.extensions;
            let rid = value(ids.repaired_rid).filter(|_| is_rtx).or_else(|| value(ids.rid));
            let layer = section.rids.iter().position(|r| Some(r.as_bytes()) == rid)?;
            Some((at, layer as u8, is_rtx))
        })
    }

    fn original_payload_type(&self, section: usize, rtx: u8) -> Option<u8> {
        self.sections[section].formats.iter().find(|f| f.rtx == Some(rtx)).map(|f| f.payload_type)
    }

    fn note_arrival(&mut self, header: &Header, plain: &[u8], lane: usize, arrived: Instant) {
        let Some(arrivals) = &mut self.arrivals else {
            return;
        };
        let Some(id) = self.sections[self.lanes[lane].section].extensions.transport_cc else {
            return;
        };
        let number = header.extensions(plain).find(|(i, _)| *i == id).and_then(|(_, value)| value.first_chunk::<2>());
        if let Some(number) = number {
            let micros = arrived.saturating_duration_since(self.started).as_micros() as u64;
            arrivals.record(u16::from_be_bytes(*number), micros);
        }
    }
}

/// Sources of one presentation, in the low bits of a source's id.
const SOURCE_BITS: u32 = 20;
/// Bytes: with our header and tag it fits into an Ethernet frame whatever it was sent in.
const MAX_PAYLOAD: usize = 1400;
/// Changes of format or SSRC in one session; each is news for everybody.
const MAX_CHANGES: u64 = 1000;
/// Two per layer and kind; as many as the SRTP session opens.
const MAX_LANES: usize = 16;
