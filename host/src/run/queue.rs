//! The operator's orders about messages that wait for delivery.

use super::Server;
use super::quarantine::read;
use crate::control::Response;
use crate::control::{Acted, DestinationStatus, Fault, Letter, QueueOrder, QueuePage, Queued, QueuedRecipient};
use crate::delivery::{Action, Counts, Handle, OrderError, Page, Selection, Waiting};
use crate::observe::{Story, chain, clip, timestamp};
use crate::spool::{self, Ended, Envelope, LoadError, MessageId, Recipient, Spool, Standing, Stored};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Messages that are looked at for one answer, and recipients of each that it names.
const MESSAGES: usize = 1000;
const RECIPIENTS: usize = 8;
/// Files that are no message, or a damaged one, that are named.
const FAULTS: usize = 1000;
/// Events of the history that is shown with a message: the last.
const HISTORY: usize = 200;

impl Server {
    /// Carries an order out.
    pub(super) async fn postmaster(&self, order: QueueOrder) -> Response {
        let handle = &self.queue;
        match order {
            QueueOrder::List { selection, after } => match self.listed(&selection, after.as_deref()).await {
                Ok(page) => Response::Queue(page),
                Err(text) => Response::Refused(text),
            },
            QueueOrder::Show { id, offset } => match self.letter(&id, offset).await {
                Ok(letter) => Response::Letter(Box::new(letter)),
                Err(text) => Response::Refused(text),
            },
            QueueOrder::Act { ids, .. } if ids.len() > QueueOrder::IDS => {
                Response::Refused(format!("more than {} messages at a time", QueueOrder::IDS))
            }
            QueueOrder::Act { ids, action } => {
                let mut acted = Vec::new();
                for id in ids {
                    acted.push(act(handle, id, action).await);
                }
                Response::Acted(acted)
            }
        }
    }

    /// A part of the queue. What lies there and is no message stands in the first part, unless only some are asked for.
    async fn listed(&self, selection: &Selection, after: Option<&str>) -> Result<QueuePage, String> {
        let page = self.queue.page(selection, after, MESSAGES).await.map_err(|error| chain(&error))?;
        let mut listed = listed(page, now());
        listed.faults.clear();
        if after.is_none() && *selection == Selection::default() {
            let faults = self.spool.faults(FAULTS).await.map_err(|error| chain(&error))?;
            let fault = |it: spool::Fault| Fault { name: format!("{}/{}", it.directory, it.name), fault: it.reason };
            listed.faults = faults.into_iter().map(fault).collect();
        }
        Ok(listed)
    }

    /// How a message stands, if it is in the queue.
    pub(super) async fn standing(&self, id: &MessageId) -> Option<Queued> {
        let waiting = self.queue.show(id).await.ok()?;
        Some(described(&waiting, now(), RECIPIENTS))
    }

    async fn letter(&self, id: &str, offset: u64) -> Result<Letter, String> {
        let name = parsed(id)?;
        let waiting = self.queue.show(&name).await.map_err(|error| refused(id, &error))?;
        let stored = load(&self.spool, &name, offset).await.map_err(|error| refused(id, &error))?;
        let (stored, octets) = read(stored, offset).await.map_err(|error| refused(id, &error))?;
        let history = if offset == 0 { self.history(id).await } else { Vec::new() };
        Ok(Letter { history, ..enveloped(&waiting, &stored.envelope, now()) }.with(offset, &octets))
    }

    /// What is remembered of one message alone.
    async fn history(&self, id: &str) -> Vec<crate::observe::Told> {
        let mut events = self.recall(Story::of(id)).await.0;
        events.retain(|(_, event)| event.field("id") == Some(id));
        let left_out = events.len().saturating_sub(HISTORY);
        events.into_iter().skip(left_out).map(|(_, event)| event).collect()
    }
}

/// Destinations as `status` shows them.
pub(super) fn destinations(counts: &Counts) -> Vec<DestinationStatus> {
    let destination = |it: &crate::delivery::DestinationCounts| DestinationStatus {
        destination: it.destination.clone(),
        messages: it.messages,
        active: it.active,
        resting_until: it.resting.map(moment),
    };
    counts.destinations.iter().map(destination).collect()
}

/// A time in milliseconds since 1970 as RFC 3339.
pub(super) fn moment(milliseconds: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_millis(milliseconds))
}

/// Seconds since then.
pub(super) fn age(milliseconds: u64) -> u64 {
    now().saturating_sub(milliseconds) / 1000
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn act(handle: &Handle, id: String, action: Action) -> Acted {
    let result = match parsed(&id) {
        Ok(name) => handle.act(&name, action).await.map_err(|error| (chain(&error), matches!(error, OrderError::Gone))),
        Err(text) => Err((text, false)),
    };
    match result {
        Ok(()) => Acted { id, ..Acted::default() },
        Err((error, gone)) => Acted { id, error: Some(error), gone },
    }
}

/// A large message is shown in many parts, and is verified whole before the first.
async fn load(spool: &Spool, id: &MessageId, offset: u64) -> Result<Stored, LoadError> {
    match offset {
        0 => spool.load(id).await,
        _ => spool.peek(id).await,
    }
}

/// An id becomes a file's name, so it is one of the spool's or nothing.
fn parsed(id: &str) -> Result<MessageId, String> {
    id.parse().map_err(|_| format!("`{}` is no message id", crate::observe::escape(id)))
}

fn refused(id: &str, error: &dyn std::error::Error) -> String {
    format!("{id}: {}", chain(error))
}

fn listed(page: Page, now: u64) -> QueuePage {
    QueuePage {
        messages: page.messages.iter().map(|waiting| described(waiting, now, RECIPIENTS)).collect(),
        faults: page.faults.into_iter().map(|(name, fault)| Fault { name, fault }).collect(),
        after: page.more,
    }
}

/// A message with the first of the recipients that are left.
fn described(waiting: &Waiting, now: u64, recipients: usize) -> Queued {
    let left = || waiting.recipients.iter().filter(|(_, _, standing)| standing.ended.is_none());
    Queued {
        id: waiting.id.to_string(),
        received: moment(waiting.received),
        age_seconds: now.saturating_sub(waiting.received) / 1000,
        listener: waiting.listener.clone(),
        from: waiting.sender.clone(),
        size: waiting.size,
        attempts: waiting.attempts,
        next: waiting.next.map(moment),
        next_seconds: waiting.next.map(|next| next.saturating_sub(now).div_ceil(1000)),
        held: waiting.held,
        to: left().take(recipients).map(|(address, to, standing)| recipient(address, to, standing)).collect(),
        left: left().count(),
    }
}

fn recipient(address: &str, destination: &str, standing: &Standing) -> QueuedRecipient {
    let (word, failure) = match (&standing.ended, &standing.deferred) {
        (Some(Ended::Delivered), _) => ("delivered", None),
        (Some(Ended::Failed(failure)), _) => ("failed", Some(failure)),
        (None, Some(failure)) => ("deferred", Some(failure)),
        (None, None) => ("waiting", None),
    };
    let text = |text: &String| clip(text).into_owned();
    QueuedRecipient {
        address: address.to_owned(),
        destination: destination.to_owned(),
        standing: word.to_owned(),
        status: failure.map(|failure| failure.status.clone()),
        reason: failure.map(|failure| text(&failure.text)),
        remote: failure.and_then(|failure| failure.remote.as_ref().map(text)),
        reply: failure.and_then(|failure| failure.reply.as_ref().map(text)),
        delayed: standing.delayed,
        parameters: Vec::new(),
    }
}

/// A message with all its recipients and what its envelope says.
fn enveloped(waiting: &Waiting, envelope: &Envelope, now: u64) -> Letter {
    let to = waiting.recipients.iter().enumerate().map(|(index, (address, destination, standing))| {
        let parameters = envelope.recipients.get(index).map(|it: &Recipient| written(&it.parameters));
        QueuedRecipient { parameters: parameters.unwrap_or_default(), ..recipient(address, destination, standing) }
    });
    Letter {
        message: Queued { to: to.collect(), ..described(waiting, now, 0) },
        session: envelope.session.clone(),
        peer: envelope.peer.clone(),
        client: envelope.client.clone(),
        helo: envelope.helo.clone(),
        protocol: envelope.protocol.clone(),
        parameters: written(&envelope.parameters),
        notice_of: envelope.notice_of.as_ref().map(MessageId::to_string),
        connection: envelope.connection.clone(),
        context: envelope.message.clone(),
        ..Letter::default()
    }
}

/// Parameters as they were said.
fn written(parameters: &[(String, Option<String>)]) -> Vec<String> {
    let one = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    parameters.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::spool::{Failure, Reach};

    fn waiting(recipients: Vec<(&str, Standing)>) -> Waiting {
        Waiting {
            id: "S.1".parse().unwrap(),
            received: 1_000_000,
            listener: "edge".to_owned(),
            sender: "a@x.test".to_owned(),
            size: 7,
            attempts: 2,
            next: Some(1_065_001),
            held: false,
            recipients: recipients.into_iter().map(|(to, it)| (to.to_owned(), "d".to_owned(), it)).collect(),
        }
    }

    fn failure(text: &str) -> Failure {
        Failure::local("4.4.1", text, Reach::Recipient)
    }

    #[test]
    fn a_list_names_who_is_left_and_why() {
        let standings = [
            ("open", Standing::default()),
            ("deferred", Standing { deferred: Some(failure("refused")), delayed: true, ..Standing::default() }),
            ("done", Standing { ended: Some(Ended::Delivered), ..Standing::default() }),
            ("lost", Standing { ended: Some(Ended::Failed(failure("no"))), ..Standing::default() }),
        ];
        let message = described(&waiting(standings.to_vec()), 1_060_000, 8);
        assert_eq!((message.age_seconds, message.next_seconds, message.left), (60, Some(6), 2));
        let words: Vec<_> = message.to.iter().map(|to| (&*to.address, &*to.standing, to.reason.as_deref())).collect();
        assert_eq!(words, [("open", "waiting", None), ("deferred", "deferred", Some("refused"))]);
        assert!(message.to[1].delayed);
        let one = described(&waiting(standings.to_vec()), 2_000_000, 1);
        // What is due is due, however long.
        assert_eq!((one.to.len(), one.left, one.next_seconds), (1, 2, Some(0)));
    }

    /// The client takes no answer longer than 16 MiB.
    #[test]
    fn the_longest_list_fits_into_an_answer() {
        let long =
            Failure { remote: Some("r".repeat(255)), reply: Some("5".repeat(1024)), ..failure(&"t".repeat(1024)) };
        let standing = Standing { deferred: Some(long), ..Standing::default() };
        let address = format!("{}@{}", "l".repeat(64), "d".repeat(255));
        let message = waiting(vec![(&*address, standing); 100]);
        let message = Waiting { id: "i".repeat(64).parse().unwrap(), sender: address.clone(), ..message };
        let page = Page { messages: vec![message; MESSAGES], ..Page::default() };
        let answer = serde_json::to_string(&listed(page, 0)).unwrap();
        assert!(answer.len() < 15 << 20, "{}", answer.len());
    }
}
