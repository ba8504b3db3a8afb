//! Writing logs: appended to, durable where that matters, and written anew where one has grown or can no longer be
//! trusted to be on the disk.
//!
//! A log is written anew beside, fsynced and renamed over the old one, so at any time one of both is there whole. That is
//! done each time it grows by [`PIECE`], and after an error: what was not synced then may be in memory alone, and to sync
//! the same file again would be told that all is well.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::directory::DirectorySync;
use super::disk::{open_regular, write_all};
use super::{INCOMING_SUFFIX, Inner, LOG_SUFFIX, MessageId, Record, journal};

/// Who writes which log.
#[derive(Debug)]
pub(super) struct Ledger {
    /// One writer for each log: what is appended while it is written anew would be lost. Few locks for many logs.
    pens: Vec<Mutex<()>>,
    by: RandomState,
    /// Logs whose last write failed, or whose name may not be durable.
    doubtful: Mutex<HashSet<MessageId>>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            pens: (0..PENS).map(|_| Mutex::default()).collect(),
            by: RandomState::new(),
            doubtful: Mutex::default(),
        }
    }
}

impl Ledger {
    fn pen(&self, id: &MessageId) -> Option<MutexGuard<'_, ()>> {
        let at = usize::try_from(self.by.hash_one(id)).unwrap_or_default() % PENS;
        self.pens.get(at).map(|pen| pen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<MessageId>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is gone.
    pub(super) fn forget(&self, id: &MessageId) {
        self.doubtful().remove(id);
    }
}

impl Inner {
    /// Records in the log of the queue.
    pub(super) fn record(&self, id: &MessageId, records: &[Record]) -> io::Result<()> {
        self.record_in(&self.log_path(id), &self.queue_sync, id, records)
    }

    /// Records in the log at `path`, whose directory `directory` syncs.
    pub(super) fn record_in(
        &self,
        path: &Path,
        directory: &DirectorySync,
        id: &MessageId,
        records: &[Record],
    ) -> io::Result<()> {
        let _alone = self.ledger.pen(id);
        let lines: String = records.iter().map(|record| record.line(id)).collect();
        if self.ledger.doubtful().contains(id) {
            let fresh = self.written_anew(path, id, &lines)?;
            self.put_in_place(&fresh, path, directory)?;
            self.ledger.forget(id);
            return Ok(());
        }
        let log = self.disk.append(path)?;
        let size = log.metadata()?.len();
        let end = size.saturating_add(lines.len() as u64);
        // Where there is no room for another it grows on.
        if end / PIECE > size / PIECE
            && let Ok(fresh) = self.written_anew(path, id, &lines)
        {
            return self.sure(id, self.put_in_place(&fresh, path, directory));
        }
        let written = write_all(&*self.disk, &log, lines.as_bytes()).and_then(|()| {
            if records.iter().any(Record::is_relied_on) {
                self.disk.sync_data(&log)?;
            }
            // A later record is in a file whose name must be durable, too, and will not see that this one made it.
            if size == 0 { directory.sync(&*self.disk) } else { Ok(()) }
        });
        self.sure(id, written)
    }

    fn sure(&self, id: &MessageId, written: io::Result<()>) -> io::Result<()> {
        if written.is_err() {
            self.ledger.doubtful().insert(id.clone());
        }
        written
    }

    /// What the log says, and these lines, in a file of their own.
    fn written_anew(&self, path: &Path, id: &MessageId, lines: &str) -> io::Result<PathBuf> {
        let mut text = match open_regular(path) {
            Ok(Some(log)) => journal::compact(id, BufReader::new(log))?,
            Ok(None) => return Err(io::Error::other("its log is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        text.push_str(lines);
        let fresh = self.incoming.join(format!("{id}{LOG_SUFFIX}{INCOMING_SUFFIX}"));
        let file = match self.disk.create(&fresh) {
            // Left by one that failed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&fresh)?;
                self.disk.create(&fresh)?
            }
            created => created?,
        };
        let written = write_all(&*self.disk, &file, text.as_bytes()).and_then(|()| self.disk.sync(&file));
        if let Err(error) = written {
            let _ = self.disk.remove(&fresh);
            return Err(error);
        }
        Ok(fresh)
    }

    fn put_in_place(&self, fresh: &Path, path: &Path, directory: &DirectorySync) -> io::Result<()> {
        if let Err(error) = self.disk.rename(fresh, path) {
            let _ = self.disk.remove(fresh);
            return Err(error);
        }
        directory.sync(&*self.disk)
    }
}

const PENS: usize = 64;

/// Octets by which a log grows before it is written anew.
pub(super) const PIECE: u64 = 1024 * 1024;
