//! The dependency descriptor: which layers a packet of AV1 is of (AV1 RTP, appendix A).

use super::descriptor::{Descriptor, Switch};

/// What a presenter's key frames say of the layers of those that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    offset: u8,
    /// Of each template: spatial layer, temporal layer, and what it is to each decode target.
    templates: Vec<(u8, u8, Vec<u8>)>,
    /// Highest temporal layer of each decode target.
    targets: Vec<u8>,
}

/// Reads a packet's descriptor with the newest structure, which it replaces when it brings one. `None` when it is
/// truncated or refers to a structure that has not come.
pub fn read(extension: &[u8], structure: &mut Option<Box<Structure>>) -> Option<Descriptor> {
    let mut bits = Bits { bytes: extension, at: 0 };
    let (begins, ends) = (bits.read(1)? == 1, bits.read(1)? == 1);
    let template = bits.read(6)? as u8;
    bits.read(16)?;
    let mut custom = None;
    if extension.len() > MANDATORY {
        let [has_structure, has_active, has_indications, _, _] =
            [bits.read(1)?, bits.read(1)?, bits.read(1)?, bits.read(1)?, bits.read(1)?];
        if has_structure == 1 {
            *structure = Some(Box::new(Structure::read(&mut bits)?));
        }
        let targets = structure.as_ref()?.targets.len();
        if has_active == 1 {
            bits.read(targets as u32)?;
        }
        if has_indications == 1 {
            custom = Some((0..targets).map(|_| bits.read(2).map(|i| i as u8)).collect::<Option<Vec<u8>>>()?);
        }
    }
    let structure = structure.as_ref()?;
    let index = template.wrapping_add(64).wrapping_sub(structure.offset) % 64;
    let (spatial, temporal, indications) = structure.templates.get(usize::from(index))?;
    let indications = custom.as_ref().unwrap_or(indications);
    let is_switch = (indications.iter().zip(&structure.targets)).any(|(i, top)| *i == SWITCH && top == temporal);
    Some(Descriptor {
        spatial: *spatial,
        temporal: *temporal,
        is_layered: structure.templates.iter().any(|(spatial, temporal, _)| (*spatial, *temporal) != (0, 0)),
        begins,
        ends,
        switch: if is_switch { Switch::With } else { Switch::No },
        ..Descriptor::default()
    })
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let offset = bits.read(6)? as u8;
        let targets = bits.read(5)? as usize + 1;
        let mut layers = vec![(0_u8, 0_u8)];
        loop {
            let &(spatial, temporal) = layers.last()?;
            match bits.read(2)? {
                0 => layers.push((spatial, temporal)),
                1 => layers.push((spatial, temporal + 1)),
                2 => layers.push((spatial + 1, 0)),
                _ => break,
            }
            if layers.len() > MAX_TEMPLATES {
                return None;
            }
        }
        let mut templates = Vec::new();
        for (spatial, temporal) in layers {
            let indications = (0..targets).map(|_| bits.read(2).map(|i| i as u8)).collect::<Option<Vec<u8>>>()?;
            templates.push((spatial, temporal, indications));
        }
        for _ in &templates {
            while bits.read(1)? == 1 {
                bits.read(4)?;
            }
        }
        let chains = bits.non_symmetric(targets as u32 + 1)?;
        if chains > 0 {
            for _ in 0..targets {
                bits.non_symmetric(chains)?;
            }
            for _ in 0..templates.len() {
                for _ in 0..chains {
                    bits.read(4)?;
                }
            }
        }
        if bits.read(1)? == 1 {
            let spatials = templates.iter().map(|(spatial, ..)| *spatial).max().unwrap_or(0);
            for _ in 0..=spatials {
                bits.read(32)?;
            }
        }
        let top = |target: usize| {
            let part = templates.iter().filter(|(.., indications)| indications.get(target).is_some_and(|i| *i != 0));
            part.map(|(_, temporal, _)| *temporal).max().unwrap_or(0)
        };
        let targets = (0..targets).map(top).collect();
        Some(Self { offset, templates, targets })
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// At most 32 bits, the first the highest.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A number below `n` (AV1 §4.10.7).
    fn non_symmetric(&mut self, n: u32) -> Option<u32> {
        let width = u32::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.read(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }
}

/// Bytes that every descriptor has.
const MANDATORY: usize = 3;
/// A target may be switched to with this picture.
const SWITCH: u8 = 2;
/// Templates are named by 6 bits.
const MAX_TEMPLATES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes bits from the front.
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |b, (at, bit)| b | u8::from(*bit) << (7 - at));
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// A key frame with the structure of L1T2: two templates, two decode targets, one chain.
    fn key_frame() -> Vec<u8> {
        let mut bits = Writer(Vec::new());
        bits.put(1, 1).put(1, 1).put(5, 6).put(77, 16);
        bits.put(0b10000, 5);
        bits.put(5, 6).put(1, 5);
        bits.put(1, 2).put(3, 2);
        // Of T0: switch for both; of T1: not in the first, switch for the second.
        bits.put(2, 2).put(2, 2).put(0, 2).put(2, 2);
        bits.put(0, 1).put(1, 1).put(0, 4).put(0, 1);
        // One chain of at most two, two targets protected by it (no bits for a choice of one), its distances.
        bits.put(1, 1).put(0, 1).put(0, 4).put(1, 4);
        bits.put(0, 1);
        bits.bytes()
    }

    #[test]
    fn layers_are_known_from_the_structure_of_the_key_frame_on() {
        let mut structure = None;
        // Start of frame, template 6.
        let delta = [0x80 | 6, 0, 78];
        assert_eq!(read(&delta, &mut structure), None, "nothing is known yet");

        let key = read(&key_frame(), &mut structure).expect("it is complete");
        let next = read(&delta, &mut structure).expect("its template is known");

        assert_eq!((key.spatial, key.temporal, key.is_layered, key.begins, key.ends), (0, 0, true, true, true));
        assert_eq!((next.temporal, next.begins, next.ends), (1, true, false));
        assert_eq!(next.switch, Switch::With);
    }

    #[test]
    fn truncated_structures_are_refused_at_every_length() {
        let key = key_frame();

        for cut in 0..key.len() - 1 {
            assert_eq!(read(&key[..cut], &mut None), None, "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4)) {
            let mut structure = None;
            for packet in packets {
                let _ = read(&packet, &mut structure);
            }
        }
    }
}
