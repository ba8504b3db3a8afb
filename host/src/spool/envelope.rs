//! What is kept of a message besides its content.
//!
//! A later version of the same file format may add a field if it has a default: a reader passes over what it does not
//! know, so a queue survives going one version back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Failure, MessageId};

/// The envelope of one accepted message, with where it came from and both contexts as they were at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The message's id, the one the client read in the 250.
    pub id: MessageId,
    /// The session it came in.
    pub session: String,
    /// When it was accepted, in milliseconds since 1970.
    pub received: u64,
    /// The name of the listener.
    pub listener: String,
    /// The name the server went by.
    pub hostname: String,
    /// The address at the other end of the connection.
    pub peer: String,
    /// The address the session was taken to come from, or `unknown`.
    pub client: String,
    /// The client's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The client's port, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// What the client said at HELO or EHLO.
    pub helo: Option<String>,
    /// The protocol as RFC 3848 names it: `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA`.
    pub protocol: String,
    /// The reverse-path without its brackets; empty for the null sender.
    pub sender: String,
    /// MAIL's parameters, in order.
    pub parameters: Vec<(String, Option<String>)>,
    /// Who it is for, in order; an index into this list is a recipient's name in the spool.
    pub recipients: Vec<Recipient>,
    /// The connection context.
    pub connection: BTreeMap<String, String>,
    /// The message context.
    pub message: BTreeMap<String, String>,
    /// Why the message was kept aside, if it was; it stays here when it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Quarantined>,
    /// The message this one is a notice of (RFC 3464), if this server made it; such a message is never told of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_of: Option<MessageId>,
}

impl Envelope {
    /// MAIL's parameter of this name, if it was said, with its value, if it has one.
    pub fn parameter(&self, name: &str) -> Option<Option<&str>> {
        let mut parameters = self.parameters.iter();
        parameters.find(|(said, _)| said.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_deref())
    }
}

/// Who had a message kept aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The extension.
    pub extension: String,
    /// The reason it gave.
    pub reason: String,
    /// The hook it gave it at.
    pub hook: String,
}

/// One recipient of an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address in its canonical form, for logs and for the next hop.
    pub address: String,
    /// The local part, unquoted.
    pub local: String,
    /// The domain in lower case, or an address literal as it was written; empty or the server's own name for the bare
    /// `<postmaster>`.
    pub domain: String,
    /// Whether this is postmaster, whose mailbox always exists (RFC 5321 4.5.1).
    pub postmaster: bool,
    /// RCPT's parameters, in order.
    pub parameters: Vec<(String, Option<String>)>,
    /// Why it is refused, if policy refused it when its sender could no longer be told by a reply: nothing is delivered to
    /// it, and its sender is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Failure>,
}
