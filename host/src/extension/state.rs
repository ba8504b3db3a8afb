//! What the host functions see of a call: the data of an instance's store, with the budgets that every function counts
//! against.

use super::budget::{Budget, LogLine};
use super::call::Failure;
use super::interface::Hook;
use super::load::{Declared, Linked};
use super::panic::Panic;
use super::rack::Seat;
use super::streams::Streams;
use crate::config::Spending;
use crate::observe::Alive;
use crate::session::change::Change;
use crate::session::facts::Facts;
use crate::session::policy::{Remembered, Spent};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// What the host functions see: the data of the store.
pub struct State {
    /// The extension as it is linked for its listener.
    pub linked: Arc<Linked>,
    /// What the guest is in.
    pub moment: Moment,
    /// The session, for the length of a call.
    pub facts: Option<Arc<Facts>>,
    /// Changes staged by this call.
    pub staged: Vec<Change>,
    /// What the extension remembers of the session.
    pub remembered: Arc<Remembered>,
    /// What this call may still do.
    budget: Budget,
    /// The last panic that this call told of.
    pub panic: Option<Panic>,
    /// The byte streams it holds open: for one call.
    pub streams: Streams,
    /// The keywords it declared.
    pub keywords: BTreeSet<String>,
    /// A random number for the guest's hash tables.
    pub seed: u64,
    limits: MemoryLimit,
    _alive: Alive,
}

/// What the guest is in.
#[derive(Debug)]
pub enum Moment {
    /// `init`; what it declares is noted here at load, and ignored in later instances, where it is known.
    Init(Option<Declared>),
    /// A hook.
    Hook(Hook),
}

impl State {
    /// The state of a new instance, before its `init`.
    pub fn new(linked: &Arc<Linked>, declared: Option<Declared>, seat: Arc<Seat>) -> State {
        State {
            linked: linked.clone(),
            moment: Moment::Init(declared),
            facts: None,
            staged: Vec::new(),
            remembered: Arc::default(),
            budget: Budget::default(),
            panic: None,
            streams: Streams::default(),
            keywords: BTreeSet::new(),
            seed: seed(),
            limits: MemoryLimit {
                cap: linked.limits.memory,
                used: 0,
                seat,
                reserved: linked.initial_memory,
                table_cap: linked.limits.tables.into(),
                elements: 0,
                refused: None,
            },
            _alive: linked.counters.instance(),
        }
    }

    /// Begins a call in a session that has used this much: all budgets of a call are whole.
    pub fn arm(&mut self, spent: Spent) {
        self.budget = Budget::new(spent);
        self.limits.refused = None;
        self.panic = None;
    }

    /// Ends a call that took so long; what the session has used by now.
    pub fn disarm(&mut self, cpu: Duration, wall: Duration) -> Spent {
        self.budget.took(cpu, wall);
        self.budget.spent()
    }

    /// What bounds the memory of the instance.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// The budget that the call used up, if it did.
    pub fn exhausted(&self) -> Option<Failure> {
        self.budget.exhausted(&self.linked.limits)
    }

    /// What the call was refused of memory or tables, if it was.
    pub fn refused(&self) -> Option<Failure> {
        let limits = &self.linked.limits;
        self.limits.refused.map(|refused| match refused {
            Refused::Memory => Failure::Memory(limits.memory),
            Refused::Room => Failure::SharedMemory,
            Refused::Tables => Failure::Tables(limits.tables),
        })
    }

    /// Counts one of what a host function does beside crossing. It comes second, behind [`State::cross`].
    ///
    /// # Errors
    /// A budget is used up: the call traps.
    pub fn spend(&mut self, what: Spending) -> wasmtime::Result<()> {
        self.spend_many(what, 1)
    }

    /// Counts several at once.
    ///
    /// # Errors
    /// As [`State::spend`].
    pub fn spend_many(&mut self, what: Spending, amount: usize) -> wasmtime::Result<()> {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        self.budget.spend(&self.linked.limits, what, amount)
    }

    /// Counts one host call that moves this many octets. Every host function begins with it.
    ///
    /// # Errors
    /// A budget is used up: the call traps.
    pub fn cross(&mut self, octets: usize) -> wasmtime::Result<()> {
        self.spend(Spending::HostCalls)?;
        self.spend_many(Spending::HostBytes, octets)
    }

    /// Counts octets that an answer moves.
    ///
    /// # Errors
    /// As [`State::cross`].
    pub fn answer<T>(&mut self, octets: usize, answer: T) -> wasmtime::Result<T> {
        self.spend_many(Spending::HostBytes, octets).map(|()| answer)
    }

    /// What becomes of one more line that the guest logs.
    pub fn log_line(&mut self) -> LogLine {
        self.budget.log_line(&self.linked.limits)
    }

    /// What becomes of one more line about a denial. A guest that talks much does not hide them.
    pub fn denial_line(&mut self) -> LogLine {
        self.budget.denial_line()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("extension", &self.linked.name).finish_non_exhaustive()
    }
}

/// The memory of one instance, and its tables: the sums over all of them, which wasmtime's own limits do not take.
struct MemoryLimit {
    cap: u64,
    used: u64,
    seat: Arc<Seat>,
    /// What the seat already counts.
    reserved: u64,
    /// Elements of tables that there may be, and that there are.
    table_cap: u64,
    elements: u64,
    /// What was refused last.
    refused: Option<Refused>,
}

/// What an instance could not have.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// Memory beyond its own cap.
    Memory,
    /// Memory beyond what all instances may have together.
    Room,
    /// Elements of tables.
    Tables,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let after = self.used.saturating_add(more);
        if after > self.cap {
            self.refused = Some(Refused::Memory);
        } else if after > self.reserved && !self.seat.grow(more) {
            self.refused = Some(Refused::Room);
        } else {
            self.used = after;
            return Ok(true);
        }
        Ok(false)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let after = self.elements.saturating_add(more);
        let granted = after <= self.table_cap;
        match granted {
            true => self.elements = after,
            false => self.refused = Some(Refused::Tables),
        }
        Ok(granted)
    }

    // As many as the pool gives a component; without a pool these are what bounds them.
    fn instances(&self) -> usize {
        200
    }

    fn memories(&self) -> usize {
        4
    }

    fn tables(&self) -> usize {
        64
    }
}

/// A number nobody outside can guess, from the keys std seeds its own hash maps with.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}
