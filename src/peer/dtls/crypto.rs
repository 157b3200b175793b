//! The crypto library as the DTLS library sees it, with a memory for the dearest question.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtc_crypto::providers::AwsLcRsProvider;
use rtc_crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, CbcAlgorithm, CbcCipher, CryptoAlgorithm, CryptoError, HashAlgorithm,
    HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, PublicKeyEncoding, RTCCrypto, RTCCryptoProvider, RTCRandom,
    SignatureScheme, SigningKey,
};

/// `aws-lc-rs`, which does not verify the same signature twice in a row.
///
/// A client's last flight comes as one datagram. The library reads its CertificateVerify, needs the keys that only then
/// exist to open the Finished behind it, and reads the flight from its beginning again: two verifications per handshake,
/// each a third of its arithmetic. An answer is kept for exactly the same key, message and signature, and only when it
/// was yes.
#[derive(Default)]
pub(super) struct Crypto {
    library: AwsLcRsProvider,
    verified: Mutex<Option<Verified>>,
}

/// A signature that is good.
struct Verified {
    scheme: SignatureScheme,
    encoding: PublicKeyEncoding,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl RTCCryptoProvider for Crypto {
    fn name(&self) -> &'static str {
        self.library.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.library.random()
    }
}

/// All that DTLS asks for; the rest, which is SRTP's, is unsupported.
impl RTCCrypto for Crypto {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.library.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.library.crypto().hash(algorithm, data)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.library.crypto().new_hmac(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.library.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.library.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.library.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.library.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(&self, scheme: SignatureScheme, pkcs8: &[u8]) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.library.crypto().import_signing_key(scheme, pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if self.verified().as_ref().is_some_and(|known| known.is(scheme, public_key, message, signature)) {
            return Ok(());
        }
        self.library.crypto().verify_signature(scheme, public_key, message, signature)?;
        let PublicKey { encoding, bytes: key } = public_key;
        let [key, message, signature] = [key, message, signature].map(<[u8]>::to_vec);
        *self.verified() = Some(Verified { scheme, encoding, key, message, signature });
        Ok(())
    }
}

impl Crypto {
    /// Another thread's handshake may take the place between two questions; then it is verified again.
    fn verified(&self) -> MutexGuard<'_, Option<Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verified {
    fn is(&self, scheme: SignatureScheme, key: PublicKey<'_>, message: &[u8], signature: &[u8]) -> bool {
        (self.scheme, self.encoding) == (scheme, key.encoding)
            && self.key == key.bytes
            && self.message == message
            && self.signature == signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_verified_is_good_the_second_time() {
        let crypto = Crypto::default();
        let scheme = SignatureScheme::EcdsaP256Sha256;
        let (signer, other) =
            (crypto.generate_signing_key(scheme).unwrap(), crypto.generate_signing_key(scheme).unwrap());
        let signature = signer.sign(scheme, b"a transcript").unwrap();
        let ask = |key: &Arc<dyn SigningKey>, message: &[u8], signature: &[u8]| {
            crypto.verify_signature(scheme, key.public_key(), message, signature).is_ok()
        };

        for _ in 0..2 {
            assert!(ask(&signer, b"a transcript", &signature));
            assert!(!ask(&other, b"a transcript", &signature), "another key");
            assert!(!ask(&signer, b"another transcript", &signature), "another message");
            assert!(!ask(&signer, b"a transcript", &signature[..signature.len() - 1]), "another signature");
        }
    }
}
