//! Reading the queue through.

use std::fs::{self, ReadDir};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Inner, LOG_SUFFIX, MessageId};

/// The messages of the queue; see [`super::Spool::queued`]. One entry in memory at a time.
#[derive(Debug)]
pub struct Queued {
    entries: ReadDir,
    inner: Arc<Inner>,
    foreign: u64,
}

impl Queued {
    pub(super) fn new(inner: Arc<Inner>) -> io::Result<Queued> {
        Ok(Queued { entries: fs::read_dir(&inner.queue)?, inner, foreign: 0 })
    }
}

impl Iterator for Queued {
    type Item = MessageId;

    fn next(&mut self) -> Option<MessageId> {
        for entry in self.entries.by_ref() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(error = error.as_str(), "queue cannot be read to its end");
                    break;
                }
            };
            match kind(&entry) {
                Kind::Message(id) => return Some(id),
                Kind::Log(_) | Kind::Gone => {}
                Kind::Foreign => self.foreign += 1,
            }
        }
        self.inner.foreign.store(self.foreign, Ordering::Relaxed);
        None
    }
}

/// What an entry of the queue directory is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message, by its name and as a regular file.
    Message(MessageId),
    /// The log of this message.
    Log(MessageId),
    /// Removed since it was listed.
    Gone,
    /// None of the spool's.
    Foreign,
}

/// Looks at an entry, without following it.
pub(super) fn kind(entry: &fs::DirEntry) -> Kind {
    match entry.file_type() {
        Ok(kind) if kind.is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Kind::Gone,
        Ok(_) | Err(_) => return Kind::Foreign,
    }
    let name = entry.file_name();
    let Some(name) = name.to_str() else { return Kind::Foreign };
    match (name.strip_suffix(LOG_SUFFIX), name.parse()) {
        (Some(id), _) => id.parse().map_or(Kind::Foreign, Kind::Log),
        (None, Ok(id)) => Kind::Message(id),
        (None, Err(_)) => Kind::Foreign,
    }
}
