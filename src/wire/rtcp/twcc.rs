//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use std::collections::VecDeque;

use super::{TRANSPORT_CC, TRANSPORT_FEEDBACK, push_words, write};
use crate::wire::seq::Extender;

/// Arrivals of one transport, for transport-wide feedback. Sequence numbers here are those of the header extension.
#[derive(Clone, Debug)]
pub struct Arrivals {
    sender: u32,
    extender: Extender,
    /// Extended number of the first entry of `times`.
    base: u64,
    /// When they came, in ticks; `None` = not (yet). Reported ones stay for a while: when a late packet comes, what
    /// came around it is told again.
    times: VecDeque<Option<u64>>,
    /// How many entries of `times` the last message covered.
    reported: usize,
    /// Feedback messages written; wraps.
    messages: u8,
}

impl Arrivals {
    /// Nothing recorded. `sender` is our SSRC in the messages.
    pub fn new(sender: u32) -> Self {
        Self { sender, extender: Extender::default(), base: 0, times: VecDeque::new(), reported: 0, messages: 0 }
    }

    /// A packet came, `at_micros` after some fixed start; of duplicates the first counts. A jump over more than 512
    /// numbers starts anew: whatever happened there, it was not congestion.
    pub fn record(&mut self, sequence: u16, at_micros: u64) {
        let seq = self.extender.extend(sequence);
        let end = self.base + self.times.len() as u64;
        if self.times.is_empty() || seq > end + MAX_GAP {
            self.times.clear();
            self.reported = 0;
            self.base = seq;
        }
        let Some(index) = seq.checked_sub(self.base) else {
            // Overtaken by more than we remember.
            return;
        };
        let index = index as usize;
        if index >= self.times.len() {
            self.times.resize(index + 1, None);
        }
        if let Some(time @ None) = self.times.get_mut(index) {
            *time = Some(at_micros / TICK_MICROS);
            self.reported = self.reported.min(index);
        }
        self.forget();
    }

    /// Drops the oldest entries, reported or not, when there are too many.
    fn forget(&mut self) {
        let history = self.reported.saturating_sub(MAX_HISTORY);
        let excess = self.times.len().saturating_sub(MAX_TIMES);
        let drop = history.max(excess);
        self.times.drain(..drop);
        self.base += drop as u64;
        self.reported = self.reported.saturating_sub(drop);
    }

    /// Is there anything to tell?
    pub fn pending(&self) -> bool {
        self.reported < self.times.len()
    }

    /// Appends one message about everything recorded since the last one, losses included: at most 1,000 packets and
    /// about 1,100 bytes, so [`pending`](Self::pending) may still be true. `about` is the SSRC of any of the sources.
    pub fn write(&mut self, out: &mut Vec<u8>, about: u32) {
        let mut body = Body::default();
        let mut reference = None;
        let mut last = 0;
        for time in self.times.range(self.reported..) {
            let Some(time) = *time else {
                if !body.push(None) {
                    break;
                }
                continue;
            };
            if reference.is_none() {
                let start = time / REFERENCE_TICKS;
                reference = Some(start as u32);
                last = start * REFERENCE_TICKS;
            }
            // A delta that 16 bits cannot hold begins the next message, with its own reference time.
            let Ok(delta) = i16::try_from(time.wrapping_sub(last).cast_signed()) else {
                break;
            };
            if !body.push(Some(delta)) {
                break;
            }
            last = time;
        }
        let first = (self.base + self.reported as u64) as u16;
        let count = body.symbols.len();
        self.reported += count;
        let Some(reference) = reference else {
            return;
        };
        let words =
            [self.sender, about, u32::from(first) << 16 | count as u32, reference << 8 | u32::from(self.messages)];
        self.messages = self.messages.wrapping_add(1);
        let start = out.len();
        write(out, TRANSPORT_FEEDBACK, TRANSPORT_CC, |out| {
            push_words(out, &words);
            push_chunks(out, &body.symbols);
            out.extend_from_slice(&body.deltas);
            let padding = (out.len() - start).next_multiple_of(4) - (out.len() - start);
            if padding > 0 {
                out.resize(out.len() + padding - 1, 0);
                out.push(padding as u8);
                out[start] |= 0x20;
            }
        });
    }
}

/// The body of a message, growing.
#[derive(Debug, Default)]
struct Body {
    symbols: Vec<Symbol>,
    deltas: Vec<u8>,
}

impl Body {
    /// Adds one packet, `None` when it did not come; false when the message is full.
    fn push(&mut self, delta: Option<i16>) -> bool {
        // Seven symbols take at most one chunk of two bytes.
        let chunks = 2 * (self.symbols.len() / 7 + 1);
        if self.symbols.len() >= MAX_PACKETS || chunks + self.deltas.len() > MAX_BODY {
            return false;
        }
        self.symbols.push(match delta {
            None => Symbol::Lost,
            Some(delta) => {
                if let Ok(small) = u8::try_from(delta) {
                    self.deltas.push(small);
                    Symbol::Small
                } else {
                    self.deltas.extend_from_slice(&delta.to_be_bytes());
                    Symbol::Large
                }
            }
        });
        true
    }
}

/// What a message says of one packet (§3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    /// It did not come.
    Lost = 0,
    /// It came, with a delta of one byte.
    Small = 1,
    /// It came, with a delta of two bytes.
    Large = 2,
}

/// Appends packet status chunks (§3.1.3, §3.1.4), each as long as it can be.
fn push_chunks(out: &mut Vec<u8>, symbols: &[Symbol]) {
    let mut rest = symbols;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&symbol| symbol == first).count();
        let narrow = rest.iter().take(14).all(|&symbol| symbol != Symbol::Large);
        let vector = if narrow { 14 } else { 7 };
        let (taken, chunk) = if run >= vector || run == rest.len() {
            // `MAX_PACKETS` fits the 13 bits of a run.
            (run, (first as u16) << 13 | run as u16)
        } else if narrow {
            (14, 0x8000 | pack(rest, 14, 1))
        } else {
            (7, 0xc000 | pack(rest, 7, 2))
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Packs up to `count` symbols of `bits` bits each; missing ones are zero.
fn pack(symbols: &[Symbol], count: usize, bits: usize) -> u16 {
    let slots = (0..count).map(|index| symbols.get(index).map_or(0, |&symbol| symbol as u16));
    slots.fold(0, |packed, symbol| packed << bits | symbol)
}

/// Unit of deltas.
const TICK_MICROS: u64 = 250;
/// Reference times count 64 ms.
const REFERENCE_TICKS: u64 = 256;
/// Widest gap that is reported as loss. Below `MAX_PACKETS`, so that every message has an arrival.
const MAX_GAP: u64 = 512;
/// Packets in one message.
const MAX_PACKETS: usize = 1000;
/// Bytes of chunks and deltas in one message, less one packet's.
const MAX_BODY: usize = 1100;
/// Reported arrivals kept for late packets.
const MAX_HISTORY: usize = 512;
/// Arrivals kept at all.
const MAX_TIMES: usize = 2048;

#[cfg(test)]
mod tests;
