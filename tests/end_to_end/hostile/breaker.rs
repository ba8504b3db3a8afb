//! An extension that keeps failing is left alone, and what it says of itself when it fails can be read and believed.

use super::{QUIET, config, extension, failures, listener};
use pillarbox_tests::{Event, Server};

/// Three failures open it, for longer than a test takes.
const QUICK: &str = r#"breaker = { failures = 3, within = "60s", pause = "30s" }"#;
/// Left alone, it is left alone at every hook: what happens to MAIL is what is looked at.
const AT_MAIL: &str = r#"on-failure = { default = "skip", mail = "tempfail" }"#;

/// Asks for a transaction so many times, in a session for each.
#[track_caller]
fn ask(server: &Server, listener: &str, times: usize, expected: &str) {
    for _ in 0..times {
        let mut client = server.client(listener);
        client.hello();
        client.expect("MAIL FROM:<a@example.test>", expected);
        client.quit();
    }
}

/// What `status` says of the extension with this name.
fn status(server: &Server, name: &str) -> serde_json::Value {
    let status = server.status();
    let mut extensions = status["extensions"].as_array().unwrap().iter();
    extensions.find(|extension| extension["name"] == name).unwrap().clone()
}

#[test]
fn what_keeps_failing_is_left_alone() {
    let text = config(
        &(listener("broken", "broken", "")
            + &extension("broken", "mail", "panic", &format!("{AT_MAIL}\n{QUICK}"))
            + &listener("passed", "passed", "")
            + &extension("passed", "mail", "panic", &format!("on-failure = \"skip\"\n{QUICK}"))
            + QUIET),
    );
    let server = Server::start(&text);
    ask(&server, "broken", 2, "451 4.3.0 *");
    assert_eq!(status(&server, "broken")["breaker"], "closed");
    ask(&server, "broken", 8, "451 4.3.0 *");
    ask(&server, "passed", 10, "250 2.1.0 *");
    for name in ["broken", "passed"] {
        let now = status(&server, name);
        assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"open".into(), &1.into()), "{now}");
        assert!(now["breaker_until"].as_str().unwrap().ends_with('Z'), "{now}");
        // Each session had one call of `mail`, and of no other hook.
        let counted = &failures(&server)[&(name.to_owned(), name.to_owned())];
        let trapped = counted.iter().find(|(kind, _)| kind == "trap").unwrap().1;
        assert_eq!(trapped, 3, "{counted:?}");
        assert!(counted.iter().any(|(kind, count)| kind == "breaker" && *count >= 7), "{counted:?}");
        // The log does not repeat what the breaker spares.
        let events = server.log().events();
        let of = |message: &str| {
            let said = |event: &&Event| event.is(message) && event.field("extension") == name;
            events.iter().filter(said).count()
        };
        assert_eq!((of("extension failed"), of("extension keeps failing, it is left alone")), (3, 1));
    }
    server.client("quiet").quit();

    // A reload that changes nothing of it changes nothing; with anything changed it begins anew.
    server.reload().exits(0);
    assert_eq!(status(&server, "broken")["breaker"], "open");
    server.reconfigure(&text.replace("at = \"mail\", act = \"panic\"", "at = \"mail\", act = \"none\"")).exits(0);
    assert_eq!(status(&server, "broken")["breaker"], "closed");
    ask(&server, "broken", 1, "250 2.1.0 *");
}

#[test]
fn one_call_decides_when_the_pause_is_over() {
    let quick = r#"breaker = { failures = 1, pause = "100ms", longest-pause = "200ms" }"#;
    let server = Server::start(&config(
        &(listener("broken", "broken", "") + &extension("broken", "mail", "panic", &format!("{AT_MAIL}\n{quick}"))),
    ));
    let opened = "extension keeps failing, it is left alone";
    ask(&server, "broken", 1, "451 4.3.0 *");
    let mut times = 1;
    while status(&server, "broken")["breaker_opened"] != 3 {
        times += 1;
        ask(&server, "broken", 1, "451 4.3.0 *");
        assert!(times < 10_000, "it is never tried again");
    }
    server.log().count(3, opened);
}

#[test]
fn a_session_has_budgets_of_its_own() {
    let calls = listener("calls", "calls", "limits.junk-commands = 0")
        + &extension("calls", "mail", "one-call", "limits.session.host-calls = 100\nbreaker.failures = 1");
    let computing = listener("cpu", "cpu", "")
        + &extension("cpu", "mail", "slow", "limits = { cpu = \"5s\", session.cpu = \"500ms\" }");
    let server = Server::start(&config(&(calls + &computing)));
    for (name, kind) in [("calls", "session-host-calls"), ("cpu", "session-cpu")] {
        let mut client = server.client(name);
        client.hello();
        let spent = (0..2_000).any(|_| {
            let reply = client.ask("MAIL FROM:<a@example.test>").to_string();
            client.ask("RSET");
            reply.starts_with("451 4.3.0")
        });
        assert!(spent, "{name} goes on for ever");
        // It stays used up, in this session and in no other.
        client.expect("MAIL FROM:<a@example.test>", "451 4.3.0 *");
        client.quit();
        ask(&server, name, 1, "250 2.1.0 *");
        let kinds: Vec<_> = failures(&server)[&(name.to_owned(), name.to_owned())].clone();
        assert!(kinds.iter().all(|(counted, _)| counted == kind), "{kinds:?}");
    }
    assert_eq!(status(&server, "calls")["breaker"], "closed");
}

#[test]
fn a_failure_tells_where_it_was() {
    let acts = ["panic", "panic-at-length", "panic-forged", "unreachable"];
    let text: String = acts.iter().map(|act| listener(act, act, "") + &extension(act, "mail", act, "")).collect();
    let server = Server::start(&config(&text));
    let failed = |act: &str| {
        ask(&server, act, 1, "451 4.3.0 *");
        server.log().event("extension failed", &[("extension", act)])
    };
    let plain = failed("panic");
    assert_eq!(plain.field("panic"), "on purpose");
    assert!(plain.field("at").contains("src/harm.rs:"), "{plain:?}");
    assert_eq!(plain.field("frames"), "");
    let long = failed("panic-at-length");
    assert!(long.field("panic").starts_with("one") && long.field("panic").len() < 300, "{long:?}");
    // It is the guest's word: only where it was built is left out.
    let forged = failed("panic-forged");
    assert_eq!((forged.field("panic"), forged.field("at")), ("not\nso", "forged/src/lib.rs:1:1"));
    let silent = failed("unreachable");
    assert_eq!((silent.field("panic"), silent.field("at")), ("", ""));
    assert!(!silent.field("frames").is_empty(), "{silent:?}");
    for line in server.log().lines() {
        assert!(!line.contains(['\u{1b}', '\u{2028}', '\u{202e}', '\r']), "a guest reached the terminal: {line}");
    }
}

#[test]
fn on_failure_is_said_by_hook() {
    let by_hook = r#"on-failure = { default = "reject", mail = "skip", recipient = "disconnect" }"#;
    let text: String = ["hello", "mail", "recipient"]
        .iter()
        .map(|at| listener(at, at, "") + &extension(at, at, "panic", by_hook))
        .collect();
    let server = Server::start(&config(&text));
    server.client("hello").expect("EHLO there", "550 5.7.1 *");
    ask(&server, "mail", 1, "250 2.1.0 *");
    let mut client = server.client("recipient");
    client.hello();
    client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
    client.expect("RCPT TO:<b@example.test>", "421 4.3.0 *");
    client.expect_close();
}

#[test]
fn floods_from_many_sessions_are_cut_and_counted() {
    let text = listener("flood", "flood", "")
        + &extension("flood", "mail", "log-flood", "limits = { log-lines = 2000, log-rate = 3, cpu = \"5s\" }");
    let server = Server::start(&config(&text));
    ask(&server, "flood", 2, "250 2.1.0 *");
    server.log().event("extension logs too fast, lines were dropped", &[("extension", "flood")]);
    let lines = server.log().events().iter().filter(|event| event.field("text").starts_with("flood ")).count();
    // Ten seconds' worth at once, and what more seconds than this takes would bring.
    assert!((30..200).contains(&lines), "{lines} lines");
}
