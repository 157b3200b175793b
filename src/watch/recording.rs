//! Keeps what comes in files.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use rtc::media::io::Writer;
use rtc::media::io::h26x_writer::H26xWriter;
use rtc::media::io::ivf_reader::IVFFileHeader;
use rtc::media::io::ivf_writer::IVFWriter;
use rtc::media::io::ogg_writer::OggWriter;

use super::assembler::Turn;
use super::stats;
use crate::wire::sdp::Codec;

/// A file that takes the media whose form it has.
pub(super) struct Recording {
    path: PathBuf,
    /// Made at the first packet that begins something.
    writer: Option<Box<dyn Writer + Send>>,
    failed: bool,
}

impl Recording {
    /// Nothing is written before something comes; what is there is replaced then.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), writer: None, failed: false }
    }

    /// Writes a packet if it is of its kind. Gives back what went wrong, once.
    pub(super) fn write(&mut self, codec: Codec, turn: &Turn) -> Option<String> {
        if self.failed || !self.takes(codec) || (self.writer.is_none() && !turn.begins_key) {
            return None;
        }
        let written = self.try_write(codec, turn);
        self.failed = written.is_err();
        written.err().map(|error| format!("{}: {error}", self.path.display()))
    }

    /// Completes the file. Gives back what went wrong.
    pub(super) fn close(&mut self) -> Option<String> {
        let closed = self.writer.as_mut()?.close();
        closed.err().map(|error| format!("{}: {error}", self.path.display()))
    }

    fn try_write(&mut self, codec: Codec, turn: &Turn) -> rtc::shared::error::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let file = BufWriter::new(File::create(&self.path)?);
                none.insert(match codec {
                    Codec::H264 => Box::new(H26xWriter::new(file, false)),
                    Codec::H265 => Box::new(H26xWriter::new(file, true)),
                    Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => Box::new(OggWriter::new(file, 48_000, 2)?),
                    Codec::Vp8 | Codec::Vp9 | Codec::Av1 => {
                        Box::new(IVFWriter::new(file, &header(codec, &turn.packet.payload))?)
                    }
                })
            }
        };
        writer.write_rtp(&turn.packet)
    }

    fn takes(&self, codec: Codec) -> bool {
        let extension = self.path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        let wanted: &[_] = match codec {
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 => &["ivf"],
            Codec::H264 => &["h264", "264"],
            Codec::H265 => &["h265", "265", "hevc"],
            Codec::Opus => &["ogg", "opus"],
            Codec::G722 | Codec::Pcmu | Codec::Pcma => &[],
        };
        wanted.iter().any(|wanted| extension.eq_ignore_ascii_case(wanted))
    }
}

fn header(codec: Codec, payload: &[u8]) -> IVFFileHeader {
    let (width, height) = stats::size(codec, payload).unwrap_or_default();
    let four_cc = match codec {
        Codec::Vp9 => *b"VP90",
        Codec::Av1 => *b"AV01",
        _ => *b"VP80",
    };
    IVFFileHeader {
        signature: *b"DKIF",
        version: 0,
        header_size: 32,
        four_cc,
        width,
        height,
        timebase_denominator: 30,
        timebase_numerator: 1,
        num_frames: 0,
        unused: 0,
    }
}
