//! One attempt at one message: its recipients in order, each recorded as it is served.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::maildir;
use super::route::{Destination, RecipientName, Routes};
use crate::spool::{Envelope, LoadError, MessageId, Recipient, Record, Spool, Stored};

/// What an attempt is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The message was just accepted, and never attempted.
    Arrival,
    /// It was found in the queue as the server started.
    Start,
    /// It was found in the queue later.
    Retry,
}

/// Serves the recipients that are left, and removes the message if none is then. Everything that happens is logged.
pub(super) async fn attempt(spool: Spool, routes: Arc<Routes>, id: MessageId, occasion: Occasion) {
    match spool.load(&id).await {
        Ok(stored) => {
            let session = stored.envelope.session.clone();
            if let Err(error) = serve(&spool, &routes, &id, Arc::new(stored), occasion).await {
                let error = error.to_string();
                tracing::error!(
                    session = session.as_str(),
                    id = id.as_str(),
                    error = error.as_str(),
                    "delivery cannot be recorded"
                );
            }
        }
        // Delivered by an attempt that was faster.
        Err(LoadError::Gone) => {}
        // Only a start can find one that later attempts would find again and again.
        Err(LoadError::Version(_)) if occasion != Occasion::Start => {}
        Err(error) => {
            let reason = chain(&error);
            tracing::error!(id = id.as_str(), error = reason.as_str(), "message not loaded");
        }
    }
}

/// Fails when the spool cannot record what was done: then it is better to stop than to deliver what will be delivered
/// again.
async fn serve(
    spool: &Spool,
    routes: &Arc<Routes>,
    id: &MessageId,
    stored: Arc<Stored>,
    occasion: Occasion,
) -> io::Result<()> {
    let envelope = &stored.envelope;
    let mut left = stored.progress.pending().len();
    for &index in &stored.progress.pending() {
        let Some(recipient) = envelope.recipients.get(index) else { continue };
        let (stored, routes) = (Arc::clone(&stored), Arc::clone(routes));
        let delivery = tokio::task::spawn_blocking(move || deliver(&routes, &stored, index, occasion)).await;
        match delivery.unwrap_or_else(|error| Err(Deferred::Broken(io::Error::other(error)))) {
            Ok(to) => {
                log_delivered(envelope, recipient, &to);
                left -= 1;
                // The last one is recorded by the message's end.
                if left > 0 {
                    spool.record(id, vec![Record::Delivered(index)]).await?;
                }
            }
            Err(error) => log_deferred(envelope, recipient, &error),
        }
    }
    if left == 0 { spool.remove(id).await } else { Ok(()) }
}

/// A recipient was not served; it will be tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deferred {
    /// No route takes it (any more).
    #[error("no route takes this recipient")]
    NoRoute,
    /// There is no mailbox (any more), and its route makes none.
    #[error("there is no mailbox at {}", .0.display())]
    NoMailbox(PathBuf),
    /// The disk of the mailbox failed.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The message's own file could not be read on.
    #[error("cannot read the message")]
    Content(#[source] io::Error),
    /// The attempt itself broke off.
    #[error("the attempt broke off")]
    Broken(#[source] io::Error),
}

/// Delivers to one recipient and says where to. Blocking.
fn deliver(routes: &Routes, stored: &Stored, index: usize, occasion: Occasion) -> Result<String, Deferred> {
    let envelope = &stored.envelope;
    let recipient = envelope.recipients.get(index).ok_or(Deferred::NoRoute)?;
    match routes.destination(&RecipientName::of(envelope, recipient)).ok_or(Deferred::NoRoute)? {
        Destination::Discard => Ok("discard:".to_owned()),
        Destination::Relay(..) | Destination::Webhook(_) | Destination::Nats(_) => Err(Deferred::NoRoute),
        Destination::Mailbox { mailbox, create } => {
            let binary = |(name, value): &(String, Option<String>)| {
                name == "BODY" && value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("BINARYMIME"))
            };
            let copy = maildir::Copy {
                name: maildir::file_name(envelope, index),
                sender: &envelope.sender,
                binary: envelope.parameters.iter().any(binary),
            };
            let to = format!("maildir:{}", mailbox.path.display());
            maildir::make(&mailbox, create)?;
            if occasion == Occasion::Arrival || !copy.is_in(&mailbox.path)? {
                copy.write(&mailbox.path, stored.content())?;
            }
            Ok(to)
        }
    }
}

fn log_delivered(envelope: &Envelope, recipient: &Recipient, to: &str) {
    tracing::info!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        recipient = recipient.address.as_str(),
        to,
        "delivered"
    );
}

fn log_deferred(envelope: &Envelope, recipient: &Recipient, error: &Deferred) {
    let error = maildir::failure(error).text;
    tracing::warn!(
        session = envelope.session.as_str(),
        id = envelope.id.as_str(),
        recipient = recipient.address.as_str(),
        error = error.as_str(),
        "delivery deferred"
    );
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| Error::source(*error));
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
