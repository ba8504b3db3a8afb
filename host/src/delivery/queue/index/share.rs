//! Which of the attempts that may be made at a time one takes a place of. It does not know how long is long.

use super::entry::State;
use super::{Index, Start};

/// Which attempts one is counted among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Those at destinations that answer.
    Sure,
    /// Those at destinations of which nobody knows, as they began.
    Doubtful,
    /// Of the doubtful those that take long: they wait for a peer that may be dead, and take nobody's place.
    Lingering,
}

impl Share {
    pub(super) fn new(doubtful: bool) -> Share {
        if doubtful { Share::Doubtful } else { Share::Sure }
    }
}

impl Index {
    /// An attempt takes long. Where its destination is in doubt, it leaves its place to others: so the first attempts at
    /// any number of hosts that hang do not keep one that answers from its own first attempt.
    pub(in super::super) fn linger(&mut self, start: &Start) {
        let room = self.lingering < LINGERING_MAX;
        let Some((_, leg)) = self.leg(start.token, start.lane) else { return };
        if room && leg.state == State::Active(Share::Doubtful) {
            leg.state = State::Active(Share::Lingering);
            self.active = self.active.saturating_sub(1);
            self.doubtful = self.doubtful.saturating_sub(1);
            self.lingering += 1;
            if let Some(lane) = self.lanes.get_mut(&start.lane) {
                lane.lingering += 1;
            }
        }
    }
}

/// Attempts that linger at a time: each is a socket and an open file.
const LINGERING_MAX: u32 = 256;
