//! A WHIP presenter that sends exactly the same to everybody: 30 pictures and 50 packets of sound a second.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tribune::peer::dtls::{Agreed, Handshake, Identity, Progress};
use tribune::peer::srtp::RtpSealer;
use tribune::wire::Protocol;
use tribune::wire::rtp;
use tribune::wire::sdp::{DtlsRole, Fingerprint, Hash};
use tribune::wire::stun::{self, Check, Key};

use crate::ground::{AUDIO_BYTES, VIDEO_BYTES};

/// Sends until dropped.
pub(crate) struct Presenter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Presenter {
    /// Joins as the presenter of a stream and begins to send.
    pub(crate) fn start(server: SocketAddr, stream: &str, token: &str) -> Self {
        let identity = Identity::generate().unwrap();
        let offer = offer(&identity);
        let answer = post(server, &format!("/whip/{stream}"), token, &offer);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(media_address(&answer)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let link = Link::new(&offer, &answer, socket);
        let agreed = link.connect(&identity, &fingerprint(&answer));

        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || link.send(&agreed, &stop)
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Presenter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The way to the server.
struct Link {
    socket: UdpSocket,
    username: String,
    key: Key,
    audio: Lane,
    video: Lane,
}

/// One track on its way out.
#[derive(Clone, Copy)]
struct Lane {
    ssrc: u32,
    payload_type: u8,
    index: u64,
}

impl Link {
    fn new(offer: &str, answer: &str, socket: UdpSocket) -> Self {
        let lane = |kind: &str, payload_type| {
            let section = &offer[offer.find(&format!("m={kind}")).unwrap()..];
            Lane { ssrc: value(section, "a=ssrc:").parse().unwrap(), payload_type, index: 1000 }
        };
        Self {
            socket,
            username: format!("{}:{}", value(answer, "a=ice-ufrag:"), value(offer, "a=ice-ufrag:")),
            key: Key::new(value(answer, "a=ice-pwd:")),
            audio: lane("audio", 111),
            video: lane("video", 96),
        }
    }

    fn check(&self) {
        let check = Check {
            transaction: *b"abcdefghijkl",
            username: &self.username,
            priority: 1,
            controlling: 1,
            use_candidate: true,
        };
        let mut datagram = Vec::new();
        stun::write_check(&mut datagram, &check, &self.key);
        self.socket.send(&datagram).unwrap();
    }

    fn connect(&self, identity: &Identity, theirs: &Fingerprint) -> Agreed {
        self.check();
        let (mut out, mut buf) = (Vec::new(), [0; 4096]);
        let mut handshake =
            Handshake::new(identity, DtlsRole::Client, vec![theirs.clone()], Instant::now(), &mut out).unwrap();
        loop {
            for flight in out.drain(..) {
                self.socket.send(&flight).unwrap();
            }
            let Ok(len) = self.socket.recv(&mut buf) else {
                self.check();
                handshake.handle_timeout(Instant::now(), &mut out);
                continue;
            };
            if Protocol::of(&buf[..len]) == Some(Protocol::Dtls)
                && let Progress::Complete(agreed) =
                    handshake.read(identity, &buf[..len], Instant::now(), &mut out).unwrap()
            {
                return agreed;
            }
        }
    }

    fn send(mut self, agreed: &Agreed, stop: &AtomicBool) {
        let mut sealer = RtpSealer::new(&agreed.ours).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        let (start, mut pictures, mut sounds, mut buf) = (Instant::now(), 0_u32, 0_u32, [0; 2048]);
        while !stop.load(Ordering::Relaxed) {
            let picture_at = start + PICTURE * pictures;
            let sound_at = start + SOUND * sounds;
            std::thread::sleep(picture_at.min(sound_at).saturating_duration_since(Instant::now()));
            // What the server says is of no interest, but it must not fill the socket.
            while self.socket.recv(&mut buf).is_ok() {}
            if sound_at <= picture_at {
                put(&self.socket, &mut self.audio, &mut sealer, &[7; AUDIO_BYTES], sounds * 960, true);
                sounds += 1;
                continue;
            }
            if pictures.is_multiple_of(30) {
                self.check();
            }
            let is_key = pictures.is_multiple_of(60);
            for at in 0..PACKETS {
                // A VP8 descriptor that begins a partition or does not, and a frame tag that says "key" or does not.
                let mut payload = [7; VIDEO_BYTES];
                payload[0] = if at == 0 { 0x10 } else { 0 };
                payload[1] = u8::from(!is_key);
                put(&self.socket, &mut self.video, &mut sealer, &payload, pictures * 3000, at + 1 == PACKETS);
            }
            pictures += 1;
        }
    }
}

fn put(socket: &UdpSocket, lane: &mut Lane, sealer: &mut RtpSealer, payload: &[u8], timestamp: u32, marker: bool) {
    let mut packet = Vec::with_capacity(1500);
    lane.index += 1;
    rtp::write_header(&mut packet, marker, false, lane.payload_type, lane.index as u16, timestamp, lane.ssrc, &[]);
    let header_len = packet.len();
    packet.extend_from_slice(payload);
    sealer.seal(&mut packet, 0, header_len, lane.ssrc, lane.index).unwrap();
    // A full receive buffer is what overload looks like; the server's counters tell.
    let _ = socket.send(&packet);
}

/// Chromium's offer, with our certificate.
fn offer(identity: &Identity) -> String {
    let ours: Vec<String> = identity.fingerprint().value.iter().map(|b| format!("{b:02X}")).collect();
    OFFER.replace(value(OFFER, "a=fingerprint:sha-256 "), &ours.join(":"))
}

fn fingerprint(answer: &str) -> Fingerprint {
    let value = value(answer, "a=fingerprint:sha-256 ").split(':').map(|b| u8::from_str_radix(b, 16).unwrap());
    Fingerprint { hash: Hash::Sha256, value: value.collect() }
}

/// What follows a prefix in the first line that has it, up to the next space.
fn value<'a>(sdp: &'a str, prefix: &str) -> &'a str {
    let line = sdp.lines().find_map(|l| l.strip_prefix(prefix)).unwrap();
    line.split(' ').next().unwrap().trim()
}

fn media_address(answer: &str) -> SocketAddr {
    let candidate = answer.lines().find(|l| l.starts_with("a=candidate:") && l.contains(" udp ")).unwrap();
    let words: Vec<_> = candidate.split(' ').collect();
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}

/// One HTTP request over a connection of its own; the body of the answer.
fn post(server: SocketAddr, path: &str, token: &str, body: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let answer = exchange(server, &(head + body));
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Sends a request that says `Connection: close`; the whole answer.
pub(crate) fn exchange(server: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const OFFER: &str = include_str!("../fixtures/offers/chromium-156-publish.sdp");
const PICTURE: Duration = Duration::from_nanos(33_333_333);
const SOUND: Duration = Duration::from_millis(20);
/// Packets of a picture: with 1,150 bytes each that is 2.5 Mbit/s.
const PACKETS: usize = 9;
