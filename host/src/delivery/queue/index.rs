//! The queue in memory: an entry for each message, a leg of it for each destination, and a lane of legs for each
//! destination. It says what is to be attempted next, and keeps nothing that is not on disk but the order of things.
//!
//! Lanes take turns, so a full one never holds up another. A leg that waits for its time lies in no lane, and one whose
//! lane rests costs nothing. The index does no I/O and asks no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::lane::{Lane, Way};
use super::schedule::{Tick, Times};
use crate::spool::{Failure, MessageId};

/// A message's name in the index. Never used twice.
pub(super) type Token = u64;

pub(super) type LaneId = u32;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Token, Entry>,
    tokens: HashMap<MessageId, Token>,
    lanes: HashMap<LaneId, Lane>,
    names: HashMap<Arc<str>, LaneId>,
    /// Legs that wait for their time.
    due: BTreeSet<(Tick, Token, LaneId)>,
    /// Messages to which something happens by the passing of time.
    events: BTreeSet<(Tick, Token)>,
    rests: BTreeSet<(Tick, LaneId)>,
    ages: BTreeSet<(u64, Token)>,
    /// Lanes that answer, and may have something to do, in turn.
    round: VecDeque<LaneId>,
    /// Lanes of which nobody knows whether they answer.
    trials: VecDeque<LaneId>,
    trial_next: bool,
    last_token: Token,
    last_lane: LaneId,
    pub(super) active: u32,
    doubtful: u32,
    pub(super) held: u64,
}

/// A message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    /// Milliseconds since 1970.
    received: u64,
    priority: i8,
    held: bool,
    /// Whether something is done with all of it: no leg is begun.
    reserved: bool,
    pub(super) times: Times,
    legs: Vec<Leg>,
}

/// The recipients of a message that go to one destination.
#[derive(Debug)]
struct Leg {
    lane: LaneId,
    /// Attempts that ended.
    number: u32,
    /// Whether nobody ever tried.
    fresh: bool,
    due: Tick,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In no set.
    Idle,
    /// In `due`.
    Waiting,
    /// In its lane's `ready`.
    Ready,
    /// Attempted now; whether its lane was doubtful as it began.
    Active(bool),
}

/// A message that is to be known.
#[derive(Debug)]
pub(super) struct New {
    pub(super) id: MessageId,
    pub(super) received: u64,
    /// RFC 6710: higher is sooner.
    pub(super) priority: i8,
    pub(super) held: bool,
    /// Attempts that ended.
    pub(super) number: u32,
    pub(super) fresh: bool,
    pub(super) due: Tick,
    pub(super) times: Times,
    pub(super) ways: Vec<Way>,
}

/// An attempt that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) token: Token,
    pub(super) lane: LaneId,
    pub(super) id: MessageId,
    pub(super) destination: Arc<str>,
    /// This attempt's number, from 1.
    pub(super) number: u32,
    pub(super) fresh: bool,
    pub(super) began: Tick,
}

/// What an attempt says of its destination.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Somebody answered; whether anything was taken.
    Reached(bool),
    /// It could not be reached.
    Unreached(Failure),
    /// Nobody was asked.
    Nothing,
}

/// What becomes of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody is left.
    Done,
    /// The attempt counts, and the next is due then.
    Due(Tick),
    /// It was no attempt: as before, at this time.
    Again(Tick),
}

/// What a destination did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Rests(Arc<str>, Failure),
    Serves(Arc<str>),
}

/// Why a message cannot be had for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Unknown,
    Busy,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn token(&self, id: &MessageId) -> Option<Token> {
        self.tokens.get(id).copied()
    }

    pub(super) fn entry(&self, token: Token) -> Option<&Entry> {
        self.entries.get(&token)
    }

    /// When the oldest message was accepted.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.ages.first().map(|(received, _)| *received)
    }

    /// Makes a message known. None if it is.
    pub(super) fn insert(&mut self, new: New, now: Tick) -> Option<Token> {
        if self.tokens.contains_key(&new.id) {
            return None;
        }
        self.last_token += 1;
        let token = self.last_token;
        self.tokens.insert(new.id.clone(), token);
        self.ages.insert((new.received, token));
        self.held += u64::from(new.held);
        let mut legs = Vec::with_capacity(new.ways.len());
        for way in &new.ways {
            let lane = self.lane(way);
            legs.push(Leg { lane, number: new.number, fresh: new.fresh, due: new.due, state: State::Idle });
        }
        let New { id, received, held, times, .. } = new;
        let priority = new.priority.clamp(-9, 9);
        self.entries.insert(token, Entry { id, received, priority, held, reserved: false, times, legs });
        self.arm(token, now);
        Some(token)
    }

    /// A message is no more.
    pub(super) fn forget(&mut self, token: Token) {
        self.disarm(token);
        let Some(entry) = self.entries.remove(&token) else { return };
        self.tokens.remove(&entry.id);
        self.ages.remove(&(entry.received, token));
        self.held -= u64::from(entry.held);
        for leg in entry.legs {
            self.leave(leg.lane);
            if let State::Active(doubtful) = leg.state {
                self.free(leg.lane, doubtful);
            }
        }
    }

    /// What is to be attempted now, of `total` at a time; to be asked until there is nothing. With none, what is due gets
    /// ready.
    pub(super) fn pick(&mut self, now: Tick, total: u32) -> Option<Start> {
        self.advance(now);
        if self.active >= total {
            return None;
        }
        self.trial_next = !self.trial_next;
        let trials_first = self.trial_next;
        self.pick_from(trials_first, now, total).or_else(|| self.pick_from(!trials_first, now, total))
    }

    fn pick_from(&mut self, trials: bool, now: Tick, total: u32) -> Option<Start> {
        if trials && self.doubtful >= (total / 2).max(1) {
            return None;
        }
        loop {
            let id = if trials { self.trials.pop_front()? } else { self.round.pop_front()? };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.queued = false;
            if !lane.open(now, total) {
                // It comes back when an attempt of it ends, its rest does, or something is due.
                continue;
            }
            if lane.doubtful() != trials {
                self.queue(id);
                continue;
            }
            let Some((_, _, token)) = lane.ready.pop_first() else { continue };
            lane.active += 1;
            let destination = lane.destination.clone();
            self.active += 1;
            self.doubtful += u32::from(trials);
            self.queue(id);
            let Some((entry, leg)) = self.leg(token, id) else { continue };
            leg.state = State::Active(trials);
            let fresh = std::mem::take(&mut leg.fresh);
            let number = leg.number.saturating_add(1);
            return Some(Start { token, lane: id, id: entry, destination, number, fresh, began: now });
        }
    }

    /// An attempt ended.
    pub(super) fn finish(
        &mut self,
        start: &Start,
        verdict: Verdict,
        next: Next,
        now: Tick,
        rest: impl Fn(&str, u32) -> Duration,
    ) -> Option<Change> {
        let change = self.judge(start, verdict, now, rest);
        if let Some((_, leg)) = self.leg(start.token, start.lane)
            && let State::Active(doubtful) = leg.state
        {
            leg.state = State::Idle;
            match next {
                Next::Due(due) => (leg.number, leg.due) = (start.number, due),
                Next::Again(due) => leg.due = due,
                Next::Done => {}
            }
            self.free(start.lane, doubtful);
            if next == Next::Done {
                if let Some(entry) = self.entries.get_mut(&start.token) {
                    entry.legs.retain(|leg| leg.lane != start.lane);
                }
                self.leave(start.lane);
            }
        }
        self.arm(start.token, now);
        change
    }

    fn judge(
        &mut self,
        start: &Start,
        verdict: Verdict,
        now: Tick,
        rest: impl Fn(&str, u32) -> Duration,
    ) -> Option<Change> {
        let lane = self.lanes.get_mut(&start.lane)?;
        match verdict {
            Verdict::Nothing => None,
            Verdict::Reached(took) => lane.reached(took).then(|| Change::Serves(lane.destination.clone())),
            Verdict::Unreached(reason) => {
                let failures = lane.unreached(reason.clone(), start.began)?;
                let rest = rest(&lane.destination, failures);
                let until = now.saturating_add(super::schedule::millis(rest));
                lane.rest(now, until);
                self.rests.insert((until, start.lane));
                (failures == 1).then(|| Change::Rests(lane.destination.clone(), reason))
            }
        }
    }

    /// Whether this attempt's leg is all that is left of its message.
    pub(super) fn is_last(&self, start: &Start) -> bool {
        self.entries.get(&start.token).is_none_or(|entry| entry.legs.iter().all(|leg| leg.lane == start.lane))
    }

    /// The destinations of what is left of a message, as the routes say now. Where a destination is new, it is tried at
    /// once.
    pub(super) fn regroup(&mut self, token: Token, ways: &[Way], now: Tick) {
        self.disarm(token);
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
    pub(super) fn events(&mut self, now: Tick, most: usize) -> Vec<Token> {
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
    pub(super) fn reserve(&mut self, token: Token) -> Result<(), Taken> {
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
    pub(super) fn release(&mut self, token: Token, now: Tick, change: impl FnOnce(&mut Entry)) {
        self.change(token, now, |entry| {
            entry.reserved = false;
            change(entry);
        });
    }

    /// Changes a message, attempted or not.
    pub(super) fn change(&mut self, token: Token, now: Tick, change: impl FnOnce(&mut Entry)) {
        self.disarm(token);
        if let Some(entry) = self.entries.get_mut(&token) {
            let held = entry.held;
            change(entry);
            self.held = self.held + u64::from(entry.held) - u64::from(held);
        }
        self.arm(token, now);
    }

    /// Lets a message's destinations be tried at once.
    pub(super) fn wake(&mut self, token: Token) {
        let lanes = self.entries.get(&token).map(|entry| entry.legs.iter().map(|leg| leg.lane).collect::<Vec<_>>());
        for id in lanes.unwrap_or_default() {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake();
            }
            self.queue(id);
        }
    }

    /// Lets every destination be tried at once.
    pub(super) fn wake_all(&mut self) {
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.wake();
            }
            self.queue(id);
        }
    }

    /// Why the destinations of a message rest, if one of them does.
    pub(super) fn reason(&self, token: Token, destination: &str) -> Option<Failure> {
        let entry = self.entries.get(&token)?;
        let mut lanes = entry.legs.iter().filter_map(|leg| self.lanes.get(&leg.lane));
        lanes.find(|lane| *lane.destination == *destination)?.reason.clone()
    }

    /// When an attempt at a message is due next; none while one is under way or it is held.
    pub(super) fn next_due(&self, token: Token, now: Tick) -> Option<Tick> {
        let entry = self.entries.get(&token)?;
        let active = entry.legs.iter().any(|leg| matches!(leg.state, State::Active(_)));
        if active || entry.held || entry.reserved {
            return None;
        }
        let due = |leg: &Leg| leg.due.max(self.lanes.get(&leg.lane).and_then(|lane| lane.resting(now)).unwrap_or(0));
        entry.legs.iter().map(due).min()
    }

    /// The highest number of attempts of a message's legs.
    pub(super) fn number(&self, token: Token) -> u32 {
        let legs = self.entries.get(&token).map(|entry| entry.legs.as_slice()).unwrap_or_default();
        legs.iter().map(|leg| leg.number).max().unwrap_or(0)
    }

    /// When the first leg but this one is due.
    pub(super) fn other_due(&self, start: &Start) -> Option<Tick> {
        let legs = self.entries.get(&start.token)?.legs.iter();
        legs.filter(|leg| leg.lane != start.lane).map(|leg| leg.due).min()
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values().filter(|lane| lane.legs > 0)
    }

    /// When there is something to do next, if nothing else happens; [`Index::events`] among it or not.
    pub(super) fn wake_at(&self, with_events: bool) -> Option<Tick> {
        let due = self.due.first().map(|(at, ..)| *at);
        let events = self.events.first().map(|(at, _)| *at).filter(|_| with_events);
        let rests = self.rests.first().map(|(at, _)| *at);
        [due, events, rests].into_iter().flatten().min()
    }

    /// Lets in what has become due.
    fn advance(&mut self, now: Tick) {
        while let Some(&(at, token, lane)) = self.due.first()
            && at <= now
        {
            self.due.remove(&(at, token, lane));
            self.ready(token, lane);
        }
        while let Some(&(at, lane)) = self.rests.first()
            && at <= now
        {
            self.rests.remove(&(at, lane));
            self.queue(lane);
            self.sweep(lane);
        }
    }

    fn arm(&mut self, token: Token, now: Tick) {
        let Some(entry) = self.entries.get_mut(&token) else { return };
        if entry.held || entry.reserved {
            return;
        }
        self.events.insert((entry.times.next(), token));
        let mut due = Vec::new();
        for leg in entry.legs.iter_mut().filter(|leg| leg.state == State::Idle) {
            if leg.due <= now {
                due.push(leg.lane);
            } else {
                leg.state = State::Waiting;
                self.due.insert((leg.due, token, leg.lane));
            }
        }
        for lane in due {
            self.ready(token, lane);
        }
    }

    fn disarm(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(&token) else { return };
        self.events.remove(&(entry.times.next(), token));
        for leg in &mut entry.legs {
            match leg.state {
                State::Waiting => {
                    self.due.remove(&(leg.due, token, leg.lane));
                    leg.state = State::Idle;
                }
                State::Ready => {
                    if let Some(lane) = self.lanes.get_mut(&leg.lane) {
                        lane.ready.remove(&(-entry.priority, leg.due, token));
                    }
                    leg.state = State::Idle;
                }
                State::Idle | State::Active(_) => {}
            }
        }
    }

    fn ready(&mut self, token: Token, lane_id: LaneId) {
        let Some(entry) = self.entries.get_mut(&token) else { return };
        let Some(leg) = entry.legs.iter_mut().find(|leg| leg.lane == lane_id) else { return };
        let Some(lane) = self.lanes.get_mut(&lane_id) else { return };
        leg.state = State::Ready;
        lane.ready.insert((-entry.priority, leg.due, token));
        self.queue(lane_id);
    }

    /// Gives a lane its place in the round.
    fn queue(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if lane.queued || lane.ready.is_empty() {
            return;
        }
        lane.queued = true;
        match lane.doubtful() {
            true => self.trials.push_back(id),
            false => self.round.push_back(id),
        }
    }

    fn leg(&mut self, token: Token, lane: LaneId) -> Option<(MessageId, &mut Leg)> {
        let entry = self.entries.get_mut(&token)?;
        let id = entry.id.clone();
        entry.legs.iter_mut().find(|leg| leg.lane == lane).map(|leg| (id, leg))
    }

    /// The lane of a way, with a leg more.
    fn lane(&mut self, way: &Way) -> LaneId {
        let id = self.names.get(way.destination.as_str()).copied().unwrap_or_else(|| {
            self.last_lane = self.last_lane.wrapping_add(1);
            let lane = Lane::new(way);
            self.names.insert(lane.destination.clone(), self.last_lane);
            self.lanes.insert(self.last_lane, lane);
            self.last_lane
        });
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.adopt(way);
            lane.legs += 1;
        }
        id
    }

    fn leave(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.legs = lane.legs.saturating_sub(1);
        }
        self.sweep(id);
    }

    fn free(&mut self, id: LaneId, doubtful: bool) {
        self.active = self.active.saturating_sub(1);
        self.doubtful = self.doubtful.saturating_sub(u32::from(doubtful));
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.active = lane.active.saturating_sub(1);
        }
        self.queue(id);
        self.sweep(id);
    }

    /// A lane without messages is kept only as long as its rest is to be remembered.
    fn sweep(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if lane.legs == 0 && lane.active == 0 && !self.rests.contains(&(lane.until, id)) {
            self.names.remove(&lane.destination);
            self.lanes.remove(&id);
        }
    }
}

impl Entry {
    pub(super) fn held(&self) -> bool {
        self.held
    }

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// It is due at once.
    pub(super) fn hurry(&mut self, now: Tick) {
        for leg in &mut self.legs {
            leg.due = leg.due.min(now);
        }
    }
}
