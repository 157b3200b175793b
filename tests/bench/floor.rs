//! The floor: copy, patch, seal, one send per viewer and burst, and nothing else. And the track router against it.

use std::net::IpAddr;
use std::time::Duration;

use tribune::media::outbox::Outbox;
use tribune::peer::ice::Path;
use tribune::peer::srtp::{Profile, RtpSealer, masters};

use crate::ground::{Burst, Mix, REAL, Sender, Sink, cpu, median, since};
use crate::network::HERE;
use crate::{Row, fanout};

/// The floor for 100 viewers, then the router with more and more viewers.
pub(crate) fn and_fanout(mix: &Mix, is_quick: bool) -> Vec<Row> {
    let floor = floor(mix, 100, HERE);
    let row = |what: String, nanos: f64| Row::cpu(what, "packet", nanos).against(floor);
    let mut rows = vec![row(format!("floor, {}, 100 viewers", mix.name), floor)];
    let counts: &[usize] = if is_quick { &[100] } else { &[10, 100, 500, 2000] };
    let mut with_100 = f64::NAN;
    for viewers in counts {
        let nanos = fanout::per_packet(mix, *viewers);
        let mut row = row(format!("track router, {}, {viewers} viewers", mix.name), nanos);
        if *viewers == 100 {
            with_100 = nanos;
        }
        // Of the mix that the whole server is judged by.
        if *viewers == 2000 && mix.name == REAL.name {
            row = row.at_most((1.15 * with_100).round()).note("1.15 × 100 viewers");
        }
        rows.push(row);
    }
    rows
}

struct Viewer {
    /// The server's own: which library is faster at it depends on the processor.
    sealer: RtpSealer,
    seq: u64,
    path: Path,
}

/// All that the floor needs to send.
struct Floor {
    viewers: Vec<Viewer>,
    _sink: Sink,
    sender: Sender,
    arena: Vec<u8>,
    payload: Vec<u8>,
}

impl Floor {
    fn new(viewers: usize, address: IpAddr) -> Self {
        let sink = Sink::new(viewers, address);
        let viewer = |v| {
            let (ours, _) = masters(Profile::AesGcm, &[v as u8; 56], false).unwrap();
            let path = Path { remote: sink.address(v), local: None };
            Viewer { sealer: RtpSealer::new(&ours).unwrap(), seq: 0, path }
        };
        let viewers = (0..viewers).map(viewer).collect();
        Self { viewers, _sink: sink, sender: Sender::new(), arena: Vec::with_capacity(65_536), payload: vec![7; 1500] }
    }

    /// Sends a burst to all; returns the number of packets.
    fn send(&mut self, burst: &[Vec<usize>]) -> usize {
        for viewer in &mut self.viewers {
            for lengths in burst {
                self.arena.clear();
                for len in lengths {
                    append(&mut self.arena, viewer, &self.payload[..*len]);
                }
                self.sender.send(viewer.path, &self.arena, 12 + lengths[0] + 16);
            }
        }
        self.viewers.len() * burst.iter().map(Vec::len).sum::<usize>()
    }
}

/// CPU nanoseconds per packet and viewer; the viewers are at this address.
pub(crate) fn floor(mix: &Mix, viewers: usize, address: IpAddr) -> f64 {
    let mut floor = Floor::new(viewers, address);
    let bursts: Vec<Vec<Vec<usize>>> = mix.bursts.iter().map(sends).collect();
    median(9, || bursts.iter().map(|burst| floor.send(burst)).sum())
}

/// The same at the pace of a stream: a server sleeps between two bursts, and finds its caches as others have left them.
pub(crate) fn paced(mix: &Mix, viewers: usize, address: IpAddr) -> f64 {
    let mut floor = Floor::new(viewers, address);
    let bursts: Vec<Vec<Vec<usize>>> = mix.bursts.iter().map(sends).collect();
    let (mut spent, mut packets) = (Duration::ZERO, 0);
    for _ in 0..PERIODS {
        for burst in &bursts {
            std::thread::sleep(PERIOD / bursts.len() as u32);
            let start = cpu();
            packets += floor.send(burst);
            spent += since(start);
        }
    }
    spent.as_nanos() as f64 / packets as f64
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
    viewer.sealer.seal(arena, start, 12, 1, viewer.seq).unwrap();
}

/// What a mix's bursts are of.
const PERIOD: Duration = Duration::from_millis(100);
const PERIODS: usize = 30;
