//! Grants narrowed to fields, names and patterns, and what a host function says to arguments that make no sense.

use super::{Probe, config, denials};
use pillarbox_tests::pattern::matches;
use pillarbox_tests::{Client, Server};

/// A grant, what is tried under it, and how that goes (`*` is any run).
struct Row {
    grants: &'static [(&'static str, &'static str)],
    tries: &'static [(&'static str, &'static str)],
}

const ROWS: &[Row] = &[
    Row {
        grants: &[("session", r#"["client"]"#)],
        tries: &[
            ("session.client", r#"ok Some("127.0.0.1")"#),
            ("session.helo", r#"ok Some("client.example.test")"#),
            // It needs no field.
            ("session.id", "ok 11"),
            ("session.peer", "denied"),
            ("session.listener", "denied"),
            ("session.destination", "denied"),
            ("session.tls", "denied"),
            ("session.authentication", "denied"),
            ("session.phase", "denied"),
        ],
    },
    Row { grants: &[("session", "[]")], tries: &[("session.id", "ok 11"), ("session.client", "denied")] },
    Row {
        grants: &[("session", r#"["peer", "phase", "tls", "destination"]"#)],
        tries: &[
            ("session.peer", r#"ok Some("127.0.0.1")"#),
            ("session.phase", "ok *"),
            ("session.tls", "ok false"),
            ("session.destination", r#"ok Some("127.0.0.1")"#),
            ("session.client", "denied"),
        ],
    },
    Row {
        grants: &[("identity", r#"["name", "port"]"#)],
        tries: &[
            ("identity.settable", "ok [*Port*Name*]"),
            ("identity.set-name gateway.example.test", "ok"),
            ("identity.set-port 25", "ok"),
            ("identity.set-addr 10.0.0.1", "denied"),
            ("identity.set-helo there", "denied"),
            ("identity.set-proto SMTP", "denied"),
            ("identity.set-login alice", "denied"),
            ("identity.set-destaddr 10.0.0.1", "denied"),
            ("identity.set-destport 25", "denied"),
        ],
    },
    Row {
        grants: &[("identity", "true"), ("authentication", "true")],
        tries: &[
            ("identity.set-addr nonsense", "invalid"),
            ("identity.set-addr 10.0.0.1/8", "invalid"),
            ("identity.set-addr 010.0.0.1", "invalid"),
            ("identity.set-name CRLF", "invalid"),
            ("identity.set-name EMPTY", "invalid"),
            ("identity.set-name LONG", "invalid"),
            ("identity.set-helo CRLF", "invalid"),
            ("identity.set-proto LMTP", "invalid"),
            ("identity.set-login CRLF", "invalid"),
        ],
    },
    // A login is a matter of `authentication` as well.
    Row {
        grants: &[("identity", "true"), ("authentication", "false")],
        tries: &[("identity.set-login alice", "denied"), ("authentication.allow alice", "denied")],
    },
    Row {
        grants: &[("identity", r#"["login"]"#), ("authentication", r#"["alice"]"#)],
        tries: &[
            ("identity.set-login alice", "ok"),
            ("identity.set-login bob", "denied"),
            ("identity.set-login Alice", "denied"),
            ("authentication.allow alice", "ok"),
            ("authentication.allow bob", "denied"),
            ("authentication.allow CRLF", "invalid"),
            ("authentication.allow EMPTY", "invalid"),
        ],
    },
    Row {
        grants: &[("context-read", r#"{ connection = ["ehlo_*"] }"#)],
        tries: &[
            ("context-read.get connection ehlo_domain", r#"ok Some("client.example.test")"#),
            ("context-read.get connection ehlo_nothing", "ok None"),
            ("context-read.get connection tenant", "denied"),
            ("context-read.get message mailfrom_string", "denied"),
            ("context-read.entries message", "ok []"),
            ("context-read.entries connection", r#"ok ["ehlo_domain=client.example.test", "ehlo_string=*"]"#),
        ],
    },
    Row {
        grants: &[("context-read", "[]")],
        tries: &[("context-read.get connection ehlo_domain", "denied"), ("context-read.entries connection", "ok []")],
    },
    Row {
        grants: &[("context-write", r#"{ message = ["policy_*"] }"#)],
        tries: &[
            ("context-write.set message policy_mark one", "ok"),
            ("context-write.set message policy one", "denied"),
            ("context-write.set connection policy_mark one", "denied"),
            ("context-write.unset message other", "denied"),
            ("context-write.unset message policy_mark", "ok"),
        ],
    },
    // The names the host keeps are covered by no wildcard at their front.
    Row {
        grants: &[("context-write", "true")],
        tries: &[
            ("context-write.set connection campaign one", "ok"),
            ("context-write.set connection authentic one", "ok"),
            ("context-write.set connection auth_user root", "denied"),
            ("context-write.set connection auth_status pass", "denied"),
            ("context-write.set connection tls on", "denied"),
            ("context-write.set connection tls_cipher none", "denied"),
            ("context-write.set connection ehlo_domain other", "denied"),
            ("context-write.set connection can_relay true", "denied"),
            ("context-write.set connection pathway internal", "denied"),
            ("context-write.set connection message_rcpt_count 7", "denied"),
            ("context-write.set message mailfrom_string other", "denied"),
            ("context-write.set message rcptto_domain other", "denied"),
            ("context-write.set connection __bypass_spf_v1 true", "denied"),
            ("context-write.unset connection ehlo_domain", "denied"),
        ],
    },
    Row {
        grants: &[("context-write", r#"["*", "a*", "*_user", "__*", "can_*", "path*"]"#)],
        tries: &[
            ("context-write.set connection auth_user root", "denied"),
            ("context-write.set connection __bypass_spf_v1 true", "denied"),
            ("context-write.set connection can_relay true", "denied"),
            ("context-write.set connection pathway internal", "denied"),
        ],
    },
    Row {
        grants: &[("context-write", r#"["auth_*", "can_relay", "__bypass_spf_*", "message_*_count"]"#)],
        tries: &[
            ("context-write.set connection auth_user root", "ok"),
            ("context-write.set connection can_relay true", "ok"),
            ("context-write.set connection __bypass_spf_v1 true", "ok"),
            ("context-write.set connection __bypass_dkim_v1 true", "denied"),
            ("context-write.set connection message_rcpt_count 7", "ok"),
        ],
    },
    // All or none, and nothing that could end a line.
    Row {
        grants: &[("context-write", r#"["good*"]"#)],
        tries: &[
            ("context-write.set-all connection good1=x bad=x", "denied"),
            ("context-write.set-all connection good1=x good-=x go\u{20}od=x", "denied"),
            ("context-read.get connection good1", "ok None"),
            ("context-write.set-all connection good1=x good2=y", "ok"),
            ("context-write.set connection good3 CRLF", "invalid"),
            ("context-write.set connection good3 NUL", "invalid"),
            ("context-write.set connection good3 C1", "invalid"),
            ("context-write.set connection good3 LONG", "limit"),
            ("context-write.set connection -good x", "invalid"),
            ("context-write.set connection good=3 x", "invalid"),
            ("context-write.set connection EMPTY x", "invalid"),
        ],
    },
    Row {
        grants: &[("context-write", "true")],
        tries: &[("context-write.fill message", "limit"), ("context-write.fill connection", "limit")],
    },
    // What needs no grant has its limits all the same.
    Row {
        grants: &[],
        tries: &[
            ("state.set connection a b", "ok"),
            ("state.set connection a LONG", "limit"),
            ("state.set message LONG b", "limit"),
            ("state.get connection nothing", "ok None"),
            ("advertise.hide OTHER", "invalid"),
            ("advertise.show PIPELINING", "invalid"),
            ("advertise.show XTRY CRLF", "invalid"),
            ("advertise.show XTRY LONG", "invalid"),
            ("advertise.show XTRY more", "ok"),
            ("declare.keyword XMORE", "unavailable"),
            ("message-read.size", "unavailable"),
            ("message-read.headers", "unavailable"),
            ("envelope-read.sender", "ok None"),
            ("envelope-read.recipients", "ok []"),
        ],
    },
];

#[test]
fn a_grant_gives_what_it_names() {
    let names: Vec<String> = (0..ROWS.len()).map(|row| format!("row{row}")).collect();
    let probes = ROWS.iter().zip(&names).map(|(row, name)| {
        Probe { name, grants: row.grants, listener: "context = { tenant = \"one\" }", ..Probe::default() }.config()
    });
    let server = Server::start(&config(&probes.collect::<String>()));
    let mut wrong = Vec::new();
    for (Row { grants, tries }, name) in ROWS.iter().zip(&names) {
        let mut denied = 0;
        for (tried, expected) in *tries {
            // In a session of its own: some of it changes who the client is.
            let mut client = server.client(name);
            client.hello();
            let went = super::attempt(&mut client, tried);
            if !matches(expected.as_bytes(), went.as_bytes()) {
                wrong.push(format!("{grants:?} {tried}: {went}, expected {expected}"));
            }
            denied += u64::from(*expected == "denied");
            client.expect("NOOP", "250 2.0.0 *");
            client.quit();
        }
        let counted: u64 = super::CAPABILITIES.iter().map(|capability| denials(&server, name, capability)).sum();
        if counted != denied {
            wrong.push(format!("{grants:?}: {counted} denials counted of {denied}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_an_extension_writes_changes_nothing_the_host_decides() {
    let granted = [("context-write", r#"["auth_*", "can_relay", "pathway", "*", "tls*", "ehlo_*"]"#)];
    let probe = Probe {
        name: "writes",
        grants: &granted,
        listener: "relay.authenticated = true\nrelay.hosts = [\"10.0.0.0/8\"]",
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("writes");
    client.hello();
    for name in ["auth_user", "auth_status", "can_relay", "tls", "ehlo_domain", "pathway"] {
        assert_eq!(super::attempt(&mut client, &format!("context-write.set connection {name} true")), "ok");
    }
    assert_eq!(super::attempt(&mut client, "session.authentication"), "ok None");
    assert_eq!(super::attempt(&mut client, "session.helo"), r#"ok Some("client.example.test")"#);
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.quit();
}

/// What a hook finds, in the lines of the refusal it answers.
fn found_at(hook: &str, client: &mut Client) -> Vec<String> {
    client.expect("EHLO there", "250 *");
    client.send("MAIL FROM:<a@example.test> SIZE=100\r\n");
    if hook != "mail" {
        client.expect_reply("250 2.1.0 *");
        client.send("RCPT TO:<b@example.test>\r\n");
        client.expect_reply("250 2.1.5 *");
        client.send("DATA\r\n");
        client.expect_reply("354 *");
        client.content("Subject: hello\r\nX-Secret: 1\r\nsubject: again\r\n\r\nthe needle in it\r\n");
    }
    let reply = client.expect_reply("550 5.7.1 *");
    reply.lines.iter().map(|line| line[10..].to_owned()).collect()
}

#[test]
fn hooks_see_what_is_granted_and_change_what_their_hook_may() {
    let names = ["all", "subject", "none", "mail"];
    let message = r#"message = ["message-read.size", "message-read.headers", "message-read.header-values SUBJECT", "message-read.header-values X-Secret", "message-read.read", "message-read.find needle", "message-read.find EMPTY", "envelope-read.sender", "envelope-read.recipients", "envelope-read.parameters", "identity.set-addr 10.0.0.1", "authentication.allow alice", "context-write.set message mark yes", "context-read.get message mark"]"#;
    let mail = r#"mail = ["envelope-read.sender", "message-read.size", "identity.set-addr 10.0.0.1", "authentication.allow alice", "state.set message a b", "context-write.set message mark yes"]"#;
    let grants: [&[(&str, &str)]; 4] = [&[], &[("message-read", r#"["subject"]"#)], &[("message-read", "[]")], &[]];
    let settings = [message, message, message, mail];
    let probes = (0..4).map(|probe| {
        Probe { name: names[probe], grants: grants[probe], settings: settings[probe], ..Probe::default() }.config()
    });
    let server = Server::start(&config(&probes.collect::<String>()));
    let shared = [
        (7, r#"envelope-read.sender: ok Some("a@example.test")"#),
        (8, r#"envelope-read.recipients: ok ["b@example.test"]"#),
        (9, "envelope-read.parameters: ok 1"),
        (10, "identity.set-addr 10.0.0.1: unavailable"),
        (11, "authentication.allow alice: unavailable"),
        (12, "context-write.set message mark yes: ok"),
        (13, r#"context-read.get message mark: ok Some("yes")"#),
    ];
    for (name, expected) in [
        (
            "all",
            [
                "message-read.size: ok 65",
                r#"message-read.headers: ok ["Subject", "X-Secret", "subject"]"#,
                "message-read.header-values SUBJECT: ok 2",
                "message-read.header-values X-Secret: ok 1",
                "message-read.read: ok 10",
                "message-read.find needle: ok true",
                "message-read.find EMPTY: invalid",
            ],
        ),
        (
            "subject",
            [
                "message-read.size: ok 65",
                r#"message-read.headers: ok ["Subject", "subject"]"#,
                "message-read.header-values SUBJECT: ok 2",
                "message-read.header-values X-Secret: denied",
                "message-read.read: denied",
                "message-read.find needle: denied",
                "message-read.find EMPTY: *",
            ],
        ),
        (
            "none",
            [
                "message-read.size: ok 65",
                "message-read.headers: ok []",
                "message-read.header-values SUBJECT: denied",
                "message-read.header-values X-Secret: denied",
                "message-read.read: denied",
                "message-read.find needle: denied",
                "message-read.find EMPTY: *",
            ],
        ),
    ] {
        let mut client = server.client(name);
        let found = found_at("message", &mut client);
        let expected = expected.iter().enumerate().map(|(at, line)| (at, *line)).chain(shared);
        for (at, line) in expected {
            assert!(matches(line.as_bytes(), found[at].as_bytes()), "{name}: {}, expected {line}", found[at]);
        }
        client.quit();
    }
    let mut client = server.client("mail");
    let found = found_at("mail", &mut client);
    assert_eq!(
        found,
        [
            r#"envelope-read.sender: ok Some("a@example.test")"#,
            "message-read.size: unavailable",
            "identity.set-addr 10.0.0.1: unavailable",
            "authentication.allow alice: unavailable",
            "state.set message a b: ok",
            "context-write.set message mark yes: ok",
        ]
    );
    client.quit();
}

#[test]
fn there_is_no_session_in_init_and_nothing_to_change_at_the_end() {
    let tries = r#"["session.client", "session.id", "context-read.get connection a", "context-write.set connection a b", "state.set connection a b", "authentication.allow alice", "identity.set-addr 10.0.0.1", "envelope-read.sender", "message-read.size", "advertise.show XTRY"]"#;
    let init = format!("init = {tries}");
    let site =
        pillarbox_tests::Site::new(&config(&Probe { name: "early", settings: &init, ..Probe::default() }.config()));
    let check = site.run(&["check"]);
    assert_ne!(check.code, Some(0));
    assert_eq!(check.stderr.matches(": unavailable").count(), 10, "{check}");

    let late = format!("accepted = {tries}, disconnect = {tries}");
    let server = Server::start(&config(&Probe { name: "late", settings: &late, ..Probe::default() }.config()));
    let mut client = server.client("late");
    client.hello();
    client.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
    client.quit();
    for hook in ["accepted", "disconnect"] {
        server.log().event("extension", &[("text", &format!("told of {hook}"))]);
    }
    server.log().count(1, "session ended");
    let results: Vec<String> = server
        .log()
        .events()
        .iter()
        .map(|event| event.field("text").to_owned())
        .filter(|text| text.starts_with("session.client: "))
        .collect();
    assert_eq!(results.len(), 2, "{results:?}");
    for result in results {
        for tried in ["context-write.set connection a b", "authentication.allow alice", "identity.set-addr 10.0.0.1"] {
            assert!(result.contains(&format!("{tried}: unavailable")), "{result}");
        }
        // Facts there are to the last.
        assert!(result.contains(r#"session.client: ok Some("127.0.0.1")"#), "{result}");
    }
}

#[test]
fn a_failed_call_takes_back_what_it_staged_and_remembers() {
    let server = Server::start(&config(
        &(Probe { name: "probe", listener: "relay.authenticated = true", ..Probe::default() }.config()
            + &super::gateway("probe")),
    ));
    let mut client = server.client("probe");
    client.hello();
    super::attempt(&mut client, "state.set connection kept old");
    let staged = "state.set connection kept longer; state.set connection lost x; context-write.set connection lost x; \
                  identity.set-addr 10.0.0.1; authentication.allow mallory; advertise.hide XTRY; panic";
    client.expect(&format!("XTRY {staged}"), "451 4.3.0 *");
    assert_eq!(super::attempt(&mut client, "state.get connection kept"), "ok Some(3)");
    assert_eq!(super::attempt(&mut client, "state.get connection lost"), "ok None");
    assert_eq!(super::attempt(&mut client, "session.client"), r#"ok Some("127.0.0.1")"#);
    assert_eq!(super::attempt(&mut client, "session.authentication"), "ok None");
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete").to_string();
    assert!(!dump.contains("lost") && !dump.contains("auth_"), "{dump}");
    assert!(client.hello().says("XTRY"));
    client.quit();
}
