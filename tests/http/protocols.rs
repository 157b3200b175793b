//! HTTP/2, TLS, and how things end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};

use crate::harness::{ANN, House, Reply, offer, within};
use tribune::http::Tls;

/// Speaks HTTP/2 without asking first.
async fn http2_client<S>(socket: S) -> http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        within(http2::handshake(TokioExecutor::new(), TokioIo::new(socket))).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn ask(client: &mut http2::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let (parts, body) = within(client.send_request(request)).await.expect("a response").into_parts();
    Response::from_parts(parts, within(body.collect()).await.expect("a body").to_bytes())
}

fn post(scheme: &str) -> Request<Full<Bytes>> {
    Request::post(format!("{scheme}://localhost/whip/live"))
        .header("content-type", "application/sdp")
        .header("authorization", format!("Bearer {ANN}"))
        .body(Full::from(offer("obs-32.2.2")))
        .expect("a request")
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://localhost{path}")).body(Full::default()).expect("a request")
}

#[tokio::test]
async fn http2_works_without_tls_for_those_who_know() {
    let house = House::new();
    let mut client = http2_client(house.connect().await).await;

    let created = ask(&mut client, post("http")).await;
    assert_eq!(created.status(), 201, "{created:?}");
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(ask(&mut client, get(&location)).await.status(), 200);
    let mut head = get("/livez");
    *head.method_mut() = "HEAD".parse().unwrap();
    let head = ask(&mut client, head).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    assert_eq!(head.headers()["content-length"], "3");
    let mut other = get("/livez");
    other.headers_mut().insert("host", "elsewhere".parse().unwrap());
    assert_eq!(ask(&mut client, other).await.status(), 400);
    let large = Request::post("http://localhost/whip/live")
        .header("content-type", "application/sdp")
        .header("authorization", format!("Bearer {ANN}"))
        .body(Full::from(vec![b'a'; 65_537]));
    let refused = ask(&mut client, large.unwrap()).await;
    assert_eq!(refused.status(), 413);
    assert!(!refused.headers().contains_key("connection"), "there is no such header in HTTP/2");
    assert_eq!(ask(&mut client, get("/livez")).await.status(), 200, "one bad request does not end the others");
    house.shut_down().await;
}

/// Takes any certificate: the tests are about what is spoken, not about trust.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn tls(house: &House, alpn: &[&str]) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    within(TlsConnector::from(Arc::new(config)).connect(name, house.connect().await)).await.expect("TLS")
}

fn tls_house() -> House {
    House::with(|settings| {
        settings.tls = Some(Tls::SelfSigned { names: vec!["localhost".into(), "127.0.0.1".into()] });
        settings.limits.handshake = Duration::from_millis(500);
    })
}

#[tokio::test]
async fn tls_agrees_on_http2_first_and_http1_for_others() {
    let house = tls_house();

    let stream = tls(&house, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let mut client = http2_client(stream).await;
    assert_eq!(ask(&mut client, post("https")).await.status(), 201);

    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = tls(&house, alpn).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut received = Vec::new();
        within(stream.read_to_end(&mut received)).await.expect("closed in good order");
        assert_eq!(Reply::all(&received)[0].status, 200);
    }
    house.shut_down().await;
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_cut() {
    let house = tls_house();

    let mut silent = house.connect().await;
    let mut plain = house.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let (_, _) = tokio::join!(within(silent.read_to_end(&mut one)), within(plain.read_to_end(&mut two)));

    assert!(one.is_empty(), "after the deadline of a handshake");
    assert!(!two.starts_with(b"HTTP"), "an alert at most");
    house.shut_down().await;
}

#[tokio::test]
async fn a_connection_ends_after_its_last_request() {
    let house = House::with(|settings| settings.limits.requests_per_connection = 3);

    let replies = house.raw("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5).as_bytes()).await;

    assert_eq!(replies.len(), 3);
    assert_eq!(replies[2].header("connection"), Some("close"));
    house.shut_down().await;
}

#[tokio::test]
async fn a_shutdown_lets_a_request_finish_and_drops_the_idle() {
    let house = House::new();
    let mut idle = house.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(idle.read_exact(&mut [0; 12])).await.unwrap();
    let sdp = offer("obs-32.2.2");
    let (first, second) = sdp.split_at(100);
    let mut running = house.connect().await;
    let head = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        sdp.len()
    );
    running.write_all(head.as_bytes()).await.unwrap();
    // "100 Continue" proves that the request is being answered.
    within(running.read_exact(&mut [0; 25])).await.unwrap();
    running.write_all(first.as_bytes()).await.unwrap();

    let address = house.address;
    let down = tokio::spawn(house.shut_down());
    let mut rest = Vec::new();
    within(idle.read_to_end(&mut rest)).await.expect("the idle one is closed");
    running.write_all(second.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    within(running.read_to_end(&mut received)).await.unwrap();

    let replies = Reply::all(&received);
    assert_eq!(replies[0].status, 201, "{replies:?}");
    within(down).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let house = House::with(|settings| {
        settings.limits.drain = Duration::from_millis(300);
    });
    let mut stuck = house.connect().await;
    let head = format!(
        "POST /whip/live HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/sdp\r\n\
         Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    within(stuck.read_exact(&mut [0; 25])).await.unwrap();

    let started = tokio::time::Instant::now();
    house.shut_down().await;

    assert!(started.elapsed() < Duration::from_secs(5));
}
