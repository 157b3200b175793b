//! POST to somebody who is told things: one connection for each, no redirects, and of the answer hardly more than its status.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{AskError, EndpointError, Url, connect, later, tls, too_long};

/// Whoever is told things.
pub struct Receiver {
    url: Url,
    tls: TlsConnector,
}

/// How a POST was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The HTTP status.
    pub status: u16,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Receiver {
    /// Somebody who was not told anything yet. Its certificate is checked against the system's roots.
    /// # Errors
    /// `Tls` when the library refuses.
    pub fn new(url: Url) -> Result<Self, EndpointError> {
        let tls = TlsConnector::from(Arc::new(tls::config(false).map_err(EndpointError::Tls)?));
        Ok(Self { url, tls })
    }

    /// Sends this JSON with these headers, and waits so long for the head of an answer. A redirect is an answer.
    /// # Errors
    /// `NoAnswer`.
    pub async fn post(&self, headers: &[(&str, &str)], body: Bytes, patience: Duration) -> Result<Receipt, AskError> {
        let asking = async {
            let mut connection = connect(&self.url, &self.tls).await?;
            let request = self.request(headers, body)?;
            // With it the sender is returned: dropping that would end the connection before the body has come.
            let response = connection.sender.send_request(request).await;
            Ok((response.map_err(|error| AskError::NoAnswer(error.to_string()))?, connection))
        };
        let (response, _connection) = timeout(patience, asking).await.map_err(|_| too_long())??;
        let (head, body) = response.into_parts();
        // Out of politeness: many servers are sorry about whoever hangs up before they have said everything.
        let _ = timeout(POLITENESS, Limited::new(body, MOST_READ).collect()).await;
        Ok(Receipt { status: head.status.as_u16(), retry_after: later(&head.headers) })
    }

    fn request(&self, headers: &[(&str, &str)], body: Bytes) -> Result<Request<Full<Bytes>>, AskError> {
        let mut request = Request::builder().method(Method::POST).uri(self.url.path.as_str());
        request = request.header(HOST, self.url.authority()).header(USER_AGENT, AGENT);
        request = request.header(CONNECTION, "close").header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).map_err(|error| AskError::NoAnswer(error.to_string()))
    }
}

/// Who we are.
const AGENT: &str = concat!("tribune/", env!("CARGO_PKG_VERSION"));
/// For the body of an answer, which nobody needs.
const POLITENESS: Duration = Duration::from_secs(1);
/// Bytes of it.
const MOST_READ: usize = 4 * 1024;
