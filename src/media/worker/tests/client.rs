//! The other end of a session: checks, handshake, keys, and a record of all that comes.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::presenter::{Sent, Track};
use crate::media::{Role, SessionId};
use crate::peer::dtls::{Agreed, Handshake, Identity, Progress};
use crate::peer::srtp::{RtcpOpener, RtcpSealer, RtpOpener, RtpSealer};
use crate::wire::Protocol;
use crate::wire::rtcp::{self, Arrivals};
use crate::wire::rtp::Header;
use crate::wire::sdp::{DtlsRole, ExtensionIds, Fingerprint, IceCredentials, Kind, Negotiated, Section, Source};
use crate::wire::stun::{self, Check, Class, Message};

/// A presenter or a viewer.
pub(super) struct Client {
    pub(super) id: SessionId,
    pub(super) role: Role,
    /// Where it is.
    pub(super) address: SocketAddr,
    /// The worker whose socket the kernel gives its datagrams to.
    pub(super) at: usize,
    pub(super) sections: Vec<Section>,
    pub(super) tracks: Vec<Track>,
    pub(super) sent: Vec<Sent>,
    /// A presenter that sends again what is asked for.
    pub(super) repairs: bool,
    /// A presenter whose first frame follows its last handshake datagram at once.
    pub(super) eager: bool,
    pub(super) transport_cc: u16,
    /// What a viewer will tell of the transport's numbers.
    arrivals: Arrivals,
    tell_at: Option<Instant>,
    epoch: Instant,
    pub(super) tagged: u32,
    /// Packets that came with a number of the transport.
    pub(super) numbered: usize,
    pub(super) seen: Vec<Seen>,
    /// SRTP datagrams as they came, also those that did not open.
    pub(super) raw: Vec<Vec<u8>>,
    pub(super) reports: Vec<(Instant, Vec<u8>)>,
    pub(super) stun: Vec<(Class, Option<u16>)>,
    /// DTLS alerts, one per datagram.
    pub(super) alerts: usize,
    pub(super) number: usize,
    renewals: u32,
    key: stun::Key,
    username: String,
    checks: u64,
    server: Fingerprint,
    server_role: DtlsRole,
    handshake: Option<Handshake>,
    keys: Option<Keys>,
}

struct Keys {
    rtp_out: RtpSealer,
    rtp_in: RtpOpener,
    rtcp_out: RtcpSealer,
    rtcp_in: RtcpOpener,
}

/// A packet that came and opened.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
    /// Which packet of which presenter it is.
    pub(super) tag: u32,
}

/// One certificate for all clients: making it is the slowest part.
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::generate().expect("a certificate"))
}

/// What the offers of all clients say of their certificate.
pub(super) fn fingerprint() -> Fingerprint {
    identity().fingerprint().clone()
}

impl Client {
    pub(super) fn new(
        number: usize,
        id: SessionId,
        role: Role,
        local: &IceCredentials,
        negotiated: &Negotiated,
        server: Fingerprint,
        now: Instant,
    ) -> Self {
        let tracks = match role {
            Role::Presenter => Track::of(&negotiated.sections, number as u32, now),
            Role::Viewer => Vec::new(),
        };
        Self {
            id,
            role,
            address: SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4000)),
            at: 0,
            sections: negotiated.sections.clone(),
            tracks,
            sent: Vec::new(),
            repairs: false,
            eager: false,
            transport_cc: 65_500,
            arrivals: Arrivals::new(number as u32 + 1),
            tell_at: None,
            epoch: now,
            tagged: 0,
            numbered: 0,
            seen: Vec::new(),
            raw: Vec::new(),
            reports: Vec::new(),
            stun: Vec::new(),
            alerts: 0,
            number,
            renewals: 0,
            key: stun::Key::new(&local.pwd),
            username: format!("{}:{}", local.ufrag, negotiated.remote_ice.ufrag),
            checks: 0,
            server,
            server_role: negotiated.dtls,
            handshake: None,
            keys: None,
        }
    }

    /// The next connectivity check.
    pub(super) fn check(&mut self, use_candidate: bool) -> Vec<u8> {
        self.checks += 1;
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&((self.number as u64) << 32 | self.checks).to_be_bytes());
        let check = Check { transaction, username: &self.username, priority: 1, controlling: 1, use_candidate };
        let mut out = Vec::new();
        stun::write_check(&mut out, &check, &self.key);
        out
    }

    /// Names and keys of a new ICE session; its checks carry them from now on.
    pub(super) fn renew(&mut self) -> (IceCredentials, IceCredentials) {
        self.renewals += 1;
        let (number, n) = (self.number, self.renewals);
        let local = IceCredentials { ufrag: format!("next{number}x{n}"), pwd: format!("our-next-password-{n:09}") };
        let remote = IceCredentials { ufrag: format!("them{number}x{n}"), pwd: format!("their-password-{n:09}") };
        self.key = stun::Key::new(&local.pwd);
        self.username = format!("{}:{}", local.ufrag, remote.ufrag);
        (local, remote)
    }

    /// What its checks prove themselves with.
    pub(super) fn identity(&self) -> (stun::Key, String) {
        (self.key.clone(), self.username.clone())
    }

    /// Proves itself with something else from now on.
    pub(super) fn exchange(&mut self, other: &mut (stun::Key, String)) {
        std::mem::swap(&mut self.key, &mut other.0);
        std::mem::swap(&mut self.username, &mut other.1);
    }

    /// Begins the handshake, where it is the client's to begin.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.handshake.is_some() {
            return Vec::new();
        }
        let role = match self.server_role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server => DtlsRole::Client,
        };
        let mut out = Vec::new();
        let handshake = Handshake::new(identity(), role, vec![self.server.clone()], now, &mut out);
        self.handshake = Some(handshake.expect("a handshake"));
        plain(out)
    }

    pub(super) fn is_live(&self) -> bool {
        self.keys.is_some()
    }

    /// Takes in a datagram; returns what it answers.
    pub(super) fn receive(&mut self, mut bytes: Vec<u8>, now: Instant) -> Vec<Vec<u8>> {
        match Protocol::of(&bytes).expect("the server sends nothing strange") {
            Protocol::Stun => {
                let message = Message::parse(&bytes).expect("the server writes STUN");
                assert!(message.verify(&self.key), "an answer proves who wrote it");
                self.stun.push((message.class, message.error));
                Vec::new()
            }
            Protocol::Dtls => self.dtls(&bytes, now),
            Protocol::Rtp => {
                self.raw.push(bytes.clone());
                let header = Header::parse(&bytes).expect("the server writes RTP");
                if let Some(end) = self.keys.as_mut().and_then(|k| k.rtp_in.open(&header, &mut bytes).ok()) {
                    self.note(&header, &bytes[header.len..end], now);
                    self.note_arrival(&header, &bytes, now);
                }
                Vec::new()
            }
            Protocol::Rtcp => {
                let keys = self.keys.as_mut().expect("reports come after keys");
                let Ok(end) = keys.rtcp_in.open(&mut bytes) else {
                    return Vec::new();
                };
                bytes.truncate(end);
                assert!(rtcp::read(&bytes, |_| {}), "well-formed RTCP");
                self.reports.push((now, bytes.clone()));
                if self.role == Role::Presenter { self.heed(&bytes, now) } else { Vec::new() }
            }
        }
    }

    pub(super) fn seal_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        rtcp::write_receiver_report(&mut out, self.number as u32 + 1, &[]);
        write(&mut out);
        self.keys.as_mut().expect("keys").rtcp_out.seal(&mut out).expect("sealed");
        out
    }

    pub(super) fn seal_rtp(&mut self, mut packet: Vec<u8>, index: u64) -> Vec<u8> {
        let header = Header::parse(&packet).expect("we wrote it");
        let keys = self.keys.as_mut().expect("keys");
        keys.rtp_out.seal(&mut packet, 0, header.len, header.ssrc, index).expect("sealed");
        packet
    }

    /// The client's close_notify.
    pub(super) fn goodbye(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.handshake.as_mut().expect("a handshake").close(now, &mut out);
        plain(out)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let handshake = self.handshake.as_ref().filter(|_| self.keys.is_none());
        handshake.and_then(Handshake::next_timeout).into_iter().chain(self.tell_at).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.keys.is_none()
            && let Some(handshake) = &mut self.handshake
        {
            handshake.handle_timeout(now, &mut out);
        }
        let mut told = plain(out);
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            let mut body = Vec::new();
            self.arrivals.write(&mut body, 0);
            told.push(self.seal_rtcp(|out| out.extend_from_slice(&body)));
        }
        told
    }

    /// Ids of the extensions of a section.
    pub(super) fn extensions(&self, section: usize) -> ExtensionIds {
        self.sections[section].extensions
    }

    /// What came of one of our sources.
    pub(super) fn of(&self, ssrc: u32) -> Vec<Seen> {
        self.seen.iter().filter(|s| s.ssrc == ssrc).cloned().collect()
    }

    /// SSRC of what a viewer gets, and that of its retransmissions.
    pub(super) fn video(&self) -> Source {
        self.source(Kind::Video)
    }

    /// See `video`.
    pub(super) fn audio(&self) -> Source {
        self.source(Kind::Audio)
    }

    fn source(&self, kind: Kind) -> Source {
        self.sections.iter().find(|s| s.kind == kind).expect("such a section").sources[0]
    }

    /// How often a key frame was asked for, by PLI and FIR.
    pub(super) fn keyframe_requests(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for (_, report) in &self.reports {
            rtcp::read(report, |event| match event {
                rtcp::Event::Pli { .. } => sum.0 += 1,
                rtcp::Event::Fir { .. } => sum.1 += 1,
                _ => {}
            });
        }
        sum
    }

    fn note(&mut self, header: &Header, payload: &[u8], now: Instant) {
        let tag = payload.last_chunk::<4>().map_or(0, |t| u32::from_be_bytes(*t));
        self.seen.push(Seen {
            at: now,
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            seq: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: payload.to_vec(),
            tag,
        });
    }

    /// Feedback follows within 50 ms.
    fn note_arrival(&mut self, header: &Header, bytes: &[u8], now: Instant) {
        let mut ids = self.sections.iter().filter(|s| s.kind == Kind::Video).filter_map(|s| s.extensions.transport_cc);
        let number = ids.find_map(|id| header.extensions(bytes).find(|(i, _)| *i == id));
        if let Some(number) = number.and_then(|(_, value)| value.first_chunk::<2>()) {
            let micros = now.duration_since(self.epoch).as_micros() as u64;
            self.arrivals.record(u16::from_be_bytes(*number), micros);
            self.numbered += 1;
            self.tell_at.get_or_insert(now + Duration::from_millis(50));
        }
    }

    fn dtls(&mut self, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
        self.alerts += usize::from(bytes[0] == ALERT);
        let mut replies = self.begin(now);
        let mut out = Vec::new();
        let handshake = self.handshake.as_mut().expect("it has begun");
        if let Ok(Progress::Complete(agreed)) = handshake.read(identity(), bytes, now, &mut out) {
            self.keys = Some(Keys::new(&agreed));
        }
        replies.extend(plain(out));
        if self.eager && self.keys.is_some() {
            self.eager = false;
            let frame = self.frame(self.track(Kind::Video), true, 3, now);
            replies.extend(frame.into_iter().map(|sent| sent.datagram));
        }
        replies
    }
}

impl Keys {
    fn new(agreed: &Agreed) -> Self {
        Self {
            rtp_out: RtpSealer::new(&agreed.ours).expect("keys"),
            rtp_in: RtpOpener::new(&agreed.theirs).expect("keys"),
            rtcp_out: RtcpSealer::new(&agreed.ours).expect("keys"),
            rtcp_in: RtcpOpener::new(&agreed.theirs).expect("keys"),
        }
    }
}

fn plain(datagrams: Vec<BytesMut>) -> Vec<Vec<u8>> {
    datagrams.into_iter().map(|d| d.to_vec()).collect()
}

/// DTLS content type.
const ALERT: u8 = 21;
