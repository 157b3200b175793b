//! An SDP as a list of lines with just enough structure to judge an answer. It repairs nothing: what the server
//! wrote is what the checks see.

/// A session description.
#[derive(Clone, Debug)]
pub(crate) struct Sdp {
    /// The text as received.
    pub(crate) text: String,
    /// Lines before the first `m=`.
    pub(crate) session: Vec<String>,
    /// The media sections in order.
    pub(crate) media: Vec<Media>,
}

/// One media section.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    /// `audio`, `video`, `application`.
    pub(crate) kind: String,
    /// The port; 0 rejects the section (or, in an offer, means bundle-only).
    pub(crate) port: u16,
    /// Transport protocol.
    pub(crate) proto: String,
    /// Payload types or formats.
    pub(crate) formats: Vec<String>,
    /// All lines after the `m=` line.
    pub(crate) lines: Vec<String>,
}

impl Sdp {
    /// Splits `text` into sections.
    ///
    /// # Errors
    /// A sentence that says what is not SDP.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut session = Vec::new();
        let mut media: Vec<Media> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let letter = line.as_bytes().first().copied().unwrap_or(b' ');
            if !letter.is_ascii_lowercase() || line.as_bytes().get(1) != Some(&b'=') {
                return Err(format!("line {} is not type=value: {line:?}", at + 1));
            }
            if at == 0 && line != "v=0" {
                return Err(format!("first line is {line:?}, not v=0"));
            }
            if let Some(value) = line.strip_prefix("m=") {
                media.push(Media::parse(value).ok_or_else(|| format!("line {}: bad {line:?}", at + 1))?);
            } else if let Some(section) = media.last_mut() {
                section.lines.push(line.to_owned());
            } else {
                session.push(line.to_owned());
            }
        }
        if session.is_empty() {
            return Err("empty".into());
        }
        Ok(Self { text: text.to_owned(), session, media })
    }

    /// A session-level attribute; flags give the empty string.
    pub(crate) fn attr(&self, name: &str) -> Option<&str> {
        attrs(&self.session, name).next()
    }

    /// An attribute of `media`, or the session's when the section has none.
    pub(crate) fn effective<'a>(&'a self, media: &'a Media, name: &str) -> Option<&'a str> {
        media.attr(name).or_else(|| self.attr(name))
    }

    /// The mids of the BUNDLE group, in order.
    pub(crate) fn bundle(&self) -> Option<Vec<&str>> {
        let group = attrs(&self.session, "group").find_map(|v| v.strip_prefix("BUNDLE"))?;
        Some(group.split_whitespace().collect())
    }

    /// Sections that were not rejected.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Media> {
        self.media.iter().filter(|m| m.port != 0 || m.has("bundle-only"))
    }

    /// The section whose transport all others share: the first of the BUNDLE group, else the first accepted one.
    pub(crate) fn tagged(&self) -> Option<&Media> {
        let first = self.bundle().and_then(|mids| mids.first().copied());
        self.media.iter().find(|m| first.is_some() && m.attr("mid") == first).or_else(|| self.accepted().next())
    }
}

impl Media {
    /// Parses `kind port proto fmt…`.
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split(' ');
        let kind = words.next()?.to_owned();
        let port = words.next()?.parse().ok()?;
        let proto = words.next()?.to_owned();
        Some(Self { kind, port, proto, formats: words.map(str::to_owned).collect(), lines: Vec::new() })
    }

    /// The first attribute of that name; flags give the empty string.
    pub(crate) fn attr(&self, name: &str) -> Option<&str> {
        attrs(&self.lines, name).next()
    }

    /// All attributes of that name.
    pub(crate) fn attrs<'l, 'n>(&'l self, name: &'n str) -> impl Iterator<Item = &'l str> + use<'l, 'n> {
        attrs(&self.lines, name)
    }

    /// True when the attribute is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attr(name).is_some()
    }

    /// The direction; `sendrecv` when none is written (RFC 8866 §6.7).
    pub(crate) fn direction(&self) -> &'static str {
        ["sendonly", "recvonly", "inactive"].into_iter().find(|d| self.has(d)).unwrap_or("sendrecv")
    }

    /// What `a=NAME:PT value` says for a payload type.
    pub(crate) fn of_format<'l, 'n>(
        &'l self,
        name: &'n str,
        format: &'n str,
    ) -> impl Iterator<Item = &'l str> + use<'l, 'n> {
        self.attrs(name).filter_map(move |v| v.split_once(' ').filter(|(pt, _)| *pt == format).map(|(_, rest)| rest))
    }

    /// The codec name of a payload type in upper case, e.g. `H264/90000`.
    pub(crate) fn codec(&self, format: &str) -> Option<String> {
        self.of_format("rtpmap", format).next().map(str::to_ascii_uppercase)
    }
}

/// Values of `a=NAME` or `a=NAME:value` lines.
fn attrs<'l, 'n>(lines: &'l [String], name: &'n str) -> impl Iterator<Item = &'l str> + use<'l, 'n> {
    lines.iter().filter_map(move |line| {
        let rest = line.strip_prefix("a=")?.strip_prefix(name)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix(':') }
    })
}

/// One value of a `key=value;key=value` list such as `a=fmtp` carries.
pub(crate) fn parameter<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.split(';').filter_map(|p| p.trim().split_once('=')).find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_fall_back_to_the_session_and_rejected_sections_are_seen() {
        let sdp = Sdp::parse(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1\r\na=setup:passive\r\n\
             m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=rtpmap:96 vp8/90000\r\n",
        )
        .unwrap();
        let tagged = sdp.tagged().unwrap();

        assert_eq!(sdp.accepted().count(), 1);
        assert_eq!(tagged.kind, "video");
        assert_eq!(sdp.effective(tagged, "setup"), Some("passive"));
        assert_eq!((tagged.direction(), tagged.codec("96").as_deref()), ("recvonly", Some("VP8/90000")));
    }

    #[test]
    fn what_is_not_sdp_is_refused() {
        for text in ["", "hello", "<html>", "v=1\r\n", "v=0\r\nm=audio\r\n"] {
            assert!(Sdp::parse(text).is_err(), "{text:?}");
        }
    }
}
