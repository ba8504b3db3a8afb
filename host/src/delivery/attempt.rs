//! One attempt: a message to those of its recipients that go to one destination.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::address::Mailbox;
use super::maildir;
use super::queue::Work;
use super::route::{Destination, RecipientName, Routes};
use crate::spool::{Duty, Envelope, Outcome, Receipt, Recipient, Stored};

/// Where a recipient goes; none where no route takes it.
pub(super) fn destination(routes: &Routes, envelope: &Envelope, recipient: &Recipient) -> Option<Destination> {
    routes.destination(&RecipientName::of(envelope, recipient))
}

/// Takes a message to its recipients at one destination, and says what became of each. Those that go elsewhere by now are
/// left out.
pub(super) async fn deliver(routes: Arc<Routes>, work: Work) -> Vec<(usize, Outcome)> {
    let Work { destination: wanted, stored, recipients, fresh } = work;
    let mut outcomes = Vec::with_capacity(recipients.len());
    let mut together: Vec<(Destination, Vec<usize>)> = Vec::new();
    for index in recipients {
        let recipient = stored.envelope.recipients.get(index);
        let found = recipient.and_then(|recipient| destination(&routes, &stored.envelope, recipient));
        let Some(found) = found.filter(|found| *found.key() == *wanted) else { continue };
        match found {
            Destination::Discard => outcomes.push((index, Outcome::Delivered(receipt("discard:".to_owned())))),
            Destination::Mailbox { mailbox, create } => {
                outcomes.push((index, to_mailbox(mailbox, create, &stored, index, fresh).await));
            }
            // What goes along one route goes in one transaction; two routes to one place may differ in how they get there.
            found => match together.iter_mut().find(|(other, _)| other.is(&found)) {
                Some((_, indices)) => indices.push(index),
                None => together.push((found, vec![index])),
            },
        }
    }
    for (destination, indices) in together {
        outcomes.extend(match destination {
            Destination::Relay(relay, domain, _) => relay.deliver(&domain, &stored, &indices).await,
            Destination::Webhook(webhook, _) => webhook.deliver(&stored, &indices).await,
            Destination::Nats(nats, _) => nats.deliver(&stored, &indices).await,
            Destination::Discard | Destination::Mailbox { .. } => Vec::new(),
        });
    }
    outcomes
}

impl Destination {
    /// Whether another of its name is it: of one route, which one copy of a configuration belongs to.
    fn is(&self, other: &Destination) -> bool {
        match (self, other) {
            (Destination::Relay(a, ..), Destination::Relay(b, ..)) => std::ptr::eq(a.target(), b.target()),
            (Destination::Webhook(a, _), Destination::Webhook(b, _)) => std::ptr::eq(a.target(), b.target()),
            (Destination::Nats(a, _), Destination::Nats(b, _)) => std::ptr::eq(a.target(), b.target()),
            _ => false,
        }
    }
}

async fn to_mailbox(mailbox: Mailbox, create: bool, stored: &Arc<Stored>, index: usize, fresh: bool) -> Outcome {
    let (stored, to) = (stored.clone(), format!("maildir:{}", mailbox.path.display()));
    let copy = WRITERS.run(move || copy(&mailbox, create, &stored, index, fresh)).await;
    match copy.unwrap_or_else(|error| Err(Deferred::Broken(error))) {
        Ok(()) => Outcome::Delivered(receipt(to)),
        Err(error) => Outcome::Deferred(maildir::failure(&error)),
    }
}

/// The threads on which mailboxes are written. A disk that hangs keeps each thread that waits for it, and all that blocks
/// has the runtime's 512 in common: some must be left to commits and to the hashing of passwords, whatever hangs.
struct Writers(Semaphore);

impl Writers {
    const fn new(most: usize) -> Writers {
        Writers(Semaphore::const_new(most))
    }

    /// Does the work on a thread of its own; until there is one it waits, and keeps none.
    async fn run<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let place = self.0.acquire().await.map_err(io::Error::other)?;
        let work = tokio::task::spawn_blocking(move || {
            // Until the work is done, not until somebody stops waiting for it.
            let _place = place;
            work()
        });
        work.await.map_err(io::Error::other)
    }
}

static WRITERS: Writers = Writers::new(256);

/// Puts a recipient's copy into its mailbox, unless an earlier attempt did. Blocking.
fn copy(mailbox: &Mailbox, create: bool, stored: &Stored, index: usize, fresh: bool) -> Result<(), Deferred> {
    let envelope = &stored.envelope;
    let body = envelope.parameter("BODY").flatten();
    let copy = maildir::Copy {
        name: maildir::file_name(envelope, index),
        sender: &envelope.sender,
        binary: body.is_some_and(|body| body.eq_ignore_ascii_case("BINARYMIME")),
    };
    maildir::make(mailbox, create)?;
    if fresh || !copy.is_in(&mailbox.path)? {
        copy.write(&mailbox.path, stored.content())?;
    }
    Ok(())
}

fn receipt(to: String) -> Receipt {
    Receipt { to, remote: None, reply: None, duty: Duty::Delivered }
}

/// A recipient was not served; it will be tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deferred {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::{JoinSet, spawn_blocking, yield_now};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn mailboxes_that_hang_leave_threads_to_others() {
        static WRITERS: Writers = Writers::new(2);
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(3).build().unwrap();
        let (answer, answers) = mpsc::channel::<()>();
        let answers = Arc::new(Mutex::new(answers));
        let (begins, mut begun) = unbounded_channel();
        runtime.block_on(async {
            let mut writes = JoinSet::new();
            for _ in 0..4 {
                let (begins, answers) = (begins.clone(), answers.clone());
                writes.spawn(WRITERS.run(move || {
                    begins.send(()).unwrap();
                    answers.lock().unwrap().recv().unwrap();
                }));
            }
            for _ in 0..2 {
                begun.recv().await.unwrap();
            }
            for _ in 0..10 {
                yield_now().await;
            }
            let other = timeout(Duration::from_secs(10), spawn_blocking(|| ())).await;
            for _ in 0..4 {
                answer.send(()).unwrap();
            }
            assert!(writes.join_all().await.iter().all(Result::is_ok));
            assert!(other.is_ok(), "a thread is left");
        });
    }
}
