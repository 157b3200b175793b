//! Proof that the checks can fail: a server that says yes to everything must not get away with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::all;
use crate::case::{Outcome, Verdict};
use crate::clauses::Table;
use crate::cli::{Level, Side};
use crate::client::Context;
use crate::run::{Progress, run, selected};
use crate::stub::{Says, naive};

/// An answer that is SDP and breaks most of the rules about answers.
const SLOPPY: &str = "v=0\no=- x 1 IN IP4 0.0.0.0\ns=\nt=0 0\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 8\na=mid:7\na=ice-lite\na=sendrecv\na=setup:actpass\na=ice-ufrag:ab\na=ice-pwd:short\n\
    a=extmap:9 urn:example:never-heard-of\na=rtcp-fb:111 x-odd\na=fingerprint:md5 00\n\
    m=application 0 UDP/DTLS/SCTP webrtc-datachannel\n";

async fn verdict(context: &Context, id: &str, side: Side) -> Outcome {
    let case = all().into_iter().find(|case| case.id == id && case.sides.contains(&side)).unwrap();
    case.run(context, side).await
}

#[test]
fn every_case_judges_a_known_clause_once_per_endpoint() {
    let table = Table::built_in().unwrap();
    let mut seen = BTreeSet::new();

    for case in all() {
        assert!(table.find(case.id).is_some(), "{} is not in the table", case.id);
        for side in case.sides {
            assert!(seen.insert((case.id, side.name())), "{} twice on {}", case.id, side.name());
        }
    }

    assert!(seen.len() > 150, "{}", seen.len());
}

#[test]
fn levels_and_ids_choose_the_cases() {
    let table = Table::built_in().unwrap();
    let count = |level, only: &[&str]| {
        let only: Vec<String> = only.iter().map(|id| (*id).to_owned()).collect();
        selected(all(), &table, level, &only).map(|cases| cases.len())
    };

    let (core, full, quality) =
        (count(Level::Core, &[]).unwrap(), count(Level::Full, &[]).unwrap(), count(Level::Quality, &[]).unwrap());

    assert!(core > 40 && core < full && full < quality, "{core} {full} {quality}");
    assert_eq!(quality, all().len());
    assert_eq!(count(Level::Core, &["sdp-15", "W-4.2-01"]), Ok(2));
    assert!(count(Level::Core, &["W-9.9-99"]).unwrap_err().contains("is no clause"));
}

#[tokio::test]
async fn a_server_that_says_200_to_everything_fails() {
    let context = naive(Says { status: StatusCode::OK, headers: vec![], body: "ok" }).await;
    let expected = [
        "W-4.1-01", "W-4.2-01", "W-4.2-03", "W-4.2-04", "W-4.2-07", "W-4.2-09", "W-4.2-10", "W-4.2-40", "SDP-11",
        "CORS-06", "W-4.7-01",
    ];
    for side in [Side::Whip, Side::Whep] {
        for id in expected {
            // No header at all is legal for the rules about how an origin is reflected.
            let wanted = if id == "CORS-06" { Verdict::Pass } else { Verdict::Fail };
            let outcome = verdict(&context, id, side).await;
            assert_eq!(outcome.verdict, wanted, "{id} {side:?}: {}", outcome.observed);
        }
        // What depends on a session is not judged without one.
        assert_eq!(verdict(&context, "SDP-01", side).await.verdict, Verdict::Skip);
    }
    assert_eq!(verdict(&context, "WHEP-4.2.8-01", Side::Whep).await.verdict, Verdict::Fail);
    assert_eq!(verdict(&context, "WHIP-4.2-31", Side::Whip).await.verdict, Verdict::Fail);
}

#[tokio::test]
async fn a_sloppy_answer_fails_the_rules_about_answers() {
    let headers = vec![
        ("location", "session?x=1"),
        ("content-type", "text/html"),
        ("etag", "W/\"a\""),
        ("link", "<turn:t>; rel=\"ice-server\""),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", "*"),
        ("access-control-allow-credentials", "true"),
    ];
    let context = naive(Says { status: StatusCode::CREATED, headers, body: SLOPPY }).await;
    let expected = [
        "W-4.2-02",
        "W-4.2-05",
        "W-4.2-06",
        "W-4.2-12",
        "W-4.2-13",
        "W-4.2-15",
        "W-4.2-17",
        "W-4.2-20",
        "CORS-02",
        "CORS-03",
        "CORS-04",
        "CORS-06",
        "W-4.6-20",
        "W-4.6-21",
        "SDP-01",
        "SDP-02",
        "SDP-03",
        "SDP-05",
        "SDP-06",
        "SDP-07",
        "WHIP-4.4.1-01",
        "WHIP-4.4.1-05",
        "WHIP-4.4.4-01",
        "WHIP-4.4.4-02",
        "WHIP-4.4.4-03",
        "DTLS-SDP-01",
        "ICE-SDP-01",
        "ICE-SDP-02",
        "ICE-SDP-04",
        "ICE-SDP-05",
        "W-4.3.2-01",
        "W-4.3.1-07",
    ];
    for id in expected {
        let outcome = verdict(&context, id, Side::Whip).await;
        assert_eq!(outcome.verdict, Verdict::Fail, "{id}: {}", outcome.observed);
    }
    for (id, side) in [("WHIP-4.2-30", Side::Whip), ("WHEP-4.2.5-01", Side::Whep), ("WHEP-4.5.2-01", Side::Whep)] {
        let wanted = if id == "WHEP-4.5.2-01" { Verdict::Pass } else { Verdict::Fail };
        let outcome = verdict(&context, id, side).await;
        assert_eq!(outcome.verdict, wanted, "{id}: {}", outcome.observed);
    }
}

/// Media ports that answer whatever comes: anything that looks like STUN with a bare success, all else with plenty.
async fn gullible() -> u16 {
    let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = match &buffer[..length] {
                [0, 1, _, _, rest @ ..] => [&[1, 1, 0, 0], &rest[..16]].concat(),
                _ => vec![0x80; 1000],
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_gullible_media_port_fails_the_raw_checks() {
    let port = gullible().await;
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789abcdef012345\r\na=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n"
    );
    let headers = vec![("location", "/session/1")];
    let context = naive(Says { status: StatusCode::CREATED, headers, body: body.leak() }).await;
    for id in ["ICE-01", "ICE-02", "ICE-06", "SEC-08", "SEC-10"] {
        let outcome = verdict(&context, id, Side::Whip).await;
        assert_eq!(outcome.verdict, Verdict::Fail, "{id}: {}", outcome.observed);
    }
    assert_eq!(verdict(&context, "ICE-04", Side::Whip).await.verdict, Verdict::Pass);
    // A client that gets no further than that is no presenter.
    assert_eq!(verdict(&context, "W-4.2-24", Side::Whip).await.verdict, Verdict::Skip);
}

#[tokio::test]
async fn a_run_reports_each_selected_clause_on_both_endpoints() {
    let context = naive(Says { status: StatusCode::OK, headers: vec![], body: "" }).await;
    let table = Table::built_in().unwrap();
    let only = ["W-4.1-01".to_owned(), "W-4.2-01".to_owned(), "WHEP-4.2.8-01".to_owned()];
    let cases = selected(all(), &table, Level::Full, &only).unwrap();

    let report =
        Box::pin(run(&context, None, &table, &cases, Progress::Silent, Instant::now() + Duration::from_mins(1)))
            .await
            .unwrap();

    assert!(report.failed());
    assert_eq!(report.rows.len(), 5);
    assert_eq!(report.summary(), "3 FAIL, 2 PASS");
}

#[tokio::test]
async fn a_target_that_is_not_there_cannot_be_judged() {
    let context = naive(Says { status: StatusCode::OK, headers: vec![], body: "" }).await;
    let table = Table::built_in().unwrap();
    let mut gone = Context::new(context.target, context.http);
    if let Some(url) = &mut gone.target.whip {
        url.port = 1;
    }

    let error =
        Box::pin(run(&gone, None, &table, &[], Progress::Silent, Instant::now() + Duration::from_mins(1))).await.err();

    assert!(error.is_some_and(|e| e.starts_with("cannot reach")));
}
