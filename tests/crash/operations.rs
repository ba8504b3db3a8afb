//! The server is killed before and after each thing it does to its disk for one message, from the first octet of it to its
//! delivery; and as it starts on what the last kill left.

use super::fault::Fault;
use super::ledger::{Ledger, waiting};
use super::sender::{Answer, Sender};
use super::site;
use pillarbox_tests::{PATIENCE, Site};
use std::time::{Duration, Instant};

#[test]
fn killed_before_each_operation_of_the_spool() {
    each("kill", "state/spool");
}

#[test]
fn killed_after_each_operation_of_the_spool() {
    each("after", "state/spool");
}

#[test]
#[ignore = "cargo xtask crash"]
fn killed_before_each_operation_of_the_mailbox() {
    each("kill", "mail");
}

#[test]
#[ignore = "cargo xtask crash"]
fn killed_after_each_operation_of_the_mailbox() {
    each("after", "mail");
}

/// Kills at the first operation, the second, and so on until a message comes through.
fn each(action: &str, prefix: &str) {
    let site = site("mail");
    let fault = Fault::below(&site, prefix);
    let maildir = site.path("mail/example.test/b");
    let mut ledger = Ledger::default();
    for at in 1.. {
        fault.none();
        // What the kill before left is settled first.
        let mut server = fault.start();
        ledger.settle(&server, &site, &maildir);
        let mut sender = Sender::connect(server.address("edge")).expect("a server that serves");
        fault.order(action, at, "");
        let answer = ledger.send(&mut sender);
        if !hit(&fault, &site, &maildir, &answer) {
            assert_eq!(fault.hits(), Vec::<String>::new());
            ledger.settle(&server, &site, &maildir);
            assert!(at > 6, "only {} operations", at - 1);
            assert!(matches!(answer, Answer::Acknowledged(_)), "{answer:?}");
            println!("{} operations, {} acknowledged", at - 1, ledger.acknowledged());
            return;
        }
        server.wait();
    }
}

/// Waits until the fault has happened, or until it is sure that it does not.
fn hit(fault: &Fault, site: &Site, maildir: &std::path::Path, answer: &Answer) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if !fault.hits().is_empty() {
            return true;
        }
        let delivered = std::fs::read_dir(maildir.join("new")).map_or(0, Iterator::count);
        if matches!(answer, Answer::Acknowledged(_)) && delivered > 0 && waiting(&site.path("state")).is_empty() {
            return !fault.hits().is_empty();
        }
        assert!(Instant::now() < deadline, "neither hit nor delivered: {answer:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn killed_at_each_operation_of_a_start() {
    let site = site("mail");
    let fault = Fault::below(&site, "state");
    for action in ["kill", "after"] {
        for at in 1.. {
            fault.order(action, at, "");
            let mut child = fault.command().stderr(std::process::Stdio::null()).spawn().unwrap();
            let socket = site.path("state/control.sock");
            let deadline = Instant::now() + PATIENCE;
            let ended = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                    break None;
                }
                assert!(Instant::now() < deadline, "the start hangs");
                std::thread::park_timeout(Duration::from_millis(5));
            };
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(&socket);
            if fault.hits().is_empty() {
                assert_eq!(ended, None, "it ended by itself");
                break;
            }
        }
    }
    fault.none();
    let server = fault.start();
    let mut ledger = Ledger::default();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    assert!(matches!(ledger.send(&mut sender), Answer::Acknowledged(_)));
    ledger.settle(&server, &site, &site.path("mail/example.test/b"));
}
