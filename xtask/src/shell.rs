//! Running other programs: aloud, or for what they print.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Says what is about to happen, on a line that stands out among the output of other programs.
pub fn say(text: &str) {
    eprintln!("==> {text}");
}

/// The Cargo that runs this task, in the repository.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// Runs a program with our output as its output; an error names it when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// What a program prints to its standard output; an error carries what it prints to the other.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({})\n{}", shown(command), output.status, reason.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed something that is not text", shown(command)))
}

/// Whether a program is there and ends well; what it prints is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The machine the compiler builds for, as it names it.
pub fn triple(root: &Path) -> Result<String> {
    let verbose = output(Command::new("rustc").arg("-vV").current_dir(root))?;
    let triple = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("`rustc -vV` does not say its host")?.to_owned())
}

/// Where a program lies: the first match in `directories`.
pub fn find(program: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The directories of `PATH`.
pub fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The command as one would type it: enough to be understood in a message.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    format!("`{}`", words.collect::<Vec<_>>().join(" "))
}
