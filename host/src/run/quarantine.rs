//! The operator's orders about messages that are kept aside.

use super::Server;
use crate::control::{Kept, Order, PART, Response, Shelf, Shown};
use crate::observe::{chain, timestamp};
use crate::spool::{Aside, Envelope, MessageId, QuarantineError, Spool, Stored};
use std::io::{self, Read};
use std::time::{Duration, UNIX_EPOCH};

/// Messages one answer names at most, and recipients of each.
const MESSAGES: usize = 1000;
const RECIPIENTS: usize = 10;

impl Server {
    /// Carries an order out.
    pub(super) async fn keeper(&self, order: Order) -> Response {
        match carry_out(&self.spool, order).await {
            Ok(response) => response,
            Err(text) => Response::Refused(text),
        }
    }
}

async fn carry_out(spool: &Spool, order: Order) -> Result<Response, String> {
    match order {
        Order::List { after } => {
            let shelf = spool.shelf(after, MESSAGES).await.map_err(|error| chain(&error))?;
            let messages = shelf.entries.iter().map(listed).collect();
            Ok(Response::Shelf(Shelf { messages, more: shelf.more }))
        }
        Order::Show { id, offset } => {
            let stored = spool.load_aside(&parsed(&id)?).await.map_err(|error| refused(&id, &error))?;
            let (stored, octets) = read(stored, offset).await.map_err(|error| chain(&error))?;
            let envelope = &stored.envelope;
            let message = described(envelope, stored.content_len, usize::MAX);
            let shown = Shown {
                message,
                peer: envelope.peer.clone(),
                client: envelope.client.clone(),
                helo: envelope.helo.clone(),
                ..Shown::default()
            };
            Ok(Response::Shown(Box::new(shown.with(offset, &octets))))
        }
        Order::Release { id } => {
            spool.release(&parsed(&id)?).await.map_err(|error| refused(&id, &error))?;
            tracing::info!(id = &*id, "message released");
            Ok(Response::Done(format!("{id} is in the queue")))
        }
        Order::Delete { id } => {
            spool.delete(&parsed(&id)?).await.map_err(|error| refused(&id, &error))?;
            tracing::info!(id = &*id, "quarantined message deleted");
            Ok(Response::Done(format!("{id} is deleted")))
        }
    }
}

/// An id becomes a file's name, so it is one of the spool's or nothing.
fn parsed(id: &str) -> Result<MessageId, String> {
    id.parse().map_err(|_| format!("`{}` is no message id", crate::observe::escape(id)))
}

fn refused(id: &str, error: &QuarantineError) -> String {
    format!("{id}: {}", chain(error))
}

fn listed(aside: &Aside) -> Kept {
    match &aside.message {
        Ok((envelope, size)) => described(envelope, *size, RECIPIENTS),
        Err(error) => Kept { id: aside.name.clone(), fault: Some(chain(error)), ..Kept::default() },
    }
}

fn described(envelope: &Envelope, size: u64, recipients: usize) -> Kept {
    let why = envelope.quarantined.clone();
    let (extension, hook, reason) = why.map(|why| (why.extension, why.hook, why.reason)).unwrap_or_default();
    Kept {
        id: envelope.id.to_string(),
        received: timestamp(UNIX_EPOCH + Duration::from_millis(envelope.received)),
        from: envelope.sender.clone(),
        to: envelope.recipients.iter().take(recipients).map(|recipient| recipient.address.clone()).collect(),
        recipients: envelope.recipients.len(),
        extension,
        hook,
        reason,
        size,
        fault: None,
    }
}

async fn read(stored: Stored, offset: u64) -> io::Result<(Stored, Vec<u8>)> {
    let work = move || {
        let mut octets = Vec::new();
        stored.content_from(offset).take(u64::try_from(PART).unwrap_or(u64::MAX)).read_to_end(&mut octets)?;
        Ok((stored, octets))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
