//! A small HTTP/1.1 client that hides nothing: no redirect is followed, every header is visible, and
//! [`Http::raw`] sends whatever octets a check wants to send.

mod events;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::url::Url;
pub(crate) use events::{EventStream, Heard, Message};

/// Why a request got no HTTP answer at all (refused, reset, timed out, not HTTP).
#[derive(Debug)]
pub(crate) struct NoAnswer(pub(crate) String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One request, kept as text so that it can be printed as a `curl` command.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Any token; not only the registered methods.
    pub(crate) method: String,
    /// Where it goes.
    pub(crate) url: Url,
    /// In sending order; names may repeat.
    pub(crate) headers: Vec<(String, String)>,
    /// The octets after the header section.
    pub(crate) body: Vec<u8>,
    /// Name of the offer fixture that the body is, for the `curl` line.
    pub(crate) fixture: Option<&'static str>,
}

impl Request {
    /// A request without headers or body.
    pub(crate) fn new(method: &str, url: &Url) -> Self {
        Self { method: method.to_owned(), url: url.clone(), headers: Vec::new(), body: Vec::new(), fixture: None }
    }

    /// Adds a header field.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes out every field of that name.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    #[must_use]
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The header section as octets, with `extra` lines (each ending in CRLF) before the blank line.
    pub(crate) fn head(&self, extra: &str) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.url.path, self.url.authority());
        for (name, value) in &self.headers {
            text = format!("{text}{name}: {value}\r\n");
        }
        text.push_str(extra);
        text.push_str("\r\n");
        text
    }

    /// A command that repeats the request; tokens are written as `$TOKEN`.
    pub(crate) fn curl(&self) -> String {
        let mut line = match self.method.as_str() {
            "HEAD" => "curl -I".to_owned(),
            method => format!("curl -i -X {method}"),
        };
        for (name, value) in &self.headers {
            let value = if name.eq_ignore_ascii_case("authorization") { mask(value) } else { value.clone() };
            line = format!("{line} -H \"{name}: {}\"", value.replace('"', "\\\""));
        }
        if let Some(fixture) = self.fixture {
            line = format!("tribune-conformance --print-offer {fixture} | {line} --data-binary @-");
        } else if !self.body.is_empty() {
            let body = String::from_utf8_lossy(&self.body);
            let shown: String = body.chars().take(200).collect();
            line = format!("{line} --data-binary $'{}'", shown.escape_default());
        }
        format!("{line} {}", self.url)
    }
}

/// `Bearer abc` → `Bearer $TOKEN`; other forms keep their shape so that an odd header stays recognisable.
fn mask(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, rest)) if !rest.trim().is_empty() => format!("{scheme} $TOKEN"),
        _ => value.to_owned(),
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The final status code.
    pub(crate) status: u16,
    /// In arrival order; names as received (hyper lowers their case).
    pub(crate) headers: Vec<(String, String)>,
    /// At most [`BODY_LIMIT`] octets.
    pub(crate) body: Vec<u8>,
    /// From the first octet sent to the last octet read.
    pub(crate) took: Duration,
    /// True when a `100 Continue` came first ([`Http::raw`] only).
    pub(crate) continued: bool,
}

impl Response {
    /// The first field of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every field of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Every element of a comma-separated list header, trimmed.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .iter()
            .flat_map(|v| v.split(','))
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
            .collect()
    }

    /// True when the list header `name` holds `token`, whatever its case.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).iter().any(|t| t.eq_ignore_ascii_case(token))
    }

    /// The media type without parameters, in lower case.
    pub(crate) fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The body as text; wrong UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// True for 200–299.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// True for 400–499.
    pub(crate) fn is_client_error(&self) -> bool {
        (400..500).contains(&self.status)
    }
}

/// A request with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// What was sent.
    pub(crate) request: Request,
    /// What came back.
    pub(crate) response: Response,
}

impl Exchange {
    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }

    /// `POST /whip/x → 201`, for reports.
    pub(crate) fn line(&self) -> String {
        format!("{} → {}", self.request.method, self.response.status)
    }
}

/// The client: settings only, every request has its own connection.
#[derive(Clone)]
pub(crate) struct Http {
    tls: Arc<rustls::ClientConfig>,
}

impl Http {
    /// A client that meets https servers with `tls`.
    pub(crate) fn new(tls: rustls::ClientConfig) -> Self {
        Self { tls: Arc::new(tls) }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`NoAnswer`] when no complete response came within [`PATIENCE`].
    pub(crate) async fn send(&self, request: Request) -> Result<Exchange, NoAnswer> {
        let mut all = self.send_all(vec![request]).await?;
        all.pop().ok_or_else(|| NoAnswer("nothing was sent".into()))
    }

    /// Sends requests one after the other on one kept-alive connection.
    ///
    /// # Errors
    /// [`NoAnswer`] when one of them got no complete response.
    pub(crate) async fn send_all(&self, requests: Vec<Request>) -> Result<Vec<Exchange>, NoAnswer> {
        let Some(first) = requests.first() else {
            return Ok(Vec::new());
        };
        let stream = self.connect(&first.url).await?;
        let (mut sender, connection) =
            patiently(hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))).await?;
        let driver = tokio::spawn(connection);

        let mut answered = Vec::new();
        for request in requests {
            let start = Instant::now();
            let message = build(&request)?;
            patiently(sender.ready()).await?;
            let (head, body) = patiently(sender.send_request(message)).await?.into_parts();
            let body = patiently(Limited::new(body, BODY_LIMIT).collect()).await?.to_bytes();
            let headers = fields(&head.headers);
            let response = Response {
                status: head.status.as_u16(),
                headers,
                body: body.to_vec(),
                took: start.elapsed(),
                continued: false,
            };
            answered.push(Exchange { request, response });
        }
        driver.abort();
        Ok(answered)
    }

    /// Writes `parts` as they are, pausing up to a second between two parts for the peer to say something, and reads one
    /// response. `request` is what the octets stand for, for the report.
    ///
    /// # Errors
    /// [`NoAnswer`] when no response head came.
    pub(crate) async fn raw(&self, request: Request, parts: &[&[u8]]) -> Result<Exchange, NoAnswer> {
        let start = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(self.connect(&request.url).await?);
        let mut received = Vec::new();
        let (last, first) = parts.split_last().ok_or_else(|| NoAnswer("nothing was sent".into()))?;
        for part in first {
            patiently(writer.write_all(part)).await?;
            let mut chunk = [0; 4096];
            // Silence is fine here: a client may send the body without waiting for the 100 (RFC 9110 §10.1.1).
            if let Ok(Ok(n)) = timeout(Duration::from_secs(1), reader.read(&mut chunk)).await {
                received.extend_from_slice(chunk.get(..n).unwrap_or_default());
            }
        }
        // A server that refuses early closes while we still write, so writing must not hide its answer.
        let no_body_expected = request.method == "HEAD";
        let writing = async {
            let _refused_early = writer.write_all(last).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = writing => {}
            () = read_response(&mut reader, &mut received, no_body_expected) => {}
        }
        let response = parse(&received, start.elapsed()).ok_or_else(|| {
            NoAnswer(format!("no HTTP response, only {} octets before the connection ended", received.len()))
        })?;
        Ok(Exchange { request, response })
    }

    /// Opens a TCP (and TLS) connection.
    async fn connect(&self, url: &Url) -> Result<Box<dyn Wire>, NoAnswer> {
        let stream = patiently(TcpStream::connect((url.host.as_str(), url.port))).await?;
        // Small requests must not wait for the peer's delayed acknowledgement.
        let _best_effort = stream.set_nodelay(true);
        if !url.tls {
            return Ok(Box::new(stream));
        }
        let name = rustls::pki_types::ServerName::try_from(url.host.clone()).map_err(|e| NoAnswer(e.to_string()))?;
        let stream = patiently(tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream)).await?;
        Ok(Box::new(stream))
    }

    /// The first address that the host of `url` resolves to.
    ///
    /// # Errors
    /// [`NoAnswer`] when the name does not resolve.
    pub(crate) async fn address(&self, url: &Url) -> Result<SocketAddr, NoAnswer> {
        let mut all = patiently(tokio::net::lookup_host((url.host.as_str(), url.port))).await?;
        all.next().ok_or_else(|| NoAnswer(format!("{} has no address", url.host)))
    }
}

/// Octets both ways: TCP or TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Header fields as text.
fn fields(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// Turns our request into hyper's.
fn build(request: &Request) -> Result<hyper::Request<Full<Bytes>>, NoAnswer> {
    let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(request.url.path.as_str());
    builder = builder.header("host", request.url.authority()).header("user-agent", USER_AGENT);
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    builder
        .body(Full::new(Bytes::from(request.body.clone())))
        .map_err(|e| NoAnswer(format!("cannot build request: {e}")))
}

/// Waits at most [`PATIENCE`].
async fn patiently<T, E: fmt::Display>(what: impl Future<Output = Result<T, E>>) -> Result<T, NoAnswer> {
    match timeout(PATIENCE, what).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(NoAnswer(error.to_string())),
        Err(_) => Err(NoAnswer(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Reads until the final response is complete, the peer closes, or it falls silent. For HEAD it waits for octets that
/// must not come.
async fn read_response(reader: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>, no_body_expected: bool) {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let complete = is_complete(received);
        if (complete && !no_body_expected) || received.len() > BODY_LIMIT {
            return;
        }
        let wait = if complete || (no_body_expected && head_end(received).is_some()) {
            Duration::from_millis(500)
        } else {
            PATIENCE
        };
        match timeout(wait, reader.read(&mut chunk)).await {
            Ok(Ok(n)) if n > 0 => received.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            _ => return,
        }
    }
}

/// Where the body starts.
fn head_end(octets: &[u8]) -> Option<usize> {
    octets.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// Skips `1xx` responses; gives the rest and whether one was skipped.
fn skip_interim(mut octets: &[u8]) -> (&[u8], bool) {
    let mut continued = false;
    while octets.starts_with(b"HTTP/1.1 1") {
        let Some(end) = head_end(octets) else { break };
        continued = true;
        octets = octets.get(end..).unwrap_or_default();
    }
    (octets, continued)
}

/// True when the head and as much body as `Content-Length` promises are there. Chunked bodies are complete at their last
/// chunk.
fn is_complete(received: &[u8]) -> bool {
    let (octets, _) = skip_interim(received);
    let (Some(end), Some(response)) = (head_end(octets), parse(octets, Duration::ZERO)) else {
        return false;
    };
    let body = octets.get(end..).unwrap_or_default();
    match response.header("content-length").and_then(|v| v.trim().parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None if response.lists("transfer-encoding", "chunked") => body.ends_with(b"0\r\n\r\n"),
        None => matches!(response.status, 204 | 304),
    }
}

/// Parses a response; the body is left as it came.
fn parse(received: &[u8], took: Duration) -> Option<Response> {
    let (octets, continued) = skip_interim(received);
    let end = head_end(octets)?;
    let head = String::from_utf8_lossy(octets.get(..end)?).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response { status, headers, body: octets.get(end..)?.to_vec(), took, continued })
}

/// A server that is slower than this has not answered; clients give up at 8 s (OBS) to 15 s (GStreamer).
const PATIENCE: Duration = Duration::from_secs(10);
/// Larger response bodies are an error; answers stay below 8 KiB.
const BODY_LIMIT: usize = 512 * 1024;
/// How the suite names itself.
const USER_AGENT: &str = concat!("tribune-conformance/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
