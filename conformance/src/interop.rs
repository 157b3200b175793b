//! Level `interop`: replays what real clients send, step by step, and judges whether each could go on. The offers
//! are captures; ICE and DTLS behind them are dead, so media is tried with a live client of the same shape.

mod players;

use std::time::{Duration, Instant};

use str0m::media::MediaKind;

use crate::answer::Sdp;
use crate::case::{Outcome, Verdict};
use crate::cli::Side;
use crate::client::{Context, Session};
use crate::http::{Exchange, Request};
use crate::offer::drop_lines;
use crate::report::{Report, Row};
use crate::run::{Progress, present, reach};
use crate::url::Url;
use players::{Delete, Location, Needs, PLAYERS, Patch, Player, Preflight, Shape};

/// Replays every client on the endpoints that there are.
///
/// # Errors
/// A sentence when no endpoint can be reached.
pub(crate) async fn run(cx: &Context, progress: Progress, deadline: Instant) -> Result<Report, String> {
    let mut report = reach(cx).await?;
    for side in [Side::Whip, Side::Whep] {
        if cx.endpoint(side).is_err() {
            continue;
        }
        let presenter = match side {
            Side::Whep if cx.endpoint(Side::Whip).is_ok() => present(cx).await.ok(),
            _ => None,
        };
        for player in PLAYERS.iter().filter(|p| p.side == side) {
            let mut stage = Stage { cx, player, progress, rows: Vec::new(), since: Instant::now() };
            let replay = tokio::time::timeout_at(deadline.into(), stage.replay()).await;
            match replay {
                Ok(Ok(())) => {}
                Ok(Err(why)) => stage.note("connection", Verdict::Fail, "an HTTP response", why, None),
                Err(_) => stage.note("time", Verdict::Skip, "", "the deadline of the run came first".into(), None),
            }
            report.rows.append(&mut stage.rows);
            cx.clean_up_side(side).await;
        }
        if let Some((session, mut live)) = presenter {
            live.close().await;
            let _already_gone = cx.close(&session).await;
        }
    }
    cx.clean_up().await;
    Ok(report)
}

/// One client on its way.
struct Stage<'a> {
    cx: &'a Context,
    player: &'a Player,
    progress: Progress,
    rows: Vec<Row>,
    since: Instant,
}

impl Stage<'_> {
    /// The whole sequence; a step without which the client cannot go on ends it.
    async fn replay(&mut self) -> Result<(), String> {
        let options = self.options().await?;
        let Some((exchange, url)) = self.post().await? else {
            return Ok(());
        };
        let answer = Sdp::parse(&exchange.response.text()).unwrap_or_else(|_| unreadable());
        self.judge_answer(&exchange, &answer);
        for patch in self.player.patches {
            self.patch(patch, &exchange, &url, &answer, options.as_ref()).await?;
        }
        self.delete(&exchange, &url).await?;
        self.media().await;
        Ok(())
    }

    /// Writes a row.
    fn note(&mut self, step: &str, verdict: Verdict, expected: &str, observed: String, curl: Option<String>) {
        let outcome = Outcome { verdict, expected: expected.to_owned(), observed, curl };
        let name = format!("{}: {step}", self.player.name);
        let row = Row::of_player(&name, self.player.source, self.player.side, outcome, self.since.elapsed());
        self.since = Instant::now();
        if self.progress == Progress::Stderr {
            eprintln!("{:6} {name}", row.verdict.name());
        }
        self.rows.push(row);
    }

    /// Writes PASS or FAIL with the request that shows it.
    fn judge(&mut self, step: &str, good: bool, expected: &str, observed: String, exchange: &Exchange) {
        let verdict = if good { Verdict::Pass } else { Verdict::Fail };
        self.note(step, verdict, expected, observed, Some(exchange.request.curl()));
    }

    /// A request with the headers of this client.
    fn request(&self, method: &str, url: &Url, authorized: bool) -> Request {
        let request =
            if authorized { self.cx.request(self.player.side, method, url) } else { Request::new(method, url) };
        self.player.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    async fn options(&mut self) -> Result<Option<Exchange>, String> {
        let endpoint = self.endpoint()?;
        let (expected, exchange) = match self.player.preflight {
            Preflight::None => return Ok(None),
            Preflight::Browser => {
                let request = Request::new("OPTIONS", &endpoint)
                    .header("Origin", crate::client::ORIGIN)
                    .header("Access-Control-Request-Method", "POST")
                    .header("Access-Control-Request-Headers", "authorization,content-type");
                ("2xx that admits the page", self.send(request).await?)
            }
            Preflight::Scripted => {
                let request = self.request("OPTIONS", &endpoint, true).header("Origin", crate::client::ORIGIN);
                ("200 or 204", self.send(request).await?)
            }
        };
        let admits = exchange.response.header("access-control-allow-origin").is_some();
        let good = match self.player.preflight {
            Preflight::Browser => exchange.response.is_success() && admits,
            _ => matches!(exchange.status(), 200 | 204) && only_ice_links(&exchange),
        };
        self.judge("OPTIONS", good, expected, exchange.line(), &exchange);
        Ok(Some(exchange))
    }

    /// Sends the captured offer; gives the answer and the URL that this client makes of the Location.
    async fn post(&mut self) -> Result<Option<(Exchange, Url)>, String> {
        let offer = if self.player.shape == Shape::Whole {
            self.player.offer.to_owned()
        } else {
            drop_lines(self.player.offer, "a=candidate")
        };
        let offer = offer + self.player.extra;
        let endpoint = self.endpoint()?;
        let request = self.request("POST", &endpoint, true).header("Content-Type", "application/sdp").body(offer);
        let exchange = self.cx.post(self.player.side, request).await.map_err(|e| e.to_string())?;
        let accepted = self.player.accepts.contains(&exchange.status());
        self.judge("POST", accepted, &format!("{:?}", self.player.accepts), exchange.line(), &exchange);
        if !accepted {
            return Ok(None);
        }
        let location = exchange.response.header("location").unwrap_or_default().to_owned();
        let url = self.player.location.read(&endpoint, &exchange.request.url, &location);
        let named = exchange.request.url.resolve(&location).ok();
        let good = url.is_some() && url == named;
        let expected = "a Location that this client resolves to the session";
        self.judge("Location", good, expected, location, &exchange);
        Ok(named.map(|url| (exchange, url)))
    }

    /// What the client insists on in the answer.
    fn judge_answer(&mut self, exchange: &Exchange, answer: &Sdp) {
        let mut complaints: Vec<&str> = Vec::new();
        for need in self.player.needs {
            if !need.holds(exchange, answer) {
                complaints.push(need.words());
            }
        }
        let good = complaints.is_empty() && !answer.media.is_empty();
        let observed = if good { "all of it".into() } else { format!("not: {}", complaints.join("; not: ")) };
        let wanted: Vec<&str> = self.player.needs.iter().map(|need| need.words()).collect();
        self.judge("answer", good, &format!("SDP; {}", wanted.join("; ")), observed, exchange);
    }

    async fn patch(
        &mut self,
        patch: &Patch,
        exchange: &Exchange,
        url: &Url,
        answer: &Sdp,
        options: Option<&Exchange>,
    ) -> Result<(), String> {
        if patch.only_if_advertised {
            let told = options.is_some_and(|o| o.response.lists("access-control-allow-methods", "PATCH"));
            if !told {
                self.note(
                    patch.step,
                    Verdict::Skip,
                    "",
                    "OPTIONS does not tell of PATCH, so it is not sent".into(),
                    None,
                );
                return Ok(());
            }
        }
        let offer = Sdp::parse(self.player.offer).unwrap_or_else(|_| unreadable());
        let body = patch.body.text(&offer, answer);
        let request = self.request("PATCH", url, patch.authorized);
        let request = request.header("Content-Type", "application/trickle-ice-sdpfrag").body(body);
        let tag = exchange.response.header("etag");
        let request = match (patch.header, tag) {
            (Some((name, "tag")), Some(tag)) => request.header(name, tag),
            (Some((_, "tag")), None) | (None, _) => request,
            (Some((name, value)), _) => request.header(name, value),
        };
        let reply = self.send(request).await?;
        let good = patch.wants.contains(&reply.status());
        self.judge(patch.step, good, &format!("{:?}", patch.wants), reply.line(), &reply);
        Ok(())
    }

    async fn delete(&mut self, exchange: &Exchange, url: &Url) -> Result<(), String> {
        let Delete { authorized, if_match, wants } = self.player.delete;
        if wants.is_empty() {
            return Ok(());
        }
        let request = self.request("DELETE", url, authorized);
        let tag = exchange.response.header("etag").filter(|_| if_match);
        let request = tag.iter().fold(request, |request, tag| request.header("If-Match", tag));
        let reply = self.send(request).await?;
        let good = wants.contains(&reply.status());
        self.judge("DELETE", good, &format!("{wants:?}"), reply.line(), &reply);
        Ok(())
    }

    /// A live client whose offer has the shape of this one's.
    async fn media(&mut self) {
        self.cx.clean_up_side(self.player.side).await;
        let shape = self.player.shape;
        let edit = |offer: &str| match shape {
            Shape::Whole => offer.to_owned(),
            Shape::NoCandidates => drop_lines(offer, "a=candidate"),
            Shape::Passive => drop_lines(offer, "a=candidate").replace("a=setup:actpass", "a=setup:passive"),
        };
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let expected = "ICE, DTLS and media for an offer of this shape";
        let (session, mut live): (Session, _) = match self.cx.join(self.player.side, &kinds, edit).await {
            Ok(joined) => joined,
            Err(halt) => return self.note("media", Verdict::Skip, expected, format!("{halt:?}"), None),
        };
        let side = self.player.side;
        let flows = live
            .until(Duration::from_secs(10), |seen| match side {
                Side::Whip => seen.sent > 25,
                Side::Whep => seen.tracks.iter().any(|track| track.packets > 10),
            })
            .await;
        let seen = live.seen();
        let observed = match (seen.ice_at, seen.connected_at) {
            (None, _) => "no ICE".to_owned(),
            (_, None) => "ICE, no DTLS".to_owned(),
            _ => format!("{} packets sent, {}", seen.sent, seen.summary()),
        };
        // As clients do: first the peer connection, then the session.
        live.close().await;
        let reply = self.cx.close(&session).await;
        let verdict = if flows { Verdict::Pass } else { Verdict::Fail };
        self.note("media", verdict, expected, observed, None);
        if let Ok(reply) = reply {
            let good = matches!(reply.status(), 200..=299 | 404);
            self.judge("DELETE after close_notify", good, "2xx (or 404)", reply.line(), &reply);
        }
    }

    fn endpoint(&self) -> Result<Url, String> {
        self.cx.endpoint(self.player.side).cloned().map_err(|_| "no endpoint".into())
    }

    async fn send(&self, request: Request) -> Result<Exchange, String> {
        self.cx.http.send(request).await.map_err(|e| e.to_string())
    }
}

/// MediaMTX's clients break on any Link of OPTIONS that is no ICE server in this exact form.
fn only_ice_links(exchange: &Exchange) -> bool {
    exchange.response.all("link").iter().all(|link| link.contains("rel=\"ice-server\""))
}

/// Stands for an answer that is no SDP.
fn unreadable() -> Sdp {
    Sdp { text: String::new(), session: Vec::new(), media: Vec::new() }
}

impl Location {
    /// The URL that such a client asks next, for `location` that came from `effective` after asking `configured`.
    fn read(self, configured: &Url, effective: &Url, location: &str) -> Option<Url> {
        match self {
            Self::Effective => effective.resolve(location).ok(),
            Self::Configured => configured.resolve(location).ok(),
            // Whatever does not start with http becomes the path, a question mark included.
            Self::Path if location.starts_with("http") => Url::parse(location).ok(),
            Self::Path if location.contains('?') => None,
            Self::Path => Some(effective.with_path(&format!("/{}", location.trim_start_matches('/')))),
            Self::SlashOrAbsolute if location.starts_with('/') || location.contains("://") => {
                configured.resolve(location).ok()
            }
            Self::ContainsHttp if location.contains("http") => Url::parse(location).ok(),
            Self::ContainsHttp if location.starts_with('/') => Some(configured.with_path(location)),
            Self::SlashOrAbsolute | Self::ContainsHttp => None,
        }
    }
}

impl Needs {
    /// The need in words.
    fn words(self) -> &'static str {
        match self {
            Self::ExactType => "Content-Type is application/sdp, nothing more",
            Self::FirstLine => "the body starts with v=0 and CRLF",
            Self::UdpHostFirst => "the first candidate is UDP, host, of eight words or more",
            Self::CandidateFirst => "a candidate in the first section",
            Self::Small => "fewer than 8192 octets",
            Self::Fingerprint => "a fingerprint",
            Self::Active => "setup:active for an offer that is passive",
            Self::EverySection => "ICE credentials, setup and rtcp-mux in every section, mids as offered",
            Self::AllLayers => "three layers on one a=simulcast line",
            Self::OneOfEach => "at most one audio and one video section, none rejected",
            Self::ETag => "an ETag",
        }
    }

    /// True when the answer meets it.
    fn holds(self, exchange: &Exchange, answer: &Sdp) -> bool {
        let transport = |name: &str| answer.tagged().and_then(|m| answer.effective(m, name));
        let candidate = answer.text.lines().find_map(|line| line.strip_prefix("a=candidate:"));
        match self {
            Self::ExactType => exchange.response.header("content-type") == Some("application/sdp"),
            Self::FirstLine => answer.text.starts_with("v=0\r\n"),
            Self::UdpHostFirst => candidate.is_some_and(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let udp = words.get(2).is_some_and(|word| word.eq_ignore_ascii_case("udp"));
                udp && words.get(6..8) == Some(&["typ", "host"])
            }),
            Self::CandidateFirst => answer.media.first().is_some_and(|m| m.has("candidate")),
            Self::Small => answer.text.len() < 8192,
            Self::Fingerprint => transport("fingerprint").is_some(),
            Self::Active => transport("setup") == Some("active"),
            Self::EverySection => answer.media.iter().all(|m| {
                m.port == 0
                    || (["ice-ufrag", "ice-pwd", "setup", "mid"].iter().all(|name| answer.effective(m, name).is_some())
                        && m.has("rtcp-mux"))
            }),
            Self::AllLayers => {
                let line = answer.media.iter().find_map(|m| m.attr("simulcast"));
                line.is_some_and(|line| line.matches(';').count() == 2)
            }
            Self::OneOfEach => {
                ["audio", "video"].iter().all(|kind| answer.media.iter().filter(|m| m.kind == *kind).count() <= 1)
            }
            Self::ETag => exchange.response.header("etag").is_some(),
        }
    }
}
