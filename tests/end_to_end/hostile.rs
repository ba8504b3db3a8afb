//! Components that misbehave: whatever one does, at whatever hook, its session gets a clear reply, what it staged is gone,
//! and nobody else notices.
//!
//! The component is `tests/components/hostile`, which misbehaves as its settings say. Here a case is a listener of its own
//! with one such extension, and one server has many.

mod breaker;
mod budgets;
mod load;
mod raw;

use crate::configs::listeners as config;
use pillarbox_tests::{Client, Event, Server};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The hooks; `command` is asked in two ways.
const HOOKS: [&str; 10] =
    ["connect", "hello", "command", "resume", "mail", "recipient", "data", "message", "accepted", "disconnect"];
/// The hooks that are asked about logins, each in its two ways.
const LOGINS: [&str; 4] = ["authenticate", "respond", "password", "lookup"];
/// The hooks whose answer is a verdict.
const DECIDING: [&str; 6] = ["connect", "hello", "mail", "recipient", "data", "message"];

/// What can be done to a call, and the kind of failure it is counted as.
const HARM: [(&str, &str); 12] = [
    ("panic", "trap"),
    ("unreachable", "trap"),
    ("recursion", "trap"),
    ("loop", "cpu"),
    ("memory", "memory"),
    ("host-calls", "host-calls"),
    ("edits", "edits"),
    ("host-bytes", "host-bytes"),
    ("host-bytes-log", "host-bytes"),
    ("host-bytes-at-once", "host-bytes"),
    ("stage-then-panic", "trap"),
    ("stage-then-loop", "cpu"),
];

/// Replies that no verdict and no verb may have.
const REPLIES: [&str; 17] = [
    "code-999",
    "code-0",
    "code-65535",
    "line-feed",
    "crlf",
    "carriage-return",
    "nul",
    "escape",
    "eight-bit",
    "megabyte",
    "long-line",
    "many-lines",
    "no-line",
    "enhanced-word",
    "enhanced-class",
    "enhanced-line-feed",
    "enhanced-long",
];

/// One extension on a listener of its own, which has its name.
#[derive(Clone, Debug)]
struct Case {
    at: &'static str,
    act: &'static str,
    on_failure: &'static str,
    /// What it is counted as.
    kind: &'static str,
}

impl Case {
    fn name(&self) -> String {
        format!("{}.{}.{}", self.at, self.act, self.on_failure)
    }

    fn config(&self) -> String {
        let (name, at, act, on_failure) = (self.name(), self.at, self.act, self.on_failure);
        listener_at(&name, at) + &extension(&name, at, act, &format!("on-failure = \"{on_failure}\""))
    }

    /// What the peer hears at the hook itself, if it hears anything.
    fn reply(&self) -> &'static str {
        match (self.on_failure, self.at) {
            ("skip", "command" | "resume") => "451 4.3.0 *",
            // Nobody else speaks the mechanism; and what cannot be told now is no wrong password.
            ("tempfail" | "skip", "authenticate" | "respond") => "454 4.7.0 *",
            ("tempfail" | "disconnect", "password" | "lookup") => "454 4.7.0 *",
            ("reject", "authenticate" | "respond") | ("reject" | "skip", "password") => "535 5.7.8 *",
            ("skip", _) => "",
            ("tempfail", "connect") | ("disconnect", _) => "421 4.3.0 *",
            ("tempfail", _) => "451 4.3.0 *",
            ("reject", "connect") => "554 5.7.1 *",
            ("reject", _) => "550 5.7.1 *",
            other => panic!("no such case: {other:?}"),
        }
    }

    /// Plays the one conversation that leads past every hook, with the failure in its place.
    fn play(&self, server: &Server) {
        let mut client = Client::dial(server.address(&self.name()), None);
        let reply = self.reply();
        let closes = reply.starts_with("421");
        // The reply where the failure is, and whether the conversation ends with it.
        let fails = |client: &mut Client, hook: &str, well: &str| -> bool {
            if self.at != hook || reply.is_empty() {
                client.expect_reply(well);
                return false;
            }
            client.expect_reply(reply);
            if closes {
                client.expect_close();
            }
            true
        };
        if fails(&mut client, "connect", "220 mx.example.test *") {
            if !closes {
                client.expect("NOOP", "503 5.7.0 *");
                client.expect("EHLO there", "503 5.7.0 *");
                client.quit();
            }
            return;
        }
        client.send("EHLO there\r\n");
        if fails(&mut client, "hello", "250 *") {
            if !closes {
                client.expect("MAIL FROM:<a@example.test>", "503 5.5.1 *");
                unharmed(client);
            }
            return;
        }
        if LOGINS.contains(&self.at) {
            log_in(&mut client, self.at);
            if fails(&mut client, self.at, "535 5.7.8 *") && closes {
                return;
            }
        }
        if matches!(self.at, "command" | "resume") {
            client.send("XHOSTILE\r\n");
            if self.at == "resume" {
                client.expect_reply("354 go on");
                client.send("a line\r\n");
            }
            if fails(&mut client, self.at, "250 2.0.0 done") && closes {
                return;
            }
        }
        client.send("MAIL FROM:<a@example.test>\r\n");
        if fails(&mut client, "mail", "250 2.1.0 *") {
            if !closes {
                client.expect("RCPT TO:<b@example.test>", "503 5.5.1 *");
                unharmed(client);
            }
            return;
        }
        client.send("RCPT TO:<b@example.test>\r\n");
        if fails(&mut client, "recipient", "250 2.1.5 *") {
            if !closes {
                client.expect("DATA", "554 5.5.1 *");
                unharmed(client);
            }
            return;
        }
        client.send("DATA\r\n");
        if fails(&mut client, "data", "354 *") {
            if !closes {
                unharmed(client);
            }
            return;
        }
        client.content("Subject: hello\r\n\r\ntext\r\n");
        if fails(&mut client, "message", "250 2.0.0 OK *") && closes {
            return;
        }
        unharmed(client);
    }

    /// The server's own account of it.
    #[track_caller]
    fn counted(&self, failures: &BTreeMap<(String, String), Vec<(String, u64)>>) {
        let name = self.name();
        let counted = failures.get(&(name.clone(), name.clone())).cloned().unwrap_or_default();
        let kinds: Vec<&str> = counted.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, [self.kind], "the failures of {name}");
    }
}

/// Says what leads to the hook, but not what comes back.
fn log_in(client: &mut Client, at: &str) {
    match at {
        "authenticate" => client.send("AUTH XHOSTILE eA==\r\n"),
        "respond" => {
            client.expect("AUTH XHOSTILE", "334*");
            client.send("eA==\r\n");
        }
        // The user `a` with the password `b`.
        "password" => client.send("AUTH PLAIN AGEAYg==\r\n"),
        // `n,,n=a,r=abc`
        _ => client.send("AUTH SCRAM-SHA-256 biwsbj1hLHI9YWJj\r\n"),
    }
}

/// The session goes on, and nothing that was staged by the call that failed is there.
#[track_caller]
fn unharmed(mut client: Client) {
    client.expect("NOOP", "250 2.0.0 *");
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let text = dump.to_string();
    for gone in ["staged", "mallory", "10.0.0.1", "auth_status pass", "can_relay"] {
        assert!(!text.contains(gone), "{gone} is left\n{text}");
    }
    client.quit();
}

/// A listener with one extension that is granted what `hostile` imports, and with XDUMPCONTEXT.
fn listener(name: &str, extension: &str, more: &str) -> String {
    format!(
        r#"
[listener."{name}"]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
{more}
[[listener."{name}".extension]]
use = "{extension}"
grant.session = true
grant.identity = ["addr"]
grant.authentication = true
grant.context-write = true
grant.envelope-read = true
grant.message-read = true

[[listener."{name}".extension]]
use = "xdumpcontext"
grant.context-read = true
"#
    )
}

/// The same, with what it takes to be asked at this hook.
fn listener_at(name: &str, at: &str) -> String {
    match LOGINS.contains(&at) {
        true => listener(name, name, "auth.without-tls = true").replacen(
            "grant.session",
            "grant.credentials = true\ngrant.session",
            1,
        ),
        false => listener(name, name, ""),
    }
}

/// A listener without a hostile extension.
const QUIET: &str = r#"
[listener.quiet]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
limits.junk-commands = 0

[[listener.quiet.extension]]
use = "xdumpcontext"
grant.context-read = true
"#;

/// `hostile` under a name of its own, called however often it fails, unless `more` says when it is not.
fn extension(name: &str, at: &str, act: &str, more: &str) -> String {
    let breaker = if more.contains("breaker") { "" } else { "breaker = false" };
    format!(
        r#"
[extension."{name}"]
component = "../../../target/guests/hostile.wasm"
settings = {{ at = "{at}", act = "{act}" }}
{breaker}
{more}
"#
    )
}

/// Serves all cases at once, plays each, and lists those that did not go as they should.
#[track_caller]
fn play(cases: &[Case]) {
    let listeners: String = cases.iter().map(Case::config).collect();
    let server = Server::start(&config(&(listeners + QUIET)));
    let next = AtomicUsize::new(0);
    let broken: Vec<String> = thread::scope(|scope| {
        let players: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut broken = Vec::new();
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if catch_unwind(AssertUnwindSafe(|| case.play(&server))).is_err() {
                            broken.push(case.name());
                        }
                    }
                    broken
                })
            })
            .collect();
        players.into_iter().flat_map(|player| player.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "these did not go as they should: {broken:?}");
    // `disconnect` is asked when the session is over: all of them are, when the log says so.
    server.log().count(cases.len(), "session ended");
    let failures = failures(&server);
    for case in cases {
        case.counted(&failures);
    }
    server.client("quiet").quit();
}

/// Failures by extension and listener.
fn failures(server: &Server) -> BTreeMap<(String, String), Vec<(String, u64)>> {
    let status = server.status();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let of = |extension: &serde_json::Value| {
        let kinds = extension["failures"].as_object().unwrap().iter();
        let kinds = kinds.map(|(kind, count)| (kind.clone(), count.as_u64().unwrap())).collect();
        ((text(&extension["name"]), text(&extension["listener"])), kinds)
    };
    status["extensions"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn every_harm_at_every_hook() {
    let mut cases = Vec::new();
    for at in HOOKS.into_iter().chain(LOGINS) {
        cases.extend(HARM.map(|(act, kind)| Case { at, act, on_failure: "tempfail", kind }));
    }
    play(&cases);
}

#[test]
fn on_failure_speaks_for_the_extension() {
    let mut cases = Vec::new();
    for at in HOOKS {
        for on_failure in ["skip", "reject", "disconnect"] {
            cases.push(Case { at, act: "stage-then-panic", on_failure, kind: "trap" });
            // A bad answer does not stop the guest, and is a failure all the same.
            if DECIDING.contains(&at) {
                cases.push(Case { at, act: "line-feed", on_failure, kind: "answer" });
            }
        }
    }
    for on_failure in ["skip", "reject", "disconnect"] {
        for at in ["authenticate", "respond", "password"] {
            cases.push(Case { at, act: "stage-then-panic", on_failure, kind: "trap" });
            cases.push(Case {
                at,
                act: if at == "password" { "verifier" } else { "line-feed" },
                on_failure,
                kind: "answer",
            });
        }
    }
    // What follows a look-up that is refused is the server's own business.
    cases.push(Case { at: "lookup", act: "stage-then-panic", on_failure: "disconnect", kind: "trap" });
    play(&cases);
}

#[test]
fn answers_that_cannot_be_used() {
    let case = |at, act| {
        // So much does not even cross.
        let kind = if act == "megabyte" { "host-bytes" } else { "answer" };
        Case { at, act, on_failure: "tempfail", kind }
    };
    let mut cases = Vec::new();
    for at in DECIDING {
        cases.extend(REPLIES.map(|act| case(at, act)));
        cases.extend(["code-250", "tempfail-550", "reject-450", "disconnect-450"].map(|act| case(at, act)));
    }
    for at in ["command", "resume"] {
        cases.extend(REPLIES.map(|act| case(at, act)));
        cases.extend(["done-354", "more-250", "more-state", "close-250", "close-450"].map(|act| case(at, act)));
    }
    for at in ["authenticate", "respond"] {
        cases.extend(REPLIES.map(|act| case(at, act)));
        cases.extend(["code-250", "failure-450", "challenge-large", "state-large"].map(|act| case(at, act)));
        cases.extend(["user-empty", "user-long", "user-control", "data-large"].map(|act| case(at, act)));
    }
    cases.extend(["yes-empty", "yes-long", "yes-control", "verifier"].map(|act| case("password", act)));
    cases.extend(["yes", "salt-empty", "salt-long", "iterations-few"].map(|act| case("lookup", act)));
    cases.extend(["iterations-many", "key-short", "key-long"].map(|act| case("lookup", act)));
    // At connect, 421 is the only way to say "not now".
    cases.push(case("connect", "tempfail-450"));
    // Verdicts that are not in the hook's column.
    cases.extend(["connect", "hello"].map(|at| case(at, "discard")));
    cases.extend(["connect", "hello", "recipient"].map(|at| case(at, "quarantine")));
    play(&cases);
}

#[test]
fn what_is_borne_is_no_failure() {
    // A refused `memory.grow` is an answer, a flood is cut, and a line is one line.
    let acts = ["memory-grow", "log-flood", "log-control"];
    let hooks = HOOKS.iter().chain(LOGINS.iter().filter(|at| **at != "lookup"));
    let cases: Vec<(String, &str, &str)> =
        hooks.flat_map(|at| acts.map(|act| (format!("{at}-{act}"), *at, act))).collect();
    let listeners: String =
        cases.iter().map(|(name, at, act)| listener_at(name, at) + &extension(name, at, act, "")).collect();
    let server = Server::start(&config(&listeners));
    for (name, at, _) in &cases {
        let mut client = server.client(name);
        client.expect("EHLO there", "250 *");
        match *at {
            "command" => _ = client.expect("XHOSTILE", "250 2.0.0 done"),
            "resume" => {
                client.expect("XHOSTILE", "354 go on");
                client.expect("a line", "250 2.0.0 done");
            }
            at if LOGINS.contains(&at) => {
                log_in(&mut client, at);
                client.expect_reply("535 5.7.8 *");
            }
            _ => {}
        }
        client.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
        unharmed(client);
    }
    server.log().count(cases.len(), "session ended");
    assert!(failures(&server).values().all(Vec::is_empty), "{:?}", failures(&server));

    let events = server.log().events();
    let logged = |name: &str, begins: &str| {
        let of = |event: &&Event| event.field("listener") == name && event.field("text").starts_with(begins);
        events.iter().filter(of).count()
    };
    for (name, ..) in cases.iter().filter(|(_, _, act)| *act == "log-flood") {
        // `limits.log-lines` is 50, and that there were more is said once.
        assert_eq!(logged(name, "flood "), 50, "{name}");
        let more = |event: &&Event| event.message.contains("logs too much") && event.field("listener") == name;
        assert_eq!(events.iter().filter(more).count(), 1, "{name}");
    }
    for (name, ..) in cases.iter().filter(|(_, _, act)| *act == "log-control") {
        assert_eq!(logged(name, "one"), 1, "{name}");
    }
    for line in server.log().lines() {
        assert!(!line.starts_with("2026-01-01"), "a guest forged a line: {line}");
        assert!(!line.contains(['\u{1b}', '\u{2028}']), "a guest reached the terminal: {line}");
    }
}
