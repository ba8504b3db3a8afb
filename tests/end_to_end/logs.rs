//! The log: one event a line, whatever a peer sends, and one thread through each session.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Event, Server, Site};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What could end a line, move a cursor, or pass for another field, in the xtext that XSETCONTEXT takes and as it is.
const HOSTILE: &[&str] = &[
    "EHLO a\u{2028}b",
    "EHLO a\u{1b}[2Jb",
    "EHLO a\rb",
    "EHLO session=forged",
    "NOOP \u{202e}\u{85}\u{feff}",
    "X\u{1b}]0;title\u{7} forged",
    "MAIL FROM:<\"a\\\"b session=forged\"@client.test>",
    "MAIL FROM:<\"level\\\":\\\"error\"@client.test>",
    "RCPT TO:<\"x\\\" message=\\\"delivered\"@example.test>",
    "RSET",
    "XSETCONTEXT a=b+0D+0A2026-11-22T16:00:00.000Z+20+20INFO+20delivered+20id=forged",
    "XSETCONTEXT a=+E2+80+A8{\"level\":\"error\"}",
    "XSETCONTEXT a=+1B[31m",
    "XREMOTEIP 192.0.2.1\u{2029}",
    "XCLIENT NAME=a+0Ab HELO=c+1Bd",
    "XCLIENT HELO=session=forged",
];

#[test]
fn nothing_a_peer_sends_ends_a_line() {
    let extensions = configs::extensions(&["xclient", "xremoteip", "xsetcontext", "xdumpcontext"]);
    for format in ["json", "text"] {
        let config = configs::maildirs(&extensions)
            .replace("format = \"json\"", &format!("format = \"{format}\"\nlevel = \"trace\""));
        let server = Server::start(&config);
        let mut client = server.client("edge");
        client.hello();
        for command in HOSTILE {
            client.ask(command);
        }
        // A message whose names are hostile, and one that is refused.
        client.hello();
        client.expect("MAIL FROM:<\"a b=\\\"c\"@client.test>", "250 *");
        client.expect("RCPT TO:<\"x\\\" message=\\\"delivered\"@example.test>", "250 *");
        client.expect("DATA", "354 *");
        client.content("Subject: \u{1b}[2J\u{2028}\r\n\r\n");
        client.expect_reply("250 *");
        client.expect("MAIL FROM:<a@client.test>", "250 *");
        client.expect("RCPT TO:<\"b\\\"\u{7f}\"@elsewhere.test>", "5*");
        client.quit();
        server.log().event("session ended", &[]);
        server.log().event("delivered", &[]);
        let log = server.log().clone();
        assert_eq!(server.stop(), Some(0));

        let forged = ["forged", "title"];
        for line in log.lines() {
            assert!(!line.chars().any(is_harmful), "{line:?}");
            let event = Event::parse(&line).unwrap_or_else(|| panic!("no event: {line}"));
            assert_eq!(line.starts_with('{'), format == "json", "{line}");
            // A value that looks like a field or like an event is a value.
            assert!(!forged.contains(&event.field("session")) && !forged.contains(&event.field("id")), "{line}");
            assert!(!event.message.contains("forged"), "{line}");
        }
        assert_eq!(log.events().iter().filter(|event| event.is("delivered")).count(), 1);
    }
}

/// Control characters, separators of lines, and marks that change the direction of reading.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn a_session_can_be_followed_from_connect_to_delivery() {
    let server = Server::start(&configs::maildirs("relay.hosts = []"));
    let (mut first, mut second) = (server.client("edge"), server.client("edge"));
    first.hello();
    second.hello();
    // Two sessions at a time, which the log keeps apart.
    first.begin("a@client.test", &["b@example.test"]);
    let other = second.deliver("a@client.test", &["c@example.test"], "Subject: other\r\n\r\n");
    first.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    first.expect("DATA", "354 *");
    first.content("Subject: one\r\n\r\n");
    first.expect_reply("250 *");
    let again = first.deliver("a@client.test", &["b@example.test"], "Subject: two\r\n\r\n");
    first.quit();
    second.quit();
    server.log().count(3, "delivered");
    server.log().count(2, "session ended");

    let events = server.log().events();
    let (session, number) = again.split_once('.').expect("an id is of a session");
    assert_eq!(number, "2");
    let own: Vec<&Event> = events.iter().filter(|event| event.field("session") == session).collect();
    let messages: Vec<&str> = own.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages.iter().filter(|message| **message == "message accepted").count(), 2, "{messages:?}");
    assert_eq!(messages.iter().filter(|message| **message == "delivered").count(), 2, "{messages:?}");
    assert_eq!(messages.first(), Some(&"session opened"), "{messages:?}");
    assert!(messages.contains(&"refused") && messages.contains(&"session ended"), "{messages:?}");
    assert!(own.iter().all(|event| !event.field("id").starts_with(other.split('.').next().unwrap())));
    let opened = own[0];
    assert_eq!((opened.field("listener"), opened.field("peer").split(':').next()), ("edge", Some("127.0.0.1")));
    let ended = own.iter().find(|event| event.is("session ended")).unwrap();
    assert_eq!((ended.field("end"), ended.field("messages")), ("closed", "2"));
}

#[test]
fn secrets_are_never_logged() {
    let config = configs::maildirs(&format!("{}{}", configs::tls("starttls"), configs::extensions(&["xsetcontext"])));
    let site = Site::new(&config.replace("[log]", "[log]\nlevel = \"trace\""));
    let pair = Pair::new(&["mx.example.test"]);
    pair.write(&site.path("tls"));
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    client.starttls();
    client.hello();
    client.expect("XSETCONTEXT token=hunter2", "250 *");
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: hunter3\r\n\r\nhunter4\r\n");
    client.quit();
    server.log().event("delivered", &[("id", &id)]);
    server.reload().exits(0);
    let key = pair.key.lines().nth(1).expect("a key has lines");
    for line in server.log().lines() {
        assert!(!line.contains("hunter") && !line.contains(key), "{line}");
    }
}

#[test]
fn grants_are_logged_once_at_load() {
    let listeners = "[listener.inside]\naddress = [\"127.0.0.1:0\"]\n\
        [[listener.inside.extension]]\nuse = \"xdumpcontext\"\npeers = [\"127.0.0.2\"]\n\
        grant.context-read = [\"ehlo_*\"]\n";
    let server =
        Server::start(&configs::discard(&format!("{}{listeners}", configs::extensions(&["xclient", "xdumpcontext"]))));
    for _ in 0..3 {
        let mut client = server.client("edge");
        client.expect("XDUMPCONTEXT", "250 *");
        client.quit();
    }
    let granted: Vec<Event> = server.log().events().into_iter().filter(|event| event.is("granted")).collect();
    let mut who: Vec<(&str, &str)> =
        granted.iter().map(|event| (event.field("listener"), event.field("extension"))).collect();
    who.sort_unstable();
    assert_eq!(who, [("edge", "xclient"), ("edge", "xdumpcontext"), ("inside", "xdumpcontext")]);
    let inside = granted.iter().find(|event| event.field("listener") == "inside").unwrap();
    assert!(inside.field("grants").contains("ehlo_*") && inside.field("peers").contains("127.0.0.2"), "{inside:?}");
}

#[test]
fn the_first_line_says_which_configuration_is_used() {
    let server = Server::start(&configs::discard(""));
    let first = server.log().events().remove(0);
    assert_eq!(first.message, "pillarbox starts");
    assert_eq!(first.field("config"), server.site().config().display().to_string());
    assert_eq!(first.field("hostname"), "mx.example.test");
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_mail() {
    let limits = "limits.junk-commands = 0\nlimits.errors = 0\nlimits.tarpit-after = 0";
    let site = Site::new(&configs::discard(limits).replace("[log]", "[log]\nlevel = \"trace\""));
    // Its own end of the pipe, which is left unread after the start.
    let mut child = site.command().stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the server does not start");
        if let Some(event) = Event::parse(line.trim_end()).filter(|event| event.is("listening")) {
            break event.field("address").parse().unwrap();
        }
    };
    let mut client = Client::connect(address);
    client.hello();
    // A pipe holds 64 KiB; this logs several times that.
    for _ in 0..1500 {
        client.expect("MAIL FROM:<a@client.test>", "250 *");
        client.expect("RCPT TO:<b@elsewhere.test>", "550 *");
        client.expect("RSET", "250 *");
    }
    client.quit();
    child.kill().unwrap();
    child.wait().unwrap();
}
