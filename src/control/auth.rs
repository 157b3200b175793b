//! Who may do what: bearer tokens, signed or static.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::links::Links;
use super::stream::{Policies, StreamName};
use super::tokens::{self, Secret, StaticToken, Token};

pub use super::identity::{Identity, Right};

/// Why a request is not let in (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credentials, or another scheme: 401 without an error code.
    #[error("a bearer token is needed")]
    Missing,
    /// Not a well-formed bearer credential: 400 `invalid_request`.
    #[error("the Authorization header is not `Bearer` and one token")]
    Malformed,
    /// Unknown, forged, expired or revoked: 401 `invalid_token`.
    #[error("the token is not valid here or has expired")]
    Invalid,
    /// A good token for something else: 403 `insufficient_scope`.
    #[error("the token does not allow this")]
    Insufficient,
}

/// Keeps the secret and the static tokens.
#[derive(Debug)]
pub struct Auth {
    secret: Secret,
    tokens: Vec<StaticToken>,
    policies: Arc<Policies>,
    links: Arc<Links>,
}

impl Auth {
    /// With the key of the signed tokens and the tokens of the configuration.
    pub fn new(secret: Secret, tokens: Vec<StaticToken>, policies: Arc<Policies>) -> Self {
        Self { secret, tokens, policies, links: Arc::new(Links::unkept()) }
    }

    /// The same, with these links: their tokens can be revoked.
    #[must_use]
    pub fn with_links(self, links: Links) -> Self {
        Self { links: Arc::new(links), ..self }
    }

    /// The links that were made here.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// Reads the value of an `Authorization` header; `None` when the request had none. Constant time in the token.
    /// # Errors
    /// `Missing`, `Malformed` or `Invalid`.
    pub fn identify(&self, authorization: Option<&[u8]>) -> Result<Identity, Denied> {
        self.identify_at(authorization, SystemTime::now())
    }

    /// Reads the value of an `Authorization` header like [`Auth::identify`], but takes a token that has expired: for what
    /// its owner has made while it was good.
    /// # Errors
    /// `Missing`, `Malformed` or `Invalid`.
    pub fn recognize(&self, authorization: Option<&[u8]>) -> Result<Identity, Denied> {
        self.identify_at(authorization, SystemTime::UNIX_EPOCH)
    }

    /// May this identity do that on that stream? Admin may do all; publish includes watch.
    /// # Errors
    /// `Insufficient`.
    pub fn permit(&self, who: &Identity, right: Right, stream: &StreamName) -> Result<(), Denied> {
        let here = who.stream.as_ref().is_none_or(|own| own == stream);
        let enough = match (who.right, right) {
            (Right::Admin, _) | (Right::Publish, Right::Publish | Right::Watch) | (Right::Watch, Right::Watch) => true,
            (Right::Publish | Right::Watch, _) => false,
        };
        if here && enough { Ok(()) } else { Err(Denied::Insufficient) }
    }

    /// Does watching this stream need no token?
    pub fn watch_is_open(&self, stream: &StreamName) -> bool {
        self.policies.watch_is_open(stream)
    }

    /// Signs a token for somebody.
    pub fn sign(&self, identity: &Identity, lifetime: Duration) -> Token {
        self.secret.sign(identity, lifetime, SystemTime::now())
    }

    fn identify_at(&self, authorization: Option<&[u8]>, now: SystemTime) -> Result<Identity, Denied> {
        let token = bearer(authorization.ok_or(Denied::Missing)?)?;
        if let Some(signed) = self.secret.verify(token, now) {
            let revoked = tokens::id(token).is_none_or(|id| self.links.is_revoked(&id));
            return if revoked { Err(Denied::Invalid) } else { Ok(signed) };
        }
        tokens::find(&self.tokens, token).cloned().ok_or(Denied::Invalid)
    }
}

/// The id of the token in an `Authorization` header, if it is one that we sign. Says nothing of its being good.
pub fn token_id(authorization: &[u8]) -> Option<String> {
    tokens::id(bearer(authorization).ok()?)
}

/// The token of a `Bearer` credential (RFC 6750 §2.1). The scheme is told apart without regard to case (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Result<&str, Denied> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Denied::Missing);
    }
    let token = std::str::from_utf8(rest.trim_ascii_start()).map_err(|_| Denied::Malformed)?;
    if tokens::is_well_formed(token) { Ok(token) } else { Err(Denied::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let statics = vec![StaticToken {
            sha256: tokens::sha256("a-static-token-of-obs"),
            identity: identity("obs", Some("live"), Right::Publish),
        }];
        Auth::new(Secret::of(&[7; 32]), statics, Arc::default())
    }

    fn identity(subject: &str, stream: Option<&str>, right: Right) -> Identity {
        let stream = stream.map(|name| name.parse().expect("a name"));
        Identity { subject: subject.to_owned(), stream, right }
    }

    #[test]
    fn the_authorization_header_is_read_as_the_standard_says() {
        let auth = auth();
        let (long, longest) = (format!("Bearer {}", "x".repeat(4097)), format!("Bearer {}", "x".repeat(4096)));
        let cases: [(Option<&[u8]>, Denied); 13] = [
            (None, Denied::Missing),
            (Some(b""), Denied::Missing),
            (Some(b"Basic dXNlcjpwdw=="), Denied::Missing),
            (Some(b"a-static-token-of-obs"), Denied::Missing),
            (Some(b"Bearer"), Denied::Malformed),
            (Some(b"Bearer   "), Denied::Malformed),
            (Some(b"Bearer a b"), Denied::Malformed),
            (Some(b"Bearer a,b"), Denied::Malformed),
            (Some(b"Bearer \xff\xfe"), Denied::Malformed),
            (Some(b"Bearer =="), Denied::Malformed),
            (Some(long.as_bytes()), Denied::Malformed),
            (Some(longest.as_bytes()), Denied::Invalid),
            (Some(b"Bearer undefined"), Denied::Invalid),
        ];

        for (header, denied) in cases {
            assert_eq!(auth.identify(header), Err(denied), "{:?}", header.map(String::from_utf8_lossy));
        }
    }

    #[test]
    fn a_static_token_is_known_whatever_the_case_of_the_scheme() {
        let auth = auth();

        for scheme in ["Bearer", "bearer", "BEARER", " Bearer "] {
            let header = format!("{scheme} a-static-token-of-obs");
            assert_eq!(auth.identify(Some(header.as_bytes())), Ok(identity("obs", Some("live"), Right::Publish)));
        }
        assert_eq!(auth.identify(Some(b"Bearer a-static-token-of-ob")), Err(Denied::Invalid));
    }

    #[test]
    fn a_signed_token_is_good_until_it_expires() {
        let (auth, now) = (auth(), SystemTime::now());
        let who = identity("publisher:live", Some("live"), Right::Publish);
        let header = format!("Bearer {}", auth.secret.sign(&who, Duration::from_mins(1), now).reveal());

        let at = |seconds| auth.identify_at(Some(header.as_bytes()), now + Duration::from_secs(seconds));

        assert_eq!((at(0), at(58), at(61)), (Ok(who.clone()), Ok(who.clone()), Err(Denied::Invalid)));
        assert_eq!(auth.recognize(Some(header.as_bytes())), Ok(who), "good for what was made with it");
    }

    #[test]
    fn rights_are_what_they_say() {
        use Right::{Admin, Publish, Watch};
        let auth = auth();
        let live: StreamName = "live".parse().expect("a name");
        let cases = [
            (Some("live"), Publish, Publish, true),
            (Some("live"), Publish, Watch, true),
            (Some("live"), Publish, Admin, false),
            (Some("live"), Watch, Watch, true),
            (Some("live"), Watch, Publish, false),
            (Some("other"), Publish, Publish, false),
            (Some("other"), Publish, Watch, false),
            (None, Admin, Publish, true),
            (None, Admin, Watch, true),
            (None, Admin, Admin, true),
            (Some("live"), Admin, Admin, true),
            (Some("other"), Admin, Watch, false),
        ];

        for (stream, has, wants, allowed) in cases {
            let outcome = auth.permit(&identity("somebody", stream, has), wants, &live);
            assert_eq!(outcome.is_ok(), allowed, "{has:?} of {stream:?} wants {wants:?}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_secret() {
        let auth = auth();
        let token = auth.sign(&identity("a", Some("live"), Right::Watch), Duration::from_mins(1));

        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(!format!("{auth:?}").contains(&format!("{:?}", tokens::sha256("a-static-token-of-obs"))));
    }
}
