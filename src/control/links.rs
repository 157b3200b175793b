//! Links: tokens made for people, listed and revoked by name.
//!
//! A token itself is never kept: only its id, which its claims carry, and what it is for. What was revoked stays known
//! until it would have expired anyway; both stand in one file of the state directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Control;
use super::identity::Right;
use super::journal::News;
use super::stream::StreamName;
use crate::media::CloseReason;

/// What is known of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The token's id.
    pub id: String,
    /// Its stream.
    pub stream: String,
    /// What it allows there.
    pub right: Right,
    /// Whose it is.
    pub subject: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends by itself, in seconds since 1970.
    pub expires: u64,
    /// It has been revoked.
    #[serde(default)]
    pub revoked: bool,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There are too many.
    #[error("there are {MOST} links; revoked and used ones go when they expire")]
    TooMany,
    /// It cannot be kept.
    #[error("the list of links cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// All links that are not over. Shared.
#[derive(Debug)]
pub struct Links {
    /// `None`: they are not kept.
    file: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Link>>,
    /// Held from a change until it is written. Whoever is asked for a token never waits for that.
    writing: Mutex<()>,
}

impl Links {
    /// Reads what is there. A damaged file is left beside the new one, and said.
    /// # Errors
    /// When there is a file and it cannot be read or moved: revoked links would be good again.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let file = state_dir.join("links.json");
        let known = match fs::read(&file) {
            Ok(bytes) => match serde_json::from_slice::<Vec<Link>>(&bytes) {
                Ok(links) => links,
                Err(error) => {
                    tracing::error!(path = %file.display(), %error, "the list of links is damaged; a new one is begun");
                    fs::rename(&file, file.with_extension("damaged"))?;
                    Vec::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let now = seconds(SystemTime::now());
        let known = known.into_iter().filter(|link| link.expires > now).map(|link| (link.id.clone(), link)).collect();
        Ok(Self { file: Some(file), known: Mutex::new(known), writing: Mutex::default() })
    }

    /// None, and none is kept.
    pub fn unkept() -> Self {
        Self { file: None, known: Mutex::default(), writing: Mutex::default() }
    }

    /// Has this token been revoked?
    pub fn is_revoked(&self, id: &str) -> bool {
        self.known().get(id).is_some_and(|link| link.revoked)
    }

    /// All that have not expired, the newest first.
    pub fn all(&self) -> Vec<Link> {
        let now = seconds(SystemTime::now());
        let mut links: Vec<Link> = self.known().values().filter(|link| link.expires > now).cloned().collect();
        links.sort_by_key(|link| std::cmp::Reverse(link.created));
        links
    }

    /// Keeps a new one.
    /// # Errors
    /// `TooMany`, or `Io`: it is not kept then.
    pub fn add(&self, link: Link) -> Result<(), LinkError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known();
        let now = seconds(SystemTime::now());
        if known.len() >= MOST {
            known.retain(|_, link| link.expires > now);
        }
        if known.len() >= MOST {
            return Err(LinkError::TooMany);
        }
        let id = link.id.clone();
        known.insert(id.clone(), link);
        drop(known);
        let written = self.write();
        if written.is_err() {
            self.known().remove(&id);
        }
        Ok(written?)
    }

    /// Revokes one; `None` when there is no such link. Until [`Links::save`] it is so only as long as the process lives.
    pub fn revoke(&self, id: &str) -> Option<Link> {
        let mut known = self.known();
        let link = known.get_mut(id)?;
        link.revoked = true;
        Some(link.clone())
    }

    /// Writes down what was revoked.
    /// # Errors
    /// `Io`: it would be good again after a restart.
    pub fn save(&self) -> Result<(), LinkError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.write()?)
    }

    /// Writes beside the place and renames, so that a crash leaves the old list or the new one.
    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let links = serde_json::to_vec(&self.known().values().collect::<Vec<_>>())?;
        let draft = path.with_extension("draft");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&links)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // Without this the old list could be back after a loss of power, and what was revoked good again.
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Link>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Ends the sessions that were made with this link, and tells.
    pub fn end_link(&self, link: &Link) {
        let used = self.persons(None).into_iter().filter(|person| person.link.as_deref() == Some(&link.id));
        for session in used.filter_map(|person| self.called(person.id)) {
            self.close(session, CloseReason::Revoked);
        }
        self.tell_link(link);
    }

    /// Tells that a link was made or revoked.
    pub fn tell_link(&self, link: &Link) {
        let stream = link.stream.parse::<StreamName>().ok();
        self.records.journal.tell(stream.as_ref(), &News::Link(link));
    }
}

/// A time as links have it.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same the other way round.
pub fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Links that have not expired; about 200 bytes each.
pub const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("tribune-links-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).expect("a directory");
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn link(id: &str, expires_in: u64) -> Link {
        let created = seconds(SystemTime::now());
        let (stream, subject) = ("talk".to_owned(), "ann".to_owned());
        Link {
            id: id.to_owned(),
            stream,
            right: Right::Watch,
            subject,
            created,
            expires: created + expires_in,
            revoked: false,
        }
    }

    #[test]
    fn what_was_revoked_stays_so_after_a_restart() {
        let dir = Dir::new("revoked");
        let links = Links::open(&dir.0).expect("none yet");
        links.add(link("a", 60)).expect("kept");
        links.add(link("b", 60)).expect("kept");
        assert_eq!(links.revoke("a").map(|link| link.id).as_deref(), Some("a"));
        links.save().expect("written");

        let links = Links::open(&dir.0).expect("some");

        assert!(links.is_revoked("a") && !links.is_revoked("b") && !links.is_revoked("c"));
        assert_eq!(links.all().len(), 2);
        assert_eq!(links.revoke("c"), None);
    }

    #[test]
    fn what_is_revoked_is_so_at_once_though_it_cannot_be_written() {
        let dir = Dir::new("unwritable");
        let links = Links::open(&dir.0).expect("none yet");
        links.add(link("a", 60)).expect("kept");
        fs::remove_dir_all(&dir.0).expect("removed");

        let revoked = links.revoke("a");

        assert!(revoked.is_some() && links.is_revoked("a"));
        assert!(matches!(links.save(), Err(LinkError::Io(_))));
    }

    #[test]
    fn a_link_that_has_expired_is_forgotten() {
        let dir = Dir::new("expired");
        let links = Links::open(&dir.0).expect("none yet");
        links.add(link("a", 0)).expect("kept");

        assert_eq!(links.all(), []);

        drop(links);
        assert!(!Links::open(&dir.0).expect("a list").known().contains_key("a"));
    }

    #[test]
    fn a_damaged_list_is_kept_beside_a_new_one() {
        let dir = Dir::new("damaged");
        fs::write(dir.0.join("links.json"), b"[{").expect("written");

        let links = Links::open(&dir.0).expect("a new list");
        links.add(link("a", 60)).expect("kept");

        assert_eq!(fs::read(dir.0.join("links.damaged")).expect("there"), b"[{");
    }

    #[test]
    fn nobody_who_brings_a_token_waits_for_the_disk() {
        let dir = Dir::new("disk");
        let links = Links::open(&dir.0).expect("none yet");
        // Opening a pipe takes until somebody reads.
        let draft = dir.0.join("links.draft");
        let made = std::process::Command::new("mkfifo").arg(&draft).status().expect("mkfifo");
        assert!(made.success());
        let (tell, told) = std::sync::mpsc::channel();

        let (asked, added) = std::thread::scope(|scope| {
            let adding = scope.spawn(|| links.add(link("a", 60)));
            scope.spawn(|| {
                while links.all().is_empty() {
                    std::thread::yield_now();
                }
                tell.send(links.is_revoked("a")).expect("awaited");
            });
            let asked = told.recv_timeout(Duration::from_secs(10));
            fs::read(&draft).expect("what was written");
            (asked, adding.join().expect("no panic"))
        });

        assert_eq!(asked, Ok(false));
        assert!(matches!(added, Err(LinkError::Io(_))), "a pipe cannot be synced");
        assert_eq!(links.all(), [], "what is not kept is not good");
    }

    #[test]
    fn there_are_no_more_links_than_so_many() {
        let links = Links::unkept();
        for n in 0..MOST {
            links.add(link(&n.to_string(), 3_600)).expect("room");
        }

        assert!(matches!(links.add(link("x", 3_600)), Err(LinkError::TooMany)));
    }
}
