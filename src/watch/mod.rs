//! `tribune watch`: a viewer without a screen, of any WHEP endpoint.
//!
//! | file | what it does |
//! |---|---|
//! | `options` | what the user wants |
//! | `assembler` | packets → pictures |
//! | `stats` | what came, in numbers |
//! | `recording` | what came, in files |

mod assembler;
mod options;
mod recording;
mod stats;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use serde_json::json;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::MediaEngine;

pub use options::{EXAMPLES, Format, Options};

use crate::call::{Again, Call, CallError, Direction, random};
use crate::client::{Endpoint, EndpointError};
use crate::wire::sdp::Codec;
use recording::Recording;
use stats::{Medium, Past};

/// Why nothing was watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Not something that can be asked.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No threads, a closed output, or a file that cannot be written.
    #[error("the system refuses what is needed: {0}")]
    System(#[from] io::Error),
    /// A file that cannot be written.
    #[error("{0}")]
    File(String),
}

/// What all tracks tell.
struct Seen {
    video: Medium,
    audio: Medium,
    recordings: Vec<Recording>,
    /// What went wrong with a recording.
    trouble: Option<String>,
    connects: u64,
    connected: Option<Duration>,
    state: String,
}

type Shared = Arc<Mutex<Seen>>;

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches until the time is over or the user has enough. True when media came as was expected.
/// # Errors
/// When it could not begin, or a file cannot be written.
pub fn run(options: &Options) -> Result<bool, WatchError> {
    let endpoint = Endpoint::new(&options.whep, options.token.as_deref(), options.insecure)?;
    let seen = Arc::new(Mutex::new(Seen {
        video: Medium::default(),
        audio: Medium::default(),
        recordings: options.write.iter().map(|path| Recording::new(path)).collect(),
        trouble: None,
        connects: 0,
        connected: None,
        state: "connecting".to_owned(),
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(async {
        let end = async {
            match options.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
                None => std::future::pending().await,
            }
        };
        let mut call = None;
        tokio::select! {
            () = again_and_again(&endpoint, options, &seen, &mut call) => {}
            result = report(options.format, &seen, began) => result?,
            () = end => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        if let Some(call) = call {
            call.hang_up(&endpoint).await;
        }
        Ok::<_, io::Error>(())
    })?;
    conclude(options, &mut lock(&seen), began)
}

/// Connects, and again whenever that ends; ends itself when there is no use.
async fn again_and_again(endpoint: &Endpoint, options: &Options, seen: &Shared, slot: &mut Option<Call>) {
    let mut again = Again::default();
    loop {
        let error = match Box::pin(watch(endpoint, seen, slot, &mut again)).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if let Some(call) = slot.take() {
            call.hang_up(endpoint).await;
        }
        lock(seen).video.end_source();
        lock(seen).audio.end_source();
        if options.once || !error.is_temporary() {
            lock(seen).state = format!("failed: {error}");
            return say(&format!("tribune: {error}"));
        }
        let wait = again.wait(error.retry_after(), random());
        "waiting".clone_into(&mut lock(seen).state);
        say(&format!("{error}; again in {:.1} s", wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
    }
}

/// One connection, until it fails.
async fn watch(
    endpoint: &Endpoint,
    seen: &Shared,
    slot: &mut Option<Call>,
    again: &mut Again,
) -> Result<std::convert::Infallible, CallError> {
    "connecting".clone_into(&mut lock(seen).state);
    let mut engine = MediaEngine::default();
    engine.register_default_codecs()?;
    let servers = endpoint.ice_servers().await;
    let call = slot.insert(Box::pin(Call::dial(endpoint, engine, Direction::Receive, servers)).await?);
    call.connected().await?;
    again.reset();
    {
        let mut seen = lock(seen);
        "connected".clone_into(&mut seen.state);
        seen.connects += 1;
        seen.connected.get_or_insert(call.asked.elapsed());
    }
    let (asked, over) = (call.asked, call.over(endpoint));
    tokio::pin!(over);
    let mut following = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = &mut over => return Err(CallError::Lost),
            track = call.track() => match track {
                Some(track) => { following.spawn(follow(track, Arc::clone(seen), asked)); }
                None => return Err(CallError::Lost),
            },
        }
    }
}

/// Takes in one track to its end, and asks for key frames while there is nothing to show.
async fn follow(track: Arc<dyn TrackRemote>, seen: Shared, asked: Instant) {
    let mut codecs: Vec<(u32, Codec)> = Vec::new();
    let mut wishes = tokio::time::interval(WISHES);
    wishes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = track.poll() => match event {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                    let ssrc = packet.header.ssrc;
                    let codec = match codecs.iter().find(|(known, _)| *known == ssrc) {
                        Some((_, codec)) => *codec,
                        None => match track.codec(ssrc).await.and_then(|codec| of_mime(&codec.mime_type)) {
                            Some(codec) => {
                                codecs.truncate(MAX_SOURCES);
                                codecs.insert(0, (ssrc, codec));
                                codec
                            }
                            None => continue,
                        },
                    };
                    lock(&seen).receive(packet, codec, asked, Instant::now());
                }
                Some(TrackRemoteEvent::OnEnded) | None => return,
                Some(_) => {}
            },
            _ = wishes.tick() => {
                let ssrc = { let seen = lock(&seen); seen.video.ssrc().filter(|_| seen.video.wants_keyframe()) };
                if let Some(media_ssrc) = ssrc.filter(|ssrc| codecs.iter().any(|(known, _)| known == ssrc)) {
                    let pli = PictureLossIndication { sender_ssrc: 0, media_ssrc };
                    // A connection that is gone is noticed elsewhere.
                    let _ = track.write_rtcp(vec![Box::new(pli)]).await;
                }
            }
        }
    }
}

fn of_mime(mime: &str) -> Option<Codec> {
    Some(match mime.to_ascii_lowercase().as_str() {
        "video/vp8" => Codec::Vp8,
        "video/vp9" => Codec::Vp9,
        "video/av1" => Codec::Av1,
        "video/h264" => Codec::H264,
        "video/h265" => Codec::H265,
        "audio/opus" => Codec::Opus,
        _ => return None,
    })
}

impl Seen {
    fn receive(&mut self, packet: rtc::rtp::Packet, codec: Codec, asked: Instant, now: Instant) {
        let medium = if codec == Codec::Opus { &mut self.audio } else { &mut self.video };
        for turn in medium.receive(packet, codec, asked, now) {
            for recording in &mut self.recordings {
                if let Some(trouble) = recording.write(codec, &turn) {
                    self.trouble.get_or_insert(trouble);
                }
            }
        }
    }
}

/// A line a second; ends only when nobody reads it.
async fn report(format: Format, seen: &Shared, began: Instant) -> io::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let (mut video, mut audio, mut at) = (Past::default(), Past::default(), Instant::now());
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let text = {
            let seen = lock(seen);
            let time = now.saturating_duration_since(at);
            let (v, a) = (seen.video.summary(video, time, now), seen.audio.summary(audio, time, now));
            (video, audio, at) = (seen.video.past(), seen.audio.past(), now);
            let seconds = began.elapsed().as_secs_f64();
            match format {
                Format::Text => format!("{seconds:5.0} s  {}  video {}  audio {}", seen.state, v.line(), a.line()),
                Format::Json => {
                    json!({ "seconds": seconds, "state": seen.state, "video": v.json(), "audio": a.json() }).to_string()
                }
            }
        };
        writeln!(io::stdout().lock(), "{text}")?;
    }
}

/// The final report; true when it was as expected.
fn conclude(options: &Options, seen: &mut Seen, began: Instant) -> Result<bool, WatchError> {
    let (now, time) = (Instant::now(), began.elapsed());
    let (video, audio) =
        (seen.video.summary(Past::default(), time, now), seen.audio.summary(Past::default(), time, now));
    let came = seen.video.frames > 0 || (seen.video.codec.is_none() && seen.audio.frames > 0);
    let good = came && seen.video.frames >= options.expect_frames;
    let connected = seen.connected.map(|time| time.as_secs_f64() * 1e3);
    let text = match options.format {
        Format::Json => json!({
            "report": true,
            "good": good,
            "seconds": time.as_secs_f64(),
            "state": seen.state,
            "connects": seen.connects,
            "connected_ms": connected,
            "video": video.json(),
            "audio": audio.json(),
        })
        .to_string(),
        Format::Text => format!(
            "{}after {:.1} s: {}, {} connections, the first after {}\n{}{}",
            if good { "" } else { "NOT AS EXPECTED " },
            time.as_secs_f64(),
            seen.state,
            seen.connects,
            connected.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0} ms")),
            video.paragraph("video"),
            audio.paragraph("audio").trim_end(),
        ),
    };
    writeln!(io::stdout().lock(), "{text}")?;
    let troubles = seen.recordings.iter_mut().filter_map(Recording::close);
    match seen.trouble.take().into_iter().chain(troubles).next() {
        Some(trouble) => Err(WatchError::File(trouble)),
        None => Ok(good),
    }
}

/// To whoever watches the terminal; nobody may.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Between requests for a key frame.
const WISHES: Duration = Duration::from_secs(1);
/// Of one track; a server that changes its name all the time must not fill the memory.
const MAX_SOURCES: usize = 16;
