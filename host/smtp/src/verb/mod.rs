//! One file for each verb. `check` decides whether it may be said now, and what it says; `proceed` does what follows once
//! it was allowed. Verbs that policy is not asked about proceed at once.
//!
//! A verb knows the machine's state; it does not know the verbs beside it, nor who answers its question.

pub(crate) mod auth;
pub(crate) mod bdat;
pub(crate) mod data;
pub(crate) mod extension;
pub(crate) mod hello;
pub(crate) mod help;
pub(crate) mod mail;
pub(crate) mod noop;
pub(crate) mod quit;
pub(crate) mod rcpt;
pub(crate) mod rset;
pub(crate) mod starttls;
pub(crate) mod vrfy;
