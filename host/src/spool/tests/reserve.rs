//! Room above the reserve, and a disk that keeps failing; the clock is the test's.

use std::time::Duration;

use tempfile::tempdir;

use super::super::disk::Free;
use super::disk::TestDisk;
use super::*;
use crate::config::{Reserve, Spool as Settings};

const MIB: u64 = 1024 * 1024;

fn free(octets: u64, inodes: u64) -> Free {
    Free { octets, inodes, of_octets: 100_000 * MIB, of_inodes: 1_000_000 }
}

fn reserve(octets: Option<u64>, inodes: Option<u64>) -> Settings {
    Settings { reserve: Reserve { octets, inodes }, exclude_context: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn mail_is_taken_while_the_reserve_is_left() {
    let small = |octets| Free { octets, inodes: 100, of_octets: 2 * MIB, of_inodes: 200 };
    let uncounted = Free { inodes: 0, of_inodes: 0, ..free(1000 * MIB, 0) };
    let (none, full) = (Settings::default(), Err(NoRoom::Full));
    let cases = [
        // By itself: 64 MiB and 1000 files.
        (none.clone(), free(64 * MIB, 1000), 0, Ok(())),
        (none.clone(), free(64 * MIB - 1, 1000), 0, full),
        (none.clone(), free(64 * MIB, 999), 0, full),
        (none.clone(), free(0, 0), 0, full),
        (none.clone(), uncounted, 0, Ok(())),
        // Of a small file system a twentieth.
        (none.clone(), small(200_000), 0, Ok(())),
        (none.clone(), small(100_000), 0, full),
        // As it is written, be the file system small or not.
        (reserve(Some(MIB), None), free(MIB, 1000), 0, Ok(())),
        (reserve(Some(4 * MIB), None), small(2 * MIB), 0, full),
        (reserve(Some(0), Some(0)), free(0, 0), 0, Ok(())),
        (reserve(None, Some(10)), free(64 * MIB, 10), 0, Ok(())),
        (reserve(None, Some(10)), free(64 * MIB, 9), 0, full),
        // With what the client means to send.
        (none.clone(), free(100 * MIB, 1000), 36 * MIB, Ok(())),
        (none.clone(), free(100 * MIB, 1000), 36 * MIB + 1, full),
        (none, free(100 * MIB, 1000), u64::MAX, full),
    ];
    for (settings, free, octets, expected) in cases {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        disk.set_free(Ok(free));
        let spool = open_on(state.path(), &disk);
        spool.configure(settings.clone());
        assert_eq!(spool.admit(octets).await, expected, "{settings:?} {free:?} {octets}");
        let room = spool.room();
        assert_eq!((room.octets, room.inodes), (free.octets, (free.of_inodes > 0).then_some(free.inodes)));
        assert_eq!(room.takes_mail, expected.is_ok() || octets > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn it_recovers_by_itself_within_a_second() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    for (told, expected) in [
        (Ok(free(1000 * MIB, 5000)), Ok(())),
        (Ok(free(MIB, 5000)), Err(NoRoom::Full)),
        (Ok(free(1000 * MIB, 5000)), Ok(())),
        (Err(2), Err(NoRoom::Failing)),
        (Ok(free(1000 * MIB, 5000)), Ok(())),
    ] {
        let before = spool.admit(0).await;
        disk.set_free(told);
        assert_eq!(spool.admit(0).await, before, "what was found holds for a second");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(spool.admit(0).await, expected, "{told:?}");
        // What is in the queue is delivered all the same.
        commit(&spool, "s.1", b"x").await.unwrap();
        spool.record(&id("s.1"), vec![Record::Delivered(0)]).await.unwrap();
        spool.load(&id("s.1")).await.unwrap();
        spool.remove(&id("s.1")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_keeps_failing_is_tried_before_it_is_trusted() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    disk.set_free(Ok(free(1000 * MIB, 5000)));
    let spool = open_on(state.path(), &disk);
    let fails = async |errno, times| {
        for _ in 0..times {
            disk.fail(2, errno);
            assert!(commit(&spool, "s.1", b"x").await.is_err());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    };
    // Two in a row are no habit, nor are three with a good one in between, nor what is no fault of the disk.
    fails(5, 2).await;
    assert_eq!(spool.admit(0).await, Ok(()));
    commit(&spool, "s.2", b"x").await.unwrap();
    fails(5, 2).await;
    assert_eq!(spool.admit(0).await, Ok(()));
    commit(&spool, "s.3", b"x").await.unwrap();
    for errno in [24, 28, 122] {
        fails(errno, 4).await;
        assert_eq!(spool.admit(0).await, Ok(()), "{errno}");
    }

    // Each operation of the probe fails in turn, then none.
    fails(30, 3).await;
    for nth in 0..4 {
        let begun = disk.failed().len();
        disk.fail(nth, 30);
        assert_eq!(spool.admit(0).await, Err(NoRoom::Failing), "{nth}");
        assert_eq!(disk.failed().len(), begun + 1, "{nth}: it was tried");
        tokio::time::advance(Duration::from_secs(1)).await;
        disk.fail(0, 30);
        assert_eq!(spool.admit(0).await, Err(NoRoom::Failing), "{nth}");
        assert_eq!(disk.failed().len(), begun + 1, "{nth}: not every second");
        assert!(!spool.room().takes_mail);
        // Taken by the next thing that is done to the disk.
        assert!(commit(&spool, "s.1", b"x").await.is_err());
        tokio::time::advance(Duration::from_secs(3)).await;
    }
    assert_eq!(spool.admit(0).await, Ok(()));
    assert!(spool.room().takes_mail);
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
    commit(&spool, "s.1", b"x").await.unwrap();
}

/// The directory was moved away: nothing is taken, nothing is made elsewhere, and once it is back all goes on.
#[tokio::test(start_paused = true)]
async fn a_spool_that_is_moved_away_is_not_made_anew() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    spool.configure(reserve(Some(0), Some(0)));
    commit(&spool, "s.1", b"x").await.unwrap();
    assert_eq!(spool.admit(0).await, Ok(()));
    let (here, away) = (state.path().join("spool"), state.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    assert!(commit(&spool, "s.2", b"x").await.is_err());
    drop(spool.begin_attempt(&id("s.1")).await);
    assert!(spool.record(&id("s.1"), vec![Record::Delivered(0)]).await.is_err());
    assert!(matches!(spool.load(&id("s.1")).await, Err(LoadError::Gone)));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(spool.admit(0).await, Err(NoRoom::Failing));
    assert!(!here.exists());
    std::fs::rename(&away, &here).unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(spool.admit(0).await, Ok(()));
    commit(&spool, "s.2", b"x").await.unwrap();
    assert_eq!(queued(&spool), ["s.1", "s.2"]);
    assert_eq!(spool.load(&id("s.1")).await.unwrap().progress.pending(), [0, 1, 2]);
}
