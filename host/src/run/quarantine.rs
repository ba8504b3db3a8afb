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
            let name = parsed(&id)?;
            // A large message is shown in many parts, and is verified whole before the first.
            let stored = match offset {
                0 => spool.load_aside(&name).await,
                _ => spool.open_aside(&name).await,
            };
            let stored = stored.map_err(|error| refused(&id, &error))?;
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

/// A part of the content from `offset` on.
pub(super) async fn read(stored: Stored, offset: u64) -> io::Result<(Stored, Vec<u8>)> {
    let work = move || {
        let mut octets = Vec::new();
        stored.content_from(offset).take(u64::try_from(PART).unwrap_or(u64::MAX)).read_to_end(&mut octets)?;
        Ok((stored, octets))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::spool::{Quarantined, sample};
    use std::fs;

    const ID: &str = "s.1";

    fn envelope() -> Envelope {
        let text = String::new;
        let quarantined = Some(Quarantined { extension: text(), reason: text(), hook: text() });
        Envelope { quarantined, ..sample::envelope(ID, &[]) }
    }

    async fn shown(spool: &Spool, offset: u64) -> Option<Vec<u8>> {
        match carry_out(spool, Order::Show { id: ID.to_owned(), offset }).await {
            Ok(Response::Shown(shown)) => shown.octets(),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    /// Damage elsewhere than in the part is found only by who reads all of it, which the first part is enough for.
    #[tokio::test]
    async fn a_message_is_verified_with_its_first_part() {
        let state = tempfile::tempdir().unwrap();
        let spool = Spool::open(state.path()).unwrap();
        let mut draft = spool.begin(ID.parse().unwrap());
        let content = vec![b'x'; PART + 10];
        draft.write(&content).await.unwrap();
        draft.commit(envelope()).await.unwrap();
        let offset = u64::try_from(PART).unwrap();
        assert_eq!(shown(&spool, 0).await.unwrap(), content[..PART]);
        assert_eq!(shown(&spool, offset).await.unwrap(), content[PART..]);
        assert!(shown(&spool, offset + 10).await.unwrap().is_empty());
        let file = state.path().join("spool/quarantine").join(ID);
        let mut octets = fs::read(&file).unwrap();
        octets[100] ^= 1;
        fs::write(&file, octets).unwrap();
        assert_eq!(shown(&spool, 0).await, None);
        assert_eq!(shown(&spool, offset).await.unwrap(), content[PART..]);
    }
}
