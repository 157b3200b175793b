//! What is wrong with a broadcast, told without decoding it.

use std::time::{Duration, Instant};

use crate::media::health::{AudioHealth, Health, VideoHealth};
use crate::wire::sdp::Codec;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// Nothing can be heard.
    Silence,
    /// No video comes.
    NoVideo,
    /// The picture does not change.
    Frozen,
    /// There are B-frames, which browsers do not play in WebRTC.
    BFrames,
    /// Key frames are far apart: viewers wait for their first picture.
    KeyFrameInterval,
    /// Much less comes than before.
    BitrateCollapse,
    /// Packets get lost on the way from the presenter.
    Loss,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Silence,
        Self::NoVideo,
        Self::Frozen,
        Self::BFrames,
        Self::KeyFrameInterval,
        Self::BitrateCollapse,
        Self::Loss,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::NoVideo => "no_video",
            Self::Frozen => "frozen",
            Self::BFrames => "b_frames",
            Self::KeyFrameInterval => "key_frame_interval",
            Self::BitrateCollapse => "bitrate_collapse",
            Self::Loss => "loss",
        }
    }

    /// It is raised when it has been true for so long, and over when it has not been for as long as `CALM`.
    fn patience(self) -> Duration {
        match self {
            Self::Silence | Self::BitrateCollapse => Duration::from_secs(5),
            Self::Frozen => Duration::from_secs(10),
            Self::Loss => Duration::from_secs(3),
            // What these are about has lasted long enough when it shows.
            Self::NoVideo | Self::BFrames | Self::KeyFrameInterval => Duration::ZERO,
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What.
    pub kind: AlarmKind,
    /// Since when.
    pub since: Instant,
    /// The same in a sentence.
    pub detail: String,
}

/// An alarm has been raised or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub alarm: Alarm,
    /// Raised now.
    pub on: bool,
}

/// Watches one presenter.
#[derive(Debug, Default)]
pub(super) struct Watchman {
    watches: [Watch; AlarmKind::ALL.len()],
    /// Bits per second that come as a rule.
    usual: f64,
}

#[derive(Debug, Default)]
struct Watch {
    /// It is true since then.
    since: Option<Instant>,
    /// It has been true for the last time then.
    last: Option<Instant>,
    raised: Option<Alarm>,
}

impl Watchman {
    /// Takes in how the presenter is doing, and tells what has changed by that. `codec`: of the sound, if it is known.
    pub(super) fn look(&mut self, health: &Health, codec: Option<Codec>, now: Instant) -> Vec<Change> {
        let begun = now.checked_sub(health.interval).unwrap_or(now);
        let rate = bitrate(health);
        let mut changes = Vec::new();
        for kind in AlarmKind::ALL {
            let wrong = match kind {
                AlarmKind::Silence => health.audio.as_ref().and_then(|audio| silence(audio, codec)),
                AlarmKind::NoVideo => health.video.as_ref().and_then(no_video),
                AlarmKind::Frozen => health.video.as_ref().and_then(frozen),
                AlarmKind::BFrames => health.video.as_ref().and_then(b_frames),
                AlarmKind::KeyFrameInterval => health.video.as_ref().and_then(key_frames),
                AlarmKind::BitrateCollapse => collapse(health, rate, self.usual),
                AlarmKind::Loss => loss(health),
            };
            changes.extend(self.watches[kind as usize].turn(kind, wrong, begun, now));
        }
        // It is learned slowly, and hardly at all from what may be a collapse.
        let weight = if self.usual < 1.0 {
            1.0
        } else if rate < self.usual * COLLAPSED {
            0.005
        } else {
            0.05
        };
        self.usual += (rate - self.usual) * weight;
        changes
    }

    /// The presenter has gone, and what was wrong with it.
    pub(super) fn leave(&mut self) -> Vec<Change> {
        let watches = std::mem::take(&mut self.watches);
        self.usual = 0.0;
        watches.into_iter().filter_map(|watch| watch.raised).map(|alarm| Change { alarm, on: false }).collect()
    }

    /// What is wrong now.
    pub(super) fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.watches.iter().filter_map(|watch| watch.raised.as_ref())
    }

    /// Nothing can be heard for so long.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let since = self.watches[AlarmKind::Silence as usize].since;
        since.map(|since| now.saturating_duration_since(since)).unwrap_or_default()
    }

    /// Is it so now?
    pub(super) fn is_on(&self, kind: AlarmKind) -> bool {
        self.watches[kind as usize].raised.is_some()
    }
}

impl Watch {
    fn turn(&mut self, kind: AlarmKind, wrong: Option<String>, begun: Instant, now: Instant) -> Option<Change> {
        if let Some(detail) = wrong {
            self.last = Some(now);
            let since = *self.since.get_or_insert(begun);
            if let Some(raised) = &mut self.raised {
                raised.detail = detail;
                return None;
            }
            if now.saturating_duration_since(since) < kind.patience() {
                return None;
            }
            let alarm = Alarm { kind, since, detail };
            self.raised = Some(alarm.clone());
            return Some(Change { alarm, on: true });
        }
        if self.raised.is_none() {
            self.since = None;
            return None;
        }
        let calm = self.last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        let over = self.raised.take_if(|_| calm)?;
        self.since = None;
        Some(Change { alarm: over, on: false })
    }
}

/// Bits per second.
pub(super) fn bitrate(health: &Health) -> f64 {
    health.bytes as f64 * 8.0 / health.interval.as_secs_f64().max(0.001)
}

/// Share of the presenter's packets that did not come, 0–1.
pub(super) fn lost(health: &Health) -> f64 {
    health.lost as f64 / (health.packets + health.lost).max(1) as f64
}

/// By the levels that the packets tell (RFC 6464); where they do not, by the size of Opus packets: silence takes next to
/// nothing, or with DTX is not sent at all.
fn silence(audio: &AudioHealth, codec: Option<Codec>) -> Option<String> {
    let quiet = match audio.loudest {
        Some(level) => level > QUIET,
        None if audio.packets == 0 => true,
        None => codec == Some(Codec::Opus) && audio.bytes / audio.packets <= SILENT_OPUS,
    };
    quiet.then(|| "nothing can be heard: is this the right microphone, and is it on?".to_owned())
}

fn no_video(video: &VideoHealth) -> Option<String> {
    (video.since_packet >= NO_VIDEO).then(|| format!("no video for {} s", video.since_packet.as_secs()))
}

/// A camera is never quite still; tiny frames come of a picture that stands still. Slides do that, too: the sentence says
/// what is seen, not what it means.
fn frozen(video: &VideoHealth) -> Option<String> {
    let still = video.frames >= 5 && (1..STILL).contains(&video.largest_delta);
    still.then(|| "the picture does not change".to_owned())
}

fn b_frames(video: &VideoHealth) -> Option<String> {
    (video.backward > 0).then(|| "there are B-frames, which browsers do not play: turn them off (bframes=0)".to_owned())
}

/// Whoever answers requests need not send key frames by the clock: browsers send none unless they are asked. Of whoever
/// cannot be asked it shows before the next one comes.
fn key_frames(video: &VideoHealth) -> Option<String> {
    let is_clock = video.keys_by_clock || !video.can_be_asked;
    let by_clock = video.key_interval.filter(|interval| is_clock && *interval > KEY_FRAMES);
    let unanswered = video.unanswered.filter(|waited| *waited > KEY_FRAMES);
    let overdue = video.since_key.filter(|since| !video.can_be_asked && video.frames > 0 && *since > KEY_FRAMES);
    let seconds = by_clock.max(overdue).or(unanswered)?.as_secs_f64();
    Some(format!("key frames are {seconds:.0} s apart, and asking for one does not help: set an interval of 1 or 2 s"))
}

/// A picture that stands still takes little: that is another matter.
fn collapse(health: &Health, rate: f64, usual: f64) -> Option<String> {
    let is_still = health.video.as_ref().and_then(frozen).is_some();
    let collapsed = usual > USUAL && rate < usual * COLLAPSED && !is_still;
    collapsed.then(|| format!("{:.0} kbit/s come instead of {:.0}", rate / 1e3, usual / 1e3))
}

fn loss(health: &Health) -> Option<String> {
    let share = lost(health);
    (share > LOSS).then(|| format!("{:.0} % of the presenter's packets get lost", share * 100.0))
}

/// Without it for so long an alarm is over.
const CALM: Duration = Duration::from_secs(3);
/// In −dBov: below this nothing is heard.
const QUIET: u8 = 50;
/// Bytes of an Opus packet that holds silence.
const SILENT_OPUS: u32 = 10;
/// Without a packet of video.
const NO_VIDEO: Duration = Duration::from_secs(3);
/// Bytes of the largest frame while nothing moves.
const STILL: u32 = 250;
/// Between two key frames.
const KEY_FRAMES: Duration = Duration::from_secs(4);
/// Bits per second of a broadcast that can collapse.
const USUAL: f64 = 300_000.0;
/// Share of the usual.
const COLLAPSED: f64 = 0.25;
/// Share of lost packets that is seen and heard.
const LOSS: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    /// A presenter that is well.
    fn well() -> Health {
        Health {
            interval: Duration::from_secs(1),
            packets: 300,
            bytes: 300_000,
            audio: Some(AudioHealth { packets: 50, bytes: 6_000, loudest: Some(20) }),
            video: Some(VideoHealth {
                packets: 250,
                bytes: 294_000,
                frames: 30,
                key_frames: 0,
                key_interval: Some(Duration::from_secs(2)),
                keys_by_clock: true,
                can_be_asked: true,
                largest_delta: 12_000,
                ..VideoHealth::default()
            }),
            ..Health::default()
        }
    }

    fn audio(change: impl Fn(&mut AudioHealth)) -> Health {
        let mut health = well();
        health.audio.iter_mut().for_each(change);
        health
    }

    fn video(change: impl Fn(&mut VideoHealth)) -> Health {
        let mut health = well();
        health.video.iter_mut().for_each(change);
        health
    }

    /// After how many seconds of this the alarm is raised, and after how many good ones it is over.
    fn course(kind: AlarmKind, bad: Health) -> (usize, usize) {
        let (mut watchman, mut now) = (Watchman::default(), Instant::now());
        let mut after = |health: &Health, on: bool| {
            (1..=30).find(|_| {
                now += Duration::from_secs(1);
                let changes = watchman.look(health, Some(Codec::Opus), now);
                assert!(changes.iter().all(|change| change.alarm.kind == kind), "{kind:?}: {changes:?}");
                changes.iter().any(|change| change.on == on)
            })
        };
        assert_eq!(after(&well(), true), None, "{kind:?}: nothing is wrong yet");
        (after(&bad, true).expect("raised"), after(&well(), false).expect("over"))
    }

    #[test]
    fn each_alarm_is_raised_in_time_and_goes_by_itself() {
        let cases = [
            (AlarmKind::Silence, audio(|a| a.loudest = Some(90)), 5),
            (AlarmKind::Silence, audio(|a| (a.loudest, a.bytes) = (None, 50 * 3)), 5),
            (AlarmKind::Silence, audio(|a| (a.loudest, a.bytes, a.packets) = (None, 0, 0)), 5),
            (AlarmKind::NoVideo, video(|v| v.since_packet = Duration::from_secs(3)), 1),
            (AlarmKind::Frozen, video(|v| v.largest_delta = 80), 10),
            (AlarmKind::BFrames, video(|v| v.backward = 10), 1),
            (AlarmKind::KeyFrameInterval, video(|v| v.key_interval = Some(Duration::from_secs(10))), 1),
            (AlarmKind::KeyFrameInterval, video(|v| v.unanswered = Some(Duration::from_secs(5))), 1),
            (
                AlarmKind::KeyFrameInterval,
                video(|v| (v.since_key, v.can_be_asked) = (Some(Duration::from_secs(5)), false)),
                1,
            ),
            (AlarmKind::BitrateCollapse, Health { bytes: 30_000, ..well() }, 5),
            (AlarmKind::Loss, Health { lost: 30, ..well() }, 3),
        ];

        for (kind, bad, seconds) in cases {
            assert_eq!(course(kind, bad), (seconds, 3), "{kind:?} {bad:?}");
        }
    }

    #[test]
    fn a_browser_that_sends_key_frames_when_it_is_asked_is_well() {
        let long = Some(Duration::from_mins(5));
        let health = video(|v| (v.key_interval, v.since_key, v.keys_by_clock) = (long, long, false));

        assert_eq!(Watchman::default().look(&health, None, Instant::now()), []);
    }

    #[test]
    fn a_slide_after_a_film_is_no_collapse() {
        let (mut watchman, start) = (Watchman::default(), Instant::now());
        let slide = Health { bytes: 20_000, ..video(|v| v.largest_delta = 90) };

        let raised = (1..40).flat_map(|second| {
            let health = if second < 20 { well() } else { slide };
            watchman.look(&health, None, start + Duration::from_secs(second))
        });

        assert_eq!(raised.map(|change| change.alarm.kind).collect::<Vec<_>>(), [AlarmKind::Frozen]);
    }

    #[test]
    fn whoever_leaves_takes_the_alarms_along() {
        let (mut watchman, now) = (Watchman::default(), Instant::now());
        watchman.look(&video(|v| v.backward = 1), None, now);
        assert_eq!(watchman.alarms().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::BFrames]);

        let changes = watchman.leave();

        assert!(changes.len() == 1 && !changes[0].on);
        assert_eq!(watchman.alarms().count(), 0);
        assert!(!watchman.is_on(AlarmKind::BFrames) && watchman.silent_for(now).is_zero());
    }
}
