//! Reloads while mail flows: no connection is dropped, no command fails, no message is judged by two generations, and
//! memory and descriptors are given back.

use super::{ONE, TWO, config, listener, policy, probe, probe_settings, version};
use pillarbox_tests::{Client, PATIENCE, Server};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

const SENDERS: usize = 10;
const RELOADS: usize = 50;

/// Both extensions of one generation carry its number: the policy in its component, the prober in its settings.
fn generation(component: &str, number: usize) -> String {
    config(
        &(listener("test", "", &(probe("test") + &policy("test")))
            + &probe_settings(&format!("stamp = \"{}.{number}\"", if component == ONE { 1 } else { 2 }))
            + &version(component, "")),
    )
}

/// What no server should take, in three ways.
fn broken(number: usize) -> String {
    let good = generation(TWO, number);
    match number % 3 {
        0 => good + "\n[listener.test",
        1 => good.replace("example-policy-v2.wasm", "missing.wasm"),
        // Under the prober's name, a component whose `init` traps.
        _ => good
            .replace("prober.wasm", "hostile.wasm")
            .replace(&format!("stamp = \"2.{number}\""), "at = \"init\", act = \"panic\""),
    }
}

/// Sends messages until nobody listens, over connections of a few messages each; says of each which generation judged it.
fn send(server: &Server, sender: usize, judged: &Sender<String>, busy: &AtomicBool) {
    while busy.load(Ordering::Relaxed) {
        let mut client = server.client("test");
        client.hello();
        for _ in 0..5 + sender {
            judged.send(one_message(&mut client)).expect("the test listens");
        }
        client.quit();
    }
}

/// One message; the generation that judged it.
fn one_message(client: &mut Client) -> String {
    client.deliver("a@example.net", &["b@example.test", "c@example.test"], "Subject: hello\r\n\r\ntext\r\n");
    let dump = client.expect("XDUMPCONTEXT", "250 XDUMPCONTEXT complete");
    let stamp = |name: &str| {
        let prefix = format!("250-[message] {name} ");
        dump.lines.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("nobody").to_owned()
    };
    let at_mail = stamp("stamp_mail");
    for hook in ["recipient", "data", "message"] {
        assert_eq!(stamp(&format!("stamp_{hook}")), at_mail, "MAIL and {hook} had two generations\n{dump}");
    }
    let version = stamp("policy_version");
    assert_eq!(at_mail.split('.').next(), Some(&*version), "one generation, and two versions\n{dump}");
    at_mail
}

/// Resident memory in KiB, and what the open descriptors lead to.
fn figures(server: &Server) -> (u64, Vec<String>) {
    let process = format!("/proc/{}", server.pid());
    let status = fs::read_to_string(format!("{process}/status")).expect("the server runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    let resident = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let entries = fs::read_dir(format!("{process}/fd")).expect("the server runs").flatten();
    let leads = entries.filter_map(|entry| fs::read_link(entry.path()).ok()).map(|to| to.display().to_string());
    (resident, leads.collect())
}

/// The figures when no session is left, and no connection of an operator: what listens is all there is of sockets.
#[track_caller]
fn at_rest(server: &Server) -> (u64, Vec<String>) {
    let began = Instant::now();
    while server.status()["listeners"][0]["sessions"] != 0 {
        assert!(began.elapsed() < PATIENCE, "sessions are left: {}", server.status());
    }
    figures(server)
}

/// Sends and reloads at once; says which generation judged each message.
fn run(server: &Server, from: usize, reloads: usize) -> Vec<String> {
    let busy = AtomicBool::new(true);
    let (sender, judged) = mpsc::channel();
    let mut generations = Vec::new();
    thread::scope(|scope| {
        for number in 0..SENDERS {
            let (sender, busy) = (sender.clone(), &busy);
            scope.spawn(move || send(server, number, &sender, busy));
        }
        drop(sender);
        for number in from..from + reloads {
            // Mail flows between any two reloads.
            generations.extend(judged.try_iter());
            generations.push(judged.recv_timeout(PATIENCE).expect("mail flows"));
            if number % 5 == 4 {
                server.site().configure(&broken(number));
                let reload = server.reload();
                assert_ne!(reload.code, Some(0), "{reload}");
            } else {
                server.reconfigure(&generation(if number % 2 == 0 { TWO } else { ONE }, number));
            }
        }
        busy.store(false, Ordering::Relaxed);
        // Ends when the last of them does; one that was failed ends the scope with a panic.
        generations.extend(judged.iter());
    });
    generations
}

#[test]
fn fifty_reloads_under_load() {
    let server = Server::start(&generation(ONE, 0));
    // The first rounds fill what is filled once: the allocator's pools, the instances' slots.
    run(&server, 1, 6);
    let (before, descriptors) = at_rest(&server);

    let judged = run(&server, 10, RELOADS);
    let (after, descriptors_after) = at_rest(&server);
    assert!(descriptors_after.len() <= descriptors.len(), "{descriptors:?} before, {descriptors_after:?} after");
    assert!(after <= before + before / 5 + 8 * 1024, "{before} KiB before, {after} KiB after");

    let mut generations = judged.clone();
    generations.sort();
    generations.dedup();
    // Mail was judged by most of the forty generations that were served, and all of it was accepted.
    assert!(generations.len() > RELOADS / 4, "{} messages, judged by {generations:?}", judged.len());
    let status = server.status();
    for extension in status["extensions"].as_array().unwrap() {
        let failures = extension["failures"].as_object().unwrap();
        assert!(failures.is_empty(), "{extension}");
    }
    let wrong: Vec<_> = server.log().events().into_iter().filter(|event| event.is("extension failed")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(server.stop(), Some(0));
}
