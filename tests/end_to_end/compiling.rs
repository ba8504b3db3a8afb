//! Compiling apart from serving: what it may cost, who does it, and what is kept of it.

mod bombs;

use crate::configs::listeners as config;
use pillarbox_tests::{Server, Site, guest, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;

/// `[server]` with these keys, and a listener with one extension, whose component is this file of the site.
fn with(server: &str, component: &str) -> String {
    let text = config(&format!(
        r#"
[listener.test]
address = ["127.0.0.1:0"]
limits = {{ junk-commands = 0, commands = 0 }}
[[listener.test.extension]]
use = "set"
peers = ["127.0.0.1"]
grant.context-write = {{ connection = ["*"] }}
[extension.set]
component = "{component}"
"#
    ));
    text.replace("[server]", &format!("[server]\ncache-dir = \"cache\"\n{server}"))
}

/// A site with `component.wasm`, a small extension.
fn site(server: &str) -> Site {
    let site = Site::new(&with(server, "component.wasm"));
    site.write("component.wasm", component());
    site
}

fn component() -> Vec<u8> {
    fs::read(guest("xsetcontext")).unwrap()
}

/// The entries of the cache.
fn entries(site: &Site) -> Vec<PathBuf> {
    let is_entry = |path: &PathBuf| path.file_name().is_some_and(|name| name != "key");
    site.files("cache").into_iter().filter(is_entry).collect()
}

/// Whether each component was in the cache is as expected, in the order in which they were loaded.
#[track_caller]
fn assert_cached(server: &Server, expected: &[bool]) {
    server.log().count(expected.len(), "compiled");
    let events = server.log().events();
    let compiled = events.iter().filter(|event| event.is("compiled"));
    assert_eq!(compiled.map(|event| event.field("cached") == "true").collect::<Vec<_>>(), expected);
}

/// The processes whose parent this one is.
fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which is in parentheses and may hold anything: state, parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
    !matches!(state.as_deref(), None | Some("Z" | "X"))
}

#[track_caller]
fn helper(server: &Server) -> u32 {
    let alive: Vec<u32> = children(server.pid()).into_iter().filter(|pid| is_alive(*pid)).collect();
    let [helper] = *alive else { panic!("one child, not {alive:?}") };
    helper
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Some component that nobody has compiled yet: the same with another custom section.
fn another(number: u8) -> Vec<u8> {
    [component(), vec![0, 2, 1, number]].concat()
}

#[test]
fn a_restart_compiles_nothing() {
    let site = site("");
    let server = site.start();
    assert_cached(&server, &[false]);
    assert_eq!(server.stop(), Some(0));
    let server = site.start();
    assert_cached(&server, &[true]);
    server.client("test").quit();
    // What is served already is not even looked for.
    server.reload().exits(0);
    assert_cached(&server, &[true]);
    site.write("component.wasm", another(1));
    server.reload().exits(0);
    assert_cached(&server, &[true, false]);
    assert_eq!(entries(&site).len(), 2);
}

#[test]
fn an_entry_that_is_not_ours_is_compiled_anew() {
    let site = site("");
    site.start().stop();
    let entry = entries(&site).remove(0);
    let whole = fs::read(&entry).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    for octets in [damaged, whole[..whole.len() - 1].to_vec(), vec![], b"\x7fELF".to_vec()] {
        fs::write(&entry, octets).unwrap();
        let server = site.start();
        assert_cached(&server, &[false]);
        server.log().event("an entry of the cache cannot be used, it is compiled anew", &[]);
        server.client("test").quit();
        server.stop();
        // And is an entry again.
        assert_eq!(fs::read(&entry).unwrap().len(), whole.len());
    }
    // Without the key that they were made with none is.
    fs::remove_file(site.path("cache/key")).unwrap();
    let server = site.start();
    assert_cached(&server, &[false]);
    server.stop();
    assert_cached(&site.start(), &[true]);
}

#[test]
fn without_a_cache_it_is_served_all_the_same() {
    let site = site("");
    // Something that is no directory.
    site.write("cache", "");
    let server = site.start();
    assert_cached(&server, &[false]);
    server.log().event("the cache of compiled code is not used", &[]);
    server.client("test").quit();
}

#[test]
fn check_changes_nothing() {
    let site = site("");
    site.run(&["check"]).exits(0);
    assert!(!site.path("cache").exists() && !site.path("state").exists());
    site.start().stop();
    let before: BTreeMap<PathBuf, Vec<u8>> =
        site.files("cache").into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    site.run(&["check"]).exits(0);
    site.write("component.wasm", another(1));
    site.run(&["check"]).exits(0);
    let after = site.files("cache").into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert_eq!(before, after);
}

#[test]
fn a_helper_that_died_is_started_again() {
    let site = site("");
    let server = site.start();
    for number in 1..3 {
        let helper = helper(&server);
        kill(helper);
        site.write("component.wasm", another(number));
        server.reload().exits(0);
        assert_ne!(self::helper(&server), helper);
    }
    server.log().count(2, "the process that compiles has ended, it is started again");
    assert_cached(&server, &[false, false, false]);
}

#[test]
fn nobody_outlives_the_server() {
    let site = site("");
    let server = site.start();
    let helper = helper(&server);
    server.kill();
    until("the helper to end with its server", || !is_alive(helper));

    // While it compiles.
    let server = site.start();
    site.write("component.wasm", bombs::functions(1_000_000));
    let helper = self::helper(&server);
    thread::scope(|scope| {
        let reload = scope.spawn(|| site.run(&["reload"]));
        until("a worker", || !children(helper).is_empty());
        let worker = children(helper)[0];
        server.kill();
        until("everybody to end with the server", || !is_alive(helper) && !is_alive(worker));
        assert_ne!(reload.join().unwrap().code, Some(0));
    });
}

#[test]
fn who_compiles_has_nothing_of_the_server_and_is_not_in_its_way() {
    let site = site("");
    let server = Server::spawn(&site, site.command().env("SECRET", "of the server"));
    site.write("component.wasm", bombs::functions(1_000_000));
    let helper = helper(&server);
    thread::scope(|scope| {
        let reload = scope.spawn(|| server.reload());
        until("a worker", || !children(helper).is_empty());
        let worker = children(helper)[0];
        for pid in [helper, worker] {
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!String::from_utf8_lossy(&read("environ")).contains("SECRET"));
            assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), PathBuf::from("/"));
            for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
                let leads_to = fs::read_link(descriptor.path()).unwrap_or_default();
                let leads_to = leads_to.to_string_lossy();
                assert!(leads_to.starts_with("pipe:") || leads_to == "/dev/null" || leads_to.is_empty(), "{leads_to}");
            }
        }
        // The first to go when the system has no memory, before the helper, before the server.
        let goes = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().to_owned();
        until("a worker that goes first", || goes(worker) == "1000");
        assert_eq!(goes(helper), "500");
        // The nineteenth field, of which two lie before the name's end.
        let nice = || {
            let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned()
        };
        until("the worker to step back", || nice() == "5");
        kill(worker);
        let reload = reload.join().unwrap();
        assert!(reload.stderr.contains("extension `set`: the compiler broke off (signal 9)"), "{reload}");
    });
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_compiler() {
    let site = site("");
    let mut server = site.start();
    site.write("component.wasm", bombs::functions(1_000_000));
    let helper = helper(&server);
    server.signal(Signal::HUP);
    until("a worker", || !children(helper).is_empty());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    until("the helper to end", || !is_alive(helper));
}
