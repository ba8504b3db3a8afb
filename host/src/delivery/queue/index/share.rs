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
    /// Of either those that take long: they wait for a peer or a disk, and as long as they are not too many they take
    /// nobody's place.
    Lingering,
}

impl Share {
    pub(super) fn new(doubtful: bool) -> Share {
        if doubtful { Share::Doubtful } else { Share::Sure }
    }
}

impl Index {
    /// An attempt takes long. It leaves its place to others: so any number of hosts that hang, and disks that do, whether
    /// they answered before or not, keep none that answers from being tried.
    pub(in super::super) fn linger(&mut self, start: &Start) {
        let Some((_, leg)) = self.leg(start.token, start.lane) else { return };
        let State::Active(share @ (Share::Sure | Share::Doubtful)) = leg.state else { return };
        leg.state = State::Active(Share::Lingering);
        self.doubtful = self.doubtful.saturating_sub(u32::from(share == Share::Doubtful));
        self.lingering = self.lingering.saturating_add(1);
        if let Some(lane) = self.lanes.get_mut(&start.lane) {
            lane.lingering = lane.lingering.saturating_add(1);
        }
    }

    /// Places that are taken: by all attempts but those that may linger.
    pub(super) fn taken(&self) -> u32 {
        self.active.saturating_sub(self.lingering.min(LINGERING_MAX))
    }

    /// Of the places of those in doubt: which ones linger beyond their number is not known, so they are taken for these.
    pub(super) fn taken_in_doubt(&self) -> u32 {
        self.doubtful.saturating_add(self.lingering.saturating_sub(LINGERING_MAX))
    }

    /// Whether so many linger that who has some already gets no more.
    pub(super) fn is_crowded(&self) -> bool {
        self.lingering >= LINGERING_MAX / 2
    }
}

/// Attempts that linger at a time without taking a place: each is a socket, one or two open files, and as much as some
/// hundred KiB of a message and of TLS.
const LINGERING_MAX: u32 = 512;
