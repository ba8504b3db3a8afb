//! The spool: messages that were accepted and are not yet delivered, one file each, durable before the client reads 250.
//!
//! A [`Draft`] takes the octets as they come; [`Draft::commit`] ends it: written, fsynced, renamed into the queue, and the
//! queue's directory fsynced. Only then may 250 be said. What follows is at-least-once: [`Spool::load`] verifies a message
//! and hands it to whoever delivers, [`Spool::record`] keeps what became of it, [`Spool::remove`] ends it.
//!
//! ```text
//! STATE/lock                 held as long as the server runs; its pid inside
//! STATE/spool/incoming/ID.tmp   being written; never acknowledged, so removed at every start
//! STATE/spool/queue/ID          accepted: the format of `format`
//! STATE/spool/queue/ID.log      what became of it: the format of `journal`
//! STATE/spool/quarantine/ID     accepted and kept aside until the operator releases or deletes it: the same format
//! STATE/spool/quarantine/ID.log what became of it before
//! STATE/in-hand              what somebody works on: see `in_hand`
//! STATE/spool/corrupt/ID        damaged, kept for a human to look at
//! ```
//!
//! One file per message, because one damaged record then harms one message; the queue is a plain directory, so it can be
//! listed, backed up and restored with the tools at hand. An id is never used twice, and a file that would take the place
//! of another is refused. An operation that failed is never tried again on the same file: after a failed fsync the kernel
//! calls the lost pages clean.
//!
//! The room knows nothing of sessions, routes and retries, nor what a message means: content is octets.

mod arrivals;
mod directory;
mod disk;
mod draft;
mod envelope;
mod faults;
mod format;
mod id;
mod in_hand;
mod journal;
mod ledger;
mod moves;
mod open;
mod outcome;
mod quarantine;
mod reserve;
mod scan;
mod stored;

pub use arrivals::{Arrival, Arrivals};
pub use draft::{Draft, SpoolError};
pub use envelope::{Envelope, Quarantined, Recipient};
pub use faults::Fault;
pub use id::{InvalidId, MessageId};
pub use in_hand::InHand;
pub use journal::{Attempt, Ended, Progress, Record, Standing};
pub use open::{OpenError, exposed};
pub use outcome::{Duty, Failure, Outcome, Reach, Receipt, TEXT_MAX, numbers, one_line};
pub use quarantine::{Aside, QuarantineError, Shelf};
pub use reserve::{NoRoom, Room};
pub use scan::Queued;
pub use stored::{Content, LoadError, Stored};

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrivals::Announcer;
use directory::DirectorySync;
use disk::SpoolIo;
use in_hand::Marks;
use ledger::Ledger;
use reserve::Gate;

/// The spool of one state directory, which it holds locked. Clones share it.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

impl Spool {
    /// Opens the spool below `state_dir`, making what is not there, and takes the state directory for this process.
    ///
    /// What a killed server left half-written is removed. Nothing that lies in the queue makes this fail.
    ///
    /// # Errors
    /// Another server holds the directory, or it cannot be made, read or written.
    pub fn open(state_dir: &Path) -> Result<Spool, OpenError> {
        open::open(state_dir, Arc::new(disk::FileSystem)).map(|inner| Spool(Arc::new(inner)))
    }

    /// Begins a message. No I/O yet.
    pub fn begin(&self, id: MessageId) -> Draft {
        Draft::new(Arc::clone(&self.0), id)
    }

    /// The messages of the queue, in no order, read from the directory as the iterator goes. Blocking.
    ///
    /// Names that are none of the spool's are passed over, and counted for [`Spool::foreign`].
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn queued(&self) -> io::Result<Queued> {
        Queued::new(Arc::clone(&self.0))
    }

    /// Reads and verifies a message, in bounded memory.
    ///
    /// # Errors
    /// [`LoadError`] says what became of the file.
    pub async fn load(&self, id: &MessageId) -> Result<Stored, LoadError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        tokio::task::spawn_blocking(move || stored::load(&inner, id))
            .await
            .unwrap_or_else(|error| Err(LoadError::Io(io::Error::other(error))))
    }

    /// Opens a message without looking at its content: what the envelope and the log say.
    ///
    /// # Errors
    /// [`LoadError`]; a damaged message is left where it is.
    pub async fn peek(&self, id: &MessageId) -> Result<Stored, LoadError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        tokio::task::spawn_blocking(move || stored::open(&inner, &id))
            .await
            .unwrap_or_else(|error| Err(LoadError::Io(io::Error::other(error))))
    }

    /// Records what became of a message; durably, if what follows relies on any of it. What the log says already need not
    /// be said again: a recipient that was deferred for the same reason as before is none of the `records`.
    ///
    /// # Errors
    /// It could not be recorded; a recipient may be served again.
    pub async fn record(&self, id: &MessageId, records: Vec<Record>) -> io::Result<()> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.record(&id, &records)).await
    }

    /// Ends a message: it is gone from the queue. One that is not there is no error.
    ///
    /// # Errors
    /// It could not be removed; it will be found again.
    pub async fn remove(&self, id: &MessageId) -> io::Result<()> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.remove(&id)).await
    }

    /// The stream of messages as they are committed; there is one, for the first who asks.
    pub fn arrivals(&self) -> Option<Arrivals> {
        self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many messages are in the queue now.
    pub fn depth(&self) -> u64 {
        u64::try_from(self.0.depth.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// How many entries of the queue directory were no message, when it was last read through.
    pub fn foreign(&self) -> u64 {
        self.0.foreign.load(Ordering::Relaxed)
    }

    /// How many damaged messages lie in `corrupt/`, counted at the start and as they are set aside.
    pub fn damaged(&self) -> u64 {
        self.0.damaged.load(Ordering::Relaxed)
    }
}

/// What all clones and drafts share.
#[derive(Debug)]
struct Inner {
    disk: Arc<dyn SpoolIo>,
    incoming: PathBuf,
    queue: PathBuf,
    corrupt: PathBuf,
    quarantine: PathBuf,
    queue_sync: DirectorySync,
    quarantine_sync: DirectorySync,
    announcer: Announcer,
    arrivals: Mutex<Option<Arrivals>>,
    /// Signed, because a message may be delivered and removed before its commit returns.
    depth: AtomicI64,
    foreign: AtomicU64,
    damaged: AtomicU64,
    /// Signed, because a message may be released before its commit returns.
    quarantined: AtomicI64,
    /// Held by whoever takes a message out of the quarantine.
    shelving: Mutex<()>,
    gate: Gate,
    ledger: Ledger,
    in_hand: Marks,
    suspects: Vec<MessageId>,
    /// Open means locked.
    _lock: File,
}

impl Inner {
    fn shelving(&self) -> MutexGuard<'_, ()> {
        self.shelving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message goes first, and durably: a log without a message is litter, while a message that a power cut brings back
    /// is delivered, deleted or bounced twice, and one that comes back without its log to everybody.
    fn remove(&self, id: &MessageId) -> io::Result<()> {
        match self.disk.remove(&self.queue_path(id)) {
            Ok(()) => {
                self.depth.fetch_sub(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.ledger.forget(id);
        if let Err(error) = self.queue_sync.sync(&*self.disk) {
            let error = error.to_string();
            tracing::warn!(id = id.as_str(), error = error.as_str(), "removal of a message may not be durable");
            return Ok(());
        }
        match self.disk.remove(&self.log_path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = error.to_string();
                tracing::warn!(id = id.as_str(), error = error.as_str(), "log of a removed message is left");
            }
            _ => {}
        }
        Ok(())
    }

    /// Fails where one of these names is taken.
    fn require_unused(&self, paths: &[PathBuf]) -> io::Result<()> {
        for path in paths {
            match std::fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the id is in use")),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A second draft of one id has a name that is no id's.
    fn incoming_path(&self, id: &MessageId, second: bool) -> PathBuf {
        self.incoming.join(format!("{id}{}{INCOMING_SUFFIX}", if second { "~" } else { "" }))
    }

    fn quarantine_path(&self, id: &MessageId) -> PathBuf {
        self.quarantine.join(id.as_str())
    }

    fn quarantine_log_path(&self, id: &MessageId) -> PathBuf {
        self.quarantine.join(format!("{id}{LOG_SUFFIX}"))
    }

    fn queue_path(&self, id: &MessageId) -> PathBuf {
        self.queue.join(id.as_str())
    }

    fn log_path(&self, id: &MessageId) -> PathBuf {
        self.queue.join(format!("{id}{LOG_SUFFIX}"))
    }
}

/// Runs file work where it may block, so that a slow disk never holds the sessions' threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

const INCOMING_SUFFIX: &str = ".tmp";
const LOG_SUFFIX: &str = ".log";

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
