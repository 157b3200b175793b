//! SRTP and SRTCP (RFC 3711) with AES-128-GCM (RFC 7714), or AES-128-CM with HMAC-SHA1-80 through the `rtc-srtp` crate.
//!
//! One type for each thing that a session does, so that a viewer does not pay for keys that only a presenter needs.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_no_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::wire::rtp::Header;

/// The protection profiles that we speak (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`
    AesGcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`
    AesCm,
}

impl Profile {
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

    fn of_the_crate(self) -> ProtectionProfile {
        match self {
            Self::AesGcm => ProtectionProfile::AeadAes128Gcm,
            Self::AesCm => ProtectionProfile::Aes128CmHmacSha1_80,
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
pub struct RtpSealer(Sealer);

enum Sealer {
    Gcm(Gcm),
    Cm(Box<Context>),
}

impl RtpSealer {
    /// Bytes that protection adds to each packet.
    pub fn overhead(&self) -> usize {
        match &self.0 {
            Sealer::Gcm(_) => TAG_LEN,
            Sealer::Cm(_) => HMAC_TAG_LEN,
        }
    }

    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master, crypto: &dyn RTCCryptoProvider) -> Result<Self, SrtpError> {
        Ok(Self(match master.profile {
            Profile::AesGcm => Sealer::Gcm(Gcm::derive(master, LABEL_RTP_KEY, LABEL_RTP_SALT)?),
            Profile::AesCm => Sealer::Cm(Box::new(context(master, crypto)?)),
        }))
    }

    /// Protects the packet that starts at `start` and ends `buf`; its header is `header_len` bytes, `ssrc` and
    /// `index` (rollover counter and sequence number) are those in the header. Sealing other bytes with an index used
    /// before would give the key away (RFC 7714 §8.4): a resend must be byte-identical.
    /// # Errors
    /// `Authentication` when the library refuses.
    pub fn seal(
        &mut self,
        buf: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        match &mut self.0 {
            Sealer::Gcm(gcm) => {
                let (header, payload) = buf[start..].split_at_mut_checked(header_len).ok_or(SrtpError::Truncated)?;
                let tag = gcm.seal(gcm.rtp_nonce(ssrc, index), header, payload)?;
                buf.extend_from_slice(tag.as_ref());
            }
            Sealer::Cm(context) => {
                let sealed = context.encrypt_rtp(&buf[start..]).map_err(|_| SrtpError::Authentication)?;
                buf.truncate(start);
                buf.extend_from_slice(&sealed);
            }
        }
        Ok(())
    }
}

/// Opens RTP of one presenter.
pub struct RtpOpener {
    opener: Sealer,
    sources: Vec<RtpSource>,
}

struct RtpSource {
    ssrc: u32,
    window: Window<RTP_WINDOW_WORDS>,
}

impl RtpOpener {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master, crypto: &dyn RTCCryptoProvider) -> Result<Self, SrtpError> {
        let opener = match master.profile {
            Profile::AesGcm => Sealer::Gcm(Gcm::derive(master, LABEL_RTP_KEY, LABEL_RTP_SALT)?),
            Profile::AesCm => Sealer::Cm(Box::new(context(master, crypto)?)),
        };
        Ok(Self { opener, sources: Vec::new() })
    }

    /// Opens a packet in place; returns where its plain payload ends (padding included).
    /// # Errors
    /// `Truncated`, `Authentication`, `Replay`, `Sources`; the state has not changed then.
    pub fn open(&mut self, header: &Header, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let gcm = match &mut self.opener {
            Sealer::Gcm(gcm) => gcm,
            Sealer::Cm(context) => {
                if !self.sources.iter().any(|s| s.ssrc == header.ssrc) && self.sources.len() >= MAX_SOURCES {
                    return Err(SrtpError::Sources);
                }
                let plain = context.decrypt_rtp(datagram).map_err(|_| SrtpError::Authentication)?;
                if !self.sources.iter().any(|s| s.ssrc == header.ssrc) {
                    self.sources.push(RtpSource { ssrc: header.ssrc, window: Window::default() });
                }
                datagram.get_mut(..plain.len()).ok_or(SrtpError::Truncated)?.copy_from_slice(&plain);
                return Ok(plain.len());
            }
        };

        let known = self.sources.iter().position(|s| s.ssrc == header.ssrc);
        if known.is_none() && self.sources.len() >= MAX_SOURCES {
            return Err(SrtpError::Sources);
        }
        let newest = known.and_then(|k| self.sources[k].window.newest);
        let index = estimate_index(newest, header.sequence);
        if known.is_some_and(|k| self.sources[k].window.has_seen(index)) {
            return Err(SrtpError::Replay);
        }

        let (plain_header, sealed) = datagram.split_at_mut_checked(header.len).ok_or(SrtpError::Truncated)?;
        let payload_len = sealed.len().checked_sub(TAG_LEN).ok_or(SrtpError::Truncated)?;
        gcm.open(gcm.rtp_nonce(header.ssrc, index), plain_header, sealed)?;

        let slot = known.unwrap_or_else(|| {
            self.sources.push(RtpSource { ssrc: header.ssrc, window: Window::default() });
            self.sources.len() - 1
        });
        self.sources[slot].window.mark(index);
        Ok(header.len + payload_len)
    }
}

/// Protects RTCP of one session.
pub struct RtcpSealer {
    sealer: Sealer,
    index: u32,
}

impl RtcpSealer {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master, crypto: &dyn RTCCryptoProvider) -> Result<Self, SrtpError> {
        let sealer = match master.profile {
            Profile::AesGcm => Sealer::Gcm(Gcm::derive(master, LABEL_RTCP_KEY, LABEL_RTCP_SALT)?),
            Profile::AesCm => Sealer::Cm(Box::new(context(master, crypto)?)),
        };
        Ok(Self { sealer, index: 0 })
    }

    /// Protects the compound packet that is all of `buf` (RFC 7714 §9.2).
    /// # Errors
    /// `Truncated` below 8 bytes; `Authentication` when the index is used up.
    pub fn seal(&mut self, buf: &mut Vec<u8>) -> Result<(), SrtpError> {
        match &mut self.sealer {
            Sealer::Gcm(gcm) => {
                let ssrc = sender_ssrc(buf)?;
                if self.index > MAX_RTCP_INDEX {
                    return Err(SrtpError::Authentication);
                }
                let trailer = (ENCRYPTED | self.index).to_be_bytes();
                let nonce = gcm.rtcp_nonce(ssrc, self.index);
                let (header, body) = buf.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::Truncated)?;
                let mut aad = [0; RTCP_HEADER + 4];
                aad[..RTCP_HEADER].copy_from_slice(header);
                aad[RTCP_HEADER..].copy_from_slice(&trailer);
                let tag = gcm.seal(nonce, &aad, body)?;
                buf.extend_from_slice(tag.as_ref());
                buf.extend_from_slice(&trailer);
                self.index += 1;
            }
            Sealer::Cm(context) => {
                let sealed = context.encrypt_rtcp(buf).map_err(|_| SrtpError::Authentication)?;
                buf.clear();
                buf.extend_from_slice(&sealed);
            }
        }
        Ok(())
    }
}

/// Opens RTCP of one session.
pub struct RtcpOpener {
    opener: Sealer,
    sources: Vec<(u32, Window<1>)>,
}

impl RtcpOpener {
    /// Derives the session keys.
    /// # Errors
    /// `Key`, which exported material never causes.
    pub fn new(master: &Master, crypto: &dyn RTCCryptoProvider) -> Result<Self, SrtpError> {
        let opener = match master.profile {
            Profile::AesGcm => Sealer::Gcm(Gcm::derive(master, LABEL_RTCP_KEY, LABEL_RTCP_SALT)?),
            Profile::AesCm => Sealer::Cm(Box::new(context(master, crypto)?)),
        };
        Ok(Self { opener, sources: Vec::new() })
    }

    /// Opens a compound packet in place; returns its plain length.
    /// # Errors
    /// `Truncated`, `Authentication`, `Replay`, `Sources`; the state has not changed then.
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let gcm = match &mut self.opener {
            Sealer::Gcm(gcm) => gcm,
            Sealer::Cm(context) => {
                let plain = context.decrypt_rtcp(datagram).map_err(|_| SrtpError::Authentication)?;
                datagram.get_mut(..plain.len()).ok_or(SrtpError::Truncated)?.copy_from_slice(&plain);
                return Ok(plain.len());
            }
        };
        let ssrc = sender_ssrc(datagram)?;
        let (packet, trailer) = datagram.split_last_chunk_mut::<4>().ok_or(SrtpError::Truncated)?;
        let word = u32::from_be_bytes(*trailer);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Authentication);
        }
        let index = word & !ENCRYPTED;
        let known = self.sources.iter().position(|(s, _)| *s == ssrc);
        if known.is_none() && self.sources.len() >= MAX_SOURCES {
            return Err(SrtpError::Sources);
        }
        if known.is_some_and(|k| self.sources[k].1.has_seen(index.into())) {
            return Err(SrtpError::Replay);
        }

        let (header, sealed) = packet.split_at_mut_checked(RTCP_HEADER).ok_or(SrtpError::Truncated)?;
        let body_len = sealed.len().checked_sub(TAG_LEN).ok_or(SrtpError::Truncated)?;
        let mut aad = [0; RTCP_HEADER + 4];
        aad[..RTCP_HEADER].copy_from_slice(header);
        aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
        gcm.open(gcm.rtcp_nonce(ssrc, index), &aad, sealed)?;

        let slot = known.unwrap_or_else(|| {
            self.sources.push((ssrc, Window::default()));
            self.sources.len() - 1
        });
        self.sources[slot].1.mark(index.into());
        Ok(RTCP_HEADER + body_len)
    }
}

/// A GCM session key with its salt.
struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    fn derive(master: &Master, key_label: u8, salt_label: u8) -> Result<Self, SrtpError> {
        let mut key = [0; KEY_LEN];
        derive(master, key_label, &mut key)?;
        let mut salt = [0; 12];
        derive(master, salt_label, &mut salt)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).map_err(|_| SrtpError::Key)?);
        Ok(Self { key, salt })
    }

    /// RFC 7714 §8.1: 2 zero bytes, SSRC, rollover counter, sequence number; XOR salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        let [_, _, index @ ..] = index.to_be_bytes();
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 §9.1: 2 zero bytes, SSRC, 2 zero bytes, index; XOR salt.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[8..], &index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, nonce: Nonce, aad: &[u8], body: &mut [u8]) -> Result<Tag, SrtpError> {
        self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), body).map_err(|_| SrtpError::Authentication)
    }

    fn open(&self, nonce: Nonce, aad: &[u8], body_and_tag: &mut [u8]) -> Result<(), SrtpError> {
        self.key.open_in_place(nonce, Aad::from(aad), body_and_tag).map(drop).map_err(|_| SrtpError::Authentication)
    }
}

/// Which indices of one source have been seen: the newest and `64 * WORDS` before it (RFC 3711 §3.3.2).
struct Window<const WORDS: usize> {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self { newest: None, seen: [0; WORDS] }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    const LEN: u64 = 64 * WORDS as u64;

    /// Seen, or too old to tell.
    fn has_seen(&self, index: u64) -> bool {
        let Some(newest) = self.newest else {
            return false;
        };
        if index > newest {
            return false;
        }
        newest - index >= Self::LEN || self.seen[Self::word(index)] & Self::bit(index) != 0
    }

    fn mark(&mut self, index: u64) {
        match self.newest {
            None => self.newest = Some(index),
            Some(newest) if index > newest => {
                if index - newest >= Self::LEN {
                    self.seen = [0; WORDS];
                } else {
                    for skipped in newest + 1..=index {
                        self.seen[Self::word(skipped)] &= !Self::bit(skipped);
                    }
                }
                self.newest = Some(index);
            }
            Some(_) => {}
        }
        self.seen[Self::word(index)] |= Self::bit(index);
    }

    fn word(index: u64) -> usize {
        (index / 64) as usize % WORDS
    }

    fn bit(index: u64) -> u64 {
        1 << (index % 64)
    }
}

/// The 48-bit index that a sequence number most likely stands for (RFC 3711 §3.3.1).
fn estimate_index(newest: Option<u64>, sequence: u16) -> u64 {
    let Some(newest) = newest else {
        return sequence.into();
    };
    let step = i64::from(sequence.wrapping_sub(newest as u16) as i16);
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

/// AES-CM key derivation with a key derivation rate of 0 (RFC 3711 §4.3; RFC 7714 §11 pads a 96-bit salt with zeros).
fn derive(master: &Master, label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    let mut iv = [0; 16];
    iv[..master.salt.len()].copy_from_slice(&master.salt);
    iv[7] ^= label;
    let key = UnboundCipherKey::new(&AES_128, &master.key).map_err(|_| SrtpError::Key)?;
    let key = EncryptingKey::ctr(key).map_err(|_| SrtpError::Key)?;
    out.fill(0);
    key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv))).map_err(|_| SrtpError::Key)?;
    Ok(())
}

fn context(master: &Master, crypto: &dyn RTCCryptoProvider) -> Result<Context, SrtpError> {
    let rtp_window = match master.profile {
        Profile::AesGcm => srtp_no_replay_protection(),
        Profile::AesCm => srtp_replay_protection(64 * RTP_WINDOW_WORDS),
    };
    Context::new(
        &master.key,
        &master.salt,
        master.profile.of_the_crate(),
        Some(rtp_window),
        Some(srtcp_replay_protection(64)),
        crypto.crypto(),
    )
    .map_err(|_| SrtpError::Key)
}

const KEY_LEN: usize = 16;
const TAG_LEN: usize = 16;
/// HMAC-SHA1 cut to 80 bits (RFC 3711 §5.2).
const HMAC_TAG_LEN: usize = 10;
const RTCP_HEADER: usize = 8;
const ENCRYPTED: u32 = 1 << 31;
/// RFC 3711 §9.2: the SRTCP index has 31 bits and must not wrap.
const MAX_RTCP_INDEX: u32 = ENCRYPTED - 1;
/// A presenter needs 2 sources per layer and kind; more is an attack on our memory.
const MAX_SOURCES: usize = 16;
/// 1,024 packets: a plain resend (no RTX) of a fast stream comes a round trip late under its old number.
const RTP_WINDOW_WORDS: usize = 16;
const LABEL_RTP_KEY: u8 = 0;
const LABEL_RTP_SALT: u8 = 2;
const LABEL_RTCP_KEY: u8 = 3;
const LABEL_RTCP_SALT: u8 = 5;

#[cfg(test)]
mod tests;
