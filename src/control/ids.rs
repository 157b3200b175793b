//! Random names: sessions, ICE credentials, entity-tags, sources.
//!
//! Everything is hex or a number: hex digits are ice-chars (RFC 8839 §5.4), need no escaping in a URL and meet no parser
//! that trips over them.

use std::time::Duration;

use crate::media::SessionId;
use crate::wire::sdp::{IceCredentials, Source};

/// A session's name: 128 bits, because knowing it is the right to end it.
pub(super) fn session() -> SessionId {
    SessionId(u128::from_be_bytes(random()))
}

/// ICE credentials: 64 bits of user name, 128 bits of password (RFC 8445 §5.3 asks for 24 and 128).
pub(super) fn ice() -> IceCredentials {
    let (ufrag, pwd): ([u8; 8], [u8; 16]) = (random(), random());
    IceCredentials { ufrag: hex(&ufrag), pwd: hex(&pwd) }
}

/// A strong entity-tag of the `number`th ICE session of a session, with its quotes.
pub(super) fn etag(number: u32) -> String {
    format!("\"{number}-{}\"", hex(&random::<4>()))
}

/// `sess-id` of an `o=` line: below 2^62 (RFC 9429 §5.2.1).
pub(super) fn sdp_session() -> u64 {
    u64::from_be_bytes(random()) >> 2
}

/// Audio and video towards one viewer: four different SSRCs, none of them zero.
pub(super) fn sources() -> (Source, Source) {
    loop {
        let ssrcs: [u32; 4] = std::array::from_fn(|_| u32::from_be_bytes(random()));
        let [audio, audio_rtx, video, video_rtx] = ssrcs;
        let mut sorted = ssrcs;
        sorted.sort_unstable();
        if sorted[0] != 0 && sorted.windows(2).all(|pair| pair[0] != pair[1]) {
            return (Source { ssrc: audio, rtx: Some(audio_rtx) }, Source { ssrc: video, rtx: Some(video_rtx) });
        }
    }
}

/// 2–5 s: viewers that were sent away together do not come back together.
pub(super) fn retry_after() -> Duration {
    Duration::from_secs(2 + u64::from(random::<1>()[0] % 4))
}

/// 1–2 s: a server that stops is often back by then, and nobody should wait for long.
pub(super) fn retry_after_restart() -> Duration {
    Duration::from_secs(1 + u64::from(random::<1>()[0] % 2))
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works, or nothing here is safe");
    bytes
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_do_not_repeat() {
        let sessions: HashSet<SessionId> = (0..1_000).map(|_| session()).collect();
        let ufrags: HashSet<String> = (0..1_000).map(|_| ice().ufrag).collect();

        assert_eq!((sessions.len(), ufrags.len()), (1_000, 1_000));
    }

    #[test]
    fn ice_credentials_are_long_enough_and_made_of_ice_chars() {
        let IceCredentials { ufrag, pwd } = ice();

        assert_eq!((ufrag.len(), pwd.len()), (16, 32));
        assert!(ufrag.bytes().chain(pwd.bytes()).all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn an_entity_tag_is_strong_and_quoted() {
        let tag = etag(1);

        assert!(tag.starts_with("\"1-") && tag.ends_with('"') && tag.len() == 12, "{tag}");
    }

    #[test]
    fn sources_differ_and_the_sdp_session_is_small() {
        for _ in 0..100 {
            let (audio, video) = sources();
            let ssrcs: HashSet<u32> =
                [Some(audio.ssrc), audio.rtx, Some(video.ssrc), video.rtx].into_iter().flatten().collect();

            assert_eq!(ssrcs.len(), 4);
            assert!(sdp_session() < 1 << 62);
        }
    }

    #[test]
    fn a_viewer_is_asked_back_in_two_to_five_seconds() {
        for _ in 0..100 {
            assert!((2..=5).contains(&retry_after().as_secs()));
        }
    }

    #[test]
    fn hex_has_two_digits_a_byte() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa5]), "000fa5");
    }
}
