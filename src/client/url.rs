//! URLs that can be asked, and what is relative to them.

use std::fmt;

use hyper::Uri;
use hyper::http::uri::Authority;

/// An `http://` or `https://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// https.
    pub(super) tls: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    authority: Authority,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// Reads an absolute URL; `None` for other schemes and what is no URL.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let place = uri.authority()?.as_str().rsplit('@').next()?.strip_prefix(uri.host()?)?;
        let port = match place.strip_prefix(':') {
            // What is no port must not become the usual one.
            Some(port) => port.parse().ok()?,
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { tls, host, port, authority: uri.authority()?.clone(), path })
    }

    /// What a `Location` in a response from here means (RFC 3986 §5.2, without dots).
    pub(super) fn resolve(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let scheme = if self.tls { "https" } else { "http" };
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let (folder, _) = self.path.split('?').next()?.rsplit_once('/')?;
            format!("{folder}/{location}")
        };
        Self::parse(&format!("{scheme}://{}{path}", self.authority))
    }

    /// Same scheme, host and port: a token for one is good for the other.
    pub(super) fn is_of_the_same_origin(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// Scheme, host and port, as they were written.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// Does it name a user, maybe with a password?
    pub fn names_a_user(&self) -> bool {
        self.authority.as_str().contains('@')
    }

    /// For the `Host` header.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_asked() {
        let url = Url::parse("https://[::1]/whep/a?b=c").expect("good");

        assert_eq!((url.host.as_str(), url.port, url.tls, url.authority()), ("::1", 443, true, "[::1]"));
        assert_eq!(url.path, "/whep/a?b=c");
        for text in
            ["", "/whep/a", "ftp://a/b", "localhost:8080/whep/a", "http://a:99999/", "http://a:x/", "http://:80/"]
        {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_location_is_understood_in_every_form() {
        let url = Url::parse("http://h:81/whep/a?x=/y").expect("good");
        let full = |location: &str| url.resolve(location).map(|url| url.to_string());

        assert_eq!(full("/session/1").as_deref(), Some("http://h:81/session/1"));
        assert_eq!(full("1").as_deref(), Some("http://h:81/whep/1"));
        assert_eq!(full("https://other/session/1").as_deref(), Some("https://other/session/1"));
        assert_eq!(full("//other/session/1").as_deref(), Some("http://other/session/1"));
        assert_eq!(full("ftp://other/"), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).expect("good");

        assert!(url("http://a/x").is_of_the_same_origin(&url("http://a:80/y")));
        assert!(!url("http://a/x").is_of_the_same_origin(&url("https://a/x")));
        assert!(!url("http://a/x").is_of_the_same_origin(&url("http://a:81/x")));
        assert!(!url("http://a/x").is_of_the_same_origin(&url("http://b/x")));
    }
}
