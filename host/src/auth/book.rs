//! Editing the file of users: what is not changed stays as it is, comments and order included, and at every moment the
//! file is the old one or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::credential::{Credential, Kind};
use super::entry::{self, Entry, NameError};
use super::source::{self, Fault, UsersError};
use crate::file::ReadError;

/// How long one who edits waits for another. Nobody holds the file while a password is typed: an edit takes far less.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried meanwhile.
const TRY: Duration = Duration::from_millis(50);

/// The file of users, open for editing. Others who edit it wait.
#[derive(Debug)]
pub struct Book {
    /// The file itself, not a link to it.
    file: PathBuf,
    text: String,
    entries: Vec<Entry>,
    /// Whose file it is, if there is one.
    owner: Option<u32>,
    /// The directory, locked as long as this lives: the file itself is another one after each change.
    directory: File,
}

/// Why the file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// It cannot be read as it is.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// Another one edits it, and does not end.
    #[error("another `pillarbox user` is at work on the users file {}", file.display())]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be written. It is as it was.
    #[error("cannot write the users file {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Book {
    /// Opens the file, and waits for whoever edits it now, for a few seconds. Blocking.
    ///
    /// # Errors
    /// It cannot be read, or there are mistakes in it, which are for a human to mend; or someone else is at it still.
    pub fn open(path: &Path) -> Result<Book, BookError> {
        let book = Book::open_or_begin(path)?;
        if book.owner.is_none() {
            return Err(unusable(path, ReadError::Unreadable(ErrorKind::NotFound.into()).into()));
        }
        Ok(book)
    }

    /// As [`open`](Book::open), but one that is not there is empty, and is made when it is saved.
    ///
    /// # Errors
    /// It is there and cannot be read, or its directory is not there; or someone else is at it still.
    pub fn open_or_begin(path: &Path) -> Result<Book, BookError> {
        Book::open_within(path, PATIENCE)
    }

    pub(super) fn open_within(path: &Path, patience: Duration) -> Result<Book, BookError> {
        // Renaming would put a file in the place of a link, and leave what it points to as it was.
        let file = match fs::canonicalize(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_path_buf(),
            found => found.map_err(|error| unusable(path, ReadError::from(error).into()))?,
        };
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory).map_err(|error| unusable(path, ReadError::from(error).into()))?;
        lock(&directory, patience).map_err(|error| match error {
            TryLockError::WouldBlock => BookError::Busy { file: path.to_path_buf() },
            TryLockError::Error(error) => unusable(path, ReadError::from(error).into()),
        })?;
        let (text, owner) = match source::read(&file) {
            Ok(source) => (source.text, Some(source.owner)),
            Err(Fault::File(ReadError::Unreadable(error))) if error.kind() == ErrorKind::NotFound => {
                (String::new(), None)
            }
            Err(fault) => return Err(unusable(path, fault)),
        };
        let entries = entry::read(&text).map_err(|lines| unusable(path, Fault::Lines(lines)))?;
        Ok(Book { file, text, entries, owner, directory })
    }

    /// The users and how their passwords are kept, in their order.
    pub fn users(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.credential.kind()))
    }

    /// Puts a user in: at the end, or in the place of the one of that name. Says whether there was one.
    ///
    /// # Errors
    /// The name is none.
    pub fn put(&mut self, name: &str, credential: &Credential) -> Result<bool, NameError> {
        entry::check_name(name)?;
        let line = entry::write(name, credential);
        let known = self.line(name);
        match known {
            Some(number) => self.replace(number, Some(&line)),
            None => {
                if !self.text.is_empty() && !self.text.ends_with('\n') {
                    self.text.push('\n');
                }
                self.text.push_str(&line);
                self.text.push('\n');
            }
        }
        self.read_again();
        Ok(known.is_some())
    }

    /// Takes a user out. Says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(number) = self.line(name) else { return false };
        self.replace(number, None);
        self.read_again();
        true
    }

    /// Writes the file, durably, for its owner alone.
    ///
    /// # Errors
    /// It could not be written, and is as it was.
    pub fn save(&self) -> Result<(), BookError> {
        self.write().map_err(|source| BookError::Write { file: self.file.clone(), source })
    }

    fn write(&self) -> io::Result<()> {
        let mut name = self.file.file_name().ok_or(ErrorKind::InvalidInput)?.to_os_string();
        name.push(".new");
        let temporary = self.file.with_file_name(name);
        // What an earlier edit left when it was killed: the lock says that nobody is at it.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.write_to(&temporary).and_then(|()| fs::rename(&temporary, &self.file));
        if let Err(error) = written {
            // Nothing more can be done about it; the next edit begins with that.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.directory.sync_all()
    }

    fn write_to(&self, temporary: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        match self.owner {
            // Root edits the file of the server's user, who must be able to read it afterwards.
            Some(owner) => fchown(&file, Some(owner), None)?,
            None => self.give(&file)?,
        }
        file.write_all(self.text.as_bytes())?;
        file.sync_all()
    }

    /// A new file is its directory's owner's: root makes it for the server, who could not read one of root's.
    fn give(&self, file: &File) -> io::Result<()> {
        match fchown(file, Some(self.directory.metadata()?.uid()), None) {
            // Nobody else may give files away, nor may root everywhere; whoever made it can read it.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        }
    }

    fn line(&self, name: &str) -> Option<usize> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| entry.line)
    }

    fn replace(&mut self, number: usize, with: Option<&str>) {
        let mut text = String::with_capacity(self.text.len());
        for (line, content) in self.text.split_inclusive('\n').enumerate() {
            match with {
                _ if line != number => text.push_str(content),
                Some(with) => {
                    text.push_str(with);
                    text.push('\n');
                }
                None => {}
            }
        }
        self.text = text;
    }

    /// The lines are others now. They are good: only good ones were put in.
    fn read_again(&mut self) {
        self.entries = entry::read(&self.text).unwrap_or_default();
    }
}

/// Takes the lock within `patience`. The system itself would wait for ever.
#[expect(clippy::disallowed_methods, reason = "an edit is a process of its own, in which nothing else runs")]
fn lock(directory: &File, patience: Duration) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < patience => thread::sleep(TRY),
            done => return done,
        }
    }
}

fn unusable(path: &Path, source: Fault) -> BookError {
    BookError::Users(UsersError { file: path.to_path_buf(), source })
}
