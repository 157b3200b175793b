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
            extension = Some(Block {
                profile: u16::from_be_bytes([p0, p1]),
                start,
            });
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
#[expect(
    clippy::too_many_arguments,
    reason = "they are the fields of the format"
)]
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
    debug_assert!(
        block.len().is_multiple_of(4),
        "an extension block counts 32-bit words"
    );
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
