//! When AUTH may be said, how it is said wrongly, and how long a login lasts.

use super::{CLEAR, NAME, PASSWORD, hello, hello_tls, login_of, offered, relays, site, start_tls};
use crate::configs;
use pillarbox_tests::auth;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::handshake::Version::Tls13;
use pillarbox_tests::{Client, Server, Site};

/// One and the same attempt that would succeed.
fn right() -> String {
    format!("AUTH PLAIN {}", auth::plain_message(NAME, PASSWORD))
}

#[test]
fn not_before_tls() {
    let server = start_tls("");
    let (mut client, greeted) = hello(&server);
    assert!(offered(&greeted).is_empty(), "{greeted}");
    for attempt in [right(), "AUTH LOGIN".to_owned(), "AUTH".to_owned(), "AUTH UNHEARD-OF".to_owned()] {
        client.expect(&attempt, "538 5.7.11 *");
    }
    client.starttls();
    client.expect(&right(), "503 5.5.1 *");
    client.hello();
    client.expect(&right(), "235 2.7.0 *");
}

#[test]
fn not_at_all_without_users() {
    let server = Server::start(&configs::discard(""));
    let (mut client, greeted) = hello(&server);
    assert!(offered(&greeted).is_empty(), "{greeted}");
    client.expect(&right(), "502 5.5.1 *");
}

#[test]
fn once_in_a_session_and_between_messages() {
    let server = site(CLEAR).start();
    let mut client = server.client("edge");
    client.expect(&right(), "503 5.5.1 *");
    client.expect("HELO client.example.test", "250 *");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 2.1.0 *");
    client.expect(&right(), "503 5.5.1 *");
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.expect(&right(), "503 5.5.1 *");
    client.expect("RSET", "250 2.0.0 *");
    assert!(login_of(&mut client).is_empty());
    client.expect(&right(), "235 2.7.0 *");
    for again in [right(), "AUTH LOGIN".to_owned(), "AUTH UNHEARD-OF".to_owned()] {
        client.expect(&again, "503 5.5.1 *");
    }
    client.expect("NOOP", "250 2.0.0 *");
}

#[test]
fn what_is_malformed_is_said_to_be_and_harms_nothing() {
    let server =
        site(&format!("{CLEAR}limits.errors = 0\nlimits.tarpit-after = 0\nlimits.auth-failures = 0\n")).start();
    let (mut client, _) = hello(&server);
    for (command, reply) in [
        ("AUTH", "501 5.5.4 *"),
        ("AUTH ", "501 5.5.4 *"),
        ("AUTH CRAM-MD5", "504 5.5.4 *"),
        ("AUTH PLAI", "504 5.5.4 *"),
        ("AUTH SCRAM-SHA-256-PLUS", "504 5.5.4 *"),
        ("AUTH EXTERNAL =", "504 5.5.4 *"),
        ("AUTH PLAIN !!!!", "501 5.5.2 *"),
        ("AUTH PLAIN AGFsaWNlAHg", "501 5.5.2 *"),
        ("AUTH PLAIN AGFsaWNlAHg==", "501 5.5.2 *"),
        ("AUTH PLAIN AGFs aWNlAHg=", "501 5.5.2 *"),
        ("AUTH PLAIN =", "501 5.5.2 *"),
        ("AUTH PLAIN YWxpY2U=", "501 5.5.2 *"),
        ("AUTH PLAIN AAA=", "501 5.5.2 *"),
        ("AUTH SCRAM-SHA-256 biwsbj1hbGljZQ==", "501 5.5.2 *"),
    ] {
        client.expect(command, reply);
    }
    for (mechanism, responses) in [
        ("AUTH PLAIN", &["*"][..]),
        ("AUTH LOGIN", &["*"]),
        ("AUTH LOGIN", &["YWxpY2U=", "*"]),
        ("AUTH SCRAM-SHA-256", &["*"]),
        ("AUTH SCRAM-SHA-256", &["biwsbj1hbGljZSxyPWFiYw==", "*"]),
    ] {
        let reply = conversation(&mut client, mechanism, responses);
        assert_eq!(reply, "501 5.0.0 authentication cancelled", "{mechanism} {responses:?}");
    }
    for (mechanism, responses) in [
        ("AUTH PLAIN", &["!"][..]),
        ("AUTH PLAIN", &[""]),
        ("AUTH PLAIN", &["="]),
        ("AUTH PLAIN", &[" *"]),
        ("AUTH LOGIN", &["MAIL FROM:<a@client.test>"]),
        ("AUTH LOGIN", &["YWxpY2U=", "!"]),
        ("AUTH SCRAM-SHA-256", &["biwsbj1hbGljZSxyPWFiYw==", "Yz1iaXdz"]),
    ] {
        let reply = conversation(&mut client, mechanism, responses);
        assert!(reply.starts_with("501 5.5.2 "), "{mechanism} {responses:?}: {reply}");
    }
    client.send(b"AUTH PLAIN\r\n\xff\xfe\r\n");
    client.expect_reply("334 ");
    client.expect_reply("501 5.5.2 *");
    client.expect(&right(), "235 2.7.0 *");
}

/// Says a command and the responses to its challenges; the last reply.
fn conversation(client: &mut Client, command: &str, responses: &[&str]) -> String {
    client.expect(command, "334 *");
    let mut last = String::new();
    for (number, response) in responses.iter().enumerate() {
        let reply = client.ask(response);
        assert!(number + 1 == responses.len() || reply.code == 334, "{command} {responses:?}: {reply}");
        last = reply.last().to_owned();
    }
    last
}

#[test]
fn lines_of_auth_are_long_and_no_longer() {
    let server = site(CLEAR).start();
    let (mut client, _) = hello(&server);
    // RFC 4954 section 4: 12,288 octets with CRLF. All of base64 decodes; what it is worth is another matter.
    let longest = "A".repeat(12_284);
    let first = "AUTH PLAIN ";
    client.send(format!("{first}{}\r\n", &"A".repeat(12_288 - 2 - first.len())));
    assert_ne!(client.reply().code, 500);
    client.send(format!("{first}{}\r\n", &"A".repeat(12_289 - 2 - first.len())));
    client.expect_reply("500 5.5.6 *");
    client.expect("AUTH PLAIN", "334 ");
    assert_ne!(client.ask(&longest).code, 500);
    client.expect("AUTH PLAIN", "334 ");
    client.expect(&format!("{longest}AAAA"), "500 5.5.6 *");
    // That ended the exchange and not the session; other commands are as short as they were.
    client.send(format!("NOOP {}\r\n", "x".repeat(4096)));
    client.expect_reply("500 5.5.2 *");
    client.expect(&right(), "235 2.7.0 *");
}

#[test]
fn a_login_lasts_until_the_client_is_another() {
    let verbs = configs::extensions(&["xclient", "xremoteip", "xdumpcontext"]);
    let site = Site::new(&configs::discard(&format!("{CLEAR}{}{verbs}", configs::tls("starttls"))));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.user(NAME, PASSWORD);
    let server = site.start();
    let kept = ["auth_name PLAIN", "auth_status pass", "auth_user alice", "can_relay true"];
    for (command, stays) in [
        ("EHLO other.example.test", true),
        ("HELO other.example.test", true),
        ("RSET", true),
        ("XCLIENT ADDR=127.0.0.1", false),
        ("XREMOTEIP 127.0.0.1", false),
    ] {
        let (mut client, _) = hello(&server);
        client.expect(&right(), "235 2.7.0 *");
        assert_eq!(login_of(&mut client), kept);
        let reply = client.ask(command);
        assert!(matches!(reply.code, 220 | 250), "{command}: {reply}");
        let dump = login_of(&mut client);
        assert_eq!(dump.iter().any(|entry| entry.starts_with("auth_")), stays, "{command}: {dump:?}");
        let greeted = client.hello();
        assert_eq!(offered(&greeted).is_empty(), stays, "{command}: {greeted}");
        assert_eq!(relays(&mut client), stays, "{command}");
    }
    let (mut client, _) = hello(&server);
    client.expect(&right(), "235 2.7.0 *");
    client.starttls();
    let greeted = client.hello();
    assert!(login_of(&mut client).is_empty() && !relays(&mut client));
    assert!(offered(&greeted).contains(&"SCRAM-SHA-256-PLUS"), "{greeted}");
    client.expect(&right(), "235 2.7.0 *");
    assert!(relays(&mut client));
}

#[test]
fn the_right_to_relay_is_what_the_listener_says() {
    let server = site(&CLEAR.replace("relay.authenticated = true\n", "")).start();
    let (mut client, _) = hello(&server);
    client.expect(&right(), "235 2.7.0 *");
    assert!(!relays(&mut client));
    assert_eq!(login_of(&mut client), ["auth_name PLAIN", "auth_status pass", "auth_user alice"]);
}

#[test]
fn only_the_mechanisms_that_are_wanted() {
    let server = start_tls("auth.mechanisms = [\"SCRAM-SHA-256-PLUS\", \"LOGIN\"]\n");
    let (mut client, greeted) = hello_tls(&server, Tls13, None);
    assert_eq!(offered(&greeted), ["SCRAM-SHA-256-PLUS", "LOGIN"]);
    client.expect(&right(), "504 5.5.4 *");
    assert_eq!(auth::login(&mut client, NAME, PASSWORD).code, 235);
}

#[test]
fn a_name_beyond_ascii() {
    let site = site(CLEAR);
    site.user("j\u{fc}rgen", "pa\u{df}wort");
    let server = site.start();
    // Prepared alike, however it is composed (RFC 4013 section 2.2).
    for name in ["j\u{fc}rgen", "ju\u{308}rgen"] {
        for attempt in [auth::plain, auth::login, auth::scram] {
            let (mut client, _) = hello(&server);
            // SCRAM leaves preparing a password to the client; this one needs none.
            assert_eq!(attempt(&mut client, name, "pa\u{df}wort").code, 235, "{name}");
            let dump = client.ask("XDUMPCONTEXT").to_string();
            assert!(dump.contains("auth_user j\\xC3\\xBCrgen"), "{dump}");
        }
    }
}
