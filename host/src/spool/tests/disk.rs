//! A disk that does what it is told, fails when it is told, and remembers everything.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::super::disk::{FileSystem, Free, SpoolIo};

/// What was done to the disk, with a number for each file that was ever made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Create { path: PathBuf, file: u64 },
    Write { file: u64, octets: Vec<u8> },
    Sync { file: u64 },
    SyncDirectory { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Link { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

#[derive(Debug, Default)]
struct State {
    begun: usize,
    fail: HashMap<usize, i32>,
    killed_at: Option<usize>,
    longest_write: Option<usize>,
    /// A directory sync waits until so many renames were made.
    renames_awaited: usize,
    renames: usize,
    free: Option<Result<Free, i32>>,
    /// By inode, which may be used again.
    files: HashMap<u64, u64>,
    events: Vec<Event>,
    failed: Vec<&'static str>,
}

/// Wraps the real file system.
#[derive(Debug, Default)]
pub struct TestDisk {
    state: Mutex<State>,
    renamed: Condvar,
}

impl TestDisk {
    /// Makes the n-th operation from now fail with this errno, once.
    pub fn fail(&self, nth: usize, errno: i32) {
        let mut state = self.state.lock().unwrap();
        let at = state.begun + nth;
        state.fail.insert(at, errno);
    }

    /// Lets so many operations happen from now, and then nothing ever again.
    pub fn kill_after(&self, operations: usize) {
        let mut state = self.state.lock().unwrap();
        state.killed_at = Some(state.begun + operations);
    }

    /// Lets a write take so many octets at most.
    pub fn limit_writes(&self, octets: usize) {
        self.state.lock().unwrap().longest_write = Some(octets);
    }

    /// Makes each directory sync wait for so many renames.
    pub fn await_renames(&self, renames: usize) {
        self.state.lock().unwrap().renames_awaited = renames;
    }

    /// So much is free from now, or it cannot be told.
    pub fn set_free(&self, free: Result<Free, i32>) {
        self.state.lock().unwrap().free = Some(free);
    }

    /// What was done, without what failed.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    /// The operations that failed as they were told, by name.
    pub fn failed(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().failed.clone()
    }

    fn begin(&self, name: &'static str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let now = state.begun;
        if state.killed_at.is_some_and(|at| now >= at) {
            return Err(io::Error::other("killed"));
        }
        state.begun += 1;
        match state.fail.remove(&now) {
            Some(errno) => {
                state.failed.push(name);
                Err(io::Error::from_raw_os_error(errno))
            }
            None => Ok(()),
        }
    }

    fn made(&self, path: &Path, file: &File) {
        let mut state = self.state.lock().unwrap();
        let number = state.events.len() as u64;
        state.files.insert(file.metadata().unwrap().ino(), number);
        state.events.push(Event::Create { path: path.to_owned(), file: number });
    }

    fn number(&self, file: &File) -> u64 {
        self.state.lock().unwrap().files[&file.metadata().unwrap().ino()]
    }

    fn done(&self, event: Event) {
        self.state.lock().unwrap().events.push(event);
    }
}

impl SpoolIo for TestDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.begin("create")?;
        let file = FileSystem.create(path)?;
        self.made(path, &file);
        Ok(file)
    }

    fn append(&self, path: &Path) -> io::Result<File> {
        self.begin("append")?;
        let there = path.exists();
        let file = FileSystem.append(path)?;
        if !there {
            self.made(path, &file);
        }
        Ok(file)
    }

    fn write(&self, file: &File, octets: &[u8]) -> io::Result<usize> {
        self.begin("write")?;
        let longest = self.state.lock().unwrap().longest_write.unwrap_or(usize::MAX);
        let written = FileSystem.write(file, &octets[..octets.len().min(longest)])?;
        self.done(Event::Write { file: self.number(file), octets: octets[..written].to_vec() });
        Ok(written)
    }

    /// The tests see order and outcome; the real fsync would only make them slow.
    fn sync(&self, file: &File) -> io::Result<()> {
        self.begin("sync")?;
        self.done(Event::Sync { file: self.number(file) });
        Ok(())
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.sync(file)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.begin("sync directory")?;
        let state = self.state.lock().unwrap();
        let awaiting = |state: &mut State| state.renames < state.renames_awaited;
        let (state, waited) = self.renamed.wait_timeout_while(state, Duration::from_secs(30), awaiting).unwrap();
        drop(state);
        assert!(!waited.timed_out(), "the renames that were to come did not");
        self.done(Event::SyncDirectory { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin("rename")?;
        FileSystem.rename(from, to)?;
        self.done(Event::Rename { from: from.to_owned(), to: to.to_owned() });
        self.state.lock().unwrap().renames += 1;
        self.renamed.notify_all();
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin("link")?;
        FileSystem.link(from, to)?;
        self.done(Event::Link { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn free(&self, path: &Path) -> io::Result<Free> {
        let told = self.state.lock().unwrap().free;
        told.map_or_else(|| FileSystem.free(path), |told| told.map_err(io::Error::from_raw_os_error))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin("remove")?;
        FileSystem.remove(path)?;
        self.done(Event::Remove { path: path.to_owned() });
        Ok(())
    }
}
