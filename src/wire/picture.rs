//! How large is the picture that a key frame begins?

use super::sdp::Codec;

/// Width and height of each spatial layer, as far as known.
pub type Sizes = [Option<(u16, u16)>; LAYERS];

/// Spatial layers that are told apart.
pub const LAYERS: usize = 4;

/// Reads the sizes that the first packet of a key frame tells; those that it does not tell stay as they are.
pub fn sizes(codec: Codec, payload: &[u8], out: &mut Sizes) {
    let one = match codec {
        Codec::Vp8 => vp8(payload),
        Codec::H264 => h264(payload),
        Codec::Vp9 => return vp9(payload, out).unwrap_or_default(),
        Codec::H265 | Codec::Av1 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => None,
    };
    if one.is_some() {
        out[0] = one;
    }
}

/// RFC 6386 §9.1: behind the payload descriptor three bytes of frame tag, a start code, then 14 bits each and two of
/// scale.
fn vp8(payload: &[u8]) -> Option<(u16, u16)> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let flags = take(&mut rest)?;
        if flags & 0x80 != 0 && take(&mut rest)? & 0x80 != 0 {
            take(&mut rest)?;
        }
        for bits in [0x40, 0x30] {
            if flags & bits != 0 {
                take(&mut rest)?;
            }
        }
    }
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *rest.first_chunk::<10>()? else {
        return None;
    };
    Some((u16::from_le_bytes([w0, w1]) & 0x3fff, u16::from_le_bytes([h0, h1]) & 0x3fff))
}

/// The scalability structure (RFC 9628 §4.2.1).
fn vp9(payload: &[u8], out: &mut Sizes) -> Option<()> {
    let (&first, mut rest) = payload.split_first()?;
    let has = |bit: u8| first & bit != 0;
    if has(0x80) && take(&mut rest)? & 0x80 != 0 {
        take(&mut rest)?;
    }
    if has(0x20) {
        take(&mut rest)?;
        if !has(0x10) {
            take(&mut rest)?;
        }
    }
    if !has(0x02) {
        return None;
    }
    let structure = take(&mut rest)?;
    if structure & 0x10 == 0 {
        return None;
    }
    for at in 0..=usize::from(structure >> 5) {
        let &[w0, w1, h0, h1] = rest.first_chunk()?;
        rest = rest.get(4..)?;
        if let Some(size) = out.get_mut(at) {
            *size = Some((u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])));
        }
    }
    Some(())
}

/// The SPS, alone in its packet or first in a STAP-A (RFC 6184 §5.7.1).
fn h264(payload: &[u8]) -> Option<(u16, u16)> {
    let (&header, rest) = payload.split_first()?;
    let unit = match header & 0x1f {
        7 => rest,
        24 => {
            let (&size, rest) = rest.split_first_chunk()?;
            let (&[header], unit) = rest.get(..u16::from_be_bytes(size).into())?.split_first_chunk()?;
            if header & 0x1f != 7 {
                return None;
            }
            unit
        }
        _ => return None,
    };
    sps(unit)
}

/// H.264 §7.3.2.1.1, without the NAL unit's header.
fn sps(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(unit);
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.golomb()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128].contains(&profile) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.read(1)?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.read(1)?;
        if bits.read(1)? == 1 {
            // Scaling lists: no real-time encoder writes them.
            return None;
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.read(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.read(1)?;
    let width = (bits.golomb()?.checked_add(1)?).checked_mul(16)?;
    let units = bits.golomb()?.checked_add(1)?;
    let only_frames = bits.read(1)?;
    if only_frames == 0 {
        bits.read(1)?;
    }
    let height = units.checked_mul(16)?.checked_mul(2 - only_frames)?;
    bits.read(1)?;
    let (mut across, mut down) = (0_u32, 0_u32);
    if bits.read(1)? == 1 {
        let (x, y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] = [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?];
        across = left.checked_add(right)?.checked_mul(x)?;
        down = top.checked_add(bottom)?.checked_mul(y * (2 - only_frames))?;
    }
    let size = (width.checked_sub(across)?, height.checked_sub(down)?);
    Some((size.0.try_into().ok()?, size.1.try_into().ok()?))
}

/// Bits of a NAL unit, without its emulation prevention bytes.
struct Bits<'a> {
    unit: &'a [u8],
    at: usize,
    zeros: u8,
    byte: u8,
    left: u8,
}

impl<'a> Bits<'a> {
    fn new(unit: &'a [u8]) -> Self {
        Self { unit, at: 0, zeros: 0, byte: 0, left: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.byte = self.next()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    /// The next byte; a 3 behind two zeros is there only to break a start code (H.264 §7.4.1).
    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.unit.get(self.at)?;
        self.at += 1;
        if byte == 3 && self.zeros >= 2 {
            byte = *self.unit.get(self.at)?;
            self.at += 1;
            self.zeros = 0;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        Some(byte)
    }

    fn read(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |bits, _| Some(bits << 1 | self.bit()?))
    }

    /// An Exp-Golomb number (H.264 §9.1); signed ones are read the same way where only their length matters.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 20 {
                return None;
            }
        }
        Some((1 << zeros | self.read(zeros)?) - 1)
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
        let mut sizes = Sizes::default();
        super::sizes(codec, payload, &mut sizes);
        sizes[0]
    }

    #[test]
    fn a_vp8_key_frame_tells_its_size() {
        let payload = [0x90, 0xe0, 0x92, 0x34, 7, 0xa0, 0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x41];

        assert_eq!(size(Codec::Vp8, &payload), Some((640, 360)), "without the scale above the 14 bits");
        assert_eq!(size(Codec::Vp8, &payload[..15]), None);
    }

    #[test]
    fn a_vp9_structure_tells_the_size_of_each_spatial_layer() {
        // I, L, B, V; picture id; layers; TL0PICIDX; N_S = 1, Y.
        let payload = [0xaa, 1, 0, 0, 0x30, 1, 64, 0, 180, 2, 128, 1, 104];
        let mut sizes = Sizes::default();

        super::sizes(Codec::Vp9, &payload, &mut sizes);

        assert_eq!(sizes, [Some((320, 180)), Some((640, 360)), None, None]);
    }

    #[test]
    fn an_h264_sps_tells_the_size_less_what_is_cropped() {
        // x264, high profile, 1920×1088 cropped to 1080; and 640×480 baseline in a STAP-A.
        let high = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
            0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
        ];
        let stap = [0x18, 0, 8, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x3d, 0, 1, 0x68];

        assert_eq!(size(Codec::H264, &high), Some((1920, 1080)));
        assert_eq!(size(Codec::H264, &stap), None, "an SPS that ends early tells nothing");
        assert_eq!(size(Codec::H264, &[0x41, 0x9a]), None);
    }
}
