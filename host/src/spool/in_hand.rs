//! What is in hand: which messages somebody works on, so that the next start knows during which of them a process died.
//!
//! ```text
//! \nboot <id of the system's boot> <check>
//! \nbegin <number> <message id> <check>
//! \nend <number> <check>
//! ```
//!
//! `STATE/in-hand` is appended to and never fsynced: what a killed process wrote is in the page cache, and a power
//! cut is no evidence against a message. That is what the first line tells apart: a file of an earlier boot says nothing.
//! A line begins with the line feed and is checked, so one that was torn does not spoil the next. Once it has grown, the
//! file is written anew with what is in hand then.
//!
//! None of this may keep a message from being delivered: where the file cannot be written, there is no evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{SpoolIo, open_regular, write_all};
use super::journal::check;
use super::{INCOMING_SUFFIX, Inner, LoadError, MessageId, Record, Spool, Stored, blocking, stored};

impl Spool {
    /// Notes that this message is being worked on, until the first of what is returned is dropped, and loads it. If the
    /// process dies before that, the next start finds the message among its [`Spool::suspects`].
    pub async fn begin_attempt(&self, id: &MessageId) -> (InHand, Result<Stored, LoadError>) {
        let (spool, id) = (Arc::clone(&self.0), id.clone());
        let number = spool.in_hand.begun.fetch_add(1, Ordering::Relaxed);
        let begun = blocking(move || {
            spool.in_hand.begin(&*spool.disk, number, id.clone());
            let in_hand = InHand { spool: Arc::clone(&spool), number };
            Ok((in_hand, stored::load(&spool, id)))
        });
        begun.await.unwrap_or_else(|error| (InHand { spool: Arc::clone(&self.0), number }, Err(LoadError::Io(error))))
    }

    /// The messages of the queue that the process before this one had in hand when it died, in order of their ids. For each
    /// of them [`Record::Crashed`] was recorded.
    pub fn suspects(&self) -> Vec<MessageId> {
        self.0.suspects.clone()
    }
}

/// A message is in hand as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, it says that the attempt is over"]
pub struct InHand {
    spool: Arc<Inner>,
    number: u64,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let (spool, number) = (Arc::clone(&self.spool), self.number);
        spool.in_hand.now().remove(&number);
        let work = move || spool.in_hand.end(&*spool.disk, number);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Marks {
    path: PathBuf,
    /// Where it is written anew; removed at a start like all that is left there.
    fresh: PathBuf,
    begun: AtomicU64,
    now: Mutex<BTreeMap<u64, MessageId>>,
    pen: Mutex<Pen>,
}

#[derive(Debug, Default)]
struct Pen {
    file: Option<File>,
    written: u64,
    failing: bool,
}

impl Marks {
    /// Of the spool below `state_dir`. No I/O yet.
    pub(super) fn new(state_dir: &Path, incoming: &Path) -> Marks {
        Marks {
            path: state_dir.join(NAME),
            fresh: incoming.join(format!("{NAME}{INCOMING_SUFFIX}")),
            begun: AtomicU64::new(0),
            now: Mutex::default(),
            pen: Mutex::default(),
        }
    }

    fn now(&self) -> MutexGuard<'_, BTreeMap<u64, MessageId>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, disk: &dyn SpoolIo, number: u64, id: MessageId) {
        let text = line(&format!("begin {number} {id}"));
        let pen = self.write(disk, &text);
        // Whoever writes the file anew has to know of it, or not have written the line away.
        self.now().insert(number, id);
        drop(pen);
    }

    fn end(&self, disk: &dyn SpoolIo, number: u64) {
        drop(self.write(disk, &line(&format!("end {number}"))));
    }

    /// Writes a line, and hands over what nobody else writes with meanwhile.
    fn write(&self, disk: &dyn SpoolIo, text: &str) -> MutexGuard<'_, Pen> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.append(disk, &mut pen, text) {
            Ok(()) => pen.failing = false,
            Err(error) => {
                pen.file = None;
                if !std::mem::replace(&mut pen.failing, true) {
                    let error = error.to_string();
                    tracing::warn!(error = error.as_str(), "what is in hand cannot be noted");
                }
            }
        }
        pen
    }

    fn append(&self, disk: &dyn SpoolIo, pen: &mut Pen, text: &str) -> io::Result<()> {
        if pen.written > GROWN {
            self.renew(disk, pen)?;
        }
        let file = match pen.file.take() {
            Some(file) => file,
            None => {
                let file = disk.append(&self.path)?;
                if !file.metadata()?.is_file() {
                    return Err(io::Error::other("not a regular file"));
                }
                let head = self.head();
                write_all(disk, &file, head.as_bytes())?;
                pen.written = pen.written.saturating_add(head.len() as u64);
                file
            }
        };
        write_all(disk, &file, text.as_bytes())?;
        pen.written = pen.written.saturating_add(text.len() as u64);
        pen.file = Some(file);
        Ok(())
    }

    /// Writes the file anew, with what is in hand.
    fn renew(&self, disk: &dyn SpoolIo, pen: &mut Pen) -> io::Result<()> {
        // Tried once for each so many octets, whatever comes of it.
        pen.written = 0;
        pen.file = None;
        let file = match disk.create(&self.fresh) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(&self.fresh)?;
                disk.create(&self.fresh)?
            }
            created => created?,
        };
        let text = self.head();
        write_all(disk, &file, text.as_bytes())?;
        disk.rename(&self.fresh, &self.path)?;
        // Written at its end like any other.
        pen.file = Some(disk.append(&self.path)?);
        pen.written = text.len() as u64;
        Ok(())
    }

    /// What the file begins with: which boot this is, and what is in hand.
    fn head(&self) -> String {
        let begun = |(number, id): (&u64, &MessageId)| line(&format!("begin {number} {id}"));
        let now = self.now();
        std::iter::once(line(&format!("boot {}", boot()))).chain(now.iter().map(begun)).collect()
    }
}

/// Nothing was in hand at an orderly end, even if the last lines that say so were not written.
impl Drop for Marks {
    fn drop(&mut self) {
        let pen = self.pen.get_mut().unwrap_or_else(PoisonError::into_inner);
        let idle = self.now.get_mut().unwrap_or_else(PoisonError::into_inner).is_empty();
        if idle && pen.file.take().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Records for all that was in hand when the process before died that it was, and begins anew.
pub(super) fn recover(spool: &Inner) -> Vec<MessageId> {
    let path = &spool.in_hand.path;
    let mut text = Vec::new();
    match open_regular(path) {
        Ok(Some(file)) => {
            if let Err(error) = file.take(READ_MAX).read_to_end(&mut text) {
                let error = error.to_string();
                tracing::warn!(error = error.as_str(), "what was in hand cannot be read");
            }
        }
        Ok(None) => return Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let error = error.to_string();
            tracing::warn!(error = error.as_str(), "what was in hand cannot be read");
            return Vec::new();
        }
    }
    let there = |id: &MessageId| fs::symlink_metadata(spool.queue_path(id)).is_ok_and(|found| found.is_file());
    let suspects: Vec<MessageId> = left(&text, &boot()).into_iter().filter(there).collect();
    for id in &suspects {
        tracing::warn!(id = id.as_str(), "message was in hand when the server before died");
        if let Err(error) = spool.record(id, &[Record::Crashed]) {
            let (id, error) = (id.as_str(), error.to_string());
            tracing::error!(id, error = error.as_str(), "crash cannot be recorded");
        }
    }
    if let Err(error) = spool.disk.remove(path) {
        let error = error.to_string();
        tracing::warn!(error = error.as_str(), "what was in hand cannot be forgotten");
    }
    suspects
}

/// What was begun in this boot and not ended.
fn left(text: &[u8], boot: &str) -> BTreeSet<MessageId> {
    let mut same = false;
    let mut begun = BTreeMap::new();
    for line in text.split(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(line).ok().and_then(|line| line.rsplit_once(' '));
        let Some((line, _)) = line.filter(|(line, sum)| check(NAME, line) == *sum) else { continue };
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["boot", id] => {
                same = id == boot;
                begun.clear();
            }
            ["begin", number, id] if same => {
                begun.insert(number.to_owned(), id.parse().ok());
            }
            ["end", number] => {
                begun.remove(number);
            }
            _ => {}
        }
    }
    begun.into_values().flatten().collect()
}

fn line(text: &str) -> String {
    format!("\n{text} {}", check(NAME, text))
}

/// The same from the start of the system to its end, however that came.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() || id.contains(char::is_whitespace) { "unknown".to_owned() } else { id.to_owned() }
}

const NAME: &str = "in-hand";

/// Octets after which the file is written anew.
const GROWN: u64 = 256 * 1024;

/// Octets that are read of it: it is never that long.
const READ_MAX: u64 = 16 * 1024 * 1024;
