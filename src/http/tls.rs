//! TLS: certificates and the one configuration for them.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

/// Where certificate and key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// PEM files: the chain, the server's own certificate first, and its private key.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key: PKCS #8, PKCS #1 or SEC 1.
        key: PathBuf,
    },
    /// Made at start, for a LAN; browsers warn once.
    SelfSigned {
        /// Host names and addresses that it is for.
        names: Vec<String>,
    },
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has nothing usable in it.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Certificate and key do not fit together, or the key is of a kind that is not supported.
    #[error("the certificate and the key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
    /// The names are not names.
    #[error("no certificate can be made for {names:?}: {reason}")]
    SelfSigned {
        /// The names wanted.
        names: Vec<String>,
        /// What is wrong with them.
        reason: String,
    },
}

/// Hands out the configuration for the next handshake; another certificate can be swapped in at any time.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<ServerConfig>,
}

impl Certificates {
    /// Loads or makes them.
    /// # Errors
    /// See [`TlsError`].
    pub(super) fn new(tls: &Tls) -> Result<Self, TlsError> {
        Ok(Self { current: ArcSwap::from_pointee(config(tls)?) })
    }

    /// Loads or makes them anew. Connections that exist keep what they have.
    /// # Errors
    /// See [`TlsError`]; the old ones stay in use then.
    pub fn reload(&self, tls: &Tls) -> Result<(), TlsError> {
        self.current.store(Arc::new(config(tls)?));
        Ok(())
    }

    /// For one handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and 1.1, no early data: a replayed POST would present twice.
fn config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let (chain, key) = match tls {
        Tls::Files { cert, key } => (read_chain(cert)?, read_key(key)?),
        Tls::SelfSigned { names } => self_signed(names)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok(config)
}

/// All certificates of a PEM file.
fn read_chain(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File { path: path.clone(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|e| wrong(describe(&e)))?.collect();
    let chain = chain.map_err(|e| wrong(describe(&e)))?;
    if chain.is_empty() { Err(wrong("no `BEGIN CERTIFICATE` block in it".into())) } else { Ok(chain) }
}

/// The private key of a PEM file.
fn read_key(path: &PathBuf) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| TlsError::File { path: path.clone(), reason: describe(&e) })
}

/// What went wrong with a PEM file, in a person's words.
fn describe(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "no `BEGIN … PRIVATE KEY` block in it".into(),
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => format!("not a PEM file: {other}"),
    }
}

/// A fresh key with a certificate for these names.
fn self_signed(names: &[String]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let made = rcgen::generate_simple_self_signed(names.to_vec())
        .map_err(|e| TlsError::SelfSigned { names: names.to_vec(), reason: e.to_string() })?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory of its own for one test, gone afterwards.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tribune-tls-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).expect("a file");
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_is_taken() {
        let dir = Dir::new("good");
        let (cert, key) = pair();
        let tls = Tls::Files { cert: dir.file("cert.pem", &cert), key: dir.file("key.pem", &key) };

        let certificates = Certificates::new(&tls).expect("both fit");

        assert!(certificates.reload(&tls).is_ok());
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it() {
        let dir = Dir::new("bad");
        let (cert, key) = pair();
        let (other, _) = pair();
        let cert = dir.file("cert.pem", &cert);
        let other = dir.file("other.pem", &other);
        let key = dir.file("key.pem", &key);
        let empty = dir.file("empty.pem", "");
        let missing = dir.0.join("missing.pem");
        let cases = [
            (&missing, &key, "missing.pem: "),
            (&empty, &key, "empty.pem: no `BEGIN CERTIFICATE` block"),
            (&key, &key, "key.pem: no `BEGIN CERTIFICATE` block"),
            (&cert, &empty, "empty.pem: no `BEGIN … PRIVATE KEY` block"),
            (&cert, &cert, "cert.pem: no `BEGIN … PRIVATE KEY` block"),
            (&other, &key, "the certificate and the key cannot be used"),
        ];

        for (cert, key, wanted) in cases {
            let tls = Tls::Files { cert: cert.clone(), key: key.clone() };
            let error = Certificates::new(&tls).expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_bad_reload_keeps_what_works() {
        let certificates = Certificates::new(&Tls::SelfSigned { names: vec!["localhost".into()] }).expect("made");
        let before = Arc::as_ptr(&certificates.current.load_full());

        let missing = Tls::Files { cert: "/nowhere/c.pem".into(), key: "/nowhere/k.pem".into() };
        assert!(certificates.reload(&missing).is_err());

        assert_eq!(Arc::as_ptr(&certificates.current.load_full()), before);
    }
}
