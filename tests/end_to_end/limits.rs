//! Limits and time-outs: what one peer may take, and that nobody else pays for it.

mod doors;
mod time;

use crate::configs;
use pillarbox_tests::{Client, Server, Site, binary, until};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn message_size() {
    let server = Server::start(&configs::discard("limits.message-size = 1000"));
    let mut client = server.client("edge");
    assert!(client.hello().says("SIZE 1000"));
    client.expect("MAIL FROM:<a@client.test> SIZE=1001", "552 5.3.4 *");
    client.expect("MAIL FROM:<a@client.test> SIZE=1000", "250 *");
    client.expect("RSET", "250 *");

    let at_limit = format!("{}\r\n", "x".repeat(998));
    client.deliver("a@client.test", &["b@example.test"], &at_limit);

    // What is too large is read to its end, and refused there; the session goes on, and nothing is kept.
    let over = format!("{}\r\n", "x".repeat(999));
    assert_eq!(client.submit("a@client.test", &["b@example.test"], &over).code, 552);
    let large = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(50_000);
    let within_bounds = &large[..64 * 15_000];
    assert_eq!(client.submit("a@client.test", &["b@example.test"], within_bounds).code, 552);
    client.deliver("a@client.test", &["b@example.test"], &at_limit);
    // Nobody is listened to for ever: more than a megabyte and a half of what is allowed ends the session with the refusal.
    assert_eq!(client.submit("a@client.test", &["b@example.test"], &large).code, 552);
    client.expect_gone();
    assert!(server.site().files("state/spool").is_empty());
}

#[test]
fn recipients() {
    let server = Server::start(&configs::maildirs("limits.recipients = 3"));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test", "c@example.test", "d@example.test"]);
    client.expect("RCPT TO:<e@example.test>", "452 4.5.3 *");
    // Those that were taken stay taken.
    client.expect("DATA", "354 *");
    client.content("Subject: three\r\n\r\n");
    client.expect_reply("250 2.0.0 OK *");
    server.log().count(3, "delivered");
    assert!(!server.maildir("mail/example.test/e").path().exists());
}

#[test]
fn connections() {
    let server = Server::start(&configs::discard("limits.connections = 2"));
    let (first, mut second) = (server.client("edge"), server.client("edge"));
    let mut third = Client::dial(server.address("edge"), None);
    third.expect_reply("421 4.4.5 Service unavailable, concurrency limit reached*");
    third.expect_close();
    let refused = server.log().event("connection refused", &[("listener", "edge")]);
    assert_eq!((refused.field("limit"), refused.field("open"), refused.field("allowed")), ("connections", "2", "2"));
    second.expect("NOOP", "250 *");

    // A place is free again when a session has ended, not when its client has gone.
    first.quit();
    server.log().event("session ended", &[("end", "closed")]);
    // The log says so a moment before the place is free.
    until("a free place", || Client::dial(server.address("edge"), None).reply().code == 220);
    let status = server.status();
    assert!(status["connections_refused"].as_u64().is_some_and(|count| count >= 1), "{status:#}");
}

#[test]
fn connections_of_a_network() {
    let server = Server::start(&configs::discard(
        "limits.connections = 10\n\
         [listener.edge.peer.\"127.0.0.2\"]\nlimits.connections = 1\n\
         [listener.edge.peer.\"127.0.0.0/29\"]\nlimits.connections = 3\n",
    ));
    let from = |last: u8| IpAddr::from([127, 0, 0, last]);
    let address = server.address("edge");
    let _one = Client::connect_from(from(2), address);
    let mut two = Client::dial(address, Some(from(2)));
    two.expect_reply("421 4.4.5 *");
    two.expect_close();
    // Others of the larger network have two places left.
    let _three = Client::connect_from(from(3), address);
    let _four = Client::connect_from(from(4), address);
    let mut five = Client::dial(address, Some(from(5)));
    five.expect_reply("421 4.4.5 *");
    five.expect_close();
    // And outside of it there is room.
    let _six = Client::connect_from(from(9), address);
}

#[test]
fn a_peer_that_says_nothing_is_sent_away() {
    let server = Server::start(&configs::discard("limits.command-timeout = \"300ms\""));
    let mut client = server.client("edge");
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
}

#[test]
fn octets_do_not_renew_the_time_for_a_command() {
    let server = Server::start(&configs::discard("limits.command-timeout = \"1s\""));
    let mut client = server.client("edge");
    let began = Instant::now();
    // One octet whenever nothing came for a tenth of a second: quick enough for a server that counts silence.
    let patience = Duration::from_millis(100);
    client.socket().set_read_timeout(Some(patience)).unwrap();
    let mut octet = [0];
    while client.socket().peek(&mut octet).is_err() {
        client.send("x");
        assert!(began.elapsed() < Duration::from_secs(20), "the server waits on");
    }
    client.socket().set_read_timeout(Some(pillarbox_tests::PATIENCE)).unwrap();
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn commands_do_renew_it() {
    let server = Server::start(&configs::discard("limits.command-timeout = \"1s\"\nlimits.junk-commands = 0"));
    let mut client = server.client("edge");
    let began = Instant::now();
    // Every command is answered, for longer than one of them may take.
    while began.elapsed() < Duration::from_millis(1500) {
        client.expect("NOOP", "250 *");
    }
    client.quit();
}

#[test]
fn a_message_that_does_not_go_on_is_dropped() {
    let server = Server::start(&configs::maildirs("limits.data-timeout = \"300ms\""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.send("Subject: half\r\n\r\nof a mess");
    client.expect_reply("421 4.4.2 *");
    client.expect_close();
    server.log().event("session ended", &[]);
    assert!(server.site().files("state/spool").is_empty());
    assert!(!server.site().path("mail").exists());
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    // More than is kept in memory, so that there is a file to be removed.
    client.send("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(10_000));
    drop(client);
    server.log().event("session ended", &[("end", "lost connection")]);
    assert!(server.site().files("state/spool").is_empty());
}

#[test]
fn lines_that_are_too_long() {
    let server = Server::start(&configs::discard("limits.command-line = 512"));
    let mut client = server.client("edge");
    client.hello();
    client.send(format!("NOOP {}\r\n", "x".repeat(505)));
    client.expect_reply("250 *");
    client.send(format!("NOOP {}\r\n", "x".repeat(506)));
    client.expect_reply("500 5.5.2 *");
    // Ten megabytes without a line end take no memory, get one reply at their end, and hold up nobody.
    let before = memory(server.pid());
    let mut other = server.client("edge");
    for _ in 0..160 {
        client.send([b'x'; 64 * 1024]);
    }
    other.expect("NOOP", "250 *");
    client.send("\r\nNOOP\r\n");
    client.expect_reply("500 5.5.2 *");
    client.expect_reply("250 *");
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more");
}

/// The resident memory of a process, in octets.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_thousand_recipients_are_taken_where_nothing_is_said() {
    let server = Server::start(&configs::discard(""));
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    // Pipelined, as a client with so many would.
    let commands: String = (0..1001).map(|number| format!("RCPT TO:<b{number}@example.test>\r\n")).collect();
    client.send(commands);
    for _ in 0..1000 {
        client.expect_reply("250 2.1.5 *");
    }
    client.expect_reply("452 4.5.3 *");
    client.expect("DATA", "354 *");
    client.content("Subject: many\r\n\r\n");
    client.expect_reply("250 *");
}

#[test]
fn a_client_may_speak_first_and_go_early() {
    let server = Server::start(&configs::maildirs(""));
    // All of it before the banner, as a client that waits for nothing would send it.
    let mut client = Client::dial(server.address("edge"), None);
    client.send(
        "EHLO client.example.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n\
         Subject: early\r\n\r\n.\r\n",
    );
    // And it is gone before it hears that its message was taken.
    drop(client);
    server.log().event("message accepted", &[]);
    server.log().event("delivered", &[]);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: early\n\n");
}

#[test]
fn other_protocols_are_turned_away() {
    let server = Server::start(&configs::discard(""));
    let hello_of_tls = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n";
    for (octets, reply) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], "421 4.7.0 *"), (hello_of_tls, "500 5.5.2 *")] {
        let mut client = server.client("edge");
        client.send(octets);
        client.expect_reply(reply);
    }
}

/// A server that may have this many files open.
fn start_with_files(count: u32) -> Server {
    let site = Site::new(&configs::discard(""));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\"")]);
    command.arg(binary()).arg("serve").arg("--config").arg(site.config()).stdin(Stdio::null());
    Server::spawn(&site, &mut command)
}

/// What a process gets that does not ask is for programs of another time: 1000 clients alone are more.
#[test]
fn it_takes_as_many_descriptors_as_it_is_allowed() {
    let site = Site::new(&configs::discard(""));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 64 && ulimit -Hn 700 && exec \"$0\" \"$@\""]);
    command.arg(binary()).arg("serve").arg("--config").arg(site.config()).stdin(Stdio::null());
    let server = Server::spawn(&site, &mut command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("its limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("one of files");
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["700", "700"], "{files}");
}

#[test]
fn without_descriptors_it_waits_for_some() {
    let server = start_with_files(64);
    let mut early = server.client("edge");
    let crowd: Vec<Client> = (0..100).map(|_| Client::dial(server.address("edge"), None)).collect();
    server.log().wait_for("the lack of descriptors", |event| event.message.starts_with("cannot accept connections"));
    // Who is in is served.
    early.hello();
    early.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    drop(crowd);
    // And so is who comes afterwards.
    let mut late = server.client("edge");
    late.hello();
    late.quit();
    let told = server.log().events();
    assert_eq!(told.iter().filter(|event| event.message.starts_with("cannot accept")).count(), 1, "once is enough");
}
