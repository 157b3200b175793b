//! The ICE and DTLS lines of an offer.

use super::grammar::{Attribute, excerpt};
use super::{DtlsRole, Fingerprint, Hash, IceCredentials, Refusal};

/// ICE and DTLS attributes of one level: the session, or a section. In an offer with one transport any
/// level may have them.
#[derive(Clone, Debug, Default)]
pub(super) struct Transport<'a> {
    /// `a=ice-ufrag`
    ufrag: Option<&'a str>,
    /// `a=ice-pwd`
    pwd: Option<&'a str>,
    /// Usable `a=fingerprint` lines.
    fingerprints: Vec<Fingerprint>,
    /// The last hash function that we do not know.
    unknown_hash: Option<String>,
    /// Our part according to `a=setup`.
    role: Option<DtlsRole>,
}

impl<'a> Transport<'a> {
    /// Takes in one attribute, if it is one of these.
    pub(super) fn apply(&mut self, attribute: &Attribute<'a>) -> Result<(), Refusal> {
        let value = attribute.value;
        match attribute.key {
            "ice-ufrag" => {
                self.ufrag = Some(ice_chars(value, 4).ok_or_else(|| attribute.malformed("4–256 ice-chars"))?);
            }
            "ice-pwd" => {
                self.pwd = Some(ice_chars(value, 22).ok_or_else(|| attribute.malformed("22–256 ice-chars"))?);
            }
            "ice-lite" => {
                return Err(
                    attribute.malformed("a full ICE agent: this server is ice-lite, so nobody would send checks")
                );
            }
            "fingerprint" => self.fingerprint(attribute)?,
            "setup" => self.role = Some(role(attribute)?),
            _ => {}
        }
        Ok(())
    }

    /// `a=fingerprint:<hash> <hex>` (RFC 8122 §5). Hashes that we do not know, or that are broken, are left out.
    fn fingerprint(&mut self, attribute: &Attribute<'_>) -> Result<(), Refusal> {
        let (name, hex) = super::section::split_word(attribute.value);
        let known = HASHES.iter().find(|(known, ..)| name.eq_ignore_ascii_case(known));
        let Some((_, hash, length)) = known.copied() else {
            self.unknown_hash = Some(excerpt(name));
            return Ok(());
        };
        let value: Option<Vec<u8>> = hex.split(':').map(hex_byte).collect();
        let Some(value) = value.filter(|value| value.len() == length) else {
            return Err(attribute.malformed(&format!("{length} bytes as `AB:CD:…`")));
        };
        if self.fingerprints.len() < MAX_FINGERPRINTS {
            self.fingerprints.push(Fingerprint { hash, value });
        }
        Ok(())
    }

    /// Whether there are any ICE lines.
    pub(super) fn has_ice(&self) -> bool {
        self.ufrag.is_some() && self.pwd.is_some()
    }

    /// What holds in a section: its own lines, and those of the session where it has none.
    pub(super) fn or(&self, session: &Self) -> Self {
        let fingerprints = if self.fingerprints.is_empty() { &session.fingerprints } else { &self.fingerprints };
        Self {
            ufrag: self.ufrag.or(session.ufrag),
            pwd: self.pwd.or(session.pwd),
            fingerprints: fingerprints.clone(),
            unknown_hash: self.unknown_hash.clone().or_else(|| session.unknown_hash.clone()),
            role: self.role.or(session.role),
        }
    }
}

/// The client's end of the one transport.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// Its credentials.
    pub(super) ice: IceCredentials,
    /// Its certificate matches one of these; never empty.
    pub(super) fingerprints: Vec<Fingerprint>,
    /// Our part.
    pub(super) dtls: DtlsRole,
}

impl Remote {
    /// Finds each piece in the first place that has it; `places` in the order of preference.
    pub(super) fn find(places: &[Transport<'_>]) -> Result<Self, Refusal> {
        let ice = places
            .iter()
            .find_map(|place| Some(IceCredentials { ufrag: place.ufrag?.to_owned(), pwd: place.pwd?.to_owned() }));
        let Some(ice) = ice else {
            return Err(Refusal::Malformed("no ICE credentials: wanted a=ice-ufrag and a=ice-pwd".into()));
        };
        let fingerprints = places.iter().map(|place| &place.fingerprints).find(|found| !found.is_empty());
        let Some(fingerprints) = fingerprints else {
            return Err(match places.iter().find_map(|place| place.unknown_hash.as_ref()) {
                Some(hash) => Refusal::Unsupported(format!(
                    "certificate fingerprint: found only `{hash}`, wanted sha-256, sha-384 or sha-512"
                )),
                None => Refusal::Malformed("no certificate fingerprint: wanted a=fingerprint:sha-256 …".into()),
            });
        };
        // Without a=setup we may choose. As server the choice of SRTP profile is ours.
        let dtls = places.iter().find_map(|place| place.role).unwrap_or(DtlsRole::Server);
        Ok(Self { ice, fingerprints: fingerprints.clone(), dtls })
    }
}

/// Our part for the client's `a=setup` (RFC 8842 §5).
fn role(attribute: &Attribute<'_>) -> Result<DtlsRole, Refusal> {
    match attribute.value {
        "actpass" | "active" => Ok(DtlsRole::Server),
        "passive" => Ok(DtlsRole::Client),
        _ => Err(attribute.malformed("actpass, active or passive")),
    }
}

/// `min`–256 characters out of letters, digits, `+` and `/` (RFC 8839 §5.4).
pub(super) fn ice_chars(value: &str, min: usize) -> Option<&str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    ((min..=256).contains(&value.len()) && value.bytes().all(good)).then_some(value)
}

/// Two hex digits.
fn hex_byte(digits: &str) -> Option<u8> {
    let two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| two)
}

/// Hash functions that we know, and the bytes of their values.
const HASHES: [(&str, Hash, usize); 3] =
    [("sha-256", Hash::Sha256, 32), ("sha-384", Hash::Sha384, 48), ("sha-512", Hash::Sha512, 64)];
/// Fingerprints of one level; aiortc sends three.
const MAX_FINGERPRINTS: usize = 16;
