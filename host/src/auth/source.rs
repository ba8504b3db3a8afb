//! Reading the file, and why it cannot be read.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::entry::BadLine;

/// The largest file that is read: some hundred thousand users.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How many bad lines are named.
const NAMED: usize = 20;

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the users file {}", file.display())]
pub struct UsersError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub source: Fault,
}

/// What is wrong with a file of users. No text quotes what it says of passwords.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Opening or reading it failed.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is not a file")]
    NotAFile,
    /// Others than its owner can read or write it.
    #[error("others than its owner may use it (mode {mode:04o}): chmod 600 it")]
    Exposed {
        /// Its mode.
        mode: u32,
    },
    /// It cannot be what it should.
    #[error("it is larger than 16 MiB")]
    TooLarge,
    /// It is no text.
    #[error("it is not UTF-8, from line {line} on")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// There are mistakes in it.
    #[error("{}", Lines(.0))]
    Lines(Vec<BadLine>),
    /// The secret that hides who is unknown cannot be made.
    #[error("the system gives no randomness")]
    Random(#[source] io::Error),
}

struct Lines<'a>(&'a [BadLine]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{line}", if index == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The whole file, once, and whose it is.
pub(super) struct Source {
    pub(super) text: String,
    /// Its user id.
    pub(super) owner: u32,
}

pub(super) fn read(file: &Path) -> Result<Source, Fault> {
    // A pipe has no end, and opening one waits for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(Fault::Unreadable)?;
    let about = opened.metadata().map_err(Fault::Unreadable)?;
    if !about.is_file() {
        return Err(Fault::NotAFile);
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Fault::Exposed { mode });
    }
    let mut octets = Vec::new();
    opened.take(LIMIT + 1).read_to_end(&mut octets).map_err(Fault::Unreadable)?;
    if !u64::try_from(octets.len()).is_ok_and(|length| length <= LIMIT) {
        return Err(Fault::TooLarge);
    }
    let text = String::from_utf8(octets).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        Fault::NotText { line: good.filter(|octet| **octet == b'\n').count().saturating_add(1) }
    })?;
    Ok(Source { text, owner: about.uid() })
}
