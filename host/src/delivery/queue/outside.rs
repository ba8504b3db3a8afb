//! What the queue does to the rest of the world: where a recipient goes, taking a message there, and telling its sender.
//!
//! It is a trait so that the queue can be watched in a world where five days pass in a moment. [`Routed`] is the real one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::lane::Way;
use crate::delivery::attempt;
use crate::delivery::notice::{self, Report};
use crate::delivery::route::{Destination, Routes};
use crate::spool::{Envelope, Outcome, Recipient, Spool, Stored};

pub(in super::super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One attempt: recipients of a message that go to one destination.
#[derive(Debug)]
pub(in super::super) struct Work {
    pub(in super::super) destination: Arc<str>,
    pub(in super::super) stored: Arc<Stored>,
    /// Indices into the envelope's recipients.
    pub(in super::super) recipients: Vec<usize>,
    /// Whether nobody can have tried before, this process or another.
    pub(in super::super) fresh: bool,
}

/// What the queue needs of the world.
pub(in super::super) trait Outside: fmt::Debug + Send + Sync {
    /// Where a recipient's mail goes now; none where no route takes it.
    fn way(&self, envelope: &Envelope, recipient: &Recipient) -> Option<Way>;

    /// Takes a message there. What is not said of a recipient is taken for: not now.
    fn deliver(&self, work: Work) -> BoxFuture<Vec<(usize, Outcome)>>;

    /// Tells the sender, durably.
    fn tell(&self, stored: Arc<Stored>, reports: Vec<(usize, Report)>, now: u64) -> BoxFuture<io::Result<()>>;
}

/// The routes of the configuration that is served.
#[derive(Debug)]
pub(in super::super) struct Routed {
    spool: Spool,
    pub(in super::super) routes: ArcSwap<Routes>,
    pub(in super::super) hostname: ArcSwap<String>,
}

impl Routed {
    pub(in super::super) fn new(spool: Spool, routes: Arc<Routes>, hostname: &str) -> Routed {
        Routed { spool, routes: ArcSwap::from(routes), hostname: ArcSwap::from_pointee(hostname.to_owned()) }
    }
}

impl Outside for Routed {
    fn way(&self, envelope: &Envelope, recipient: &Recipient) -> Option<Way> {
        let destination = attempt::destination(&self.routes.load(), envelope, recipient)?;
        let local = matches!(destination, Destination::Mailbox { .. } | Destination::Discard);
        Some(Way { destination: destination.key(), concurrency: destination.concurrency(), local })
    }

    fn deliver(&self, work: Work) -> BoxFuture<Vec<(usize, Outcome)>> {
        Box::pin(attempt::deliver(self.routes.load_full(), work))
    }

    fn tell(&self, stored: Arc<Stored>, reports: Vec<(usize, Report)>, now: u64) -> BoxFuture<io::Result<()>> {
        let (spool, hostname) = (self.spool.clone(), self.hostname.load_full());
        Box::pin(async move { notice::send(&spool, &hostname, &stored, &reports, now).await.map(|_| ()) })
    }
}
