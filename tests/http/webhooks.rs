//! Webhooks towards receivers of every temper, over real sockets.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{House, within};
use tribune::app::webhooks::{Senders, Tried, try_all};
use tribune::client::Url;
use tribune::control::auth::Right;
use tribune::control::links::Link;
use tribune::control::webhooks::{Hook, Kinds, LineStatus, Pace, Secret, Webhooks};
use tribune::metrics::Metrics;

/// What a receiver does with a request.
enum Answer {
    /// A status and headers, each with its end of line.
    Status(u16, String),
    /// Nothing, and the connection stays open.
    Hang,
    /// Nothing, and the connection is closed.
    Close,
    /// A head, and a body without an end.
    Endless,
}

/// A request as it came.
#[derive(Debug)]
struct Got {
    head: String,
    event: Value,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {}", self.head))
    }

    /// Which link the event is about.
    fn link(&self) -> &str {
        self.event["data"]["id"].as_str().expect("an id")
    }
}

/// Somebody who is told things: answers so, and then `204` to everything.
struct Receiver {
    url: String,
    got: mpsc::UnboundedReceiver<Got>,
}

impl Receiver {
    async fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let url = format!("http://{}/hook?key=secret", listener.local_addr().expect("bound"));
        let (sender, got) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let request = read(&mut stream).await;
                if sender.send(request).is_err() {
                    return;
                }
                match answers.next().unwrap_or(Answer::Status(204, String::new())) {
                    Answer::Status(status, headers) => {
                        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\n\r\n");
                        // It may have hung up; that is what some tests are about.
                        let _ = stream.write_all(head.as_bytes()).await;
                    }
                    Answer::Hang => open.push(stream),
                    Answer::Close => {}
                    Answer::Endless => drop(tokio::spawn(async move {
                        let head = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
                        let mut piece = head.to_owned();
                        while stream.write_all(piece.as_bytes()).await.is_ok() {
                            piece = format!("400\r\n{}\r\n", "x".repeat(1024));
                        }
                    })),
                }
            }
        });
        Self { url, got }
    }

    async fn next(&mut self) -> Got {
        within(self.got.recv()).await.expect("a request")
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Got {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let read = within(stream.read(&mut piece)).await.expect("read");
        assert!(read > 0, "it ended too early: {text}");
        text.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if length == Some(body.len()) {
            return Got { head: head.to_owned(), event: serde_json::from_str(body).expect("JSON") };
        }
    }
}

fn hook(url: &str) -> Hook {
    Hook {
        url: Url::parse(url).expect("a URL"),
        secret: Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"),
        kinds: Kinds::parse(&["link".to_owned()]).expect("a kind"),
        streams: Vec::new(),
        timeout: Duration::from_millis(300),
    }
}

/// A server whose webhooks lead to these, and that tries again soon.
struct Teller {
    house: House,
    webhooks: Arc<Webhooks>,
    senders: Senders,
}

impl Teller {
    fn new(receivers: &[&Receiver], pace: Pace) -> Self {
        let (house, metrics) = (House::new(), Metrics::new());
        let hooks = receivers.iter().map(|receiver| hook(&receiver.url)).collect();
        let webhooks = Webhooks::new(hooks, pace, &metrics.registry).expect("new");
        let senders = Senders::start(Arc::clone(&webhooks)).expect("TLS");
        house.control.tell_webhooks(Arc::clone(&webhooks));
        Self { house, webhooks, senders }
    }

    /// Something happens, by this name.
    fn tell(&self, id: &str) {
        let (stream, subject) = ("talk".to_owned(), "ann".to_owned());
        let (id, right) = (id.to_owned(), Right::Watch);
        self.house.control.tell_link(&Link { id, stream, right, subject, created: 0, expires: 0, revoked: false });
    }

    fn status(&self) -> LineStatus {
        self.webhooks.lines()[0].status()
    }

    /// Ends, and says how the first webhook was then.
    async fn end(self) -> LineStatus {
        within(self.senders.finish(Duration::from_secs(2))).await;
        self.house.shut_down().await;
        self.webhooks.lines()[0].status()
    }
}

/// Soon.
fn brisk() -> Pace {
    Pace { first: Duration::from_millis(2), longest: Duration::from_millis(20), ..Pace::default() }
}

fn status(status: u16) -> Answer {
    Answer::Status(status, String::new())
}

#[tokio::test]
async fn an_event_comes_signed_and_once() {
    let mut receiver = Receiver::new(Vec::new()).await;
    let teller = Teller::new(&[&receiver], brisk());

    teller.tell("a");

    let got = receiver.next().await;
    assert!(got.head.starts_with("POST /hook?key=secret HTTP/1.1\r\n"), "{}", got.head);
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.header("user-agent").starts_with("tribune/"));
    assert_eq!(got.header("webhook-id"), got.event["id"]);
    assert!(got.header("webhook-timestamp").parse::<u64>().is_ok_and(|at| at > 1_700_000_000));
    assert!(got.header("webhook-signature").starts_with("v1,") && got.header("webhook-signature").len() == 47);
    assert_eq!((&got.event["type"], &got.event["stream"]), (&"link.made".into(), &"talk".into()));
    assert_eq!(teller.end().await.counts.sent, 1);
    assert!(receiver.got.try_recv().is_err(), "once");
}

#[tokio::test]
async fn it_comes_again_until_it_is_taken_and_the_next_one_after_it() {
    let answers = vec![status(500), Answer::Close, Answer::Hang, status(429), status(408)];
    let attempts = answers.len() + 1;
    let mut receiver = Receiver::new(answers).await;
    let teller = Teller::new(&[&receiver], brisk());

    teller.tell("a");
    teller.tell("b");

    let first = receiver.next().await;
    for _ in 1..attempts {
        let again = receiver.next().await;
        assert_eq!((again.link(), again.header("webhook-id")), ("a", first.header("webhook-id")));
    }
    assert_eq!(receiver.next().await.link(), "b");
    let ended = teller.end().await;
    assert_eq!((ended.counts.sent, ended.counts.retried, ended.trouble), (2, 5, None));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Receiver::new(Vec::new()).await;
    let there = || Answer::Status(307, format!("Location: {}\r\n", elsewhere.url));
    let mut receiver = Receiver::new(vec![there(), there(), there()]).await;
    let teller = Teller::new(&[&receiver], brisk());

    teller.tell("a");
    teller.tell("b");

    let came = [receiver.next().await, receiver.next().await, receiver.next().await, receiver.next().await];
    assert_eq!(came.each_ref().map(Got::link), ["a", "a", "a", "b"]);
    let ended = teller.end().await;
    assert_eq!((ended.counts.sent, ended.counts.failed), (1, 1));
    assert!(elsewhere.got.try_recv().is_err(), "nobody went there");
}

#[tokio::test]
async fn whoever_says_gone_is_told_nothing_more() {
    let mut receiver = Receiver::new(vec![status(410)]).await;
    let teller = Teller::new(&[&receiver], brisk());

    teller.tell("a");
    teller.tell("b");

    assert_eq!(receiver.next().await.link(), "a");
    while !teller.status().stopped {
        tokio::task::yield_now().await;
    }
    teller.tell("c");
    let ended = teller.end().await;
    assert_eq!((ended.counts.sent, ended.counts.dropped, ended.waiting), (0, 3, 0));
    assert!(receiver.got.try_recv().is_err(), "nothing more");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let mut receiver = Receiver::new(vec![Answer::Endless]).await;
    let teller = Teller::new(&[&receiver], brisk());

    teller.tell("a");
    teller.tell("b");

    assert_eq!((receiver.next().await.link(), receiver.next().await.link()), ("a", "b"));
    assert_eq!(teller.end().await.counts.sent, 2);
}

#[tokio::test]
async fn a_receiver_that_hangs_disturbs_no_other() {
    let mut hanging = Receiver::new((0..100).map(|_| Answer::Hang).collect()).await;
    let mut well = Receiver::new(Vec::new()).await;
    let teller = Teller::new(&[&hanging, &well], brisk());

    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for name in &names {
        teller.tell(name);
    }

    for name in &names {
        assert_eq!(well.next().await.link(), name);
    }
    assert_eq!(hanging.next().await.link(), "0");
    assert_eq!(teller.status().counts.sent, 0);
    let ended = teller.end().await;
    assert!(ended.waiting + ended.counts.failed as usize == 50, "{ended:?}");
}

#[tokio::test]
async fn at_the_end_what_waits_is_tried_once_more() {
    let mut receiver = Receiver::new(vec![status(503)]).await;
    let hours = Pace { first: Duration::from_hours(1), longest: Duration::from_hours(1), ..Pace::default() };
    let teller = Teller::new(&[&receiver], hours);
    teller.tell("a");
    teller.tell("b");
    assert_eq!(receiver.next().await.link(), "a");
    while teller.status().trouble.is_none() {
        tokio::task::yield_now().await;
    }

    let ended = teller.end().await;

    assert_eq!((receiver.next().await.link(), receiver.next().await.link()), ("a", "b"));
    assert_eq!((ended.counts.sent, ended.waiting), (2, 0));
}

#[tokio::test]
async fn a_test_event_tells_how_each_receiver_answers() {
    let (mut good, bad) = (Receiver::new(Vec::new()).await, Receiver::new(vec![status(403)]).await);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let there = format!("http://{}/", nobody.local_addr().expect("bound"));
    drop(nobody);

    let tried = try_all(&[hook(&good.url), hook(&bad.url), hook(&there)]).await.expect("TLS");

    assert_eq!(tried.iter().map(Tried::is_good).collect::<Vec<_>>(), [true, false, false]);
    assert!(tried.iter().all(|one| !one.origin.contains("secret")), "{tried:?}");
    assert_eq!(tried[1].result.as_ref().map(|receipt| receipt.status), Ok(403));
    assert_eq!(tried[2].result.as_ref().map_err(ToString::to_string), Err("no HTTP answer: connection refused".into()));
    assert_eq!(good.next().await.event["type"], "test");
}
