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

    let mut table = String::from("&[\n");
    for name in &files {
        writeln!(table, "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/web/\", {name:?}))),")
            .expect("a String takes everything");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("web_files.rs");
    fs::write(out, table)
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
