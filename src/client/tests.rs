use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ANSWER: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: /session/1\r\n\
    Link: <stun:s>; rel=\"ice-server\"\r\nContent-Length: 5\r\n\r\nv=0\r\n";

/// A server that gives these responses, one to each connection, and returns the requests.
async fn server(responses: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let url = format!("http://{}/whip/a", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 4096];
            let len = stream.read(&mut request).await.expect("a request");
            requests.push(String::from_utf8_lossy(&request[..len]).to_ascii_lowercase());
            stream.write_all(response.as_bytes()).await.expect("taken");
        }
        requests
    });
    (url, serving)
}

fn empty(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token_when_it_leads_to_others() {
    let (there, second) = server(vec![ANSWER.to_owned()]).await;
    let (here, first) = server(vec![empty("307 Temporary Redirect", &format!("Location: {there}?ticket=1\r\n"))]).await;
    let endpoint = Endpoint::new(&here, Some("secret"), false).expect("good");

    let admitted = endpoint.post("v=0\r\n".to_owned()).await.expect("admitted");

    let (first, second) = (first.await.expect("served"), second.await.expect("served"));
    assert!(first[0].contains("authorization: bearer secret"));
    assert!(second[0].starts_with("post /whip/a?ticket=1 ") && !second[0].contains("secret"));
    let session = admitted.session.expect("named").to_string();
    assert_eq!(session, there.replace("/whip/a", "/session/1"), "relative to who answered");
    assert_eq!(admitted.ice_servers.len(), 1);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let round = empty("307 Temporary Redirect", "Location: /whip/a\r\n");
    let (url, _serving) = server(vec![round; REDIRECTS + 1]).await;
    let endpoint = Endpoint::new(&url, None, false).expect("good");

    let refused = endpoint.post("v=0\r\n".to_owned()).await.expect_err("a circle");

    assert!(matches!(refused, AskError::Foreign(_)), "{refused}");
}

#[tokio::test]
async fn what_is_no_answer_is_told_from_a_refusal() {
    let page =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".to_owned();
    let body = r#"{"title":"busy","detail":"full\u001b[2J"}"#;
    let busy = format!(
        "HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (url, _serving) = server(vec![page, busy]).await;
    let endpoint = Endpoint::new(&url, None, false).expect("good");

    let foreign = endpoint.post("v=0\r\n".to_owned()).await.expect_err("a page");
    let refused = endpoint.post("v=0\r\n".to_owned()).await.expect_err("busy");

    assert!(!foreign.is_temporary() && foreign.to_string().contains("text/html"), "{foreign}");
    assert!(refused.is_temporary());
    let seven = Some(Duration::from_secs(7));
    assert_eq!(refused, AskError::Status { status: 503, detail: Some("full[2J".into()), retry_after: seven });
}

#[tokio::test]
async fn nobody_there_is_an_error_that_may_pass() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let url = format!("http://{}/whip/a", listener.local_addr().expect("bound"));
    drop(listener);
    let endpoint = Endpoint::new(&url, None, false).expect("good");

    let error = endpoint.post("v=0\r\n".to_owned()).await.expect_err("nobody");

    assert_eq!(error, AskError::NoAnswer("connection refused".into()));
    assert!(error.is_temporary());
}

#[test]
fn what_cannot_be_an_endpoint_is_refused_at_once() {
    assert!(matches!(Endpoint::new("talk", None, false), Err(EndpointError::Url(_))));
    assert!(matches!(Endpoint::new("http://a/", Some("a\nb"), false), Err(EndpointError::Token)));
}
