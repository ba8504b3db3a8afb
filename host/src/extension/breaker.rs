//! When an extension keeps failing on a listener, it is left alone for a while: its calls fail at once, without being made,
//! and its `on-failure` speaks, so that a broken extension costs neither time nor a line in the log for each call.
//!
//! Closed, every call is made. So many failures within a time open it. When its pause is over one call is made, the probe,
//! and decides: it closes, or stays open for twice as long. It does not know what a call is, nor the clock.

use super::load::Digest;
use crate::config::{self, Use};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The breaker of one extension on one listener, shared by all its calls.
#[derive(Debug)]
pub struct Breaker {
    /// None: it never opens.
    settings: Option<config::Breaker>,
    machine: Mutex<Machine>,
}

/// How a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What becomes of calls now.
    pub position: Position,
    /// How long it is still open; none where it is not.
    pub left: Option<Duration>,
    /// How often it opened.
    pub opened: u64,
}

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// There is no breaker.
    Off,
    /// They are made.
    Closed,
    /// They fail at once.
    Open,
    /// One decides.
    HalfOpen,
}

impl Position {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Position::Off => "off",
            Position::Closed => "closed",
            Position::Open => "open",
            Position::HalfOpen => "half-open",
        }
    }
}

/// What a call that is over changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened, for so long.
    Opened(Duration),
    /// It closed.
    Closed,
}

/// The right to make one call. Dropped unsaid, as when the client left in the middle, it says nothing of the extension.
#[derive(Debug)]
pub struct Pass {
    breaker: Arc<Breaker>,
    probe: bool,
}

impl Breaker {
    /// A closed breaker; without settings it stays so.
    pub fn new(settings: Option<config::Breaker>) -> Arc<Breaker> {
        Arc::new(Breaker { settings, machine: Mutex::default() })
    }

    /// The right to make a call now, if it may be made.
    pub fn admit(self: &Arc<Breaker>, now: Instant) -> Option<Pass> {
        let probe = self.settings.is_some() && self.machine().admit(now)?;
        Some(Pass { breaker: self.clone(), probe })
    }

    /// How it is.
    pub fn standing(&self, now: Instant) -> Standing {
        let machine = self.machine();
        let (position, left) = match &machine.state {
            _ if self.settings.is_none() => (Position::Off, None),
            State::Closed => (Position::Closed, None),
            State::Open { until } if *until > now => (Position::Open, Some(until.duration_since(now))),
            State::Open { .. } | State::Probing { .. } => (Position::HalfOpen, None),
        };
        Standing { position, left, opened: machine.opened }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The call did what a call should.
    pub fn succeeded(mut self, now: Instant) -> Option<Change> {
        // A call that began before it opened proves nothing.
        match std::mem::take(&mut self.probe) {
            true => Some(self.breaker.machine().succeeded(now)),
            false => None,
        }
    }

    /// The call failed, and it is the extension's own doing.
    pub fn failed(mut self, now: Instant) -> Option<Change> {
        let settings = self.breaker.settings?;
        let probe = std::mem::take(&mut self.probe);
        self.breaker.machine().failed(&settings, probe, now, jitter())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.machine().unprobed();
        }
    }
}

/// Sixteen bits nobody can guess, from the keys std seeds its own hash maps with.
fn jitter() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    let [low, high, ..] = RandomState::new().hash_one(0_u8).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// What the breaker remembers.
#[derive(Debug, Default)]
struct Machine {
    state: State,
    /// When calls failed, while it is closed: never more than open it.
    failures: VecDeque<Instant>,
    /// The pause that comes next; none: the first.
    pause: Option<Duration>,
    /// When it closed the last time.
    closed: Option<Instant>,
    opened: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// With the moment from which on the probe may be made.
    Probing {
        since: Instant,
    },
}

impl Machine {
    /// Whether a call may be made, and whether it is the probe.
    fn admit(&mut self, now: Instant) -> Option<bool> {
        match self.state {
            State::Closed => Some(false),
            State::Open { until } if until <= now => {
                self.state = State::Probing { since: until };
                Some(true)
            }
            State::Open { .. } | State::Probing { .. } => None,
        }
    }

    /// The probe did what it should.
    fn succeeded(&mut self, now: Instant) -> Change {
        self.state = State::Closed;
        self.failures.clear();
        self.closed = Some(now);
        Change::Closed
    }

    fn failed(&mut self, settings: &config::Breaker, probe: bool, now: Instant, jitter: u16) -> Option<Change> {
        match (&self.state, probe) {
            (State::Closed, _) => {
                self.failures.push_back(now);
                let recent = |then: &Instant| now.duration_since(*then) <= settings.within;
                while self.failures.front().is_some_and(|then| !recent(then)) {
                    self.failures.pop_front();
                }
                if self.failures.len() < usize::try_from(settings.failures).unwrap_or(usize::MAX) {
                    return None;
                }
                // What failed again soon after it closed has not been good for long enough to begin anew.
                if self.closed.is_none_or(|closed| now.duration_since(closed) > settings.longest_pause) {
                    self.pause = None;
                }
            }
            (State::Probing { .. }, true) => {}
            // It began before the breaker opened.
            (State::Open { .. } | State::Probing { .. }, _) => return None,
        }
        self.failures.clear();
        let pause = self.pause.unwrap_or(settings.pause).min(settings.longest_pause);
        self.pause = Some(pause.saturating_mul(2).min(settings.longest_pause));
        // Up to a quarter less, so that what broke together is not tried together.
        let pause = pause.saturating_sub(pause.saturating_mul(jitter.into()) / 4 / u32::from(u16::MAX));
        self.state = State::Open { until: now.checked_add(pause).unwrap_or(now) };
        self.opened = self.opened.saturating_add(1);
        Some(Change::Opened(pause))
    }

    /// The probe said nothing: the next call is one.
    fn unprobed(&mut self) {
        if let State::Probing { since } = self.state {
            self.state = State::Open { until: since };
        }
    }
}

/// The breakers there are, by all that an extension is on a listener: one that stays what it was keeps its breaker over a
/// reload, and with anything changed it begins anew.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<BTreeMap<String, Weak<Breaker>>>);

impl Breakers {
    /// The breaker of this extension on this listener.
    pub fn find(&self, digest: Digest, extension: &config::Extension, entry: &Use, listener: &str) -> Arc<Breaker> {
        // Debug text of plain data: equal exactly when the values are.
        let set = (&extension.settings, extension.limits, extension.breaker);
        let granted = (&entry.grant, entry.verdicts, entry.limits);
        let key = format!("{:?}", (&extension.name, listener, digest, set, granted));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What no generation has any more goes.
        known.retain(|_, breaker| breaker.strong_count() > 0);
        let kept = known.get(&key).and_then(Weak::upgrade);
        kept.unwrap_or_else(|| {
            let breaker = Breaker::new(extension.breaker);
            known.insert(key, Arc::downgrade(&breaker));
            breaker
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SETTINGS: config::Breaker = config::Breaker {
        failures: 3,
        within: Duration::from_secs(30),
        pause: SECOND,
        longest_pause: Duration::from_secs(8),
    };

    /// A machine that is open, with the pause it opened for.
    fn opened(now: Instant) -> (Machine, Duration) {
        let mut machine = Machine::default();
        for _ in 0..2 {
            assert_eq!(machine.admit(now), Some(false));
            assert_eq!(machine.failed(&SETTINGS, false, now, 0), None);
        }
        assert_eq!(machine.admit(now), Some(false));
        let Some(Change::Opened(pause)) = machine.failed(&SETTINGS, false, now, 0) else { panic!("still closed") };
        (machine, pause)
    }

    #[test]
    fn it_opens_when_enough_fails_in_time() {
        let began = Instant::now();
        let (mut machine, pause) = opened(began);
        assert_eq!(pause, SECOND);
        assert_eq!(machine.admit(began), None);
        assert_eq!(machine.admit(began + pause / 2), None);
        assert_eq!(machine.opened, 1);
        // Failures that are spread out open nothing.
        let mut machine = Machine::default();
        for minutes in 0..100 {
            assert_eq!(machine.failed(&SETTINGS, false, began + 16 * SECOND * minutes, 0), None);
            assert!(machine.failures.len() < 3);
        }
        // What comes to the very end of the time counts.
        let mut machine = Machine::default();
        machine.failed(&SETTINGS, false, began, 0);
        machine.failed(&SETTINGS, false, began, 0);
        assert!(machine.failed(&SETTINGS, false, began + 30 * SECOND, 0).is_some());
    }

    #[test]
    fn one_call_decides() {
        let began = Instant::now();
        let (mut machine, pause) = opened(began);
        let now = began + pause;
        assert_eq!(machine.admit(now), Some(true));
        assert_eq!(machine.admit(now), None);
        // Calls that began before it opened have no say.
        assert_eq!(machine.failed(&SETTINGS, false, now, 0), None);
        assert_eq!(machine.admit(now), None);
        assert_eq!(machine.succeeded(now), Change::Closed);
        assert_eq!(machine.admit(now), Some(false));
        // It begins to count anew.
        assert_eq!(machine.failed(&SETTINGS, false, now, 0), None);
        assert_eq!(machine.failed(&SETTINGS, false, now, 0), None);
        assert!(machine.failed(&SETTINGS, false, now, 0).is_some());
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_good_run() {
        let mut now = Instant::now();
        let (mut machine, first) = opened(now);
        let mut pauses = vec![first];
        for _ in 0..5 {
            now += *pauses.last().unwrap();
            assert_eq!(machine.admit(now), Some(true));
            let Some(Change::Opened(pause)) = machine.failed(&SETTINGS, true, now, 0) else { panic!("closed") };
            pauses.push(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8].map(|seconds| SECOND * seconds));
        for (good, expected) in [(8 * SECOND, 8 * SECOND), (9 * SECOND, SECOND)] {
            now += 8 * SECOND;
            assert_eq!(machine.admit(now), Some(true));
            assert_eq!(machine.succeeded(now), Change::Closed);
            now += good;
            let changes: Vec<_> = (0..3).filter_map(|_| machine.failed(&SETTINGS, false, now, 0)).collect();
            assert_eq!(changes, [Change::Opened(expected)], "good for {good:?}");
        }
    }

    #[test]
    fn jitter_shortens_a_pause_by_a_quarter_at_most() {
        for (jitter, least, most) in [(0, 1000, 1000), (u16::MAX / 2, 870, 880), (u16::MAX, 750, 750)] {
            let mut machine = Machine::default();
            let now = Instant::now();
            let changes: Vec<_> = (0..3).filter_map(|_| machine.failed(&SETTINGS, false, now, jitter)).collect();
            let [Change::Opened(pause)] = changes[..] else { panic!("{changes:?}") };
            assert!((least..=most).contains(&pause.as_millis()), "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_decides_nothing() {
        let breaker = Breaker::new(Some(SETTINGS));
        for _ in 0..3 {
            breaker.admit(Instant::now()).unwrap().failed(Instant::now());
        }
        assert!(breaker.admit(Instant::now()).is_none());
        assert_eq!(breaker.standing(Instant::now()).position, Position::Open);
        tokio::time::advance(SECOND).await;
        assert_eq!(breaker.standing(Instant::now()).position, Position::HalfOpen);
        let probe = breaker.admit(Instant::now()).unwrap();
        assert!(breaker.admit(Instant::now()).is_none());
        drop(probe);
        let probe = breaker.admit(Instant::now()).unwrap();
        assert!(breaker.admit(Instant::now()).is_none());
        assert_eq!(probe.succeeded(Instant::now()), Some(Change::Closed));
        let closed = Standing { position: Position::Closed, left: None, opened: 1 };
        assert_eq!(breaker.standing(Instant::now()), closed);
    }

    #[test]
    fn without_settings_it_never_opens() {
        let (breaker, now) = (Breaker::new(None), Instant::now());
        for _ in 0..1000 {
            assert_eq!(breaker.admit(now).unwrap().failed(now), None);
        }
        assert_eq!(breaker.standing(now).position, Position::Off);
    }
}
