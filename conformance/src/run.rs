//! The order of a run: first what needs no presenter, then, with a stream live in the background, what a viewer
//! sees, then the checks that bring their own presenter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use str0m::media::MediaKind;

use crate::case::{Case, Halt, Phase};
use crate::clauses::{Table, Weight};
use crate::cli::{Level, Side};
use crate::client::{Context, Session};
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
) -> Result<Report, String> {
    let mut target = BTreeMap::new();
    let mut sides = Vec::new();
    for side in [Side::Whip, Side::Whep] {
        let Ok(url) = context.endpoint(side) else {
            continue;
        };
        context.ask(side, "OPTIONS", url).await.map_err(|e| format!("cannot reach {url}: {e}"))?;
        target.insert(side.name(), url.to_string());
        sides.push(side);
    }
    let mut report = Report { version: env!("CARGO_PKG_VERSION"), target, rows: Vec::new() };
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
        let (mut rows, waited) = tokio::join!(
            one_by_one(context, table, &working, progress),
            one_by_one(context, table, &waiting, progress)
        );
        report.rows.append(&mut rows);
        report.rows.extend(waited);
        if let Some(Ok((session, mut live))) = presenter {
            live.close().await;
            let _already_gone = context.close(&session).await;
        }
    }
    context.clean_up().await;
    Ok(report)
}

/// Judges these cases in order.
async fn one_by_one(context: &Context, table: &Table, due: &[(Side, &Case)], progress: Progress) -> Vec<Row> {
    let mut rows = Vec::new();
    for (side, case) in due {
        let Some(clause) = table.find(case.id) else {
            continue;
        };
        let start = Instant::now();
        let outcome = case.run(context, *side).await;
        if !case.beside {
            // A check that runs beside others would delete what they are using.
            context.clean_up_side(*side).await;
        }
        let row = Row::new(clause, *side, outcome, start.elapsed());
        if progress == Progress::Stderr {
            eprintln!("{:6} {} ({})", row.verdict.name(), row.clause, side.name());
        }
        rows.push(row);
    }
    rows
}

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
