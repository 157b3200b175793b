//! How fast the media plane is, in CPU time, as a ratio to the least that any server can do.
//!
//! `cargo bench --bench media` prints one table; `cargo bench --bench media -- fanout join` prints parts of it. The
//! figures are thread CPU time (user and system), the median of several rounds, so that other work on the machine
//! disturbs them little; compare ratios within one run, not figures of two runs.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints a table or fails")]

mod fanout;
mod floor;
mod ground;
mod join;
mod small;

use std::io::Write;

/// One row of the table.
struct Row {
    /// What was measured.
    what: String,
    /// What the figure is of: a packet, a join.
    per: &'static str,
    /// CPU nanoseconds.
    nanos: f64,
    /// Times the floor of the same mix, where there is one.
    ratio: Option<f64>,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let mut rows = Vec::new();

    println!("machine: {}", ground::machine());
    println!("{:<58} {:>8} {:>10} {:>7}", "what", "per", "CPU ns", "ratio");
    let mut show = |new: Vec<Row>| {
        for row in &new {
            let ratio = row.ratio.map_or(String::new(), |r| format!("{r:.2}"));
            println!("{:<58} {:>8} {:>10.0} {:>7}", row.what, row.per, row.nanos, ratio);
        }
        std::io::stdout().flush().unwrap();
        rows.extend(new);
    };
    if wants("small") {
        show(small::run());
    }
    if wants("fanout") {
        for mix in ground::MIXES {
            show(floor::and_fanout(mix));
        }
    }
    if wants("join") {
        show(join::run());
    }
}
