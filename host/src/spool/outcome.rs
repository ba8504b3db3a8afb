//! What became of one recipient at one attempt: the words in which delivery speaks of it, and in which it is recorded.
//!
//! The room does not know how anything is delivered; it keeps what it is told.

use serde::{Deserialize, Serialize};

/// What became of one recipient at one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was served, durably so far as whoever took it says.
    Delivered(Receipt),
    /// It was not served, and may be later.
    Deferred(Failure),
    /// It was not served, and never will be.
    Failed(Failure),
}

/// Who took a recipient over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where it went, as a route's target reads: `maildir:/var/mail/bob`, `smtp://mx.example.net:25`.
    pub to: String,
    /// The name of the host that took it, if one did.
    pub remote: Option<String>,
    /// The reply it took it with, on one line.
    pub reply: Option<String>,
    /// Who tells the sender, if the sender wants to be told.
    pub duty: Duty,
}

/// Who tells the sender of a success (RFC 3461 sections 5.2 and 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// This server: it is the mailbox, or as good as one. `Action: delivered`.
    Delivered,
    /// This server, once, because the next hop does not know of notifications. `Action: relayed`.
    Relayed,
    /// The next hop, which was told what the sender wants.
    NextHop,
}

/// Why a recipient was not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The enhanced status code (RFC 3463), `4.4.1`. Its class says nothing about whether this ends the recipient: the
    /// [`Outcome`] does.
    pub status: String,
    /// What happened, for the log and for people, without its cause's control characters; at most [`TEXT_MAX`] octets.
    pub text: String,
    /// The name of the host that said so (Remote-MTA), if one did.
    pub remote: Option<String>,
    /// The SMTP reply that said so, on one line (Diagnostic-Code), if one did.
    pub reply: Option<String>,
    /// The three numbers of the last attempt's status, where this is that nothing more is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<[u16; 3]>,
    /// Whom else it would happen to.
    pub reach: Reach,
}

/// Whom a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// This recipient alone.
    Recipient,
    /// Every recipient of this message at this destination.
    Message,
    /// Everything that goes to this destination now: it cannot be reached, or takes nothing.
    Destination,
}

/// Octets of a text or a reply that is kept.
pub const TEXT_MAX: usize = 1024;

impl Failure {
    /// A failure that no remote host spoke of.
    pub fn local(status: &str, text: impl Into<String>, reach: Reach) -> Failure {
        Failure {
            status: status.to_owned(),
            text: one_line(&text.into()),
            remote: None,
            reply: None,
            cause: None,
            reach,
        }
    }
}

/// The three numbers of a status code, if it is one.
pub fn numbers(status: &str) -> Option<[u16; 3]> {
    let numbers: Vec<u16> = status.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// The text on one line: whoever reads it later reads no control character, and no more than [`TEXT_MAX`] octets.
pub fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(TEXT_MAX));
    line
}
