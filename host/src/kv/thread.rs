//! The thread that works on the file, so that no thread that serves waits for a disk. It takes what waits, applies it in
//! one transaction, and answers; once a second it makes durable what it applied. It does not know what is in the file.

use super::file::{self, Fault};
use super::store::{Outcome, Store};
use super::{Answer, Clock, KvError, Operation};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Calls that may wait. Each is one of a session, which waits for it.
const WAITING: usize = 4096;
/// Operations of one transaction.
const TOGETHER: usize = 256;
/// How long something may be applied and not durable, the time that a disk takes aside.
const DURABLE: Duration = Duration::from_secs(1);
/// How often an idle store is looked at for what has expired.
const LOOK: Duration = Duration::from_secs(10);
/// How often a file that cannot be used is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Whom the calls are sent to.
#[derive(Clone)]
pub(super) struct Thread {
    orders: SyncSender<Order>,
    /// The time of its store.
    pub(super) clock: Clock,
}

enum Order {
    Begin,
    Perform(Operation, oneshot::Sender<Outcome>),
    Flush(oneshot::Sender<Result<(), KvError>>),
    Close(oneshot::Sender<()>),
}

impl Thread {
    /// Starts it. The file is opened, or made, by the first call.
    pub(super) fn start(path: PathBuf, clock: Clock) -> io::Result<Thread> {
        let (orders, received) = sync_channel(WAITING);
        let worker = Worker {
            path,
            clock: clock.clone(),
            store: None,
            refused: None,
            applied: None,
            more: false,
            closing: None,
        };
        std::thread::Builder::new().name("kv".to_owned()).spawn(move || worker.run(&received))?;
        Ok(Thread { orders, clock })
    }

    pub(super) fn begin(&self) {
        // Where so many wait already, the first of them has it opened.
        let _ = self.send(Order::Begin);
    }

    pub(super) async fn perform(&self, operation: Operation) -> Outcome {
        let (answer, answered) = oneshot::channel();
        self.send(Order::Perform(operation, answer))?;
        answered.await.unwrap_or(Err(KvError::Unavailable))
    }

    pub(super) async fn flush(&self) -> Result<(), KvError> {
        let (done, awaited) = oneshot::channel();
        self.send(Order::Flush(done))?;
        awaited.await.unwrap_or(Err(KvError::Unavailable))
    }

    pub(super) async fn close(&self) {
        let (done, awaited) = oneshot::channel();
        // The queue may be full, for no longer than the thread takes to empty it.
        let orders = self.orders.clone();
        let sent = tokio::task::spawn_blocking(move || orders.send(Order::Close(done)).is_ok()).await;
        if sent.unwrap_or(false) {
            let _ = awaited.await;
        }
    }

    fn send(&self, order: Order) -> Result<(), KvError> {
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => KvError::Busy,
            TrySendError::Disconnected(_) => KvError::Unavailable,
        })
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").finish_non_exhaustive()
    }
}

struct Worker {
    path: PathBuf,
    clock: Clock,
    store: Option<Store>,
    /// When the file could not be opened last, and what was said of it.
    refused: Option<(Instant, String)>,
    /// Since when there is something applied that is not durable.
    applied: Option<Instant>,
    /// Whether more has expired than one transaction takes away.
    more: bool,
    closing: Option<oneshot::Sender<()>>,
}

/// What is waited with for an answer until a transaction is over.
type Waiting = Vec<(Operation, oneshot::Sender<Outcome>)>;

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        while self.closing.is_none() {
            let order = match self.patience() {
                Some(patience) => orders.recv_timeout(patience),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(order) => self.take(order, orders),
                Err(RecvTimeoutError::Timeout) => self.more |= self.has_expired(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.more || self.applied.is_some_and(|since| since.elapsed() >= DURABLE) {
                self.settle();
            }
        }
        if self.applied.is_some() {
            self.settle();
        }
        self.drop_store();
        if let Some(closed) = self.closing {
            let _ = closed.send(());
        }
    }

    /// How long it waits for orders; for ever where it has nothing else to do.
    fn patience(&self) -> Option<Duration> {
        match self.applied {
            _ if self.more => Some(Duration::ZERO),
            Some(since) => Some(DURABLE.saturating_sub(since.elapsed())),
            None => self.store.as_ref().map(|_| LOOK),
        }
    }

    /// This order and all that wait, as far as they go into one transaction.
    fn take(&mut self, first: Order, orders: &Receiver<Order>) {
        let mut waiting = Waiting::new();
        let mut next = Some(first);
        while let Some(order) = next.take() {
            match order {
                Order::Begin => {
                    if self.path.exists() {
                        let _ = self.opened();
                    }
                }
                // Whoever asked has gone: a call that ran out of time has no effect.
                Order::Perform(_, answer) if answer.is_closed() => {}
                Order::Perform(operation, answer) => waiting.push((operation, answer)),
                Order::Flush(done) => {
                    self.perform(std::mem::take(&mut waiting));
                    let _ = done.send(self.flush());
                }
                Order::Close(done) => {
                    self.closing = Some(done);
                    break;
                }
            }
            if waiting.len() < TOGETHER {
                next = orders.try_recv().ok();
            }
        }
        self.perform(waiting);
    }

    fn perform(&mut self, waiting: Waiting) {
        if waiting.is_empty() {
            return;
        }
        let now = (self.clock)();
        let operations = waiting.iter().map(|(operation, _)| operation).collect::<Vec<_>>();
        let writes = operations.iter().any(|operation| !matches!(operation, Operation::Get { .. }));
        let Some(store) = self.opened() else {
            return waiting.into_iter().for_each(|(_, answer)| _ = answer.send(Err(KvError::Unavailable)));
        };
        match store.apply(&operations, now) {
            Ok(outcomes) => {
                if writes {
                    self.applied.get_or_insert_with(Instant::now);
                }
                for ((_, answer), outcome) in waiting.into_iter().zip(outcomes) {
                    let _: Result<(), Result<Answer, KvError>> = answer.send(outcome);
                }
            }
            Err(fault) => {
                self.fault(&fault);
                waiting.into_iter().for_each(|(_, answer)| _ = answer.send(Err(KvError::Unavailable)));
            }
        }
    }

    fn flush(&mut self) -> Result<(), KvError> {
        let _ = self.opened().ok_or(KvError::Unavailable)?;
        self.settle();
        while self.more {
            self.settle();
        }
        if self.store.is_some() { Ok(()) } else { Err(KvError::Unavailable) }
    }

    /// Makes what was applied durable.
    fn settle(&mut self) {
        let now = (self.clock)();
        match self.store.as_mut().map(|store| store.settle(now)) {
            Some(Ok(more)) => (self.applied, self.more) = (None, more),
            Some(Err(fault)) => self.fault(&fault),
            None => self.more = false,
        }
    }

    fn has_expired(&mut self) -> bool {
        let now = (self.clock)();
        match self.store.as_ref().map(|store| store.has_expired(now)) {
            Some(Ok(expired)) => expired,
            Some(Err(fault)) => {
                self.fault(&fault);
                false
            }
            None => false,
        }
    }

    /// The store, opened if it is time to try.
    fn opened(&mut self) -> Option<&mut Store> {
        if self.store.is_none() && self.refused.as_ref().is_none_or(|(at, _)| at.elapsed() >= AGAIN) {
            match Store::open(&self.path) {
                Ok(store) => self.begin(store),
                Err(fault) => {
                    self.fault(&fault);
                    // In the place of what was set aside there is none now.
                    if let (Fault::Damaged(_), Ok(store)) = (&fault, Store::open(&self.path)) {
                        self.begin(store);
                    }
                }
            }
        }
        self.store.as_mut()
    }

    fn begin(&mut self, store: Store) {
        self.store = Some(store);
        if self.refused.take().is_some() {
            tracing::info!(file = &*self.path.to_string_lossy(), "kv store is used again");
        }
    }

    /// Lets go of the file, and sets it aside if it is damaged. The same fault is said once.
    fn fault(&mut self, fault: &Fault) {
        self.drop_store();
        let file = self.path.to_string_lossy().into_owned();
        let error = crate::observe::chain(fault);
        if let Fault::Damaged(_) = fault {
            match file::set_aside(&self.path) {
                Ok(aside) => {
                    let aside = aside.to_string_lossy();
                    tracing::error!(
                        file,
                        error,
                        aside = &*aside,
                        "kv store is damaged and set aside, a new one begins"
                    );
                }
                Err(why) => {
                    let why = crate::observe::chain(&why);
                    tracing::error!(file, error, why, "kv store is damaged and cannot be set aside");
                    self.refused = Some((Instant::now(), error));
                }
            }
            return;
        }
        if self.refused.as_ref().is_none_or(|(_, said)| *said != error) {
            tracing::error!(file, error, "kv store cannot be used");
        }
        self.refused = Some((Instant::now(), error));
    }

    /// What a damaged file makes of being closed is of no interest any more.
    fn drop_store(&mut self) {
        (self.applied, self.more) = (None, false);
        let store = self.store.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(store)));
    }
}
