//! How many attempts are under way, and which of the places one takes. It does not know how long is long.

use super::entry::State;
use super::{Index, Start};

/// Which attempts one is counted among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// At a destination of which nobody knew whether it answers, as it began.
    doubtful: bool,
    /// It takes long: it waits for a peer or a disk, and as long as those are not too many it takes nobody's place.
    lingers: bool,
}

/// The attempts under way. Those in doubt and the others are counted apart: how many dead hosts hang is nothing to those
/// that answer.
#[derive(Debug, Default)]
pub(super) struct Shares {
    sure: Count,
    doubtful: Count,
}

impl Shares {
    pub(super) fn begin(&mut self, doubtful: bool) -> Share {
        let share = Share { doubtful, lingers: false };
        let count = self.count(share);
        count.active = count.active.saturating_add(1);
        share
    }

    pub(super) fn end(&mut self, share: Share) {
        let count = self.count(share);
        count.active = count.active.saturating_sub(1);
        count.lingering = count.lingering.saturating_sub(u32::from(share.lingers));
    }

    /// Places that are taken: by all attempts but those that may linger.
    pub(super) fn taken(&self) -> u32 {
        self.sure.taken().saturating_add(self.doubtful.taken())
    }

    /// Of these, by attempts in doubt.
    pub(super) fn taken_in_doubt(&self) -> u32 {
        self.doubtful.taken()
    }

    /// Whether so many linger where somebody answers that who has some already gets no more. Those in doubt are not asked:
    /// none of their destinations has more than two.
    pub(super) fn is_crowded(&self) -> bool {
        self.sure.lingering >= CROWD
    }

    fn count(&mut self, share: Share) -> &mut Count {
        if share.doubtful { &mut self.doubtful } else { &mut self.sure }
    }
}

#[derive(Debug, Default)]
struct Count {
    active: u32,
    /// Of these, those that linger.
    lingering: u32,
}

impl Count {
    fn taken(&self) -> u32 {
        self.active.saturating_sub(self.lingering.min(LINGERING_MAX))
    }
}

impl Index {
    /// An attempt takes long. It leaves its place to others: so any number of hosts that hang, and disks that do, whether
    /// they answered before or not, keep none that answers from being tried.
    pub(in super::super) fn linger(&mut self, start: &Start) {
        let Some((_, leg)) = self.leg(start.token, start.lane) else { return };
        let State::Active(share) = &mut leg.state else { return };
        if std::mem::replace(&mut share.lingers, true) {
            return;
        }
        let share = *share;
        let count = self.shares.count(share);
        count.lingering = count.lingering.saturating_add(1);
        if let Some(lane) = self.lanes.get_mut(&start.lane) {
            lane.lingering = lane.lingering.saturating_add(1);
        }
    }

    /// An attempt at this lane is over.
    pub(super) fn free(&mut self, id: super::LaneId, share: Share) {
        self.shares.end(share);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.active = lane.active.saturating_sub(1);
            lane.lingering = lane.lingering.saturating_sub(u32::from(share.lingers));
        }
        self.queue(id);
        self.sweep(id);
        if !self.shares.is_crowded() {
            for id in std::mem::take(&mut self.kept_out) {
                self.queue(id);
            }
        }
    }
}

/// Attempts of either kind that linger at a time without taking a place: each is a socket, one or two open files, and as
/// much as some hundred KiB of a message and of TLS.
const LINGERING_MAX: u32 = 512;

/// Those that linger where somebody answers, from which on they are a crowd.
const CROWD: u32 = LINGERING_MAX / 2;
