//! What the user wants.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Watch a stream without a screen
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The WHEP endpoint, http:// or https://
    #[arg(long, value_name = "URL")]
    pub whep: String,
    /// Sent as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Stop after so many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "S")]
    pub seconds: Option<u32>,
    /// Fewer complete pictures in all are a failure
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub expect_frames: u64,
    /// Of the lines and the report
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Keep the video (.ivf for VP8, VP9 and AV1, .h264) or the audio (.ogg)
    #[arg(long, value_name = "FILE")]
    pub write: Vec<PathBuf>,
    /// Give up at the first failure instead of coming back
    #[arg(long)]
    pub once: bool,
    /// Take any certificate of an https server
    #[arg(long)]
    pub insecure: bool,
}

/// How results look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  tribune watch --whep http://localhost:8080/whep/live
  tribune watch --whep https://example.org/whep/live --token T --seconds 10 --expect-frames 250 --once
  tribune watch --whep http://localhost:8080/whep/live --format json --seconds 5 | jq -s 'last.video.fps'
  tribune watch --whep http://localhost:8080/whep/live --seconds 60 --write talk.ivf --write talk.ogg

A line a second and a report at the end, both on standard output; troubles are on standard error.
A picture counts when all of its packets came; a freeze is more than 500 ms without one.
Exit codes: 0 media came, as many pictures as expected; 1 not so; 64 wrong usage; 74 a file cannot be written.";
