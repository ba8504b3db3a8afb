//! `cargo xtask fuzz`: builds the fuzz targets and lets each look for input that breaks what must always hold.
//!
//! It knows where their seeds come from; what an input means and what must hold is in `tests/fuzz`.

mod seeds;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// What builds the targets: a release of cargo-fuzz, installed below `target/tools` if it is not there.
const CARGO_FUZZ: &str = "0.13.2";

/// What a target may use, and how long one input may take. More than 64 KiB no peer is read at once.
const BOUNDS: [&str; 3] = ["-rss_limit_mb=512", "-max_len=65536", "-timeout=10"];

/// Runs one target, or all of them, for this many seconds each; as many at once as there are processors.
///
/// # Errors
/// They do not build, or an input was found; it says which, and how to run it again.
pub fn run(workspace: &Workspace, only: Option<&str>, seconds: u64) -> Result<()> {
    let fuzz = &Fuzz::new(workspace)?;
    let targets = fuzz.targets(only)?;
    fuzz.build(only)?;
    seeds::write(&workspace.root.join("tests/conversations/core"), &fuzz.own.join("seeds"))?;

    let seed = seed();
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    shell::say(&format!("fuzzing for {seconds} s each, with seed {seed}: {}", targets.join(", ")));
    let mut failed = Vec::new();
    for group in targets.chunks(at_once) {
        let ends = thread::scope(|scope| {
            let start = |target| scope.spawn(move || fuzz.run(target, seconds, seed));
            let running: Vec<_> = group.iter().map(|target| (target, start(target))).collect();
            let ended = running.into_iter().map(|(target, thread)| (target, thread.join()));
            ended.collect::<Vec<_>>()
        });
        for (target, end) in ends {
            match end {
                Ok(Ok(summary)) => println!("{target}: {summary}"),
                Ok(Err(error)) => failed.push(format!("{target}: {error:#}")),
                Err(_) => failed.push(format!("{target}: it could not be run")),
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n\n"));
    }
    Ok(())
}

/// Where things are.
struct Fuzz {
    root: PathBuf,
    /// The targets' own workspace.
    sources: PathBuf,
    /// What is left of fuzzing: builds, seeds, finds.
    own: PathBuf,
    tools: PathBuf,
    triple: String,
}

impl Fuzz {
    fn new(workspace: &Workspace) -> Result<Fuzz> {
        Ok(Fuzz {
            root: workspace.root.clone(),
            sources: workspace.root.join("tests/fuzz"),
            own: workspace.target.join("fuzz"),
            tools: workspace.target.join("tools"),
            triple: shell::triple(&workspace.root)?,
        })
    }

    /// The targets by name: all, or the one that is asked for.
    fn targets(&self, only: Option<&str>) -> Result<Vec<String>> {
        let directory = self.sources.join("fuzz_targets");
        let files = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let name = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
        let mut all: Vec<String> = files.filter_map(|file| name(file.ok()?.path())).collect();
        all.sort();
        match only {
            None => Ok(all),
            Some(only) if all.iter().any(|target| target == only) => Ok(vec![only.to_owned()]),
            Some(only) => bail!("there is no fuzz target `{only}`; there are {}", all.join(", ")),
        }
    }

    fn build(&self, only: Option<&str>) -> Result<()> {
        let tool = self.tools.join("bin/cargo-fuzz");
        if !tool.is_file() {
            shell::say(&format!("installing cargo-fuzz {CARGO_FUZZ} below {}", self.tools.display()));
            let mut install = shell::cargo(&self.root);
            install.args([
                "install",
                "cargo-fuzz",
                "--quiet",
                "--locked",
                "--version",
                &format!("={CARGO_FUZZ}"),
                "--root",
            ]);
            shell::run(install.arg(&self.tools))?;
        }
        let sanitizer = if self.has_address_sanitizer() { "address" } else { "none" };
        shell::say(&format!("building the fuzz targets, with sanitizer {sanitizer}"));
        let mut build = Command::new(tool);
        build.current_dir(&self.root).arg("build").args(only);
        build.args(["--sanitizer", sanitizer, "--target", &self.triple, "--fuzz-dir"]).arg(&self.sources);
        // This is what lets a stable compiler put the instruments in.
        shell::run(build.arg("--target-dir").arg(self.own.join("build")).env("RUSTC_BOOTSTRAP", "1"))
    }

    /// rustup's compilers come with its runtime, others need not.
    fn has_address_sanitizer(&self) -> bool {
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "target-libdir"]).current_dir(&self.root);
        let Ok(directory) = shell::output(&mut rustc) else { return false };
        let Ok(files) = fs::read_dir(directory.trim()) else { return false };
        files.filter_map(Result::ok).any(|file| file.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    }

    /// Lets one target look. What it prints goes to a file; the answer is what it says of itself at its end.
    fn run(&self, target: &str, seconds: u64, seed: u32) -> Result<String> {
        let log = self.own.join(format!("{target}.log"));
        let finds = self.own.join("corpus").join(target);
        let artefacts = self.own.join("artefacts");
        for directory in [&finds, &artefacts] {
            fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let program = self.own.join("build").join(&self.triple).join("release").join(target);
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&program);
        command.current_dir(&self.root).args(BOUNDS);
        command.args([format!("-max_total_time={seconds}"), format!("-seed={seed}")]);
        command.arg(format!("-dict={}", self.sources.join("smtp.dict").display()));
        command.arg(format!("-artifact_prefix={}/{target}-", artefacts.display())).arg("-print_final_stats=1");
        // The first is where finds go; from the others it only reads.
        command.arg(&finds);
        command.args(
            [self.own.join("seeds").join(target), self.sources.join("corpus").join(target)]
                .iter()
                .filter(|d| d.is_dir()),
        );
        // What is freed is kept for a while to see whether it is used again: less than usual, because of the bound.
        command.env("ASAN_OPTIONS", "quarantine_size_mb=32:detect_odr_violation=0").env("RUST_BACKTRACE", "0");
        command.stdout(output.try_clone().context("cannot duplicate a file")?).stderr(output);
        let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        if !status.success() {
            bail!("{}\n{}", self.shown(&program, status), tail(&said));
        }
        Ok(summary(&said))
    }

    fn shown(&self, program: &Path, status: std::process::ExitStatus) -> String {
        let program = program.strip_prefix(&self.root).unwrap_or(program);
        format!("{status}; to see it again: {} FILE, with the input it names below", program.display())
    }
}

/// libFuzzer takes 32 bits, and 0 for a seed of its own.
fn seed() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_nanos() | 1
}

/// What a target said at its end, the panic and the input among it, without its progress and the stack below the panic.
fn tail(said: &str) -> String {
    let is_told = |line: &&str| !line.trim_start().starts_with('#') && !line.starts_with("INFO:");
    let lines: Vec<&str> = said.lines().filter(is_told).collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}

/// What the target counted, from its lines `stat::NAME: NUMBER`.
fn summary(said: &str) -> String {
    let stat = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
        line.map_or("?", str::trim)
    };
    let (inputs, memory) = (stat("number_of_executed_units"), stat("peak_rss_mb"));
    format!("{inputs} inputs, {} new, {memory} MiB", stat("new_units_added"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_target_counted() {
        let said = "Done 5 runs\nstat::number_of_executed_units: 12\nstat::new_units_added:          3\nstat::peak_rss_mb:  40\n";
        assert_eq!(summary(said), "12 inputs, 3 new, 40 MiB");
        assert_eq!(summary(""), "? inputs, ? new, ? MiB");
    }

    #[test]
    fn shows_what_a_target_found() {
        let said = "INFO: Seed: 1\n#2 INITED\n#9 NEW\n\nthread panicked at a.rs:1:\nno\n    #0 0x1 in a\nTest unit written to b\n";
        assert_eq!(tail(said), "\nthread panicked at a.rs:1:\nno\nTest unit written to b");
    }
}
