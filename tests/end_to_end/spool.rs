//! What 250 means: the message is in its Maildir as it was sent, or will be, whatever becomes of the server.

use crate::configs;
use pillarbox_tests::{Client, Event, Server, Site, Wire, until};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

#[test]
fn a_message_arrives_as_it_was_sent() {
    let server = Server::start(&configs::maildirs(""));
    let mut content = b"Subject: octets\r\nX-Folded: one\r\n\ttwo\r\n\r\n.\r\n..\r\n.leading dot\r\n\r\n".to_vec();
    content.extend((0..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')));
    content.extend(b"\r\n");
    // Longer than any line may be, and longer altogether than what is kept in memory.
    content.extend([b'x'; 200_000]);
    content.extend(b"\r\n\r\n \r\nend\r\n");

    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a+b=c@client.test", &["Bob@Example.TEST"], &content);
    server.log().event("delivered", &[("id", &id)]);

    let maildir = server.maildir("mail/example.test/bob");
    let expected: Vec<u8> = content.iter().copied().filter(|octet| *octet != b'\r').collect();
    assert!(maildir.content() == expected, "the content is another");
    let message = maildir.only();
    let head = String::from_utf8_lossy(&message[..message.len() - expected.len()]).into_owned();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "Return-Path: <a+b=c@client.test>", "{head}");
    assert_eq!(lines[1], "Received: from client.example.test (unknown [127.0.0.1])", "{head}");
    assert_eq!(lines[2], format!("\tby mx.example.test with ESMTP id {id}"), "{head}");
    assert_eq!(lines[3], "\tfor <Bob@example.test>;", "{head}");
    assert!(lines[4].ends_with(" +0000") && lines.len() == 5, "{head}");
    // Nobody else reads it.
    let file = server.site().files("mail").remove(0);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_state_directory_that_anybody_may_write_in_is_warned_of() {
    let site = Site::new(&configs::maildirs(""));
    fs::create_dir(site.path("state")).unwrap();
    for (mode, warned) in [(0o700, false), (0o755, false), (0o770, false), (0o777, true), (0o1777, true)] {
        fs::set_permissions(site.path("state"), fs::Permissions::from_mode(mode)).unwrap();
        let checked = site.run(&["check"]).exits(0).stdout;
        let said = format!("warning: anybody may write in the state directory {}", site.path("state").display());
        assert_eq!(checked.contains(&said), warned, "{mode:o}: {checked}");
        let server = site.start();
        let said = |event: &Event| event.field("warning").starts_with("anybody may write in the state directory");
        if warned {
            server.log().wait_for("the warning", said);
        }
        assert_eq!(server.log().events().iter().any(said), warned, "{mode:o}");
        // It is somebody's all the same, and left as it is.
        assert_eq!(fs::metadata(site.path("state")).unwrap().permissions().mode() & 0o7777, mode);
        server.stop();
    }
}

#[test]
fn every_recipient_has_a_copy_and_hears_of_no_other() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.expect("HELO old.example.test", "250 *");
    client.deliver("", &["b@example.test", "c@example.test", "d@example.test"], "Subject: all\r\n\r\ntext\r\n");
    server.log().count(3, "delivered");
    for name in ["b", "c", "d"] {
        let message = String::from_utf8(server.maildir(&format!("mail/example.test/{name}")).only()).unwrap();
        assert!(message.starts_with("Return-Path: <>\nReceived: from old.example.test "), "{message}");
        assert!(message.contains(" with SMTP id ") && !message.contains("@example.test"), "{message}");
    }
}

#[test]
fn postmaster_is_always_taken() {
    let server = Server::start(&configs::with_route("", "to = \"maildir:mail/{domain}/{local}\""));
    let mut client = server.client("edge");
    client.hello();
    let content = "Subject: help\r\n\r\n";
    for recipient in [
        "postmaster",
        "PostMaster",
        "postmaster@mx.example.test",
        "\"PostMaster\"@MX.Example.Test",
        "postmaster@example.test",
        "Postmaster@EXAMPLE.test",
    ] {
        let id = client.deliver("a@client.test", &[recipient], content);
        server.log().event("delivered", &[("id", &id)]);
    }
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<postmaster@elsewhere.test>", "550 5.7.1 *");
    // The server's name is no domain of its mail because of that.
    for recipient in ["hostmaster@mx.example.test", "postmaster@sub.mx.example.test", "postmaster@[127.0.0.1]"] {
        client.expect(&format!("RCPT TO:<{recipient}>"), "550 5.7.1 *");
    }
    client.expect("RCPT TO:<hostmaster@example.test>", "550 5.1.1 *");
    assert_eq!(server.maildir("mail/mx.example.test/postmaster").messages().len(), 4);
    assert_eq!(server.maildir("mail/example.test/postmaster").messages().len(), 2);
}

#[test]
fn a_mailbox_that_is_not_there_is_unknown() {
    let server = Server::start(&configs::with_route("", "to = \"maildir:mail/{domain}/{local}\""));
    server.maildir("mail/example.test/known").make();
    fs::create_dir_all(server.site().path("mail/example.test/no-maildir")).unwrap();
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<unknown@example.test>", "550 5.1.1 *");
    client.expect("RCPT TO:<no-maildir@example.test>", "550 5.1.1 *");
    client.expect("RCPT TO:<Known@example.test>", "250 *");
    client.expect("RSET", "250 *");
    let id = client.deliver("a@client.test", &["known@example.test"], "Subject: x\r\n\r\n");
    server.log().event("delivered", &[("id", &id)]);
    server.maildir("mail/example.test/known").only();
    assert!(!server.site().path("mail/example.test/unknown").exists());
}

#[test]
fn a_recipient_without_a_route_is_refused() {
    let server = Server::start(&configs::with_route(
        "relay.hosts = [\"127.0.0.1\"]",
        "domains = [\"example.test\", \"*.example.test\"]\nto = \"maildir:mail/{domain}/{local}\"\ncreate = true",
    ));
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.4.4 *");
    client.expect("RCPT TO:<b@notexample.test>", "550 5.4.4 *");
    client.expect("RCPT TO:<b@a.b.example.test>", "250 *");
}

/// What a peer writes into an address, and the mailbox it has then.
const AWKWARD: &[&str] = &[
    "\"../../x\"@example.test",
    "\"../x\"@example.test",
    "\"..\"@example.test",
    "\".\"@example.test",
    "\"\"@example.test",
    "\"/etc/passwd\"@example.test",
    "\"a/b\"@example.test",
    "\"a\\\\b\"@example.test",
    "\"..\\/y\"@example.test",
    "%2e%2e%2fx@example.test",
    "%2e%2e@example.test",
    "\"%00\"@example.test",
    "\" \"@example.test",
    "\".hidden\"@example.test",
    "new@example.test",
    "{domain}@example.test",
    "{local}@example.test",
    "`id`@example.test",
    "$HOME@example.test",
    "~root@example.test",
    "*?!|&@example.test",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@example.test",
    "\"///////////////////////////////////////////////////////////// \"@example.test",
    "b@[127.0.0.1]",
    "b@[IPv6:::1]",
];

#[test]
fn no_address_leads_out_of_the_path() {
    let server = Server::start(&configs::maildirs("relay.hosts = [\"127.0.0.1\"]"));
    let mut client = server.client("edge");
    client.hello();
    for recipient in AWKWARD {
        let id = client.deliver("a@client.test", &[recipient], format!("X-To: {recipient}\r\n\r\n"));
        server.log().event("delivered", &[("id", &id)]);
    }
    // An octet that could end a string or a line gets nowhere.
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<\"a\0b\"@example.test>", "500 5.5.2 *");
    client.expect("RCPT TO:<\"a\nb\"@example.test>", "500 5.5.2 *");
    client.expect("RCPT TO:<b@..>", "501 5.1.3 *");
    client.expect("RCPT TO:<b@/../x>", "501 5.1.3 *");

    let site = server.site();
    let at_top: BTreeSet<String> = fs::read_dir(site.directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(at_top, ["mail", "pillarbox.toml", "state"].map(str::to_owned).into());
    // Each message lies in a mailbox of its own, exactly two components down.
    let mut mailboxes = BTreeMap::new();
    for file in site.files("mail") {
        let inside = file.strip_prefix(site.path("mail")).unwrap().to_owned();
        let parts: Vec<Component<'_>> = inside.components().collect();
        assert!(matches!(parts[..], [_, _, Component::Normal(new), _] if new == "new"), "{}", inside.display());
        let mailbox: PathBuf = parts[..2].iter().collect();
        let earlier = mailboxes.insert(mailbox, fs::read(&file).unwrap());
        assert!(earlier.is_none(), "two share {}", inside.display());
    }
    assert_eq!(mailboxes.len(), AWKWARD.len());
}

#[test]
fn what_is_discarded_is_written_nowhere() {
    let server = Server::start(&configs::discard(""));
    let mut client = server.client("edge");
    client.hello();
    client.deliver("a@client.test", &["b@example.test"], "Subject: small\r\n\r\n");
    client.deliver("a@client.test", &["b@example.test", "c@example.test"], "0123456789abcdef\r\n".repeat(20_000));
    client.quit();
    assert!(server.site().files("state/spool").is_empty(), "{:?}", server.site().files("state/spool"));
    assert_eq!(server.status()["messages_accepted"], 2);
}

#[test]
fn what_cannot_be_delivered_waits_for_the_next_start() {
    let site = Site::new(&configs::maildirs(SOON));
    // Where the domain's directory would be, there is a file.
    site.write("mail/example.test", "in the way");
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: kept\r\n\r\nkept\r\n");
    let mine = [("id", id.as_str()), ("recipient", "b@example.test")];
    let deferred = server.log().event("delivery deferred", &mine);
    assert!(deferred.field("error").contains("mail/example.test"), "{deferred:?}");
    assert_eq!(server.status()["queue"], 1);
    server.kill();

    // It still cannot, and still waits.
    let server = site.start();
    server.log().event("delivery deferred", &mine);
    server.kill();

    fs::remove_file(site.path("mail/example.test")).unwrap();
    let server = site.start();
    server.log().event("delivered", &mine);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: kept\n\nkept\n");
    assert_eq!(server.stop(), Some(0));
    assert!(site.files("state/spool").is_empty());
}

#[test]
fn one_recipient_that_cannot_be_served_holds_up_no_other() {
    let site = Site::new(&configs::maildirs(SOON));
    site.write("mail/example.test/b", "in the way");
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a@client.test", &["b@example.test", "c@example.test"], "Subject: two\r\n\r\n");
    server.log().event("delivery deferred", &[("id", &id), ("recipient", "b@example.test")]);
    server.log().event("delivered", &[("id", &id), ("recipient", "c@example.test")]);
    server.kill();

    fs::remove_file(site.path("mail/example.test/b")).unwrap();
    let server = site.start();
    server.log().event("delivered", &[("id", &id), ("recipient", "b@example.test")]);
    // The one that was served is not served again.
    server.maildir("mail/example.test/b").only();
    server.maildir("mail/example.test/c").only();
}

/// What fails is tried again soon.
const SOON: &str = "\n[delivery.retry]\nfirst = \"1s\"\nlongest = \"1s\"\n";

/// Clients that send at a time, and how many messages must have been acknowledged in the end.
const SENDERS: u32 = 4;
const ACKNOWLEDGED: usize = 200;

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let site = Site::new(&configs::maildirs(""));
    let mut acknowledged = BTreeMap::new();
    let serial = AtomicU32::new(0);
    let mut random = 0x9e37_79b9_u32;
    while acknowledged.len() < ACKNOWLEDGED {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        // The kill comes somewhere in the work that follows this many acknowledgements.
        let count = 1 + usize::try_from(random % 40).unwrap();
        let server = site.start();
        let address = server.address("edge");
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..SENDERS {
                let (sender, serial) = (sender.clone(), &serial);
                scope.spawn(move || send_until_it_ends(address, serial, &sender));
            }
            drop(sender);
            acknowledged.extend(receiver.iter().take(count));
            server.kill();
            acknowledged.extend(receiver);
        });
    }

    let server = site.start();
    let maildir = server.site().path("mail/example.test/b/new");
    server.log().wait_for("the delivery of everything acknowledged", |_| {
        let there = ids(&maildir);
        acknowledged.keys().all(|id| there.contains_key(id))
    });
    let there = ids(&maildir);
    for (id, content) in &acknowledged {
        let copies = &there[id];
        assert_eq!(copies.len(), 1, "copies of {id}");
        let text = String::from_utf8(fs::read(&copies[0]).unwrap()).unwrap();
        assert!(text.ends_with(&content.replace("\r\n", "\n")), "{id} holds\n{text}");
    }
    println!("{} acknowledged, {} delivered", acknowledged.len(), there.len());
}

/// Sends one message after the other until the server is gone, and tells of those that got their 250: id and content.
fn send_until_it_ends(address: SocketAddr, serial: &AtomicU32, acknowledged: &mpsc::Sender<(String, String)>) {
    let Ok(mut wire) = Wire::connect(address, None) else { return };
    let mut say = |text: &str| {
        wire.send(text.as_bytes()).ok()?;
        loop {
            let line = String::from_utf8(wire.line().ok()?).ok()?;
            if line.as_bytes().get(3) == Some(&b' ') {
                return Some(line);
            }
        }
    };
    let mut session = || {
        say("")?;
        say("EHLO client.example.test\r\n")?;
        loop {
            let number = serial.fetch_add(1, Ordering::Relaxed);
            // Some are small, some lie in a file before they are complete.
            let filler = "filling line\r\n".repeat(if number.is_multiple_of(5) { 8_000 } else { 3 });
            let content = format!("Subject: {number}\r\n\r\n{filler}end of {number}\r\n");
            say("MAIL FROM:<a@client.test>\r\n")?;
            say("RCPT TO:<b@example.test>\r\n")?;
            say("DATA\r\n")?;
            let reply = say(&format!("{content}.\r\n"))?;
            let id = reply.strip_prefix("250 2.0.0 OK ")?.to_owned();
            acknowledged.send((id, content)).ok()?;
        }
    };
    let _: Option<()> = session();
}

/// The messages of a directory by their ids, which are in their names.
fn ids(directory: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (_, rest) = name.split_once('.').expect("the second it was received");
        let (id, _) = rest.rsplit_once("R0.").expect("the recipient");
        found.entry(id.to_owned()).or_default().push(path);
    }
    found
}

#[test]
fn a_state_directory_has_one_server() {
    let server = Server::start(&configs::discard(""));
    let pid = server.pid().to_string();
    let second = server.site().run(&["serve"]).exits(78);
    assert!(second.stderr.contains("in use") && second.stderr.contains(&pid), "{second}");
    server.client("edge").quit();
    // A lock that nobody holds is no lock.
    let site = server.site().clone();
    server.kill();
    site.start().client("edge").quit();
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let site = Site::new(&configs::discard(""));
    site.write("state", "a file");
    site.run(&["serve"]).exits(78).says("state");
}

#[test]
fn a_spool_that_is_gone_takes_nothing() {
    let server = Server::start(&configs::maildirs(""));
    let site = server.site();
    let mut client = server.client("edge");
    client.hello();
    fs::rename(site.path("state/spool"), site.path("state/away")).unwrap();
    client.expect("MAIL FROM:<a@client.test>", "451 4.3.0 *");
    assert!(!site.path("state/spool").exists(), "it was made anew");
    // Back in its place, it is used again.
    fs::rename(site.path("state/away"), site.path("state/spool")).unwrap();
    until("the spool to be looked at again", || client.ask("MAIL FROM:<a@client.test>").code == 250);
    client.expect("RSET", "250 *");
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: kept\r\n\r\n");
    server.log().event("delivered", &[("id", &id)]);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: kept\n\n");
}

#[test]
fn a_damaged_message_harms_no_other() {
    let site = Site::new(&configs::maildirs(SOON));
    site.write("mail/example.test", "in the way");
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    let ids: Vec<String> = (0..3)
        .map(|number| client.deliver("a@client.test", &["b@example.test"], format!("Subject: {number}\r\n\r\n")))
        .collect();
    server.log().count(3, "delivery deferred");
    server.kill();
    // One octet of its content is another, and things lie about that are no messages.
    let name = format!("state/spool/queue/{}", ids[1]);
    let mut octets = site.read(&name);
    octets[30] ^= 1;
    site.write(&name, octets);
    site.write("state/spool/queue/read me", "not a message");
    site.write("state/spool/incoming/unfinished.tmp", "half");
    std::os::unix::fs::symlink("/etc/passwd", site.path("state/spool/queue/1K0W15WZMFR.1")).unwrap();
    fs::remove_file(site.path("mail/example.test")).unwrap();

    let server = site.start();
    for id in [&ids[0], &ids[2]] {
        server.log().event("delivered", &[("id", id)]);
    }
    server.log().event("message not loaded", &[("id", &ids[1])]);
    assert_eq!(server.maildir("mail/example.test/b").messages().len(), 2);
    assert!(site.path(&format!("state/spool/corrupt/{}", ids[1])).exists());
    assert!(!site.path("state/spool/incoming/unfinished.tmp").exists());
    assert!(site.path("state/spool/queue/read me").exists());
}

#[test]
fn a_full_disk_is_said_and_got_over() {
    let site = Site::new(&configs::maildirs(""));
    let Some(disk) = SmallDisk::mount(site.path("state")) else {
        println!("not tried: no small disk can be mounted here");
        return;
    };
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    // A message that does not fit is refused at its end, and what it took is given back.
    let large = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(50_000);
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.content(&large);
    client.expect_reply("452 4.3.1 *");
    let first = client.deliver("a@client.test", &["b@example.test"], "Subject: fits\r\n\r\n");
    server.log().event("delivered", &[("id", &first)]);

    // With no room for anything, nothing is taken. What a message before took may be given back at any moment.
    let filler = site.path("state/filler");
    let (mut taken, mut refused) = (1, 0);
    until("a full disk", || {
        while append(&filler, &[0; 4096]) {}
        let reply = offer(&mut client, "Subject: no room\r\n\r\n");
        if reply.code == 250 {
            (taken, refused) = (taken + 1, 0);
        } else {
            assert!(reply.last().starts_with("452 4.3.1 "), "{reply}");
            refused += 1;
        }
        refused == 4
    });
    // And as soon as there is room, it is, without a restart.
    fs::remove_file(&filler).unwrap();
    until("room to be seen", || offer(&mut client, "Subject: fits\r\n\r\n").code == 250);
    taken += 1;
    client.quit();
    server.log().count(taken, "delivered");
    assert_eq!(server.maildir("mail/example.test/b").messages().len(), taken);
    server.kill();
    drop(disk);
}

/// A whole transaction that may be refused at MAIL as well.
pub fn offer(client: &mut Client, content: &str) -> pillarbox_tests::Reply {
    let reply = client.ask("MAIL FROM:<a@client.test>");
    if reply.code != 250 {
        return reply;
    }
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.expect("DATA", "354 *");
    client.content(content);
    client.reply()
}

/// Whether there was room for it.
pub fn append(path: &Path, octets: &[u8]) -> bool {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(octets).is_ok()
}

/// A disk of one megabyte, as long as it lives.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting is not allowed.
    pub fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A client that was told 250 may go at once.
#[test]
fn a_client_need_not_wait_for_the_end_of_the_session() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = Client::connect(server.address("edge"));
    client.hello();
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: gone\r\n\r\n");
    drop(client);
    server.log().event("delivered", &[("id", &id)]);
    server.log().event("session ended", &[("end", "lost connection")]);
}
