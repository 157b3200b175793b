//! Media that is there already: frames of a file, or of the test pattern in this binary.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::PublishError;
use super::{annexb, ivf, ogg};
use crate::wire::sdp::Codec;

/// Frames in the order in which they are sent.
#[derive(Clone, Debug)]
pub(super) struct Clip {
    /// Of all frames.
    pub(super) codec: Codec,
    /// At least one.
    pub(super) frames: Vec<Frame>,
}

/// A picture, or a packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes, as the payload formats want them.
    pub(super) data: Bytes,
    /// How long it is shown or heard.
    pub(super) lasts: Duration,
    /// A decoder can begin here.
    pub(super) key: bool,
}

/// A file that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin as this format does.
    #[error("not {0}")]
    Not(&'static str),
    /// Something in it that cannot be sent.
    #[error("{0} cannot be sent; wanted {1}")]
    Unsupported(&'static str, &'static str),
    /// Nothing in it.
    #[error("it holds no frames")]
    Empty,
}

impl Clip {
    /// Video: .ivf (VP8, VP9, AV1), .h264 or .264, .h265 or .hevc (Annex B, without B-frames). `fps` for formats that do
    /// not say it.
    /// # Errors
    /// When the file cannot be read or understood.
    pub(super) fn video(path: &Path, fps: Option<u32>) -> Result<Self, PublishError> {
        let data = read(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
        let lasts = fps.map(|fps| Duration::from_secs(1) / fps.max(1));
        let clip = match extension.as_str() {
            "ivf" => ivf::read(&data, lasts),
            "h264" | "264" => annexb::read(&data, Codec::H264, lasts.unwrap_or(DEFAULT_LASTS)),
            "h265" | "265" | "hevc" => annexb::read(&data, Codec::H265, lasts.unwrap_or(DEFAULT_LASTS)),
            _ => Err(FormatError::Not("a name that ends in .ivf, .h264 or .h265")),
        };
        clip.map_err(|error| PublishError::Format(path.to_owned(), error))
    }

    /// Audio: .ogg or .opus (Opus).
    /// # Errors
    /// When the file cannot be read or understood.
    pub(super) fn audio(path: &Path) -> Result<Self, PublishError> {
        ogg::read(&read(path)?).map_err(|error| PublishError::Format(path.to_owned(), error))
    }

    /// The moving test pattern in `layers` sizes, the largest first.
    /// # Errors
    /// Never; the clips are part of this binary.
    pub(super) fn pattern(layers: usize) -> Result<Vec<Self>, FormatError> {
        PATTERN.into_iter().take(layers).map(|clip| ivf::read(&Bytes::from_static(clip), None)).collect()
    }

    /// A tone.
    /// # Errors
    /// Never; the clip is part of this binary.
    pub(super) fn tone() -> Result<Self, FormatError> {
        ogg::read(&Bytes::from_static(TONE))
    }

    /// The next frame at or after `at` where a decoder can begin; from the start again if that is wanted.
    pub(super) fn next_key(&self, at: usize, looped: bool) -> Option<usize> {
        let ahead = self.frames.iter().skip(at).position(|frame| frame.key).map(|found| at + found);
        ahead.or_else(|| self.frames.iter().position(|frame| frame.key).filter(|_| looped))
    }

    /// Ticks a second of its RTP clock.
    pub(super) fn clock_rate(&self) -> u32 {
        if self.codec == Codec::Opus { 48_000 } else { 90_000 }
    }
}

fn read(path: &Path) -> Result<Bytes, PublishError> {
    let failed = |error| PublishError::File(path.to_owned(), error);
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > MAX_FILE {
        return Err(PublishError::Format(path.to_owned(), FormatError::Unsupported("a file over 1 GiB", "less")));
    }
    std::fs::read(path).map(Bytes::from).map_err(failed)
}

/// FFmpeg's `testsrc` in VP8 at 30 pictures a second, ten seconds with a key frame in each.
const PATTERN: [&[u8]; MAX_LAYERS] =
    [include_bytes!("clips/high.ivf"), include_bytes!("clips/middle.ivf"), include_bytes!("clips/low.ivf")];
/// 440 Hz, ten seconds of Opus.
const TONE: &[u8] = include_bytes!("clips/tone.ogg");
/// Sizes of the pattern.
pub(super) const MAX_LAYERS: usize = 3;
/// Of streams that do not tell.
const DEFAULT_LASTS: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Files are read as a whole.
const MAX_FILE: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_and_the_tone_loop_every_ten_seconds() {
        let layers = Clip::pattern(MAX_LAYERS).expect("embedded");
        assert_eq!(layers.len(), MAX_LAYERS);

        for clip in layers.iter().chain([&Clip::tone().expect("embedded")]) {
            let lasts: Duration = clip.frames.iter().map(|frame| frame.lasts).sum();
            assert!((lasts.as_secs_f64() - 10.0).abs() < 0.05, "{lasts:?}");
            assert!(clip.frames[0].key);
        }
        assert!(layers.iter().all(|clip| clip.frames.iter().filter(|frame| frame.key).count() == 10));
    }

    #[test]
    fn a_key_frame_is_sought_ahead_and_then_from_the_start() {
        let frame = |key| Frame { data: Bytes::from_static(b"x"), lasts: DEFAULT_LASTS, key };
        let clip = Clip { codec: Codec::Vp8, frames: vec![frame(true), frame(false), frame(true), frame(false)] };

        assert_eq!((clip.next_key(0, false), clip.next_key(1, false)), (Some(0), Some(2)));
        assert_eq!((clip.next_key(3, false), clip.next_key(3, true)), (None, Some(0)));
        assert_eq!(clip.next_key(99, false), None);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Clip::audio(Path::new("/nowhere/a.ogg")).expect_err("nothing there");

        assert!(error.to_string().starts_with("/nowhere/a.ogg: "), "{error}");
    }
}
