//! The disk says no, at each thing the server does to it for one message: the sender is told, nothing of the message is
//! left, and the next one is taken. A slow disk slows nobody who does not need it.

use super::fault::Fault;
use super::ledger::Ledger;
use super::sender::{Answer, Sender};
use super::site;
use std::time::{Duration, Instant};

/// Errors by their numbers, which is how the shim is told of them.
const EIO: &str = "5";
const EMFILE: &str = "24";
const ENOSPC: &str = "28";
const EROFS: &str = "30";
const EDQUOT: &str = "122";

#[test]
fn each_operation_fails_once() {
    for (action, errno) in [("fail", EIO), ("fail", ENOSPC), ("short", "0")] {
        each(action, errno);
    }
}

#[test]
#[ignore = "cargo xtask crash"]
fn each_operation_fails_once_in_every_way() {
    for errno in [EIO, EMFILE, ENOSPC, EROFS, EDQUOT] {
        each("fail", errno);
    }
    each("short", "0");
}

fn each(action: &str, errno: &str) {
    let site = site("mail");
    let fault = Fault::below(&site, "state/spool");
    let maildir = site.path("mail/example.test/b");
    let server = fault.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let mut ledger = Ledger::default();
    let (mut refused, mut hits, mut misses) = (0, 0, 0);
    for at in 1.. {
        // Twice: a message of many writes has its rename elsewhere than one of a single write.
        for _ in 0..2 {
            fault.order(action, at, errno);
            match ledger.send(&mut sender) {
                Answer::Acknowledged(_) => {}
                Answer::Refused(reply) => {
                    let code = if [ENOSPC, EDQUOT].contains(&errno) { "452 4.3.1" } else { "451 4.3.0" };
                    assert!(reply.starts_with(code), "errno {errno} at operation {at}: {reply}");
                    refused += 1;
                }
                Answer::Nothing => panic!("the connection broke at operation {at}, errno {errno}"),
            }
            // Whether delivery meets it is a matter of time; that it can go on is not.
            let hit = fault.hits();
            misses = if hit.is_empty() { misses + 1 } else { 0 };
            hits += hit.len();
        }
        fault.none();
        let next = ledger.send(&mut sender);
        assert!(matches!(next, Answer::Acknowledged(_)), "after errno {errno} at operation {at}: {next:?}");
        ledger.settle(&server, &site, &maildir);
        if misses > 6 {
            // Made, written, synced, renamed, and its directory synced.
            assert!(action != "fail" || (refused >= 5 && hits >= 5), "{hits} hit, {refused} refused, errno {errno}");
            assert!(action != "short" || (refused == 0 && hits > 0), "{hits} hit, {refused} refused");
            return;
        }
    }
}

#[test]
fn a_full_disk_is_said_and_the_end_of_it_noticed() {
    let site = site("mail");
    let fault = Fault::below(&site, "state/spool/incoming");
    let server = fault.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let mut ledger = Ledger::default();
    assert!(matches!(ledger.send(&mut sender), Answer::Acknowledged(_)));
    fault.order("fail+", 1, ENOSPC);
    for _ in 0..20 {
        let answer = ledger.send(&mut sender);
        assert!(matches!(&answer, Answer::Refused(reply) if reply.starts_with("45")), "{answer:?}");
    }
    fault.none();
    let freed = Instant::now();
    while !matches!(ledger.send(&mut sender), Answer::Acknowledged(_)) {
        assert!(freed.elapsed() < Duration::from_secs(10), "it does not recover");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    ledger.settle(&server, &site, &site.path("mail/example.test/b"));
}

#[test]
fn a_slow_disk_slows_nobody_else() {
    let site = site("mail");
    let fault = Fault::below(&site, "state/spool");
    let server = fault.start();
    let address = server.address("edge");
    let mut bystander = Sender::connect(address).unwrap();
    fault.order("slow+", 1, "300000");
    std::thread::scope(|scope| {
        let slow: Vec<_> = (1..=8_u64)
            .map(|number| scope.spawn(move || (number, Sender::connect(address).unwrap().send(number))))
            .collect();
        let mut worst = Duration::ZERO;
        while slow.iter().any(|sender| !sender.is_finished()) {
            let asked = Instant::now();
            assert!(bystander.say("NOOP\r\n").is_some_and(|reply| reply.starts_with("250")));
            worst = worst.max(asked.elapsed());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert!(worst < Duration::from_millis(250), "NOOP took {worst:?}");
        fault.none();
        let mut ledger = Ledger::default();
        for sender in slow {
            let (number, answer) = sender.join().unwrap();
            assert!(matches!(answer, Answer::Acknowledged(_)), "{answer:?}");
            ledger.note(number, answer);
        }
        ledger.settle(&server, &site, &site.path("mail/example.test/b"));
    });
}
