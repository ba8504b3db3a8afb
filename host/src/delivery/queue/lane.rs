//! One destination's part of the queue: what is ready for it, how much of it may be attempted at a time, and whether it
//! rests.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::index::Token;
use super::schedule::Tick;
use crate::spool::Failure;

/// Where a recipient's mail goes, as the queue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Way {
    /// Its name, which people read, too.
    pub(in super::super) destination: String,
    /// Attempts there at a time.
    pub(in super::super) concurrency: u32,
    /// Whether it is this machine: there is nobody to be found dead, and nothing to be tried carefully.
    pub(in super::super) local: bool,
}

/// A destination's line of messages.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) destination: Arc<str>,
    concurrency: u32,
    local: bool,
    /// Grows from [`WINDOW_FIRST`] with each success: a host that just came back is not overrun.
    window: u32,
    /// Whether it took anything yet.
    proven: bool,
    pub(super) active: u32,
    /// Of these, those that linger.
    pub(super) lingering: u32,
    /// Messages with recipients here.
    pub(super) legs: u64,
    /// What may be attempted now: the urgent first, then the one that is due for longest.
    pub(super) ready: BTreeSet<(i8, Tick, Token)>,
    /// Whether it has a place in the round.
    pub(super) queued: bool,
    /// Whether it is among those that may be forgotten.
    pub(super) idle: bool,
    /// How often it could not be reached since it last was.
    failures: u32,
    rested_at: Tick,
    /// Until when it rests.
    until: Tick,
    /// Why it rests.
    pub(super) reason: Option<Failure>,
}

impl Lane {
    pub(super) fn new(way: &Way) -> Lane {
        Lane {
            destination: way.destination.as_str().into(),
            concurrency: way.concurrency.max(1),
            local: way.local,
            window: WINDOW_FIRST,
            proven: false,
            active: 0,
            lingering: 0,
            legs: 0,
            ready: BTreeSet::new(),
            queued: false,
            idle: false,
            failures: 0,
            rested_at: 0,
            until: 0,
            reason: None,
        }
    }

    /// A reload may have changed the route.
    pub(super) fn adopt(&mut self, way: &Way) {
        (self.concurrency, self.local) = (way.concurrency.max(1), way.local);
    }

    /// Whether nobody knows if it answers. All such lanes together have half of the attempts, so that any number of dead
    /// hosts leaves the other half to the living.
    pub(super) fn doubtful(&self) -> bool {
        !self.local && (!self.proven || self.failures > 0)
    }

    /// Whether one more may be attempted, of `total` at a time in all. No destination has more than half of them, nor, where
    /// attempts at those that answer are `crowded` with ones that linger, more than a few of these.
    pub(super) fn open(&self, now: Tick, total: u32, crowded: bool) -> bool {
        let allowed = match (self.local, self.failures) {
            (_, 0) if crowded && self.lingering >= WINDOW_FIRST => 0,
            (true, 0) => self.concurrency,
            // Whether it answers is seen by one that lingers as well as by two.
            (false, 0) if !self.proven && self.lingering > 0 => 0,
            (false, 0) => self.concurrency.min(self.window).min((total / 2).max(1)),
            // One goes ahead and looks.
            _ if now >= self.until => 1,
            _ => 0,
        };
        !self.ready.is_empty() && self.active < allowed
    }

    /// Whether there is nothing to be done here.
    pub(super) fn is_idle(&self) -> bool {
        self.legs == 0 && self.active == 0
    }

    /// Until when it rests, if it does.
    pub(super) fn resting(&self, now: Tick) -> Option<Tick> {
        (self.failures > 0 && self.until > now).then_some(self.until)
    }

    /// Somebody there answered. Whether it was thought dead.
    pub(super) fn reached(&mut self, took: bool) -> bool {
        let back = self.failures > 0;
        (self.failures, self.reason, self.until) = (0, None, 0);
        if took {
            self.proven = true;
            self.window = self.window.saturating_mul(2).min(self.concurrency);
        }
        back
    }

    /// It could not be reached by an attempt that began then. How often that happened now, if this is news: attempts that
    /// were under way together say it once.
    pub(super) fn unreached(&mut self, reason: Failure, began: Tick) -> Option<u32> {
        self.reason = Some(reason);
        if self.failures > 0 && began < self.rested_at {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        (self.proven, self.window) = (false, WINDOW_FIRST);
        Some(self.failures)
    }

    pub(super) fn rest(&mut self, now: Tick, until: Tick) {
        (self.rested_at, self.until) = (now, until);
    }

    /// The next attempt is made at once.
    pub(super) fn wake(&mut self) {
        self.until = 0;
    }
}

/// Attempts at a time where nothing was taken yet.
const WINDOW_FIRST: u32 = 2;
