//! What hides in a command, and what hides behind STARTTLS: every octet in every place of every command, every tail in every place
//! around the handshake, and addresses mangled at random. Each command line has one reply, and nothing else happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Address, Auth, Mailbox, Sender, Settings, Tls};
use support::{Session, State, accept, count_replies};

fn settings() -> Settings {
    let mut settings = Settings::new("mx.example.test");
    settings.limits.errors = 0;
    settings.limits.tarpit_after = 0;
    settings.tls = Tls::Offered;
    settings.auth = Auth::Offered(["PLAIN".to_owned()].into());
    settings
}

/// Commands, and what comes before them.
const TEMPLATES: [(&str, &str); 14] = [
    ("", "EHLO client.example"),
    ("", "HELO [192.0.2.1]"),
    ("EHLO c\r\n", "MAIL FROM:<a@b.c> SIZE=1"),
    ("EHLO c\r\n", "MAIL FROM:<> BODY=8BITMIME SMTPUTF8"),
    ("EHLO c\r\nMAIL FROM:<>\r\n", "RCPT TO:<\"b\"@c.d>"),
    ("EHLO c\r\nMAIL FROM:<>\r\n", "RCPT TO:<@e,@f:b@c.d>"),
    ("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.d>\r\n", "DATA"),
    ("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.d>\r\n", "BDAT 6 LAST"),
    ("EHLO c\r\n", "AUTH PLAIN AHVzZXI="),
    ("EHLO c\r\n", "STARTTLS"),
    ("", "VRFY postmaster"),
    ("", "NOOP x"),
    ("EHLO c\r\nMAIL FROM:<>\r\n", "RSET"),
    ("", "QUIT"),
];

#[test]
fn every_octet_in_every_place_of_a_command_is_one_command() {
    let mut played = 0;
    for (before, template) in TEMPLATES {
        for at in 0..=template.len() {
            for octet in 0..=255 {
                // In place of what is there; at the end, behind it.
                let mut line = template.as_bytes().to_vec();
                match line.get_mut(at) {
                    Some(place) => *place = octet,
                    None => line.push(octet),
                }
                check_line(before, &line);
                played += 1;
            }
        }
    }
    assert!(played > 40_000, "{played}");
}

/// One line is one command, with one reply; what holds an octet that no command may hold is refused.
fn check_line(before: &str, line: &[u8]) {
    let mut session = Session::new(settings(), &mut accept);
    session.send(before.as_bytes(), &mut accept);
    session.lines();
    session.send(&[line, b"\r\n"].concat(), &mut accept);
    let shown = line.escape_ascii().to_string();
    let is_text =
        std::str::from_utf8(line).is_ok() && !line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t');
    let replies = session.lines();
    if session.server.in_body() && replies.is_empty() {
        // A chunk is awaited: as many octets as it says, and no more.
        assert!(is_text, "{shown}");
        let digits: String = line.iter().filter(|octet| octet.is_ascii_digit()).copied().map(char::from).collect();
        for _ in 0..digits.parse().unwrap() {
            assert!(session.server.in_body(), "{shown}");
            session.send(b"x", &mut accept);
        }
        assert_eq!(count_replies(&session.lines()), 1, "{shown}");
    } else {
        assert_eq!(count_replies(&replies), 1, "{shown}: {replies:?}");
        let code = &replies.last().unwrap()[..3];
        assert!(is_text || ["500", "521"].contains(&code), "{shown}: {replies:?}");
        match code {
            "354" => session.send(b".\r\n", &mut accept),
            "334" => session.send(b"*\r\n", &mut accept),
            _ => {}
        }
        session.lines();
    }
    match session.state {
        State::Closed | State::Handshake => {}
        State::Reading { .. } => {
            session.send(b"NOOP\r\n", &mut accept);
            assert_eq!(session.lines(), ["250 2.0.0 OK"], "{shown}");
        }
    }
}

/// What an attacker would have the server believe that it came under TLS.
const TAILS: [&str; 32] = [
    "\r",
    "\n",
    "\r\n",
    " ",
    "\0",
    "N",
    "NO",
    "NOOP",
    "NOOP\r",
    "NOOP\n",
    "NOOP\r\n",
    "RSET\r\n",
    "QUIT\r\n",
    "EHLO evil.example.test\r\n",
    "HELO evil.example.test\r\n",
    "MAIL FROM:<evil@example.test>\r\n",
    "RCPT TO:<b@example.test>\r\n",
    "DATA\r\n",
    "BDAT 5 LAST\r\nhello",
    "BDAT 5 LAST\r\n",
    "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
    "STARTTLS\r\n",
    "VRFY x\r\n",
    "XV x\r\n",
    ".\r\n",
    "354 x\r\n",
    "EHLO x\r\nMAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nevil\r\n.\r\n",
    "\x16\x03\x01",
    "\x16\x03\x01\x02\0\x01\0",
    "\x15\x03\x01\0\x02\x02\x28",
    "\x17\x03\x03\0\x05hello",
    "GET / HTTP/1.0\r\n\r\n",
];

/// In the segment of STARTTLS, and between the reply and the handshake, cut in two or not: it has no reply, and no effect.
#[test]
fn nothing_in_the_clear_comes_through_starttls() {
    for tail in TAILS {
        for before in ["", "EHLO there\r\n", "HELO there\r\n", "EHLO there\r\nMAIL FROM:<>\r\nRSET\r\n"] {
            let mut session = Session::new(settings(), &mut accept);
            session.send(before.as_bytes(), &mut accept);
            session.lines();
            session.send(format!("STARTTLS\r\n{tail}").as_bytes(), &mut accept);
            assert_eq!(session.lines(), ["554 5.5.0 nothing may follow STARTTLS in the clear"], "{tail:?}");
            assert_eq!(session.state, State::Closed, "{tail:?}");

            for cut in [0, 1, tail.len() / 2] {
                let mut session = Session::new(settings(), &mut accept);
                session.send(before.as_bytes(), &mut accept);
                session.lines();
                session.send(b"STARTTLS\r\n", &mut accept);
                assert_eq!(session.lines(), ["220 2.0.0 ready to start TLS"]);
                for piece in [&tail.as_bytes()[..cut], &tail.as_bytes()[cut..]] {
                    session.server.receive(piece);
                    assert!(matches!(session.server.step(), pillarbox_smtp::Step::StartTls));
                }
                session.server.secured();
                session.run(&mut accept);
                assert!(session.lines().is_empty(), "{tail:?}");
                assert!(
                    !session.server.said_hello() && !session.server.in_transaction() && !session.server.has_input()
                );
                session.send(b"MAIL FROM:<a@example.test>\r\nNOOP\r\n", &mut accept);
                let expected = ["503 5.5.1 send HELO or EHLO first", "250 2.0.0 OK"];
                assert_eq!(session.lines(), expected, "{tail:?}");
                assert!(session.messages.is_empty());
            }
        }
    }
}

/// Parts of MAIL and RCPT, right and wrong, to be put together at random.
const PARTS: &[&str] = &[
    "<",
    ">",
    "@",
    ":",
    ",",
    ".",
    "\"",
    "\\",
    "\\\"",
    " ",
    "\t",
    "<>",
    "a",
    "b.c",
    "postmaster",
    "example.test",
    "[192.0.2.1]",
    "[IPv6:2001:db8::1]",
    "[IPv6:::ffff:192.0.2.1]",
    "[x:y]",
    "@relay.test:",
    "@a.test,@b.test:",
    "user%other.test",
    "other.test!user",
    "\"a b\"",
    "\"a>b\"",
    "\"@\"",
    "\"\"",
    "(comment)",
    "((nested))",
    "b\u{fc}cher",
    "\u{4f8b}",
    "\u{85}",
    "\u{fffd}",
    "\u{2028}",
    "xn--bcher-kva",
    "_",
    "-",
    "..",
    "SIZE=10",
    "SIZE=",
    "SIZE=99999999999999999999",
    "BODY=8BITMIME",
    "BODY=",
    "SMTPUTF8",
    "RET=FULL",
    "ENVID=a+3Db",
    "ENVID=a+0Db",
    "NOTIFY=NEVER",
    "NOTIFY=SUCCESS,DELAY",
    "ORCPT=rfc822;a+40b",
    "ORCPT=rfc822;a+0A${run{x}}",
    "AUTH=<>",
    "AUTH=a+40b.test",
    "AUTH=a+0Ab",
    "XNO=1",
    "=",
    "+",
    "%s",
    "${run{/bin/sh}}",
    "|sh",
    "`id`",
    "$(id)",
    "../../etc/passwd",
    "%00",
    "\u{0}",
    "\r",
    "\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd.ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
];

/// Whatever is put together: one reply, and what is accepted is an address that says the same when it is read again.
#[test]
fn mangled_addresses_are_refused_or_sound() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..20_000 {
        let mail = below(2) == 0;
        let mut line = if mail { "MAIL FROM:<" } else { "RCPT TO:<" }.to_owned();
        let sound = [
            ["a", "@", "example.test"],
            ["@relay.test:", "\"a b\"@", "example.test"],
            ["", "b\u{fc}cher@", "example.test"],
            ["user%other.test", "@", "[192.0.2.1]"],
        ];
        let mut parts: Vec<&str> = sound[below(sound.len())].to_vec();
        parts.extend([">", [" SIZE=1", " SMTPUTF8", " NOTIFY=NEVER", " ORCPT=rfc822;a", ""][below(5)]]);
        for _ in 0..below(4) {
            let at = below(parts.len() + 1);
            let part = PARTS[below(PARTS.len())];
            match below(3) {
                0 if at < parts.len() => parts[at] = part,
                1 if at < parts.len() => {
                    parts.remove(at);
                }
                _ => parts.insert(at, part),
            }
        }
        line.push_str(&parts.concat());
        let mut session = Session::new(settings(), &mut accept);
        let smtputf8 = if below(2) == 0 { " SMTPUTF8" } else { "" };
        session.send(b"EHLO there\r\n", &mut accept);
        if !mail {
            session.send(format!("MAIL FROM:<>{smtputf8}\r\n").as_bytes(), &mut accept);
        }
        session.lines();
        session.send(format!("{line}\r\n").as_bytes(), &mut accept);
        let replies = session.lines();
        // A part may end with CR, another begin with LF.
        let lines = line.matches("\r\n").count() + 1;
        assert_eq!(count_replies(&replies), lines, "{round}: {line:?}: {replies:?}");
        let Some(envelope) = session.server.envelope() else { continue };
        let mailbox = match (&envelope.sender, envelope.recipients.first()) {
            (Sender::Mailbox(mailbox), _)
            | (_, Some(pillarbox_smtp::EnvelopeRecipient { address: Address::Mailbox(mailbox), .. })) => mailbox,
            _ => continue,
        };
        accepted += 1;
        let text = mailbox.to_string();
        assert_eq!(Mailbox::parse_utf8(&text).as_ref(), Ok(mailbox), "{line:?}");
        assert!(!text.chars().any(char::is_control), "{line:?}");
        assert!(text.is_ascii() || envelope.smtputf8, "{line:?}");
        assert!(mailbox.local().len() <= 64 && text.len() <= 254, "{line:?}");
        // Where it goes is what stands behind the last @ that is not quoted, and nothing in front of it.
        assert!(text.ends_with(&format!("@{}", mailbox.domain())), "{line:?}");
    }
    assert!(accepted > 2000, "{accepted}");
}
