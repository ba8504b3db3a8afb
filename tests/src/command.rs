//! The programs under test: where they are, and how one is run to its end.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// The server as it was built: `$PILLARBOX_BIN`, else the debug build.
///
/// # Panics
/// There is none.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("PILLARBOX_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| repository().join("target/debug/pillarbox"));
    assert!(path.is_file(), "there is no {}: run `cargo xtask test`", path.display());
    path
}

/// A component as `cargo xtask build` makes it, by the name of its package.
///
/// # Panics
/// There is none.
pub fn guest(name: &str) -> PathBuf {
    let path = repository().join("target/guests").join(format!("{name}.wasm"));
    assert!(path.is_file(), "there is no {}: run `cargo xtask test`", path.display());
    path
}

/// Runs `pillarbox` with these arguments in `directory`, to its end.
pub fn run<A: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = A>) -> Output {
    let mut command = pillarbox(directory);
    Output::of(command.args(arguments).stdin(Stdio::null()))
}

/// The command `pillarbox`, untouched by what the tests themselves were started with.
pub(crate) fn pillarbox(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(directory).env_remove("PILLARBOX_CONFIG").env_remove("RUST_LOG").env_remove("COLUMNS");
    // All servers of all tests compile each component once.
    command.env("CACHE_DIRECTORY", repository().join("target/tmp/cache"));
    command
}

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Output {
        Output::from(command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}")))
    }

    /// Insists on this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Insists on this text in one of the two streams.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "nothing says {text:?}\n{self}");
        self
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Output {
        let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr)
    }
}
