//! Tokens that we sign ourselves, and the secret that they are signed with.
//!
//! A token is `trb1.<payload>.<tag>`: JSON and its HMAC-SHA256, both base64url without padding. It is not a JWT on purpose:
//! there is no header, so there is no algorithm to confuse and no key id to follow; a leaked one is recognized by its
//! prefix; and the version is part of what is signed.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Right};
use super::ids;
use super::stream::StreamName;

/// A bearer token. Never in a log: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself, for whoever is to have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What it calls itself; not secret.
    pub fn id(&self) -> Option<String> {
        id(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Can this be a bearer token? 1–4096 of `A–Z a–z 0–9 - . _ ~ + /`, maybe with `=` at the end (RFC 6750 §2.1).
pub fn is_well_formed(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && text.len() <= LONGEST_TOKEN
        && body.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c))
}

/// A token that somebody wrote into the configuration, by its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticToken {
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// Whose it is and what it allows.
    pub identity: Identity,
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticToken").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Hash of a token, for [`StaticToken`].
pub fn sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// Finds a static token. Compares with every one of them, in the same time wherever they differ.
pub(super) fn find<'a>(tokens: &'a [StaticToken], token: &str) -> Option<&'a Identity> {
    let hash = sha256(token);
    tokens.iter().fold(None, |found, known| {
        let same = constant_time::verify_slices_are_equal(&known.sha256, &hash).is_ok();
        if same { Some(&known.identity) } else { found }
    })
}

/// The key of all signed tokens.
#[derive(Debug)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Reads the secret of this state directory; makes both if there is none yet.
    /// # Errors
    /// When it cannot be read or made, is damaged, or others on the machine may read it.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SecretError> {
        let path = state_dir.join("secret");
        let failed = |source: io::Error| SecretError::Io { path: path.clone(), source };
        match read(&path) {
            Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(state_dir, &path).map_err(failed)?;
                read(&path)
            }
            outcome => outcome,
        }
    }

    /// With these bytes.
    pub(super) fn of(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Signs a token.
    /// # Panics
    /// Never: text and numbers are always JSON.
    pub fn sign(&self, identity: &Identity, lifetime: Duration, now: SystemTime) -> Token {
        let issued = seconds(now);
        let claims = Claims {
            sub: identity.subject.clone(),
            stream: identity.stream.as_ref().map(ToString::to_string),
            right: identity.right,
            iat: issued,
            exp: issued.saturating_add(lifetime.as_secs()),
            id: ids::hex(&ids::random::<8>()),
        };
        let json = serde_json::to_vec(&claims).expect("strings and numbers are always JSON");
        let signed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        Token(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Whose token this is; `None` when we did not sign it, or it has expired. Nothing is parsed that we did not sign.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Option<Identity> {
        let (signed, tag) = token.rsplit_once('.')?;
        let payload = signed.strip_prefix(PREFIX)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, signed.as_bytes(), &tag).ok()?;

        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let stream = claims.stream.map(|name| name.parse::<StreamName>()).transpose().ok()?;
        let whole = stream.is_some() || claims.right == Right::Admin;
        (whole && seconds(now) < claims.exp).then_some(Identity { subject: claims.sub, stream, right: claims.right })
    }
}

/// What a token of ours calls itself; nothing is said of its being good.
pub(super) fn id(token: &str) -> Option<String> {
    let (payload, _) = token.strip_prefix(PREFIX)?.split_once('.')?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(claims.id)
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file system says no.
    #[error("{}: {source}; set state.dir to a directory that this user may write", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Somebody else can read it, so it is none.
    #[error("{0}: mode {1:o} lets others read the secret; run `chmod 600 {0}`")]
    Exposed(String, u32),
    /// Not what we wrote.
    #[error("{0}: {1} is not a secret (a file of 32 bytes); remove it to make a new one: all tokens end with it")]
    Damaged(String, String),
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Absent: all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    right: Right,
    /// Seconds since 1970, as is `exp`.
    iat: u64,
    exp: u64,
    /// Tells two tokens of one second apart.
    id: String,
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source: io::Error| SecretError::Io { path: path.to_owned(), source };
    let name = || path.display().to_string();

    let file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.len() != SECRET_BYTES as u64 {
        let found = if about.is_file() { format!("a file of {} bytes", about.len()) } else { "a directory".to_owned() };
        return Err(SecretError::Damaged(name(), found));
    }
    if about.mode() & 0o077 != 0 {
        return Err(SecretError::Exposed(name(), about.mode() & 0o777));
    }
    let mut bytes = [0; SECRET_BYTES];
    io::Read::read_exact(&mut &file, &mut bytes).map_err(failed)?;
    Ok(Secret::of(&bytes))
}

/// Writes a new secret beside its place and links it there: it is never seen half written, and when two processes start
/// at once the first one's stays.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let draft = dir.join(format!(".secret-{}", ids::hex(&ids::random::<8>())));
    let written = write(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    });
    // The draft may not exist if writing failed; either way there is nothing more to do about it.
    let _ = fs::remove_file(&draft);
    written
}

fn write(draft: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(&ids::random::<SECRET_BYTES>())?;
    file.sync_all()
}

const PREFIX: &str = "trb1.";
const SECRET_BYTES: usize = 32;
const LONGEST_TOKEN: usize = 4096;

#[cfg(test)]
mod tests;
