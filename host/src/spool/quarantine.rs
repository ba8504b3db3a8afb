//! The quarantine: messages that were accepted and wait for the operator. They are as durable as those of the queue, and
//! nobody delivers them until they are released. Nothing that lies in the directory stops anything: what is none of the
//! spool's, or is damaged, is shown as what it is and left alone.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::open_regular;
use super::scan::{self, Kind};
use super::stored::{self, LoadError, Stored};
use super::{Envelope, Inner, MessageId, Progress, Spool, blocking, moves};

/// One entry of the quarantine.
#[derive(Debug)]
pub struct Aside {
    /// The name of its file.
    pub name: String,
    /// Its envelope and the octets of its content, or what is wrong with it.
    pub message: Result<(Box<Envelope>, u64), LoadError>,
}

/// A part of the quarantine, by name.
#[derive(Debug)]
pub struct Shelf {
    /// The entries, in order of their names.
    pub entries: Vec<Aside>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// An order about a message in quarantine was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// There is no such message.
    #[error("no message of this id is in quarantine")]
    Unknown,
    /// It is not to be read.
    #[error("the message in quarantine cannot be used")]
    Unusable(#[source] LoadError),
    /// There is one of its id in the queue.
    #[error("a message of this id is in the queue already")]
    Queued,
    /// The disk failed.
    #[error("the spool failed")]
    Io(#[from] io::Error),
}

impl Spool {
    /// How many messages are in quarantine now.
    pub fn quarantined(&self) -> u64 {
        u64::try_from(self.0.quarantined.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The entries behind `after`, at most `count`. Their content is not looked at.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn shelf(&self, after: Option<String>, count: usize) -> io::Result<Shelf> {
        let inner = Arc::clone(&self.0);
        blocking(move || shelf(&inner, after.as_deref(), count)).await
    }

    /// Reads and verifies a message in quarantine; a damaged one stays where it is.
    ///
    /// # Errors
    /// It is not there, or cannot be used.
    pub async fn load_aside(&self, id: &MessageId) -> Result<Stored, QuarantineError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        spawn(move || load(&inner, &id)).await
    }

    /// Reads a message in quarantine without a look at its content: for whoever had it verified just before.
    ///
    /// # Errors
    /// It is not there, or cannot be used.
    pub async fn open_aside(&self, id: &MessageId) -> Result<Stored, QuarantineError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        spawn(move || read(&inner, &id, stored::peek)).await
    }

    /// Moves a message into the queue, durably, and tells who delivers.
    ///
    /// # Errors
    /// It stays in quarantine, unless the disk failed: then it may be in the queue after a restart.
    pub async fn release(&self, id: &MessageId) -> Result<(), QuarantineError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        spawn(move || moves::release(&inner, id)).await
    }

    /// Removes a message from the quarantine for good, be it damaged or not.
    ///
    /// # Errors
    /// It is not there, or could not be removed.
    pub async fn delete(&self, id: &MessageId) -> Result<(), QuarantineError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        spawn(move || delete(&inner, &id)).await
    }
}

fn shelf(spool: &Inner, after: Option<&str>, count: usize) -> io::Result<Shelf> {
    // Of the smallest names behind it only so many are kept while the directory is read through.
    let mut names = std::collections::BTreeMap::new();
    let mut more = false;
    for entry in fs::read_dir(&spool.quarantine)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if after.is_some_and(|after| *name <= *after) {
            continue;
        }
        let kind = scan::kind(&entry);
        // The log of a message is shown as a part of it.
        if matches!(kind, Kind::Gone | Kind::Log(_)) {
            continue;
        }
        names.insert(name, kind);
        if names.len() > count {
            names.pop_last();
            more = true;
        }
    }
    let look = |(name, kind)| {
        let message = match kind {
            Kind::Message(id) => look(spool, &id),
            Kind::Log(_) | Kind::Gone | Kind::Foreign => Err(LoadError::Foreign),
        };
        Aside { name, message }
    };
    Ok(Shelf { entries: names.into_iter().map(look).collect(), more })
}

fn look(spool: &Inner, id: &MessageId) -> Result<(Box<Envelope>, u64), LoadError> {
    let file = open_regular(&spool.quarantine_path(id))?.ok_or(LoadError::Foreign)?;
    let (envelope, content) = stored::peek(&file, id)?;
    let progress = stored::read_progress(&spool.quarantine_log_path(id), id, envelope.recipients.len())?;
    Ok((Box::new(told(envelope, &progress)), content))
}

/// The envelope with the reason that its message is there for, be it in the envelope or in the log.
fn told(envelope: Envelope, progress: &Progress) -> Envelope {
    Envelope { quarantined: progress.aside.clone().or(envelope.quarantined), ..envelope }
}

pub(super) fn load(spool: &Inner, id: &MessageId) -> Result<Stored, QuarantineError> {
    read(spool, id, stored::verify)
}

fn read(
    spool: &Inner,
    id: &MessageId,
    judge: impl FnOnce(&fs::File, &MessageId) -> Result<(Envelope, u64), LoadError>,
) -> Result<Stored, QuarantineError> {
    let file = match open_regular(&spool.quarantine_path(id)) {
        Ok(Some(file)) => Arc::new(file),
        Ok(None) => return Err(QuarantineError::Unusable(LoadError::Foreign)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(QuarantineError::Unknown),
        Err(error) => return Err(error.into()),
    };
    let (envelope, content) = judge(&file, id).map_err(QuarantineError::Unusable)?;
    let progress = stored::read_progress(&spool.quarantine_log_path(id), id, envelope.recipients.len())?;
    Ok(stored::stored(file, told(envelope, &progress), content, progress))
}

fn delete(spool: &Inner, id: &MessageId) -> Result<(), QuarantineError> {
    let _one_at_a_time = spool.shelving();
    let path = spool.quarantine_path(id);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(QuarantineError::Unusable(LoadError::Foreign)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(QuarantineError::Unknown),
        Err(error) => return Err(error.into()),
    }
    match spool.disk.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(QuarantineError::Unknown),
        removed => removed?,
    }
    spool.quarantined.fetch_sub(1, Ordering::Relaxed);
    spool.quarantine_sync.sync(&*spool.disk)?;
    moves::forget(spool, &spool.quarantine_log_path(id));
    Ok(())
}

async fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QuarantineError> + Send + 'static,
) -> Result<T, QuarantineError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}
