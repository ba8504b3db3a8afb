//! Reading the file, and why it cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use super::entry::BadLine;
use crate::file::{self, Mistakes, ReadError, Text};

/// MiB of the largest file that is read: some hundred thousand users.
const LIMIT: u64 = 16;

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
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// Others than its owner can read or write it.
    #[error("others than its owner may use it (mode {mode:04o}): chmod 600 it")]
    Exposed {
        /// Its mode.
        mode: u32,
    },
    /// There are mistakes in it.
    #[error("{}", Mistakes(.0))]
    Lines(Vec<BadLine>),
    /// The secret that hides who is unknown cannot be made.
    #[error("the system gives no randomness")]
    Random(#[source] io::Error),
}

pub(super) fn read(path: &Path) -> Result<Text, Fault> {
    let text = file::read(path, LIMIT)?;
    if text.mode & 0o077 != 0 {
        return Err(Fault::Exposed { mode: text.mode });
    }
    Ok(text)
}
