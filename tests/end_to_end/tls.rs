//! TLS: what holds before it, what is forgotten by it, and which certificate is shown.

mod handshakes;
mod injection;

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Server, Site};
use std::io::{Read, Write};

/// A server with a certificate of its own.
fn start(config: &str) -> (Server, Pair) {
    let site = Site::new(config);
    let pair = Pair::new(&["mx.example.test"]);
    pair.write(&site.path("tls"));
    (site.start(), pair)
}

#[test]
fn starttls() {
    let (server, pair) = start(&configs::maildirs(&configs::tls("starttls")));
    let mut client = server.client("edge");
    assert!(client.hello().says("STARTTLS"));
    client.starttls();
    assert_eq!(client.certificate(), pair.der);
    // What was said before counts no more.
    client.expect("MAIL FROM:<a@client.test>", "503 5.5.1 *");
    assert!(!client.hello().says("STARTTLS"));
    client.expect("STARTTLS", "503 5.5.1 *");
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: secret\r\n\r\ntext\r\n");
    client.quit();
    server.log().event("delivered", &[("id", &id)]);
    let message = String::from_utf8(server.maildir("mail/example.test/b").only()).unwrap();
    assert!(message.contains("\n\t(using TLSv1.3 with cipher TLS_"), "{message}");
    assert!(message.contains(&format!("\n\tby mx.example.test with ESMTPS id {id}\n")), "{message}");
}

#[test]
fn implicit() {
    let (server, pair) = start(&configs::maildirs(&configs::tls("implicit")));
    let mut client = Client::connect_tls(server.address("edge"));
    assert_eq!(client.certificate(), pair.der);
    assert!(!client.hello().says("STARTTLS"));
    client.expect("STARTTLS", "503 5.5.1 *");
    let id = client.deliver("a@client.test", &["b@example.test"], "Subject: secret\r\n\r\n");
    client.quit();
    server.log().event("delivered", &[("id", &id)]);
}

#[test]
fn required() {
    let (server, _) = start(&configs::discard(&configs::tls("required")));
    let mut client = server.client("edge");
    assert!(client.hello().says("STARTTLS"));
    for command in ["MAIL FROM:<a@client.test>", "RCPT TO:<b@example.test>", "DATA", "RSET", "VRFY x", "HELP", "XWHAT"]
    {
        client.expect(command, "530 5.7.0 *");
    }
    client.expect("NOOP", "250 *");
    client.starttls();
    client.hello();
    client.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    client.quit();
}

#[test]
fn what_waits_behind_starttls_is_never_executed() {
    let (server, _) = start(&configs::discard(&configs::tls("starttls")));
    for behind in [
        "RSET\r\n",
        "NO",
        "\r\n",
        "EHLO evil.example.test\r\n",
        "MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n",
        "STARTTLS\r\n",
        "QUIT\r\n",
        "\0",
    ] {
        let mut client = server.client("edge");
        client.hello();
        client.send(format!("STARTTLS\r\n{behind}"));
        client.expect_reply("554 5.5.0 *");
        client.expect_close();
    }
    // Nor is what comes in the clear where the handshake is due.
    let mut client = server.client("edge");
    client.hello();
    client.expect("STARTTLS", "220 2.0.0 *");
    client.send("MAIL FROM:<evil@client.test>\r\n");
    server.log().event("session ended", &[("end", "tls handshake failed")]);
    let mut heard = Vec::new();
    let _ = client.socket().read_to_end(&mut heard);
    assert!(heard.first().is_none_or(|octet| *octet == 0x15), "no TLS alert: {heard:?}");
    assert_eq!(server.status()["handshakes_failed"], 1);
}

#[test]
fn names_said_in_the_clear_are_forgotten_and_logins_by_address_are_not() {
    let verbs = configs::extensions(&["always-allow", "xsetcontext", "xdumpcontext", "xclient"]);
    let (server, _) =
        start(&configs::discard(&format!("relay.authenticated = true\n{}{verbs}", configs::tls("starttls"))));
    let mut client = server.client("edge");
    client.hello();
    client.expect("XSETCONTEXT campaign=spring", "250 2.0.0 *");
    let before = client.ask("XDUMPCONTEXT");
    assert!(before.says("[connection] campaign spring") && before.says("[connection] auth_user anonymous"), "{before}");
    client.starttls();
    let after = client.ask("XDUMPCONTEXT");
    assert!(after.says("[connection] auth_user anonymous") && after.says("[connection] tls on"), "{after}");
    assert!(!after.to_string().contains("campaign") && !after.to_string().contains("ehlo_"), "{after}");
    client.hello();
    client.begin("a@client.test", &["b@elsewhere.test"]);
    client.expect("RSET", "250 *");

    // A login that the peer itself claimed goes, and the one by address takes its place again.
    let mut client = server.client("edge");
    client.hello();
    client.expect("XCLIENT LOGIN=alice", "220 *");
    client.hello();
    assert!(client.ask("XDUMPCONTEXT").says("[connection] auth_user alice"));
    client.starttls();
    let after = client.ask("XDUMPCONTEXT");
    assert!(!after.to_string().contains("alice"), "{after}");
}

#[test]
fn the_next_handshake_after_a_reload_sees_the_new_certificate() {
    let (server, _) = start(&configs::discard(&configs::tls("implicit")));
    let address = server.address("edge");
    let mut open = Client::connect_tls(address);
    let second = Pair::new(&["mx.example.test"]);
    second.write(&server.site().path("tls"));
    server.reload().exits(0);
    assert_eq!(Client::connect_tls(address).certificate(), second.der, "after the reload");
    // Who is in stays in.
    open.hello();
    open.deliver("a@client.test", &["b@example.test"], "Subject: x\r\n\r\n");
    open.quit();
}

#[test]
fn a_pair_that_cannot_be_used_leaves_the_old_one() {
    let (server, first) = start(&configs::discard(&configs::tls("implicit")));
    let site = server.site();
    let other = Pair::new(&["mx.example.test"]);
    let half = &other.chain[..other.chain.len() / 2];
    for (chain, key, complaint) in [
        (other.chain.as_str(), first.key.as_str(), "does not belong"),
        (half, other.key.as_str(), "cert.pem"),
        ("", other.key.as_str(), "cert.pem"),
        (other.chain.as_str(), "no key at all", "key.pem"),
    ] {
        site.write("tls/cert.pem", chain);
        site.write("tls/key.pem", key);
        server.reload().exits(65).says(complaint).says("tls.certificates");
        assert_eq!(Client::connect_tls(server.address("edge")).certificate(), first.der, "{complaint}");
    }
    std::fs::remove_file(site.path("tls/key.pem")).unwrap();
    server.reload().exits(65).says("key.pem");
    assert_eq!(server.status()["last_reload"]["ok"], false);
    // What a reload refuses, a start refuses.
    site.run(&["check"]).exits(65).says("key.pem");

    other.write(&site.path("tls"));
    server.reload().exits(0);
    assert_eq!(Client::connect_tls(server.address("edge")).certificate(), other.der);
}

#[test]
fn a_certificate_that_has_expired_replaces_none() {
    let (server, first) = start(&configs::discard(&configs::tls("implicit")));
    Pair::expired(&["mx.example.test"]).write(&server.site().path("tls"));
    server.reload().exits(65).says("expired").says("cert.pem");
    assert_eq!(Client::connect_tls(server.address("edge")).certificate(), first.der);
    // A start has nothing better to show; it goes on, and says so.
    let site = server.site().clone();
    server.kill();
    let server = site.start();
    let certificates = server.status()["certificates"].clone();
    assert_eq!(certificates[0]["standing"], "expired", "{certificates:#}");
    server.log().wait_for("the warning", |event| {
        event.level == "warn" && event.field("warning").starts_with("the certificate tls/cert.pem has expired")
    });
    let mut client = Client::connect_tls(server.address("edge"));
    client.hello();
    client.quit();
    // It is no reason against a reload that changes something else.
    let second = Pair::new(&["other.example.test"]);
    second.write(&server.site().path("other"));
    let pairs =
        "{ chain = \"tls/cert.pem\", key = \"tls/key.pem\" }, { chain = \"other/cert.pem\", key = \"other/key.pem\" }";
    let keys = format!("tls.mode = \"implicit\"\ntls.certificates = [{pairs}]\n");
    server.reconfigure(&configs::discard(&keys)).exits(0);
    let mut client = Client::dial(server.address("edge"), None);
    client.handshake_for("other.example.test");
    assert_eq!(client.certificate(), second.der);
    server.site().run(&["check"]).exits(0).says("warning: the certificate tls/cert.pem has expired");
}

#[test]
fn the_name_the_client_asks_for_chooses_the_certificate() {
    let site = Site::new(&configs::discard(
        "tls.mode = \"starttls\"\ntls.certificates = [\n\
         { chain = \"tls/cert.pem\", key = \"tls/key.pem\" },\n\
         { chain = \"other/cert.pem\", key = \"other/key.pem\" },\n]",
    ));
    let (first, second) = (Pair::new(&["mx.example.test"]), Pair::new(&["mail.example.test", "*.other.test"]));
    first.write(&site.path("tls"));
    second.write(&site.path("other"));
    let server = site.start();
    for (name, expected) in [
        ("mx.example.test", &first),
        ("mail.example.test", &second),
        ("a.other.test", &second),
        ("nobody.test", &first),
    ] {
        let mut client = server.client("edge");
        client.hello();
        client.expect("STARTTLS", "220 *");
        client.handshake_for(name);
        assert!(client.certificate() == expected.der, "another certificate for {name}");
    }
}

#[test]
fn old_versions_are_refused() {
    let (server, _) = start(&configs::discard(&configs::tls("implicit")));
    for version in [1, 2] {
        let client = Client::dial(server.address("edge"), None);
        let mut socket = client.socket();
        socket.write_all(&client_hello(version)).unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        // A fatal alert of type protocol_version (RFC 5246 7.2).
        assert!(matches!(heard[..], [21, 3, _, 0, 2, 2, 70]), "TLS 1.{}: {heard:?}", version - 1);
    }
}

/// A ClientHello of TLS 1.0 (3, 1) or TLS 1.1 (3, 2), with a cipher suite of its time (RFC 4346 7.4.1.2), from a client
/// that knows of signature algorithms (RFC 5246 7.4.1.4.1): only the version is too old.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend([0, 2, 0x00, 0x2f]);
    body.extend([1, 0]);
    body.extend([0, 8, 0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[test]
fn a_connection_that_breaks_off_under_tls_delivers_nothing() {
    let (server, _) = start(&configs::maildirs(&configs::tls("implicit")));
    let mut client = Client::connect_tls(server.address("edge"));
    client.hello();
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.send("Subject: cut\r\n\r\ntext\r\n");
    // The end of the connection without TLS saying so, as somebody in between can make it.
    client.socket().shutdown(std::net::Shutdown::Write).unwrap();
    server.log().event("session ended", &[]);
    assert!(server.site().files("state/spool").is_empty());
}

#[test]
fn a_handshake_that_never_comes_holds_up_nobody() {
    let (server, _) = start(&configs::discard(&configs::tls("implicit")));
    let _silent: Vec<Client> = (0..20).map(|_| Client::dial(server.address("edge"), None)).collect();
    Client::connect_tls(server.address("edge")).quit();
}
