//! The real server, as a child of the test.

use crate::command::Output;
use crate::{Client, Log, Maildir, PATIENCE, Site, run};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    site: Site,
    child: Child,
    log: Log,
}

impl Server {
    /// Starts one with this configuration in a place of its own, and waits until it serves.
    #[track_caller]
    pub fn start(config: &str) -> Server {
        Server::on(&Site::new(config))
    }

    /// Starts one on a site, and waits until it serves.
    #[track_caller]
    pub fn on(site: &Site) -> Server {
        Server::spawn(site, &mut site.command())
    }

    /// Starts one by a command of the test's own, made from [`Site::command`].
    #[track_caller]
    pub fn spawn(site: &Site, command: &mut Command) -> Server {
        Server::spawn_within(site, command, PATIENCE)
    }

    /// The same, for a server whose state lies elsewhere than on the site.
    #[track_caller]
    pub fn spawn_at(site: &Site, command: &mut Command, socket: &Path) -> Server {
        Server::spawn_and_wait(site, command, socket, PATIENCE)
    }

    /// The same, with patience of the test's own.
    #[track_caller]
    pub(crate) fn spawn_within(site: &Site, command: &mut Command, patience: Duration) -> Server {
        Server::spawn_and_wait(site, command, &site.path("state/control.sock"), patience)
    }

    #[track_caller]
    fn spawn_and_wait(site: &Site, command: &mut Command, socket: &Path, patience: Duration) -> Server {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server can be run");
        let log = Log::read(child.stderr.take().expect("standard error is a pipe"));
        let server = Server { site: site.clone(), child, log };
        server.wait_until_it_serves(socket, patience);
        server
    }

    /// The control socket is opened last, so whoever answers there serves.
    #[track_caller]
    fn wait_until_it_serves(&self, socket: &Path, patience: Duration) {
        let deadline = Instant::now() + patience;
        while UnixStream::connect(socket).is_err() {
            let ended = self.log.ended_within(Duration::from_millis(5));
            let late = Instant::now() > deadline;
            assert!(!ended && !late, "the server does not serve\n{}", self.log.lines().join("\n"));
        }
    }

    /// The place it runs in.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first address the listener of this name was bound to.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let event = self.log.event("listening", &[("listener", listener)]);
        event.field("address").parse().expect("an address")
    }

    /// A client that was greeted by the listener of this name.
    #[track_caller]
    pub fn client(&self, listener: &str) -> Client {
        Client::connect(self.address(listener))
    }

    /// A Maildir below the site.
    pub fn maildir(&self, path: &str) -> Maildir {
        Maildir::new(self.site.path(path))
    }

    /// `pillarbox reload`, to its end. It is the server that judges, whatever the file holds by now.
    pub fn reload(&self) -> Output {
        self.order(&["reload"])
    }

    /// Writes a configuration and has it taken up, which must succeed.
    #[track_caller]
    pub fn reconfigure(&self, config: &str) -> Output {
        self.site.configure(config);
        self.reload().exits(0)
    }

    /// `pillarbox status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let output = self.order(&["status", "--json"]).exits(0);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{output}"))
    }

    /// Runs `pillarbox COMMAND… --socket`, which finds this server without its configuration.
    pub fn order(&self, command: &[&str]) -> Output {
        let socket = self.site.path("state/control.sock");
        let arguments = command.iter().map(OsStr::new).chain(["--socket".as_ref(), socket.as_os_str()]);
        run(self.site.directory(), arguments)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, signal).expect("the server can be sent a signal");
    }

    /// SIGTERM, and the exit code.
    #[track_caller]
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end, and says its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        assert!(self.log.ended_within(PATIENCE), "the server does not end\n{}", self.log.lines().join("\n"));
        self.child.wait().expect("the server can be waited for").code()
    }

    /// SIGKILL: what is left is what a crash leaves.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            // The rest may not be written yet; a second is enough for it.
            self.log.ended_within(Duration::from_secs(1));
            eprintln!("--- log of the server in {}", self.site.directory().display());
            eprintln!("{}\n---", self.log.lines().join("\n"));
        }
    }
}
