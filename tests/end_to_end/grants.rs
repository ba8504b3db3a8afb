//! What a listener grants is what an extension can do there, no more and no less; and `peers` says for whom it is there at
//! all.
//!
//! The component is `tests/components/prober`: it tries what it is told to, by its verb or at a hook, and answers how that
//! went. It imports what is about the session; `reach` has what lies beyond.

mod credentials;
mod narrowed;
mod peers;

use pillarbox_tests::pattern::matches;
use pillarbox_tests::{Client, Server, Site};

/// What `prober` imports.
const CAPABILITIES: [&str; 7] =
    ["session", "identity", "authentication", "context-read", "context-write", "envelope-read", "message-read"];

/// `prober` on a listener of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Probe<'a> {
    /// The listener's name, and the extension's.
    name: &'a str,
    /// Grants that are not `true`; an empty value leaves one out.
    grants: &'a [(&'a str, &'a str)],
    /// More lines of the entry.
    entry: &'a str,
    /// Its settings.
    settings: &'a str,
    /// More lines of the listener.
    listener: &'a str,
}

impl Probe<'_> {
    fn config(&self) -> String {
        let Probe { name, settings, listener, .. } = self;
        let address = if listener.contains("address") { "" } else { "address = [\"127.0.0.1:0\"]" };
        format!(
            r#"
[listener.{name}]
{address}
relay.domains = ["example.test"]
{listener}
{}
[extension.{name}]
component = "../../../target/guests/prober.wasm"
settings = {{ {settings} }}
"#,
            self.entry_of(name)
        )
    }

    /// The entry alone, for a listener that has others.
    fn entry_of(&self, listener: &str) -> String {
        let Probe { name, entry, .. } = self;
        let granted = CAPABILITIES.map(|capability| {
            let written = self.grants.iter().find(|(written, _)| *written == capability);
            match written.map_or("true", |(_, value)| value) {
                "" => String::new(),
                value => format!("grant.{capability} = {value}\n"),
            }
        });
        let granted = granted.concat();
        format!("\n[[listener.{listener}.extension]]\nuse = \"{name}\"\n{entry}\n{granted}")
    }
}

fn config(listeners: &str) -> String {
    format!(
        r#"{listeners}
[server]
hostname = "mx.example.test"
state-dir = "state"

[extension.xclient]
component = "builtin:xclient"

[extension.xremoteip]
component = "builtin:xremoteip"

[extension.xdumpcontext]
component = "builtin:xdumpcontext"

[[route]]
to = "maildir:mail/{{domain}}/{{local}}"
create = true
"#
    )
}

/// XCLIENT, XREMOTEIP and XDUMPCONTEXT for everybody, whatever the client is.
fn gateway(listener: &str) -> String {
    format!(
        r#"
[[listener.{listener}.extension]]
use = "xclient"
trust = "peer"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = ["addr", "port", "name", "helo", "proto", "login", "destaddr", "destport"]
grant.authentication = true

[[listener.{listener}.extension]]
use = "xremoteip"
trust = "peer"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = ["addr"]

[[listener.{listener}.extension]]
use = "xdumpcontext"
trust = "peer"
peers = ["127.0.0.0/8"]
grant.context-read = true
"#
    )
}

/// Tries one thing by the verb, and says how it went.
#[track_caller]
fn attempt(client: &mut Client, attempt: &str) -> String {
    let reply = client.expect(&format!("XTRY {attempt}"), "250 2.0.0 *");
    let line = reply.lines[0].strip_prefix("250 2.0.0 ").unwrap_or(&reply.lines[0]);
    let result = line.strip_prefix(attempt).and_then(|rest| rest.strip_prefix(": "));
    result.unwrap_or_else(|| client.fail("not the attempt that was made")).to_owned()
}

/// Denials counted for an extension on a listener of the same name.
fn denials(server: &Server, name: &str, of: &str) -> u64 {
    let status = server.status();
    let extensions = status["extensions"].as_array().unwrap();
    let found = extensions.iter().find(|extension| extension["name"] == name && extension["listener"] == name);
    found.expect("the extension")["denials"][of].as_u64().unwrap_or(0)
}

#[test]
fn one_component_behaves_on_each_listener_by_its_grant_there() {
    let text = Probe { name: "wide", listener: "context = { tenant = \"one\" }", ..Probe::default() }.config()
        + r#"
[listener.narrow]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
context = { tenant = "two" }
"# + &Probe {
        name: "wide",
        grants: &[
            ("session", "[\"listener\"]"),
            ("identity", "false"),
            ("context-read", "{ connection = [\"tenant\"] }"),
            ("context-write", "false"),
        ],
        ..Probe::default()
    }
    .entry_of("narrow")
        + r#"
[listener.without]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
"#;
    let server = Server::start(&config(&text));
    for (tried, wide, narrow) in [
        ("session.listener", r#"ok "wide""#, r#"ok "narrow""#),
        ("session.peer", r#"ok Some("127.0.0.1")"#, "denied"),
        ("context-read.get connection tenant", r#"ok Some("one")"#, r#"ok Some("two")"#),
        ("context-read.get connection ehlo_domain", r#"ok Some("client.example.test")"#, "denied"),
        ("context-write.set connection mark here", "ok", "denied"),
        ("identity.settable", "ok [*Addr*Destport]", "denied"),
    ] {
        for (listener, expected) in [("wide", wide), ("narrow", narrow)] {
            let mut client = server.client(listener);
            assert!(client.hello().says("XTRY"));
            let went = attempt(&mut client, tried);
            assert!(matches(expected.as_bytes(), went.as_bytes()), "{tried} on {listener}: {went}");
            client.quit();
        }
    }
    let mut without = server.client("without");
    assert!(!without.hello().says("XTRY"));
    without.expect("XTRY session.listener", "500 5.5.2 *");

    // Grants are logged once, a line for each listener and extension.
    for (listener, grants) in [
        ("wide", "session, identity, context-read, context-write, authentication, envelope-read, message-read"),
        (
            "narrow",
            "session [listener], identity denied, context-read connection [tenant] message [], context-write denied, \
             authentication, envelope-read, message-read",
        ),
    ] {
        let event = server.log().event("granted", &[("listener", listener), ("extension", "wide")]);
        assert_eq!(event.field("grants"), grants);
    }
    assert_eq!(server.log().events().iter().filter(|event| event.is("granted")).count(), 2);
}

#[test]
fn what_is_not_granted_is_refused_with_the_line_that_would_grant_it() {
    let nothing = CAPABILITIES.map(|capability| (capability, ""));
    let probe = Probe { name: "probe", grants: &nothing, ..Probe::default() };
    let site = Site::new(&config(&probe.config()));
    let check = site.run(&["check"]);
    assert_ne!(check.code, Some(0), "{check}");
    let lines = proposed(&check.stderr);
    let capabilities: Vec<&str> = lines.iter().map(|line| line.split([' ', '.']).nth(1).unwrap_or_default()).collect();
    let mut expected = CAPABILITIES.to_vec();
    expected.sort_unstable();
    let mut said = capabilities.clone();
    said.sort_unstable();
    assert_eq!(said, expected, "{check}");
    assert!(
        check.stderr.contains("extension `probe` needs `session`, which listener `probe` does not grant"),
        "{check}"
    );

    // One after the other, each line takes its own message away.
    for count in 1..=lines.len() {
        site.configure(&config(&granted(&probe.config(), &lines[..count])));
        let check = site.run(&["check"]);
        match count == lines.len() {
            true => _ = check.exits(0),
            false => assert_eq!(proposed(&check.stderr), lines[count..], "{check}"),
        }
    }
    let server = site.start();
    let mut client = server.client("probe");
    client.hello();
    // What was proposed is as narrow as the imports tell, and enough for every function.
    for tried in
        ["session.client", "session.phase", "identity.settable", "envelope-read.sender", "authentication.allow a"]
    {
        assert!(attempt(&mut client, tried).starts_with("ok"), "{tried}");
    }
}

#[test]
fn a_proposed_line_fits_to_what_is_granted_already() {
    // Whoever may not say who is authenticated cannot be granted `login` either.
    let grants = [("identity", ""), ("authentication", "false")];
    let probe = Probe { name: "probe", grants: &grants, ..Probe::default() };
    let site = Site::new(&config(&probe.config()));
    let lines = proposed(&site.run(&["check"]).stderr);
    assert_eq!(lines.len(), 1, "{lines:?}");
    site.configure(&config(&granted(&probe.config(), &lines)));
    site.run(&["check"]).exits(0);
}

#[test]
fn capabilities_of_a_later_version_can_be_done_without() {
    let listener = r#"
[listener.greedy]
address = ["127.0.0.1:0"]

[[listener.greedy.extension]]
use = "greedy"

[extension.greedy]
component = "../../../target/guests/greedy.wasm"
"#;
    let site = Site::new(&config(listener));
    let check = site.run(&["check"]);
    let mut lines = proposed(&check.stderr);
    lines.sort_unstable();
    let said =
        ["grant.clock = true", "grant.dns = { types = [\"a\"] }", "grant.kv = [\"greedy/\"]", "grant.random = true"];
    assert_eq!(lines, said, "{check}");
    let lines = ["clock", "dns", "kv", "random"].map(|capability| format!("grant.{capability} = false"));
    // A store is granted by namespace.
    site.configure(&config(&listener.replace("use = \"greedy\"", "use = \"greedy\"\ngrant.kv = true")));
    let check = site.run(&["check"]);
    assert_ne!(check.code, Some(0));

    site.configure(&config(&listener.replace("use = \"greedy\"", &format!("use = \"greedy\"\n{}", lines.join("\n")))));
    let server = site.start();
    let mut client = server.client("greedy");
    client.hello();
    let reply = client.ask("XGREEDY");
    for what in ["clock", "dns", "kv", "random"] {
        assert!(reply.says(&format!("2.0.0 {what} denied")), "{reply}");
        assert_eq!(denials(&server, "greedy", what), 1);
    }
    client.quit();
}

/// The lines of TOML in `help` that grant something.
fn proposed(said: &str) -> Vec<String> {
    said.lines().map(str::trim).filter(|line| line.starts_with("grant.")).map(str::to_owned).collect()
}

/// The configuration with these lines added to its one entry.
fn granted(config: &str, lines: &[String]) -> String {
    config.replacen("use = \"probe\"", &format!("use = \"probe\"\n{}", lines.join("\n")), 1)
}

#[test]
fn a_denial_is_an_answer_and_is_counted() {
    let grants = CAPABILITIES.map(|capability| (capability, "false"));
    let probe = Probe {
        name: "denied",
        grants: &grants,
        settings: r#"verdicts = ["connect=reject", "hello=reject", "mail=reject", "recipient=reject", "message=reject"]"#,
        listener: &(String::from("relay.authenticated = true") + "\n"),
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("denied");
    client.hello();
    for (tried, capability) in [
        ("session.id", "session"),
        ("session.client", "session"),
        ("identity.settable", "identity"),
        ("identity.set-addr 10.0.0.1", "identity"),
        ("identity.set-login mallory", "identity"),
        ("authentication.allow mallory", "authentication"),
        ("authentication.forbid", "authentication"),
        ("context-read.get connection ehlo_domain", "context-read"),
        ("context-read.entries connection", "context-read"),
        ("context-write.set connection a b", "context-write"),
        ("context-write.unset connection a", "context-write"),
        ("envelope-read.sender", "envelope-read"),
        ("message-read.size", "message-read"),
        ("message-read.find text", "message-read"),
    ] {
        let before = denials(&server, "denied", capability);
        assert_eq!(attempt(&mut client, tried), "denied", "{tried}");
        assert_eq!(denials(&server, "denied", capability), before + 1, "{tried}");
        // Nor do hooks happen that would need it, nor did anything come of the attempt.
        client.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
        client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
        client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
        client.expect("RSET", "250 *");
    }
    let denied = server.log().event("denied", &[("capability", "identity"), ("extension", "denied")]);
    assert_eq!(denied.field("listener"), "denied");
    assert!(!denied.field("session").is_empty());
    client.quit();
    // Needs no capability.
    server.log().event("extension", &[("text", "told of disconnect")]);
    assert!(server.log().events().iter().all(|event| !event.field("text").starts_with("asked at")));
}

#[test]
fn denials_do_not_flood_the_log() {
    // As many attempts as a line can hold, a denial each; the log keeps a call's share of lines and says so.
    let probe = Probe {
        name: "denied",
        grants: &[("context-write", "false")],
        settings: r#"hello = ["context-write.flood"]"#,
        ..Probe::default()
    };
    let server = Server::start(&config(&probe.config()));
    let mut client = server.client("denied");
    client.expect("EHLO there", "550 5.7.1 context-write.flood: denied 5000");
    client.quit();
    server.log().count(1, "session ended");
    assert_eq!(denials(&server, "denied", "context-write"), 5000);
    let denied = server.log().events().iter().filter(|event| event.is("denied")).count();
    assert_eq!(denied, 10);
    server.log().count(1, "more denials, those of this call are counted only");
    let lines = server.log().lines().len();
    assert!(lines < 50, "{lines} lines for one call");
}

/// What a hook says, and what the peer gets of it.
const VERDICTS: [(&str, &str, &str); 9] = [
    ("connect", "reject", "554 5.7.1 *"),
    ("connect", "tempfail", "421 4.7.0 *"),
    ("hello", "reject", "550 5.7.1 *"),
    ("mail", "tempfail", "451 4.7.1 *"),
    ("mail", "disconnect", "421 4.7.0 *"),
    ("recipient", "reject", "550 5.7.1 *"),
    ("data", "reject", "550 5.7.1 *"),
    ("message", "tempfail", "451 4.7.1 *"),
    ("message", "reject", "550 5.7.1 *"),
];

#[test]
fn a_verdict_outside_the_grant_is_taken_as_next() {
    let name = |hook: &str, verdict: &str, granted: &str| format!("{hook}-{verdict}-{granted}");
    let mut listeners = String::new();
    for (hook, verdict, _) in VERDICTS {
        let all = ["tempfail", "reject", "disconnect", "accept", "discard"];
        let others: Vec<&str> = all.into_iter().filter(|other| *other != verdict).collect();
        let others = format!("verdict = [\"{}\"]", others.join("\", \""));
        for (granted, entry) in [("free", ""), ("bound", &*others), ("mute", "verdict = []")] {
            let settings = format!("verdicts = [\"{hook}={verdict}\"]");
            let name = name(hook, verdict, granted);
            listeners += &Probe { name: &name, entry, settings: &settings, ..Probe::default() }.config();
        }
    }
    let server = Server::start(&config(&listeners));
    for (hook, verdict, refusal) in VERDICTS {
        for granted in ["bound", "mute"] {
            let name = name(hook, verdict, granted);
            let mut client = server.client(&name);
            client.hello();
            client.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
            client.quit();
            let event = server.log().event("verdict not granted, taken as next", &[("listener", &name)]);
            assert_eq!((event.field("hook"), event.field("verdict")), (hook, verdict));
            assert_eq!(denials(&server, &name, "verdict"), 1, "{name}");
        }
        let name = name(hook, verdict, "free");
        let mut client = Client::dial(server.address(&name), None);
        for (step, command, well) in [
            ("connect", "", "220 *"),
            ("hello", "EHLO there\r\n", "250 *"),
            ("mail", "MAIL FROM:<a@example.test>\r\n", "250 2.1.0 *"),
            ("recipient", "RCPT TO:<b@example.test>\r\n", "250 2.1.5 *"),
            ("data", "DATA\r\n", "354 *"),
            ("message", "Subject: hello\r\n\r\ntext\r\n.\r\n", "250 2.0.0 *"),
        ] {
            client.send(command);
            if step == hook {
                client.expect_reply(refusal);
                break;
            }
            client.expect_reply(well);
        }
        assert_eq!(denials(&server, &name, "verdict"), 0, "{name}");
    }
}

#[test]
fn discard_must_be_granted_and_then_delivers_nothing() {
    let probe = |name, entry, hook: &str| {
        let settings = format!("verdicts = [\"{hook}=discard\"]");
        Probe { name, entry, settings: &settings, ..Probe::default() }.config()
    };
    let granted = "verdict = [\"discard\"]";
    let server = Server::start(&config(
        &(probe("outside", "", "message")
            + &probe("mail", granted, "mail")
            + &probe("recipient", granted, "recipient")
            + &probe("data", granted, "data")
            + &probe("message", granted, "message")
            + &Probe { name: "quarantine", settings: "verdicts = [\"message=quarantine\"]", ..Probe::default() }
                .config()),
    ));
    for name in ["mail", "recipient", "data", "message"] {
        let mut client = server.client(name);
        client.hello();
        // The peer does not see it.
        client.deliver("a@example.test", &[&format!("{name}@example.test")], "Subject: hello\r\n\r\ntext\r\n");
        client.quit();
        assert_eq!(denials(&server, name, "verdict"), 0);
    }
    // What cannot be granted yet is outside every grant.
    for name in ["outside", "quarantine"] {
        let mut client = server.client(name);
        client.hello();
        client.deliver("a@example.test", &[&format!("{name}@example.test")], "Subject: hello\r\n\r\ntext\r\n");
        client.quit();
        server.log().event("delivered", &[("recipient", &format!("{name}@example.test"))]);
        assert_eq!(denials(&server, name, "verdict"), 1);
    }
    for name in ["mail", "recipient", "data", "message"] {
        assert!(server.maildir(&format!("mail/example.test/{name}")).messages().is_empty(), "{name}");
    }
}

#[test]
fn accept_ends_the_asking_of_extensions_and_nothing_else() {
    let strict =
        Probe { name: "strict", settings: "verdicts = [\"mail=reject\", \"recipient=reject\"]", ..Probe::default() };
    let kind = |entry| Probe {
        name: "kind",
        entry,
        settings: "verb = \"XKIND\", verdicts = [\"mail=accept\", \"recipient=accept\"]",
        ..Probe::default()
    };
    let listeners = |name: &str, entry| {
        format!("[listener.{name}]\naddress = [\"127.0.0.1:0\"]\nrelay.domains = [\"example.test\"]\n")
            + &kind(entry).entry_of(name)
            + &strict.entry_of(name)
    };
    let definitions = r#"
[extension.kind]
component = "../../../target/guests/prober.wasm"
settings = { verb = "XKIND", verdicts = ["mail=accept", "recipient=accept"] }

[extension.strict]
component = "../../../target/guests/prober.wasm"
settings = { verdicts = ["mail=reject", "recipient=reject"] }
"#;
    let accepts = listeners("accepts", "verdict = [\"accept\"]") + &listeners("cannot", "") + definitions;
    let server = Server::start(&config(&accepts));
    let mut client = server.client("accepts");
    client.hello();
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
    // The host's own checks stand.
    client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1 *");
    client.quit();
    let mut client = server.client("cannot");
    client.hello();
    client.expect("MAIL FROM:<a@example.test>", "550 5.7.1 *");
    client.quit();
}
