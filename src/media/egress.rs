//! What one viewer needs to get one track: numbering, timestamps and payload types of its own, continuous whoever
//! presents.

use std::time::{Duration, Instant};

use super::outbox::{Outbox, Run};
use super::packet::{Packet, Source};
use crate::peer::ice::Path;
use crate::peer::srtp::RtpSealer;
use crate::wire::rtp;
use crate::wire::sdp::{Kind, Section, pick_format};

/// One track towards one viewer.
#[derive(Debug)]
pub struct Egress {
    /// Our SSRC.
    pub ssrc: u32,
    /// The layer that this viewer should get; switched to at its next key frame.
    pub wanted: u8,
    /// Packets and payload bytes sent, as sender reports count them.
    pub packets: u32,
    /// See `packets`.
    pub octets: u32,
    run: Option<Stretch>,
    /// Earlier stretches, newest last: what may still be asked for again.
    past: Vec<Stretch>,
    /// The highest number sent.
    newest: u64,
    last_timestamp: u32,
    last_at: Option<Instant>,
    rtx: Option<Rtx>,
    section: Box<Section>,
}

/// A stretch of our numbering that comes from one source.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    source: u64,
    presentation: u64,
    layer: u8,
    payload_type: u8,
    rtx_payload_type: Option<u8>,
    /// First number of the source that belongs to it.
    first: u64,
    /// Ours less theirs, modulo 2^64 and 2^32.
    seq_shift: u64,
    timestamp_shift: u32,
}

#[derive(Debug)]
struct Rtx {
    ssrc: u32,
    seq: u64,
}

/// Where a packet goes in our numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Our extended sequence number.
    pub seq: u64,
    /// Our timestamp.
    pub timestamp: u32,
    /// Our payload type.
    pub payload_type: u8,
}

impl Egress {
    /// A track that has sent nothing. `first_seq` below 2^15 (RFC 3711 §3.3.1); `None` when the section declares no
    /// source of ours.
    pub fn new(section: Section, first_seq: u16) -> Option<Self> {
        let source = *section.sources.first()?;
        Some(Self {
            ssrc: source.ssrc,
            wanted: 0,
            packets: 0,
            octets: 0,
            run: None,
            past: Vec::new(),
            newest: u64::from(first_seq & 0x7fff),
            last_timestamp: 0,
            last_at: None,
            rtx: source.rtx.map(|ssrc| Rtx { ssrc, seq: u64::from(first_seq.rotate_left(7) & 0x7fff) }),
            section: Box::new(section),
        })
    }

    /// Decides whether a packet goes to this viewer, and as what.
    pub fn admit(&mut self, packet: &Packet) -> Option<Place> {
        let run = match &self.run {
            Some(run) if run.source == packet.source.id => *run,
            _ => self.begin(packet)?,
        };
        if packet.seq < run.first {
            return None;
        }
        let place = Place {
            seq: packet.seq.wrapping_add(run.seq_shift),
            timestamp: packet.timestamp.wrapping_add(run.timestamp_shift),
            payload_type: run.payload_type,
        };
        if place.seq > self.newest {
            self.newest = place.seq;
            self.last_timestamp = place.timestamp;
            self.last_at = Some(packet.received_at);
        }
        Some(place)
    }

    /// Writes and seals an admitted packet behind `run`.
    pub fn send(
        &mut self,
        packet: &Packet,
        place: Place,
        sealer: &mut RtpSealer,
        run: &mut Run,
        out: &mut impl Outbox,
        path: Path,
    ) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        let (ssrc, orientation) = (self.ssrc, self.orientation(packet));
        put(packet, place, ssrc, orientation, sealer, run, out, path);
    }

    /// Which packet a number that the viewer misses stands for: (source, layer, number there).
    pub fn trace(&self, seq: u16) -> Option<(u64, u8, u64)> {
        let (stretch, seq) = self.stretch_of(seq)?;
        Some((stretch.source, stretch.layer, seq.wrapping_sub(stretch.seq_shift)))
    }

    /// Sends a packet again: as a retransmission of its own numbering (RFC 4588) where agreed, else byte-identical.
    pub fn resend(
        &mut self,
        seq: u16,
        packet: &Packet,
        sealer: &mut RtpSealer,
        run: &mut Run,
        out: &mut impl Outbox,
        path: Path,
    ) {
        let Some((stretch, seq)) = self.stretch_of(seq).map(|(stretch, seq)| (*stretch, seq)) else {
            return;
        };
        let timestamp = packet.timestamp.wrapping_add(stretch.timestamp_shift);
        let orientation = self.orientation(packet);
        if let (Some(rtx), Some(payload_type)) = (&mut self.rtx, stretch.rtx_payload_type) {
            rtx.seq += 1;
            let (ssrc, rtx_seq) = (rtx.ssrc, rtx.seq);
            let len = sealed_len(orientation.is_some(), packet.payload.len() + OSN_LEN, sealer);
            run.push(out, path, len, |buf| {
                let start = buf.len();
                write(buf, packet.marker, false, payload_type, rtx_seq as u16, timestamp, ssrc, orientation);
                let header_len = buf.len() - start;
                buf.extend_from_slice(&(seq as u16).to_be_bytes());
                buf.extend_from_slice(&packet.payload);
                seal(sealer, buf, start, header_len, ssrc, rtx_seq);
            });
        } else {
            let place = Place { seq, timestamp, payload_type: stretch.payload_type };
            put(packet, place, self.ssrc, orientation, sealer, run, out, path);
        }
    }

    /// The source of what it gets now, and what is added to its timestamps.
    pub fn timeline(&self) -> Option<(u64, u32)> {
        self.run.as_ref().map(|run| (run.source, run.timestamp_shift))
    }

    /// Every SSRC that we send with.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.ssrc).chain(self.rtx.as_ref().map(|rtx| rtx.ssrc))
    }

    /// Is this viewer waiting for a key frame of this source? Not if it could not show it.
    pub fn awaits(&self, source: &Source) -> bool {
        self.section.kind == Kind::Video
            && source.layer == self.wanted
            && self.run.as_ref().is_none_or(|run| run.source != source.id)
            && pick_format(&self.section, &source.format).is_some()
    }

    /// Begins a new stretch with this packet, if it may.
    fn begin(&mut self, packet: &Packet) -> Option<Stretch> {
        let source = &packet.source;
        if let Some(run) = &self.run {
            // A late packet of a presenter who has been replaced, or of a layer that this viewer does not get.
            let older = source.presentation < run.presentation;
            if older || (source.presentation == run.presentation && source.id < run.source && source.layer == run.layer)
            {
                return None;
            }
        }
        if source.kind == Kind::Video && (!packet.keyframe || source.layer != self.wanted) {
            return None;
        }
        let format = pick_format(&self.section, &source.format)?;
        let first = packet.seq;
        let timestamp = match self.last_at {
            None => packet.timestamp,
            Some(last_at) => {
                let elapsed = packet.received_at.saturating_duration_since(last_at).max(ONE_FRAME);
                self.last_timestamp.wrapping_add(ticks(elapsed, source.format.clock_rate))
            }
        };
        let stretch = Stretch {
            source: source.id,
            presentation: source.presentation,
            layer: source.layer,
            payload_type: format.payload_type,
            rtx_payload_type: format.rtx,
            first,
            seq_shift: (self.newest + 1).wrapping_sub(first),
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
        };
        if let Some(past) = self.run.replace(stretch) {
            if self.past.len() == MAX_PAST {
                self.past.remove(0);
            }
            self.past.push(past);
        }
        Some(stretch)
    }

    /// The stretch that one of our recent numbers belongs to, and that number extended.
    fn stretch_of(&self, seq: u16) -> Option<(&Stretch, u64)> {
        let back = u64::from((self.newest as u16).wrapping_sub(seq));
        let seq = self.newest.checked_sub(back)?;
        let stretch = (self.past.iter().chain(&self.run).rev())
            .find(|stretch| stretch.first.wrapping_add(stretch.seq_shift) <= seq)?;
        Some((stretch, seq))
    }

    fn orientation(&self, packet: &Packet) -> Option<(u8, u8)> {
        Some((self.section.extensions.orientation?, packet.orientation?))
    }
}

fn ticks(elapsed: Duration, clock_rate: u32) -> u32 {
    (elapsed.as_nanos() * u128::from(clock_rate) / 1_000_000_000) as u32
}

/// Writes and seals a packet in its own numbering, with the padding that it gets every time.
#[expect(clippy::too_many_arguments, reason = "what is sent, as what, to whom")]
fn put(
    packet: &Packet,
    place: Place,
    ssrc: u32,
    orientation: Option<(u8, u8)>,
    sealer: &mut RtpSealer,
    run: &mut Run,
    out: &mut impl Outbox,
    path: Path,
) {
    let padding = packet.padding();
    let len = sealed_len(orientation.is_some(), packet.payload.len() + usize::from(padding), sealer);
    run.push(out, path, len, |buf| {
        let start = buf.len();
        let Place { seq, timestamp, payload_type } = place;
        write(buf, packet.marker, padding > 0, payload_type, seq as u16, timestamp, ssrc, orientation);
        let header_len = buf.len() - start;
        buf.extend_from_slice(&packet.payload);
        if padding > 0 {
            // Zeros, and last their count (RFC 3550 §5.1).
            buf.resize(buf.len() + usize::from(padding) - 1, 0);
            buf.push(padding);
        }
        seal(sealer, buf, start, header_len, ssrc, seq);
    });
}

fn sealed_len(has_orientation: bool, payload: usize, sealer: &RtpSealer) -> usize {
    FIXED_HEADER + if has_orientation { ORIENTATION_BLOCK } else { 0 } + payload + sealer.overhead()
}

#[expect(clippy::too_many_arguments, reason = "the fields of a header")]
fn write(
    buf: &mut Vec<u8>,
    marker: bool,
    padding: bool,
    payload_type: u8,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    orientation: Option<(u8, u8)>,
) {
    match orientation {
        None => rtp::write_header(buf, marker, padding, payload_type, seq, timestamp, ssrc, &[]),
        Some((id, value)) => {
            // One element of one byte, padded to 32 bits (RFC 8285 §4.2).
            rtp::write_header(buf, marker, padding, payload_type, seq, timestamp, ssrc, &[id << 4, value, 0, 0]);
        }
    }
}

fn seal(sealer: &mut RtpSealer, buf: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
    // Sealing fails only after 2^48 packets of one key.
    let sealed = sealer.seal(buf, start, header_len, ssrc, index);
    debug_assert!(sealed.is_ok(), "the index is below 2^48");
}

const FIXED_HEADER: usize = 12;
const ORIENTATION_BLOCK: usize = 8;
/// Original sequence number of a retransmission (RFC 4588 §4).
const OSN_LEN: usize = 2;
/// Stretches that may still be asked for: layer switches within the ring's time.
const MAX_PAST: usize = 4;
/// The least by which timestamps grow from one presenter or layer to the next.
const ONE_FRAME: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
