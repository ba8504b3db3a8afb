//! What is done with all of a message at once, by the passing of time, a reload or the operator.

use super::Entry;
use super::{Index, LaneId, Leg, State, Taken, Token};
use crate::delivery::queue::index::Start;
use crate::delivery::queue::lane::Way;
use crate::delivery::queue::schedule::Tick;
use crate::spool::Failure;

impl Index {
    /// The destinations of what is left of a message, as the routes say now. Where a destination is new, it is tried at
    /// once.
    pub(in super::super) fn regroup(&mut self, token: Token, ways: &[Way], now: Tick) {
        self.disarm(token);
        // Who takes a lane has a leg in it.
        if !self.entries.contains_key(&token) {
            return;
        }
        let lanes: Vec<LaneId> = ways.iter().map(|way| self.lane(way)).collect();
        let Some(entry) = self.entries.get_mut(&token) else { return };
        let mut gone = Vec::new();
        let number = entry.legs.iter().map(|leg| leg.number).max().unwrap_or(0);
        entry.legs.retain(|leg| {
            let stays = lanes.contains(&leg.lane) || matches!(leg.state, State::Active(_));
            if !stays {
                gone.push(leg.lane);
            }
            stays
        });
        for lane in lanes {
            if entry.legs.iter().any(|leg| leg.lane == lane) {
                gone.push(lane);
            } else {
                entry.legs.push(Leg { lane, number, fresh: false, due: now, state: State::Idle });
            }
        }
        for lane in gone {
            self.leave(lane);
        }
        self.arm(token, now);
    }

    /// Messages to which something happens now; each is reserved.
    pub(in super::super) fn events(&mut self, now: Tick, most: usize) -> Vec<Token> {
        let mut found = Vec::new();
        while found.len() < most
            && let Some(&(at, token)) = self.events.first()
            && at <= now
        {
            self.events.remove(&(at, token));
            // With an attempt under way it is looked at when that ends.
            if self.reserve(token).is_ok() {
                found.push(token);
            }
        }
        found
    }

    /// Takes a message for itself: until it is freed, nothing of it is attempted.
    pub(in super::super) fn reserve(&mut self, token: Token) -> Result<(), Taken> {
        let entry = self.entries.get(&token).ok_or(Taken::Unknown)?;
        if entry.reserved || entry.legs.iter().any(|leg| matches!(leg.state, State::Active(_))) {
            return Err(Taken::Busy);
        }
        self.disarm(token);
        if let Some(entry) = self.entries.get_mut(&token) {
            entry.reserved = true;
        }
        Ok(())
    }

    /// Gives a message back, changed as may be.
    pub(in super::super) fn release(&mut self, token: Token, now: Tick, change: impl FnOnce(&mut Entry)) {
        self.change(token, now, |entry| {
            entry.reserved = false;
            change(entry);
        });
    }

    /// Changes a message, attempted or not.
    pub(in super::super) fn change(&mut self, token: Token, now: Tick, change: impl FnOnce(&mut Entry)) {
        self.disarm(token);
        if let Some(entry) = self.entries.get_mut(&token) {
            let held = entry.held;
            change(entry);
            self.held = self.held + u64::from(entry.held) - u64::from(held);
        }
        self.arm(token, now);
    }

    /// A message's time is over. Whether this is news: each of its destinations may find it so.
    pub(in super::super) fn expire(&mut self, token: Token) -> bool {
        self.entries.get_mut(&token).is_some_and(|entry| !std::mem::replace(&mut entry.expired, true))
    }

    /// Lets a message's destinations be tried at once.
    pub(in super::super) fn wake(&mut self, token: Token) {
        let lanes = self.entries.get(&token).map(|entry| entry.legs.iter().map(|leg| leg.lane).collect::<Vec<_>>());
        for id in lanes.unwrap_or_default() {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake();
            }
            self.queue(id);
        }
    }

    /// Lets every destination be tried at once.
    pub(in super::super) fn wake_all(&mut self) {
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake();
            }
            self.queue(id);
        }
    }

    /// Why the destinations of a message rest, if one of them does.
    pub(in super::super) fn reason(&self, token: Token, destination: &str) -> Option<Failure> {
        let entry = self.entries.get(&token)?;
        let mut lanes = entry.legs.iter().filter_map(|leg| self.lanes.get(&leg.lane));
        lanes.find(|lane| *lane.destination == *destination)?.reason.clone()
    }

    /// When an attempt at a message is due next; none while one is under way or it is held.
    pub(in super::super) fn next_due(&self, token: Token, now: Tick) -> Option<Tick> {
        let entry = self.entries.get(&token)?;
        let active = entry.legs.iter().any(|leg| matches!(leg.state, State::Active(_)));
        if active || entry.held || entry.reserved {
            return None;
        }
        let due = |leg: &Leg| leg.due.max(self.lanes.get(&leg.lane).and_then(|lane| lane.resting(now)).unwrap_or(0));
        entry.legs.iter().map(due).min()
    }

    /// The highest number of attempts of a message's legs.
    pub(in super::super) fn number(&self, token: Token) -> u32 {
        let legs = self.entries.get(&token).map(|entry| entry.legs.as_slice()).unwrap_or_default();
        legs.iter().map(|leg| leg.number).max().unwrap_or(0)
    }

    /// When the first leg but this one is due.
    pub(in super::super) fn other_due(&self, start: &Start) -> Option<Tick> {
        let legs = self.entries.get(&start.token)?.legs.iter();
        legs.filter(|leg| leg.lane != start.lane).map(|leg| leg.due).min()
    }
}
