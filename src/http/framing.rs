//! Watches the framing of HTTP/1.1 requests and finds those that two readers could read differently.
//!
//! The parser below us is lenient where the standard lets it be: of `Content-Length` with `Transfer-Encoding` it drops
//! the former, of two equal lengths the second, and a bare line feed ends a line. A proxy in front that decides
//! otherwise would let one client's bytes pass as another's request (RFC 9112 §11.2), so such requests are refused.

/// Follows one connection through heads and bodies.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    /// The head so far, or the line so far within a chunked body.
    line: Vec<u8>,
}

/// Where in a message the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the request line or the header fields, or between requests.
    #[default]
    Head,
    /// In a body of known length, with this many bytes to come.
    Sized(u64),
    /// In the line with a chunk's size.
    ChunkSize,
    /// In a chunk or the line end behind it, with this many bytes to come.
    Chunk(u64),
    /// In the trailer section.
    Trailers,
    /// Lost; nothing that follows means anything.
    Lost,
}

/// What a head says of its body.
enum Length {
    Known(u64),
    Chunked,
}

impl Framing {
    /// Takes in bytes as they were received, in any pieces.
    /// # Errors
    /// What is wrong; from then on nothing is looked at any more.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            bytes = self.step(bytes).inspect_err(|_| self.state = State::Lost)?;
        }
        Ok(())
    }

    /// Has a head begun that is not complete?
    pub(super) fn in_head(&self) -> bool {
        self.state == State::Head && !self.line.is_empty()
    }

    /// Is there more to come of a request?
    pub(super) fn in_body(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// Consumes some of `bytes`, at least one, and returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
        match self.state {
            State::Lost => Ok(&[]),
            State::Sized(left) => {
                let (left, rest) = skip(left, bytes);
                self.state = if left == 0 { State::Head } else { State::Sized(left) };
                Ok(rest)
            }
            State::Chunk(left) => {
                let (left, rest) = skip(left, bytes);
                self.state = if left == 0 { State::ChunkSize } else { State::Chunk(left) };
                Ok(rest)
            }
            State::Head | State::ChunkSize | State::Trailers => {
                let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
                let (piece, rest) = bytes.split_at(end);
                self.line.extend_from_slice(piece);
                if self.line.len() > MAX_HEAD {
                    return Err("the head of the request is too long");
                }
                if piece.ends_with(b"\n") {
                    self.line_ended()?;
                }
                Ok(rest)
            }
        }
    }

    /// A line feed came.
    fn line_ended(&mut self) -> Result<(), &'static str> {
        if !self.line.ends_with(b"\r\n") {
            return Err("a line ends in LF without CR");
        }
        match self.state {
            // Empty lines before a request are allowed (RFC 9112 §2.2).
            State::Head if self.line == b"\r\n" => self.line.clear(),
            State::Head if self.line.ends_with(b"\r\n\r\n") => {
                self.state = match body_length(&self.line)? {
                    Length::Known(0) => State::Head,
                    Length::Known(length) => State::Sized(length),
                    Length::Chunked => State::ChunkSize,
                };
                self.line.clear();
            }
            State::ChunkSize => {
                let size = chunk_size(&self.line).ok_or("a chunk has no size")?;
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size.saturating_add(2)) };
                self.line.clear();
            }
            State::Trailers => {
                if self.line == b"\r\n" {
                    self.state = State::Head;
                }
                self.line.clear();
            }
            State::Head | State::Sized(_) | State::Chunk(_) | State::Lost => {}
        }
        Ok(())
    }
}

/// Skips up to `left` bytes: how many are left then, and what follows.
fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (left - skipped as u64, bytes.get(skipped..).unwrap_or_default())
}

/// Reads the framing fields of a complete head.
fn body_length(head: &[u8]) -> Result<Length, &'static str> {
    let mut length = None;
    let mut chunked = false;
    let mut hosts = 0;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        if line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t') {
            return Err("a header is folded over two lines");
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok()).filter(|_| digits);
            let number: u64 = number.ok_or("Content-Length is not a number")?;
            if length.replace(number).is_some() {
                return Err("Content-Length is given more than once");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding is not `chunked`");
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        }
    }
    if hosts > 1 {
        return Err("Host is given more than once");
    }
    match (length, chunked) {
        (Some(_), true) => Err("Content-Length and Transfer-Encoding exclude each other"),
        (length, false) => Ok(Length::Known(length.unwrap_or(0))),
        (None, true) => Ok(Length::Chunked),
    }
}

/// The size in a chunk's first line; extensions are passed over (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b'\r' | b' ' | b'\t')).next()?;
    let digits = str::from_utf8(digits).ok()?;
    let good = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| good)
}

/// Longest head, and longest line within a chunked body, in bytes.
const MAX_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = "POST /whip/live HTTP/1.1\r\nHost: a\r\n";

    /// Feeds a connection's bytes in pieces of each of several sizes: all must come to the same.
    fn judge(bytes: &[u8]) -> Result<Framing, &'static str> {
        let outcome = |size: usize| {
            let mut framing = Framing::default();
            bytes.chunks(size).try_for_each(|piece| framing.take(piece)).map(|()| framing)
        };
        for size in [1, 2, 3, 7] {
            let pieces = outcome(size).map(|framing| framing.state);
            assert_eq!(pieces, outcome(bytes.len().max(1)).map(|framing| framing.state));
        }
        outcome(bytes.len().max(1))
    }

    #[test]
    fn honest_requests_leave_the_connection_between_two_messages() {
        let cases = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            format!("{POST}Content-Length: 5\r\n\r\nv=0\r\n"),
            format!("{POST}Content-Length: 0\r\n\r\n"),
            format!("{POST}transfer-encoding:  Chunked \r\n\r\n3;x=y\r\nv=0\r\n0\r\n\r\n"),
            format!("{POST}Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n"),
            format!("{POST}Content-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ];

        for case in cases {
            let framing = judge(case.as_bytes()).unwrap_or_else(|flaw| panic!("{case:?}: {flaw}"));
            assert!(!framing.in_head() && !framing.in_body(), "{case:?}");
        }
    }

    #[test]
    fn a_message_that_is_not_complete_is_known_as_such() {
        assert!(judge(b"POST / HT").is_ok_and(|framing| framing.in_head()));
        assert!(judge(format!("{POST}Content-Length: 9\r\n\r\nv=0").as_bytes()).is_ok_and(|f| f.in_body()));
        assert!(judge(format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nv").as_bytes()).is_ok_and(|f| f.in_body()));
        assert!(judge(b"").is_ok_and(|framing| !framing.in_head()));
    }

    #[test]
    fn requests_that_two_readers_read_differently_are_found() {
        let cases = [
            format!("{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("{POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
            format!("{POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
            format!("{POST}Content-Length: 5\r\ncontent-length: 6\r\n\r\n"),
            format!("{POST}Content-Length: +5\r\n\r\n"),
            format!("{POST}Content-Length: 5, 5\r\n\r\n"),
            format!("{POST}Content-Length:\r\n\r\n"),
            format!("{POST}Content-Length: 99999999999999999999\r\n\r\n"),
            format!("{POST}Transfer-Encoding: xchunked\r\n\r\n"),
            format!("{POST}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            format!("{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("{POST}Host: b\r\n\r\n"),
            format!("{POST}X: a\r\n b\r\n\r\n"),
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n3\nv=0\r\n0\r\n\r\n"),
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n-3\r\nv=0\r\n0\r\n\r\n"),
            format!("{POST}X: {}\r\n\r\n", "x".repeat(MAX_HEAD)),
        ];

        for case in cases {
            assert!(judge(case.as_bytes()).is_err(), "{case:?}");
        }
    }

    #[test]
    fn a_flaw_in_a_second_request_is_found_too() {
        let bytes = format!("{POST}Content-Length: 3\r\n\r\nv=0{POST}Host: b\r\n\r\n");

        assert_eq!(judge(bytes.as_bytes()).err(), Some("Host is given more than once"));
    }
}
