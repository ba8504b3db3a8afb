//! The steps: what the machine needs from whoever runs the session.
//!
//! Plain data; how a step is done the machine does not know.

use crate::Ask;
#[cfg(doc)]
use crate::Server;

/// What the machine needs now.
#[derive(Debug)]
#[must_use = "the session stands still until the step is done"]
#[expect(
    clippy::large_enum_variant,
    reason = "a step lives for one turn of a loop, and a box would be made for each command"
)]
pub enum Step<'a> {
    /// Wait for octets, then [`Server::receive`] them; [`Server::expire`] when patience runs out,
    /// [`Server::end_of_input`] when the peer closed.
    Read {
        /// Which patience the peer may try.
        patience: Patience,
        /// Something was completed since the last `Read`, so the time starts anew. Single octets of a command never
        /// renew it.
        renewed: bool,
    },
    /// Send these replies.
    Write(Vec<u8>),
    /// A whole command line waits and has not been looked at: the moment to move to another configuration. Given once
    /// for each command line, never inside a message or between the lines of an extension's verb.
    Turn,
    /// The transaction's scope is over (RSET, HELO or EHLO accepted, back to the greeting, STARTTLS,
    /// [`Server::end_transaction`], a lock): what is known about the message goes. Not given after DATA: what is known about
    /// that message stays until the next MAIL.
    Reset,
    /// Policy is to answer. A question that is dropped instead counts as failed: 451 4.3.0, before the banner 421 and
    /// close, and the transaction it is about is over.
    Ask(Ask<'a>),
    /// Content of the message: dots unstuffed, lines ending in CRLF, at most 64 KiB at once.
    Body(Vec<u8>),
    /// The message begun with 354 is not to be kept.
    Abort,
    /// The peer was told to go ahead: do the handshake, then [`Server::secured`].
    StartTls,
    /// Close the connection.
    Close,
}

/// How long a peer may take is the session's to say; what it is about to send is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The next command, whole (RFC 5321 section 4.5.3.2.7).
    Command,
    /// The next octets of a message (RFC 5321 section 4.5.3.2.5).
    Data,
}
