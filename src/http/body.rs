//! Bodies: what is read of a request, and what a response carries.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};

use crate::control::Opened;

use super::events::Feed;
use super::problem::Problem;

/// The body of a response.
#[derive(Debug)]
pub(super) struct Body(Content);

#[derive(Debug)]
enum Content {
    /// One piece.
    Whole(Bytes),
    /// The answer of a session that lives on only if the connection takes it.
    Answer(Bytes, Opened),
    /// Events, as they come.
    Feed(Feed),
}

impl Body {
    /// The answer of a new session. The session lives on only if the connection takes the answer; a client that hung
    /// up before never polls it.
    pub(super) fn answer(mut opened: Opened) -> Self {
        let data = Bytes::from(std::mem::take(&mut opened.answer));
        Self(Content::Answer(data, opened))
    }

    /// Its length in bytes, when it has one.
    pub(super) fn len(&self) -> Option<usize> {
        match &self.0 {
            Content::Whole(data) | Content::Answer(data, _) => Some(data.len()),
            Content::Feed(_) => None,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Feed> for Body {
    fn from(feed: Feed) -> Self {
        Self(Content::Feed(feed))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self(Content::Whole(data))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Content::Feed(feed) = &mut self.0 {
            return feed.poll(cx).map(|data| data.map(|data| Ok(Frame::data(data))));
        }
        let data = match std::mem::take(&mut *self).0 {
            Content::Answer(data, opened) => {
                opened.delivered();
                data
            }
            Content::Whole(data) => data,
            Content::Feed(_) => Bytes::new(),
        };
        Poll::Ready(if data.is_empty() { None } else { Some(Ok(Frame::data(data))) })
    }

    fn is_end_stream(&self) -> bool {
        self.len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, |length| SizeHint::with_exact(length as u64))
    }
}

/// Reads a request's body to its end.
/// # Errors
/// `Encoded`; `TooLarge`, at once when the length is declared; `BodyTimeout`; `BadRequest` when it breaks off or its
/// chunks are malformed.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Problem> {
    let encoded = headers.get_all(CONTENT_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Problem::Encoded);
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > limit as u64) {
        return Err(Problem::TooLarge { limit });
    }
    let Ok(read) = tokio::time::timeout(deadline, Limited::new(body, limit).collect()).await else {
        return Err(Problem::BodyTimeout(deadline));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge { limit }),
        Err(_) => Err(Problem::BadRequest("the body broke off or its framing is broken")),
    }
}

/// Is this `Content-Type` the wanted one? Type and subtype count, parameters and case do not (RFC 9110 §8.3.1).
/// # Errors
/// `WrongType` with what was found.
pub(super) fn expect_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let mut values = headers.get_all(hyper::header::CONTENT_TYPE).iter();
    let found = match (values.next(), values.next()) {
        (None, _) => "missing".to_owned(),
        (Some(_), Some(_)) => "given more than once".to_owned(),
        (Some(value), None) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let essence = text.split(';').next().unwrap_or_default().trim();
            if essence.eq_ignore_ascii_case(wanted) {
                return Ok(());
            }
            let clean: String = essence.chars().filter(char::is_ascii_graphic).take(64).collect();
            format!("`{clean}`")
        }
    };
    Err(Problem::WrongType { found, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{CONTENT_TYPE, HeaderValue};

    fn typed(values: &[&[u8]]) -> Result<(), Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_bytes(value).expect("a header value"));
        }
        expect_type(&headers, "application/sdp")
    }

    #[test]
    fn case_and_parameters_of_a_media_type_do_not_matter() {
        let good: [&[u8]; 5] = [
            b"application/sdp",
            b"Application/SDP",
            b"application/sdp; charset=utf-8",
            b"application/sdp;charset=UTF-8",
            b" application/sdp ;x=y",
        ];

        for value in good {
            assert_eq!(typed(&[value]), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn another_media_type_is_named_in_the_refusal() {
        let cases: [(&[&[u8]], &str); 6] = [
            (&[], "missing"),
            (&[b""], "``"),
            (&[b"text/plain"], "`text/plain`"),
            (&[b"application/sdpx"], "`application/sdpx`"),
            (&[b"a\xff\x80b"], "`ab`"),
            (&[b"application/sdp", b"application/sdp"], "given more than once"),
        ];

        for (values, found) in cases {
            assert_eq!(
                typed(values),
                Err(Problem::WrongType { found: found.into(), wanted: "application/sdp" }),
                "{values:?}"
            );
        }
    }
}
