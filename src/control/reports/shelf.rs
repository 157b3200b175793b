//! Where reports are kept: a directory, and a thread that writes to it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Report;
use crate::control::Control;

/// All reports. Each is in memory and in a file.
#[derive(Debug)]
pub struct Shelf {
    reports: Arc<Mutex<BTreeMap<String, Report>>>,
    writer: Mutex<Option<(SyncSender<Order>, JoinHandle<()>)>>,
}

#[derive(Debug)]
enum Order {
    Write(Box<Report>),
    Remove(String),
}

impl Shelf {
    /// Reads what is there, and closes what was not finished.
    /// # Errors
    /// When the directory cannot be made or read. A file that cannot be read, or is no report, is left alone with a
    /// warning.
    pub fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut reports = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(report) => {
                    reports.insert(report.id.clone(), report);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "a report cannot be read"),
            }
        }
        let (sender, orders) = sync_channel(ORDERS);
        let thread = {
            let dir = dir.to_owned();
            std::thread::Builder::new().name("reports".to_owned()).spawn(move || run(&dir, &orders))?
        };
        let shelf = Self { reports: Arc::new(Mutex::new(reports)), writer: Mutex::new(Some((sender, thread))) };
        let unfinished: Vec<Report> = shelf.all().values().filter(|report| report.ended.is_none()).cloned().collect();
        for report in unfinished {
            shelf.put(closed(report));
        }
        Ok(shelf)
    }

    /// Keeps a report in place of the one of the same name. The oldest goes when there are too many.
    pub(in crate::control) fn put(&self, report: Report) {
        for order in self.keep(report) {
            self.order(order);
        }
    }

    /// Keeps it in memory. Returns what is to be done on the disk.
    fn keep(&self, report: Report) -> impl Iterator<Item = Order> + use<> {
        let mut reports = self.all();
        reports.insert(report.id.clone(), report.clone());
        let removed = if reports.len() > MOST_REPORTS { reports.pop_first() } else { None };
        let removed = removed.map(|(id, _)| Order::Remove(id));
        std::iter::once(Order::Write(Box::new(report))).chain(removed)
    }

    /// Keeps these as the last ones, and waits until all is written.
    pub(in crate::control) fn close(&self, last: Vec<Report>) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((orders, thread)) = writer {
            for order in last.into_iter().flat_map(|report| self.keep(report)) {
                // However many there are, each waits for its turn: it could be told to nobody later. Only a thread that
                // panicked takes none.
                let _ = orders.send(order);
            }
            drop(orders);
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }

    fn order(&self, order: Order) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = writer.as_ref().is_some_and(|(orders, _)| orders.try_send(order).is_ok());
        if !sent {
            tracing::warn!("a report was not written: the disk is slow");
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.close(Vec::new());
    }
}

impl Control {
    /// Keeps reports on this shelf from now on. Called once.
    pub fn keep_reports(&self, shelf: Shelf) {
        // A second shelf is not used.
        let _ = self.records.shelf.set(shelf);
    }

    /// All reports, the newest first. Those of broadcasts that last are up to half a minute old.
    pub fn reports(&self) -> Vec<Report> {
        let all = self.records.shelf.get().map(|shelf| shelf.all().values().rev().cloned().collect());
        all.unwrap_or_default()
    }

    /// One report; of a broadcast that lasts, as far as it is now.
    pub fn report(&self, id: &str) -> Option<Report> {
        let growing = self.records.growing(id, Instant::now());
        growing.or_else(|| self.records.shelf.get()?.all().get(id).cloned())
    }
}

/// As far as it was known when the process ended.
fn closed(mut report: Report) -> Report {
    report.interrupted = true;
    report.ended = Some(report.written.clone());
    report
}

fn run(dir: &Path, orders: &Receiver<Order>) {
    for order in orders {
        let done = match &order {
            Order::Write(report) => write(dir, report),
            Order::Remove(id) => fs::remove_file(path(dir, id)),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a report cannot be kept");
        }
    }
}

fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.json"))
}

fn read(path: &Path) -> io::Result<Report> {
    let about = fs::metadata(path)?;
    if about.len() > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    let report: Report = serde_json::from_slice(&fs::read(path)?)?;
    // What it says of itself becomes a name of a file.
    let named = path.file_stem().is_some_and(|stem| stem == report.id.as_str());
    if named { Ok(report) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "its id is not its name")) }
}

/// Writes beside its place and renames: it is never seen half written.
fn write(dir: &Path, report: &Report) -> io::Result<()> {
    let draft = dir.join(".draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(report)?)?;
    file.sync_all()?;
    fs::rename(&draft, path(dir, &report.id))
}

/// That wait to be carried out.
const ORDERS: usize = 256;
/// Reports that are kept; about 5 KiB each.
const MOST_REPORTS: usize = 1_000;
/// A report is never larger.
const MOST_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("tribune-shelf-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn report(id: &str, ended: Option<&str>) -> Report {
        let (ended, started) = (ended.map(str::to_owned), "2026-01-01T00:00:00.000Z".to_owned());
        Report { id: id.to_owned(), stream: "talk".to_owned(), started, ended, ..Report::default() }
    }

    #[test]
    fn a_report_is_there_after_a_restart() {
        let dir = Dir::new("restart");
        let shelf = Shelf::open(&dir.0).expect("a shelf");
        shelf.put(report("a", Some("2026-01-01T01:00:00.000Z")));
        drop(shelf);

        let shelf = Shelf::open(&dir.0).expect("the same");

        assert_eq!(shelf.all().get("a"), Some(&report("a", Some("2026-01-01T01:00:00.000Z"))));
    }

    #[test]
    fn what_was_not_finished_is_closed_at_the_next_start() {
        let dir = Dir::new("closed");
        let shelf = Shelf::open(&dir.0).expect("a shelf");
        shelf.put(report("a", None));
        drop(shelf);

        drop(Shelf::open(&dir.0).expect("closes it"));
        let shelf = Shelf::open(&dir.0).expect("a shelf");

        let all = shelf.all();
        assert!(all["a"].interrupted && all["a"].ended.is_some());
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let dir = Dir::new("many");
        let shelf = Shelf::open(&dir.0).expect("a shelf");

        for n in 0..=MOST_REPORTS {
            shelf.put(report(&format!("{n:06}"), Some("x")));
            while n % 100 == 0 && !path(&dir.0, &format!("{n:06}")).exists() {
                std::thread::yield_now();
            }
        }
        assert_eq!(shelf.all().len(), MOST_REPORTS);
        drop(shelf);

        assert!(!path(&dir.0, "000000").exists());
        assert_eq!(Shelf::open(&dir.0).expect("a shelf").all().len(), MOST_REPORTS);
    }

    #[test]
    fn all_that_end_with_the_process_are_written() {
        let dir = Dir::new("end");
        let shelf = Shelf::open(&dir.0).expect("a shelf");

        shelf.close((0..2 * ORDERS).map(|n| report(&format!("{n:06}"), Some("x"))).collect());

        assert_eq!(Shelf::open(&dir.0).expect("a shelf").all().len(), 2 * ORDERS);
    }

    #[test]
    fn a_file_that_is_no_report_is_left_alone() {
        let dir = Dir::new("foreign");
        fs::create_dir_all(&dir.0).expect("a directory");
        fs::write(dir.0.join("x.json"), b"{").expect("written");
        fs::write(dir.0.join("y.json"), br#"{"id": "../../escape"}"#).expect("written");

        let shelf = Shelf::open(&dir.0).expect("a shelf");

        assert!(shelf.all().is_empty());
        assert!(dir.0.join("x.json").exists());
    }
}
