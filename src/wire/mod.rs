//! Bytes ↔ values. Pure: no socket, clock, random source or global.

pub mod dependency;
pub mod descriptor;
pub mod keyframe;
pub mod picture;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod seq;
pub mod stun;

/// What the first bytes of a datagram say it is (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// First byte 0–3.
    Stun,
    /// First byte 20–63.
    Dtls,
    /// First byte 128–191, second byte not 192–223.
    Rtp,
    /// First byte 128–191, second byte 192–223.
    Rtcp,
}

impl Protocol {
    /// Classifies a datagram; `None` for everything that none of our protocols starts with.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        match (datagram.first()?, datagram.get(1)?) {
            (0..=3, _) => Some(Self::Stun),
            (20..=63, _) => Some(Self::Dtls),
            (128..=191, 192..=223) => Some(Self::Rtcp),
            (128..=191, _) => Some(Self::Rtp),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Option<Protocol>); 9] = [
            (&[0, 1], Some(Protocol::Stun)),
            (&[22, 254], Some(Protocol::Dtls)),
            (&[0x80, 96], Some(Protocol::Rtp)),
            (&[0x90, 0xef], Some(Protocol::Rtp)),
            (&[0x80, 200], Some(Protocol::Rtcp)),
            (&[64, 0], None),
            (&[192, 0], None),
            (&[0x80], None),
            (&[], None),
        ];

        for (bytes, protocol) in cases {
            assert_eq!(Protocol::of(bytes), protocol, "{bytes:?}");
        }
    }
}
