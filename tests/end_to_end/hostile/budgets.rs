//! What one guest uses up, others still have: time, memory, instances, the log, the patience of a peer.

use super::{QUIET, config, extension, failures, listener};
use pillarbox_tests::{Client, PATIENCE, Server};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What nobody should wait longer for, whatever a guest does.
pub const PROMPT: Duration = Duration::from_millis(500);

#[test]
fn others_are_served_while_guests_loop() {
    let looping = listener("loops", "loops", "")
        + &extension("loops", "mail", "loop", r#"limits = { cpu = "1s", wall = "60s" }"#);
    let server = Server::start(&config(&(looping + QUIET)));
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        // More guests than the server has threads, each a second of CPU time.
        let loops: Vec<_> = (0..6).map(|_| scope.spawn(|| mail(&server, "loops", "451 4.3.0 *"))).collect();
        let others = scope.spawn(|| {
            let mut open = server.client("quiet");
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while busy.load(Ordering::Relaxed) {
                let began = Instant::now();
                open.expect("NOOP", "250 2.0.0 *");
                longest = longest.max(began.elapsed());
                // A session of the same listener gets its turn as well, up to where the guest is.
                let began = Instant::now();
                server.client("loops").expect("EHLO there", "250 *");
                longest = longest.max(began.elapsed());
                rounds += 1;
            }
            (rounds, longest)
        });
        for each in loops {
            each.join().unwrap();
        }
        busy.store(false, Ordering::Relaxed);
        let (rounds, longest) = others.join().unwrap();
        assert!(rounds > 1, "nobody was served meanwhile");
        assert!(longest < PROMPT, "somebody waited {longest:?}");
    });
    assert_eq!(failures(&server)[&("loops".to_owned(), "loops".to_owned())], [("cpu".to_owned(), 6)]);
}

#[test]
fn a_budget_is_for_one_call() {
    // Each call takes tens of milliseconds, all together more than a second's budget would allow on any machine.
    let slow = listener("slow", "slow", "") + &extension("slow", "mail", "slow", r#"limits = { cpu = "1s" }"#);
    let server = Server::start(&config(&slow));
    let mut client = server.client("slow");
    client.hello();
    for _ in 0..40 {
        client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
        client.expect("RSET", "250 2.0.0 *");
    }
    assert!(failures(&server).values().all(Vec::is_empty));
}

#[test]
fn a_call_takes_no_longer_than_its_wall_budget() {
    // The CPU budget would let it go on for a minute.
    let config = config(
        &(listener("late", "late", "")
            + &extension("late", "mail", "loop", r#"limits = { cpu = "60s", wall = "60s" }"#)),
    )
    .replace("use = \"late\"", "use = \"late\"\nlimits.wall = \"200ms\"");
    let server = Server::start(&config);
    let began = Instant::now();
    mail(&server, "late", "451 4.3.0 *");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert_eq!(failures(&server)[&("late".to_owned(), "late".to_owned())], [("wall".to_owned(), 1)]);
}

#[test]
fn memory_stays_bounded() {
    // Each may take 64 MiB, all together twice that.
    let text = config(
        &(listener("hungry", "hungry", "")
            + &extension("hungry", "mail", "memory", r#"limits = { memory = "64MiB", cpu = "5s", wall = "20s" }"#)
            + QUIET),
    )
    .replace("state-dir = \"state\"", "state-dir = \"state\"\ninstances.memory = \"128MiB\"");
    let server = Server::start(&text);
    mail(&server, "hungry", "451 4.3.0 *");
    let before = resident(&server, "VmRSS");
    for _ in 0..3 {
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| mail(&server, "hungry", "451 4.3.0 *"));
            }
        });
    }
    let peak = resident(&server, "VmHWM");
    assert!(peak < before + 192 * 1024, "{before} KiB before, {peak} KiB at the most");
    // What a guest had is given back.
    server.log().count(19, "session ended");
    let after = resident(&server, "VmRSS");
    assert!(after < before + 32 * 1024, "{before} KiB before, {after} KiB after");
    let failures = failures(&server);
    assert_eq!(failures[&("hungry".to_owned(), "hungry".to_owned())], [("memory".to_owned(), 19)]);
    server.client("quiet").quit();
}

#[test]
fn one_instance_serves_many_sessions_one_after_the_other() {
    let text =
        config(&(listener("slow", "slow", "") + &extension("slow", "mail", "slow", r#"limits = { cpu = "5s" }"#)))
            .replace("state-dir = \"state\"", "state-dir = \"state\"\ninstances.count = 1");
    let server = Server::start(&text);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client("slow");
                client.hello();
                client.expect("MAIL FROM:<a@example.test>", "250 2.1.0 *");
                client.expect("RCPT TO:<b@example.test>", "250 2.1.5 *");
                client.quit();
            });
        }
    });
    // Whoever waits is woken when the one before is done, and does not wait for its own patience to end.
    assert!(failures(&server).values().all(Vec::is_empty), "{:?}", failures(&server));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_a_call_leaves_nothing_behind() {
    let text = config(
        &(listener("loops", "loops", "")
            + &extension("loops", "mail", "stage-then-loop", r#"limits = { cpu = "200ms" }"#)
            + QUIET),
    );
    let server = Server::start(&text);
    for _ in 0..5 {
        let mut client = server.client("loops");
        client.hello();
        client.send("MAIL FROM:<a@example.test>\r\n");
        drop(client);
    }
    server.log().count(5, "session ended");
    server.client("quiet").quit();
    server.log().count(6, "session ended");
    let status = server.status();
    for listener in status["listeners"].as_array().unwrap() {
        assert_eq!(listener["sessions"], 0, "{listener}");
    }
}

#[test]
fn a_delay_is_capped_by_the_listener() {
    let delays = |limit: &str, name: &str| {
        listener(name, name, &format!("limits.delay = \"{limit}\"")) + &extension(name, "mail", "delay", "")
    };
    let server = Server::start(&config(&(delays("0s", "none") + &delays("300ms", "some"))));
    for (name, least) in [("none", 0), ("some", 300)] {
        let began = Instant::now();
        // The guest asked for seven weeks.
        mail(&server, name, "250 2.1.0 *");
        assert!(began.elapsed() >= Duration::from_millis(least), "{name}: {:?}", began.elapsed());
        assert!(began.elapsed() < PATIENCE / 2, "{name}: {:?}", began.elapsed());
    }
}

/// A session that gets this reply to its MAIL.
#[track_caller]
fn mail(server: &Server, listener: &str, expected: &str) {
    let mut client: Client = server.client(listener);
    client.hello();
    client.expect("MAIL FROM:<a@example.test>", expected);
    client.quit();
}

/// A figure of the server's memory, in KiB.
#[track_caller]
pub fn resident(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
