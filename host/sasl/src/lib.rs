//! SASL (RFC 4422) for a server, as a machine: responses in, steps out. Of a client there is SCRAM alone.
//!
//! The crate knows the mechanisms and nothing else: no socket, no clock, no randomness, no users. Whoever runs the
//! exchange carries octets (base64 is the protocol's matter, not SASL's), gives the nonce, looks users up, and obeys:
//!
//! ```text
//! let mut exchange = Exchange::begin(mechanism, terms);
//! let mut step = exchange.respond(initial_response);
//! loop {
//!     match step {
//!         Challenge   send it; `respond` with what the client answers
//!         Lookup      find the verifier of this user, or make one up; `verified`
//!         Password    the end of the exchange: whether the password is right is for the caller to find
//!         Success     the end: this user has proven who it is
//!         Failure     the end: it has not, or what it said cannot be understood
//!     }
//! }
//! ```
//!
//! **What always holds.** Nothing a peer sends makes the machine panic, and what it holds is bounded by what one response
//! may be. After the end every response is a failure. User names come out prepared (RFC 4013), without control
//! characters, and are never empty. Secrets are never printed, and compared in constant time.

#![forbid(unsafe_code)]

mod exchange;
mod external;
mod login;
mod mechanism;
mod plain;
mod preparation;
mod scram;
mod secret;
mod verifier;

pub use exchange::{Exchange, Failure, Step, Terms};
pub use mechanism::Mechanism;
pub use preparation::{FIELD, PreparationError, prepare_password, prepare_user};
pub use scram::{ScramClient, ScramError};
pub use secret::Secret;
pub use verifier::{ITERATIONS, Verifier, VerifierError};
