//! The HTTP side of a viewer: POST an offer, DELETE the session.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Failure, LoadError, Options};

mod tls;

/// The endpoint. Its connections are kept and used again, so that what is measured are joins and not TCP.
pub(super) struct Door {
    target: Target,
    authorization: Option<HeaderValue>,
    tls: TlsConnector,
    idle: Mutex<Vec<Connection>>,
}

/// A URL that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: bool,
}

/// A connection to the endpoint, and the address that it leads to.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    peer: IpAddr,
}

/// What a POST led to.
pub(super) struct Admitted {
    /// The answer (SDP).
    pub(super) answer: String,
    /// To be deleted at the end; `None` when the server named none.
    pub(super) session: Option<Uri>,
    /// Who answered.
    pub(super) peer: IpAddr,
    /// When the request that was answered was sent.
    pub(super) asked: Instant,
    /// How often the server said "later" before.
    pub(super) retries: u64,
}

/// A response, read to its end.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    peer: IpAddr,
    asked: Instant,
}

impl Door {
    /// A door that nobody has gone through yet.
    /// # Errors
    /// When the URL or the token cannot be used.
    pub(super) fn new(options: &Options) -> Result<Self, LoadError> {
        let target = Target::parse(&options.whep).ok_or_else(|| LoadError::Url(options.whep.clone()))?;
        let authorization = match &options.token {
            None => None,
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {token}"));
                Some(value.map_err(|_| LoadError::Url("the token is not one".into()))?)
            }
        };
        Ok(Self {
            target,
            authorization,
            tls: TlsConnector::from(Arc::new(tls::config(options.insecure).map_err(LoadError::Tls)?)),
            idle: Mutex::default(),
        })
    }

    /// Asks for a session; comes back when the server says "later", a few times.
    /// # Errors
    /// When there is no session in the end.
    pub(super) async fn enter(&self, offer: String) -> Result<Admitted, Failure> {
        let offer = Bytes::from(offer);
        let mut retries = 0;
        loop {
            let reply = self.ask(Method::POST, &self.target.uri, offer.clone()).await?;
            match reply.status {
                200..=299 => {
                    let answer = String::from_utf8_lossy(&reply.body).into_owned();
                    let session =
                        reply.headers.get(LOCATION).and_then(|value| self.target.resolve(value.to_str().ok()?));
                    return Ok(Admitted { answer, session, peer: reply.peer, asked: reply.asked, retries });
                }
                409 | 429 | 503 if retries < RETRIES => {
                    retries += 1;
                    tokio::time::sleep(later(&reply.headers)).await;
                }
                status => return Err(Failure::Status(status)),
            }
        }
    }

    /// Says goodbye.
    /// # Errors
    /// When the server did not agree.
    pub(super) async fn exit(&self, session: &Uri) -> Result<(), Failure> {
        let reply = self.ask(Method::DELETE, session, Bytes::new()).await?;
        if (200..300).contains(&reply.status) { Ok(()) } else { Err(Failure::Status(reply.status)) }
    }

    async fn ask(&self, method: Method, uri: &Uri, body: Bytes) -> Result<Reply, Failure> {
        let asked = Instant::now();
        let answered = timeout(PATIENCE, self.exchange(&method, uri, &body)).await;
        let (response, connection) = answered.map_err(|_| Failure::NoAnswer("it took too long".into()))??;
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
        let body = body.map_err(|_| Failure::NoAnswer("it took too long".into()))?;
        let body = body.map_err(|error| Failure::NoAnswer(error.to_string()))?.to_bytes();
        let peer = connection.peer;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body, peer, asked })
    }

    /// Sends a request on a connection that is there, or else on a new one.
    async fn exchange(
        &self,
        method: &Method,
        uri: &Uri,
        body: &Bytes,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if is_kept && connection.sender.ready().await.is_err() {
                continue;
            }
            match connection.sender.try_send_request(self.request(method, uri, body)?).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => {
                    // Otherwise the server closed a connection that was kept, and never saw the request.
                    if !is_kept || error.take_message().is_none() {
                        return Err(Failure::NoAnswer(error.into_error().to_string()));
                    }
                }
            }
        }
    }

    fn request(&self, method: &Method, uri: &Uri, body: &Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, self.target.authority());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/sdp");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body.clone())).map_err(|error| Failure::NoAnswer(error.to_string()))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Target { host, port, .. } = &self.target;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(no_answer)?;
        let peer = stream.peer_addr().map_err(no_answer)?.ip();
        let _ = stream.set_nodelay(true);
        let sender = if self.target.tls {
            let name = ServerName::try_from(host.clone()).map_err(|error| Failure::NoAnswer(error.to_string()))?;
            speak(self.tls.connect(name, stream).await.map_err(no_answer)?).await?
        } else {
            speak(stream).await?
        };
        Ok(Connection { sender, peer })
    }
}

/// HTTP/1.1 on a stream. The task ends with the connection.
async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| Failure::NoAnswer(error.to_string()))?;
    tokio::spawn(connection);
    Ok(sender)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn no_answer(error: std::io::Error) -> Failure {
    // Not the whole text: failures are counted by what they say, so it must not differ from viewer to viewer.
    Failure::NoAnswer(error.kind().to_string())
}

/// When to come back: what the server says, within reason.
fn later(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(MIN_LATER, Duration::from_secs).clamp(MIN_LATER, MAX_LATER)
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { uri, host, port, tls })
    }

    fn authority(&self) -> &str {
        self.uri.authority().map_or("", hyper::http::uri::Authority::as_str)
    }

    /// What a `Location` means (RFC 3986 §5.2, without dots). On another server there is nothing that we could delete.
    fn resolve(&self, location: &str) -> Option<Uri> {
        if location.contains("://") {
            return Target::parse(location)
                .filter(|other| other.authority() == self.authority())
                .map(|other| other.uri);
        }
        if location.starts_with('/') {
            return location.parse().ok();
        }
        let (folder, _) = self.uri.path().rsplit_once('/')?;
        format!("{folder}/{location}").parse().ok()
    }
}

/// How often one viewer comes back.
const RETRIES: u64 = 5;
/// Also when the server does not say.
const MIN_LATER: Duration = Duration::from_secs(1);
/// See `later`.
const MAX_LATER: Duration = Duration::from_secs(10);
/// For a connection, a request and its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer.
const MAX_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_asked() {
        let target = Target::parse("https://[::1]/whep/a?b=c").expect("good");

        assert_eq!((target.host.as_str(), target.port, target.tls, target.authority()), ("::1", 443, true, "[::1]"));
        assert!(["", "/whep/a", "ftp://a/b", "localhost:8080/whep/a"].iter().all(|text| Target::parse(text).is_none()));
    }

    #[test]
    fn a_location_is_understood_in_every_form() {
        let target = Target::parse("http://h:81/whep/a").expect("good");
        let path = |location: &str| target.resolve(location).map(|uri| uri.path().to_owned());

        assert_eq!(path("/session/1").as_deref(), Some("/session/1"));
        assert_eq!(path("1").as_deref(), Some("/whep/1"));
        assert_eq!(path("http://h:81/session/1").as_deref(), Some("/session/1"));
        assert_eq!(path("http://other/session/1"), None);
    }

    #[test]
    fn it_comes_back_when_the_server_says_within_reason() {
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).expect("good"));
            later(&headers).as_secs()
        };

        assert_eq!((wait("3"), wait("0"), wait("3600"), wait("Wed, 21 Oct 2015 07:28:00 GMT")), (3, 1, 10, 1));
        assert_eq!(later(&HeaderMap::new()), MIN_LATER);
    }
}
