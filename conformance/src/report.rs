//! The report in its four forms. Rows keep the order in which the clauses were judged.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::case::{Outcome, Verdict};
use crate::clauses::{Clause, Weight};
use crate::cli::{Format, Side};

/// One judged clause.
#[derive(Serialize)]
pub(crate) struct Row {
    /// Id of the clause.
    pub(crate) clause: String,
    /// Which endpoint was asked.
    pub(crate) endpoint: Side,
    /// The judgement, already softened for clauses that do not bind.
    pub(crate) verdict: Verdict,
    /// MUST, SHOULD, …
    pub(crate) keyword: String,
    /// S1 (worst) to S4.
    pub(crate) severity: String,
    /// Document and section.
    pub(crate) source: String,
    /// True when the clause was not held against the words of the document that it cites; it can break nothing.
    pub(crate) from_memory: bool,
    /// The rule.
    pub(crate) requirement: String,
    /// What a conforming server does.
    pub(crate) expected: String,
    /// What this one did, or why it was not judged.
    pub(crate) observed: String,
    /// How to see it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) curl: Option<String>,
    /// How long the check took.
    pub(crate) milliseconds: u64,
}

impl Row {
    /// Joins a clause and its outcome. A broken clause that does not bind is advice, not non-conformance.
    pub(crate) fn new(clause: &Clause, endpoint: Side, mut outcome: Outcome, took: Duration) -> Self {
        let verdict = match (outcome.verdict, clause.weight()) {
            (Verdict::Fail | Verdict::Warn, _) if clause.is_from_memory() => {
                outcome.observed.push_str(" (judged from memory)");
                Verdict::Info
            }
            (Verdict::Fail, Weight::Advised | Weight::Quality) => Verdict::Warn,
            (verdict, _) => verdict,
        };
        Self {
            clause: clause.id.clone(),
            endpoint,
            verdict,
            keyword: clause.keyword.clone(),
            severity: clause.severity.clone(),
            source: clause.source.clone(),
            from_memory: clause.is_from_memory(),
            requirement: clause.requirement.clone(),
            expected: outcome.expected,
            observed: outcome.observed,
            curl: outcome.curl,
            milliseconds: took.as_millis() as u64,
        }
    }

    /// One step of a replayed client.
    pub(crate) fn of_player(step: &str, source: &str, endpoint: Side, outcome: Outcome, took: Duration) -> Self {
        Self {
            clause: step.to_owned(),
            endpoint,
            verdict: outcome.verdict,
            keyword: "INTEROP".into(),
            severity: "S2".into(),
            source: source.to_owned(),
            from_memory: false,
            requirement: outcome.expected.clone(),
            expected: outcome.expected,
            observed: outcome.observed,
            curl: outcome.curl,
            milliseconds: took.as_millis() as u64,
        }
    }

    /// Which class of keywords the clause belongs to.
    fn class(&self) -> &'static str {
        let mut words = self.keyword.split_whitespace();
        match words.next().unwrap_or_default() {
            "MUST" | "SHALL" => "MUST/SHALL",
            "SHOULD" | "RECOMMENDED" | "preferred" => "SHOULD",
            "MAY" => "MAY",
            "GOOD" => "GOOD",
            "INTEROP" => "INTEROP",
            _ => "other",
        }
    }

    /// `W-4.2-01 (whip)`, or `CORS-02 (whip m)` when the clause is cited from memory.
    fn label(&self) -> String {
        let mark = if self.from_memory { " m" } else { "" };
        format!("{} ({}{mark})", self.clause, self.endpoint.name())
    }
}

/// The whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Version of the suite.
    pub(crate) version: &'static str,
    /// The endpoints.
    pub(crate) target: BTreeMap<&'static str, String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// True when a binding clause is broken.
    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Fail)
    }

    /// How many rows have that verdict.
    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// `3 FAIL, 60 PASS`
    pub(crate) fn summary(&self) -> String {
        let counts = Verdict::ALL.iter().map(|v| (self.count(*v), v.name())).filter(|(n, _)| *n > 0);
        let text: Vec<String> = counts.map(|(n, name)| format!("{n} {name}")).collect();
        if text.is_empty() { "nothing judged".into() } else { text.join(", ") }
    }

    /// How many judged rows of that class hold, and how many were judged at all.
    fn score(&self, class: &str) -> (usize, usize) {
        let judged = self.rows.iter().filter(|row| row.class() == class);
        let judged =
            judged.filter(|row| matches!(row.verdict, Verdict::Pass | Verdict::Fail | Verdict::Warn | Verdict::Legacy));
        judged.fold((0, 0), |(held, all), row| (held + usize::from(row.verdict == Verdict::Pass), all + 1))
    }

    /// Classes that occur, each with its counts by verdict.
    fn by_class(&self) -> Vec<(&'static str, Vec<usize>)> {
        let count = |class: &str, verdict| {
            self.rows.iter().filter(|row| row.class() == class && row.verdict == verdict).count()
        };
        let line = |class: &'static str| (class, Verdict::ALL.iter().map(|v| count(class, *v)).collect::<Vec<_>>());
        CLASSES.into_iter().map(line).filter(|(_, counts)| counts.iter().sum::<usize>() > 0).collect()
    }

    /// `MUST/SHALL 120/120, SHOULD 20/21`: what a badge can show.
    pub(crate) fn badge(&self) -> String {
        let part = |class: &str| {
            let (held, judged) = self.score(class);
            (judged > 0).then(|| format!("{class} {held}/{judged}"))
        };
        let parts: Vec<String> = CLASSES.into_iter().filter_map(part).collect();
        if parts.is_empty() { "nothing judged".into() } else { parts.join(", ") }
    }

    /// The report in that form.
    ///
    /// # Errors
    /// A sentence when it cannot be written as JSON.
    pub(crate) fn render(&self, format: Format) -> Result<String, String> {
        match format {
            Format::Text => Ok(self.text()),
            Format::Markdown => Ok(self.markdown()),
            Format::Junit => Ok(self.junit()),
            Format::Json => serde_json::to_string_pretty(&JsonReport {
                report: self,
                summary: Verdict::ALL.iter().map(|v| (v.name(), self.count(*v))).collect(),
                keywords: self
                    .by_class()
                    .into_iter()
                    .map(|(class, counts)| (class, Verdict::ALL.iter().map(|v| v.name()).zip(counts).collect()))
                    .collect(),
                badge: self.badge(),
            })
            .map_err(|e| e.to_string()),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            line(
                &mut out,
                format_args!("{:6} {:2} {:32} {}", row.verdict.name(), row.severity, row.label(), row.requirement),
            );
            if matches!(row.verdict, Verdict::Pass) {
                continue;
            }
            if !row.expected.is_empty() && row.verdict != Verdict::Info {
                line(&mut out, format_args!("{:9} expected: {}", "", row.expected));
            }
            line(&mut out, format_args!("{:9} observed: {}", "", row.observed));
            if matches!(row.verdict, Verdict::Fail | Verdict::Warn | Verdict::Legacy) {
                line(&mut out, format_args!("{:9} source:   {} {}", "", row.source, row.keyword));
                if let Some(curl) = &row.curl {
                    line(&mut out, format_args!("{:9} try:      {curl}", ""));
                }
            }
        }
        if self.rows.iter().any(|r| r.from_memory && r.verdict == Verdict::Fail) {
            line(&mut out, format_args!("\nm: nobody read the cited document for this clause, so it breaks nothing."));
        }
        line(&mut out, format_args!("\n{:12}{}", "", heads(" ")));
        for (class, counts) in self.by_class() {
            let cells = counts.iter().map(|n| format!("{n:>7}")).collect::<Vec<_>>().concat();
            line(&mut out, format_args!("{class:12}{cells}"));
        }
        line(&mut out, format_args!("\nheld:  {}", self.badge()));
        line(&mut out, format_args!("{}", self.summary()));
        out
    }

    fn markdown(&self) -> String {
        let mut out = String::from("# WHIP/WHEP conformance\n\n");
        for (name, url) in &self.target {
            line(&mut out, format_args!("- {name}: `{url}`"));
        }
        line(&mut out, format_args!("- held: {}", self.badge()));
        line(&mut out, format_args!("- {}", self.summary()));
        line(&mut out, format_args!("\n| Keyword |{} |\n|---|{}", heads(" |"), "---|".repeat(Verdict::ALL.len())));
        for (class, counts) in self.by_class() {
            let cells: Vec<String> = counts.iter().map(ToString::to_string).collect();
            line(&mut out, format_args!("| {class} | {} |", cells.join(" | ")));
        }
        line(
            &mut out,
            format_args!("\n| Verdict | Sev | Clause | Source | Requirement | Observed |\n|---|---|---|---|---|---|"),
        );
        for row in &self.rows {
            let cells = [&row.label(), &format!("{} {}", row.source, row.keyword), &row.requirement, &row.observed]
                .map(|cell| cell.replace('|', "\\|").replace(['\r', '\n'], " "));
            line(&mut out, format_args!("| {} | {} | {} |", row.verdict.name(), row.severity, cells.join(" | ")));
        }
        out
    }

    fn junit(&self) -> String {
        let skipped = self.count(Verdict::Skip) + self.count(Verdict::NotApplicable);
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let total: u64 = self.rows.iter().map(|r| r.milliseconds).sum();
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        line(
            &mut out,
            format_args!(
                "<testsuite name=\"tribune-conformance\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\" time=\"{:.3}\">",
                self.rows.len(),
                self.count(Verdict::Fail),
                seconds(total)
            ),
        );
        for row in &self.rows {
            let name = xml(&format!("{}: {}", row.label(), row.requirement));
            let time = seconds(row.milliseconds);
            line(
                &mut out,
                format_args!("  <testcase classname=\"{}\" name=\"{name}\" time=\"{time:.3}\">", row.endpoint.name()),
            );
            let (observed, expected) = (xml(&row.observed), xml(&row.expected));
            match row.verdict {
                Verdict::Fail => {
                    let curl = xml(row.curl.as_deref().unwrap_or_default());
                    line(
                        &mut out,
                        format_args!("    <failure message=\"{observed}\">expected: {expected}\n{curl}</failure>"),
                    );
                }
                Verdict::Skip | Verdict::NotApplicable => {
                    line(&mut out, format_args!("    <skipped message=\"{observed}\"/>"));
                }
                Verdict::Pass | Verdict::Warn | Verdict::Info | Verdict::Legacy => {
                    let verdict = row.verdict.name();
                    line(&mut out, format_args!("    <system-out>{verdict}: {observed}</system-out>"));
                }
            }
            line(&mut out, format_args!("  </testcase>"));
        }
        out.push_str("</testsuite>\n");
        out
    }
}

/// The names of the verdicts as heads of columns.
fn heads(between: &str) -> String {
    let cell = |verdict: &Verdict| format!("{:>6}", verdict.name());
    format!(" {}", Verdict::ALL.iter().map(cell).collect::<Vec<_>>().join(between))
}

/// The report with its counts.
#[derive(Serialize)]
struct JsonReport<'a> {
    #[serde(flatten)]
    report: &'a Report,
    summary: BTreeMap<&'static str, usize>,
    keywords: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    badge: String,
}

/// Classes of keywords, strongest first; `other` are rules of drafts without a keyword, and notes.
const CLASSES: [&str; 6] = ["MUST/SHALL", "SHOULD", "MAY", "GOOD", "INTEROP", "other"];

/// Appends a line; writing to a `String` cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
    out.push('\n');
}

/// Escapes text for XML 1.0; control characters that XML cannot carry become spaces.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clauses::Table;

    fn report() -> Report {
        let table = Table::built_in().unwrap();
        let row = |id: &str, verdict, observed: &str| {
            let mut outcome = Outcome::new(verdict, "201 <Created>", observed);
            outcome.curl = Some("curl \"x\" & y".into());
            Row::new(table.find(id).unwrap(), Side::Whip, outcome, Duration::from_millis(1500))
        };
        Report {
            version: "0",
            target: BTreeMap::from([("whip", "http://h/whip/a".to_owned())]),
            rows: vec![
                row("W-4.2-01", Verdict::Fail, "200 | \"OK\" <ok>\u{7}"),
                row("W-4.2-05", Verdict::Fail, "quality is advice"),
                row("CORS-01", Verdict::Pass, "fine"),
                row("W-4.2-02", Verdict::Skip, "no session"),
            ],
        }
    }

    #[test]
    fn only_binding_clauses_fail() {
        let report = report();

        assert!(report.failed());
        assert_eq!(report.summary(), "1 FAIL, 1 WARN, 1 PASS, 1 SKIP");
    }

    #[test]
    fn text_shows_evidence_for_what_is_wrong() {
        let text = report().render(Format::Text).unwrap();

        assert!(text.contains("FAIL   S1 W-4.2-01 (whip)"), "{text}");
        assert!(text.contains("expected: 201 <Created>") && text.contains("try:      curl"));
        assert!(text.contains("CORS-01 (whip)") && !text.contains("observed: fine"));
        assert!(text.trim_end().ends_with("1 FAIL, 1 WARN, 1 PASS, 1 SKIP"));
    }

    #[test]
    fn json_keeps_its_field_names() {
        let json: serde_json::Value = serde_json::from_str(&report().render(Format::Json).unwrap()).unwrap();

        let row = &json["rows"][0];
        assert_eq!(
            (&row["clause"], &row["endpoint"], &row["verdict"]),
            (&"W-4.2-01".into(), &"whip".into(), &"fail".into())
        );
        assert_eq!(json["summary"]["FAIL"], 1);
        assert_eq!(json["rows"][2]["from_memory"], false);
    }

    #[test]
    fn junit_is_escaped_and_counts() {
        let junit = report().render(Format::Junit).unwrap();

        assert!(junit.contains("tests=\"4\" failures=\"1\" skipped=\"1\" time=\"6.000\""), "{junit}");
        assert!(junit.contains("message=\"200 | &quot;OK&quot; &lt;ok&gt; \""), "{junit}");
        assert!(!junit.contains('\u{7}'));
    }

    #[test]
    fn markdown_tables_survive_a_pipe() {
        let markdown = report().render(Format::Markdown).unwrap();

        assert!(markdown.contains("200 \\| \"OK\""), "{markdown}");
    }
}
