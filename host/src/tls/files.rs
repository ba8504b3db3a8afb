//! A cheap look at files, to see whether they were written since. It does not know what is in them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How some files looked, in their order; none where there was nothing to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look(Vec<Option<Stamp>>);

/// What changes with every way to replace what is in a file. The time of the last change of its attributes cannot be set
/// by hand, as `cp -p` and archives set the other.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Looks at `files` now; symbolic links are followed.
    pub(super) fn at<'a>(files: impl Iterator<Item = &'a Path>) -> Look {
        let stamp = |file| {
            let data = fs::metadata(file).ok()?;
            Some(Stamp {
                device: data.dev(),
                inode: data.ino(),
                size: data.size(),
                modified: (data.mtime(), data.mtime_nsec()),
                changed: (data.ctime(), data.ctime_nsec()),
            })
        };
        Look(files.map(stamp).collect())
    }

    /// Whether every file had been left alone for a while at `now`, when the look was taken. The clock of files ticks
    /// in steps, and one that is written twice within a step looks the same after both.
    pub(super) fn settled(&self, now: SystemTime) -> bool {
        const WHILE: Duration = Duration::from_secs(2);
        let changed = |stamp: &Stamp| Duration::from_secs(u64::try_from(stamp.changed.0).unwrap_or_default());
        self.0
            .iter()
            .flatten()
            .all(|stamp| now.duration_since(UNIX_EPOCH).is_ok_and(|now| now.saturating_sub(changed(stamp)) > WHILE))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    #[test]
    fn every_way_to_replace_a_file_is_seen() {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.pem"), "one").unwrap();
        fs::write(path("b.pem"), "one").unwrap();
        symlink(path("a.pem"), path("link")).unwrap();
        let watched = [path("link"), path("absent")];
        let look = || Look::at(watched.iter().map(|path| &**path));
        let mut last = look();
        assert_eq!(last, look());
        let steps: [(&str, &dyn Fn()); 6] = [
            ("longer", &|| fs::write(path("a.pem"), "longer").unwrap()),
            ("another file by the same name", &|| fs::rename(path("b.pem"), path("a.pem")).unwrap()),
            ("made unreadable", &|| fs::set_permissions(path("a.pem"), fs::Permissions::from_mode(0o000)).unwrap()),
            ("the link leads elsewhere", &|| {
                fs::write(path("c.pem"), "one").unwrap();
                symlink(path("c.pem"), path("new")).unwrap();
                fs::rename(path("new"), path("link")).unwrap();
            }),
            ("gone", &|| fs::remove_file(path("link")).unwrap()),
            ("there", &|| fs::write(path("absent"), "").unwrap()),
        ];
        for (step, change) in steps {
            change();
            let now = look();
            assert_ne!(now, last, "{step}");
            assert_eq!(now, look(), "{step}");
            last = now;
        }
    }

    #[test]
    fn what_was_just_written_is_not_settled() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.pem");
        fs::write(&path, "one").unwrap();
        let changed = u64::try_from(fs::metadata(&path).unwrap().ctime()).unwrap();
        let look = Look::at([&*path].into_iter());
        for (seconds, settled) in [(0, false), (2, false), (3, true), (3600, true)] {
            let now = UNIX_EPOCH + Duration::from_secs(changed + seconds);
            assert_eq!(look.settled(now), settled, "{seconds}");
        }
        // A clock that was put back says nothing.
        assert!(!look.settled(UNIX_EPOCH));
        assert!(Look::at([&*directory.path().join("absent")].into_iter()).settled(UNIX_EPOCH));
    }
}
