//! Several presenters of one stream: who of them is on air.
//!
//! Each worker asks with every packet of a presenter that is not the only one there can be, so that whoever stands by
//! notices the silence of whoever is on air by its own next packet. What counts are arrivals in the kernel: a worker that
//! is late is late for all of its presenters.

use std::time::{Duration, Instant};

use super::{SessionId, Standing};
use crate::wire::sdp::Kind;

/// The presenters of a stream. Shared by the workers that they are on.
#[derive(Debug, Default)]
pub struct Lineup {
    places: Vec<Place>,
    on_air: Option<SessionId>,
}

/// What a presenter's packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Viewers get it.
    OnAir,
    /// Viewers get others.
    StandBy,
    /// Viewers get others until this presenter's next key frame.
    Due,
    /// Viewers get this presenter from now on.
    TakeOver,
}

#[derive(Debug)]
struct Place {
    session: SessionId,
    standing: Standing,
    media: Rhythm,
    pictures: Rhythm,
    /// Since when it has come without a gap.
    steady_since: Option<Instant>,
}

impl Lineup {
    /// A presenter has come.
    pub fn enter(&mut self, session: SessionId, standing: Standing) {
        let (media, pictures) = (Rhythm::default(), Rhythm::default());
        self.places.push(Place { session, standing, media, pictures, steady_since: None });
    }

    /// A presenter has gone.
    pub fn leave(&mut self, session: SessionId) {
        self.places.retain(|place| place.session != session);
        self.on_air = self.on_air.filter(|on_air| *on_air != session);
    }

    /// A packet of a presenter has arrived, maybe the first one of a key frame: what it is for.
    pub fn look(&mut self, session: SessionId, kind: Kind, is_key: bool, at: Instant) -> Part {
        let part = self.cast(session, kind, at);
        let takes_over = part == Part::TakeOver || (part == Part::Due && is_key);
        if takes_over {
            self.on_air = Some(session);
        }
        if takes_over { Part::TakeOver } else { part }
    }

    fn cast(&mut self, session: SessionId, kind: Kind, at: Instant) -> Part {
        let Some(me) = self.places.iter_mut().find(|place| place.session == session) else {
            return Part::StandBy;
        };
        me.heard(kind, at);
        let (mine, since) = (me.standing, me.steady_since.unwrap_or(at));
        if self.on_air == Some(session) {
            return Part::OnAir;
        }
        let steady = at.saturating_duration_since(since);
        let mut others = self.places.iter().filter(|place| place.session != session && !place.is_quiet(at));
        let is_best = others.all(|place| place.standing.rank > mine.rank || self.on_air == Some(place.session));
        match self.places.iter().find(|place| self.on_air == Some(place.session)) {
            None if is_best => Part::TakeOver,
            // If everything has stood still for a moment, so has whoever is on air: it gets the same chance to go on.
            Some(on_air) if is_best && on_air.is_quiet(at) && steady >= WITNESS => Part::TakeOver,
            Some(on_air) if is_best && mine.rank < on_air.standing.rank && steady >= mine.back_after => Part::Due,
            None | Some(_) => Part::StandBy,
        }
    }
}

impl Place {
    fn heard(&mut self, kind: Kind, at: Instant) {
        let was_quiet = self.is_quiet(at);
        self.media.heard(at);
        if kind == Kind::Video {
            self.pictures.heard(at);
        }
        if was_quiet || self.steady_since.is_none() {
            self.steady_since = Some(at);
        }
    }

    /// Nothing has come, or no picture, for longer than it should have taken.
    fn is_quiet(&self, at: Instant) -> bool {
        let no_pictures = self.pictures.last.is_some() && self.pictures.silence(at) > self.pictures.patience(PICTURES);
        self.media.silence(at) > self.media.patience(MEDIA) || no_pictures
    }
}

/// How regularly something comes.
#[derive(Debug, Default)]
struct Rhythm {
    last: Option<Instant>,
    /// When this window began, how much of it were long gaps, and how many.
    since: Option<Instant>,
    slow: Duration,
    gaps: u32,
    /// The habit of the window before.
    before: Duration,
}

impl Rhythm {
    fn heard(&mut self, at: Instant) {
        let gap = self.silence(at).min(LONGEST_GAP);
        let Some(last) = self.last else {
            (self.last, self.since) = (Some(at), Some(at));
            return;
        };
        self.last = Some(last.max(at));
        if gap >= LONG_GAP {
            self.slow += gap;
            self.gaps += 1;
        }
        if self.window() >= WINDOW {
            self.before = self.habit();
            (self.since, self.slow, self.gaps) = (Some(at), Duration::ZERO, 0);
        }
    }

    /// For how long nothing has come; for ever, if nothing ever has.
    fn silence(&self, at: Instant) -> Duration {
        self.last.map_or(Duration::MAX, |last| at.saturating_duration_since(last))
    }

    /// What silence is still its habit.
    fn patience(&self, (least, most): (Duration, Duration)) -> Duration {
        (self.habit().max(self.before) * 3).clamp(least, most)
    }

    /// Between two of what comes, if it comes that seldom most of the time: a few interruptions are no habit.
    fn habit(&self) -> Duration {
        if self.gaps > 0 && self.slow * 2 >= self.window() { self.slow / self.gaps } else { Duration::ZERO }
    }

    fn window(&self) -> Duration {
        self.last.zip(self.since).map_or(Duration::ZERO, |(last, since)| last.saturating_duration_since(since))
    }
}

/// Silence of all that a presenter sends, at least and at most: by then its connection is gone.
const MEDIA: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// Silence of its pictures alone: while sound comes the connection is good, and a picture that stands still is none.
const PICTURES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Whoever takes over has been heard without a gap for so long.
const WITNESS: Duration = Duration::from_millis(100);
/// Shorter gaps are none.
const LONG_GAP: Duration = Duration::from_millis(80);
/// Longer gaps are no habit.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// Habits are forgotten after once to twice this time.
const WINDOW: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// Presenters that send a packet every so often.
    struct Studio {
        lineup: Lineup,
        start: Instant,
        now: u64,
        on_air: Vec<(u64, u128)>,
    }

    impl Studio {
        fn new(ranks: &[u8]) -> Self {
            let mut lineup = Lineup::default();
            for (n, rank) in ranks.iter().enumerate() {
                let standing = Standing { rank: *rank, back_after: Duration::from_secs(5) };
                lineup.enter(SessionId(n as u128), standing);
            }
            Self { lineup, start: Instant::now(), now: 0, on_air: Vec::new() }
        }

        /// Until then (ms) these send every so many milliseconds; every packet may begin a picture.
        fn until(&mut self, end: u64, senders: &[(u128, u64)], kind: Kind) {
            while self.now < end {
                for (who, _) in senders.iter().filter(|(_, pause)| self.now.is_multiple_of(*pause)) {
                    let at = self.start + Duration::from_millis(self.now);
                    if self.lineup.look(SessionId(*who), kind, true, at) == Part::TakeOver {
                        self.on_air.push((self.now, *who));
                    }
                }
                self.now += 1;
            }
        }
    }

    #[test]
    fn the_next_takes_over_soon_after_the_silence_began_and_gives_back_late() {
        let mut studio = Studio::new(&[0, 1, 2]);
        let all = [(2, 20), (1, 20), (0, 20)];
        studio.until(6_000, &all, Kind::Video);
        studio.until(20_000, &all[..2], Kind::Video);
        studio.until(30_000, &all, Kind::Video);

        let switches: Vec<_> = studio.on_air.iter().map(|(_, who)| *who).collect();
        assert_eq!(switches[switches.len() - 2..], [1, 0], "{:?}", studio.on_air);
        let [(away, _), (back, _)] = studio.on_air[studio.on_air.len() - 2..] else { panic!("two") };
        assert!((6_230..=6_280).contains(&away), "{away}");
        assert!((25_000..=25_040).contains(&back), "{back}");
    }

    #[test]
    fn a_picture_that_stands_still_is_no_silence_while_sound_comes() {
        let mut studio = Studio::new(&[0, 1]);
        studio.until(10_000, &[(0, 20), (1, 20)], Kind::Audio);
        let at = |ms| studio.start + Duration::from_millis(ms);
        let first = studio.lineup.places.first_mut().expect("a place");
        (0..20).for_each(|n| first.heard(Kind::Video, at(10_000 + n * 30)));
        (0..40).for_each(|n| first.heard(Kind::Audio, at(10_600 + n * 20)));

        assert!(!first.is_quiet(at(11_400)));
        (0..60).for_each(|n| first.heard(Kind::Audio, at(11_400 + n * 20)));
        assert!(first.is_quiet(at(12_600)), "but not for ever");
    }

    #[test]
    fn who_sends_seldom_by_habit_is_not_missed_sooner() {
        let mut studio = Studio::new(&[0, 1]);
        studio.until(60_000, &[(0, 1_000), (1, 1_000)], Kind::Video);
        assert_eq!(studio.on_air, [(0, 0)], "one after the other, all the time");

        studio.until(70_000, &[(1, 1_000)], Kind::Video);

        assert_eq!(studio.on_air[1..], [(63_000, 1)]);
    }

    #[test]
    fn when_all_stand_still_for_a_moment_nobody_takes_over() {
        let mut studio = Studio::new(&[0, 1]);
        studio.until(5_000, &[(0, 20), (1, 20)], Kind::Video);
        studio.now = 6_500;
        // The one that stands by happens to be heard first.
        studio.until(6_520, &[(1, 20)], Kind::Video);
        studio.until(20_000, &[(0, 20), (1, 20)], Kind::Video);

        assert_eq!(studio.on_air, [(0, 0)]);
    }

    #[test]
    fn who_comes_and_goes_does_not_get_the_place_back() {
        let mut studio = Studio::new(&[0, 1]);
        studio.until(3_000, &[(0, 20), (1, 20)], Kind::Video);
        for second in (3..60).step_by(3) {
            studio.until(second * 1_000 + 1_000, &[(1, 20)], Kind::Video);
            studio.until(second * 1_000 + 3_000, &[(0, 20), (1, 20)], Kind::Video);
        }

        assert_eq!(studio.on_air.len(), 2, "{:?}", studio.on_air);
    }

    #[test]
    fn the_seat_of_who_has_gone_is_taken_at_once() {
        let mut studio = Studio::new(&[0, 1]);
        studio.until(1_000, &[(0, 20), (1, 20)], Kind::Video);
        studio.lineup.leave(SessionId(0));
        studio.until(1_100, &[(1, 20)], Kind::Video);

        assert_eq!(studio.on_air, [(0, 0), (1_000, 1)]);
    }
}
