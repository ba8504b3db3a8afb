//! Octets where they do not belong: before, behind and inside the beginning of TLS (CVE-2011-0411 and its kin). None of
//! them is ever a command.

use super::start;
use crate::configs;
use pillarbox_tests::{Client, Server};
use std::io::{Read, Write};

/// What an attacker puts behind STARTTLS.
const TAILS: [&[u8]; 30] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\0",
    b".",
    b"N",
    b"NOOP",
    b"NOOP\n",
    b"NOOP\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"HELP\r\n",
    b"EHLO evil.example.test\r\n",
    b"HELO evil.example.test\r\n",
    b"LHLO evil.example.test\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\nYQ==\r\nYg==\r\n",
    b"MAIL FROM:<evil@client.test>\r\n",
    b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@example.test>\r\n",
    b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n",
    b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nx\r\n.\r\n",
    b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@example.test>\r\nBDAT 1 LAST\r\nx",
    b"BDAT 0 LAST\r\n",
    b"XCLIENT ADDR=10.1.2.3\r\n",
    b"XREMOTEIP 10.1.2.3\r\n",
    b"PROXY TCP4 10.1.2.3 10.1.2.4 1 2\r\n",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"\x15\x03\x03\x00\x02\x01\x00",
];

fn config(mode: &str) -> String {
    configs::maildirs(&(configs::tls(mode) + &configs::extensions(&["xclient", "xremoteip", "xdumpcontext"])))
}

#[test]
fn in_one_segment_with_starttls() {
    let (server, _) = start(&config("starttls"));
    for before in ["", "MAIL FROM:<a@client.test>\r\nRSET\r\n", "NOOP\r\nRSET\r\n"] {
        for tail in TAILS {
            let mut client = server.client("edge");
            client.hello();
            client.send([before.as_bytes(), b"STARTTLS\r\n", tail].concat());
            for _ in before.lines() {
                client.expect_reply("250 *");
            }
            client.expect_reply("554 5.5.0 *");
            client.expect_gone();
        }
    }
    nothing_came_of_it(&server);
    assert!(server.log().events().iter().all(|event| !event.is("tls started")));
}

#[test]
fn behind_the_go_ahead() {
    let (server, _) = start(&config("starttls"));
    let plain: Vec<&[u8]> = TAILS.into_iter().filter(|tail| tail[0] >= 0x20 && tail.len() >= 5).collect();
    for tail in &plain {
        let mut client = server.client("edge");
        client.hello();
        client.expect("STARTTLS", "220 2.0.0 *");
        client.socket().write_all(tail).unwrap();
        client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        let _ = client.socket().read_to_end(&mut heard);
        assert!(heard.first().is_none_or(|octet| *octet == 21), "{}: {heard:?}", tail.escape_ascii());
    }
    server.log().count(plain.len(), "tls handshake failed");
    nothing_came_of_it(&server);
}

#[test]
fn nothing_said_before_counts_behind() {
    let (server, _) = start(&config("starttls"));
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("STARTTLS", "503 5.5.1 *");
    client.expect("RSET", "250 *");
    client.starttls();
    // Not a single reply waits, and there is neither a transaction nor a name.
    for (command, pattern) in [("DATA", "503 5.5.1 *"), ("MAIL FROM:<a@client.test>", "503 5.5.1 *"), ("NOOP", "250 *")]
    {
        client.expect(command, pattern);
    }
    assert!(!client.ask("XDUMPCONTEXT").to_string().contains("ehlo_"));
    client.hello();
    client.expect("DATA", "503 5.5.1 *");
    // Half a command in the clear is not the first half of one under TLS.
    let mut client = server.client("edge");
    client.hello();
    client.send("STARTTLS\r\nMAIL FROM:");
    client.expect_reply("554 5.5.0 *");
    client.expect_gone();
}

#[test]
fn replies_of_both_sides_stay_apart() {
    let (server, _) = start(&config("starttls"));
    // All that is answered in the clear is answered before the go-ahead, and the go-ahead is the last of it.
    let mut client = server.client("edge");
    client.hello();
    client.send("MAIL FROM:<a@client.test>\r\nRSET\r\nSTARTTLS\r\n");
    for pattern in ["250 2.1.0 *", "250 *", "220 2.0.0 *"] {
        client.expect_reply(pattern);
    }
    client.handshake();
    client.hello();
    client.quit();
}

#[test]
fn commands_in_many_records_and_many_in_one() {
    let (server, _) = start(&config("implicit"));
    let mut client = Client::connect_tls(server.address("edge"));
    // Each write of the client is a record of its own.
    for octet in b"EHLO client.example.test\r\n" {
        client.send([*octet]);
    }
    client.expect_reply("250 *");
    client.send(
        "MAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nSubject: one record\r\n\r\n.\r\nQUIT\r\n",
    );
    for pattern in ["250 2.1.0 *", "250 2.1.5 *", "354 *", "250 2.0.0 OK *", "221 *"] {
        client.expect_reply(pattern);
    }
    client.expect_close();
    server.log().event("delivered", &[]);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: one record\n\n");
}

#[test]
fn a_record_that_is_cut_or_changed() {
    let (server, _) = start(&config("implicit"));
    for rest in [
        &[23, 3, 3, 0, 40, 1, 2, 3][..],
        &[23, 3, 3, 0, 32],
        b"QUIT\r\n",
        &[23, 3, 3, 0xff, 0xff],
        &[23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut client = Client::connect_tls(server.address("edge"));
        client.hello();
        client.begin("a@client.test", &["b@example.test"]);
        client.expect("DATA", "354 *");
        client.send("Subject: cut\r\n\r\ntext\r\n");
        // Below TLS, as somebody in between can.
        let mut socket = client.socket();
        socket.write_all(rest).unwrap();
        client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        client.expect_gone();
    }
    server.log().count(5, "session ended");
    nothing_came_of_it(&server);
}

/// No message was taken, nor any command obeyed that changes who the client is.
#[track_caller]
fn nothing_came_of_it(server: &Server) {
    let events = server.log().events();
    assert!(events.iter().all(|event| !event.is("message accepted") && !event.is("client changed")));
    assert!(server.site().files("state/spool").is_empty());
}
