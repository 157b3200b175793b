//! Reading responses and printing requests.

use super::*;

#[test]
fn an_interim_response_is_skipped_and_remembered() {
    let octets = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\nhi";

    let response = parse(octets, Duration::ZERO).unwrap();

    assert!(is_complete(octets));
    assert!(response.continued);
    assert_eq!((response.status, response.header("etag"), response.text().as_str()), (201, Some("\"a\""), "hi"));
}

#[test]
fn half_a_response_is_not_complete() {
    assert!(!is_complete(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"));
    assert!(parse(b"HTTP/1.1 200 OK\r\nContent-", Duration::ZERO).is_none());
    assert!(parse(b"SSH-2.0-x\r\n\r\n", Duration::ZERO).is_none());
}

#[test]
fn a_curl_line_never_shows_the_token() {
    let url = Url::parse("http://h/whip/a").unwrap();

    let line = Request::new("POST", &url).header("Authorization", "Bearer s3cret").body("hello\n").curl();

    assert_eq!(line, "curl -i -X POST -H \"Authorization: Bearer $TOKEN\" --data-binary $'hello\\n' http://h/whip/a");
}
