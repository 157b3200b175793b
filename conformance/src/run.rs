//! The order of a run: first what needs no presenter, then, with a stream live in the background, what a viewer
//! sees, then the checks that bring their own presenter.

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

/// Judges every case on every endpoint that the target has.
///
/// # Errors
/// A sentence when no endpoint can be reached at all.
pub(crate) async fn run(
    context: &Context,
    table: &Table,
    cases: &[Case],
    progress: Progress,
    deadline: Instant,
) -> Result<Report, String> {
    let mut report = reach(context).await?;
    let sides: Vec<Side> = [Side::Whip, Side::Whep].into_iter().filter(|s| context.endpoint(*s).is_ok()).collect();
    let pass = Pass { context, table, progress, deadline, number: Cell::new(0) };
    for phase in [Phase::Idle, Phase::Live, Phase::Own] {
        let due: Vec<(Side, &Case)> = sides
            .iter()
            .flat_map(|side| cases.iter().map(move |case| (*side, case)))
            .filter(|(side, case)| case.sides.contains(side) && case.phase_on(*side) == phase)
            .collect();
        if due.is_empty() {
            continue;
        }
        let presenter = match phase {
            Phase::Live if sides.contains(&Side::Whip) => Some(present(context).await),
            _ => None,
        };
        if let (Some(Err(why)), Progress::Stderr) = (&presenter, progress) {
            eprintln!("no presenter for the WHEP checks: {why}");
        }
        let (waiting, working): (Vec<_>, Vec<_>) = due.into_iter().partition(|(_, case)| case.beside);
        let (rows, waited) = tokio::join!(
            pass.one_by_one(&working),
            together(waiting.into_iter().map(|(side, case)| pass.judge(side, case)).collect())
        );
        report.rows.extend(rows);
        report.rows.extend(waited.into_iter().flatten());
        if let Some(Ok((session, mut live))) = presenter {
            live.close().await;
            let _already_gone = context.close(&session).await;
        }
    }
    context.clean_up().await;
    let place = |row: &Row| table.rows().iter().position(|clause| clause.id == row.clause);
    report.rows.sort_by_key(|row| (place(row), row.endpoint.name() == Side::Whep.name()));
    Ok(report)
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
    context: &'a Context,
    table: &'a Table,
    progress: Progress,
    deadline: Instant,
    /// Counts the checks.
    number: Cell<usize>,
}

impl Pass<'_> {
    /// Judges these cases in order.
    async fn one_by_one(&self, due: &[(Side, &Case)]) -> Vec<Row> {
        let mut rows = Vec::new();
        for (side, case) in due {
            rows.extend(self.judge(*side, case).await);
        }
        rows
    }

    /// Judges one case in the time that is left.
    async fn judge(&self, side: Side, case: &Case) -> Option<Row> {
        let clause = self.table.find(case.id)?;
        let start = Instant::now();
        let limit = self.deadline.min(start + LONGEST);
        let number = self.number.replace(self.number.get() + 1);
        let work = tokio::time::timeout_at(limit.into(), case.run(self.context, side));
        let result = CHECK.scope(number, work).await;
        CHECK.scope(number, self.context.clean_up_side(side)).await;
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
