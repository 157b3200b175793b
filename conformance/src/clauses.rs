//! The table of clauses: what a server is asked for, where that is written, and how much it binds.

use std::collections::HashMap;

use serde::Deserialize;

/// One testable requirement.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Clause {
    /// Stable name, e.g. `W-4.2-01`; ids that start with `W-` hold for WHIP and WHEP.
    pub(crate) id: String,
    /// Document and section.
    pub(crate) source: String,
    /// `MUST`, `SHOULD`, `MAY`, `GOOD` (a quality bar of no specification), or a note.
    pub(crate) keyword: String,
    /// The rule in plain words.
    pub(crate) requirement: String,
    /// `S1` (a conforming client cannot work, or a hole) to `S4` (advice).
    pub(crate) severity: String,
    /// In which document version the rule came; `m` marks clauses of documents beside the two.
    #[cfg(test)]
    pub(crate) change: String,
    /// For clauses marked `m`: where its words were read, or `not read`.
    pub(crate) checked: Option<String>,
}

/// How much a clause binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// MUST or SHALL: breaking it is non-conformance.
    Binding,
    /// SHOULD, RECOMMENDED, MAY.
    Advised,
    /// Our own quality bar, and notes.
    Quality,
}

impl Clause {
    /// Reads the keyword column.
    pub(crate) fn weight(&self) -> Weight {
        let word = self.keyword.split_whitespace().next().unwrap_or_default();
        match word {
            // "SHOULD NOT" starts with SHOULD, "MUST NOT" with MUST.
            "MUST" | "SHALL" => Weight::Binding,
            "SHOULD" | "MAY" | "RECOMMENDED" | "preferred" => Weight::Advised,
            _ => Weight::Quality,
        }
    }

    /// True when nobody held the clause against the words of the document that it cites.
    pub(crate) fn is_from_memory(&self) -> bool {
        self.checked.as_deref() == Some("not read")
    }
}

/// All clauses by id.
pub(crate) struct Table {
    rows: Vec<Clause>,
    by_id: HashMap<String, usize>,
}

impl Table {
    /// Reads the table that is built in.
    ///
    /// # Errors
    /// A sentence when the data are not the expected JSON.
    pub(crate) fn built_in() -> Result<Self, String> {
        let mut rows: Vec<Clause> = serde_json::from_str(DATA).map_err(|e| format!("clauses.json: {e}"))?;
        // In the table a source of "same" means that of the row above.
        let mut above = String::new();
        for row in &mut rows {
            if row.source == "same" {
                row.source.clone_from(&above);
            }
            above.clone_from(&row.source);
        }
        let by_id = rows.iter().enumerate().map(|(at, row)| (row.id.clone(), at)).collect();
        Ok(Self { rows, by_id })
    }

    /// Finds a clause.
    pub(crate) fn find(&self, id: &str) -> Option<&Clause> {
        self.rows.get(*self.by_id.get(id)?)
    }

    /// Every clause in document order.
    pub(crate) fn rows(&self) -> &[Clause] {
        &self.rows
    }
}

/// The clauses as data, the same rows that the documentation shows.
const DATA: &str = include_str!("../clauses.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_has_its_own_id_a_source_and_a_severity() {
        let table = Table::built_in().unwrap();

        assert!(table.rows().len() >= 280, "{}", table.rows().len());
        assert_eq!(table.by_id.len(), table.rows().len(), "two rows share an id");
        for row in table.rows() {
            assert!(matches!(row.severity.as_str(), "S1" | "S2" | "S3" | "S4"), "{}: {}", row.id, row.severity);
            assert_ne!(row.source, "same", "{}", row.id);
        }
    }

    #[test]
    fn rows_stand_alone() {
        for place in ["GAPS", "CLIENTS", "CLAUSES", ".md"] {
            assert!(!DATA.contains(place), "clauses.json refers to {place}");
        }
    }

    #[test]
    fn keywords_are_weighed() {
        let table = Table::built_in().unwrap();
        let weight = |id: &str| table.find(id).unwrap().weight();

        assert_eq!(weight("W-4.2-01"), Weight::Binding);
        assert_eq!(weight("WHIP-4.4.3-01"), Weight::Advised);
        assert_eq!(weight("ICE-SDP-06"), Weight::Quality);
    }

    #[test]
    fn every_clause_of_another_document_says_where_it_was_read() {
        let table = Table::built_in().unwrap();

        for row in table.rows() {
            let other = row.change.split_whitespace().any(|mark| mark == "m");
            assert_eq!(other, row.checked.is_some(), "{}", row.id);
        }

        assert!(table.find("RTP-07").unwrap().is_from_memory());
        assert!(!table.find("ICE-01").unwrap().is_from_memory());
        assert!(!table.find("W-4.2-01").unwrap().is_from_memory());
    }
}
