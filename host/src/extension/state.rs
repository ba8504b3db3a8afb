//! What the host functions see of a call: the data of an instance's store, with the budgets that every function counts
//! against.

use super::call::Failure;
use super::interface::Hook;
use super::load::{Declared, Linked};
use super::rack::Seat;
use super::streams::Streams;
use crate::config::ExtensionLimits;
use crate::observe::Alive;
use crate::session::change::Change;
use crate::session::facts::Facts;
use crate::session::policy::Remembered;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
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

/// What a call may still do.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    calls: u32,
    bytes: u64,
    lines: u32,
    denials: u32,
    exhausted: Option<Exhausted>,
}

#[derive(Clone, Copy, Debug)]
enum Exhausted {
    Calls,
    Bytes,
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
            streams: Streams::default(),
            keywords: BTreeSet::new(),
            seed: seed(),
            limits: MemoryLimit {
                cap: linked.limits.memory,
                used: 0,
                seat,
                reserved: linked.initial_memory,
                refused: false,
            },
            _alive: linked.counters.instance(),
        }
    }

    /// Begins a call: all budgets are whole.
    pub fn arm(&mut self, limits: &ExtensionLimits) {
        self.budget = Budget {
            calls: limits.host_calls,
            bytes: limits.host_bytes,
            // One more than may be logged, to say once that there were more.
            lines: limits.log_lines.saturating_add(1),
            denials: DENIALS + 1,
            exhausted: None,
        };
        self.limits.refused = false;
    }

    /// What bounds the memory of the instance.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// The budget of host calls that the call used up, if it did.
    pub fn exhausted(&self) -> Option<Failure> {
        let limits = &self.linked.limits;
        self.budget.exhausted.map(|exhausted| match exhausted {
            Exhausted::Calls => Failure::HostCalls(limits.host_calls),
            Exhausted::Bytes => Failure::HostBytes(limits.host_bytes),
        })
    }

    /// Whether the call was refused memory.
    pub fn refused_memory(&self) -> bool {
        self.limits.refused
    }

    /// Counts one host call that moves this many octets. Every host function begins with it.
    ///
    /// # Errors
    /// A budget is used up: the call traps.
    pub fn cross(&mut self, octets: usize) -> wasmtime::Result<()> {
        let budget = &mut self.budget;
        let left = budget.bytes.checked_sub(u64::try_from(octets).unwrap_or(u64::MAX));
        budget.exhausted = match (budget.calls.checked_sub(1), left) {
            (Some(calls), Some(bytes)) => {
                budget.calls = calls;
                budget.bytes = bytes;
                return Ok(());
            }
            (None, _) => Some(Exhausted::Calls),
            (_, None) => Some(Exhausted::Bytes),
        };
        Err(wasmtime::Error::msg("the budget of host calls is used up"))
    }

    /// Counts octets that an answer moves.
    ///
    /// # Errors
    /// As [`State::cross`].
    pub fn answer<T>(&mut self, octets: usize, answer: T) -> wasmtime::Result<T> {
        self.budget.calls = self.budget.calls.saturating_add(1);
        self.cross(octets).map(|()| answer)
    }

    /// What becomes of one more line that the guest logs.
    pub fn log_line(&mut self) -> LogLine {
        LogLine::take(&mut self.budget.lines)
    }

    /// What becomes of one more line about a denial. A guest that talks much does not hide them.
    pub fn denial_line(&mut self) -> LogLine {
        LogLine::take(&mut self.budget.denials)
    }
}

/// Denials of one call that are logged.
const DENIALS: u32 = 10;

/// What becomes of a line that a guest brings about in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// It is logged.
    Kept,
    /// It is not, and this is said.
    FirstDropped,
    /// It is not.
    Dropped,
}

impl LogLine {
    /// Takes one of those that are left, the last of which only says that there are more.
    fn take(left: &mut u32) -> LogLine {
        let line = match *left {
            0 => LogLine::Dropped,
            1 => LogLine::FirstDropped,
            _ => LogLine::Kept,
        };
        *left = left.saturating_sub(1);
        line
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("extension", &self.linked.name).finish_non_exhaustive()
    }
}

/// The memory of one instance: the sum over all its memories, which wasmtime's own limits do not take.
struct MemoryLimit {
    cap: u64,
    used: u64,
    seat: Arc<Seat>,
    /// What the seat already counts.
    reserved: u64,
    refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
        let after = self.used.saturating_add(more);
        let granted = after <= self.cap && (after <= self.reserved || self.seat.grow(more));
        match granted {
            true => self.used = after,
            false => self.refused = true,
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 20_000)
    }
}

/// A number nobody outside can guess, from the keys std seeds its own hash maps with.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}
