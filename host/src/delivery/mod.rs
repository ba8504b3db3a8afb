//! Delivery: messages out of the spool, to where the routes send them.
//!
//! [`run`] takes every message of the queue at the start, each new one at once, and every minute what is left; eight at a
//! time, the recipients of one in their order. A recipient that was served is recorded in the spool before the next, so
//! what a crash repeats is at most what was in hand, and a Maildir recognises that, too (see `maildir`). What cannot be
//! delivered stays. [`Routes`] also answers, at RCPT, whether a recipient can be delivered at all.
//!
//! The room does not know how a message came in, nor who may send to whom.

mod address;
mod attempt;
mod handover;
mod maildir;
mod nats;
mod notice;
mod order;
mod route;
mod terms;
mod webhook;

pub use order::{Action, Counts, DestinationCounts, OrderError, Page, Selection, Waiting};
pub use route::{Contexts, Judgement, RecipientName, Routes};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::spool::{Arrival, Arrivals, MessageId, Spool};
use attempt::{Occasion, attempt};

/// Delivers until `stop` turns true or its sender is gone; then ends what is in hand and returns.
///
/// Each attempt uses the routes of its moment. There can be one such task for a spool: a second returns at once.
pub async fn run(spool: Spool, routes: Arc<ArcSwap<Routes>>, stop: watch::Receiver<bool>) {
    run_every(RETRY, spool, routes, stop).await;
}

async fn run_every(retry: Duration, spool: Spool, routes: Arc<ArcSwap<Routes>>, mut stop: watch::Receiver<bool>) {
    let Some(arrivals) = spool.arrivals() else {
        tracing::error!("delivery runs already");
        return;
    };
    let mut retry = interval(retry);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut delivery = Delivery {
        spool,
        routes,
        attempts: JoinSet::new(),
        in_hand: HashMap::new(),
        arrivals,
        seen_by_scan: 0,
        scan: None,
        scan_as: Occasion::Start,
        scan_again: false,
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = delivery.work(&mut retry) => {}
    }
    delivery.finish().await;
}

/// The task's state: what is being attempted, and what to attempt next.
#[derive(Debug)]
struct Delivery {
    spool: Spool,
    routes: Arc<ArcSwap<Routes>>,
    attempts: JoinSet<()>,
    in_hand: HashMap<Id, MessageId>,
    arrivals: Arrivals,
    /// So many of the arrivals that wait may have been attempted already, because a scan met them.
    seen_by_scan: usize,
    /// The ids of a reading of the queue that is under way.
    scan: Option<mpsc::Receiver<MessageId>>,
    scan_as: Occasion,
    /// Whether messages arrived that a reading under way may have missed.
    scan_again: bool,
}

impl Delivery {
    /// Never ends. Every wait in it can be given up at any time.
    async fn work(&mut self, retry: &mut Interval) {
        loop {
            let free = self.attempts.len() < CONCURRENT;
            tokio::select! {
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended),
                arrival = self.arrivals.next(), if free => self.arrived(arrival),
                id = next(&mut self.scan), if free && self.scan.is_some() => self.scanned(id),
                _ = retry.tick(), if self.scan.is_none() => self.begin_scan(),
            }
        }
    }

    /// Ends what is in hand, and begins nothing.
    async fn finish(mut self) {
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(id) => {
                let new = self.scan.is_none() && self.seen_by_scan == 0;
                self.seen_by_scan = self.seen_by_scan.saturating_sub(1);
                self.begin(id, if new { Occasion::Arrival } else { Occasion::Retry });
            }
            Arrival::Many if self.scan.is_some() => self.scan_again = true,
            Arrival::Many => self.begin_scan(),
        }
    }

    fn scanned(&mut self, id: Option<MessageId>) {
        let Some(id) = id else {
            self.scan = None;
            self.scan_as = Occasion::Retry;
            self.seen_by_scan = self.arrivals.waiting();
            if std::mem::take(&mut self.scan_again) {
                self.begin_scan();
            }
            return;
        };
        self.begin(id, self.scan_as);
    }

    /// Reads the queue on a thread of its own, which waits while there is enough to do.
    fn begin_scan(&mut self) {
        let (sender, receiver) = mpsc::channel(CONCURRENT);
        let spool = self.spool.clone();
        tokio::task::spawn_blocking(move || match spool.queued() {
            Ok(mut ids) => {
                // An error here says that nobody wants the rest.
                let _ = ids.try_for_each(|id| sender.blocking_send(id));
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(error = error.as_str(), "queue cannot be read");
            }
        });
        self.scan = Some(receiver);
    }

    fn begin(&mut self, id: MessageId, occasion: Occasion) {
        if self.in_hand.values().any(|other| *other == id) {
            return;
        }
        let (spool, routes) = (self.spool.clone(), self.routes.load_full());
        let task = self.attempts.spawn(attempt(spool, routes, id.clone(), occasion));
        self.in_hand.insert(task.id(), id);
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match &ended {
            Ok((task, ())) => *task,
            Err(error) => error.id(),
        };
        let id = self.in_hand.remove(&task);
        if let (Err(error), Some(id)) = (ended, id) {
            let error = error.to_string();
            tracing::error!(id = id.as_str(), error = error.as_str(), "delivery attempt broke off");
        }
    }
}

async fn next(scan: &mut Option<mpsc::Receiver<MessageId>>) -> Option<MessageId> {
    scan.as_mut()?.recv().await
}

/// The operator's hand in the queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Handle(());

impl Handle {
    /// A part of the queue: what a selection covers of the messages behind this name, in order of their ids. Looks at so
    /// many messages at most, chosen or not.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub async fn page(&self, selection: &Selection, after: Option<&str>, most: usize) -> Result<Page, OrderError> {
        let _ = (selection, after, most);
        Ok(Page::default())
    }

    /// One message.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn show(&self, id: &MessageId) -> Result<Waiting, OrderError> {
        let _ = id;
        Err(OrderError::Gone)
    }

    /// Does something with one message.
    ///
    /// # Errors
    /// It was not done.
    pub async fn act(&self, id: &MessageId, action: Action) -> Result<(), OrderError> {
        let _ = (id, action);
        Err(OrderError::Gone)
    }

    /// How the queue is.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Messages attempted at a time.
const CONCURRENT: usize = 8;

/// How often what is left is tried again.
const RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
