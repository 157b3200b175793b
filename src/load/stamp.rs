//! What the presenter of a load writes at the end of every payload, so that viewers on the same machine can tell how
//! long it was on its way. Servers forward it as they do any payload.

use std::time::Duration;

/// What a packet is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A picture that builds on others.
    Delta = 0,
    /// A key frame: many packets at once.
    Keyframe = 1,
    /// Sound.
    Audio = 2,
}

/// When a packet was sent, and what it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// What it is part of.
    pub(super) part: Part,
    /// Since 1970, in whole microseconds.
    pub(super) sent: Duration,
}

/// How long a packet was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// What it is part of.
    pub(super) part: Part,
    /// From the sender's call to the receiver's kernel.
    pub(super) time: Duration,
}

impl Stamp {
    /// Its bytes.
    pub(super) fn bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..].copy_from_slice(&((self.sent.as_micros() as u64) << 2 | self.part as u64).to_be_bytes());
        bytes
    }

    /// `None` when the clock went backwards.
    pub(super) fn delay(self, received: Duration) -> Option<Delay> {
        Some(Delay { part: self.part, time: received.checked_sub(self.sent)? })
    }
}

/// The stamp at the end of a payload; `None` when it is not one of ours.
pub(super) fn read(payload: &[u8]) -> Option<Stamp> {
    let (rest, value) = payload.split_last_chunk::<8>()?;
    if !rest.ends_with(&MAGIC) {
        return None;
    }
    let value = u64::from_be_bytes(*value);
    let part = match value & 3 {
        0 => Part::Delta,
        1 => Part::Keyframe,
        2 => Part::Audio,
        _ => return None,
    };
    Some(Stamp { part, sent: Duration::from_micros(value >> 2) })
}

/// Bytes of a stamp.
pub(super) const LEN: usize = 16;
const MAGIC: [u8; 8] = *b"\0stamp\0\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_from_the_end_of_a_payload() {
        for part in [Part::Delta, Part::Keyframe, Part::Audio] {
            let stamp = Stamp { part, sent: Duration::from_micros(1_763_800_000_123_456) };
            let payload = [b"payload".as_slice(), &stamp.bytes()].concat();

            assert_eq!(read(&payload), Some(stamp));
            let delay = stamp.delay(stamp.sent + Duration::from_millis(3));
            assert_eq!(delay, Some(Delay { part, time: Duration::from_millis(3) }));
            assert_eq!(stamp.delay(Duration::ZERO), None);
        }
    }

    #[test]
    fn other_payloads_have_none() {
        assert_eq!(read(b""), None);
        assert_eq!(read(&[0; 15]), None);
        assert_eq!(read(&[0; 16]), None);
    }
}
