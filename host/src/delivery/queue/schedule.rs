//! When a message is tried again, when its sender is told that it takes longer, and when it is given up.
//!
//! Everything here is arithmetic on times that are given. What is kept on disk is in milliseconds since 1970; what the
//! process waits for is in [`Tick`]s, which no change of the clock moves.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::terms::Terms;
use crate::config::Retry;
use crate::spool::{Attempt, MessageId};

/// Milliseconds since this process began to deliver, by a clock that only runs forward.
pub(super) type Tick = u64;

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) tick: Tick,
    /// Milliseconds since 1970.
    pub(super) wall: u64,
}

impl Now {
    /// The tick at which the wall clock would show this, if nobody set it; now, if it has.
    fn tick_at(self, wall: u64) -> Tick {
        self.tick.saturating_add(wall.saturating_sub(self.wall))
    }

    /// What the wall clock shows at this tick.
    pub(super) fn wall_at(self, tick: Tick) -> u64 {
        self.wall.saturating_add(tick.saturating_sub(self.tick))
    }
}

/// The wait behind the attempt of this number, the first being 1: `first`, doubled with each up to `longest`, and as much
/// as a tenth more or less, which id and number choose, so that messages that failed together do not come back together.
pub(super) fn wait(retry: &Retry, id: &MessageId, number: u32) -> Duration {
    let doublings = number.saturating_sub(1).min(30);
    let base = retry.first.saturating_mul(1 << doublings).min(retry.longest.max(retry.first));
    base.mul_f64(0.9 + 0.2 * share(id, number))
}

/// From 0 to 1, the same for the same id and number at all times.
fn share(id: &MessageId, number: u32) -> f64 {
    let digest: [u8; 32] = Sha256::digest(format!("{id} {number}")).into();
    let [first, second, ..] = digest;
    f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX)
}

/// When a message that is found in the queue is due.
///
/// A wait that was begun before goes on, but a clock that was set back never makes it longer than it was. What should have
/// been tried while the server was down is spread over a moment.
pub(super) fn due(retry: &Retry, id: &MessageId, last: Option<&Attempt>, terms: &Terms, now: Now) -> Tick {
    let resumed = last.map_or(now.tick, |last| {
        let wait = last.next.saturating_sub(now.wall).min(last.next.saturating_sub(last.at));
        if wait > 0 {
            return now.tick.saturating_add(wait);
        }
        let spread = (retry.first / 10).min(SPREAD_MAX);
        now.tick.saturating_add(millis(spread.mul_f64(share(id, last.number))))
    });
    terms.not_before.map_or(resumed, |wall| resumed.max(now.tick_at(wall)))
}

/// What happens to a message by the mere passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Its sender is told of the delay; none when that was done or is not to be done.
    pub(super) warns: Option<Tick>,
    /// It is given up.
    pub(super) ends: Tick,
    /// Whether it ends because its sender wanted it delivered by then (RFC 2852).
    pub(super) by_deadline: bool,
}

impl Times {
    /// The times of a message that was accepted at `received`.
    ///
    /// Time that the server was down does not end a message untried: one whose time has passed as it is found has `grace`
    /// left.
    pub(super) fn new(retry: &Retry, terms: &Terms, received: u64, warned: bool, now: Now) -> Times {
        // A message from the future is one from a clock that was set back: it is as new as can be.
        let from = terms.not_before.unwrap_or(0).max(received.min(now.wall));
        let mut ends = now.tick_at(from.saturating_add(millis(retry.expire)));
        if from.saturating_add(millis(retry.expire)) <= now.wall {
            ends = now.tick.saturating_add(millis(grace(retry)));
        }
        let mut warns = (!retry.warn.is_zero()).then(|| now.tick_at(from.saturating_add(millis(retry.warn))));
        let mut by_deadline = false;
        if let Some(deadline) = terms.deadline {
            let at = now.tick_at(deadline.at);
            if deadline.returns && at <= ends {
                (ends, by_deadline) = (at, true);
            } else if !deadline.returns {
                warns = Some(warns.map_or(at, |warns| warns.min(at)));
            }
        }
        Times { warns: warns.filter(|_| !warned), ends, by_deadline }
    }

    /// The next of them.
    pub(super) fn next(&self) -> Tick {
        self.warns.map_or(self.ends, |warns| warns.min(self.ends))
    }
}

/// What is left of its time to a message that is found, or released, when it is over.
pub(super) fn grace(retry: &Retry) -> Duration {
    retry.longest.min(retry.expire)
}

/// How long a destination rests that could not be reached so many times in a row: half of what a message would wait, from
/// ten seconds to ten minutes, and as much as a tenth less, so that it never keeps a message that is due.
pub(super) fn rest(retry: &Retry, destination: &str, failures: u32) -> Duration {
    let first = retry.first.min(REST_FIRST);
    let longest = retry.longest.min(REST_MAX).max(first);
    let base = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let digest: [u8; 32] = Sha256::digest(format!("{destination} {failures}")).into();
    let [first, ..] = digest;
    base.mul_f64(0.8 + 0.1 * f64::from(first) / 255.0)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const SPREAD_MAX: Duration = Duration::from_secs(10);
const REST_FIRST: Duration = Duration::from_secs(10);
const REST_MAX: Duration = Duration::from_secs(10 * 60);
