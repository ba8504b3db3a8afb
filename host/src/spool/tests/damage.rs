//! What lies in the queue can be anything; the rest of it is served all the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::{TempDir, tempdir};

use super::super::format::{Footer, HEADER};
use super::*;

/// A spool with a good message, beside which others are damaged.
struct Bed {
    state: TempDir,
    spool: Spool,
    /// The file of a good message.
    good: Vec<u8>,
}

impl Bed {
    async fn new(len: usize) -> Bed {
        let state = tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        commit(&spool, "s.1", &content(len)).await.unwrap();
        let good = fs::read(state.path().join("spool/queue/s.1")).unwrap();
        spool.remove(&id("s.1")).await.unwrap();
        commit(&spool, "s.0", b"the good one").await.unwrap();
        Bed { state, spool, good }
    }

    fn queue(&self, name: &str) -> PathBuf {
        self.state.path().join("spool/queue").join(name)
    }

    /// Loads `file` as the message `s.1`, and looks after the others.
    async fn load(&self, file: &[u8]) -> Result<Stored, LoadError> {
        let (message, log) = (self.queue("s.1"), self.queue("s.1.log"));
        fs::write(&message, file).unwrap();
        fs::write(&log, "a log").unwrap();
        let result = self.spool.load(&id("s.1")).await;
        let corrupt = self.state.path().join("spool/corrupt");
        if let Err(LoadError::Damaged(_)) = &result {
            assert!(!message.exists() && !log.exists());
            assert_eq!(fs::read(corrupt.join("s.1")).unwrap(), file);
            assert_eq!(fs::read(corrupt.join("s.1.log")).unwrap(), b"a log");
        } else {
            assert!(message.exists());
        }
        assert_eq!(read(&self.spool.load(&id("s.0")).await.unwrap()), b"the good one");
        result
    }
}

fn is_damaged(result: &Result<Stored, LoadError>) -> bool {
    matches!(result, Err(LoadError::Damaged(_)))
}

#[tokio::test]
async fn truncated_anywhere() {
    for len in [300, 200_000] {
        let bed = Bed::new(len).await;
        for sixteenth in 0..16 {
            let result = bed.load(&bed.good[..bed.good.len() * sixteenth / 16]).await;
            assert!(is_damaged(&result), "{len}, {sixteenth}: {result:?}");
        }
        for missing in 1..200.min(bed.good.len()) {
            let result = bed.load(&bed.good[..bed.good.len() - missing]).await;
            assert!(is_damaged(&result), "{len}, {missing} missing: {result:?}");
        }
        let result = bed.load(&[&bed.good[..], b"\n"].concat()).await;
        assert!(is_damaged(&result), "{result:?}");
        assert!(bed.load(&bed.good).await.is_ok());
    }
}

#[tokio::test]
async fn any_bit_flipped() {
    let bed = Bed::new(50).await;
    let version = HEADER.len() - 2;
    for at in 0..bed.good.len() {
        let mut file = bed.good.clone();
        file[at] ^= 1 << (at % 8);
        match bed.load(&file).await {
            Err(LoadError::Damaged(_)) => {}
            Err(LoadError::Version(_)) if at == version => {}
            other => panic!("octet {at}: {other:?}"),
        }
    }
    let bed = Bed::new(200_000).await;
    for sixteenth in 0..16 {
        let mut file = bed.good.clone();
        let at = file.len() * sixteenth / 16;
        file[at] ^= 0x40;
        let result = bed.load(&file).await;
        assert!(is_damaged(&result), "{sixteenth}: {result:?}");
        let mut file = bed.good.clone();
        let end = (at + 4096).min(file.len());
        file[at..end].fill(0);
        let result = bed.load(&file).await;
        assert!(is_damaged(&result), "zeros at {sixteenth}: {result:?}");
    }
}

#[tokio::test]
async fn lengths_and_envelopes_that_lie() {
    let bed = Bed::new(50).await;
    let body = &bed.good[..bed.good.len() - format::FOOTER_LEN];
    let envelope_len = body.len() - HEADER.len() - 50;
    let sign = |body: &[u8], content: u64, envelope: u32| {
        use sha2::{Digest, Sha256};
        let footer = Footer { content, envelope, digest: Sha256::digest(body).into() };
        [body, footer.encode().as_bytes()].concat()
    };
    assert!(bed.load(&sign(body, 50, envelope_len as u32)).await.is_ok());
    for (content, envelope) in [
        (51, envelope_len as u32),
        (51, envelope_len as u32 - 1),
        (49, envelope_len as u32 + 1),
        (u64::MAX, u32::MAX),
        (u64::MAX - 17, envelope_len as u32),
        (0, 0),
        (50 + envelope_len as u64, 0),
    ] {
        let result = bed.load(&sign(body, content, envelope)).await;
        assert!(is_damaged(&result), "{content} {envelope}: {result:?}");
    }
    for json in ["", "{}\n", "null\n", "[[[[[[\n", "\u{0}"] {
        let body = [HEADER, &content(50), json.as_bytes()].concat();
        let result = bed.load(&sign(&body, 50, json.len() as u32)).await;
        assert!(is_damaged(&result), "{json:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_later_version_is_left_alone() {
    let bed = Bed::new(50).await;
    for (first, version) in [("PILLARBOX-SPOOL 2\n", 2), ("PILLARBOX-SPOOL 4000000000\nwhatever", 4_000_000_000)] {
        let result = bed.load(first.as_bytes()).await;
        assert!(matches!(result, Err(LoadError::Version(found)) if found == version), "{first:?}: {result:?}");
        assert!(bed.queue("s.1").exists());
    }
    for first in
        ["PILLARBOX-SPOOL 01\n", "PILLARBOX-SPOOL \n", "PILLARBOX-SPOOL 1", "PILLARBOX-SPOOL -2\n", "PILLARBOX"]
    {
        let result = bed.load(first.as_bytes()).await;
        assert!(is_damaged(&result), "{first:?}: {result:?}");
    }
    assert_eq!((bed.spool.depth(), bed.spool.damaged()), (0, 5), "each of them left the queue unannounced");
}

#[tokio::test]
async fn a_field_that_is_not_known_is_passed_over() {
    let bed = Bed::new(0).await;
    let mut json = serde_json::to_value(envelope(&id("s.1"))).unwrap();
    json["invented-later"] = 1.into();
    let line = format!("{json}\n");
    let body = [HEADER, line.as_bytes()].concat();
    use sha2::{Digest, Sha256};
    let footer = Footer { content: 0, envelope: line.len() as u32, digest: Sha256::digest(&body).into() };
    let stored = bed.load(&[&body[..], footer.encode().as_bytes()].concat()).await.unwrap();
    assert_eq!(stored.envelope, envelope(&id("s.1")));
}

#[tokio::test]
async fn foreign_entries_are_counted_and_never_followed() {
    let bed = Bed::new(50).await;
    let outside = bed.state.path().join("outside");
    fs::write(&outside, &bed.good).unwrap();
    fs::create_dir(bed.queue("dir.1")).unwrap();
    symlink(&outside, bed.queue("s.1")).unwrap();
    symlink("/etc/passwd", bed.queue("link")).unwrap();
    symlink("nowhere", bed.queue("dangling")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bed.queue("fifo")).status().unwrap();
    assert!(made.success());
    for name in [".hidden", "with space", "a:2,S", "über", ".log", "x y.log"] {
        fs::write(bed.queue(name), "").unwrap();
    }
    assert_eq!(queued(&bed.spool), ["s.0"]);
    assert_eq!(bed.spool.foreign(), 11);
    for name in ["dir.1", "s.1", "link", "dangling", "fifo"] {
        let result = bed.spool.load(&id(name)).await;
        assert!(matches!(result, Err(LoadError::Foreign)), "{name}: {result:?}");
        assert!(fs::symlink_metadata(bed.queue(name)).is_ok());
    }
    let state = bed.state.path().to_owned();
    drop(bed.spool);
    let spool = Spool::open(&state).unwrap();
    assert_eq!((spool.depth(), spool.foreign(), spool.damaged()), (1, 11, 0));
    let listed = spool.faults(100).await.unwrap();
    assert_eq!((listed.len(), spool.faults(3).await.unwrap().len()), (11, 3));
}

/// All of it at once: the start goes well, what is good is served, and each of the others is listed with its reason.
#[tokio::test]
async fn everything_at_once_is_listed_and_stops_nothing() {
    let bed = Bed::new(5_000).await;
    let (queue, state) = (bed.state.path().join("spool/queue"), bed.state.path().to_owned());
    let good = bed.good.clone();
    drop(bed.spool);
    for sixteenth in 0..16 {
        fs::write(queue.join(format!("t.{sixteenth}")), &good[..good.len() * sixteenth / 16]).unwrap();
    }
    let mut flipped = good.clone();
    flipped[2_000] ^= 4;
    // The name in the envelope is that of the file, so only the flip is wrong with it.
    fs::write(queue.join("s.1"), &flipped).unwrap();
    fs::write(queue.join("future"), good.iter().map(|o| if *o == b'1' { b'7' } else { *o }).collect::<Vec<_>>())
        .unwrap();
    fs::hard_link(queue.join("s.0"), queue.join("linked")).unwrap();
    fs::create_dir(queue.join("directory")).unwrap();
    symlink("/etc/passwd", queue.join("symlink")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(queue.join("fifo")).status().unwrap().success());
    // Another's file, where the test may give one away.
    fs::write(queue.join("theirs"), &good).unwrap();
    let _ = std::os::unix::fs::chown(queue.join("theirs"), Some(65534), Some(65534));
    fs::write(queue.join("s.0.log"), "rubbish\n\0\0").unwrap();
    fs::write(queue.join("gone.log"), "of nobody").unwrap();

    let spool = Spool::open(&state).unwrap();
    let all = spool.queued().unwrap().count();
    let shown = |faults: &[Fault]| {
        let mut shown: Vec<_> =
            faults.iter().map(|it| format!("{} {}: {}", it.directory, it.name, it.reason)).collect();
        shown.sort();
        shown
    };
    let listed = shown(&spool.faults(100).await.unwrap());
    for expected in [
        "queue directory: a directory",
        "queue symlink: a symbolic link",
        "queue fifo: not a regular file",
        "queue future: the message is of spool format 7, which this version does not know",
        "queue linked: the message is damaged: it is another message than its name says",
        "queue theirs: the message is damaged: it is another message than its name says",
        "queue t.0: the message is damaged: its first line is wrong",
        "queue t.9: the message is damaged: its last line is wrong",
        "queue s.0.log: nothing in this log can be read: who was served is served again",
    ] {
        assert!(listed.iter().any(|line| line == expected), "{expected}\n{listed:#?}");
    }
    assert_eq!(listed.len(), 16 + 7, "{listed:#?}");
    let mut damaged = 0;
    for id in spool.queued().unwrap().collect::<Vec<_>>() {
        match spool.load(&id).await {
            Ok(stored) => assert_eq!((id.as_str(), &*read(&stored)), ("s.0", &b"the good one"[..])),
            Err(LoadError::Damaged(_)) => damaged += 1,
            Err(LoadError::Version(7)) => {}
            Err(error) => panic!("{id}: {error:?}"),
        }
    }
    assert_eq!((all, damaged, spool.damaged()), (16 + 5, 16 + 3, 16 + 3));
    let listed = shown(&spool.faults(100).await.unwrap());
    assert!(listed.contains(&"corrupt s.1: the message is damaged: its checksum is wrong".to_owned()), "{listed:#?}");
    drop(spool);
    assert_eq!(Spool::open(&state).unwrap().damaged(), 16 + 3);
}

#[tokio::test]
async fn a_message_under_another_name_is_not_served_twice() {
    let bed = Bed::new(50).await;
    fs::write(bed.queue("s.2"), &bed.good).unwrap();
    assert!(is_damaged(&bed.spool.load(&id("s.2")).await));
}

#[tokio::test]
async fn a_log_is_believed_line_by_line() {
    let bed = Bed::new(50).await;
    let name = id("s.1");
    let settled = |recipient| Record::Delivered(recipient).line(&name);
    let torn = |recipient| settled(recipient)[..20].to_owned();
    for (log, pending) in [
        (String::new(), vec![0, 1, 2]),
        (settled(0), vec![1, 2]),
        (torn(0), vec![0, 1, 2]),
        (torn(0) + &settled(1), vec![0, 2]),
        (settled(1) + "\0\0\0\0" + &settled(2), vec![0, 1]),
        (settled(1) + "\n\0\0\0\0" + &settled(2), vec![0]),
        (settled(1) + &settled(1) + "\n" + &settled(7), vec![0, 2]),
        (Record::Delivered(0).line(&id("s.2")), vec![0, 1, 2]),
        ("\ndelivered 0".to_owned(), vec![0, 1, 2]),
        ("\ndelivered +1 ".to_owned() + settled(1).split(' ').next_back().unwrap(), vec![0, 1, 2]),
        ("\ndelivered 99999999999999999999999 0".to_owned(), vec![0, 1, 2]),
    ] {
        fs::write(bed.queue("s.1"), &bed.good).unwrap();
        fs::write(bed.queue("s.1.log"), &log).unwrap();
        assert_eq!(bed.spool.load(&name).await.unwrap().progress.pending(), pending, "{log:?}");
    }
    fs::write(bed.queue("s.1.log"), torn(0)).unwrap();
    bed.spool.record(&name, vec![Record::Delivered(2)]).await.unwrap();
    assert_eq!(bed.spool.load(&name).await.unwrap().progress.pending(), [0, 1]);
    fs::remove_file(bed.queue("s.1.log")).unwrap();
    symlink(bed.state.path().join("outside"), bed.queue("s.1.log")).unwrap();
    assert!(bed.spool.record(&name, vec![Record::Delivered(0)]).await.is_err());
    assert!(matches!(bed.spool.load(&name).await, Err(LoadError::Io(_))));
    assert!(!bed.state.path().join("outside").exists());
}
