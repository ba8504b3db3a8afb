//! What the spool does when nothing goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::tempdir;
use tokio::task::JoinSet;

use super::disk::{Event, TestDisk};
use super::*;

const KIB64: usize = 64 * 1024;

#[test]
fn ids() {
    for good in ["a", "01HZX7.1", "0-9.A", &"x".repeat(64), "a..b", "log", "x.logs", "a.tmp.1"] {
        assert_eq!(good.parse::<MessageId>().unwrap().to_string(), good);
        assert_eq!(serde_json::from_str::<MessageId>(&format!("{good:?}")).unwrap().as_str(), good);
    }
    let long = "x".repeat(65);
    for bad in ["", ".", "..", ".a", "a/b", "a b", "a\0", "ü", "a_b", "a:2,S", "1.log", "1.tmp", "a\n", &long] {
        assert!(bad.parse::<MessageId>().is_err(), "{bad:?}");
        assert!(serde_json::from_value::<MessageId>(bad.into()).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for (at, len) in [0, 1, KIB64 - 1, KIB64, KIB64 + 1, 2 * KIB64, 3 * KIB64 + 17, 1_000_000].into_iter().enumerate() {
        let name = format!("s.{at}");
        commit(&spool, &name, &content(len)).await.unwrap();
        let stored = spool.load(&id(&name)).await.unwrap();
        assert_eq!(stored.envelope, envelope(&id(&name)));
        assert_eq!(stored.content_len, len as u64);
        assert_eq!(stored.progress.pending(), [0, 1, 2]);
        assert!(read(&stored) == content(len), "{len} octets");
        assert!(read(&stored) == content(len), "a second time, {len} octets");
        assert_eq!(spool.depth(), at as u64 + 1);
    }
    assert_eq!(queued(&spool).len(), 8);
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
}

/// Files written by every version are read for ever: this one was written by the first.
#[tokio::test]
async fn format_1_is_read() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let name = id("01GOLDEN.1");
    fs::write(state.path().join("spool/queue/01GOLDEN.1"), include_bytes!("format-1")).unwrap();
    let stored = spool.load(&name).await.unwrap();
    assert_eq!(read(&stored), b"Subject: golden\r\n\r\nNothing in here \0 ends it: END\r\n");
    assert_eq!(stored.envelope, envelope(&name));
    assert_eq!(stored.progress.pending(), [0, 1, 2]);

    // Its log, as the version that knew of nothing but successes wrote it, and as this one does.
    let log = state.path().join("spool/queue/01GOLDEN.1.log");
    fs::write(&log, include_bytes!("format-1.log")).unwrap();
    assert_eq!(spool.load(&name).await.unwrap().progress.pending(), [0, 2]);
    fs::write(&log, include_bytes!("format-1.journal")).unwrap();
    let progress = spool.load(&name).await.unwrap().progress;
    assert_eq!((progress.pending(), progress.crashes, progress.held), (vec![2], 1, true));
    assert_eq!(progress.attempt, Some(Attempt { number: 3, at: 1_700_000_000_000, next: 1_700_000_300_000 }));
    let standing = &progress.recipients[2];
    let busy = Failure {
        remote: Some("mx.example.net".to_owned()),
        reply: Some("450 4.2.1 busy ü".to_owned()),
        ..Failure::local("4.2.1", "it is busy", Reach::Message)
    };
    assert_eq!((standing.deferred.as_ref(), standing.delayed), (Some(&busy), true));
    let failed = progress.recipients[0].ended.as_ref();
    assert!(matches!(failed, Some(Ended::Failed(failure)) if failure.status == "5.1.1"), "{failed:?}");
}

/// A start looks at names alone, and at none of the messages.
#[test]
fn a_hundred_thousand_messages_are_no_wait() {
    let state = tempdir().unwrap();
    drop(Spool::open(state.path()).unwrap());
    let queue = state.path().join("spool/queue");
    // Few files under many names: a directory of the same size, made in a fraction of the time.
    for file in 0..4 {
        let first = queue.join(format!("s.{file}"));
        fs::write(&first, "of no interest").unwrap();
        for at in 1..25_000 {
            fs::hard_link(&first, queue.join(format!("01JDZK3V5N8Q2R7T9W4X6Y1B0{file}.{at}"))).unwrap();
        }
    }
    let begun = std::time::Instant::now();
    let spool = Spool::open(state.path()).unwrap();
    let took = begun.elapsed();
    assert_eq!(spool.depth(), 100_000);
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_draft_is_kept_in_memory_up_to_64_kib() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let octets = content(3 * KIB64 + 100);
    let mut draft = spool.begin(id("s.1"));
    assert!(draft.is_empty());
    draft.write(&octets[..KIB64]).await.unwrap();
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
    draft.write(&octets[KIB64..KIB64 + 1]).await.unwrap();
    assert_eq!(names(state.path(), "incoming"), ["s.1.tmp"]);
    assert_eq!(mode(&state.path().join("spool/incoming/s.1.tmp")), 0o600);
    draft.write(&octets[KIB64 + 1..]).await.unwrap();
    assert_eq!(draft.len(), octets.len() as u64);
    draft.discard().await;
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
    assert_eq!((queued(&spool).len(), spool.depth()), (0, 0));
}

#[tokio::test]
async fn a_draft_can_be_read_back() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for len in [0, 100, KIB64, KIB64 + 1, 3 * KIB64 + 100] {
        let octets = content(len);
        let mut draft = spool.begin(id("s.1"));
        draft.write(&octets).await.unwrap();
        let edges = [0, 1, 99, 100, KIB64 - 18, KIB64 - 1, KIB64, KIB64 + 1, 3 * KIB64, 3 * KIB64 + 100, usize::MAX];
        for offset in edges {
            for wanted in [0, 1, 50, KIB64 - 1, KIB64, usize::MAX] {
                let start = offset.min(len);
                let end = start.saturating_add(wanted.min(KIB64)).min(len);
                let got = draft.read(offset as u64, wanted).await.unwrap();
                assert!(got == octets[start..end], "{len} octets, {wanted} at {offset}: {} instead", got.len());
            }
        }
        assert!(draft.read(u64::MAX, 1).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_dropped_draft_leaves_nothing() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let mut draft = spool.begin(id("s.1"));
    draft.write(&content(200_000)).await.unwrap();
    assert_eq!(names(state.path(), "incoming").len(), 1);
    drop(draft);
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
}

#[test]
fn a_call_that_is_given_up_leaves_nothing() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    for first in [100, KIB64, 2 * KIB64] {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let mut draft = spool.begin(id("s.1"));
            draft.write(&content(first)).await.unwrap();
            // Whatever comes now waits behind this.
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || wait.recv());
            let more = content(2 * KIB64);
            tokio::select! {
                biased;
                result = draft.write(&more) => panic!("ended at once: {result:?}"),
                () = async {} => {}
            }
            drop(go_on);
            assert!(!draft.write(b"more").await.unwrap_err().is_full());
            assert!(draft.read(0, 1).await.is_err());
        });
        // Waits for the threads the call left behind.
        drop(runtime);
        assert_eq!(names(state.path(), "incoming"), [""; 0]);
    }
}

#[tokio::test]
async fn recipients_are_settled_one_by_one() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    commit(&spool, "s.1", b"x").await.unwrap();
    let name = id("s.1");
    for (recipient, left) in [(1, vec![0, 2]), (0, vec![2]), (0, vec![2]), (2, vec![])] {
        spool.record(&name, vec![Record::Delivered(recipient)]).await.unwrap();
        assert_eq!(spool.load(&name).await.unwrap().progress.pending(), left);
    }
    drop(spool);
    let spool = Spool::open(state.path()).unwrap();
    assert_eq!(spool.load(&name).await.unwrap().progress.pending(), [0; 0]);
    assert_eq!((spool.depth(), spool.foreign()), (1, 0));
    assert_eq!(mode(&state.path().join("spool/queue/s.1.log")), 0o600);
    spool.remove(&name).await.unwrap();
    assert_eq!(names(state.path(), "queue"), [""; 0]);
    assert_eq!(spool.depth(), 0);
    spool.remove(&name).await.unwrap();
    assert_eq!(spool.depth(), 0);
    assert!(matches!(spool.load(&name).await, Err(LoadError::Gone)));
}

#[tokio::test]
async fn a_message_stays_readable_while_it_is_removed() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    commit(&spool, "s.1", &content(300_000)).await.unwrap();
    let stored = spool.load(&id("s.1")).await.unwrap();
    spool.remove(&id("s.1")).await.unwrap();
    assert!(read(&stored) == content(300_000));
}

#[tokio::test]
async fn an_id_is_never_used_twice() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    commit(&spool, "s.1", b"first").await.unwrap();
    assert!(!commit(&spool, "s.1", b"second").await.unwrap_err().is_full());
    assert_eq!(read(&spool.load(&id("s.1")).await.unwrap()), b"first");
    // The log of another message would settle recipients of this one.
    fs::write(state.path().join("spool/queue/s.2.log"), "").unwrap();
    assert!(commit(&spool, "s.2", b"x").await.is_err());
    let mut one = spool.begin(id("s.3"));
    one.write(&content(100_000)).await.unwrap();
    assert!(commit(&spool, "s.3", b"x").await.is_err());
    one.commit(envelope(&id("s.3"))).await.unwrap();
    assert!(read(&spool.load(&id("s.3")).await.unwrap()) == content(100_000));
    assert!(spool.begin(id("s.4")).commit(envelope(&id("s.5"))).await.is_err());
    assert_eq!((queued(&spool), spool.depth()), (vec!["s.1".to_owned(), "s.3".to_owned()], 2));
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
}

#[tokio::test]
async fn an_envelope_has_a_limit() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let mut large = envelope(&id("s.1"));
    large.message.insert("key".to_owned(), "x".repeat(17 * 1024 * 1024));
    assert!(spool.begin(id("s.1")).commit(large).await.is_err());
    assert_eq!((names(state.path(), "incoming").len(), spool.depth()), (0, 0));
}

#[tokio::test]
async fn arrivals_are_announced_in_bounded_memory() {
    let (announcer, mut arrivals) = Announcer::new(2);
    for name in ["a", "b", "c", "d"] {
        announcer.announce(id(name));
    }
    assert_eq!(arrivals.waiting(), 2);
    let mut news = Vec::new();
    for _ in 0..3 {
        news.push(arrivals.next().await);
    }
    assert_eq!(news, [Arrival::Message(id("a")), Arrival::Message(id("b")), Arrival::Many]);

    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    let mut arrivals = spool.arrivals().unwrap();
    assert!(spool.arrivals().is_none());
    commit(&spool, "s.1", b"x").await.unwrap();
    assert_eq!(arrivals.next().await, Arrival::Message(id("s.1")));
}

#[tokio::test]
async fn the_name_is_durable_before_the_answer() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    let opened = disk.events().len();
    commit(&spool, "s.1", b"x").await.unwrap();
    let queue = state.path().join("spool/queue");
    let events = disk.events().split_off(opened);
    let [
        Event::Create { path, file },
        Event::Write { file: written, .. },
        Event::Sync { file: synced },
        Event::Rename { from, to },
        Event::SyncDirectory { path: directory },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((file, file), (written, synced));
    assert_eq!((path, to, directory), (from, &queue.join("s.1"), &queue));
}

#[tokio::test]
async fn one_directory_sync_serves_every_rename_before_it() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    let opened = disk.events().len();
    disk.await_renames(50);
    let mut commits = JoinSet::new();
    for at in 0..50 {
        let spool = spool.clone();
        commits.spawn(async move { commit(&spool, &format!("s.{at}"), &content(at * 2000)).await });
    }
    assert!(commits.join_all().await.into_iter().all(|done| done.is_ok()));
    let events = disk.events().split_off(opened);
    let syncs: Vec<_> = (0..events.len()).filter(|at| matches!(events[*at], Event::SyncDirectory { .. })).collect();
    let last_rename = events.iter().rposition(|event| matches!(event, Event::Rename { .. })).unwrap();
    // Each waited for all the renames, so only who had not joined by then needs another; see also `directory`.
    assert!(syncs.len() < 25 && syncs[0] > last_rename, "{syncs:?}");
    assert_eq!((queued(&spool).len(), spool.depth()), (50, 50));
}

#[tokio::test]
async fn the_state_directory_belongs_to_one_server() {
    let parent = tempdir().unwrap();
    let state = parent.path().join("some/where/state");
    let spool = Spool::open(&state).unwrap();
    for directory in ["", "spool", "spool/incoming", "spool/queue", "spool/corrupt"] {
        assert_eq!(mode(&state.join(directory)), 0o700, "{directory}");
    }
    assert_eq!(mode(&state.join("lock")), 0o600);
    let error = Spool::open(&state).unwrap_err().to_string();
    let expected = format!("the state directory {} is in use by process {}", state.display(), std::process::id());
    assert_eq!(error, expected);
    let draft = spool.begin(id("s.1"));
    drop(spool);
    assert!(Spool::open(&state).is_err(), "a draft still writes here");
    drop(draft);
    Spool::open(&state).unwrap();
}

#[test]
fn what_cannot_be_a_state_directory_says_so() {
    let parent = tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Spool::open(&file).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot make {}", file.display()));
    let state = parent.path().join("state");
    fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink(&file, state.join("lock")).unwrap();
    let error = Spool::open(&state).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot lock {}", state.join("lock").display()));
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn directories_are_durable_in_their_parents() {
    let parent = tempdir().unwrap();
    let state = parent.path().join("some/state");
    let disk = Arc::new(TestDisk::default());
    drop(open_on(&state, &disk));
    let synced = disk.events();
    for made in ["some", "some/state", "some/state/spool", "some/state/spool/queue", "some/state/spool/incoming"] {
        let path = parent.path().join(made).parent().unwrap().to_owned();
        assert!(synced.contains(&Event::SyncDirectory { path }), "{made}");
    }
    drop(open_on(&state, &disk));
    let again = disk.events().split_off(synced.len());
    let expected = [state.join("spool"), state].map(|path| Event::SyncDirectory { path });
    assert_eq!(again, expected, "a start that was killed may have made them");
}

#[tokio::test]
async fn a_start_removes_what_was_never_acknowledged() {
    let state = tempdir().unwrap();
    let spool = Spool::open(state.path()).unwrap();
    commit(&spool, "s.1", b"x").await.unwrap();
    spool.record(&id("s.1"), vec![Record::Delivered(0)]).await.unwrap();
    drop(spool);
    let spool_dir = state.path().join("spool");
    for litter in ["incoming/s.2.tmp", "incoming/s.3.tmp", "incoming/note", "queue/gone.log"] {
        fs::write(spool_dir.join(litter), "half").unwrap();
    }
    fs::create_dir(spool_dir.join("incoming/dir.tmp")).unwrap();
    let spool = Spool::open(state.path()).unwrap();
    assert_eq!(names(state.path(), "incoming"), ["dir.tmp", "note"]);
    assert_eq!(names(state.path(), "queue"), ["s.1", "s.1.log"]);
    assert_eq!(spool.depth(), 1);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
