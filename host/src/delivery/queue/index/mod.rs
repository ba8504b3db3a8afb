//! The queue in memory: an entry for each message, a leg of it for each destination, and a lane of legs for each
//! destination. It says what is to be attempted next, and keeps nothing that is not on disk but the order of things.
//!
//! Lanes take turns, so a full one never holds up another. A leg that waits for its time lies in no lane, and one whose
//! lane rests costs nothing. The index does no I/O and asks no clock.

mod entry;
mod share;
mod whole;

pub(super) use entry::{Change, Entry, New, Next, Start, Taken, Verdict};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::lane::{Lane, Way};
use super::schedule::Tick;
use crate::spool::MessageId;
use entry::{Leg, State};
use share::Shares;

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
    /// Lanes that had nothing to do at some time, the first of them first.
    idle: VecDeque<LaneId>,
    ages: BTreeSet<(u64, Token)>,
    /// Lanes that answer, and may have something to do, in turn.
    round: VecDeque<LaneId>,
    /// Lanes of which nobody knows whether they answer.
    trials: VecDeque<LaneId>,
    trial_next: bool,
    last_token: Token,
    last_lane: LaneId,
    shares: Shares,
    /// Lanes that had no turn while there was a crowd.
    kept_out: BTreeSet<LaneId>,
    pub(super) held: u64,
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
        self.entries
            .insert(token, Entry { id, received, priority, held, reserved: false, times, expired: false, legs });
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
            if let State::Active(share) = leg.state {
                self.free(leg.lane, share);
            }
        }
    }

    /// What is to be attempted now, of `total` at a time; to be asked until there is nothing. With none, what is due gets
    /// ready.
    pub(super) fn pick(&mut self, now: Tick, total: u32) -> Option<Start> {
        self.advance(now);
        if self.shares.taken() >= total {
            return None;
        }
        self.trial_next = !self.trial_next;
        let trials_first = self.trial_next;
        self.pick_from(trials_first, now, total).or_else(|| self.pick_from(!trials_first, now, total))
    }

    fn pick_from(&mut self, trials: bool, now: Tick, total: u32) -> Option<Start> {
        if trials && self.shares.taken_in_doubt() >= (total / 2).max(1) {
            return None;
        }
        let crowded = self.shares.is_crowded();
        loop {
            let id = if trials { self.trials.pop_front()? } else { self.round.pop_front()? };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.queued = false;
            if !lane.open(now, total, crowded) {
                // It comes back when an attempt of it ends, its rest or the crowd does, or something is due.
                if crowded {
                    self.kept_out.insert(id);
                }
                continue;
            }
            if lane.doubtful() != trials {
                self.queue(id);
                continue;
            }
            let Some((_, _, token)) = lane.ready.pop_first() else { continue };
            lane.active += 1;
            let destination = lane.destination.clone();
            let share = self.shares.begin(trials);
            self.queue(id);
            let Some((entry, leg)) = self.leg(token, id) else { continue };
            leg.state = State::Active(share);
            let fresh = std::mem::take(&mut leg.fresh);
            let number = leg.number.saturating_add(1);
            return Some(Start { token, lane: id, id: entry, destination, number, fresh, began: now });
        }
    }

    /// What is to be attempted of one message now, whoever's turn it is.
    pub(super) fn pick_of(&mut self, token: Token, now: Tick) -> Vec<Start> {
        self.advance(now);
        let Some(entry) = self.entries.get_mut(&token) else { return Vec::new() };
        let mut starts = Vec::new();
        for leg in entry.legs.iter_mut().filter(|leg| leg.state == State::Ready) {
            let Some(lane) = self.lanes.get_mut(&leg.lane).filter(|lane| lane.resting(now).is_none()) else { continue };
            lane.ready.remove(&(-entry.priority, leg.due, token));
            lane.active += 1;
            leg.state = State::Active(self.shares.begin(lane.doubtful()));
            starts.push(Start {
                token,
                lane: leg.lane,
                id: entry.id.clone(),
                destination: lane.destination.clone(),
                number: leg.number.saturating_add(1),
                fresh: std::mem::take(&mut leg.fresh),
                began: now,
            });
        }
        starts
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
            && let State::Active(share) = leg.state
        {
            leg.state = State::Idle;
            match next {
                Next::Due(due) => (leg.number, leg.due) = (start.number, due),
                Next::Again(due) => leg.due = due,
                Next::Done => {}
            }
            self.free(start.lane, share);
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

    /// Whether this attempt is the only one at its message now.
    pub(super) fn is_alone(&self, start: &Start) -> bool {
        let other = |leg: &Leg| leg.lane != start.lane && matches!(leg.state, State::Active(_));
        self.entries.get(&start.token).is_none_or(|entry| !entry.legs.iter().any(other))
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

    /// A lane without messages is kept a while, because it knows whether its destination answers.
    fn sweep(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && lane.is_idle()
            && !lane.idle
        {
            lane.idle = true;
            self.idle.push_back(id);
        }
        while self.idle.len() > IDLE_MAX
            && let Some(id) = self.idle.pop_front()
            && let Some(lane) = self.lanes.get_mut(&id)
        {
            lane.idle = false;
            if lane.is_idle() {
                self.names.remove(&lane.destination);
                self.lanes.remove(&id);
            }
        }
    }
}

/// Destinations that are remembered without messages.
const IDLE_MAX: usize = 10_000;
