//! `pillarbox user`: who may log in, edited at the keyboard or by a script.

use std::collections::BTreeSet;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Stdin, Write};
use std::path::{Path, PathBuf};

use pillarbox_sasl::{FIELD, Secret};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::auth::{self, Book, BookError, Credential, Kind, MakeError, NameError};
use crate::cli::{ExitCode, UserCommand};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no file to work with.
    #[error("the configuration names no file of users; name one with --file")]
    NoFile,
    /// There are several.
    #[error("the configuration names several files of users, {}; say which with --file", list(.0))]
    SeveralFiles(BTreeSet<PathBuf>),
    /// The name is none.
    #[error("the name cannot be used")]
    Name(#[from] NameError),
    /// There is no such user.
    #[error("there is no user {name} in {}", file.display())]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// The password was not typed twice.
    #[error("the passwords are not the same")]
    Differ,
    /// The password could not be read.
    #[error("cannot read the password")]
    Input(#[source] io::Error),
    /// The password is none, or cannot be hashed.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The file cannot be used.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl UserError {
    /// How the process ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            UserError::Input(_) | UserError::Book(BookError::Write { .. } | BookError::Busy { .. }) => {
                ExitCode::Failure
            }
            UserError::Make(MakeError::Random(_) | MakeError::Hash(_)) => ExitCode::Failure,
            UserError::NoFile | UserError::SeveralFiles(_) | UserError::Name(_) | UserError::Unknown { .. } => {
                ExitCode::Refused
            }
            UserError::Differ | UserError::Make(MakeError::Password(_)) | UserError::Book(BookError::Users(_)) => {
                ExitCode::Refused
            }
        }
    }
}

/// Does what was asked, and says what that was.
///
/// # Errors
/// It was not done, and the file is as it was.
pub fn carry_out(command: &UserCommand, file: &Path) -> Result<String, UserError> {
    match command {
        UserCommand::Add { name, argon2id, .. } => {
            add(file, name, if *argon2id { Kind::Argon2id } else { Kind::ScramSha256 })
        }
        UserCommand::List { .. } => show(file),
        UserCommand::Remove { name, .. } => remove(file, name),
    }
}

/// The one file among those that a configuration names.
///
/// # Errors
/// There is none, or more than one.
pub fn only(mut files: BTreeSet<PathBuf>) -> Result<PathBuf, UserError> {
    match files.pop_first() {
        None => Err(UserError::NoFile),
        Some(file) if files.is_empty() => Ok(file),
        Some(file) => {
            files.insert(file);
            Err(UserError::SeveralFiles(files))
        }
    }
}

fn add(file: &Path, name: &str, kind: Kind) -> Result<String, UserError> {
    // Before anyone types a password for nothing; and not held meanwhile.
    auth::check_name(name)?;
    drop(Book::open_or_begin(file)?);
    let password = password(&io::stdin())?;
    let credential = Credential::make(&password, kind)?;
    let mut book = Book::open_or_begin(file)?;
    let known = book.put(name, &credential)?;
    book.save()?;
    let file = file.display();
    Ok(if known { format!("changed the password of {name} in {file}\n") } else { format!("added {name} to {file}\n") })
}

fn show(file: &Path) -> Result<String, UserError> {
    let book = Book::open(file)?;
    let width = book.users().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    Ok(book.users().map(|(name, kind)| format!("{name:width$}  {}\n", kind.name())).collect())
}

fn remove(file: &Path, name: &str) -> Result<String, UserError> {
    let mut book = Book::open(file)?;
    if !book.remove(name) {
        return Err(UserError::Unknown { name: name.to_owned(), file: file.to_path_buf() });
    }
    book.save()?;
    Ok(format!("removed {name} from {}\n", file.display()))
}

/// From the keyboard, twice; from anything else, its first line.
fn password(stdin: &Stdin) -> Result<Secret, UserError> {
    if !stdin.is_terminal() {
        return line(stdin.lock()).map_err(UserError::Input);
    }
    let first = ask(stdin, "Password: ").map_err(UserError::Input)?;
    let again = ask(stdin, "The same again: ").map_err(UserError::Input)?;
    if first.expose() == again.expose() { Ok(first) } else { Err(UserError::Differ) }
}

fn ask(stdin: &Stdin, prompt: &str) -> io::Result<Secret> {
    // Quiet before the question: some type at once.
    let _quiet = Quiet::begin(stdin)?;
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()?;
    let read = unless_ended(|| line(io::stdin().lock()));
    if read.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
        // What is said next stands in a line of its own.
        stderr.write_all(b"\n")?;
    }
    read
}

/// Waits for what is read, or for a signal that would end the process: the terminal must show again what is typed first.
fn unless_ended(read: impl FnOnce() -> io::Result<Secret> + Send + 'static) -> io::Result<Secret> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let done = runtime.block_on(async {
        let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
        let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        tokio::select! {
            read = tokio::task::spawn_blocking(read) => read.map_err(io::Error::other)?,
            _ = interrupt.recv() => Err(ErrorKind::Interrupted.into()),
            _ = quit.recv() => Err(ErrorKind::Interrupted.into()),
            _ = terminate.recv() => Err(ErrorKind::Interrupted.into()),
            _ = hangup.recv() => Err(ErrorKind::Interrupted.into()),
        }
    });
    // The line may never come.
    runtime.shutdown_background();
    done
}

/// A line without its end. What is longer than any password is not read further.
fn line(from: impl BufRead) -> io::Result<Secret> {
    let limit = FIELD.saturating_add("x\r\n".len());
    // As large as it can become: a smaller one would leave copies behind as it grows.
    let mut line = String::with_capacity(limit);
    from.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_line(&mut line)?;
    let length = line.strip_suffix('\n').map_or(line.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    line.truncate(length);
    Ok(Secret::new(line))
}

/// The terminal shows nothing but the end of a line, as long as this lives.
struct Quiet<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl Quiet<'_> {
    fn begin(terminal: &Stdin) -> io::Result<Quiet<'_>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn list(files: &BTreeSet<PathBuf>) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_password_is_a_line_without_its_end() {
        let long = "x".repeat(5000);
        let cases = [
            ("pencil\n", "pencil"),
            ("pencil\r\n", "pencil"),
            ("pencil", "pencil"),
            ("pen cil \nmore\n", "pen cil "),
            ("\r\r\n", "\r"),
            ("\n", ""),
            ("", ""),
            (&long, long.get(..FIELD + 3).unwrap()),
        ];
        for (input, expected) in cases {
            assert_eq!(line(input.as_bytes()).unwrap().expose(), expected, "{input:?}");
        }
        assert!(line(b"\xff\n".as_slice()).is_err());
    }

    #[test]
    fn a_signal_ends_the_waiting_and_not_the_process() {
        for name in ["-INT", "-QUIT", "-TERM", "-HUP"] {
            let (_kept, line) = std::sync::mpsc::channel::<()>();
            let read = move || {
                let process = std::process::id().to_string();
                assert!(std::process::Command::new("kill").args([name, &process]).status().unwrap().success());
                line.recv().unwrap_err();
                Ok(Secret::new("too late".to_owned()))
            };
            assert_eq!(unless_ended(read).unwrap_err().kind(), ErrorKind::Interrupted, "{name}");
        }
        let read = unless_ended(|| line(b"pencil\n".as_slice()));
        assert_eq!(read.unwrap().expose(), "pencil");
    }

    #[test]
    fn a_configuration_names_one_file_or_must_be_helped() {
        let files = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        assert_eq!(only(files(&["a", "a"])).unwrap(), Path::new("a"));
        assert!(matches!(only(files(&[])), Err(UserError::NoFile)));
        let several = only(files(&["b", "a"])).unwrap_err();
        assert!(several.to_string().contains("a and b"), "{several}");
        assert_eq!(several.exit_code(), ExitCode::Refused);
    }

    #[test]
    fn users_are_shown_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users");
        assert_eq!(show(&file).unwrap_err().exit_code(), ExitCode::Refused);
        let mut book = Book::open_or_begin(&file).unwrap();
        for (name, kind) in [("tim", Kind::ScramSha256), ("\u{fc}ber b", Kind::Argon2id)] {
            book.put(name, &Credential::make(&Secret::new("pencil".to_owned()), kind).unwrap()).unwrap();
        }
        book.save().unwrap();
        drop(book);
        assert_eq!(show(&file).unwrap(), "tim     scram-sha-256\n\u{fc}ber b  argon2id\n");
        let unknown = remove(&file, "tom").unwrap_err();
        assert!(unknown.to_string().starts_with("there is no user tom in "), "{unknown}");
        assert!(remove(&file, "tim").unwrap().starts_with("removed tim from "));
        assert_eq!(show(&file).unwrap(), "\u{fc}ber b  argon2id\n");
    }
}
