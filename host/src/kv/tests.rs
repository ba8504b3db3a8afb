//! The store as its callers see it, and what becomes of its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const WIDE: Space<'_> = Space { name: "a/", quota: 1 << 20 };

/// A store in a directory of its own, with a clock that stands until it is set.
struct Stage {
    directory: TempDir,
    now: Arc<AtomicU64>,
}

impl Stage {
    fn new() -> Stage {
        Stage { directory: tempfile::tempdir().unwrap(), now: Arc::new(AtomicU64::new(1_700_000_000_000)) }
    }

    fn open(&self) -> Kv {
        self.open_in(self.directory.path())
    }

    fn open_in(&self, directory: &Path) -> Kv {
        let now = self.now.clone();
        Kv::open(directory, Arc::new(move || now.load(Ordering::SeqCst))).unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }
}

async fn text(kv: &Kv, key: &str) -> Option<String> {
    kv.get(key).await.unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[tokio::test]
async fn values_are_set_read_replaced_and_taken_away() {
    let stage = Stage::new();
    let kv = stage.open();
    assert_eq!(text(&kv, "a/x").await, None);
    kv.set(WIDE, "a/x", b"one".to_vec(), 0).await.unwrap();
    kv.set(WIDE, "a/y", Vec::new(), 0).await.unwrap();
    assert_eq!((text(&kv, "a/x").await.as_deref(), text(&kv, "a/y").await.as_deref()), (Some("one"), Some("")));
    kv.set(WIDE, "a/x", b"two".to_vec(), 0).await.unwrap();
    assert_eq!(text(&kv, "a/x").await.as_deref(), Some("two"));
    kv.unset("a/x").await.unwrap();
    kv.unset("a/x").await.unwrap();
    assert_eq!(text(&kv, "a/x").await, None);
    assert_eq!(fs::metadata(stage.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_value_ends_with_its_time() {
    let stage = Stage::new();
    let kv = stage.open();
    kv.set(WIDE, "a/short", b"x".to_vec(), 10).await.unwrap();
    kv.set(WIDE, "a/never", b"x".to_vec(), 0).await.unwrap();
    kv.set(WIDE, "a/longest", b"x".to_vec(), u64::MAX).await.unwrap();
    kv.set(WIDE, "a/renewed", b"x".to_vec(), 10).await.unwrap();
    stage.pass(9);
    assert_eq!(text(&kv, "a/short").await.as_deref(), Some("x"));
    kv.set(WIDE, "a/renewed", b"y".to_vec(), 10).await.unwrap();
    stage.pass(1);
    kv.flush().await.unwrap();
    let left = [("short", None), ("never", Some("x")), ("longest", Some("x")), ("renewed", Some("y"))];
    for (key, value) in left {
        assert_eq!(text(&kv, &format!("a/{key}")).await.as_deref(), value, "{key}");
    }
}

#[tokio::test]
async fn a_counter_keeps_the_time_it_began_with() {
    let stage = Stage::new();
    let kv = stage.open();
    assert_eq!(kv.increment(WIDE, "a/n", 2, 10).await, Ok(2));
    stage.pass(9);
    assert_eq!(kv.increment(WIDE, "a/n", -5, 1000).await, Ok(-3));
    assert_eq!(text(&kv, "a/n").await.as_deref(), Some("-3"));
    stage.pass(1);
    assert_eq!(kv.increment(WIDE, "a/n", 1, 0).await, Ok(1), "it began anew");
    stage.pass(1_000_000);
    assert_eq!(kv.increment(WIDE, "a/n", 1, 10).await, Ok(2), "for ever, as it began");
}

#[tokio::test]
async fn a_counter_refuses_what_it_cannot_be() {
    let stage = Stage::new();
    let kv = stage.open();
    kv.set(WIDE, "a/text", b"many".to_vec(), 0).await.unwrap();
    kv.set(WIDE, "a/set", b"41".to_vec(), 0).await.unwrap();
    kv.increment(WIDE, "a/most", i64::MAX, 0).await.unwrap();
    kv.increment(WIDE, "a/least", i64::MIN, 0).await.unwrap();
    for (key, by, answer) in [
        ("text", 1, Err(KvError::NotACounter)),
        ("set", 1, Ok(42)),
        ("most", 1, Err(KvError::Overflow)),
        ("most", 0, Ok(i64::MAX)),
        ("least", -1, Err(KvError::Overflow)),
        ("least", 1, Ok(i64::MIN + 1)),
    ] {
        assert_eq!(kv.increment(WIDE, &format!("a/{key}"), by, 0).await, answer, "{key}");
    }
}

/// No two calls ever answer the same sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_are_counted_up_by_many_at_once() {
    let stage = Stage::new();
    let kv = stage.open();
    for view in [kv.clone(), kv.shadow()] {
        let call = |view: Kv| async move { view.increment(WIDE, "a/n", 1, 0).await.unwrap() };
        let calls = (0..500).map(|_| tokio::spawn(call(view.clone()))).collect::<Vec<_>>();
        let mut sums = Vec::new();
        for call in calls {
            sums.push(call.await.unwrap());
        }
        sums.sort_unstable();
        let before = sums[0];
        assert_eq!(sums, (before..before + 500).collect::<Vec<_>>());
    }
    assert_eq!(text(&kv, "a/n").await.as_deref(), Some("500"), "what a view counted is not seen");
}

#[tokio::test]
async fn keys_and_values_have_bounds() {
    let stage = Stage::new();
    let kv = stage.open();
    let longest = format!("a/{}", "k".repeat(LONGEST_KEY));
    let space = Space { name: "a/", quota: 1 << 20 };
    let value = |octets: usize| vec![b'v'; octets];
    for (key, octets, answer) in [
        ("a/", 1, Err(KvError::Key)),
        ("b/x", 1, Err(KvError::Key)),
        (&*longest, 1, Ok(())),
        (&*format!("{longest}k"), 1, Err(KvError::Key)),
        ("a/x", LARGEST_VALUE, Ok(())),
        ("a/x", LARGEST_VALUE + 1, Err(KvError::Value)),
        ("a/\0\u{e9}/ \n", 1, Ok(())),
    ] {
        assert_eq!(kv.set(space, key, value(octets), 0).await, answer, "{key:?} {octets}");
    }
    assert_eq!(kv.increment(space, "a/", 1, 0).await, Err(KvError::Key));
}

#[tokio::test]
async fn a_namespace_holds_what_its_quota_says() {
    let stage = Stage::new();
    let kv = stage.open();
    // Ten keys of four octets with a value of six.
    let space = Space { name: "a/", quota: 100 };
    for number in 0..10 {
        kv.set(space, &format!("a/{number:02}"), b"123456".to_vec(), if number < 5 { 10 } else { 0 }).await.unwrap();
    }
    assert_eq!(kv.set(space, "a/10", Vec::new(), 0).await, Err(KvError::Full));
    assert_eq!(kv.increment(space, "a/10", 1, 0).await, Err(KvError::Full));
    assert_eq!(text(&kv, "a/10").await, None, "what is refused has no effect");
    // In the place of another it fits, as long as it is no larger; so does what another may hold.
    kv.set(space, "a/00", b"654321".to_vec(), 10).await.unwrap();
    assert_eq!(kv.set(space, "a/00", b"7654321".to_vec(), 10).await, Err(KvError::Full));
    kv.set(Space { quota: 110, ..space }, "a/10", b"123456".to_vec(), 0).await.unwrap();
    kv.set(Space { name: "b/", quota: 10 }, "b/00", b"123456".to_vec(), 0).await.unwrap();
    kv.set(space, "a/10", b"12345".to_vec(), 0).await.unwrap();
    kv.unset("a/10").await.unwrap();
    // What is over makes room at once.
    stage.pass(10);
    kv.set(space, "a/11", vec![b'x'; 46], 0).await.unwrap();
    assert_eq!(kv.set(space, "a/12", Vec::new(), 0).await, Err(KvError::Full));
}

/// A namespace may lie in another; each counts what it holds, whichever was there first, and after a restart too.
#[tokio::test]
async fn namespaces_within_namespaces_count_both() {
    let stage = Stage::new();
    let (outer, inner) = (Space { name: "a/", quota: 20 }, Space { name: "a/b/", quota: 20 });
    let kv = stage.open();
    kv.set(outer, "a/b/1", b"12345".to_vec(), 0).await.unwrap();
    kv.set(inner, "a/b/2", b"12345".to_vec(), 0).await.unwrap();
    for kv in [kv.clone(), {
        kv.close().await;
        stage.open()
    }] {
        if kv.get("a/b/1").await.is_err() {
            continue;
        }
        assert_eq!(kv.set(outer, "a/3", Vec::new(), 0).await, Err(KvError::Full));
        assert_eq!(kv.set(inner, "a/b/3", Vec::new(), 0).await, Err(KvError::Full));
    }
}

#[tokio::test]
async fn a_close_keeps_everything() {
    let stage = Stage::new();
    let kv = stage.open();
    kv.set(WIDE, "a/x", b"one".to_vec(), 10).await.unwrap();
    kv.increment(WIDE, "a/n", 5, 0).await.unwrap();
    kv.close().await;
    assert_eq!(kv.get("a/x").await, Err(KvError::Unavailable));
    kv.close().await;
    let kv = stage.open();
    assert_eq!((text(&kv, "a/x").await.as_deref(), kv.increment(WIDE, "a/n", 1, 0).await), (Some("one"), Ok(6)));
    // Time goes on while nobody serves.
    kv.close().await;
    stage.pass(10);
    assert_eq!(text(&stage.open(), "a/x").await, None);
}

/// The file as it lies on the disk at this moment is what a crash leaves.
#[tokio::test]
async fn a_crash_keeps_what_was_durable() {
    let stage = Stage::new();
    let kv = stage.open();
    for number in 0..100 {
        kv.set(WIDE, &format!("a/{number}"), b"durable".to_vec(), 0).await.unwrap();
    }
    kv.flush().await.unwrap();
    kv.set(WIDE, "a/0", b"later".to_vec(), 0).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    fs::copy(stage.file(), crashed.path().join(FILE)).unwrap();
    let after = stage.open_in(crashed.path());
    for number in 1..100 {
        assert_eq!(text(&after, &format!("a/{number}")).await.as_deref(), Some("durable"));
    }
    let either = text(&after, "a/0").await.unwrap();
    assert!(either == "durable" || either == "later", "{either}");
    after.set(WIDE, "a/new", b"x".to_vec(), 0).await.unwrap();
    assert_eq!(fs::read_dir(crashed.path()).unwrap().count(), 1, "nothing was set aside");
}

/// What was written is durable within a second or so, with nobody asking for it.
#[tokio::test]
async fn writes_become_durable_by_themselves() {
    let stage = Stage::new();
    let kv = stage.open();
    kv.set(WIDE, "a/x", b"x".to_vec(), 0).await.unwrap();
    let began = std::time::Instant::now();
    loop {
        let crashed = tempfile::tempdir().unwrap();
        fs::copy(stage.file(), crashed.path().join(FILE)).unwrap();
        let after = stage.open_in(crashed.path());
        let found = after.get("a/x").await;
        after.close().await;
        if found == Ok(Some(b"x".to_vec())) {
            break;
        }
        assert!(began.elapsed().as_secs() < 30, "{found:?}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let stage = Stage::new();
    let kv = stage.open();
    for number in 0..2000 {
        kv.set(WIDE, &format!("a/{number}"), vec![b'x'; 100], 0).await.unwrap();
    }
    kv.close().await;
    let good = fs::read(stage.file()).unwrap();
    let mut first_page = good.clone();
    first_page[..512].fill(0x55);
    let mut pages = good.clone();
    pages[4096..].fill(0xaa);
    let damages = [b"no store at all".to_vec(), good[..good.len() / 3].to_vec(), first_page, pages];
    for (number, damage) in damages.into_iter().enumerate() {
        fs::write(stage.file(), &damage).unwrap();
        let kv = stage.open();
        // It may be found to be damaged only now: that call finds nothing, and the next has a new one.
        for key in ["a/1", "a/1000", "a/1999"] {
            let _ = kv.get(key).await;
            let _ = kv.set(WIDE, key, b"y".to_vec(), 0).await;
        }
        kv.set(WIDE, "a/x", b"x".to_vec(), 0).await.unwrap();
        assert_eq!(text(&kv, "a/x").await.as_deref(), Some("x"));
        kv.close().await;
        let aside = stage.directory.path().join(format!("kv.redb.damaged-{}", number + 1));
        assert!(aside.exists(), "{number}");
    }
}

/// Somebody else's mistake must not cost what is in the file.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_left_alone() {
    let stage = Stage::new();
    fs::create_dir(stage.file()).unwrap();
    let kv = stage.open();
    assert_eq!(kv.get("a/x").await, Err(KvError::Unavailable));
    assert_eq!(kv.flush().await, Err(KvError::Unavailable));
    kv.close().await;
    assert!(stage.file().is_dir());
    assert_eq!(fs::read_dir(stage.directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn nobody_makes_a_file_that_nobody_needs() {
    let stage = Stage::new();
    let kv = stage.open();
    kv.begin();
    kv.close().await;
    assert!(!stage.file().exists());
}

/// What waits to expire takes room only until it is swept, also where nobody asks for it again.
#[tokio::test]
async fn what_is_over_is_taken_away() {
    let stage = Stage::new();
    let kv = stage.open();
    for number in 0..2500 {
        kv.set(WIDE, &format!("a/{number}"), b"x".to_vec(), 10).await.unwrap();
    }
    kv.set(WIDE, "a/stays", b"x".to_vec(), 0).await.unwrap();
    stage.pass(10);
    kv.flush().await.unwrap();
    kv.close().await;
    let mut store = store::Store::open(&stage.file()).unwrap();
    assert!(!store.has_expired(u64::MAX - 1).unwrap());
    let operation = Operation::Get { key: "a/stays".to_owned() };
    assert!(matches!(&*store.apply(&[&operation], 0).unwrap(), [Ok(Answer::Value(Some(_)))]));
}

#[tokio::test]
async fn a_view_reads_what_is_there_and_writes_nothing() {
    let stage = Stage::new();
    let kv = stage.open();
    for key in ["a/kept", "a/changed", "a/gone"] {
        kv.set(WIDE, key, b"one".to_vec(), 0).await.unwrap();
    }
    kv.increment(WIDE, "a/n", 5, 10).await.unwrap();
    let view = kv.shadow();
    view.set(WIDE, "a/changed", b"two".to_vec(), 0).await.unwrap();
    view.set(WIDE, "a/new", b"two".to_vec(), 5).await.unwrap();
    view.unset("a/gone").await.unwrap();
    assert_eq!(view.increment(WIDE, "a/n", 1, 1000).await, Ok(6));
    assert_eq!(view.increment(WIDE, "a/kept", 1, 0).await, Err(KvError::NotACounter));
    // Two clones are one view, two views are two.
    let (same, other) = (view.clone(), view.shadow());
    for (key, seen, behind) in [
        ("a/kept", Some("one"), Some("one")),
        ("a/changed", Some("two"), Some("one")),
        ("a/new", Some("two"), None),
        ("a/gone", None, Some("one")),
        ("a/n", Some("6"), Some("5")),
    ] {
        assert_eq!(text(&same, key).await.as_deref(), seen, "{key}");
        assert_eq!(text(&kv, key).await.as_deref(), behind, "{key}");
        assert_eq!(text(&other, key).await.as_deref(), behind, "{key}");
    }
    // Later changes behind it are seen where the view wrote nothing.
    kv.set(WIDE, "a/kept", b"three".to_vec(), 0).await.unwrap();
    kv.set(WIDE, "a/new", b"three".to_vec(), 0).await.unwrap();
    stage.pass(10);
    assert_eq!(text(&view, "a/kept").await.as_deref(), Some("three"));
    assert_eq!(text(&view, "a/new").await, None, "its own was over; what is behind is another");
    assert_eq!(text(&view, "a/n").await, None, "it kept the time it began with");
}

#[tokio::test]
async fn a_view_takes_no_more_memory_than_it_may() {
    let stage = Stage::new();
    let view = stage.open().shadow();
    let space = Space { name: "a/", quota: u64::MAX };
    let fit = shadow::ROOM / (LARGEST_VALUE + shadow::OVERHEAD + "a/0000".len());
    for number in 0..fit {
        view.set(space, &format!("a/{number:04}"), vec![0; LARGEST_VALUE], 0).await.unwrap();
    }
    assert_eq!(view.set(space, "a/more", vec![0; LARGEST_VALUE], 0).await, Err(KvError::Full));
    view.set(space, "a/0000", Vec::new(), 0).await.unwrap();
    view.set(space, "a/more", vec![0; LARGEST_VALUE], 0).await.unwrap();
}

/// Counters by address and hour fill it in a day; those of yesterday must not keep out those of today.
#[tokio::test]
async fn what_has_expired_in_a_view_makes_room() {
    let stage = Stage::new();
    let view = stage.open().shadow();
    let space = Space { name: "a/", quota: u64::MAX };
    let fill = async |first: usize, ttl: u64| {
        let mut number = first;
        while view.set(space, &format!("a/{number:06}"), vec![0; LARGEST_VALUE], ttl).await.is_ok() {
            number += 1;
        }
        number - first
    };
    let fit = fill(0, 10).await;
    stage.pass(9);
    assert_eq!(fill(100_000, 10).await, 0);
    stage.pass(1);
    view.unset("a/000000").await.unwrap();
    view.increment(space, "a/n", 1, 0).await.unwrap();
    assert_eq!(fill(200_000, 0).await, fit);
    assert_eq!(text(&view, "a/n").await.as_deref(), Some("1"), "what lasts stays");
    stage.pass(1_000_000);
    assert_eq!(fill(300_000, 10).await, 0);
}

/// Where the store behind is slow, only those wait who read what is there.
#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "it is the thread of the store that is to wait for it")]
async fn a_view_of_a_slow_store_writes_all_the_same() {
    let stage = Stage::new();
    let slow = Arc::new(std::sync::Mutex::new(()));
    let gate = slow.clone();
    let clock = move || {
        // The store asks for the time in its thread, the view in the caller's.
        if std::thread::current().name() == Some("kv") {
            drop(gate.lock().unwrap());
        }
        1_700_000_000_000
    };
    let kv = Kv::open(stage.directory.path(), Arc::new(clock)).unwrap();
    let view = kv.shadow();
    let held = slow.lock().unwrap();
    let mut behind = Box::pin(view.increment(WIDE, "a/n", 1, 0));
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(behind.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    let patience = std::time::Duration::from_secs(5);
    let written = tokio::time::timeout(patience, view.set(WIDE, "a/n", b"41".to_vec(), 0)).await;
    assert_eq!(written, Ok(Ok(())));
    drop(held);
    assert_eq!(behind.await, Ok(42), "what was written meanwhile counts");
}
