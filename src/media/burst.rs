//! How the packets of a burst are put in order, so that few sends carry them to each viewer.
//!
//! One send holds datagrams of one length, the last one maybe shorter (UDP generic segmentation offload), and costs as
//! much as sealing several packets. So, once per burst and for all viewers: sound goes last, where its small packets
//! are the short end of a send, and packets that are a little too short get RTP padding (RFC 3550 §5.1).

use std::sync::Arc;

use super::packet::Packet;
use crate::wire::sdp::Kind;

/// Orders a burst that is about to leave, and settles the padding of its packets. Each track keeps its order.
pub fn arrange(packets: &mut [Arc<Packet>]) {
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

/// Bytes of padding that a packet may get: a send saved is worth more, and it is below 1 % of what a send carries.
const MOST_PADDING: usize = 64;
/// Bytes of the header extension that carries the orientation.
const ORIENTATION_BLOCK: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
