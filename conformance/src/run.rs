//! The order of a run: what needs no presenter and the checks that bring their own, then, with a stream live in the
//! background, what a viewer sees. With a second stream both happen at once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use str0m::media::MediaKind;

use crate::case::{Case, Halt, Outcome, Phase, Verdict};
use crate::clauses::{Table, Weight};
use crate::cli::{Level, Side};
use crate::client::{CHECK, Context, Session};
use crate::report::{Report, Row};
use crate::rtc::Live;

/// Where progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// One line per clause on standard error.
    Stderr,
    /// Nowhere.
    Silent,
}

/// Keeps the cases that `level` and `only` ask for.
///
/// # Errors
/// A sentence when `only` names what this version cannot judge, or nothing is left.
pub(crate) fn selected(cases: Vec<Case>, table: &Table, level: Level, only: &[String]) -> Result<Vec<Case>, String> {
    for id in only {
        if !cases.iter().any(|case| case.id.eq_ignore_ascii_case(id)) {
            let known = table.rows().iter().any(|row| row.id.eq_ignore_ascii_case(id));
            let why = if known { "is known, but this version has no check for it" } else { "is no clause" };
            return Err(format!("--only {id}: {why} (see --list)"));
        }
    }
    let wanted = |case: &Case| {
        if !only.is_empty() {
            return only.iter().any(|id| case.id.eq_ignore_ascii_case(id));
        }
        let Some(weight) = table.find(case.id).map(crate::clauses::Clause::weight) else {
            return false;
        };
        match level {
            Level::Core => weight == Weight::Binding,
            Level::Full => weight != Weight::Quality,
            Level::Quality => true,
            Level::Interop => false,
        }
    };
    Ok(cases.into_iter().filter(wanted).collect())
}

/// Judges every case on every endpoint that the target has; `second` is another stream of the same server, if there is
/// one: then what needs the seat of a presenter runs there, beside the rest.
///
/// # Errors
/// A sentence when no endpoint can be reached at all.
pub(crate) async fn run(
    context: &Context,
    second: Option<&Context>,
    table: &Table,
    cases: &[Case],
    progress: Progress,
    deadline: Instant,
) -> Result<Report, String> {
    let mut report = reach(context).await?;
    let sides: Vec<Side> = [Side::Whip, Side::Whep].into_iter().filter(|s| context.endpoint(*s).is_ok()).collect();
    let plan = Plan::of(cases, &sides);
    let pass = Pass { table, progress, deadline, number: Cell::new(0) };
    if let Some(second) = second {
        let (main, seats) = tokio::join!(pass.main_lane(context, &plan), pass.one_by_one(second, &plan.seat));
        report.rows.extend(main);
        report.rows.extend(seats);
    } else {
        report.rows.extend(pass.one_by_one(context, &plan.seat).await);
        report.rows.extend(pass.main_lane(context, &plan).await);
    }
    report.rows.extend(pass.one_by_one(context, &plan.last).await);
    context.clean_up().await;
    if let Some(second) = second {
        second.clean_up().await;
    }
    let place = |row: &Row| table.rows().iter().position(|clause| clause.id == row.clause);
    report.rows.sort_by_key(|row| (place(row), row.endpoint.name() == Side::Whep.name()));
    Ok(report)
}

/// A case on one endpoint.
type Due<'a> = (Side, &'a Case);

/// What is judged when.
struct Plan<'a> {
    /// While nobody presents, and with presenters of their own: one after the other, because a stream has one seat.
    seat: Vec<Due<'a>>,
    /// The same, but it mostly waits.
    seat_waiting: Vec<Due<'a>>,
    /// What a viewer sees, one after the other.
    live: Vec<Due<'a>>,
    /// What a viewer sees when it mostly waits: side by side, beside the former.
    live_waiting: Vec<Due<'a>>,
    /// About the run as a whole.
    last: Vec<Due<'a>>,
}

impl<'a> Plan<'a> {
    /// Orders the cases.
    fn of(cases: &'a [Case], sides: &[Side]) -> Self {
        let each = |phase: Phase| -> Vec<Due<'a>> {
            let of_side = |side: Side| cases.iter().map(move |case| (side, case));
            let all = sides.iter().flat_map(|side| of_side(*side));
            all.filter(|(side, case)| case.sides.contains(side) && case.phase_on(*side) == phase).collect()
        };
        let waits = |(side, case): &Due<'a>| case.waits_on(*side);
        let (live_waiting, live) = each(Phase::Live).into_iter().partition(waits);
        let (seat_waiting, own): (Vec<_>, Vec<_>) = each(Phase::Own).into_iter().partition(waits);
        // Viewers who find nobody come first: later a presenter was there a moment ago.
        let (unseated, quick): (Vec<_>, Vec<_>) =
            each(Phase::Idle).into_iter().partition(|(side, _)| *side == Side::Whep);
        let seat = unseated.into_iter().chain(interleaved(quick, own)).collect();
        Self { seat, seat_waiting, live, live_waiting, last: each(Phase::Last) }
    }
}

/// Spreads the few among the many. (The many are POSTs without a pause, which servers slow down; the few take their time.)
fn interleaved<T>(many: Vec<T>, few: Vec<T>) -> Vec<T> {
    let step = many.len() / (few.len() + 1) + 1;
    let mut few = few.into_iter();
    let mut mixed = Vec::new();
    for (at, each) in many.into_iter().enumerate() {
        mixed.push(each);
        if (at + 1) % step == 0 {
            mixed.extend(few.next());
        }
    }
    mixed.extend(few);
    mixed
}

/// An empty report about the endpoints, once each has answered something.
///
/// # Errors
/// A sentence when one cannot be reached.
pub(crate) async fn reach(context: &Context) -> Result<Report, String> {
    let mut target = BTreeMap::new();
    for side in [Side::Whip, Side::Whep] {
        if let Ok(url) = context.endpoint(side) {
            context.ask(side, "OPTIONS", url).await.map_err(|e| format!("cannot reach {url}: {e}"))?;
            target.insert(side.name(), url.to_string());
        }
    }
    Ok(Report { version: env!("CARGO_PKG_VERSION"), target, rows: Vec::new() })
}

/// What judging a case needs beside the case.
struct Pass<'a> {
    table: &'a Table,
    progress: Progress,
    deadline: Instant,
    /// Counts the checks.
    number: Cell<usize>,
}

impl Pass<'_> {
    /// Judges what waits for the seat, and then, while somebody presents, what viewers see.
    async fn main_lane(&self, context: &Context, plan: &Plan<'_>) -> Vec<Row> {
        let mut rows = self.one_by_one(context, &plan.seat_waiting).await;
        if plan.live.is_empty() && plan.live_waiting.is_empty() {
            return rows;
        }
        let presenter = match context.endpoint(Side::Whip) {
            Ok(_) => Some(present(context).await),
            Err(_) => None,
        };
        if let (Some(Err(why)), Progress::Stderr) = (&presenter, self.progress) {
            eprintln!("no presenter for the WHEP checks: {why}");
        }
        let waiting = plan.live_waiting.iter().map(|(side, case)| self.judge(context, *side, case)).collect();
        let (worked, waited) = tokio::join!(self.one_by_one(context, &plan.live), together(waiting));
        rows.extend(worked);
        rows.extend(waited.into_iter().flatten());
        if let Some(Ok((session, mut live))) = presenter {
            live.close().await;
            let _already_gone = context.close(&session).await;
        }
        rows
    }

    /// Judges these cases in order.
    async fn one_by_one(&self, context: &Context, due: &[Due<'_>]) -> Vec<Row> {
        let mut rows = Vec::new();
        for (side, case) in due {
            rows.extend(self.judge(context, *side, case).await);
        }
        rows
    }

    /// Judges one case in the time that is left.
    async fn judge(&self, context: &Context, side: Side, case: &Case) -> Option<Row> {
        let clause = self.table.find(case.id)?;
        let start = Instant::now();
        let limit = self.deadline.min(start + LONGEST);
        let number = self.number.replace(self.number.get() + 1);
        let work = tokio::time::timeout_at(limit.into(), case.run(context, side));
        let result = CHECK.scope(number, work).await;
        CHECK.scope(number, context.clean_up_side(side)).await;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(_) if limit == self.deadline => Outcome::new(Verdict::Skip, "", "the deadline of the run came first"),
            Err(_) => Outcome::new(Verdict::Skip, "", format!("no result within {} s", LONGEST.as_secs())),
        };
        let row = Row::new(clause, side, outcome, start.elapsed());
        if self.progress == Progress::Stderr {
            eprintln!("{:6} {} ({})", row.verdict.name(), row.clause, side.name());
        }
        Some(row)
    }
}

/// Runs a handful of futures side by side on one task; the results keep their order.
async fn together<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, slot) in running.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// No check waits longer; those that wait for sessions to expire need little more than a minute.
const LONGEST: Duration = Duration::from_secs(90);

/// Publishes in the background until the checks of viewers are done.
///
/// # Errors
/// A sentence that says how far it came.
pub(crate) async fn present(context: &Context) -> Result<(Session, Live), String> {
    let kinds = [MediaKind::Audio, MediaKind::Video];
    let (session, mut live) = context.join(Side::Whip, &kinds, str::to_owned).await.map_err(|halt| match halt {
        Halt::Skip(why) | Halt::NotApplicable(why) | Halt::Broken(why) => why,
    })?;
    context.hold(&session);
    if live.until(Duration::from_secs(5), |seen| seen.sent > 50).await {
        Ok((session, live))
    } else {
        let seen = live.seen();
        let why =
            seen.failure.unwrap_or_else(|| if seen.ice_at.is_some() { "no DTLS".into() } else { "no ICE".into() });
        Err(format!("published, but {why} within 5 s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_judged_once_on_each_of_its_sides() {
        let cases = crate::cases::all();
        let plan = Plan::of(&cases, &[Side::Whip, Side::Whep]);
        let parts = [&plan.seat, &plan.seat_waiting, &plan.live, &plan.live_waiting, &plan.last];
        let mut planned: Vec<_> = parts.into_iter().flatten().map(|(side, case)| (case.id, side.name())).collect();
        let each = |case: &Case| -> Vec<_> { case.sides.iter().map(|side| (case.id, side.name())).collect() };
        let mut wanted: Vec<_> = cases.iter().flat_map(each).collect();

        planned.sort_unstable();
        wanted.sort_unstable();

        assert_eq!(planned, wanted);
    }

    #[test]
    fn the_few_are_spread_among_the_many() {
        assert_eq!(interleaved(vec![1, 2, 3, 4], vec![10]), [1, 2, 3, 10, 4]);
        assert_eq!(interleaved(vec![1], vec![10, 20]), [1, 10, 20]);
        assert_eq!(interleaved(vec![], vec![10]), [10]);
    }
}
