//! STUN and TURN servers that clients are told of (RFC 9725 §4.6), and what they may use them with.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ids;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` (RFC 7064, RFC 7065).
    pub url: String,
    /// What it asks for.
    pub access: Access,
}

/// What a client needs to use a server.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing: STUN.
    Open,
    /// Always the same.
    Static {
        /// User name.
        username: String,
        /// Password.
        credential: String,
    },
    /// A user name with an end date, signed with a secret that the TURN server knows (coturn: `use-auth-secret`).
    Timed {
        /// The shared secret.
        secret: String,
        /// How long one is good.
        lifetime: Duration,
    },
}

impl fmt::Debug for Access {
    /// Leaves out what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Static { .. } => "Static(…)",
            Self::Timed { .. } => "Timed(…)",
        })
    }
}

impl IceServer {
    /// The value of its `Link` header. Clients take it apart with regular expressions: the order of the parameters is
    /// the one that all of them know, `credential-type` is last, and no value holds a comma or a semicolon.
    pub fn link(&self, now: SystemTime) -> String {
        let (username, credential) = match &self.access {
            Access::Open => return format!("<{}>; rel=\"ice-server\"", self.url),
            Access::Static { username, credential } => (username.clone(), credential.clone()),
            Access::Timed { secret, lifetime } => timed(secret, *lifetime, now),
        };
        format!(
            "<{}>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{credential}\"; \
             credential-type=\"password\"",
            self.url
        )
    }
}

/// Credentials of the TURN REST API: when they end and a name of their own, and that signed.
fn timed(secret: &str, lifetime: Duration, now: SystemTime) -> (String, String) {
    let ends = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(lifetime).as_secs();
    let username = format!("{ends}:{}", ids::hex(&ids::random::<8>()));
    let credential = sign(secret, &username);
    (username, credential)
}

fn sign(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str, access: Access) -> String {
        IceServer { url: url.into(), access }.link(UNIX_EPOCH + Duration::from_secs(1_000))
    }

    #[test]
    fn a_link_has_the_form_that_every_client_parses() {
        let fixed = Access::Static { username: "user".into(), credential: "pass".into() };

        assert_eq!(link("stun:s.example:3478", Access::Open), r#"<stun:s.example:3478>; rel="ice-server""#);
        assert_eq!(
            link("turn:t.example:3478?transport=udp", fixed),
            "<turn:t.example:3478?transport=udp>; rel=\"ice-server\"; username=\"user\"; credential=\"pass\"; \
             credential-type=\"password\""
        );
    }

    #[test]
    fn timed_credentials_end_and_differ_and_are_signed() {
        let made = || timed("secret", Duration::from_mins(1), UNIX_EPOCH + Duration::from_secs(1_000));
        let ((one, credential), (other, _)) = (made(), made());

        assert!(one.starts_with("1060:") && one != other, "{one} {other}");
        assert_eq!(credential, sign("secret", &one));
        assert_ne!(credential, sign("another", &one));
        // From `openssl dgst -sha1 -hmac secret -binary | base64`.
        assert_eq!(sign("secret", "1060:user"), SIGNED);
    }

    const SIGNED: &str = "ak6y1Ii9j33UcAVozGFoCgl9gHQ=";

    #[test]
    fn a_debug_print_shows_no_secret() {
        let fixed = Access::Static { username: "user".into(), credential: "hidden".into() };
        let timed = Access::Timed { secret: "hidden".into(), lifetime: Duration::from_mins(1) };

        assert!(!format!("{fixed:?} {timed:?}").contains("hidden"));
    }
}
