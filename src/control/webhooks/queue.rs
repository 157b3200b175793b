//! What waits to be told to one receiver: in order, bounded, tried again with longer and longer pauses. No I/O, no clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Message;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Taken,
    /// It wants nothing any more (HTTP 410).
    Gone,
    /// It does not take this: trying again hardly helps.
    Refused(String),
    /// It did not answer, or is not well: later it may take it.
    Unwell {
        /// What happened.
        why: String,
        /// It wants to be left alone for so long.
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    /// What an HTTP status means.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            300..=399 => Self::Refused(format!("HTTP {status}: redirects are not followed")),
            408 | 425 | 429 | 500..=599 => Self::Unwell { why: format!("HTTP {status}"), retry_after },
            _ => Self::Refused(format!("HTTP {status}")),
        }
    }
}

/// How often and when an event is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After the first failure; three times as long after each further one,
    pub first: Duration,
    /// but at most so long.
    pub longest: Duration,
    /// Attempts at one event.
    pub attempts: u32,
    /// Attempts at one that is refused: it shall not keep the others back for long.
    pub refusals: u32,
}

impl Default for Pace {
    /// 5 s, 15 s, … 15 min: eight attempts within some 40 minutes.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), longest: Duration::from_mins(15), attempts: 8, refusals: 3 }
    }
}

impl Pace {
    /// The pause after so many failures; `random` is any number. From a half to the whole, so that many do not come at
    /// once, and never earlier than the receiver wants, unless that is a bad joke.
    fn pause(&self, failures: u32, asked_for: Option<Duration>, random: u64) -> Duration {
        let tripled = 3_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let step = self.first.saturating_mul(tripled).min(self.longest);
        let pause = step / 2 + step.mul_f64((random % 1_000) as f64 / 2_000.0);
        pause.max(asked_for.unwrap_or_default().min(LONGEST_ASKED))
    }
}

/// How many events became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The receiver has them.
    pub sent: u64,
    /// Tried as often as it is worth, and given up.
    pub failed: u64,
    /// Too many waited, or the receiver wants nothing any more.
    pub dropped: u64,
    /// Attempts that were not the last one of their event, and failed.
    pub retried: u64,
}

/// What to do now.
#[derive(Debug)]
pub enum Turn {
    /// Send this, then say how it ended.
    Send(Arc<Message>),
    /// Nothing before then, unless it rings.
    Wait(Instant),
    /// Nothing before it rings.
    Idle,
    /// Nothing ever.
    Over,
}

/// What an answer has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that is worth a line.
    None,
    /// It has taken everything so far, and now it does not.
    Fails(String),
    /// It takes events again.
    Well,
    /// It wants nothing any more.
    Stopped,
}

/// What waits for one receiver.
#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    /// The oldest: it is being tried. It is not dropped for others.
    head: Option<Head>,
    waiting: VecDeque<Arc<Message>>,
    /// Why the last attempt failed, if it did.
    pub(super) trouble: Option<String>,
    pub(super) counts: Counts,
    /// Nothing is sent to this receiver any more.
    pub(super) stopped: bool,
    /// Everything is tried once more, at once.
    closing: bool,
}

#[derive(Debug)]
struct Head {
    message: Arc<Message>,
    failures: u32,
    due: Instant,
}

impl Queue {
    /// Nothing waits.
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            head: None,
            waiting: VecDeque::new(),
            trouble: None,
            counts: Counts::default(),
            stopped: false,
            closing: false,
        }
    }

    /// Puts an event at the end. When there are too many the oldest that is not being tried goes.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        if self.stopped {
            self.counts.dropped += 1;
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            self.counts.dropped += 1;
        }
        self.waiting.push_back(message);
    }

    /// How many are not told yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.head.is_some())
    }

    /// The process ends: from now on nothing waits, and nothing is tried twice.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// What to do now.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        if self.head.is_none() {
            self.head = self.waiting.pop_front().map(|message| Head { message, failures: 0, due: now });
        }
        match &self.head {
            _ if self.stopped => Turn::Over,
            Some(head) if self.closing || head.due <= now => Turn::Send(Arc::clone(&head.message)),
            Some(head) => Turn::Wait(head.due),
            None if self.closing => Turn::Over,
            None => Turn::Idle,
        }
    }

    /// Takes in how the attempt that [`Self::turn`] asked for has ended.
    pub(super) fn answered(&mut self, outcome: Outcome, now: Instant, random: u64) -> Change {
        let (why, retry_after, most) = match outcome {
            Outcome::Taken => {
                self.head = None;
                self.counts.sent += 1;
                return if self.trouble.take().is_some() { Change::Well } else { Change::None };
            }
            Outcome::Gone => {
                self.counts.dropped += self.len() as u64;
                (self.head, self.stopped) = (None, true);
                self.waiting.clear();
                self.trouble = Some("HTTP 410: it wants nothing any more".to_owned());
                return Change::Stopped;
            }
            Outcome::Refused(why) => (why, None, self.pace.refusals),
            Outcome::Unwell { why, retry_after } => (why, retry_after, self.pace.attempts),
        };
        if let Some(head) = &mut self.head {
            head.failures += 1;
            head.due = now + self.pace.pause(head.failures, retry_after, random);
            if self.closing || head.failures >= most {
                self.head = None;
                self.counts.failed += 1;
            } else {
                self.counts.retried += 1;
            }
        }
        let is_new = self.trouble.replace(why.clone()).is_none();
        if is_new { Change::Fails(why) } else { Change::None }
    }
}

/// Events of one receiver; about 500 bytes each.
const MOST_WAITING: usize = 256;
/// Whoever wants to be left alone for longer is asked after that.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue and a clock of its own.
    struct Course {
        queue: Queue,
        now: Instant,
    }

    impl Course {
        fn new(events: usize) -> Self {
            let mut queue = Queue::new(Pace::default());
            (0..events).for_each(|n| queue.push(message(n)));
            Self { queue, now: Instant::now() }
        }

        /// The event that is to be sent now.
        fn sends(&mut self) -> String {
            match self.queue.turn(self.now) {
                Turn::Send(message) => message.id.clone(),
                other => panic!("{other:?}"),
            }
        }

        /// Waits until something is to be sent, and says how long that took.
        fn waits(&mut self) -> Duration {
            match self.queue.turn(self.now) {
                Turn::Wait(due) => {
                    let pause = due - self.now;
                    self.now = due;
                    pause
                }
                Turn::Send(_) => Duration::ZERO,
                other => panic!("{other:?}"),
            }
        }

        fn answered(&mut self, outcome: Outcome) -> Change {
            self.queue.answered(outcome, self.now, 999)
        }
    }

    fn message(n: usize) -> Arc<Message> {
        Arc::new(Message { id: n.to_string(), body: bytes::Bytes::new() })
    }

    fn unwell() -> Outcome {
        Outcome::of_status(500, None)
    }

    #[test]
    fn events_go_in_order_and_one_after_the_other() {
        let mut course = Course::new(3);

        for n in ["0", "1", "2"] {
            assert_eq!(course.sends(), n);
            assert_eq!(course.sends(), n, "until it is said how it ended");
            assert_eq!(course.answered(Outcome::Taken), Change::None);
        }

        assert!(matches!(course.queue.turn(course.now), Turn::Idle));
        assert_eq!(course.queue.counts, Counts { sent: 3, ..Counts::default() });
    }

    #[test]
    fn a_receiver_that_is_not_well_is_asked_later_and_later_and_others_wait() {
        let mut course = Course::new(2);
        let mut pauses = Vec::new();

        while course.sends() == "0" {
            course.answered(unwell());
            pauses.push(course.waits().as_secs());
        }

        assert_eq!(pauses, [4, 14, 44, 134, 404, 899, 899, 0], "and then it is given up");
        assert_eq!(course.queue.counts, Counts { failed: 1, retried: 7, ..Counts::default() });
    }

    #[test]
    fn pauses_differ_by_chance_between_a_half_and_the_whole() {
        let pace = Pace::default();

        for failures in 1..40 {
            let (least, most) = (pace.pause(failures, None, 0), pace.pause(failures, None, 999));
            assert!(least >= pace.first / 2 && most <= pace.longest && most > least.mul_f64(1.9), "{failures}");
        }
    }

    #[test]
    fn a_receiver_is_not_asked_before_it_wants_but_within_an_hour() {
        for (asked, waits) in [(60, 60), (1, 4), (u64::MAX, 3_600)] {
            let mut course = Course::new(1);
            course.sends();

            course.answered(Outcome::of_status(503, Some(Duration::from_secs(asked))));

            assert_eq!(course.waits().as_secs(), waits, "{asked}");
        }
    }

    #[test]
    fn what_is_refused_does_not_keep_the_others_for_long() {
        for status in [302, 400, 401, 404, 422] {
            let mut course = Course::new(2);

            for _ in 0..3 {
                assert_eq!(course.sends(), "0", "HTTP {status}");
                course.answered(Outcome::of_status(status, None));
                course.waits();
            }

            assert_eq!(course.sends(), "1", "HTTP {status}");
        }
    }

    #[test]
    fn whoever_is_gone_gets_nothing_any_more() {
        let mut course = Course::new(3);
        course.sends();

        assert_eq!(course.answered(Outcome::of_status(410, None)), Change::Stopped);

        course.queue.push(message(3));
        assert!(matches!(course.queue.turn(course.now), Turn::Over));
        assert_eq!((course.queue.len(), course.queue.counts.dropped), (0, 4));
    }

    #[test]
    fn when_too_many_wait_the_oldest_goes_but_not_the_one_that_is_being_tried() {
        let mut course = Course::new(1);
        assert_eq!(course.sends(), "0");

        (1..=MOST_WAITING + 2).for_each(|n| course.queue.push(message(n)));

        assert_eq!((course.queue.len(), course.queue.counts.dropped), (MOST_WAITING + 1, 2));
        course.answered(Outcome::Taken);
        assert_eq!(course.sends(), "3");
    }

    #[test]
    fn trouble_is_told_once_and_its_end_too() {
        let mut course = Course::new(1);
        course.sends();

        assert_eq!(course.answered(unwell()), Change::Fails("HTTP 500".to_owned()));
        course.waits();
        course.sends();
        assert_eq!(course.answered(Outcome::of_status(404, None)), Change::None);
        course.waits();
        course.sends();
        assert_eq!(course.answered(Outcome::Taken), Change::Well);
        assert_eq!(course.queue.trouble, None);
    }

    #[test]
    fn at_the_end_everything_is_tried_once_more_and_at_once() {
        let mut course = Course::new(3);
        course.sends();
        course.answered(unwell());

        course.queue.close();

        assert_eq!(course.sends(), "0", "without its pause");
        course.answered(unwell());
        assert_eq!(course.sends(), "1");
        course.answered(unwell());
        assert_eq!(course.sends(), "2");
        course.answered(Outcome::Taken);
        assert!(matches!(course.queue.turn(course.now), Turn::Over));
        assert_eq!(course.queue.counts, Counts { sent: 1, failed: 2, dropped: 0, retried: 1 });
    }
}
