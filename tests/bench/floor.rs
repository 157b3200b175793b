//! The floor: copy, patch, seal, one send per viewer and burst, and nothing else. And the track router against it.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tribune::media::outbox::Outbox;
use tribune::peer::ice::Path;

use crate::ground::{Burst, Mix, Sender, Sink, median};
use crate::{Row, fanout};

/// The floor for 100 viewers, then the router with more and more viewers.
pub(crate) fn and_fanout(mix: &Mix, is_quick: bool) -> Vec<Row> {
    let floor = floor(mix, 100);
    let row = |what: String, nanos: f64| Row::cpu(what, "packet", nanos).against(floor);
    let mut rows = vec![row(format!("floor, {}, 100 viewers", mix.name), floor)];
    let counts: &[usize] = if is_quick { &[100] } else { &[10, 100, 500, 2000] };
    for viewers in counts {
        let nanos = fanout::per_packet(mix, *viewers);
        rows.push(row(format!("track router, {}, {viewers} viewers", mix.name), nanos));
    }
    rows
}

struct Viewer {
    key: LessSafeKey,
    salt: [u8; 12],
    seq: u64,
    path: Path,
}

/// CPU nanoseconds per packet and viewer.
pub(crate) fn floor(mix: &Mix, viewers: usize) -> f64 {
    let sink = Sink::new(viewers);
    let mut viewers: Vec<Viewer> = (0..viewers)
        .map(|v| Viewer {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[v as u8; 16]).unwrap()),
            salt: [v as u8; 12],
            seq: 0,
            path: Path { remote: sink.address(v), local: None },
        })
        .collect();
    let bursts: Vec<Vec<Vec<usize>>> = mix.bursts.iter().map(sends).collect();
    let payload = vec![7_u8; 1500];
    let mut sender = Sender::new();
    let mut arena: Vec<u8> = Vec::with_capacity(65_536);

    median(9, || {
        let mut packets = 0;
        for burst in &bursts {
            for viewer in &mut viewers {
                for lengths in burst {
                    arena.clear();
                    for len in lengths {
                        append(&mut arena, viewer, &payload[..*len]);
                    }
                    packets += lengths.len();
                    sender.send(viewer.path, &arena, 12 + lengths[0] + 16);
                }
            }
        }
        packets
    })
}

/// The fewest sends that a burst can leave in without changing the order of a track: the lengths of each. Sound goes
/// last; a packet may be padded by as much as the count at its end can say.
fn sends(burst: &Burst) -> Vec<Vec<usize>> {
    let mut sends: Vec<Vec<usize>> = Vec::new();
    for len in burst.video.iter().chain(burst.audio) {
        match sends.last_mut() {
            Some(send) if (*len).max(send[0]) - send.iter().min().unwrap() <= 255 => {
                let longest = (*len).max(send[0]);
                send.fill(longest);
                send.push(*len);
            }
            _ => sends.push(vec![*len]),
        }
    }
    sends
}

fn append(arena: &mut Vec<u8>, viewer: &mut Viewer, payload: &[u8]) {
    viewer.seq += 1;
    let start = arena.len();
    arena.extend_from_slice(&[0x80, 96]);
    arena.extend_from_slice(&(viewer.seq as u16).to_be_bytes());
    arena.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
    arena.extend_from_slice(payload);
    let mut nonce = viewer.salt;
    for (n, s) in nonce[4..].iter_mut().zip(viewer.seq.to_be_bytes()) {
        *n ^= s;
    }
    let (header, body) = arena[start..].split_at_mut(12);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = viewer.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body).unwrap();
    arena.extend_from_slice(tag.as_ref());
}
