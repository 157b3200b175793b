//! Conditional requests (RFC 9110 §13): what `If-Match` says.

use hyper::header::{ETAG, HeaderMap, IF_MATCH};

use crate::control::Precondition;

/// Reads what a request demands. One library sends the entity-tag as it got it, in a header `ETag`; and the figure of
/// RFC 9725 puts quotes around the star. Weak tags never match (RFC 9110 §8.8.3.2).
pub(super) fn precondition(headers: &HeaderMap) -> Precondition {
    let name = if headers.contains_key(IF_MATCH) { IF_MATCH } else { ETAG };
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Precondition::Missing;
    }
    let mut tags = Vec::new();
    for value in values {
        // What is no text matches nothing.
        let text = value.to_str().unwrap_or_default().trim();
        if matches!(text, "*" | r#""*""#) {
            return Precondition::Any;
        }
        tags.extend(strong_tags(text));
    }
    Precondition::Tags(tags)
}

/// The strong entity-tags of a list, with their quotes; it ends at the first thing that is none. A tag may hold commas.
fn strong_tags(mut list: &str) -> Vec<String> {
    let mut tags = Vec::new();
    loop {
        list = list.trim_start_matches([' ', '\t', ',']);
        let (strong, rest) = match list.strip_prefix("W/") {
            Some(rest) => (false, rest),
            None => (true, list),
        };
        let Some((tag, rest)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
            return tags;
        };
        if strong {
            tags.push(format!("\"{tag}\""));
        }
        list = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn said(headers: &[(HeaderName, &[u8])]) -> Precondition {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value).expect("a header value"));
        }
        precondition(&map)
    }

    fn tags(tags: &[&str]) -> Precondition {
        Precondition::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect())
    }

    #[test]
    fn an_entity_tag_is_asked_for_in_many_ways() {
        assert_eq!(said(&[]), Precondition::Missing);
        assert_eq!(said(&[(IF_MATCH, b"*")]), Precondition::Any);
        assert_eq!(said(&[(IF_MATCH, b" \"*\" ")]), Precondition::Any);
        assert_eq!(said(&[(IF_MATCH, b"\"a\"")]), tags(&["\"a\""]));
        assert_eq!(said(&[(IF_MATCH, b"\"a, b\" ,, \"c\"")]), tags(&["\"a, b\"", "\"c\""]));
        assert_eq!(said(&[(IF_MATCH, b"\"a\""), (IF_MATCH, b"\"b\"")]), tags(&["\"a\"", "\"b\""]));
        assert_eq!(said(&[(ETAG, b"\"a\"")]), tags(&["\"a\""]));
        assert_eq!(said(&[(ETAG, b"\"a\""), (IF_MATCH, b"\"b\"")]), tags(&["\"b\""]));
    }

    #[test]
    fn weak_or_broken_tags_match_nothing() {
        for value in [&b"W/\"a\""[..], b"a", b"", b"\"a", b"\xff", b"W/a", b"a \"b\""] {
            assert_eq!(said(&[(IF_MATCH, value)]), tags(&[]), "{value:?}");
        }
        assert_eq!(said(&[(IF_MATCH, b"W/\"a\", \"a\"")]), tags(&["\"a\""]));
    }
}
