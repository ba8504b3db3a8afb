//! The news that a message was committed.
//!
//! Memory is bounded: when the receiver lags, ids are dropped and it is told to look through the queue instead, where
//! every message lies anyway.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::MessageId;

/// News for who delivers.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// This message was committed.
    Message(MessageId),
    /// Others were, too many to name: the queue is to be read through.
    Many,
}

/// The receiving end.
#[derive(Debug)]
pub struct Arrivals {
    ids: mpsc::Receiver<MessageId>,
    dropped: Arc<Notify>,
}

impl Arrivals {
    /// Waits for news; never ends while the spool is held. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Arrival {
        tokio::select! {
            biased;
            Some(id) = self.ids.recv() => Arrival::Message(id),
            () = self.dropped.notified() => Arrival::Many,
        }
    }

    /// How many ids wait to be received.
    pub fn waiting(&self) -> usize {
        self.ids.len()
    }
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Announcer {
    ids: mpsc::Sender<MessageId>,
    dropped: Arc<Notify>,
}

impl Announcer {
    /// Both ends, for at most `capacity` ids between them.
    pub(super) fn new(capacity: usize) -> (Announcer, Arrivals) {
        let (sender, receiver) = mpsc::channel(capacity);
        let dropped = Arc::new(Notify::new());
        (Announcer { ids: sender, dropped: Arc::clone(&dropped) }, Arrivals { ids: receiver, dropped })
    }

    /// Tells of a committed message. Never waits.
    pub(super) fn announce(&self, id: MessageId) {
        if self.ids.try_send(id).is_err() {
            self.dropped.notify_one();
        }
    }
}
