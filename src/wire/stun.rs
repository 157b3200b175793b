//! STUN binding requests and responses, as an ICE-lite server needs them (RFC 8489, RFC 8445).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// The HMAC-SHA1 key of one password (short-term credentials, RFC 8489 §9.1.1). Made once, used for every message.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// The key of this ICE password.
    pub fn new(password: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()))
    }

    /// MESSAGE-INTEGRITY over a header and the attributes before it.
    fn sign(&self, header: &[u8], attributes: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(header);
        context.update(attributes);
        context.sign()
    }
}

impl fmt::Debug for Key {
    /// Says nothing: credentials never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// A request went well.
    Success,
    /// A request was refused.
    Error,
}

/// A Binding message. Its attributes are claims until [`verify`](Message::verify) says yes.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Request, response or indication.
    pub class: Class,
    /// Pairs a response with its request.
    pub transaction: [u8; 12],
    /// USERNAME
    pub username: Option<&'a str>,
    /// USE-CANDIDATE is there: the sender nominates this pair.
    pub use_candidate: bool,
    /// ICE-CONTROLLING: the sender's tie-breaker.
    pub controlling: Option<u64>,
    /// ICE-CONTROLLED: the sender's tie-breaker.
    pub controlled: Option<u64>,
    /// PRIORITY
    pub priority: Option<u32>,
    /// XOR-MAPPED-ADDRESS
    pub mapped: Option<SocketAddr>,
    /// The code of ERROR-CODE, 300–699.
    pub error: Option<u16>,
    /// The first attribute that must be understood and is not: a request with one is to be refused by
    /// [`write_unknown_attribute`], once verified (RFC 8489 §6.3.1).
    pub unknown: Option<u16>,
    integrity: Option<Integrity<'a>>,
}

/// What MESSAGE-INTEGRITY claims, and what it covers.
#[derive(Clone, Copy, Debug)]
struct Integrity<'a> {
    /// The header, its length field set to end after MESSAGE-INTEGRITY.
    header: [u8; HEADER],
    attributes: &'a [u8],
    hmac: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` unless it is exactly one well-formed Binding message of at most 32 attributes whose
    /// FINGERPRINT, if any, is right. What follows MESSAGE-INTEGRITY is not read; of duplicates the first counts.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, body) = datagram.split_first_chunk::<HEADER>()?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
        let fits = usize::from(u16::from_be_bytes([l0, l1])) == body.len() && body.len().is_multiple_of(4);
        if !fits || [c0, c1, c2, c3] != COOKIE {
            return None;
        }
        let mut message = Self {
            class: class(u16::from_be_bytes([t0, t1]))?,
            transaction,
            username: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            priority: None,
            mapped: None,
            error: None,
            unknown: None,
            integrity: None,
        };
        let mut sealed = false;
        let mut rest = body;
        for _ in 0..MAX_ATTRIBUTES {
            let Some((&[k0, k1, l0, l1], after)) = rest.split_first_chunk() else {
                break;
            };
            let kind = u16::from_be_bytes([k0, k1]);
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let value = after.get(..len)?;
            let before = datagram.len() - rest.len();
            rest = after.get(len.next_multiple_of(4)..)?;
            match kind {
                FINGERPRINT => {
                    let right = value == fingerprint(datagram.get(..before)?).to_be_bytes();
                    return (right && rest.is_empty()).then_some(message);
                }
                _ if sealed => {}
                MESSAGE_INTEGRITY => {
                    sealed = true;
                    message.integrity = Some(Integrity::new(*header, body.get(..before - HEADER)?, value)?);
                }
                MESSAGE_INTEGRITY_SHA256 => sealed = true,
                _ => message.attribute(kind, value)?,
            }
        }
        rest.is_empty().then_some(message)
    }

    /// Takes one attribute; `None` when it is malformed.
    fn attribute(&mut self, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            USERNAME => first(&mut self.username, username(value)?),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => first(&mut self.controlling, u64::from_be_bytes(value.try_into().ok()?)),
            ICE_CONTROLLED => first(&mut self.controlled, u64::from_be_bytes(value.try_into().ok()?)),
            PRIORITY => first(&mut self.priority, u32::from_be_bytes(value.try_into().ok()?)),
            XOR_MAPPED_ADDRESS => first(&mut self.mapped, unmask(value, &self.transaction)?),
            ERROR_CODE => first(&mut self.error, error_code(value)?),
            // Attributes from 0x8000 on may be ignored by those who do not know them.
            0..=0x7fff if !UNUSED.contains(&kind) => first(&mut self.unknown, kind),
            _ => {}
        }
        Some(())
    }

    /// Was this message written by somebody who knows the password? False without MESSAGE-INTEGRITY.
    pub fn verify(&self, key: &Key) -> bool {
        self.integrity.is_some_and(|integrity| {
            let tag = key.sign(&integrity.header, integrity.attributes);
            verify_slices_are_equal(tag.as_ref(), integrity.hmac).is_ok()
        })
    }

    /// The two halves of USERNAME: the receiver's fragment, then the sender's.
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        self.username?.split_once(':')
    }
}

impl<'a> Integrity<'a> {
    /// `None` when the HMAC has the wrong size.
    fn new(mut header: [u8; HEADER], attributes: &'a [u8], hmac: &'a [u8]) -> Option<Self> {
        let [_, _, length @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = &mut header;
        *length = ((attributes.len() + ATTRIBUTE + HMAC) as u16).to_be_bytes();
        (hmac.len() == HMAC).then_some(Self { header, attributes, hmac })
    }
}

/// Keeps the first of duplicate attributes (RFC 8489 §14).
fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// The class in the type of a Binding message; `None` for other methods.
fn class(kind: u16) -> Option<Class> {
    match kind {
        BINDING_REQUEST => Some(Class::Request),
        BINDING_INDICATION => Some(Class::Indication),
        BINDING_SUCCESS => Some(Class::Success),
        BINDING_ERROR => Some(Class::Error),
        _ => None,
    }
}

/// Reads a USERNAME.
fn username(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().filter(|name| name.len() <= MAX_USERNAME)
}

/// Reads an ERROR-CODE (RFC 8489 §14.8).
fn error_code(value: &[u8]) -> Option<u16> {
    let [_, _, hundreds, rest, ..] = *value else {
        return None;
    };
    let (hundreds, rest) = (u16::from(hundreds & 7), u16::from(rest));
    ((3..=6).contains(&hundreds) && rest < 100).then_some(hundreds * 100 + rest)
}

/// Reads an XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn unmask(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC >> 16) as u16;
    let ip: IpAddr = match family {
        FAMILY_V4 => Ipv4Addr::from(u32::from_be_bytes(address.try_into().ok()?) ^ MAGIC).into(),
        FAMILY_V6 => Ipv6Addr::from(u128::from_be_bytes(address.try_into().ok()?) ^ mask(transaction)).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What an IPv6 address is masked with: magic cookie and transaction.
fn mask(transaction: &[u8; 12]) -> u128 {
    let tail = transaction.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte));
    u128::from(MAGIC) << 96 | tail
}

/// The value of FINGERPRINT over what is before it, whose header must count it already (RFC 8489 §14.7).
fn fingerprint(before: &[u8]) -> u32 {
    crc32fast::hash(before) ^ 0x5354_554e
}

/// Appends a success response that tells the sender its address, with MESSAGE-INTEGRITY and FINGERPRINT. IPv4-mapped
/// IPv6 addresses, which dual-stack sockets report, are written as IPv4.
pub fn write_success(out: &mut Vec<u8>, transaction: &[u8; 12], mapped: SocketAddr, key: &Key) {
    let mut writer = Writer::new(out, BINDING_SUCCESS, transaction);
    let [p0, p1] = (mapped.port() ^ (MAGIC >> 16) as u16).to_be_bytes();
    match mapped.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = (u32::from(ip) ^ MAGIC).to_be_bytes();
            writer.attribute(XOR_MAPPED_ADDRESS, &[0, FAMILY_V4, p0, p1, a, b, c, d]);
        }
        IpAddr::V6(ip) => {
            let mut value = [0; 20];
            let (head, address) = value.split_at_mut(4);
            head.copy_from_slice(&[0, FAMILY_V6, p0, p1]);
            address.copy_from_slice(&(u128::from(ip) ^ mask(transaction)).to_be_bytes());
            writer.attribute(XOR_MAPPED_ADDRESS, &value);
        }
    }
    writer.finish(key);
}

/// Appends an error response (RFC 8489 §14.8), with MESSAGE-INTEGRITY and FINGERPRINT. `code` is 300–699; of
/// `reason` at most 127 bytes are written.
pub fn write_error(out: &mut Vec<u8>, transaction: &[u8; 12], code: u16, reason: &str, key: &Key) {
    let mut writer = Writer::new(out, BINDING_ERROR, transaction);
    writer.error(code, reason);
    writer.finish(key);
}

/// Appends error response 420, which names an attribute of the request that must be understood and is not.
pub fn write_unknown_attribute(out: &mut Vec<u8>, transaction: &[u8; 12], kind: u16, key: &Key) {
    let mut writer = Writer::new(out, BINDING_ERROR, transaction);
    writer.error(420, "Unknown Attribute");
    writer.attribute(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
    writer.finish(key);
}

/// A connectivity check of a controlling agent (RFC 8445 §7.2.4).
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Random; comes back in the response.
    pub transaction: [u8; 12],
    /// The receiver's fragment, a colon, the sender's fragment.
    pub username: &'a str,
    /// PRIORITY that a peer-reflexive candidate would have.
    pub priority: u32,
    /// Our tie-breaker.
    pub controlling: u64,
    /// Nominate this pair.
    pub use_candidate: bool,
}

/// Appends a Binding request, with MESSAGE-INTEGRITY by the receiver's password and FINGERPRINT.
pub fn write_check(out: &mut Vec<u8>, check: &Check<'_>, key: &Key) {
    let mut writer = Writer::new(out, BINDING_REQUEST, &check.transaction);
    writer.attribute(USERNAME, check.username.as_bytes());
    writer.attribute(PRIORITY, &check.priority.to_be_bytes());
    writer.attribute(ICE_CONTROLLING, &check.controlling.to_be_bytes());
    if check.use_candidate {
        writer.attribute(USE_CANDIDATE, &[]);
    }
    writer.finish(key);
}

/// A message under construction.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
}

impl<'a> Writer<'a> {
    /// Appends a header without length.
    fn new(out: &'a mut Vec<u8>, kind: u16, transaction: &[u8; 12]) -> Self {
        let start = out.len();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(transaction);
        Self { out, start }
    }

    /// Appends an attribute and pads it to whole words.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.out.extend_from_slice(value);
        self.out.resize(self.start + (self.out.len() - self.start).next_multiple_of(4), 0);
    }

    /// Appends ERROR-CODE.
    fn error(&mut self, code: u16, reason: &str) {
        let reason = &reason[..reason.floor_char_boundary(127)];
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        self.attribute(ERROR_CODE, &value);
    }

    /// Sets the length field as if `more` bytes followed, and returns the message so far.
    fn count(&mut self, more: usize) -> &[u8] {
        let message = &mut self.out[self.start..];
        let length = ((message.len() + more - HEADER) as u16).to_be_bytes();
        message[2..4].copy_from_slice(&length);
        message
    }

    /// Adds MESSAGE-INTEGRITY and FINGERPRINT, each over a header that counts itself.
    fn finish(mut self, key: &Key) {
        let tag = key.sign(self.count(ATTRIBUTE + HMAC), &[]);
        self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
        let crc = fingerprint(self.count(ATTRIBUTE + 4));
        self.attribute(FINGERPRINT, &crc.to_be_bytes());
    }
}

/// Bytes of a message header.
const HEADER: usize = 20;
/// Bytes of an attribute's type and length.
const ATTRIBUTE: usize = 4;
/// Bytes of an HMAC-SHA1.
const HMAC: usize = 20;
/// RFC 8489 §5
const MAGIC: u32 = 0x2112_a442;
const COOKIE: [u8; 4] = MAGIC.to_be_bytes();
/// Ours and a browser's messages have 5 to 10.
const MAX_ATTRIBUTES: usize = 32;
/// RFC 8489 §14.3
const MAX_USERNAME: usize = 513;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
/// Understood, but of no use to us: MAPPED-ADDRESS, UNKNOWN-ATTRIBUTES, REALM, NONCE, PASSWORD-ALGORITHM, USERHASH.
const UNUSED: [u16; 6] = [0x0001, UNKNOWN_ATTRIBUTES, 0x0014, 0x0015, 0x001d, 0x001e];

#[cfg(test)]
mod tests;
