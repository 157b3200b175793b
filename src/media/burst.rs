//! Bursts: packets that leave together.
//!
//! One send holds datagrams of one length, the last one maybe shorter (UDP generic segmentation offload), and costs as
//! much as sealing several packets. So packets wait a little for others, and once per burst, for all viewers, they are
//! put in order: sound goes last, where its small packets are the short end of a send, and packets that are a little too
//! short get RTP padding (RFC 3550 §5.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::packet::Packet;
use crate::wire::sdp::Kind;

/// The bursts of a stream on one worker: one that gathers, one that is on its way to the viewers. While the latter takes
/// its time the former grows, and so does what each send carries: under load a packet costs less.
#[derive(Debug, Default)]
pub struct Bursts {
    /// Packets that are settled, in their order to leave, then those that wait for the end of their frame.
    gathered: Vec<Arc<Packet>>,
    settled: usize,
    /// When the first of those that wait came.
    waiting_since: Option<Instant>,
    is_due: bool,
    /// On their way to the viewers.
    leaving: Vec<Arc<Packet>>,
    /// When the kernel got the first of them.
    arrived: Option<Instant>,
    is_key: bool,
    /// The timestamp of the newest key frame.
    key: Option<u32>,
}

impl Bursts {
    /// Takes in a packet. False when too many had gathered and their pictures were dropped.
    pub fn take(&mut self, packet: Arc<Packet>, now: Instant) -> bool {
        let has_room = self.gathered.len() < MAX_GATHERED;
        if !has_room {
            // Sound is little and goes on, as long as it is little.
            let keeps_sound = self.gathered.iter().filter(|p| p.source.kind == Kind::Audio).count() < MAX_GATHERED / 2;
            let before = self.gathered.len();
            let mut rest = self.settled;
            self.gathered.retain(|p| {
                let is_settled = rest > 0;
                rest = rest.saturating_sub(1);
                !is_settled || (keeps_sound && p.source.kind == Kind::Audio)
            });
            self.settled -= before - self.gathered.len();
        }
        self.waiting_since.get_or_insert(now);
        let waiting = self.gathered.len() + 1 - self.settled;
        let is_whole = match packet.source.kind {
            Kind::Video => packet.marker,
            // Between two pictures there is nothing for sound to wait for.
            Kind::Audio => waiting == 1,
        };
        self.is_due |= is_whole || waiting >= MAX_BURST;
        self.gathered.push(packet);
        has_room
    }

    /// What has been taken in has waited already: it is due.
    pub fn hurry(&mut self) {
        self.is_due |= self.waiting_since.is_some();
    }

    /// When [`Bursts::settle`] is due at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + MAX_WAIT)
    }

    /// Settles order and padding of the packets that are due: they can be mailed to other workers.
    pub fn settle(&mut self, now: Instant) -> Option<&[Arc<Packet>]> {
        if !self.is_due && self.next_timeout().is_none_or(|at| at > now) {
            return None;
        }
        (self.is_due, self.waiting_since) = (false, None);
        let packets = self.gathered.get_mut(self.settled..)?;
        arrange(packets);
        self.settled += packets.len();
        Some(packets)
    }

    /// Lets the settled packets leave, unless others still do. Returns how long the first of them has waited.
    pub fn start(&mut self, now: Instant) -> Option<Duration> {
        if self.settled == 0 || !self.leaving.is_empty() {
            return None;
        }
        self.leaving.extend(self.gathered.drain(..self.settled));
        self.settled = 0;
        // Several frames may have gathered.
        arrange(&mut self.leaving);
        let arrived = self.leaving.iter().map(|p| p.received_at).min()?;
        self.arrived = Some(arrived);
        self.is_key = false;
        for packet in self.leaving.iter().filter(|p| p.source.kind == Kind::Video) {
            if packet.keyframe {
                self.key = Some(packet.timestamp);
            }
            self.is_key |= self.key == Some(packet.timestamp);
        }
        Some(now.saturating_duration_since(arrived))
    }

    /// The packets that are leaving.
    pub fn leaving(&self) -> &[Arc<Packet>] {
        &self.leaving
    }

    /// Packets that wait for the end of their frame: nothing is settled about them.
    pub fn waiting(&self) -> &[Arc<Packet>] {
        self.gathered.get(self.settled..).unwrap_or_default()
    }

    /// When the kernel got the first of the packets that leave or left last, and whether they are of a key frame.
    pub fn arrived(&self) -> Option<(Instant, bool)> {
        self.arrived.map(|at| (at, self.is_key))
    }

    /// They have left, to everybody.
    pub fn finish(&mut self) {
        self.leaving.clear();
    }
}

/// Orders a burst that is about to leave, and settles the padding of its packets. Each track keeps its order.
fn arrange(packets: &mut [Arc<Packet>]) {
    packets.sort_by_key(|p| (p.source.kind == Kind::Audio, p.source.layer));
    let mut rest = &*packets;
    while !rest.is_empty() {
        let (send, longest) = together(rest);
        if let Some((last, others)) = rest[..send].split_last() {
            for packet in others {
                packet.pad((longest - weight(packet)) as u8);
            }
            last.pad(0);
        }
        rest = &rest[send..];
    }
}

/// How many of the first packets can share a send with little padding, and the longest of them.
fn together(packets: &[Arc<Packet>]) -> (usize, usize) {
    let (mut longest, mut shortest) = (0, usize::MAX);
    for (count, packet) in packets.iter().enumerate() {
        let len = weight(packet);
        let is_other_layer = count > 0 && packets[0].source.layer != packet.source.layer;
        // All but the last are padded to the longest.
        if is_other_layer || (count > 0 && longest.max(len) - shortest > MOST_PADDING) {
            return (count, longest);
        }
        longest = longest.max(len);
        shortest = shortest.min(len);
    }
    (packets.len(), longest)
}

/// What a packet adds to a datagram, the same for all viewers but those who take no orientation.
fn weight(packet: &Packet) -> usize {
    packet.payload.len() + if packet.orientation.is_some() { ORIENTATION_BLOCK } else { 0 }
}

/// Packets of a burst that wait for no more: as many as one send may hold, less some for audio.
const MAX_BURST: usize = 40;
/// Packets that gather while the burst before them cannot leave.
const MAX_GATHERED: usize = 256;
/// What a packet may wait for the rest of its frame.
const MAX_WAIT: Duration = Duration::from_millis(2);
/// Bytes of padding that a packet may get: a send saved is worth more, and it is below 1 % of what a send carries.
const MOST_PADDING: usize = 64;
/// Bytes of the header extension that carries the orientation.
const ORIENTATION_BLOCK: usize = 8;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::packet::{Padding, Source};
    use crate::wire::sdp::{Codec, Feedback, Format};

    fn packets(kind: Kind, layer: u8, lengths: &[usize]) -> Vec<Arc<Packet>> {
        let format = Format {
            payload_type: 96,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            channels: 0,
            fmtp: String::new(),
            rtx: None,
            feedback: Feedback::default(),
        };
        let source = Arc::new(Source { id: 1 + u64::from(layer), presentation: 1, kind, layer, rid: None, format });
        let packet = |(seq, len): (usize, &usize)| {
            Arc::new(Packet {
                source: source.clone(),
                seq: seq as u64,
                timestamp: 0,
                marker: false,
                keyframe: false,
                received_at: Instant::now(),
                captured: None,
                descriptor: None,
                orientation: None,
                padding: Padding::default(),
                payload: Bytes::from(vec![0; *len]),
            })
        };
        lengths.iter().enumerate().map(packet).collect()
    }

    /// The payload and padding of each packet, in order.
    fn arranged(mut packets: Vec<Arc<Packet>>) -> Vec<(usize, u8)> {
        arrange(&mut packets);
        packets.iter().map(|p| (p.payload.len(), p.padding())).collect()
    }

    #[test]
    fn packets_that_differ_by_a_few_bytes_become_one_length() {
        let video = packets(Kind::Video, 0, &[1101, 1100, 1102, 1090]);

        assert_eq!(arranged(video), [(1101, 1), (1100, 2), (1102, 0), (1090, 0)]);
    }

    #[test]
    fn what_is_much_shorter_ends_a_send_unpadded() {
        let video = packets(Kind::Video, 0, &[1100, 1100, 300, 1100, 200]);

        assert_eq!(arranged(video), [(1100, 0), (1100, 0), (300, 0), (1100, 0), (200, 0)]);
    }

    #[test]
    fn sound_goes_last_and_the_end_of_a_frame_is_padded_to_take_it_along() {
        let mut burst = packets(Kind::Audio, 0, &[120]);
        burst.extend(packets(Kind::Video, 0, &[1100, 1060]));

        assert_eq!(arranged(burst), [(1100, 0), (1060, 40), (120, 0)]);
    }

    #[test]
    fn packets_of_different_layers_do_not_share_a_send() {
        let mut burst = packets(Kind::Video, 1, &[1100]);
        burst.extend(packets(Kind::Video, 0, &[1090]));

        assert_eq!(arranged(burst), [(1090, 0), (1100, 0)]);
    }

    #[test]
    fn padding_once_settled_stays() {
        let video = packets(Kind::Video, 0, &[1090, 1100]);

        assert_eq!(arranged(video[..1].to_vec()), [(1090, 0)]);
        assert_eq!(arranged(video), [(1090, 0), (1100, 0)]);
    }
}
