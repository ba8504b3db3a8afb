//! Messages that are kept aside: as durable as others, delivered by nobody, and moved by orders alone.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::tempdir;

use super::disk::TestDisk;
use super::*;

async fn shelf(spool: &Spool) -> Vec<(String, bool)> {
    let shelf = spool.shelf(None, 100).await.unwrap();
    shelf.entries.into_iter().map(|entry| (entry.name, entry.message.is_ok())).collect()
}

#[tokio::test]
async fn what_is_aside_waits_for_its_release() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let arrivals = spool.arrivals().unwrap();
    for (name, len) in [("s.1", 0), ("s.2", 200_000)] {
        aside(&spool, name, &content(len)).await.unwrap();
    }
    assert_eq!((spool.depth(), spool.quarantined(), arrivals.waiting()), (0, 2, 0));
    assert_eq!(shelf(&spool).await, [("s.1".to_owned(), true), ("s.2".to_owned(), true)]);
    assert_eq!(queued(&spool), [""; 0]);
    assert!(matches!(spool.load(&id("s.2")).await, Err(LoadError::Gone)));
    drop((spool, arrivals));

    let spool = Spool::open(state.path()).unwrap();
    let mut arrivals = spool.arrivals().unwrap();
    assert_eq!((spool.depth(), spool.quarantined()), (0, 2));
    let stored = spool.load_aside(&id("s.2")).await.unwrap();
    assert!(read(&stored) == content(200_000) && stored.envelope == quarantined(&id("s.2")));
    let mut tail = Vec::new();
    stored.content_from(199_990).read_to_end(&mut tail).unwrap();
    assert_eq!(tail, content(200_000)[199_990..]);

    spool.release(&id("s.2")).await.unwrap();
    assert_eq!(arrivals.next().await, Arrival::Message(id("s.2")));
    assert_eq!((spool.depth(), spool.quarantined()), (1, 1));
    let stored = spool.load(&id("s.2")).await.unwrap();
    assert!(read(&stored) == content(200_000) && stored.progress.pending() == [0, 1, 2]);
    assert!(matches!(spool.release(&id("s.2")).await, Err(QuarantineError::Unknown)));

    spool.delete(&id("s.1")).await.unwrap();
    assert!(matches!(spool.delete(&id("s.1")).await, Err(QuarantineError::Unknown)));
    assert_eq!((spool.depth(), spool.quarantined(), names(state.path(), "quarantine").len()), (1, 0, 0));
}

#[tokio::test]
async fn a_shelf_is_read_in_parts() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for name in ["s.3", "s.1", "s.5", "s.2", "s.4"] {
        aside(&spool, name, b"x").await.unwrap();
    }
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let part = spool.shelf(after.clone(), 2).await.unwrap();
        assert!(part.entries.len() <= 2);
        all.extend(part.entries.into_iter().map(|entry| entry.name));
        after = all.last().cloned();
        if !part.more {
            break;
        }
    }
    assert_eq!(all, ["s.1", "s.2", "s.3", "s.4", "s.5"]);
}

#[tokio::test]
async fn what_is_foreign_or_damaged_stops_nothing() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for name in ["s.1", "s.2", "s.3"] {
        aside(&spool, name, &content(5_000)).await.unwrap();
    }
    let directory = state.path().join("spool/quarantine");
    fs::write(directory.join("s.2"), "PILLARBOX-SPOOL 1\nnot all of it").unwrap();
    let mut flipped = fs::read(directory.join("s.3")).unwrap();
    flipped[100] ^= 1;
    fs::write(directory.join("s.3"), flipped).unwrap();
    fs::write(directory.join("read me"), "x").unwrap();
    fs::create_dir(directory.join("s.4")).unwrap();
    symlink(directory.join("s.1"), directory.join("s.5")).unwrap();
    drop(spool);

    let spool = Spool::open(state.path()).unwrap();
    let expected = [("read me", false), ("s.1", true), ("s.2", false), ("s.3", true), ("s.4", false), ("s.5", false)];
    assert_eq!(shelf(&spool).await, expected.map(|(name, fine)| (name.to_owned(), fine)));
    for name in ["s.2", "s.3", "s.4", "s.5"] {
        assert!(matches!(spool.release(&id(name)).await, Err(QuarantineError::Unusable(_))), "{name}");
        assert!(matches!(spool.load_aside(&id(name)).await, Err(QuarantineError::Unusable(_))), "{name}");
    }
    for name in ["s.4", "s.5"] {
        assert!(spool.delete(&id(name)).await.is_err(), "{name}");
    }
    for name in ["s.1", "s.2", "s.3"] {
        spool.delete(&id(name)).await.unwrap();
    }
    assert_eq!(names(state.path(), "quarantine"), ["read me", "s.4", "s.5"]);
}

#[tokio::test]
async fn an_id_is_in_one_place() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    aside(&spool, "s.1", b"x").await.unwrap();
    assert!(commit(&spool, "s.1", b"y").await.is_err());
    commit(&spool, "s.2", b"x").await.unwrap();
    assert!(aside(&spool, "s.2", b"y").await.is_err());
    let queue = state.path().join("spool/queue");
    fs::write(queue.join("s.1"), "in the way").unwrap();
    assert!(matches!(spool.release(&id("s.1")).await, Err(QuarantineError::Queued)));
    assert_eq!(fs::read(queue.join("s.1")).unwrap(), b"in the way");
    assert!(spool.load_aside(&id("s.1")).await.is_ok());
}

#[tokio::test]
async fn an_error_is_told_and_loses_nothing() {
    for nth in 0.. {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        aside(&spool, "s.1", b"x").await.unwrap();
        disk.fail(nth, 5);
        let released = spool.release(&id("s.1")).await;
        if disk.failed().is_empty() {
            assert!(nth >= 4, "{nth}");
            break;
        }
        assert!(released.is_err(), "after a failed {:?}", disk.failed());
        let kept = spool.load(&id("s.1")).await.is_ok() || spool.load_aside(&id("s.1")).await.is_ok();
        assert!(kept, "after a failed {:?}", disk.failed());
    }
}

#[tokio::test]
async fn a_draft_is_rewritten_beside_itself() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for len in [0, 100, 65_536, 300_000] {
        for (from, head) in [(0, ""), (50, "another beginning\r\n"), (400_000, "x")] {
            let mut first = spool.begin(id("s.1"));
            first.write(&content(len)).await.unwrap();
            let second = first.rewritten(id("s.1"), head.as_bytes(), from).await.unwrap();
            let copy = first.rewritten(id("s.2"), b"", 0).await.unwrap();
            first.discard().await;
            second.commit(envelope(&id("s.1"))).await.unwrap();
            copy.commit(quarantined(&id("s.2"))).await.unwrap();
            let rest = content(len).get(usize::try_from(from).unwrap()..).unwrap_or_default().to_vec();
            assert!(read(&spool.load(&id("s.1")).await.unwrap()) == [head.as_bytes(), &rest].concat(), "{len} {from}");
            assert!(read(&spool.load_aside(&id("s.2")).await.unwrap()) == content(len), "{len} {from}");
            assert_eq!(names(state.path(), "incoming"), [""; 0]);
            spool.remove(&id("s.1")).await.unwrap();
            spool.delete(&id("s.2")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_release_that_broke_off_is_finished_at_the_next_start() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for name in ["s.1", "s.2"] {
        aside(&spool, name, &content(100)).await.unwrap();
    }
    let (queue, quarantine) = (state.path().join("spool/queue"), state.path().join("spool/quarantine"));
    drop(spool);
    fs::hard_link(quarantine.join("s.1"), queue.join("s.1")).unwrap();
    // Of one name and not of one file: nobody knows which is right, so both stay.
    fs::write(queue.join("s.2"), "in the way").unwrap();

    let spool = Spool::open(state.path()).unwrap();
    assert_eq!(shelf(&spool).await, [("s.2".to_owned(), true)]);
    assert_eq!((spool.depth(), spool.quarantined()), (2, 1));
    assert!(read(&spool.load(&id("s.1")).await.unwrap()) == content(100));
}
