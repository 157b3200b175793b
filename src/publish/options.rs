//! What the user wants.

use clap::Args;

use super::clip::MAX_LAYERS;

/// Present files or a test pattern
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// The WHIP endpoint, http:// or https://
    #[arg(long, value_name = "URL")]
    pub whip: String,
    /// Sent as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// test-pattern, none, or a file: .ivf (VP8, VP9, AV1), .h264 or .h265 (Annex B, no B-frames). Given more than once:
    /// simulcast layers, the largest first
    #[arg(long, value_name = "FILE", default_value = "test-pattern")]
    pub video: Vec<String>,
    /// tone, none, or a file: .ogg (Opus)
    #[arg(long, value_name = "FILE", default_value = "tone")]
    pub audio: String,
    /// Begin again when a file ends; the test pattern and the tone always do
    #[arg(long = "loop")]
    pub looped: bool,
    /// Sizes of the test pattern that are sent at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = layers)]
    pub simulcast: usize,
    /// Take no requests for key frames (and say so in the offer), as hardware encoders do: they come when the file has them
    #[arg(long)]
    pub ignore_pli: bool,
    /// Pictures a second [default: what the file says, else 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: Option<u32>,
    /// End after so many seconds
    #[arg(long, value_name = "S")]
    pub seconds: Option<u32>,
    /// When the connection fails, try again: after 1 s, then longer, or when the server says
    #[arg(long)]
    pub reconnect: bool,
    /// Take any certificate of an https server
    #[arg(long)]
    pub insecure: bool,
}

impl Options {
    /// Nothing of it comes from a file.
    pub(super) fn is_embedded(&self) -> bool {
        self.video.iter().all(|video| matches!(video.as_str(), "test-pattern" | "none"))
            && matches!(self.audio.as_str(), "tone" | "none")
    }
}

fn layers(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LAYERS).contains(number));
    number.ok_or_else(|| format!("wanted 1 to {MAX_LAYERS}"))
}

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  tribune publish --whip http://localhost:8080/whip/live --token T
  tribune publish --whip https://example.org/whip/live --token T --simulcast 3 --reconnect
  tribune publish --whip http://localhost:8080/whip/live --token T --video talk.h264 --fps 25 --audio talk.ogg --loop
  tribune publish --whip http://localhost:8080/whip/live --token T --video hd.ivf --video sd.ivf --audio none

Nothing is encoded: files go out as they are, and a request for a key frame is answered by going on at the next one.
To make files: ffmpeg -i talk.mp4 -c:v libx264 -bf 0 -g 60 talk.h264 -c:a libopus talk.ogg
Progress is on standard error. Ctrl-C says goodbye to the server.
Exit codes: 0 presented until the end, 1 refused or lost, 64 wrong usage, 74 a file cannot be used.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_layers_as_the_pattern_has_sizes() {
        assert_eq!((layers("1"), layers("3")), (Ok(1), Ok(3)));
        assert!(["", "0", "4", "x"].iter().all(|text| layers(text).is_err()));
    }
}
