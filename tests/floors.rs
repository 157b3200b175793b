//! Imports point down: each floor of the house names only floors below it (see `src/lib.rs`).

use std::fs;
use std::path::{Path, PathBuf};

/// The floors, the lowest first.
const FLOORS: [&str; 16] = [
    "metrics", "wire", "peer", "media", "net", "client", "relay", "control", "http", "config", "load", "call",
    "publish", "watch", "app", "main",
];

/// The index of a floor.
fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == name)
}

/// The floor that a file of `src` belongs to: `wire/sdp/mod.rs` is of `wire`, `app.rs` of `app`; `lib.rs` is of none.
fn floor_of(file: &Path) -> Option<&'static str> {
    let first = file.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    FLOORS.into_iter().find(|floor| *floor == name)
}

/// Every floor that a source text names, with the line: after `crate::` and after `tribune::` (that is how `main`
/// sees the house), also inside braces, renamed or spread over lines. Text in comments does not count.
fn named(source: &str) -> Vec<(usize, String)> {
    let code = without_comments(source);
    let mut found = Vec::new();
    for root in ["crate::", "tribune::"] {
        for (at, _) in code.match_indices(root) {
            let inside_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if inside_a_word {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            found.extend(first_segments(&code[at + root.len()..]).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first segments of a path or of a group of paths: `a::b` → a; `{a::{b, c}, d as e}` → a, d.
fn first_segments(path: &str) -> Vec<String> {
    let word =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
            }
            '}' => {
                names.push(word(&group[start..at]));
                break;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The text with line comments blanked; lines stay lines. Links in doc comments may point up.
fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Where a file of this floor names a floor that is not below it. Its own floor is fine.
fn upward(file: &Path, source: &str) -> Vec<String> {
    let Some(own) = floor_of(file) else {
        return Vec::new();
    };
    let above = |name: &str| floor(name) > floor(own);
    let wrong = named(source).into_iter().filter(|(_, name)| above(name));
    wrong.map(|(line, name)| format!("{}:{line}: {own} names {name}", file.display())).collect()
}

/// All `.rs` files below a directory.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_floor_names_a_floor_above_it() {
    let files = sources(&src());
    assert!(files.len() > 20, "there are sources");

    let mut wrong = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).expect("text");
        wrong.extend(upward(file.strip_prefix(src()).expect("below src"), &source));
    }

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_load_knows_of_the_server_only_what_any_client_shares_with_it() {
    let allowed = ["client", "load", "peer", "wire"];
    let files: Vec<_> = sources(&src().join("load"));
    assert!(files.len() > 5, "there are sources");

    for file in files {
        let source = fs::read_to_string(&file).expect("text");
        let others: Vec<_> = named(&source).into_iter().filter(|(_, name)| !allowed.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{}: {others:?}", file.display());
    }
}

#[test]
fn every_module_of_the_house_is_on_a_floor() {
    let lib = fs::read_to_string(src().join("lib.rs")).expect("text");
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.len() > 5, "there are modules");

    for module in modules {
        assert!(floor(module).is_some(), "{module} is on no floor");
    }
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let upward_imports = [
        ("wire/rtp.rs", "use crate::media::Role;"),
        ("wire/sdp/mod.rs", "    use crate::{metrics::Metrics, peer::Peer};"),
        ("peer/mod.rs", "use crate::{\n    wire::{rtp, stun},\n    net as sockets,\n};"),
        ("media/mod.rs", "fn a() -> crate::net::Handle { }"),
        ("metrics.rs", "pub(in crate::http) fn a() {}"),
        ("control/mod.rs", "pub use crate::http;"),
        ("http/mod.rs", "let a = crate::config::Config::default();"),
        ("config/file.rs", "use crate::app;"),
        ("net/mod.rs", "use tribune::control::Control;"),
    ];

    for (file, source) in upward_imports {
        assert_eq!(upward(Path::new(file), source).len(), 1, "{file}: {source}");
    }
}

#[test]
fn what_points_down_or_stays_is_fine() {
    let good = [
        ("wire/rtp.rs", "use crate::wire::seq; use crate::metrics::Metrics; use super::*;"),
        ("config/mod.rs", "use crate::{http, net}; use crate::control::{self, auth::Right};"),
        ("main.rs", "use tribune::app::{self, AppError}; use tribune::config::Config;"),
        ("media/mod.rs", "/// See [`crate::net::Handle`].\n// crate::http is far away"),
        ("lib.rs", "use crate::http::Server;"),
        ("wire/rtp.rs", "use my_crate::http::Server; use aws_tribune::net;"),
    ];

    for (file, source) in good {
        assert_eq!(upward(Path::new(file), source), Vec::<String>::new(), "{file}: {source}");
    }
}
