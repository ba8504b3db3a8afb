//! Servers of other people behind the one under test: Postfix takes mail over by SMTP, Dovecot by LMTP, and what their
//! mailboxes hold is what was sent.

use super::postfix::Postfix;
use super::{clients, letter, letter_delivered, same};
use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Server, Site, free_address, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A user and a group that every Debian has, and that own nothing here: whose mailboxes these are.
const OWNER: u32 = 8;

/// Sends the letter to the one recipient.
fn send(server: &Server, recipient: &str) -> String {
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test> BODY=8BITMIME ENVID=one+2Btwo", "250 2.1.0 *");
    client.expect(&format!("RCPT TO:<{recipient}> NOTIFY=FAILURE,DELAY"), "250 2.1.5 *");
    client.expect("DATA", "354 *");
    client.content(letter());
    let reply = client.reply();
    let id = reply.last().strip_prefix("250 2.0.0 OK ").unwrap_or_else(|| panic!("{reply}")).to_owned();
    client.quit();
    id
}

/// The one message in a Maildir, and what of it is the letter.
#[track_caller]
fn received(maildir: &Path) -> (String, Vec<u8>) {
    let new = maildir.join("new");
    until(&format!("a message in {}", new.display()), || fs::read_dir(&new).is_ok_and(|new| new.count() > 0));
    let entries: Vec<_> = fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    let octets = fs::read(&entries[0]).unwrap();
    let at = octets.windows(6).position(|window| window == b"From: ").expect("the letter");
    (String::from_utf8_lossy(&octets[..at]).into_owned(), octets[at..].to_vec())
}

#[test]
fn postfix_takes_mail_over() {
    if clients().is_none() {
        return;
    }
    for (mode, postfix_level) in
        [("off", "none"), ("opportunistic", "may"), ("required", "encrypt"), ("verified", "encrypt")]
    {
        let address = free_address();
        let authorities = match mode {
            "verified" => ", authorities = \"tls/cert.pem\", name = \"mx.example.test\"",
            _ => "",
        };
        let route = format!(
            "to = \"smtp://{address}\"\ntls = {{ mode = \"{mode}\"{authorities} }}\nxclient = \"ifavailable\"\n\
             xforward = \"required\""
        );
        let site = Site::new(&configs::with_route("", &route));
        Pair::new(&["mx.example.test"]).write(&site.path("tls"));
        let server = site.start();
        let tls = site.path("tls");
        let home = site.path("postfix");
        let parameters = format!(
            "smtpd_peername_lookup = no\nmynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtpd_authorized_xforward_hosts = 127.0.0.0/8\nsmtpd_tls_security_level = {postfix_level}\n\
             smtpd_tls_cert_file = {tls}/cert.pem\nsmtpd_tls_key_file = {tls}/key.pem\nsmtpd_tls_received_header = yes\n\
             virtual_mailbox_domains = example.test\nvirtual_mailbox_base = {home}/mail\n\
             virtual_mailbox_maps = static:b/\nvirtual_uid_maps = static:{OWNER}\nvirtual_gid_maps = static:{OWNER}\n\
             virtual_minimum_uid = 1\n",
            tls = tls.display(),
            home = home.display(),
        );
        let services = format!("{address} inet n - n - - smtpd\nvirtual unix - n n - - virtual\n");
        let Some(_postfix) = Postfix::start(&server, &parameters, &services) else { return };
        fs::create_dir_all(home.join("mail")).unwrap();
        chown(home.join("mail"), Some(OWNER), Some(OWNER)).unwrap();
        until("Postfix to listen", || TcpStream::connect(address).is_ok());

        let id = send(&server, "b@example.test");
        server.log().event("delivered", &[("id", &id), ("recipient", "b@example.test")]);
        let (header, letter) = received(&home.join("mail/b"));
        same(&letter, &letter_delivered());
        let encrypted = header.contains("(using TLSv1.");
        assert_eq!(encrypted, mode != "off", "{mode}\n{header}");
        assert!(header.contains(&format!(" with ESMTP id {id}")), "{header}");
        // By XFORWARD Postfix knows whose message it is.
        let log = fs::read_to_string(home.join("log")).unwrap();
        assert!(log.contains("client=unknown[127.0.0.1]") && log.contains("orig_client="), "{log}");
    }
}

#[test]
fn dovecot_takes_mail_over_by_lmtp() {
    let Some(clients) = clients() else { return };
    for unix in [false, true] {
        let address = free_address();
        let site = Site::new(&configs::discard(""));
        let Some(_dovecot) = Dovecot::start(&clients, &site, address) else { return };
        let to = match unix {
            false => format!("lmtp://{address}"),
            true => format!("lmtp:{}", site.path("dovecot/run/lmtp.sock").display()),
        };
        site.configure(&configs::with_route("", &format!("to = \"{to}\"")));
        let server = site.start();
        let id = send(&server, "b@example.test");
        server.log().event("delivered", &[("id", &id), ("recipient", "b@example.test")]);
        let (header, letter) = received(&site.path("dovecot/mail/example.test/b"));
        same(&letter, &letter_delivered());
        assert!(header.contains("Return-Path: <a@client.test>"), "{header}");
    }
}

/// A Dovecot that runs. Dropped, it and its children are ended.
struct Dovecot {
    master: Child,
    log: PathBuf,
}

impl Dovecot {
    /// Starts one that takes LMTP at an address and at `run/lmtp.sock`. None where this is not root: it runs its parts as
    /// other users, and finds them where they would be installed, which only a mount namespace of its own makes true.
    fn start(clients: &Path, site: &Site, address: SocketAddr) -> Option<Dovecot> {
        if !rustix::process::geteuid().is_root() {
            println!("not tried: Dovecot runs only for root");
            return None;
        }
        let home = site.path("dovecot");
        for name in ["run", "mail"] {
            fs::create_dir_all(home.join(name)).unwrap();
        }
        chown(home.join("mail"), Some(OWNER), Some(OWNER)).unwrap();
        site.write("dovecot/dovecot.conf", configuration(&home, address));
        let usr = clients.join("dovecot/usr");
        let script = format!(
            "mount -t overlay overlay -o lowerdir={}:/usr /usr && exec /usr/sbin/dovecot -F -c {}",
            usr.display(),
            home.join("dovecot.conf").display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "timeout", "--kill-after=5", "60", "sh", "-c", &script]).stdin(Stdio::null());
        let master = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare can be run");
        let dovecot = Dovecot { master, log: home.join("log") };
        until("Dovecot to listen", || TcpStream::connect(address).is_ok());
        Some(dovecot)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.master.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
        if std::thread::panicking() {
            eprintln!("--- log of Dovecot\n{}---", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn configuration(home: &Path, address: SocketAddr) -> String {
    format!(
        "base_dir = {home}/run
log_path = {home}/log
protocols = lmtp
ssl = no
default_internal_user = mail
default_internal_group = mail
default_login_user = games
mail_location = maildir:{home}/mail/%d/%n
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={OWNER} gid={OWNER} home={home}/mail/%d/%n
}}
service lmtp {{
  inet_listener lmtp {{
    address = {}
    port = {}
  }}
  unix_listener lmtp.sock {{
    mode = 0666
  }}
}}
",
        address.ip(),
        address.port(),
        home = home.display(),
    )
}
