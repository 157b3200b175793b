//! The real server in a process of its own, and `tribune load` against it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::network::{Discard, NOWHERE};

/// Viewers, who leave when this is dropped.
pub(crate) struct Crowd {
    /// Those who count what they get.
    pub(crate) heard: Load,
    _others: Load,
    _discard: Option<Discard>,
}

/// A running server, ended when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

/// What the server says of itself at one moment.
#[derive(Clone)]
pub(crate) struct Reading {
    at: Instant,
    cpu: Duration,
    metrics: String,
}

impl Server {
    /// Starts the release binary on core 0, with one media thread, and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::begin(&[])
    }

    /// The same ahead of everything else on its core, where that is allowed: what is measured then is how long the server
    /// takes, not how long it waits for other programs. Not for one that fills its core: the kernel stops it for others.
    pub(crate) fn start_ahead() -> Self {
        let is_allowed = Command::new(AHEAD[0]).args(&AHEAD[1..]).arg("true").stderr(Stdio::null()).status();
        Self::begin(if is_allowed.is_ok_and(|status| status.success()) { AHEAD } else { &[] })
    }

    fn begin(ahead: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let dir = std::env::temp_dir().join(format!("tribune-bench-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let config = format!(
            "[http]\nlisten = \"{address}\"\nmax_connections_per_address = 4096\n\n[media]\nlisten = \"{address}\"\n\
             workers = 1\nmax_sessions = 20000\n\n[streams]\nidle = \"wait\"\n\n[state]\ndir = \"{}\"\n\n[log]\nlevel = \"error\"\n\n\
             [[tokens]]\ntoken = \"{TOKEN}\"\nstream = \"bench\"\nright = \"publish\"\n",
            dir.display()
        );
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let child = pinned(ahead, SERVER_CORE)
            .args(["serve", "--config"])
            .arg(dir.join("config.toml"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address, dir };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// 2.5 Mbit/s of video, and audio, until dropped.
    pub(crate) fn present(&self) -> Load {
        let presenter = Load::start(&["--whip", &self.url("whip"), "--whip-token", TOKEN, "--seconds", "86400"]);
        assert!(self.wait_for(1, Duration::from_secs(10)), "the presenter does not connect");
        presenter
    }

    /// Viewers on core 1, who stay until dropped or until they are done.
    pub(crate) fn watch(&self, viewers: usize, seconds: u64, more: &[&str]) -> Load {
        Self::watch_at(&self.url("whep"), viewers, seconds, more)
    }

    /// Viewers of a stream that nobody presents.
    pub(crate) fn wait_in_vain(&self, viewers: usize, seconds: u64, more: &[&str]) -> Load {
        Self::watch_at(&self.url("whep").replace("/bench", "/idle"), viewers, seconds, more)
    }

    /// Viewers most of whom are where media can be discarded; one in fifty is where it is heard, and joins when the others
    /// are there. Media is discarded from then on, as far as that can be done, if it `discards`. False when not all came.
    pub(crate) fn gather(&self, viewers: usize, seconds: u64, discards: bool) -> (Crowd, bool) {
        let (heard, already) = (viewers.div_ceil(ONE_IN), self.read().count(CONNECTED) as usize);
        let nowhere = NOWHERE.to_string();
        let pace = ["--joins-per-second", "100"];
        let others = self.watch(viewers - heard, 86_400, &[&pace[..], &["--from", &nowhere]].concat());
        let mut all = self.wait_for(already + viewers - heard, PATIENCE);
        // The last ones have yet to see a picture.
        std::thread::sleep(SETTLE);
        let discard = if discards { Discard::begin() } else { None };
        let heard = self.hear(heard, seconds, &pace);
        all &= self.wait_for(already + viewers, PATIENCE);
        (Crowd { heard, _others: others, _discard: discard }, all)
    }

    /// Viewers all of whom count what they get.
    fn hear(&self, viewers: usize, seconds: u64, more: &[&str]) -> Load {
        let (url, viewers, seconds) = (self.url("whep"), viewers.to_string(), seconds.to_string());
        let arguments = ["--whep", &url, "--viewers", &viewers, "--seconds", &seconds];
        Load::start(&[&arguments[..], more].concat())
    }

    fn watch_at(url: &str, viewers: usize, seconds: u64, more: &[&str]) -> Load {
        let (viewers, seconds) = (viewers.to_string(), seconds.to_string());
        let mut arguments = vec!["--whep", url, "--sample", "1/50", "--viewers", &viewers, "--seconds", &seconds];
        arguments.extend(more);
        Load::start(&arguments)
    }

    fn url(&self, endpoint: &str) -> String {
        format!("http://{}/{endpoint}/bench", self.address)
    }

    /// Waits until so many sessions have connected since the start; false when it takes longer than that.
    pub(crate) fn wait_for(&self, sessions: usize, most: Duration) -> bool {
        let begun = Instant::now();
        while self.read().count(CONNECTED) < sessions as f64 {
            if begun.elapsed() > most {
                return false;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        true
    }

    /// The state of now.
    pub(crate) fn read(&self) -> Reading {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let metrics = self.ask(&request);
        Reading { at: Instant::now(), cpu: self.cpu(), metrics }
    }

    /// One request that says `Connection: close`; the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }

    /// User and system time of all its threads.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        TICK * ticks as u32
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Reading {
    /// One sample of the metrics; 0 when there is none yet.
    pub(crate) fn count(&self, sample: &str) -> f64 {
        let line = self.metrics.lines().find_map(|l| l.strip_prefix(sample));
        line.and_then(|l| l.trim().parse().ok()).unwrap_or(0.0)
    }

    /// How much a sample has grown since then.
    pub(crate) fn grown(&self, since: &Self, sample: &str) -> f64 {
        self.count(sample) - since.count(sample)
    }

    /// CPU time since then.
    pub(crate) fn cpu_since(&self, since: &Self) -> Duration {
        self.cpu.saturating_sub(since.cpu)
    }

    /// Wall time since then.
    pub(crate) fn time_since(&self, since: &Self) -> Duration {
        self.at - since.at
    }

    /// A percentile of the forwarding delay since then, in milliseconds: the upper end of the bucket that it is in.
    pub(crate) fn delay(&self, since: &Self, frame: &str, percent: f64) -> f64 {
        let prefix = format!("tribune_forwarding_delay_seconds_bucket{{frame=\"{frame}\",le=\"");
        let bounds: Vec<&str> =
            self.metrics.lines().filter_map(|l| l.strip_prefix(&prefix)?.split('"').next()).collect();
        let grown = |bound: &str| self.grown(since, &format!("{prefix}{bound}\"}}"));
        let all = grown("+Inf");
        let within = bounds.iter().find(|bound| grown(bound) >= all * percent / 100.0);
        within.and_then(|bound| bound.parse::<f64>().ok()).map_or(f64::NAN, |seconds| seconds * 1e3)
    }
}

/// A presenter or a crowd of viewers, ended when dropped.
pub(crate) struct Load(Child);

impl Load {
    fn start(arguments: &[&str]) -> Self {
        let mut command = pinned(&[], LOAD_CORE);
        command.args(["load", "--json"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits for its report: one JSON object.
    pub(crate) fn report(mut self) -> serde_json::Value {
        let mut text = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut text).unwrap();
        }
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pinned(ahead: &[&str], core: &str) -> Command {
    let words = [ahead, &["taskset", "-c", core, env!("CARGO_BIN_EXE_tribune")]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Sessions so far.
pub(crate) const CONNECTED: &str = "tribune_handshakes_total{result=\"connected\"}";
/// Of so many viewers one counts what it gets.
const ONE_IN: usize = 50;
/// After a change, until it is steady again.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// For all to join.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// A real-time scheduling policy.
const AHEAD: &[&str] = &["chrt", "--fifo", "1"];
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// Long enough to be taken as a token.
const TOKEN: &str = "bench-presenter-0001";
/// The kernel tells CPU time in these.
const TICK: Duration = Duration::from_millis(10);
