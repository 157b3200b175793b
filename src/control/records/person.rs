//! One session in the records.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::reports::Traffic;
use crate::control::stream::StreamName;
use crate::control::timeline::{Happening, Moment, Timeline, masked};
use crate::control::{Control, codec_word};
use crate::media::health::Health;
use crate::media::layer::{LayerInfo, Playing};
use crate::media::vitals::{VitalSigns, Vitals};
use crate::media::{CloseReason, Role, SessionId, Step, Summary};
use crate::peer::srtp::Profile;
use crate::wire::sdp::{Format, Kind};

/// Names a session to those who run the show: the first half of its id, which also stands in the log. The other half is
/// secret: whoever knows all of it may use the session's own resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortId(u64);

impl ShortId {
    /// Of a session.
    pub fn of(id: SessionId) -> Self {
        Self((id.0 >> 64) as u64)
    }
}

impl fmt::Display for ShortId {
    /// 16 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ShortId {
    type Err = ();

    /// Exactly 16 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let canonical = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if canonical { u64::from_str_radix(text, 16).map(Self).map_err(drop) } else { Err(()) }
    }
}

/// Who made a session, and with which descriptions.
#[derive(Clone, Default)]
pub struct About {
    /// Its client's name for itself, as it came.
    pub user_agent: Option<String>,
    /// Where its request came from.
    pub address: Option<IpAddr>,
    /// The link that it used.
    pub link: Option<String>,
    /// Its offer, or its answer to ours.
    pub offer: Option<Box<str>>,
    /// The other half.
    pub answer: Option<Box<str>>,
}

impl fmt::Debug for About {
    /// Leaves out what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("About").field("user_agent", &self.user_agent).finish_non_exhaustive()
    }
}

impl About {
    /// Bytes of the descriptions.
    pub(super) fn size(&self) -> usize {
        self.offer.iter().chain(&self.answer).map(|text| text.len()).sum()
    }

    /// Drops the descriptions, and tells how many bytes they had.
    pub(super) fn forget(&mut self) -> usize {
        let size = self.size();
        (self.offer, self.answer) = (None, None);
        size
    }
}

/// A session that begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Began<'a> {
    pub(in crate::control) role: Role,
    pub(in crate::control) stream: &'a StreamName,
    pub(in crate::control) subject: Option<&'a str>,
    /// It agreed on sound and on a picture.
    pub(in crate::control) takes: [bool; 2],
    pub(in crate::control) at: Instant,
}

/// A session as those who run the show see it.
#[derive(Clone, Debug)]
pub struct Person {
    /// Its name.
    pub id: ShortId,
    /// Presenter or viewer.
    pub role: Role,
    /// Its stream.
    pub stream: StreamName,
    /// Whose token it was made with.
    pub subject: Option<String>,
    /// Its client's name for itself.
    pub user_agent: Option<String>,
    /// Where its request came from.
    pub address: Option<IpAddr>,
    /// The link that it used.
    pub link: Option<String>,
    /// Where its media goes or comes from.
    pub remote: Option<SocketAddr>,
    /// When it was made.
    pub created: Instant,
    /// From its answer to agreed keys.
    pub connected_after: Option<Duration>,
    /// When and why it ended.
    pub ended: Option<(Instant, CloseReason)>,
    /// What its sound and picture are: what a presenter sends, what a viewer gets of that.
    pub codecs: [Option<&'static str>; 2],
    /// Which layers a viewer gets, and the name of the encoding.
    pub playing: Option<(Playing, Option<String>)>,
    /// Its numbers; of a presenter as far as they are known second by second.
    pub signs: VitalSigns,
    /// How a presenter was doing last.
    pub health: Option<Health>,
    /// What it did, when it is over.
    pub summary: Option<Summary>,
}

impl Person {
    /// Of an entry; `sent`: the codecs of its stream's presenter.
    pub(super) fn of(id: SessionId, entry: &Entry, sent: [Option<&'static str>; 2]) -> Self {
        let [audio, video] = entry.takes;
        let got = [sent[0].filter(|_| audio), sent[1].filter(|_| video)];
        Self {
            id: ShortId::of(id),
            role: entry.role,
            stream: entry.stream.clone(),
            subject: entry.subject.clone(),
            user_agent: entry.about.user_agent.clone(),
            address: entry.about.address,
            link: entry.about.link.clone(),
            remote: entry.remote,
            created: entry.created,
            connected_after: entry.connected_after,
            ended: entry.ended,
            codecs: if entry.role == Role::Presenter { entry.codecs } else { got },
            playing: entry.playing.clone(),
            signs: entry.signs(),
            health: entry.health.as_deref().copied(),
            summary: entry.summary,
        }
    }
}

/// What is kept of one session.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) role: Role,
    pub(super) stream: StreamName,
    pub(super) subject: Option<String>,
    /// It agreed on sound and on a picture.
    takes: [bool; 2],
    pub(super) about: About,
    remote: Option<SocketAddr>,
    pub(super) created: Instant,
    connected_after: Option<Duration>,
    pub(super) ended: Option<(Instant, CloseReason)>,
    pub(super) codecs: [Option<&'static str>; 2],
    pub(super) layers: Vec<LayerInfo>,
    playing: Option<(Playing, Option<String>)>,
    pub(super) vitals: Option<Arc<Vitals>>,
    /// Of a presenter; there are many viewers, so it has a place of its own.
    pub(super) health: Option<Box<Health>>,
    /// Packets a second of a presenter's that one viewer gets, smoothed: a second with a key frame has more.
    pub(super) pace: Option<f64>,
    pub(super) summary: Option<Summary>,
    pub(super) timeline: Timeline,
    /// What of its numbers stands in its timeline.
    told: Told,
    /// What of its numbers has been added up elsewhere.
    counted: Traffic,
    /// It was what viewers got when it ended.
    pub(super) was_on_air: bool,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is told once, by itself")]
struct Told {
    first_media: bool,
    first_picture: bool,
    is_lossy: bool,
    key_frame: bool,
    size: Option<(u16, u16)>,
}

/// What was seen for the first time at a look: after how long its first packet and its first picture were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct First {
    pub(super) media: Option<Duration>,
    pub(super) picture: Option<Duration>,
}

impl Entry {
    pub(super) fn new(began: Began<'_>) -> Self {
        let Began { role, stream, subject, takes, at: created } = began;
        Self {
            role,
            stream: stream.clone(),
            subject: subject.map(str::to_owned),
            takes,
            about: About::default(),
            remote: None,
            created,
            connected_after: None,
            ended: None,
            codecs: [None; 2],
            layers: Vec::new(),
            playing: None,
            vitals: None,
            health: None,
            pace: None,
            summary: None,
            timeline: Timeline::new(created),
            told: Told::default(),
            counted: Traffic::default(),
            was_on_air: false,
        }
    }

    pub(super) fn step(&mut self, step: &Step, now: Instant) {
        let what = match step {
            Step::Checked(remote) => Happening::Checked(*remote),
            Step::Selected(remote) => {
                // Before that it is nobody's yet.
                self.remote = self.remote.and(Some(*remote));
                Happening::Selected(*remote)
            }
            Step::Failed(why) => Happening::HandshakeFailed(why.chars().take(LONGEST_WHY).collect()),
        };
        self.timeline.add(now, what);
    }

    pub(super) fn connected(&mut self, remote: SocketAddr, profile: Profile, now: Instant) {
        self.remote = Some(remote);
        self.connected_after.get_or_insert(now.saturating_duration_since(self.created));
        self.timeline.add(now, Happening::Connected(remote, profile));
    }

    /// Keys were agreed, and it has not left.
    pub(super) fn is_connected(&self) -> bool {
        self.connected_after.is_some() && self.ended.is_none()
    }

    /// A viewer who is connected.
    pub(super) fn is_watching(&self) -> bool {
        self.role == Role::Viewer && self.is_connected()
    }

    /// Takes in how a presenter is doing.
    pub(super) fn healthy(&mut self, health: &Health, now: Instant) {
        self.health = Some(Box::new(*health));
        let rate = packets_per_second(health);
        self.pace = Some(self.pace.map_or(rate, |known| known + (rate - known) * PACE_WEIGHT));
        self.counted.packets += health.packets;
        self.counted.bytes += health.bytes;
        self.counted.lost += health.lost;
        let Some(video) = &health.video else {
            return;
        };
        if let Some(since) = video.since_key.filter(|_| !self.told.key_frame) {
            self.told.key_frame = true;
            // What is told with a delay seems older than the connection when it came right after it.
            let connected = self.connected_after.unwrap_or_default();
            let at = now.saturating_duration_since(self.created).saturating_sub(since).max(connected);
            self.timeline.add_after(at, Happening::FirstKeyFrame);
        }
        if let Some((width, height)) = video.size.filter(|_| video.size != self.told.size) {
            self.told.size = video.size;
            self.timeline.add(now, Happening::Size(width, height));
        }
    }

    /// What it has sent, or what it was sent, that has not been added up yet.
    pub(super) fn account(&mut self) -> Traffic {
        let signs = self.signs();
        let now = Traffic { packets: signs.packets, bytes: signs.bytes, lost: signs.lost, resent: signs.resent };
        let more = now.beyond(&self.counted);
        self.counted.add(&more);
        more
    }

    pub(super) fn started(&mut self, kind: Kind, format: &Format, now: Instant) {
        let codec = codec_word(format.codec);
        self.codecs[kind as usize] = Some(codec);
        let kind = if kind == Kind::Audio { "audio" } else { "video" };
        self.timeline.add(now, Happening::Started { kind, codec });
    }

    pub(super) fn plays(&mut self, playing: Playing, rid: Option<String>, now: Instant) {
        self.timeline.add(now, Happening::Layer { playing, rid: rid.clone() });
        self.playing = Some((playing, rid));
    }

    /// The name of one of a presenter's encodings.
    pub(super) fn rid(&self, layer: u8) -> Option<String> {
        self.layers.iter().find(|info| info.layer == layer)?.rid.as_deref().map(str::to_owned)
    }

    /// It is over. Returns what had not been seen before.
    pub(super) fn end(&mut self, reason: CloseReason, now: Instant) -> First {
        let first = self.look(now);
        self.ended = Some((now, reason));
        self.timeline.add(now, Happening::Closed(reason));
        first
    }

    /// How it is doing.
    pub(super) fn signs(&self) -> VitalSigns {
        let mut signs = self.vitals.as_ref().map(|vitals| vitals.read()).unwrap_or_default();
        if self.role == Role::Presenter {
            (signs.packets, signs.bytes, signs.lost) = (self.counted.packets, self.counted.bytes, self.counted.lost);
        }
        if let Some(summary) = &self.summary {
            (signs.packets, signs.bytes, signs.resent) = (summary.packets, summary.bytes, summary.resent);
            signs.lost = signs.lost.max(summary.lost);
            signs.first_media = signs.first_media.or(summary.media_after);
        }
        signs
    }

    /// Writes down what its numbers tell.
    pub(super) fn look(&mut self, now: Instant) -> First {
        let Some(vitals) = &self.vitals else {
            return First::default();
        };
        let (signs, mut first) = (vitals.read(), First::default());
        if let Some(after) = signs.first_media.filter(|_| !self.told.first_media) {
            self.told.first_media = true;
            first.media = Some(after);
            self.timeline.add_after(after, Happening::FirstPacket);
        }
        if let Some(after) = signs.first_picture.filter(|_| !self.told.first_picture) {
            self.told.first_picture = true;
            first.picture = Some(after);
            self.timeline.add_after(after, Happening::FirstPicture);
        }
        if signs.loss > LOSS_BEGINS && !self.told.is_lossy {
            self.told.is_lossy = true;
            self.timeline.add(now, Happening::LossBegan(signs.loss));
        } else if signs.loss < LOSS_ENDS && self.told.is_lossy {
            self.told.is_lossy = false;
            self.timeline.add(now, Happening::LossEnded);
        }
        first
    }
}

/// A session's flight recorder.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The session.
    pub person: Person,
    /// What happened to it.
    pub moments: Vec<Moment>,
    /// Its offer without secrets, while that is kept.
    pub offer: Option<String>,
    /// The answer to it, likewise.
    pub answer: Option<String>,
}

impl Control {
    /// What happened to a session, for a while also when it is over.
    pub fn recording(&self, id: SessionId) -> Option<Recording> {
        let mut state = self.records.state();
        let entry = state.sessions.get_mut(&id)?;
        if entry.ended.is_none() {
            entry.look(Instant::now());
        }
        let moments = entry.timeline.moments();
        let (offer, answer) = (entry.about.offer.clone(), entry.about.answer.clone());
        let person = state.person(id)?;
        drop(state);
        let hide = |text: Option<Box<str>>| text.map(|text| masked(&text));
        Some(Recording { person, moments, offer: hide(offer), answer: hide(answer) })
    }
}

/// Packets a second of sound and of the best picture, which is what a viewer gets.
fn packets_per_second(health: &Health) -> f64 {
    let audio = health.audio.map_or(0, |audio| audio.packets);
    let video = health.video.map_or(0, |video| video.packets);
    f64::from(audio + video) / health.interval.as_secs_f64().max(0.001)
}

/// Of the last second in what is known.
const PACE_WEIGHT: f64 = 0.2;
/// Characters of a reason.
const LONGEST_WHY: usize = 200;
/// Share of lost packets from which on it is a burst, until it is below the other.
const LOSS_BEGINS: f64 = 0.05;
const LOSS_ENDS: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_half_of_an_id() {
        let id: SessionId = "00112233445566778899aabbccddeeff".parse().expect("an id");

        let short = ShortId::of(id);

        assert_eq!(short.to_string(), "0011223344556677");
        assert_eq!("0011223344556677".parse(), Ok(short));
        for bad in ["", "001122334455667", "00112233445566778", "001122334455667G", "+011223344556677"] {
            assert_eq!(bad.parse::<ShortId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_loss_is_told_when_it_begins_and_when_it_ends() {
        let start = Instant::now();
        let stream = "live".parse().expect("a name");
        let mut entry =
            Entry::new(Began { role: Role::Viewer, stream: &stream, subject: None, takes: [true; 2], at: start });
        let vitals = Arc::new(Vitals::default());
        entry.vitals = Some(Arc::clone(&vitals));

        vitals.began(Some(Duration::from_millis(20)), Some(Duration::from_millis(30)));
        for n in 0..20 {
            vitals.reported(if n < 10 { 128 } else { 0 }, 5, None);
            entry.look(start + Duration::from_secs(n));
        }

        let told: Vec<_> = entry.timeline.moments().into_iter().map(|moment| moment.what).collect();
        assert!(
            matches!(
                told.as_slice(),
                [Happening::LossBegan(_), Happening::FirstPacket, Happening::FirstPicture, Happening::LossEnded]
                    | [Happening::FirstPacket, Happening::FirstPicture, Happening::LossBegan(_), Happening::LossEnded]
            ),
            "{told:?}"
        );
    }
}
