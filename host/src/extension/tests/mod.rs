//! The room as a whole, from its public face: configurations are loaded as a server loads them, and the policy of a
//! session is asked as a session asks it. What is tried is in the modules; here is what they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod edits;
mod files;
mod grants;
mod panics;
mod random;
mod reach;

use super::{Loaded, Roster, Runtime, Services};
use crate::config::{Config, Instances, Problems, Source};
use crate::observe::Counters;
use crate::session::envelope::{Fate, Recipient};
use crate::session::facts::Facts;
use crate::session::generation::RecipientName;
use crate::session::policy::{Extensions, Memory, Policy};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// A runtime, and a directory for components.
struct Bench {
    runtime: Runtime,
    counters: Arc<Counters>,
    directory: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let counters = Arc::<Counters>::default();
        let runtime = Runtime::new(Instances { count: 64, memory: 256 << 20 }, counters.clone()).unwrap();
        Bench { runtime, counters, directory: tempfile::tempdir().unwrap() }
    }

    /// Keeps a component as `NAME.wasm`.
    fn keep(&self, name: &str, octets: &[u8]) {
        fs::write(self.directory.path().join(format!("{name}.wasm")), octets).unwrap();
    }

    /// Loads one extension, `guest`, on one listener with these lines in its entry and in its own table.
    async fn load(&self, name: &str, entry: &str, extension: &str) -> Result<Loaded, Problems> {
        self.runtime.load(&self.config(name, entry, extension)?, &Services::default()).await
    }

    /// What [`Bench::load`] loads.
    fn config(&self, name: &str, entry: &str, extension: &str) -> Result<Config, Problems> {
        let text = format!(
            "[server]\nhostname = \"mx.example.org\"\nstate-dir = \"state\"\n\
             [listener.test]\naddress = [\"127.0.0.1:25\"]\nauth.without-tls = true\n\
             [[listener.test.extension]]\nuse = \"guest\"\n{entry}\n\
             [extension.guest]\ncomponent = \"{name}.wasm\"\n{extension}\n"
        );
        let directory = self.directory.path().to_path_buf();
        Config::parse(Source { name: "test".to_owned(), directory, text })
    }

    /// Keeps a guest of this repository under its name.
    fn keep_guest(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/guests/{name}.wasm"));
        self.keep(name, &fs::read(file).expect("the guests are built first, by `cargo xtask guests`"));
    }

    /// Failures of `guest` by kind.
    fn failures(&self) -> Vec<(String, u64)> {
        let snapshot = self.counters.snapshot();
        snapshot.extensions.into_iter().flat_map(|extension| extension.failures).collect()
    }

    /// Denials of `guest` by capability.
    fn denials(&self) -> BTreeMap<String, u64> {
        let snapshot = self.counters.snapshot();
        snapshot.extensions.into_iter().flat_map(|extension| extension.denials).collect()
    }
}

/// What a guest was told with a denial names the grant that is missing; `lines` are those of its grants.
#[track_caller]
fn names_the_grant(told: &str, capability: &str, lines: &str, what: &str) {
    let whole = format!("`grant.{capability}` is `false`");
    let part = format!("`grant.{capability}` does not cover `");
    let named = match lines.contains(&format!("grant.{capability} = false\n")) {
        true => told == whole,
        false => told.starts_with(&part) && told.ends_with('`') && told.len() > part.len(),
    };
    assert!(named, "{what}: a denial of {capability} says {told}");
}

/// Counts denials.
fn tally<'a>(counted: &mut BTreeMap<String, u64>, denials: impl IntoIterator<Item = &'a str>) {
    denials.into_iter().for_each(|capability| *counted.entry(capability.to_owned()).or_default() += 1);
}

/// The one roster of what [`Bench::load`] loaded.
fn roster(loaded: Loaded) -> Arc<Roster> {
    loaded.rosters.into_values().next().unwrap()
}

fn policy(roster: &Arc<Roster>) -> Box<dyn Policy> {
    roster.open(Memory::new(), &facts())
}

fn facts() -> Arc<Facts> {
    let peer = "192.0.2.1:1025".parse().unwrap();
    Arc::new(Facts::new("session".into(), "test".into(), peer, "198.51.100.1:25".parse().unwrap()))
}

/// A recipient as the peer named it, who is to get the message.
fn recipient(address: &str) -> Recipient {
    let (local, domain) = address.split_once('@').unwrap();
    Recipient {
        address: address.to_owned(),
        name: RecipientName {
            local: local.to_owned(),
            domain: domain.to_owned(),
            postmaster: false,
            bare_postmaster: false,
        },
        parameters: Vec::new(),
        nowhere: false,
        fate: Fate::Keep,
        said: Some(0),
    }
}

/// The package of extensions, and in it the world that imports and exports these interfaces.
fn world<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    exports: impl IntoIterator<Item = &'a str>,
) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    let line = |what: &str, name: &str| format!("{what} pillarbox:extension/%{name}@0.1.0;\n");
    let mut text = "package test:guest;\nworld guest {\n".to_owned();
    text.extend(imports.into_iter().map(|name| line("import", name)));
    text.extend(exports.into_iter().map(|name| line("export", name)));
    text.push('}');
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    (resolve, world)
}

/// A component from a core module that has what the world wants, under the names wit-component knows.
fn component(world: &(Resolve, WorldId), mut module: Vec<u8>) -> Vec<u8> {
    wit_component::embed_component_metadata(&mut module, &world.0, world.1, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().encode().unwrap()
}

/// A core module with these fields, an `init` that is content, a `cabi_realloc`, and memory.
fn module(fields: &str) -> Vec<u8> {
    // Where memory is zero, the answer of `init` is `ok`, and that of a hook that decides is `next`.
    wat::parse_str(format!(
        r#"(module
          {fields}
          (memory (export "memory") 2)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536)
          (func (export "pillarbox:extension/lifecycle@0.1.0#init") (result i32) i32.const 0))"#
    ))
    .unwrap()
}

/// Numbers that a seed decides (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

/// A number from the environment, for longer runs.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
