//! Logs: what they say, line by line, and that they say the same however often they are written anew.

use tempfile::tempdir;

use super::super::journal::{check, compact};
use super::disk::{Event, TestDisk};
use super::ledger::PIECE;
use super::*;

fn failure(text: &str) -> Failure {
    Failure {
        remote: Some("mx.example.test".to_owned()),
        reply: Some("450 4.2.1 \"busy\" ü".to_owned()),
        ..Failure::local("4.2.1", text, Reach::Message)
    }
}

fn aside(reason: &str) -> Record {
    Record::Aside(Quarantined { extension: String::new(), reason: reason.to_owned(), hook: "delivery".to_owned() })
}

/// Every kind there is.
fn kinds() -> Vec<Record> {
    vec![
        Record::Delivered(0),
        Record::Failed(1, failure("no such user")),
        Record::Deferred(2, failure("it is busy")),
        Record::Delayed(2),
        Record::Attempt(Attempt { number: 3, at: 1_700_000_000_000, next: 1_700_000_300_000 }),
        Record::Crashed,
        Record::Held,
        aside("it crashed the server 3 times"),
    ]
}

fn log(records: &[Record]) -> String {
    records.iter().map(|record| record.line(&id("s.1"))).collect()
}

fn progress(log: &str) -> Progress {
    Progress::read(&id("s.1"), 3, log.as_bytes()).unwrap()
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    let read = progress(&log(&kinds()));
    let standing = |ended, deferred, delayed| Standing { ended, deferred, delayed };
    assert_eq!(
        read.recipients,
        [
            standing(Some(Ended::Delivered), None, false),
            standing(Some(Ended::Failed(failure("no such user"))), None, false),
            standing(None, Some(failure("it is busy")), true),
        ]
    );
    assert_eq!(read.attempt, Some(Attempt { number: 3, at: 1_700_000_000_000, next: 1_700_000_300_000 }));
    assert_eq!((read.crashes, read.held, read.pending()), (1, true, vec![2]));
    assert_eq!(read.aside.unwrap().reason, "it crashed the server 3 times");

    let released = progress(&log(&[kinds(), vec![Record::Released]].concat()));
    assert_eq!((released.crashes, released.held, released.pending()), (0, false, vec![2]));
    assert_eq!(released.aside, None);
    let attempt = Attempt { number: 4, at: 1, next: 2 };
    assert_eq!(progress(&log(&[Record::Crashed, Record::Attempt(attempt)])).crashes, 0);
}

/// The format of the version before this one: only `delivered`. It is read, and the version before reads ours.
#[test]
fn what_is_older_or_newer_is_read_as_far_as_it_is_known() {
    let old = "\ndelivered 1 7b6472b0d115cea0";
    assert_eq!(log(&[Record::Delivered(1)]), old);
    let later = format!("\nteleported 2 {}", check("s.1", "teleported 2"));
    let mixed = log(&[Record::Delivered(0)]) + &later + &log(&[Record::Delivered(2)]);
    assert_eq!(progress(&mixed).pending(), [1]);
    let anew = compact(&id("s.1"), mixed.as_bytes()).unwrap();
    assert!(anew.contains(&later), "{anew}");
    assert_eq!(progress(&anew), progress(&mixed));
}

#[test]
fn torn_anywhere_it_says_what_was_whole() {
    let records = kinds();
    let whole = log(&records);
    let ends: Vec<_> = (0..=records.len()).map(|count| log(&records[..count]).len()).collect();
    for cut in 0..=whole.len() {
        if !whole.is_char_boundary(cut) {
            continue;
        }
        let before = ends.iter().filter(|end| **end <= cut).count() - 1;
        let expected = progress(&log(&records[..before]));
        assert_eq!(progress(&whole[..cut]), expected, "cut at {cut}");
        // What is appended to a torn log is read.
        let more = log(&[Record::Delayed(0)]);
        let appended = progress(&format!("{}{more}", &whole[..cut]));
        assert!(appended.recipients[0].delayed, "cut at {cut}");
    }
}

#[test]
fn a_long_line_or_rubbish_takes_no_memory_and_hides_nothing() {
    let rubbish = "x".repeat(3_000_000);
    let text = log(&[Record::Delivered(0)]) + "\n" + &rubbish + "\n\0\0\0" + &log(&[Record::Delivered(2)]);
    assert_eq!(progress(&text).pending(), [1]);
    assert!(compact(&id("s.1"), text.as_bytes()).unwrap().len() < 100);
    let far = log(&[Record::Delivered(usize::MAX), Record::Delayed(1 << 40)]);
    assert_eq!(compact(&id("s.1"), far.as_bytes()).unwrap(), "");
}

/// Of any sequence of records, however often it is written anew in between.
#[test]
fn written_anew_a_log_says_the_same() {
    let pool = [kinds(), vec![Record::Released, Record::Delivered(2), Record::Deferred(1, failure("other"))]].concat();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    for _ in 0..300 {
        let (mut plain, mut compacted) = (String::new(), String::new());
        for _ in 0..next(25) {
            let line = pool[next(pool.len())].line(&id("s.1"));
            plain += &line;
            compacted += &line;
            if next(3) == 0 {
                compacted = compact(&id("s.1"), compacted.as_bytes()).unwrap();
            }
        }
        assert_eq!(progress(&compacted), progress(&plain), "{plain}");
    }
}

#[tokio::test]
async fn a_log_that_grows_is_written_anew() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    commit(&spool, "s.1", b"x").await.unwrap();
    spool.record(&id("s.1"), vec![Record::Delivered(1)]).await.unwrap();
    let path = state.path().join("spool/queue/s.1.log");
    let mut largest = 0;
    for at in 0..30 {
        let text = format!("{at} {}", "busy ".repeat(190));
        let many = (0..100).map(|_| Record::Deferred(0, failure(&text))).collect();
        spool.record(&id("s.1"), many).await.unwrap();
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
    }
    assert!(largest < PIECE + 200_000, "{largest}");
    let progress = spool.load(&id("s.1")).await.unwrap().progress;
    assert_eq!(progress.pending(), [0, 2]);
    assert!(progress.recipients[0].deferred.as_ref().unwrap().text.starts_with("29 "));
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
}

/// What could not be recorded is recorded into another file the next time: a file that failed once is not synced again.
#[tokio::test]
async fn after_an_error_the_log_is_written_anew() {
    let mut failures = Vec::new();
    for nth in 0.. {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        commit(&spool, "s.1", b"x").await.unwrap();
        disk.fail(nth, 5);
        let recorded = spool.record(&id("s.1"), vec![Record::Delivered(0)]).await;
        let Some(failed) = disk.failed().pop() else { break };
        recorded.unwrap_err();
        failures.push(failed);
        let before = disk.events().len();
        spool.record(&id("s.1"), vec![Record::Delivered(1)]).await.unwrap();
        let after = &disk.events()[before..];
        assert_eq!(after.iter().any(|event| matches!(event, Event::Rename { .. })), failed != "append", "{after:?}");
        assert!(!spool.load(&id("s.1")).await.unwrap().progress.pending().contains(&1), "{failed}");
        drop(spool);
        let spool = Spool::open(state.path()).unwrap();
        assert!(!spool.load(&id("s.1")).await.unwrap().progress.pending().contains(&1), "{failed}");
    }
    assert_eq!(failures, ["append", "write", "sync", "sync directory"]);
}

/// It fails at every operation of being written anew; what was recorded before is there, and so is what is said to be.
#[tokio::test]
async fn a_log_that_cannot_be_written_anew_loses_nothing() {
    let mut failures = Vec::new();
    for nth in 0.. {
        let state = tempdir().unwrap();
        let disk = Arc::new(TestDisk::default());
        let spool = open_on(state.path(), &disk);
        commit(&spool, "s.1", b"x").await.unwrap();
        spool.record(&id("s.1"), vec![Record::Delivered(0)]).await.unwrap();
        let path = state.path().join("spool/queue/s.1.log");
        let log = std::fs::read(&path).unwrap();
        std::fs::write(&path, [log, vec![b'\n'; usize::try_from(PIECE).unwrap() - 50]].concat()).unwrap();
        disk.fail(nth, 28);
        let recorded = spool.record(&id("s.1"), vec![Record::Delivered(1)]).await.is_ok();
        let Some(failed) = disk.failed().pop() else { break };
        failures.push((failed, recorded));
        let pending = spool.load(&id("s.1")).await.unwrap().progress.pending();
        assert!(!pending.contains(&0) && (!recorded || !pending.contains(&1)), "{failed}: {pending:?}");
        spool.record(&id("s.1"), vec![Record::Delivered(2)]).await.unwrap();
        let pending = spool.load(&id("s.1")).await.unwrap().progress.pending();
        assert!(!pending.contains(&0) && !pending.contains(&2), "{failed}: {pending:?}");
        assert_eq!(names(state.path(), "incoming"), [""; 0], "{failed}");
    }
    let expected = [
        ("append", false),
        ("create", true),
        ("write", true),
        ("sync", true),
        ("rename", false),
        ("sync directory", false),
    ];
    assert_eq!(failures, expected);
}
