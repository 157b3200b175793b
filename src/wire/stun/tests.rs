//! Vectors of RFC 5769, round trips, and what an attacker may try.

use std::net::ToSocketAddrs;

use proptest::prelude::*;

use super::*;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

const TRANSACTION: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

/// RFC 5769 §2.1
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\
    \x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
    \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// RFC 5769 §2.2
const RESPONSE_V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\
    \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769 §2.3
const RESPONSE_V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\
    \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
    \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
    \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

fn address(text: &str) -> SocketAddr {
    let mut addresses = text.to_socket_addrs().expect("it is an address");
    addresses.next().expect("it is one address")
}

fn check() -> Check<'static> {
    Check {
        transaction: TRANSACTION,
        username: "local:remote",
        priority: 0x6e00_01ff,
        controlling: 0x0102_0304_0506_0708,
        use_candidate: true,
    }
}

/// A request of these attributes, without integrity.
fn plain(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, BINDING_REQUEST, &TRANSACTION);
    for (kind, value) in attributes {
        writer.attribute(*kind, value);
    }
    writer.count(0);
    out
}

#[test]
fn the_sample_request_is_read_and_verified() {
    let message = Message::parse(REQUEST).expect("it is well-formed");

    assert_eq!(message.class, Class::Request);
    assert_eq!(message.transaction, TRANSACTION);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.ufrags(), Some(("evtj", "h6vY")));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.controlled, Some(0x932f_f9b1_5126_3b36));
    assert_eq!((message.controlling, message.use_candidate, message.unknown), (None, false, None));
    assert!(message.verify(&Key::new(PASSWORD)));
    assert!(!message.verify(&Key::new("VOkJxbRl1RmTxUk/WvJxBT")));
}

#[test]
fn the_sample_responses_are_read_and_verified() {
    let cases = [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")];

    for (datagram, mapped) in cases {
        let message = Message::parse(datagram).expect("it is well-formed");

        assert_eq!(message.class, Class::Success);
        assert_eq!(message.mapped, Some(address(mapped)));
        assert!(message.verify(&Key::new(PASSWORD)));
    }
}

#[test]
fn every_flipped_bit_of_a_message_is_noticed() {
    let key = Key::new(PASSWORD);

    // Without its type the fingerprint is an attribute behind the integrity like any other: ignored.
    let kind = (REQUEST.len() - 8) * 8..(REQUEST.len() - 6) * 8;
    for bit in (0..REQUEST.len() * 8).filter(|bit| !kind.contains(bit)) {
        let mut datagram = REQUEST.to_vec();
        datagram[bit / 8] ^= 1 << (bit % 8);

        let accepted = Message::parse(&datagram).is_some_and(|message| message.verify(&key));

        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn a_message_of_any_other_length_is_refused() {
    for cut in 0..REQUEST.len() {
        assert!(Message::parse(&REQUEST[..cut]).is_none(), "{cut} bytes");
    }
    assert!(Message::parse(&[REQUEST, &[0; 4]].concat()).is_none());
}

#[test]
fn a_check_is_read_as_written() {
    let key = Key::new(PASSWORD);
    let mut out = b"before".to_vec();

    write_check(&mut out, &check(), &key);

    let message = Message::parse(&out[6..]).expect("it is well-formed");
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.ufrags(), Some(("local", "remote")));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.controlling, Some(0x0102_0304_0506_0708));
    assert!(message.use_candidate);
    assert!(message.verify(&key));
}

#[test]
fn a_success_tells_the_address() {
    let key = Key::new(PASSWORD);
    let cases = [
        ("192.0.2.1:32853", "192.0.2.1:32853"),
        ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ("[::ffff:192.0.2.7]:65535", "192.0.2.7:65535"),
    ];

    for (mapped, told) in cases {
        let mut out = vec![0; 3];
        write_success(&mut out, &TRANSACTION, address(mapped), &key);

        let message = Message::parse(&out[3..]).expect("it is well-formed");
        assert_eq!((message.class, message.transaction), (Class::Success, TRANSACTION));
        assert_eq!(message.mapped, Some(address(told)));
        assert!(message.verify(&key));
    }
}

#[test]
fn an_error_tells_its_code() {
    let key = Key::new(PASSWORD);
    let long = "é".repeat(100);

    for (code, reason) in [(487, "Role Conflict"), (400, ""), (401, &long)] {
        let mut out = Vec::new();
        write_error(&mut out, &TRANSACTION, code, reason, &key);

        let message = Message::parse(&out).expect("it is well-formed");
        assert_eq!((message.class, message.error), (Class::Error, Some(code)));
        assert!(message.verify(&key));
    }
}

#[test]
fn an_attribute_that_must_be_understood_is_named() {
    let key = Key::new(PASSWORD);
    let datagram = plain(&[(0xc057, &[0; 4]), (0x0003, &[0; 4]), (0x7fff, &[])]);
    let unknown = Message::parse(&datagram).and_then(|message| message.unknown);

    let mut out = Vec::new();
    write_unknown_attribute(&mut out, &TRANSACTION, 0x0003, &key);

    assert_eq!(unknown, Some(0x0003));
    let message = Message::parse(&out).expect("it is well-formed");
    assert_eq!(message.error, Some(420));
    assert!(out.windows(6).any(|bytes| bytes == [0, 0x0a, 0, 2, 0, 3]));
    assert!(message.verify(&key));
}

#[test]
fn attributes_behind_the_integrity_are_ignored() {
    let key = Key::new(PASSWORD);
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, BINDING_REQUEST, &TRANSACTION);
    writer.attribute(USERNAME, b"a:b");
    let tag = key.sign(writer.count(ATTRIBUTE + HMAC), &[]);
    writer.attribute(MESSAGE_INTEGRITY, tag.as_ref());
    writer.attribute(USE_CANDIDATE, &[]);
    writer.attribute(PRIORITY, &[0, 0, 0, 1]);
    writer.attribute(MESSAGE_INTEGRITY_SHA256, &[0; 32]);
    let crc = fingerprint(writer.count(ATTRIBUTE + 4));
    writer.attribute(FINGERPRINT, &crc.to_be_bytes());

    let message = Message::parse(&out).expect("it is well-formed");

    assert!(message.verify(&key));
    assert_eq!(message.username, Some("a:b"));
    assert_eq!((message.use_candidate, message.priority), (false, None));
}

#[test]
fn of_duplicate_attributes_the_first_counts() {
    let datagram = plain(&[(PRIORITY, &[0, 0, 0, 1]), (PRIORITY, &[0, 0, 0, 2]), (USERNAME, b"a"), (USERNAME, b"b:c")]);

    let message = Message::parse(&datagram).expect("it is well-formed");

    assert_eq!((message.priority, message.username, message.ufrags()), (Some(1), Some("a"), None));
}

#[test]
fn a_message_without_integrity_is_never_verified() {
    let datagram = plain(&[(USERNAME, b"a:b")]);

    let message = Message::parse(&datagram).expect("it is well-formed");

    assert!(!message.verify(&Key::new(PASSWORD)));
}

#[test]
fn malformed_messages_are_refused() {
    let too_many = vec![(0xc000, &[][..]); 33];
    let cases: [(&str, Vec<u8>); 9] = [
        ("short priority", plain(&[(PRIORITY, &[0; 3])])),
        ("short tie-breaker", plain(&[(ICE_CONTROLLING, &[0; 4])])),
        ("long user name", plain(&[(USERNAME, &[b'a'; 514])])),
        ("user name not UTF-8", plain(&[(USERNAME, &[0xff])])),
        ("short integrity", plain(&[(MESSAGE_INTEGRITY, &[0; 16])])),
        ("address of no family", plain(&[(XOR_MAPPED_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0])])),
        ("wrong fingerprint", plain(&[(FINGERPRINT, &[0; 4])])),
        ("33 attributes", plain(&too_many)),
        ("another method", [&[0, 3], &plain(&[])[2..]].concat()),
    ];

    for (what, datagram) in &cases {
        assert!(Message::parse(datagram).is_none(), "{what}");
    }
    assert!(Message::parse(&plain(&too_many[..32])).is_some());
    let indication = [&[0, 0x11], &plain(&[])[2..]].concat();
    assert!(Message::parse(&indication).is_some_and(|message| message.class == Class::Indication));
}

#[test]
fn a_fingerprint_comes_last() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, BINDING_REQUEST, &TRANSACTION);
    let crc = fingerprint(writer.count(2 * ATTRIBUTE + 4));
    writer.attribute(FINGERPRINT, &crc.to_be_bytes());
    writer.attribute(USE_CANDIDATE, &[]);

    assert!(Message::parse(&out).is_none());
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(
        kinds in prop::collection::vec((0..0x30_u16, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
        high: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let high = if high { 0x8000 } else { 0 };
        let attributes: Vec<_> = kinds.iter().map(|(kind, value)| (kind | high, &value[..])).collect();
        let mut broken = plain(&[]);
        broken.extend_from_slice(&bytes);
        broken[3] = bytes.len() as u8;
        for datagram in [plain(&attributes), broken, bytes] {
            if let Some(message) = Message::parse(&datagram) {
                prop_assert!(!message.verify(&Key::new(PASSWORD)));
                let _ = message.ufrags();
            }
        }
    }

    #[test]
    fn any_check_is_read_as_written(username in "[a-zA-Z0-9+/]{4,256}:[a-zA-Z0-9+/]{4,256}", priority: u32,
                                    controlling: u64, use_candidate: bool, transaction: [u8; 12]) {
        let key = Key::new(PASSWORD);
        let mut out = Vec::new();
        write_check(&mut out, &Check { transaction, username: &username, priority, controlling, use_candidate }, &key);

        let message = Message::parse(&out).expect("it is well-formed");

        prop_assert!(message.verify(&key));
        prop_assert_eq!(message.username, Some(&username[..]));
        prop_assert_eq!((message.priority, message.controlling), (Some(priority), Some(controlling)));
        prop_assert_eq!((message.use_candidate, message.transaction), (use_candidate, transaction));
    }
}
