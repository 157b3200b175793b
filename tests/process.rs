//! The process as an operator sees it: how it ends, and what it remembers when it is started again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A state directory of its own, removed at the end.
struct State(PathBuf);

impl State {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tribune-process-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// A token for the stream `live`.
    fn token(&self, subject: &str) -> String {
        let words = ["token", "--stream", "live", "--publish", "--as", subject];
        let made = self.command().args(words).output().expect("the binary runs");
        String::from_utf8(made.stdout).expect("text").lines().next().expect("a token").to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tribune"));
        command
            .env("TRIBUNE_STATE_DIR", &self.0)
            .env("TRIBUNE_LOG_FORMAT", "json")
            .env("TRIBUNE_LOG_LEVEL", "debug")
            .stdin(Stdio::null());
        command
    }

    /// Starts the server on a port, 0 for any, and waits until it says where it is.
    fn serve(&self, port: u16, idle: &str) -> Server {
        let at = format!("127.0.0.1:{port}");
        let mut child = self
            .command()
            .args(["serve", "--http", &at, "--media", "127.0.0.1:0"])
            .env("TRIBUNE_STREAMS_IDLE", idle)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a welcome");
        let at = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).map(str::parse);
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Server { child, log, port: at.expect("an address").expect("a port") }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs; it does not outlive the test.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    port: u16,
}

impl Server {
    /// Sends a request; what comes back is to be read from the connection.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> TcpStream {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        connection.set_read_timeout(Some(PATIENCE)).expect("a time");
        let (length, headers) = (body.len(), headers.iter().fold(String::new(), |all, header| all + header + "\r\n"));
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
        connection.write_all(head.as_bytes()).expect("sent");
        connection.write_all(body.as_bytes()).expect("sent");
        connection
    }

    /// A request and its whole answer.
    fn answer(&self, method: &str, path: &str, headers: &[&str], body: &str) -> String {
        let headers: Vec<_> = headers.iter().copied().chain(["connection: close"]).collect();
        let mut answer = String::new();
        self.ask(method, path, &headers, body).read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn present(&self, token: &str) -> String {
        let bearer = format!("authorization: Bearer {token}");
        self.answer("POST", "/whip/live", &[SDP, &bearer], OBS)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Reads the log up to a line with this in it.
    fn wait_for(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).expect("a log"), 0, "the log ended without `{words}`");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn at_a_signal_viewers_are_told_to_reconnect_and_the_process_ends_well() {
    let state = State::new("goodbye");
    let mut server = state.serve(0, "wait");
    let made = server.answer("POST", "/whep/live", &[SDP], CHROMIUM);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let events = format!("{}/events", header(&made, "location").expect("a session"));
    let mut events = BufReader::new(server.ask("GET", &events, &[], ""));
    let mut line = String::new();
    while !line.contains("retry:") {
        line.clear();
        assert_ne!(events.read_line(&mut line).expect("events"), 0);
    }

    let told = Instant::now();
    server.signal(Signal::TERM);

    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the events end in good order");
    assert!(rest.contains("event: reconnect"), "{rest}");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    assert!(told.elapsed() < PATIENCE, "{:?}", told.elapsed());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let state = State::new("forced");
    let mut server = state.serve(0, "wait");
    // A request that does not end keeps a server from ending well, for a while.
    let mut slow = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    let head = format!("POST /whep/live HTTP/1.1\r\nhost: localhost\r\n{SDP}\r\ncontent-length: 100\r\n\r\nv=0");
    slow.write_all(head.as_bytes()).expect("sent");
    assert!(server.answer("GET", "/readyz", &[], "").starts_with("HTTP/1.1 200"));

    server.signal(Signal::TERM);
    server.wait_for("draining");
    server.signal(Signal::TERM);

    assert_eq!(server.child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn who_presented_is_remembered_when_the_process_is_killed() {
    let state = State::new("killed");
    let (ann, bob) = (state.token("ann"), state.token("bob"));
    let mut server = state.serve(0, "conflict");
    let port = server.port;
    assert!(server.present(&ann).starts_with("HTTP/1.1 201"));
    server.wait_for("who presents is written down");
    server.child.kill().expect("killed");
    server.child.wait().expect("it ends");

    let again = state.serve(port, "conflict");

    let viewer = again.answer("POST", "/whep/live", &[SDP], CHROMIUM);
    assert!(viewer.starts_with("HTTP/1.1 409"), "{viewer}");
    assert_eq!(header(&viewer, "retry-after"), Some("1"), "the presenter is expected back soon");
    let other = again.present(&bob);
    assert!(other.starts_with("HTTP/1.1 409") && other.contains("stream-awaited"), "{other}");
    assert!(header(&other, "retry-after").is_some(), "{other}");
    assert!(again.present(&ann).starts_with("HTTP/1.1 201"));
    assert!(again.present(&bob).contains("stream-busy"));
}

const SDP: &str = "content-type: application/sdp";
const OBS: &str = include_str!("fixtures/offers/obs-32.2.2.sdp");
const CHROMIUM: &str = include_str!("fixtures/offers/chromium-156-play.sdp");
/// For what takes a moment on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
