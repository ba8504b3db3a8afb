//! Users and their passwords: the file that holds them, the work of finding out whether a password is right, and how
//! often one may try.
//!
//! The file has one `name:VERIFIER` a line. A verifier is for SCRAM (`SCRAM-SHA-256$…`, which proves a password by PLAIN
//! as well) or a hash by argon2id (`$argon2id$…`, for passwords that are sent whole). [`Users`] is what was read of it
//! and never changes; [`Book`] is what edits it. An unknown user costs the same work as a known one, and looks the same: in a
//! file of mixed kinds, like one or the other of them.
//!
//! The room does not know what a session, SMTP or a mechanism's step is: it is asked about names and passwords.

mod attempts;
mod book;
mod credential;
mod entry;
mod hashing;
mod key;
mod mix;
mod random;
mod source;
mod users;

pub use attempts::{AttemptLimits, Attempts};
pub use book::{Book, BookError};
pub use credential::{Credential, CredentialError, Kind, MakeError};
pub use entry::{BadLine, LineError, NameError, check_name};
pub use hashing::{Checked, Hashing};
pub use key::keep_key;
pub use random::nonce;
pub use source::{Fault, UsersError};
pub use users::Users;

#[cfg(test)]
mod tests;
