//! Lists the files of `web/` so that `src/http/pages.rs` can embed them: adding a page needs no Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web");
    let mut files = Vec::new();
    if root.is_dir() {
        collect(&root, &root, &mut files)?;
    }
    // A fixed order keeps the build reproducible.
    files.sort();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut table = String::from("&[\n");
    for name in &files {
        let (variable, path) = if Path::new(name).extension().is_some_and(|extension| extension == "js") {
            let light = out.join("web").join(name);
            fs::create_dir_all(light.parent().expect("it is below `out`"))?;
            fs::write(light, lighten(&fs::read_to_string(root.join(name))?))?;
            ("OUT_DIR", format!("/web/{name}"))
        } else {
            ("CARGO_MANIFEST_DIR", format!("/web/{name}"))
        };
        writeln!(table, "    ({name:?}, include_bytes!(concat!(env!({variable:?}), {path:?}))),")
            .expect("a String takes everything");
    }
    table.push(']');
    fs::write(out.join("web_files.rs"), table)
}

/// A script without what only its readers need: lines of comment, blank lines, indentation. Nobody should pay for
/// comments with a later picture, nor have fewer of them for that. That nothing else is lost is proven with a parser of the
/// language, by `tests/browser/scripts.mjs`.
fn lighten(script: &str) -> String {
    let mut light = String::new();
    let (mut in_comment, mut in_template) = (false, false);
    for line in script.lines() {
        let text = line.trim();
        if in_comment {
            in_comment = !text.ends_with("*/");
        } else if in_template {
            light.push_str(line);
            light.push('\n');
        } else if text.starts_with("/*") && !text.contains("*/") {
            in_comment = true;
        } else if !(text.is_empty() || text.starts_with("//") || text.starts_with("/*") && text.ends_with("*/")) {
            light.push_str(text);
            light.push('\n');
        }
        if !text.starts_with("//") && !text.starts_with("/*") && !text.starts_with('*') {
            in_template ^= line.matches('`').count() % 2 == 1;
        }
    }
    light
}

/// Adds every file below `dir` by its name with `/` between its parts, hidden ones left out. No absolute path: a build
/// directory may outlive the checkout that it was made in.
fn collect(root: &Path, dir: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).expect("it was found below root");
            let name = name.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", name.display())))?;
            files.push(name.replace('\\', "/"));
        }
    }
    Ok(())
}
