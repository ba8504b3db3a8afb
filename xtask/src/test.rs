//! All tests of the workspace, by cargo-nextest or by `cargo test`, against the server as it was just built.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{clients, guests, host, scripts, shell, tidy};

/// Sets up, builds and runs. `arguments` go to the runner.
pub fn run(workspace: &Workspace, with_clients: bool, install: bool, arguments: &[OsString]) -> Result<()> {
    tidy::check(workspace)?;
    // Before the long build: a missing program is better known now.
    let clients = if with_clients { Some(clients::find(workspace, install)?) } else { None };
    guests::build(workspace)?;
    if with_clients {
        scripts::build_all(workspace)?;
    }

    shell::say("building the server and the tests");
    // All of it at once: with one set of features, every dependency is built once.
    shell::run(shell::cargo(&workspace.root).args(["build", "--workspace", "--bins", "--tests"]))?;

    let mut cargo = shell::cargo(&workspace.root);
    cargo.env("PILLARBOX_BIN", host::binary(workspace, false));
    if let Some(clients) = &clients {
        clients.offer(&mut cargo)?;
    }
    let nextest = shell::succeeds(shell::cargo(&workspace.root).args(["nextest", "--version"]));
    if !nextest {
        shell::say("running the tests by `cargo test` (cargo-nextest, where installed, is quicker)");
        return run_and_count(cargo.args(["test", "--workspace", "--no-fail-fast"]).args(arguments));
    }
    if arguments.is_empty() {
        // nextest runs none of them.
        shell::say("running the examples of the documentation");
        shell::run(shell::cargo(&workspace.root).args(["test", "--quiet", "--workspace", "--doc"]))?;
    }
    shell::say("running the tests by cargo-nextest");
    shell::run(cargo.args(["nextest", "run", "--workspace", "--no-fail-fast"]).args(arguments))
}

/// Runs `cargo test`, which ends with the last binary's summary and not with that of all, and adds the latter.
fn run_and_count(command: &mut Command) -> Result<()> {
    let mut runner = command.stdout(Stdio::piped()).spawn().context("cannot run `cargo test`")?;
    let mut total = Total::default();
    if let Some(output) = runner.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            total.add(&line);
        }
    }
    let status = runner.wait().context("cannot wait for `cargo test`")?;
    println!("\nall tests: {} passed, {} failed, {} ignored", total.passed, total.failed, total.ignored);
    if !status.success() {
        bail!("`cargo test` failed ({status})");
    }
    Ok(())
}

/// What the summaries of several test binaries add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Total {
    /// Takes a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`; others are none of its business.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|result| result.split_once(". ")) else {
            return;
        };
        for count in counts.1.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_summaries() {
        let mut total = Total::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a::b ... ok",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ] {
            total.add(line);
        }
        assert_eq!(total, Total { passed: 13, failed: 2, ignored: 1 });
    }
}
