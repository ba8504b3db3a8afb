//! Peers that break off wherever they stand, and messages that no mail program writes: nothing leaks, nothing is left, and
//! what was accepted is there.

use crate::configs;
use crate::limits::memory;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Server, Site, until};
use std::time::{Duration, Instant};

/// Closes so that the server is sent RST.
fn reset(client: Client) {
    socket2::SockRef::from(client.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[test]
fn a_reset_wherever_the_session_stands() {
    let site = Site::new(&configs::maildirs(&configs::tls("starttls")));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    let server = site.start();
    let text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(3_000);
    // How far each goes.
    let stages: [&dyn Fn(&mut Client); 9] = [
        &|_| {},
        &|client| _ = client.hello(),
        &|client| {
            client.hello();
            client.expect("MAIL FROM:<a@client.test>", "250 *");
        },
        &|client| {
            client.hello();
            client.begin("a@client.test", &["b@example.test"]);
        },
        &|client| {
            client.hello();
            client.begin("a@client.test", &["b@example.test"]);
            client.expect("DATA", "354 *");
            client.send("Subject: cut\r\n");
        },
        // More than is kept in memory, so that there is a file.
        &|client| {
            client.hello();
            client.begin("a@client.test", &["b@example.test"]);
            client.expect("DATA", "354 *");
            client.send(&text);
        },
        &|client| {
            client.hello();
            client.begin("a@client.test", &["b@example.test"]);
            client.send(format!("BDAT {}\r\n{text}", text.len()));
            client.expect_reply("250 *");
        },
        &|client| {
            client.hello();
            client.expect("STARTTLS", "220 *");
        },
        &|client| {
            client.hello();
            client.starttls();
            client.hello();
            client.begin("a@client.test", &["b@example.test"]);
            client.expect("DATA", "354 *");
            client.send(&text);
        },
    ];
    for stage in stages {
        for orderly in [false, true] {
            let mut client = server.client("edge");
            stage(&mut client);
            if orderly { drop(client) } else { reset(client) }
        }
    }
    server.log().count(stages.len() * 2, "session ended");
    assert!(site.files("state/spool").is_empty(), "{:?}", site.files("state/spool"));
    assert!(!site.path("mail").exists());
    until("no session", || server.status()["listeners"][0]["sessions"] == 0);
    // Who breaks off behind the end mark has sent a message, or has not; the next session is served either way.
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.content("Subject: whole\r\n\r\n");
    client.line();
    reset(client);
    server.log().event("delivered", &[]);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: whole\n\n");
}

#[test]
fn a_half_closed_connection_is_answered_to_its_end() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.send("Subject: cut\r\n\r\nno end mark\r\n");
    client.finish();
    client.expect_close();
    server.log().event("session ended", &[("end", "lost connection")]);
    let mut client = server.client("edge");
    client.send("EHLO client.example.test\r\nNOOP\r\nQUIT\r\nNOOP\r\n");
    client.finish();
    for pattern in ["250 *", "250 *", "221 *"] {
        client.expect_reply(pattern);
    }
    client.expect_gone();
    assert!(server.site().files("state/spool").is_empty());
}

#[test]
fn lines_of_every_length_in_a_message() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    client.hello();
    for length in [0, 1, 998, 999, 1_000, 2_048, 16_383, 16_384, 65_536, 1 << 20] {
        let line = "x".repeat(length);
        let to = format!("l{length}");
        client.deliver("a@client.test", &[&format!("{to}@example.test")], format!("Subject: long\r\n\r\n{line}\r\n"));
        server.log().event("delivered", &[("recipient", &format!("{to}@example.test"))]);
        let content = server.maildir(&format!("mail/example.test/{to}")).content();
        assert!(content == format!("Subject: long\n\n{line}\n").into_bytes(), "{length}");
    }
    client.quit();
}

#[test]
fn a_hundred_thousand_chunks_of_one_octet() {
    let server = Server::start(&configs::maildirs("limits.commands = 0"));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    let content = format!("Subject: chunks\r\n\r\n{}\r\n", "0123456789".repeat(10_000));
    let before = memory(server.pid());
    for piece in content.as_bytes().chunks(500) {
        let commands: Vec<u8> = piece.iter().flat_map(|octet| [b"BDAT 1\r\n", &[*octet][..]].concat()).collect();
        client.send(commands);
        for _ in piece {
            client.expect_reply("250 2.0.0 *");
        }
    }
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more");
    client.expect("BDAT 0 LAST", "250 2.0.0 OK *");
    client.quit();
    server.log().event("delivered", &[]);
    assert!(server.maildir("mail/example.test/b").content() == content.replace("\r\n", "\n").into_bytes());
}

#[test]
fn what_is_said_of_the_size_is_not_believed() {
    let server = Server::start(&configs::discard("limits.message-size = \"100KiB\""));
    let mut client = server.client("edge");
    client.hello();
    for size in ["2147483648", "18446744073709551615", "99999999999999999999"] {
        client.expect(&format!("MAIL FROM:<a@client.test> SIZE={size}"), "552 5.3.4 *");
    }
    let large = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(2_000);
    for said in ["", " SIZE=0", " SIZE=10"] {
        client.expect(&format!("MAIL FROM:<a@client.test>{said}"), "250 *");
        client.expect("RCPT TO:<b@example.test>", "250 *");
        client.expect("DATA", "354 *");
        client.content(&large);
        client.expect_reply("552 5.3.4 *");
    }
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.quit();
    assert!(server.site().files("state/spool").is_empty());
}

/// What can stand before DATA without a recipient that was taken.
#[test]
fn data_without_a_recipient() {
    let server = Server::start(&configs::discard("limits.errors = 0\nlimits.tarpit-after = 0"));
    let mut client = server.client("edge");
    client.hello();
    const MAIL: &str = "MAIL FROM:<a@client.test>";
    const RCPT: &str = "RCPT TO:<b@example.test>";
    const REFUSED: &str = "RCPT TO:<b@elsewhere.test>";
    for before in [
        &[][..],
        &[RCPT],
        &[MAIL, "RSET"],
        &[MAIL, RCPT, "RSET"],
        &[MAIL, RCPT, "EHLO client.example.test"],
        &[MAIL, RCPT, "HELO client.example.test"],
        &[MAIL, RCPT, "BDAT 0 LAST"],
        &[MAIL, RCPT, "BDAT 0", "RSET"],
        &["MAIL FROM:<a", RCPT],
        &["MAIL FROM:<a@client.test> BODY=WHAT", RCPT],
        &["MAIL FROM:<a@client.test> SIZE=99999999999", RCPT],
        &["BDAT 0", RCPT],
        &[REFUSED],
        &["DATA x"],
    ] {
        for command in before {
            client.ask(command);
        }
        client.expect("DATA", "503 5.5.1 *");
        client.expect("BDAT 0 LAST", "503 5.5.1 *");
    }
    for refused in [REFUSED, "RCPT TO:<", "RCPT TO:<>", "RCPT TO:<b@example.test> WHAT=1", "RCPT"] {
        client.expect(MAIL, "250 *");
        client.expect(refused, "5*");
        // RFC 5321 section 3.3: no valid recipients.
        let reply = client.ask("DATA");
        assert!([503, 554].contains(&reply.code), "{refused}: {reply}");
        client.expect("RSET", "250 *");
    }
    // With one, all is well, whatever was before.
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.quit();
}

#[test]
fn a_rush_at_the_door_does_not_keep_a_good_client_waiting() {
    let server =
        Server::start(&configs::discard("limits.connections-per-address = 0\nlimits.connections-per-prefix = 0"));
    let address = server.address("edge");
    let rush = std::thread::spawn(move || {
        for round in 0..1_000 {
            let client = Client::dial(address, None);
            if round % 2 == 0 { reset(client) } else { drop(client) }
        }
    });
    let mut slowest = Duration::ZERO;
    while !rush.is_finished() {
        let began = Instant::now();
        server.client("edge").quit();
        slowest = slowest.max(began.elapsed());
    }
    rush.join().unwrap();
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    until("no session", || server.status()["listeners"][0]["sessions"] == 0);
}
