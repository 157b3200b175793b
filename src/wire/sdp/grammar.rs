//! From text to attributes: the grammar of session descriptions (RFC 8866).
//!
//! The grammar itself is `rtc-sdp`'s. Before it comes a pass that bounds what a stranger can make us do, remembers line
//! numbers for error messages, and leaves out lines that nobody reads but that real clients write in odd ways.

use std::io::Cursor;

use rtc_sdp::SessionDescription;
use rtc_sdp::description::common::Attribute as RawAttribute;

use super::Refusal;

/// A description, split up but not interpreted.
pub(super) struct Description {
    /// Attributes before the first `m=`.
    pub(super) session: Vec<Attribute>,
    /// Media sections in order; never empty.
    pub(super) media: Vec<Media>,
}

/// A media section.
pub(super) struct Media {
    /// Line number of its `m=`, from 1.
    pub(super) line: usize,
    /// `audio`, `video`, `application`, …
    pub(super) name: String,
    /// 0 means rejected, or bundle-only.
    pub(super) port: u16,
    /// Such as `UDP/TLS/RTP/SAVPF`.
    pub(super) proto: String,
    /// Payload types when `proto` is RTP; never empty.
    pub(super) formats: Vec<String>,
    /// Its attributes.
    pub(super) attributes: Vec<Attribute>,
}

/// An `a=` line.
pub(super) struct Attribute {
    /// Line number, from 1.
    pub(super) line: usize,
    /// Before the first colon.
    pub(super) key: String,
    /// After it; empty when there is none.
    pub(super) value: String,
}

impl Attribute {
    /// This attribute cannot be used.
    pub(super) fn malformed(&self, wanted: &str) -> Refusal {
        malformed(self.line, &format!("a={}:{}", self.key, self.value), wanted)
    }
}

/// Splits a description into its sections and attributes.
/// # Errors
/// `Malformed`, with the number of the line.
pub(super) fn read(text: &str) -> Result<Description, Refusal> {
    let lines = relevant_lines(text)?;
    let mut plain = String::with_capacity(text.len());
    for (_, line) in &lines {
        plain.push_str(line);
        plain.push_str("\r\n");
    }
    let mut reader = Cursor::new(plain.as_bytes());
    let Ok(description) = SessionDescription::unmarshal(&mut reader) else {
        let position = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        let read = plain.get(..position).unwrap_or_default();
        let index = read.matches('\n').count().saturating_sub(1);
        let (number, line) = lines.get(index).copied().unwrap_or((1, ""));
        let wanted = if line.starts_with('m') { "m=<media> <port> <proto> <formats>" } else { "v=0" };
        return Err(malformed(number, line, wanted));
    };

    // `rtc-sdp` keeps the order of lines, so the numbers can be dealt out again.
    let mut attribute_lines = numbers_of(&lines, "a=");
    let mut media_lines = numbers_of(&lines, "m=");
    let session = attributes(description.attributes, &mut attribute_lines);
    let media: Vec<Media> = description
        .media_descriptions
        .into_iter()
        .map(|media| Media {
            line: media_lines.next().unwrap_or(0),
            name: media.media_name.media,
            port: u16::try_from(media.media_name.port.value).unwrap_or(0),
            proto: media.media_name.protos.join("/"),
            formats: media.media_name.formats,
            attributes: attributes(media.attributes, &mut attribute_lines),
        })
        .collect();
    if media.is_empty() {
        return Err(Refusal::Malformed("no media section: found no m= line".into()));
    }
    Ok(Description { session, media })
}

/// The lines that matter with their numbers; others are replaced or left out.
fn relevant_lines(text: &str) -> Result<Vec<(usize, &str)>, Refusal> {
    if text.len() > MAX_SIZE {
        return Err(Refusal::Malformed(format!("{} bytes of SDP, at most {MAX_SIZE} are read", text.len())));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    let mut sections = 0;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        check_line(number, line)?;
        if let Some(wanted) = HEADER.get(lines.len())
            && !line.starts_with(wanted)
        {
            return Err(malformed(number, line, wanted));
        }
        match line.as_bytes().first() {
            Some(b'v' | b'a') => lines.push((number, line)),
            // Clients write anything for their name and session: nothing here depends on it.
            Some(b'o') if lines.len() == 1 => lines.push((number, "o=- 0 0 IN IP4 0.0.0.0")),
            Some(b's') if lines.len() == 2 => lines.extend([(number, "s=-"), (number, "t=0 0")]),
            Some(b'm') => {
                sections += 1;
                if sections > MAX_SECTIONS {
                    return Err(malformed(number, line, &format!("at most {MAX_SECTIONS} media sections")));
                }
                lines.push((number, line));
            }
            // i= u= e= p= c= b= t= r= z= k= and what the future brings (RFC 8866 §5: ignore unknown types).
            _ => {}
        }
    }
    match HEADER.get(lines.len()) {
        Some(wanted) => Err(Refusal::Malformed(format!("not a session description: it ends before `{wanted}`"))),
        None => Ok(lines),
    }
}

/// `<letter>=`, not too long, nothing that could break a line of our answer.
pub(super) fn check_line(number: usize, line: &str) -> Result<(), Refusal> {
    if line.len() > MAX_LINE {
        return Err(malformed(number, line, &format!("at most {MAX_LINE} bytes in a line")));
    }
    if line.chars().any(|character| character.is_control() && character != '\t') {
        return Err(malformed(number, line, "no control characters"));
    }
    match line.as_bytes() {
        [b'a'..=b'z', b'=', ..] => Ok(()),
        _ => Err(malformed(number, line, "<letter>=<value>")),
    }
}

/// The numbers of those lines that start with `prefix`.
fn numbers_of<'a>(lines: &'a [(usize, &str)], prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    lines.iter().filter(move |(_, line)| line.starts_with(prefix)).map(|(number, _)| *number)
}

/// Attributes with their line numbers.
fn attributes(raw: Vec<RawAttribute>, lines: &mut impl Iterator<Item = usize>) -> Vec<Attribute> {
    raw.into_iter()
        .map(|attribute| Attribute {
            line: lines.next().unwrap_or(0),
            key: attribute.key,
            value: attribute.value.unwrap_or_default().trim().to_owned(),
        })
        .collect()
}

/// What was found in a line and what was wanted there.
pub(super) fn malformed(line: usize, found: &str, wanted: &str) -> Refusal {
    // A password is a password even when it is a bad one.
    let found = if found.starts_with(PASSWORD) { "a=ice-pwd:…" } else { found };
    Refusal::Malformed(format!("line {line}: found `{}`, wanted {wanted}", excerpt(found)))
}

/// A stranger's text, short and printable.
pub(super) fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT).is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Bytes of an offer; the largest seen, of a browser with everything switched on, is under 20 KiB.
const MAX_SIZE: usize = 64 * 1024;
/// Bytes of a line; the longest seen are H.265 parameter sets.
const MAX_LINE: usize = 2048;
/// `m=` lines of an offer.
const MAX_SECTIONS: usize = 64;
/// How every description begins.
const HEADER: [&str; 3] = ["v=", "o=", "s="];
/// A line whose value never gets into a message.
const PASSWORD: &str = "a=ice-pwd:";
/// Characters of a client's text that go into a message.
const EXCERPT: usize = 60;
