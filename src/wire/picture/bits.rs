//! Bits of a header, the first one the highest of its byte.

/// Reads bits one after the other.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A 3 behind two zeros is there only to break a start code (H.264 §7.4.1, H.265 §7.4.2).
    is_escaped: bool,
    zeros: u8,
    byte: u8,
    left: u8,
}

impl<'a> Bits<'a> {
    /// Of a NAL unit of H.264 or H.265, without its emulation prevention bytes.
    pub(super) fn of_unit(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, is_escaped: true, zeros: 0, byte: 0, left: 0 }
    }

    /// Of these bytes as they are.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { is_escaped: false, ..Self::of_unit(bytes) }
    }

    /// A number of `count` bits, at most 32; `None` at the end.
    pub(super) fn read(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |bits, _| Some(bits << 1 | self.bit()?))
    }

    /// A flag.
    pub(super) fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    /// Passes `count` bits over.
    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.bit().map(drop))
    }

    /// An Exp-Golomb number (H.264 §9.1); signed ones are read the same way where only their length matters.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 20 {
                return None;
            }
        }
        Some((1 << zeros | self.read(zeros)?) - 1)
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.byte = self.next()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.at)?;
        self.at += 1;
        if self.is_escaped && byte == 3 && self.zeros >= 2 {
            byte = *self.bytes.get(self.at)?;
            self.at += 1;
            self.zeros = 0;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}
