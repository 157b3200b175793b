//! Names of streams and what may be done with them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A stream's name: 1–64 of `[A-Za-z0-9_-]`. Public; never a key to anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(String);

impl StreamName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream name is 1–64 of A–Z a–z 0–9 _ -")]
pub struct BadStreamName;

impl FromStr for StreamName {
    type Err = BadStreamName;

    fn from_str(text: &str) -> Result<Self, BadStreamName> {
        let good = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadStreamName)
        }
    }
}
