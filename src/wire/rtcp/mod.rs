//! RTCP: what we read and what we write.
//!
//! [`read`] turns a datagram into [`Event`]s. The writers append one RTCP packet each, so that a compound packet is a
//! row of calls. What we must know to write them is counted by [`Statistics`] (reports), [`Losses`] (NACK) and
//! [`Arrivals`] (transport-wide feedback).

mod arrived;
mod feedback;
mod report;
mod twcc;

pub use arrived::read_transport_cc;
pub use feedback::{Losses, write_fir, write_nack, write_pli, write_remb};
pub use report::{Reception, Statistics, write_bye, write_cname, write_receiver_report, write_sender_report};
pub use twcc::Arrivals;

/// One thing that a peer tells by RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// What a source has sent so far (RFC 3550 §6.4.1).
    SenderReport {
        /// The source.
        ssrc: u32,
        /// Its wall clock, 32.32 fixed-point seconds since 1900.
        ntp: u64,
        /// The same moment on its RTP clock.
        rtp: u32,
        /// Packets sent.
        packets: u32,
        /// Payload bytes sent.
        octets: u32,
    },
    /// How a source is received (RFC 3550 §6.4.1).
    Report {
        /// The source.
        about: u32,
        /// Lost since the last report, in 1/256.
        fraction_lost: u8,
        /// Lost in all, 24 bits; negative when duplicates came.
        lost: i32,
        /// Highest sequence number, extended to 32 bits.
        highest: u32,
        /// Interarrival jitter in RTP timestamp units.
        jitter: u32,
        /// Middle 32 bits of the NTP time in the last sender report; 0 = none came.
        last_sr: u32,
        /// Time since that sender report came, in 1/65536 s.
        delay: u32,
    },
    /// Packets are missing: one pair of a generic NACK (RFC 4585 §6.2.1).
    Nack {
        /// The source.
        about: u32,
        /// The first that is missing.
        packet_id: u16,
        /// Bit i: packet `packet_id` + i + 1 is missing too.
        bitmap: u16,
    },
    /// A key frame is wanted (RFC 4585 §6.3.1).
    Pli {
        /// The source; Chromium asks about 0 before it knows one.
        about: u32,
    },
    /// A key frame is wanted: one entry of a full intra request (RFC 5104 §4.3.1).
    Fir {
        /// The source.
        about: u32,
    },
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 §2.2).
    Remb {
        /// In bit/s.
        bitrate: u64,
    },
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    TransportCc {
        /// From the base sequence number on, RTCP padding removed; at least 8 bytes.
        body: &'a [u8],
    },
    /// A source leaves (RFC 3550 §6.6).
    Bye {
        /// The source.
        ssrc: u32,
    },
}

/// Calls `each` for every item of a compound or reduced-size packet; types that we do not use are skipped. Stops and
/// returns false at the first malformed part and after 256 items.
pub fn read<'a>(datagram: &'a [u8], mut each: impl FnMut(Event<'a>)) -> bool {
    let mut items = 0;
    let mut count = |event| {
        items += 1;
        let room = items <= MAX_ITEMS;
        if room {
            each(event);
        }
        room.then_some(())
    };
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((packet, after)) = Packet::split(rest) else {
            return false;
        };
        rest = after;
        let read = match packet.kind {
            SENDER_REPORT | RECEIVER_REPORT => report::read(&packet, &mut count),
            BYE => report::read_bye(&packet, &mut count),
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => feedback::read(&packet, &mut count),
            _ => Some(()),
        };
        if read.is_none() {
            return false;
        }
    }
    true
}

/// One RTCP packet of a compound packet.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    kind: u8,
    /// The five bits called RC, SC or FMT.
    count: u8,
    /// Without header and padding.
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Splits the first packet off; `None` when it is truncated, of another version, or padded wrongly.
    fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[first, kind, l0, l1], rest) = datagram.split_first_chunk()?;
        let len = 4 * usize::from(u16::from_be_bytes([l0, l1]));
        let (mut body, rest) = rest.split_at_checked(len)?;
        if first >> 6 != 2 {
            return None;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            // RFC 3550 pads only the last packet of a compound, by whole words. Transport feedback is padded by
            // bytes, and not every sender puts it last.
            if padding == 0 {
                return None;
            }
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        let count = first & 0x1f;
        Some((Self { kind, count, body }, rest))
    }
}

/// Takes a big-endian 32-bit word off the front.
fn word(bytes: &mut &[u8]) -> Option<u32> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*head))
}

/// Appends one packet; `body` appends what follows the header, in whole words, fewer than 2^16.
fn write(out: &mut Vec<u8>, kind: u8, count: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | count & 0x1f, kind, 0, 0]);
    body(out);
    let words = (out.len() - start) / 4 - 1;
    out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
}

/// Appends big-endian 32-bit words.
fn push_words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// A datagram of 1,500 bytes holds about 370 NACK pairs; honest ones hold a few dozen.
const MAX_ITEMS: usize = 256;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Format (FMT) of transport-wide feedback.
const TRANSPORT_CC: u8 = 15;

#[cfg(test)]
mod tests;
