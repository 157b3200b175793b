//! What a presenter sends: frames of several packets, sound, layers, padding, retransmissions.

use std::time::{Duration, Instant};

use super::client::Client;
use super::rig::{Rig, ms};
use crate::wire::rtcp;
use crate::wire::rtp;
use crate::wire::sdp::{Codec, Format, Kind, Section};

/// One source of a presenter.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) kind: Kind,
    pub(super) section: usize,
    pub(super) format: Format,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    pub(super) rid: Option<String>,
    /// Packets that still say their layer.
    pub(super) tells_rid: u32,
    /// Extended number of the next packet; its rollover counter is 0 at first.
    pub(super) index: u64,
    pub(super) rtx_index: u64,
    /// RTP time at `epoch`.
    pub(super) offset: u32,
    pub(super) epoch: Instant,
    pub(super) wants_keyframe: bool,
    /// Payload bytes of a packet.
    pub(super) size: usize,
}

/// A packet that was made, whether or not it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) tag: u32,
    pub(super) track: usize,
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) at: Instant,
    /// Before protection.
    pub(super) plain: Vec<u8>,
    pub(super) datagram: Vec<u8>,
}

impl Track {
    /// A track for each section, or for each of its layers.
    pub(super) fn of(sections: &[Section], number: u32, now: Instant) -> Vec<Self> {
        let mut tracks = Vec::new();
        for (at, section) in sections.iter().enumerate() {
            let rids: Vec<_> = match section.rids.as_slice() {
                [] => vec![None],
                rids => rids.iter().cloned().map(Some).collect(),
            };
            for rid in rids {
                let n = tracks.len() as u32;
                let declared = section.sources.first().filter(|_| rid.is_none());
                tracks.push(Self {
                    kind: section.kind,
                    section: at,
                    format: section.formats[0].clone(),
                    ssrc: declared.map_or(77_000 + 100 * number + 2 * n, |s| s.ssrc),
                    rtx_ssrc: declared.and_then(|s| s.rtx).unwrap_or(77_001 + 100 * number + 2 * n),
                    rid,
                    tells_rid: 10,
                    index: u64::from(1000 * (number % 30) + 100 * n + 50),
                    rtx_index: 7,
                    offset: 0xffff_0000_u32.wrapping_add(number * 1_000_003 + n * 70_001),
                    epoch: now,
                    wants_keyframe: true,
                    size: 100,
                });
            }
        }
        tracks
    }

    /// RTP time at a moment.
    pub(super) fn timestamp(&self, at: Instant) -> u32 {
        let elapsed = at.duration_since(self.epoch).as_nanos() * u128::from(self.format.clock_rate);
        self.offset.wrapping_add((elapsed / 1_000_000_000) as u32)
    }

    fn payload(&self, key: bool, first: bool, tag: u32) -> Vec<u8> {
        let mut payload = match self.format.codec {
            Codec::Vp8 => vec![if first { 0x10 } else { 0 }, u8::from(!(key && first)), 0, 0],
            Codec::H264 if key && first => vec![0x67, 0x42, 0xe0, 0x1f],
            Codec::H264 => vec![0x41, 0x80, 0, 0],
            _ => vec![0xfc, 1, 2, 3],
        };
        payload.resize(self.size - 4, tag as u8);
        payload.extend_from_slice(&tag.to_be_bytes());
        payload
    }
}

impl Client {
    /// The track of a kind; of layers the first.
    pub(super) fn track(&self, kind: Kind) -> usize {
        self.tracks.iter().position(|t| t.kind == kind).expect("such a track")
    }

    /// Makes the packets of a frame.
    pub(super) fn frame(&mut self, track: usize, key: bool, packets: usize, now: Instant) -> Vec<Sent> {
        (0..packets)
            .map(|n| {
                self.tagged += 1;
                let tag = (self.number as u32 + 1) << 20 | self.tagged;
                let payload = self.tracks[track].payload(key, n == 0, tag);
                self.packet(track, n + 1 == packets, false, &payload, tag, now)
            })
            .collect()
    }

    /// Makes a packet that only probes the bandwidth.
    pub(super) fn padding(&mut self, track: usize, now: Instant) -> Sent {
        self.packet(track, false, true, &[0, 0, 0, 4], 0, now)
    }

    /// Makes the retransmission of a packet: RTX where agreed, else the same datagram.
    pub(super) fn again(&mut self, sent: &Sent) -> Vec<u8> {
        let track = self.tracks[sent.track].clone();
        let Some(payload_type) = track.format.rtx else {
            return sent.datagram.clone();
        };
        let header = rtp::Header::parse(&sent.plain).expect("we wrote it");
        let index = track.rtx_index;
        self.tracks[sent.track].rtx_index += 1;
        let block = self.block(sent.track, true);
        let mut packet = Vec::new();
        let (marker, timestamp) = (header.marker, header.timestamp);
        let number = index as u16;
        rtp::write_header(&mut packet, marker, false, payload_type, number, timestamp, track.rtx_ssrc, &block);
        packet.extend_from_slice(&(sent.index as u16).to_be_bytes());
        packet.extend_from_slice(&sent.plain[header.len..]);
        self.seal_rtp(packet, index)
    }

    /// Makes a packet.
    pub(super) fn packet(
        &mut self,
        at: usize,
        marker: bool,
        padding: bool,
        payload: &[u8],
        tag: u32,
        now: Instant,
    ) -> Sent {
        let block = self.block(at, false);
        let track = &mut self.tracks[at];
        let (index, timestamp) = (track.index, track.timestamp(now));
        track.index += 1;
        let (payload_type, ssrc) = (track.format.payload_type, track.ssrc);
        let mut plain = Vec::new();
        rtp::write_header(&mut plain, marker, padding, payload_type, index as u16, timestamp, ssrc, &block);
        plain.extend_from_slice(payload);
        let datagram = self.seal_rtp(plain.clone(), index);
        let sent = Sent { tag, track: at, index, timestamp, at: now, plain, datagram };
        self.sent.push(sent.clone());
        sent
    }

    /// Extensions: the transport-wide number, and at first which section and layer it is.
    fn block(&mut self, at: usize, is_rtx: bool) -> Vec<u8> {
        let ids = self.extensions(self.tracks[at].section);
        let mid = self.sections[self.tracks[at].section].mid.clone();
        let mut block = Vec::new();
        if let Some(id) = ids.transport_cc {
            rtp::push_extension(&mut block, id, &self.transport_cc.to_be_bytes());
            self.transport_cc = self.transport_cc.wrapping_add(1);
        }
        let track = &mut self.tracks[at];
        if let Some(rid) = &track.rid
            && (track.tells_rid > 0 || is_rtx)
        {
            track.tells_rid = track.tells_rid.saturating_sub(1);
            if let Some(id) = ids.mid {
                rtp::push_extension(&mut block, id, mid.as_bytes());
            }
            if let Some(id) = if is_rtx { ids.repaired_rid } else { ids.rid } {
                rtp::push_extension(&mut block, id, rid.as_bytes());
            }
        }
        rtp::pad_block(&mut block);
        block
    }

    /// Does what the server asks for.
    pub(super) fn heed(&mut self, report: &[u8], _now: Instant) -> Vec<Vec<u8>> {
        let mut wanted = Vec::new();
        let mut missing = Vec::new();
        rtcp::read(report, |event| match event {
            rtcp::Event::Pli { about } | rtcp::Event::Fir { about } => wanted.push(about),
            rtcp::Event::Nack { about, packet_id, bitmap } => {
                missing.push((about, packet_id));
                let more = (0..16).filter(|bit| bitmap & (1 << bit) != 0).map(|bit| packet_id.wrapping_add(bit + 1));
                missing.extend(more.map(|seq| (about, seq)));
            }
            _ => {}
        });
        for track in self.tracks.iter_mut().filter(|t| wanted.contains(&t.ssrc)) {
            track.wants_keyframe = true;
        }
        if !self.repairs {
            return Vec::new();
        }
        let find = |(ssrc, seq): (u32, u16)| {
            let is_it = |s: &&Sent| self.tracks[s.track].ssrc == ssrc && s.index as u16 == seq;
            self.sent.iter().rev().find(is_it).cloned()
        };
        let found: Vec<Sent> = missing.into_iter().filter_map(find).collect();
        found.iter().map(|sent| self.again(sent)).collect()
    }
}

impl Rig {
    /// A frame, sent at once; returns its tags.
    pub(super) fn frame(&mut self, client: usize, kind: Kind, key: bool, packets: usize) -> Vec<u32> {
        let track = self.clients[client].track(kind);
        self.frame_of(client, track, key, packets)
    }

    /// A frame of one track.
    pub(super) fn frame_of(&mut self, client: usize, track: usize, key: bool, packets: usize) -> Vec<u32> {
        let sent = self.clients[client].frame(track, key, packets, self.now);
        let tags = sent.iter().map(|s| s.tag).collect();
        self.launch_from(client, sent.into_iter().map(|s| s.datagram).collect());
        self.settle();
        tags
    }

    /// Sound every 20 ms and pictures every 40 ms, key frames when asked for.
    pub(super) fn live(&mut self, presenters: &[usize], span: Duration) {
        let end = self.now + span;
        let mut step = 0;
        while self.now < end {
            for presenter in presenters.iter().copied() {
                for track in 0..self.clients[presenter].tracks.len() {
                    let key = std::mem::take(&mut self.clients[presenter].tracks[track].wants_keyframe);
                    match self.clients[presenter].tracks[track].kind {
                        Kind::Audio => drop(self.frame_of(presenter, track, true, 1)),
                        Kind::Video if step % 2 == 0 => {
                            drop(self.frame_of(presenter, track, key, if key { 6 } else { 3 }));
                        }
                        Kind::Video => self.clients[presenter].tracks[track].wants_keyframe = key,
                    }
                }
            }
            step += 1;
            self.run(ms(20));
        }
    }
}
