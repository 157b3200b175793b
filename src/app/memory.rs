//! What outlives the process: who presented where, so that after a restart of a few seconds presenters and viewers find
//! each other again. Kept in the state directory, one file for each port.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::control::awaited::Presented;

/// The file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// What is in it.
    written: Vec<Presented>,
    written_at: Instant,
    /// It cannot be written; that has been said.
    is_broken: bool,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// Seconds since 1970.
    written: u64,
    streams: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    presenters: Vec<String>,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
enum Damaged {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it has more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error("version {0}, wanted {VERSION}")]
    Version(u32),
}

impl Memory {
    /// Of the server on this port. Servers on other ports may share the directory.
    pub(super) fn new(state_dir: &Path, port: u16) -> Self {
        let path = state_dir.join(format!("presented-{port}.json"));
        Self { path, written: Vec::new(), written_at: Instant::now(), is_broken: false }
    }

    /// Who presented when the server ended, and how long ago that was written. A damaged file is no reason not to serve.
    pub(super) fn recall(&self, now: SystemTime) -> (Vec<Presented>, Duration) {
        match read(&self.path) {
            Ok(content) => {
                let age = seconds(now).saturating_sub(content.written);
                (content.streams.into_iter().filter_map(Entry::presented).collect(), Duration::from_secs(age))
            }
            Err(Damaged::Io(error)) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Duration::ZERO),
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "who presented last is not known; nobody is waited for");
                (Vec::new(), Duration::ZERO)
            }
        }
    }

    /// Writes down who presents whenever that changes, and now and then that it has not, until `closing` is closed; then
    /// once more.
    pub(super) async fn keep(mut self, control: Arc<Control>, mut closing: tokio::sync::oneshot::Receiver<()>) {
        loop {
            let is_closing = tokio::time::timeout(PAUSE, &mut closing).await.is_ok();
            let presented = control.presented();
            let is_old = !presented.is_empty() && self.written_at.elapsed() >= REFRESH;
            if presented != self.written || is_old || (is_closing && !presented.is_empty()) {
                self = self.write(presented).await;
            }
            if is_closing {
                return;
            }
        }
    }

    /// Writes the file, away from the threads that answer requests.
    async fn write(mut self, presented: Vec<Presented>) -> Self {
        let content = Content {
            version: VERSION,
            written: seconds(SystemTime::now()),
            streams: presented.iter().take(MOST_STREAMS).map(Entry::of).collect(),
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &content)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.is_broken = false;
                tracing::debug!(streams = presented.len(), "who presents is written down");
            }
            Err(error) if !std::mem::replace(&mut self.is_broken, true) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "who presents cannot be kept for after a restart");
            }
            Err(_) => {}
        }
        (self.written, self.written_at) = (presented, Instant::now());
        self
    }
}

impl Entry {
    fn of(presented: &Presented) -> Self {
        let presenters = presented.presenters.iter().take(MOST_PRESENTERS).cloned().collect();
        Self { name: presented.stream.to_string(), presenters }
    }

    fn presented(self) -> Option<Presented> {
        let presenters: Vec<String> = self.presenters.into_iter().take(MOST_PRESENTERS).collect();
        Some(Presented { stream: self.name.parse().ok()?, presenters }).filter(|found| !found.presenters.is_empty())
    }
}

fn read(path: &Path) -> Result<Content, Damaged> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Damaged::TooLarge);
    }
    let content: Content = serde_json::from_slice(&text)?;
    if content.version == VERSION { Ok(content) } else { Err(Damaged::Version(content.version)) }
}

/// Leaves no file where there is nothing to say. Otherwise writes beside it and puts that in its place: whenever we die,
/// there is the old one or the new one.
fn write(path: &Path, content: &Content) -> io::Result<()> {
    if content.streams.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const VERSION: u32 = 1;
/// Between two looks at who presents.
const PAUSE: Duration = Duration::from_millis(500);
/// The file is at most so old while somebody presents.
const REFRESH: Duration = Duration::from_secs(10);
/// Everything beyond is forgotten.
const MOST_STREAMS: usize = 4_096;
const MOST_PRESENTERS: usize = 16;
/// Of a file that we read: names and identities are short.
const MOST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tribune-memory-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    fn talk() -> Presented {
        Presented { stream: "talk".parse().expect("a name"), presenters: vec!["publisher:talk".to_owned()] }
    }

    #[tokio::test]
    async fn what_was_written_is_recalled_and_nothing_of_other_ports() {
        let dir = Dir::new("round-trip");
        Memory::new(&dir.0, 8080).write(vec![talk()]).await;

        let (streams, age) = Memory::new(&dir.0, 8080).recall(SystemTime::now() + Duration::from_secs(7));

        assert_eq!(streams, [talk()]);
        assert!((7..=8).contains(&age.as_secs()), "{age:?}");
        assert_eq!(Memory::new(&dir.0, 8081).recall(SystemTime::now()).0, []);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = Dir::new("damaged");
        let memory = Memory::new(&dir.0, 8080);
        let good = r#"{"version":1,"written":1,"streams":[{"name":"talk","presenters":["publisher:talk"]}]}"#;
        fs::write(&memory.path, good).expect("written");
        assert_eq!(memory.recall(UNIX_EPOCH).0, [talk()], "a clock that was set back makes it no older");

        let cut = &good[..good.len() / 2];
        let later = good.replace(":1,\"w", ":2,\"w");
        for bad in ["", "null", "{}", cut, later.as_str(), "\0\0\0\0"] {
            fs::write(&memory.path, bad).expect("written");
            assert_eq!(memory.recall(SystemTime::now()), (Vec::new(), Duration::ZERO), "{bad:?}");
        }
    }

    #[test]
    fn entries_that_cannot_be_are_left_out() {
        let dir = Dir::new("entries");
        let memory = Memory::new(&dir.0, 8080);
        let entries = r#"[{"name":"a/b","presenters":["x"]},{"name":"empty","presenters":[]}]"#;
        fs::write(&memory.path, format!(r#"{{"version":1,"written":1,"streams":{entries}}}"#)).expect("written");

        assert_eq!(memory.recall(UNIX_EPOCH).0, []);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_borne() {
        let memory = Memory::new(Path::new("/nowhere/at/all"), 8080).write(vec![talk()]).await;

        assert!(memory.is_broken);
    }
}
