//! What all measurements stand on: mixes of packets, sinks, thread CPU time.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::time::{ClockId, clock_gettime};
use tribune::media::outbox::Outbox;
use tribune::media::packet::{Packet, Padding, Source};
use tribune::peer::ice::Path;
use tribune::wire::sdp::{Codec, Feedback, Format, Kind};

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    /// Bursts of one period.
    pub(crate) bursts: &'static [Burst],
}

/// The payload bytes of a burst's packets.
#[derive(Clone, Copy)]
pub(crate) struct Burst {
    pub(crate) audio: &'static [usize],
    pub(crate) video: &'static [usize],
}

const fn video(video: &'static [usize]) -> Burst {
    Burst { audio: &[], video }
}

const SOUND: Burst = Burst { audio: &[AUDIO_BYTES], video: &[] };

/// 2.5 Mbit/s at 30 pictures a second are about 9 packets of 1,150 bytes each; of 50 packets of audio a second one in five
/// falls into a picture's burst and the others leave alone. Then the same with lengths as encoders make them: Chromium
/// cuts a picture into pieces that differ by a byte, FFmpeg into full packets and a rest for each of two slices.
pub(crate) const MIXES: &[Mix] = &[
    Mix { name: "k=1", bursts: &[video(&[VIDEO_BYTES])] },
    Mix { name: "k=4", bursts: &[video(&[VIDEO_BYTES; 4])] },
    Mix { name: "k=12", bursts: &[video(&[VIDEO_BYTES; 12])] },
    REAL,
    Mix {
        name: "Chromium",
        bursts: &[
            Burst { audio: &[118], video: &[1103, 1103, 1103, 1104, 1104, 1104, 1104, 1104, 1104] },
            SOUND,
            video(&[1148, 1148, 1149, 1149, 1149, 1149, 1149, 1149]),
            SOUND,
            SOUND,
            video(&[1126, 1126, 1126, 1126, 1126, 1127, 1127, 1127, 1127, 1127]),
            SOUND,
        ],
    },
    Mix {
        name: "FFmpeg",
        bursts: &[
            Burst { audio: &[118], video: &[1160, 1160, 1160, 1160, 411, 1160, 1160, 1160, 1160, 960] },
            SOUND,
            video(&[1160, 1160, 1160, 1160, 1109, 1160, 1160, 1160, 85]),
            SOUND,
            SOUND,
            video(&[1160, 1160, 1160, 744, 1160, 1160, 1160, 1160, 310]),
            SOUND,
        ],
    },
];

/// The mix that the whole server is judged by; what `tribune load --whip` sends.
pub(crate) const REAL: Mix = Mix {
    name: "real",
    bursts: &[
        Burst { audio: &[AUDIO_BYTES], video: &[VIDEO_BYTES; 9] },
        SOUND,
        video(&[VIDEO_BYTES; 9]),
        SOUND,
        SOUND,
        video(&[VIDEO_BYTES; 9]),
        SOUND,
    ],
};

pub(crate) const VIDEO_BYTES: usize = 1150;
pub(crate) const AUDIO_BYTES: usize = 160;

/// Unread sockets on loopback: the kernel does all of a send and, unless it is discarded before, drops it at the full
/// socket.
pub(crate) struct Sink {
    sockets: Vec<UdpSocket>,
}

impl Sink {
    pub(crate) fn new(viewers: usize, address: IpAddr) -> Self {
        let sockets = (0..viewers.min(MOST_SOCKETS)).map(|_| UdpSocket::bind((address, 0)).unwrap()).collect();
        Self { sockets }
    }

    pub(crate) fn address(&self, viewer: usize) -> SocketAddr {
        self.sockets[viewer % self.sockets.len()].local_addr().unwrap()
    }
}

/// Sends like the server does, through one unconnected socket.
pub(crate) struct Sender {
    socket: UdpSocket,
    state: UdpSocketState,
    pub(crate) sends: u64,
}

impl Sender {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        Self { socket, state, sends: 0 }
    }
}

impl Outbox for Sender {
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize) {
        let transmit = Transmit {
            destination: path.remote,
            ecn: None,
            contents: datagrams,
            segment_size: (segment < datagrams.len()).then_some(segment),
            src_ip: path.local,
        };
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.sends += 1;
    }

    fn is_full(&self) -> bool {
        false
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// A source of packets as a presenter's.
pub(crate) fn source(kind: Kind) -> Arc<Source> {
    let (codec, clock_rate, channels) = match kind {
        Kind::Audio => (Codec::Opus, 48_000, 2),
        Kind::Video => (Codec::Vp8, 90_000, 0),
    };
    let format = Format {
        payload_type: 96 + kind as u8,
        codec,
        clock_rate,
        channels,
        fmtp: String::new(),
        rtx: None,
        feedback: Feedback::default(),
    };
    Arc::new(Source { id: 1 + kind as u64, presentation: 1, kind, layer: 0, rid: None, format })
}

pub(crate) fn packet(source: &Arc<Source>, seq: u64, bytes: usize, marker: bool, now: Instant) -> Packet {
    Packet {
        source: source.clone(),
        seq,
        timestamp: (seq * 3000) as u32,
        marker,
        keyframe: true,
        received_at: now,
        captured: None,
        descriptor: None,
        orientation: None,
        padding: Padding::default(),
        payload: Bytes::from(vec![7; bytes]),
    }
}

/// CPU time of this thread so far.
pub(crate) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of this thread since then.
pub(crate) fn since(start: Duration) -> Duration {
    cpu().saturating_sub(start)
}

/// CPU nanoseconds per unit: the median over rounds, each long enough to be measured well. `work` returns its units.
pub(crate) fn median(rounds: usize, mut work: impl FnMut() -> usize) -> f64 {
    work();
    let mut nanos: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = cpu();
            let mut units = 0;
            while since(start) < ROUND {
                units += work();
            }
            since(start).as_nanos() as f64 / units as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    nanos[nanos.len() / 2]
}

/// The processor, the number of cores, the kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, Linux {}", model.unwrap_or("unknown"), read("/proc/sys/kernel/osrelease").trim())
}

/// Which code this is.
pub(crate) fn commit() -> String {
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    git.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const ROUND: Duration = Duration::from_millis(150);
/// Viewers beyond this share sockets: file descriptors are not what is measured.
const MOST_SOCKETS: usize = 900;
