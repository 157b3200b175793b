//! A report that grows while its broadcast lasts. Everything in it is bounded.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Alarmed, Audience, Presented, Report, Spread, Traffic};
use crate::control::alarms::Change;
use crate::control::records::{Person, ShortId};
use crate::control::stream::StreamName;
use crate::control::{ids, wall};
use crate::media::CloseReason;
use crate::media::health::Health;

/// A report in the making.
#[derive(Debug)]
pub(in crate::control) struct Draft {
    report: Report,
    began: Instant,
    watching: usize,
    /// When the number of viewers changed last, and viewer-seconds until then.
    counted: Instant,
    watched: f64,
    /// The most viewers in the interval that lasts, and when it began.
    most: u32,
    sampled: Instant,
    unique: HashSet<u64>,
    first_packet: Values,
    first_picture: Values,
    saved: Option<Instant>,
    /// Whose packets came last.
    newest: Option<ShortId>,
}

impl Draft {
    /// A broadcast begins, with so many viewers waiting.
    pub(in crate::control) fn new(stream: &StreamName, watching: usize, now: Instant) -> Self {
        let started = wall::stamp(now);
        let compact: String = started.chars().filter(char::is_ascii_alphanumeric).collect();
        let second = compact.get(..15).unwrap_or(&compact);
        let mut report = Report {
            id: format!("{second}Z-{stream}-{}", ids::hex(&ids::random::<2>())),
            stream: stream.to_string(),
            started,
            ..Report::default()
        };
        report.viewers.sample_seconds = FIRST_SAMPLE;
        report.viewers.peak = watching;
        report.viewers.sessions = watching as u64;
        Self {
            report,
            began: now,
            watching,
            counted: now,
            watched: 0.0,
            most: watching as u32,
            sampled: now,
            unique: HashSet::new(),
            first_packet: Values::default(),
            first_picture: Values::default(),
            saved: None,
            newest: None,
        }
    }

    /// Its name.
    pub(in crate::control) fn id(&self) -> &str {
        &self.report.id
    }

    /// The most viewers at once.
    pub(in crate::control) fn peak(&self) -> usize {
        self.report.viewers.peak
    }

    /// As many viewers as there were all the time.
    pub(in crate::control) fn average(&self, now: Instant) -> f64 {
        let lasting = self.watching as f64 * now.saturating_duration_since(self.counted).as_secs_f64();
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        if seconds > 0.0 { (self.watched + lasting) / seconds } else { self.watching as f64 }
    }

    /// So many watch now.
    pub(in crate::control) fn watching(&mut self, watching: usize, now: Instant) {
        self.watched += self.watching as f64 * now.saturating_duration_since(self.counted).as_secs_f64();
        (self.watching, self.counted) = (watching, now);
        self.report.viewers.peak = self.report.viewers.peak.max(watching);
        self.most = self.most.max(watching as u32);
    }

    /// A presenter's first packet came.
    pub(in crate::control) fn presenter_came(&mut self, session: ShortId, now: Instant) {
        // Of more than are listed the one that is there would be another one each time.
        if self.newest.replace(session) == Some(session) {
            return;
        }
        let session = session.to_string();
        if self.report.presenters.iter().any(|known| known.session == session) {
            return;
        }
        self.report.reconnects += u32::from(!self.report.presenters.is_empty());
        if self.report.presenters.len() < MOST_ENTRIES {
            let from = wall::stamp(now);
            self.report.presenters.push(Presented { session, from, ..Presented::default() });
        }
    }

    /// How the presenter is doing: who it is stands in its entry.
    pub(in crate::control) fn presented(&mut self, person: &Person, health: &Health) {
        if let Some(known) = self.presenter(person.id) {
            known.subject.clone_from(&person.subject);
            known.user_agent.clone_from(&person.user_agent);
            let [audio, video] = person.codecs.map(|codec| codec.map(str::to_owned));
            (known.audio, known.video) = (audio, video);
            if let Some((width, height)) = health.video.and_then(|video| video.size) {
                (known.width, known.height) = (Some(width), Some(height));
            }
        }
        self.report.received.packets += health.packets;
        self.report.received.bytes += health.bytes;
        self.report.received.lost += health.lost;
    }

    /// A presenter's session is over.
    pub(in crate::control) fn presenter_left(&mut self, session: ShortId, why: Option<CloseReason>, now: Instant) {
        if let Some(known) = self.presenter(session) {
            known.to = Some(wall::stamp(now));
            known.reason = why.map(|reason| reason.word().to_owned());
        }
    }

    /// What a presenter's session did is known, and how much of it came after it was looked at last.
    pub(in crate::control) fn presenter_over(&mut self, session: ShortId, more: &Traffic, was_on_air: bool) {
        if self.presenter(session).is_none() {
            return;
        }
        let came = if was_on_air { *more } else { Traffic::default() };
        self.report.received.add(&Traffic { resent: more.resent, ..came });
    }

    fn presenter(&mut self, session: ShortId) -> Option<&mut Presented> {
        let session = session.to_string();
        self.report.presenters.iter_mut().rfind(|known| known.session == session)
    }

    /// A viewer's session has been made.
    pub(in crate::control) fn joined(&mut self) {
        self.report.viewers.joins += 1;
    }

    /// A viewer is connected.
    pub(in crate::control) fn connected(&mut self) {
        self.report.viewers.sessions += 1;
    }

    /// A viewer comes from there with this.
    pub(in crate::control) fn seen(&mut self, address: Option<IpAddr>, client: Option<&str>) {
        let mut hasher = DefaultHasher::new();
        (address, client).hash(&mut hasher);
        if self.unique.len() < MOST_UNIQUE {
            self.unique.insert(hasher.finish());
        }
    }

    /// A viewer's first packet and picture were sent so long after its answer. Whoever was there before there was anything
    /// to be sent has waited for the presenter, not for us.
    pub(in crate::control) fn first(&mut self, answered: Instant, packet: Option<Duration>, picture: Option<Duration>) {
        let waited = self.began.saturating_duration_since(answered);
        for (values, after) in [(&mut self.first_packet, packet), (&mut self.first_picture, picture)] {
            if let Some(after) = after {
                values.add(after.saturating_sub(waited));
            }
        }
    }

    /// So much more has been sent to viewers.
    pub(in crate::control) fn sent(&mut self, more: &Traffic) {
        self.report.sent.add(more);
    }

    /// An alarm is raised or over.
    pub(in crate::control) fn alarm(&mut self, change: &Change, now: Instant) {
        let kind = change.alarm.kind.word();
        if !change.on {
            let open = |known: &&mut Alarmed| known.kind == kind && known.to.is_none();
            if let Some(known) = self.report.alarms.iter_mut().rev().find(open) {
                known.to = Some(wall::stamp(now));
            }
        } else if self.report.alarms.len() < MOST_ENTRIES {
            let (from, detail) = (wall::stamp(change.alarm.since), change.alarm.detail.clone());
            self.report.alarms.push(Alarmed { kind: kind.to_owned(), from, to: None, detail });
        }
    }

    /// Once a second. Returns the report as far as it is when it is to be kept.
    pub(in crate::control) fn sample(&mut self, now: Instant) -> Option<Report> {
        let audience = &mut self.report.viewers;
        // Seconds are never quite seconds. Where a sample stands tells when it was taken, so each has its own interval.
        while now.saturating_duration_since(self.sampled) >= interval(audience) {
            audience.samples.push(self.most);
            self.most = self.watching as u32;
            self.sampled += interval(audience);
            if audience.samples.len() >= MOST_SAMPLES {
                audience.samples = audience.samples.chunks(2).filter_map(|two| two.iter().max().copied()).collect();
                audience.sample_seconds *= 2;
            }
        }
        let due = self.saved.is_none_or(|at| now.saturating_duration_since(at) >= SAVE_AGAIN);
        due.then(|| {
            self.saved = Some(now);
            self.so_far(now)
        })
    }

    /// The broadcast is over.
    pub(in crate::control) fn finish(mut self, now: Instant, interrupted: bool) -> Report {
        let at = wall::stamp(now);
        self.report.viewers.samples.push(self.most);
        self.report.alarms.iter_mut().for_each(|alarm| alarm.to = alarm.to.take().or_else(|| Some(at.clone())));
        self.report.presenters.iter_mut().for_each(|one| one.to = one.to.take().or_else(|| Some(at.clone())));
        Report { ended: Some(at), interrupted, ..self.so_far(now) }
    }

    /// The report as far as it is.
    pub(in crate::control) fn so_far(&self, now: Instant) -> Report {
        let mut report = self.report.clone();
        report.written = wall::stamp(now);
        report.seconds = now.saturating_duration_since(self.began).as_secs();
        report.viewers.average = (self.average(now) * 100.0).round() / 100.0;
        report.viewers.unique = self.unique.len();
        report.first_packet_ms = self.first_packet.spread();
        report.first_picture_ms = self.first_picture.spread();
        report
    }
}

/// Times of which all or an even part is kept.
#[derive(Debug)]
struct Values {
    count: u64,
    max: u32,
    kept: Vec<u32>,
    /// One of so many is kept.
    every: u64,
}

impl Default for Values {
    fn default() -> Self {
        Self { count: 0, max: 0, kept: Vec::new(), every: 1 }
    }
}

impl Values {
    fn add(&mut self, value: Duration) {
        let millis = u32::try_from(value.as_millis()).unwrap_or(u32::MAX);
        if self.count.is_multiple_of(self.every) {
            self.kept.push(millis);
            if self.kept.len() >= MOST_VALUES {
                let mut at = 0_u32;
                self.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
        }
        self.count += 1;
        self.max = self.max.max(millis);
    }

    fn spread(&self) -> Spread {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
        let at = |percent: usize| at(percent).copied().unwrap_or(0);
        Spread { count: self.count, p50: at(50), p95: at(95), max: self.max }
    }
}

/// Between two samples.
fn interval(audience: &Audience) -> Duration {
    Duration::from_secs(audience.sample_seconds.into())
}

/// Seconds between samples, at first.
const FIRST_SAMPLE: u32 = 5;
/// Then two become one: an hour is seen every five seconds, a day every two minutes.
const MOST_SAMPLES: usize = 720;
/// Presenters and alarms in one report.
const MOST_ENTRIES: usize = 200;
/// Viewers told apart.
const MOST_UNIQUE: usize = 100_000;
/// Times kept of one kind.
const MOST_VALUES: usize = 1_024;
/// While the broadcast lasts.
const SAVE_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(watching: usize, now: Instant) -> Draft {
        Draft::new(&"talk".parse().expect("a name"), watching, now)
    }

    #[test]
    fn viewers_are_counted_over_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut draft = draft(2, start);

        draft.watching(10, at(10));
        draft.watching(0, at(20));

        let report = draft.finish(at(40), false);
        assert_eq!((report.viewers.peak, report.viewers.average, report.seconds), (10, 3.0, 40));
        assert!(report.ended.is_some() && report.id.ends_with(|c: char| c.is_ascii_hexdigit()));
        assert!(report.id.contains("Z-talk-"), "{}", report.id);
    }

    #[test]
    fn a_day_has_no_more_samples_than_an_hour() {
        let start = Instant::now();
        let mut draft = draft(0, start);

        for second in 1..86_400 {
            let now = start + Duration::from_secs(second);
            draft.watching(second as usize / 60, now);
            let _ = draft.sample(now);
        }

        let report = draft.finish(start + Duration::from_hours(24), false);
        let audience = report.viewers;
        assert!(audience.samples.len() < MOST_SAMPLES, "{}", audience.samples.len());
        assert!(audience.samples.is_sorted() && audience.samples.last() == Some(&1_439));
        assert!(audience.sample_seconds.is_multiple_of(5));
    }

    #[test]
    fn samples_stand_where_they_were_taken() {
        let start = Instant::now();
        let mut draft = draft(0, start);

        for second in 1..=600 {
            // As often as not a little less than five seconds have passed at the fifth look.
            let late = Duration::from_millis(if second % 2 == 0 { 40 } else { 0 });
            let now = start + Duration::from_secs(second) + late;
            draft.watching(usize::from(second >= 500), now);
            let _ = draft.sample(now);
        }

        let audience = draft.so_far(start + Duration::from_mins(10)).viewers;
        let rise = audience.samples.iter().position(|count| *count > 0);
        assert_eq!((audience.samples.len(), rise), (120, Some(99)));
    }

    #[test]
    fn a_spread_stays_true_when_values_are_left_out() {
        let mut values = Values::default();

        for n in 0..100_000_u64 {
            values.add(Duration::from_millis(n * 7_919 % 1_000));
        }

        let spread = values.spread();
        assert_eq!((spread.count, spread.max), (100_000, 999));
        assert!(spread.p50.abs_diff(500) < 60 && spread.p95.abs_diff(950) < 30, "{spread:?}");
        assert_eq!(Values::default().spread(), Spread::default());
    }

    #[test]
    fn a_presenter_that_comes_back_is_a_reconnect() {
        let start = Instant::now();
        let mut draft = draft(0, start);
        let [one, other] = ["0000000000000001", "0000000000000002"].map(|id| id.parse().expect("a name"));

        for session in [one, one, other, one] {
            draft.presenter_came(session, start);
        }

        let report = draft.finish(start, false);
        assert_eq!((report.presenters.len(), report.reconnects), (2, 1));
    }

    #[test]
    fn presenters_that_are_not_listed_any_more_are_counted_once() {
        let start = Instant::now();
        let mut draft = draft(0, start);

        for n in 0..=MOST_ENTRIES {
            let session = format!("{n:016x}").parse().expect("a name");
            draft.presenter_came(session, start);
            draft.presenter_came(session, start);
        }

        let report = draft.finish(start, false);
        assert_eq!((report.presenters.len(), report.reconnects), (MOST_ENTRIES, MOST_ENTRIES as u32));
    }
}
