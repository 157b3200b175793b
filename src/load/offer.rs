//! What a viewer offers, and what it needs to know of the answer.

use std::fmt::Write;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use rtc_sdp::SessionDescription;

use super::presenter::CNAME;
use crate::wire::sdp::{Codec, DtlsRole, Fingerprint, Hash, IceCredentials};

/// An offer to receive one audio and one video track in every codec that the server could forward.
pub(super) fn offer(ice: &IceCredentials, fingerprint: &Fingerprint, session_id: u64) -> String {
    let mut text = head(session_id, &[0, 1]);
    section(&mut text, 0, "audio", "recvonly", &[AUDIO], (ice, fingerprint));
    section(&mut text, 1, "video", "recvonly", &VIDEO, (ice, fingerprint));
    text
}

/// An offer to send VP8 under this name, and Opus if a name is given for it.
pub(super) fn presentation(
    ice: &IceCredentials,
    fingerprint: &Fingerprint,
    session_id: u64,
    video: u32,
    audio: Option<u32>,
) -> String {
    let mids: &[u8] = if audio.is_some() { &[0, 1] } else { &[0] };
    let mut text = head(session_id, mids);
    section(&mut text, 0, "video", "sendonly", &[SENT_VIDEO], (ice, fingerprint));
    source(&mut text, video, "video");
    if let Some(audio) = audio {
        section(&mut text, 1, "audio", "sendonly", &[AUDIO], (ice, fingerprint));
        source(&mut text, audio, "audio");
    }
    text
}

/// All before the first section.
fn head(session_id: u64, mids: &[u8]) -> String {
    let bundle = mids.iter().fold(String::new(), |bundle, mid| bundle + " " + &mid.to_string());
    format!(
        "v=0\r\no=- {session_id} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{bundle}\r\n\
         a=msid-semantic: WMS *\r\n"
    )
}

/// Who sends what a section is about.
fn source(text: &mut String, ssrc: u32, track: &str) {
    let _ = write!(text, "a=msid:load {track}\r\na=ssrc:{ssrc} cname:{CNAME}\r\na=ssrc:{ssrc} msid:load {track}\r\n");
}

/// One `m=` section with its transport lines and codecs.
fn section(
    text: &mut String,
    mid: u8,
    kind: &str,
    direction: &str,
    codecs: &[Offered],
    (ice, fingerprint): (&IceCredentials, &Fingerprint),
) {
    let types: Vec<String> = codecs.iter().flat_map(Offered::payload_types).map(|pt| pt.to_string()).collect();
    let hex: Vec<String> = fingerprint.value.iter().map(|byte| format!("{byte:02X}")).collect();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "m={kind} 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n\
         a=mid:{mid}\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
        types.join(" "),
        ice.ufrag,
        ice.pwd,
        hex.join(":"),
    );
    for codec in codecs {
        codec.write(text);
    }
}

/// A codec in the offer.
#[derive(Clone, Copy, Debug)]
struct Offered {
    /// Retransmissions of video have the number after it.
    payload_type: u8,
    codec: Codec,
    /// Value of `a=rtpmap` after the payload type.
    rtpmap: &'static str,
    /// Empty when there are no parameters.
    fmtp: &'static str,
    /// Lost packets come back in a format of their own (RFC 4588).
    resent: bool,
}

impl Offered {
    fn is_video(&self) -> bool {
        self.codec != Codec::Opus
    }

    fn rtx(&self) -> Option<u8> {
        self.resent.then_some(self.payload_type + 1)
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> {
        [Some(self.payload_type), self.rtx()].into_iter().flatten()
    }

    fn write(&self, text: &mut String) {
        let pt = self.payload_type;
        let _ = write!(text, "a=rtpmap:{pt} {}\r\n", self.rtpmap);
        if !self.fmtp.is_empty() {
            let _ = write!(text, "a=fmtp:{pt} {}\r\n", self.fmtp);
        }
        if self.is_video() {
            for feedback in ["nack", "nack pli", "ccm fir"] {
                let _ = write!(text, "a=rtcp-fb:{pt} {feedback}\r\n");
            }
        }
        if let Some(rtx) = self.rtx() {
            let _ = write!(text, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n");
        }
    }
}

/// What a payload type of our offer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Sound or pictures.
    Media(Codec),
    /// Retransmissions of this payload type (RFC 4588).
    Rtx(u8),
}

/// The meaning of a payload type; `None` for one that was not offered.
pub(super) fn carries(payload_type: u8) -> Option<Carries> {
    [AUDIO].iter().chain(&VIDEO).find_map(|offered| match payload_type {
        pt if pt == offered.payload_type => Some(Carries::Media(offered.codec)),
        pt if offered.rtx() == Some(pt) => Some(Carries::Rtx(offered.payload_type)),
        _ => None,
    })
}

/// The server's end, as its answer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its credentials.
    pub(super) ice: IceCredentials,
    /// Its certificate matches one of these; never empty.
    pub(super) fingerprints: Vec<Fingerprint>,
    /// Our part in the handshake.
    pub(super) dtls: DtlsRole,
    /// UDP addresses in the order of the answer; never empty.
    pub(super) candidates: Vec<SocketAddr>,
}

/// An answer that no viewer could use: what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer has no usable {0}")]
pub(super) struct Lacks(pub(super) &'static str);

impl Answer {
    /// Reads what matters of the answer of any server. With one transport for everything (BUNDLE) the first of each
    /// attribute is the right one.
    /// # Errors
    /// Names what is missing; `SDP` when it is none.
    pub(super) fn parse(text: &str) -> Result<Self, Lacks> {
        let description = SessionDescription::unmarshal(&mut Cursor::new(text)).map_err(|_| Lacks("SDP"))?;
        let attributes = || {
            let sections = description.media_descriptions.iter().flat_map(|section| &section.attributes);
            description.attributes.iter().chain(sections)
        };
        let values = |key: &'static str| {
            attributes()
                .filter(move |attribute| attribute.key == key)
                .filter_map(|attribute| attribute.value.as_deref())
        };
        let value = |key: &'static str| values(key).next().ok_or(Lacks(key));
        let ice = IceCredentials { ufrag: value("ice-ufrag")?.to_owned(), pwd: value("ice-pwd")?.to_owned() };
        let mut fingerprints: Vec<_> = values("fingerprint").filter_map(fingerprint).collect();
        // Every section repeats it.
        fingerprints.dedup();
        let candidates: Vec<_> = values("candidate").filter_map(candidate).collect();
        if fingerprints.is_empty() {
            return Err(Lacks("fingerprint"));
        }
        if candidates.is_empty() {
            return Err(Lacks("candidate"));
        }
        // The answerer says its own part; ours is the other one.
        let dtls = if value("setup") == Ok("active") { DtlsRole::Server } else { DtlsRole::Client };
        Ok(Self { ice, fingerprints, dtls, candidates })
    }

    /// Where to send checks, the best first: the address that answered our HTTP request if media is there too, because it
    /// surely can be reached; then the others in the order of the answer, a few.
    pub(super) fn best_candidates(&self, http: IpAddr) -> Vec<SocketAddr> {
        let is_same = |candidate: &SocketAddr| candidate.ip().to_canonical() == http.to_canonical();
        let mut candidates = self.candidates.clone();
        candidates.sort_by_key(|candidate| !is_same(candidate));
        candidates.dedup();
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }
}

/// `<hash> <AB:CD:…>` (RFC 8122 §5); `None` for hashes that we do not know.
fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (name, hex) = value.split_once(' ')?;
    let hash = match name.to_ascii_lowercase().as_str() {
        "sha-256" => Hash::Sha256,
        "sha-384" => Hash::Sha384,
        "sha-512" => Hash::Sha512,
        _ => return None,
    };
    let value: Option<Vec<u8>> = hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    Some(Fingerprint { hash, value: value? })
}

/// `<foundation> <component> <transport> <priority> <address> <port> …` (RFC 8839 §5.1); `None` for TCP, RTCP's own
/// component and names.
fn candidate(value: &str) -> Option<SocketAddr> {
    let mut words = value.split_ascii_whitespace().skip(1);
    let (component, transport, _priority) = (words.next()?, words.next()?, words.next()?);
    let address: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    (component == "1" && transport.eq_ignore_ascii_case("udp")).then_some(SocketAddr::new(address, port))
}

/// Each one that is tried takes its time.
const MAX_CANDIDATES: usize = 4;
/// Of the video that a presenter sends.
pub(super) const VIDEO_TYPE: u8 = 96;
/// Of the audio that a presenter sends.
pub(super) const AUDIO_TYPE: u8 = 126;
/// A lost packet is sent again as it was.
const SENT_VIDEO: Offered = Offered { resent: false, ..video(VIDEO_TYPE, Codec::Vp8, "VP8/90000", "") };
const AUDIO: Offered = Offered {
    payload_type: AUDIO_TYPE,
    codec: Codec::Opus,
    rtpmap: "opus/48000/2",
    fmtp: "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
    resent: false,
};
/// As browsers offer them: H.264 in every profile that encoders like to write.
const VIDEO: [Offered; 9] = [
    video(96, Codec::Vp8, "VP8/90000", ""),
    video(98, Codec::H264, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    video(100, Codec::H264, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
    video(102, Codec::H264, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
    video(104, Codec::H264, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"),
    video(106, Codec::Vp9, "VP9/90000", "profile-id=0"),
    video(108, Codec::Vp9, "VP9/90000", "profile-id=2"),
    video(110, Codec::Av1, "AV1/90000", "level-idx=5;profile=0;tier=0"),
    video(112, Codec::H265, "H265/90000", "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"),
];

const fn video(payload_type: u8, codec: Codec, rtpmap: &'static str, fmtp: &'static str) -> Offered {
    Offered { payload_type, codec, rtpmap, fmtp, resent: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sdp::{self, Local, Offer, Shape, Source};

    fn credentials(name: &str) -> IceCredentials {
        IceCredentials { ufrag: name.into(), pwd: format!("{name}-password-of-22-chars").replace('-', "+") }
    }

    fn hash(byte: u8) -> Fingerprint {
        Fingerprint { hash: Hash::Sha256, value: vec![byte; 32] }
    }

    #[test]
    fn our_own_server_answers_the_offer_and_the_answer_is_understood() {
        let (ours, theirs) = (credentials("load"), credentials("serv"));
        let candidates = ["192.0.2.1:8080".parse().expect("good"), "[2001:db8::1]:8080".parse().expect("good")];
        let text = offer(&ours, &hash(7), 42);
        let parsed = Offer::parse(&text).expect("an offer");
        let local = Local {
            ice: &theirs,
            fingerprint: &hash(9),
            candidates: &candidates,
            session_id: 1,
            msid: "talk",
            audio: Source { ssrc: 1, rtx: None },
            video: Source { ssrc: 2, rtx: Some(3) },
        };
        let negotiated = sdp::answer_viewer(&parsed, &local, &Shape::default()).expect("an answer");

        let answer = Answer::parse(&negotiated.answer).expect("understood");

        assert_eq!(negotiated.remote_ice, ours);
        assert_eq!(negotiated.fingerprints, [hash(7)]);
        assert_eq!(negotiated.sections.len(), 2, "audio and video are accepted");
        assert_eq!(
            answer,
            Answer {
                ice: theirs,
                fingerprints: vec![hash(9)],
                dtls: DtlsRole::Client,
                candidates: candidates.to_vec()
            }
        );
        for format in negotiated.sections.iter().flat_map(|section| &section.formats) {
            assert_eq!(carries(format.payload_type), Some(Carries::Media(format.codec)), "{format:?}");
            assert_eq!(format.rtx.map(carries), format.rtx.map(|_| Some(Carries::Rtx(format.payload_type))));
        }
    }

    #[test]
    fn a_presentation_is_accepted_with_the_names_of_its_sources() {
        let theirs = credentials("serv");
        let candidates = ["192.0.2.1:8080".parse().expect("good")];
        let local = Local {
            ice: &theirs,
            fingerprint: &hash(9),
            candidates: &candidates,
            session_id: 1,
            msid: "talk",
            audio: Source { ssrc: 1, rtx: None },
            video: Source { ssrc: 2, rtx: Some(3) },
        };

        for audio in [None, Some(8)] {
            let text = presentation(&credentials("load"), &hash(7), 42, 7, audio);
            let parsed = Offer::parse(&text).expect("an offer");
            let negotiated = sdp::answer_presenter(&parsed, &local).expect("an answer");

            let types: Vec<_> = negotiated.sections.iter().map(|section| section.formats[0].payload_type).collect();
            assert_eq!(types, [VIDEO_TYPE, AUDIO_TYPE][..=usize::from(audio.is_some())]);
            assert!(Answer::parse(&negotiated.answer).is_ok());
        }
    }

    #[test]
    fn every_payload_type_is_offered_once() {
        let mut types: Vec<u8> = [AUDIO].iter().chain(&VIDEO).flat_map(Offered::payload_types).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();

        assert_eq!(types.len(), count);
        assert!(types.iter().all(|pt| (96..128).contains(pt)));
        assert_eq!(carries(95), None);
    }

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=fingerprint:sha-1 AB\r\na=fingerprint:SHA-256 AB:CD\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=setup:active\r\na=candidate:1 1 tcp 9 192.0.2.1 9 typ host\r\n\
        a=candidate:1 2 UDP 9 192.0.2.1 9 typ host\r\na=candidate:1 1 udp 9 abc.local 9 typ host\r\n\
        a=candidate:1 1 UDP 9 192.0.2.1 7 typ host\r\na=candidate:1 1 udp 9 192.0.2.2 7 typ host\r\n";

    #[test]
    fn other_servers_answers_are_understood() {
        let answer = Answer::parse(ANSWER).expect("good");

        assert_eq!(answer.dtls, DtlsRole::Server);
        assert_eq!(answer.fingerprints, [Fingerprint { hash: Hash::Sha256, value: vec![0xab, 0xcd] }]);
        let [one, two]: [SocketAddr; 2] = ["192.0.2.1:7", "192.0.2.2:7"].map(|address| address.parse().expect("good"));
        assert_eq!(answer.best_candidates([192, 0, 2, 2].into()), [two, one]);
        assert_eq!(answer.best_candidates([203, 0, 113, 1].into()), [one, two]);
    }

    #[test]
    fn an_answer_that_lacks_something_says_what() {
        for (key, line) in [("ice-ufrag", "a=ice-ufrag"), ("ice-pwd", "a=ice-pwd"), ("candidate", "a=candidate")] {
            let without: Vec<&str> = ANSWER.lines().filter(|l| !l.starts_with(line)).collect();
            assert_eq!(Answer::parse(&without.join("\n")), Err(Lacks(key)));
        }
        assert_eq!(Answer::parse(&ANSWER.replace("SHA-256", "md5")), Err(Lacks("fingerprint")));
        for text in ["", "<html>", "v=0\r\nm=video\r\n"] {
            assert_eq!(Answer::parse(text), Err(Lacks("SDP")), "{text:?}");
        }
    }
}
