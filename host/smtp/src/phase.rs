//! The places a session can be in, and what each remembers.
//!
//! What leads from one to another is in `verb` and `server`.

use crate::Envelope;
use crate::body::Decoder;

/// Where the session stands. What a place needs to remember is in it.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// Connect policy is to be asked, then the banner said.
    Greeting,
    /// Commands are taken.
    #[default]
    Commands,
    /// The next line belongs to this verb of an extension.
    Resume(String),
    /// 354 was said; content is taken.
    Body { decoder: Decoder, transaction: Transaction },
    /// The content is in and sound; policy is to be asked about it.
    Received { size: u64, transaction: Transaction },
    /// Policy has accepted the message; it is to be made durable.
    Accepted { size: u64, transaction: Transaction },
    /// 220 was said to STARTTLS.
    Handshake,
    /// Nothing is left but to write what was said, and close.
    Closed,
}

/// A transaction under way.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) envelope: Envelope,
    /// At least one RCPT was refused.
    pub(crate) recipient_refused: bool,
}
