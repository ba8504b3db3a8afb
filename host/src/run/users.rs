//! The files of users: read with a configuration, and read again when they change, so that `pillarbox user add` needs no
//! reload.

use crate::auth::Users;
use crate::config::{Config, Problem};
use crate::observe;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

/// What is seen of a file without reading it.
type Look = Option<(SystemTime, u64, u64)>;

/// Looks at the files that are in use again and again, and reads those that changed. A file that is not right leaves
/// what was read before, which is said once.
pub(super) async fn watch(in_use: impl Fn() -> BTreeMap<PathBuf, Shared>, every: Duration) {
    let mut seen: BTreeMap<PathBuf, Look> = BTreeMap::new();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let files = in_use();
        seen.retain(|path, _| files.contains_key(path));
        for (path, users) in files {
            let now = look(&path).await;
            // At the first look too: the file may have changed since it was read with the configuration.
            let before = seen.insert(path.clone(), now);
            if before.is_none_or(|before| before != now) {
                read_again(&path, &users).await;
            }
        }
    }
}

async fn look(path: &Path) -> Look {
    use std::os::unix::fs::MetadataExt;
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

async fn read_again(path: &Path, users: &Shared) {
    let file = path.display().to_string();
    let read = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || Users::load(&path)).await
    };
    match read {
        Ok(Ok(fresh)) if fresh.digest() == users.load().digest() => {}
        Ok(Ok(fresh)) => {
            tracing::info!(file = &*file, users = fresh.len(), "users read again");
            users.store(Arc::new(fresh));
        }
        Ok(Err(error)) => {
            let error = observe::chain(&error);
            tracing::error!(file = &*file, error = &*error, "users not read again, those before stay");
        }
        Err(error) => tracing::error!(file = &*file, %error, "users not read again, those before stay"),
    }
}
