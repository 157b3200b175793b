//! STUN Binding messages (RFC 8489), written attribute by attribute so that a check can leave out or spoil any of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::hmac;

use crate::offer::random_text;

/// A request under construction.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A Binding request without attributes, with a fresh transaction id.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0, 1, 0, 0];
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(random_text(TRANSACTION).into_bytes());
        Self(bytes)
    }

    /// A message of that type under that transaction id.
    fn of(kind: u16, transaction: &[u8]) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(transaction);
        Self(bytes)
    }

    /// Adds an attribute, padded to four octets.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.count(0);
        self
    }

    /// Adds MESSAGE-INTEGRITY over what is there, keyed with the short-term `password`.
    pub(crate) fn signed(mut self, password: &str) -> Self {
        self.count(ATTRIBUTE_HEADER + INTEGRITY_LENGTH);
        let tag = sign(password, &self.0);
        self.with(MESSAGE_INTEGRITY, tag.as_ref())
    }

    /// Adds FINGERPRINT; gives the datagram.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.count(ATTRIBUTE_HEADER + FINGERPRINT_LENGTH);
        let value = checksum(&self.0);
        self.with(FINGERPRINT, &value.to_be_bytes()).0
    }

    /// Writes the length of all attributes and of `more` octets that follow.
    fn count(&mut self, more: usize) {
        let length = (self.0.len() + more).saturating_sub(HEADER) as u16;
        for (slot, octet) in self.0.iter_mut().skip(2).zip(length.to_be_bytes()) {
            *slot = octet;
        }
    }
}

/// Any message, taken apart so that it can be altered and put together again.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    kind: u16,
    transaction: Vec<u8>,
    /// Type and value, without MESSAGE-INTEGRITY and FINGERPRINT.
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    /// True when it carried MESSAGE-INTEGRITY.
    pub(crate) was_signed: bool,
}

impl Message {
    /// Reads a datagram; `None` when it is no STUN.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(datagram.get(..2)?.try_into().ok()?);
        if kind & 0xC000 != 0 || datagram.get(4..8)? != COOKIE.to_be_bytes() {
            return None;
        }
        let transaction = datagram.get(8..HEADER)?.to_vec();
        let attributes: Vec<_> = attributes(datagram)?.into_iter().map(|(kind, _, value)| (kind, value)).collect();
        let was_signed = attributes.iter().any(|(kind, _)| *kind == MESSAGE_INTEGRITY);
        let plain = attributes.into_iter().filter(|(kind, _)| !matches!(*kind, MESSAGE_INTEGRITY | FINGERPRINT));
        Some(Self { kind, transaction, attributes: plain.collect(), was_signed })
    }

    /// True for a Binding request.
    pub(crate) fn is_request(&self) -> bool {
        self.kind == BINDING
    }

    /// True for an error response.
    pub(crate) fn is_error(&self) -> bool {
        self.kind == ERROR
    }

    /// The value of an attribute.
    pub(crate) fn find(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(k, _)| *k == kind).map(|(_, value)| value.as_slice())
    }

    /// Takes an attribute out.
    pub(crate) fn without(&mut self, kind: u16) {
        self.attributes.retain(|(k, _)| *k != kind);
    }

    /// The ufrag of the one who is asked: what stands before the colon.
    pub(crate) fn server_ufrag(&self) -> Option<String> {
        let name = String::from_utf8(self.find(USERNAME)?.to_vec()).ok()?;
        name.split_once(':').map(|(ufrag, _)| ufrag.to_owned())
    }

    /// Writes another address into XOR-MAPPED-ADDRESS, if it is there.
    pub(crate) fn map(&mut self, address: SocketAddr) {
        let mask = [&COOKIE.to_be_bytes()[..], &self.transaction].concat();
        let hide = |octets: &[u8]| -> Vec<u8> { octets.iter().zip(&mask).map(|(a, b)| a ^ b).collect() };
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let value = [vec![0, family], hide(&address.port().to_be_bytes()), hide(&ip)].concat();
        for (_, old) in self.attributes.iter_mut().filter(|(kind, _)| *kind == XOR_MAPPED_ADDRESS) {
            old.clone_from(&value);
        }
    }

    /// The datagram, signed when there is a password.
    pub(crate) fn encode(&self, password: Option<&str>, fingerprint: bool) -> Vec<u8> {
        let blank = Request::of(self.kind, &self.transaction);
        let message = self.attributes.iter().fold(blank, |message, (kind, value)| message.with(*kind, value));
        let message = match password {
            Some(password) => message.signed(password),
            None => message,
        };
        if fingerprint { message.finish() } else { message.0 }
    }
}

/// All attributes of a message: type, place of the value, value. `None` when one is cut off.
fn attributes(datagram: &[u8]) -> Option<Vec<(u16, usize, Vec<u8>)>> {
    let mut attributes = Vec::new();
    let mut at = HEADER;
    while let Some(header) = datagram.get(at..at + ATTRIBUTE_HEADER) {
        let (kind, length) = header.split_at(2);
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let start = at + ATTRIBUTE_HEADER;
        let value = datagram.get(start..start + length)?.to_vec();
        attributes.push((u16::from_be_bytes(kind.try_into().ok()?), start, value));
        at = start + length.next_multiple_of(4);
    }
    Some(attributes)
}

/// A response that came in.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    bytes: Vec<u8>,
    /// Type, place of the value, value.
    attributes: Vec<(u16, usize, Vec<u8>)>,
}

impl Response {
    /// Reads a Binding response to `request`; `None` for anything else.
    pub(crate) fn to(request: &[u8], datagram: &[u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(datagram.get(..2)?.try_into().ok()?);
        let same = datagram.get(4..HEADER)? == request.get(4..HEADER)?;
        if !same || !matches!(kind, SUCCESS | ERROR) {
            return None;
        }
        let attributes = attributes(datagram)?;
        Some(Self { bytes: datagram.to_vec(), attributes })
    }

    /// True for a success response.
    pub(crate) fn is_success(&self) -> bool {
        self.bytes.starts_with(&SUCCESS.to_be_bytes())
    }

    /// `success` or `error 487` for reports.
    pub(crate) fn name(&self) -> String {
        if self.is_success() { "success".into() } else { format!("error {}", self.error().unwrap_or_default()) }
    }

    /// The code of ERROR-CODE.
    pub(crate) fn error(&self) -> Option<u16> {
        let (_, value) = self.find(ERROR_CODE)?;
        Some(u16::from(value.get(2)? & 7) * 100 + u16::from(*value.get(3)?))
    }

    /// The address in XOR-MAPPED-ADDRESS.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        let (_, value) = self.find(XOR_MAPPED_ADDRESS)?;
        let mask = self.bytes.get(4..HEADER)?;
        let clear = |octets: &[u8]| -> Vec<u8> { octets.iter().zip(mask).map(|(a, b)| a ^ b).collect() };
        let port = u16::from_be_bytes(clear(value.get(2..4)?).try_into().ok()?);
        let address = clear(value.get(4..)?);
        let ip: IpAddr = match value.get(1)? {
            1 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).into(),
            2 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
            _ => return None,
        };
        Some((ip, port).into())
    }

    /// True when MESSAGE-INTEGRITY is there and right.
    pub(crate) fn is_signed(&self, password: &str) -> bool {
        let Some((at, value)) = self.find(MESSAGE_INTEGRITY) else {
            return false;
        };
        let covered = self.up_to(at, INTEGRITY_LENGTH);
        covered.is_some_and(|covered| sign(password, &covered).as_ref() == value)
    }

    /// True when FINGERPRINT is there and right.
    pub(crate) fn has_fingerprint(&self) -> bool {
        let Some((at, value)) = self.find(FINGERPRINT) else {
            return false;
        };
        let covered = self.up_to(at, FINGERPRINT_LENGTH);
        covered.is_some_and(|covered| checksum(&covered).to_be_bytes() == value)
    }

    fn find(&self, kind: u16) -> Option<(usize, &[u8])> {
        self.attributes.iter().find(|(k, _, _)| *k == kind).map(|(_, at, value)| (*at, value.as_slice()))
    }

    /// What an attribute with its value at `at` covers: all before it, with a length that ends behind it.
    fn up_to(&self, at: usize, length: usize) -> Option<Vec<u8>> {
        let mut covered = Request(self.bytes.get(..at.checked_sub(ATTRIBUTE_HEADER)?)?.to_vec());
        covered.count(ATTRIBUTE_HEADER + length);
        Some(covered.0)
    }
}

fn sign(password: &str, bytes: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    hmac::sign(&key, bytes)
}

/// CRC-32 as in ITU V.42, masked (RFC 8489 §14.7).
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let octet = |crc: u32, octet: &u8| (0..8).fold(crc ^ u32::from(*octet), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, octet) ^ 0x5354_554E
}

/// Whose session it is: `server:client`.
pub(crate) const USERNAME: u16 = 0x0006;
/// Priority of the client's candidate.
pub(crate) const PRIORITY: u16 = 0x0024;
/// The client nominates this pair.
pub(crate) const USE_CANDIDATE: u16 = 0x0025;
/// The client says that the server controls.
pub(crate) const CONTROLLED: u16 = 0x8029;
/// The client says that it controls.
pub(crate) const CONTROLLING: u16 = 0x802A;

const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
/// The address that a check came from.
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const BINDING: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const COOKIE: u32 = 0x2112_A442;
/// Octets.
const HEADER: usize = 20;
const TRANSACTION: usize = 12;
const ATTRIBUTE_HEADER: usize = 4;
const INTEGRITY_LENGTH: usize = 20;
const FINGERPRINT_LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2, an IPv4 response: password `VOkJxbRl1RmTxUk/WvJxBt`, mapped address 192.0.2.1:32853.
    const RFC5769: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";

    #[test]
    fn the_response_of_rfc_5769_is_read_and_verified() {
        let response = Response::to(RFC5769, RFC5769).unwrap();

        assert!(response.is_success());
        assert_eq!(response.mapped(), Some("192.0.2.1:32853".parse().unwrap()));
        assert!(response.is_signed("VOkJxbRl1RmTxUk/WvJxBt"));
        assert!(!response.is_signed("another"));
        assert!(response.has_fingerprint());
    }

    #[test]
    fn what_is_written_verifies_as_it_is_read() {
        let request = Request::new().with(USERNAME, b"ab:c").signed("secret").finish();
        let mut answer = request.clone();
        answer.splice(..2, SUCCESS.to_be_bytes());

        // The type is covered too, so the copy must not verify as a response.
        let response = Response::to(&request, &answer).unwrap();

        assert!(!response.is_signed("secret") && !response.has_fingerprint());
        assert!(Response::to(&request, &request).is_none(), "a request is no response");
        assert!(Response::to(&Request::new().finish(), &answer).is_none(), "another transaction");
        let original = Response { attributes: response.attributes, bytes: request };
        assert!(original.is_signed("secret") && original.has_fingerprint());
    }

    #[test]
    fn what_is_taken_apart_is_put_together_the_same() {
        let request = Request::new().with(USERNAME, b"ab:cd").signed("secret").finish();
        let mut answer = Message::parse(RFC5769).unwrap();

        assert_eq!(Message::parse(&request).unwrap().encode(Some("secret"), true), request);
        assert_eq!(Message::parse(&request).unwrap().server_ufrag().as_deref(), Some("ab"));
        answer.map("192.0.2.9:7".parse().unwrap());
        let altered = answer.encode(Some("other"), true);
        let response = Response::to(RFC5769, &altered).unwrap();
        assert_eq!(response.mapped(), Some("192.0.2.9:7".parse().unwrap()));
        assert!(response.is_signed("other") && response.has_fingerprint());
    }

    #[test]
    fn cut_responses_are_no_panic() {
        for length in 0..RFC5769.len() {
            if let Some(response) = Response::to(RFC5769, &RFC5769[..length]) {
                let _any = (response.mapped(), response.error(), response.is_signed("x"), response.has_fingerprint());
            }
        }
    }
}
