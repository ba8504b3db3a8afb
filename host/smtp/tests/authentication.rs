//! AUTH as the machine frames it (RFC 4954): when it may be said, how an exchange goes, and that no secret is told. Who is right,
//! an answerer in memory says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Arc;

use pillarbox_smtp::{Ask, Auth, Keywords, Protocol, Settings, Tls, reply};
use support::{Session, State, accept};

const MALFORMED: &str = "501 5.5.2 malformed authentication exchange";
const OFFERED: [&str; 3] = ["PLAIN", "LOGIN", "XSTEPS"];

/// Mechanisms, and what was said by them.
type Heard = Vec<(String, Option<Vec<u8>>)>;

fn offered() -> Settings {
    let mut settings = Settings::new("mx.example.test");
    settings.auth = Auth::Offered(OFFERED.map(str::to_owned).into_iter().collect());
    settings
}

/// PLAIN wants `\0user\0secret`, LOGIN asks twice, XSTEPS answers every line with itself until it is told "done". What is
/// heard goes to `heard`.
fn answerer(heard: &mut Heard) -> impl FnMut(Ask<'_>) {
    move |ask| match ask {
        Ask::Auth(ask) => {
            heard.push((ask.mechanism().to_owned(), ask.initial().map(<[u8]>::to_vec)));
            match (ask.mechanism(), ask.initial()) {
                ("PLAIN", Some(b"\0user\0secret")) => ask.success(),
                ("PLAIN", Some(_)) => ask.refuse(reply::authentication_failed()),
                ("LOGIN", None) => ask.challenge(b"User Name\0"),
                _ => ask.challenge(b""),
            }
        }
        Ask::Response(ask) => {
            heard.push((ask.mechanism().to_owned(), Some(ask.response().to_vec())));
            match (ask.mechanism(), ask.response()) {
                ("PLAIN", b"\0user\0secret") | ("LOGIN", b"secret") | ("XSTEPS", b"done") => ask.success(),
                ("LOGIN", b"user") => ask.challenge(b"Password\0"),
                ("XSTEPS", response) => {
                    let echo = response.to_vec();
                    ask.challenge(&echo);
                }
                _ => ask.refuse(reply::authentication_failed()),
            }
        }
        ask => accept(ask),
    }
}

/// What is said to `said`, in pieces of `piece` octets; the replies after the greeting and HELO.
fn talk(settings: Settings, said: &str, piece: usize) -> (Vec<String>, Heard, Session) {
    let mut heard = Vec::new();
    let mut answer = answerer(&mut heard);
    let hello: &[u8] = if settings.protocol == Protocol::Lmtp { b"LHLO there\r\n" } else { b"HELO there\r\n" };
    let mut session = Session::new(settings, &mut answer);
    session.send(hello, &mut answer);
    session.lines();
    for piece in said.as_bytes().chunks(piece) {
        session.send(piece, &mut answer);
    }
    let lines = session.lines();
    drop(answer);
    (lines, heard, session)
}

#[test]
fn exchanges_go_by_the_rules() {
    const DONE: &str = "235 2.7.0 Authentication successful";
    const WRONG: &str = "535 5.7.8 authentication credentials invalid";
    const UNKNOWN: &str = "504 5.5.4 authentication mechanism not offered";
    let cases: &[(&str, &[&str])] = &[
        ("AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", &[DONE]),
        ("auth plain AHVzZXIAc2VjcmV0\r\n", &[DONE]),
        ("AUTH  PLAIN  AHVzZXIAc2VjcmV0 \r\n", &[DONE]),
        ("AUTH PLAIN\r\nAHVzZXIAc2VjcmV0\r\n", &["334 ", DONE]),
        ("AUTH PLAIN =\r\n", &[WRONG]),
        ("AUTH PLAIN\r\n\r\n", &["334 ", WRONG]),
        ("AUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0\r\n", &["334 VXNlciBOYW1lAA==", "334 UGFzc3dvcmQA", DONE]),
        ("AUTH XSTEPS\r\nAA==\r\n\r\nZG9uZQ==\r\n", &["334 ", "334 AA==", "334 ", DONE]),
        // The order of what is wrong.
        ("AUTH\r\n", &["501 5.5.4 syntax error, expected AUTH mechanism [initial-response]"]),
        ("AUTH \r\n", &["501 5.5.4 syntax error, expected AUTH mechanism [initial-response]"]),
        ("AUTH CRAM-MD5\r\n", &[UNKNOWN]),
        ("AUTH PLAI\r\n", &[UNKNOWN]),
        ("AUTH PLAIN, AHVzZXIAc2VjcmV0\r\n", &[UNKNOWN]),
        ("AUTH CRAM-MD5 !\r\n", &[UNKNOWN]),
        // Base64 is strict.
        ("AUTH PLAIN !\r\n", &[MALFORMED]),
        ("AUTH PLAIN *\r\n", &[MALFORMED]),
        ("AUTH PLAIN ==\r\n", &[MALFORMED]),
        ("AUTH PLAIN AHVzZXIAc2VjcmV\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNlcg\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNlcg=\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNlcg===\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNlch==\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNl cg==\r\n", &[MALFORMED]),
        ("AUTH PLAIN dXNl-_==\r\n", &[MALFORMED]),
        ("AUTH PLAIN\r\n=\r\n", &["334 ", MALFORMED]),
        ("AUTH PLAIN\r\ndXNlcg\r\nNOOP\r\n", &["334 ", MALFORMED, "250 2.0.0 OK"]),
        ("AUTH PLAIN\r\nAUTH PLAIN\r\nNOOP\r\n", &["334 ", MALFORMED, "250 2.0.0 OK"]),
        ("AUTH PLAIN\r\ndXNl\ncg==\r\n", &["334 ", MALFORMED]),
        ("AUTH PLAIN\r\n\0\r\n", &["334 ", MALFORMED]),
        // The client thinks better of it.
        ("AUTH PLAIN\r\n*\r\nNOOP\r\n", &["334 ", "501 5.0.0 authentication cancelled", "250 2.0.0 OK"]),
        (
            "AUTH LOGIN\r\ndXNlcg==\r\n*\r\n",
            &["334 VXNlciBOYW1lAA==", "334 UGFzc3dvcmQA", "501 5.0.0 authentication cancelled"],
        ),
        ("AUTH PLAIN\r\n**\r\n", &["334 ", MALFORMED]),
        // It does not end anything else.
        (
            "AUTH PLAIN =\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\nMAIL FROM:<>\r\n",
            &[WRONG, DONE, "250 2.1.0 MAIL FROM accepted"],
        ),
        (
            "MAIL FROM:<>\r\nAUTH PLAIN =\r\n",
            &["250 2.1.0 MAIL FROM accepted", "503 5.5.1 not allowed during a mail transaction"],
        ),
        // A line of commands, where an answer was to come, is none.
        ("AUTH PLAIN\r\nQUIT\r\n", &["334 ", WRONG]),
    ];
    for (said, expected) in cases {
        for piece in [1, 3, usize::MAX] {
            let (lines, ..) = talk(offered(), said, piece);
            assert_eq!(lines, *expected, "{said:?} by {piece}");
        }
    }
}

#[test]
fn no_initial_response_and_an_empty_one_are_told_apart() {
    let (_, heard, _) =
        talk(offered(), "AUTH XSTEPS\r\n*\r\nAUTH XSTEPS =\r\n*\r\nAUTH XSTEPS AA==\r\n\r\n", usize::MAX);
    let heard: Vec<_> = heard.iter().map(|(name, data)| (name.as_str(), data.as_deref())).collect();
    let zero: &[u8] = b"\0";
    let expected = [("XSTEPS", None), ("XSTEPS", Some(&b""[..])), ("XSTEPS", Some(zero)), ("XSTEPS", Some(&b""[..]))];
    assert_eq!(heard, expected);
}

#[test]
fn auth_is_taken_where_it_may_be() {
    let not_here = [
        (Auth::Off, "502 5.5.1 AUTH not offered"),
        (Auth::NeedsTls, "538 5.7.11 encryption required for requested authentication mechanism"),
        (Auth::Done, "503 5.5.1 already authenticated"),
    ];
    for (auth, expected) in not_here {
        // What is wrong with the line comes after what is wrong with its moment.
        for said in
            ["AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", "AUTH\r\n", "AUTH NOBODY !\r\n", "MAIL FROM:<>\r\nAUTH PLAIN\r\n"]
        {
            let settings = Settings { auth: auth.clone(), ..offered() };
            let (lines, heard, _) = talk(settings, said, usize::MAX);
            assert_eq!((lines.last().unwrap().as_str(), heard.len()), (expected, 0), "{said:?}");
        }
    }
    let mut session = Session::new(offered(), &mut accept);
    session.send(b"AUTH PLAIN =\r\n", &mut accept);
    assert_eq!(session.lines()[1], "503 5.5.1 send HELO or EHLO first");
    let required = Settings { tls: Tls::Required, ..offered() };
    assert_eq!(talk(required, "AUTH PLAIN =\r\n", 1).0, ["530 5.7.0 must issue a STARTTLS command first"]);
    let lmtp = Settings { protocol: Protocol::Lmtp, ..offered() };
    assert_eq!(talk(lmtp, "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", 1).0, ["235 2.7.0 Authentication successful"]);
}

#[test]
fn mechanisms_are_shown_where_they_can_be_used() {
    let ehlo = |settings: Settings| {
        let (lines, ..) = talk(settings, "EHLO there\r\n", usize::MAX);
        lines.into_iter().filter(|line| line.contains("AUTH") || line.contains("STARTTLS")).collect::<Vec<_>>()
    };
    assert_eq!(ehlo(offered()), ["250-AUTH PLAIN LOGIN XSTEPS"]);
    assert_eq!(ehlo(Settings { tls: Tls::Offered, ..offered() }), ["250-STARTTLS", "250-AUTH PLAIN LOGIN XSTEPS"]);
    assert_eq!(ehlo(Settings { tls: Tls::Required, ..offered() }), ["250 STARTTLS"]);
    for auth in [Auth::Off, Auth::NeedsTls, Auth::Done, Auth::Offered(Arc::new([]))] {
        assert!(ehlo(Settings { auth, ..offered() }).is_empty());
    }
}

/// 12288 octets with CRLF (RFC 4954 section 4), for AUTH and for what follows a challenge, and for nothing else.
#[test]
fn lines_of_an_exchange_may_be_long() {
    let longest = "A".repeat(12_288 - 2);
    let initial = &longest["AUTH XSTEPS ".len()..];
    let initial = &initial[..initial.len() / 4 * 4];
    const LONG: &str = "500 5.5.6 authentication exchange line too long";
    for piece in [1000, usize::MAX] {
        let (lines, heard, _) = talk(offered(), &format!("AUTH XSTEPS {initial}\r\n*\r\n"), piece);
        assert_eq!(lines, ["334 ", "501 5.0.0 authentication cancelled"]);
        assert_eq!(heard[0].1.as_ref().unwrap().len(), initial.len() / 4 * 3);
        let blanks = " ".repeat(12_288 - 2 - "AUTH XSTEPS ".len() - initial.len());
        let said = format!("AUTH XSTEPS {blanks}{initial}\r\n*\r\nAUTH XSTEPS  {blanks}{initial}\r\nNOOP\r\n");
        let (lines, ..) = talk(offered(), &said, piece);
        assert_eq!(lines, ["334 ", "501 5.0.0 authentication cancelled", LONG, "250 2.0.0 OK"]);

        let response = &longest[..longest.len() / 4 * 4];
        let (lines, heard, _) = talk(offered(), &format!("AUTH PLAIN\r\n{response}\r\nNOOP\r\n"), piece);
        assert_eq!(lines[1..], ["535 5.7.8 authentication credentials invalid", "250 2.0.0 OK"]);
        assert_eq!(heard[1].1.as_ref().unwrap().len(), response.len() / 4 * 3);
        let (lines, ..) = talk(offered(), &format!("AUTH PLAIN\r\n{longest}A\r\nNOOP\r\n"), piece);
        assert_eq!(lines[1..], [LONG, "250 2.0.0 OK"]);
        let (lines, ..) = talk(offered(), &format!("AUTH PLAIN\r\n{}\r\nNOOP\r\n", longest.repeat(9)), piece);
        assert_eq!(lines[1..], [LONG, "250 2.0.0 OK"]);

        let (lines, ..) = talk(offered(), &format!("NOOP {}\r\n", &longest[..5000]), piece);
        assert_eq!(lines, ["500 5.5.2 line too long"]);
        let off = Settings { auth: Auth::Off, ..offered() };
        let (lines, ..) = talk(off, &format!("AUTH PLAIN {}\r\n", &longest[..5000]), piece);
        assert_eq!(lines, ["500 5.5.2 line too long"]);
    }
}

#[test]
fn no_secret_is_told() {
    // In base64, and what it says.
    let secrets = ["AHVzZXIAc2VjcmV0", "c2VjcmV0", "secret", "[0, 117", "115, 101, 99, 114, 101, 116"];
    let check = |text: &str, what: &str| {
        for secret in secrets {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    };
    for said in [
        "AUTH PLAIN AHVzZXIAc2VjcmV0",
        "AUTH PLAIN\r\nAHVzZXIAc2VjcmV0",
        "AUTH PLAIN c2VjcmV0x",
        "AUTH AHVzZXIAc2VjcmV0",
    ] {
        let mut session = Session::new(offered(), &mut accept);
        session.send(b"EHLO there\r\n", &mut accept);
        session.lines();
        let mut answer = |ask: Ask<'_>| {
            check(&format!("{ask:?}"), said);
            match ask {
                Ask::Auth(ask) if ask.initial().is_none() => ask.challenge(b""),
                Ask::Auth(ask) => ask.refuse(reply::authentication_failed()),
                Ask::Response(ask) => ask.refuse(reply::authentication_failed()),
                ask => accept(ask),
            }
        };
        session.send(said.as_bytes(), &mut answer);
        check(&format!("{:?}", session.server), said);
        session.send(b"\r\n", &mut answer);
        check(&format!("{:?}", session.server), said);
        check(&format!("{:?}", session.server.refusals()), said);
        check(&session.lines().join("|"), said);
    }
}

#[test]
fn an_exchange_can_be_left_and_fails_when_nobody_answers() {
    let mut answer = |ask: Ask<'_>| match ask {
        Ask::Auth(ask) if ask.initial().is_none() => ask.challenge(b""),
        Ask::Auth(_) | Ask::Response(_) => {}
        ask => accept(ask),
    };
    let failed = "451 4.3.0 local error in processing, try again later";
    for (said, expected) in [
        ("AUTH PLAIN =\r\nNOOP\r\n", &[failed, "250 2.0.0 OK"][..]),
        ("AUTH PLAIN\r\n\r\nNOOP\r\n", &["334 ", failed, "250 2.0.0 OK"]),
    ] {
        let mut session = Session::new(offered(), &mut answer);
        session.send(b"HELO there\r\n", &mut answer);
        session.lines();
        session.send(said.as_bytes(), &mut answer);
        assert_eq!(session.lines(), expected);
    }
    // A server that ends does not wait for the answer.
    let mut session = Session::new(offered(), &mut answer);
    session.send(b"HELO there\r\nAUTH PLAIN\r\n", &mut answer);
    session.server.shut(reply::shutting_down());
    session.run(&mut answer);
    assert_eq!(session.lines().last().unwrap(), "421 4.3.2 server shutting down, closing connection");
    assert_eq!(session.state, State::Closed);
}

/// Logins that fail are errors like others, and end the session like others.
#[test]
fn failed_logins_are_errors() {
    let mut settings = offered();
    settings.limits.errors = 3;
    settings.keywords = Keywords { enhanced_status_codes: false, ..settings.keywords };
    let (lines, ..) = talk(settings, &"AUTH PLAIN =\r\n".repeat(5), usize::MAX);
    let wrong = "535 authentication credentials invalid";
    assert_eq!(lines, [wrong, wrong, "421 too many errors, closing connection"]);
}

/// What follows AUTH, or the answer to a challenge, was said without knowing what would come of it.
#[test]
fn a_strict_server_wants_the_client_to_wait() {
    let mut settings = offered();
    settings.refuse_unauthorized_pipelining = true;
    let deviation = "421 4.7.0 protocol deviation, closing connection";
    for (segments, expected) in [
        (&["EHLO there\r\n", "AUTH PLAIN\r\nA"][..], &[deviation][..]),
        (&["EHLO there\r\n", "AUTH PLAIN\r\n", "AHVzZXIAc2VjcmV0\r\nMAIL"], &["334 ", deviation]),
        (
            &["EHLO there\r\n", "AUTH PLAIN\r\n", "AHVzZXIAc2VjcmV0\r\n"],
            &["334 ", "235 2.7.0 Authentication successful"],
        ),
    ] {
        let mut heard = Vec::new();
        let mut answer = answerer(&mut heard);
        let mut session = Session::new(settings.clone(), &mut answer);
        for segment in segments {
            session.send(segment.as_bytes(), &mut answer);
        }
        let lines: Vec<String> =
            session.lines().into_iter().filter(|line| !line.starts_with('2') || line.starts_with("235")).collect();
        assert_eq!(lines, expected);
    }
}

/// RFC 4954 section 5: MAIL says who wrote the message.
#[test]
fn mail_takes_the_name_of_the_author() {
    let bad = "501 5.5.4 bad parameter or value";
    let good = "250 2.1.0 MAIL FROM accepted";
    for (value, expected) in [
        ("AUTH=<>", good),
        ("AUTH=user@example.test", good),
        ("auth=user+2Btag@example.test", good),
        ("AUTH=\"a+20b\"@example.test", good),
        ("AUTH=", bad),
        ("AUTH", bad),
        ("AUTH=user", bad),
        ("AUTH=<user@example.test>", bad),
        ("AUTH=user+2btag@example.test", bad),
        ("AUTH=a+0Ab@example.test", bad),
        ("AUTH=a+00b@example.test", bad),
        ("AUTH=<> AUTH=<>", "501 5.5.4 parameter given twice"),
    ] {
        for auth in [offered().auth, Auth::NeedsTls, Auth::Done] {
            let settings = Settings { auth, ..offered() };
            assert_eq!(talk(settings, &format!("MAIL FROM:<> {value}\r\n"), usize::MAX).0, [expected], "{value}");
        }
    }
}
