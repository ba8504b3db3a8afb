//! Extensions that are there for some recipients only: what they are asked and see, and what comes of their word in a
//! message that is for others, too.

use super::*;

const ONE: &str = "recipients = [\"one.test\", \"*.one.test\"]";
const TWO: &str = "recipients = [\"two.test\", \"vip@example.test\"]";
const LISTENER: &str = "relay.hosts = [\"127.0.0.1\"]";

/// What the first of two tenants says, by a recipient of its own.
const VERDICTS: &str = r#"
    data = ["for discard-early@one.test discard", "for reject-early@one.test reject", "for accept-early@one.test accept",
        "for tempfail-early@one.test tempfail", "for disconnect-early@one.test disconnect"]
    message = ["for discard@one.test discard", "for quarantine@one.test quarantine bait", "for reject@one.test reject",
        "for accept@one.test accept", "for tempfail@one.test tempfail", "for disconnect@one.test disconnect",
        "for refuse@one.test refuse refuse@one.test 553", "for drop@one.test drop drop@one.test",
        "for trap@one.test trap"]"#;

/// The local part at the first tenant, the reply that refuses the whole message if there is one, and the code for that
/// recipient alone where each has its own.
const WORDS: &[(&str, Option<u16>, u16)] = &[
    ("nothing", None, 250),
    ("accept", None, 250),
    ("accept-early", None, 250),
    ("discard", None, 250),
    ("discard-early", None, 250),
    ("drop", None, 250),
    ("quarantine", None, 250),
    ("reject", None, 550),
    ("reject-early", None, 550),
    ("refuse", None, 553),
    ("tempfail", Some(451), 451),
    ("tempfail-early", Some(451), 451),
    ("trap", Some(451), 451),
    ("disconnect", Some(421), 421),
    ("disconnect-early", Some(421), 421),
];

fn messages(server: &Server, address: &str) -> usize {
    let (local, domain) = address.split_once('@').unwrap();
    server.maildir(&format!("mail/{domain}/{local}")).messages().len()
}

#[test]
fn a_word_of_a_tenant_is_for_its_own_recipients() {
    let server = start(LISTENER, &[(ONE, VERDICTS), (TWO, r#"message = ["see"]"#), ("", r#"message = ["see"]"#)]);
    let mut aside = 0;
    for (local, whole, own) in WORDS {
        let theirs = format!("{local}@one.test");
        let (second, nobodys) = (format!("{local}@two.test"), format!("{local}@example.test"));
        let mut client = greeted(&server);
        client.begin("a@client.test", &[&nobodys, &theirs, &second]);
        let reply = client.ask("DATA");
        // What is said at DATA is said in place of 354.
        let early = reply.code != 354;
        let reply = if early {
            reply
        } else {
            client.content(CONTENT);
            client.reply()
        };
        assert_eq!(reply.code, whole.unwrap_or(250), "{local}: {reply}");
        assert_eq!(early, whole.is_some() && local.ends_with("early"), "{local}");
        if reply.code == 421 {
            client.expect_close();
        }
        let kept = whole.is_none();
        if kept {
            pillarbox_tests::until("all is delivered", || server.site().files("state/spool/queue").is_empty());
        }
        let delivered = kept && matches!(*local, "nothing" | "accept" | "accept-early");
        assert_eq!(messages(&server, &theirs), usize::from(delivered), "{local}");
        for other in [&second, &nobodys] {
            assert_eq!(messages(&server, other), usize::from(kept), "{local}: {other}");
        }
        aside += u64::from(*local == "quarantine");
        assert_eq!(server.status()["quarantined"], aside, "{local}");
        if kept && *own != 250 {
            server.log().event("recipient refused", &[("recipient", &theirs)]);
            server.log().event("sender is told", &[("recipient", &theirs), ("action", "failed")]);
        }

        // Where all are theirs, the word is for the message.
        let mut client = greeted(&server);
        client.begin("a@client.test", &[&theirs]);
        let mut reply = client.ask("DATA");
        if reply.code == 354 {
            client.content(CONTENT);
            reply = client.reply();
        }
        assert_eq!(reply.code, *own, "{local}: {reply}");
        aside += u64::from(*local == "quarantine");
        assert_eq!(server.status()["quarantined"], aside, "{local}");
    }
    assert_eq!(server.site().files("state/spool/incoming").len(), 0);
}

#[test]
fn in_lmtp_each_hears_its_own() {
    let lines = format!("protocol = \"lmtp\"\n{LISTENER}");
    let server = start(&lines, &[(ONE, VERDICTS), (TWO, r#"message = ["for b@two.test discard"]"#)]);
    for (local, whole, own) in WORDS {
        let mut client = server.client("edge");
        client.expect("LHLO client.example.test", "250 *");
        client.begin("a@client.test", &["b@two.test", &format!("{local}@one.test"), "c@example.test"]);
        let reply = client.ask("DATA");
        if reply.code != 354 {
            assert_eq!(Some(reply.code), *whole, "{local}: {reply}");
            continue;
        }
        client.content(CONTENT);
        let codes = [client.reply().code, client.reply().code, client.reply().code];
        match whole {
            Some(code) => assert_eq!(codes, [*code; 3], "{local}"),
            None => assert_eq!(codes, [250, *own, 250], "{local}"),
        }
        match whole {
            Some(421) => client.expect_close(),
            _ => drop(client.expect("NOOP", "250 *")),
        }
    }
}

/// A failure is no word about anybody: what `on-failure` says is for the message.
#[test]
fn a_failing_tenant_is_never_taken_for_one_that_refuses() {
    for (on_failure, code) in [("skip", 250), ("tempfail", 451), ("reject", 550), ("disconnect", 421)] {
        let table = format!("on-failure = \"{on_failure}\"");
        let script = r#"message = ["drop b@one.test", "trap"]"#;
        let server = with_tables(LISTENER, &[(ONE, &table, script)]);
        let reply = greeted(&server).submit("a@client.test", &["b@one.test", "c@example.test"], CONTENT);
        assert_eq!(reply.code, code, "{on_failure}: {reply}");
        if code == 250 {
            server.log().count(2, "delivered");
        }
        for address in ["b@one.test", "c@example.test"] {
            assert_eq!(messages(&server, address), usize::from(code == 250), "{on_failure}: {address}");
        }
    }
}

#[test]
fn accept_ends_the_asking_where_nobody_else_is_left() {
    let everybody = r#"message = ["see"]"#;
    let server =
        start(LISTENER, &[(ONE, r#"message = ["accept"]"#), (TWO, r#"message = ["discard"]"#), ("", everybody)]);
    let mut client = greeted(&server);
    client.deliver("only@client.test", &["b@one.test", "c@one.test"], CONTENT);
    client.deliver("both@client.test", &["b@one.test", "b@two.test", "c@sub.one.test"], CONTENT);
    said(&server, "sees both@client.test to b@one.test b@two.test c@sub.one.test");
    server.log().count(4, "delivered");
    assert_eq!(messages(&server, "b@two.test"), 0);
    let seen = |event: &pillarbox_tests::Event| event.field("text").contains("sees only@client.test");
    assert!(!server.log().events().iter().any(seen));
}

#[test]
fn a_tenant_sees_and_touches_its_own_alone() {
    let script = r#"
        recipient = ["for b@one.test sender x@one.test", "for b@one.test rewrite b@one.test x@example.test", "see"]
        data = ["see", "sender x@one.test", "drop c@example.test", "refuse b@two.test 550", "rewrite b@two.test x@one.test",
            "add x@example.test", "add X@Sub.One.Test", "rewrite b@one.test d@example.test", "see"]
        message = ["insert X-A 0 a", "rewrite b@one.test y@one.test"]"#;
    let server = start(LISTENER, &[(ONE, script)]);
    let mut client = greeted(&server);
    client.deliver("a@client.test", &["b@one.test", "c@example.test", "b@two.test"], CONTENT);
    server.log().count(4, "delivered");
    for address in ["c@example.test", "b@two.test", "y@one.test", "x@sub.one.test"] {
        assert_eq!(messages(&server, address), 1, "{address}");
    }
    for address in ["b@one.test", "x@one.test", "x@example.test", "d@example.test"] {
        assert_eq!(messages(&server, address), 0, "{address}");
    }
    let message = String::from_utf8(server.maildir("mail/one.test/y").only()).unwrap();
    assert!(message.starts_with("Return-Path: <a@client.test>\n") && !message.contains("X-A"), "{message}");
    for (step, why) in [
        ("recipient: sender x@one.test", "not granted"),
        ("recipient: rewrite b@one.test x@example.test", "not granted"),
        ("data: sender x@one.test", "not granted"),
        ("data: drop c@example.test", "not granted"),
        ("data: refuse b@two.test 550", "not granted"),
        ("data: rewrite b@two.test x@one.test", "not granted"),
        ("data: add x@example.test", "not granted"),
        ("data: add X@Sub.One.Test", "ok"),
        ("data: rewrite b@one.test d@example.test", "not granted"),
        ("message: insert X-A 0 a", "the message is for others, too"),
        ("message: rewrite b@one.test y@one.test", "ok"),
    ] {
        server.log().wait_for(step, |event| event.field("text").starts_with(step) && event.field("text").contains(why));
    }
    // It is not asked about others, and neither sees nor hears of them.
    let texts: Vec<String> = server.log().events().iter().map(|event| event.field("text").to_owned()).collect();
    assert!(texts.iter().any(|text| text == "sees a@client.test to b@one.test X@sub.one.test"), "{texts:?}");
    assert!(texts.iter().any(|text| text == "accepted for y@one.test X@sub.one.test"), "{texts:?}");
    let others = |text: &&String| text.starts_with("asked") || text.starts_with("sees") || text.starts_with("accepted");
    assert!(
        !texts.iter().filter(others).any(|text| text.contains("example.test") || text.contains("two.test")),
        "{texts:?}"
    );
    assert!(!texts.iter().any(|text| text.starts_with("asked at mail")), "{texts:?}");
    // Its message alone it may change whole.
    client.deliver("a@client.test", &["b@one.test"], CONTENT);
    pillarbox_tests::until("the message is delivered", || messages(&server, "y@one.test") == 2);
    let all = server.maildir("mail/one.test/y").messages();
    assert_eq!(all.iter().filter(|message| String::from_utf8_lossy(message).contains("\nX-A: a\n")).count(), 1);
}

#[test]
fn a_parameter_of_a_tenant_is_taken_with_any_recipient() {
    let server = start(LISTENER, &[(ONE, "parameter = \"XP\"\nrecipient = [\"see\"]"), (TWO, "recipient = [\"see\"]")]);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    for address in ["b@one.test", "b@two.test", "vip@example.test", "c@example.test"] {
        client.expect(&format!("RCPT TO:<{address}> XP=1"), "250 *");
    }
    client.expect("RCPT TO:<d@one.test> XQ=1", "555 *");
    // However they are spelled.
    for address in
        ["B@ONE.Test", "\"V\\IP\"@Example.TEST", "a@b.c.one.test", "vip@two.test", "vip@one.test.example.test"]
    {
        client.expect(&format!("RCPT TO:<{address}> XP=2"), "250 *");
    }
    client.quit();
    server.log().event("session ended", &[]);
    let events = server.log().events();
    let told: Vec<&str> =
        events.iter().map(|event| event.field("text")).filter(|text| text.contains(" has XP=1")).collect();
    assert_eq!(told, ["b@one.test has XP=1", "b@two.test has XP=1", "vip@example.test has XP=1"]);
    let told: Vec<&str> = events.iter().filter_map(|event| event.field("text").strip_suffix(" has XP=2")).collect();
    assert_eq!(told, ["B@one.test", "VIP@example.test", "a@b.c.one.test", "vip@two.test"]);
}

/// A guest with every hook there is, as a tenant.
fn prober(settings: &str) -> Site {
    Site::new(&configs::maildirs(&format!(
        "{LISTENER}\nauth.without-tls = true\n[[listener.edge.extension]]\nuse = \"probe\"\n{ONE}\n\
         grant.session = true\ngrant.identity = true\ngrant.context-read = true\ngrant.context-write = true\n\
         grant.authentication = true\ngrant.envelope-read = true\ngrant.message-read = true\ngrant.credentials = [\"PLAIN\", \"LOGIN\", \"XPROBE\"]\n\
         [extension.probe]\ncomponent = {:?}\n[extension.probe.settings]\n{settings}\n",
        guest("prober")
    )))
}

#[test]
fn a_tenant_has_no_word_about_the_session() {
    let site = prober("verb = \"\"\njudge = \"yes\"");
    site.run(&["check"]).exits(0).says("  recipient data message accepted  ");
    let server = site.start();
    let mut client = server.client("edge");
    assert!(!client.hello().says("AUTH"));
    client.deliver("a@client.test", &["b@example.test"], CONTENT);
    client.deliver("a@client.test", &["b@one.test"], CONTENT);
    client.quit();
    server.log().event("session ended", &[]);
    let events = server.log().events();
    let told: Vec<&str> = events.iter().map(|event| event.field("text")).filter(|text| !text.is_empty()).collect();
    assert_eq!(told, ["asked at recipient", "asked at data", "asked at message", "told of accepted"]);
    for (settings, what) in [
        ("", "declares a verb, which an entry with `recipients` cannot: it is asked about them alone"),
        (
            "verb = \"\"\nmechanisms = [\"XPROBE\"]",
            "declares a SASL mechanism, which an entry with `recipients` cannot",
        ),
        ("verb = \"\"\nparameter = \"XP\"", "declares a MAIL parameter, which an entry with `recipients` cannot"),
    ] {
        prober(settings).run(&["check"]).exits(65).says(what);
    }
    // And one whose hooks are all about the session would never be asked.
    let lookup = configs::maildirs(&format!(
        "{LISTENER}\n[[listener.edge.extension]]\nuse = \"lookup\"\n{ONE}\ngrant.session = true\ngrant.envelope-read = true\n\
         grant.dns = true\ngrant.metrics = true\ngrant.http = [\"127.0.0.1:1\"]\n[extension.lookup]\ncomponent = {:?}\n\
         [extension.lookup.settings]\nlists = [\"list.test\"]\n",
        guest("example-lookup")
    ));
    Site::new(&lookup).run(&["check"]).exits(65).says("has none of the hooks an entry with `recipients` is asked at");
}

#[test]
fn no_more_recipients_are_added_than_the_listener_takes() {
    let script = r#"data = ["add c@example.test", "add b@EXAMPLE.test", "add d@example.test", "drop b@example.test", "add d@example.test"]"#;
    let server = start("limits.recipients = 2", &[("", script)]);
    greeted(&server).deliver("a@client.test", &["b@example.test"], CONTENT);
    server.log().count(2, "delivered");
    said(&server, "data: add d@example.test: ");
    said(&server, "recipients: 2");
    for (local, count) in [("b", 0), ("c", 1), ("d", 1)] {
        assert_eq!(messages(&server, &format!("{local}@example.test")), count, "{local}");
    }
}

/// What comes later, at another hook or from another extension, is the last word.
#[test]
fn what_a_tenant_had_kept_aside_may_still_be_discarded_or_refused() {
    let keeper = r#"data = ["quarantine early"]
        message = ["for discard@one.test discard", "for reject@one.test reject", "for refuse@one.test refuse refuse@one.test 553",
            "for drop@one.test drop drop@one.test", "for b@one.test quarantine late"]"#;
    let everybody = r#"message = ["for nobody@example.test discard", "for no@example.test reject"]"#;
    let server = start(LISTENER, &[(ONE, keeper), ("", everybody)]);
    let mut client = greeted(&server);
    let mut aside = 0;
    for (theirs, other, code, keeps, delivers) in [
        ("b@one.test", "c@example.test", 250, true, true),
        ("discard@one.test", "c@example.test", 250, false, true),
        ("reject@one.test", "c@example.test", 250, false, true),
        ("refuse@one.test", "c@example.test", 250, false, true),
        ("drop@one.test", "c@example.test", 250, false, true),
        ("b@one.test", "nobody@example.test", 250, false, false),
        ("b@one.test", "no@example.test", 550, false, false),
    ] {
        let before = messages(&server, other);
        let reply = client.submit("a@client.test", &[theirs, other], CONTENT);
        assert_eq!(reply.code, code, "{theirs} {other}: {reply}");
        aside += u64::from(keeps);
        assert_eq!(server.status()["quarantined"], aside, "{theirs} {other}");
        pillarbox_tests::until("all is delivered", || server.site().files("state/spool/queue").is_empty());
        assert_eq!(messages(&server, other), before + usize::from(delivers), "{theirs} {other}");
        assert_eq!(messages(&server, theirs), 0);
    }
    server.log().event("message quarantined", &[("reason", "early"), ("hook", "data")]);
    assert!(!server.log().events().iter().any(|event| event.field("reason") == "late"));
}

/// Each tenant's copies are kept by its own reason, and the message is delivered to whoever is left.
#[test]
fn two_tenants_keep_aside_apart() {
    let server = start(
        LISTENER,
        &[
            (ONE, r#"message = ["quarantine one"]"#),
            (TWO, r#"message = ["for b@two.test quarantine two", "for c@two.test reject"]"#),
        ],
    );
    let mut client = greeted(&server);
    let id = client.deliver("a@client.test", &["b@one.test", "b@two.test", "c@example.test", "c@one.test"], CONTENT);
    server.log().event("delivered", &[("id", &id), ("recipient", "c@example.test")]);
    let kept = |reason: &str, id: &str| {
        let event = server.log().event("message quarantined", &[("reason", reason), ("original", id)]);
        let kept = event.field("id").to_owned();
        let raw = server.order(&["quarantine", "show", "--raw", &kept]).exits(0);
        assert!(raw.stdout.ends_with(CONTENT), "{raw}");
        kept
    };
    let (one, two) = (kept("one", &id), kept("two", &id));
    assert!(one != two && one != id && two != id, "{one} {two} {id}");
    server.order(&["quarantine", "show", &one]).exits(0).says("to <b@one.test> <c@one.test>\n");
    server.order(&["quarantine", "show", &two]).exits(0).says("to <b@two.test>\n");
    // With nobody to deliver to, one of the copies is the message itself.
    let id = client.deliver("a@client.test", &["b@one.test", "b@two.test"], CONTENT);
    let (one, two) = (kept("one", &id), kept("two", &id));
    assert!(one != two && (one == id) != (two == id), "{one} {two} {id}");
    assert_eq!(server.status()["quarantined"], 4);
    // Some are kept aside, the others refused: nobody is left whom the message was refused to.
    let reply = client.submit("a@client.test", &["b@one.test", "c@two.test"], CONTENT);
    assert_eq!(reply.code, 250, "{reply}");
    assert_eq!(server.status()["quarantined"], 5);
    pillarbox_tests::until("an empty queue", || server.site().files("state/spool/queue").is_empty());
}
