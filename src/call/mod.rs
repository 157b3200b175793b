//! One connection with a WHIP or WHEP endpoint, on `webrtc`'s `PeerConnection`: complete ICE, whatever the server is.
//! `tribune publish` and `tribune watch` share it; it knows nothing of this server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCPeerConnectionState, RTCSessionDescription, Registry, StatsSelector,
    register_default_interceptors,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use crate::client::{AskError, Endpoint, IceServer, Url};

mod again;
mod wishes;

pub(crate) use again::Again;
pub(crate) use wishes::wanted;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The endpoint refused, or is none.
    #[error(transparent)]
    Refused(#[from] AskError),
    /// Our own end failed, or the answer is of no use.
    #[error("WebRTC: {0}")]
    Connection(#[from] webrtc::error::Error),
    /// The answer came, and then no media path.
    #[error("no connection: the media port of the server was not reached within {} s", CONNECT_WITHIN.as_secs())]
    NoPath,
    /// It was there and is gone.
    #[error("the connection was lost")]
    Lost,
}

impl CallError {
    /// Would another attempt help?
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_temporary(),
            Self::Connection(_) => false,
            Self::NoPath | Self::Lost => true,
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(AskError::Status { retry_after, .. }) => *retry_after,
            Self::Refused(AskError::NoAnswer(_) | AskError::Foreign(_))
            | Self::Connection(_)
            | Self::NoPath
            | Self::Lost => None,
        }
    }
}

/// The offer of one that makes key frames when it likes.
fn without_requests(offer: &str) -> String {
    let is_request = |line: &str| {
        let message = line.strip_prefix("a=rtcp-fb:").and_then(|value| value.split_once(' '));
        message.is_some_and(|(_, message)| matches!(message.trim_end(), "nack pli" | "ccm fir"))
    };
    offer.split_inclusive('\n').filter(|line| !is_request(line)).collect()
}

/// What goes which way.
pub(crate) enum Direction {
    /// These tracks are sent; `on_request`: with a key frame when somebody asks for one.
    Send { tracks: Vec<Arc<dyn TrackLocal>>, on_request: bool },
    /// Audio and video are received.
    Receive,
}

/// A connection that has been asked for.
pub(crate) struct Call {
    connection: Arc<dyn PeerConnection>,
    session: Option<Url>,
    state: watch::Receiver<RTCPeerConnectionState>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    /// See [`wishes::pass`].
    lost: Arc<AtomicU8>,
    /// When the offer was sent.
    pub(crate) asked: Instant,
}

impl Call {
    /// Offers and takes the answer. `engine` has the codecs.
    /// # Errors
    /// When the endpoint refuses, or the answer cannot be used.
    pub(crate) async fn dial(
        endpoint: &Endpoint,
        mut engine: MediaEngine,
        direction: Direction,
        servers: Vec<IceServer>,
    ) -> Result<Self, CallError> {
        let lost = Arc::new(AtomicU8::new(0));
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let registry = wishes::pass(registry, Arc::clone(&lost));
        let (handler, mut gathered, state, tracks) = Handler::new();
        let servers = servers.into_iter().map(|IceServer { url, username, credential }| RTCIceServer {
            urls: vec![url],
            username,
            credential,
        });
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers.collect()).build())
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(addresses(endpoint.is_local().await))
            .build();
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(building).await?);
        let on_request = !matches!(direction, Direction::Send { on_request: false, .. });
        match direction {
            Direction::Send { tracks, .. } => {
                for track in tracks {
                    connection.add_track(track).await?;
                }
            }
            Direction::Receive => {
                for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
                    let init =
                        RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
                    connection.add_transceiver_from_kind(kind, Some(init)).await?;
                }
            }
        }
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        // A server of ice that does not answer must not hold everything up: what was gathered till then is offered.
        let _ = timeout(GATHER_WITHIN, gathered.wait_for(|gathered| *gathered)).await;
        let offer = connection.local_description().await.map(|description| description.sdp).unwrap_or_default();
        let offer = if on_request { offer } else { without_requests(&offer) };
        let admitted = match endpoint.post(offer).await {
            Ok(admitted) => admitted,
            Err(error) => {
                let _ = connection.close().await;
                return Err(error.into());
            }
        };
        let call = Self { connection, session: admitted.session, state, tracks, lost, asked: admitted.asked };
        if let Err(error) = call.take(admitted.answer).await {
            call.hang_up(endpoint).await;
            return Err(error.into());
        }
        Ok(call)
    }

    async fn take(&self, answer: String) -> webrtc::error::Result<()> {
        self.connection.set_remote_description(RTCSessionDescription::answer(answer)?).await
    }

    /// Waits until media can flow.
    /// # Errors
    /// When it cannot.
    pub(crate) async fn connected(&mut self) -> Result<(), CallError> {
        let settled = |state: &RTCPeerConnectionState| *state == RTCPeerConnectionState::Connected || is_over(*state);
        let state = timeout(CONNECT_WITHIN, self.state.wait_for(settled)).await.map_err(|_| CallError::NoPath)?;
        match state {
            Ok(state) if !is_over(*state) => Ok(()),
            _ => Err(CallError::NoPath),
        }
    }

    /// Waits until it is over without our doing: the other end says so, is silent for long, or was restarted.
    pub(crate) fn over<'e>(&self, endpoint: &'e Endpoint) -> impl Future<Output = ()> + Send + use<'e> {
        let (mut state, session) = (self.state.clone(), self.session.clone());
        async move {
            let forgotten = async {
                match &session {
                    Some(session) => endpoint.forgets(session).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = state.wait_for(|state| is_over(*state)) => {}
                () = forgotten => {}
            }
        }
    }

    /// The next track that the server sends; `None` when there will be none.
    pub(crate) async fn track(&mut self) -> Option<Arc<dyn TrackRemote>> {
        self.tracks.recv().await
    }

    /// The round trip of the last check, and the share of our packets that were lost as the other end last reported.
    pub(crate) async fn reported(&self) -> (Option<Duration>, f64) {
        // The library does not take its numbers from receiver reports: the round trip is that of ICE.
        let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let trips = report.candidate_pairs().map(|pair| pair.current_round_trip_time).filter(|trip| *trip > 0.0);
        let trip = trips.filter_map(|trip| Duration::try_from_secs_f64(trip).ok()).min();
        (trip, f64::from(self.lost.load(Ordering::Relaxed)) / 256.0)
    }

    /// What is behind it, for what is not said here.
    pub(crate) fn connection(&self) -> &Arc<dyn PeerConnection> {
        &self.connection
    }

    /// Ends it politely: DELETE, then `close_notify`.
    pub(crate) async fn hang_up(&self, endpoint: &Endpoint) {
        if let Some(session) = &self.session {
            // Nothing more can be done about a server that does not let go.
            let _ = timeout(GOODBYE_WITHIN, endpoint.delete(session)).await;
        }
        let _ = timeout(GOODBYE_WITHIN, self.connection.close()).await;
    }
}

/// Any number.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // It fails on no machine that has come this far.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn is_over(state: RTCPeerConnectionState) -> bool {
    matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed)
}

/// Sockets of all interfaces; of the loopback only when the server is on this machine.
fn addresses(local: bool) -> Vec<&'static str> {
    let own: &[_] = if local { &["127.0.0.1:0", "[::1]:0"] } else { &[] };
    let has_v6 = |address: &&str| !address.starts_with('[') || std::net::UdpSocket::bind(*address).is_ok();
    ["0.0.0.0:0", "[::]:0"].into_iter().chain(own.iter().copied()).filter(has_v6).collect()
}

/// Tells the tasks of a call what happens to it.
struct Handler {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

type Ends =
    (Handler, watch::Receiver<bool>, watch::Receiver<RTCPeerConnectionState>, mpsc::Receiver<Arc<dyn TrackRemote>>);

impl Handler {
    fn new() -> Ends {
        let (gathered, has_gathered) = watch::channel(false);
        let (state, states) = watch::channel(RTCPeerConnectionState::New);
        let (tracks, incoming) = mpsc::channel(MAX_TRACKS);
        (Self { gathered, state, tracks }, has_gathered, states, incoming)
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // More than two were not asked for.
        let _ = self.tracks.try_send(track);
    }
}

/// From the answer on.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Hosts are found at once; this is for STUN and TURN.
const GATHER_WITHIN: Duration = Duration::from_secs(3);
/// Each, for DELETE and for closing.
const GOODBYE_WITHIN: Duration = Duration::from_secs(3);
const MAX_TRACKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_loses_its_requests_and_nothing_else() {
        let offer = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:* ccm fir\r\n\
                     a=rtcp-fb:96 transport-cc\r\na=mid:0\r\n";

        let offer = without_requests(offer);

        let wanted = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 transport-cc\r\na=mid:0\r\n";
        assert_eq!(offer, wanted);
    }
}
