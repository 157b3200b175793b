//! RTP headers and their extensions (RFC 3550 §5.1, RFC 8285).

/// What an RTP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit: for video the last packet of a picture.
    pub marker: bool,
    /// The payload ends in padding; see [`unpad`].
    pub padding: bool,
    /// 0–127.
    pub payload_type: u8,
    /// Wraps.
    pub sequence: u16,
    /// In units of the payload's clock; wraps.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
    /// Bytes before the payload: fixed part, CSRCs and extension block.
    pub len: usize,
    extension: Option<Block>,
}

/// Where the extension block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    profile: u16,
    /// Offset of its first element; it ends where the header ends.
    start: usize,
}

impl Header {
    /// Reads the header at the start of a datagram; `None` when it is truncated or not RTP version 2.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (fixed, _) = datagram.split_first_chunk::<FIXED>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let mut len = FIXED + 4 * usize::from(first & 0x0f);
        let mut extension = None;
        if first & 0x10 != 0 {
            let [p0, p1, w0, w1] = *datagram.get(len..)?.first_chunk()?;
            let start = len + 4;
            extension = Some(Block { profile: u16::from_be_bytes([p0, p1]), start });
            len = start + 4 * usize::from(u16::from_be_bytes([w0, w1]));
        }
        (len <= datagram.len()).then_some(Self {
            marker: second & 0x80 != 0,
            padding: first & 0x20 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            len,
            extension,
        })
    }

    /// The extension elements of the datagram that this header was read from, in the one-byte form (0xBEDE) or the
    /// two-byte form (0x100x). Ends at the first malformed element; other profiles have none.
    pub fn extensions<'a>(&self, datagram: &'a [u8]) -> Extensions<'a> {
        let block = self.extension.and_then(|block| {
            let form = Form::of(block.profile)?;
            Some((form, datagram.get(block.start..self.len)?))
        });
        let (form, rest) = block.unwrap_or((Form::OneByte, &[]));
        Extensions { form, rest }
    }
}

/// How the elements of an extension block are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// RFC 8285 §4.2
    OneByte,
    /// RFC 8285 §4.3
    TwoByte,
}

impl Form {
    /// The form that a "defined by profile" field announces.
    fn of(profile: u16) -> Option<Self> {
        match profile {
            ONE_BYTE => Some(Self::OneByte),
            // The low four bits are "appbits", free for any use.
            0x1000..=0x100f => Some(Self::TwoByte),
            _ => None,
        }
    }
}

/// Iterates over the elements of an extension block: id and data.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Takes id, length and data; `None` at the end and at anything malformed.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            let (id, len, data) = match self.form {
                // Id 15 ends the block; so does id 0 with a length (RFC 8285 §4.2).
                Form::OneByte if first >> 4 == 15 || (1..16).contains(&first) => return None,
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, after),
                Form::TwoByte if first == 0 => (0, 0, after),
                Form::TwoByte => {
                    let (&len, data) = after.split_first()?;
                    (first, len.into(), data)
                }
            };
            if id == 0 {
                self.rest = after;
                continue;
            }
            let (data, rest) = data.split_at_checked(len)?;
            self.rest = rest;
            return Some((id, data));
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.element();
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

/// The payload without RTP padding; empty when there is nothing but padding. `None` when the padding count is 0 or
/// larger than the payload.
pub fn unpad<'a>(header: &Header, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !header.padding {
        return Some(payload);
    }
    let count = usize::from(*payload.last()?);
    if count == 0 {
        return None;
    }
    payload.get(..payload.len().checked_sub(count)?)
}

/// Appends a header: the fixed part and, unless `block` is empty, a one-byte extension block with these bytes, which
/// [`pad_block`] has brought to a multiple of 4.
#[expect(clippy::too_many_arguments, reason = "they are the fields of the format")]
pub fn write_header(
    out: &mut Vec<u8>,
    marker: bool,
    padding: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    block: &[u8],
) {
    debug_assert!(block.len().is_multiple_of(4), "an extension block counts 32-bit words");
    let extension = !block.is_empty();
    out.push(0x80 | u8::from(padding) << 5 | u8::from(extension) << 4);
    out.push(u8::from(marker) << 7 | payload_type & 0x7f);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    if extension {
        out.extend_from_slice(&ONE_BYTE.to_be_bytes());
        out.extend_from_slice(&((block.len() / 4) as u16).to_be_bytes());
        out.extend_from_slice(block);
    }
}

/// Appends an element in the one-byte form to a block under construction; finish with [`pad_block`]. False, and
/// nothing written, unless the id is 1–14 and the data 1–16 bytes.
pub fn push_extension(block: &mut Vec<u8>, id: u8, data: &[u8]) -> bool {
    let fits = (1..=14).contains(&id) && (1..=16).contains(&data.len());
    if fits {
        block.push(id << 4 | (data.len() - 1) as u8);
        block.extend_from_slice(data);
    }
    fits
}

/// Pads a block of extension elements to a multiple of 32 bits.
pub fn pad_block(block: &mut Vec<u8>) {
    block.resize(block.len().next_multiple_of(4), 0);
}

/// Bytes of the fixed part.
const FIXED: usize = 12;
/// "Defined by profile" of the one-byte form.
const ONE_BYTE: u16 = 0xbede;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header with this extension block, and three bytes of payload.
    fn packet(profile: u16, block: &[u8]) -> Vec<u8> {
        let mut out = vec![0x91, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9];
        out.extend_from_slice(&profile.to_be_bytes());
        out.extend_from_slice(&((block.len() / 4) as u16).to_be_bytes());
        out.extend_from_slice(block);
        out.extend_from_slice(b"abc");
        out
    }

    fn elements(datagram: &[u8]) -> Vec<(u8, &[u8])> {
        let header = Header::parse(datagram).expect("it is well-formed");
        header.extensions(datagram).collect()
    }

    #[test]
    fn all_parts_of_a_header_are_read() {
        let datagram = packet(0xbede, &[0x10, 0x41, 0, 0]);

        let header = Header::parse(&datagram).expect("it is well-formed");

        assert!(header.marker && !header.padding);
        assert_eq!(header.payload_type, 96);
        assert_eq!(header.sequence, 0x1234);
        assert_eq!(header.timestamp, 0x0102_0304);
        assert_eq!(header.ssrc, 0x0506_0708);
        assert_eq!(&datagram[header.len..], b"abc");
        assert_eq!(elements(&datagram), [(1, &[0x41][..])]);
    }

    #[test]
    fn a_truncated_header_is_refused_at_every_length() {
        let datagram = packet(0xbede, &[0x10, 0x41, 0, 0]);
        let len = datagram.len() - 3;

        for cut in 0..len {
            assert_eq!(Header::parse(&datagram[..cut]), None, "{cut} bytes");
        }
        assert!(Header::parse(&datagram[..len]).is_some());
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [0, 1, 3] {
            let mut datagram = packet(0xbede, &[]);
            datagram[0] = datagram[0] & 0x3f | version << 6;

            assert_eq!(Header::parse(&datagram), None);
        }
    }

    #[test]
    fn one_byte_elements_are_read_between_padding() {
        // RFC 8285 §4.2: "L" is one less than the length.
        let block = [0x20, 7, 0, 0x31, 8, 9, 0, 0, 0xe2, 1, 2, 3];

        let expected: [(u8, &[u8]); 3] = [(2, &[7]), (3, &[8, 9]), (14, &[1, 2, 3])];
        assert_eq!(elements(&packet(0xbede, &block)), expected);
    }

    #[test]
    fn two_byte_elements_are_read_between_padding() {
        let block = [1, 0, 0, 200, 1, 7, 0, 2, 2, 8, 9, 0];

        let expected: [(u8, &[u8]); 3] = [(1, &[]), (200, &[7]), (2, &[8, 9])];
        assert_eq!(elements(&packet(0x1000, &block)), expected);
        assert_eq!(elements(&packet(0x100f, &block)), expected, "appbits mean nothing to us");
    }

    #[test]
    fn what_follows_a_malformed_element_is_skipped() {
        let good: [(u8, &[u8]); 1] = [(1, &[7])];

        assert_eq!(elements(&packet(0xbede, &[0x10, 7, 0xf0, 9, 0x20, 8, 0, 0])), good, "id 15");
        assert_eq!(elements(&packet(0xbede, &[0x10, 7, 0x01, 9, 0x20, 8, 0, 0])), good, "id 0 with a length");
        assert_eq!(elements(&packet(0xbede, &[0x10, 7, 0x2f, 9])), good, "longer than the block");
        assert_eq!(elements(&packet(0x1000, &[1, 1, 7, 2])), good, "no length");
        assert_eq!(elements(&packet(0x1000, &[1, 1, 7, 0, 2, 9, 1, 1])), good, "longer than the block");
        assert_eq!(elements(&packet(0xabcd, &[0x10, 7, 0, 0])), [], "another profile");
    }

    #[test]
    fn extensions_of_a_shorter_datagram_are_none() {
        let datagram = packet(0xbede, &[0x10, 0x41, 0, 0]);
        let header = Header::parse(&datagram).expect("it is well-formed");

        assert_eq!(header.extensions(&datagram[..17]).count(), 0);
    }

    #[test]
    fn padding_is_cut_and_wrong_counts_are_refused() {
        let mut datagram = packet(0xbede, &[]);
        let plain = Header::parse(&datagram).expect("it is well-formed");
        datagram[0] |= 0x20;
        let padded = Header::parse(&datagram).expect("it is well-formed");

        assert_eq!(unpad(&plain, &[1, 2, 9]), Some(&[1, 2, 9][..]));
        assert_eq!(unpad(&plain, &[]), Some(&[][..]));
        assert_eq!(unpad(&padded, &[1, 2, 0, 2]), Some(&[1, 2][..]));
        assert_eq!(unpad(&padded, &[0, 0, 3]), Some(&[][..]));
        assert_eq!(unpad(&padded, &[1, 2, 0]), None);
        assert_eq!(unpad(&padded, &[1, 2, 4]), None);
        assert_eq!(unpad(&padded, &[]), None);
    }

    #[test]
    fn only_what_fits_the_one_byte_form_is_pushed() {
        let mut block = Vec::new();

        assert!(!push_extension(&mut block, 0, &[1]));
        assert!(!push_extension(&mut block, 15, &[1]));
        assert!(!push_extension(&mut block, 1, &[]));
        assert!(!push_extension(&mut block, 1, &[0; 17]));
        assert!(block.is_empty());
        assert!(push_extension(&mut block, 14, &[5; 16]));
        pad_block(&mut block);
        assert_eq!(block.len(), 20);
        assert_eq!(elements(&packet(0xbede, &block)), [(14, &[5; 16][..])]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            marker: bool, padding: bool, payload_type in 0..128_u8, sequence: u16, timestamp: u32, ssrc: u32,
            pushed in prop::collection::vec((1..15_u8, prop::collection::vec(any::<u8>(), 1..17)), 0..8),
            before in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut block = Vec::new();
            for (id, data) in &pushed {
                prop_assert!(push_extension(&mut block, *id, data));
            }
            pad_block(&mut block);
            let mut out = before.clone();
            write_header(&mut out, marker, padding, payload_type, sequence, timestamp, ssrc, &block);
            let datagram = &out[before.len()..];

            let header = Header::parse(datagram).expect("it is well-formed");

            prop_assert_eq!((header.marker, header.padding, header.payload_type), (marker, padding, payload_type));
            prop_assert_eq!((header.sequence, header.timestamp, header.ssrc), (sequence, timestamp, ssrc));
            prop_assert_eq!(header.len, datagram.len());
            let read: Vec<_> = header.extensions(datagram).map(|(id, data)| (id, data.to_vec())).collect();
            prop_assert_eq!(read, pushed);
        }

        #[test]
        fn nothing_makes_the_reader_panic(
            first: u8, two_bytes: bool, bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut datagram = vec![first | 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            datagram.resize(12 + 4 * usize::from(first & 15), 0);
            datagram.extend_from_slice(if two_bytes { &[0x10, 0, 0] } else { &[0xbe, 0xde, 0] });
            datagram.extend_from_slice(&bytes);
            for datagram in [&datagram[..], &bytes] {
                if let Some(header) = Header::parse(datagram) {
                    prop_assert!(header.len <= datagram.len());
                    prop_assert!(header.extensions(datagram).count() <= datagram.len());
                    let _ = unpad(&header, &datagram[header.len..]);
                }
            }
        }
    }
}
