//! What a check works with: the target, a polite way to talk to it, sessions that are always deleted again.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use str0m::media::MediaKind;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::answer::Sdp;
use crate::case::Halt;
use crate::cases::switch::Play;
use crate::cli::Side;
use crate::http::{Exchange, Http, NoAnswer, Request};
use crate::offer::Fixture;
use crate::rtc::{Client, Live, Style};
use crate::url::Url;

/// The server under test.
#[derive(Clone)]
pub(crate) struct Target {
    /// The WHIP endpoint.
    pub(crate) whip: Option<Url>,
    /// The WHEP endpoint.
    pub(crate) whep: Option<Url>,
    /// The token that may publish.
    pub(crate) token: Option<String>,
    /// The token that may only watch.
    pub(crate) watch_token: Option<String>,
    /// A token that may publish the stream as somebody else.
    pub(crate) other_token: Option<String>,
    /// A token that must be refused.
    pub(crate) wrong_token: String,
    /// Where the media socket is bound instead of where routing says.
    pub(crate) local_ip: Option<IpAddr>,
    /// Time between two POSTs to the same endpoint.
    pub(crate) post_interval: Duration,
    /// True when checks may flood the target.
    pub(crate) abuse: bool,
    /// True when a server must not be more forgiving than the documents.
    pub(crate) strict: bool,
}

impl Target {
    /// The same endpoints behind a proxy.
    pub(crate) fn at(&self, proxy: SocketAddr) -> Self {
        let behind = |url: &Option<Url>| {
            let url = url.as_ref()?;
            Some(Url { tls: false, host: proxy.ip().to_string(), port: proxy.port(), path: url.path.clone() })
        };
        Self { whip: behind(&self.whip), whep: behind(&self.whep), ..self.clone() }
    }
}

/// Everything a check may use. All checks run on one task, so plain cells do.
pub(crate) struct Context {
    /// The server under test.
    pub(crate) target: Target,
    /// The client.
    pub(crate) http: Http,
    samples: [OnceCell<Session>; 2],
    /// What was seen of a presenter with three layers.
    pub(crate) layers: OnceCell<Play>,
    made: RefCell<Vec<Made>>,
    next_post: [Cell<Option<Instant>>; 2],
    /// Status codes of every POST so far, for clauses about all of them.
    pub(crate) post_codes: Rc<RefCell<Vec<(Side, u16)>>>,
    /// POSTs that were sent elsewhere or put off (3xx, 429, 503), for clauses about those; bounded.
    pub(crate) diverted: Rc<RefCell<Vec<(Side, Exchange)>>>,
}

/// A session that must not outlive the run.
#[derive(Clone)]
struct Made {
    side: Side,
    /// Which check made it; only that one cleans it up.
    check: usize,
    url: Url,
    /// Kept while checks use it; only the end of the run deletes it.
    held: bool,
}

/// A session that the server made.
#[derive(Clone)]
pub(crate) struct Session {
    /// Which endpoint made it.
    pub(crate) side: Side,
    /// Where it is.
    pub(crate) url: Url,
    /// The POST and its 201.
    pub(crate) exchange: Exchange,
    /// The answer.
    pub(crate) sdp: Sdp,
}

impl Session {
    /// The offer that was sent.
    pub(crate) fn offer(&self) -> Result<Sdp, Halt> {
        Sdp::parse(&String::from_utf8_lossy(&self.exchange.request.body)).map_err(Halt::Skip)
    }
}

impl Context {
    /// A context for that target.
    pub(crate) fn new(target: Target, http: Http) -> Self {
        Self {
            target,
            http,
            samples: [OnceCell::new(), OnceCell::new()],
            layers: OnceCell::new(),
            made: RefCell::default(),
            next_post: [const { Cell::new(None) }; 2],
            post_codes: Rc::default(),
            diverted: Rc::default(),
        }
    }

    /// A context for another stream of the same server; what is remembered of all POSTs is one thing.
    pub(crate) fn second(&self, target: Target) -> Self {
        let (post_codes, diverted) = (self.post_codes.clone(), self.diverted.clone());
        Self { post_codes, diverted, ..Self::new(target, self.http.clone()) }
    }

    /// The endpoint of that side.
    ///
    /// # Errors
    /// [`Halt::Skip`] when the command line named none.
    pub(crate) fn endpoint(&self, side: Side) -> Result<&Url, Halt> {
        let url = match side {
            Side::Whip => self.target.whip.as_ref(),
            Side::Whep => self.target.whep.as_ref(),
        };
        url.ok_or_else(|| Halt::Skip(format!("no --{} given", side.name())))
    }

    /// The token for that side.
    pub(crate) fn token(&self, side: Side) -> Option<&str> {
        let watch = self.target.watch_token.as_deref().filter(|_| side == Side::Whep);
        watch.or(self.target.token.as_deref())
    }

    /// A request with the token of that side.
    pub(crate) fn request(&self, side: Side, method: &str, url: &Url) -> Request {
        let request = Request::new(method, url);
        match self.token(side) {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request with the token and no body.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn ask(&self, side: Side, method: &str, url: &Url) -> Result<Exchange, NoAnswer> {
        self.http.send(self.request(side, method, url)).await
    }

    /// The POST of an offer, ready to be changed.
    ///
    /// # Errors
    /// [`Halt::Skip`] when there is no such endpoint.
    pub(crate) fn offering(&self, side: Side, fixture: Fixture) -> Result<Request, Halt> {
        let mut request = self.offering_text(side, &fixture.body(side))?;
        request.fixture = Some(fixture.name());
        Ok(request)
    }

    /// The POST of that offer text.
    ///
    /// # Errors
    /// [`Halt::Skip`] when there is no such endpoint.
    pub(crate) fn offering_text(&self, side: Side, offer: &str) -> Result<Request, Halt> {
        let request = self.request(side, "POST", self.endpoint(side)?);
        Ok(request.header("Content-Type", "application/sdp").header("Origin", ORIGIN).body(offer))
    }

    /// Sends a POST at the polite rate and remembers the session it may have made. It is patient with a busy server
    /// and follows 307 and 308 as every client does.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn post(&self, side: Side, mut request: Request) -> Result<Exchange, NoAnswer> {
        let (mut retries, mut hops) = (0, 0);
        loop {
            let exchange = self.post_once(side, request.clone()).await?;
            if let Some(url) = redirection(&exchange).filter(|_| hops < MAX_HOPS) {
                hops += 1;
                request.url = url;
            } else if let Some(pause) = retry_pause(&exchange).filter(|_| retries < MAX_RETRIES) {
                retries += 1;
                sleep(pause).await;
            } else {
                return Ok(exchange);
            }
        }
    }

    /// Sends a POST at the polite rate and remembers what came of it; whatever comes is the answer.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn post_once(&self, side: Side, request: Request) -> Result<Exchange, NoAnswer> {
        self.wait_for_turn(side).await;
        let exchange = self.http.send(request).await?;
        self.remember(side, &exchange);
        Ok(exchange)
    }

    /// Keeps the pace of POSTs at that endpoint.
    pub(crate) async fn wait_for_turn(&self, side: Side) {
        let [whip, whep] = &self.next_post;
        let next = match side {
            Side::Whip => whip,
            Side::Whep => whep,
        };
        let now = Instant::now();
        let turn = next.get().map_or(now, |at| at.max(now));
        next.set(Some(turn + self.target.post_interval));
        tokio::time::sleep_until(turn.into()).await;
    }

    /// Notes a session for [`Context::clean_up`] and the status for clauses about every POST.
    pub(crate) fn remember(&self, side: Side, exchange: &Exchange) {
        self.post_codes.borrow_mut().push((side, exchange.status()));
        if matches!(exchange.status(), 300..=399 | 429 | 503) && self.diverted.borrow().len() < MAX_DIVERTED {
            self.diverted.borrow_mut().push((side, exchange.clone()));
        }
        // A counter-offer (406) is a session to be.
        let made = exchange.response.is_success() || exchange.status() == 406;
        let location = exchange.response.header("location").filter(|_| made);
        if let Some(Ok(url)) = location.map(|reference| exchange.request.url.resolve(reference)) {
            // Never delete what a server calls by the endpoint's own name.
            if self.endpoint(side).is_ok_and(|endpoint| *endpoint != url) {
                self.made.borrow_mut().push(Made { side, check: current(), url, held: false });
            }
        }
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`Halt::Skip`] when the server makes none: another clause already tells.
    pub(crate) async fn open(&self, side: Side, fixture: Fixture) -> Result<Session, Halt> {
        let exchange = self.post(side, self.offering(side, fixture)?).await?;
        session(side, exchange).map_err(|why| Halt::Skip(format!("{} gave no session: {why}", fixture.name())))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn close(&self, session: &Session) -> Result<Exchange, NoAnswer> {
        self.delete(session.side, &session.url).await
    }

    /// Sends DELETE with the token.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn delete(&self, side: Side, url: &Url) -> Result<Exchange, NoAnswer> {
        let exchange = self.ask(side, "DELETE", url).await?;
        if exchange.response.is_success() || exchange.status() == 404 {
            self.made.borrow_mut().retain(|made| made.url != *url);
        }
        Ok(exchange)
    }

    /// A session that was made once for [`Fixture::Av`] and deleted; for checks that only read the 201.
    ///
    /// # Errors
    /// As [`Context::open`].
    pub(crate) async fn sample(&self, side: Side) -> Result<&Session, Halt> {
        let make = || async {
            let session = self.open(side, Fixture::Av).await?;
            self.close(&session).await?;
            Ok(session)
        };
        match side {
            Side::Whip => self.samples[0].get_or_try_init(make).await,
            Side::Whep => self.samples[1].get_or_try_init(make).await,
        }
    }

    /// Posts `fixture` and deletes what it made; gives the POST.
    ///
    /// # Errors
    /// [`Halt::Broken`] when the POST got no answer.
    pub(crate) async fn try_offer(&self, side: Side, fixture: Fixture) -> Result<Exchange, Halt> {
        let request = self.offering(side, fixture)?;
        Ok(self.post_and_delete(side, request).await?)
    }

    /// Sends a POST and deletes what it made.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn post_and_delete(&self, side: Side, request: Request) -> Result<Exchange, NoAnswer> {
        let exchange = self.post(side, request).await?;
        self.clean_up_side(side).await;
        Ok(exchange)
    }

    /// Deletes what is left of all sessions.
    pub(crate) async fn clean_up(&self) {
        let left: Vec<Made> = self.made.borrow_mut().drain(..).collect();
        for side in [Side::Whep, Side::Whip] {
            for made in left.iter().filter(|made| made.side == side) {
                let _unreachable = self.delete(side, &made.url).await;
            }
        }
    }

    /// Deletes what the running check left behind on that side; others that run beside it keep theirs.
    pub(crate) async fn clean_up_side(&self, side: Side) {
        let left: Vec<Made> =
            self.made.borrow().iter().filter(|m| m.side == side && m.check == current() && !m.held).cloned().collect();
        for Made { url, .. } in left {
            let _unreachable = self.delete(side, &url).await;
            // One try each: a server without DELETE would keep us here for ever.
            self.made.borrow_mut().retain(|made| made.url != url);
        }
    }

    /// Keeps a session alive over the clean-up after each check.
    pub(crate) fn hold(&self, session: &Session) {
        for made in self.made.borrow_mut().iter_mut().filter(|made| made.url == session.url) {
            made.held = true;
        }
    }

    /// A live client of that side whose offer text went through `edit`, connected or not.
    ///
    /// # Errors
    /// [`Halt::Skip`] when the server refused the offer or str0m its answer.
    pub(crate) async fn join(
        &self,
        side: Side,
        kinds: &[MediaKind],
        edit: impl Fn(&str) -> String,
    ) -> Result<(Session, Live), Halt> {
        self.join_as(side, kinds, Style::USUAL, edit).await
    }

    /// The same for a client with a style of its own.
    ///
    /// # Errors
    /// As [`Context::join`].
    pub(crate) async fn join_as(
        &self,
        side: Side,
        kinds: &[MediaKind],
        style: Style,
        edit: impl Fn(&str) -> String,
    ) -> Result<(Session, Live), Halt> {
        let ip = self.local_ip(side).await?;
        let client = Client::offering(ip, side, kinds, style).await.map_err(Halt::Skip)?;
        let offer = edit(client.offer());
        let exchange = self.post(side, self.offering_text(side, &offer)?).await?;
        let session = session(side, exchange).map_err(|why| Halt::Skip(format!("no live session: {why}")))?;
        // The check decides when it ends; a failure in between must still leave nothing behind.
        let live = client.start(&session.sdp.text).map_err(Halt::Skip)?;
        Ok((session, live))
    }

    /// The address from which the target is reached.
    pub(crate) async fn local_ip(&self, side: Side) -> Result<IpAddr, Halt> {
        if let Some(ip) = self.target.local_ip {
            return Ok(ip);
        }
        let target = self.http.address(self.endpoint(side)?).await?;
        let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let probe = async {
            let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
            // Connecting a UDP socket sends nothing; it only asks the routing table.
            socket.connect(target).await?;
            socket.local_addr()
        };
        probe.await.map(|a| a.ip()).map_err(|e| Halt::Skip(format!("no route to {target}: {e}")))
    }
}

tokio::task_local! {
    /// The number of the check that is running.
    pub(crate) static CHECK: usize;
}

/// The running check; outside of all checks it is the run itself.
fn current() -> usize {
    CHECK.try_with(|check| *check).unwrap_or(usize::MAX)
}

/// What a 201 made.
fn session(side: Side, exchange: Exchange) -> Result<Session, String> {
    let (request, response) = (&exchange.request, &exchange.response);
    if !response.is_success() {
        return Err(format!("POST gave {}", response.status));
    }
    let location = response.header("location").ok_or("no Location")?;
    let url = request.url.resolve(location)?;
    if url == request.url {
        return Err("Location names the endpoint itself".into());
    }
    let sdp = Sdp::parse(&response.text()).map_err(|e| format!("answer is not SDP: {e}"))?;
    Ok(Session { side, url, exchange, sdp })
}

/// Where a POST is sent by a redirect that keeps method and body.
fn redirection(exchange: &Exchange) -> Option<Url> {
    let location = exchange.response.header("location").filter(|_| matches!(exchange.status(), 307 | 308))?;
    exchange.request.url.resolve(location).ok()
}

/// How long to wait before asking again: told by the server on overload; a moment when a seat is still being freed.
fn retry_pause(exchange: &Exchange) -> Option<Duration> {
    let told = exchange.response.header("retry-after").and_then(|v| v.trim().parse::<u64>().ok());
    match exchange.status() {
        429 | 503 => Some(Duration::from_secs(told.unwrap_or(1).min(5))),
        409 if told.is_none() => Some(Duration::from_millis(500)),
        _ => None,
    }
}

/// The page that a browser client would be on.
pub(crate) const ORIGIN: &str = "https://player.example";
/// Five POSTs a second: more than any encoder that retries.
pub(crate) const POLITE: Duration = Duration::from_millis(200);
/// Twenty a second, for a server on the same machine.
pub(crate) const BRISK: Duration = Duration::from_millis(50);
/// Redirects that are followed for one POST, as many as GStreamer does.
const MAX_HOPS: usize = 10;
/// How many refusals are kept.
const MAX_DIVERTED: usize = 64;
/// How often a refused POST is repeated when the server asks for patience.
const MAX_RETRIES: usize = 2;
