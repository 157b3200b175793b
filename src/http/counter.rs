//! Counter-offers: 406 with an offer of ours for a viewer whose own cannot be taken, and the answer that comes by PATCH
//! (WHEP draft, "Server Sends Counter-Offer").

use std::net::IpAddr;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};

use crate::control::auth::Identity;
use crate::control::counter::AnswerError;
use crate::control::stream::StreamName;
use crate::control::wall::Civil;
use crate::media::SessionId;

use super::body::{self, Body};
use super::endpoint::{self, SDP, text};
use super::problem::Problem;
use super::service::{App, empty};
use super::{events, layers};

/// 406 with an offer of ours. The session that its `Location`, behind `base`, names is made by the answer.
/// # Errors
/// What control says.
pub(super) fn offer(
    app: &App,
    stream: &StreamName,
    who: Option<&Identity>,
    client: IpAddr,
    base: &str,
) -> Result<Response<Body>, Problem> {
    let counter = app.control.counter(stream, who, client).map_err(Problem::of_open)?;
    let mut response = empty();
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    let headers = response.headers_mut();
    let until = http_date(SystemTime::now() + counter.valid_for);
    let named = [
        (CONTENT_TYPE, format!("{SDP}; valid-until=\"{until}\"")),
        (LOCATION, format!("{base}/session/{}", counter.session)),
        (ETAG, counter.etag),
    ];
    for (name, value) in named {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers.insert("accept-patch", HeaderValue::from_static(ACCEPT_PATCH));
    events::link(headers, base, counter.session);
    layers::link(headers, base, counter.session);
    *response.body_mut() = Body::from(counter.offer);
    Ok(response)
}

/// PATCH with the answer: 204, and the session lives.
/// # Errors
/// `TooLarge`, `Offer` for what is no usable answer, `NoSession` when the offer has expired, `Answered`.
pub(super) async fn answer(
    app: &App,
    session: SessionId,
    headers: &HeaderMap,
    client: IpAddr,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let answer = body::read(headers, body, app.limits.offer_bytes, app.limits.body).await?;
    let answer = text(&answer)?;
    let offer = app.control.answer(session, answer).map_err(|error| match error {
        AnswerError::NoSession => Problem::NoSession,
        AnswerError::Answered => Problem::Answered,
        AnswerError::Open(error) => Problem::of_open(error),
    })?;
    endpoint::introduce(app, session, headers, client, (answer, &offer));
    let mut response = empty();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// A time as HTTP writes it (RFC 9110 §5.6.7): `Wed, 09 Oct 2024 10:00:00 GMT`.
fn http_date(time: SystemTime) -> String {
    let Civil { year, month, day, weekday, hour, minute, second } = Civil::of(time);
    let (weekday, month) = (WEEKDAYS[(weekday % 7) as usize], MONTHS[((month + 11) % 12) as usize]);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// What a session takes whose offer is ours: the answer, then candidates.
const ACCEPT_PATCH: &str = "application/sdp, application/trickle-ice-sdpfrag";
/// From the day of the epoch on.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_is_written_as_http_wants_it() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_728_468_000, "Wed, 09 Oct 2024 10:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ];

        for (seconds, date) in cases {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
    }
}
