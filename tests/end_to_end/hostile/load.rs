//! What is no extension is refused before it serves anybody: by `check`, at the start and by a reload, with a message that
//! names the extension and points at its line.

use super::{QUIET, config, extension, listener};
use pillarbox_tests::{Site, guest};
use std::fs;
use std::thread;

/// A file that is no extension, and what is said of it.
struct Junk {
    name: &'static str,
    octets: Vec<u8>,
    says: &'static str,
}

/// A life cycle that does nothing: eight zero octets in memory are `ok`.
const LIFECYCLE: &str = r#"
(core module $m
  (memory (export "memory") 1)
  (func (export "init") (result i32) i32.const 0)
  (func (export "number") (result i32) i32.const 7))
(core instance $i (instantiate $m))
(func $init (result (result (error string))) (canon lift (core func $i "init") (memory (core memory $i "memory"))))
(instance $lifecycle (export "init" (func $init)))
"#;
const EXPORT: &str = r#"(export "pillarbox:extension/lifecycle@0.1.0" (instance $lifecycle))"#;

fn files() -> Vec<Junk> {
    let good = fs::read(guest("example-policy")).unwrap();
    let core = b"\0asm\x01\0\0\0";
    // The 64-bit little-endian head of an ELF file, which is what compiled code is kept in.
    let elf = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 56]].concat();
    let with = |more: &str| wat::parse_str(format!("(component {LIFECYCLE} {EXPORT} {more})")).unwrap();
    let alone = |text: &str| wat::parse_str(format!("(component {text})")).unwrap();
    let instead = |from: &str, to: &str| {
        let text = format!("{LIFECYCLE} {EXPORT}");
        assert!(text.contains(from), "{from}");
        alone(&text.replace(from, to))
    };
    let not = "this is not a WebAssembly component";
    let junk = |name, octets: &[u8], says| Junk { name, octets: octets.to_vec(), says };
    vec![
        junk("empty", b"", not),
        junk("text", b"#!/bin/sh\nexec cat\n", not),
        junk("zeroes", &[0; 4096], not),
        junk("half-a-head", &good[..6], not),
        junk("core-module", core, "this is a core WebAssembly module, not a component"),
        junk("compiled", &elf, "this is"),
        junk("truncated", &good[..good.len() / 2], "the component cannot be compiled"),
        junk("damaged", &damaged(&good), "the component cannot be compiled"),
        junk("newer-head", b"\0asm\x0e\0\x01\0", not),
        junk("nothing", &alone(""), "the component exports no `pillarbox:extension/lifecycle`"),
        junk(
            "other-package",
            &instead("pillarbox:extension/lifecycle", "mailbox:extension/lifecycle"),
            "the component exports no `pillarbox:extension/lifecycle`",
        ),
        junk(
            "other-version",
            &instead("lifecycle@0.1.0", "lifecycle@0.2.0"),
            "`pillarbox:extension/lifecycle@0.2.0`, which is of a version this server does not speak",
        ),
        junk(
            "no-version",
            &instead("lifecycle@0.1.0", "lifecycle"),
            "`pillarbox:extension/lifecycle`, which is of a version this server does not speak",
        ),
        junk(
            "unknown-hook",
            &with(r#"(export "pillarbox:extension/expand@0.1.0" (instance $lifecycle))"#),
            "`pillarbox:extension/expand@0.1.0`, which is no hook of this server",
        ),
        junk(
            "wasi",
            &with(r#"(import "wasi:cli/environment@0.2.0" (instance (export "get" (func))))"#),
            "extensions get no WASI",
        ),
        junk(
            "unknown-import",
            &with(r#"(import "pillarbox:extension/weather@0.1.0" (instance (export "get" (func))))"#),
            "`pillarbox:extension/weather@0.1.0`, which this server does not have",
        ),
        junk("bare-import", &with(r#"(import "help" (func))"#), "`help`, which this server does not have"),
        junk(
            "import-of-another-shape",
            &with(r#"(import "pillarbox:extension/log@0.1.0" (instance (export "enabled" (func (param "x" u64)))))"#),
            "the component does not fit",
        ),
        junk(
            "unknown-function",
            &with(r#"(import "pillarbox:extension/log@0.1.0" (instance (export "flush" (func))))"#),
            "the component does not fit",
        ),
        // An interface of a hook's name that asks another question.
        junk(
            "another-signature",
            &with(
                r#"(func $mail (result u32) (canon lift (core func $i "number")))
                   (instance $hook (export "mail" (func $mail)))
                   (export "pillarbox:extension/mail@0.1.0" (instance $hook))"#,
            ),
            "the component's `mail` is not the interface of that name",
        ),
        junk(
            "no-function",
            &with(
                r#"(instance $hook)
                   (export "pillarbox:extension/mail@0.1.0" (instance $hook))"#,
            ),
            "the component does not fit",
        ),
        // The code that is run when an instance is made is bounded as a hook is.
        junk(
            "start-loops",
            &instead("(memory (export", "(func $s (loop br 0)) (start $s) (memory (export"),
            "cpu time",
        ),
        junk("start-traps", &instead("(memory (export", "(func $s unreachable) (start $s) (memory (export"), "trapped"),
        junk("large-memory", &instead("(memory (export \"memory\") 1)", "(memory (export \"memory\") 4096)"), "memory"),
        junk("large-table", &instead("(memory (export", "(table 100000000 funcref) (memory (export"), "table"),
        // `init` answers text that is none.
        junk(
            "no-text",
            &instead(
                "(func (export \"init\")",
                "(data (i32.const 0) \"\\01\\00\\00\\00\\0c\\00\\00\\00\\01\\00\\00\\00\\ff\") (func (export \"init\")",
            ),
            "utf-8",
        ),
        junk(
            "text-from-nowhere",
            &instead(
                "(func (export \"init\")",
                "(data (i32.const 0) \"\\01\\00\\00\\00\\00\\00\\00\\f0\\ff\\00\\00\\00\") (func (export \"init\")",
            ),
            "out of bounds",
        ),
    ]
}

/// Octets changed in the middle of the code.
fn damaged(good: &[u8]) -> Vec<u8> {
    let mut octets = good.to_vec();
    let middle = octets.len() / 2;
    octets[middle..middle + 64].fill(0xff);
    octets
}

/// Settings with which `hostile` does not load, and what is said then.
const SETTINGS: [(&str, &str); 25] = [
    ("panic", "init trapped"),
    ("unreachable", "init trapped"),
    ("loop", "init used more than 50ms of cpu time"),
    ("memory", "init needed more than 16777216 octets of memory"),
    ("recursion", "init trapped"),
    ("host-calls", "init made more than 10000 host calls"),
    ("host-bytes-log", "init moved more than 1048576 octets by host calls"),
    ("error", "says: these settings make no sense"),
    ("error-of-many-lines", "says: one"),
    ("error-of-a-megabyte", "says: xxxx"),
    ("core-verb", "declares the verb `EHLO`, which the server speaks itself"),
    ("core-verb-lower-case", "declares the verb `STARTTLS`, which the server speaks itself"),
    ("core-keyword", "declares the keyword `PIPELINING`, which the server speaks itself"),
    ("core-mail-parameter", "declares the MAIL parameter `SIZE`, which the server speaks itself"),
    ("core-mechanism", "declares the SASL mechanism `PLAIN`, which the server speaks itself"),
    ("mechanism-of-two-words", "a SASL mechanism has 1 to 20 letters, digits, hyphens and underscores"),
    ("mechanism-too-long", "a SASL mechanism has 1 to 20 letters, digits, hyphens and underscores"),
    ("without-authenticate", "declares a SASL mechanism and has no hook `authenticate` to answer it"),
    ("verb-of-two-words", "a word of the protocol has 1 to 32 letters, digits and hyphens"),
    ("verb-of-no-letters", "a word of the protocol has 1 to 32 letters, digits and hyphens"),
    ("verb-with-line-feed", "a word of the protocol has 1 to 32 letters, digits and hyphens"),
    ("verb-too-long", "a word of the protocol has 1 to 32 letters, digits and hyphens"),
    ("keyword-with-line-feed", "a keyword's parameters are printable ASCII"),
    ("thousand-keywords", "an extension declares at most 64 words of a kind"),
    ("without-command", "declares a verb and has no hook `command`"),
];

/// A configuration in which everything is wrong, and for each extension the words that must be said of it.
fn everything_wrong(site: &Site) -> (String, Vec<(String, &'static str)>) {
    let mut text = String::new();
    let mut expected = Vec::new();
    for Junk { name, octets, says } in files() {
        site.write(&format!("{name}.wasm"), octets);
        text += &listener(name, name, "");
        text += &format!("\n[extension.{name}]\ncomponent = \"{name}.wasm\"\n");
        expected.push((name.to_owned(), says));
    }
    for (act, says) in SETTINGS {
        let name = format!("init-{act}");
        text += &listener(&name, &name, "");
        text += &extension(&name, "init", act, "");
        expected.push((name, says));
    }
    text += &listener("missing", "missing", "");
    text += "\n[extension.missing]\ncomponent = \"missing.wasm\"\n";
    expected.push(("missing".to_owned(), "cannot read"));
    text += &listener("pinned", "pinned", "");
    text += &extension("pinned", "nowhere", "nothing", &format!("sha256 = \"{}\"", "0".repeat(64)));
    expected.push(("pinned".to_owned(), "the component is not the pinned one"));
    (config(&text), expected)
}

/// Insists that everything is said, each with the name of the extension and one of its lines.
#[track_caller]
fn insist(said: &str, config: &str, expected: &[(String, &str)]) {
    let blocks: Vec<&str> = said.split("error: ").collect();
    let missing: Vec<String> = expected
        .iter()
        .filter(|(name, says)| {
            let of_it = |block: &&&str| block.contains(&format!("`{name}`")) && block.contains(says);
            !blocks.iter().find(of_it).is_some_and(|block| points_at(block, config, name))
        })
        .map(|(name, says)| format!("{name}: {says}"))
        .collect();
    assert!(missing.is_empty(), "not said, or not of the right line:\n{}\n\n{said}", missing.join("\n"));
}

/// Whether a message shows its line, and the line belongs to the extension or to its use.
fn points_at(block: &str, config: &str, name: &str) -> bool {
    let Some(place) = block.lines().find_map(|line| line.trim_start().strip_prefix("--> ")) else { return false };
    let number: Option<usize> = place.rsplit(':').nth(1).and_then(|number| number.parse().ok());
    let Some(number) = number else { return false };
    // The table the line stands in is the last one above it.
    let above: Vec<&str> = config.lines().take(number).collect();
    let table = above.iter().rev().find(|line| line.starts_with('[')).copied().unwrap_or_default();
    table.contains(&format!("[extension.{name}]"))
        || table.contains(&format!("[extension.\"{name}\"]"))
        || above.last().is_some_and(|line| *line == format!("use = \"{name}\""))
}

#[test]
fn junk_is_refused_by_check_by_a_reload_and_at_the_start() {
    let good = config(&(QUIET.to_owned() + &open()));
    let site = Site::new(&good);
    let server = site.start();
    let mut open = server.client("open");
    open.hello();

    let (wrong, expected) = everything_wrong(&site);
    site.configure(&wrong);
    let check = site.run(&["check"]);
    assert_ne!(check.code, Some(0), "{check}");
    insist(&check.stderr, &wrong, &expected);
    for line in check.stderr.lines() {
        assert!(!line.contains(['\u{1b}', '\u{2028}', '\r']), "a guest reached the terminal: {line:?}");
        assert!(line.len() < 2_000, "a line of {} octets", line.len());
    }

    let reload = server.reload();
    assert_ne!(reload.code, Some(0), "{reload}");
    insist(&reload.stderr, &wrong, &expected);
    // The old generation goes on, for the session that was open and for a new one.
    assert_eq!(server.status()["generation"], 1);
    open.deliver("a@example.test", &["b@example.test"], "Subject: hello\r\n\r\ntext\r\n");
    open.quit();
    server.client("quiet").quit();
    assert_eq!(server.stop(), Some(0));

    let start = site.run(&["serve"]);
    assert_ne!(start.code, Some(0), "{start}");
    insist(&start.stderr, &wrong, &expected);
}

/// The example policy on a listener of its own.
fn open() -> String {
    listener("open", "policy", "").replacen("grant.session", "grant.context-read = true\ngrant.session", 1) + POLICY
}

const POLICY: &str = r#"
[extension.policy]
component = "../../../target/guests/example-policy.wasm"
"#;

#[test]
fn a_component_is_read_once() {
    // Half a component under the right name, as a copy in progress leaves it; then the whole one.
    let site = Site::new(&config(&(QUIET.to_owned() + &open())));
    let server = site.start();
    let octets = fs::read(guest("example-policy-v2")).unwrap();
    site.configure(
        &config(&(QUIET.to_owned() + &open())).replace("../../../target/guests/example-policy.wasm", "copy.wasm"),
    );
    for part in [0, 4, 8, 100, octets.len() / 3, octets.len() - 1] {
        site.write("copy.wasm", &octets[..part]);
        let reload = server.reload();
        assert_ne!(reload.code, Some(0), "{part} octets: {reload}");
        assert!(reload.stderr.contains("extension `policy`"), "{part} octets: {reload}");
    }
    site.write("copy.wasm", &octets);
    server.reload().exits(0);
    assert!(server.client("open").hello().says("XPOLICY 2 LEFT=3"));
}

#[test]
fn a_reload_does_not_hold_up_who_is_served() {
    // Sixty listeners that never load, reloaded while others talk.
    let site = Site::new(&config(QUIET));
    let server = site.start();
    let (wrong, _) = everything_wrong(&site);
    site.configure(&wrong);
    thread::scope(|scope| {
        let reload = scope.spawn(|| server.reload());
        let mut client = server.client("quiet");
        while !reload.is_finished() {
            let began = std::time::Instant::now();
            client.expect("NOOP", "250 2.0.0 *");
            assert!(began.elapsed() < super::budgets::PROMPT, "a NOOP took {:?}", began.elapsed());
            // Compilers step back behind whoever asks without a pause.
            thread::park_timeout(std::time::Duration::from_millis(2));
        }
        assert_ne!(reload.join().unwrap().code, Some(0));
    });
}
