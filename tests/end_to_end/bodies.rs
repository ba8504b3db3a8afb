//! Messages by DATA and by BDAT: two ways to say the same, with the same limits, and no more memory for more octets.

use crate::configs;
use pillarbox_tests::{Client, Server, Site, guest, until};
use std::fs;
use std::io::Write;

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Data,
    /// In chunks of so many octets; the last one is what is left.
    Chunks(usize),
}

/// Sends a message whose recipients were taken; what comes of it.
#[track_caller]
fn send(client: &mut Client, way: Way, content: &[u8]) -> String {
    match way {
        Way::Data => {
            client.expect("DATA", "354 *");
            client.content(content);
        }
        Way::Chunks(size) => {
            let count = content.chunks(size).len();
            let mut octets = Vec::new();
            for (number, chunk) in content.chunks(size).enumerate() {
                let last = if number + 1 == count { " LAST" } else { "" };
                octets.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
                octets.extend_from_slice(chunk);
            }
            client.send(octets);
            for _ in 1..count {
                client.expect_reply("250 2.0.0 * octets received");
            }
        }
    }
    client.reply().last().to_owned()
}

#[test]
fn the_same_message_arrives_whatever_the_way() {
    let server = Server::start(&configs::maildirs("limits.recipients = 100"));
    let mut client = server.client("edge");
    client.hello();
    let mut content = b"Subject: x\r\nX-Dots: .\r\n\r\n.\r\n..\r\n.one\r\n\r\n.\r\n\r\n".to_vec();
    for number in 0..300 {
        content.extend_from_slice(format!("{}line {number}\r\n", ".".repeat(number % 3)).as_bytes());
    }
    content.extend_from_slice("the end: caf\u{e9}\r\n".as_bytes());
    let expected = String::from_utf8(content.clone()).unwrap().replace("\r\n", "\n").into_bytes();
    // Chunks of one octet and of three have their edges inside of every kind of line end.
    let length = content.len();
    let ways = [
        Way::Data,
        Way::Chunks(length),
        Way::Chunks(length / 2),
        Way::Chunks(length.div_ceil(3)),
        Way::Chunks(3),
        Way::Chunks(1),
    ];
    assert!(length > 3000, "{length}");
    for (number, way) in ways.into_iter().enumerate() {
        client.begin("a@client.test", &[&format!("b{number}@example.test")]);
        let reply = send(&mut client, way, &content);
        let id = reply.strip_prefix("250 2.0.0 OK ").unwrap_or_else(|| client.fail("not taken"));
        server.log().event("delivered", &[("id", id)]);
        let arrived = server.maildir(&format!("mail/example.test/b{number}")).content();
        assert!(arrived == expected, "{way:?}: {}", String::from_utf8_lossy(&arrived));
    }
    client.quit();
}

#[test]
fn a_binary_body_is_kept_octet_for_octet() {
    let server = Server::start(&configs::maildirs(""));
    let mut client = server.client("edge");
    assert!(client.hello().says("BINARYMIME"));
    let mut body: Vec<u8> = (0..=255).collect();
    body.extend_from_slice(b"\r\n.\r\n\n\r\0\xff\r\n.\r\nlone\rand\nlone\r");
    body.extend((0..100_000_u32).map(|number| ((number * 7919) >> 3) as u8));
    let content = [b"Subject: x\r\nMIME-Version: 1.0\r\n\r\n", &*body].concat();
    for (number, size) in [content.len(), 1000, 333].into_iter().enumerate() {
        client.expect("MAIL FROM:<a@client.test> BODY=BINARYMIME", "250 2.1.0 *");
        client.expect(&format!("RCPT TO:<b{number}@example.test>"), "250 2.1.5 *");
        client.expect("DATA", "503 5.5.1 *");
        let reply = send(&mut client, Way::Chunks(size), &content);
        let id = reply.strip_prefix("250 2.0.0 OK ").unwrap_or_else(|| client.fail("not taken"));
        server.log().event("delivered", &[("id", id)]);
        let arrived = server.maildir(&format!("mail/example.test/b{number}")).content();
        let expected = [b"Subject: x\nMIME-Version: 1.0\n\n", &*body].concat();
        assert!(arrived == expected, "in chunks of {size} octets");
    }
    client.quit();
}

#[test]
fn the_same_limits_hold_on_both_ways() {
    guest("example-policy");
    let policy = "[[listener.edge.extension]]\nuse = \"policy\"\ngrant.session = [\"client\"]\n\
         grant.context-read = { connection = [\"policy_bypass\"] }\n\
         grant.context-write = { message = [\"policy_*\"] }\ngrant.envelope-read = true\ngrant.message-read = true\n\
         [extension.policy]\ncomponent = \"../../../target/guests/example-policy.wasm\"\n\
         settings = { marker = \"X-TEST-MARKER\" }\n";
    let server = Server::start(&configs::maildirs(&format!(
        "limits.message-size = 2000\nlimits.header-size = 500\nlimits.header-lines = 8\nlimits.hops = 3\n\
         limits.errors = 0\nlimits.tarpit-after = 0\n{policy}"
    )));
    let mut client = server.client("edge");
    client.hello();
    let hop = "Received: from a by b; now\r\n";
    let cases = [
        ("as large as may be", format!("\r\n{}\r\n", "x".repeat(1996)), "250 2.0.0 OK "),
        ("larger", format!("\r\n{}\r\n", "x".repeat(1997)), "552 5.3.4 "),
        ("a header as large as may be", format!("X: {}\r\n\r\n", "x".repeat(493)), "250 2.0.0 OK "),
        ("a larger header", format!("X: {}\r\n\r\n", "x".repeat(501)), "552 5.3.4 "),
        ("as many lines as may be", format!("{}\r\n", "X: x\r\n".repeat(8)), "250 2.0.0 OK "),
        ("more lines", format!("{}\r\n", "X: x\r\n".repeat(9)), "552 5.3.4 "),
        ("as many hops as may be", format!("{}\r\n", hop.repeat(3)), "250 2.0.0 OK "),
        ("more hops", format!("{}\r\n", hop.repeat(4)), "554 5.4.6 "),
        ("a lone LF in the header", "X: x\nY: y\r\n\r\n".to_owned(), "550 5.6.0 "),
        ("a lone LF in the body", "X: x\r\n\r\na\nb\r\n".to_owned(), "550 5.6.0 "),
        ("a lone CR in the body", "X: x\r\n\r\na\rb\r\n".to_owned(), "550 5.6.0 "),
        ("what policy refuses", "X: x\r\n\r\nX-TEST-MARKER\r\n".to_owned(), "550 5.7.1 message refused "),
    ];
    let mut taken = 0;
    for (what, content, expected) in &cases {
        // Not less than half of it at a time, so that only the last chunk is refused.
        for way in [Way::Data, Way::Chunks(content.len())] {
            client.begin("a@client.test", &["b@example.test"]);
            let reply = send(&mut client, way, content.as_bytes());
            assert!(reply.starts_with(expected), "{what} {way:?}: {reply}\n{}", client.transcript());
            taken += usize::from(reply.starts_with("250"));
        }
    }
    client.quit();
    server.log().count(taken, "delivered");
    until("an empty spool", || server.site().files("state/spool").is_empty());
    assert_eq!(server.maildir("mail/example.test/b").messages().len(), taken);
}

/// The most memory a process had so far, in octets.
fn peak(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_message_takes_no_more_memory_than_a_small_one() {
    const LINES: usize = 1 << 20;
    let server = Server::start(&configs::maildirs("limits.message-size = \"200MiB\""));
    let mut client = server.client("edge");
    client.hello();
    let small = [b"Subject: small\r\n\r\n", &*b"x".repeat(200_000), b"\r\n"].concat();
    for way in [Way::Data, Way::Chunks(small.len())] {
        client.begin("a@client.test", &["small@example.test"]);
        assert!(send(&mut client, way, &small).starts_with("250 "));
    }
    server.log().count(2, "delivered");
    let before = peak(&server);

    // A hundred octets a line; the socket itself, as the transcript is no place for them.
    let piece = format!("{}\r\n", "0123456789abcdef".repeat(6) + "zz").repeat(LINES / 64);
    assert_eq!(piece.len() * 64, 100 << 20);
    for (number, way) in [Way::Data, Way::Chunks(100 << 20), Way::Chunks(piece.len())].into_iter().enumerate() {
        client.begin("a@client.test", &[&format!("large{number}@example.test")]);
        if matches!(way, Way::Data) {
            client.expect("DATA", "354 *");
        }
        let mut socket = client.socket();
        for part in 0..64 {
            match way {
                Way::Chunks(size) if size == piece.len() || part == 0 => {
                    let last = if size != piece.len() || part == 63 { " LAST" } else { "" };
                    socket.write_all(format!("BDAT {size}{last}\r\n").as_bytes()).unwrap();
                }
                _ => {}
            }
            socket.write_all(piece.as_bytes()).unwrap();
        }
        match way {
            Way::Data => client.send(".\r\n"),
            Way::Chunks(size) if size == piece.len() => {
                for _ in 1..64 {
                    client.expect_reply("250 2.0.0 1638400 octets received");
                }
            }
            Way::Chunks(_) => {}
        }
        client.expect_reply("250 2.0.0 OK *");
        server.log().count(3 + number, "delivered");
        let grown = peak(&server).saturating_sub(before);
        assert!(grown < 8 << 20, "{way:?}: {grown} octets more");
        let maildir = server.maildir(&format!("mail/example.test/large{number}"));
        assert!(maildir.only().len() > LINES * 99, "{way:?}");
        fs::remove_dir_all(maildir.path()).unwrap();
    }
    client.quit();
}

/// A session in the middle of a message by BDAT of which there is a file.
fn midway(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.send([format!("BDAT {}\r\n", 300_000).as_bytes(), &b"0123456789abcdef".repeat(300_000 / 16)].concat());
    client.expect_reply("250 2.0.0 300000 octets received");
    client
}

#[test]
fn a_message_that_is_given_up_leaves_nothing() {
    let server = Server::start(&configs::maildirs(""));
    let spool = || server.site().files("state/spool");
    for (what, give_up) in [
        (
            "RSET",
            (|mut client| {
                client.expect("RSET", "250 2.0.0 *");
                client.quit();
            }) as fn(Client),
        ),
        ("EHLO", |mut client| {
            client.hello();
            client.quit();
        }),
        ("QUIT", |client| client.quit()),
        ("a disconnect", drop),
        ("a disconnect within a chunk", |mut client| client.send(b"BDAT 1000 LAST\r\nhalf of it")),
        ("a chunk that is none", |mut client| {
            client.expect("BDAT x", "521 5.5.4 *");
            client.expect_close();
        }),
    ] {
        let client = midway(&server);
        assert!(!spool().is_empty(), "{what}: nothing is written, so nothing is tested");
        give_up(client);
        until(what, || spool().is_empty());
    }
    assert!(!server.site().path("mail").exists());
    assert!(!server.log().events().iter().any(|event| event.is("message accepted")));
}

#[test]
fn a_message_that_a_crash_interrupts_is_none() {
    let site = Site::new(&configs::maildirs(""));
    let server = site.start();
    let mut client = midway(&server);
    client.send(b"BDAT 300000 LAST\r\nand some of the rest");
    assert!(!site.files("state/spool").is_empty());
    server.kill();
    let server = site.start();
    assert!(site.files("state/spool").is_empty());
    // Whoever was told nothing sends it again.
    let mut client = server.client("edge");
    client.hello();
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: again\r\n\r\n");
    server.log().event("delivered", &[("id", &id)]);
    assert_eq!(server.maildir("mail/example.test/b").content(), b"Subject: again\n\n");
}
