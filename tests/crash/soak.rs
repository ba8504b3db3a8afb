//! The server is killed at random under load, again and again, and each time what it had said is compared with what is
//! there.

use super::ledger::Ledger;
use super::random::{Random, cycles};
use super::sender::{RECIPIENTS, under_load};
use super::site;
use std::sync::atomic::AtomicU64;

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
        let count = usize::try_from(1 + random.below(60)).unwrap();
        under_load(server.address("edge"), RECIPIENTS, &serial, count, &mut ledger, || server.kill());
        // Settling takes a start of its own; now and then is enough to say which cycle it was.
        if cycle % 20 == 19 || cycle + 1 == cycles {
            let server = site.start();
            ledger.settle(&server, &site, &maildir);
        }
    }
    println!("{cycles} kills, {} acknowledged", ledger.acknowledged());
}
