//! The disk fails, or the server is killed, at every single operation.

use tempfile::tempdir;

use super::disk::{Event, TestDisk};
use super::*;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

#[tokio::test]
async fn an_error_is_told_and_leaves_nothing() {
    for len in [100, 200_000] {
        for errno in [EIO, EMFILE, ENOSPC, EROFS, EDQUOT] {
            let mut told = Vec::new();
            for nth in 0.. {
                let state = tempdir().unwrap();
                let disk = Arc::new(TestDisk::default());
                let spool = open_on(state.path(), &disk);
                let mut arrivals = spool.arrivals().unwrap();
                disk.fail(nth, errno);
                let result = commit(&spool, "s.1", &content(len)).await;
                let failed = disk.failed();
                if failed.is_empty() {
                    result.unwrap();
                    break;
                }
                let error = result.expect_err(failed[0]);
                assert_eq!(error.is_full(), [ENOSPC, EDQUOT].contains(&errno), "{error:?}");
                let left = (names(state.path(), "incoming"), names(state.path(), "queue"), spool.depth());
                assert_eq!(left, (vec![], vec![], 0), "after a failed {}", failed[0]);
                let synced = disk.events().iter().any(|event| matches!(event, Event::Sync { .. }));
                assert!(!synced || failed[0] != "sync", "a failed fsync was tried again");

                commit(&spool, "s.2", &content(len)).await.unwrap();
                assert!(read(&spool.load(&id("s.2")).await.unwrap()) == content(len));
                assert_eq!(arrivals.next().await, Arrival::Message(id("s.2")));
                assert_eq!(spool.depth(), 1);
                told.push(failed[0]);
            }
            told.dedup();
            assert_eq!(told, ["create", "write", "sync", "rename", "sync directory"]);
        }
    }
}

#[tokio::test]
async fn after_an_error_a_draft_stays_lost() {
    let state = tempdir().unwrap();
    for (errno, full) in [(ENOSPC, true), (EIO, false)] {
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        disk.fail(1, errno);
        let mut draft = spool.begin(id("s.1"));
        assert_eq!(draft.write(&content(100_000)).await.unwrap_err().is_full(), full);
        assert_eq!(names(state.path(), "incoming"), [""; 0]);
        assert_eq!(draft.write(b"x").await.unwrap_err().is_full(), full);
        assert_eq!(draft.read(0, 1).await.unwrap_err().is_full(), full);
        assert_eq!(draft.commit(envelope(&id("s.1"))).await.unwrap_err().is_full(), full);
        assert_eq!((names(state.path(), "queue").len(), spool.depth()), (0, 0));
    }
}

/// If even the removal fails, a message twice is better than one lost.
#[tokio::test]
async fn a_message_that_cannot_be_taken_back_is_kept() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    disk.fail(4, EIO);
    disk.fail(5, EIO);
    assert!(commit(&spool, "s.1", b"x").await.is_err());
    assert_eq!(disk.failed(), ["sync directory", "remove"]);
    assert_eq!((queued(&spool).len(), spool.depth()), (1, 1));
    spool.load(&id("s.1")).await.unwrap();
    spool.remove(&id("s.1")).await.unwrap();
    assert_eq!(spool.depth(), 0);
}

#[tokio::test]
async fn short_writes_are_written_on() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    disk.limit_writes(97);
    commit(&spool, "s.1", &content(70_000)).await.unwrap();
    assert!(read(&spool.load(&id("s.1")).await.unwrap()) == content(70_000));
    disk.limit_writes(0);
    assert!(commit(&spool, "s.2", b"x").await.is_err());
    assert_eq!((names(state.path(), "incoming").len(), names(state.path(), "queue")), (0, vec!["s.1".to_owned()]));
}

#[tokio::test]
async fn what_cannot_be_recorded_or_removed_is_said() {
    let state = tempdir().unwrap();
    for nth in 0.. {
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        let name = format!("s.{nth}");
        commit(&spool, &name, b"x").await.unwrap();
        disk.fail(nth, EIO);
        let settled = spool.record(&id(&name), vec![Record::Delivered(1)]).await;
        let failed = disk.failed();
        if failed.is_empty() {
            assert_eq!(nth, 4, "append, write, fdatasync, directory");
            settled.unwrap();
            disk.fail(0, EIO);
            disk.fail(2, EIO);
            assert!(spool.remove(&id(&name)).await.is_err());
            assert_eq!(spool.load(&id(&name)).await.unwrap().progress.pending(), [0, 2]);
            // The log is left over: harmless, and removed at the next start.
            spool.remove(&id(&name)).await.unwrap();
            assert_eq!((names(state.path(), "queue"), spool.depth()), (vec![format!("{name}.log")], 0));
            drop(spool);
            assert_eq!(open_on(state.path(), &disk).depth(), 0);
            assert_eq!(names(state.path(), "queue"), [""; 0]);
            break;
        }
        settled.expect_err(failed[0]);
        assert!(spool.load(&id(&name)).await.unwrap().progress.pending().contains(&0));
        spool.remove(&id(&name)).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_message_that_cannot_be_moved_is_still_said_to_be_damaged() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    std::fs::write(state.path().join("spool/queue/s.1"), "rubbish").unwrap();
    disk.fail(0, EROFS);
    assert!(matches!(spool.load(&id("s.1")).await, Err(LoadError::Damaged(_))));
    assert_eq!((queued(&spool).len(), spool.damaged()), (1, 0));
    assert!(matches!(spool.load(&id("s.1")).await, Err(LoadError::Damaged(_))));
    assert_eq!((queued(&spool).len(), spool.damaged()), (0, 1));
}

/// What a server did before it was killed, as far as it was told.
#[derive(Default)]
struct Told {
    committed: Vec<(&'static str, usize)>,
    settled: bool,
    removing: bool,
}

/// A server's life, up to where it is killed.
async fn live(spool: &Spool, told: &mut Told) -> Result<(), Box<dyn std::error::Error>> {
    for (name, len) in [("s.1", 500), ("s.2", 150_000), ("s.3", 10)] {
        commit(spool, name, &content(len)).await?;
        told.committed.push((name, len));
    }
    spool.record(&id("s.2"), vec![Record::Delivered(1)]).await?;
    told.settled = true;
    told.removing = true;
    spool.remove(&id("s.1")).await?;
    let mut unfinished = spool.begin(id("s.4"));
    unfinished.write(&content(100_000)).await?;
    Ok(())
}

#[tokio::test]
async fn killed_at_any_point_nothing_acknowledged_is_lost() {
    for operations in 0.. {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let mut told = Told::default();
        let spool = open_on(state.path(), &disk);
        disk.kill_after(operations);
        let ended = live(&spool, &mut told).await.is_ok();
        drop(spool);

        let spool = Spool::open(state.path()).unwrap();
        assert_eq!(names(state.path(), "incoming"), [""; 0]);
        for (name, len) in &told.committed {
            match spool.load(&id(name)).await {
                Ok(stored) => assert!(read(&stored) == content(*len) && stored.envelope == envelope(&id(name))),
                Err(LoadError::Gone) if told.removing && *name == "s.1" => {}
                Err(error) => panic!("killed after {operations}: {name}: {error:?}"),
            }
        }
        for name in queued(&spool) {
            spool.load(&id(&name)).await.unwrap();
        }
        if told.settled {
            assert_eq!(spool.load(&id("s.2")).await.unwrap().progress.pending(), [0, 2]);
        }
        assert_eq!(spool.depth(), queued(&spool).len() as u64);
        commit(&spool, "s.9", b"life goes on").await.unwrap();
        if ended {
            assert!(operations > 20, "{operations}");
            break;
        }
    }
}

/// While the disk takes its time nobody else waits: this runtime has one thread.
#[tokio::test]
async fn a_slow_fsync_holds_up_nobody_else() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    commit(&spool, "s.0", b"x").await.unwrap();
    // Until as many are renamed as will be only at the end, no directory is synced.
    disk.await_renames(5);
    let mut commits = tokio::task::JoinSet::new();
    for at in 1..4 {
        let spool = spool.clone();
        commits.spawn(async move { commit(&spool, &format!("s.{at}"), &content(100_000)).await });
    }
    let recording = spool.clone();
    commits.spawn(async move { recording.record(&id("s.0"), vec![Record::Delivered(0)]).await.map_err(Into::into) });
    while disk.events().iter().filter(|event| matches!(event, Event::Rename { .. })).count() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(spool.admit(0).await, Ok(()));
    spool.load(&id("s.0")).await.unwrap();
    drop(spool.begin_attempt(&id("s.0")).await);
    let mut draft = spool.begin(id("s.9"));
    draft.write(&content(300_000)).await.unwrap();
    assert!(draft.read(10, 10).await.is_ok());
    draft.discard().await;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(commits.try_join_next().is_none());
    commit(&spool, "s.4", b"x").await.unwrap();
    while let Some(ended) = commits.join_next().await {
        ended.unwrap().unwrap();
    }
}

/// A call that a signal broke off is made again, and nothing else is.
#[tokio::test]
async fn an_interrupted_write_goes_on() {
    let mut told = Vec::new();
    for nth in 0.. {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        disk.limit_writes(50_000);
        disk.fail(nth, 4);
        let committed = commit(&spool, "s.1", &content(200_000)).await;
        let Some(failed) = disk.failed().pop() else { break };
        assert_eq!(committed.is_ok(), failed == "write", "{failed}");
        if failed == "write" {
            assert!(read(&spool.load(&id("s.1")).await.unwrap()) == content(200_000));
        }
        told.push(failed);
    }
    told.dedup();
    assert_eq!(told, ["create", "write", "sync", "rename", "sync directory"]);
}
