//! Between queue and quarantine: a message and its log on their way, one directory to the other.
//!
//! Both have their names in both directories until the new ones are durable, so that a power cut never leaves a message
//! without a name, nor in the queue without the log that says who was served. Where it went is said by the log: what was
//! broken off is finished at the next start, from where it began to where it was going.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::open_regular;
use super::quarantine::{QuarantineError, load};
use super::scan::{self, Kind};
use super::stored;
use super::{Inner, LoadError, MessageId, Quarantined, Record, Spool};

impl Spool {
    /// Moves a message from the queue into the quarantine, durably, with what became of it so far: the operator sees it
    /// there with this reason, and once released it goes on where it stopped, with no crash counted.
    ///
    /// # Errors
    /// It stays in the queue, unless the disk failed: then it may be in quarantine after a restart.
    pub async fn set_aside(&self, id: &MessageId, reason: &str) -> Result<(), LoadError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        let why =
            Quarantined { extension: String::new(), reason: super::one_line(reason), hook: "delivery".to_owned() };
        tokio::task::spawn_blocking(move || set_aside(&inner, &id, why))
            .await
            .unwrap_or_else(|error| Err(LoadError::Io(io::Error::other(error))))
    }
}

fn set_aside(spool: &Inner, id: &MessageId, why: Quarantined) -> Result<(), LoadError> {
    let _one_at_a_time = spool.shelving();
    match open_regular(&spool.queue_path(id)) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(LoadError::Foreign),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LoadError::Gone),
        Err(error) => return Err(error.into()),
    }
    spool.record(id, &[Record::Aside(why)])?;
    link(spool, &spool.log_path(id), &spool.quarantine_log_path(id))?;
    link(spool, &spool.queue_path(id), &spool.quarantine_path(id))?;
    spool.quarantine_sync.sync(&*spool.disk)?;
    spool.disk.remove(&spool.queue_path(id))?;
    spool.depth.fetch_sub(1, Ordering::Relaxed);
    spool.quarantined.fetch_add(1, Ordering::Relaxed);
    spool.queue_sync.sync(&*spool.disk)?;
    forget(spool, &spool.log_path(id));
    Ok(())
}

/// Moves a message from the quarantine into the queue, and tells who delivers.
pub(super) fn release(spool: &Inner, id: MessageId) -> Result<(), QuarantineError> {
    let _one_at_a_time = spool.shelving();
    load(spool, &id)?;
    let (path, target) = (spool.quarantine_path(&id), spool.queue_path(&id));
    let (log, target_log) = (spool.quarantine_log_path(&id), spool.log_path(&id));
    let known = exists(&log)?;
    match fs::symlink_metadata(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => return Err(QuarantineError::Queued),
        Err(error) => return Err(error.into()),
    }
    if known {
        spool.record_in(&log, &spool.quarantine_sync, &id, &[Record::Released])?;
        link(spool, &log, &target_log)?;
    } else {
        spool.require_unused(std::slice::from_ref(&target_log))?;
    }
    match spool.disk.link(&path, &target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(QuarantineError::Unknown),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(QuarantineError::Queued),
        linked => linked?,
    }
    if let Err(error) = spool.queue_sync.sync(&*spool.disk) {
        // Not released, and so not to be delivered. Where even that fails, the next start finishes it.
        let _ = spool.disk.remove(&target);
        if known {
            forget(spool, &target_log);
        }
        return Err(error.into());
    }
    // Counted before it can be delivered.
    spool.depth.fetch_add(1, Ordering::Relaxed);
    let removed = spool.disk.remove(&path);
    spool.announcer.announce(id);
    removed?;
    spool.quarantined.fetch_sub(1, Ordering::Relaxed);
    spool.quarantine_sync.sync(&*spool.disk)?;
    if known {
        forget(spool, &log);
    }
    Ok(())
}

/// Finishes what a crash broke off: what lies in both places goes where it was going.
pub(super) fn finish(spool: &Inner) -> io::Result<()> {
    for entry in fs::read_dir(&spool.quarantine)? {
        let entry = entry?;
        let done = match scan::kind(&entry) {
            Kind::Message(id) if same(&spool.queue_path(&id), &entry.path()) => finish_one(spool, &id),
            // Its message was released, or deleted, before it.
            Kind::Log(id) if !exists(&spool.quarantine_path(&id)).unwrap_or(true) => spool.disk.remove(&entry.path()),
            _ => Ok(()),
        };
        if let Err(error) = done {
            let (name, error) = (entry.file_name(), error.to_string());
            let name = name.to_string_lossy();
            tracing::warn!(name = &*name, error = error.as_str(), "move from or to the quarantine cannot be finished");
        }
    }
    Ok(())
}

fn finish_one(spool: &Inner, id: &MessageId) -> io::Result<()> {
    let (log, aside_log) = (spool.log_path(id), spool.quarantine_log_path(id));
    let known = if exists(&aside_log)? { Some(&aside_log) } else { exists(&log)?.then_some(&log) };
    let aside = match known {
        Some(path) => stored::read_progress(path, id, 0)?.aside.is_some(),
        None => false,
    };
    if aside {
        link(spool, &log, &aside_log)?;
        spool.quarantine_sync.sync(&*spool.disk)?;
        spool.disk.remove(&spool.queue_path(id))?;
        spool.queue_sync.sync(&*spool.disk)?;
        forget(spool, &log);
        return Ok(());
    }
    if known.is_some() {
        link(spool, &aside_log, &log)?;
    }
    spool.queue_sync.sync(&*spool.disk)?;
    spool.disk.remove(&spool.quarantine_path(id))?;
    spool.quarantine_sync.sync(&*spool.disk)?;
    forget(spool, &aside_log);
    Ok(())
}

/// Gives a file its second name, if it does not have that already from a move that broke off. Nothing to name is no error:
/// then it has only the other.
fn link(spool: &Inner, from: &Path, to: &Path) -> io::Result<()> {
    match spool.disk.link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && same(from, to) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && exists(to)? => Ok(()),
        linked => linked,
    }
}

/// Removes the log that a message left where it no longer is. If that fails, the next start does it.
pub(super) fn forget(spool: &Inner, log: &Path) {
    match spool.disk.remove(log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let (path, error) = (log.to_string_lossy(), error.to_string());
            tracing::warn!(path = &*path, error = error.as_str(), "log of a moved message is left");
        }
        _ => {}
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok();
    file(one).is_some_and(|found| Some(found) == file(other))
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
