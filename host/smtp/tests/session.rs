//! What the session's owner relies on: the steps and their order, what each answer leads to, and what may be done to the
//! machine from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Arc;

use pillarbox_smtp::{
    Address, Ask, Body, Claim, Expiry, Patience, Refusal, Reply, Rule, Server, Settings, Step, StrayNewlines, Tls,
    reply,
};
use support::{Session, State, accept};

const HELLO: &str = "HELO there\r\n";
const MAIL: &str = "MAIL FROM:<a@example.test>\r\n";
const RCPT: &str = "RCPT TO:<b@example.test>\r\n";

fn settings() -> Settings {
    Settings::new("mx.example.test")
}

/// Sends `said` with everything accepted; the replies, joined by ` | `.
fn say(session: &mut Session, said: &str) -> String {
    ask(session, said, &mut accept)
}

fn ask(session: &mut Session, said: &str, answer: &mut dyn FnMut(Ask<'_>)) -> String {
    session.send(said.as_bytes(), answer);
    session.lines().join(" | ")
}

fn begin(settings: Settings) -> Session {
    let mut session = Session::new(settings, &mut accept);
    session.lines();
    session.trace.clear();
    session
}

fn refusal(code: u16) -> Refusal {
    Refusal::new(code, None, ["no"]).unwrap()
}

#[test]
fn the_machine_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Server>();
    is_send::<Step<'_>>();
}

#[test]
fn a_message_goes_through_its_steps_in_order() {
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n"].concat());
    let turns = ["turn", "hello", "reset", "turn", "mail", "turn", "recipient", "turn", "data"];
    assert_eq!(session.trace, turns);
    session.trace.clear();
    say(&mut session, "text\r\n.\r\n");
    assert_eq!(session.trace, ["message", "commit"], "and no reset: what is known of the message stays until MAIL");
    assert_eq!(session.messages, [b"text\r\n"]);
    assert!(!session.server.in_transaction());
}

#[test]
fn a_group_is_answered_in_one_write() {
    let mut session = begin(settings());
    let before = session.writes;
    say(&mut session, &[HELLO, MAIL, RCPT, RCPT, "DATA\r\n"].concat());
    assert_eq!(session.writes, before + 1);
}

#[test]
fn replies_do_not_pile_up() {
    let mut patient = settings();
    patient.limits.junk_commands = 0;
    let mut session = begin(patient);
    let before = session.writes;
    let replies = say(&mut session, &"NOOP\r\n".repeat(5000));
    assert_eq!(replies.split(" | ").count(), 5000);
    assert!(session.writes - before >= 4, "{} writes", session.writes - before);
}

#[test]
fn patience_is_renewed_by_commands_not_by_octets() {
    let read = |session: &Session| session.state;
    let command = |renewed| State::Reading { patience: Patience::Command, renewed };
    let data = |renewed| State::Reading { patience: Patience::Data, renewed };
    let mut session = begin(settings());
    assert_eq!(read(&session), command(true));
    for (octets, expected) in [
        ("N", command(false)),
        ("OOP\r", command(false)),
        ("\n", command(true)),
        ("NOOP\r\nNO", command(true)),
        ("OP", command(false)),
        (&"x".repeat(10_000), command(false)),
        ("\r\n", command(true)),
        (HELLO, command(true)),
        (&[MAIL, RCPT, "DATA\r\n"].concat(), data(true)),
        ("t", data(true)),
        ("", data(false)),
        ("ext", data(true)),
        ("\r\n.\r\n", command(true)),
    ] {
        session.send(octets.as_bytes(), &mut accept);
        assert_eq!(read(&session), expected, "after {octets:?}");
    }
}

#[test]
fn patience_that_runs_out_is_421() {
    for (said, aborts) in [("", false), ("NOO", false), ("DATA", false), ("\r\n", true)] {
        let mut session = begin(settings());
        say(&mut session, &[HELLO, MAIL, RCPT].concat());
        if aborts {
            say(&mut session, "DATA\r\ntext\r\n");
        } else {
            say(&mut session, said);
        }
        session.trace.clear();
        session.server.expire(Expiry::Command);
        session.run(&mut accept);
        let expected = "421 4.4.2 mx.example.test timed out waiting for input, closing connection";
        assert_eq!(session.lines().join(" | "), expected);
        assert_eq!(session.trace, if aborts { vec!["abort"] } else { vec![] });
        assert_eq!(session.state, State::Closed);
    }
}

#[test]
fn a_peer_that_goes_takes_its_message_along() {
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\ntext"].concat());
    session.server.end_of_input();
    session.run(&mut accept);
    assert_eq!((session.lines().len(), session.state), (0, State::Closed));
    assert_eq!(session.trace.last(), Some(&"abort"));
    assert!(session.messages.is_empty());
}

#[test]
fn a_faulty_message_is_given_up_once_and_answered_at_its_end() {
    let mut small = settings();
    small.limits.message_size = 10;
    for (said, expected) in [
        ("0123456789\r\n", "552 5.3.4 message size limit exceeded"),
        ("a\nb\r\n", "550 5.6.0 lone CR or LF in body"),
        ("a\nb too much now\r\n", "550 5.6.0 lone CR or LF in body"),
        ("too much now\nb\r\n", "552 5.3.4 message size limit exceeded"),
    ] {
        let mut session = begin(small.clone());
        say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n"].concat());
        session.trace.clear();
        assert_eq!(say(&mut session, &said.repeat(3)), "");
        assert_eq!(session.trace, ["abort"]);
        assert_eq!(say(&mut session, ".\r\n"), expected);
        assert_eq!(session.trace, ["abort"]);
        // Given up already: a peer that goes now takes nothing along.
        say(&mut session, &[MAIL, RCPT, "DATA\r\n", said].concat());
        session.trace.clear();
        session.server.end_of_input();
        session.run(&mut accept);
        assert!(session.trace.is_empty());
    }
}

#[test]
fn a_message_without_a_size_limit_may_be_of_any_size() {
    let mut unlimited = settings();
    unlimited.limits.message_size = 0;
    let mut session = begin(unlimited);
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n"].concat());
    for _ in 0..64 {
        say(&mut session, &"0123456789abcde\r\n".repeat(64 * 1024 / 17));
    }
    assert_eq!(say(&mut session, ".\r\n"), "250 2.0.0 OK TESTID");
    assert_eq!(session.messages[0].len(), 64 * (64 * 1024 / 17) * 17);
}

#[test]
fn normalized_content_grows_no_further_than_a_chunk() {
    let mut normalize = settings();
    normalize.stray_newlines = StrayNewlines::Normalize;
    let mut session = begin(normalize);
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n"].concat());
    // The support checks the chunks; alone, each LF becomes two octets.
    say(&mut session, &"\n".repeat(64 * 1024));
    assert_eq!(say(&mut session, "\r\n.\r\n"), "250 2.0.0 OK TESTID");
    assert_eq!(session.messages[0], "\r\n".repeat(64 * 1024 + 1).into_bytes());
}

#[test]
fn the_envelope_is_what_was_said() {
    let mut declared = settings();
    declared.mail_parameters = Arc::new(["XM".to_owned()].into());
    declared.recipient_parameters = Arc::new(["XR".to_owned()].into());
    let mut session = begin(declared);
    say(&mut session, HELLO);
    say(&mut session, "MAIL FROM:<@relay.test:\"a b\"@Example.Test> size=12 body=8bitmime xm=One\r\n");
    say(&mut session, "RCPT TO:<b@example.test> xr\r\nRCPT TO:<PostMaster>\r\n");
    let envelope = session.server.envelope().unwrap();
    assert_eq!(envelope.sender.to_string(), "\"a b\"@example.test");
    assert_eq!((envelope.body, envelope.size, envelope.discard), (Body::EightBitMime, Some(12), false));
    let parameters: Vec<_> = envelope.parameters.iter().map(|p| (p.name.as_str(), p.value.as_deref())).collect();
    assert_eq!(parameters, [("SIZE", Some("12")), ("BODY", Some("8bitmime")), ("XM", Some("One"))]);
    assert_eq!(envelope.recipients[0].address.to_string(), "b@example.test");
    assert_eq!(envelope.recipients[0].parameters[0].name, "XR");
    assert_eq!(envelope.recipients[0].parameters[0].value, None);
    assert_eq!(envelope.recipients[1].address, Address::Postmaster);
    for said in ["RCPT TO:<c@example.test> XR=a=b\r\n", "RCPT TO:<c@example.test> XR=\r\n"] {
        assert_eq!(say(&mut session, said), "501 5.5.4 bad parameter or value", "{said:?}");
    }
}

#[test]
fn what_is_discarded_is_answered_as_if_it_were_not() {
    let discard = |stage: &'static str| {
        move |ask: Ask<'_>| match ask {
            Ask::Mail(ask) if stage == "mail" => ask.discard(),
            Ask::Recipient(ask) if stage == "recipient" => ask.discard(),
            Ask::Data(ask) if stage == "data" => ask.discard(),
            Ask::Message(ask) if stage == "message" => ask.discard(),
            Ask::Commit(ask) => {
                assert_eq!(ask.envelope().discard, stage != "recipient");
                assert_eq!(ask.envelope().recipients[0].discard, stage == "recipient");
                ask.done("TESTID");
            }
            ask => accept(ask),
        }
    };
    for stage in ["mail", "recipient", "data", "message"] {
        let mut session = begin(settings());
        let replies = ask(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n.\r\n"].concat(), &mut discard(stage));
        assert!(replies.ends_with("354 End data with <CR><LF>.<CR><LF> | 250 2.0.0 OK TESTID"), "{stage}: {replies}");
    }
}

#[test]
fn a_refusal_undoes_what_it_refuses_and_no_more() {
    // What is refused, what is tried next, and what is said to that.
    let cases = [
        ("connect", "QUIT\r\n", "221 2.0.0 mx.example.test closing connection"),
        ("connect", HELLO, "503 5.7.0 access denied"),
        ("connect", "NOOP\r\n", "503 5.7.0 access denied"),
        ("connect", "QUIT now\r\n", "503 5.7.0 access denied"),
        ("connect", "\0\r\n", "503 5.7.0 access denied"),
        ("connect", "XANY\r\n", "503 5.7.0 access denied"),
        ("hello", MAIL, "503 5.5.1 send HELO or EHLO first"),
        ("mail", RCPT, "503 5.5.1 MAIL FROM first"),
        ("mail", MAIL, "250 2.1.0 MAIL FROM accepted"),
        ("recipient", "DATA\r\n", "554 5.5.1 no valid recipients"),
        ("recipient", RCPT, "250 2.1.5 RCPT TO accepted"),
        ("data", "DATA\r\n", "354 End data with <CR><LF>.<CR><LF>"),
        ("message", RCPT, "503 5.5.1 MAIL FROM first"),
        ("message", MAIL, "250 2.1.0 MAIL FROM accepted"),
        ("commit", RCPT, "503 5.5.1 MAIL FROM first"),
        ("commit", MAIL, "250 2.1.0 MAIL FROM accepted"),
    ];
    for (stage, next, expected) in cases {
        let mut refuse = |ask: Ask<'_>| match ask {
            Ask::Connect(ask) if stage == "connect" => ask.refuse(refusal(554)),
            Ask::Hello(ask) if stage == "hello" => ask.refuse(refusal(550)),
            Ask::Mail(ask) if stage == "mail" => ask.refuse(refusal(550)),
            Ask::Recipient(ask) if stage == "recipient" => ask.refuse(refusal(550)),
            Ask::Data(ask) if stage == "data" => ask.refuse(refusal(450)),
            Ask::Message(ask) if stage == "message" => ask.refuse(refusal(550)),
            Ask::Commit(ask) if stage == "commit" => ask.failed(reply::spool_failed()),
            ask => accept(ask),
        };
        let mut session = Session::new(settings(), &mut refuse);
        for (at, said) in [("hello", HELLO), ("mail", MAIL), ("recipient", RCPT), ("data", "DATA\r\n")] {
            if stage != "connect" {
                ask(&mut session, said, &mut refuse);
            }
            if at == stage {
                break;
            }
        }
        if ["message", "commit"].contains(&stage) {
            let replies = ask(&mut session, ".\r\n", &mut refuse);
            assert!(!replies.starts_with('2'), "{stage}: {replies}");
            assert_eq!(session.trace.last(), Some(if stage == "message" { &"abort" } else { &"commit" }));
        }
        session.lines();
        assert_eq!(say(&mut session, next), expected, "{stage}, then {next:?}");
    }
}

#[test]
fn a_refusal_that_closes_closes_at_every_stage() {
    for stage in ["connect", "hello", "mail", "recipient", "data", "message", "commit"] {
        for closing in [refusal(421), refusal(550).closing()] {
            let mut refuse = |ask: Ask<'_>| match ask {
                Ask::Connect(ask) if stage == "connect" => ask.refuse(closing.clone()),
                Ask::Hello(ask) if stage == "hello" => ask.refuse(closing.clone()),
                Ask::Mail(ask) if stage == "mail" => ask.refuse(closing.clone()),
                Ask::Recipient(ask) if stage == "recipient" => ask.refuse(closing.clone()),
                Ask::Data(ask) if stage == "data" => ask.refuse(closing.clone()),
                Ask::Message(ask) if stage == "message" => ask.refuse(closing.clone()),
                Ask::Commit(ask) if stage == "commit" => ask.failed(closing.clone()),
                ask => accept(ask),
            };
            let mut session = Session::new(settings(), &mut refuse);
            session.send([HELLO, MAIL, RCPT, "DATA\r\n.\r\nNOOP\r\n"].concat().as_bytes(), &mut refuse);
            assert_eq!(session.lines().last().map(String::as_str), Some(closing.to_string().as_str()), "{stage}");
            assert_eq!(session.state, State::Closed, "{stage}");
        }
    }
}

#[test]
fn a_question_that_is_dropped_is_a_failure_the_peer_hears_of() {
    for stage in ["connect", "hello", "verb", "mail", "recipient", "data", "message", "commit"] {
        let mut drop_it = |ask: Ask<'_>| match ask {
            Ask::Connect(_) if stage == "connect" => {}
            Ask::Hello(_) if stage == "hello" => {}
            Ask::Verb(_) if stage == "verb" => {}
            Ask::Mail(_) if stage == "mail" => {}
            Ask::Recipient(_) if stage == "recipient" => {}
            Ask::Data(_) if stage == "data" => {}
            Ask::Message(_) if stage == "message" => {}
            Ask::Commit(_) if stage == "commit" => {}
            ask => accept(ask),
        };
        let mut session = Session::new(with_verb(Rule { before_hello: true, ..Rule::default() }), &mut drop_it);
        for said in ["XV\r\n", HELLO, MAIL, RCPT, "DATA\r\n"] {
            session.send(said.as_bytes(), &mut drop_it);
        }
        if session.server.in_body() {
            session.send(b".\r\n", &mut drop_it);
        }
        let lines = session.lines();
        let failed = lines.iter().filter(|line| line.contains("local error in processing")).count();
        assert!(failed >= 1, "{stage}: {lines:?}");
        assert_eq!(support::count_replies(&lines), session.due, "{stage}: {lines:?}");
        assert!(session.messages.len() <= usize::from(stage == "verb" || stage == "commit"), "{stage}");
    }
}

#[test]
fn starttls_leaves_nothing_of_what_was_said_in_the_clear() {
    let mut offered = settings();
    offered.tls = Tls::Offered;
    let mut session = begin(offered.clone());
    assert!(say(&mut session, "EHLO there\r\n").contains("250-STARTTLS"));
    assert_eq!(say(&mut session, "STARTTLS\r\n"), "220 2.0.0 ready to start TLS");
    assert_eq!(session.state, State::Handshake);
    assert!(matches!(session.server.step(), Step::StartTls), "the step stands until it is done");
    session.trace.clear();
    session.server.secured();
    session.run(&mut accept);
    assert_eq!(session.trace, ["reset"]);
    assert_eq!(session.lines().len(), 0, "there is no second greeting");
    assert!(!session.server.said_hello());
    assert_eq!(say(&mut session, MAIL), "503 5.5.1 send HELO or EHLO first");
    assert!(!say(&mut session, "EHLO there\r\n").contains("STARTTLS"));
    assert!(!say(&mut session, "HELP\r\n").contains("STARTTLS"));
    assert_eq!(say(&mut session, "STARTTLS\r\n"), "503 5.5.1 TLS already active");
    // A new configuration does not take TLS away.
    offered.tls = Tls::Required;
    session.server.set_settings(offered);
    assert_eq!(session.server.settings().tls, Tls::Active);
    assert_eq!(say(&mut session, MAIL), "250 2.1.0 MAIL FROM accepted");
}

#[test]
fn input_that_came_before_the_handshake_is_dropped() {
    let mut offered = settings();
    offered.tls = Tls::Offered;
    let mut session = begin(offered);
    say(&mut session, "STARTTLS\r\n");
    session.server.receive(b"NOOP\r\nNO");
    session.server.secured();
    session.run(&mut accept);
    assert_eq!(session.lines().len(), 0);
    assert_eq!(say(&mut session, "OP\r\n"), "500 5.5.2 unrecognized command");
}

#[test]
fn settings_take_effect_at_the_next_command() {
    let mut session = begin(settings());
    session.server.receive(b"NOOP\r\nHELP\r\n");
    assert!(matches!(session.server.step(), Step::Turn));
    let mut required = settings();
    required.tls = Tls::Required;
    session.server.set_settings(required);
    session.run(&mut accept);
    assert_eq!(session.lines(), ["250 2.0.0 OK", "530 5.7.0 must issue a STARTTLS command first"]);
}

#[test]
fn a_message_keeps_the_limits_it_began_with() {
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\n"].concat());
    let mut small = settings();
    small.limits.message_size = 1;
    session.server.set_settings(small);
    assert_eq!(say(&mut session, "more than that\r\n.\r\n"), "250 2.0.0 OK TESTID");
    assert!(say(&mut session, "MAIL FROM:<a@example.test> SIZE=2\r\n").starts_with("552 5.3.4 "));
}

#[test]
fn a_session_is_shut_between_commands_and_never_in_a_message() {
    let bye = "421 4.3.2 server shutting down, closing connection";
    // While it waits.
    let mut session = begin(settings());
    session.server.shut(reply::shutting_down());
    session.run(&mut accept);
    assert_eq!((session.lines().join("|").as_str(), session.state), (bye, State::Closed));
    // In answer to a command.
    let mut session = begin(settings());
    session.server.receive(b"NOOP\r\nNOOP\r\n");
    assert!(matches!(session.server.step(), Step::Turn));
    session.server.shut(reply::shutting_down());
    session.run(&mut accept);
    assert_eq!((session.lines().join("|").as_str(), session.state), (bye, State::Closed));
    // In a message: behind its end.
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL, RCPT, "DATA\r\ntext\r\n"].concat());
    session.server.shut(reply::shutting_down());
    session.run(&mut accept);
    assert_eq!(session.lines().len(), 0);
    assert_eq!(say(&mut session, ".\r\nNOOP\r\n"), format!("250 2.0.0 OK TESTID | {bye}"));
    assert_eq!((session.messages.len(), session.state), (1, State::Closed));
    // Any refusal closes here.
    let mut session = begin(settings());
    session.server.shut(refusal(554));
    session.run(&mut accept);
    assert_eq!((session.lines().join("|").as_str(), session.state), ("554 no", State::Closed));
}

#[test]
fn a_running_session_is_locked_in_answer_to_a_command() {
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL].concat());
    session.trace.clear();
    session.server.receive([RCPT, "NOOP\r\nQUIT\r\n"].concat().as_bytes());
    assert!(matches!(session.server.step(), Step::Turn));
    session.server.lock(reply::policy_reject_at_connect());
    session.run(&mut accept);
    let expected =
        ["554 5.7.1 refused by policy", "503 5.7.0 access denied", "221 2.0.0 mx.example.test closing connection"];
    assert_eq!(session.lines(), expected);
    assert_eq!(session.trace, ["reset", "turn", "turn"]);

    let mut session = begin(settings());
    session.server.receive(b"NOOP\r\nNOOP\r\n");
    assert!(matches!(session.server.step(), Step::Turn));
    session.server.lock(reply::policy_tempfail_at_connect());
    session.run(&mut accept);
    assert_eq!(session.lines().len(), 1);
    assert_eq!(session.state, State::Closed);
}

#[test]
fn an_open_transaction_can_be_ended_from_outside() {
    let mut session = begin(settings());
    say(&mut session, &[HELLO, MAIL].concat());
    for expected in [vec!["reset"], vec![]] {
        session.trace.clear();
        session.server.end_transaction();
        session.run(&mut accept);
        assert_eq!(session.trace, expected);
    }
    assert_eq!(say(&mut session, RCPT), "503 5.5.1 MAIL FROM first");
}

#[test]
fn keywords_of_extensions_come_behind_the_servers_own() {
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Hello(ask) => {
            assert_eq!((ask.verb(), ask.domain(), ask.line()), ("EHLO", "There", "eHLO  There "));
            ask.accept("192.0.2.1", &["XONE A B".to_owned(), "XTWO ".to_owned()]);
        }
        ask => accept(ask),
    };
    let mut session = begin(settings());
    let replies = ask(&mut session, "eHLO  There \r\n", &mut answer);
    assert!(replies.starts_with("250-mx.example.test says EHLO to 192.0.2.1 | 250-PIPELINING | "), "{replies}");
    assert!(replies.ends_with(" | 250-HELP | 250-XONE A B | 250 XTWO"), "{replies}");
}

fn with_verb(rule: Rule) -> Settings {
    let mut settings = settings();
    let verbs = [("XV", Claim::Open(rule)), ("XCLOSED", Claim::Closed), ("XGONE", Claim::Gone)];
    settings.verbs = Arc::new(verbs.into_iter().map(|(name, claim)| (name.to_owned(), claim)).collect());
    settings
}

#[test]
fn the_machine_holds_the_rules_of_extensions_verbs() {
    const NONE: Rule = Rule { before_hello: false, in_transaction: false, only_tls: false, last_in_group: false };
    let early = Rule { before_hello: true, ..NONE };
    let ok = "250 fine";
    let cases = [
        (Tls::Off, NONE, "XV\r\n", "503 5.5.1 send HELO or EHLO first"),
        (Tls::Off, early, "XV\r\n", ok),
        (Tls::Off, NONE, "HELO x\r\nXV\r\n", ok),
        (Tls::Off, NONE, "HELO x\r\nMAIL FROM:<>\r\nXV\r\n", "503 5.5.1 not allowed during a mail transaction"),
        (Tls::Off, Rule { in_transaction: true, ..NONE }, "HELO x\r\nMAIL FROM:<>\r\nXV\r\n", ok),
        (Tls::Off, Rule { in_transaction: true, ..NONE }, "XV\r\n", "503 5.5.1 send HELO or EHLO first"),
        (Tls::Offered, Rule { only_tls: true, ..early }, "XV\r\n", "530 5.7.0 must issue a STARTTLS command first"),
        (Tls::Off, Rule { only_tls: true, ..NONE }, "XV\r\n", "530 5.7.0 must issue a STARTTLS command first"),
        (Tls::Active, Rule { only_tls: true, ..early }, "XV\r\n", ok),
        (Tls::Required, early, "XV\r\n", "530 5.7.0 must issue a STARTTLS command first"),
        (Tls::Off, Rule { last_in_group: true, ..early }, "XV\r\n", ok),
        (Tls::Off, early, "XCLOSED\r\n", "550 5.7.0 insufficient authorization"),
        (Tls::Required, early, "xclosed any\r\n", "550 5.7.0 insufficient authorization"),
        (Tls::Off, early, "XGONE\r\n", "502 5.5.1 command no longer available"),
        (Tls::Required, early, "XGONE\r\n", "530 5.7.0 must issue a STARTTLS command first"),
        (Tls::Off, early, "XV \u{1b}\r\n", "500 5.5.2 invalid character in command"),
    ];
    for (tls, rule, said, expected) in cases {
        let mut settings = with_verb(rule);
        settings.tls = tls;
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Verb(ask) => ask.done(Reply::new(250, None, ["fine"]).unwrap()),
            ask => accept(ask),
        };
        let mut session = begin(settings);
        let replies = ask(&mut session, said, &mut answer);
        assert_eq!(replies.rsplit(" | ").next(), Some(expected), "{tls:?} {rule:?} {said:?}");
    }
    let mut session = begin(with_verb(Rule { last_in_group: true, ..early }));
    assert_eq!(say(&mut session, "XV\r\nNOOP\r\n"), "503 5.5.1 only as the last command of a group | 250 2.0.0 OK");
}

#[test]
fn an_extension_gets_the_argument_as_it_was_sent() {
    for (said, expected) in [
        ("xV\r\n", ""),
        ("XV \r\n", ""),
        ("XV  two \r\n", " two "),
        ("XV\ttab\r\n", "tab"),
        ("XV bücher=ja\r\n", "bücher=ja"),
    ] {
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Verb(ask) => {
                assert_eq!((ask.name(), ask.argument()), ("XV", expected));
                ask.done(Reply::new(250, None, ["fine"]).unwrap());
            }
            ask => accept(ask),
        };
        let mut session = begin(with_verb(Rule { before_hello: true, ..Rule::default() }));
        assert_eq!(ask(&mut session, said, &mut answer), "250 fine", "{said:?}");
    }
}

/// How an answer to an extension's verb, given in a transaction, leaves the session.
#[test]
fn each_answer_to_a_verb_leads_where_it_says() {
    let reply = |code| Reply::new(code, None, ["so"]).unwrap();
    type Answer = Box<dyn Fn(pillarbox_smtp::ask::Verb<'_>)>;
    let cases: Vec<(&str, Answer, &str, &[&str])> = vec![
        ("done", Box::new(move |ask| ask.done(reply(250))), "250 so | 250 2.1.5 RCPT TO accepted", &[]),
        ("done with 5xx", Box::new(move |ask| ask.done(reply(550))), "550 so | 250 2.1.5 RCPT TO accepted", &[]),
        ("done with 421", Box::new(move |ask| ask.done(reply(421))), "421 so", &[]),
        (
            "done with 3xx",
            Box::new(move |ask| ask.done(reply(354))),
            "451 4.3.0 local error in processing, try again later | 250 2.1.5 RCPT TO accepted",
            &[],
        ),
        (
            "more with 2xx",
            Box::new(move |ask| ask.more(reply(250))),
            "451 4.3.0 local error in processing, try again later | 250 2.1.5 RCPT TO accepted",
            &[],
        ),
        ("fail", Box::new(|ask| ask.fail(refusal(451))), "451 no | 250 2.1.5 RCPT TO accepted", &[]),
        ("fail with 421", Box::new(|ask| ask.fail(refusal(421))), "421 no", &[]),
        ("abandon", Box::new(|ask| ask.abandon(refusal(550))), "550 no | 503 5.5.1 MAIL FROM first", &["reset"]),
        ("close", Box::new(|ask| ask.close(refusal(550))), "550 no", &[]),
        ("lock", Box::new(|ask| ask.lock(refusal(554))), "554 no | 503 5.7.0 access denied", &["reset"]),
        ("lock with 421", Box::new(|ask| ask.lock(refusal(421))), "421 no", &[]),
        (
            "restart",
            Box::new(|ask| ask.restart(false)),
            "220 mx.example.test ESMTP Pillarbox | 503 5.5.1 MAIL FROM first",
            &["reset", "connect"],
        ),
    ];
    for (name, verb, expected, trace) in cases {
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Verb(ask) => {
                assert_eq!(
                    ask.envelope().map(|envelope| envelope.sender.to_string()),
                    Some("a@example.test".to_owned())
                );
                verb(ask);
            }
            ask => accept(ask),
        };
        let mut session = begin(with_verb(Rule { in_transaction: true, ..Rule::default() }));
        say(&mut session, &[HELLO, MAIL].concat());
        session.trace.clear();
        assert_eq!(ask(&mut session, &["XV\r\n", RCPT].concat(), &mut answer), expected, "{name}");
        let effects: Vec<_> =
            session.trace.iter().copied().filter(|step| ["reset", "connect"].contains(step)).collect();
        assert_eq!(effects, trace, "{name}");
    }
}

#[test]
fn a_restart_goes_back_to_the_greeting_and_keeps_the_input() {
    let early = Rule { before_hello: true, ..Rule::default() };
    for (hello_kept, expected) in [(false, "503 5.5.1 send HELO or EHLO first"), (true, "250 2.1.0 MAIL FROM accepted")]
    {
        for said_before in ["", HELLO] {
            let mut answer = |ask: Ask<'_>| match ask {
                Ask::Verb(ask) => ask.restart(hello_kept),
                ask => accept(ask),
            };
            let mut session = begin(with_verb(early));
            say(&mut session, said_before);
            let replies = ask(&mut session, &["XV\r\n", MAIL].concat(), &mut answer);
            assert_eq!(replies, format!("220 mx.example.test ESMTP Pillarbox | {expected}"), "{said_before:?}");
        }
    }
    // The new client is refused where the banner would have been.
    let mut connects = 0;
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Verb(ask) => ask.restart(false),
        Ask::Connect(ask) => {
            connects += 1;
            ask.refuse(refusal(554));
        }
        ask => accept(ask),
    };
    let mut session = begin(with_verb(early));
    let replies = ask(&mut session, "XV\r\nXV\r\nQUIT\r\n", &mut answer);
    assert_eq!(replies, "554 no | 503 5.7.0 access denied | 221 2.0.0 mx.example.test closing connection");
    assert_eq!(connects, 1);
}

#[test]
fn a_verb_may_take_several_lines() {
    let mut heard = Vec::new();
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Verb(ask) => ask.more(Reply::new(334, None, ["first?"]).unwrap()),
        Ask::Resume(ask) => {
            assert_eq!(ask.name(), "XV");
            heard.push(ask.line().to_vec());
            match heard.len() {
                1 => ask.more(Reply::new(334, None, [""]).unwrap()),
                _ => ask.done(Reply::new(235, None, ["done"]).unwrap()),
            }
        }
        ask => accept(ask),
    };
    let mut session = begin(with_verb(Rule { before_hello: true, ..Rule::default() }));
    session.send(b"XV\r\nQUIT\r\n\xff\xfe\r\nNOOP\r\n", &mut answer);
    assert_eq!(session.lines(), ["334 first?", "334 ", "235 done", "250 2.0.0 OK"]);
    assert_eq!(session.trace, ["turn", "verb", "resume", "resume", "turn"], "no turn inside the exchange");
    assert_eq!(heard, [b"QUIT".to_vec(), b"\xff\xfe".to_vec()]);
}

#[test]
fn a_line_that_is_none_ends_the_exchange() {
    let long = "x".repeat(5000);
    for (line, expected) in
        [("a\nb", "invalid character in command"), ("\0", "invalid character in command"), (&long, "line too long")]
    {
        let mut answer = |ask: Ask<'_>| match ask {
            Ask::Verb(ask) => ask.more(Reply::new(334, None, [""]).unwrap()),
            Ask::Resume(_) => panic!("it never gets there"),
            ask => accept(ask),
        };
        let mut session = begin(with_verb(Rule { before_hello: true, ..Rule::default() }));
        let replies = ask(&mut session, &format!("XV\r\n{line}\r\nNOOP\r\n"), &mut answer);
        assert_eq!(replies, format!("334  | 500 5.5.2 {expected} | 250 2.0.0 OK"));
    }
}

#[test]
fn what_the_configuration_says_cannot_break_a_reply() {
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Connect(ask) => ask.accept("banner\r\n250 injected"),
        Ask::Hello(ask) => ask.accept("client\r\nevil", &["XLONG ".to_owned() + &"x".repeat(1000), "XÄ\n".to_owned()]),
        ask => accept(ask),
    };
    let mut session = Session::new(Settings::new("mx.bücher.test"), &mut answer);
    assert_eq!(session.lines(), ["220 banner??250 injected"]);
    session.send(b"EHLO there\r\n", &mut answer);
    let lines = session.lines();
    assert_eq!(support::count_replies(&lines), 1);
    assert_eq!(lines[0], "250-mx.b?cher.test says EHLO to client??evil");
    assert_eq!(lines.last().unwrap(), "250 X?");
}
