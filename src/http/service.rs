//! One request: the checks and headers that all have in common, and the way to whoever answers it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, LINK, SERVER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::Notify;

use crate::control::auth::{Auth, Denied, Identity};
use crate::control::counter::CounterPolicy;
use crate::control::ice_servers::IceServer;
use crate::control::limits::{Action, Key, RetryAfter};
use crate::control::{Control, EtagPolicy};
use crate::metrics::Metrics;

use super::Limits;
use super::body::Body;
use super::endpoint::{self, Guest};
use super::measure::{self, Measures};
use super::pages::{Pages, Purpose};
use super::places::Places;
use super::problem::Problem;
use super::route::Route;
use super::{api, cors, events, layers, ops, session};

/// What requests are answered with.
#[derive(Debug)]
pub(super) struct App {
    pub(super) control: Arc<Control>,
    pub(super) auth: Arc<Auth>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) measures: Measures,
    pub(super) pages: Pages,
    /// For event streams that are being read.
    pub(super) feeds: Arc<Places>,
    pub(super) limits: Limits,
    pub(super) etag_policy: EtagPolicy,
    pub(super) whep_counter_offer: CounterPolicy,
    pub(super) ice_servers: Vec<IceServer>,
    pub(super) redirect_to: Vec<String>,
    /// How many clients were sent elsewhere: they are dealt out in turn.
    pub(super) redirects: AtomicUsize,
    /// We speak TLS ourselves.
    pub(super) secure: bool,
    pub(super) public_url: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) trusted_proxies: Vec<IpAddr>,
    /// People reach us by https, with a certificate that their browsers trust.
    pub(super) strict_https: bool,
}

/// What is known of the connection that a request came on.
#[derive(Debug)]
pub(super) struct Connection {
    peer: SocketAddr,
    flaw: OnceLock<&'static str>,
    requests: AtomicU32,
    /// Told when the connection has had all its requests.
    pub(super) retire: Notify,
}

impl Connection {
    /// A fresh one.
    pub(super) fn new(peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self { peer, flaw: OnceLock::new(), requests: AtomicU32::new(0), retire: Notify::new() })
    }

    /// Its framing cannot be trusted any more.
    pub(super) fn found(&self, flaw: &'static str) {
        // The first one counts.
        let _ = self.flaw.set(flaw);
    }
}

impl App {
    /// Answers one request, whatever it is.
    pub(super) async fn serve(
        &self,
        connection: &Connection,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let route = Route::of(parts.uri.path());
        let word = route.as_ref().map_or("unknown", Route::word);
        let session = route.as_ref().ok().and_then(Route::session);
        let preflight = cors::is_preflight(&parts);
        let client = self.client(&parts.headers, connection);

        let answered = match check(&parts, connection) {
            Err(problem) => Err(problem),
            Ok(()) if preflight => Ok(options(route.as_ref().ok())),
            Ok(()) => match route {
                Err(problem) => Err(problem),
                Ok(route) => {
                    let dispatched = self.dispatch(route, &parts, body, connection, client);
                    let answer = tokio::time::timeout(self.limits.request, dispatched).await;
                    answer.unwrap_or(Err(Problem::Overdue))
                }
            },
        };
        let last = connection.requests.fetch_add(1, Ordering::Relaxed) + 1 >= self.limits.requests_per_connection;
        if last {
            connection.retire.notify_one();
        }
        let closes = last || answered.as_ref().is_err_and(leaves_body_unread);
        let closes = closes && parts.version < Version::HTTP_2;
        let mut response = answered.unwrap_or_else(Problem::into_response);
        self.finish(&mut response, closes);
        if parts.method == Method::HEAD {
            // HTTP/2 would send it.
            *response.body_mut() = Body::default();
        }

        let (status, took) = (response.status(), started.elapsed());
        // Players look once a second whether their session is still there: an answer that it is is no news.
        let is_look = matches!(parts.method, Method::GET | Method::HEAD) && status.is_success();
        if let Some(session) = session.filter(|_| !preflight && !is_look) {
            self.control.asked(session, measure::word(&parts.method), word, status.as_u16());
        }
        self.measures.request(word, &parts.method, status, took);
        tracing::debug!(
            route = word,
            method = measure::word(&parts.method),
            status = status.as_u16(),
            ms = took.as_millis(),
            %client,
            "request answered"
        );
        Ok(response)
    }

    /// Sends a request to whoever answers it.
    async fn dispatch(
        &self,
        route: Route,
        parts: &Parts,
        body: Incoming,
        connection: &Connection,
        client: IpAddr,
    ) -> Result<Response<Body>, Problem> {
        let (method, headers) = (&parts.method, &parts.headers);
        let allow = route.allow();
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Problem::Method { allow });
        }
        if method == Method::OPTIONS {
            if let Some(id) = route.session() {
                session::exists(self, id)?;
            }
            let mut response = options(Some(&route));
            if authorization(headers).is_ok_and(|token| token.is_some()) && Guest::knows(self, &route, headers) {
                self.offer_ice_servers(response.headers_mut());
            }
            return Ok(response);
        }
        match route {
            Route::Endpoint(role, stream) => {
                let guest = Guest::admit(self, role, Some(stream), headers)?;
                if method == Method::POST {
                    endpoint::post(self, guest, client, parts, body).await
                } else {
                    Ok(endpoint::get(role))
                }
            }
            Route::EndpointByToken(role) => {
                let guest = Guest::admit(self, role, None, headers)?;
                if method == Method::POST {
                    endpoint::post(self, guest, client, parts, body).await
                } else {
                    Ok(endpoint::get(role))
                }
            }
            Route::Session(id) if method == Method::DELETE => session::delete(self, id, headers, client),
            Route::Session(id) if method == Method::PATCH => session::patch(self, id, headers, client, body).await,
            Route::Session(id) => session::get(self, id, headers),
            Route::Layer(id) if method == Method::POST => layers::post(self, id, headers, body, client).await,
            Route::Layer(id) if method == Method::DELETE => layers::delete(self, id, headers, client),
            Route::Layer(id) => layers::get(self, id, headers, client),
            Route::Events(id) if method == Method::POST => events::post(self, id, headers, body, client).await,
            Route::Events(id) => events::open(self, id, parts, client),
            Route::EventStream(id, stream) if method == Method::DELETE => {
                events::delete(self, id, stream, headers, client)
            }
            Route::EventStream(id, stream) => events::get(self, id, stream, parts, client),
            Route::Home => self.pages.page("index.html", Purpose::Show, headers).await,
            Route::PublishPage => self.pages.page("publish.html", Purpose::Present, headers).await,
            Route::WatchPage => self.pages.page("watch.html", Purpose::Show, headers).await,
            Route::EmbedPage => self.pages.page("watch.html", Purpose::Embed, headers).await,
            Route::AdminPage => self.pages.page("admin.html", Purpose::Show, headers).await,
            Route::ReportPage => self.pages.page("report.html", Purpose::Show, headers).await,
            Route::Static(name) => self.pages.page(&name, Purpose::Show, headers).await,
            Route::Timeline(id) => api::timeline_of(self, id, headers, client),
            Route::Api(call) => api::answer(self, call, parts, body, client).await,
            Route::Metrics => ops::metrics(self, headers, connection.peer.ip()),
            Route::Live => Ok(ops::live()),
            Route::Ready => ops::ready(self),
        }
    }

    /// Tells whoever was let in of the ICE servers, each in a header of its own.
    pub(super) fn offer_ice_servers(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now();
        for server in &self.ice_servers {
            if let Ok(link) = HeaderValue::try_from(server.link(now)) {
                headers.append(LINK, link);
            }
        }
    }

    /// Where the next client that cannot be taken may go.
    pub(super) fn next_redirect(&self) -> Option<&str> {
        let turn = self.redirects.fetch_add(1, Ordering::Relaxed);
        let at = turn.checked_rem(self.redirect_to.len())?;
        self.redirect_to.get(at).map(String::as_str)
    }

    /// Reads the credentials of the maker of a session: they may have expired since.
    /// # Errors
    /// As [`Auth::recognize`]; `Malformed` also for two headers.
    pub(super) fn recognize(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        self.auth.recognize(authorization(headers)?)
    }

    /// Reads the credentials.
    /// # Errors
    /// As [`Auth::identify`]; `Malformed` also for two headers.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        self.auth.identify(authorization(headers)?)
    }

    /// Counts something that a client may not do too often.
    /// # Errors
    /// `TooMany`.
    pub(super) fn limit(&self, action: Action, key: &Key) -> Result<(), Problem> {
        let allowed = self.control.limits().allow(action, key, Instant::now());
        allowed.map_err(|RetryAfter(retry_after)| Problem::TooMany { retry_after })
    }

    /// Whose request it is: behind a trusted proxy the last address that the proxies saw and that is not one of them.
    fn client(&self, headers: &HeaderMap, connection: &Connection) -> IpAddr {
        let mut client = connection.peer.ip().to_canonical();
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        // The nearest proxy's word comes last; what a client wrote before it may be anything.
        for next in forwarded.iter().rev().map_while(|address| address.trim().parse::<IpAddr>().ok()) {
            if !self.trusted_proxies.contains(&client) {
                break;
            }
            client = next.to_canonical();
        }
        client
    }

    /// Adds what every response has.
    fn finish(&self, response: &mut Response<Body>, closes: bool) {
        let length = response.body().len();
        // RFC 9110 §8.6: these have no body, and 204 must not even say so.
        let bodiless = matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        // HEAD of an event stream: GET has no length either.
        let endless = headers.get(CONTENT_TYPE).is_some_and(|found| found == events::STREAM);
        cors::apply(headers);
        headers.insert(SERVER, HeaderValue::from_static("tribune"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
        if self.strict_https {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        // Said by us, not by the connection, so that HEAD has it too.
        if let Some(length) = length.filter(|_| !bodiless && !endless) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// What must be right before a request is looked at.
fn check(parts: &Parts, connection: &Connection) -> Result<(), Problem> {
    if let Some(flaw) = connection.flaw.get() {
        return Err(Problem::BadRequest(flaw));
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => {
            let host = Authority::try_from(host.as_bytes());
            Some(host.map_err(|_| Problem::BadRequest("Host is not a host name with or without a port"))?)
        }
        (Some(_), Some(_)) => return Err(Problem::BadRequest("Host is given more than once")),
    };
    match (parts.uri.authority(), host) {
        (None, None) if parts.version >= Version::HTTP_11 => Err(Problem::BadRequest("Host is missing")),
        (Some(target), Some(host)) if *target != host => {
            Err(Problem::BadRequest("the request names another host than its Host header"))
        }
        _ => Ok(()),
    }
}

/// After these the rest of the body is not worth waiting for, or is not even known to be a body.
fn leaves_body_unread(problem: &Problem) -> bool {
    matches!(problem, Problem::BadRequest(_) | Problem::BodyTimeout(_) | Problem::TooLarge { .. } | Problem::Overdue)
}

/// The answer to OPTIONS: never needs credentials and never tells a secret.
fn options(route: Option<&Route>) -> Response<Body> {
    let mut response = empty();
    let headers = response.headers_mut();
    if let Some(route) = route {
        headers.insert(ALLOW, HeaderValue::from_static(route.allow()));
    }
    let posted = match route {
        Some(Route::Layer(_) | Route::Events(_) | Route::Api(_)) => layers::JSON,
        _ => endpoint::SDP,
    };
    headers.insert("accept-post", HeaderValue::from_static(posted));
    headers.insert("accept-patch", HeaderValue::from_static(session::FRAGMENT));
    response
}

/// The one `Authorization` header, if there is one.
/// # Errors
/// `Malformed` when there are two.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Denied::Malformed),
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
    }
}

/// 200 without content, not to be cached.
pub(super) fn empty() -> Response<Body> {
    let mut response = Response::new(Body::default());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<(), Problem> {
        let mut builder = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        check(&parts, &Connection::new(([127, 0, 0, 1], 9).into()))
    }

    #[test]
    fn a_request_says_once_which_host_it_means() {
        let good = [
            request(Version::HTTP_11, "/", &[("host", "a:8080")]),
            request(Version::HTTP_11, "/", &[("host", "[::1]:8080")]),
            request(Version::HTTP_11, "http://a/", &[("host", "A")]),
            request(Version::HTTP_10, "/", &[]),
            request(Version::HTTP_2, "https://a/", &[]),
        ];
        let bad = [
            request(Version::HTTP_11, "/", &[]),
            request(Version::HTTP_11, "/", &[("host", "a"), ("host", "a")]),
            request(Version::HTTP_11, "/", &[("host", "a b")]),
            request(Version::HTTP_11, "http://a/", &[("host", "b")]),
            request(Version::HTTP_2, "https://a/", &[("host", "b")]),
            request(Version::HTTP_2, "/", &[]),
        ];

        for (n, outcome) in good.into_iter().enumerate() {
            assert_eq!(outcome, Ok(()), "{n}");
        }
        for (n, outcome) in bad.into_iter().enumerate() {
            assert!(matches!(outcome, Err(Problem::BadRequest(_))), "{n}");
        }
    }

    #[test]
    fn nothing_is_believed_after_a_framing_flaw() {
        let connection = Connection::new(([127, 0, 0, 1], 9).into());
        let (parts, ()) = Request::builder().header("host", "a").body(()).expect("a request").into_parts();
        assert_eq!(check(&parts, &connection), Ok(()));

        connection.found("first");
        connection.found("second");

        assert_eq!(check(&parts, &connection), Err(Problem::BadRequest("first")));
    }

    #[test]
    fn one_authorization_header_at_most() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), Ok(None));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(authorization(&headers), Ok(Some(&b"Bearer a"[..])));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(authorization(&headers), Err(Denied::Malformed));
    }
}
