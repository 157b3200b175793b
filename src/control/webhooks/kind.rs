//! What a webhook can be told, and which of it one wants.

use std::fmt;

use super::super::journal::{News, Progress};
use super::super::records::Stage;

macro_rules! kinds {
    ($($variant:ident $word:literal $help:literal),* $(,)?) => {
        /// A kind of event. What stands before the point is its name among the server-sent events of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $help] $variant),*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),*
                }
            }
        }
    };
}

kinds! {
    StreamLive "stream.live" "Somebody presents: for the first time, again, or instead of another.",
    StreamGrace "stream.grace" "The presenter is gone, and may come back.",
    StreamIdle "stream.idle" "The presenter did not come back in the grace time: the broadcast is over.",
    AlarmRaised "alarm.raised" "Something is wrong.",
    AlarmCleared "alarm.cleared" "It is not any more.",
    ReportReady "report.ready" "A broadcast is over, and this is its report.",
    SessionConnecting "session.connecting" "A session was made.",
    SessionConnected "session.connected" "Its keys are agreed.",
    SessionEnded "session.ended" "It is over.",
    LinkMade "link.made" "A link was made.",
    LinkRevoked "link.revoked" "A link was revoked.",
    Test "test" "Somebody tries whether it arrives.",
}

impl Kind {
    /// The kind of a piece of news; `None` when webhooks are not told of it: how many watch changes every second.
    pub(super) fn of(news: &News<'_>) -> Option<Self> {
        Some(match news {
            News::Stream(Stage::Live, _) => Self::StreamLive,
            News::Stream(Stage::Grace, _) => Self::StreamGrace,
            News::Stream(Stage::Idle, _) => Self::StreamIdle,
            News::Alarm(change) if change.on => Self::AlarmRaised,
            News::Alarm(_) => Self::AlarmCleared,
            News::Report(_) => Self::ReportReady,
            News::Session(_, _, Progress::Connecting) => Self::SessionConnecting,
            News::Session(_, _, Progress::Connected) => Self::SessionConnected,
            News::Session(_, _, Progress::Ended(_)) => Self::SessionEnded,
            News::Link(link) if link.revoked => Self::LinkRevoked,
            News::Link(_) => Self::LinkMade,
            News::Viewers(_) => return None,
        })
    }

    /// What stands before the point.
    fn topic(self) -> &'static str {
        self.word().split('.').next().unwrap_or_default()
    }
}

/// The kinds that a webhook is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Vec<Kind>);

/// Not a kind, nor what several begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        let known = Kind::ALL.iter().filter(|kind| **kind != Kind::Test).map(|kind| kind.word());
        write!(f, "{found:?} is none of stream, alarm, report, session, link, {}", known.collect::<Vec<_>>().join(", "))
    }
}

impl Kinds {
    /// Reads names: `alarm.raised` is one kind, `alarm` all that begin so.
    /// # Errors
    /// `UnknownKind` for the first name that is neither.
    pub fn parse(names: &[String]) -> Result<Self, UnknownKind> {
        let mut kinds = Vec::new();
        for name in names {
            let known = Kind::ALL.iter().filter(|kind| **kind != Kind::Test);
            let meant: Vec<Kind> = known.copied().filter(|kind| kind.word() == name || kind.topic() == name).collect();
            if meant.is_empty() {
                return Err(UnknownKind(name.chars().take(40).collect()));
            }
            kinds.extend(meant);
        }
        Ok(Self(kinds))
    }

    /// Is this one of them?
    pub(super) fn contain(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(names: &[&str]) -> Result<Kinds, UnknownKind> {
        Kinds::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_topic_stands_for_all_of_its_kinds() {
        let wanted = kinds(&["stream", "alarm.raised"]).expect("known");

        let told: Vec<&str> = Kind::ALL.iter().filter(|kind| wanted.contain(**kind)).map(|kind| kind.word()).collect();

        assert_eq!(told, ["stream.live", "stream.grace", "stream.idle", "alarm.raised"]);
    }

    #[test]
    fn what_is_not_told_cannot_be_wanted() {
        for name in ["", "viewers", "test", "stream.", "stream.dead", "Stream", "*"] {
            let error = kinds(&["stream", name]).expect_err(name).to_string();

            assert!(error.starts_with(&format!("{name:?} is none of stream, alarm,")), "{error}");
            assert!(error.ends_with("link.revoked"), "{error}");
        }
    }
}
