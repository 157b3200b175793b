//! A client of any WHIP or WHEP endpoint: POST an offer, DELETE the session. Follows redirects, reads `Link` and
//! `Retry-After`, keeps its connections. The tools of the command line share it; it knows nothing of this server. Beside
//! it, [`Receiver`] is POSTed to and trusted with nothing.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

mod link;
mod post;
mod tls;
mod url;

pub use link::IceServer;
pub use post::{Receipt, Receiver};
pub use url::Url;

/// Why a request led to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The server refused.
    #[error("HTTP {status}{}{}", meaning(*status), detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// Its code.
        status: u16,
        /// What it says about it, if it speaks RFC 9457.
        detail: Option<String>,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No HTTP answer. The text says nothing that differs from one attempt to the next.
    #[error("no HTTP answer: {0}")]
    NoAnswer(String),
    /// It is a web server, but not what was expected.
    #[error("{0}")]
    Foreign(String),
}

impl AskError {
    /// Would asking again later help? Not when the server understood and does not want.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 404 | 408 | 409 | 425 | 429 | 500..=599),
            Self::NoAnswer(_) => true,
            Self::Foreign(_) => false,
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL that can be asked.
    #[error("{0}: wanted http://HOST[:PORT]/PATH or https://…")]
    Url(String),
    /// Not something that can be in a header.
    #[error("the token has characters that no token has")]
    Token,
    /// No TLS.
    #[error("TLS: {0}")]
    Tls(String),
}

/// A WHIP or WHEP endpoint. Its connections are kept and used again.
pub struct Endpoint {
    url: Url,
    authorization: Option<HeaderValue>,
    tls: TlsConnector,
    idle: Mutex<Vec<Connection>>,
}

/// A connection, and where it leads to.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    origin: Url,
    peer: IpAddr,
}

/// What a POST led to.
#[derive(Debug)]
pub struct Admitted {
    /// The answer (SDP).
    pub answer: String,
    /// To be deleted at the end; `None` when the server named none.
    pub session: Option<Url>,
    /// Who answered.
    pub peer: IpAddr,
    /// STUN and TURN servers that we may use.
    pub ice_servers: Vec<IceServer>,
    /// When the request that was answered was sent.
    pub asked: Instant,
}

/// A response, read to its end.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    peer: IpAddr,
    asked: Instant,
}

impl Endpoint {
    /// An endpoint that nobody has asked yet. `insecure` takes any certificate.
    /// # Errors
    /// When the URL or the token cannot be used.
    pub fn new(url: &str, token: Option<&str>, insecure: bool) -> Result<Self, EndpointError> {
        let parsed = Url::parse(url).ok_or_else(|| EndpointError::Url(url.to_owned()))?;
        let header = |token| HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| EndpointError::Token);
        let mut authorization = token.map(header).transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let tls = TlsConnector::from(Arc::new(tls::config(insecure).map_err(EndpointError::Tls)?));
        Ok(Self { url: parsed, authorization, tls, idle: Mutex::default() })
    }

    /// Asks for a session.
    /// # Errors
    /// When there is none.
    pub async fn post(&self, offer: String) -> Result<Admitted, AskError> {
        let offer = Bytes::from(offer);
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS {
            let reply = self.ask(Method::POST, &url, offer.clone()).await?;
            let location = reply.headers.get(LOCATION).and_then(|value| url.resolve(value.to_str().ok()?));
            match reply.status {
                200..=299 => return reply.admitted(location),
                // Others turn a POST into a GET, which leads nowhere here.
                307 | 308 => {
                    let elsewhere = || AskError::Foreign("it redirects without saying where".to_owned());
                    url = location.ok_or_else(elsewhere)?;
                }
                _ => return Err(reply.refusal()),
            }
        }
        Err(AskError::Foreign(format!("it redirects more than {REDIRECTS} times")))
    }

    /// The STUN and TURN servers that it names beforehand (RFC 9725 §4.6); none when it does not.
    pub async fn ice_servers(&self) -> Vec<IceServer> {
        let reply = self.ask(Method::OPTIONS, &self.url, Bytes::new()).await;
        reply.map(|reply| reply.ice_servers()).unwrap_or_default()
    }

    /// Does its name lead to this machine by the loopback?
    pub async fn is_local(&self) -> bool {
        let found = tokio::net::lookup_host((self.url.host.as_str(), self.url.port)).await;
        found.is_ok_and(|mut addresses| addresses.any(|address| address.ip().to_canonical().is_loopback()))
    }

    /// Says goodbye.
    /// # Errors
    /// When the server did not agree.
    pub async fn delete(&self, session: &Url) -> Result<(), AskError> {
        let reply = self.ask(Method::DELETE, session, Bytes::new()).await?;
        if (200..300).contains(&reply.status) { Ok(()) } else { Err(reply.refusal()) }
    }

    /// Waits until the server has forgotten a session that it knew: one that was restarted says nothing by itself, and ICE
    /// takes half a minute to find out. Never ends with a server that says nothing of its sessions at all.
    pub async fn forgets(&self, session: &Url) {
        if self.knows(session).await != Some(true) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if self.knows(session).await == Some(false) {
                return;
            }
        }
    }

    /// Is there such a session? `None` when the server does not say.
    async fn knows(&self, session: &Url) -> Option<bool> {
        match self.ask(Method::GET, session, Bytes::new()).await.ok()?.status {
            200..=299 => Some(true),
            404 | 410 => Some(false),
            _ => None,
        }
    }

    async fn ask(&self, method: Method, url: &Url, body: Bytes) -> Result<Reply, AskError> {
        let asked = Instant::now();
        let answered = timeout(PATIENCE, self.exchange(&method, url, &body)).await;
        let (response, connection) = answered.map_err(|_| too_long())??;
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await.map_err(|_| too_long())?;
        let body = body.map_err(|error| AskError::NoAnswer(error.to_string()))?.to_bytes();
        let peer = connection.peer;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body, peer, asked })
    }

    /// Sends a request on a connection that is there, or else on a new one.
    async fn exchange(
        &self,
        method: &Method,
        url: &Url,
        body: &Bytes,
    ) -> Result<(Response<Incoming>, Connection), AskError> {
        loop {
            let kept = self.kept(url);
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(url, &self.tls).await?,
            };
            if is_kept && connection.sender.ready().await.is_err() {
                continue;
            }
            match connection.sender.try_send_request(self.request(method, url, body)?).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => {
                    // Otherwise the server closed a connection that was kept, and never saw the request.
                    if !is_kept || error.take_message().is_none() {
                        return Err(AskError::NoAnswer(error.into_error().to_string()));
                    }
                }
            }
        }
    }

    /// An idle connection that leads there.
    fn kept(&self, url: &Url) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|connection| connection.origin.is_of_the_same_origin(url))?;
        Some(idle.swap_remove(at))
    }

    fn request(&self, method: &Method, url: &Url, body: &Bytes) -> Result<Request<Full<Bytes>>, AskError> {
        let mut request = Request::builder().method(method.clone()).uri(url.path.as_str());
        request = request.header(HOST, url.authority()).header(ACCEPT, SDP);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, SDP);
        }
        // A token is for whom the user meant, not for whom that server points at.
        if let Some(authorization) = self.authorization.as_ref().filter(|_| url.is_of_the_same_origin(&self.url)) {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body.clone())).map_err(|error| AskError::NoAnswer(error.to_string()))
    }
}

/// Opens a connection.
async fn connect(url: &Url, tls: &TlsConnector) -> Result<Connection, AskError> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(no_answer)?;
    let peer = stream.peer_addr().map_err(no_answer)?.ip();
    let _ = stream.set_nodelay(true);
    let sender = if url.tls {
        let name = ServerName::try_from(url.host.clone()).map_err(|error| AskError::NoAnswer(error.to_string()))?;
        let shaken = tls.connect(name, stream).await;
        speak(shaken.map_err(|error| AskError::NoAnswer(format!("TLS: {error}")))?).await?
    } else {
        speak(stream).await?
    };
    Ok(Connection { sender, origin: url.clone(), peer })
}

impl Reply {
    /// A success, if the body is an answer.
    fn admitted(self, session: Option<Url>) -> Result<Admitted, AskError> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no type");
        if !kind.trim().to_ascii_lowercase().starts_with(SDP) || !self.body.starts_with(b"v=0") {
            let status = self.status;
            return Err(AskError::Foreign(format!(
                "not a WHIP or WHEP endpoint: it answered HTTP {status} with {kind} instead of {SDP}"
            )));
        }
        Ok(Admitted {
            answer: String::from_utf8_lossy(&self.body).into_owned(),
            session,
            ice_servers: self.ice_servers(),
            peer: self.peer,
            asked: self.asked,
        })
    }

    fn ice_servers(&self) -> Vec<IceServer> {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(link::ice_servers).collect()
    }

    fn refusal(&self) -> AskError {
        let detail = serde_json::from_slice::<serde_json::Value>(&self.body).ok().and_then(|problem| {
            let text = problem.get("detail").or_else(|| problem.get("title"))?.as_str()?;
            // It goes to a terminal.
            Some(text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect())
        });
        AskError::Status { status: self.status, detail, retry_after: later(&self.headers) }
    }
}

/// HTTP/1.1 on a stream. The task ends with the connection.
async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, AskError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| AskError::NoAnswer(error.to_string()))?;
    tokio::spawn(connection);
    Ok(sender)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn no_answer(error: std::io::Error) -> AskError {
    // Not the whole text: failures are counted by what they say, so it must not differ from viewer to viewer.
    AskError::NoAnswer(error.kind().to_string())
}

fn too_long() -> AskError {
    AskError::NoAnswer("it took too long".to_owned())
}

/// When the server wants to be asked again; dates are not understood.
fn later(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// For people who do not know the codes.
fn meaning(status: u16) -> &'static str {
    match status {
        401 => " (it wants a token, or another one)",
        403 => " (the token does not allow this)",
        404 => " (there is no such stream)",
        405 => " (not a WHIP or WHEP endpoint)",
        409 => " (nobody presents, or somebody else does)",
        429 => " (too many requests)",
        503 => " (it has no room now)",
        _ => "",
    }
}

/// RFC 9725 §4.2.
const SDP: &str = "application/sdp";
/// More are a circle.
const REDIRECTS: usize = 5;
/// For a connection, a request and its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two questions whether a session is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of an answer.
const MAX_BODY: usize = 64 * 1024;
/// Characters of an explanation.
const MAX_DETAIL: usize = 200;

#[cfg(test)]
mod tests;
