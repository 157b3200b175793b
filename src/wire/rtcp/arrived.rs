//! Reads transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

/// Calls `each` with number and arrival of every packet that a message is about, in order; `None` = not arrived. Arrivals
/// are in units of 250 µs on the receiver's clock, which wraps at 2^32. Ends at the first malformed part. `body` is that of
/// [`Event::TransportCc`](super::Event::TransportCc).
pub fn read_transport_cc(body: &[u8], mut each: impl FnMut(u16, Option<u32>)) {
    let Some((&[b0, b1, c0, c1, r0, r1, r2, _], rest)) = body.split_first_chunk::<8>() else {
        return;
    };
    let (first, count) = (u16::from_be_bytes([b0, b1]), u16::from_be_bytes([c0, c1]).min(MAX_PACKETS));
    let mut time = u32::from_be_bytes([0, r0, r1, r2]).wrapping_mul(REFERENCE_TICKS);
    let Some(mut deltas) = deltas_of(rest, count) else {
        return;
    };
    let mut number = first;
    let _ = walk(rest, count, |symbol| {
        let delta = match symbol {
            SMALL => i32::from(take(&mut deltas)?),
            LARGE => i32::from(i16::from_be_bytes([take(&mut deltas)?, take(&mut deltas)?])),
            _ => {
                each(number, None);
                number = number.wrapping_add(1);
                return Some(());
            }
        };
        time = time.wrapping_add_signed(delta);
        each(number, Some(time));
        number = number.wrapping_add(1);
        Some(())
    });
}

/// What follows the chunks for `count` packets.
fn deltas_of(chunks: &[u8], count: u16) -> Option<&[u8]> {
    walk(chunks, count, |_| Some(()))
}

/// Calls `each` with the symbols of `count` packets (§3.1.3, §3.1.4); returns what follows them.
fn walk(chunks: &[u8], count: u16, mut each: impl FnMut(u16) -> Option<()>) -> Option<&[u8]> {
    let mut rest = chunks;
    let mut left = count;
    while left > 0 {
        let (&chunk, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let chunk = u16::from_be_bytes(chunk);
        let (len, bits) = match chunk >> 14 {
            0b00 | 0b01 => (chunk & 0x1fff, 0),
            0b10 => (14, 1),
            _ => (7, 2),
        };
        let len = len.min(left);
        left -= len;
        for at in 0..len {
            each(match bits {
                0 => chunk >> 13 & 0b11,
                1 => chunk >> (13 - at) & 0b1,
                _ => chunk >> (12 - 2 * at) & 0b11,
            })?;
        }
    }
    Some(rest)
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

/// It came, with a delta of one byte.
const SMALL: u16 = 1;
/// It came, with a delta of two bytes.
const LARGE: u16 = 2;
/// More than any sender has on its way between two messages.
const MAX_PACKETS: u16 = 4096;
/// Reference times count 64 ms.
const REFERENCE_TICKS: u32 = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Arrivals, Event, read};
    use super::*;

    fn told(arrivals: &mut Arrivals) -> Vec<(u16, Option<u32>)> {
        let mut out = Vec::new();
        arrivals.write(&mut out, 1);
        let mut told = Vec::new();
        read(&out, |event| {
            if let Event::TransportCc { body } = event {
                read_transport_cc(body, |number, at| told.push((number, at)));
            }
        });
        told
    }

    #[test]
    fn what_a_receiver_tells_is_what_came() {
        let mut arrivals = Arrivals::new(1);
        let came = [(65_534, 100_000), (65_535, 100_250), (0, 250_000), (3, 251_000)];
        for (number, micros) in came {
            arrivals.record(number, micros);
        }

        let told = told(&mut arrivals);

        let expected =
            [(65_534, Some(400)), (65_535, Some(401)), (0, Some(1000)), (1, None), (2, None), (3, Some(1004))];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_message_that_ends_early_tells_what_it_has() {
        // One run of three small deltas, of which two are there.
        let body = [0, 9, 0, 3, 0, 0, 1, 0, 0x20, 0x03, 4, 8];
        let mut told = Vec::new();

        read_transport_cc(&body, |number, at| told.push((number, at)));

        assert_eq!(told, [(9, Some(260)), (10, Some(268))]);
    }

    proptest! {
        #[test]
        fn hostile_messages_tell_no_more_packets_than_they_say(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut told = 0;
            read_transport_cc(&body, |_, _| told += 1);

            let count = body.get(2..4).map_or(0, |c| u16::from_be_bytes([c[0], c[1]]));
            prop_assert!(told <= usize::from(count));
        }

        #[test]
        fn all_that_comes_is_told_once(gaps in prop::collection::vec((1..9_u16, 0..40_000_u64), 1..200)) {
            let mut arrivals = Arrivals::new(1);
            let (mut number, mut micros, mut came) = (65_500_u16, 5_000_000, Vec::new());
            for (step, wait) in gaps {
                number = number.wrapping_add(step);
                micros += wait;
                arrivals.record(number, micros);
                came.push((number, Some((micros / 250) as u32)));
            }
            let mut all = Vec::new();
            while arrivals.pending() {
                all.extend(told(&mut arrivals).into_iter().filter(|(_, at)| at.is_some()));
            }
            prop_assert_eq!(all, came);
        }
    }
}
