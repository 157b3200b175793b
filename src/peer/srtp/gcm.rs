//! AES-128-GCM under a session key and salt (RFC 7714): half of the work that the server does.

use aws_lc_rs::aead as aws;
use ring::aead as vector;

use super::{KEY_LEN, Master, SrtpError, TAG_LEN, derive, xor};

/// A GCM session key with its salt.
pub(super) struct Gcm {
    key: Key,
    salt: [u8; 12],
}

/// The same cipher from the library that is faster at it on this processor.
enum Key {
    /// The fastest with AVX-512, and with ARM's instructions; older ones it serves as well as any.
    Aws(aws::LessSafeKey),
    /// Knows the vector instructions for AES of processors without AVX-512 too (AMD before Zen 4, Intel's of desktops and
    /// their like): 1,150 bytes in three fifths of the time.
    Vector(Box<vector::LessSafeKey>),
}

/// 96 bits that no two packets under a key share.
pub(super) type Nonce = [u8; 12];
/// What proves a packet.
pub(super) type Tag = [u8; TAG_LEN];

impl Gcm {
    /// Derives the session key and salt.
    pub(super) fn derive(master: &Master, key_label: u8, salt_label: u8) -> Result<Self, SrtpError> {
        Self::new(&derive(master, key_label)?, derive(master, salt_label)?)
    }

    /// Of keys that have been derived already.
    pub(super) fn new(key: &[u8; KEY_LEN], salt: [u8; 12]) -> Result<Self, SrtpError> {
        let key = if prefers_vector() { Key::vector(key) } else { Key::aws(key) }?;
        Ok(Self { key, salt })
    }

    /// RFC 7714 §8.1: 2 zero bytes, SSRC, rollover counter, sequence number; XOR salt.
    pub(super) fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        let [_, _, index @ ..] = index.to_be_bytes();
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index);
        nonce
    }

    /// RFC 7714 §9.1: 2 zero bytes, SSRC, 2 zero bytes, index; XOR salt.
    pub(super) fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[8..], &index.to_be_bytes());
        nonce
    }

    /// Encrypts `body` in place; `aad` and it are what the tag proves.
    pub(super) fn seal(&self, nonce: Nonce, aad: &[u8], body: &mut [u8]) -> Result<Tag, SrtpError> {
        self.key.seal(nonce, aad, body).ok_or(SrtpError::Authentication)
    }

    /// Decrypts in place what ends with a tag, if the tag is right.
    pub(super) fn open(&self, nonce: Nonce, aad: &[u8], body_and_tag: &mut [u8]) -> Result<(), SrtpError> {
        self.key.open(nonce, aad, body_and_tag).ok_or(SrtpError::Authentication)
    }
}

impl Key {
    fn aws(key: &[u8; KEY_LEN]) -> Result<Self, SrtpError> {
        let key = aws::UnboundKey::new(&aws::AES_128_GCM, key).map_err(|_| SrtpError::Key)?;
        Ok(Self::Aws(aws::LessSafeKey::new(key)))
    }

    fn vector(key: &[u8; KEY_LEN]) -> Result<Self, SrtpError> {
        let key = vector::UnboundKey::new(&vector::AES_128_GCM, key).map_err(|_| SrtpError::Key)?;
        Ok(Self::Vector(Box::new(vector::LessSafeKey::new(key))))
    }

    fn seal(&self, nonce: Nonce, aad: &[u8], body: &mut [u8]) -> Option<Tag> {
        match self {
            Self::Aws(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aws::Aad::from(aad), body).ok()?;
                tag.as_ref().try_into().ok()
            }
            Self::Vector(key) => {
                let nonce = vector::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, vector::Aad::from(aad), body).ok()?;
                tag.as_ref().try_into().ok()
            }
        }
    }

    fn open(&self, nonce: Nonce, aad: &[u8], body_and_tag: &mut [u8]) -> Option<()> {
        match self {
            Self::Aws(key) => {
                let nonce = aws::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws::Aad::from(aad), body_and_tag).ok().map(drop)
            }
            Self::Vector(key) => {
                let nonce = vector::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, vector::Aad::from(aad), body_and_tag).ok().map(drop)
            }
        }
    }
}

/// This processor has the vector instructions that only one of the libraries can use.
#[cfg(target_arch = "x86_64")]
fn prefers_vector() -> bool {
    use std::arch::is_x86_feature_detected as has;

    // The standard library looks once and remembers.
    has!("avx2") && has!("vaes") && has!("vpclmulqdq") && !has!("avx512bw")
}

#[cfg(not(target_arch = "x86_64"))]
fn prefers_vector() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_seal_alike_and_open_what_the_other_has_sealed() {
        let keys = [Key::aws(&[7; KEY_LEN]).expect("a key"), Key::vector(&[7; KEY_LEN]).expect("a key")];
        for len in [0, 1, 15, 16, 17, 160, 255, 256, 1150, 1200, 1500] {
            let plain: Vec<u8> = (0..len).map(|byte: usize| byte as u8).collect();
            let nonce = [len as u8; 12];
            let header = &[9; 20][..12 + len % 9];
            let sealed = keys.each_ref().map(|key| {
                let mut body = plain.clone();
                let tag = key.seal(nonce, header, &mut body).expect("sealed");
                [&body[..], &tag].concat()
            });
            assert_eq!(sealed[0], sealed[1], "{len} bytes");

            for key in &keys {
                let mut body = sealed[0].clone();
                assert_eq!(key.open(nonce, header, &mut body), Some(()), "{len} bytes");
                assert_eq!(body[..len], plain);

                let mut forged = sealed[0].clone();
                forged[len / 2] ^= 1;
                assert_eq!(key.open(nonce, header, &mut forged), None, "{len} bytes, forged");
            }
        }
    }
}
