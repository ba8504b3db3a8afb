//! Whether there is room for another message: what must stay free for those that are there already, and whether the disk
//! takes anything at all.
//!
//! The file system is asked at most once a second, on a thread that may block. A disk on which several commits in a row
//! failed is taken to be broken until a small file was written, fsynced and removed; that is tried every few seconds, when
//! somebody wants to send. So both recover by themselves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::disk::{self, Free, SpoolIo};
use super::{INCOMING_SUFFIX, Inner, Spool, blocking};
use crate::config::Spool as Settings;

/// No message is taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Less than the reserve would be left: 452 4.3.1.
    #[error("there is no room above the reserve")]
    Full,
    /// The disk keeps failing, or is not there: 451 4.3.0.
    #[error("the disk fails")]
    Failing,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Octets free to this user, the reserve among them.
    pub octets: u64,
    /// Files that may yet be made, where the file system counts them.
    pub inodes: Option<u64>,
    /// Whether mail is taken.
    pub takes_mail: bool,
}

impl Spool {
    /// Whether a message may be begun, of so many octets as its client says, or of none said.
    ///
    /// # Errors
    /// It may not, for now.
    pub async fn admit(&self, octets: u64) -> Result<(), NoRoom> {
        let now = Instant::now();
        if self.0.gate.begin_look(now) {
            let inner = Arc::clone(&self.0);
            let _ = blocking(move || {
                inner.look(now);
                Ok(())
            })
            .await;
        }
        self.0.gate.judge(octets)
    }

    /// How much room there is, as it was at most a second ago.
    pub fn room(&self) -> Room {
        let now = Instant::now();
        // No file is written for this, so it blocks no longer than any look at a directory.
        if self.0.gate.state().is_stale(now) {
            self.0.measure(now);
        }
        let state = self.0.gate.state();
        let free = state.free.unwrap_or_default();
        Room {
            octets: free.octets,
            inodes: (free.of_inodes > 0).then_some(free.inodes),
            takes_mail: state.closed.is_none(),
        }
    }

    /// What holds from now on.
    pub fn configure(&self, settings: Settings) {
        let mut state = self.0.gate.state();
        state.settings = Arc::new(settings);
        state.looked = None;
    }

    /// What holds.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.gate.state().settings)
    }
}

/// What stands between a session and the spool.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Commits that failed in a row.
    failures: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    settings: Arc<Settings>,
    looked: Option<Instant>,
    /// Somebody looks.
    looking: bool,
    probed: Option<Instant>,
    /// None where the file system does not say.
    free: Option<Free>,
    closed: Option<NoRoom>,
}

impl Gate {
    /// A commit went well or failed; what fails for want of something else than the disk does not count.
    pub(super) fn note<T>(&self, result: &io::Result<T>) {
        match result {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(error) => {
                if is_of_the_disk(error) {
                    let count = |count: u32| count.checked_add(1);
                    let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
                }
                // What was seen last does not hold any more: the next MAIL is to be told.
                self.state().looked = None;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether whoever asks is to look. One looks, the others go by what is known; while nothing is, all look.
    fn begin_look(&self, now: Instant) -> bool {
        let mut state = self.state();
        let look = state.is_stale(now) && (!state.looking || state.looked.is_none());
        state.looking |= look;
        look
    }

    fn judge(&self, octets: u64) -> Result<(), NoRoom> {
        let state = self.state();
        match (state.closed, state.free) {
            (Some(why), _) => Err(why),
            (None, Some(free)) if state.is_full(&free, octets) => Err(NoRoom::Full),
            (None, _) => Ok(()),
        }
    }
}

impl State {
    fn is_stale(&self, now: Instant) -> bool {
        self.looked.is_none_or(|at| now.saturating_duration_since(at) >= FRESH)
    }

    /// Whether a message of so many octets would reach into the reserve.
    fn is_full(&self, free: &Free, octets: u64) -> bool {
        let reserve = self.settings.reserve;
        // Where nothing is written, a small file system still takes mail.
        let kept = reserve.octets.unwrap_or(OCTETS.min(free.of_octets / SHARE));
        let inodes = reserve.inodes.unwrap_or(INODES.min(free.of_inodes / SHARE));
        free.octets.saturating_sub(octets) < kept || (free.of_inodes > 0 && free.inodes < inodes)
    }
}

impl Inner {
    /// Looks how much room there is, and whether a disk that failed works again. Blocking.
    fn look(&self, now: Instant) {
        let failing = self.gate.failures.load(Ordering::Relaxed) >= FAILURES;
        let due = {
            let mut state = self.gate.state();
            let due = failing && state.probed.is_none_or(|at| now.saturating_duration_since(at) >= PROBE);
            if due {
                state.probed = Some(now);
            }
            due
        };
        if due {
            match probe(&*self.disk, &self.incoming) {
                Ok(()) => self.gate.failures.store(0, Ordering::Relaxed),
                Err(error) => {
                    let error = error.to_string();
                    tracing::debug!(error = error.as_str(), "disk of the spool still fails");
                }
            }
        }
        self.measure(now);
    }

    /// Asks the file system, and says so once when that changes whether mail is taken.
    fn measure(&self, now: Instant) {
        let free = self.disk.free(&self.incoming);
        let failing = self.gate.failures.load(Ordering::Relaxed) >= FAILURES;
        let mut state = self.gate.state();
        let closed = match &free {
            Err(_) => Some(NoRoom::Failing),
            Ok(free) if state.is_full(free, 0) => Some(NoRoom::Full),
            Ok(_) => failing.then_some(NoRoom::Failing),
        };
        let before = std::mem::replace(&mut state.closed, closed);
        state.free = free.as_ref().ok().copied();
        state.looked = Some(now);
        state.looking = false;
        drop(state);
        let (octets, inodes) = free.as_ref().map(|free| (free.octets, free.inodes)).unwrap_or_default();
        match (before, closed) {
            (None, Some(why)) => {
                let mut reason = why.to_string();
                if let Err(error) = &free {
                    reason = format!("{reason}: {error}");
                }
                tracing::error!(reason = reason.as_str(), octets, inodes, "spool takes no mail");
            }
            (Some(_), None) => tracing::info!(octets, inodes, "spool takes mail again"),
            _ => {}
        }
    }
}

fn probe(disk: &dyn SpoolIo, incoming: &Path) -> io::Result<()> {
    let path: PathBuf = incoming.join(format!("probe{INCOMING_SUFFIX}"));
    let written = match disk.create(&path) {
        // Left by one that failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => return Err(error),
        Ok(file) => disk::write_all(disk, &file, b"probe\n").and_then(|()| disk.sync(&file)),
    };
    disk.remove(&path)?;
    written
}

/// Whether it says something about the disk; a full one is found by how much is free.
fn is_of_the_disk(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let other = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::EXIST];
    error.raw_os_error().is_some_and(|code| !other.iter().any(|errno| errno.raw_os_error() == code))
}

/// How long a look holds.
const FRESH: Duration = Duration::from_secs(1);

/// How often a disk that failed is tried.
const PROBE: Duration = Duration::from_secs(3);

/// Commits in a row that make a disk a broken one.
const FAILURES: u32 = 3;

/// What is kept free where nothing else is written: a message of the largest size that the default lets in, and what
/// delivery writes meanwhile; files for as many messages as may be under way at once. Of a small file system it is one
/// part in so many.
const OCTETS: u64 = 64 * 1024 * 1024;
const INODES: u64 = 1000;
const SHARE: u64 = 20;
