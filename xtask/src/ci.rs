//! What has to pass before a change is taken. `.ci/run` runs it; so can anyone.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{fuzz, shell, test};

/// How long each fuzz target looks: long enough to see that it works and that its seeds pass.
const FUZZ_SECONDS: u64 = 5;

/// Every step, the quick ones first and the tests last, so that the end of the output is the summary of the tests.
pub fn run(workspace: &Workspace) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = shell::cargo(&workspace.root);
        cargo.args(arguments);
        cargo
    };
    let mut steps = Steps(Vec::new());
    steps.command("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    let fuzz_targets = ["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--check"];
    steps.command("formatting of the fuzz targets", &mut cargo(&fuzz_targets))?;
    let strict = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    steps.command("clippy", &mut cargo(&strict))?;
    // For those who change the code, so with private items and links to them. The whole workspace, because a part of it
    // would be another set of features, and wasmtime would be checked again.
    let documentation = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    let strict = "--deny warnings --allow rustdoc::private-intra-doc-links";
    steps.command("documentation", cargo(&documentation).env("RUSTDOCFLAGS", strict))?;
    if shell::succeeds(&mut cargo(&["deny", "--version"])) {
        steps.command("licences and advisories", &mut cargo(&["deny", "check"]))?;
    } else {
        shell::say("ci: licences and advisories: left out, cargo-deny is not installed");
    }
    steps.step("fuzzing", || fuzz::run(workspace, None, FUZZ_SECONDS))?;
    steps.step("tests", || test::run(workspace, true, true, &[]))?;
    println!("{}", steps.summary());
    Ok(())
}

/// The steps done, each with its seconds.
struct Steps(Vec<(&'static str, u64)>);

impl Steps {
    fn command(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        self.step(name, || shell::run(command))
    }

    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        shell::say(&format!("ci: {name}"));
        let start = Instant::now();
        let result = step();
        self.0.push((name, start.elapsed().as_secs()));
        if result.is_err() {
            shell::say(&format!("{}; {name} failed", self.summary()));
        }
        result
    }

    fn summary(&self) -> String {
        let total: u64 = self.0.iter().map(|(_, seconds)| seconds).sum();
        let steps: Vec<String> = self.0.iter().map(|(name, seconds)| format!("{name} {seconds} s")).collect();
        format!("ci: {total} s ({})", steps.join(", "))
    }
}
