//! What a join costs the server: the DTLS handshake and the keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tribune::peer::dtls::{Handshake, Identity, Progress};
use tribune::peer::srtp::{RtcpOpener, RtcpSealer, RtpSealer};
use tribune::wire::sdp::DtlsRole;

use crate::Row;
use crate::ground::{cpu, since};

pub(crate) fn run() -> Vec<Row> {
    let (server, client) = (Arc::new(Identity::generate().unwrap()), Identity::generate().unwrap());
    let mut costs: Vec<f64> = (0..300).map(|_| one(&server, &client).as_nanos() as f64).collect();
    costs.sort_by(f64::total_cmp);
    let nanos = costs[costs.len() / 2];
    vec![Row::cpu("DTLS handshake and keys, the server's part", "join", nanos)]
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
