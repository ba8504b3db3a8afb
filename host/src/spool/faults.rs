//! What lies in the spool and is no message that can be delivered: shown to the operator, and left alone.

use std::fs;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::disk::open_regular;
use super::scan::{self, Kind};
use super::stored::{self, LoadError};
use super::{Inner, MessageId, Progress, Spool, blocking};

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The directory it lies in, below the spool: `queue` or `corrupt`.
    pub directory: &'static str,
    /// Its name there.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Spool {
    /// What lies in the queue and is no message, is damaged as far as its first and last lines show, or is of a later
    /// version, and what was set aside as damaged; at most so many. Reads the queue through.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub async fn faults(&self, most: usize) -> io::Result<Vec<Fault>> {
        let inner = Arc::clone(&self.0);
        blocking(move || faults(&inner, most)).await
    }
}

fn faults(spool: &Inner, most: usize) -> io::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let places = [("corrupt", &spool.corrupt), ("queue", &spool.queue)];
    for (directory, path) in places {
        for entry in fs::read_dir(path)? {
            if faults.len() >= most {
                return Ok(faults);
            }
            let entry = entry?;
            let reason = match scan::kind(&entry) {
                Kind::Log(id) if directory == "queue" && !says_something(&entry.path(), &id) => {
                    "nothing in this log can be read: who was served is served again".to_owned()
                }
                Kind::Gone | Kind::Log(_) => continue,
                Kind::Foreign => foreign(&entry),
                // What is wrong with it may be anywhere in it.
                Kind::Message(id) if directory == "corrupt" => match judge(&entry.path(), &id, stored::verify) {
                    Some(reason) => reason,
                    None => "nothing is wrong with it any more".to_owned(),
                },
                Kind::Message(id) => match judge(&entry.path(), &id, stored::peek) {
                    Some(reason) => reason,
                    None => continue,
                },
            };
            faults.push(Fault { directory, name: entry.file_name().to_string_lossy().into_owned(), reason });
        }
    }
    Ok(faults)
}

/// Whether there is a line of this message's in a log, or nothing at all.
fn says_something(path: &Path, id: &MessageId) -> bool {
    let Ok(Some(file)) = open_regular(path) else { return true };
    let empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
    empty || Progress::is_in(id, BufReader::new(file)).unwrap_or(true)
}

fn judge<T>(
    path: &Path,
    id: &MessageId,
    look: impl FnOnce(&fs::File, &MessageId) -> Result<T, LoadError>,
) -> Option<String> {
    let judged = match open_regular(path) {
        Ok(Some(file)) => look(&file, id).map(|_| ()),
        Ok(None) => Err(LoadError::Foreign),
        // Delivered since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(LoadError::Io(error)),
    };
    match judged {
        Ok(()) => None,
        Err(LoadError::Io(error)) => Some(format!("it cannot be read: {error}")),
        Err(error) => Some(error.to_string()),
    }
}

fn foreign(entry: &fs::DirEntry) -> String {
    let what = match entry.file_type() {
        Ok(kind) if kind.is_dir() => "a directory",
        Ok(kind) if kind.is_symlink() => "a symbolic link",
        Ok(kind) if kind.is_file() => "its name is no message's",
        Ok(_) => "not a regular file",
        Err(_) => "it cannot be looked at",
    };
    what.to_owned()
}
