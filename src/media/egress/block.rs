//! Header extensions of what a viewer is sent.

use super::Egress;
use crate::media::packet::Packet;

/// Header extensions of one packet, in the one-byte form, padded to 32 bits (RFC 8285 §4.2).
#[derive(Default)]
pub(super) struct Block {
    bytes: [u8; BLOCK],
    end: usize,
}

impl Block {
    /// Adds an element; an id or length that the form cannot have is left out, and what there is no room for.
    pub(super) fn push(&mut self, id: u8, data: &[u8]) {
        let end = self.end + 1 + data.len();
        if data.is_empty() || data.len() > LONGEST {
            return;
        }
        if let Some([head, rest @ ..]) = self.bytes.get_mut(self.end..end)
            && (1..=14).contains(&id)
        {
            *head = id << 4 | (data.len() - 1) as u8;
            rest.copy_from_slice(data);
            self.end = end;
        }
    }

    /// What the header holds.
    pub(super) fn padded(&self) -> &[u8] {
        &self.bytes[..self.end.next_multiple_of(4)]
    }

    /// Bytes that it takes, with what is in front of it.
    pub(super) fn len(&self) -> usize {
        if self.end == 0 { 0 } else { BLOCK_HEADER + self.padded().len() }
    }
}

impl Egress {
    /// Extensions that a packet has whenever it is sent; `seq` is our number for it.
    pub(super) fn block(&self, packet: &Packet, seq: u64) -> Block {
        let mut block = Block::default();
        // The SSRC says it as well, but a player that goes by MID need not have read that (RFC 8843 §9.2).
        if let Some(id) = self.section.extensions.mid
            && seq <= u64::from(self.before) + NAMED
        {
            block.push(id, self.section.mid.as_bytes());
        }
        if let (Some(id), Some(value)) = (self.section.extensions.orientation, packet.orientation) {
            block.push(id, &[value]);
        }
        block
    }

    /// Adds the transport's number of this sending, and remembers it.
    pub(super) fn number(&mut self, block: &mut Block, payload: usize) {
        if let Some(bandwidth) = &mut self.bandwidth {
            block.push(bandwidth.extension, &bandwidth.send(payload).to_be_bytes());
        }
    }
}

/// Packets of a track that say their section's name.
const NAMED: u64 = 100;
/// Profile and length in front of header extensions.
const BLOCK_HEADER: usize = 4;
/// Bytes of an element.
const LONGEST: usize = 16;
/// The longest name of a section, orientation and the transport's number: 22 bytes, padded.
const BLOCK: usize = 24;
