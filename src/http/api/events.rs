//! `/api/v1/events`: what happens, as it happens (server-sent events, HTML §9.2).
//!
//! The first event is `state`, with all streams as in `/api/v1/streams`; it comes again whenever the reader was too slow
//! to be told everything, so whoever takes it as the truth and the others as changes is always right.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::control::Control;
use crate::control::auth::Auth;
use crate::control::journal::JournalReader;
use crate::control::stream::StreamName;

use super::super::body::Body;
use super::super::events::{self, Story, Told};
use super::super::problem::Problem;
use super::super::service::{App, authorization};
use super::{Query, admin, presenter, streams};

/// GET: for an admin's token everything, or with `stream` what is of that stream; for a publish token with `stream` what
/// is of its own. It ends when the token is revoked.
/// # Errors
/// `Denied`, `Full` or `TooMany` when too many are being read.
pub(super) fn open(app: &App, parts: &Parts, client: IpAddr) -> Result<Response<Body>, Problem> {
    let stream = Query::of(parts)?.stream;
    if let Some(stream) = &stream {
        presenter(app, &parts.headers, stream)?;
    } else {
        admin(app, &parts.headers)?;
    }
    if parts.method == Method::HEAD {
        return Ok(events::head());
    }
    let place = events::place(app, client)?;
    let reader = app.control.journal(stream.clone());
    let token = authorization(&parts.headers).map_err(Problem::Denied)?.map(<[u8]>::to_vec);
    let (control, auth) = (Arc::clone(&app.control), Arc::clone(&app.auth));
    let chronicle = Chronicle { control, auth, token, reader, stream, is_behind: true };
    Ok(events::streaming(Box::new(chronicle), place))
}

/// All that happens.
struct Chronicle {
    control: Arc<Control>,
    auth: Arc<Auth>,
    /// What its reader was let in with.
    token: Option<Vec<u8>>,
    reader: JournalReader,
    /// Only what is of this one.
    stream: Option<StreamName>,
    /// It has to be told how things stand.
    is_behind: bool,
}

impl Story for Chronicle {
    fn next(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Told> + Send>> {
        Box::pin(async move {
            let piece = self.piece().await.filter(|_| self.is_allowed());
            (self as Box<dyn Story>, piece)
        })
    }
}

impl Chronicle {
    /// May it still be read? Revoking is among the news, so it is asked in time.
    fn is_allowed(&self) -> bool {
        self.auth.recognize(self.token.as_deref()).is_ok()
    }

    async fn piece(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.is_behind) {
            return Some(write("state", &self.state()));
        }
        match timeout(KEEP_ALIVE, self.reader.next()).await {
            Ok(Some(Ok(entry))) => Some(write(entry.topic.word(), &entry.data)),
            Ok(Some(Err(_missed))) => Some(write("state", &self.state())),
            Ok(None) => None,
            Err(_) => Some(Bytes::from_static(b":\n\n")),
        }
    }

    fn state(&self) -> Value {
        let statuses = match &self.stream {
            Some(stream) => vec![self.control.status(stream)],
            None => self.control.statuses(),
        };
        json!({ "streams": statuses.iter().map(streams::show).collect::<Vec<_>>() })
    }
}

/// An event as it goes over the wire: JSON is one line.
fn write(event: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}

/// Proxies give up connections that are silent for half a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
