//! One fsync of the queue's directory for many commits.
//!
//! Whoever comes with a rename behind it joins the round that waits. If no sync runs, it leads that round: it syncs, and
//! all who had joined by then have their answer. Those who come meanwhile are the next round, since their rename may have
//! come too late for this one. A round that ends wakes its own and one of the next, who leads that: under load there are
//! dozens, and to wake all of them each time costs more than the sync.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::disk::SpoolIo;

/// The coalesced fsync of one directory.
#[derive(Debug)]
pub(super) struct DirectorySync {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    waiting: Arc<Round>,
}

/// Those one sync answers.
#[derive(Debug, Default)]
struct Round {
    answer: OnceLock<io::Result<()>>,
    news: Condvar,
}

impl DirectorySync {
    /// For the directory at `path`.
    pub(super) fn new(path: PathBuf) -> DirectorySync {
        DirectorySync { path, state: Mutex::default() }
    }

    /// Makes every name in the directory durable that was there when this was called. Blocking.
    ///
    /// # Errors
    /// The sync that answers for this call failed; it is not tried again.
    pub(super) fn sync(&self, disk: &dyn SpoolIo) -> io::Result<()> {
        let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        let round = Arc::clone(&state.waiting);
        loop {
            if let Some(answer) = round.answer.get() {
                return answer.as_ref().copied().map_err(copy);
            }
            if !state.running {
                break;
            }
            state = round.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        state.waiting = Arc::default();
        drop(state);
        let answer = disk.sync_directory(&self.path);
        let mut state = lock();
        let answer = round.answer.get_or_init(|| answer).as_ref().copied().map_err(copy);
        state.running = false;
        let next = Arc::clone(&state.waiting);
        // Whoever wakes wants the lock, and the disk waits for whoever leads.
        drop(state);
        next.news.notify_one();
        round.news.notify_all();
        answer
    }
}

/// The same error for everyone in a round.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use std::fs::File;
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Syncs when it is told, with the outcome it is told, and says when it is asked.
    #[derive(Debug)]
    struct Told {
        asked: mpsc::SyncSender<()>,
        outcomes: Mutex<mpsc::Receiver<io::Result<()>>>,
    }

    impl SpoolIo for Told {
        fn sync_directory(&self, _: &Path) -> io::Result<()> {
            self.asked.send(()).unwrap();
            self.outcomes.lock().unwrap().recv().unwrap()
        }

        fn create(&self, _: &Path) -> io::Result<File> {
            unreachable!()
        }
        fn append(&self, _: &Path) -> io::Result<File> {
            unreachable!()
        }
        fn write(&self, _: &File, _: &[u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn sync(&self, _: &File) -> io::Result<()> {
            unreachable!()
        }
        fn sync_data(&self, _: &File) -> io::Result<()> {
            unreachable!()
        }
        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!()
        }
        fn free(&self, _: &Path) -> io::Result<crate::spool::disk::Free> {
            unreachable!()
        }
        fn remove(&self, _: &Path) -> io::Result<()> {
            unreachable!()
        }
    }

    #[test]
    fn a_round_is_those_who_came_before_its_sync_began() {
        let (ask, asked) = mpsc::sync_channel(0);
        let (tell, outcomes) = mpsc::channel();
        let disk = Told { asked: ask, outcomes: Mutex::new(outcomes) };
        let sync = DirectorySync::new(PathBuf::from("queue"));
        let joined = |count: usize| {
            while Arc::strong_count(&sync.state.lock().unwrap().waiting) < count + 1 {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| sync.sync(&disk));
            asked.recv().unwrap();
            let second: Vec<_> = (0..50).map(|_| scope.spawn(|| sync.sync(&disk))).collect();
            joined(50);
            tell.send(Ok(())).unwrap();
            assert!(first.join().unwrap().is_ok());

            // One sync for all fifty, and its failure is theirs alone.
            asked.recv().unwrap();
            let third = scope.spawn(|| sync.sync(&disk));
            joined(1);
            tell.send(Err(io::Error::from_raw_os_error(5))).unwrap();
            for answer in second {
                assert_eq!(answer.join().unwrap().unwrap_err().raw_os_error(), Some(5));
            }
            asked.recv().unwrap();
            tell.send(Ok(())).unwrap();
            assert!(third.join().unwrap().is_ok());
        });
        assert!(asked.try_recv().is_err());
    }
}
