//! Opus in Ogg (RFC 3533, RFC 7845).

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::clip::{Clip, FormatError, Frame};
use crate::wire::sdp::Codec;

/// Reads the first stream of a file; a page that is cut short ends it. Checksums are not checked: files come from disks.
/// # Errors
/// When it is no Ogg file, not Opus, or holds nothing.
pub(super) fn read(data: &Bytes) -> Result<Clip, FormatError> {
    if !data.starts_with(CAPTURE) {
        return Err(FormatError::Not("an Ogg file"));
    }
    let mut packets = packets(data).into_iter();
    if !packets.next().is_some_and(|head| head.starts_with(b"OpusHead")) {
        return Err(FormatError::Unsupported("this codec", "Opus"));
    }
    let sound = packets.filter(|packet| !packet.starts_with(b"OpusTags"));
    let frames: Vec<_> = sound
        .filter_map(|data| {
            let lasts = lasts(&data)?;
            Some(Frame { data, lasts, key: true })
        })
        .collect();
    if frames.is_empty() { Err(FormatError::Empty) } else { Ok(Clip { codec: Codec::Opus, frames }) }
}

/// The packets of the stream that begins first.
fn packets(data: &Bytes) -> Vec<Bytes> {
    let (mut rest, mut packets, mut open, mut serial) = (&data[..], Vec::new(), BytesMut::new(), None);
    while let Some((head, after)) = rest.split_first_chunk::<PAGE_HEADER>() {
        let Some((lacing, body)) = after.split_at_checked(usize::from(head[26])) else {
            break;
        };
        let len: usize = lacing.iter().map(|len| usize::from(*len)).sum();
        let (true, Some((mut body, next))) = (head.starts_with(CAPTURE), body.split_at_checked(len)) else {
            break;
        };
        rest = next;
        let number = [head[14], head[15], head[16], head[17]];
        if *serial.get_or_insert(number) != number {
            continue;
        }
        for len in lacing {
            let Some((segment, after)) = body.split_at_checked(usize::from(*len)) else {
                break;
            };
            body = after;
            open.extend_from_slice(segment);
            // A segment shorter than 255 bytes ends its packet.
            if *len < 255 {
                packets.push(open.split().freeze());
            }
        }
    }
    packets
}

/// How long an Opus packet is (RFC 6716 §3.1, §3.2); `None` for one that is malformed.
fn lasts(packet: &[u8]) -> Option<Duration> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config & 1)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    let micros: u64 = frame * count;
    (1..=120_000).contains(&micros).then(|| Duration::from_micros(micros))
}

const CAPTURE: &[u8] = b"OggS";
const PAGE_HEADER: usize = 27;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(serial: u8, segments: &[&[u8]]) -> Vec<u8> {
        let mut page = [b"OggS".as_slice(), &[0; 10], &[serial, 0, 0, 0], &[0; 8]].concat();
        page.push(segments.len() as u8);
        page.extend(segments.iter().map(|segment| segment.len() as u8));
        page.extend(segments.iter().flat_map(|segment| segment.to_vec()));
        page
    }

    #[test]
    fn packets_are_put_together_across_pages() {
        let mut long = vec![0xfc; 255];
        let pages = [
            page(1, &[b"OpusHead"]),
            page(2, &[b"theora"]),
            page(1, &[b"OpusTags"]),
            page(1, &[&[0xfc, 1], &long]),
            page(1, &[&[7, 8]]),
        ];

        let clip = read(&pages.concat().into()).expect("good");

        long.extend_from_slice(&[7, 8]);
        let packets: Vec<_> = clip.frames.iter().map(|frame| frame.data.to_vec()).collect();
        assert_eq!(packets, [vec![0xfc, 1], long]);
        assert!(clip.frames.iter().all(|frame| frame.lasts == Duration::from_millis(20)));
    }

    #[test]
    fn an_opus_packet_says_how_long_it_is() {
        let millis = |packet: &[u8]| lasts(packet).map(|lasts| lasts.as_secs_f64() * 1e3);

        assert_eq!(millis(&[0xfc]), Some(20.0));
        assert_eq!(millis(&[0x18]), Some(60.0), "SILK");
        assert_eq!(millis(&[0x80]), Some(2.5), "CELT");
        assert_eq!(millis(&[0xfb, 2]), Some(40.0), "two frames");
        assert_eq!((millis(&[]), millis(&[0xfb]), millis(&[0xfb, 0]), millis(&[0xfb, 63])), (None, None, None, None));
    }

    #[test]
    fn what_is_no_opus_is_refused() {
        assert_eq!(read(&Bytes::from_static(b"RIFF")).map(|_| ()), Err(FormatError::Not("an Ogg file")));
        assert!(matches!(read(&page(1, &[b"\x01vorbis"]).into()), Err(FormatError::Unsupported(..))));
        assert!(matches!(read(&page(1, &[b"OpusHead"]).into()), Err(FormatError::Empty)));
    }

    proptest! {
        #[test]
        fn junk_does_no_harm(junk in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[b"OggS".to_vec(), junk.clone()].concat().into());
            let _ = read(&[page(1, &[b"OpusHead"]), b"OggS".to_vec(), junk].concat().into());
        }
    }
}
