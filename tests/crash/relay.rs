//! The server is killed, or its disk fails, while it relays: nothing acknowledged is lost on the way to another server, and
//! nothing goes there again but what was in hand.

use super::fault::Fault;
use super::ledger::{Ledger, waiting};
use super::random::{Random, cycles};
use super::sender::{Answer, Sender, under_load};
use pillarbox_tests::sink::{Manner, Sink, Stage};
use pillarbox_tests::{Maildir, PATIENCE, Server, Site, until};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Attempts that one destination gets at a time.
const CONCURRENCY: usize = 4;

/// One recipient for each of the two destinations.
const RECIPIENTS: [&str; 2] = ["b@one.test", "b@two.test"];

/// An error by its number, which is how the shim is told of it.
const EIO: &str = "5";

/// A next hop that has no recipient of anybody's.
const REFUSES: Manner = Manner::Reply(Stage::Recipient, "550 5.1.1 nobody");

/// A server with two destinations, and what it relays to them.
struct Bed {
    site: Site,
    sinks: [Sink; 2],
}

impl Bed {
    fn new(manner: &Manner) -> Bed {
        let sinks = [Sink::start(manner.clone()), Sink::start(manner.clone())];
        let mut config = super::config("state", "mail").replace("\"example.test\"", "\"one.test\", \"two.test\"");
        let (head, maildirs) = config.split_at(config.find("[[route]]").unwrap());
        let route = |(domain, sink): (&str, &Sink)| {
            let to = sink.address();
            format!("[[route]]\ndomains = [\"{domain}.test\"]\nto = \"smtp://{to}\"\nconcurrency = {CONCURRENCY}\n\n")
        };
        let routes: String = ["one", "two"].into_iter().zip(&sinks).map(route).collect();
        config = format!("{head}{routes}{maildirs}");
        Bed { site: Site::new(&config), sinks }
    }

    /// Waits until nothing waits, and answers how many times a sink has what it had already.
    #[track_caller]
    fn settle(&self, server: &Server, ledger: &Ledger) -> usize {
        Ledger::drain(server, &self.site);
        self.sinks.iter().map(|sink| ledger.compare_sink(sink)).sum()
    }

    /// What senders were told of, by the number of the message; each as often as it is there.
    fn told(&self) -> BTreeMap<u64, usize> {
        let mut told = BTreeMap::new();
        for notice in Maildir::new(self.site.path("mail/client.test/a")).messages() {
            let notice = String::from_utf8(notice).unwrap();
            assert!(notice.ends_with("--\n"), "half a notice: {notice}");
            let numbers = notice.lines().filter_map(|line| line.strip_prefix("Subject: "));
            let number = numbers.filter_map(|number| number.parse().ok()).next().expect("the header came back");
            *told.entry(number).or_default() += notice.matches("\nAction: failed\n").count();
        }
        told
    }

    /// Insists that the sender was told of each recipient of what was promised, and once.
    #[track_caller]
    fn check_told(&self, ledger: &Ledger) {
        let told = self.told();
        let is_wrong = |number: &u64| told.get(number) != Some(&RECIPIENTS.len());
        let wrong: Vec<_> = ledger.promised().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "not told once of each recipient: {wrong:?} of {told:?}");
        let twice: Vec<_> = told.iter().filter(|(_, recipients)| **recipients > RECIPIENTS.len()).collect();
        assert!(twice.is_empty(), "told twice: {twice:?}");
        assert!(self.sinks.iter().all(|sink| sink.taken().is_empty()));
    }
}

#[test]
fn killed_before_each_operation_of_the_spool() {
    each_kill("kill", "state/spool", &Manner::Take);
}

#[test]
fn killed_after_each_operation_of_the_spool() {
    each_kill("after", "state/spool", &Manner::Take);
}

#[test]
fn killed_before_each_operation_of_a_bounce() {
    each_kill("kill", "state/spool", &REFUSES);
}

#[test]
fn killed_after_each_operation_of_a_bounce() {
    each_kill("after", "state/spool", &REFUSES);
}

#[test]
fn killed_at_each_operation_of_a_notice_in_its_mailbox() {
    each_kill("kill", "mail", &REFUSES);
    each_kill("after", "mail", &REFUSES);
}

/// Kills at the first operation, the second, and so on until a message comes through with all that follows of it.
fn each_kill(action: &str, prefix: &str, manner: &Manner) {
    let bed = Bed::new(manner);
    let fault = Fault::below(&bed.site, prefix);
    let takes = *manner == Manner::Take;
    let mut ledger = Ledger::default();
    let mut again = 0;
    for at in 1.. {
        fault.none();
        // What the kill before left is settled first.
        let mut server = fault.start();
        Ledger::drain(&server, &bed.site);
        if takes {
            let before = again;
            again = bed.settle(&server, &ledger);
            assert!(again - before <= 2, "{} duplicates after the kill at operation {}", again - before, at - 1);
        }
        let mut sender = Sender::connect(server.address("edge")).expect("a server that serves");
        fault.order(action, at, "");
        let answer = ledger.send_to(&mut sender, &RECIPIENTS);
        if hit(&fault, &bed.site, &server, &answer) {
            server.wait();
            continue;
        }
        assert!(matches!(answer, Answer::Acknowledged(_)), "{answer:?}");
        assert!(at > 5, "only {} operations", at - 1);
        if takes {
            bed.settle(&server, &ledger);
        } else {
            bed.check_told(&ledger);
        }
        println!("{} operations, {} acknowledged, {again} duplicates", at - 1, ledger.acknowledged());
        return;
    }
}

/// Waits until the fault has happened, or until it is sure that it does not.
fn hit(fault: &Fault, site: &Site, server: &Server, answer: &Answer) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if !fault.hits().is_empty() {
            return true;
        }
        if matches!(answer, Answer::Acknowledged(_)) && waiting(&site.path("state")).is_empty() {
            return !fault.hits().is_empty();
        }
        assert!(Instant::now() < deadline, "neither hit nor gone: {answer:?}\n{}", server.log().lines().join("\n"));
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// One operation fails, from a message's first octet to its end: the sender is told, or both destinations have it, once.
#[test]
fn each_operation_fails_once() {
    each_failure(&Manner::Take);
}

/// The same where nobody takes it: the sender is told, once.
#[test]
#[ignore = "cargo xtask crash"]
fn each_operation_of_a_bounce_fails_once() {
    each_failure(&REFUSES);
}

fn each_failure(manner: &Manner) {
    let bed = Bed::new(manner);
    let fault = Fault::below(&bed.site, "state/spool");
    let server = fault.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let mut ledger = Ledger::default();
    let mut misses = 0;
    for at in 1.. {
        fault.order("fail", at, EIO);
        let answer = ledger.send_to(&mut sender, &RECIPIENTS);
        assert!(answer != Answer::Nothing, "the connection broke at operation {at}");
        let refused = matches!(answer, Answer::Refused(_));
        // The log of a message that is gone may be left: the next start removes it.
        until("it is gone", || {
            waiting(&bed.site.path("state")).iter().all(|path| path.extension().is_some_and(|it| it == "log"))
        });
        misses = if fault.hits().is_empty() { misses + 1 } else { 0 };
        fault.none();
        if refused {
            // Three failures in a row would have mail refused for a while.
            let next = ledger.send_to(&mut sender, &RECIPIENTS);
            assert!(matches!(next, Answer::Acknowledged(_)), "after operation {at}: {next:?}");
            until("it is gone", || waiting(&bed.site.path("state")).is_empty());
        }
        if *manner == Manner::Take {
            let again: usize = bed.sinks.iter().map(|sink| ledger.compare_sink(sink)).sum();
            assert_eq!(again, 0, "duplicates after operation {at}\n{}", server.log().lines().join("\n"));
        } else {
            bed.check_told(&ledger);
        }
        if misses > 2 {
            assert!(at > 8, "only {at} operations");
            server.stop();
            Ledger::drain(&bed.site.start(), &bed.site);
            return;
        }
    }
}

/// Nothing can be recorded any more: what was in hand is delivered once, not again and again, and the rest waits.
#[test]
fn a_spool_that_fails_is_no_storm() {
    const MESSAGES: usize = 20;
    let bed = Bed::new(&Manner::Reply(Stage::Recipient, "450 4.2.1 busy"));
    let fault = Fault::below(&bed.site, "state/spool");
    let server = fault.start();
    let mut sender = Sender::connect(server.address("edge")).unwrap();
    let mut ledger = Ledger::default();
    for _ in 0..MESSAGES {
        assert!(matches!(ledger.send_to(&mut sender, &RECIPIENTS), Answer::Acknowledged(_)));
    }
    server.log().count(2 * MESSAGES, "delivery deferred");
    fault.order("fail+", 1, EIO);
    bed.sinks.iter().for_each(|sink| sink.behave(Manner::Take));
    server.log().count(1, "delivery cannot be recorded");
    let failed = fault.hits().len();
    until("it tries to record again", || fault.hits().len() > failed);
    for sink in &bed.sinks {
        let taken = sink.taken().len();
        assert!(taken <= MESSAGES, "{taken} of {MESSAGES} messages");
    }
    let status = server.order(&["queue", "list"]).exits(0);
    assert!(!status.stdout.is_empty());
    fault.none();
    let again = bed.settle(&server, &ledger);
    assert_eq!(again, 0, "duplicates\n{}", server.log().lines().join("\n"));
}

#[test]
fn killed_at_random_a_few_times() {
    soak(5);
}

#[test]
#[ignore = "cargo xtask crash"]
fn killed_at_random_under_load() {
    soak(cycles("PILLARBOX_CRASH_KILLS", 200));
}

fn soak(kills: u64) {
    let mut random = Random::seeded();
    let bed = Bed::new(&Manner::Take);
    let mut ledger = Ledger::default();
    let serial = AtomicU64::new(1);
    for _ in 0..kills {
        let server = bed.site.start();
        let count = usize::try_from(1 + random.below(60)).unwrap();
        under_load(server.address("edge"), &RECIPIENTS, &serial, count, &mut ledger, || server.kill());
    }
    let server = bed.site.start();
    Ledger::drain(&server, &bed.site);
    // Whoever was in hand at three kills in a row is taken for their reason.
    let aside = server.order(&["quarantine", "list"]).exits(0).stdout;
    if !aside.is_empty() {
        println!("set aside:\n{aside}");
    }
    for entry in std::fs::read_dir(bed.site.path("state/spool/quarantine")).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !name.contains("log") && !name.contains("reason") {
            server.order(&["quarantine", "release", &name]);
        }
    }
    let again = bed.settle(&server, &ledger);
    let bound = usize::try_from(kills).unwrap() * CONCURRENCY * bed.sinks.len();
    println!("{kills} kills, {} acknowledged, {again} duplicates of {bound}", ledger.acknowledged());
    assert!(again <= bound, "{again} duplicates");
}
