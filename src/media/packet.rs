//! A presenter's packet, decrypted once, never changed, shared by all viewers.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use crate::wire::descriptor::Descriptor;
use crate::wire::sdp::{Format, Kind};

/// Where packets come from: one numbering, one clock, one format. A change of any makes a new source.
#[derive(Debug)]
pub struct Source {
    /// Unique in this process; never 0.
    pub id: u64,
    /// Grows with each presenter of the stream.
    pub presentation: u64,
    /// Audio or video.
    pub kind: Kind,
    /// Simulcast layer: index of its rid in the offer; 0 without simulcast.
    pub layer: u8,
    /// The layer's rid, with simulcast.
    pub rid: Option<Arc<str>>,
    /// What the packets carry.
    pub format: Format,
}

/// One packet.
#[derive(Debug)]
pub struct Packet {
    /// Where it comes from.
    pub source: Arc<Source>,
    /// Extended sequence number, without the presenter's padding packets.
    pub seq: u64,
    /// RTP timestamp in units of the format's clock.
    pub timestamp: u32,
    /// RTP marker: the last packet of a video frame.
    pub marker: bool,
    /// A decoder can start here.
    pub keyframe: bool,
    /// When the kernel got it.
    pub received_at: Instant,
    /// The same on our NTP clock by the presenter's account, when it has told its clock.
    pub captured: Option<u64>,
    /// Layers and picture numbers, when the payload tells.
    pub descriptor: Option<Descriptor>,
    /// Video orientation (3GPP TS 26.114 §7.4.5), when the presenter says it.
    pub orientation: Option<u8>,
    /// What is added on the way out.
    pub padding: Padding,
    /// RTP payload without padding.
    pub payload: Bytes,
}

/// Bytes of RTP padding that a packet gets towards every viewer. Settled once: a resend that is not byte-identical would
/// give the key away.
#[derive(Debug, Default)]
pub struct Padding(OnceLock<u8>);

impl Packet {
    /// Settles the padding, unless it is settled already.
    pub fn pad(&self, bytes: u8) {
        let _ = self.padding.0.set(bytes);
    }

    /// The padding; none, and none from now on, when it has not been settled before.
    pub fn padding(&self) -> u8 {
        *self.padding.0.get_or_init(|| 0)
    }
}

/// The last packets of a layer, for those who ask again.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[Option<Arc<Packet>>]>,
}

impl Ring {
    /// A ring for the last `len` packets, a power of two.
    pub fn new(len: usize) -> Self {
        Self { slots: vec![None; len.next_power_of_two()].into_boxed_slice() }
    }

    /// How many packets it keeps at most; never 0.
    #[expect(clippy::len_without_is_empty, reason = "this is a capacity")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Keeps a packet, forgetting the one `len` before it.
    pub fn insert(&mut self, packet: Arc<Packet>) {
        let slot = self.slot(packet.seq);
        let newer =
            self.slots[slot].as_ref().is_none_or(|old| old.source.id != packet.source.id || old.seq < packet.seq);
        if newer {
            self.slots[slot] = Some(packet);
        }
    }

    /// The packet with this number, if it is still here.
    pub fn get(&self, source: u64, seq: u64) -> Option<&Arc<Packet>> {
        self.slots[self.slot(seq)].as_ref().filter(|p| p.source.id == source && p.seq == seq)
    }

    fn slot(&self, seq: u64) -> usize {
        seq as usize & (self.slots.len() - 1)
    }
}
