//! Components that are made to cost the compiler as much as can be: each costs a reload that is refused, and nothing else.

use super::{assert_cached, component, helper, is_alive, site, with};
use pillarbox_tests::{Client, Output, Server};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The longest that anybody waits for a reply meanwhile, on a busy machine.
const PROMPT: Duration = Duration::from_millis(500);

fn leb(mut number: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    while number >= 0x80 {
        octets.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
    octets
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// An extension with one more core module in it: `count` functions of one parameter and one result with this code.
fn with_module(count: usize, code: &[u8]) -> Vec<u8> {
    let body = [&[0], code, &[0x0b]].concat();
    let function = [leb(body.len()), body].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
        section(3, &[leb(count), vec![0; count]].concat()),
        section(10, &[leb(count), function.repeat(count)].concat()),
    ];
    [component(), section(1, &module.concat())].concat()
}

/// So many functions of no size.
pub(super) fn functions(count: usize) -> Vec<u8> {
    with_module(count, &[0x20, 0])
}

/// One function as long as the format allows.
fn function() -> Vec<u8> {
    // local.get 0, then: local.get 0, i32.mul, i32.const 3, i32.add.
    let step = [0x20, 0, 0x6c, 0x41, 3, 0x6a];
    with_module(1, &[&[0x20, 0], &*step.repeat(7_600_000 / step.len())].concat())
}

/// A jump with so many targets, many times.
fn jumps(targets: usize, times: usize) -> Vec<u8> {
    // Thirty blocks around each, of which every one is a target.
    let targets_of = |blocks: usize| (0..=targets).map(|target| (target % blocks) as u8).collect::<Vec<u8>>();
    let one = [[0x02, 0x40].repeat(30), vec![0x20, 0, 0x0e], leb(targets), targets_of(30), [0x0b].repeat(30)];
    with_module(1, &[one.concat().repeat(times), vec![0x20, 0]].concat())
}

/// Components in components.
fn nested(depth: usize) -> Vec<u8> {
    let header = b"\0asm\x0d\0\x01\0";
    let inner = (0..depth).fold(header.to_vec(), |inner, _| [&header[..], &section(4, &inner)].concat());
    [component(), section(4, &inner)].concat()
}

/// Types in types.
fn types(count: usize) -> Vec<u8> {
    // Each a list of the one before; the first of bytes.
    let list = |number: usize| match number {
        0 => vec![0x70, 0x7d],
        _ => [&[0x70][..], &leb(number - 1)].concat(),
    };
    let types: Vec<u8> = (0..count).flat_map(list).collect();
    let alone = [&b"\0asm\x0d\0\x01\0"[..], &section(7, &[leb(count), types].concat())].concat();
    [component(), section(4, &alone)].concat()
}

fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A reload, and meanwhile a client that never waits for long.
#[track_caller]
fn reload_while_served(server: &Server, client: &mut Client) -> Output {
    thread::scope(|scope| {
        let reload = scope.spawn(|| server.reload());
        while !reload.is_finished() {
            let began = Instant::now();
            client.expect("NOOP", "250 2.0.0 *");
            assert!(began.elapsed() < PROMPT, "a NOOP took {:?}", began.elapsed());
            // Asked without a pause, it would take from the compiler what the compiler must not take from it.
            thread::park_timeout(Duration::from_millis(2));
        }
        reload.join().unwrap()
    })
}

#[test]
fn a_bomb_costs_a_reload_that_is_refused() {
    let site = site("");
    let server = site.start();
    let mut client = server.client("test");
    let helper = helper(&server);
    let before = memory(&server);
    for (name, octets, limits, says) in [
        ("functions", functions(1_000_000), "compile.cpu = \"1s\"", "more than 1s of CPU time (`server.compile.cpu`)"),
        ("function", function(), "compile.memory = \"128MiB\"", "more than 128MiB of memory (`server.compile.memory`)"),
        ("function", function(), "compile.wall = \"1s\"", "longer than 1s (`server.compile.wall`)"),
        ("jumps", jumps(65_000, 80), "compile.cpu = \"1s\"\ncompile.memory = \"256MiB\"", "compiling took more than"),
        ("nested", nested(20_000), "compile.memory = \"256MiB\"", "more than 256MiB of memory"),
        ("types", types(100_000), "", "extension `set`: the component cannot be compiled: "),
        ("large", functions(100_000), "compile.size = \"100KiB\"", "larger than 100KiB (`server.compile.size`)"),
    ] {
        site.write("bomb.wasm", octets);
        site.configure(&with(limits, "bomb.wasm"));
        let reload = reload_while_served(&server, &mut client);
        assert_eq!(reload.code, Some(65), "{name}: {reload}");
        assert!(reload.stderr.contains(says), "{name}: not said: {says}\n{reload}");
        assert_eq!(server.status()["generation"], 1);
        assert!(is_alive(helper));
    }
    let after = memory(&server);
    assert!(after < before + 64 * 1024, "{before} KiB became {after} KiB");
    assert_cached(&server, &[false]);
    site.configure(&with("", "component.wasm"));
    server.reload().exits(0);
    // And nobody else compiles one.
    site.configure(&with("compile.cpu = \"1s\"", "bomb.wasm"));
    site.write("bomb.wasm", functions(1_000_000));
    site.run(&["check"]).exits(65).says("more than 1s of CPU time");
}

#[test]
fn a_large_component_is_compiled_while_others_are_served() {
    let site = site("");
    let server = site.start();
    let mut client = server.client("test");
    // Two megabytes of code in functions of an ordinary size.
    let code = [0x20, 0, 0x6c, 0x41, 3, 0x6a, 0x22, 0, 0x20, 0, 0x73].repeat(60);
    let large = with_module(3000, &[&[0x20, 0], &*code].concat());
    site.write("component.wasm", large);
    reload_while_served(&server, &mut client).exits(0);
    assert_eq!(server.status()["generation"], 2);
}
