//! From text to attributes: the grammar of session descriptions (RFC 8866), as far as anybody here reads it.
//!
//! One pass over the text, which is borrowed and not copied: a browser's offer has a hundred attributes and more. It
//! bounds what a stranger can make us do and remembers line numbers for error messages.

use super::Refusal;

/// A description, split up but not interpreted.
pub(super) struct Description<'a> {
    /// Attributes before the first `m=`.
    pub(super) session: Vec<Attribute<'a>>,
    /// Media sections in order; never empty.
    pub(super) media: Vec<Media<'a>>,
}

/// A media section.
pub(super) struct Media<'a> {
    /// Line number of its `m=`, from 1.
    pub(super) line: usize,
    /// `audio`, `video`, `application`, …
    pub(super) name: &'a str,
    /// 0 means rejected, or bundle-only.
    pub(super) port: u16,
    /// Such as `UDP/TLS/RTP/SAVPF`.
    pub(super) proto: &'a str,
    /// Payload types when `proto` is RTP; never empty.
    pub(super) formats: Vec<&'a str>,
    /// Its attributes.
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// An `a=` line.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Line number, from 1.
    pub(super) line: usize,
    /// Before the first colon.
    pub(super) key: &'a str,
    /// After it; empty when there is none.
    pub(super) value: &'a str,
}

impl Attribute<'_> {
    /// This attribute cannot be used.
    pub(super) fn malformed(&self, wanted: &str) -> Refusal {
        malformed(self.line, &format!("a={}:{}", self.key, self.value), wanted)
    }
}

/// Splits a description into its sections and attributes.
/// # Errors
/// `Malformed`, with the number of the line.
pub(super) fn read(text: &str) -> Result<Description<'_>, Refusal> {
    if text.len() > MAX_SIZE {
        return Err(Refusal::Malformed(format!("{} bytes of SDP, at most {MAX_SIZE} are read", text.len())));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut header = HEADER.iter();
    let mut description = Description { session: Vec::new(), media: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        check_line(number, line)?;
        if let Some(wanted) = header.next() {
            // Clients write anything for their name and session: nothing here depends on it.
            if !line.starts_with(wanted) {
                return Err(malformed(number, line, wanted));
            }
        }
        match line.split_at_checked(2) {
            Some(("a=", attribute)) => {
                let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                let attributes = description.media.last_mut().map(|media| &mut media.attributes);
                attributes.unwrap_or(&mut description.session).push(Attribute {
                    line: number,
                    key,
                    value: value.trim(),
                });
            }
            Some(("m=", _)) if description.media.len() >= MAX_SECTIONS => {
                return Err(malformed(number, line, &format!("at most {MAX_SECTIONS} media sections")));
            }
            Some(("m=", value)) => {
                let media = media(number, value);
                let wanted = "m=<media> <port> <proto> <formats>";
                description.media.push(media.ok_or_else(|| malformed(number, line, wanted))?);
            }
            Some(("v=", version)) if index > 0 || version != "0" => return Err(malformed(number, line, "v=0")),
            // i= u= e= p= c= b= t= r= z= k= and what the future brings (RFC 8866 §5: ignore unknown types).
            _ => {}
        }
    }
    if let Some(wanted) = header.next() {
        return Err(Refusal::Malformed(format!("not a session description: it ends before `{wanted}`")));
    }
    if description.media.is_empty() {
        return Err(Refusal::Malformed("no media section: found no m= line".into()));
    }
    Ok(description)
}

/// `<media> <port>[/<ports>] <proto> <format> …`
fn media(line: usize, value: &str) -> Option<Media<'_>> {
    let mut words = value.split_whitespace();
    let (name, port, proto) = (words.next()?, words.next()?, words.next()?);
    let port = port.split('/').next().unwrap_or_default().parse().ok()?;
    let formats: Vec<&str> = words.collect();
    let sane = KINDS.contains(&name) && proto.split('/').all(|part| !part.is_empty()) && !formats.is_empty();
    sane.then(|| Media { line, name, port, proto, formats, attributes: Vec::with_capacity(ATTRIBUTES) })
}

/// `<letter>=`, not too long, nothing that could break a line of our answer.
pub(super) fn check_line(number: usize, line: &str) -> Result<(), Refusal> {
    if line.len() > MAX_LINE {
        return Err(malformed(number, line, &format!("at most {MAX_LINE} bytes in a line")));
    }
    let is_plain = line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if !is_plain && line.chars().any(|character| character.is_control() && character != '\t') {
        return Err(malformed(number, line, "no control characters"));
    }
    match line.as_bytes() {
        [b'a'..=b'z', b'=', ..] => Ok(()),
        _ => Err(malformed(number, line, "<letter>=<value>")),
    }
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
/// What sections may be of (RFC 8866 §8.2.2, RFC 6466).
const KINDS: [&str; 6] = ["audio", "video", "text", "application", "message", "image"];
/// Room for the attributes of a section; a browser's video section has more than a hundred.
const ATTRIBUTES: usize = 64;
/// A line whose value never gets into a message.
const PASSWORD: &str = "a=ice-pwd:";
/// Characters of a client's text that go into a message.
const EXCERPT: usize = 60;
