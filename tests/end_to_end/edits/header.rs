//! Header fields that extensions change: of messages of every shape, by several in a row, and as far as limits let them.

use super::*;

/// What is sent, the value that is inserted as X-New, and what is delivered.
const SHAPES: &[(&str, &str)] = &[
    ("Subject: a\r\n\r\ntext\r\n", "X-New: v\r\nSubject: a\r\n\r\ntext\r\n"),
    ("Subject: a\r\n\r\n", "X-New: v\r\nSubject: a\r\n\r\n"),
    ("Subject: a\r\n", "X-New: v\r\nSubject: a\r\n\r\n"),
    ("\r\nonly a body\r\n", "X-New: v\r\n\r\nonly a body\r\n"),
    ("no field at all\r\n", "X-New: v\r\n\r\nno field at all\r\n"),
    ("no field\r\n\r\nat all\r\n", "X-New: v\r\n\r\nno field\r\n\r\nat all\r\n"),
    ("Dear Bob: no field\r\n\r\nat all\r\n", "X-New: v\r\n\r\nDear Bob: no field\r\n\r\nat all\r\n"),
    (": no name\r\n\r\ntext\r\n", "X-New: v\r\n\r\n: no name\r\n\r\ntext\r\n"),
    (" blank\r\nSubject: a\r\n\r\ntext\r\n", "X-New: v\r\n\r\n blank\r\nSubject: a\r\n\r\ntext\r\n"),
    ("A: b\r\nno colon\r\nC: d\r\n\r\ntext\r\n", "X-New: v\r\nA: b\r\nno colon\r\nC: d\r\n\r\ntext\r\n"),
    ("A : b\r\n C: d\r\n\r\n.\r\n..\r\n", "X-New: v\r\nA : b\r\n C: d\r\n\r\n.\r\n..\r\n"),
    ("A: b\r\n \r\nC: d\r\n\r\n\r\n\r\nx\r\n", "X-New: v\r\nA: b\r\n \r\nC: d\r\n\r\n\r\n\r\nx\r\n"),
    ("", "X-New: v\r\n\r\n"),
];

#[test]
fn a_field_is_added_to_a_message_of_any_shape() {
    let server = start("", &[("", r#"message = ["insert X-New 0 v"]"#)]);
    let mut client = greeted(&server);
    for (number, (content, expected)) in SHAPES.iter().enumerate() {
        client.deliver("a@client.test", &[&format!("b{number}@example.test")], content);
        assert_eq!(delivered(&server, &format!("b{number}")), *expected, "{content:?}");
    }
}

/// Only chunks end otherwise than with a line end; what is binary stays so (RFC 3030).
#[test]
fn chunks_keep_their_octets_behind_another_header() {
    let server = start("", &[("", r#"message = ["insert X-New 0 v", "remove Subject 0"]"#)]);
    let mut client = greeted(&server);
    let mut binary = b"Subject: a\r\nA: b\r\n\r\n".to_vec();
    binary.extend(0..=255);
    binary.extend(b"\n\n\r\r\n\r\n.\r\nend");
    let cases: [(&str, &[u8], &[u8]); 3] = [
        ("", b"Subject: a\r\n\r\nno end", b"X-New: v\n\nno end"),
        ("", b"A: b\r\nSubject: a", b"X-New: v\nA: b\n\n"),
        ("BODY=BINARYMIME", &binary, &[b"X-New: v\nA: b\n\n", &binary[20..]].concat()),
    ];
    for (number, (parameter, content, expected)) in cases.into_iter().enumerate() {
        client.expect(format!("MAIL FROM:<a@client.test> {parameter}").trim_end(), "250 *");
        client.expect(&format!("RCPT TO:<b{number}@example.test>"), "250 *");
        for (at, octets) in content.chunks(7).enumerate() {
            let last = if at == (content.len() - 1) / 7 { " LAST" } else { "" };
            client.send([format!("BDAT {}{last}\r\n", octets.len()).as_bytes(), octets].concat());
            client.expect_reply("250 2.0.0 *");
        }
        let maildir = server.maildir(&format!("mail/example.test/b{number}"));
        pillarbox_tests::until("the message is delivered", || !maildir.messages().is_empty());
        assert!(maildir.content() == expected, "{:?}", String::from_utf8_lossy(&maildir.content()));
    }
}

#[test]
fn values_are_folded_and_nothing_of_them_is_lost() {
    let words = "word ".repeat(2_000);
    let solid = "x".repeat(10_000);
    let script = format!("message = [\"insert X-Words 0 {}\", \"insert X-Solid 0 {solid}\"]", words.trim_end());
    let server = start("", &[("", &script)]);
    greeted(&server).deliver("a@client.test", &["b@example.test"], CONTENT);
    let text = delivered(&server, "b");
    let header = text.strip_suffix(CONTENT).expect("the rest stays as it is");
    assert!(header.split("\r\n").all(|line| line.len() <= 998), "{header}");
    let (solid_field, words_field) = header.split_once("X-Words:").unwrap();
    assert!(words_field.split("\r\n").all(|line| line.len() <= 78), "{words_field}");
    // Unfolded by RFC 5322 section 2.2.3, it is what it was.
    assert_eq!(words_field.replace("\r\n", ""), format!(" {}", words.trim_end()));
    assert_eq!(solid_field.replace("\r\n ", "").replace("\r\n", ""), format!("X-Solid: {solid}"));
}

#[test]
fn values_are_ascii_unless_the_message_said_otherwise() {
    let script =
        r#"message = ["insert X-New 0 grün", "replace Subject 0 a\r\nX-New: b", "replace Subject 0 a\u0000", "see"]"#;
    let server = start("", &[("", script)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@example.test"], CONTENT);
    assert_eq!(delivered(&server, "b"), CONTENT);
    said(&server, "a field's value is ASCII, for the message has no SMTPUTF8");
    said(&server, "a field's value holds no control characters");
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8 BODY=8BITMIME", "250 *");
    client.expect("RCPT TO:<c@example.test>", "250 *");
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("250 *");
    assert_eq!(delivered(&server, "c"), format!("X-New: grün\r\n{CONTENT}"));
}

#[test]
fn whoever_is_asked_next_changes_what_was_changed() {
    let first = r#"message = ["insert X-One 0 a", "replace Subject 0 two"]"#;
    let second =
        r#"message = ["see", "insert X-One 1 b", "insert X-One 0 c", "remove Subject 0", "replace X-Tag 1 e"]"#;
    let third = r#"message = ["see", "for no@example.test reject", "for go@example.test discard"]"#;
    let server = start("", &[("", first), ("", second), ("", third)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@example.test"], CONTENT);
    // The second of a name that is there once has no place but the top.
    let expected = "X-One: c\r\nX-One: b\r\nX-One: a\r\nX-Tag: a\r\n\tb\r\nX-TAG: e\r\n\r\ntext\r\n.dots\r\n";
    assert_eq!(delivered(&server, "b"), expected);
    said(&server, "octets with X-One Subject X-Tag X-TAG");
    said(&server, &format!("sees {} octets with X-One X-One X-One X-Tag X-TAG", expected.len()));
    let reply = client.submit("a@client.test", &["no@example.test"], CONTENT);
    assert_eq!(reply.code, 550, "{reply}");
    client.deliver("a@client.test", &["go@example.test"], CONTENT);
    // A message that came to nothing leaves nothing behind for the next one.
    client.deliver("a@client.test", &["c@example.test"], CONTENT);
    assert_eq!(delivered(&server, "c"), expected);
    pillarbox_tests::until("the spool is empty", || server.site().files("state/spool").is_empty());
    assert_eq!(server.site().files("mail").len(), 2);
}

#[test]
fn the_listeners_limits_hold_for_what_is_added() {
    let script =
        r#"message = ["insert X-Long 0 0123456789012345678901234567890123456789", "insert X-A 0 a", "insert X-B 0 b"]"#;
    for (limits, field, limit) in [
        ("limits.header-size = 70", "X-B: b\r\nX-A: a\r\n", "header-size: 70 octets"),
        ("limits.header-lines = 5", "X-Long: 0123456789012345678901234567890123456789\r\n", "header-lines: 5"),
    ] {
        let server = start(limits, &[("", script)]);
        greeted(&server).deliver("a@client.test", &["b@example.test"], CONTENT);
        assert_eq!(delivered(&server, "b"), format!("{field}{CONTENT}"));
        said(&server, limit);
    }
}

#[test]
fn a_header_too_large_to_be_read_is_left_alone() {
    let lines = "limits.header-size = 0\nlimits.header-lines = 0";
    let server = start(lines, &[("", r#"message = ["insert X-New 0 v"]"#)]);
    let mut client = greeted(&server);
    for (number, (count, changes)) in [(16_000, true), (18_000, false)].into_iter().enumerate() {
        let field = format!("X-Field: {}\r\n", "x".repeat(53));
        let content = format!("{}\r\ntext\r\n", field.repeat(count));
        client.deliver("a@client.test", &[&format!("b{number}@example.test")], &content);
        let expected = if changes { format!("X-New: v\r\n{content}") } else { content };
        assert!(delivered(&server, &format!("b{number}")) == expected, "{count}");
    }
    said(&server, "a header of more than 1 MiB is not parsed");
}

#[test]
fn edits_are_counted_for_each_call() {
    let script = r#"message = ["insert X-A 0 a", "insert X-B 0 b", "for c@example.test insert X-C 0 c"]"#;
    let server = with_tables("", &[("", "limits.edits = 2", script)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@example.test"], CONTENT);
    assert_eq!(delivered(&server, "b"), format!("X-B: b\r\nX-A: a\r\n{CONTENT}"));
    let reply = client.submit("a@client.test", &["c@example.test"], CONTENT);
    assert_eq!(reply.code, 451, "{reply}");
    server.log().event("extension failed", &[("kind", "edits"), ("hook", "message")]);
}
