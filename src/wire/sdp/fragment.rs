//! SDP fragments of Trickle ICE (RFC 8840 §4.4, §9): what a client sends by PATCH, and what we answer to an ICE restart.
//!
//! As an ICE-lite agent we wait for checks and never use a client's candidates. They are read all the same: a client
//! that sends nonsense shall learn of it.

use std::net::SocketAddr;

use super::grammar::{check_line, malformed};
use super::transport::ice_chars;
use super::{IceCredentials, Kind, Negotiated, Refusal, answer};

/// What a client says of its end of the transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Its credentials, at whichever level they stand; `None` when it names none and means the present ones.
    pub credentials: Option<IceCredentials>,
    /// Candidates that could be used; at most 100 are looked at.
    pub candidates: usize,
    /// There will be no more of them.
    pub complete: bool,
}

impl Fragment {
    /// Reads a fragment. Credentials may stand at session level or in sections; the `m=` lines mean nothing, and
    /// sections of unknown `a=mid` do no harm. Candidates of transports or addresses that we cannot use are passed
    /// over (RFC 9725 §4.3.2).
    /// # Errors
    /// `Malformed`, with the line: no fragment, half of the credentials, two different ones, broken candidates.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with('{') {
            return from_json(text);
        }
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.is_empty() {
                check_line(index + 1, line)?;
                reader.line(index + 1, line)?;
            }
        }
        reader.conclude()
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    ufrag: Option<String>,
    pwd: Option<String>,
    candidates: usize,
    looked_at: usize,
    complete: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), Refusal> {
        let Some(attribute) = line.strip_prefix("a=") else {
            return Ok(());
        };
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        let wrong = |wanted: &str| malformed(number, line, wanted);
        match key {
            "ice-ufrag" => {
                let ufrag = ice_chars(value, 4).ok_or_else(|| wrong("4–256 ice-chars"))?.to_owned();
                once(&mut self.ufrag, ufrag).ok_or_else(|| wrong("one ICE user name: all media share one transport"))
            }
            "ice-pwd" => {
                let pwd = ice_chars(value, 22).ok_or_else(|| wrong("22–256 ice-chars"))?.to_owned();
                once(&mut self.pwd, pwd).ok_or_else(|| wrong("one ICE password: all media share one transport"))
            }
            "ice-lite" => Err(wrong("a full ICE agent: this server is ice-lite, so nobody would send checks")),
            "end-of-candidates" => {
                self.complete = true;
                Ok(())
            }
            "candidate" => {
                self.looked_at += 1;
                // Some browsers say "no more" by an empty candidate.
                self.complete |= value.is_empty();
                if self.looked_at > MAX_CANDIDATES || value.is_empty() {
                    return Ok(());
                }
                let usable = candidate(value).ok_or_else(|| wrong(CANDIDATE))?;
                self.candidates += usize::from(usable);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn conclude(self) -> Result<Fragment, Refusal> {
        let credentials = match (self.ufrag, self.pwd) {
            (Some(ufrag), Some(pwd)) => Some(IceCredentials { ufrag, pwd }),
            (None, None) if self.looked_at > 0 || self.complete => None,
            (None, None) => {
                return Err(Refusal::Malformed("nothing in it: wanted a=ice-ufrag, a=ice-pwd, a=candidate".into()));
            }
            _ => return Err(Refusal::Malformed("a=ice-ufrag and a=ice-pwd come together, found one of them".into())),
        };
        Ok(Fragment { credentials, candidates: self.candidates, complete: self.complete })
    }
}

/// Takes a value that may be repeated but not contradicted.
fn once(slot: &mut Option<String>, value: String) -> Option<()> {
    let same = slot.as_ref().is_none_or(|known| *known == value);
    *slot = Some(value);
    same.then_some(())
}

/// Reads a candidate (RFC 8839 §5.1): `None` when it is none, `Some(false)` when we could not send to it.
/// Its component is not checked: some clients say 0.
fn candidate(value: &str) -> Option<bool> {
    let mut words = value.split_ascii_whitespace();
    let foundation = words.next()?;
    let _component: u16 = words.next()?.parse().ok()?;
    let transport = words.next()?;
    let _priority: u32 = words.next()?.parse().ok()?;
    let address = words.next()?;
    let _port: u16 = words.next()?.parse().ok()?;
    let typed = words.next() == Some("typ") && words.next().is_some();
    let good = (1..=32).contains(&foundation.len()) && typed;
    let resolved = address.parse::<std::net::IpAddr>().is_ok();
    good.then_some(resolved && transport.eq_ignore_ascii_case("udp"))
}

/// One mobile client sends the browser's candidate object as it is.
fn from_json(text: &str) -> Result<Fragment, Refusal> {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let Some(line) = value.as_ref().and_then(|object| object.get("candidate")).and_then(|line| line.as_str()) else {
        return Err(Refusal::Malformed("found JSON without a candidate, wanted an SDP fragment".into()));
    };
    let line = line.strip_prefix("candidate:").unwrap_or(line);
    if line.is_empty() {
        return Ok(Fragment { complete: true, ..Fragment::default() });
    }
    let usable = candidate(line).ok_or_else(|| Refusal::Malformed(format!("the candidate is not {CANDIDATE}")))?;
    Ok(Fragment { candidates: usize::from(usable), ..Fragment::default() })
}

/// The section whose transport all others share (RFC 9143 §7.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Audio or video.
    pub kind: Kind,
    /// Its `a=mid`; empty when the offer has none.
    pub mid: String,
}

impl Tagged {
    /// Of an answer: the first of its BUNDLE group, else its only section.
    pub fn of(negotiated: &Negotiated) -> Self {
        let group = negotiated.answer.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE "));
        let first = group.and_then(|mids| mids.split_whitespace().next());
        let section = negotiated.sections.iter().find(|section| first == Some(section.mid.as_str()));
        section.or(negotiated.sections.first()).map_or_else(
            || Self { kind: Kind::Audio, mid: String::new() },
            |section| Self { kind: section.kind, mid: section.mid.clone() },
        )
    }
}

/// Our half of an ICE restart: what the answer said of ICE, with new credentials (RFC 9725 §4.3.3).
pub fn restarted(ice: &IceCredentials, candidates: &[SocketAddr], tagged: &Tagged) -> String {
    let mut lines = answer::Lines::default();
    answer::ice_options(&mut lines);
    lines.push(&format!("a=ice-ufrag:{}", ice.ufrag));
    lines.push(&format!("a=ice-pwd:{}", ice.pwd));
    let kind = match tagged.kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    };
    lines.push(&format!("m={kind} 9 UDP/TLS/RTP/SAVPF 0"));
    if !tagged.mid.is_empty() {
        lines.push(&format!("a=mid:{}", tagged.mid));
    }
    answer::candidate_lines(&mut lines, candidates);
    lines.text
}

/// Candidates of one fragment: a client with a hundred addresses has enough of them.
const MAX_CANDIDATES: usize = 100;
/// The grammar of a candidate.
const CANDIDATE: &str = "<foundation> <component> <transport> <priority> <address> <port> typ <type>";

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw";

    fn credentials() -> IceCredentials {
        IceCredentials { ufrag: "EsAw".into(), pwd: "P2uYro0UCOQ4zxjKXaWCBui1".into() }
    }

    fn parse(lines: &[&str]) -> Result<Fragment, Refusal> {
        Fragment::parse(&(lines.join("\r\n") + "\r\n"))
    }

    #[test]
    fn the_example_of_rfc_9725_is_understood() {
        let fragment = parse(&[
            "a=group:BUNDLE 0 1",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "a=mid:0",
            "a=ice-ufrag:EsAw",
            "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
            HOST,
            "a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0",
            "a=end-of-candidates",
        ]);

        let wanted = Fragment { credentials: Some(credentials()), candidates: 1, complete: true };
        assert_eq!(fragment, Ok(wanted));
    }

    #[test]
    fn credentials_may_stand_at_any_level_and_be_repeated() {
        let (ufrag, pwd) = ("a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1");
        let shapes: [&[&str]; 4] = [
            &[ufrag, pwd],
            &[ufrag, pwd, "m=audio 9 RTP/AVP 0", "a=mid:0", HOST],
            &["m=audio 9 RTP/AVP 0", "a=mid:0", ufrag, pwd, HOST, "m=video 9 RTP/AVP 0", "a=mid:99", ufrag, pwd, HOST],
            &[ufrag, "m=audio 9 RTP/AVP 0", "a=mid:0", pwd],
        ];

        for lines in shapes {
            assert_eq!(parse(lines).map(|fragment| fragment.credentials), Ok(Some(credentials())), "{lines:?}");
        }
    }

    #[test]
    fn a_fragment_without_credentials_means_the_present_ones() {
        for lines in [&[HOST][..], &["m=audio 9 RTP/AVP 0", "a=mid:0", "a=end-of-candidates"], &["a=candidate:"]] {
            assert_eq!(parse(lines).map(|fragment| fragment.credentials), Ok(None), "{lines:?}");
        }
    }

    #[test]
    fn candidates_that_we_cannot_use_are_passed_over() {
        let fragment = parse(&[
            "a=candidate:1 1 udp 1 1a2b.local 50000 typ host",
            "a=candidate:2 1 udp 1 turn.example.org 50000 typ relay raddr 0.0.0.0 rport 0",
            "a=candidate:3 1 tcp 1 192.0.2.1 9 typ host tcptype active",
            "a=candidate:4 1 foo 1 192.0.2.1 9 typ host",
            "a=candidate:5 0 UDP 1 2001:db8::1 9 typ host",
            "a=unknown:attribute",
        ]);

        assert_eq!(fragment.map(|fragment| fragment.candidates), Ok(1));
    }

    #[test]
    fn more_candidates_than_anybody_has_are_not_looked_at() {
        let mut lines = vec![HOST; 150];
        lines.push("a=candidate:garbage");

        assert_eq!(parse(&lines).map(|fragment| fragment.candidates), Ok(100));
    }

    #[test]
    fn a_broken_fragment_is_refused_with_its_line() {
        let long = format!("a=x:{}", "y".repeat(3000));
        let cases: [(&[&str], &str); 12] = [
            (&[""], "nothing in it"),
            (&["hello"], "line 1"),
            (&["m=audio 9 RTP/AVP 0", "a=mid:0"], "nothing in it"),
            (&["a=ice-ufrag:EsAw"], "come together"),
            (&["a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", HOST], "come together"),
            (&["a=ice-ufrag:EsA", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"], "line 1"),
            (&["a=ice-ufrag:EsAw", "a=ice-pwd:short"], "line 2"),
            (&["a=ice-ufrag:EsAw", "a=ice-ufrag:EsAx"], "line 2"),
            (&["a=candidate:garbage"], "line 1"),
            (&["a=candidate:1 1 udp 1 192.0.2.1 99999 typ host"], "line 1"),
            (&["a=ice-lite", HOST], "line 1"),
            (&[HOST, &long], "line 2"),
        ];

        for (lines, reason) in cases {
            let refusal = parse(lines).expect_err(reason).to_string();
            assert!(refusal.contains(reason), "{lines:?}: {refusal}");
            assert!(!refusal.contains("P2uYro"), "a password is repeated: {refusal}");
        }
    }

    #[test]
    fn a_candidate_object_is_understood_as_a_fragment() {
        let object = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMLineIndex":0,"sdpMid":"0"}"#;

        assert_eq!(Fragment::parse(object), Ok(Fragment { candidates: 1, ..Fragment::default() }));
        assert_eq!(Fragment::parse(r#"{"candidate":""}"#).map(|fragment| fragment.complete), Ok(true));
        for broken in ["{", "{}", r#"{"candidate":7}"#, r#"{"candidate":"candidate:x"}"#] {
            assert!(Fragment::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn our_half_of_a_restart_can_be_read_as_a_fragment() {
        let tagged = Tagged { kind: Kind::Video, mid: "v".into() };
        let text = restarted(&credentials(), &[([192, 0, 2, 7], 8080).into()], &tagged);

        assert!(text.lines().count() == text.matches("\r\n").count(), "every line ends in CRLF");
        assert!(text.starts_with("a=ice-lite\r\na=ice-options:trickle ice2\r\n"), "{text}");
        assert!(text.contains("\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:v\r\na=candidate:1 1 udp "), "{text}");
        let read = Fragment::parse(&text.replace("a=ice-lite\r\n", ""));
        assert_eq!(read, Ok(Fragment { credentials: Some(credentials()), candidates: 1, complete: true }));
    }
}
