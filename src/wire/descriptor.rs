//! What the payload formats of layered codecs say in front of each packet: which layer it is of, and the numbers of
//! pictures, which a viewer must see without gaps when its layer changes (RFC 7741 §4.2, RFC 9628 §4.2).

use super::sdp::Codec;

/// The layer of a packet, and where its picture's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Spatial layer, 0–7.
    pub spatial: u8,
    /// Temporal layer, 0–7.
    pub temporal: u8,
    /// The packet tells its layers; otherwise they are 0.
    pub is_layered: bool,
    /// First packet of a layer's part of a picture.
    pub begins: bool,
    /// Last packet of a layer's part of a picture.
    pub ends: bool,
    /// Where a higher temporal layer may begin.
    pub switch: Switch,
    /// The picture's number.
    pub id: Option<PictureId>,
    /// Number of the picture of the lowest temporal layer that this one builds on, and where it is.
    pub base: Option<(u8, u8)>,
}

/// A picture's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// Its value: 15 bits, or 7.
    pub value: u16,
    /// Offset in the payload.
    at: u8,
    is_wide: bool,
}

/// Where a higher temporal layer may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Not here.
    #[default]
    No,
    /// With this picture, up to its own layer.
    With,
    /// Behind this picture.
    Behind,
}

impl Descriptor {
    /// Reads what a payload says. `None` for codecs whose payload says nothing, and for truncated payloads.
    pub fn parse(codec: Codec, payload: &[u8], marker: bool) -> Option<Self> {
        match codec {
            Codec::Vp8 => vp8(payload, marker),
            Codec::Vp9 => vp9(payload),
            Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => None,
        }
    }

    /// Adds to the numbers in a copy of the payload, which keep their widths.
    pub fn renumber(&self, payload: &mut [u8], id_shift: u16, base_shift: u8) {
        if let Some(id) = self.id {
            let at = usize::from(id.at);
            let value = id.value.wrapping_add(id_shift);
            match payload.get_mut(at..at + 1 + usize::from(id.is_wide)) {
                Some([high, low]) => [*high, *low] = (value | 0x8000).to_be_bytes(),
                Some([only]) => *only = value as u8 & 0x7f,
                _ => {}
            }
        }
        if let Some((value, at)) = self.base
            && let Some(byte) = payload.get_mut(usize::from(at))
        {
            *byte = value.wrapping_add(base_shift);
        }
    }
}

/// A reader that knows where it is.
struct Cursor<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A picture's number of one or two bytes; the first bit tells.
    fn id(&mut self) -> Option<PictureId> {
        let at = self.at as u8;
        let first = self.byte()?;
        let is_wide = first & 0x80 != 0;
        let value = if is_wide { u16::from(first & 0x7f) << 8 | u16::from(self.byte()?) } else { first.into() };
        Some(PictureId { value, at, is_wide })
    }

    fn base(&mut self) -> Option<(u8, u8)> {
        let at = self.at as u8;
        Some((self.byte()?, at))
    }
}

fn vp8(payload: &[u8], marker: bool) -> Option<Descriptor> {
    let mut cursor = Cursor { payload, at: 0 };
    let first = cursor.byte()?;
    let mut descriptor = Descriptor { begins: first & 0x17 == 0x10, ends: marker, ..Descriptor::default() };
    if first & 0x80 == 0 {
        return Some(descriptor);
    }
    let flags = cursor.byte()?;
    if flags & 0x80 != 0 {
        descriptor.id = Some(cursor.id()?);
    }
    if flags & 0x40 != 0 {
        descriptor.base = Some(cursor.base()?);
    }
    if flags & 0x20 != 0 {
        let layer = cursor.byte()?;
        descriptor.is_layered = true;
        descriptor.temporal = layer >> 6;
        if layer & 0x20 != 0 {
            descriptor.switch = Switch::With;
        }
    }
    Some(descriptor)
}

fn vp9(payload: &[u8]) -> Option<Descriptor> {
    let mut cursor = Cursor { payload, at: 0 };
    let first = cursor.byte()?;
    let has = |bit: u8| first & bit != 0;
    let mut descriptor = Descriptor { begins: has(0x08), ends: has(0x04), ..Descriptor::default() };
    if has(0x80) {
        descriptor.id = Some(cursor.id()?);
    }
    if has(0x20) {
        let layer = cursor.byte()?;
        descriptor.is_layered = true;
        descriptor.temporal = layer >> 5;
        descriptor.spatial = layer >> 1 & 0x07;
        if layer & 0x10 != 0 {
            descriptor.switch = Switch::Behind;
        }
        if !has(0x10) {
            descriptor.base = Some(cursor.base()?);
        }
    }
    Some(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vp8_descriptor_tells_numbers_and_temporal_layer() {
        // X, S; I, L, T; 15-bit picture id 0x1234; TL0PICIDX 7; TID 2 with Y.
        let payload = [0x90, 0xe0, 0x92, 0x34, 7, 0xa0, 0x01];

        let read = Descriptor::parse(Codec::Vp8, &payload, true).expect("it is complete");

        assert_eq!((read.spatial, read.temporal, read.is_layered), (0, 2, true));
        assert!(read.begins && read.ends);
        assert_eq!(read.switch, Switch::With);
        assert_eq!(read.id.map(|id| id.value), Some(0x1234));
        assert_eq!(read.base, Some((7, 4)));
    }

    #[test]
    fn a_vp9_descriptor_tells_numbers_and_layers() {
        // I, P, L, B, E; 7-bit picture id 0x55; TID 1, U, SID 2, D; TL0PICIDX 9.
        let payload = [0xec, 0x55, 0x35, 9, 0xff];

        let read = Descriptor::parse(Codec::Vp9, &payload, false).expect("it is complete");

        assert_eq!((read.spatial, read.temporal, read.is_layered), (2, 1, true));
        assert!(read.begins && read.ends);
        assert_eq!(read.switch, Switch::Behind);
        assert_eq!((read.id.map(|id| id.value), read.base), (Some(0x55), Some((9, 3))));
    }

    #[test]
    fn truncated_descriptors_are_refused_at_every_length() {
        let (vp8, vp9) = ([0x90, 0xe0, 0x92, 0x34, 7, 0xa0], [0xec, 0x92, 0x34, 0x35, 9]);

        for cut in 0..vp8.len() {
            assert_eq!(Descriptor::parse(Codec::Vp8, &vp8[..cut], false), None, "{cut} bytes");
        }
        for cut in 0..vp9.len() {
            assert_eq!(Descriptor::parse(Codec::Vp9, &vp9[..cut], false), None, "{cut} bytes");
        }
    }

    #[test]
    fn numbers_are_shifted_in_place_and_wrap() {
        let mut wide = [0x90, 0xe0, 0xff, 0xff, 255, 0xa0, 0x01];
        let mut narrow = [0xec, 0x7f, 0x35, 9, 0xff];

        Descriptor::parse(Codec::Vp8, &wide, false).expect("complete").renumber(&mut wide, 2, 3);
        Descriptor::parse(Codec::Vp9, &narrow, false).expect("complete").renumber(&mut narrow, 2, 3);

        assert_eq!(wide, [0x90, 0xe0, 0x80, 0x01, 2, 0xa0, 0x01]);
        assert_eq!(narrow, [0xec, 0x01, 0x35, 12, 0xff]);
    }

    #[test]
    fn a_vp8_packet_without_extension_begins_its_picture_all_the_same() {
        let read = Descriptor::parse(Codec::Vp8, &[0x10, 0], false).expect("it is complete");

        assert!(read.begins && !read.ends && !read.is_layered);
        assert_eq!(Descriptor::parse(Codec::H264, &[0x67, 1], false), None);
    }
}
