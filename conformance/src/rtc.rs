//! A live client on str0m: publishes a synthetic stream or plays one, and notes what it sees on the wire.
//! One UDP socket and one task per client; the checks read [`Seen`].

mod media;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsVersion;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use crate::cli::Side;
use media::Synthetic;

/// A client that has an offer and waits for the answer.
pub(crate) struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    offer: String,
    mids: Vec<Mid>,
}

/// A running client. Dropping it stops it silently, as a killed program would.
pub(crate) struct Live {
    seen: watch::Receiver<Seen>,
    close: mpsc::Sender<()>,
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
    /// Why the client gave up.
    pub(crate) failure: Option<String>,
}

/// One received RTP stream.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// Audio or video, by payload type.
    pub(crate) kind: MediaKind,
    /// Its synchronisation source.
    pub(crate) ssrc: u32,
    /// Packets received.
    pub(crate) packets: u64,
    /// Extended sequence number of the first packet.
    pub(crate) first: u64,
    /// Highest extended sequence number.
    pub(crate) last: u64,
    /// When the first packet came.
    pub(crate) since: Instant,
    /// True when the first video packet seen starts a key frame of the synthetic stream.
    pub(crate) starts_at_keyframe: bool,
}

impl Track {
    /// Packets that the numbering promises and that did not come.
    pub(crate) fn missing(&self) -> u64 {
        (self.last - self.first + 1).saturating_sub(self.packets)
    }
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
    /// Makes a client of that side with audio and video; `kinds` gives the order of the sections.
    ///
    /// # Errors
    /// A sentence when the socket cannot be bound or str0m refuses.
    pub(crate) async fn offering(ip: IpAddr, side: Side, kinds: &[MediaKind]) -> Result<Self, String> {
        let mut client = Self::bind(ip, false).await?;
        let direction = match side {
            Side::Whip => Direction::SendOnly,
            Side::Whep => Direction::RecvOnly,
        };
        let mut api = client.rtc.sdp_api();
        let mids =
            kinds.iter().map(|kind| api.add_media(*kind, direction, Some("conformance".into()), None, None)).collect();
        let (offer, pending) = api.apply().ok_or("str0m has nothing to offer")?;
        client.offer = offer.to_sdp_string();
        client.pending = Some(pending);
        client.mids = mids;
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
            .set_ice_lite(lite)
            // What browsers of the last ten years speak; a server that knows only 1.3 would be news.
            .set_dtls_version(DtlsVersion::Dtls12)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").map_err(|e| e.to_string())?);
        Ok(Self { rtc, socket, local, pending: None, offer: String::new(), mids: Vec::new() })
    }

    fn run(self) -> Live {
        let (publish, seen) = watch::channel(Seen::default());
        let (close, closing) = mpsc::channel(1);
        let mut media = Synthetic::default();
        self.mids.iter().for_each(|mid| media.add(*mid));
        let task = tokio::spawn(Driver { client: self, seen: Seen::default(), publish, media }.run(closing));
        Live { seen, close, task }
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

    /// Sends BYE and close_notify, and lets them out.
    pub(crate) async fn close(&mut self) {
        let _already_gone = self.close.send(()).await;
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
}

impl Driver {
    async fn run(mut self, mut closing: mpsc::Receiver<()>) {
        let mut buffer = vec![0; 2048];
        let mut can_close = true;
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
                order = closing.recv(), if can_close => {
                    can_close = false;
                    if order.is_some() {
                        let result = self.client.rtc.close();
                        self.note_failure(result);
                    }
                }
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
                    // A refused datagram looks like a lost one; ICE deals with it.
                    let _lost = self.client.socket.send_to(&datagram.contents, datagram.destination).await;
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

    fn receive(&mut self, datagram: &[u8], source: SocketAddr) {
        self.note_raw(datagram, source);
        if !self.client.rtc.is_alive() {
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
            Some(21) if self.seen.connected_at.is_some() => {
                self.seen.alert_at.get_or_insert(now);
            }
            Some(128..=191) => {
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
            Event::RtpPacket(packet) => {
                let payload_type = packet.header.payload_type;
                let params = self.client.rtc.codec_config().params();
                let Some(codec) = params.iter().find(|p| p.pt() == payload_type).map(|p| p.spec().codec) else {
                    return;
                };
                let kind = if codec.is_audio() { MediaKind::Audio } else { MediaKind::Video };
                let (ssrc, number) = (*packet.header.ssrc, *packet.seq_no);
                if let Some(track) = self.seen.tracks.iter_mut().find(|t| t.ssrc == ssrc) {
                    track.packets += 1;
                    track.first = track.first.min(number);
                    track.last = track.last.max(number);
                } else if self.seen.tracks.len() < 16 {
                    let starts_at_keyframe = media::starts_keyframe(codec, &packet.payload);
                    self.seen.tracks.push(Track {
                        kind,
                        ssrc,
                        packets: 1,
                        first: number,
                        last: number,
                        since: now,
                        starts_at_keyframe,
                    });
                }
            }
            _ => {}
        }
    }

    fn note_failure(&mut self, result: Result<(), str0m::RtcError>) {
        if let Err(error) = result {
            self.seen.failure.get_or_insert(error.to_string());
            self.client.rtc.disconnect();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
