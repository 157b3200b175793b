//! A live client on str0m: publishes a synthetic stream or plays one, and notes what it sees on the wire.
//! One UDP socket and one task per client; the checks read [`Seen`].

mod media;
mod notes;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsVersion;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RawPacket, RtpPacket};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use crate::cli::Side;
use media::Synthetic;
pub(crate) use media::{RIDS, mark};
pub(crate) use notes::{Reports, Track};

/// A client that has an offer and waits for the answer.
pub(crate) struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    offer: String,
    mids: Vec<Mid>,
    first_sequence: u64,
}

/// How a client differs from the usual one.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// True when video is sent in three layers.
    pub(crate) simulcast: bool,
    /// The first sequence number of each stream.
    pub(crate) first_sequence: u64,
}

impl Style {
    /// One layer, and a numbering that starts where no rollover counter has to be signalled.
    pub(crate) const USUAL: Self = Self { simulcast: false, first_sequence: 1000 };
}

/// What a check may ask of a running client.
pub(crate) enum Order {
    /// Say BYE and close_notify.
    Close,
    /// Send nothing and understand nothing until [`Order::Wake`], as a machine that sleeps; what comes in is noted.
    Freeze,
    /// Go on after [`Order::Freeze`].
    Wake,
    /// Go on from another port, as behind a NAT that was rebooted.
    Move,
    /// Send these octets from the media socket.
    Send(Vec<u8>),
    /// Do not hear one in so many RTP packets of video the first time.
    Mishear(u64),
    /// Do not send one in so many RTP packets of video the first time.
    Mumble(u64),
    /// Send every RTP packet twice.
    Stammer,
    /// Ask for a key frame of each video stream.
    Keyframe(KeyframeRequestKind),
    /// Send the layer of this rid no more.
    Drop(&'static str),
    /// Measure the longest silence from now on.
    Watch,
}

/// A running client. Dropping it stops it silently, as a killed program would.
pub(crate) struct Live {
    seen: watch::Receiver<Seen>,
    orders: mpsc::Sender<Order>,
    task: tokio::task::JoinHandle<()>,
}

/// What a client saw so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When the ICE agent first reported a working pair.
    pub(crate) ice_at: Option<Instant>,
    /// When DTLS was done; the certificate matched the fingerprint, else str0m gives up.
    pub(crate) connected_at: Option<Instant>,
    /// RTP by SSRC, in order of appearance.
    pub(crate) tracks: Vec<Track>,
    /// RTP packets sent.
    pub(crate) sent: u64,
    /// PLI and FIR that came in.
    pub(crate) keyframe_requests: u64,
    /// When the peer's DTLS close_notify was read.
    pub(crate) close_notify_at: Option<Instant>,
    /// When a DTLS alert record came after the handshake (close_notify or fatal; its content is encrypted).
    pub(crate) alert_at: Option<Instant>,
    /// When a STUN error response came.
    pub(crate) stun_error_at: Option<Instant>,
    /// When the last RTP or RTCP datagram came, whether or not it could be decrypted.
    pub(crate) media_at: Option<Instant>,
    /// Addresses that RTP or RTCP came from.
    pub(crate) sources: Vec<SocketAddr>,
    /// Largest UDP payload with RTP, in octets.
    pub(crate) largest: usize,
    /// RTCP that came in.
    pub(crate) reports: Reports,
    /// RTCP datagrams sent that do not start with a report (RFC 5506).
    pub(crate) reduced: u64,
    /// The longest time without RTP since [`Order::Watch`].
    pub(crate) silence: Duration,
    /// Responses to checks that were sent by [`Order::Send`] come as they are.
    pub(crate) stun_answers: u64,
    /// Why the client gave up.
    pub(crate) failure: Option<String>,
}

impl Seen {
    /// The track of that kind with the most packets.
    pub(crate) fn track(&self, kind: MediaKind) -> Option<&Track> {
        self.tracks.iter().filter(|t| t.kind == kind).max_by_key(|t| t.packets)
    }

    /// `audio 120 packets (0 missing), video 80 packets (0 missing)`
    pub(crate) fn summary(&self) -> String {
        let describe = |t: &Track| format!("{} {} packets ({} missing)", t.kind, t.packets, t.missing());
        if self.tracks.is_empty() {
            "no RTP".into()
        } else {
            self.tracks.iter().map(describe).collect::<Vec<_>>().join(", ")
        }
    }
}

impl Client {
    /// Makes a client of that side with sections of these kinds, in that order.
    ///
    /// # Errors
    /// A sentence when the socket cannot be bound or str0m refuses.
    pub(crate) async fn offering(ip: IpAddr, side: Side, kinds: &[MediaKind], style: Style) -> Result<Self, String> {
        let mut client = Self::bind(ip, false).await?;
        client.first_sequence = style.first_sequence;
        let direction = match side {
            Side::Whip => Direction::SendOnly,
            Side::Whep => Direction::RecvOnly,
        };
        let mut api = client.rtc.sdp_api();
        for kind in kinds {
            let layers = (style.simulcast && *kind == MediaKind::Video).then(|| {
                let send = RIDS.map(SimulcastLayer::new).to_vec();
                Simulcast { send, recv: Vec::new() }
            });
            client.mids.push(api.add_media(*kind, direction, Some("conformance".into()), None, layers));
        }
        let (offer, pending) = api.apply().ok_or("str0m has nothing to offer")?;
        client.offer = offer.to_sdp_string();
        client.pending = Some(pending);
        Ok(client)
    }

    /// The offer to POST. A check may change its text as long as what is negotiated stays the same.
    pub(crate) fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer and starts ICE, DTLS and media.
    ///
    /// # Errors
    /// A sentence when str0m cannot use the answer.
    pub(crate) fn start(mut self, answer: &str) -> Result<Live, String> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|e| format!("answer does not parse: {e}"))?;
        let pending = self.pending.take().ok_or("this client has no offer")?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| format!("answer is not usable: {e}"))?;
        Ok(self.run())
    }

    /// Makes a viewer that takes the server's offer; gives its answer too.
    ///
    /// # Errors
    /// A sentence when the socket cannot be bound or str0m refuses the offer.
    pub(crate) async fn accepting(ip: IpAddr, offer: &str) -> Result<(Live, String), String> {
        let mut client = Self::bind(ip, false).await?;
        let offer = SdpOffer::from_sdp_string(offer).map_err(|e| format!("offer does not parse: {e}"))?;
        let answer = client.rtc.sdp_api().accept_offer(offer).map_err(|e| format!("offer is not usable: {e}"))?;
        Ok((client.run(), answer.to_sdp_string()))
    }

    async fn bind(ip: IpAddr, lite: bool) -> Result<Self, String> {
        let socket = UdpSocket::bind((ip, 0)).await.map_err(|e| format!("UDP on {ip}: {e}"))?;
        let local = socket.local_addr().map_err(|e| e.to_string())?;
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .set_rtp_mode(true)
            .enable_raw_packets(true)
            .set_ice_lite(lite)
            // What browsers of the last ten years speak; a server that knows only 1.3 would be news.
            .set_dtls_version(DtlsVersion::Dtls12)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").map_err(|e| e.to_string())?);
        Ok(Self { rtc, socket, local, pending: None, offer: String::new(), mids: Vec::new(), first_sequence: 0 })
    }

    fn run(self) -> Live {
        let (publish, seen) = watch::channel(Seen::default());
        let (orders, ordered) = mpsc::channel(8);
        let mut media = Synthetic::starting_at(self.first_sequence);
        self.mids.iter().for_each(|mid| media.add(*mid));
        let task = tokio::spawn(Driver::new(self, publish, media).run(ordered));
        Live { seen, orders, task }
    }
}

impl Live {
    /// A copy of what was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until `enough` holds; false when it did not within `patience` or the client gave up.
    pub(crate) async fn until(&mut self, patience: Duration, enough: impl Fn(&Seen) -> bool) -> bool {
        let wait = self.seen.wait_for(|seen| enough(seen) || seen.failure.is_some());
        matches!(timeout(patience, wait).await, Ok(Ok(seen)) if enough(&seen))
    }

    /// Gives an order; a client that is gone follows none.
    pub(crate) async fn order(&self, order: Order) {
        let _already_gone = self.orders.send(order).await;
    }

    /// Sends BYE and close_notify, and lets them out.
    pub(crate) async fn close(&mut self) {
        self.order(Order::Close).await;
        self.until(Duration::from_millis(300), |_| false).await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task of a client.
struct Driver {
    client: Client,
    seen: Seen,
    publish: watch::Sender<Seen>,
    media: Synthetic,
    /// Where the last datagram went.
    peer: Option<SocketAddr>,
    frozen: bool,
    stammers: bool,
    /// One in so many is not heard, and how many came.
    mishears: Option<(u64, u64)>,
    /// One in so many is not sent, and how many were.
    mumbles: Option<(u64, u64)>,
    watching_since: Option<Instant>,
}

impl Driver {
    fn new(client: Client, publish: watch::Sender<Seen>, media: Synthetic) -> Self {
        let seen = Seen::default();
        let (mishears, mumbles, watching_since) = (None, None, None);
        let (frozen, stammers) = (false, false);
        Self { client, seen, publish, media, peer: None, frozen, stammers, mishears, mumbles, watching_since }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut buffer = vec![0; 2048];
        let mut is_wanted = true;
        loop {
            let deadline = self.drain().await;
            self.publish.send_replace(self.seen.clone());
            let media_due = self.seen.connected_at.map(|_| self.media.due());
            let wake = media_due.map_or(deadline, |due| due.min(deadline));
            tokio::select! {
                received = self.client.socket.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = received {
                        self.receive(buffer.get(..length).unwrap_or_default(), source);
                    }
                }
                () = sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if media_due.is_some_and(|due| due <= now) {
                        self.seen.sent += self.media.send(&mut self.client.rtc, now);
                    }
                    let result = self.client.rtc.handle_input(Input::Timeout(now));
                    self.note_failure(result);
                }
                order = orders.recv(), if is_wanted => {
                    match order {
                        Some(order) => self.follow(order).await,
                        None => is_wanted = false,
                    }
                }
            }
        }
    }

    /// Does what a check asks for.
    async fn follow(&mut self, order: Order) {
        match order {
            Order::Close => {
                let result = self.client.rtc.close();
                self.note_failure(result);
            }
            Order::Freeze => self.frozen = true,
            Order::Wake => self.frozen = false,
            Order::Move => {
                // str0m is not told: to it the address is what it was, as behind a NAT.
                if let Ok(socket) = UdpSocket::bind((self.client.local.ip(), 0)).await {
                    self.client.socket = socket;
                }
            }
            Order::Send(octets) => {
                if let Some(peer) = self.peer {
                    let _lost = self.client.socket.send_to(&octets, peer).await;
                }
            }
            Order::Mishear(one_in) => self.mishears = Some((one_in.max(2), 0)),
            Order::Mumble(one_in) => self.mumbles = Some((one_in.max(2), 0)),
            Order::Stammer => self.stammers = true,
            Order::Keyframe(kind) => {
                let video = self.seen.tracks.iter().filter(|t| t.kind == MediaKind::Video);
                for ssrc in video.map(|t| t.ssrc).collect::<Vec<_>>() {
                    if let Some(stream) = self.client.rtc.direct_api().stream_rx(&ssrc.into()) {
                        stream.request_keyframe(kind);
                    }
                }
            }
            Order::Drop(rid) => self.media.drop_layer(rid),
            Order::Watch => {
                self.seen.silence = Duration::ZERO;
                self.watching_since = Some(Instant::now());
            }
        }
    }

    /// Lets everything out that str0m has; gives the time of its next wish. A client that is over still listens, because
    /// the checks want to know whether the server falls silent.
    async fn drain(&mut self) -> Instant {
        let idle = Instant::now() + Duration::from_millis(200);
        while self.client.rtc.is_alive() {
            match self.client.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    return at.max(Instant::now() + Duration::from_millis(1)).min(idle);
                }
                Ok(Output::Transmit(datagram)) => {
                    self.peer = Some(datagram.destination);
                    for _ in 0..self.copies(&datagram.contents) {
                        // A refused datagram looks like a lost one; ICE deals with it.
                        let _lost = self.client.socket.send_to(&datagram.contents, datagram.destination).await;
                    }
                }
                Ok(Output::Event(event)) => self.note(event),
                Err(error) => {
                    self.note_failure(Err(error));
                    break;
                }
            }
        }
        idle
    }

    /// How often a datagram is sent.
    fn copies(&mut self, datagram: &[u8]) -> usize {
        if self.frozen {
            return 0;
        }
        let kind = datagram.get(1).copied().unwrap_or_default();
        match datagram.first() {
            Some(128..=191) if (192..=223).contains(&kind) => {
                self.seen.reduced += u64::from(!matches!(kind, 200 | 201));
                1
            }
            Some(128..=191) => {
                let unlucky = datagram.len() > 400 && strikes(&mut self.mumbles);
                if unlucky { 0 } else { 1 + usize::from(self.stammers) }
            }
            _ => 1,
        }
    }

    fn receive(&mut self, datagram: &[u8], source: SocketAddr) {
        self.note_raw(datagram, source);
        let is_rtp = matches!(datagram.first(), Some(128..=191)) && datagram.len() > 400;
        if self.frozen || !self.client.rtc.is_alive() || (is_rtp && strikes(&mut self.mishears)) {
            return;
        }
        let Ok(contents) = datagram.try_into() else {
            return;
        };
        let receive = Receive { proto: Protocol::Udp, source, destination: self.client.local, contents };
        let result = self.client.rtc.handle_input(Input::Receive(Instant::now(), receive));
        self.note_failure(result);
    }

    /// What a datagram is by its first octets (RFC 7983), before anything is decrypted.
    fn note_raw(&mut self, datagram: &[u8], source: SocketAddr) {
        let now = Instant::now();
        match datagram.first() {
            // Binding error response: class bits of the type field are 0x0110.
            Some(1) if datagram.get(1) == Some(&0x11) => self.seen.stun_error_at = Some(now),
            Some(1) if datagram.get(1) == Some(&0x01) => self.seen.stun_answers += 1,
            Some(21) if self.seen.connected_at.is_some() => {
                self.seen.alert_at.get_or_insert(now);
            }
            Some(128..=191) => {
                if let Some(since) = self.watching_since {
                    let last = self.seen.media_at.map_or(since, |at| at.max(since));
                    self.seen.silence = self.seen.silence.max(now.saturating_duration_since(last));
                }
                self.seen.media_at = Some(now);
                if !self.seen.sources.contains(&source) && self.seen.sources.len() < 16 {
                    self.seen.sources.push(source);
                }
                self.seen.largest = self.seen.largest.max(datagram.len());
            }
            _ => {}
        }
    }

    fn note(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connected => {
                self.seen.connected_at.get_or_insert(now);
                self.media.start(now);
            }
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.seen.ice_at.get_or_insert(now);
            }
            Event::MediaAdded(added) => self.media.add(added.mid),
            Event::Closed => {
                self.seen.close_notify_at.get_or_insert(now);
            }
            Event::KeyframeRequest(_) => {
                self.seen.keyframe_requests += 1;
                self.media.request_keyframe();
            }
            Event::RawPacket(packet) => {
                if let RawPacket::RtcpRx(packet) = *packet {
                    self.seen.reports.note(&packet, now);
                }
            }
            Event::RtpPacket(packet) => self.note_packet(&packet, now),
            _ => {}
        }
    }

    fn note_packet(&mut self, packet: &RtpPacket, now: Instant) {
        let payload_type = packet.header.payload_type;
        let params = self.client.rtc.codec_config().params();
        let Some(codec) = params.iter().find(|p| p.pt() == payload_type).map(|p| p.spec().codec) else {
            return;
        };
        let kind = if codec.is_audio() { MediaKind::Audio } else { MediaKind::Video };
        let keyframe = media::starts_keyframe(codec, &packet.payload);
        let ssrc = *packet.header.ssrc;
        if let Some(track) = self.seen.tracks.iter_mut().find(|t| t.ssrc == ssrc) {
            track.note(packet, keyframe, now);
        } else if self.seen.tracks.len() < 16 {
            self.seen.tracks.push(Track::new(kind, packet, keyframe, now));
        }
    }

    fn note_failure(&mut self, result: Result<(), str0m::RtcError>) {
        if let Err(error) = result {
            self.seen.failure.get_or_insert(error.to_string());
            self.client.rtc.disconnect();
        }
    }
}

/// True for one in so many.
fn strikes(odds: &mut Option<(u64, u64)>) -> bool {
    let Some((one_in, count)) = odds else {
        return false;
    };
    *count += 1;
    count.is_multiple_of(*one_in)
}

#[cfg(test)]
pub(crate) mod tests;
