//! The rules of the house that no compiler checks, each with the file and line that breaks it.
//!
//! It reads text, not types: it can be deceived by who wants to, and is meant for who does not.

mod code;
mod rooms;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{shell, wit};

/// The most lines a file may have above its tests: one can hold that much in the head.
const LINES: usize = 400;

/// The machines, which turn octets into meaning: each package with the directory of its code.
const MACHINES: [(&str, &str); 3] = [
    ("pillarbox-smtp", "host/smtp/src/"),
    ("pillarbox-sasl", "host/sasl/src/"),
    ("pillarbox-proxy", "host/proxy/src/"),
];

/// What may not stand in a machine: it has no socket, no clock, no file and no thread.
const NOT_IN_A_MACHINE: [&str; 11] = [
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
];

/// What a machine may not depend on, lest it come by one through another's hands.
const NOT_BENEATH_A_MACHINE: [&str; 7] = ["futures", "mio", "rustls", "serde", "tokio", "tracing", "wasmtime"];

/// Holds every rule.
///
/// # Errors
/// All breaches, one a line, as `file:line: what is wrong`.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut breaches = Vec::new();
    for directory in ["extensions", "host", "tests", "xtask"] {
        for file in sources(&workspace.root.join(directory))? {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let path = file.strip_prefix(&workspace.root).unwrap_or(&file).to_string_lossy().into_owned();
            source(&path, &text, &mut breaches);
        }
    }
    dependencies(workspace, &mut breaches);
    breaches.extend(wit::check(&workspace.root)?);
    if !breaches.is_empty() {
        breaches.sort();
        bail!("the house is not tidy (docs/architecture.md, CONTRIBUTING.md)\n{}", breaches.join("\n"));
    }
    shell::say("tidy");
    Ok(())
}

/// Every Rust file below `directory`, where it exists.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        if !directory.exists() {
            continue;
        }
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The rules for one file. `path` is relative to the repository, with slashes.
fn source(path: &str, text: &str, breaches: &mut Vec<String>) {
    // What is fuzzed is read by whoever finds something: it is told as the code is.
    let of_tests = (path.starts_with("tests/") && !path.starts_with("tests/fuzz/"))
        || path.contains("/tests/")
        || path.ends_with("/tests.rs");
    if !text.starts_with("//!") && !of_tests {
        breaches
            .push(format!("{path}:1: a file begins with a `//!` that says what it is for and what it does not know"));
    }
    let code = code::bare(text);
    let own = code::without_tests(&code);
    let lines = own.lines().count();
    if lines > LINES && !of_tests {
        breaches.push(format!("{path}:{LINES}: {lines} lines above the tests; {LINES} are enough"));
    }
    if let Some(path_in_host) = path.strip_prefix("host/src/") {
        rooms::check(path, path_in_host, &code, breaches);
    }
    if MACHINES.iter().any(|(_, directory)| path.starts_with(directory)) && !of_tests {
        for word in NOT_IN_A_MACHINE {
            for line in code::lines_with(own, word) {
                breaches.push(format!("{path}:{line}: a machine has no `{word}`: what it must know, it is told"));
            }
        }
    }
}

/// The rules for what a package may depend on.
fn dependencies(workspace: &Workspace, breaches: &mut Vec<String>) {
    for package in &workspace.packages {
        let manifest = package.manifest_path.strip_prefix(&workspace.root).unwrap_or(&package.manifest_path);
        let ordinary = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
        let is_extension = package.directory().starts_with(workspace.root.join("extensions"));
        for dependency in ordinary {
            let name = dependency.name.as_str();
            if MACHINES.iter().any(|(machine, _)| package.name == *machine) && NOT_BENEATH_A_MACHINE.contains(&name) {
                breaches.push(format!("{}: a machine does not depend on `{name}`", manifest.display()));
            }
            let ours = |path: &PathBuf| !path.starts_with(workspace.root.join("extensions"));
            if is_extension && dependency.path.as_ref().is_some_and(ours) {
                breaches.push(format!("{}: an extension knows the SDK, and not `{name}`", manifest.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> Vec<String> {
        let mut breaches = Vec::new();
        source(path, text, &mut breaches);
        breaches
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(breaches("extensions/a/src/lib.rs", "//! Good.\n"), [""; 0]);
        assert_eq!(breaches("extensions/a/src/lib.rs", "use a;\n").len(), 1);
    }

    #[test]
    fn fuzz_targets_are_no_tests() {
        assert_eq!(breaches("tests/end_to_end/a.rs", "use a;\n"), [""; 0]);
        assert_eq!(breaches("tests/fuzz/fuzz_targets/a.rs", "use a;\n").len(), 1);
    }

    #[test]
    fn long_files_are_for_tests() {
        let long = format!("//! Long.\n{}", "fn a() {}\n".repeat(400));
        let tested = format!("//! Short.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(400));
        assert_eq!(breaches("xtask/src/a.rs", &long).len(), 1);
        assert_eq!(breaches("xtask/src/a.rs", &tested), [""; 0]);
        assert_eq!(breaches("host/src/config/tests.rs", &long), [""; 0]);
    }

    #[test]
    fn the_machine_is_pure() {
        let path = "host/smtp/src/server.rs";
        assert_eq!(breaches(path, "//! A.\nuse std::net::IpAddr; // no Instant\n"), [""; 0]);
        assert_eq!(breaches(path, "//! A.\n#[cfg(test)]\nmod tests {\nuse std::fs; }\n"), [""; 0]);
        let breaches = breaches(path, "//! A.\nuse std::time::{Duration, Instant};\n");
        assert_eq!(breaches, ["host/smtp/src/server.rs:2: a machine has no `Instant`: what it must know, it is told"]);
    }
}
