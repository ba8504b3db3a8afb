//! What no compiler would write: core modules that misuse the machine itself, at every hook.
//!
//! A fault is a function in WAT; a component is one hook that calls it. The faults of well-formed guests are in `super`,
//! and random modules are asked in the host's own tests.

use super::budgets::resident;
use super::{Case, LOGINS, QUIET, config, failures, listener_at, log_in};
use pillarbox_tests::{Client, PATIENCE, Server, Site, repository};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The ways into a guest: name, interface, function, and the parameters and the result of its core function. Where there
/// are two ways into a hook, the one that is taken first.
const ENTRIES: [(&str, &str, &str, usize, bool); 12] = [
    ("connect", "connect", "connect", 0, true),
    ("hello", "hello", "hello", 4, true),
    ("command", "command", "begin", 4, true),
    ("authenticate", "authenticate", "begin", 5, true),
    ("password", "verify", "password", 7, true),
    ("lookup", "verify", "lookup", 2, true),
    ("mail", "mail", "mail", 4, true),
    ("recipient", "recipient", "recipient", 4, true),
    ("data", "data", "data", 0, true),
    ("message", "message", "message", 0, true),
    ("accepted", "accepted", "accepted", 2, false),
    ("disconnect", "disconnect", "disconnect", 0, false),
];

/// The other functions of these interfaces, which must be there and are not asked.
const OTHERS: [(&str, &str, usize); 4] =
    [("command", "resume", 4), ("authenticate", "resume", 4), ("password", "lookup", 2), ("lookup", "password", 7)];

/// What is done, what it is counted as, and how.
struct Fault<'a> {
    act: &'static str,
    kind: &'static str,
    /// More of the extension's limits.
    limits: &'static str,
    /// The body of a function without parameters.
    body: &'static str,
    /// What the hook returns, where it comes to that: a place in memory.
    answer: Option<&'static str>,
    /// Data and other fields.
    fields: &'a str,
}

const PLAIN: Fault<'static> = Fault { act: "", kind: "trap", limits: "", body: "", answer: None, fields: "" };
const ROOMY: &str = "limits = { memory = \"200MiB\", cpu = \"2s\", wall = \"20s\" }";

const FAULTS: [Fault<'static>; 14] = [
    Fault {
        act: "grow-memory",
        kind: "memory",
        body: "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        ..PLAIN
    },
    Fault {
        // At once all there is; then by the thousand until there is no more.
        act: "grow-table",
        kind: "tables",
        body: "(if (i32.ne (table.grow $t (ref.null func) (i32.const -1)) (i32.const -1)) (then (loop (br 0))))
               (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
               unreachable",
        fields: "(table $t 1 funcref)",
        ..PLAIN
    },
    Fault { act: "recursion", body: "call $fault call $fault", ..PLAIN },
    Fault {
        // A copy is not interrupted in its middle: the cap of memory bounds it.
        act: "copy",
        kind: "cpu",
        body: "(drop (memory.grow (i32.const 200)))
               (loop (memory.copy (i32.const 0) (i32.const 4194304) (i32.const 8388608)) (br 0))",
        ..PLAIN
    },
    Fault {
        act: "fill",
        kind: "cpu",
        body: "(drop (memory.grow (i32.const 200)))
               (loop (memory.fill (i32.const 0) (i32.const 7) (i32.const 12582912)) (br 0))",
        ..PLAIN
    },
    Fault {
        act: "vectors",
        kind: "cpu",
        body: "(local $v v128)
               (loop (local.set $v (f64x2.sqrt (f64x2.div (local.get $v) (v128.const f64x2 3 0)))) (br 0))",
        ..PLAIN
    },
    Fault { act: "text-from-nowhere", body: "(call $log (i32.const 2) (i32.const -16) (i32.const 100))", ..PLAIN },
    Fault {
        act: "text-that-is-none",
        body: "(call $log (i32.const 2) (i32.const 1024) (i32.const 4))",
        fields: "(data (i32.const 1024) \"\\ff\\fe\\c0\\80\")",
        ..PLAIN
    },
    Fault { act: "level-that-is-none", body: "(call $log (i32.const 77) (i32.const 0) (i32.const 4))", ..PLAIN },
    Fault {
        // 128 MiB of a text that is there.
        act: "long-text",
        kind: "host-bytes",
        limits: ROOMY,
        body: "(drop (memory.grow (i32.const 2100))) (call $log (i32.const 2) (i32.const 0) (i32.const 134217728))",
        ..PLAIN
    },
    Fault {
        // Ten million entries of sixteen octets, all of them empty.
        act: "long-list",
        kind: "host-bytes",
        limits: ROOMY,
        body: "(drop (memory.grow (i32.const 2600)))
               (call $set (i32.const 0) (i32.const 65536) (i32.const 10000000) (i32.const 0))",
        ..PLAIN
    },
    Fault {
        // Four thousand entries, each with the same sixty thousand octets.
        act: "list-of-the-same",
        kind: "host-bytes",
        body: "(local $i i32)
               (drop (memory.grow (i32.const 4)))
               (local.set $i (i32.const 131072))
               (loop
                 (i32.store offset=12 (local.get $i) (i32.const 60000))
                 (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (i32.const 195072))))
               (call $set (i32.const 0) (i32.const 131072) (i32.const 4000) (i32.const 0))",
        ..PLAIN
    },
    Fault {
        act: "flood",
        kind: "host-calls",
        body: "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 4)) (br 0))",
        ..PLAIN
    },
    Fault { act: "answer-from-nowhere", kind: "answer", answer: Some("-16"), ..PLAIN },
];

/// Words of 32 bits, and where they stand in memory.
type Words = [(u32, &'static [u32])];

/// Answers of hooks that decide: what they are counted as, and words in memory at their places. The decision is at 2048.
const ANSWERS: [(&str, &str, &Words); 4] = [
    ("no-such-verdict", "answer", &[(2048, &[255])]),
    // Four octets that are no text.
    ("text-of-no-text", "answer", &[(2048, &rejection(2304, 1)), (2304, &[2560, 4]), (2560, &[0x80c0_feff])]),
    // One line of four gigabytes.
    ("line-from-nowhere", "answer", &[(2048, &rejection(2304, 1)), (2304, &[2560, u32::MAX])]),
    // A hundred thousand empty lines.
    ("many-lines", "host-bytes", &[(2048, &rejection(131_072, 100_000))]),
];

/// `reject` with 550, no enhanced code, and these lines.
const fn rejection(lines: u32, count: u32) -> [u32; 9] {
    [3, 1, 550, 0, 0, 0, lines, count, 0]
}

/// Words in memory.
fn data(places: &[(u32, &[u32])]) -> String {
    let place = |(at, words): &(u32, &[u32])| {
        let octets: String =
            words.iter().flat_map(|word| word.to_le_bytes()).map(|octet| format!("\\{octet:02x}")).collect();
        format!("(data (i32.const {at}) \"{octets}\")\n")
    };
    places.iter().map(place).collect()
}

/// The component with this fault at this entry.
fn component(entry: &str, fault: &Fault<'_>) -> Vec<u8> {
    let (_, interface, function, parameters, returns) = entry_of(entry);
    let word = match interface {
        "command" => {
            r#"(call $verb (i32.const 512) (i32.const 8) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 768))"#
        }
        "authenticate" => "(call $mechanism (i32.const 512) (i32.const 8) (i32.const 768))",
        _ => "",
    };
    let hook = |function: &str, parameters: usize, returns: bool, body: &str| {
        let parameters = "(param i32)".repeat(parameters);
        let result = if returns { "(result i32)" } else { "" };
        format!("(func (export \"pillarbox:extension/{interface}@0.1.0#{function}\") {parameters} {result} {body})\n")
    };
    let body = match (returns, fault.answer) {
        (true, answer) => format!("(call $fault) (i32.const {})", answer.unwrap_or("0")),
        (false, _) => "(call $fault)".to_owned(),
    };
    let mut hooks = hook(function, parameters, returns, &body);
    for (_, function, parameters) in OTHERS.iter().filter(|(of, ..)| *of == entry) {
        hooks += &hook(function, *parameters, true, "unreachable");
    }
    let Fault { body, fields, .. } = fault;
    let module = wat::parse_str(format!(
        r#"(module
          (import "pillarbox:extension/log@0.1.0" "log" (func $log (param i32 i32 i32)))
          (import "pillarbox:extension/context-write@0.1.0" "set-all" (func $set (param i32 i32 i32 i32)))
          (import "pillarbox:extension/declare@0.1.0" "verb" (func $verb (param i32 i32 i32 i32 i32 i32 i32)))
          (import "pillarbox:extension/declare@0.1.0" "mechanism" (func $mechanism (param i32 i32 i32)))
          (memory (export "memory") 2)
          (data (i32.const 512) "XHOSTILE")
          {fields}
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536)
          (func (export "pillarbox:extension/lifecycle@0.1.0#init") (result i32) {word} i32.const 0)
          (func $fault {body})
          {hooks})"#
    ));
    encoded(interface, module.unwrap_or_else(|error| panic!("{entry} {}: {error}", fault.act)))
}

fn entry_of(entry: &str) -> (&'static str, &'static str, &'static str, usize, bool) {
    *ENTRIES.iter().find(|(name, ..)| *name == entry).expect("an entry")
}

/// A component of this hook from a core module.
fn encoded(hook: &str, mut module: Vec<u8>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(repository().join("wit")).unwrap();
    let text = format!(
        "package test:guest; world guest {{
         import pillarbox:extension/log@0.1.0; import pillarbox:extension/context-write@0.1.0;
         import pillarbox:extension/declare@0.1.0;
         export pillarbox:extension/lifecycle@0.1.0; export pillarbox:extension/{hook}@0.1.0; }}"
    );
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// The extension of a case, whose component is `NAME.wasm`.
fn extension(case: &Case, limits: &str) -> String {
    let (name, on_failure) = (case.name(), case.on_failure);
    listener_at(&name, case.at)
        + &format!("\n[extension.\"{name}\"]\ncomponent = \"{name}.wasm\"\non-failure = \"{on_failure}\"\n{limits}\n")
}

/// Everything at every hook, on one server.
#[test]
fn every_fault_at_every_hook() {
    let memory: Vec<String> = ANSWERS.iter().map(|(_, _, places)| data(places)).collect();
    let answers: Vec<Fault<'_>> = ANSWERS
        .iter()
        .zip(&memory)
        .map(|(&(act, kind, _), fields)| Fault {
            act,
            kind,
            fields,
            body: "(drop (memory.grow (i32.const 14)))",
            answer: Some("2048"),
            ..PLAIN
        })
        .collect();
    let site = Site::new("");
    let (mut cases, mut text) = (Vec::new(), String::new());
    for (at, _, _, _, returns) in ENTRIES {
        let decides = super::DECIDING.contains(&at);
        let tried = FAULTS.iter().filter(|fault| returns || fault.answer.is_none());
        for fault in tried.chain(answers.iter().filter(|_| decides)) {
            let case = Case { at, act: fault.act, on_failure: "tempfail", kind: fault.kind };
            site.write(&format!("{}.wasm", case.name()), component(at, fault));
            text += &extension(&case, fault.limits);
            cases.push(case);
        }
    }
    // Room for the few that are granted much.
    let text =
        config(&(text + QUIET)).replace("state-dir = \"state\"", "state-dir = \"state\"\ninstances.memory = \"1GiB\"");
    site.configure(&text);
    let server = site.start();
    let before = resident(&server, "VmRSS");
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (broken, beside) = thread::scope(|scope| {
        let beside = scope.spawn(|| beside(&server, &over));
        let players: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut broken = Vec::new();
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = Instant::now();
                        if catch_unwind(AssertUnwindSafe(|| case.play(&server))).is_err() {
                            broken.push(case.name());
                        }
                        // The budget is far smaller; the rest is the machine's.
                        if began.elapsed() > PATIENCE / 2 {
                            broken.push(format!("{} took {:?}", case.name(), began.elapsed()));
                        }
                    }
                    broken
                })
            })
            .collect();
        let broken: Vec<String> = players.into_iter().flat_map(|player| player.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        (broken, beside.join().unwrap())
    });
    assert!(broken.is_empty(), "these did not go as they should: {broken:?}");
    assert!(beside < Duration::from_secs(2), "somebody else waited {beside:?}");
    // All of them, and the one beside.
    server.log().count(cases.len() + 1, "session ended");

    let failures = failures(&server);
    let events = server.log().events();
    for case in &cases {
        case.counted(&failures);
        let (name, hook) = (case.name(), entry_of(case.at).1);
        let failed: Vec<_> =
            events.iter().filter(|event| event.is("extension failed") && event.field("listener") == name).collect();
        assert!(!failed.is_empty(), "{name} is not in the log");
        for event in failed {
            assert_eq!((event.field("hook"), event.field("kind")), (hook, case.kind), "{name}");
        }
        // `limits.log-lines` is 50.
        let logged = events.iter().filter(|event| event.is("extension") && event.field("listener") == name).count();
        assert!(logged <= 50, "{name} logged {logged} lines");
    }
    gone(&server);
    let after = resident(&server, "VmRSS");
    assert!(after < before + 128 * 1024, "{before} KiB before, {after} KiB after");
    server.client("quiet").quit();
}

/// Somebody on another listener, and what they waited at the longest.
fn beside(server: &Server, over: &AtomicBool) -> Duration {
    let mut client = server.client("quiet");
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.expect("NOOP", "250 2.0.0 *");
        longest = longest.max(began.elapsed());
    }
    client.quit();
    longest
}

/// Insists that no instance and no session is left.
#[track_caller]
fn gone(server: &Server) {
    let gone = || {
        let status = server.status();
        let left = |list: &str, field: &str| -> u64 {
            status[list].as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
        };
        left("extensions", "instances") == 0 && left("listeners", "sessions") == 0
    };
    pillarbox_tests::until("no instance and no session is left", gone);
}

/// Says what leads to a hook and its command, but does not wait for the answer.
fn lead(server: &Server, listener: &str, at: &str) -> Client {
    let mut client = Client::dial(server.address(listener), None);
    if at == "connect" {
        return client;
    }
    client.expect_reply("220 *");
    if at == "hello" {
        client.send("EHLO there\r\n");
        return client;
    }
    client.expect("EHLO there", "250 *");
    if LOGINS.contains(&at) {
        log_in(&mut client, at);
        return client;
    }
    if at == "command" {
        client.send("XHOSTILE\r\n");
        return client;
    }
    let steps = [
        ("mail", "MAIL FROM:<a@example.test>", "250 *"),
        ("recipient", "RCPT TO:<b@example.test>", "250 *"),
        ("data", "DATA", "354 *"),
    ];
    for (hook, command, reply) in steps {
        if at == hook {
            client.send(format!("{command}\r\n"));
            return client;
        }
        client.expect(command, reply);
    }
    client.content("Subject: hello\r\n\r\ntext\r\n");
    if at == "disconnect" {
        client.expect_reply("250 *");
        client.send("QUIT\r\n");
    }
    client
}

#[test]
fn a_peer_that_leaves_at_any_hook_leaves_nothing_behind() {
    let fault = Fault { act: "loop", kind: "cpu", body: "(loop (br 0))", ..PLAIN };
    let limits = "limits = { cpu = \"200ms\", wall = \"5s\" }";
    let site = Site::new("");
    let mut text = String::new();
    for (at, ..) in ENTRIES {
        let case = Case { at, act: fault.act, on_failure: "tempfail", kind: fault.kind };
        site.write(&format!("{}.wasm", case.name()), component(at, &fault));
        text += &extension(&case, limits);
    }
    site.configure(&config(&(text + QUIET)));
    let server = site.start();
    for (at, ..) in ENTRIES {
        for _ in 0..2 {
            drop(lead(&server, &format!("{at}.loop.tempfail"), at));
        }
    }
    server.log().count(ENTRIES.len() * 2, "session ended");
    gone(&server);
    let panics = server.log().events().iter().filter(|event| event.is("panic")).count();
    assert_eq!(panics, 0);
    server.client("quiet").quit();
}

#[test]
fn what_one_session_leaves_in_memory_no_other_finds() {
    // Each XHOSTILE answers with one more in its place: 250, no enhanced code, one line of one letter.
    let memory = data(&[(2048, &[0, 250, 0, 0, 0, 2304, 1]), (2304, &[2560, 1]), (2560, &[0x61])]);
    let fault = Fault {
        act: "count",
        body: "(i32.store8 (i32.const 2560) (i32.add (i32.load8_u (i32.const 2560)) (i32.const 1)))",
        answer: Some("2048"),
        fields: &memory,
        ..PLAIN
    };
    let case = Case { at: "command", act: fault.act, on_failure: "tempfail", kind: "" };
    let site = Site::new("");
    site.write(&format!("{}.wasm", case.name()), component("command", &fault));
    site.configure(&config(&extension(&case, "")).replace(
        "state-dir = \"state\"",
        // One after the other they sit in the same seat.
        "state-dir = \"state\"\ninstances.count = 1",
    ));
    let server = site.start();
    for _ in 0..5 {
        let mut client = server.client(&case.name());
        client.expect("EHLO there", "250 *");
        client.expect("XHOSTILE", "250 b");
        client.expect("XHOSTILE", "250 c");
        client.quit();
    }
}
