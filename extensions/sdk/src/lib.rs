//! What an author of a Pillarbox extension in Rust depends on.
//!
//! An extension is a component: it exports the hooks it wants to be asked at and imports what it needs from the host.
//! This crate holds the bindings of both, one trait for each hook ([`Connect`], [`Hello`], [`Command`], …), the macro
//! [`export!`] that makes a component of a type, and small helpers for what every extension does: reading
//! [`settings`], decoding [`xtext`], reading and setting the [`context`], keeping [`state`], logging ([`info!`]).
//!
//! It knows no extension and decides no policy. What a function does and which grant it needs stands in the WIT
//! package `pillarbox:extension`, whose text is the documentation of the modules re-exported here.
//!
//! ```no_run
//! use pillarbox_sdk::{Decision, Extension, Mail, Parameter, Reply};
//!
//! /// Refuses the null sender.
//! #[derive(Debug)]
//! struct NoBounces;
//!
//! impl Extension for NoBounces {
//!     fn init() -> Result<Self, String> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl Mail for NoBounces {
//!     fn mail(&mut self, sender: &str, _parameters: &[Parameter]) -> Decision {
//!         if sender.is_empty() {
//!             return Decision::reject(Reply::new(550, "5.7.1", "no bounces here"));
//!         }
//!         Decision::next()
//!     }
//! }
//!
//! pillarbox_sdk::export!(NoBounces: mail);
//! # fn main() {}
//! ```

pub mod address;
#[doc(hidden)]
pub mod bindings;
pub mod context;
mod decision;
mod error;
mod export;
mod hook;
pub mod log;
mod printable;
pub mod settings;
pub mod state;
pub mod xtext;

pub use bindings::command::exports::pillarbox::extension::command::{Answer, Pending};
pub use bindings::imports::pillarbox::extension::types::{Decision, Entry, Error, Parameter, Reply, Scope, Verdict};
pub use bindings::imports::pillarbox::extension::{
    advertise, authentication, clock, context_read, context_write, declare, dns, envelope_read, envelope_write, http,
    identity, kv, message_read, message_write, metrics, random, session, stream, table,
};
pub use decision::Parameters;
pub use error::fail;
#[doc(hidden)]
pub use export::{Slot, init, with};
pub use hook::{
    Accepted, Authenticate, Command, Connect, Data, Disconnect, Extension, Hello, Mail, Message, Recipient, Verify,
};
pub use printable::printable;

/// The types of the hook `authenticate`.
pub mod authenticate {
    pub use crate::bindings::authenticate::exports::pillarbox::extension::authenticate::{Pending, Step, Success};
}

/// The types of the hook `verify`.
pub mod verify {
    pub use crate::bindings::verify::exports::pillarbox::extension::verify::{Outcome, Verifier};
}
