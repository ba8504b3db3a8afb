//! What the end-to-end tests are written with: a [`Site`] for a configuration, the real binary as a [`Server`] on it, a
//! [`Client`] to talk to it, and [`Conversation`]s, which are files.
//!
//! The crate knows what a peer and an operator can see: octets on a socket, the log, the command line, the disk. It names
//! nothing of the host's own code. It waits for events and never for time to pass; what does not happen within
//! [`PATIENCE`] fails the test, with everything that was said until then.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, wherever it notices"
)]

mod address;
pub mod auth;
pub mod authority;
pub mod certificate;
mod client;
mod command;
mod conversation;
pub mod handshake;
mod log;
mod maildir;
pub mod pattern;
mod server;
pub mod sink;
mod site;
mod stream;
mod wire;

pub use address::free_address;
pub use client::{Client, Reply};
pub use command::{Output, binary, guest, repository, run};
pub use conversation::{Conversation, Failure, Pace};
pub use log::{Event, Log};
pub use maildir::Maildir;
pub use server::Server;
pub use site::Site;
pub use wire::{Wire, WireError};

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it failed. Long, because the machine may be busy; tests that pass do
/// not wait for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so, for what no event tells. `what` is said if it does not come to be.
///
/// # Panics
/// It is not so within [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
