//! A reverse proxy on loopback between a check and the healthy server. It alters what a [`Mutant`](super::Mutant) says,
//! and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::How;
use super::relay::Relays;
use crate::cli::Side;
use crate::client::Target;
use crate::http::{EventStream, Http, NoAnswer, Request, Response};
use crate::url::Url;

/// A request on its way to the server.
pub(super) struct Ask {
    /// `GET`, `POST`, …
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    /// Without `Host` and what is about the connection.
    pub(super) headers: Vec<(String, String)>,
    /// The whole body.
    pub(super) body: Vec<u8>,
    /// True for a URL that is not the endpoint's.
    pub(super) is_session: bool,
    /// Which endpoint it is, if it is one.
    pub(super) side: Option<Side>,
    /// True when a DELETE of this URL was seen before.
    pub(super) ended: bool,
    /// How often the same was asked before.
    pub(super) times: u32,
}

impl Ask {
    /// True for that method at the endpoint.
    pub(super) fn is(&self, method: &str) -> bool {
        self.method == method && !self.is_session
    }

    /// True for that method at a session.
    pub(super) fn at_session(&self, method: &str) -> bool {
        self.method == method && self.is_session
    }

    /// The first field of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Replaces a field, or adds it.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// True for a request about a session's event streams.
    pub(super) fn is_about_events(&self) -> bool {
        self.is_session && self.path.contains("/events")
    }

    /// True for that method at the place where a session's layer is chosen.
    pub(super) fn at_layer(&self, method: &str) -> bool {
        self.at_session(method) && self.path.ends_with("/layer")
    }

    /// True for the preflight of a browser.
    pub(super) fn is_preflight(&self) -> bool {
        self.header("access-control-request-method").is_some()
    }
}

/// An answer on its way back.
#[derive(Default)]
pub(super) struct Reply {
    /// The status code.
    pub(super) status: u16,
    /// Lower-case names.
    pub(super) headers: Vec<(String, String)>,
    /// The whole body.
    pub(super) body: Vec<u8>,
    /// How long it is held back.
    pub(super) delay: Duration,
    /// What follows instead of the body, when that has no end.
    pub(super) events: Option<EventStream>,
}

impl Reply {
    /// An answer without body.
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: vec![("access-control-allow-origin".into(), "*".into())], ..Self::default() }
    }

    /// The first field of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Takes a field out.
    pub(super) fn drop(&mut self, name: &str) {
        self.headers.retain(|(n, _)| n != name);
    }

    /// Replaces a field, or adds it.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.drop(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a field, beside others of that name.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Changes the value of a field that is there.
    pub(super) fn edit(&mut self, name: &str, change: impl Fn(&str) -> String) {
        for (_, value) in self.headers.iter_mut().filter(|(n, _)| n == name) {
            *value = change(value);
        }
    }

    /// Changes the body as text.
    pub(super) fn rewrite(&mut self, change: impl Fn(&str) -> String) {
        self.body = change(&String::from_utf8_lossy(&self.body)).into_bytes();
    }

    /// True for a session that was made.
    pub(super) fn is_created(&self) -> bool {
        self.status == 201
    }

    /// Changes the SDP of a 201, line by line; `None` takes a line out. Lines come without their end.
    pub(super) fn lines(&mut self, change: impl Fn(&str) -> Option<String>) {
        if self.is_created() {
            self.rewrite(|sdp| sdp.lines().filter_map(&change).map(|line| line + "\r\n").collect());
        }
    }

    /// Takes lines with one of those beginnings out of the SDP of a 201.
    pub(super) fn without(&mut self, prefixes: &[&str]) {
        self.lines(|line| (!prefixes.iter().any(|prefix| line.starts_with(prefix))).then(|| line.to_owned()));
    }

    /// Replaces text in the SDP of a 201.
    pub(super) fn replace(&mut self, old: &str, new: &str) {
        if self.is_created() {
            self.rewrite(|sdp| sdp.replace(old, new));
        }
    }
}

/// A running proxy. Dropping it ends it.
pub(super) struct Proxy {
    /// Where it listens.
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all connections of a proxy share.
struct State {
    upstream: Url,
    endpoints: Vec<(Side, String)>,
    http: Http,
    how: How,
    relays: Relays,
    /// Method and path with the number of requests; bounded.
    asked: Mutex<HashMap<(String, String), u32>>,
    address: SocketAddr,
    /// Whom a server that trusts loopback shall count requests against: else one mutant uses up what the next may ask.
    client: String,
}

impl Proxy {
    /// Starts a proxy for the server that is the target.
    ///
    /// # Errors
    /// A sentence when there is no target or loopback cannot be bound.
    pub(super) async fn start(target: &Target, http: Http, how: How) -> Result<Self, String> {
        let urls = [(Side::Whip, &target.whip), (Side::Whep, &target.whep)];
        let urls: Vec<(Side, &Url)> = urls.iter().filter_map(|(side, url)| Some((*side, url.as_ref()?))).collect();
        let (_, upstream) = urls.first().ok_or("no endpoint")?;
        let endpoints = urls.iter().map(|(side, url)| (*side, url.path.clone())).collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let state = Arc::new(State {
            upstream: (*upstream).clone(),
            endpoints,
            http,
            how,
            relays: Relays::new(how),
            asked: Mutex::default(),
            address,
            client: {
                let [high, low] = address.port().to_be_bytes();
                format!("198.18.{high}.{low}")
            },
        });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(&state, request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _client_left = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, task })
    }
}

/// Serves one request.
async fn answer(state: &State, request: hyper::Request<Incoming>) -> Result<hyper::Response<Content>, Infallible> {
    let reply = match read(state, request).await {
        Ok(ask) => judge(state, ask).await,
        Err(()) => Reply::status(413),
    };
    tokio::time::sleep(reply.delay).await;
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let content = match reply.events {
        Some(events) => Either::Right(Running::start(events, state.how)),
        None => Either::Left(Full::new(Bytes::from(reply.body))),
    };
    Ok(response.body(content).unwrap_or_else(|_| hyper::Response::new(Either::Left(Full::default()))))
}

/// The body of an answer.
type Content = Either<Full<Bytes>, Running>;

/// An event stream that is passed on block by block.
struct Running(mpsc::Receiver<Bytes>);

impl Running {
    /// Passes on what comes, as the mutant has it, until either end is gone.
    fn start(mut events: EventStream, how: How) -> Self {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let block = tokio::select! {
                    block = events.block() => block,
                    () = sender.closed() => return,
                };
                let Some(block) = block else { return };
                let block = if let How::Events(change) = how { change(&block) } else { Some(block) };
                if let Some(block) = block
                    && sender.send(Bytes::from(block + "\n\n")).await.is_err()
                {
                    return;
                }
            }
        });
        Self(receiver)
    }
}

impl Body for Running {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|block| block.map(|block| Ok(Frame::data(block))))
    }
}

/// Reads a request to its end.
async fn read(state: &State, request: hyper::Request<Incoming>) -> Result<Ask, ()> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let headers = headers.collect();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(drop)?.to_bytes().to_vec();
    let side = state.endpoints.iter().find(|(_, endpoint)| *endpoint == path).map(|(side, _)| *side);
    let mut asked = state.asked.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = side.is_none() && asked.contains_key(&("DELETE".to_owned(), path.clone()));
    let key = (head.method.to_string(), path.clone());
    let times = asked.get(&key).copied().unwrap_or_default();
    if asked.len() < MOST_URLS {
        asked.insert(key, times + 1);
    }
    let method = head.method.to_string();
    Ok(Ask { method, path, headers, body, is_session: side.is_none(), side, ended, times })
}

/// Asks the server, unless the mutant answers itself, and alters what comes back.
async fn judge(state: &State, mut ask: Ask) -> Reply {
    match state.how {
        How::Forge(forge) => {
            if let Some(reply) = forge(&ask) {
                return reply;
            }
        }
        How::Ask(change) => change(&mut ask),
        How::Honest | How::Reply(_) | How::Events(_) | How::Wire(_) => {}
    }
    let mut reply = forward(state, &ask).await;
    if let How::Reply(change) = state.how {
        change(&ask, &mut reply);
    }
    if matches!(state.how, How::Wire(_)) {
        state.relays.divert(&ask, &mut reply).await;
    }
    reply
}

/// Asks the server.
async fn forward(state: &State, ask: &Ask) -> Reply {
    let mut url = state.upstream.clone();
    url.path.clone_from(&ask.path);
    let headers = ask.headers.iter().filter(|(name, _)| !CONNECTION.contains(&name.as_str())).cloned();
    let headers = headers.chain([("X-Forwarded-For".to_owned(), state.client.clone())]).collect();
    let request = Request { headers, ..Request::new(&ask.method, &url) }.body(ask.body.clone());
    if ask.method == "GET" && ask.header("accept") == Some("text/event-stream") {
        return match state.http.listen(request).await {
            Ok((exchange, events)) => Reply { events, ..reply(state, ask, exchange.response) },
            Err(error) => unreachable(error),
        };
    }
    let result = if ask.body.len() > 64 * 1024 {
        // A server that refuses early closes while the body is still being written.
        let extra = format!("Content-Length: {}\r\nConnection: close\r\n", ask.body.len());
        let octets = [request.head(&extra).as_bytes(), &ask.body].concat();
        state.http.raw(request, &[&octets]).await
    } else {
        state.http.send(request).await
    };
    match result {
        Ok(exchange) => reply(state, ask, exchange.response),
        Err(error) => unreachable(error),
    }
}

/// What is said when the server says nothing.
fn unreachable(error: NoAnswer) -> Reply {
    Reply { status: 502, body: error.0.into_bytes(), ..Reply::default() }
}

/// The server's answer, with the server's own address replaced by the proxy's.
fn reply(state: &State, ask: &Ask, response: Response) -> Reply {
    let (theirs, ours) = (state.upstream.authority(), state.address.to_string());
    // The length of a body is counted anew, but an answer to HEAD has none to count.
    let kept = |name: &str| !CONNECTION.contains(&name) || (name == "content-length" && ask.method == "HEAD");
    let headers = response.headers.into_iter().filter(|(name, _)| kept(name));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.replace(&theirs, &ours))).collect();
    Reply { status: response.status, headers, body: response.body, ..Reply::default() }
}

/// Fields about one connection, which no proxy passes on.
const CONNECTION: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "expect", "keep-alive"];
/// Sessions and methods that are remembered.
const MOST_URLS: usize = 4096;
/// More than any check sends.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
