//! How messages come to be known: as they arrive, and by reading the queue through, at the start and from time to time.
//!
//! Reading goes on beside everything else, one message at a time: a server with a long queue listens at once.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::index::New;
use super::schedule::{self, Times};
use super::{Queue, log_unreadable};
use crate::delivery::terms::Terms;
use crate::observe::chain;
use crate::spool::{Arrival, Arrivals, LoadError, MessageId, Stored};

impl Queue {
    /// Takes in what arrives. Never ends.
    pub(super) async fn receive(&self, mut arrivals: Arrivals) {
        loop {
            match arrivals.next().await {
                Arrival::Message(id) => self.take_in(&id, true, false).await,
                Arrival::Many => self.scan.notify_one(),
            }
        }
    }

    /// Reads the queue through, now and whenever it is time to. Never ends.
    pub(super) async fn read_through(&self) {
        let mut first = true;
        loop {
            let anew = self.anew.swap(false, Ordering::Relaxed);
            if let Err(error) = self.read(anew, first).await {
                let error = chain(&error);
                tracing::error!(error = error.as_str(), "queue cannot be read");
            }
            first = false;
            tokio::select! {
                () = self.scan.notified() => {}
                () = tokio::time::sleep(SCAN) => {}
            }
        }
    }

    async fn read(&self, anew: bool, first: bool) -> io::Result<()> {
        self.overflow.store(false, Ordering::Relaxed);
        let (sender, mut names) = mpsc::channel(NAMES);
        let spool = self.spool.clone();
        let reader = tokio::task::spawn_blocking(move || {
            // An error here says that nobody wants the rest.
            spool.queued().map(|mut ids| drop(ids.try_for_each(|id| sender.blocking_send(id))))
        });
        while let Some(id) = names.recv().await {
            let known = self.index().token(&id);
            match known {
                None => self.take_in(&id, false, first).await,
                Some(token) if anew => self.look_anew(token, &id).await,
                Some(_) => {}
            }
            if self.overflow.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(names);
        reader.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Makes a message known. `fresh` says that it was just accepted, `first` that what cannot be used is news.
    pub(super) async fn take_in(&self, id: &MessageId, fresh: bool, first: bool) {
        if self.index().len() >= self.most {
            self.overflow.store(true, Ordering::Relaxed);
            return;
        }
        match self.spool.peek(id).await {
            Ok(stored) => self.enter(&stored, fresh).await,
            Err(LoadError::Gone) => {}
            // Looked at closely, it is set aside.
            Err(LoadError::Damaged(_)) => match self.spool.load(id).await {
                Ok(stored) => self.enter(&stored, fresh).await,
                Err(error) => log_unreadable(id, &error),
            },
            Err(LoadError::Version(_) | LoadError::Foreign) if !first => {}
            Err(error) => log_unreadable(id, &error),
        }
    }

    async fn enter(&self, stored: &Stored, fresh: bool) {
        let (envelope, progress) = (&stored.envelope, &stored.progress);
        let pending = progress.pending();
        if pending.is_empty() {
            if let Err(error) = self.spool.remove(&envelope.id).await {
                self.complain(&envelope.id, &error);
            }
            return;
        }
        let (ways, _) = self.group(envelope, &pending, "");
        let (retry, now, terms) = (self.settings.load().retry, self.now(), Terms::of(envelope));
        // What was set aside and released may have been tried before.
        let untried = progress.attempt.is_none() && progress.crashes == 0 && envelope.quarantined.is_none();
        let new = New {
            id: envelope.id.clone(),
            received: envelope.received,
            priority: terms.priority,
            held: progress.held,
            number: progress.attempt.map_or(0, |attempt| attempt.number),
            fresh: fresh && untried,
            due: schedule::due(&retry, &envelope.id, progress.attempt.as_ref(), &terms, now),
            times: Times::new(&retry, &terms, envelope.received, warned(stored), now),
            ways,
        };
        self.index().insert(new, now.tick);
        self.changed.notify_one();
    }

    /// The routes or the schedule changed.
    async fn look_anew(&self, token: super::Token, id: &MessageId) {
        let Ok(stored) = self.spool.peek(id).await else { return };
        let (envelope, pending) = (&stored.envelope, stored.progress.pending());
        let (ways, _) = self.group(envelope, &pending, "");
        let (retry, now) = (self.settings.load().retry, self.now());
        let times = Times::new(&retry, &Terms::of(envelope), envelope.received, warned(&stored), now);
        let mut index = self.index();
        if !pending.is_empty() {
            index.regroup(token, &ways, now.tick);
        }
        index.change(token, now.tick, |entry| entry.times = times);
        drop(index);
        self.changed.notify_one();
    }
}

/// Whether the senders of all that are left were told of the delay.
pub(super) fn warned(stored: &Stored) -> bool {
    stored.progress.recipients.iter().filter(|standing| standing.ended.is_none()).all(|standing| standing.delayed)
}

/// How often the queue is read through without a reason: what was put into it by hand is found so.
const SCAN: Duration = Duration::from_secs(60);

/// Names that are read ahead.
const NAMES: usize = 1024;
