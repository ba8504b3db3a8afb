//! The few things the spool does to the file system, behind a trait: the seam at which tests make any of them fail, stop
//! or lie.
//!
//! Only what changes the disk passes here, and how much of it is free; reading does not.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// What changes the disk. Every call blocks.
pub(super) trait SpoolIo: fmt::Debug + Send + Sync {
    /// Makes a file that is not there yet, readable by nobody else.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Opens a file to write at its end, making it if need be.
    fn append(&self, path: &Path) -> io::Result<File>;
    /// Writes some of `bytes` and says how many.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;
    /// fsync.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// fdatasync.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Renames a file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, if that is free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// What is free where `path` lies.
    fn free(&self, path: &Path) -> io::Result<Free>;
    /// Unlinks a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// How much of a file system is free to this user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Free {
    /// Octets that may yet be written; none where nothing may.
    pub octets: u64,
    /// Octets of the whole file system.
    pub of_octets: u64,
    /// Files that may yet be made; none where nothing may.
    pub inodes: u64,
    /// Files that the whole file system can hold; none where it does not count them.
    pub of_inodes: u64,
}

/// The real one.
#[derive(Debug)]
pub(super) struct FileSystem;

impl SpoolIo for FileSystem {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    fn append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow()).open(path)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Opened by name each time: a descriptor kept from the start would go on syncing a directory that was moved away.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn free(&self, path: &Path) -> io::Result<Free> {
        let found = rustix::fs::statvfs(path)?;
        let writable = !found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        let free = |free: u64| if writable { free } else { 0 };
        Ok(Free {
            octets: free(found.f_bavail.saturating_mul(found.f_frsize)),
            of_octets: found.f_blocks.saturating_mul(found.f_frsize),
            inodes: free(found.f_favail),
            of_inodes: found.f_files,
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Writes all of `bytes`, over as many writes as the system takes.
pub(super) fn write_all(disk: &dyn SpoolIo, file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens a file to read, if it is one: no symbolic link is followed, and no FIFO waited for.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    // Looked at again once open: the name may have changed hands in between.
    let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn no_follow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default()
}
