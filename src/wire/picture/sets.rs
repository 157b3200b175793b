//! Sizes that the parameter sets of H.264 and H.265 and the sequence header of AV1 tell.

use super::bits::Bits;

/// An SPS of H.264 (§7.3.2.1.1), without the NAL unit's header.
pub(super) fn h264(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::of_unit(unit);
    let profile = bits.read(8)?;
    bits.skip(16)?;
    bits.golomb()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128].contains(&profile) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.skip(1)?;
        if bits.flag()? {
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
            bits.skip(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.skip(1)?;
    let width = (bits.golomb()?.checked_add(1)?).checked_mul(16)?;
    let units = bits.golomb()?.checked_add(1)?;
    let only_frames = bits.read(1)?;
    if only_frames == 0 {
        bits.skip(1)?;
    }
    let height = units.checked_mul(16)?.checked_mul(2 - only_frames)?;
    bits.skip(1)?;
    let (x, y) = chroma_units(chroma);
    cropped(&mut bits, (width, height), (x, y * (2 - only_frames)))
}

/// An SPS of H.265 (§7.3.2.2.1), without the NAL unit's header.
pub(super) fn h265(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::of_unit(unit);
    bits.skip(4)?;
    let sub_layers = bits.read(3)?;
    bits.skip(1)?;
    // Profile and level (§7.3.3): of all, then of each sub-layer what is flagged.
    bits.skip(PROFILE + LEVEL)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        present += if bits.flag()? { PROFILE } else { 0 };
        present += if bits.flag()? { LEVEL } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    bits.skip(present)?;
    bits.golomb()?;
    let chroma = bits.golomb()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let size = (bits.golomb()?, bits.golomb()?);
    cropped(&mut bits, size, chroma_units(chroma))
}

/// The OBU of a sequence header of AV1 (§5.5.1), with its own header: the number of the highest spatial layer, and the
/// size of that.
pub(super) fn av1(obu: &[u8]) -> Option<(usize, (u16, u16))> {
    let mut bits = Bits::new(obu);
    bits.skip(5)?;
    let (has_extension, has_size) = (bits.flag()?, bits.flag()?);
    bits.skip(1)?;
    if has_extension {
        bits.skip(8)?;
    }
    // A number of up to eight bytes, the last of which has no flag.
    while has_size && bits.flag()? {
        bits.skip(7)?;
    }
    if has_size {
        bits.skip(7)?;
    }
    bits.skip(4)?;
    let mut layers = 0;
    if bits.flag()? {
        // A still picture's header, which is shorter.
        bits.skip(5)?;
    } else {
        layers = operating_points(&mut bits)?;
    }
    let (across, down) = (bits.read(4)? + 1, bits.read(4)? + 1);
    let (width, height) = (bits.read(across)? + 1, bits.read(down)? + 1);
    let top = layers.checked_ilog2().unwrap_or(0) as usize;
    Some((top, (width.try_into().ok()?, height.try_into().ok()?)))
}

/// What of a sequence header is about times and operating points. Returns the spatial layers, one bit each; none when
/// there is only one.
fn operating_points(bits: &mut Bits<'_>) -> Option<u32> {
    let mut delay = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.golomb()?;
        }
        if bits.flag()? {
            delay = Some(bits.read(5)? + 1);
            bits.skip(42)?;
        }
    }
    let has_display_delays = bits.flag()?;
    let mut layers = 0;
    for _ in 0..=bits.read(5)? {
        layers |= bits.read(12)? >> 8;
        if bits.read(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay) = delay
            && bits.flag()?
        {
            bits.skip(2 * delay + 1)?;
        }
        if has_display_delays && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(layers)
}

/// Pixels that one unit of cropping stands for, across and down.
fn chroma_units(format: u32) -> (u32, u32) {
    match format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

/// The size less what the flag and the four numbers that come now cut off.
fn cropped(bits: &mut Bits<'_>, size: (u32, u32), unit: (u32, u32)) -> Option<(u16, u16)> {
    let (mut across, mut down) = (0_u32, 0_u32);
    if bits.flag()? {
        let [left, right, top, bottom] = [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?];
        across = left.checked_add(right)?.checked_mul(unit.0)?;
        down = top.checked_add(bottom)?.checked_mul(unit.1)?;
    }
    Some((size.0.checked_sub(across)?.try_into().ok()?, size.1.checked_sub(down)?.try_into().ok()?))
}

/// Bits that say which profile of H.265 it is.
const PROFILE: u32 = 88;
/// Bits that say which level.
const LEVEL: u32 = 8;
