//! Where instances wait between the commands of their sessions, and the caps on all of them together.
//!
//! An instance takes a seat when it is made and gives it back when it is dropped. When there is no room, the idlest one
//! that nobody uses is dropped for it: its session makes another when it needs one.

use super::instance::Instance;
use crate::config::Instances;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// All instances of the process.
#[derive(Debug)]
pub struct Rack {
    caps: Instances,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    seats: u32,
    memory: u64,
    puts: u64,
    /// By the order in which they were put down: the first is the idlest.
    idle: BTreeMap<u64, Instance>,
}

/// The right to have one instance, with its memory. Given back on drop, which must come after the instance's own: what
/// the engine keeps for it is free only then.
#[derive(Debug)]
pub struct Seat {
    rack: Arc<Rack>,
    memory: AtomicU64,
}

/// An instance that waits on the rack, if it was not dropped for another's sake.
#[derive(Debug)]
pub struct Ticket {
    rack: Arc<Rack>,
    put: u64,
}

impl Rack {
    /// An empty rack.
    pub fn new(caps: Instances) -> Arc<Rack> {
        Arc::new(Rack { caps, state: Mutex::default(), freed: Notify::new() })
    }

    /// A seat for a new instance that begins with this much memory. Waits while all are in use at this very moment; the
    /// caller bounds how long.
    pub async fn seat(self: &Arc<Rack>, memory: u64) -> Seat {
        loop {
            let freed = self.freed.notified();
            if let Some(seat) = self.try_seat(memory) {
                return seat;
            }
            freed.await;
        }
    }

    /// A seat that is free now, for which nobody has to go.
    pub fn spare_seat(self: &Arc<Rack>, memory: u64) -> Option<Seat> {
        let mut state = self.state();
        let fits = state.memory.saturating_add(memory) <= self.caps.memory;
        (state.seats < self.caps.count && fits).then(|| {
            state.seats += 1;
            state.memory += memory;
            Seat { rack: self.clone(), memory: memory.into() }
        })
    }

    /// Puts an instance down until its session needs it again.
    pub fn put(self: &Arc<Rack>, instance: Instance) -> Ticket {
        let mut state = self.state();
        state.puts += 1;
        let put = state.puts;
        state.idle.insert(put, instance);
        drop(state);
        // Whoever waits for a seat may have this one's.
        self.freed.notify_waiters();
        Ticket { rack: self.clone(), put }
    }

    /// How many instances there are.
    pub fn instances(&self) -> u32 {
        self.state().seats
    }

    fn try_seat(self: &Arc<Rack>, memory: u64) -> Option<Seat> {
        loop {
            let mut state = self.state();
            // One that is larger than the cap by itself is let in alone: its own limit is the operator's too.
            let fits = state.memory == 0 || state.memory.saturating_add(memory) <= self.caps.memory;
            if state.seats < self.caps.count && fits {
                state.seats += 1;
                state.memory += memory;
                return Some(Seat { rack: self.clone(), memory: memory.into() });
            }
            let idlest = state.idle.pop_first();
            drop(state);
            // Dropped outside the lock, because its seat takes the lock.
            drop(idlest?);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Takes the instance back, if it is still there.
    pub fn redeem(self) -> Option<Instance> {
        self.rack.state().idle.remove(&self.put)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let instance = self.rack.state().idle.remove(&self.put);
        drop(instance);
    }
}

impl Seat {
    /// Counts memory that the instance wants to grow by, making room if there is none. False when all together would
    /// have too much.
    pub fn grow(&self, octets: u64) -> bool {
        loop {
            let mut state = self.rack.state();
            if state.memory.saturating_add(octets) <= self.rack.caps.memory {
                state.memory += octets;
                self.memory.fetch_add(octets, Ordering::Relaxed);
                return true;
            }
            let idlest = state.idle.pop_first();
            drop(state);
            if idlest.is_none() {
                return false;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.rack.state();
        state.seats = state.seats.saturating_sub(1);
        state.memory = state.memory.saturating_sub(self.memory.load(Ordering::Relaxed));
        drop(state);
        self.rack.freed.notify_waiters();
    }
}
