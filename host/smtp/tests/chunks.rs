//! BDAT (RFC 3030 section 2): what is kept, what policy can do, that every message ends once, and that no octet of a chunk is ever
//! taken for a command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use pillarbox_smtp::{Ask, Protocol, Refusal, Settings, StrayNewlines, reply};
use support::{Session, State, accept, count_replies};

const BEGUN: &str = "MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n";
const BINARY: &str = "MAIL FROM:<a@example.test> BODY=BINARYMIME\r\nRCPT TO:<b@example.test>\r\n";

fn settings() -> Settings {
    let mut settings = Settings::new("mx.example.test");
    settings.limits.errors = 0;
    settings.limits.junk_commands = 0;
    settings.limits.commands = 0;
    settings
}

fn begin(settings: Settings, said: &str) -> Session {
    let mut session = Session::new(settings, &mut accept);
    session.send(format!("HELO there\r\n{said}").as_bytes(), &mut accept);
    session.lines();
    session.trace.clear();
    session
}

fn ends(session: &Session) -> (usize, usize) {
    let count = |name| session.trace.iter().filter(|step| **step == name).count();
    (count("commit"), count("abort"))
}

/// `content` in chunks that are cut at these places.
fn chunks(content: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut said = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([content.len()]) {
        let last = if to == content.len() { " LAST" } else { "" };
        said.extend_from_slice(format!("BDAT {}{last}\r\n", to - from).as_bytes());
        said.extend_from_slice(&content[from..to]);
        from = to;
    }
    said
}

/// However content is cut into chunks and these into segments, it is the same.
#[test]
fn content_is_what_was_sent() {
    let text: &[u8] = b"Subject: x\r\n\r\n.\r\n..\r\nRSET\r\nQUIT\r\n.";
    let binary: &[u8] = b"\n\r\0.\r\n.\r\n\xff\r";
    for (begun, content) in [(BEGUN, text), (BINARY, binary)] {
        for one in 0..content.len() {
            for two in [one, (one + content.len()) / 2, content.len() - 1] {
                for piece in [1, 7, usize::MAX] {
                    let mut session = begin(settings(), begun);
                    for piece in chunks(content, &[one, two.max(one)]).chunks(piece) {
                        session.send(piece, &mut accept);
                    }
                    assert_eq!(session.messages, [content.to_vec()], "cut at {one} and {two}, by {piece}");
                    assert_eq!(session.lines().len(), 3);
                    assert_eq!(ends(&session), (1, 0));
                }
            }
        }
    }
}

/// A CR and its LF may lie in different chunks, and what is normalized is so over their edges.
#[test]
fn lone_newlines_are_found_over_the_edges_of_chunks() {
    let pieces: [&[u8]; 4] = [b"\r", b"\n", b"x", b""];
    for (at, normalize) in (0..256).flat_map(|at| [(at, false), (at, true)]) {
        let parts: Vec<&[u8]> = (0..4).map(|place| pieces[at >> (2 * place) & 3]).collect();
        let content = parts.concat();
        let mut cuts = Vec::new();
        for part in &parts[..3] {
            cuts.push(cuts.last().copied().unwrap_or(0) + part.len());
        }
        let mut settings = settings();
        if normalize {
            settings.stray_newlines = StrayNewlines::Normalize;
        }
        // Another way to the same: CRLF is one newline, whatever is left is another each.
        let whole = String::from_utf8(content.clone()).unwrap().replace("\r\n", "N");
        let is_sound = !whole.contains(['\r', '\n']);
        let normalized = whole.replace(['\r', '\n', 'N'], "\r\n").into_bytes();
        let mut session = begin(settings, BEGUN);
        let said = chunks(&content, &cuts);
        // An empty end is a chunk of its own.
        let said = if content.len() == cuts[2] && said.ends_with(b"BDAT 0\r\n") {
            [&said[..], b"BDAT 0 LAST\r\n"].concat()
        } else {
            said
        };
        session.send(&said, &mut accept);
        let lines = session.lines();
        if normalize || is_sound {
            assert_eq!(session.messages, [normalized], "{parts:?}");
        } else {
            assert!(session.messages.is_empty(), "{parts:?}");
            assert!(lines.iter().any(|line| line.starts_with("550 5.6.0 ")), "{lines:?}");
        }
        assert_eq!(ends(&session), if session.messages.is_empty() { (0, 1) } else { (1, 0) }, "{parts:?}");
    }
}

/// What is handed over at once stays small (the support checks it), however much comes at once, and whatever it grows to.
#[test]
fn large_chunks_are_handed_over_in_parts() {
    let newlines = "\n".repeat(100_000) + "\r";
    let lines = "0123456789abcdef\r\n".repeat(20_000);
    for (begun, content, kept) in [
        (BEGUN, &newlines, "\r\n".repeat(100_001)),
        (BEGUN, &lines, lines.clone()),
        (BINARY, &lines, lines.clone()),
        (BINARY, &newlines, newlines.clone()),
    ] {
        let mut settings = settings();
        settings.stray_newlines = StrayNewlines::Normalize;
        let mut session = begin(settings, begun);
        session.send(&chunks(content.as_bytes(), &[65_535, 65_536]), &mut accept);
        assert_eq!(session.lines().last().unwrap(), "250 2.0.0 OK TESTID");
        assert!(session.messages == [kept.into_bytes()]);
    }
}

#[test]
fn however_many_chunks_take_no_more_memory_than_one() {
    let mut session = begin(settings(), BEGUN);
    let mut said = 0;
    let mut answer = |ask: Ask<'_>| accept(ask);
    let group = "BDAT 1\r\nx".repeat(1000);
    for _ in 0..100 {
        session.send(group.as_bytes(), &mut answer);
        said += session.lines().len();
        // Only the test keeps it.
        session.draft.as_mut().unwrap().clear();
        session.trace.clear();
        let debug = format!("{:?}", session.server);
        assert!(debug.len() < 4000, "{debug}");
    }
    assert_eq!(said, 100_000);
    session.server.end_of_input();
    session.run(&mut answer);
    assert_eq!(session.trace, ["abort"]);
}

/// Wherever a message is left, it comes to one end: never none, never two.
#[test]
fn a_message_that_was_begun_ends_once() {
    let refused = "503 5.5.1 MAIL FROM first";
    let ok = "250 2.0.0 OK";
    // What follows the first chunk, whether it is committed, and what is said in the end.
    let cases = [
        ("BDAT 0 LAST\r\n", true, "250 2.0.0 OK TESTID"),
        ("RSET\r\n", false, ok),
        ("HELO there\r\n", false, "250 mx.example.test says HELO to 127.0.0.1"),
        ("QUIT\r\n", false, "221 2.0.0 mx.example.test closing connection"),
        ("BDAT x\r\n", false, "521 5.5.4 syntax error, expected BDAT size [LAST], closing connection"),
        ("BDAT 2\r\n\nxBDAT 1 LAST\r\nx", false, refused),
        ("BDAT 1 LAST\r\n\r", false, "550 5.6.0 lone CR or LF in body"),
        ("BDAT 99 LAST\r\nx", false, ""),
        ("NOOP\r\n", false, ok),
        ("", false, "250 2.0.0 1 octets received"),
        ("RSET\r\nRSET\r\n", false, ok),
        (
            "STARTTLS\r\nRCPT TO:<c@example.test>\r\nDATA\r\nMAIL FROM:<>\r\n",
            false,
            "503 5.5.1 MAIL FROM already given",
        ),
    ];
    for (said, commits, expected) in cases {
        let mut session = begin(settings(), BEGUN);
        session.send(format!("BDAT 1\r\nx{said}").as_bytes(), &mut accept);
        let lines = session.lines();
        assert!(expected.is_empty() || lines.last().unwrap() == expected, "{said:?}: {lines:?}");
        if session.state != State::Closed {
            session.server.end_of_input();
            session.run(&mut accept);
        }
        assert_eq!(ends(&session), if commits { (1, 0) } else { (0, 1) }, "{said:?}: {:?}", session.trace);
    }
}

#[test]
fn it_ends_once_from_outside_too() {
    for (name, what) in [
        ("end", (|session| session.server.end_transaction()) as fn(&mut Session)),
        ("lock", |session| session.server.lock(reply::policy_reject_at_connect())),
        ("lock and close", |session| session.server.lock(reply::policy_tempfail_at_connect())),
        ("shut", |session| session.server.shut(reply::shutting_down())),
    ] {
        let mut session = begin(settings(), BEGUN);
        session.send(b"BDAT 1\r\nx", &mut accept);
        what(&mut session);
        session.run(&mut accept);
        // A message under way is finished first.
        assert_eq!(ends(&session), (0, usize::from(name != "shut")), "{name}");
        session.send(b"BDAT 1 LAST\r\nx", &mut accept);
        session.server.end_of_input();
        session.run(&mut accept);
        assert_eq!(ends(&session), if name == "shut" { (1, 0) } else { (0, 1) }, "{name}");
    }
}

#[test]
fn policy_is_asked_before_the_first_chunk_and_not_again() {
    let refusal = |code| Refusal::new(code, None, ["no"]).unwrap();
    let over = "503 5.5.1 MAIL FROM first";
    // What policy does, and what is said to two chunks whose octets would be commands.
    type Policy = fn(pillarbox_smtp::ask::Data<'_>);
    let cases: [(&str, Policy, [&str; 2], usize); 6] = [
        ("accept", |ask| ask.accept(), ["250 2.0.0 6 octets received", "250 2.0.0 OK TESTID"], 1),
        ("discard", |ask| ask.discard(), ["250 2.0.0 6 octets received", "250 2.0.0 OK TESTID"], 1),
        ("refuse", |ask| ask.refuse(Refusal::new(550, None, ["no"]).unwrap()), ["550 no", over], 0),
        ("refuse for now", |ask| ask.refuse(Refusal::new(450, None, ["no"]).unwrap()), ["450 no", over], 0),
        ("close", |ask| ask.refuse(Refusal::new(421, None, ["no"]).unwrap()), ["421 no", ""], 0),
        ("nothing", |_| {}, ["451 4.3.0 local error in processing, try again later", over], 0),
    ];
    for (name, policy, expected, messages) in cases {
        for piece in [1, usize::MAX] {
            let mut asked = 0;
            let mut answer = |ask: Ask<'_>| match ask {
                Ask::Data(ask) => {
                    assert_eq!((ask.verb(), ask.envelope().recipients.len()), ("BDAT", 1));
                    asked += 1;
                    policy(ask);
                }
                ask => accept(ask),
            };
            let mut session = begin(settings(), BEGUN);
            for piece in b"BDAT 6\r\nRSET\r\nBDAT 6 LAST\r\nQUIT\r\n".chunks(piece) {
                session.send(piece, &mut answer);
            }
            let lines = session.lines();
            assert_eq!(lines, expected.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>(), "{name}");
            assert_eq!((asked, session.messages.len()), (1, messages), "{name}");
            assert_eq!(session.state == State::Closed, name == "close", "{name}");
            // What policy said, it knows.
            let noted = session.server.refusals();
            assert!(noted.iter().all(|noted| noted.reply != *refusal(550).reply()), "{name}: {noted:?}");
        }
    }
}

/// RFC 2033 section 4.2: the last chunk is answered for each recipient, whatever becomes of it.
#[test]
fn in_lmtp_the_last_chunk_has_a_reply_for_each_recipient() {
    let no = || Refusal::new(550, None, ["no"]).unwrap();
    for stage in ["data", "message", "commit", "nothing at data", "nothing at message", "nothing at commit"] {
        for (said, chunks) in [("BDAT 1 LAST\r\nx", 1), ("BDAT 1\r\nxBDAT 1 LAST\r\nx", 2)] {
            let mut answer = |ask: Ask<'_>| match ask {
                Ask::Data(ask) if stage == "data" => ask.refuse(no()),
                Ask::Message(ask) if stage == "message" => ask.refuse(no()),
                Ask::Commit(ask) if stage == "commit" => ask.failed(no()),
                Ask::Data(_) if stage == "nothing at data" => {}
                Ask::Message(_) if stage == "nothing at message" => {}
                Ask::Commit(_) if stage == "nothing at commit" => {}
                ask => accept(ask),
            };
            let mut session = Session::new(Settings { protocol: Protocol::Lmtp, ..settings() }, &mut answer);
            let recipients = "RCPT TO:<b@example.test>\r\nRCPT TO:<c@example.test>\r\nRCPT TO:<d@example.test>\r\n";
            session.send(format!("LHLO there\r\nMAIL FROM:<>\r\n{recipients}").as_bytes(), &mut answer);
            session.lines();
            session.send(said.as_bytes(), &mut answer);
            let replies = count_replies(&session.lines());
            let expected = match (stage.contains("data"), chunks) {
                (true, 1) => 3,
                // The first is refused, and the last finds no transaction.
                (true, _) => 2,
                (false, chunks) => 3 + chunks - 1,
            };
            assert_eq!(replies, expected, "{stage}: {said:?}");
        }
    }
}

/// RFC 2033 section 4.2: each recipient hears what became of its own copy, in the order in which they were named, and
/// before whatever was sent behind the message is answered.
#[test]
fn a_commit_may_have_a_reply_for_each() {
    let no = |code| Some(Refusal::new(code, None, ["no"]).unwrap());
    let done = |name: &str| format!("250 2.1.5 <{name}@example.test> OK TESTID");
    let (no_550, no_450) = ("550 no".to_owned(), "450 no".to_owned());
    let cases = [
        (vec![], [done("b"), done("c"), done("d")]),
        (vec![None, no(550), None], [done("b"), no_550.clone(), done("d")]),
        (vec![no(450), None, no(550)], [no_450.clone(), done("c"), no_550.clone()]),
        // Of those behind its end, and of those that are none of the envelope's, nothing is said.
        (vec![no(550)], [no_550.clone(), done("c"), done("d")]),
        (vec![None, None, None, no(550), no(450)], [done("b"), done("c"), done("d")]),
        (vec![no(550), no(450), no(550)], [no_550.clone(), no_450, no_550]),
    ];
    for (refusals, lmtp) in cases {
        for (protocol, content) in [
            (Protocol::Lmtp, "DATA\r\nx\r\n.\r\n"),
            (Protocol::Lmtp, "BDAT 1 LAST\r\nx"),
            (Protocol::Smtp, "DATA\r\nx\r\n.\r\n"),
            (Protocol::Smtp, "BDAT 1 LAST\r\nx"),
        ] {
            let mut answer = |ask: Ask<'_>| match ask {
                Ask::Commit(ask) => ask.done_each("TESTID", &refusals),
                ask => accept(ask),
            };
            let mut session = Session::new(Settings { protocol, ..settings() }, &mut answer);
            let (hello, expected) = match protocol {
                Protocol::Lmtp => ("LHLO", lmtp.to_vec()),
                Protocol::Smtp => ("EHLO", vec!["250 2.0.0 OK TESTID".to_owned()]),
            };
            let recipients = "RCPT TO:<b@example.test>\r\nRCPT TO:<c@example.test>\r\nRCPT TO:<d@example.test>\r\n";
            session.send(format!("{hello} there\r\nMAIL FROM:<>\r\n{recipients}").as_bytes(), &mut answer);
            session.lines();
            session.send(format!("{content}NOOP\r\nMAIL FROM:<>\r\nQUIT\r\n").as_bytes(), &mut answer);
            let mut lines = session.lines();
            if content.starts_with("DATA") {
                assert!(lines.remove(0).starts_with("354 "));
            }
            let last = lines.split_off(expected.len());
            assert_eq!(lines, expected, "{content:?} {refusals:?}");
            let codes: Vec<&str> = last.iter().map(|line| &line[..3]).collect();
            assert_eq!(codes, ["250", "250", "221"], "{content:?} {refusals:?}");
            assert_eq!(session.state, State::Closed);
        }
    }
}

/// A message that is taken for anybody begins the count anew, one that is taken for nobody does not.
#[test]
fn errors_begin_anew_where_anybody_is_served() {
    for (refused, closes) in [(1, false), (2, true)] {
        let no = || Some(Refusal::new(550, None, ["no"]).unwrap());
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Commit(ask) => ask.done_each("TESTID", &vec![no(); refused]),
            ask => accept(ask),
        };
        let mut settings = Settings { protocol: Protocol::Lmtp, ..settings() };
        settings.limits.errors = 2;
        let mut session = Session::new(settings, &mut answer);
        let recipients = "RCPT TO:<b@example.test>\r\nRCPT TO:<c@example.test>\r\n";
        session.send(format!("LHLO there\r\nX\r\nMAIL FROM:<>\r\n{recipients}DATA\r\n").as_bytes(), &mut answer);
        session.send(b"x\r\n.\r\nX\r\n", &mut answer);
        assert_eq!(session.state == State::Closed, closes, "{refused} of 2 refused");
    }
}

/// Sizes of every kind, in every place. Whatever is said of a chunk, what is in it is no command: it would be answered with
/// 252.
#[test]
fn no_octet_of_a_chunk_is_a_command() {
    const HIDDEN: &str = "VRFY a\r\n";
    let sizes = [
        ("8", Some(8)),
        ("08", Some(8)),
        ("8 ", Some(8)),
        ("8 LAST", Some(8)),
        ("0", Some(0)),
        ("0 LAST", Some(0)),
        ("2147483648", Some(1 << 31)),
        ("4294967296", Some(1 << 32)),
        ("9223372036854775808", Some(1 << 63)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("99999999999999999999999", None),
        ("-1", None),
        ("+8", None),
        ("0x8", None),
        ("8.0", None),
        ("8LAST", None),
        ("8 LAST 8", None),
        ("LAST", None),
        ("", None),
        ("\u{a0}8", None),
        ("8\u{b}", None),
        ("8\n", None),
        ("8\r", None),
    ];
    let before = [
        "",
        "HELO there\r\n",
        "HELO there\r\nMAIL FROM:<>\r\n",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\n",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 1\r\nx",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 1\r\n\nBDAT 1\r\nx",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 1 LAST\r\nx",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 99999999\r\n",
        "HELO there\r\nMAIL FROM:<>\r\nRCPT TO:<b>\r\n",
        "HELO there\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<b@c>\r\nDATA\r\n",
    ];
    for chunking in [true, false] {
        for limit in [0, 5, 50 << 20] {
            for before in before {
                for (size, parsed) in sizes {
                    let mut settings = settings();
                    settings.keywords.chunking = chunking;
                    settings.limits.message_size = limit;
                    let mut session = Session::new(settings, &mut accept);
                    session.send(before.as_bytes(), &mut accept);
                    if session.server.in_body() || session.state == State::Closed {
                        continue;
                    }
                    session.lines();
                    session.send(format!("BDAT {size}\r\n{HIDDEN}RSET\r\n").as_bytes(), &mut accept);
                    let lines = session.lines();
                    let case = format!("{chunking} {limit} {before:?} {size:?}: {lines:?}");
                    match parsed {
                        None => {
                            assert!(lines.len() == 1 && lines[0].starts_with("521 5.5.4 "), "{case}");
                            assert_eq!(session.state, State::Closed, "{case}");
                        }
                        Some(8) => {
                            assert_eq!(lines.len(), 2, "{case}");
                            assert_eq!(lines[1], "250 2.0.0 OK", "{case}");
                        }
                        Some(0) => assert!(lines.len() == 3 && lines[1].starts_with("252 "), "{case}"),
                        Some(_) => {
                            // It waits for the rest, or gave up.
                            assert!(session.server.in_body() || session.state == State::Closed, "{case}");
                            assert!(!lines.iter().any(|line| line.starts_with("252")), "{case}");
                        }
                    }
                }
            }
        }
    }
}

/// What is known to be too much is given up before it comes.
#[test]
fn a_sum_that_is_too_large_is_given_up_at_once() {
    let mut settings = settings();
    settings.limits.message_size = 10;
    let mut session = begin(settings, BEGUN);
    session.send(b"BDAT 8\r\n12345678", &mut accept);
    session.trace.clear();
    session.send(b"BDAT 8\r\n", &mut accept);
    assert_eq!(session.trace, ["turn", "abort"]);
    assert!(session.server.in_body(), "what comes is used up");

    // Without a limit, what 64 bits cannot count is too much all the same.
    let mut unlimited = self::settings();
    unlimited.limits.message_size = 0;
    let mut session = begin(unlimited, BEGUN);
    session.send(b"BDAT 1\r\nx", &mut accept);
    session.trace.clear();
    session.send(format!("BDAT {}\r\n", u64::MAX).as_bytes(), &mut accept);
    assert_eq!(session.trace, ["turn", "abort"]);
}

/// With the chunk the transaction is lost, and what was known about it goes.
#[test]
fn a_first_chunk_that_is_refused_ends_the_transaction() {
    for (begun, refuses) in [(BEGUN, true), ("MAIL FROM:<>\r\n", false)] {
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Data(ask) if refuses => ask.refuse(reply::policy_reject()),
            ask => accept(ask),
        };
        let mut session = begin(settings(), begun);
        session.send(b"BDAT 1\r\nx", &mut answer);
        assert_eq!(session.trace.last(), Some(&"reset"), "{begun:?}");
        assert!(!session.server.in_transaction());
    }
}

/// A change of settings between two chunks is one for the next message: a chunk that is lost would be a hole in this one.
#[test]
fn a_message_in_chunks_keeps_what_it_began_with() {
    let mut session = begin(settings(), BEGUN);
    session.send(b"BDAT 1\r\nx", &mut accept);
    let mut other = settings();
    other.keywords.chunking = false;
    other.limits.message_size = 1;
    other.tls = pillarbox_smtp::Tls::Required;
    session.server.set_settings(other);
    session.send(b"BDAT 2\r\n\r\nBDAT 1 LAST\r\ny", &mut accept);
    assert_eq!(session.messages, [b"x\r\ny"]);
    session.lines();
    session.send(b"BDAT 6 LAST\r\nQUIT\r\n", &mut accept);
    assert_eq!(session.lines(), ["530 5.7.0 must issue a STARTTLS command first"]);
}

/// A connection that is refused for good while BDAT waits does not run what is in it.
#[test]
fn a_locked_session_uses_chunks_up() {
    let mut session = begin(settings(), "");
    session.server.receive(b"BDAT 6 LAST\r\nQUIT\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n");
    let step = session.server.step();
    assert!(matches!(step, pillarbox_smtp::Step::Turn));
    session.server.lock(reply::policy_reject_at_connect());
    session.run(&mut accept);
    let denied = "503 5.7.0 access denied";
    assert_eq!(session.lines(), ["554 5.7.1 refused by policy", denied, denied]);
    assert_ne!(session.state, State::Closed);
}
