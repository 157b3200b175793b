//! How what is sent to a viewer becomes a datagram.

use super::Place;
use super::block::Block;
use crate::media::outbox::{Outbox, Run};
use crate::media::packet::Packet;
use crate::peer::ice::Path;
use crate::peer::srtp::RtpSealer;
use crate::wire::rtp;

/// Writes and seals a packet in its own numbering, with the padding that it gets every time.
#[expect(clippy::too_many_arguments, reason = "what is sent, as what, to whom")]
pub(super) fn put(
    packet: &Packet,
    place: Place,
    ssrc: u32,
    block: &Block,
    sealer: &mut RtpSealer,
    run: &mut Run,
    out: &mut impl Outbox,
    path: Path,
) {
    let padding = packet.padding();
    let len = sealed_len(block, packet.payload.len() + usize::from(padding), sealer);
    run.push(out, path, len, |buf| {
        let start = buf.len();
        let Place { seq, timestamp, payload_type, marker, .. } = place;
        write(buf, marker, padding > 0, payload_type, seq as u16, timestamp, ssrc, block);
        let header_len = buf.len() - start;
        place.copy(packet, buf);
        if padding > 0 {
            // Zeros, and last their count (RFC 3550 §5.1).
            buf.resize(buf.len() + usize::from(padding) - 1, 0);
            buf.push(padding);
        }
        seal(sealer, buf, start, header_len, ssrc, seq);
    });
}

/// Bytes of a datagram with this block and payload.
pub(super) fn sealed_len(block: &Block, payload: usize, sealer: &RtpSealer) -> usize {
    FIXED_HEADER + block.len() + payload + sealer.overhead()
}

/// Writes a header.
#[expect(clippy::too_many_arguments, reason = "the fields of a header")]
pub(super) fn write(
    buf: &mut Vec<u8>,
    marker: bool,
    padding: bool,
    payload_type: u8,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    block: &Block,
) {
    rtp::write_header(buf, marker, padding, payload_type, seq, timestamp, ssrc, block.padded());
}

/// Seals what begins at `start`.
pub(super) fn seal(sealer: &mut RtpSealer, buf: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
    // Sealing fails only after 2^48 packets of one key.
    let sealed = sealer.seal(buf, start, header_len, ssrc, index);
    debug_assert!(sealed.is_ok(), "the index is below 2^48");
}

const FIXED_HEADER: usize = 12;
