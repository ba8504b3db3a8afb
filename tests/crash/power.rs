//! The power is cut: what a file system would find on its disk at that moment is copied, mounted again and compared,
//! acknowledgement by acknowledgement.
//!
//! The disk is an ext4 image in a file, mounted by a loop device, so the tests need root and say so where they have not.
//! Its journal commits by itself only every five minutes: what is durable is what was fsynced. The server is stopped for the
//! copy, so that the image is that of one moment.

use super::fault::Fault;
use super::ledger::{Ledger, waiting};
use super::random::{Random, cycles};
use super::sender::{RECIPIENTS, under_load};
use pillarbox_tests::{PATIENCE, Server, Site};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

/// An image, mounted at `place`. Dropped, it is unmounted.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    fn new(site: &Site, name: &str) -> Disk {
        let (image, place) = (site.path(&format!("{name}.img")), site.path(name));
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(192 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(&image));
        Disk { image, place }.mount()
    }

    fn mount(self) -> Disk {
        std::fs::create_dir_all(&self.place).unwrap();
        run(Command::new("mount").args(["-o", "loop,commit=300"]).arg(&self.image).arg(&self.place));
        self
    }

    /// What is on the disk now, as another one.
    fn cut(&self, site: &Site, name: &str) -> Disk {
        let (image, place) = (site.path(&format!("{name}.img")), site.path(name));
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&image));
        Disk { image, place }.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
        let _ = std::fs::remove_file(&self.image);
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether images can be mounted here.
fn can_mount() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !can {
        println!("skipped: mounting an image needs root and loop devices");
    }
    can
}

#[test]
#[ignore = "cargo xtask crash"]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    if !can_mount() {
        return;
    }
    let mut random = Random::seeded();
    for cycle in 0..cycles("PILLARBOX_CRASH_CUTS", 20) {
        let (acknowledged, broken) = cut(&mut random, false);
        println!("cut {cycle}: {acknowledged} acknowledged");
        assert!(broken.is_empty(), "cut {cycle}: {broken:#?}");
    }
}

/// The same with a server whose every fsync is swallowed: if this were not noticed, nothing would be.
#[test]
#[ignore = "cargo xtask crash"]
fn a_missing_fsync_is_noticed() {
    if !can_mount() {
        return;
    }
    let mut random = Random::seeded();
    let noticed = (0..10).any(|_| !cut(&mut random, true).1.is_empty());
    assert!(noticed, "ten power cuts without a single fsync lost nothing: the disk is not what it should be");
}

/// One disk, one load, one cut at a random acknowledgement; how many acknowledgements there were, and what was not kept.
fn cut(random: &mut Random, lie: bool) -> (usize, Vec<String>) {
    let site = Site::new("");
    let disk = Disk::new(&site, "disk");
    let at = |disk: &Disk| {
        super::config(&disk.place.join("state").to_string_lossy(), &disk.place.join("mail").to_string_lossy())
    };
    site.configure(&at(&disk));
    let fault = Fault::below(&site, "disk");
    fault.order(if lie { "lie+" } else { "none" }, 1, "");
    let server = start(&site, &mut fault.command(), &disk);
    let serial = AtomicU64::new(1);
    let count = usize::try_from(1 + random.below(300)).unwrap();
    let mut ledger = Ledger::default();
    let other = under_load(server.address("edge"), RECIPIENTS, &serial, count, &mut ledger, || {
        server.signal(Signal::STOP);
        until_stopped(server.pid());
        // Said before the stop, read after it.
        let other = disk.cut(&site, "cut");
        server.kill();
        other
    });
    drop(disk);
    site.configure(&at(&other));
    let server = start(&site, &mut site.command(), &other);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !waiting(&other.place.join("state")).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", waiting(&other.place.join("state")));
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let mut broken = ledger.broken(&other.place.join("mail/example.test/b"));
    broken.extend(files(&other.place.join("state/spool/corrupt")));
    drop(server);
    drop(other);
    (ledger.acknowledged(), broken)
}

/// A thread stops when its fsync has ended, and no sooner.
fn until_stopped(pid: u32) {
    pillarbox_tests::until("the server to stop", || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        tasks
            .map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default())
            .all(|stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T')))
    });
}

/// The control socket is on the disk, so the server is waited for by its log.
fn start(site: &Site, command: &mut Command, disk: &Disk) -> Server {
    Server::spawn_at(site, command, &disk.place.join("state/control.sock"))
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}
