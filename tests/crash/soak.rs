//! The server is killed at random under load, again and again, and each time what it had said is compared with what is
//! there.

use super::ledger::Ledger;
use super::random::{Random, cycles};
use super::sender::{RECIPIENTS, send_until_it_ends};
use super::site;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

/// Connections at a time.
const SENDERS: usize = 8;

#[test]
#[ignore = "cargo xtask crash"]
fn killed_at_random_under_load() {
    let mut random = Random::seeded();
    let cycles = cycles("PILLARBOX_CRASH_KILLS", 200);
    let site = site("mail");
    let maildir = site.path("mail/example.test/b");
    let mut ledger = Ledger::default();
    let serial = AtomicU64::new(1);
    for cycle in 0..cycles {
        let server = site.start();
        let address = server.address("edge");
        let count = usize::try_from(1 + random.below(60)).unwrap();
        std::thread::scope(|scope| {
            let (told, answers) = mpsc::channel();
            for _ in 0..SENDERS {
                let (told, serial) = (told.clone(), &serial);
                scope.spawn(move || send_until_it_ends(address, RECIPIENTS, serial, &told));
            }
            drop(told);
            for (number, answer) in answers.iter().take(count) {
                ledger.note(number, answer);
            }
            server.kill();
            for (number, answer) in answers {
                ledger.note(number, answer);
            }
        });
        // Settling takes a start of its own; now and then is enough to say which cycle it was.
        if cycle % 20 == 19 || cycle + 1 == cycles {
            let server = site.start();
            ledger.settle(&server, &site, &maildir);
        }
    }
    println!("{cycles} kills, {} acknowledged", ledger.acknowledged());
}
