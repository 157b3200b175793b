//! How a presenter is doing, as far as that shows without decoding anything.

use std::time::Duration;

/// What a presenter sent since the last of these, which is told once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What it is about.
    pub interval: Duration,
    /// Media packets that came.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// From asking for a packet to its coming again; `None` before that has happened.
    pub round_trip: Option<Duration>,
    /// Its sound, if it has ever sent some.
    pub audio: Option<AudioHealth>,
    /// Its picture, if it has ever sent some; with simulcast the encoding with the most bytes.
    pub video: Option<VideoHealth>,
    /// Frames of each simulcast encoding, by its index in the offer.
    pub frames: [u32; ENCODINGS],
}

/// The sound of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioHealth {
    /// Packets.
    pub packets: u32,
    /// Their payload bytes.
    pub bytes: u32,
    /// The loudest level, in −dBov: 0 is the loudest, 127 silence (RFC 6464); `None` when packets do not tell.
    pub loudest: Option<u8>,
}

/// The picture of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoHealth {
    /// Packets.
    pub packets: u32,
    /// Their payload bytes.
    pub bytes: u32,
    /// Frames begun.
    pub frames: u32,
    /// Key frames among them.
    pub key_frames: u32,
    /// Between the last two key frames.
    pub key_interval: Option<Duration>,
    /// The last key frame came by the presenter's clock: not because it was asked for, nor when something else changed.
    pub keys_by_clock: bool,
    /// It agreed to send key frames when it is asked.
    pub can_be_asked: bool,
    /// A key frame was asked for so long ago and has not come.
    pub unanswered: Option<Duration>,
    /// Since the last key frame; `None` before the first.
    pub since_key: Option<Duration>,
    /// Since the last packet.
    pub since_packet: Duration,
    /// Frames sent behind one that is shown later: B-frames.
    pub backward: u32,
    /// Bytes of the largest frame that is no key frame; 0 when there was none.
    pub largest_delta: u32,
    /// Width and height in pixels, when its last key frame told.
    pub size: Option<(u16, u16)>,
}

/// Encodings that are looked at one by one.
pub const ENCODINGS: usize = 4;
