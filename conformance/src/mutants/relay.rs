//! The middle-man for media: it puts itself into the candidates of every answer, passes datagrams on, and alters those
//! that a mutant names. It knows the ICE passwords from the SDP, so that what it alters is signed again.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::How;
use super::proxy::{Ask, Reply};
use crate::stun::{Message, XOR_MAPPED_ADDRESS};

/// What becomes of a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on, changed or not.
    Pass,
    /// It is lost.
    Lose,
    /// It goes on from another port than the one that was asked.
    Elsewhere,
    /// It goes on, and octets of media follow that nobody asked for.
    Flood,
    /// It goes on, and comes again and again for longer than any silence lasts.
    Linger,
}

/// A datagram under way.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a mutant may do to it")]
pub(super) struct Passing {
    /// Its octets; STUN is taken apart below instead.
    pub(super) octets: Vec<u8>,
    /// The message, when it is STUN.
    pub(super) stun: Option<Message>,
    /// True on the way to the server.
    pub(super) to_server: bool,
    /// How many other addresses came to this relay before this one.
    pub(super) path: usize,
    /// Since the first datagram of this client.
    pub(super) age: Duration,
    /// How many datagrams went this way before, counted by first octet class.
    pub(super) number: u64,
    /// True when a check of the client was altered and must be signed again.
    pub(super) altered: bool,
    /// True when MESSAGE-INTEGRITY is made with a wrong password.
    pub(super) forge_integrity: bool,
    /// True when FINGERPRINT is left out.
    pub(super) drop_fingerprint: bool,
    /// True when MESSAGE-INTEGRITY is left out.
    pub(super) drop_integrity: bool,
    /// True when XOR-MAPPED-ADDRESS is left out.
    pub(super) drop_mapped: bool,
}

impl Passing {
    /// True for RTP that goes to the client.
    pub(super) fn is_media(&self) -> bool {
        !self.to_server && self.is_rtp()
    }

    /// True for SRTP, either way.
    pub(super) fn is_rtp(&self) -> bool {
        self.class() == Class::Media && !self.is_rtcp()
    }

    /// True for SRTCP, either way (RFC 5761 §4).
    pub(super) fn is_rtcp(&self) -> bool {
        self.class() == Class::Media && self.octets.get(1).is_some_and(|kind| (192..=223).contains(kind))
    }

    /// The payload type of SRTP.
    pub(super) fn payload_type(&self) -> Option<u8> {
        self.octets.get(1).map(|b| b & 0x7F).filter(|_| self.is_rtp())
    }

    /// The sequence number of SRTP.
    pub(super) fn sequence(&self) -> Option<u16> {
        let octets = self.octets.get(2..4).filter(|_| self.is_rtp())?;
        Some(u16::from_be_bytes(octets.try_into().ok()?))
    }

    /// The content type of a DTLS record: 20 change cipher, 21 alert, 22 handshake, 23 data.
    pub(super) fn dtls(&self) -> Option<u8> {
        self.octets.first().copied().filter(|_| self.class() == Class::Dtls)
    }

    /// True for an answer to a check.
    pub(super) fn is_stun_answer(&self) -> bool {
        !self.to_server && self.stun.as_ref().is_some_and(|stun| !stun.is_request())
    }

    /// What RFC 7983 makes of the first octet.
    fn class(&self) -> Class {
        match self.octets.first() {
            Some(0..=3) => Class::Stun,
            Some(20..=63) => Class::Dtls,
            Some(128..=191) => Class::Media,
            _ => Class::Other,
        }
    }
}

/// Kinds of datagrams on one port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Stun,
    Dtls,
    Media,
    Other,
}

/// All relays of one proxy.
pub(super) struct Relays {
    how: How,
    shared: Arc<Mutex<Shared>>,
}

/// What the answers told so far.
#[derive(Default)]
struct Shared {
    /// ICE passwords of the server by ufrag.
    passwords: HashMap<String, String>,
    /// Our address instead of the server's.
    fronts: HashMap<SocketAddr, SocketAddr>,
}

impl Relays {
    /// No relay yet.
    pub(super) fn new(how: How) -> Self {
        Self { how, shared: Arc::default() }
    }

    /// Replaces the UDP candidates of an answer by our own.
    pub(super) async fn divert(&self, _: &Ask, reply: &mut Reply) {
        let is_sdp = reply.header("content-type").is_some_and(|t| t.contains("sdp"));
        if !is_sdp || !(200..300).contains(&reply.status) {
            return;
        }
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        self.learn(&text);
        let mut lines = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let target = words.get(4).zip(words.get(5)).filter(|_| line.starts_with("a=candidate:"));
            let target = target.and_then(|(ip, port)| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)));
            let udp = words.get(2).is_some_and(|t| t.eq_ignore_ascii_case("udp"));
            match target.filter(|t| udp && t.is_ipv4()) {
                None if line.starts_with("a=candidate:") => {}
                None => lines.push(line.to_owned()),
                Some(server) => {
                    if let Some(front) = self.front(server).await {
                        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                        for (slot, word) in
                            words.iter_mut().skip(4).zip([front.ip().to_string(), front.port().to_string()])
                        {
                            *slot = word;
                        }
                        lines.push(words.join(" "));
                    }
                }
            }
        }
        reply.body = (lines.join("\r\n") + "\r\n").into_bytes();
    }

    /// Notes the ICE password of an answer.
    fn learn(&self, sdp: &str) {
        let read = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if let (Some(ufrag), Some(password)) = (read("a=ice-ufrag:"), read("a=ice-pwd:")) {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.passwords.insert(ufrag, password);
        }
    }

    /// Our address for that of the server; the first time a relay is started.
    async fn front(&self, server: SocketAddr) -> Option<SocketAddr> {
        if let Some(front) = self.shared.lock().unwrap_or_else(PoisonError::into_inner).fronts.get(&server) {
            return Some(*front);
        }
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.ok()?;
        let front = socket.local_addr().ok()?;
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).fronts.insert(server, front);
        let side_door = UdpSocket::bind(("127.0.0.1", 0)).await.ok()?;
        let relay = Relay {
            front: Arc::new(socket),
            side_door: Arc::new(side_door),
            server,
            how: self.how,
            shared: Arc::downgrade(&self.shared),
        };
        tokio::spawn(relay.run());
        Some(front)
    }
}

/// One address of the server, and all clients that come to it.
struct Relay {
    front: Arc<UdpSocket>,
    side_door: Arc<UdpSocket>,
    server: SocketAddr,
    how: How,
    /// Gone when the proxy is gone; then the relay ends.
    shared: std::sync::Weak<Mutex<Shared>>,
}

/// One client of a relay.
struct Path {
    client: SocketAddr,
    /// What the server sees the client as.
    back: UdpSocket,
    place: usize,
    began: Instant,
    /// The server's ufrag that the client last used.
    ufrag: Mutex<String>,
    counts: Mutex<HashMap<(bool, Class), u64>>,
}

impl Relay {
    /// Passes datagrams on until the proxy is gone.
    async fn run(self) {
        let relay = Arc::new(self);
        let mut paths: HashMap<SocketAddr, Arc<Path>> = HashMap::new();
        let mut buffer = vec![0; 2048];
        while relay.shared.strong_count() > 0 {
            let received = tokio::time::timeout(LOOK_UP, relay.front.recv_from(&mut buffer)).await;
            let Ok(Ok((length, client))) = received else {
                continue;
            };
            if !paths.contains_key(&client)
                && paths.len() < MOST_CLIENTS
                && let Some(path) = relay.open(client, paths.len()).await
            {
                paths.insert(client, path);
            }
            if let Some(path) = paths.get(&client) {
                relay.pass(path, buffer.get(..length).unwrap_or_default(), true).await;
            }
        }
    }

    /// A socket of its own for a client, and a task that listens there.
    async fn open(self: &Arc<Self>, client: SocketAddr, place: usize) -> Option<Arc<Path>> {
        let any: IpAddr = self.server.ip();
        let any = if any.is_loopback() { any } else { IpAddr::from([0; 4]) };
        let back = UdpSocket::bind((any, 0)).await.ok()?;
        back.connect(self.server).await.ok()?;
        let path = Arc::new(Path {
            client,
            back,
            place,
            began: Instant::now(),
            ufrag: Mutex::default(),
            counts: Mutex::default(),
        });
        let (relay, listening) = (self.clone(), path.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while relay.shared.strong_count() > 0 {
                if let Ok(Ok(length)) = tokio::time::timeout(LOOK_UP, listening.back.recv(&mut buffer)).await {
                    relay.pass(&listening, buffer.get(..length).unwrap_or_default(), false).await;
                }
            }
        });
        Some(path)
    }

    /// Passes one datagram on, one way or the other.
    async fn pass(&self, path: &Path, octets: &[u8], to_server: bool) {
        let mut passing = Passing {
            octets: octets.to_vec(),
            stun: Message::parse(octets),
            to_server,
            path: path.place,
            age: path.began.elapsed(),
            number: 0,
            altered: false,
            forge_integrity: false,
            drop_fingerprint: false,
            drop_integrity: false,
            drop_mapped: false,
        };
        if let Some(ufrag) = passing.stun.as_ref().filter(|_| to_server).and_then(Message::server_ufrag) {
            *path.ufrag.lock().unwrap_or_else(PoisonError::into_inner) = ufrag;
        }
        {
            let mut counts = path.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry((to_server, passing.class())).or_default();
            passing.number = *count;
            *count += 1;
        }
        let fate = if let How::Wire(mutate) = self.how { mutate(&mut passing) } else { Fate::Pass };
        if fate == Fate::Lose {
            return;
        }
        let datagram = self.seal(path, passing);
        // A refused datagram looks like a lost one.
        let _lost = match (to_server, fate) {
            (true, _) => path.back.send(&datagram).await,
            (false, Fate::Elsewhere) => self.side_door.send_to(&datagram, path.client).await,
            (false, _) => self.front.send_to(&datagram, path.client).await,
        };
        if fate == Fate::Linger {
            tokio::spawn(linger(self.front.clone(), self.shared.clone(), path.client, datagram));
        }
        if fate == Fate::Flood {
            for _ in 0..4 {
                let _lost = self.front.send_to(&[0x80; 400], path.client).await;
            }
        }
    }

    /// The octets that leave: STUN answers tell the client's own address, and what was altered is signed again.
    fn seal(&self, path: &Path, passing: Passing) -> Vec<u8> {
        let is_answer = passing.is_stun_answer();
        let Some(mut stun) = passing.stun.filter(|_| is_answer || passing.altered) else {
            return passing.octets;
        };
        if passing.drop_mapped {
            stun.without(XOR_MAPPED_ADDRESS);
        } else if is_answer {
            stun.map(path.client);
        }
        let ufrag = path.ufrag.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let password = self
            .shared
            .upgrade()
            .and_then(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner).passwords.get(&ufrag).cloned());
        let password = if passing.forge_integrity { Some("forged".into()) } else { password };
        let signed = stun.was_signed && !passing.drop_integrity;
        stun.encode(password.filter(|_| signed).as_deref(), !passing.drop_fingerprint)
    }
}

/// Sends a datagram again and again until the proxy is gone.
async fn linger(front: Arc<UdpSocket>, shared: std::sync::Weak<Mutex<Shared>>, client: SocketAddr, datagram: Vec<u8>) {
    while shared.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _lost = front.send_to(&datagram, client).await;
    }
}

/// How often a relay looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(500);
/// More addresses than any check uses.
const MOST_CLIENTS: usize = 64;
