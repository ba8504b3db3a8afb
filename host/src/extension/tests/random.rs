//! Core modules that nobody wrote: wasm-smith makes them with a random world's exports and imports, wit-component encodes
//! them, and every hook is asked through the policy of a session. None panics the host, each call ends within its
//! budgets with an answer or a counted failure, nothing is left, and a guest beside them is served all the while.
//!
//! `PILLARBOX_SMITH` is how many are made, `PILLARBOX_SEED` the seed of the first; a failed test names the seed.

use super::*;
use crate::config::Capability;
use crate::extension::interface::Hook;
use crate::session::envelope::Transaction;
use crate::session::policy::{Credentials, Outcome, Question};
use pillarbox_sasl::Secret;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasm_smith::{Config as Shape, Module};
use wit_component::dummy_module;
use wit_parser::{LiftLowerAbi, ManglingAndAbi, WorldItem};

/// What the host serves to guests; a world has some of them.
const IMPORTS: [&str; 22] = [
    "log",
    "settings",
    "state",
    "declare",
    "advertise",
    "session",
    "identity",
    "context-read",
    "context-write",
    "authentication",
    "envelope-read",
    "envelope-write",
    "message-read",
    "message-write",
    "table",
    "kv",
    "dns",
    "http",
    "stream",
    "clock",
    "random",
    "metrics",
];

/// The budgets of one call. Wall time is generous: it is there to be kept on a busy machine, not to be met.
const LIMITS: &str = "limits = { cpu = \"5ms\", wall = \"2s\", memory = \"4MiB\" }";
/// What no call takes longer than.
const LONGEST: Duration = Duration::from_secs(4);

/// A component and the lines that grant it what it asks for, or deny it.
struct Made {
    octets: Vec<u8>,
    entry: String,
}

/// The component of a seed.
fn make(seed: u64) -> Made {
    let mut numbers = Numbers(seed);
    let hooks: Vec<Hook> = Hook::ALL.into_iter().filter(|_| numbers.once_in(3)).collect();
    let imports: Vec<&str> = IMPORTS.into_iter().filter(|_| numbers.once_in(3)).collect();
    let exports = hooks.iter().map(|hook| hook.name()).chain(["lifecycle"]);
    let world = world(imports.iter().copied(), exports);
    let example = roomy(dummy_module(&world.0, world.1, ManglingAndAbi::Legacy(LiftLowerAbi::Sync)));
    let shape = Shape {
        available_imports: Some(example.clone()),
        exports: Some(example),
        allow_start_export: numbers.once_in(8),
        min_funcs: 4,
        max_instructions: 400,
        // Mostly none, because one that does not fit ends the instance before anything else is tried.
        max_data_segments: if numbers.once_in(4) { 4 } else { 0 },
        // But for the one that the world wants.
        max_memories: 0,
        max_table_elements: 1_000,
        max_memory32_bytes: 1 << 20,
        memory64_enabled: false,
        threads_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        relaxed_simd_enabled: false,
        // With them come tables that grow, and references that this host has no collector for.
        reference_types_enabled: numbers.once_in(12),
        generate_custom_sections: false,
        ..Shape::default()
    };
    let octets = numbers.octets(24 << 10);
    let module = Module::new(shape, &mut arbitrary::Unstructured::new(&octets)).unwrap();
    let mut module = module.to_bytes();
    // What has to go well before any hook is asked seldom does by chance: mostly it is made to.
    if !numbers.once_in(16) {
        // `ok`, where memory is likely to be zero: (i32.const 131056)
        replace(&mut module, "pillarbox:extension/lifecycle@0.1.0#init", &[0x41, 0xf0, 0xff, 0x07]);
    }
    if !numbers.once_in(16) {
        replace(&mut module, "_initialize", &[]);
    }
    if !numbers.once_in(4) {
        // A place for what the host hands in: (i32.const 65536)
        replace(&mut module, "cabi_realloc", &[0x41, 0x80, 0x80, 0x04]);
    }
    let octets = component(&world, module);

    let needed = hooks.iter().filter_map(|hook| hook.needs());
    // One interface brings others with it, whose types it uses.
    let (resolve, id) = &world;
    let imported = resolve.worlds[*id].imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.as_deref().and_then(Capability::named),
        _ => None,
    });
    let mut asked: Vec<Capability> = needed.chain(imported).collect();
    asked.sort();
    asked.dedup();
    let grants = asked.into_iter().map(|capability| {
        // A hook without its grant is not asked, and nothing is learnt from that.
        let granted = match capability {
            _ if numbers.once_in(6) => "false",
            Capability::Identity => "[\"addr\", \"helo\"]",
            Capability::Kv => "[\"smith/\"]",
            Capability::Http | Capability::Stream => "[\"127.0.0.1:1\"]",
            _ => "true",
        };
        format!("grant.{capability} = {granted}\n")
    });
    let entry: String = grants.collect();
    Made { octets, entry }
}

/// The same module with a memory of two pages where it has none.
fn roomy(mut module: Vec<u8>) -> Vec<u8> {
    // Section 5 of three octets: one memory, without a maximum, of 0 pages.
    let at = module.windows(5).position(|octets| octets == [5, 3, 1, 0, 0]).expect("a memory");
    module[at + 4] = 2;
    module
}

/// Puts this code in the place of the exported function's.
fn replace(module: &mut Vec<u8>, export: &str, code: &[u8]) {
    let sections = sections(module);
    let section = |id: u8| sections.iter().find(|section| section.0 == id).map(|(_, from, to)| (*from, *to));
    let imported = section(2).map_or(0, |(from, to)| functions_imported(&module[from..to]));
    let (from, to) = section(7).expect("exports");
    let Some(index) = exported(&module[from..to], export) else { return };
    let (from, to) = section(10).expect("code");
    let mut reader = Reader { octets: &module[from..to], at: 0 };
    let count = reader.number();
    let mut bodies: Vec<Vec<u8>> = (0..count)
        .map(|_| {
            let length = reader.number();
            reader.take(length).to_vec()
        })
        .collect();
    let Some(body) = index.checked_sub(imported).and_then(|index| bodies.get_mut(index)) else { return };
    // No locals; the end of the function.
    *body = [&[0], code, &[0x0b]].concat();
    let mut contents = leb(count);
    for body in bodies {
        contents.extend(leb(body.len()));
        contents.extend(body);
    }
    // The head of the section is its id and its length, in as many octets as that takes.
    let head = sections.iter().filter(|section| section.2 <= from).map(|section| section.2).max().unwrap_or(8);
    let with_head = [vec![10], leb(contents.len()), contents].concat();
    module.splice(head..to, with_head);
}

/// Id, beginning and end of the contents of each section.
fn sections(module: &[u8]) -> Vec<(u8, usize, usize)> {
    let mut reader = Reader { octets: module, at: 8 };
    let mut sections = Vec::new();
    while reader.at < module.len() {
        let id = reader.take(1)[0];
        let length = reader.number();
        sections.push((id, reader.at, reader.at + length));
        reader.at += length;
    }
    sections
}

/// How many of these imports are functions. The dummy imports nothing else.
fn functions_imported(imports: &[u8]) -> usize {
    Reader { octets: imports, at: 0 }.number()
}

fn exported(exports: &[u8], name: &str) -> Option<usize> {
    let mut reader = Reader { octets: exports, at: 0 };
    (0..reader.number()).find_map(|_| {
        let length = reader.number();
        let found = reader.take(length) == name.as_bytes();
        let function = reader.take(1) == [0];
        let index = reader.number();
        (found && function).then_some(index)
    })
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.octets[self.at - count..self.at]
    }

    /// LEB128.
    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let octet = self.take(1)[0];
            number |= usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                return number;
            }
        }
    }
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            octets.push(low);
            return octets;
        }
        octets.push(low | 0x80);
    }
}

/// What became of all of them.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    served: u64,
    calls: u64,
    failures: u64,
}

/// Loads one and asks it everything there is to ask.
async fn play(bench: &Bench, seed: u64, tally: &mut Tally) {
    let Made { octets, entry } = make(seed);
    bench.keep("random", &octets);
    let began = Instant::now();
    let loaded = bench.load("random", &entry, LIMITS).await;
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            // It is the component that is at fault, not the test that made it.
            let text = problems.to_string();
            let its_own = ["init ", "says: ", "needed more", "gc types are disallowed"];
            assert!(its_own.iter().any(|words| text.contains(words)), "seed {seed}: {text}\n{entry}");
            assert!(began.elapsed() < LONGEST * 2, "seed {seed}: {:?}", began.elapsed());
            tally.refused += 1;
            return;
        }
    };
    tally.served += 1;
    let mut roster = roster(loaded);
    // A random `init` declares nothing, and then nobody would ask for a verb or a mechanism.
    let entry = Arc::get_mut(&mut Arc::get_mut(&mut roster).unwrap().entries[0]).unwrap();
    let open = pillarbox_smtp::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false };
    entry.declared.verbs.insert("XRANDOM".to_owned(), open);
    entry.declared.mechanisms.insert("XRANDOM".to_owned());
    entry.declared.keywords.insert("XRANDOM".to_owned(), None);

    let before = failures(bench);
    let mut policy = policy(&roster);
    let mut facts = facts();
    Arc::make_mut(&mut facts).transaction = Some(Transaction {
        sender: "a@example.test".to_owned(),
        recipients: vec![recipient("b@example.test")],
        ..Transaction::default()
    });
    let questions = [
        Question::Connect,
        Question::Hello { verb: "EHLO", domain: "there.example.test" },
        Question::Mail { sender: "a@example.test", parameters: &[] },
        Question::Recipient { address: "b@example.test", parameters: &[] },
        Question::Data,
        Question::Message,
    ];
    let secret = Secret::new("secret".to_owned());
    let credentials = [
        Credentials::Password { mechanism: "PLAIN", user: "a", password: &secret, authorization: Some("b") },
        Credentials::Lookup { mechanism: "SCRAM-SHA-256", user: "a" },
    ];
    let asked = Instant::now();
    let mut answers = 0;
    // Twice: the second time some are asked in the instance that answered before.
    for _ in 0..2 {
        for question in questions {
            let began = Instant::now();
            let ruling = policy.rule(question, &mut facts).await;
            assert!(began.elapsed() < LONGEST, "seed {seed}: {question:?} took {:?}", began.elapsed());
            if let Outcome::Refuse(refusal) = ruling.outcome {
                let code = refusal.reply().code();
                assert!((400..600).contains(&code), "seed {seed}: {question:?} is refused with {code}");
            }
            answers += 1;
        }
        let _answer = policy.command("XRANDOM", "argument", &mut facts).await;
        let _answer = policy.resume(b"line", &mut facts).await;
        let _exchange = policy.authenticate("XRANDOM", Some(b"initial"), &mut facts).await;
        let _exchange = policy.respond(b"response", &mut facts).await;
        for credentials in credentials {
            let _judged = policy.judge(credentials, &mut facts).await;
        }
        policy.accepted("id", &mut facts).await;
        let _keywords = policy.keywords(&facts);
        answers += 7;
    }
    policy.ended(&mut facts).await;
    assert!(asked.elapsed() < LONGEST * 4, "seed {seed}: all calls took {:?}", asked.elapsed());
    tally.calls += answers;
    tally.failures += failures(bench) - before;
    // What a guest cannot say of itself nobody else said either.
    assert!(facts.login.is_none() || entry_may_log_in(&roster), "seed {seed}: {:?}", facts.login);
    drop(policy);
    assert_eq!(bench.runtime.instances(), 0, "seed {seed}: an instance is left");
}

fn entry_may_log_in(roster: &Roster) -> bool {
    roster.entries.iter().any(|entry| entry.linked.grant.has(Capability::Authentication))
}

fn failures(bench: &Bench) -> u64 {
    bench.failures().iter().map(|(_, count)| count).sum()
}

#[test]
fn modules_are_mended_where_it_is_meant() {
    let original = module(r#"(func (export "f") (result i32) unreachable) (func (export "g"))"#);
    let mut mended = original.clone();
    replace(&mut mended, "f", &[0x41, 0x07]);
    let expected = module(r#"(func (export "f") (result i32) i32.const 7) (func (export "g"))"#);
    assert_eq!(mended, expected);
    replace(&mut mended, "nowhere", &[]);
    assert_eq!(mended, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_components_harm_nobody() {
    let (seed, count) = (number("PILLARBOX_SEED", 1), number("PILLARBOX_SMITH", 150));
    // A guest with a hook that answers at once, beside them in the same runtime.
    let bench = Arc::new(Bench::new());
    let good = module(r#"(func (export "pillarbox:extension/connect@0.1.0#connect") (result i32) i32.const 0)"#);
    bench.keep("good", &component(&world([], ["lifecycle", "connect"]), good));
    let good = roster(bench.load("good", "grant.session = true", "").await.unwrap());
    let (over, longest, rounds) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let beside = tokio::spawn({
        let (over, longest, rounds) = (over.clone(), longest.clone(), rounds.clone());
        async move {
            while !over.load(Ordering::Relaxed) {
                let (mut policy, mut facts) = (policy(&good), facts());
                let began = Instant::now();
                let ruling = policy.rule(Question::Connect, &mut facts).await;
                assert!(matches!(ruling.outcome, Outcome::Pass), "{ruling:?}");
                let took = u64::try_from(began.elapsed().as_millis()).unwrap();
                longest.fetch_max(took, Ordering::Relaxed);
                rounds.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut tally = Tally::default();
    let before = resident();
    // The guest beside has its counts on another bench, so that nothing here is its.
    let strange = Arc::new(Bench::new());
    for seed in seed..seed + count {
        let play = tokio::spawn({
            let mut one = Tally::default();
            let strange = strange.clone();
            async move {
                play(&strange, seed, &mut one).await;
                one
            }
        });
        let one = play.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        strange.runtime.retain(&[]);
        tally.refused += one.refused;
        tally.served += one.served;
        tally.calls += one.calls;
        tally.failures += one.failures;
    }
    over.store(true, Ordering::Relaxed);
    beside.await.unwrap();
    let (longest, rounds) = (longest.load(Ordering::Relaxed), rounds.load(Ordering::Relaxed));
    println!(
        "{tally:?}, beside {rounds} calls of at most {longest} ms, {} KiB more",
        resident().saturating_sub(before)
    );
    assert!(rounds > 10, "nobody was served meanwhile");
    assert!(longest < 1_000, "a call beside them took {longest} ms");
    assert!(resident() < before + (256 << 10), "{before} KiB before, {} KiB after", resident());
    // A run in which nothing is served, or nothing fails, tries nothing.
    assert!(tally.served * 3 > count, "{tally:?}");
    assert!(tally.failures > 0 && tally.failures < tally.calls, "{tally:?}");
}

/// Memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
