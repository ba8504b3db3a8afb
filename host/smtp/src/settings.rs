//! What holds for a session, as its owner resolved it: name, TLS, limits, and what extensions declared.
//!
//! It does not know where the values come from, nor which extension stands behind a verb or a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What holds for a session until it is set anew with [`Server::set_settings`](crate::Server::set_settings).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name the server goes by in its replies.
    pub hostname: String,
    /// What the session may do, or has done, about TLS.
    pub tls: Tls,
    /// What a peer may use up.
    pub limits: Limits,
    /// What becomes of a CR or LF in a message that is no part of a CRLF.
    pub stray_newlines: StrayNewlines,
    /// The verbs extensions declared, in upper case.
    pub verbs: Arc<Verbs>,
    /// The MAIL parameters extensions declared, in upper case.
    pub mail_parameters: Arc<BTreeSet<String>>,
    /// The RCPT parameters extensions declared, in upper case.
    pub recipient_parameters: Arc<BTreeSet<String>>,
}

impl Settings {
    /// No TLS, the default limits, stray newlines refused, no extensions.
    pub fn new(hostname: impl Into<String>) -> Self {
        Settings {
            hostname: hostname.into(),
            tls: Tls::Off,
            limits: Limits::default(),
            stray_newlines: StrayNewlines::default(),
            verbs: Arc::default(),
            mail_parameters: Arc::default(),
            recipient_parameters: Arc::default(),
        }
    }
}

/// What the session may do, or has done, about TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS is not offered: 502.
    #[default]
    Off,
    /// STARTTLS is offered.
    Offered,
    /// STARTTLS is offered, and nothing that matters is done without it: 530.
    Required,
    /// The session is under TLS, from its first octet or since STARTTLS.
    Active,
}

/// What a peer may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line, CRLF included. RFC 5321 section 4.5.3.1.4 asks for 512 at least, and parameters add to it.
    pub command_line: usize,
    /// Octets of a message's content; 0 is no limit.
    pub message_size: u64,
    /// Recipients of a message. RFC 5321 section 4.5.3.1.8 asks for 100 at least.
    pub recipients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { command_line: 4096, message_size: 50 * 1024 * 1024, recipients: 1000 }
    }
}

/// What becomes of a CR or LF in a message that is no part of a CRLF. Neither choice lets one end a line or the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrayNewlines {
    /// The message is refused: 550 5.6.0.
    #[default]
    Refuse,
    /// Each becomes CRLF in the content.
    Normalize,
}

/// The verbs extensions declared, in upper case.
pub type Verbs = BTreeMap<String, Claim>;

/// What a verb that an extension declared is to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may be said, by its rule.
    Open(Rule),
    /// It exists here, but not for this client: 550 5.7.0.
    Closed,
    /// It was there earlier in this session, and a change of configuration took its extension away: 502 5.5.1.
    Gone,
}

/// When a verb that an extension declared may be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Also before HELO or EHLO.
    pub before_hello: bool,
    /// Also between MAIL and the end of the message.
    pub in_transaction: bool,
    /// Only under TLS.
    pub only_tls: bool,
    /// Only as the last command of a pipelined group: nothing may wait behind it.
    pub last_in_group: bool,
}
