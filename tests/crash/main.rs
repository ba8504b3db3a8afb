//! 250 means on disk: the real server is stopped at every operation on its spool, killed at random, told that its disk
//! fails, and has its power cut; afterwards what was acknowledged is compared with what is there, message by message.
//!
//! What takes long is left to `cargo xtask crash`, which also says how long and from which seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod disk;
mod fault;
mod ledger;
mod operations;
mod power;
mod queue;
mod random;
mod relay;
mod sender;
mod soak;

use pillarbox_tests::Site;

/// A server that takes everything for `example.test` into Maildirs of its own, in such a place.
fn site(place: &str) -> Site {
    Site::new(&config("state", place))
}

/// Its configuration.
fn config(state: &str, mail: &str) -> String {
    format!(
        r#"[server]
hostname = "mx.example.test"
state-dir = "{state}"

[delivery.retry]
first = "1s"
longest = "2s"

[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
limits.connections-per-address = 1000
limits.errors = 1000
limits.junk-commands = 1000
limits.messages = 100000

[[route]]
to = "maildir:{mail}/{{domain}}/{{local}}"
create = true
"#
    )
}
