//! SRTP and SRTCP (RFC 3711) with AES-128-GCM (RFC 7714) or AES-128-CM and HMAC-SHA1-80.
//!
//! One type for each thing that a session does, so that a viewer does not pay for keys that only a presenter needs.
//! Nothing is remembered of a source before one of its packets is authentic, and no call allocates.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use self::gcm::Gcm;
use self::window::Window;
use crate::wire::rtp::Header;

mod gcm;
mod window;

/// The protection profiles that we speak (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`
    AesGcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`
    AesCm,
}

impl Profile {
    /// Its name in the IANA registry of DTLS-SRTP protection profiles.
    pub fn word(self) -> &'static str {
        match self {
            Self::AesGcm => "SRTP_AEAD_AES_128_GCM",
            Self::AesCm => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// Bytes of keying material to export: two keys and two salts.
    pub fn keying_material_len(self) -> usize {
        2 * (KEY_LEN + self.salt_len())
    }

    fn salt_len(self) -> usize {
        match self {
            Self::AesGcm => 12,
            Self::AesCm => 14,
        }
    }
}

/// Key setup or protection failed: wrong lengths, a forged or replayed packet, an exhausted index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Keying material of the wrong length.
    #[error("unusable keying material")]
    Key,
    /// Too short to be protected.
    #[error("truncated packet")]
    Truncated,
    /// Wrong tag, or the key may not be used any more.
    #[error("authentication failed")]
    Authentication,
    /// Seen before, or too old to tell.
    #[error("replayed packet")]
    Replay,
    /// More sources than a session may have.
    #[error("too many sources")]
    Sources,
}

/// Master key and salt of one direction.
#[derive(Clone)]
pub struct Master {
    profile: Profile,
    key: [u8; KEY_LEN],
    salt: Vec<u8>,
}

/// Splits exported keying material (RFC 5764 §4.2) into (ours, theirs).
/// # Errors
/// `Key` when its length is not [`Profile::keying_material_len`].
pub fn masters(profile: Profile, material: &[u8], we_are_client: bool) -> Result<(Master, Master), SrtpError> {
    if material.len() != profile.keying_material_len() {
        return Err(SrtpError::Key);
    }
    let (keys, salts) = material.split_at(2 * KEY_LEN);
    let (client_salt, server_salt) = salts.split_at(profile.salt_len());
    let master = |key: &[u8], salt: &[u8]| -> Result<Master, SrtpError> {
        Ok(Master { profile, key: key.try_into().map_err(|_| SrtpError::Key)?, salt: salt.to_vec() })
    };
    let client = master(&keys[..KEY_LEN], client_salt)?;
    let server = master(&keys[KEY_LEN..], server_salt)?;
    Ok(if we_are_client { (client, server) } else { (server, client) })
}

/// Protects RTP of one session. Hot: one per viewer.
pub struct RtpSealer(Cipher);

impl RtpSealer {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master) -> Result<Self, SrtpError> {
        Cipher::for_rtp(master).map(Self)
    }

    /// Bytes that protection adds to each packet.
    pub fn overhead(&self) -> usize {
        self.0.tag_len()
    }

    /// Protects the packet that starts at `start` and ends `buf`; its header is `header_len` bytes, `ssrc` and
    /// `index` (rollover counter and sequence number) are those in the header. Sealing other bytes with an index used
    /// before would give the key away (RFC 7714 §8.4): a resend must be byte-identical.
    /// # Errors
    /// `Truncated` when there are fewer bytes than a header; `Authentication` when the library refuses.
    pub fn seal(
        &mut self,
        buf: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        let packet = buf.get_mut(start..).ok_or(SrtpError::Truncated)?;
        let (header, payload) = packet.split_at_mut_checked(header_len).ok_or(SrtpError::Truncated)?;
        match &self.0 {
            Cipher::Gcm(gcm) => {
                let tag = gcm.seal(gcm.rtp_nonce(ssrc, index), header, payload)?;
                buf.extend_from_slice(&tag);
            }
            Cipher::Cm(cm) => {
                cm.apply(ssrc, index, payload)?;
                buf.extend_from_slice(&rollover_counter(index));
                let tag = hmac::sign(&cm.authentication, &buf[start..]);
                buf.truncate(buf.len() - ROC_LEN);
                buf.extend_from_slice(&tag.as_ref()[..HMAC_TAG_LEN]);
            }
        }
        Ok(())
    }
}

/// Opens RTP of one presenter.
pub struct RtpOpener {
    cipher: Cipher,
    sources: Vec<(u32, Window<RTP_WINDOW_WORDS>)>,
}

impl RtpOpener {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master) -> Result<Self, SrtpError> {
        Ok(Self { cipher: Cipher::for_rtp(master)?, sources: Vec::new() })
    }

    /// Opens a packet in place; returns where its plain payload ends (padding included).
    /// # Errors
    /// `Truncated`, `Authentication`, `Replay`, `Sources`; the state has not changed then.
    pub fn open(&mut self, header: &Header, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let known = find(&self.sources, header.ssrc)?;
        let window = known.map(|at| &self.sources[at].1);
        let index = estimate_index(window.and_then(|w| w.newest), header.sequence);
        if window.is_some_and(|w| w.has_seen(index)) {
            return Err(SrtpError::Replay);
        }

        let end = datagram.len().checked_sub(self.cipher.tag_len()).ok_or(SrtpError::Truncated)?;
        match &self.cipher {
            Cipher::Gcm(gcm) => {
                let (plain, sealed) = datagram.split_at_mut_checked(header.len).ok_or(SrtpError::Truncated)?;
                gcm.open(gcm.rtp_nonce(header.ssrc, index), plain, sealed)?;
            }
            Cipher::Cm(cm) => {
                let tag: [u8; HMAC_TAG_LEN] = datagram[end..].try_into().map_err(|_| SrtpError::Truncated)?;
                // The rollover counter is authenticated but not sent (RFC 3711 §4.2): it takes the tag's place.
                datagram[end..end + ROC_LEN].copy_from_slice(&rollover_counter(index));
                cm.verify(&datagram[..end + ROC_LEN], &tag)?;
                cm.apply(header.ssrc, index, datagram.get_mut(header.len..end).ok_or(SrtpError::Truncated)?)?;
            }
        }
        remember(&mut self.sources, known, header.ssrc).mark(index);
        Ok(end)
    }
}

/// Protects RTCP of one session: a packet every two seconds, so the big part of its state is made when it is needed.
pub struct RtcpSealer {
    keys: Keys,
    index: u32,
}

/// The keys of one direction, as small as they can be kept.
enum Keys {
    Gcm { key: [u8; KEY_LEN], salt: [u8; 12] },
    Cm(Box<Cm>),
}

impl Keys {
    fn for_rtcp(master: &Master) -> Result<Self, SrtpError> {
        Ok(match master.profile {
            Profile::AesGcm => {
                Self::Gcm { key: derive(master, LABEL_RTCP_KEY)?, salt: derive(master, LABEL_RTCP_SALT)? }
            }
            Profile::AesCm => Self::Cm(Box::new(Cm::for_rtcp(master)?)),
        })
    }
}

impl RtcpSealer {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master) -> Result<Self, SrtpError> {
        Ok(Self { keys: Keys::for_rtcp(master)?, index: 0 })
    }

    /// Protects the compound packet that is all of `buf` (RFC 3711 §3.4, RFC 7714 §9.2).
    /// # Errors
    /// `Truncated` below 8 bytes; `Authentication` when the index is used up.
    pub fn seal(&mut self, buf: &mut Vec<u8>) -> Result<(), SrtpError> {
        let ssrc = sender_ssrc(buf)?;
        if self.index > MAX_RTCP_INDEX {
            return Err(SrtpError::Authentication);
        }
        let trailer = (ENCRYPTED | self.index).to_be_bytes();
        let (header, body) = buf.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::Truncated)?;
        match &self.keys {
            Keys::Gcm { key, salt } => {
                let gcm = Gcm::new(key, *salt)?;
                let aad = rtcp_aad(header, trailer);
                let tag = gcm.seal(gcm.rtcp_nonce(ssrc, self.index), &aad, body)?;
                buf.extend_from_slice(&tag);
                buf.extend_from_slice(&trailer);
            }
            Keys::Cm(cm) => {
                cm.apply(ssrc, self.index.into(), body)?;
                buf.extend_from_slice(&trailer);
                let tag = hmac::sign(&cm.authentication, buf);
                buf.extend_from_slice(&tag.as_ref()[..HMAC_TAG_LEN]);
            }
        }
        self.index += 1;
        Ok(())
    }
}

/// Opens RTCP of one session.
pub struct RtcpOpener {
    cipher: Cipher,
    sources: Vec<(u32, Window<1>)>,
}

impl RtcpOpener {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master) -> Result<Self, SrtpError> {
        Ok(Self { cipher: Cipher::for_rtcp(master)?, sources: Vec::new() })
    }

    /// Opens a compound packet in place; returns its plain length.
    /// # Errors
    /// `Truncated`, `Authentication`, `Replay`, `Sources`; the state has not changed then.
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = sender_ssrc(datagram)?;
        let sealed = match &self.cipher {
            Cipher::Gcm(_) => datagram,
            Cipher::Cm(cm) => {
                let (sealed, tag) = datagram.split_last_chunk_mut::<HMAC_TAG_LEN>().ok_or(SrtpError::Truncated)?;
                cm.verify(sealed, tag)?;
                sealed
            }
        };
        let (packet, trailer) = sealed.split_last_chunk_mut::<4>().ok_or(SrtpError::Truncated)?;
        let word = u32::from_be_bytes(*trailer);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Authentication);
        }
        let index = word & !ENCRYPTED;
        let known = find(&self.sources, ssrc)?;
        if known.is_some_and(|at| self.sources[at].1.has_seen(index.into())) {
            return Err(SrtpError::Replay);
        }

        let (header, body) = packet.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::Truncated)?;
        let len = match &self.cipher {
            Cipher::Gcm(gcm) => {
                let len = body.len().checked_sub(TAG_LEN).ok_or(SrtpError::Truncated)?;
                gcm.open(gcm.rtcp_nonce(ssrc, index), &rtcp_aad(header, word.to_be_bytes()), body)?;
                len
            }
            Cipher::Cm(cm) => {
                cm.apply(ssrc, index.into(), body)?;
                body.len()
            }
        };
        remember(&mut self.sources, known, ssrc).mark(index.into());
        Ok(RTCP_HEADER + len)
    }
}

/// The keys of one direction and protocol.
enum Cipher {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Cipher {
    fn for_rtp(master: &Master) -> Result<Self, SrtpError> {
        Self::derive(master, [LABEL_RTP_KEY, LABEL_RTP_AUTHENTICATION, LABEL_RTP_SALT])
    }

    fn for_rtcp(master: &Master) -> Result<Self, SrtpError> {
        Self::derive(master, [LABEL_RTCP_KEY, LABEL_RTCP_AUTHENTICATION, LABEL_RTCP_SALT])
    }

    fn derive(master: &Master, [key, authentication, salt]: [u8; 3]) -> Result<Self, SrtpError> {
        Ok(match master.profile {
            Profile::AesGcm => Self::Gcm(Gcm::derive(master, key, salt)?),
            Profile::AesCm => Self::Cm(Box::new(Cm::derive(master, key, authentication, salt)?)),
        })
    }

    fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => TAG_LEN,
            Self::Cm(_) => HMAC_TAG_LEN,
        }
    }
}

/// Session keys of AES-128 in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
struct Cm {
    encryption: EncryptingKey,
    authentication: hmac::Key,
    salt: [u8; 14],
}

impl Cm {
    fn for_rtcp(master: &Master) -> Result<Self, SrtpError> {
        Self::derive(master, LABEL_RTCP_KEY, LABEL_RTCP_AUTHENTICATION, LABEL_RTCP_SALT)
    }

    fn derive(master: &Master, key: u8, authentication: u8, salt: u8) -> Result<Self, SrtpError> {
        let encryption: [u8; KEY_LEN] = derive(master, key)?;
        let authentication: [u8; HMAC_KEY_LEN] = derive(master, authentication)?;
        Ok(Self {
            encryption: counter_mode(&encryption)?,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
            salt: derive(master, salt)?,
        })
    }

    /// Encrypts or decrypts: IV = salt · 2^16 XOR SSRC · 2^64 XOR index · 2^16.
    fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) -> Result<(), SrtpError> {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        let [_, _, index @ ..] = index.to_be_bytes();
        xor(&mut iv[8..14], &index);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.encryption.less_safe_encrypt(data, context).map(drop).map_err(|_| SrtpError::Authentication)
    }

    fn verify(&self, signed: &[u8], tag: &[u8; HMAC_TAG_LEN]) -> Result<(), SrtpError> {
        let right = hmac::sign(&self.authentication, signed);
        verify_slices_are_equal(&right.as_ref()[..HMAC_TAG_LEN], tag).map_err(|_| SrtpError::Authentication)
    }
}

/// The 48-bit index that a sequence number most likely stands for (RFC 3711 §3.3.1).
fn estimate_index(newest: Option<u64>, sequence: u16) -> u64 {
    let Some(newest) = newest else {
        return sequence.into();
    };
    let step = i64::from(sequence.wrapping_sub(newest as u16).cast_signed());
    newest.checked_add_signed(step).unwrap_or_else(|| sequence.into())
}

fn sender_ssrc(rtcp: &[u8]) -> Result<u32, SrtpError> {
    let ssrc = rtcp.get(4..8).and_then(|b| b.try_into().ok()).ok_or(SrtpError::Truncated)?;
    Ok(u32::from_be_bytes(ssrc))
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (a, b) in into.iter_mut().zip(with) {
        *a ^= b;
    }
}

/// A source's place; `None` when it is new and there is room for it.
fn find<const WORDS: usize>(sources: &[(u32, Window<WORDS>)], ssrc: u32) -> Result<Option<usize>, SrtpError> {
    let known = sources.iter().position(|(s, _)| *s == ssrc);
    if known.is_none() && sources.len() >= MAX_SOURCES { Err(SrtpError::Sources) } else { Ok(known) }
}

/// The window of a source that has just been authentic.
fn remember<const WORDS: usize>(
    sources: &mut Vec<(u32, Window<WORDS>)>,
    known: Option<usize>,
    ssrc: u32,
) -> &mut Window<WORDS> {
    let at = known.unwrap_or_else(|| {
        sources.push((ssrc, Window::default()));
        sources.len() - 1
    });
    &mut sources[at].1
}

fn rtcp_aad(header: &[u8], trailer: [u8; 4]) -> [u8; RTCP_HEADER + 4] {
    let mut aad = [0; RTCP_HEADER + 4];
    aad[..RTCP_HEADER].copy_from_slice(header);
    aad[RTCP_HEADER..].copy_from_slice(&trailer);
    aad
}

fn rollover_counter(index: u64) -> [u8; ROC_LEN] {
    ((index >> 16) as u32).to_be_bytes()
}

/// AES-CM key derivation with a key derivation rate of 0 (RFC 3711 §4.3; RFC 7714 §11 pads a 96-bit salt with zeros).
fn derive<const LEN: usize>(master: &Master, label: u8) -> Result<[u8; LEN], SrtpError> {
    let mut iv = [0; 16];
    iv.get_mut(..master.salt.len()).ok_or(SrtpError::Key)?.copy_from_slice(&master.salt);
    iv[7] ^= label;
    let mut out = [0; LEN];
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    counter_mode(&master.key)?.less_safe_encrypt(&mut out, context).map_err(|_| SrtpError::Key)?;
    Ok(out)
}

fn counter_mode(key: &[u8; KEY_LEN]) -> Result<EncryptingKey, SrtpError> {
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| SrtpError::Key)?;
    EncryptingKey::ctr(key).map_err(|_| SrtpError::Key)
}

const KEY_LEN: usize = 16;
const TAG_LEN: usize = 16;
/// HMAC-SHA1 cut to 80 bits (RFC 3711 §5.2).
const HMAC_TAG_LEN: usize = 10;
const HMAC_KEY_LEN: usize = 20;
const ROC_LEN: usize = 4;
const RTCP_HEADER: usize = 8;
const ENCRYPTED: u32 = 1 << 31;
/// RFC 3711 §9.2: the SRTCP index has 31 bits and must not wrap.
const MAX_RTCP_INDEX: u32 = ENCRYPTED - 1;
/// A presenter needs 2 sources per layer and kind; more is an attack on our memory.
const MAX_SOURCES: usize = 16;
/// 1,024 packets: a plain resend (no RTX) of a fast stream comes a round trip late under its old number.
const RTP_WINDOW_WORDS: usize = 16;
const LABEL_RTP_KEY: u8 = 0;
const LABEL_RTP_AUTHENTICATION: u8 = 1;
const LABEL_RTP_SALT: u8 = 2;
const LABEL_RTCP_KEY: u8 = 3;
const LABEL_RTCP_AUTHENTICATION: u8 = 4;
const LABEL_RTCP_SALT: u8 = 5;

#[cfg(test)]
mod tests;
