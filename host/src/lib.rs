//! Pillarbox, an SMTP server that receives mail and asks sandboxed WebAssembly components what to do with it.
//!
//! **The way of a command.** [`listener`] accepts a connection and hands it to [`session`]. There, one loop feeds what
//! the peer sends to the machine in `pillarbox_smtp` and obeys its steps: read, write, ask, body, commit, start TLS,
//! close. At *ask* the machine is parked: the session checks what the host itself decides (the relay right, the mailbox)
//! and then asks policy, through a trait it owns. [`extension`] implements it with the guests of that listener. The
//! answer consumes the question, and the machine finds the words of the reply. A message goes to [`spool`] as it comes in;
//! its commit is what 250 waits for. [`delivery`] takes it from there, and records what became of each recipient beside it.
//!
//! **The rooms**, from the roof down; each may name only rooms on lower steps:
//!
//! - [`run`], [`report`] and [`user`]: what the binary does, what it says of configurations and components, and who may log
//!   in; they name every room.
//! - [`listener`]: sockets, and who is let in. [`extension`]: guests. [`control`]: the socket for orders.
//! - [`session`]: one connection. [`delivery`]: messages on their way out: the queue, the routes, and who is told.
//! - [`relay`]: the other side of the protocol, to the next hop. [`kv`]: values that outlive sessions.
//! - [`spool`]: messages that are durable. [`tls`]: certificates and handshakes. [`auth`]: users and their passwords.
//!   [`dns`]: what the DNS says. [`http`]: calling hosts. [`nats`]: connections to NATS servers. [`table`]: files that keys
//!   are looked up in.
//! - [`config`]: what the operator wrote. [`mod@file`]: reading other files of theirs. [`observe`]: the log and the
//!   counters.
//! - `pillarbox_smtp`, `pillarbox_sasl` and `pillarbox_proxy`: the protocols, each a crate of its own.

#![deny(unsafe_code)]

pub mod auth;
pub mod cli;
pub mod config;
pub mod control;
pub mod delivery;
pub mod dns;
pub mod extension;
pub mod file;
pub mod http;
pub mod kv;
pub mod listener;
pub mod nats;
pub mod observe;
pub mod relay;
pub mod report;
pub mod run;
pub mod session;
pub mod spool;
pub mod table;
pub mod tls;
pub mod user;
