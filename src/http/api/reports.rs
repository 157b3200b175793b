//! `/api/v1/reports`: what became of each broadcast.

use hyper::Response;
use serde_json::{Value, json};

use crate::control::reports::Report;

use super::super::body::Body;
use super::super::problem::Problem;
use super::super::service::App;
use super::Query;

/// All reports in short, the newest first, a page at a time.
/// # Errors
/// `BadRequest` when `after` names none.
pub(super) fn list(app: &App, query: &Query) -> Result<Response<Body>, Problem> {
    let mut reports = app.control.reports();
    reports.retain(|report| query.stream.as_ref().is_none_or(|stream| stream.as_str() == report.stream));
    let from = match &query.after {
        None => 0,
        Some(after) => {
            let last = reports.iter().position(|report| report.id == *after);
            last.ok_or(Problem::BadRequest("after is not a report's id"))? + 1
        }
    };
    let page: Vec<Value> = reports.iter().skip(from).take(query.limit()).map(outline).collect();
    let is_last = from + page.len() >= reports.len();
    let next = page.last().filter(|_| !is_last).map(|last| last["id"].clone());
    super::json(&json!({ "reports": page, "total": reports.len(), "next": next }))
}

/// One report.
/// # Errors
/// `NoReport`.
pub(super) fn one(app: &App, id: &str) -> Result<Response<Body>, Problem> {
    let report = app.control.report(id).ok_or(Problem::NoReport)?;
    super::json(&serde_json::to_value(report).map_err(|_| Problem::Internal)?)
}

fn outline(report: &Report) -> Value {
    json!({
        "id": report.id,
        "stream": report.stream,
        "started": report.started,
        "ended": report.ended,
        "interrupted": report.interrupted,
        "seconds": report.seconds,
        "peak": report.viewers.peak,
        "average": report.viewers.average,
        "sessions": report.viewers.sessions,
        "alarms": report.alarms.len(),
    })
}
