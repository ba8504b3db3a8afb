//! Which room of the host may name which: only rooms on lower steps, and never another on its own.

use super::code;

/// The rooms, step by step, from the ground up.
const STEPS: [&[&str]; 5] = [
    &["config", "file", "observe"],
    &["auth", "dns", "http", "nats", "spool", "table", "tls"],
    &["kv", "relay"],
    &["session", "delivery"],
    &["listener", "extension", "control"],
];

/// Above them: these, and the files that lie directly in `host/src`. They name every room, and no room names them.
const TOP: [&str; 2] = ["cli", "run"];

/// The only room that names the engine.
const ENGINE: (&str, &str) = ("wasmtime", "extension");

/// Judges one file of the host. `path` is the whole path, for messages; `inside` is the path inside `host/src`; `code`
/// has no comments and no strings.
pub fn check(path: &str, inside: &str, code: &str, breaches: &mut Vec<String>) {
    let (engine, its_room) = ENGINE;
    let room = inside.split_once('/').map_or("", |(room, _)| room);
    if room != its_room {
        for line in code::lines_with(code, engine) {
            breaches.push(format!("{path}:{line}: only `{its_room}` names {engine}"));
        }
    }
    if room.is_empty() || TOP.contains(&room) {
        return;
    }
    let Some(step) = step(room) else {
        breaches.push(format!("{path}:1: there is no room `{room}`: give it a step in xtask/src/tidy/rooms.rs"));
        return;
    };
    for (line, named) in named(inside, code) {
        let lower = self::step(&named).is_some_and(|its_step| its_step < step);
        if named != room && !lower {
            breaches.push(format!("{path}:{line}: `{room}` names `{named}`, which is not on a lower step"));
        }
    }
}

fn step(room: &str) -> Option<usize> {
    STEPS.iter().position(|rooms| rooms.contains(&room))
}

/// What the code names at the crate's root, each with its line.
fn named(inside: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = after(code, "crate::");
    // From the file's own module, this many `super` lead to the root; inside `mod x { … }` they lead elsewhere.
    let depth = inside.trim_end_matches("/mod.rs").split('/').count();
    let inline = code.match_indices("mod ").find(|(at, _)| {
        let rest = code.get(at + 4..).unwrap_or_default();
        rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start().starts_with('{')
    });
    let outer = inline.and_then(|(at, _)| code.get(..at)).unwrap_or(code);
    found.extend(after(outer, &"super::".repeat(depth)));
    found
}

/// The names right behind `prefix`: one, or those of a `{…}` list.
fn after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in code::places(code, prefix) {
        let rest = code.get(at + prefix.len()..).unwrap_or_default().trim_start();
        let line = code::line(code, at);
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(first_name(rest).map(|name| (line, name)));
            continue;
        };
        let mut depth = 0_usize;
        let mut start = true;
        for (offset, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    found.extend(first_name(list.get(offset..).unwrap_or_default()).map(|name| (line, name)));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn first_name(code: &str) -> Option<String> {
    let name: String = code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty() && name != "self" && name != "super").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_look_down() {
        let cases: [(&str, &str, &[&str]); 11] = [
            ("session/mod.rs", "use crate::spool::Spool;\nuse crate::session::Policy;", &[]),
            ("session/mod.rs", "use crate::extension::Host;", &["1: `session` names `extension`"]),
            ("session/mod.rs", "\nfn a() { crate::delivery::go() }", &["2: `session` names `delivery`"]),
            ("config/a.rs", "use crate::{config::{self, listener}, observe::clip};", &["1: `config` names `observe`"]),
            ("config/a.rs", "use super::listener::Tls;", &[]),
            ("spool/mod.rs", "use super::session;", &["1: `spool` names `session`"]),
            ("spool/a.rs", "use super::super::session;", &["1: `spool` names `session`"]),
            ("config/mod.rs", "mod tests { use super::extension::STOCK; }", &[]),
            ("control/mod.rs", "use crate::run;", &["1: `control` names `run`"]),
            ("lib.rs", "use crate::extension::Host;", &[]),
            ("kitchen/mod.rs", "", &["1: there is no room `kitchen`"]),
        ];
        for (inside, code, expected) in cases {
            let mut breaches = Vec::new();
            check("F", inside, code, &mut breaches);
            assert_eq!(breaches.len(), expected.len(), "{inside}: {code}: {breaches:?}");
            for (breach, expected) in breaches.iter().zip(expected) {
                assert!(breach.starts_with(&format!("F:{expected}")), "{breach}");
            }
        }
    }

    #[test]
    fn one_room_knows_the_engine() {
        for (inside, count) in [("extension/engine.rs", 0), ("session/mod.rs", 1), ("lib.rs", 1)] {
            let mut breaches = Vec::new();
            check("F", inside, "use wasmtime::Engine; let my_wasmtime = 1;", &mut breaches);
            assert_eq!(breaches.len(), count, "{inside}");
        }
    }
}
