//! The promise of docs/versioning.md: what was released stays. `wit/` is compared with the copy of each release below
//! `tests/released`, whose components the tests play.
//!
//! It knows the rules of growing, and what a release is made of; what an interface looks like is `surface`'s.

mod surface;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{guests, shell};
use surface::{Interface, Surface, Version};

/// What of `target/guests` is kept of a release: everything but what misbehaves, and JavaScript and Python, which are
/// larger than the rest of the repository.
const COMPONENTS: [&str; 9] = [
    "always-allow",
    "example-oauth",
    "example-policy",
    "prober",
    "xclient",
    "xdumpcontext",
    "xforward",
    "xremoteip",
    "xsetcontext",
];

/// The configurations of `tests/conversations/extensions` that are kept with their conversations.
const CONFIGURATIONS: [&str; 3] = ["oauth", "policy", "prober"];

/// `cargo xtask wit`.
pub fn run(workspace: &Workspace, release: bool) -> Result<()> {
    if release {
        return put_down(workspace);
    }
    let breaches = check(&workspace.root)?;
    if !breaches.is_empty() {
        bail!("wit/ breaks what was released (docs/versioning.md)\n{}", breaches.join("\n"));
    }
    shell::say("wit/ keeps what was released");
    Ok(())
}

/// Every breach of every release, one a line.
///
/// # Errors
/// A directory of WIT cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let now = Surface::read(&root.join("wit"))?;
    let mut breaches = Vec::new();
    for release in releases(root)? {
        let then = Surface::read(&release.join("wit"))?;
        if release.file_name().is_none_or(|name| *name != *then.version.to_string()) {
            breaches.push(format!("{} holds version {}", release.display(), then.version));
        }
        breaches.extend(compare(&then, &now).into_iter().map(|breach| format!("since {}: {breach}", then.version)));
    }
    Ok(breaches)
}

fn releases(root: &Path) -> Result<Vec<PathBuf>> {
    let home = root.join("tests/released");
    let entries = fs::read_dir(&home).with_context(|| format!("cannot read {}", home.display()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

/// What of a release `now` breaks. A version may repeat only what was released under it.
fn compare(then: &Surface, now: &Surface) -> Vec<String> {
    let mut breaches = Vec::new();
    if (then.version.major, then.version.minor) != (now.version.major, now.version.minor) {
        return vec![format!("wit/ is {}: another track stands beside this one, not in its place", now.version)];
    }
    if now.version < then.version {
        breaches.push(format!("wit/ is {}, which is older", now.version));
    }
    let mut gained = Vec::new();
    for (name, interface) in &then.interfaces {
        match now.interfaces.get(name) {
            None => breaches.push(format!("interface `{name}` is gone")),
            Some(current) => {
                breaches.extend(changes(name, interface, current));
                for member in current.keys().filter(|member| !interface.contains_key(*member)) {
                    match then.exports(name) {
                        true => breaches.push(format!(
                            "interface `{name}`: {member} is new, but components export it as it was: make another interface"
                        )),
                        false => gained.push(format!("{member} of interface `{name}`")),
                    }
                }
            }
        }
    }
    let new = now.interfaces.keys().filter(|name| !then.interfaces.contains_key(*name));
    gained.extend(new.map(|name| format!("interface `{name}`")));
    for (name, items) in &then.worlds {
        let none = BTreeSet::new();
        let current = now.worlds.get(name).unwrap_or(&none);
        breaches.extend(items.difference(current).map(|item| format!("world `{name}` has no `{item}` any more")));
        let more = current.difference(items).map(|item| format!("`{item}` in world `{name}`"));
        match name.as_str() {
            // The two that hold everything. Nobody implements them as a whole.
            "all" | "imports" => gained.extend(more),
            _ => breaches.extend(more.map(|item| format!("{item} is new: whoever includes that world lacks it"))),
        }
    }
    gained.extend(
        now.worlds.keys().filter(|name| !then.worlds.contains_key(*name)).map(|name| format!("world `{name}`")),
    );
    if now.version == then.version {
        let needs = |what: &String| format!("{what} is new: the package must be above {}", then.version);
        breaches.extend(gained.iter().map(needs));
    }
    breaches
}

/// What of an interface is gone, or another.
fn changes(interface: &str, then: &Interface, now: &Interface) -> Vec<String> {
    let change = |(member, shape): (&String, &String)| match now.get(member) {
        None => Some(format!("interface `{interface}`: {member} is gone")),
        Some(current) if current != shape => {
            Some(format!("interface `{interface}`: {member} was `{shape}` and is now `{current}`"))
        }
        Some(_) => None,
    };
    then.iter().filter_map(change).collect()
}

/// Puts today's `wit/` and components down as the release of their version. Until the version is tagged that can be done
/// again; then it is what others have built for.
fn put_down(workspace: &Workspace) -> Result<()> {
    let root = &workspace.root;
    let now = Surface::read(&root.join("wit"))?;
    let tag = format!("v{}", now.version);
    let tags = shell::output(std::process::Command::new("git").current_dir(root).args(["tag", "--list", &tag]))?;
    if !tags.trim().is_empty() {
        bail!("{} is tagged: what was released stays as it is. A change needs a new version in wit/", now.version);
    }
    guests::build(workspace)?;
    let directory = root.join("tests/released").join(now.version.to_string());
    let _ = fs::remove_dir_all(&directory);
    let wit = directory.join("wit");
    fs::create_dir_all(&wit).with_context(|| format!("cannot create {}", wit.display()))?;
    for (name, text) in surface::files(&root.join("wit"))? {
        fs::write(wit.join(name), text)?;
    }
    for name in COMPONENTS {
        let file = format!("{name}.wasm");
        fs::copy(workspace.components().join(&file), directory.join(&file)).with_context(|| format!("no {file}"))?;
    }
    let conversations = root.join("tests/conversations/extensions");
    for file in fs::read_dir(&conversations).with_context(|| format!("cannot read {}", conversations.display()))? {
        let path = file?.path();
        let (Some(name), Some(stem)) = (path.file_name(), path.file_stem().and_then(|stem| stem.to_str())) else {
            continue;
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") if CONFIGURATIONS.contains(&stem) => {
                fs::write(directory.join(name), with_components_of(&text, now.version))?;
            }
            Some("smtp") if CONFIGURATIONS.iter().any(|config| plays_with(&text, config)) => {
                fs::write(directory.join(name), text)?;
            }
            _ => {}
        }
    }
    shell::say(&format!("released: {}", directory.display()));
    Ok(())
}

fn plays_with(conversation: &str, config: &str) -> bool {
    conversation.lines().any(|line| line.strip_prefix("@ config ").is_some_and(|name| name.trim() == config))
}

/// A configuration, with the components of a release in the place of today's.
fn with_components_of(config: &str, version: Version) -> String {
    let released = format!("\"../../../tests/released/{version}/");
    let with_path = |line: &str| {
        let line = line.replace("\"../../../target/guests/", &released);
        match line.split_once("\"builtin:").and_then(|(head, tail)| Some((head, tail.split_once('"')?))) {
            Some((head, (name, tail))) => format!("{head}{released}{name}.wasm\"{tail}"),
            None => line,
        }
    };
    config.lines().map(|line| with_path(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file, what stands there, and what shall.
    type Edit = (&'static str, &'static str, &'static str);

    /// The interfaces as they are, but for these edits.
    fn edited(edits: &[Edit]) -> Surface {
        let mut files = surface::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
        for (file, from, to) in edits {
            let (_, text) = files.iter_mut().find(|(name, _)| name == file).unwrap_or_else(|| panic!("{file}"));
            assert!(text.contains(from), "{file} has no {from}");
            *text = text.replacen(from, to, 1);
        }
        Surface::of(&files).unwrap()
    }

    /// The same, one version on.
    fn raised(edits: &[Edit]) -> Surface {
        let mut surface = edited(edits);
        surface.version.patch += 1;
        surface
    }

    #[test]
    fn nothing_changed_is_nothing_broken() {
        assert_eq!(compare(&edited(&[]), &edited(&[])), [""; 0]);
        assert_eq!(compare(&edited(&[]), &raised(&[])), [""; 0]);
        // What is said about a thing is not the thing.
        assert_eq!(
            compare(&edited(&[]), &edited(&[("mail.wit", "/// Asked at each MAIL.", "/// Other words.")])),
            [""; 0]
        );
    }

    #[test]
    fn what_breaks_a_component_is_named() {
        let cases = [
            (
                (
                    "mail.wit",
                    "parameters: list<parameter>) -> decision;",
                    "parameters: list<parameter>, size: u64) -> decision;",
                ),
                "interface `mail`: function `mail` was `func(sender: string, parameters: list<types.parameter>) -> \
                 types.decision` and is now `func(sender: string, parameters: list<types.parameter>, size: u64) -> \
                 types.decision`",
            ),
            (
                ("mail.wit", "-> decision;", "-> decision;\n    later: func() -> decision;"),
                "interface `mail`: function `later` is new, but components export it as it was: make another interface",
            ),
            (("log.wit", "enabled: func(level: level) -> bool;", ""), "interface `log`: function `enabled` is gone"),
            (
                ("log.wit", "enabled: func(level: level) -> bool;", "enabled: func(level: level) -> u8;"),
                "interface `log`: function `enabled` was `func(level: log.level) -> bool` and is now `func(level: log.level) \
                 -> u8`",
            ),
            (
                ("log.wit", "enum level { trace, debug,", "enum level { debug, trace,"),
                "interface `log`: type `level` was `enum { trace, debug, info, warn, error }` and is now `enum { debug, \
                 trace, info, warn, error }`",
            ),
            (
                ("types.wit", "        discard,\n", "        discard,\n        defer,\n"),
                "interface `types`: type `verdict` was `variant { next, accept, tempfail(option<types.reply>), \
                 reject(option<types.reply>), disconnect(option<types.reply>), discard, quarantine(string) }` and is now \
                 `variant { next, accept, tempfail(option<types.reply>), reject(option<types.reply>), \
                 disconnect(option<types.reply>), discard, defer, quarantine(string) }`",
            ),
            (
                ("types.wit", "delay-ms: u32,", "delay-ms: u64,"),
                "interface `types`: type `decision` was `record { verdict: types.verdict, delay-ms: u32 }` and is now \
                 `record { verdict: types.verdict, delay-ms: u64 }`",
            ),
            (
                ("worlds.wit", "world imports {\n    import log;", "world imports {"),
                "world `imports` has no `import log` any more",
            ),
            (
                ("worlds.wit", "world hook-mail { export mail; }", "world hook-mail { export mail; export data; }"),
                "`export data` in world `hook-mail` is new: whoever includes that world lacks it",
            ),
        ];
        for (edit, expected) in cases {
            let breaches = compare(&edited(&[]), &raised(&[edit]));
            assert!(
                breaches.iter().any(|breach| breach == expected),
                "{edit:?}\nexpected {expected}\ngot {breaches:#?}"
            );
        }
    }

    #[test]
    fn what_is_new_needs_a_new_version() {
        let cases: [(&[Edit], &str); 3] = [
            (
                &[("log.wit", "log: func(", "flush: func();\n    log: func(")],
                "function `flush` of interface `log` is new: the package must be above 0.1.0",
            ),
            (
                &[("types.wit", "    record entry {", "    record pair { left: u8 }\n    record entry {")],
                "type `pair` of interface `types` is new: the package must be above 0.1.0",
            ),
            (
                &[
                    ("worlds.wit", "world hook-mail", "interface vrfy { vrfy: func(); }\nworld hook-mail"),
                    ("worlds.wit", "    export disconnect;", "    export disconnect;\n    export vrfy;"),
                ],
                "`export vrfy` in world `all` is new: the package must be above 0.1.0",
            ),
        ];
        for (edits, expected) in cases {
            let breaches = compare(&edited(&[]), &edited(edits));
            assert!(breaches.iter().any(|breach| breach == expected), "expected {expected}\ngot {breaches:#?}");
            assert_eq!(compare(&edited(&[]), &raised(edits)), [""; 0]);
        }
    }

    #[test]
    fn versions_go_on() {
        let mut now = edited(&[]);
        now.version.minor += 1;
        let breaches = compare(&edited(&[]), &now);
        assert_eq!(breaches, ["wit/ is 0.2.0: another track stands beside this one, not in its place"]);
        assert_eq!(compare(&raised(&[]), &edited(&[])), ["wit/ is 0.1.0, which is older"]);
    }

    #[test]
    fn what_is_released_is_kept() {
        assert_eq!(check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap(), [""; 0]);
    }

    #[test]
    fn a_release_is_played_with_its_own_components() {
        let version = Version { major: 0, minor: 1, patch: 3 };
        let config = "a = 1\ncomponent = \"builtin:xclient\"\ncomponent = \"../../../target/guests/prober.wasm\"\n";
        let released = "a = 1\ncomponent = \"../../../tests/released/0.1.3/xclient.wasm\"\n\
                        component = \"../../../tests/released/0.1.3/prober.wasm\"\n";
        assert_eq!(with_components_of(config, version), released);
        assert!(plays_with("# a\n@ config policy\n", "policy"));
        assert!(!plays_with("# a\n@ config policy-v2\n", "policy"));
    }
}
