//! A whole server on a free port, and a client that says exactly what it is told to.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use tribune::control::auth::{Auth, Identity, Right};
use tribune::control::reports::Shelf;
use tribune::control::stream::{Policies, StreamName, StreamPolicy, WatchPolicy};
use tribune::control::tokens::{Secret, StaticToken, sha256};
use tribune::control::{self, Control, MediaPlane};
use tribune::http::{Server, Settings};
use tribune::media::layer::LayerChoice;
use tribune::media::{CloseReason, Restart, SessionId, SessionSpec};
use tribune::metrics::Metrics;
use tribune::net::Full;
use tribune::wire::sdp::{Fingerprint, Hash, Kind};

/// A server with streams `live` (anybody may watch) and `closed` (a token is needed).
pub struct House {
    pub address: SocketAddr,
    pub control: Arc<Control>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    _state: Dir,
}

impl House {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings than the default.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let metrics = Metrics::new();
        let state = Dir::new();
        Self::build(&metrics, state, change, |_| {})
    }

    /// With other policies than the default.
    pub fn with_policies(change: impl FnOnce(&mut Policies)) -> Self {
        Self::build(&Metrics::new(), Dir::new(), |_| {}, change)
    }

    fn build(
        metrics: &Arc<Metrics>,
        state: Dir,
        change: impl FnOnce(&mut Settings),
        policies: impl FnOnce(&mut Policies),
    ) -> Self {
        let (control, auth) = floors_below(metrics, state.path(), policies);
        let mut settings = Settings::new(([127, 0, 0, 1], 0).into());
        change(&mut settings);
        let server = Server::bind(settings, Arc::clone(&control), auth, Arc::clone(metrics)).expect("a free port");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { address, control, stop: Some(stop), serving, _state: state }
    }

    /// Asks for a shutdown and waits for its end.
    pub async fn shut_down(mut self) {
        let _ = self.stop.take().expect("not stopped yet").send(());
        within(self.serving).await.expect("no panic").expect("no error");
    }

    /// Opens a connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends bytes as they are and reads all responses until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<Reply> {
        let mut tcp = self.connect().await;
        // The server may close before it has read everything; what it says then is what counts.
        let _ = tcp.write_all(bytes).await;
        let mut received = Vec::new();
        let _ = within(tcp.read_to_end(&mut received)).await;
        Reply::all(&received)
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let mut replies = self.raw(&bytes).await;
        assert_eq!(replies.len(), 1, "{method} {path}");
        replies.remove(0)
    }

    /// POST of an offer with a token.
    pub async fn post(&self, path: &str, token: Option<&str>, offer: &str) -> Reply {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", "application/sdp")];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        self.ask("POST", path, &headers, offer.as_bytes()).await
    }

    /// GET without anything.
    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }
}

/// Most viewers of one address who have their answer and are not connected yet.
pub const UNCONNECTED: usize = 80;

/// What the server stands on: a media plane that takes every session and does nothing with it.
fn floors_below(metrics: &Metrics, state: &Path, change: impl FnOnce(&mut Policies)) -> (Arc<Control>, Arc<Auth>) {
    let closed = StreamPolicy { watch: WatchPolicy::Token, ..StreamPolicy::default() };
    let named = [(stream("closed"), closed)].into_iter().collect();
    let mut policies = Policies { named, ..Policies::default() };
    change(&mut policies);
    let policies = Arc::new(policies);
    let settings = control::Settings {
        candidates: vec![([192, 0, 2, 1], 8080).into()],
        policies: Arc::clone(&policies),
        max_sessions: 100,
        max_unconnected_per_address: UNCONNECTED,
    };
    let plane = Plane { fingerprint: Fingerprint { hash: Hash::Sha256, value: vec![7; 32] } };
    let control = Control::new(plane, settings, metrics).expect("registered once");
    control.keep_reports(Shelf::open(&state.join("reports")).expect("a shelf"));
    let secret = Secret::load_or_create(state).expect("a secret");
    let auth = Arc::new(Auth::new(secret, tokens(), policies));
    (control, auth)
}

/// Tokens of the tests; each is its own subject.
fn tokens() -> Vec<StaticToken> {
    let token = |text: &str, of: Option<&str>, right| StaticToken {
        sha256: sha256(text),
        identity: Identity { subject: text.to_owned(), stream: of.map(stream), right },
    };
    vec![
        token(ANN, Some("live"), Right::Publish),
        token(BOB, Some("live"), Right::Publish),
        token(EVE, Some("other"), Right::Publish),
        token(GUEST, Some("closed"), Right::Watch),
        token(ROOT, None, Right::Admin),
    ]
}

/// May present on `live`.
pub const ANN: &str = "token-of-ann-0123456789";
/// May present on `live` too, but is somebody else.
pub const BOB: &str = "token-of-bob-0123456789";
/// May present on `other`.
pub const EVE: &str = "token-of-eve-0123456789";
/// May watch `closed`.
pub const GUEST: &str = "token-of-guest-0123456789";
/// May do everything.
pub const ROOT: &str = "token-of-root-0123456789";

fn stream(name: &str) -> StreamName {
    name.parse().expect("a good name")
}

#[derive(Debug)]
struct Plane {
    fingerprint: Fingerprint,
}

impl MediaPlane for Plane {
    fn open(&self, _spec: SessionSpec) -> Result<(), Full> {
        Ok(())
    }

    fn restart(&self, _restart: Restart) -> Result<(), Full> {
        Ok(())
    }

    fn choose_layer(&self, _session: SessionId, _kind: Kind, _choice: LayerChoice) -> bool {
        true
    }

    fn close(&self, _session: SessionId, _reason: CloseReason) {}

    fn close_all(&self, _reason: CloseReason) {}

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// Takes a stream of responses apart. Interim ones (1xx) are passed over.
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut replies = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
            let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
            bytes = &bytes[end + 4..];
            if status < 200 {
                continue;
            }
            let mut reply = Self { status, head, body: Vec::new() };
            let length = reply.header("content-length").map_or(0, |l| l.parse().expect("a number"));
            // HEAD: there is a length but no body.
            let body = &bytes[..bytes.len().min(length)];
            reply.body = body.to_vec();
            bytes = &bytes[body.len()..];
            replies.push(reply);
        }
        replies
    }

    /// The one header of this name; two would be a mistake everywhere.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// All headers of this name.
    pub fn all_of(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Fails unless this is a well-formed problem with that status and readable from other origins.
    pub fn assert_problem(&self, status: u16, what: &str) {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{what}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).expect(what);
        assert_eq!(document["status"], status, "{what}");
        for member in ["type", "title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: {member}");
        }
        let text = String::from_utf8_lossy(&self.body);
        assert!(!text.contains("token-of-"), "{what}: a credential is repeated");
        self.assert_cors(what);
    }

    /// Fails unless browsers let scripts of any origin read this.
    pub fn assert_cors(&self, what: &str) {
        assert_eq!(self.header("access-control-allow-origin"), Some("*"), "{what}");
        let allowed = self.header("access-control-allow-headers").expect(what).to_ascii_lowercase();
        assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{what}");
        let exposed = self.header("access-control-expose-headers").expect(what).to_ascii_lowercase();
        for name in ["location", "etag", "link", "retry-after", "www-authenticate"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{what}: {name}");
        }
    }
}

/// An offer that a real client made.
pub fn offer(name: &str) -> String {
    let path = format!("{}/tests/fixtures/offers/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect(name)
}

/// Waits, but not for ever.
pub async fn within<F: Future>(what: F) -> F::Output {
    timeout(Duration::from_secs(20), what).await.expect("done in time")
}

/// A directory of its own for one test, gone afterwards.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tribune-http-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
