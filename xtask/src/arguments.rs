//! The command line, and the help that describes it. It says what is wanted and does none of it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::crash::Extent;

/// What `cargo xtask --help` prints, and what follows a mistake.
pub const USAGE: &str = "\
Everything one does with this repository. Each command does its own set-up and says what it installs.

Usage: cargo xtask COMMAND

  build [--release]   the extensions, then the server with the five stock extensions embedded:
                      target/debug/pillarbox, or target/release/pillarbox, which is one self-contained
                      file. Components are left in target/guests
  guests              the extensions alone, for a server that is told to reload
    --scripts         also those in JavaScript and Python; what makes them comes from npm and PyPI, into
                      target/tools
  component DIR       the component in JavaScript or Python that DIR/extension.json describes, into
                      DIR/NAME.wasm
  run [-- ARGS]       build, then `pillarbox serve ARGS`. Without ARGS it serves 127.0.0.1:2525 into
                      ./pillarbox-data (unless /etc/pillarbox/pillarbox.toml is there)
  test [-- ARGS]      build, then every test, by cargo-nextest where it is installed, else by
                      `cargo test`. ARGS go to the runner: `cargo xtask test -- xclient`
    --clients         also the tests that drive the server with clients of other people: smtplib,
                      aiosmtplib, nodemailer, swaks, curl, msmtp, openssl, Postfix, haproxy, Dovecot; fails when one
                      is missing, and says where it comes from. And those with the components in
                      JavaScript and Python, which it builds
    --install         with --clients: install what is missing: programs by apt; what is from npm and PyPI,
                      and the servers among them, only below target/clients. Nothing is started or
                      configured
  crash [-- ARGS]     the long tests of what a 250 promises: the server killed at each thing it does to its
                      disk and at random under load, a disk that fails, power cuts of an ext4 image (root).
                      ARGS choose tests: `cargo xtask crash -- power`
    --seed N          where chance begins; it is printed, and taken from the clock unless said
    --kills N         kills under load: 200 unless said
    --cuts N          power cuts: 20 unless said
  fuzz [TARGET]       build the fuzz targets and let each, or this one, look for input that breaks it.
                      Finds stay in target/fuzz; cargo-fuzz is installed into target/tools
    --seconds N       how long each looks: 30 seconds unless said
  tidy                the rules no compiler checks: which room may name which, what a file may be like,
                      and the next one
  wit                 whether components built for a released version of wit/ still fit this one
    --release         put wit/ and its components down as released, below tests/released: see
                      docs/versioning.md
  ci                  what .ci/run runs: formatting, clippy, docs, every test with clients, each fuzz
                      target for five seconds; installs
  bench               half a minute (and a release build): messages per second, CPU and memory, with and
                      without extensions, into docs/performance.md
  dist                target/dist/pillarbox-VERSION-TRIPLE.tar.gz: the release binary, the licences and the
                      ready-made configurations

Environment:
  PILLARBOX_WASM_TARGET   where the compiler for extensions (wasm32-unknown-unknown) comes from:
                          `rustup` (the installed toolchain; the target is added by rustup if missing),
                          `debian` (rustc-web, cargo-web, rust-web-src and lld, from apt, beside rustup's),
                          `auto` (the default: the first that works, in this order)

Exit code: 0, 1 when something failed, 2 when this text should have been read.";

/// How long a fuzz target looks when nothing is said.
const FUZZ_SECONDS: u64 = 30;

/// One command, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Print [`USAGE`].
    Help,
    /// Guests, then the host.
    Build { release: bool },
    /// The components alone.
    Guests { scripts: bool },
    /// One component in JavaScript or Python.
    Component { directory: PathBuf },
    /// Build and serve; `arguments` go to `pillarbox serve`.
    Run { arguments: Vec<OsString> },
    /// All tests; `arguments` go to the test runner.
    Test { clients: bool, install: bool, arguments: Vec<OsString> },
    /// The crash tests; `arguments` choose some.
    Crash { extent: Extent, arguments: Vec<OsString> },
    /// One fuzz target, or all, for so many seconds each.
    Fuzz { target: Option<String>, seconds: u64 },
    /// The rules no compiler checks.
    Tidy,
    /// The interfaces against their released versions, or the release of them.
    Wit { release: bool },
    /// What has to pass before a change is taken.
    Ci,
    /// The table of docs/performance.md.
    Bench,
    /// The archive to hand out.
    Dist,
}

/// Reads a command line without the program's name. The error is a sentence for the user.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Task, String> {
    let mut own: Vec<OsString> = arguments.collect();
    let separator = own.iter().position(|argument| argument == "--");
    let passed_on = separator.map(|at| own.split_off(at).split_off(1));

    let mut own = own.into_iter();
    let Some(command) = own.next() else { return Err("which command?".to_owned()) };
    let mut flags = Flags(own.collect());
    let task = match command.to_str() {
        Some("help" | "--help" | "-h") => Task::Help,
        _ if flags.take("--help") || flags.take("-h") => return Ok(Task::Help),
        Some("build") => Task::Build { release: flags.take("--release") },
        Some("guests") => Task::Guests { scripts: flags.take("--scripts") },
        Some("run") => Task::Run { arguments: passed_on.clone().unwrap_or_default() },
        Some("test") => {
            let (clients, install) = (flags.take("--clients"), flags.take("--install"));
            if install && !clients {
                return Err("--install goes with --clients".to_owned());
            }
            Task::Test { clients, install, arguments: passed_on.clone().unwrap_or_default() }
        }
        Some("crash") => {
            let extent = Extent {
                seed: flags.take_number("--seed", "number")?,
                kills: flags.take_number("--kills", "number of kills")?,
                cuts: flags.take_number("--cuts", "number of cuts")?,
            };
            Task::Crash { extent, arguments: passed_on.clone().unwrap_or_default() }
        }
        Some("fuzz") => {
            let seconds = flags.take_number("--seconds", "number of seconds")?.unwrap_or(FUZZ_SECONDS);
            Task::Fuzz { target: flags.take_word().map(|word| word.to_string_lossy().into_owned()), seconds }
        }
        Some("component") => match flags.take_word() {
            Some(directory) => Task::Component { directory: directory.into() },
            None => return Err("`component` takes the directory of one".to_owned()),
        },
        Some("tidy") => Task::Tidy,
        Some("wit") => Task::Wit { release: flags.take("--release") },
        Some("ci") => Task::Ci,
        Some("bench") => Task::Bench,
        Some("dist") => Task::Dist,
        _ => return Err(format!("there is no command `{}`", command.display())),
    };
    if let Some(unknown) = flags.0.first() {
        let hint = if passes_on(&task) { "; what is passed on stands after `--`" } else { "" };
        return Err(format!("`{}` does not take `{}`{hint}", command.display(), unknown.display()));
    }
    if passed_on.is_some() && !passes_on(&task) {
        return Err(format!("`{}` passes nothing on: what is `--` for?", command.display()));
    }
    Ok(task)
}

/// Whether what stands behind `--` goes to somebody else.
fn passes_on(task: &Task) -> bool {
    matches!(task, Task::Run { .. } | Task::Test { .. } | Task::Crash { .. })
}

/// What stands behind the command and was not taken yet.
struct Flags(Vec<OsString>);

impl Flags {
    fn take(&mut self, flag: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|given| given != flag);
        self.0.len() < before
    }

    /// The value behind this flag, if the flag is there.
    fn take_value(&mut self, flag: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|given| given == flag) else { return Ok(None) };
        let value = self.0.drain(at..self.0.len().min(at + 2)).nth(1);
        match value.and_then(|value| value.into_string().ok()) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("`{flag}` takes a value")),
        }
    }

    /// The same as a number; `what` it is, for who wrote none.
    fn take_number(&mut self, flag: &str, what: &str) -> Result<Option<u64>, String> {
        let value = self.take_value(flag)?;
        value.map(|value| value.parse().map_err(|_| format!("`{value}` is no {what}"))).transpose()
    }

    /// The first that is no flag.
    fn take_word(&mut self) -> Option<OsString> {
        let at = self.0.iter().position(|given| !given.to_string_lossy().starts_with('-'))?;
        Some(self.0.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn understands_each_command() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let cases = [
            ("--help", Task::Help),
            ("test --help", Task::Help),
            ("build", Task::Build { release: false }),
            ("build --release", Task::Build { release: true }),
            ("guests", Task::Guests { scripts: false }),
            ("guests --scripts", Task::Guests { scripts: true }),
            ("run", Task::Run { arguments: vec![] }),
            ("run -- --config a.toml", Task::Run { arguments: words(&["--config", "a.toml"]) }),
            ("test", Task::Test { clients: false, install: false, arguments: vec![] }),
            (
                "test --clients --install -- xclient -- --nocapture",
                Task::Test { clients: true, install: true, arguments: words(&["xclient", "--", "--nocapture"]) },
            ),
            ("crash", Task::Crash { extent: Extent::default(), arguments: vec![] }),
            (
                "crash --seed 7 --cuts 3 -- power",
                Task::Crash {
                    extent: Extent { seed: Some(7), kills: None, cuts: Some(3) },
                    arguments: words(&["power"]),
                },
            ),
            ("fuzz", Task::Fuzz { target: None, seconds: 30 }),
            ("fuzz bdat --seconds 5", Task::Fuzz { target: Some("bdat".to_owned()), seconds: 5 }),
            ("fuzz --seconds 5 bdat", Task::Fuzz { target: Some("bdat".to_owned()), seconds: 5 }),
            ("component ../mine", Task::Component { directory: "../mine".into() }),
            ("tidy", Task::Tidy),
            ("wit", Task::Wit { release: false }),
            ("wit --release", Task::Wit { release: true }),
            ("ci", Task::Ci),
            ("bench", Task::Bench),
            ("dist", Task::Dist),
        ];
        for (line, task) in cases {
            assert_eq!(parsed(line), Ok(task), "{line}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("", "which command?"),
            ("biuld", "there is no command `biuld`"),
            ("build --relaese", "`build` does not take `--relaese`"),
            ("run --config a.toml", "`run` does not take `--config`; what is passed on stands after `--`"),
            ("test --install", "--install goes with --clients"),
            ("fuzz --seconds", "`--seconds` takes a value"),
            ("fuzz --seconds soon", "`soon` is no number of seconds"),
            ("crash --cuts many", "`many` is no number of cuts"),
            ("fuzz bdat address", "`fuzz` does not take `address`"),
            ("component", "`component` takes the directory of one"),
            ("ci -- x", "`ci` passes nothing on: what is `--` for?"),
        ];
        for (line, problem) in cases {
            assert_eq!(parsed(line), Err(problem.to_owned()), "{line}");
        }
    }
}
