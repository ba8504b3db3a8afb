//! The shim between the server and its disk: compiled from `shim.c`, preloaded, and told what to do while the server
//! runs. What it can do is said there.

use pillarbox_tests::{Server, Site, repository};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Faults on one site.
#[derive(Debug)]
pub struct Fault {
    site: Site,
    prefix: PathBuf,
    control: PathBuf,
    sequence: AtomicU64,
}

impl Fault {
    /// For files below `prefix`, a path of the site.
    pub fn below(site: &Site, prefix: &str) -> Fault {
        let fault = Fault {
            site: site.clone(),
            prefix: site.path(prefix),
            control: site.path("fault"),
            sequence: AtomicU64::new(0),
        };
        fault.none();
        fault
    }

    /// Starts a server to which they happen.
    #[track_caller]
    pub fn start(&self) -> Server {
        Server::spawn(&self.site, &mut self.command())
    }

    /// The command for it.
    pub fn command(&self) -> Command {
        let mut command = self.site.command();
        command.env("LD_PRELOAD", shim()).env("FAULT_PREFIX", &self.prefix).env("FAULT_CONTROL", &self.control);
        command
    }

    /// From now on this happens at the `at`th operation; those before do not count.
    pub fn order(&self, action: &str, at: u64, argument: &str) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let draft = self.control.with_extension("draft");
        fs::write(&draft, format!("{sequence} {action} {at} {argument}\n")).unwrap();
        fs::rename(draft, &self.control).unwrap();
    }

    /// Nothing happens any more.
    pub fn none(&self) {
        self.order("none", 0, "");
    }

    /// What was hit since the last order: operations with their paths.
    pub fn hits(&self) -> Vec<String> {
        let sequence = self.sequence.load(Ordering::Relaxed).to_string();
        let hits = fs::read_to_string(self.control.with_extension("hit")).unwrap_or_default();
        let of_order = hits.lines().filter_map(|line| line.split_once(' ')).filter(|(number, _)| *number == sequence);
        of_order.map(|(_, what)| what.to_owned()).collect()
    }
}

/// The compiled shim: once for all tests of a run, which are processes of their own.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = repository().join("tests/crash/shim.c");
        let directory = repository().join("target/crash");
        fs::create_dir_all(&directory).unwrap();
        let library = directory.join("shim.so");
        let draft = directory.join(format!("shim.{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&draft)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .status();
        assert!(compiled.expect("a C compiler, which Rust links with, too").success());
        fs::rename(&draft, &library).unwrap();
        library
    })
}
