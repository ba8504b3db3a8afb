//! What the index keeps of one message, and the words in which it is spoken to.

use std::sync::Arc;

use super::share::Share;
use super::{LaneId, Token};
use crate::delivery::queue::lane::Way;
use crate::delivery::queue::schedule::{Tick, Times};
use crate::spool::{Failure, MessageId};

/// A message.
#[derive(Debug)]
pub(in super::super) struct Entry {
    pub(in super::super) id: MessageId,
    /// Milliseconds since 1970.
    pub(super) received: u64,
    pub(super) priority: i8,
    pub(super) held: bool,
    /// Whether something is done with all of it: no leg is begun.
    pub(super) reserved: bool,
    pub(in super::super) times: Times,
    /// Whether it was said that its time is over.
    pub(super) expired: bool,
    pub(super) legs: Vec<Leg>,
}

/// The recipients of a message that go to one destination.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) lane: LaneId,
    /// Attempts that ended.
    pub(super) number: u32,
    /// Whether nobody ever tried.
    pub(super) fresh: bool,
    pub(super) due: Tick,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In no set.
    Idle,
    /// In `due`.
    Waiting,
    /// In its lane's `ready`.
    Ready,
    /// Attempted now.
    Active(Share),
}

/// A message that is to be known.
#[derive(Debug)]
pub(in super::super) struct New {
    pub(in super::super) id: MessageId,
    pub(in super::super) received: u64,
    /// RFC 6710: higher is sooner.
    pub(in super::super) priority: i8,
    pub(in super::super) held: bool,
    /// Attempts that ended.
    pub(in super::super) number: u32,
    pub(in super::super) fresh: bool,
    pub(in super::super) due: Tick,
    pub(in super::super) times: Times,
    pub(in super::super) ways: Vec<Way>,
}

/// An attempt that is to be made.
#[derive(Clone, Debug)]
pub(in super::super) struct Start {
    pub(in super::super) token: Token,
    pub(in super::super) lane: LaneId,
    pub(in super::super) id: MessageId,
    pub(in super::super) destination: Arc<str>,
    /// This attempt's number, from 1.
    pub(in super::super) number: u32,
    pub(in super::super) fresh: bool,
    pub(in super::super) began: Tick,
}

/// What an attempt says of its destination.
#[derive(Clone, Debug)]
pub(in super::super) enum Verdict {
    /// Somebody answered; whether anything was taken.
    Reached(bool),
    /// It could not be reached.
    Unreached(Failure),
    /// Nobody was asked.
    Nothing,
}

/// What becomes of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Next {
    /// Nobody is left.
    Done,
    /// The attempt counts, and the next is due then.
    Due(Tick),
    /// It was no attempt: as before, at this time.
    Again(Tick),
}

/// What a destination did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Change {
    Rests(Arc<str>, Failure),
    Serves(Arc<str>),
}

/// Why a message cannot be had for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Taken {
    Unknown,
    Busy,
}

impl Entry {
    pub(in super::super) fn held(&self) -> bool {
        self.held
    }

    pub(in super::super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// It is due at once.
    pub(in super::super) fn hurry(&mut self, now: Tick) {
        for leg in &mut self.legs {
            leg.due = leg.due.min(now);
        }
    }
}
