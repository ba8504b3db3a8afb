//! What an operator may ask of the queue, and what is answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spool::{MessageId, Standing};

/// Which messages are meant: those for which everything holds that is said here. Said over the control socket, it holds
/// nothing that the server does not know: a condition that is passed over means more messages, not fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Selection {
    /// The sender: an address, `@DOMAIN`, or `<>`.
    pub sender: Option<String>,
    /// One of the recipients that are left: an address or `@DOMAIN`.
    pub recipient: Option<String>,
    /// The destination of one of them, as [`Waiting`] shows it.
    pub destination: Option<String>,
    /// Accepted at least so long ago.
    pub older_than: Option<Duration>,
    /// Accepted at most so long ago.
    pub younger_than: Option<Duration>,
    /// Names of the context, each with the value it must have, or with any. The message's context is looked at first,
    /// then the connection's.
    pub meta: Vec<(String, Option<String>)>,
    /// Whether it is held.
    pub held: Option<bool>,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Try it now.
    Retry,
    /// Try it no more until it is released.
    Hold,
    /// Let it go on.
    Release,
    /// Remove it, and tell nobody.
    Delete,
    /// Give it up, and tell its sender.
    Bounce,
}

/// A message of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: MessageId,
    /// When it was accepted, in milliseconds since 1970.
    pub received: u64,
    /// The listener it came in at.
    pub listener: String,
    /// The reverse-path; empty for the null sender.
    pub sender: String,
    /// Octets of content.
    pub size: u64,
    /// Attempts that ended.
    pub attempts: u32,
    /// When the next one is due, in milliseconds since 1970; none while one is under way, or it is held.
    pub next: Option<u64>,
    /// Whether it is held.
    pub held: bool,
    /// Its recipients, each with its destination and how it stands.
    pub recipients: Vec<(String, String, Standing)>,
}

/// A part of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Messages, in order of their ids.
    pub messages: Vec<Waiting>,
    /// Files that are no message, or a damaged or later one, and why.
    pub faults: Vec<(String, String)>,
    /// The last name that was looked at, if there are more behind it.
    pub more: Option<String>,
}

/// How the queue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that wait or are attempted.
    pub messages: u64,
    /// Those the operator holds.
    pub held: u64,
    /// When the oldest of them was accepted, in milliseconds since 1970.
    pub oldest: Option<u64>,
    /// Destinations with messages, the fullest first; of many only the first hundred.
    pub destinations: Vec<DestinationCounts>,
}

/// How it is at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationCounts {
    /// Which.
    pub destination: String,
    /// Messages with recipients there.
    pub messages: u64,
    /// Attempts under way.
    pub active: u64,
    /// Until when nothing is tried there, because it could not be reached; milliseconds since 1970.
    pub resting: Option<u64>,
}

/// An order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such message in the queue.
    #[error("no such message in the queue")]
    Gone,
    /// An attempt is under way, and what it does cannot be taken back.
    #[error("it is being delivered at this moment")]
    Busy,
    /// It is held, and is not tried.
    #[error("it is held; release it first")]
    Held,
    /// The disk.
    #[error("the spool failed")]
    Io(#[from] std::io::Error),
    /// Delivery has ended.
    #[error("the server is stopping")]
    Stopped,
}
