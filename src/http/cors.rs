//! Cross-origin headers (Fetch §3.3): explicit lists, on every response, errors included.
//!
//! `*` as a list does not cover `Authorization`, so everything is named. The origin may be any: there are no cookies,
//! so a foreign page can do nothing that it could not do without the browser.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN,
};
use hyper::http::request::Parts;

/// Adds the lists to a response of any kind.
pub(super) fn apply(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

/// A question of the browser's own, asked without credentials before the real request.
pub(super) fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Two players learn from PATCH in this list that the server trickles.
const METHODS: &str = "OPTIONS, HEAD, GET, POST, PATCH, DELETE";

const ALLOWED: &str =
    "Authorization, Content-Type, If-Match, If-None-Match, ETag, Accept, Cache-Control, Last-Event-ID";

const EXPOSED: &str = "Location, Link, ETag, Retry-After, Accept-Post, Accept-Patch, Allow, \
                       Access-Control-Allow-Methods, WWW-Authenticate";

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    #[test]
    fn the_lists_name_what_a_star_does_not_cover() {
        let mut headers = HeaderMap::new();

        apply(&mut headers);

        let list = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            value.split(", ").map(str::to_ascii_lowercase).collect::<Vec<_>>()
        };
        for name in ["authorization", "content-type", "if-match", "etag", "last-event-id"] {
            assert!(list("access-control-allow-headers").contains(&name.to_owned()), "{name}");
        }
        for name in ["location", "link", "etag", "retry-after", "accept-post", "www-authenticate"] {
            assert!(list("access-control-expose-headers").contains(&name.to_owned()), "{name}");
        }
        assert!(list("access-control-allow-methods").contains(&"patch".to_owned()));
        assert_eq!(list("access-control-allow-origin"), ["*"]);
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn a_preflight_has_an_origin_and_a_method() {
        let request = |method: &str, names: &[&str]| {
            let mut builder = Request::builder().method(method);
            for name in names {
                builder = builder.header(*name, "x");
            }
            builder.body(()).expect("a good request").into_parts().0
        };

        assert!(is_preflight(&request("OPTIONS", &["origin", "access-control-request-method"])));
        assert!(!is_preflight(&request("OPTIONS", &["origin"])));
        assert!(!is_preflight(&request("OPTIONS", &["access-control-request-method"])));
        assert!(!is_preflight(&request("POST", &["origin", "access-control-request-method"])));
    }
}
