//! A place to run a server in: a directory of its own with the configuration and whatever that names.

use crate::command::{Output, pillarbox};
use crate::{Server, repository, run};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A directory with a configuration. Clones share it; it is removed with the last of them, unless a test fails.
///
/// It lies three levels below the repository's root like `tests/conversations/extensions`, so that a configuration names
/// `../../../target/guests/NAME.wasm` here and there. State directories are called `state`, beside the configuration.
#[derive(Clone, Debug)]
pub struct Site(Arc<Directory>);

#[derive(Debug)]
struct Directory(PathBuf);

impl Site {
    /// A new place with this configuration.
    pub fn new(config: &str) -> Site {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = repository().join("target/tmp").join(name);
        // Left by an older run whose process had this number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{} cannot be made: {error}", path.display()));
        // As the server names it, which asks the system where it is.
        let path = path.canonicalize().expect("a directory that was made is there");
        let site = Site(Arc::new(Directory(path)));
        site.configure(config);
        site
    }

    /// What lies at `name` here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.0.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("pillarbox.toml")
    }

    /// Writes the configuration. A server that runs takes it up when it is told to.
    pub fn configure(&self, config: &str) {
        self.write("pillarbox.toml", config);
    }

    /// Writes a file, as a whole or not at all for whoever reads it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        let draft = self.path(&format!("{name}.draft"));
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
        fs::write(&draft, content).and_then(|()| fs::rename(&draft, &path)).expect("a file can be written");
    }

    /// What a file holds.
    ///
    /// # Panics
    /// It cannot be read.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"))
    }

    /// Adds a user to the file `users`, as an operator does.
    #[track_caller]
    pub fn user(&self, name: &str, password: &str) {
        self.edit_users(&["add", name], &format!("{password}\n")).exits(0);
    }

    /// Runs `pillarbox user ARGUMENTS` on the file `users`, with something on standard input.
    pub fn edit_users(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = pillarbox(self.directory());
        command.arg("user").args(arguments).args(["--file", "users"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be run");
        // It may be refused before anything is read.
        let _ = child.stdin.take().expect("standard input is a pipe").write_all(input.as_bytes());
        Output::from(child.wait_with_output().expect("the command ends"))
    }

    /// Every file below `name`, by path; directories only lead to them.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.path(name)];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => directories.push(entry.path()),
                    false => found.push(entry.path()),
                }
            }
        }
        found.sort();
        found
    }

    /// Starts a server here and waits until it serves.
    #[track_caller]
    pub fn start(&self) -> Server {
        Server::on(self)
    }

    /// The same, where there is much to compile first.
    #[track_caller]
    pub fn start_within(&self, patience: Duration) -> Server {
        Server::spawn_within(self, &mut self.command(), patience)
    }

    /// Runs `pillarbox COMMAND… --config` on this configuration, to its end. A server that is expected not to start is
    /// run so, too.
    pub fn run(&self, command: &[&str]) -> Output {
        let config = self.config();
        run(self.directory(), command.iter().map(OsStr::new).chain(["--config".as_ref(), config.as_os_str()]))
    }

    /// The command `pillarbox serve` on this configuration, to be changed and spawned.
    pub fn command(&self) -> std::process::Command {
        let mut command = pillarbox(self.directory());
        command.arg("serve").arg("--config").arg(self.config()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
