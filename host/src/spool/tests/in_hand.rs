//! What was in hand when a process died, and what becomes of a message during which it keeps dying.

use std::fs;

use tempfile::tempdir;

use super::super::journal::check;
use super::disk::TestDisk;
use super::*;

fn suspects(spool: &Spool) -> Vec<String> {
    spool.suspects().iter().map(ToString::to_string).collect()
}

/// The next start; what still runs in the background of the one before has the directory for a moment.
async fn started(state: &Path, disk: Arc<dyn SpoolIo>) -> Spool {
    loop {
        match open::open(state, Arc::clone(&disk)) {
            Ok(inner) => return Spool(Arc::new(inner)),
            Err(OpenError::Busy { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn reopened(state: &Path) -> Spool {
    started(state, Arc::new(super::super::disk::FileSystem)).await
}

/// As a killed process leaves it: nothing that ends is written any more.
async fn killed(spool: Spool, in_hand: Vec<InHand>, disk: &TestDisk) {
    disk.kill_after(0);
    drop(in_hand);
    drop(spool);
}

#[tokio::test]
async fn what_was_in_hand_is_suspected_and_told_to_its_log() {
    let state = tempdir().unwrap();
    let mut crashes = 0;
    for life in 0..4 {
        let disk = Arc::new(TestDisk::default());
        let spool = started(state.path(), Arc::clone(&disk) as Arc<dyn SpoolIo>).await;
        if life == 0 {
            for name in ["s.1", "s.2", "s.3"] {
                commit(&spool, name, b"x").await.unwrap();
            }
        } else {
            crashes += 1;
            assert_eq!(suspects(&spool), ["s.2"], "life {life}");
        }
        for name in ["s.1", "s.2", "s.3"] {
            let counted = spool.peek(&id(name)).await.unwrap().progress.crashes;
            assert_eq!(counted, if name == "s.2" { crashes } else { 0 }, "life {life}: {name}");
        }
        drop(spool.begin_attempt(&id("s.1")).await);
        let of_none = spool.begin_attempt(&id("s.9")).await;
        let in_hand = spool.begin_attempt(&id("s.2")).await;
        // Until what is spawned when a guard is dropped has run.
        while fs::read_to_string(state.path().join("in-hand")).unwrap().matches("end").count() < 1 {
            tokio::task::yield_now().await;
        }
        killed(spool, vec![of_none.0, in_hand.0], &disk).await;
    }
    // An orderly end leaves nobody suspected.
    let spool = reopened(state.path()).await;
    drop(spool.begin_attempt(&id("s.2")).await);
    drop(spool);
    let spool = reopened(state.path()).await;
    assert_eq!(suspects(&spool), [""; 0]);
    assert_eq!(spool.peek(&id("s.2")).await.unwrap().progress.crashes, 4);
}

#[tokio::test]
async fn what_is_torn_foreign_or_of_another_boot_accuses_nobody() {
    let state = tempdir().unwrap();
    let spool = reopened(state.path()).await;
    for name in ["s.1", "s.12"] {
        commit(&spool, name, b"x").await.unwrap();
    }
    let in_hand = spool.begin_attempt(&id("s.12")).await;
    let path = state.path().join("in-hand");
    let good = fs::read_to_string(&path).unwrap();
    drop((in_hand, spool));
    drop(reopened(state.path()).await);
    let boot = good.split('\n').nth(1).unwrap().to_owned();
    let other_boot = {
        let text = "boot 00000000-0000-0000-0000-000000000000";
        good.replace(&boot, &format!("{text} {}", check("in-hand", text)))
    };
    let cases = [
        (good.clone(), vec!["s.12"]),
        (format!("{good}{good}"), vec!["s.12"]),
        (other_boot.clone(), vec![]),
        (format!("{good}{other_boot}"), vec![]),
        (good.replace(&boot, ""), vec![]),
        (good[..good.len() - 1].to_owned(), vec![]),
        (good[..good.len() - 18].to_owned(), vec![]),
        (good.replace("s.12", "s.1"), vec![]),
        (String::new(), vec![]),
        ("\0".repeat(5000), vec![]),
    ];
    for (text, expected) in cases {
        fs::write(&path, &text).unwrap();
        let spool = reopened(state.path()).await;
        assert_eq!(suspects(&spool), expected, "{text:?}");
        assert!(!path.exists(), "{text:?}");
    }
    fs::create_dir(&path).unwrap();
    let spool = reopened(state.path()).await;
    assert_eq!(suspects(&spool), [""; 0]);
    drop(spool.begin_attempt(&id("s.1")).await);
}

#[tokio::test]
async fn the_file_stays_small_and_knows_who_is_in_hand() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = started(state.path(), Arc::clone(&disk) as Arc<dyn SpoolIo>).await;
    for name in ["s.1", "s.2"] {
        commit(&spool, name, b"x").await.unwrap();
    }
    let kept = spool.begin_attempt(&id("s.1")).await;
    for _ in 0..6000 {
        drop(spool.begin_attempt(&id("s.2")).await);
    }
    let path = state.path().join("in-hand");
    let renewed =
        || disk.events().iter().filter(|event| matches!(event, disk::Event::Rename { to, .. } if *to == path)).count();
    assert!(renewed() >= 1);
    assert!(fs::metadata(&path).unwrap().len() < 400_000);
    // What was spawned to say that an attempt is over.
    let last = spool.begin_attempt(&id("s.2")).await;
    killed(spool, vec![kept.0, last.0], &disk).await;
    let spool = reopened(state.path()).await;
    assert!(suspects(&spool).contains(&"s.1".to_owned()));
}

/// Nothing of this may keep a message from being tried.
#[tokio::test]
async fn where_nothing_can_be_noted_it_is_tried_all_the_same() {
    for nth in 0..4 {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let spool = started(state.path(), Arc::clone(&disk) as Arc<dyn SpoolIo>).await;
        commit(&spool, "s.1", b"x").await.unwrap();
        disk.fail(nth, 28);
        for _ in 0..3 {
            drop(spool.begin_attempt(&id("s.1")).await);
        }
        spool.load(&id("s.1")).await.unwrap();
    }
}

#[tokio::test]
async fn a_poison_message_goes_aside_with_its_log_and_comes_back() {
    let state = tempdir().unwrap();
    let spool = reopened(state.path()).await;
    let mut arrivals = spool.arrivals().unwrap();
    commit(&spool, "s.1", &content(70_000)).await.unwrap();
    let _ = arrivals.next().await;
    let records = vec![Record::Delivered(1), Record::Crashed, Record::Crashed, Record::Crashed];
    spool.record(&id("s.1"), records).await.unwrap();
    spool.set_aside(&id("s.1"), "the server died 3 times\nwhile it was in hand").await.unwrap();
    assert_eq!((spool.depth(), spool.quarantined()), (0, 1));
    assert!(matches!(spool.set_aside(&id("s.1"), "again").await, Err(LoadError::Gone)));
    assert_eq!(names(state.path(), "queue"), [""; 0]);
    assert_eq!(names(state.path(), "quarantine"), ["s.1", "s.1.log"]);

    let shelf = spool.shelf(None, 10).await.unwrap();
    assert_eq!(shelf.entries.len(), 1);
    let (shown, size) = shelf.entries[0].message.as_ref().unwrap();
    assert_eq!(*size, 70_000);
    let why = shown.quarantined.clone().unwrap();
    assert_eq!((&*why.extension, &*why.hook), ("", "delivery"));
    assert_eq!(why.reason, "the server died 3 times while it was in hand");
    drop((spool, arrivals));

    let spool = reopened(state.path()).await;
    let mut arrivals = spool.arrivals().unwrap();
    assert_eq!((spool.depth(), spool.quarantined()), (0, 1));
    spool.release(&id("s.1")).await.unwrap();
    assert_eq!(arrivals.next().await, Arrival::Message(id("s.1")));
    let stored = spool.load(&id("s.1")).await.unwrap();
    assert!(read(&stored) == content(70_000) && stored.envelope == envelope(&id("s.1")));
    assert_eq!((stored.progress.pending(), stored.progress.crashes), (vec![0, 2], 0));
    assert_eq!((spool.depth(), spool.quarantined()), (1, 0));
    assert_eq!(
        (names(state.path(), "queue"), names(state.path(), "quarantine").len()),
        (vec!["s.1".to_owned(), "s.1.log".to_owned()], 0)
    );

    // And again, to be deleted.
    spool.set_aside(&id("s.1"), "again").await.unwrap();
    spool.delete(&id("s.1")).await.unwrap();
    assert_eq!((names(state.path(), "quarantine").len(), spool.depth(), spool.quarantined()), (0, 0, 0));
}

/// Whatever fails on the way, and whether or not the server dies of it, the message is in one place after the next start,
/// and nobody is served twice.
#[tokio::test]
async fn a_move_that_breaks_off_is_finished() {
    for back in [false, true] {
        for killed in [false, true] {
            for nth in 0.. {
                let state = tempdir().unwrap();
                let disk = Arc::new(TestDisk::default());
                let spool = started(state.path(), Arc::clone(&disk) as Arc<dyn SpoolIo>).await;
                commit(&spool, "s.1", &content(300)).await.unwrap();
                spool.record(&id("s.1"), vec![Record::Delivered(1)]).await.unwrap();
                if back {
                    spool.set_aside(&id("s.1"), "why").await.unwrap();
                }
                let before = disk.events().len();
                match killed {
                    true => disk.kill_after(nth),
                    false => disk.fail(nth, 5),
                }
                let moved = match back {
                    false => spool.set_aside(&id("s.1"), "why").await.is_ok(),
                    true => spool.release(&id("s.1")).await.is_ok(),
                };
                let all = disk.events().len() - before;
                drop(spool);
                let case = format!("back {back}, killed {killed}, {nth}");
                let spool = reopened(state.path()).await;
                let (queued, aside) = (spool.load(&id("s.1")).await, spool.load_aside(&id("s.1")).await);
                assert!(queued.is_ok() != aside.is_ok(), "{case}: {queued:?} {aside:?}");
                assert_eq!(
                    (spool.depth(), spool.quarantined()),
                    (queued.is_ok().into(), aside.is_ok().into()),
                    "{case}"
                );
                if moved {
                    assert_eq!(queued.is_ok(), back, "{case}");
                }
                let stored = queued.ok().or(aside.ok()).unwrap();
                assert!(read(&stored) == content(300), "{case}");
                assert_eq!(stored.progress.pending(), [0, 2], "{case}");
                let logs = [names(state.path(), "queue"), names(state.path(), "quarantine")].concat();
                assert_eq!(logs, ["s.1", "s.1.log"], "{case}");
                let done = if killed { moved && all <= nth } else { disk.failed().is_empty() };
                if done {
                    assert!(nth >= 8, "{case}");
                    break;
                }
            }
        }
    }
}
