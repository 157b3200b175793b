//! For tests: a naive server that answers everything `200 OK` with one text, and forgets it at once.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::client::{Context, Target};
use crate::http::Http;
use crate::url::Url;

/// What the stub says.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: &'static str,
}

/// Starts the stub and gives a context that targets it for both protocols.
pub(crate) async fn naive(says: Says) -> Context {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let says = says.clone();
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(Bytes::from_static(says.body.as_bytes())));
                *response.status_mut() = says.status;
                for (name, value) in &says.headers {
                    response.headers_mut().append(*name, value.parse().unwrap());
                }
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let url = |path: &str| Some(Url::parse(&format!("http://127.0.0.1:{port}{path}")).unwrap());
    let token = Some("good".to_owned());
    let target = Target {
        whip: url("/whip/a"),
        whep: url("/whep/a"),
        token,
        watch_token: None,
        other_token: None,
        wrong_token: "not-the-token".into(),
        local_ip: None,
        post_interval: crate::client::BRISK,
        abuse: false,
        strict: false,
    };
    Context::new(target, Http::new(crate::tls::config(None, true).unwrap()))
}
