//! The places a session can be in, and what each remembers.
//!
//! What leads from one to another is in `verb` and `server`.

use crate::body::Decoder;
use crate::content::Content;
use crate::{Envelope, Protocol, Refusal};

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
    /// The next line answers a challenge of this mechanism.
    Authenticating(String),
    /// 354 was said; content is taken.
    Body { decoder: Decoder, transaction: Transaction },
    /// The octets of a chunk are taken.
    Chunk { chunk: Chunk, fate: Fate },
    /// The content is in and sound; policy is to be asked about it.
    Received { size: u64, transaction: Transaction },
    /// Policy has accepted the message; it is to be made durable.
    Accepted { size: u64, transaction: Transaction },
    /// 220 was said to STARTTLS.
    Handshake,
    /// Nothing is left but to write what was said, and close.
    Closed,
}

/// A chunk that BDAT announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    /// Its octets.
    pub(crate) size: u64,
    /// Those that have not come yet.
    pub(crate) left: u64,
    /// The message ends with it.
    pub(crate) last: bool,
}

/// What becomes of a chunk.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a session, in a place that is as large anyhow")]
pub(crate) enum Fate {
    /// It is content of this transaction's message.
    Taken { content: Content, transaction: Transaction },
    /// It is read, and this said in the end, so often.
    Refused {
        refusal: Refusal,
        replies: usize,
        /// The refusal is policy's.
        policy: bool,
    },
}

/// A transaction under way.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) envelope: Envelope,
    /// At least one RCPT was refused.
    pub(crate) recipient_refused: bool,
    /// The content, if BDAT has begun it and the next chunk is awaited. It is sound.
    pub(crate) content: Option<Content>,
}

impl Transaction {
    /// How many replies the end of the message gets (RFC 2033 section 4.2).
    pub(crate) fn replies(&self, protocol: Protocol) -> usize {
        match protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => self.envelope.recipients.len().max(1),
        }
    }
}
