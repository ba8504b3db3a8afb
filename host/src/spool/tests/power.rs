//! The power is cut at any point, and the disk keeps as little of what was not synced as it may, or any part of it.
//!
//! A file's octets are sure once it was synced; before that, all, half or none of what was written since may be there. A
//! name is sure once its directory was synced; before that, each change of a name may have happened or not, by itself, so
//! that a file renamed from one directory to another may have both names, or none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use tempfile::tempdir;

use super::disk::{Event, TestDisk};
use super::*;

/// What the server had been told by the time of some event.
#[derive(Clone, Debug)]
enum Told {
    Committed(&'static str, usize),
    Settled(&'static str, usize),
    Removing(&'static str),
    Aside(&'static str, usize),
    Released(&'static str),
    /// It is on its way between queue and quarantine, and has this many octets.
    Moving(&'static str, usize),
    /// It is in quarantine, or not.
    Moved(&'static str, bool),
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let state = tempdir().unwrap();
    let disk = Arc::new(TestDisk::default());
    let spool = open_on(state.path(), &disk);
    let mut told = Vec::new();
    let mut tell = |what| told.push((disk.events().len(), what));
    commit(&spool, "s.1", &content(500)).await.unwrap();
    tell(Told::Committed("s.1", 500));
    commit(&spool, "s.2", &content(70_000)).await.unwrap();
    tell(Told::Committed("s.2", 70_000));
    spool.record(&id("s.2"), vec![Record::Delivered(1)]).await.unwrap();
    tell(Told::Settled("s.2", 1));
    tell(Told::Removing("s.1"));
    spool.remove(&id("s.1")).await.unwrap();
    spool.record(&id("s.2"), vec![Record::Delivered(0)]).await.unwrap();
    tell(Told::Settled("s.2", 0));
    commit(&spool, "s.3", &content(0)).await.unwrap();
    tell(Told::Committed("s.3", 0));
    tell(Told::Removing("s.2"));
    spool.remove(&id("s.2")).await.unwrap();
    aside(&spool, "s.4", &content(300)).await.unwrap();
    tell(Told::Aside("s.4", 300));
    aside(&spool, "s.5", &content(70_000)).await.unwrap();
    tell(Told::Aside("s.5", 70_000));
    spool.release(&id("s.4")).await.unwrap();
    tell(Told::Released("s.4"));
    tell(Told::Removing("s.5"));
    spool.delete(&id("s.5")).await.unwrap();
    tell(Told::Released("s.5"));
    // Every kind of record, a log that is written anew after an error, and a message that goes aside with its log and back.
    commit(&spool, "s.6", &content(200)).await.unwrap();
    tell(Told::Committed("s.6", 200));
    spool.record(&id("s.6"), vec![Record::Crashed, Record::Delivered(1)]).await.unwrap();
    tell(Told::Settled("s.6", 1));
    let deferred = Record::Deferred(2, Failure::local("4.4.1", "nobody there", Reach::Destination));
    let attempt = Record::Attempt(Attempt { number: 1, at: 1, next: 2 });
    spool.record(&id("s.6"), vec![deferred, attempt, Record::Held, Record::Released]).await.unwrap();
    disk.fail(2, 5);
    spool.record(&id("s.6"), vec![Record::Delayed(2)]).await.unwrap_err();
    spool.record(&id("s.6"), vec![Record::Failed(0, Failure::local("5.1.1", "no", Reach::Recipient))]).await.unwrap();
    tell(Told::Settled("s.6", 0));
    let in_hand = spool.begin_attempt(&id("s.6")).await;
    tell(Told::Moving("s.6", 200));
    spool.set_aside(&id("s.6"), "why").await.unwrap();
    tell(Told::Moved("s.6", true));
    tell(Told::Moving("s.6", 200));
    spool.release(&id("s.6")).await.unwrap();
    tell(Told::Moved("s.6", false));
    drop((in_hand, spool));

    let events = disk.events();
    let (mut seen, mut images_made) = (HashSet::new(), 0);
    for cut in 0..=events.len() {
        let told: Vec<_> = told.iter().filter(|(at, _)| *at <= cut).map(|(_, what)| what.clone()).collect();
        for image in images(&events[..cut]) {
            images_made += 1;
            if seen.insert((told.len(), image.clone())) {
                check(&image, &told, cut).await;
            }
        }
    }
    println!("{} events, {images_made} images, {} of them different", events.len(), seen.len());
    assert!(events.len() > 80 && images_made > 1000 && seen.len() > 120, "{images_made} {}", seen.len());
}

/// File names below the state directory, with the file each means and its octets.
type Image = BTreeMap<PathBuf, (u64, Vec<u8>)>;

/// A change of one name in one directory: the file it now means, or none.
type Change = (PathBuf, Option<u64>);

/// All that may be on the disk after these events.
fn images(events: &[Event]) -> Vec<Image> {
    let mut live: HashMap<PathBuf, u64> = HashMap::new();
    let mut sure: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut unsure: Vec<Change> = Vec::new();
    let mut written: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut synced: HashMap<u64, usize> = HashMap::new();
    for event in events {
        match event {
            Event::Create { path, file } => {
                written.insert(*file, Vec::new());
                synced.insert(*file, 0);
                live.insert(path.clone(), *file);
                unsure.push((path.clone(), Some(*file)));
            }
            Event::Write { file, octets } => written.get_mut(file).unwrap().extend(octets),
            Event::Sync { file } => {
                synced.insert(*file, written[file].len());
            }
            Event::Rename { from, to } => {
                let file = live.remove(from).unwrap();
                live.insert(to.clone(), file);
                unsure.extend([(from.clone(), None), (to.clone(), Some(file))]);
            }
            Event::Link { from, to } => {
                let file = live[from];
                live.insert(to.clone(), file);
                unsure.push((to.clone(), Some(file)));
            }
            Event::Remove { path } => {
                live.remove(path);
                unsure.push((path.clone(), None));
            }
            Event::SyncDirectory { path: directory } => {
                let (settled, rest) =
                    std::mem::take(&mut unsure).into_iter().partition(|(path, _)| path.parent() == Some(directory));
                unsure = rest;
                apply(&mut sure, settled);
            }
        }
    }
    // What is in `incoming/` matters little: there, all changes happened or none.
    let (queue, incoming): (Vec<_>, Vec<_>) =
        unsure.into_iter().partition(|(path, _)| !path.parent().unwrap().ends_with("incoming"));
    assert!(queue.len() < 12, "{queue:?}");
    let mut images = Vec::new();
    for subset in 0..1_u32 << (queue.len() + 1) {
        let chosen = |at: usize| subset & (1 << at) != 0;
        let mut names = sure.clone();
        apply(&mut names, queue.iter().enumerate().filter(|(at, _)| chosen(*at)).map(|(_, change)| change.clone()));
        if chosen(queue.len()) {
            apply(&mut names, incoming.iter().cloned());
        }
        for part in 0..3 {
            let octets = |file: &u64| {
                let (all, sure) = (&written[file], synced[file]);
                all[..sure + (all.len() - sure) * part / 2].to_vec()
            };
            images.push(names.iter().map(|(path, file)| (path.clone(), (*file, octets(file)))).collect());
        }
    }
    images
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, changes: impl IntoIterator<Item = Change>) {
    for (path, file) in changes {
        match file {
            Some(file) => names.insert(path, file),
            None => names.remove(&path),
        };
    }
}

/// Starts a server on this disk and sees whether what was told before holds.
async fn check(image: &Image, told: &[Told], cut: usize) {
    let state = tempdir().unwrap();
    for directory in ["incoming", "queue", "quarantine", "corrupt"] {
        fs::create_dir_all(state.path().join("spool").join(directory)).unwrap();
    }
    let mut written = HashMap::new();
    for (path, (file, octets)) in image {
        let below: PathBuf = path.iter().skip_while(|part| *part != "spool" && *part != "in-hand").collect();
        let path = state.path().join(below);
        match written.get(file) {
            Some(other) => fs::hard_link(other, &path).unwrap(),
            None => fs::write(&path, octets).unwrap(),
        }
        written.entry(*file).or_insert(path);
    }
    let spool = Spool::open(state.path()).unwrap();
    assert_eq!(names(state.path(), "incoming"), [""; 0]);
    let place = |name: &str| {
        let of = |told: &&Told| matches!(told, Told::Moving(it, _) | Told::Moved(it, _) if *it == name);
        told.iter().rfind(of)
    };
    let removing = |name: &str| told.iter().any(|told| matches!(told, Told::Removing(removed) if *removed == name));
    for told in told {
        match *told {
            Told::Committed(name, _) | Told::Settled(name, _) if removing(name) => {}
            Told::Committed(name, _) if place(name).is_some() => {}
            Told::Settled(name, recipient) if place(name).is_some() => {
                let queued = spool.load(&id(name)).await.ok();
                let stored = queued.or(spool.load_aside(&id(name)).await.ok()).unwrap();
                assert!(!stored.progress.pending().contains(&recipient), "{cut}: {name}: {recipient}");
            }
            // Never in none, and after a start never in both.
            Told::Moving(name, len) => {
                let queued = spool.load(&id(name)).await;
                let aside = spool.load_aside(&id(name)).await;
                assert!(queued.is_ok() != aside.is_ok(), "{cut}: {name}: {queued:?} {aside:?}");
                assert!(read(&queued.ok().or(aside.ok()).unwrap()) == content(len), "{cut}: {name}");
            }
            Told::Moved(name, is_aside) => {
                if matches!(place(name), Some(Told::Moved(_, last)) if *last == is_aside) {
                    assert_eq!(spool.load_aside(&id(name)).await.is_ok(), is_aside, "{cut}: {name}");
                }
            }
            Told::Committed(name, len) => {
                let stored = spool.load(&id(name)).await.unwrap_or_else(|error| panic!("{cut}: {name}: {error:?}"));
                assert!(read(&stored) == content(len) && stored.envelope == envelope(&id(name)), "{cut}: {name}");
                assert!(stored.progress.pending().contains(&2), "{cut}: {name}");
            }
            Told::Settled(name, recipient) => {
                let pending = spool.load(&id(name)).await.unwrap().progress.pending();
                assert!(!pending.contains(&recipient), "{cut}: {name}: {pending:?}");
            }
            Told::Removing(_) => {}
            Told::Aside(name, _) if removing(name) => {}
            // While it is being released it may be in both places, and is never in none.
            Told::Aside(name, len) => {
                let queued = spool.load(&id(name)).await;
                let aside = spool.load_aside(&id(name)).await;
                assert!(queued.is_ok() || aside.is_ok(), "{cut}: {name}: {queued:?} {aside:?}");
                for stored in [queued.ok(), aside.ok()].into_iter().flatten() {
                    assert!(
                        read(&stored) == content(len) && stored.envelope == quarantined(&id(name)),
                        "{cut}: {name}"
                    );
                }
            }
            Told::Released(name) => {
                assert!(matches!(spool.load_aside(&id(name)).await, Err(QuarantineError::Unknown)), "{cut}: {name}");
            }
        }
    }
    let shelf = spool.shelf(None, 10).await.unwrap();
    assert!(shelf.entries.iter().all(|entry| entry.message.is_ok()), "{cut}: {shelf:?}");
    assert_eq!(spool.quarantined(), shelf.entries.len() as u64);
    // What was not acknowledged is not there, or whole.
    for name in queued(&spool) {
        spool.load(&id(&name)).await.unwrap_or_else(|error| panic!("{cut}: {name}: {error:?}"));
    }
}
