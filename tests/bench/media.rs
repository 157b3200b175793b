//! How fast the media plane is, in CPU time, as a ratio to the least that any server can do.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints a table or fails")]
#![expect(clippy::disallowed_methods, reason = "time is what is measured against")]

mod fanout;
mod floor;
mod ground;
mod join;
mod network;
mod real;
mod server;
mod small;

use std::io::Write;

const HELP: &str = "\
cargo bench --bench media [-- [--quick] [PART …]]

In this process, thread CPU time, the median of several rounds:
  small        protection, demultiplexing, connectivity checks
  fanout       the floor (copy, patch, seal, one send per viewer and burst), and the track router against it
  join         a DTLS handshake with its keys
The real server on core 0, driven by `tribune load` on core 1, as presenter and as viewers:
  real-server  CPU per packet with 100 and 500 viewers, against the floor measured before and after: over loopback, where
               the kernel's receiving side works on the sender's core, and without receivers
  delay        socket in to socket out: 100 viewers, and as many as fill four fifths of a core
  joins        CPU per join; what 300 joins a second do to those who watch already
  memory       bytes per viewer, from 1,000 to 5,000
  crowd        3,700 viewers of 2.5 Mbit/s on one core

Without receivers: once the viewers are there, the kernel drops the media of 49 in 50 where a network card would take it,
as it does with the floor's; the fiftieth counts what it gets. For that the program starts itself anew in a network
namespace of its own, which takes `unshare`, `ip`, `tc`, and root or a system that lets users be root in a namespace.
Elsewhere everything goes over loopback, and the table says so.

Root gets it ahead of other programs; for `real-server` and `delay` the server has a real-time priority, so that what is
measured is how long it takes and not how long it waits for its core.

Without a PART: all of them, in about seven minutes. --quick: less often and shorter. What is printed is a section of
RESULTS.md. CPU time is disturbed a little by other work on the machine, without root delays are much. Compare ratios within
one run, not figures of two runs.";

/// One row of the table.
struct Row {
    /// What was measured.
    what: String,
    /// The figure.
    value: f64,
    /// Its unit.
    unit: String,
    /// Times the floor of the same mix, where there is one.
    ratio: Option<f64>,
    /// What it should be at most, and whether it is.
    bar: String,
    /// What else was seen.
    note: String,
}

impl Row {
    fn new(what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { what: what.into(), value, unit: unit.into(), ratio: None, bar: String::new(), note: String::new() }
    }

    /// CPU nanoseconds of a packet, a join.
    fn cpu(what: impl Into<String>, per: &str, nanos: f64) -> Self {
        Self::new(what, nanos, &format!("ns/{per}"))
    }

    fn against(self, floor: f64) -> Self {
        Self { ratio: Some(self.value / floor), ..self }
    }

    /// The figure should be at most this.
    fn at_most(self, most: f64) -> Self {
        let holds = self.value <= most;
        self.with_bar(&format!("{most}"), holds)
    }

    /// The ratio should be at most this.
    fn ratio_at_most(self, most: f64) -> Self {
        let holds = self.ratio.is_some_and(|ratio| ratio <= most);
        self.with_bar(&format!("{most} ×"), holds)
    }

    fn with_bar(mut self, bar: &str, holds: bool) -> Self {
        let verdict = format!("≤ {bar}: {}", if holds { "yes" } else { "**no**" });
        self.bar = if self.bar.is_empty() { verdict } else { format!("{}; {verdict}", self.bar) };
        self
    }

    fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn show(&self) {
        let ratio = self.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        let places = if self.value.abs() < 100.0 { 2 } else { 0 };
        let figure = format!("{:.places$} {}", self.value, self.unit);
        println!("| {} | {figure} | {ratio} | {} | {} |", self.what, self.bar, self.note);
        std::io::stdout().flush().unwrap();
    }
}

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let is_wrong = |a: &String| !PARTS.contains(&a.as_str()) && a != "--quick";
    if arguments.iter().any(is_wrong) {
        println!("{HELP}");
        std::process::exit(if arguments.iter().any(|a| a == "--help" || a == "-h") { 0 } else { 64 });
    }
    network::enter(&arguments);
    let is_quick = arguments.iter().any(|a| a == "--quick");
    let wanted: Vec<&str> = PARTS.iter().copied().filter(|part| arguments.iter().any(|a| a == part)).collect();
    let parts = if wanted.is_empty() { PARTS.to_vec() } else { wanted };

    println!("## {}, commit {}\n", ground::machine(), ground::commit());
    if !network::is_own() {
        println!("Over loopback only: a network of its own was not allowed.\n");
    }
    println!("| what | figure | ratio | bar | note |\n|---|--:|--:|---|---|");
    for part in parts {
        run(part, is_quick);
    }
}

fn run(part: &str, is_quick: bool) {
    match part {
        "small" => small::run().iter().for_each(Row::show),
        "fanout" => ground::MIXES.iter().for_each(|mix| floor::and_fanout(mix, is_quick).iter().for_each(Row::show)),
        "join" => join::run().iter().for_each(Row::show),
        "real-server" => real::cpu(is_quick),
        "delay" => real::delay(is_quick),
        "joins" => real::joins(is_quick),
        "memory" => real::memory(is_quick),
        "crowd" => real::crowd(is_quick),
        _ => {}
    }
}

const PARTS: &[&str] = &["small", "fanout", "join", "real-server", "delay", "joins", "memory", "crowd"];
