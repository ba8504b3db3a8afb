//! LMTP (RFC 2033): for a mail server in front that keeps its own queue, and wants to hear of each recipient.

use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Client, Server, Site, auth, guest};

/// A server whose listener speaks LMTP, with these further keys and tables.
fn start(listener: &str) -> Server {
    let site = Site::new(&configs::maildirs(&format!("protocol = \"lmtp\"\n{listener}")));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.user("alice", "secret");
    site.start()
}

/// A transaction with three recipients, of whom the second is refused.
#[track_caller]
fn begin(client: &mut Client) {
    client.expect("MAIL FROM:<a@client.test>", "250 2.1.0 *");
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    client.expect("RCPT TO:<c@elsewhere.test>", "550 5.7.1 *");
    client.expect("RCPT TO:<d@example.test>", "250 2.1.5 *");
}

const CONTENT: &str = "Subject: x\r\n\r\ntext\r\n";

#[test]
fn each_recipient_has_a_reply_of_its_own() {
    let server = start("");
    let mut client = server.client("edge");
    for other in ["HELO client.example.test", "EHLO client.example.test"] {
        client.expect(other, "500 5.5.1 *");
    }
    client.expect("MAIL FROM:<a@client.test>", "503 5.5.1 *");
    client.expect("LHLO client.example.test", "250 *");
    for (number, by_chunks) in [(1, false), (2, true)] {
        begin(&mut client);
        match by_chunks {
            true => {
                client.send(format!("BDAT 5\r\n{}", &CONTENT[..5]));
                client.expect_reply("250 2.0.0 5 octets received");
                client.send(format!("BDAT {} LAST\r\n{}", CONTENT.len() - 5, &CONTENT[5..]));
            }
            false => {
                client.expect("DATA", "354 *");
                client.content(CONTENT);
            }
        }
        let first = client.expect_reply("250 2.1.5 <b@example.test> OK *");
        let second = client.expect_reply("250 2.1.5 <d@example.test> OK *");
        let id = |reply: &str| reply.rsplit(' ').next().map(str::to_owned).unwrap_or_default();
        assert_eq!(id(first.last()), id(second.last()), "one message, one id");
        client.expect("NOOP", "250 2.0.0 *");
        server.log().count(2 * number, "delivered");
        for name in ["b", "d"] {
            let messages = server.maildir(&format!("mail/example.test/{name}")).messages();
            assert_eq!(messages.len(), number, "{name}");
            for message in messages {
                let text = String::from_utf8(message).unwrap();
                assert!(text.contains("by mx.example.test with LMTP id ") && text.ends_with("\n\ntext\n"), "{text}");
            }
        }
    }
    assert!(!server.site().path("mail/elsewhere.test").exists());
    client.quit();
}

#[test]
fn each_recipient_hears_that_the_message_is_refused() {
    guest("example-policy");
    let server = start(
        "limits.message-size = 2000\n[[listener.edge.extension]]\nuse = \"policy\"\ngrant.session = [\"client\"]\n\
         grant.context-read = { connection = [\"policy_bypass\"] }\n\
         grant.context-write = { message = [\"policy_*\"] }\ngrant.envelope-read = true\ngrant.message-read = true\n\
         [extension.policy]\ncomponent = \"../../../target/guests/example-policy.wasm\"\n\
         settings = { marker = \"X-TEST-MARKER\" }\n",
    );
    let mut client = server.client("edge");
    client.expect("LHLO client.example.test", "250 *");
    let large = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(200));
    for (content, reply) in [
        ("Subject: x\r\n\r\nX-TEST-MARKER\r\n", "550 5.7.1 message refused *"),
        ("Subject: x\r\n\r\na\nb\r\n", "550 5.6.0 lone CR or LF in body"),
        (&large, "552 5.3.4 *"),
    ] {
        begin(&mut client);
        client.expect("DATA", "354 *");
        client.content(content);
        client.expect_reply(reply);
        client.expect_reply(reply);
        begin(&mut client);
        client.send(format!("BDAT {} LAST\r\n{content}", content.len()));
        client.expect_reply(reply);
        client.expect_reply(reply);
        client.expect("NOOP", "250 2.0.0 *");
    }
    assert!(server.site().files("state/spool").is_empty() && !server.site().path("mail").exists());
    begin(&mut client);
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("250 2.1.5 <b@example.test> OK *");
    client.expect_reply("250 2.1.5 <d@example.test> OK *");
    client.quit();
}

#[test]
fn under_tls_and_with_a_login() {
    let server = start(&format!("auth.users = \"users\"\n{}", configs::tls("starttls")));
    let mut client = server.client("edge");
    client.expect("LHLO client.example.test", "250 *");
    client.starttls();
    client.expect("LHLO client.example.test", "250 *");
    for (number, protocol) in ["LMTPS", "LMTPSA", "UTF8LMTPSA"].into_iter().enumerate() {
        if number == 1 {
            assert_eq!(auth::scram_plus(&mut client, "alice", "secret").code, 235);
        }
        let parameter = if number == 2 { " SMTPUTF8" } else { "" };
        client.expect(&format!("MAIL FROM:<a@client.test>{parameter}"), "250 2.1.0 *");
        client.expect(&format!("RCPT TO:<b{number}@example.test>"), "250 2.1.5 *");
        client.expect("DATA", "354 *");
        client.content(CONTENT);
        client.expect_reply("250 2.1.5 *");
        server.log().count(number + 1, "delivered");
        let message = String::from_utf8(server.maildir(&format!("mail/example.test/b{number}")).only()).unwrap();
        assert!(message.contains(&format!("by mx.example.test with {protocol} id ")), "{message}");
    }
}
