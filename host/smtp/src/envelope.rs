//! The envelope: what MAIL and RCPT said about the message to come.
//!
//! Plain data that cannot be malformed, for its parts cannot; it does not know what becomes of the message.

use crate::{Address, Parameter, Sender};

/// One mail transaction, from MAIL to the end of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who the message is from.
    pub sender: Sender,
    /// MAIL's parameters, all of them, as given; but MT-PRIORITY as it was granted.
    pub parameters: Vec<Parameter>,
    /// What BODY= said.
    pub body: Body,
    /// What SIZE= said: octets the peer means to send.
    pub size: Option<u64>,
    /// SMTPUTF8 was said: addresses and header fields may hold UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// The recipients that were accepted, in order.
    pub recipients: Vec<EnvelopeRecipient>,
    /// The message is to be answered as if all were well, and delivered to nobody.
    pub discard: bool,
}

/// A recipient that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeRecipient {
    /// Who it is.
    pub address: Address,
    /// RCPT's parameters, as given.
    pub parameters: Vec<Parameter>,
    /// This recipient is to get nothing, though 250 was said.
    pub discard: bool,
}

/// What the peer said of its message's octets (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// `BODY=7BIT`, or nothing was said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME`: any octets, in lines or not.
    BinaryMime,
}
