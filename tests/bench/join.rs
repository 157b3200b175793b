//! What a join costs the server: reading the offer and answering it, the DTLS handshake and the keys; beside it the
//! least that any server spends on it, which is the arithmetic of the handshake.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use tribune::peer::dtls::{Handshake, Identity, Progress};
use tribune::peer::srtp::{RtcpOpener, RtcpSealer, RtpSealer};
use tribune::wire::sdp::{DtlsRole, IceCredentials, Local, Offer, Shape, Source, answer_viewer};

use crate::Row;
use crate::ground::{cpu, since};

pub(crate) fn run() -> Vec<Row> {
    let mut rows: Vec<Row> = OFFERS.iter().map(|(who, offer)| answer(who, offer)).collect();

    let arithmetic = Arithmetic::measure();
    rows.extend(arithmetic.rows());
    // The handshake below agrees on P-256, as the library's client wishes.
    let floor = arithmetic.of_a_handshake();

    let (server, client) = (Arc::new(Identity::generate().unwrap()), Identity::generate().unwrap());
    let mut costs: Vec<f64> = (0..300).map(|_| one(&server, &client).as_nanos() as f64).collect();
    costs.sort_by(f64::total_cmp);
    let nanos = costs[costs.len() / 2];
    let what = "DTLS handshake and keys, the server's part";
    rows.push(Row::cpu(what, "join", nanos).against(floor));
    rows
}

/// CPU nanoseconds of what no server can do without.
struct Arithmetic {
    sign: f64,
    verify: f64,
    x25519: f64,
    p256: f64,
    derive: f64,
}

impl Arithmetic {
    fn measure() -> Self {
        let keys = SystemRandom::new();
        let certificate = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &keys).unwrap();
        let certificate = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, certificate.as_ref()).unwrap();
        let signed = certificate.sign(&keys, MESSAGE).unwrap();
        let sign = median(|| {
            black_box(certificate.sign(&keys, MESSAGE).unwrap());
        });
        let theirs = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, certificate.public_key().as_ref());
        let verify = median(|| theirs.verify(MESSAGE, signed.as_ref()).unwrap());
        let [x25519, p256] = [&agreement::X25519, &agreement::ECDH_P256].map(|algorithm| median(|| agree(algorithm)));
        Self { sign, verify, x25519, p256, derive: median(derive) }
    }

    fn rows(&self) -> Vec<Row> {
        let steps = [
            ("ECDSA P-256 signature", self.sign),
            ("ECDSA P-256 verification", self.verify),
            ("X25519 key and agreement", self.x25519),
            ("P-256 key and agreement", self.p256),
            ("deriving and checking keys (PRF)", self.derive),
        ];
        steps.into_iter().map(|(what, nanos)| Row::cpu(what, "join", nanos)).collect()
    }

    /// Of one that agrees on P-256, the server's part.
    fn of_a_handshake(&self) -> f64 {
        self.sign + self.verify + self.p256 + self.derive
    }
}

/// CPU nanoseconds of a handshake's arithmetic, the server's part.
pub(crate) fn floor() -> f64 {
    Arithmetic::measure().of_a_handshake()
}

/// Master secret, key block, two Finished and the exporter are two blocks of PRF each, two HMACs a block (RFC 5246 §5).
fn derive() {
    for _ in 0..5 * 2 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 48]);
        let next = hmac::sign(&key, &[7; 64]);
        black_box(hmac::sign(&key, &[next.as_ref(), &[7; 64]].concat()));
    }
}

/// From the text of a viewer's offer to the text of our answer.
fn answer(who: &str, offer: &str) -> Row {
    let identity = Identity::generate().unwrap();
    let ice = IceCredentials { ufrag: "abcdefgh".into(), pwd: "0123456789abcdef01234567".into() };
    let nanos = median(|| {
        let offer = Offer::parse(offer).unwrap();
        let local = Local {
            ice: &ice,
            fingerprint: identity.fingerprint(),
            candidates: &[([127, 0, 0, 1], 9).into()],
            session_id: 1 << 61,
            msid: "live",
            audio: Source { ssrc: 1, rtx: None },
            video: Source { ssrc: 2, rtx: Some(3) },
        };
        black_box(answer_viewer(&offer, &local, &Shape::default()).unwrap());
    });
    Row::cpu(format!("offer of {who} ({} bytes), answered", offer.len()), "join", nanos)
}

/// A fresh key, and the secret that it makes with a peer's.
fn agree(algorithm: &'static agreement::Algorithm) {
    let ours = PrivateKey::generate(algorithm).unwrap();
    let public = ours.compute_public_key().unwrap();
    // Our own public key is as good as anybody's for measuring.
    let peer = UnparsedPublicKey::new(algorithm, public.as_ref());
    agreement::agree(&ours, peer, (), |secret| Ok(black_box(secret[0]))).unwrap();
}

/// CPU nanoseconds, the median of many rounds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut costs: Vec<f64> = (0..500)
        .map(|_| {
            let start = cpu();
            work();
            since(start).as_nanos() as f64
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// One handshake; the CPU time of the server's part.
fn one(server: &Identity, client: &Identity) -> Duration {
    let now = Instant::now();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut spent = Duration::ZERO;
    let theirs = vec![client.fingerprint().clone()];
    let ours = vec![server.fingerprint().clone()];
    let mut client_end = Handshake::new(client, DtlsRole::Client, ours, now, &mut to_server).unwrap();
    let start = cpu();
    let mut server_end = Handshake::new(server, DtlsRole::Server, theirs, now, &mut to_client).unwrap();
    spent += since(start);
    for _ in 0..20 {
        for datagram in std::mem::take(&mut to_server) {
            let start = cpu();
            let progress = server_end.read(server, &datagram, now, &mut to_client).unwrap();
            if let Progress::Complete(agreed) = progress {
                RtpSealer::new(&agreed.ours).unwrap();
                RtcpSealer::new(&agreed.ours).unwrap();
                RtcpOpener::new(&agreed.theirs).unwrap();
                return spent + since(start);
            }
            spent += since(start);
        }
        for datagram in std::mem::take(&mut to_client) {
            client_end.read(client, &datagram, now, &mut to_server).unwrap();
        }
    }
    panic!("the handshake does not end");
}

const OFFERS: &[(&str, &str)] = &[
    ("Chromium", include_str!("../fixtures/offers/chromium-156-play.sdp")),
    ("Firefox", include_str!("../fixtures/offers/firefox-153-play.sdp")),
    ("aiortc", include_str!("../fixtures/offers/aiortc-1.16.0-play.sdp")),
];
/// About as long as what is hashed into a signature.
const MESSAGE: &[u8] = &[7; 2000];
