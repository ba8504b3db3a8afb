//! The binary as its users know it: peers by SMTP, operators by configuration, command line, signals and log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod broken;
mod certificates;
mod cli;
mod clients;
mod configs;
mod conversations;
mod grants;
mod hostile;
mod limits;
mod logs;
mod manners;
mod names;
mod proxy;
mod reload;
mod signals;
mod spool;
mod tls;
mod users;
