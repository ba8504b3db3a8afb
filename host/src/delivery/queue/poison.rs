//! Messages that bring attempts down: each that was in hand when a process died is tried alone, and one that did it again
//! and again is set aside.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::index::{Next, Start, Verdict};
use super::{Queue, schedule};
use crate::observe::chain;
use crate::spool::{LoadError, MessageId, Record, Stored};

impl Queue {
    /// Tries what was in hand when the process before this one died: one message at a time with nothing else in hand, so
    /// that the one that did it is known by the next death. One that takes long, or that has to wait, is no danger.
    pub(super) async fn try_suspects(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        for id in self.spool.suspects() {
            self.take_in(&id, false, true).await;
            let now = self.now().tick;
            let known = self.index().token(&id);
            let Some(token) = known else { continue };
            let starts = {
                let mut index = self.index();
                index.change(token, now, |entry| entry.hurry(now));
                index.pick_of(token, now)
            };
            for start in starts {
                tasks.spawn(self.clone().attempt(start));
            }
            let all = async { while tasks.join_next().await.is_some() {} };
            // What is dead or slow was in hand, too, and the rest of the queue waits meanwhile.
            if tokio::time::timeout(SUSPECT_MAX, all).await.is_err() {
                tracing::warn!(id = id.as_str(), "what was in hand at a crash takes long, and others are begun");
                return;
            }
        }
    }

    /// The attempt panicked: that is counted against the message.
    pub(super) async fn crashed(&self, start: &Start) {
        let _one_at_a_time = self.lock(start.token).await;
        if let Err(error) = self.spool.record(&start.id, vec![Record::Crashed]).await {
            self.complain(&start.id, &error);
        }
        if let Ok(stored) = self.spool.peek(&start.id).await
            && self.is_poison(&stored).await
        {
            self.index().forget(start.token);
            return;
        }
        let wait = schedule::wait(&self.settings.load().retry, &start.id, start.number);
        let now = self.now().tick;
        let next = Next::Due(now.saturating_add(schedule::millis(wait)));
        self.index().finish(start, Verdict::Nothing, next, now, |_, _| Duration::ZERO);
    }

    /// The attempt has lasted long enough to show that this message brings nothing down: what was counted against it before
    /// was somebody else's doing.
    pub(super) async fn acquit(&self, id: &MessageId) {
        if self.spool.suspects().contains(id)
            && let Err(error) = self.spool.record(id, vec![Record::Acquitted]).await
        {
            self.complain(id, &error);
        }
    }

    /// Whether a message broke off so many attempts that there will be no other: then it is in quarantine.
    pub(super) async fn is_poison(&self, stored: &Stored) -> bool {
        let (envelope, crashes) = (&stored.envelope, stored.progress.crashes);
        if crashes < CRASHES_MAX {
            return false;
        }
        let reason = format!("{crashes} attempts to deliver it broke off, or ended with the server's process");
        let set_aside = self.spool.set_aside(&envelope.id, &reason).await;
        let (session, id) = (envelope.session.as_str(), envelope.id.as_str());
        match set_aside {
            Ok(()) => tracing::error!(session, id, reason = reason.as_str(), "message quarantined"),
            // By whoever came to it first.
            Err(LoadError::Gone) => {}
            Err(error) => {
                let error = chain(&error);
                tracing::error!(session, id, error = error.as_str(), "message cannot be quarantined");
            }
        }
        // Where it cannot be set aside it lies where it is, and is not tried.
        true
    }
}

/// Attempts that break off before a message is set aside.
const CRASHES_MAX: u32 = 3;

/// How long a message is suspect from the beginning of an attempt, and how long a suspect is tried alone. What brings a
/// process down does so at once; others wait meanwhile.
pub(super) const SUSPECT_MAX: Duration = Duration::from_secs(1);
