//! What a session may use up, what is said when it has, and what the log is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Ask, Expiry, Limits, Refusal, Server, Settings, Step};
use support::{Session, State, accept};

const BEGUN: &str = "HELO there\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n";

/// Settings without any limit, but for what `change` sets.
fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::new("mx.example.test");
    settings.limits = Limits {
        command_line: 4096,
        message_size: 0,
        recipients: 0,
        session_recipients: 0,
        messages: 0,
        commands: 0,
        errors: 0,
        tarpit_after: 0,
        junk_commands: 0,
        header_size: 0,
        header_lines: 0,
        hops: 0,
    };
    change(&mut settings);
    settings
}

#[test]
fn a_limit_that_is_hit_is_named_by_its_key() {
    type Change = fn(&mut Settings);
    let cases: [(&str, Change, &str, &str); 14] = [
        ("commands", |s| s.limits.commands = 2, "NOOP\r\nNOOP\r\nNOOP\r\n", "421 4.7.0 "),
        ("errors", |s| s.limits.errors = 2, "X\r\nX\r\n", "421 4.7.0 "),
        ("junk-commands", |s| s.limits.junk_commands = 1, "NOOP\r\nRSET\r\n", "421 4.7.0 "),
        ("recipients", |s| s.limits.recipients = 1, "RCPT TO:<c@example.test>\r\n", "452 4.5.3 "),
        ("session-recipients", |s| s.limits.session_recipients = 1, "RCPT TO:<c@example.test>\r\n", "452 4.5.3 "),
        ("messages", |s| s.limits.messages = 1, "RSET\r\nMAIL FROM:<>\r\n", "452 4.5.3 "),
        ("message-size", |s| s.limits.message_size = 1, "DATA\r\ntext\r\n.\r\n", "552 5.3.4 "),
        ("message-size", |s| s.limits.message_size = 1, "RSET\r\nMAIL FROM:<> SIZE=2\r\n", "552 5.3.4 "),
        ("header-size", |s| s.limits.header_size = 3, "DATA\r\na: b\r\n.\r\n", "552 5.3.4 "),
        ("header-lines", |s| s.limits.header_lines = 1, "DATA\r\na: b\r\na: b\r\n.\r\n", "552 5.3.4 "),
        ("hops", |s| s.limits.hops = 1, "DATA\r\nreceived: b\r\nReceived: b\r\n.\r\n", "554 5.4.6 "),
        (
            "command-line",
            |s| s.limits.command_line = 40,
            "NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            "500 5.5.2 ",
        ),
        ("unauthorized-pipelining", |s| s.refuse_unauthorized_pipelining = true, "NOOP\r\nNOOP\r\n", "421 4.7.0 "),
        ("", |_| {}, "X\r\n", "500 5.5.2 "),
    ];
    for (limit, change, said, expected) in cases {
        let needs_transaction = !["commands", "junk-commands"].contains(&limit);
        let mut session = Session::new(settings(change), &mut accept);
        for line in BEGUN.split_inclusive('\n').filter(|_| needs_transaction) {
            session.send(line.as_bytes(), &mut accept);
        }
        assert!(session.server.refusals().is_empty(), "{limit}");
        session.send(said.as_bytes(), &mut accept);
        let noted = session.server.refusals();
        let last = noted.last().unwrap();
        assert!(last.reply.to_string().starts_with(expected), "{limit}: {last:?}");
        assert_eq!(last.limit.unwrap_or_default(), limit, "{last:?}");
        assert_eq!(session.lines().last().unwrap(), &last.reply.to_string(), "what is noted is what was said");
        assert_eq!(session.state == State::Closed, expected.starts_with("421"), "{limit}");
    }
}

#[test]
fn without_limits_nothing_ends_a_session() {
    let mut session = Session::new(settings(|_| {}), &mut accept);
    session.send("HELO there\r\nNOOP\r\nX\r\n".repeat(3000).as_bytes(), &mut accept);
    assert_eq!(session.lines().len(), 1 + 3 * 3000);
    assert_eq!(session.tarpitted, 0);
    assert_ne!(session.state, State::Closed);
}

#[test]
fn each_time_that_runs_out_has_its_words() {
    let cases = [
        (Expiry::Command, "command-timeout", "timed out waiting for input"),
        (Expiry::Data, "data-timeout", "timed out waiting for message content"),
        (Expiry::Transaction, "transaction-timeout", "transaction took too long"),
        (Expiry::DataRate, "data-rate", "message content came too slowly"),
    ];
    // Before anything, in a transaction, in DATA, between chunks, in a chunk, in one that is not wanted.
    let places = [
        ("", 0),
        (BEGUN, 0),
        (&[BEGUN, "DATA\r\nx"].concat(), 1),
        (&[BEGUN, "BDAT 1\r\nx"].concat(), 1),
        (&[BEGUN, "BDAT 2\r\nx"].concat(), 1),
        ("BDAT 2\r\nx", 0),
    ];
    for (why, limit, words) in cases {
        for (said, aborts) in places {
            let mut session = Session::new(settings(|_| {}), &mut accept);
            session.send(said.as_bytes(), &mut accept);
            session.lines();
            session.server.expire(why);
            session.run(&mut accept);
            assert_eq!(session.lines(), [format!("421 4.4.2 mx.example.test {words}, closing connection")]);
            assert_eq!(session.server.refusals().last().unwrap().limit, Some(limit));
            assert_eq!(session.trace.iter().filter(|step| **step == "abort").count(), aborts, "{said:?}");
            assert_eq!(session.state, State::Closed);
        }
    }
}

#[test]
fn errors_are_waited_for_from_the_one_that_says_so() {
    let mut session = Session::new(settings(|s| s.limits.tarpit_after = 3), &mut accept);
    for (said, tarpitted) in [
        ("X\r\n", 0),
        ("NOOP\r\n", 0),
        ("X\r\n", 0),
        ("X\r\n", 1),
        ("NOOP\r\n", 1),
        ("X\r\nNOOP\r\nX\r\n", 3),
        ("HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\n", 3),
        ("a\nb\r\n.\r\n", 4),
    ] {
        session.send(said.as_bytes(), &mut accept);
        assert_eq!(session.tarpitted, tarpitted, "{said:?}");
    }
}

/// The wait comes right before the write that carries the errors, once.
#[test]
fn a_tarpit_is_followed_by_its_write() {
    let mut server = Server::new(settings(|s| s.limits.tarpit_after = 1));
    let Step::Ask(ask) = server.step() else { panic!("connect") };
    accept(ask);
    assert!(matches!(server.step(), Step::Write(_)));
    assert!(matches!(server.step(), Step::Read { .. }));
    server.receive(b"X\r\nX\r\nNOOP\r\n");
    let mut steps = Vec::new();
    loop {
        match server.step() {
            Step::Turn => {}
            Step::Tarpit(errors) => steps.push(format!("tarpit {errors}")),
            Step::Write(octets) => steps.push(format!("write {}", String::from_utf8(octets).unwrap().lines().count())),
            Step::Read { .. } => break,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(steps, ["tarpit 2", "write 3"]);
}

#[test]
fn every_5xx_is_an_error_whoever_gave_it() {
    let refusal = |code| Refusal::new(code, None, ["no"]).unwrap();
    for (code, lines) in [(450, 5), (550, 3)] {
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Hello(ask) => ask.refuse(refusal(code)),
            ask => accept(ask),
        };
        let mut session = Session::new(settings(|s| s.limits.errors = 3), &mut answer);
        session.lines();
        session.send("HELO there\r\n".repeat(5).as_bytes(), &mut answer);
        assert_eq!(session.lines().len(), lines);
        // What policy refuses, its owner knows; what was said in its place, only the machine does.
        let noted = session.server.refusals();
        assert_eq!(
            noted.iter().map(|noted| noted.limit).collect::<Vec<_>>(),
            if code == 550 { vec![Some("errors")] } else { vec![] }
        );
    }
}

/// What stands in place of the banner answers no command.
#[test]
fn a_refused_client_has_made_no_error() {
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Connect(ask) => ask.refuse(Refusal::new(554, None, ["no"]).unwrap()),
        ask => accept(ask),
    };
    let mut session = Session::new(settings(|s| s.limits.errors = 1), &mut answer);
    assert_eq!(session.lines(), ["554 no"]);
    session.send(b"HELO there\r\n", &mut answer);
    assert_eq!(session.lines(), ["421 4.7.0 too many errors, closing connection"]);
}

#[test]
fn who_talks_before_the_banner_may_be_refused() {
    for (refuse, early, expected) in [
        (false, "", "220 mx.example.test ESMTP Pillarbox"),
        (false, "HELO there\r\n", "220 mx.example.test ESMTP Pillarbox"),
        (true, "", "220 mx.example.test ESMTP Pillarbox"),
        (true, "H", "421 4.7.0 protocol deviation, closing connection"),
        (true, "HELO there\r\n", "421 4.7.0 protocol deviation, closing connection"),
    ] {
        let mut server = Server::new(settings(|s| s.refuse_early_talk = refuse));
        server.receive(early.as_bytes());
        let Step::Ask(ask) = server.step() else { panic!("connect") };
        accept(ask);
        let mut said = Vec::new();
        loop {
            match server.step() {
                Step::Write(octets) => said.extend(octets),
                Step::Ask(ask) => accept(ask),
                Step::Turn | Step::Reset => {}
                Step::Read { .. } | Step::Close => break,
                step => panic!("{step:?}"),
            }
        }
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.lines().next(), Some(expected), "{early:?}");
        let limit = server.refusals().first().and_then(|noted| noted.limit);
        assert_eq!(limit, expected.starts_with("421").then_some("early-talk"));
    }
}

#[test]
fn what_follows_the_first_greeting_is_not_early() {
    // Back at the greeting, commands may wait: XCLIENT is said in a group.
    let mut verbs = pillarbox_smtp::Verbs::new();
    let rule = pillarbox_smtp::Rule { before_hello: true, ..Default::default() };
    verbs.insert("XV".to_owned(), pillarbox_smtp::Claim::Open(rule));
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Verb(ask) => ask.restart(false),
        ask => accept(ask),
    };
    let mut session = Session::new(
        settings(|s| {
            s.refuse_early_talk = true;
            s.verbs = verbs.into();
        }),
        &mut answer,
    );
    session.send(b"XV\r\nNOOP\r\n", &mut answer);
    assert_eq!(session.lines()[1..], ["220 mx.example.test ESMTP Pillarbox", "250 2.0.0 OK"]);
}

/// RFC 2920 section 3.1, RFC 4954 section 4, RFC 3207 section 4; and all others may be followed.
#[test]
fn a_strict_server_knows_what_ends_a_group() {
    let ends = ["EHLO x", "HELO x", "LHLO x", "DATA", "VRFY x", "EXPN x", "NOOP", "QUIT", "AUTH PLAIN", "STARTTLS"];
    let goes_on = ["MAIL FROM:<>", "RCPT TO:<b@c>", "RSET", "HELP", "BDAT 0", "TURN", "X"];
    let strict = settings(|s| s.refuse_unauthorized_pipelining = true);
    for (verbs, deviates) in [(&ends[..], true), (&goes_on[..], false)] {
        for verb in verbs {
            let mut session = Session::new(strict.clone(), &mut accept);
            session.send(b"EHLO there\r\n", &mut accept);
            session.lines();
            session.send(format!("{verb}\r\nR").as_bytes(), &mut accept);
            let refused = session.lines() == ["421 4.7.0 protocol deviation, closing connection"];
            assert_eq!((refused, session.state == State::Closed), (deviates, deviates), "{verb}");
        }
    }
    // Not offered, not allowed.
    let mut session = Session::new(
        settings(|s| {
            s.refuse_unauthorized_pipelining = true;
            s.keywords.pipelining = false;
        }),
        &mut accept,
    );
    session.send(b"EHLO there\r\n", &mut accept);
    session.lines();
    session.send(b"RSET\r\nR", &mut accept);
    assert_eq!(session.lines(), ["421 4.7.0 protocol deviation, closing connection"]);
}

/// The octets of a chunk belong to its command, offered PIPELINING or not; what follows them does not.
#[test]
fn a_chunk_is_no_pipelining() {
    let mut strict = settings(|s| s.refuse_unauthorized_pipelining = true);
    strict.keywords.pipelining = false;
    let mut session = Session::new(strict, &mut accept);
    for line in BEGUN.split_inclusive('\n') {
        session.send(line.as_bytes(), &mut accept);
    }
    session.lines();
    session.send(b"BDAT 5\r\nhello", &mut accept);
    assert_eq!(session.lines(), ["250 2.0.0 5 octets received"]);
    session.send(b"BDAT 5\r\nhelloB", &mut accept);
    assert_eq!(session.lines(), ["421 4.7.0 protocol deviation, closing connection"]);
}

/// A message that nobody will take is not read for ever.
#[test]
fn what_is_too_much_by_far_is_refused_at_once() {
    const LIMIT: u64 = 1000;
    let patience = LIMIT + LIMIT / 2 + 1024 * 1024;
    for fault in ["x", "a\nb"] {
        let mut session = Session::new(settings(|s| s.limits.message_size = LIMIT), &mut accept);
        session.send(format!("{BEGUN}DATA\r\n{fault}").as_bytes(), &mut accept);
        session.lines();
        let octets = vec![b'x'; 1000];
        let mut sent = 0;
        while session.state != State::Closed && sent < 2 * patience {
            session.send(&octets, &mut accept);
            sent += 1000;
        }
        assert!((patience - 10..=patience + 1000).contains(&sent), "{sent}");
        let expected =
            if fault == "x" { "552 5.3.4 message size limit exceeded" } else { "550 5.6.0 lone CR or LF in body" };
        assert_eq!(session.lines(), [expected]);
        assert_eq!(session.trace.iter().filter(|step| **step == "abort").count(), 1);
    }
}
