//! How large is the picture that a key frame begins?

use self::bits::Bits;
use super::keyframe::av1_sequence_header;
use super::sdp::Codec;

mod bits;
mod sets;

/// Width and height of each spatial layer, as far as known.
pub type Sizes = [Option<(u16, u16)>; LAYERS];

/// Spatial layers that are told apart.
pub const LAYERS: usize = 4;

/// Reads the sizes that the first packet of a key frame tells; those that it does not tell stay as they are.
pub fn sizes(codec: Codec, payload: &[u8], out: &mut Sizes) {
    let (layer, size) = match codec {
        Codec::Vp8 => (0, vp8(payload)),
        Codec::H264 => (0, h264(payload)),
        Codec::H265 => (0, h265(payload)),
        Codec::Av1 => av1(payload).map_or((0, None), |(layer, size)| (layer, Some(size))),
        Codec::Vp9 => return vp9(payload, out).unwrap_or_default(),
        Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => return,
    };
    if let Some(slot) = out.get_mut(layer).filter(|_| size.is_some()) {
        *slot = size;
    }
}

/// The largest of the sizes.
pub fn largest(sizes: &Sizes) -> Option<(u16, u16)> {
    sizes.iter().flatten().copied().max_by_key(|(width, height)| u32::from(*width) * u32::from(*height))
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

/// The scalability structure (RFC 9628 §4.2.1), or without one the header of the frame.
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
        out[0] = vp9_frame(rest).or(out[0]);
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

/// The uncompressed header of a key frame (VP9 bitstream specification §6.2).
fn vp9_frame(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(frame);
    if bits.read(2)? != 2 {
        return None;
    }
    let profile = bits.read(1)? | bits.read(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    // Neither a frame shown again nor one that is predicted.
    if bits.read(2)? != 0 {
        return None;
    }
    bits.skip(2)?;
    if bits.read(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    let is_rgb = bits.read(3)? == 7;
    bits.skip(match (is_rgb, profile & 1 == 1) {
        (false, true) => 4,
        (true, false) => 0,
        (false, false) | (true, true) => 1,
    })?;
    Some(((bits.read(16)? + 1).try_into().ok()?, (bits.read(16)? + 1).try_into().ok()?))
}

/// The first SPS that begins in the payload, which is not cut into fragments as a rule (RFC 6184 §5).
fn h264(payload: &[u8]) -> Option<(u16, u16)> {
    let (&header, rest) = payload.split_first()?;
    match header & 0x1f {
        7 => sets::h264(rest),
        24 => units(rest).find_map(|unit| {
            let (&header, rest) = unit.split_first()?;
            if header & 0x1f == 7 { sets::h264(rest) } else { None }
        }),
        _ => None,
    }
}

/// Like [`h264`] (RFC 7798 §4.4).
fn h265(payload: &[u8]) -> Option<(u16, u16)> {
    let (&[header, _], rest) = payload.split_first_chunk()?;
    match header >> 1 & 0x3f {
        33 => sets::h265(rest),
        48 => units(rest).find_map(|unit| {
            let (&[header, _], rest) = unit.split_first_chunk()?;
            if header >> 1 & 0x3f == 33 { sets::h265(rest) } else { None }
        }),
        _ => None,
    }
}

/// The units of an aggregation packet, with a 16-bit size before each; up to the first that is cut off.
fn units(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&size, after) = rest.split_first_chunk()?;
        let (unit, after) = after.split_at_checked(u16::from_be_bytes(size).into())?;
        rest = after;
        Some(unit)
    })
}

/// The sequence header with which a key frame begins.
fn av1(payload: &[u8]) -> Option<(usize, (u16, u16))> {
    sets::av1(av1_sequence_header(payload)?)
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
    fn a_vp9_key_frame_without_structure_tells_its_size_itself() {
        // A 7-bit picture id, then what libvpx wrote; the other is predicted.
        let payload = [0x88, 0x11, 0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70];
        let predicted = [0x88, 0x11, 0x86, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70];

        assert_eq!(size(Codec::Vp9, &payload), Some((640, 360)));
        assert_eq!(size(Codec::Vp9, &payload[..10]), None);
        assert_eq!(size(Codec::Vp9, &predicted), None);
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

    #[test]
    fn an_h264_sps_is_found_behind_other_units() {
        let stap = [
            &[0x18, 0, 2, 0x09, 0xf0, 0, 24][..],
            &[0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbe, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00],
            &[0x00, 0x03, 0x00, 0xf0, 0x3c, 0x58, 0xba, 0x80],
        ];

        assert_eq!(size(Codec::H264, &stap.concat()), Some((640, 368)));
    }

    #[test]
    fn an_h265_sps_tells_the_size_less_what_is_cropped() {
        // x265; the second one in an aggregation packet.
        let small = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f,
            0xa0, 0x05, 0x02, 0x01, 0x69, 0x65, 0x95, 0x9a, 0x49, 0x32, 0xbc, 0x05, 0xa0, 0x20,
        ];
        let large = [
            0x60, 0x01, 0x00, 0x03, 0x46, 0x01, 0x50, 0x00, 0x20, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00,
            0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x78, 0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe5, 0x96, 0x56, 0x69,
            0x24, 0xca, 0xf0, 0x16, 0x80,
        ];

        assert_eq!(size(Codec::H265, &small), Some((640, 360)));
        assert_eq!(size(Codec::H265, &large), Some((1920, 1080)));
        assert_eq!(size(Codec::H265, &small[..20]), None);
        assert_eq!(size(Codec::H265, &[0x26, 0x01, 0x80]), None);
    }

    #[test]
    fn an_av1_sequence_header_tells_the_size_of_the_highest_layer() {
        // SVT-AV1 wrote the OBU with its size; most senders leave that out.
        let sequence = [0x00, 0x00, 0x00, 0x0c, 0xc4, 0xff, 0x67, 0x1a, 0xbe, 0x60, 0x10];
        let with_size = [&[0x18, 0x0a, 0x0b], &sequence[..]].concat();
        let without = [&[0x18, 0x08], &sequence[..]].concat();
        // Two operating points: both spatial layers, and the lower one.
        let layered = [0x18, 0x08, 0x00, 0x13, 0x01, 0x28, 0x80, 0xa5, 0x31, 0x3f, 0xd9, 0xc0];
        // One with times and a decoder's model.
        let timed = [
            0x18, 0x08, 0x04, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x7b, 0xa4, 0x00, 0x00, 0x00, 0x05, 0x29, 0x80,
            0x00, 0x10, 0x80, 0x60, 0x1a, 0xb3, 0x13, 0xfd, 0x9c,
        ];

        assert_eq!(size(Codec::Av1, &with_size), Some((640, 360)));
        assert_eq!(size(Codec::Av1, &without), Some((640, 360)));
        assert_eq!(size(Codec::Av1, &without[..6]), None);
        let mut sizes = Sizes::default();
        super::sizes(Codec::Av1, &layered, &mut sizes);
        assert_eq!(sizes, [None, Some((640, 360)), None, None]);
        assert_eq!(size(Codec::Av1, &timed), Some((640, 360)));
    }

    #[test]
    fn the_largest_size_is_the_one_with_the_most_pixels() {
        assert_eq!(largest(&[Some((320, 180)), None, Some((1280, 720)), Some((720, 720))]), Some((1280, 720)));
        assert_eq!(largest(&Sizes::default()), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm(payload: Vec<u8>) {
            for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1] {
                size(codec, &payload);
            }
            for read in [sets::h264, sets::h265] {
                read(&payload);
            }
            sets::av1(&payload);
        }
    }
}
