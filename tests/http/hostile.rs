//! Clients that mean harm, or are broken in the same way.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ANN, House, Reply, offer, within};

/// Reads until the server closes; what it said, and how long that took.
async fn cut(mut tcp: TcpStream) -> (Vec<Reply>, Duration) {
    let start = Instant::now();
    let mut received = Vec::new();
    let _ = within(tcp.read_to_end(&mut received)).await;
    (Reply::all(&received), start.elapsed())
}

#[tokio::test]
async fn a_request_that_two_readers_read_differently_is_refused_and_the_connection_closed() {
    let house = House::new();
    let get = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /livez HTTP/1.1\r\nHost: a\r\n";
    let cases = [
        ("CL and TE", format!("{post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{get}")),
        ("TE and CL", format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{get}")),
        ("two equal CL", format!("{post}Content-Length: 0\r\nContent-Length: 0\r\n\r\n{get}")),
        ("two other CL", format!("{post}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{get}")),
        ("CL with sign", format!("{post}Content-Length: +0\r\n\r\n{get}")),
        ("odd TE", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{get}")),
        ("TE list", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{get}")),
        ("LF only", format!("GET /livez HTTP/1.1\nHost: a\n\n{get}")),
        ("one LF only", format!("GET /livez HTTP/1.1\r\nHost: a\nX: y\r\n\r\n{get}")),
        ("folded", format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n{get}")),
        ("Host twice", format!("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{get}")),
        ("no Host", format!("GET /livez HTTP/1.1\r\n\r\n{get}")),
        ("other authority", format!("GET http://b/livez HTTP/1.1\r\nHost: a\r\n\r\n{get}")),
        ("space before colon", format!("GET /livez HTTP/1.1\r\nHost : a\r\n\r\n{get}")),
        ("1.0 with TE", "POST /livez HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
    ];

    for (what, request) in cases {
        let replies = house.raw(request.as_bytes()).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [400], "{what}");
        assert_eq!(replies[0].header("connection"), Some("close"), "{what}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn our_refusals_of_bad_framing_explain_themselves() {
    let house = House::new();

    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let replies = house.raw(request.as_bytes()).await;
        replies[0].assert_problem(400, request);
    }
    house.shut_down().await;
}

#[tokio::test]
async fn an_honest_keep_alive_connection_serves_many_requests() {
    let house = House::new();
    let sdp = offer("obs-32.2.2");
    let post = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let absolute = "GET http://a/livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    let replies = house.raw([post.as_str(), absolute, post.as_str(), last].concat().as_bytes()).await;

    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [201, 200, 201, 200]);
    house.shut_down().await;
}

#[tokio::test]
async fn paths_with_tricks_are_refused() {
    let house = House::new();

    for path in ["/static/../Cargo.toml", "/static/%2e%2e/x", "/static%2fx", "/whip/%00", "/whip/%ff", "/whip/%5c"] {
        house.get(path).await.assert_problem(400, path);
    }
    let reply = house.get("/<script>alert(1)</script>").await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("script"), "nothing is echoed");
    house.shut_down().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let house = House::new();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));

    for request in [long, many] {
        let replies = house.raw(request.as_bytes()).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert!(matches!(statuses[..], [431 | 400]), "{statuses:?}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_cut() {
    let house = House::with(|settings| {
        settings.limits.head = Duration::from_millis(200);
        settings.limits.idle = Duration::from_millis(600);
    });

    let silent = house.connect().await;
    let mut slow = house.connect().await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
    let mut idle = house.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut preface = house.connect().await;
    preface.write_all(b"PRI * HT").await.unwrap();

    let ((none, _), (cut_slow, slow_took), (one, idle_took), (no_h2, _)) =
        tokio::join!(cut(silent), cut(slow), cut(idle), cut(preface));
    assert!(none.is_empty() && cut_slow.is_empty() && no_h2.is_empty());
    assert_eq!(one.len(), 1);
    assert!(slow_took < Duration::from_secs(3), "{slow_took:?}");
    assert!(idle_took >= Duration::from_millis(500), "an idle connection has longer than a head: {idle_took:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_however_busy_it_is() {
    let house = House::with(|settings| settings.limits.head = Duration::from_millis(300));
    let (mut reading, mut writing) = house.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let mut line = &b"GET /livez HTTP/1.1\r\n"[..];
        while writing.write_all(line).await.is_ok() {
            line = b"X-Slow: y\r\n";
            pace.tick().await;
        }
    });

    let mut received = Vec::new();
    let _ = within(reading.read_to_end(&mut received)).await;

    // For more than a second its headers are under the cap of 64.
    assert!(received.is_empty(), "no response was made of it");
    within(trickle).await.expect("the connection is gone");
    house.shut_down().await;
}

#[tokio::test]
async fn a_slow_body_is_cut_and_the_client_learns_why() {
    let house = House::with(|settings| settings.limits.body = Duration::from_millis(200));
    let mut tcp = house.connect().await;
    let head = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Content-Length: 1000\r\n\r\nv=0\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();

    let (replies, took) = cut(tcp).await;

    assert_eq!(replies.len(), 1);
    replies[0].assert_problem(408, "a slow body");
    assert_eq!(replies[0].header("connection"), Some("close"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn a_body_that_is_declared_too_large_is_refused_before_it_comes() {
    let house = House::new();
    let mut tcp = house.connect().await;
    let head = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();

    let (replies, took) = cut(tcp).await;

    assert_eq!(replies.len(), 1);
    replies[0].assert_problem(413, "declared too large");
    assert!(took < Duration::from_secs(5), "nobody waited for the body: {took:?}");
    house.shut_down().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_body_is_complete_leaves_nothing_behind() {
    let house = House::new();
    let mut tcp = house.connect().await;
    let head = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Content-Length: 1000\r\n\r\nv=0\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.shutdown().await.unwrap();
    let _ = cut(tcp).await;

    assert_eq!(house.control.sessions(), 0);
    assert_eq!(house.post("/whip/live", Some(ANN), &offer("obs-32.2.2")).await.status, 201);
    house.shut_down().await;
}

#[tokio::test]
async fn connections_over_the_caps_are_refused_politely() {
    let house = House::with(|settings| {
        settings.trusted_proxies.clear();
        settings.limits.connections_per_address = 3;
    });
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut tcp = house.connect().await;
        // An answer proves that the connection has its place.
        tcp.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        within(tcp.read_exact(&mut first)).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(tcp);
    }

    let (replies, _) = cut(house.connect().await).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].status, 429);
    assert!(replies[0].header("retry-after").is_some());

    drop(held);
    let free = async {
        while house.raw(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await[0].status != 200 {
            tokio::task::yield_now().await;
        }
    };
    within(free).await;
    house.shut_down().await;
}

#[tokio::test]
async fn thousands_of_idle_connections_leave_room_for_nobody_but_harm_nobody() {
    let house = House::with(|settings| {
        settings.limits.connections = 200;
        settings.limits.idle = Duration::from_mins(1);
        settings.limits.head = Duration::from_mins(1);
    });
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut tcp = house.connect().await;
        tcp.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        within(tcp.read_exact(&mut [0; 12])).await.unwrap();
        held.push(tcp);
    }

    let mut refused = 0;
    for _ in 0..5_000 {
        let (replies, _) = cut(house.connect().await).await;
        if let [reply] = &replies[..] {
            assert_eq!(reply.status, 503);
            assert!(reply.header("retry-after").is_some());
            refused += 1;
        }
    }

    assert_eq!(refused, 5_000, "everybody is told why");
    let mut first = held.pop().expect("two hundred");
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    within(first.read_to_end(&mut rest)).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200 OK"), "those inside are served on");
    house.shut_down().await;
}
