//! The queue: what is attempted when, how often, and how it ends.
//!
//! Messages lie in the spool; the [`Index`] is the order they are tried in. A message is looked at as it arrives, or as
//! the queue is read through in the background, and has a leg for each destination of its recipients. Legs are tried as
//! `schedule` says and `lane` allows; `settle` tells senders, and records what became of a leg before anything else of
//! its message is begun. `orders` is the operator's hand.
//!
//! The module does not know how anything is delivered: `outside` does.

mod index;
mod lane;
mod log;
mod orders;
mod outside;
mod poison;
mod scan;
mod schedule;
mod settle;

pub(super) use lane::Way;
pub(super) use outside::{Outside, Routed, Work};

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config;
use crate::kv::Clock;
use crate::observe::chain;
use crate::spool::{Envelope, Failure, LoadError, MessageId, Outcome, Reach, Spool, Stored};
use index::{Index, Next, Start, Token, Verdict};
use schedule::Now;

/// The queue of one spool.
#[derive(Debug)]
pub(super) struct Queue {
    spool: Spool,
    outside: Arc<dyn Outside>,
    settings: ArcSwap<config::Delivery>,
    clock: ClockOf,
    epoch: Instant,
    index: Mutex<Index>,
    /// The index changed: there may be something to do.
    changed: Notify,
    /// The queue is to be read through.
    scan: Notify,
    /// Messages that are known are to be looked at anew, because the routes or the schedule changed.
    anew: AtomicBool,
    /// There are messages that the index had no room for.
    overflow: AtomicBool,
    most: usize,
    /// Whatever is recorded of one message is recorded under one of these.
    locks: Vec<tokio::sync::Mutex<()>>,
    /// Attempts whose end cannot be recorded. While there are any, none is begun.
    stuck: AtomicU32,
    complaint: Mutex<Option<Instant>>,
    /// What a list of the queue goes on with.
    listed: Mutex<Option<orders::Listed>>,
    /// Messages that are looked at because time passed.
    looks: AtomicU32,
    stop: watch::Sender<bool>,
}

impl Queue {
    pub(super) fn new(spool: Spool, outside: Arc<dyn Outside>, settings: config::Delivery, clock: Clock) -> Queue {
        Queue {
            spool,
            outside,
            settings: ArcSwap::from_pointee(settings),
            clock: ClockOf(clock),
            epoch: Instant::now(),
            index: Mutex::default(),
            changed: Notify::new(),
            scan: Notify::new(),
            anew: AtomicBool::new(false),
            overflow: AtomicBool::new(false),
            most: ENTRIES_MAX,
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            stuck: AtomicU32::new(0),
            complaint: Mutex::new(None),
            listed: Mutex::new(None),
            looks: AtomicU32::new(0),
            stop: watch::Sender::new(false),
        }
    }

    /// Delivers until `stop` turns true or its sender is gone; then ends what is in hand, as far as [`GRACE`] allows.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(arrivals) = self.spool.arrivals() else {
            tracing::error!("delivery runs already");
            return;
        };
        let mut tasks = JoinSet::new();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.receive(arrivals) => {}
            () = self.read_through() => {}
            () = self.work(&mut tasks) => {}
        }
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(attempts = tasks.len(), "attempts are broken off");
        }
    }

    /// Other routes, or another schedule.
    pub(super) fn follow(&self, settings: config::Delivery) {
        self.settings.store(Arc::new(settings));
        self.anew.store(true, Ordering::Relaxed);
        self.index().wake_all();
        self.scan.notify_one();
        self.changed.notify_one();
    }

    /// Begins what is due. Never ends; may be given up at any time.
    async fn work(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        self.try_suspects(tasks).await;
        loop {
            let stuck = self.stuck.load(Ordering::Relaxed) > 0;
            let total = if stuck { 0 } else { self.settings.load().concurrency.0 };
            let wake = {
                let mut index = self.index();
                let now = self.now();
                while let Some(start) = index.pick(now.tick, total) {
                    tasks.spawn(self.clone().attempt(start));
                }
                let room =
                    |queue: &Queue| if stuck { 0 } else { LOOKS.saturating_sub(queue.looks.load(Ordering::Relaxed)) };
                for token in index.events(now.tick, room(self) as usize) {
                    self.looks.fetch_add(1, Ordering::Relaxed);
                    tasks.spawn(self.clone().look(token));
                }
                index.wake_at(room(self) > 0)
            };
            tokio::select! {
                Some(_) = tasks.join_next() => {}
                () = self.changed.notified() => {}
                () = self.until(wake) => {}
            }
        }
    }

    async fn until(&self, wake: Option<schedule::Tick>) {
        match wake {
            // A turn of the loop for each millisecond at most.
            Some(tick) => tokio::time::sleep_until(self.epoch + Duration::from_millis(tick.saturating_add(1))).await,
            None => std::future::pending().await,
        }
    }

    /// One attempt at a leg, and what follows from it.
    async fn attempt(self: Arc<Self>, start: Start) {
        // In a task of its own, so that one that panics harms nobody else.
        let attempt = tokio::spawn(self.clone().try_leg(start.clone()));
        if let Err(error) = attempt.await {
            let error = error.to_string();
            tracing::error!(id = start.id.as_str(), error = error.as_str(), "delivery attempt broke off");
            self.crashed(&start).await;
        }
        self.changed.notify_one();
    }

    async fn try_leg(self: Arc<Self>, start: Start) {
        // If the process dies from here on, the message is suspect at the next start: for a moment. One that has been in
        // hand for longer waits for its peer, and somebody who kills the server meanwhile says nothing about it.
        let (in_hand, loaded) = self.spool.begin_attempt(&start.id).await;
        let mut attempt = pin!(self.try_in_hand(start.clone(), loaded));
        if tokio::time::timeout(LINGERS, &mut attempt).await.is_err() {
            self.index().linger(&start);
            self.changed.notify_one();
            if tokio::time::timeout(poison::SUSPECT_MAX.saturating_sub(LINGERS), &mut attempt).await.is_err() {
                drop(in_hand);
                self.acquit(&start.id).await;
                attempt.await;
            }
        }
    }

    async fn try_in_hand(&self, start: Start, loaded: Result<Stored, LoadError>) {
        let began = self.now();
        let stored = match loaded {
            Ok(stored) => Arc::new(stored),
            Err(error) => return self.unreadable(&start, &error),
        };
        let pending = stored.progress.pending();
        let (ways, mine) = self.group(&stored.envelope, &pending, &start.destination);
        if mine.is_empty() {
            self.moved(&start, &ways, pending.is_empty()).await;
            return;
        }
        let outcomes = self.outcomes(&start, &stored, &mine).await;
        self.settle(&start, &stored, outcomes, began).await;
    }

    /// What becomes of each of these recipients.
    async fn outcomes(&self, start: &Start, stored: &Arc<Stored>, mine: &[usize]) -> Vec<(usize, Outcome)> {
        let refused = |index: &usize| {
            let recipient = stored.envelope.recipients.get(*index)?;
            Some((*index, Outcome::Failed(recipient.refused.clone()?)))
        };
        match &*start.destination {
            REFUSED => mine.iter().filter_map(refused).collect(),
            NO_ROUTE => {
                let failure = Failure::local("4.4.4", "no route takes this recipient", Reach::Recipient);
                mine.iter().map(|index| (*index, Outcome::Deferred(failure.clone()))).collect()
            }
            _ => {
                let work = Work {
                    destination: start.destination.clone(),
                    stored: stored.clone(),
                    recipients: mine.to_vec(),
                    fresh: start.fresh,
                };
                let said = self.outside.deliver(work).await;
                let outcome = |index: &usize| {
                    let said = said.iter().find(|(said, _)| said == index).map(|(_, outcome)| outcome.clone());
                    let unsaid = || Failure::local("4.3.0", "the attempt did not come to it", Reach::Recipient);
                    (*index, said.unwrap_or_else(|| Outcome::Deferred(unsaid())))
                };
                mine.iter().map(outcome).collect()
            }
        }
    }

    /// The destinations of these recipients, and which of them go to the one that is named.
    fn group(&self, envelope: &Envelope, pending: &[usize], destination: &str) -> (Vec<Way>, Vec<usize>) {
        let (mut ways, mut mine): (Vec<Way>, Vec<usize>) = (Vec::new(), Vec::new());
        for &index in pending {
            let way = self.way(envelope, index);
            if way.destination == destination {
                mine.push(index);
            }
            if !ways.iter().any(|other| other.destination == way.destination) {
                ways.push(way);
            }
        }
        (ways, mine)
    }

    fn way(&self, envelope: &Envelope, index: usize) -> Way {
        let own = |name: &str| Way { destination: name.to_owned(), concurrency: LOCAL_CONCURRENCY, local: true };
        match envelope.recipients.get(index) {
            Some(recipient) if recipient.refused.is_some() => own(REFUSED),
            Some(recipient) => self.outside.way(envelope, recipient).unwrap_or_else(|| own(NO_ROUTE)),
            None => own(NO_ROUTE),
        }
    }

    /// The message goes elsewhere by now, or nobody is left of it.
    async fn moved(&self, start: &Start, ways: &[Way], ended: bool) {
        let _one_at_a_time = self.lock(start.token).await;
        if ended && self.index().is_alone(start) && self.keep(&start.id, || self.spool.remove(&start.id)).await {
            self.index().forget(start.token);
            return;
        }
        let now = self.now().tick;
        let mut index = self.index();
        index.finish(start, Verdict::Nothing, Next::Done, now, |_, _| Duration::ZERO);
        index.regroup(start.token, ways, now);
    }

    fn unreadable(&self, start: &Start, error: &LoadError) {
        let mut index = self.index();
        match error {
            // Delivered, or removed by hand.
            LoadError::Gone => index.forget(start.token),
            LoadError::Io(_) => {
                let wait = schedule::wait(&self.settings.load().retry, &start.id, start.number);
                let now = self.now().tick;
                let again = Next::Again(now.saturating_add(schedule::millis(wait)));
                index.finish(start, Verdict::Nothing, again, now, |_, _| Duration::ZERO);
            }
            LoadError::Damaged(_) | LoadError::Version(_) | LoadError::Foreign => index.forget(start.token),
        }
        drop(index);
        if !matches!(error, LoadError::Gone) {
            log_unreadable(&start.id, error);
        }
    }

    /// Does what must be on disk before anything else is done, again and again until it is. Nothing is begun meanwhile,
    /// because what cannot be recorded would be done twice. Whether it was done: the server may stop before.
    async fn keep<F>(&self, id: &MessageId, mut work: impl FnMut() -> F) -> bool
    where
        F: Future<Output = std::io::Result<()>>,
    {
        let mut stop = self.stop.subscribe();
        let mut wait = KEEP_FIRST;
        let mut stuck = None;
        while let Err(error) = work().await {
            self.complain(id, &error);
            stuck.get_or_insert_with(|| Counted::new(&self.stuck));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return false,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(KEEP_LONGEST),
            }
        }
        true
    }

    /// Says that the spool fails, once a minute.
    fn complain(&self, id: &MessageId, error: &std::io::Error) {
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= COMPLAINTS) {
            *last = Some(Instant::now());
            let error = chain(error);
            tracing::error!(id = id.as_str(), error = error.as_str(), "delivery cannot be recorded");
        }
    }

    async fn lock(&self, token: Token) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let at = usize::try_from(token).unwrap_or(0) % LOCKS;
        Some(self.locks.get(at)?.lock().await)
    }

    fn now(&self) -> Now {
        Now { tick: schedule::millis(self.epoch.elapsed()), wall: (self.clock.0)() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_unreadable(id: &MessageId, error: &LoadError) {
    let reason = chain(error);
    tracing::error!(id = id.as_str(), error = reason.as_str(), "message not loaded");
}

/// One of those that a number counts.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Counted<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }

    /// One that was counted as it was begun.
    fn taken_over(count: &'a AtomicU32) -> Counted<'a> {
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A [`Clock`], with nothing to be shown of it.
struct ClockOf(Clock);

impl std::fmt::Debug for ClockOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The destination of recipients that are refused.
const REFUSED: &str = "refused";

/// The destination of recipients that have none.
const NO_ROUTE: &str = "no route";

/// Attempts at a time where the work is this machine's.
pub(super) const LOCAL_CONCURRENCY: u32 = 8;

/// Messages that are known at a time; the others lie on disk until there is room again.
const ENTRIES_MAX: usize = 500_000;

/// Messages at a time of which somebody is told by the passing of time.
const LOOKS: u32 = 8;

const LOCKS: usize = 256;

/// How long an attempt takes before it lingers.
const LINGERS: Duration = Duration::from_millis(250);
/// How long attempts in hand may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(30);

const KEEP_FIRST: Duration = Duration::from_secs(1);
const KEEP_LONGEST: Duration = Duration::from_secs(10);
const COMPLAINTS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
