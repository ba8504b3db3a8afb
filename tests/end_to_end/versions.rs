//! Components built for another version of the interfaces: what of them works, and what is said of those that do not
//! (docs/versioning.md). Those built for a released version are played in `conversations`.

use crate::configs;
use pillarbox_tests::Site;

/// A life cycle that does nothing, of this version, and a hook that traps, so that it is seen to be asked. It calls what
/// it imports in neither.
fn component(version: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
{more}
(core module $m
  (memory (export "memory") 1)
  (func (export "init") (result i32) i32.const 0)
  (func (export "disconnect") unreachable))
(core instance $i (instantiate $m))
(func $init (result (result (error string))) (canon lift (core func $i "init") (memory (core memory $i "memory"))))
(instance $lifecycle (export "init" (func $init)))
(export "pillarbox:extension/lifecycle@{version}" (instance $lifecycle))
(func $disconnect (canon lift (core func $i "disconnect")))
(instance $hook (export "disconnect" (func $disconnect)))
(export "pillarbox:extension/disconnect@{version}" (instance $hook)))"#
    );
    wat::parse_str(text).unwrap()
}

fn site(component: Vec<u8>) -> Site {
    let site = Site::new(&configs::discard(
        "[[listener.edge.extension]]\nuse = \"other\"\n[extension.other]\ncomponent = \"other.wasm\"\n",
    ));
    site.write("other.wasm", component);
    site
}

/// What a later version has in common with this one.
const SEED: &str = r#"(import "pillarbox:extension/settings@0.1.7" (instance (export "seed" (func (result u64)))))"#;

#[test]
fn a_component_for_a_later_version_works_with_what_there_is() {
    for (version, import) in
        [("0.1.0", String::new()), ("0.1.0", SEED.replace("0.1.7", "0.1.0")), ("0.1.7", SEED.into())]
    {
        let site = site(component(version, &import));
        let server = site.start();
        let mut client = server.client("edge");
        client.hello();
        client.quit();
        server.log().event("extension failed", &[("hook", "disconnect"), ("kind", "trap")]);
    }
}

#[test]
fn what_a_later_version_has_more_of_is_named() {
    let later = |text: &str| component("0.1.7", text);
    for (octets, words) in [
        (
            later(&SEED.replace("(export \"seed\"", "(export \"later\" (func)) (export \"seed\"")),
            &["the component does not fit", "settings@0.1.7", "`later`", "implementation is missing"][..],
        ),
        (
            later(r#"(import "pillarbox:extension/weather@0.1.7" (instance (export "rain" (func (result bool)))))"#),
            &["the component imports `pillarbox:extension/weather@0.1.7`, which this server does not have"],
        ),
        (
            later("(instance $new) (export \"pillarbox:extension/expand@0.1.7\" (instance $new))"),
            &["the component exports `pillarbox:extension/expand@0.1.7`, which is no hook of this server"],
        ),
        (component("0.2.0", ""), &["@0.2.0`, which is of a version this server does not speak; it speaks 0.1"]),
    ] {
        let refused = site(octets).run(&["check"]).exits(65);
        for word in words {
            assert!(refused.stderr.contains(word) || refused.stdout.contains(word), "{word}\n{refused}");
        }
    }
}

#[test]
fn who_imports_wasi_is_told_how_not_to() {
    let import = r#"(import "wasi:cli/stdout@0.2.12" (instance (export "get-stdout" (func))))"#;
    let refused = site(component("0.1.0", import)).run(&["check"]).exits(65);
    for words in [
        "extensions get no WASI",
        "Rust for wasm32-unknown-unknown",
        "JavaScript by componentize-js with `--disable stdio random clocks http fetch-event`",
        "Python by componentize-py with `--stub-wasi`",
    ] {
        refused.clone().says(words);
    }
}
