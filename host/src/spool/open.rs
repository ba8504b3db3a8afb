//! Opening the spool: directories, lock, and what a killed server left.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};

use rustix::fs::{Access, OFlags, access};

use super::arrivals::Announcer;
use super::directory::DirectorySync;
use super::disk::SpoolIo;
use super::in_hand::{self, Marks};
use super::ledger::Ledger;
use super::moves;
use super::reserve::Gate;
use super::scan::{self, Kind};
use super::{INCOMING_SUFFIX, Inner, MessageId};

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server holds the state directory.
    #[error("the state directory {} is in use by {}", path.display(), owner(*pid))]
    Busy {
        /// The state directory.
        path: PathBuf,
        /// The other server, if it left its number.
        pid: Option<u32>,
    },
    /// A directory or the lock file could not be made, read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `make`, `lock`, `sync`, `read`, `write to`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Opens the spool on a given disk.
pub(super) fn open(state_dir: &Path, disk: Arc<dyn SpoolIo>) -> Result<Inner, OpenError> {
    make_directory(state_dir, &*disk).map_err(failed("make", state_dir))?;
    let lock = lock(state_dir)?;
    let spool = state_dir.join("spool");
    let [incoming, queue, corrupt, quarantine] =
        ["incoming", "queue", "corrupt", "quarantine"].map(|name| spool.join(name));
    for directory in [&spool, &incoming, &queue, &corrupt, &quarantine] {
        make_directory(directory, &*disk).map_err(failed("make", directory))?;
        // Told at the start rather than at the first message. A full disk is no reason not to start: what lies in the
        // queue can still be delivered.
        let rights = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        access(directory, rights).map_err(io::Error::from).map_err(failed("write to", directory))?;
    }
    // In any case: they may have been made by a start that was killed before it came to this.
    for directory in [&spool, state_dir] {
        disk.sync_directory(directory).map_err(failed("sync", directory))?;
    }
    remove_unfinished(&incoming, &*disk).map_err(failed("read", &incoming))?;
    let (announcer, arrivals) = Announcer::new(ARRIVALS);
    let mut inner = Inner {
        disk,
        gate: Gate::default(),
        ledger: Ledger::default(),
        in_hand: Marks::new(state_dir, &incoming),
        suspects: Vec::new(),
        queue_sync: DirectorySync::new(queue.clone()),
        quarantine_sync: DirectorySync::new(quarantine.clone()),
        incoming,
        queue,
        corrupt,
        quarantine,
        announcer,
        arrivals: Mutex::new(Some(arrivals)),
        depth: AtomicI64::default(),
        foreign: AtomicU64::default(),
        damaged: AtomicU64::default(),
        quarantined: AtomicI64::default(),
        shelving: Mutex::new(()),
        _lock: lock,
    };
    moves::finish(&inner).map_err(failed("read", &inner.quarantine))?;
    let census = take_census(&inner.queue, &*inner.disk).map_err(failed("read", &inner.queue))?;
    *inner.depth.get_mut() = census.messages;
    *inner.foreign.get_mut() = census.foreign;
    *inner.damaged.get_mut() = count_messages(&inner.corrupt).map_err(failed("read", &inner.corrupt))?;
    let quarantined = count_messages(&inner.quarantine).map_err(failed("read", &inner.quarantine))?;
    *inner.quarantined.get_mut() = i64::try_from(quarantined).unwrap_or(i64::MAX);
    inner.suspects = in_hand::recover(&inner);
    Ok(inner)
}

/// The mode of a state directory that anybody may write in. What lies there is for this user alone, but whoever can rename
/// can put a spool or a control socket of their own in its place. A group is somebody's decision.
pub fn exposed(state_dir: &Path) -> Option<u32> {
    let mode = fs::metadata(state_dir).ok()?.permissions().mode() & 0o7777;
    (mode & 0o002 != 0).then_some(mode)
}

/// Makes a directory for this user alone, its parents in the usual way, each durable in its parent.
fn make_directory(path: &Path, disk: &dyn SpoolIo) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    make_parents(parent, disk)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        _ => {}
    }
    disk.sync_directory(path)?;
    disk.sync_directory(parent)
}

fn make_parents(path: &Path, disk: &dyn SpoolIo) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk.sync_directory(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Takes the state directory. The kernel lets go when the process ends, however it ends.
fn lock(state_dir: &Path) -> Result<File, OpenError> {
    let path = state_dir.join("lock");
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path)
        .map_err(failed("lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Busy { path: state_dir.to_owned(), pid: read_pid(&file) });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    // The number is for people; a full disk must not keep the server from delivering.
    let written = file.set_len(0).and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
    if let Err(error) = written {
        let error = error.to_string();
        tracing::warn!(error = error.as_str(), "process number cannot be written into the lock file");
    }
    Ok(file)
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Nothing in `incoming/` was ever acknowledged.
fn remove_unfinished(incoming: &Path, disk: &dyn SpoolIo) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(INCOMING_SUFFIX) {
            remove_litter(disk, &path);
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Census {
    messages: i64,
    foreign: u64,
}

/// Counts the queue, and removes the logs of messages that are gone.
fn take_census(queue: &Path, disk: &dyn SpoolIo) -> io::Result<Census> {
    let mut census = Census::default();
    for entry in fs::read_dir(queue)? {
        let entry = entry?;
        match scan::kind(&entry) {
            Kind::Message(_) => census.messages += 1,
            Kind::Log(id) if is_missing(queue, &id) => remove_litter(disk, &entry.path()),
            Kind::Log(_) | Kind::Gone => {}
            Kind::Foreign => census.foreign += 1,
        }
    }
    Ok(census)
}

fn is_missing(queue: &Path, id: &MessageId) -> bool {
    fs::symlink_metadata(queue.join(id.as_str())).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn count_messages(corrupt: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(corrupt)? {
        count += u64::from(matches!(scan::kind(&entry?), Kind::Message(_)));
    }
    Ok(count)
}

fn remove_litter(disk: &dyn SpoolIo, path: &Path) {
    if let Err(error) = disk.remove(path) {
        let (path, error) = (path.to_string_lossy(), error.to_string());
        tracing::warn!(path = &*path, error = error.as_str(), "leftover cannot be removed");
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Ids that wait for the one who delivers; beyond, it looks through the queue instead.
const ARRIVALS: usize = 1024;
