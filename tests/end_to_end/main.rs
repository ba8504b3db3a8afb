//! The binary as its users know it: peers by SMTP, operators by configuration, command line, signals and log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod auth;
mod bodies;
mod broken;
mod candidates;
mod certificates;
mod cli;
mod clients;
mod compiling;
mod configs;
mod conversations;
mod delivery;
mod edits;
mod fleet;
mod grants;
mod hostile;
mod limits;
mod lmtp;
mod logs;
mod manners;
mod names;
mod partings;
mod proxy;
mod queue;
mod reach;
mod relaying;
mod reload;
mod routes;
mod scripts;
mod signals;
mod spool;
mod store;
mod story;
mod tls;
mod users;
mod utf8;
mod versions;
