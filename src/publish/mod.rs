//! `tribune publish`: presents files or a test pattern to any WHIP endpoint.
//!
//! | file | what it does |
//! |---|---|
//! | `options` | what the user wants |
//! | `clip`, `ivf`, `annexb`, `ogg` | frames, from files or from this binary |
//! | `sender` | a clip as RTP, on time, from a key frame when somebody asks |

mod annexb;
mod clip;
mod ivf;
mod ogg;
mod options;
mod sender;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use clip::FormatError;
pub use options::{EXAMPLES, Options};

use crate::call::{Again, Call, CallError, Direction, random};
use crate::client::{Endpoint, EndpointError};
use clip::Clip;
use sender::Meter;

/// Why nothing was presented.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not something that can be asked.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file that cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file that is not what it should be.
    #[error("{0}: {1}")]
    Format(PathBuf, FormatError),
    /// More files than simulcast has layers.
    #[error("{0} video files: simulcast has at most {max} layers", max = clip::MAX_LAYERS)]
    Layers(usize),
    /// Neither video nor audio is wanted.
    #[error("nothing to present: --video none and --audio none")]
    Nothing,
    /// The endpoint refused, or the connection was lost.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No threads.
    #[error("the system refuses what is needed: {0}")]
    System(#[from] io::Error),
}

/// What is presented: one or more sizes of one picture, and sound.
struct Program {
    /// The largest first.
    video: Vec<Arc<Clip>>,
    audio: Option<Arc<Clip>>,
    looped: bool,
    /// A request for a key frame changes what is sent.
    on_request: bool,
}

impl Program {
    fn load(options: &Options) -> Result<Self, PublishError> {
        let embedded = |error| PublishError::Format("the test pattern".into(), error);
        let video = match options.video.as_slice() {
            [one] if one == "none" => Vec::new(),
            [one] if one == "test-pattern" => Clip::pattern(options.simulcast).map_err(embedded)?,
            files if files.len() > clip::MAX_LAYERS => return Err(PublishError::Layers(files.len())),
            files => files.iter().map(|file| Clip::video(file.as_ref(), options.fps)).collect::<Result<_, _>>()?,
        };
        let audio = match options.audio.as_str() {
            "none" => None,
            "tone" => Some(Clip::tone().map_err(embedded)?),
            file => Some(Clip::audio(file.as_ref())?),
        };
        if video.is_empty() && audio.is_none() {
            return Err(PublishError::Nothing);
        }
        // The pattern and the tone are short on purpose.
        let looped = options.looped || options.is_embedded();
        Ok(Self {
            video: video.into_iter().map(Arc::new).collect(),
            audio: audio.map(Arc::new),
            looped,
            on_request: !options.ignore_pli,
        })
    }
}

/// Presents until the files end, the time is over or the user has enough; shows progress on standard error.
/// # Errors
/// When nothing could be presented, or the connection was lost and is not to be made again.
pub fn run(options: &Options) -> Result<(), PublishError> {
    let program = Program::load(options)?;
    let endpoint = Endpoint::new(&options.whip, options.token.as_deref(), options.insecure)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let end = async {
            match options.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let mut again = Again::default();
        loop {
            let presented = async {
                let mut call = None;
                let result = tokio::select! {
                    result = Box::pin(present(&endpoint, &program, &mut call, &mut again)) => result,
                    () = &mut end => Ok(()),
                    _ = tokio::signal::ctrl_c() => Ok(()),
                };
                if let Some(call) = call {
                    call.hang_up(&endpoint).await;
                }
                result
            };
            let error = match Box::pin(presented).await {
                Ok(()) => return Ok(()),
                Err(error) if options.reconnect && error.is_temporary() => error,
                Err(error) => return Err(error.into()),
            };
            let wait = again.wait(error.retry_after(), random());
            say(&format!("{error}; again in {:.1} s", wait.as_secs_f64()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = &mut end => return Err(error.into()),
                _ = tokio::signal::ctrl_c() => return Err(error.into()),
            }
        }
    })
}

/// One connection, until the program is over or the connection is.
async fn present(
    endpoint: &Endpoint,
    program: &Program,
    slot: &mut Option<Call>,
    again: &mut Again,
) -> Result<(), CallError> {
    let (engine, mut senders) = sender::prepare(program)?;
    let direction = Direction::Send { tracks: sender::tracks(&senders), on_request: program.on_request };
    let servers = endpoint.ice_servers().await;
    let call = slot.insert(Box::pin(Call::dial(endpoint, engine, direction, servers)).await?);
    call.connected().await?;
    again.reset();
    say(&format!("connected {:.0} ms after the offer", call.asked.elapsed().as_secs_f64() * 1e3));
    for sender in &mut senders {
        sender.bind(call).await?;
    }
    let meters: Vec<_> = senders.iter().map(|sender| Arc::clone(&sender.meter)).collect();
    let (began, mut playing) = (Instant::now(), JoinSet::new());
    for sender in senders {
        playing.spawn(sender.play(began, program.looped, program.on_request));
    }
    tokio::select! {
        () = call.over(endpoint) => Err(CallError::Lost),
        () = report(call, &meters, began) => Ok(()),
        ended = async {
            while let Some(ended) = playing.join_next().await {
                ended.unwrap_or(Err(CallError::Lost))?;
            }
            Ok(())
        } => ended,
    }
}

/// A line a second; never ends.
async fn report(call: &Call, meters: &[Arc<Meter>], began: Instant) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let sum = |each: fn(&Meter) -> u64| meters.iter().map(|meter| each(meter)).sum::<u64>();
    let mut before = 0;
    loop {
        ticks.tick().await;
        let bytes = sum(|meter| meter.bytes.load(Ordering::Relaxed));
        let (trip, lost) = call.reported().await;
        let trip = trip.map_or_else(|| "–".to_owned(), |trip| format!("{:.1} ms", trip.as_secs_f64() * 1e3));
        say(&format!(
            "{:5.0} s  {:.0} kbit/s  {} pictures  {} packets  RTT {trip}  {:.1} % lost  {} key frames asked for",
            began.elapsed().as_secs_f64(),
            (bytes - before) as f64 * 8e-3,
            sum(|meter| meter.pictures.load(Ordering::Relaxed)),
            sum(|meter| meter.packets.load(Ordering::Relaxed)),
            lost * 100.0,
            sum(|meter| meter.wishes.load(Ordering::Relaxed)),
        ));
        before = bytes;
    }
}

/// To whoever watches the terminal; nobody may.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
