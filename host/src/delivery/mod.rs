//! Delivery: messages out of the spool, to where the routes send them.
//!
//! A [`Handle`] is the queue of one spool. It takes every message that lies there at the start and each new one at once,
//! tries it at the destinations of its recipients until all of them are served or given up, and tells their sender what
//! became of them (see `queue`). A recipient that was served is recorded in the spool before anything else is begun for
//! its message, so what a crash repeats is at most what was in hand, and a Maildir recognises that, too (see `maildir`).
//! [`Routes`] also answers, at RCPT, whether a recipient can be delivered at all.
//!
//! The room does not know how a message came in, nor who may send to whom.

mod address;
mod attempt;
mod handover;
mod maildir;
mod nats;
mod notice;
mod order;
mod queue;
mod route;
mod terms;
mod webhook;

pub use order::{Action, Counts, DestinationCounts, OrderError, Page, Selection, Waiting};
pub use route::{Contexts, Judgement, RecipientName, Routes};

use std::sync::Arc;

use tokio::sync::watch;

use crate::config;
use crate::kv::Clock;
use crate::spool::{MessageId, Spool};
use queue::{Queue, Routed};

/// The queue of one spool, and the operator's hand in it. Clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Arc<Queue>,
    routed: Arc<Routed>,
}

impl Handle {
    /// The queue of this spool, in which nothing moves until [`Handle::run`]. `hostname` is the server's own name, `clock`
    /// gives the time in milliseconds since 1970.
    pub fn new(spool: Spool, routes: Arc<Routes>, settings: config::Delivery, hostname: &str, clock: Clock) -> Handle {
        let routed = Arc::new(Routed::new(spool.clone(), routes, hostname));
        Handle { queue: Arc::new(Queue::new(spool, routed.clone(), settings, clock)), routed }
    }

    /// Delivers until `stop` turns true or its sender is gone; then ends what is in hand, begins nothing, and returns.
    ///
    /// Each attempt uses the routes of its moment. There can be one such task for a spool: a second returns at once.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        self.queue.run(stop).await;
    }

    /// Goes on with the routes, the schedule and the name of another configuration. Destinations that rest are tried
    /// again, and messages that wait for one that is no longer theirs go to the new one.
    pub fn follow(&self, routes: Arc<Routes>, settings: config::Delivery, hostname: &str) {
        self.routed.hostname.store(Arc::new(hostname.to_owned()));
        self.routed.routes.store(routes);
        self.queue.follow(settings);
    }

    /// The routes of this moment.
    pub fn routes(&self) -> Arc<Routes> {
        self.routed.routes.load_full()
    }

    /// A part of the queue: what a selection covers of the messages behind this name, in order of their ids. Looks at so
    /// many messages at most, chosen or not.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub async fn page(&self, selection: &Selection, after: Option<&str>, most: usize) -> Result<Page, OrderError> {
        self.queue.page(selection, after, most).await
    }

    /// One message.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn show(&self, id: &MessageId) -> Result<Waiting, OrderError> {
        self.queue.show(id).await
    }

    /// Does something with one message.
    ///
    /// # Errors
    /// It was not done.
    pub async fn act(&self, id: &MessageId, action: Action) -> Result<(), OrderError> {
        self.queue.act(id, action).await
    }

    /// How the queue is. Looks at no disk.
    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }
}

#[cfg(test)]
mod tests;
