//! Names of streams and what may be done with them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

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
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if good { Ok(Self(text.to_owned())) } else { Err(BadStreamName) }
    }
}

/// What happens to a viewer while nobody presents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdlePolicy {
    /// It is told to ask again in a few seconds. Every player understands that.
    #[default]
    Conflict,
    /// It gets its session now and its pictures when somebody presents.
    Wait,
}

/// Who may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchPolicy {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has a token for the stream.
    Token,
}

/// Who gets the presenter's seat when somebody has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presenters {
    /// The same identity, at once; nobody else.
    #[default]
    Takeover,
    /// Nobody, as long as the first one sends.
    Reject,
    /// Each of these identities has a seat of its own; of those who send the first in this list is on air. All others
    /// share the seat behind them.
    Backup(Arc<[String]>),
}

impl Presenters {
    /// Which seat an identity sits on; the lower the sooner on air.
    pub fn rank(&self, subject: &str) -> u8 {
        match self {
            Self::Takeover | Self::Reject => 0,
            Self::Backup(subjects) => {
                let at = subjects.iter().position(|known| known == subject).unwrap_or(subjects.len());
                u8::try_from(at).unwrap_or(u8::MAX)
            }
        }
    }
}

/// What viewers see between two presenters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slate {
    /// Nothing new; players keep the last picture or not.
    #[default]
    Off,
    /// The last key frame, again and again: also those see it who come meanwhile.
    Hold,
}

/// How one stream is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPolicy {
    /// What happens to a viewer while nobody presents.
    pub idle: IdlePolicy,
    /// Who may watch.
    pub watch: WatchPolicy,
    /// Most viewers at once; `None`: as many as the server takes.
    pub max_viewers: Option<usize>,
    /// Who gets the presenter's seat when somebody has it.
    pub presenters: Presenters,
    /// How long a better presenter sends without a gap before it is on air again.
    pub back_after: Duration,
    /// How long viewers are kept when the presenter is gone.
    pub grace: Duration,
    /// What they see meanwhile.
    pub slate: Slate,
}

impl Default for StreamPolicy {
    fn default() -> Self {
        Self {
            idle: IdlePolicy::default(),
            watch: WatchPolicy::default(),
            max_viewers: None,
            presenters: Presenters::default(),
            back_after: Duration::from_secs(5),
            grace: Duration::from_mins(1),
            slate: Slate::default(),
        }
    }
}

/// How all streams are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// For streams that are not named below.
    pub default: StreamPolicy,
    /// For streams by name.
    pub named: BTreeMap<StreamName, StreamPolicy>,
    /// Only the named streams exist.
    pub provisioned_only: bool,
    /// A presenter's offer is taken as a whole or not at all, data channels included (RFC 9725 §4.4.3).
    pub whole_offers: bool,
}

impl Default for Policies {
    fn default() -> Self {
        let (default, named) = (StreamPolicy::default(), BTreeMap::new());
        Self { default, named, provisioned_only: false, whole_offers: true }
    }
}

impl Policies {
    /// The policy of a stream; `None` when there can be no such stream.
    pub fn of(&self, stream: &StreamName) -> Option<&StreamPolicy> {
        match self.named.get(stream) {
            Some(policy) => Some(policy),
            None if self.provisioned_only => None,
            None => Some(&self.default),
        }
    }

    /// Does watching this stream need no token? A stream that cannot exist is as closed as the default says, so that
    /// the answer does not tell which streams exist.
    pub fn watch_is_open(&self, stream: &StreamName) -> bool {
        self.of(stream).unwrap_or(&self.default).watch == WatchPolicy::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "live", "Talk_2-b", &"x".repeat(64)] {
            assert_eq!(good.parse::<StreamName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a/b", "..", "é", "a\0", &"x".repeat(65)] {
            assert_eq!(bad.parse::<StreamName>(), Err(BadStreamName), "{bad:?}");
        }
    }

    #[test]
    fn a_named_policy_wins_over_the_default() {
        let talk: StreamName = "talk".parse().expect("a name");
        let other: StreamName = "other".parse().expect("a name");
        let closed = StreamPolicy { watch: WatchPolicy::Token, ..StreamPolicy::default() };
        let mut policies = Policies { named: [(talk.clone(), closed.clone())].into(), ..Policies::default() };

        assert_eq!(policies.of(&talk), Some(&closed));
        assert_eq!(policies.of(&other), Some(&StreamPolicy::default()));
        assert!(!policies.watch_is_open(&talk) && policies.watch_is_open(&other));

        policies.provisioned_only = true;
        assert_eq!(policies.of(&other), None);
    }

    #[test]
    fn backups_come_in_their_order_and_everybody_else_behind_them() {
        let backup = Presenters::Backup(["a".to_owned(), "b".to_owned()].into());

        assert_eq!(["a", "b", "c", "d"].map(|who| backup.rank(who)), [0, 1, 2, 2]);
        assert_eq!([Presenters::Takeover, Presenters::Reject].map(|policy| policy.rank("c")), [0, 0]);
    }
}
