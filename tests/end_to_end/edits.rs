//! What extensions change of envelope and message, and what is kept, delivered and said for it.

mod header;
mod quarantine;
mod tenants;

use crate::configs;
use pillarbox_tests::{Client, Server, Site, guest};

/// A server whose extensions play these scripts, each with further lines of its entry and its settings.
fn start(listener: &str, scripts: &[(&str, &str)]) -> Server {
    let scripts: Vec<_> = scripts.iter().map(|(entry, settings)| (*entry, "", *settings)).collect();
    with_tables(listener, &scripts)
}

/// The same, each with further lines of its own table between those.
fn with_tables(listener: &str, scripts: &[(&str, &str, &str)]) -> Server {
    site(listener, scripts).start()
}

fn site(listener: &str, scripts: &[(&str, &str, &str)]) -> Site {
    let mut config = String::new();
    for (number, (entry, _, _)) in scripts.iter().enumerate() {
        config.push_str(&format!(
            "[[listener.edge.extension]]\nuse = \"e{number}\"\n\
             grant.envelope-read = true\ngrant.envelope-write = true\ngrant.message-read = true\n\
             grant.message-write = [\"x-*\", \"subject\"]\n\
             verdict = [\"accept\", \"tempfail\", \"reject\", \"disconnect\", \"discard\", \"quarantine\"]\n{entry}\n"
        ));
    }
    for (number, (_, table, settings)) in scripts.iter().enumerate() {
        let component = guest("scripted");
        config.push_str(&format!(
            "[extension.e{number}]\ncomponent = {component:?}\nlimits.wall = \"30s\"\nlimits.cpu = \"10s\"\n{table}\n\
             [extension.e{number}.settings]\n{settings}\n"
        ));
    }
    Site::new(&configs::maildirs(&format!("{listener}\n{config}")))
}

fn said(server: &Server, text: &str) {
    server.log().wait_for(text, |event| event.field("text").contains(text));
}

const CONTENT: &str = "Subject: one\r\nX-Tag: a\r\n\tb\r\nX-TAG: c\r\n\r\ntext\r\n.dots\r\n";

/// The delivered file without what the server puts before it, with line ends as they came.
#[track_caller]
fn delivered(server: &Server, local: &str) -> String {
    let maildir = server.maildir(&format!("mail/example.test/{local}"));
    pillarbox_tests::until("the message is delivered", || !maildir.messages().is_empty());
    String::from_utf8(maildir.content()).unwrap().replace('\n', "\r\n")
}

fn greeted(server: &Server) -> Client {
    let mut client = server.client("edge");
    client.hello();
    client
}

#[test]
fn header_fields_change_and_the_rest_stays() {
    for (script, expected) in [
        (
            r#"message = ["insert X-New 0 value", "see"]"#,
            "X-New: value\r\nSubject: one\r\nX-Tag: a\r\n\tb\r\nX-TAG: c\r\n\r\ntext\r\n.dots\r\n",
        ),
        (
            r#"message = ["replace x-tag 1 d", "remove Subject 0", "insert X-Tag 1 between"]"#,
            "X-Tag: a\r\n\tb\r\nX-Tag: between\r\nX-TAG: d\r\n\r\ntext\r\n.dots\r\n",
        ),
        // Outside the grant, not there, malformed: errors are values, and nothing happens.
        (r#"message = ["insert From 0 x", "remove X-Tag 2", "insert X: 0 x", "insert X-A 0 ä"]"#, CONTENT),
        (r#"data = ["insert X-A 0 x"]"#, CONTENT),
    ] {
        let server = start("", &[("", script), ("", r#"message = ["see"]"#)]);
        let mut client = greeted(&server);
        client.deliver("a@client.test", &["b@example.test"], CONTENT);
        assert_eq!(delivered(&server, "b"), expected, "{script}");
        // Whoever is asked next sees what will be kept.
        said(&server, &format!("sees {} octets", expected.len()));
    }
}

#[test]
fn a_large_message_is_written_anew() {
    let server = start("", &[("", r#"message = ["insert X-New 0 value"]"#)]);
    let body: String = (0..20_000).map(|line| format!("line {line} of a long text\r\n")).collect();
    let content = format!("Subject: one\r\n\r\n{body}");
    greeted(&server).deliver("a@client.test", &["b@example.test"], &content);
    assert!(delivered(&server, "b") == format!("X-New: value\r\n{content}"));
}

/// Its changes of header and envelope are one whole with the call.
#[test]
fn what_fails_changes_nothing() {
    let script = r#"mail = ["for t@client.test sender x@example.test", "for t@client.test trap"]
        message = ["insert X-New 0 value", "remove Subject 0", "drop b@example.test", "rewrite c@example.test x@example.test", "add x@example.test", "see", "trap"]"#;
    let recipients = ["b@example.test", "c@example.test", "d@example.test", "e@example.test"];
    let server = with_tables("", &[("", "on-failure = \"skip\"", script), ("", "", r#"message = ["see"]"#)]);
    greeted(&server).deliver("t@client.test", &recipients, CONTENT);
    server.log().count(4, "delivered");
    for local in ["b", "c", "d", "e"] {
        assert_eq!(delivered(&server, local), CONTENT, "{local}");
    }
    assert!(server.maildir("mail/example.test/x").messages().is_empty());
    let message = String::from_utf8(server.maildir("mail/example.test/b").only()).unwrap();
    assert!(message.starts_with("Return-Path: <t@client.test>\n"), "{message}");
    said(&server, "sees t@client.test to x@example.test d@example.test e@example.test");
    said(&server, "sees t@client.test to b@example.test c@example.test d@example.test e@example.test");
    let failed = [("kind", "trap"), ("hook", "message")];
    server.log().event("extension failed", &failed);

    let server = start("", &[("", script)]);
    let reply = greeted(&server).submit("a@client.test", &recipients, CONTENT);
    assert_eq!(reply.code, 451, "{reply}");
    assert_eq!((server.site().files("mail").len(), server.site().files("state/spool").len()), (0, 0));
}

#[test]
fn recipients_are_added_dropped_and_rewritten() {
    let script = r#"mail = ["sender bounces@example.test"]
        recipient = ["for b@example.test rewrite b@example.test c@example.test", "for d@example.test drop d@example.test"]
        data = ["add e@example.test", "add e@example.test", "add x@elsewhere.test", "add nonsense", "drop z@example.test"]
        message = ["rewrite f@example.test e@example.test", "see"]"#;
    let server = start("", &[("", script)]);
    let recipients = ["b@example.test", "d@example.test", "f@example.test"];
    greeted(&server).deliver("a@client.test", &recipients, CONTENT);
    server.log().count(2, "delivered");
    said(&server, "sees bounces@example.test to c@example.test e@example.test");
    for (step, why) in [
        ("add x@elsewhere.test", "nothing lets this session send there"),
        ("add nonsense", "the address is malformed"),
        ("drop z@example.test", "`z@example.test` is no recipient"),
    ] {
        server.log().wait_for(step, |event| event.field("text").contains(step) && event.field("text").contains(why));
    }
    for local in ["c", "e"] {
        assert_eq!(server.maildir(&format!("mail/example.test/{local}")).messages().len(), 1, "{local}");
    }
    for local in ["b", "d", "f"] {
        assert!(server.maildir(&format!("mail/example.test/{local}")).messages().is_empty(), "{local}");
    }
    let message = String::from_utf8(server.maildir("mail/example.test/c").only()).unwrap();
    assert!(message.starts_with("Return-Path: <bounces@example.test>\n"), "{message}");
}

#[test]
fn refused_recipients_hear_it_where_there_is_a_reply() {
    let script = r#"recipient = ["for c@example.test refuse c@example.test 553"]
        message = ["refuse b@example.test 554"]"#;
    let server = start("", &[("", script)]);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<b@example.test>", "250 *");
    client.expect("RCPT TO:<c@example.test>", "553 *");
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("554 not for you");
    client.deliver("a@client.test", &["b@example.test", "d@example.test"], CONTENT);
    assert_eq!(delivered(&server, "d"), CONTENT);
    server.log().event("recipient refused", &[("recipient", "b@example.test")]);
    let notice = server.maildir("mail/client.test/a");
    pillarbox_tests::until("the sender is told", || !notice.messages().is_empty());
    let told = String::from_utf8(notice.only()).unwrap();
    for line in [
        "Return-Path: <>",
        "To: <a@client.test>",
        "Final-Recipient: rfc822; b@example.test",
        "Action: failed",
        "Status: 5.0.0",
        "Diagnostic-Code: smtp; 554 not for you",
        "Subject: one",
    ] {
        assert!(told.lines().any(|other| other == line), "{line}:\n{told}");
    }
    assert!(!told.contains("d@example.test") && !told.contains(".dots"), "{told}");
    let event = server.log().event("sender is told", &[("recipient", "b@example.test"), ("action", "failed")]);
    assert!(event.field("id").starts_with(event.field("original")), "{event:?}");
    assert!(server.maildir("mail/example.test/b").messages().is_empty());

    // The null sender is told nothing.
    client.deliver("", &["b@example.test", "e@example.test"], CONTENT);
    server.log().event("recipient refused, its sender is not told", &[("recipient", "b@example.test")]);
    assert_eq!(delivered(&server, "e"), CONTENT);

    // Discarded for the other, the message is kept for the notice alone; whoever wants none gets none.
    let discard = r#"message = ["for d@example.test discard"]"#;
    let server = start("", &[("recipients = [\"d@example.test\"]", discard), ("", script)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@example.test", "d@example.test"], CONTENT);
    let notice = server.maildir("mail/client.test/a");
    pillarbox_tests::until("the sender is told", || !notice.messages().is_empty());
    client.expect("MAIL FROM:<z@client.test>", "250 *");
    client.expect("RCPT TO:<b@example.test> NOTIFY=NEVER", "250 *");
    client.expect("RCPT TO:<e@example.test> NOTIFY=SUCCESS", "250 *");
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("250 *");
    assert_eq!(delivered(&server, "e"), CONTENT);
    pillarbox_tests::until("the queue is empty", || server.site().files("state/spool/queue").is_empty());
    let told = String::from_utf8(server.maildir("mail/client.test/z").only()).unwrap();
    assert!(told.contains("\nAction: delivered\n") && !told.contains("b@example.test"), "{told}");
    for local in ["b", "d"] {
        assert!(server.maildir(&format!("mail/example.test/{local}")).messages().is_empty(), "{local}");
    }

    let server = start("protocol = \"lmtp\"", &[("", script)]);
    let mut client = server.client("edge");
    client.expect("LHLO client.example.test", "250 *");
    client.begin("a@client.test", &["b@example.test", "d@example.test"]);
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("554 not for you");
    client.expect_reply("250 2.1.5 <d@example.test> OK *");
    client.expect("NOOP", "250 *");
    assert_eq!(delivered(&server, "d"), CONTENT);
    assert!(server.maildir("mail/client.test/a").messages().is_empty());
}

#[test]
fn addresses_are_as_strict_as_a_clients() {
    let script = r#"data = ["add ü@example.test", "sender ö@client.test", "add <d@example.test>", 
        "refuse b@example.test 421", "refuse b@example.test 250", "rewrite b@example.test b@nowhere..test"]"#;
    let server = start("", &[("", script)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@example.test"], CONTENT);
    assert_eq!(delivered(&server, "b"), CONTENT);
    assert_eq!(server.site().files("mail").len(), 1);
    let said_of = |step: &str| {
        let whole = format!("data: {step}: ");
        let event = server.log().wait_for(step, |event| event.field("text").starts_with(&whole));
        event.field("text")[whole.len()..].to_owned()
    };
    for step in ["add ü@example.test", "sender ö@client.test", "add <d@example.test>", "refuse b@example.test 421"] {
        assert!(said_of(step).starts_with("invalid: "), "{step}: {}", said_of(step));
    }
    client.expect("MAIL FROM:<a@client.test> SMTPUTF8 BODY=8BITMIME", "250 *");
    client.expect("RCPT TO:<b@example.test>", "250 *");
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("250 *");
    let message = || server.maildir("mail/example.test/%c3%bc").messages();
    pillarbox_tests::until("the message is delivered", || message().len() == 1);
    assert!(String::from_utf8(message().remove(0)).unwrap().starts_with("Return-Path: <ö@client.test>\n"));
}

/// What was changed goes with the transaction it was changed in.
#[test]
fn edits_are_of_one_transaction() {
    let changes = r#"mail = ["for s@client.test sender x@client.test"]
        data = ["for b@example.test add c@example.test", "for b@example.test drop d@example.test"]"#;
    let server = start("", &[("", changes), ("", r#"data = ["for b@example.test tempfail"]"#)]);
    let mut client = greeted(&server);
    client.begin("s@client.test", &["b@example.test", "d@example.test"]);
    client.expect("DATA", "451 4.7.1 *");
    client.expect("DATA", "451 4.7.1 *");
    client.expect("RSET", "250 *");
    client.deliver("a@client.test", &["d@example.test"], CONTENT);
    assert_eq!(delivered(&server, "d"), CONTENT);
    assert_eq!(server.site().files("mail").len(), 1);
    let message = String::from_utf8(server.maildir("mail/example.test/d").only()).unwrap();
    assert!(message.starts_with("Return-Path: <a@client.test>\n"), "{message}");
}

#[test]
fn a_message_is_kept_aside_until_it_is_released() {
    let server = start("", &[("", r#"message = ["quarantine looks like bait"]"#)]);
    let id = greeted(&server).deliver("a@client.test", &["b@example.test"], CONTENT);
    server.log().event("message quarantined", &[("id", &id), ("reason", "looks like bait"), ("hook", "message")]);
    assert_eq!(server.status()["quarantined"], 1);
    let list = server.order(&["quarantine", "list"]);
    list.exits(0).says("looks like bait").says(&id);
    let raw = server.order(&["quarantine", "show", "--raw", &id]);
    assert!(raw.exits(0).stdout.ends_with(CONTENT));
    server.order(&["quarantine", "release", "../queue/x"]).exits(65);
    server.order(&["quarantine", "release", &id]).exits(0);
    assert_eq!(delivered(&server, "b"), CONTENT);
    server.order(&["quarantine", "delete", &id]).exits(65);
    assert_eq!(server.status()["quarantined"], 0);
}

/// Two tenants and an address of neither.
#[test]
fn a_tenant_decides_about_its_own_recipients() {
    let tenant = r#"recipients = ["b@example.test", "c@example.test"]"#;
    let scripts = [
        (r#"message = ["discard"]"#, vec!["d"]),
        (r#"message = ["quarantine bait"]"#, vec!["d"]),
        (r#"message = ["reject"]"#, vec!["d"]),
        (
            r#"data = ["drop c@example.test", "drop d@example.test", "add e@example.test", "sender x@example.test"]"#,
            vec!["b", "d"],
        ),
        (r#"message = ["insert X-A 0 b"]"#, vec!["b", "c", "d"]),
    ];
    for (script, expected) in scripts {
        let server = start("", &[(tenant, script)]);
        let recipients = ["b@example.test", "c@example.test", "d@example.test"];
        greeted(&server).deliver("a@client.test", &recipients, CONTENT);
        server.log().count(expected.len(), "delivered");
        for local in ["b", "c", "d", "e"] {
            let messages = server.maildir(&format!("mail/example.test/{local}")).messages();
            assert_eq!(messages.len(), usize::from(expected.contains(&local)), "{script}: {local}");
        }
        assert_eq!(delivered(&server, "d"), CONTENT, "{script}");
        let aside = u64::from(script.contains("quarantine"));
        assert_eq!(server.status()["quarantined"], aside, "{script}");
        // Where nobody is theirs, they are not asked.
        greeted(&server).deliver("a@client.test", &["z@example.test"], CONTENT);
    }
    let server = start("", &[(tenant, r#"message = ["tempfail"]"#)]);
    let mut client = greeted(&server);
    client.begin("a@client.test", &["b@example.test", "d@example.test"]);
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("451 4.7.1 *");
    let server = start("", &[(tenant, r#"message = ["reject"]"#)]);
    let mut client = greeted(&server);
    client.begin("a@client.test", &["b@example.test"]);
    client.expect("DATA", "354 *");
    client.content(CONTENT);
    client.expect_reply("550 5.7.1 *");
}
