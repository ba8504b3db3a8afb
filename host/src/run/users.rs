//! The files of users: read with a configuration, and read again when they change, so that `pillarbox user add` needs no
//! reload.

use crate::auth::{self, Users};
use crate::config::{Config, Problem};
use crate::observe;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// One file in use; all listeners that name it share it.
pub type Shared = Arc<ArcSwap<Users>>;

/// Reads the files of all listeners, each once.
pub(super) fn load(config: &Config) -> (BTreeMap<PathBuf, Shared>, Vec<Problem>) {
    let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
    for listener in config.listeners.values() {
        let Some(path) = listener.auth.users.as_ref().filter(|path| !files.contains_key(*path)) else { continue };
        match Users::load(path) {
            Ok(users) => {
                files.insert(path.clone(), Arc::new(ArcSwap::from_pointee(users)));
            }
            Err(error) => problems.push(Problem::at(listener.auth.users_place, observe::chain(&error))),
        }
    }
    (files, problems)
}

/// Keeps what unknown users are shown the same over restarts, where the state directory can be written. Blocking.
pub(super) fn keep_key(state_dir: &Path) {
    if let Err(error) = auth::keep_key(state_dir) {
        tracing::warn!(%error, "the key of what unknown users are shown cannot be kept, it lasts until the server ends");
    }
}

/// Files that changed and cannot be used, with the reason, for `status`.
pub type Faults = Mutex<BTreeMap<PathBuf, String>>;

/// What is seen of a file without reading it: when it and its rights changed, its size, and which file it is.
type Look = Option<(SystemTime, (i64, i64), u64, (u64, u64))>;

/// What was found at the last look.
struct Seen {
    /// What the look was compared with: a reload brings another, which was read a while before it is looked at.
    users: Shared,
    look: Look,
    sound: bool,
}

/// Looks at the files that are in use again and again, and reads those that changed. A file that is not right leaves
/// what was read before, which is said once, and is tried until it is right.
pub(super) async fn watch(in_use: impl Fn() -> BTreeMap<PathBuf, Shared>, faults: &Faults, every: Duration) {
    let mut seen: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let files = in_use();
        seen.retain(|path, _| files.contains_key(path));
        lock(faults).retain(|path, _| files.contains_key(path));
        for (path, users) in files {
            // Before it is read, so that what is written meanwhile is seen the next time.
            let look = look(&path).await;
            let same = |seen: &Seen| Arc::ptr_eq(&seen.users, &users) && seen.look == look && seen.sound;
            if seen.get(&path).is_some_and(same) {
                continue;
            }
            let sound = match read_again(&path, &users).await {
                Ok(()) => {
                    if lock(faults).remove(&path).is_some() {
                        tracing::info!(file = &*path.display().to_string(), "users right again");
                    }
                    true
                }
                Err(error) => {
                    let known = lock(faults).insert(path.clone(), error.clone());
                    if known.as_ref() != Some(&error) {
                        let file = path.display().to_string();
                        tracing::error!(file, error, "users not read again, those before stay");
                    }
                    false
                }
            };
            seen.insert(path, Seen { users, look, sound });
        }
    }
}

/// The faults; nothing that panics runs under this lock.
pub(super) fn lock(faults: &Faults) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(path: &Path) -> Look {
    use std::os::unix::fs::MetadataExt;
    let found = tokio::fs::metadata(path).await.ok()?;
    let rights = (found.ctime(), found.ctime_nsec());
    Some((found.modified().ok()?, rights, found.len(), (found.dev(), found.ino())))
}

/// Reads one file again, which others may be using meanwhile.
///
/// # Errors
/// It is not right; what was read before stays.
pub(super) async fn read_again(path: &Path, users: &Shared) -> Result<(), String> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || Users::load(&owned)).await;
    let fresh = read.map_err(|error| error.to_string())?.map_err(|error| observe::chain(&error))?;
    if fresh.digest() != users.load().digest() {
        let count = fresh.len();
        users.store(Arc::new(fresh));
        // Said once it holds: who reads it may rely on it.
        tracing::info!(file = &*path.display().to_string(), users = count, "users read again");
    }
    Ok(())
}
