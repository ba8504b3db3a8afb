//! Postfix: its load generator, and Postfix itself with a queue of its own, which sends all it has to the server under test.
//!
//! It is unpacked, not installed: everything it writes lies in the test's directory, and it has a port only where a test
//! gives it one.

use super::{Way, arrived, client, clients, letter_delivered, same, sending, start, start_with, succeeds};
use pillarbox_tests::{Server, free_address, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn smtp_source() {
    let Some(clients) = clients() else { return };
    for options in [&[][..], &["-d"]] {
        let server = start("");
        let program = clients.join("postfix/usr/sbin/smtp-source");
        let Some(mut source) = client(&program.to_string_lossy()) else { return };
        source.env("LD_LIBRARY_PATH", clients.join(LIBRARIES));
        source.args(["-s", "10", "-m", "500", "-l", "4096", "-f", "a@client.test", "-t", "b@example.test"]);
        succeeds(source.args(options).arg(format!("inet:{}", server.address("edge"))));
        server.log().count(500, "delivered");
        let messages = server.maildir("mail/example.test/b").messages();
        assert_eq!(messages.len(), 500);
        assert!(messages.iter().all(|message| message.len() >= 4096));
        assert_eq!(server.status()["messages_accepted"], 500);
    }
}

#[test]
fn postfix_sends_by_its_queue() {
    for (way, parameters) in [
        (Way::Clear, "smtp_tls_security_level = none\n"),
        (Way::StartTls, "smtp_tls_security_level = encrypt\n"),
        (Way::Implicit, "smtp_tls_security_level = encrypt\nsmtp_tls_wrappermode = yes\n"),
    ] {
        let server = start_with("", "");
        // What stands last holds.
        let address = way.address(&server);
        let relay = format!("relayhost = [{}]:{}\n", address.ip(), address.port());
        let Some(postfix) = Postfix::start(&server, &format!("{parameters}{relay}"), "") else { return };
        postfix.submit(&server, way.name());
        let (whole, content) = arrived(&server, way.name());
        // Postfix puts its own Received field before the message and changes nothing else.
        let at = content.len().checked_sub(letter_delivered().len()).expect("it is longer");
        let (received, rest) = content.split_at(at);
        same(rest, &letter_delivered());
        let received = String::from_utf8(received.to_vec()).unwrap();
        assert!(received.starts_with("Received: by client.example.test (Postfix, from userid "), "{received}");
        let whole = String::from_utf8_lossy(&whole);
        assert!(whole.contains(&format!("by mx.example.test with {} id ", way.protocol(false))), "{whole}");
    }
}

/// What came to Postfix from elsewhere it forwards with XFORWARD, when the server takes it.
#[test]
fn postfix_says_for_whom_it_forwards() {
    for security in ["none", "encrypt"] {
        let Some(server) = start_with_xforward() else { return };
        let address = free_address();
        let parameters = format!(
            "smtpd_peername_lookup = no\nmynetworks = 127.0.0.0/8\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\nsmtp_tls_security_level = {security}\n"
        );
        let Some(_postfix) = Postfix::start(&server, &parameters, &format!("{address} inet n - n - - smtpd\n")) else {
            return;
        };
        until("Postfix to listen", || TcpStream::connect(address).is_ok());
        let mut swaks =
            sending::swaks(&server, address, Way::Clear, None, "b@example.test").expect("clients are tried");
        succeeds(swaks.args(["--helo", "origin.client.test", "--local-interface", "127.0.0.7"]));
        let (_, content) = arrived(&server, "b");
        assert!(content.ends_with(&letter_delivered()));
        server.log().wait_for("what XFORWARD said", |event| {
            let says =
                |what: &str| event.message.contains(what) || event.fields.values().any(|value| value.contains(what));
            says("xforward") && says("origin.client.test") && says("127.0.0.7")
        });
    }
}

/// None when clients are not to be tried.
fn start_with_xforward() -> Option<Server> {
    clients()?;
    Some(start_with(
        "",
        "\n[[listener.edge.extension]]\nuse = \"xforward\"\npeers = [\"127.0.0.1\"]\ngrant.envelope-read = true\n\
         grant.context-write = { message = [\"xforward_*\"] }\n\
         [extension.xforward]\ncomponent = \"builtin:xforward\"\n",
    ))
}

/// Where Postfix's own libraries lie below the clients, and its daemons below that.
const LIBRARIES: &str = "postfix/usr/lib/postfix";

/// Who Postfix is when it need not be root: two users and a group that every Debian has and that own nothing here.
const OWNER: (&str, u32) = ("mail", 8);
const GROUP: (&str, u32) = ("games", 60);

/// A Postfix that runs. Dropped, it and its children are ended.
#[derive(Debug)]
pub struct Postfix {
    master: Child,
    programs: PathBuf,
    libraries: PathBuf,
    home: PathBuf,
}

impl Postfix {
    /// Starts one whose only way out is the listener `edge`. `parameters` and `services` are more of its `main.cf` and
    /// `master.cf`. None when clients are not to be tried, or this is not root: Postfix starts its parts as other users.
    pub fn start(server: &Server, parameters: &str, services: &str) -> Option<Postfix> {
        let clients = clients()?;
        if !rustix::process::geteuid().is_root() {
            println!("not tried: Postfix runs its queue only for root");
            return None;
        }
        let (programs, libraries) = (clients.join("postfix/usr/sbin"), clients.join(LIBRARIES));
        let home = server.site().path("postfix");
        make_queue(&home);
        let main = main_cf(&programs, &libraries, &home, server.address("edge"));
        server.site().write("postfix/etc/main.cf", format!("{main}{parameters}"));
        server.site().write("postfix/etc/master.cf", format!("{MASTER_CF}{services}"));

        // In the foreground, at most for a minute, and in a process group of its own, because it signals its group when it
        // ends.
        let mut master = Command::new(libraries.join("sbin/master"));
        master.args(["-d", "-e", "60", "-c"]).arg(home.join("etc")).env("LD_LIBRARY_PATH", &libraries);
        master.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let master = master.spawn().expect("Postfix can be run");
        Some(Postfix { master, programs, libraries, home })
    }

    /// Gives it the letter for a local part, as programs on its host would.
    #[track_caller]
    pub fn submit(&self, server: &Server, local: &str) {
        server.site().write("letter.unix", letter_delivered());
        let program = self.programs.join("sendmail");
        let mut sendmail = client(&program.to_string_lossy()).expect("clients are tried");
        sendmail.env("LD_LIBRARY_PATH", &self.libraries).arg("-C").arg(self.home.join("etc"));
        sendmail.args(["-i", "-B", "8BITMIME", "-f", "a@client.test", &format!("{local}@example.test")]);
        succeeds(sendmail.stdin(Stdio::from(File::open(server.site().path("letter.unix")).unwrap())));
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.master.id()).ok().and_then(Pid::from_raw) {
            // It ends its children before itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
            eprintln!("--- log of Postfix\n{log}---");
        }
    }
}

/// What an installation would make.
fn make_queue(home: &Path) {
    let own = |path: PathBuf, mode: u32, group: Option<u32>| {
        fs::create_dir_all(&path).expect("a directory can be made");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("and be made private");
        chown(&path, Some(OWNER.1), group).expect("and be given to another user");
    };
    let queue = home.join("queue");
    fs::create_dir_all(queue.join("pid")).expect("a directory can be made");
    own(home.join("data"), 0o700, None);
    for name in
        ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]
    {
        own(queue.join(name), 0o700, None);
    }
    own(queue.join("public"), 0o710, Some(GROUP.1));
    own(queue.join("maildrop"), 0o730, Some(GROUP.1));
}

fn main_cf(programs: &Path, libraries: &Path, home: &Path, relay: SocketAddr) -> String {
    let (home, libraries, owner, group) = (home.display(), libraries.display(), OWNER.0, GROUP.0);
    format!(
        "compatibility_level = 3.6
command_directory = {}
daemon_directory = {libraries}/sbin
shlib_directory = {libraries}
meta_directory = {home}/etc
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
export_environment = MAIL_CONFIG LD_LIBRARY_PATH
mail_owner = {owner}
setgid_group = {group}
myhostname = client.example.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_host_lookup = native
relayhost = [{}]:{}
smtp_send_xforward_command = yes
# What it would otherwise fold.
smtp_line_length_limit = 0
",
        programs.display(),
        relay.ip(),
        relay.port()
    )
}

/// The parts of Postfix that a message passes on its way out.
const MASTER_CF: &str = "\
pickup   unix       n - n 60    1 pickup
cleanup  unix       n - n -     0 cleanup
qmgr     unix       n - n 300   1 qmgr
tlsmgr   unix       - - n 1000? 1 tlsmgr
rewrite  unix       - - n -     - trivial-rewrite
bounce   unix       - - n -     0 bounce
defer    unix       - - n -     0 bounce
trace    unix       - - n -     0 bounce
verify   unix       - - n -     1 verify
proxymap unix       - - n -     - proxymap
smtp     unix       - - n -     - smtp
error    unix       - - n -     - error
retry    unix       - - n -     - error
scache   unix       - - n -     1 scache
anvil    unix       - - n -     1 anvil
postlog  unix-dgram n - n -     1 postlogd
";
