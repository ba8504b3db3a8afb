//! SMTPUTF8 (RFC 6531): addresses beyond ASCII, and that a domain is one in whichever spelling.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Server, Site, auth};

#[test]
fn a_message_between_addresses_beyond_ascii() {
    let site = Site::new(&configs::maildirs(&format!(
        "auth.users = \"users\"\nauth.without-tls = true\n{}",
        configs::tls("starttls")
    )));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.user("alice", "secret");
    let server = site.start();
    for (number, (protocol, tls, login)) in
        [("UTF8SMTP", false, false), ("UTF8SMTPA", false, true), ("UTF8SMTPS", true, false), ("UTF8SMTPSA", true, true)]
            .into_iter()
            .enumerate()
    {
        let mut client = server.client("edge");
        assert!(client.hello().says("SMTPUTF8"));
        if tls {
            client.starttls();
            client.hello();
        }
        if login {
            assert_eq!(auth::plain(&mut client, "alice", "secret").code, 235);
        }
        client.expect("MAIL FROM:<\u{e9}@ex\u{e4}mple.test> SMTPUTF8 BODY=8BITMIME", "250 2.1.0 *");
        client.expect(&format!("RCPT TO:<\u{3c7}{number}@example.test>"), "250 2.1.5 *");
        client.expect("DATA", "354 *");
        client.content("Subject: \u{fc}ber\r\n\r\n\u{1f4ec}\r\n");
        let id = client.expect_reply("250 2.0.0 OK *").last().rsplit(' ').next().unwrap_or_default().to_owned();
        client.quit();
        let delivered = server.log().event("delivered", &[("id", &id)]);
        assert!(!delivered.fields.is_empty());
        let message = server.maildir(&format!("mail/example.test/%cf%87{number}")).only();
        let message = String::from_utf8(message).unwrap();
        assert!(message.starts_with("Return-Path: <\u{e9}@ex\u{e4}mple.test>\n"), "{message}");
        assert!(message.contains(&format!("by mx.example.test with {protocol} id {id}\n")), "{message}");
        assert!(message.contains(&format!("\tfor <\u{3c7}{number}@example.test>;\n")), "{message}");
        assert!(message.ends_with("Subject: \u{fc}ber\n\n\u{1f4ec}\n"), "{message}");
    }
}

#[test]
fn a_domain_is_one_in_whichever_spelling() {
    // Rules and routes alike are written in A-labels.
    let route = "domains = [\"xn--exmple-cua.test\", \"*.xn--exmple-cua.test\"]\n\
                 to = \"maildir:mail/{domain}/{local}\"\ncreate = true";
    let site = Site::new(&configs::with_route("", route).replace(
        "relay.domains = [\"example.test\"]",
        "relay.domains = [\"xn--exmple-cua.test\", \"*.xn--exmple-cua.test\"]",
    ));
    let server = site.start();
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8", "250 2.1.0 *");
    for recipient in [
        "b@ex\u{e4}mple.test",
        "b@EX\u{c4}MPLE.test",
        // The same letter in two characters.
        "b@exa\u{308}mple.test",
        "b@xn--exmple-cua.test",
        "b@XN--EXMPLE-CUA.TEST",
        "b@below.ex\u{e4}mple.test",
    ] {
        client.expect(&format!("RCPT TO:<{recipient}>"), "250 2.1.5 *");
    }
    for recipient in ["b@example.test", "b@ex\u{e4}mple.example", "b@xn--exmple-cua.test.example"] {
        client.expect(&format!("RCPT TO:<{recipient}>"), "550 5.7.1 *");
    }
    client.expect("DATA", "354 *");
    client.content("Subject: x\r\n\r\n");
    client.expect_reply("250 2.0.0 OK *");
    server.log().count(6, "delivered");
    let below = server.maildir("mail/below.xn--exmple-cua.test/b").messages().len();
    let directories: Vec<_> =
        std::fs::read_dir(site.path("mail")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(below, 1, "{directories:?}");
    assert_eq!(directories.len(), 2, "one domain has one directory: {directories:?}");
    // The A-label needs no parameter: it is ASCII.
    client.begin("a@client.test", &["c@xn--exmple-cua.test"]);
    client.quit();
}

/// What looks like a domain below one of ours, and in the DNS could be none or another one.
#[test]
fn what_no_domain_can_be_called_is_none() {
    // 63 octets, with nothing in common that would make the A-label shorter.
    let long: String = (0..21).map(|n| char::from_u32(0x4e00 + n * 977).unwrap()).collect();
    for domains in ["*.example.test", "*"] {
        let server = Server::start(
            &configs::discard("limits.errors = 0\nlimits.tarpit-after = 0")
                .replace("\"example.test\"", &format!("{domains:?}")),
        );
        let mut client = server.client("edge");
        client.hello();
        client.expect("MAIL FROM:<a@client.test> SMTPUTF8", "250 2.1.0 *");
        for domain in [
            // Signs that stand for `a/c` and for `?!`.
            "evil\u{2100}.example.test",
            "evil\u{2048}.example.test",
            // A full stop that is none, a mark with nothing to stand on, nothing at all.
            "evil\u{2024}x.example.test",
            "\u{301}x.example.test",
            "\u{ad}.example.test",
            // It is an A-label that is none, beside a label that is not ASCII.
            "xn--a.\u{fc}.example.test",
            // In A-labels it would be too long.
            &format!("{long}.example.test"),
        ] {
            client.expect(&format!("RCPT TO:<b@{domain}>"), "553 5.1.2 *");
        }
        client.expect("RCPT TO:<b@\u{fc}.example.test>", "250 2.1.5 *");
        client.quit();
    }
}

#[test]
fn what_is_no_address_of_either_kind_is_refused() {
    let server = Server::start(&configs::discard("limits.errors = 0\nlimits.tarpit-after = 0"));
    let mut client = server.client("edge");
    client.hello();
    // RFC 6531 section 3.5: not without the parameter.
    client.expect("MAIL FROM:<\u{e9}@client.test>", "553 5.6.7 *");
    client.expect("MAIL FROM:<a@client.test>", "250 2.1.0 *");
    for recipient in ["\u{e9}@example.test", "b@ex\u{e4}mple.test", "\"\u{e9}\"@example.test"] {
        client.expect(&format!("RCPT TO:<{recipient}>"), "553 5.6.7 *");
    }
    client.expect("RSET", "250 2.0.0 *");
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8=yes", "501 5.5.4 *");
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8", "250 2.1.0 *");
    for octets in [
        &b"\xff"[..],
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc2\x85",
        b"\xc2\x80",
        b"\xc2\x9f",
        b"\"\xc2\x9b\"",
        b"\x7f",
        b"\0",
    ] {
        for (before, after) in
            [(&b"RCPT TO:<"[..], &b"@example.test>\r\n"[..]), (b"RCPT TO:<b@", b".example.test>\r\n")]
        {
            client.send([before, octets, after].concat());
            let reply = client.reply();
            assert!((500..=559).contains(&reply.code), "{octets:?}: {reply}\n{}", client.transcript());
        }
    }
    // All of it cost nothing.
    client.expect("RCPT TO:<\u{e9}@example.test>", "250 2.1.5 *");
    client.quit();
}

#[test]
fn switched_off_it_is_neither_shown_nor_taken() {
    let server = Server::start(&configs::discard("esmtp.smtputf8 = false"));
    let mut client = server.client("edge");
    assert!(!client.hello().says("SMTPUTF8"));
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8", "555 5.5.4 *");
    let refused = client.ask("MAIL FROM:<\u{e9}@client.test>");
    assert!(matches!(refused.code, 501 | 553), "{refused}");
}
