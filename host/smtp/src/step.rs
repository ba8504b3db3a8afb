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
    /// The replies that are due hold this many errors that are to be answered late: wait for each. The next step is the
    /// [`Step::Write`] that carries them.
    Tarpit(u32),
    /// A whole command line waits and has not been looked at: the moment to move to another configuration. Given once
    /// for each command line, never inside DATA's content or a chunk, nor between the lines of an extension's verb or of
    /// AUTH. Between two chunks of a message it is given, and [`Server::in_transaction`] tells.
    Turn,
    /// The transaction's scope is over (RSET, HELO or EHLO accepted, back to the greeting, STARTTLS, a first BDAT that was
    /// refused, [`Server::end_transaction`], a lock): what is known about the message goes. Not given after the end of a
    /// message, well or not, by DATA or BDAT: what is known about that message stays until the next MAIL.
    Reset,
    /// Policy is to answer. A question that is dropped instead counts as failed: 451 4.3.0, before the banner 421 and
    /// close, and the transaction it is about is over.
    Ask(Ask<'a>),
    /// Content of the message, at most 64 KiB at once: dots unstuffed, lines ending in CRLF. With `BODY=BINARYMIME` it is
    /// what was sent, octet for octet. What came by BDAT need not end in CRLF.
    Body(Vec<u8>),
    /// The message for which [`Ask::Data`] was accepted is not to be kept.
    Abort,
    /// The peer was told to go ahead: do the handshake, then [`Server::secured`].
    StartTls,
    /// Close the connection.
    Close,
}

/// Which time ran out, for [`Server::expire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// That of [`Patience::Command`].
    Command,
    /// That of [`Patience::Data`].
    Data,
    /// That of the whole transaction.
    Transaction,
    /// The content came, but too slowly.
    DataRate,
}

/// How long a peer may take is the session's to say; what it is about to send is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The next command, whole (RFC 5321 section 4.5.3.2.7).
    Command,
    /// The next octets of a message (RFC 5321 section 4.5.3.2.5).
    Data,
}
