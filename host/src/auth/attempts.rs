//! How often logins failed lately, by network and by user, so that passwords cannot be guessed.
//!
//! Failures are counted in a window that begins with the first of them. It does not know what time it is, or what is
//! done about one who tried too often.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// The most networks, users and pairs of both that are remembered. Those whose last failure is longest ago go first.
const CAPACITY: usize = 100_000;

/// Failed logins, by where they came from and for whom.
pub struct Attempts {
    ledger: Mutex<Ledger>,
    capacity: usize,
}

/// How often a login may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// So often within the window; the next attempt is not admitted. 0 is no limit.
    pub failures: u32,
    /// The window.
    pub window: Duration,
}

#[derive(Default)]
struct Ledger {
    counts: HashMap<Subject, Count>,
    /// The subjects by their last failure, the oldest first.
    order: BTreeMap<u64, Subject>,
    next: u64,
}

/// Of what failures are counted. A name is kept as its digest: it may be long, and it may be a password in the wrong
/// field.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Address(IpAddr),
    User([u8; 32]),
    /// The share of a user's failures that came from there.
    Pair([u8; 32], Option<IpAddr>),
}

#[derive(Clone, Copy)]
struct Count {
    since: Instant,
    failures: u32,
    /// Where it stands in the order.
    place: u64,
}

impl Attempts {
    /// Nobody has failed yet.
    pub fn new() -> Attempts {
        Attempts { ledger: Mutex::default(), capacity: CAPACITY }
    }

    /// Whether one may try.
    ///
    /// # Errors
    /// Too many logins failed: from this `address`, or for this `user`.
    pub fn admits(
        &self,
        address: Option<IpAddr>,
        user: Option<&str>,
        limits: AttemptLimits,
        now: Instant,
    ) -> Result<(), &'static str> {
        self.ledger().admits(address, user, limits, now)
    }

    /// A login failed. It is counted, and compared with those before it in the same moment: of many that were let in to
    /// try at one time, no more than the limit are to be told that they failed.
    ///
    /// # Errors
    /// So many had failed already that it would not have been admitted now.
    pub fn failed(
        &self,
        address: Option<IpAddr>,
        user: Option<&str>,
        limits: AttemptLimits,
        now: Instant,
    ) -> Result<(), &'static str> {
        let mut ledger = self.ledger();
        let (admitted, window) = (ledger.admits(address, user, limits, now), limits.window);
        let address = address.map(network);
        if let Some(address) = address {
            ledger.add(Subject::Address(address), None, window, now);
        }
        if let Some(user) = user.map(digest) {
            let since = ledger.add(Subject::User(user), None, window, now);
            // Its window is the user's, so that it is a share of the same failures.
            ledger.add(Subject::Pair(user, address), Some(since), window, now);
        }
        ledger.shrink(self.capacity);
        admitted
    }

    /// A login succeeded: the user's failures from there were slips. Those from elsewhere stay, and so do the failures of
    /// the network, or whoever has one account could guess at others for ever.
    pub fn succeeded(&self, address: Option<IpAddr>, user: Option<&str>) {
        let Some(user) = user.map(digest) else { return };
        let mut ledger = self.ledger();
        let Some(share) = ledger.remove(Subject::Pair(user, address.map(network))) else { return };
        if let Some(count) = ledger.counts.get_mut(&Subject::User(user)).filter(|count| count.since == share.since) {
            count.failures = count.failures.saturating_sub(share.failures);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts::new()
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("subjects", &self.ledger().counts.len()).finish_non_exhaustive()
    }
}

impl Ledger {
    fn admits(
        &self,
        address: Option<IpAddr>,
        user: Option<&str>,
        limits: AttemptLimits,
        now: Instant,
    ) -> Result<(), &'static str> {
        if limits.failures == 0 {
            return Ok(());
        }
        let exhausted =
            |subject| self.current(subject, limits.window, now).is_some_and(|count| count.failures >= limits.failures);
        if address.is_some_and(|address| exhausted(Subject::Address(network(address)))) {
            return Err("address");
        }
        if user.is_some_and(|user| exhausted(Subject::User(digest(user)))) {
            return Err("user");
        }
        Ok(())
    }

    fn current(&self, subject: Subject, window: Duration, now: Instant) -> Option<&Count> {
        self.counts.get(&subject).filter(|count| now.saturating_duration_since(count.since) < window)
    }

    /// Counts a failure in the window that is open or that begins now; or in the one that began at `since`. Says when it
    /// began.
    fn add(&mut self, subject: Subject, since: Option<Instant>, window: Duration, now: Instant) -> Instant {
        let open = self.current(subject, window, now).copied();
        let open = open.filter(|count| since.is_none_or(|since| since == count.since));
        let begun = since.or(open.map(|count| count.since)).unwrap_or(now);
        let failures = open.map_or(0, |count| count.failures).saturating_add(1);
        self.remove(subject);
        let place = self.next;
        self.next = self.next.wrapping_add(1);
        self.order.insert(place, subject);
        self.counts.insert(subject, Count { since: begun, failures, place });
        begun
    }

    fn remove(&mut self, subject: Subject) -> Option<Count> {
        let count = self.counts.remove(&subject)?;
        self.order.remove(&count.place);
        Some(count)
    }

    fn shrink(&mut self, capacity: usize) {
        while self.counts.len() > capacity {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.counts.remove(&oldest);
        }
    }
}

/// IPv4 addresses one by one. Of IPv6 the /64, which is what one customer has at least: all its addresses are one's.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

fn digest(user: &str) -> [u8; 32] {
    Sha256::digest(user).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);
    const LIMITS: AttemptLimits = AttemptLimits { failures: 3, window: WINDOW };

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn fail(attempts: &Attempts, times: usize, from: &str, user: Option<&str>, now: Instant) {
        for _ in 0..times {
            let _ = attempts.failed(address(from), user, LIMITS, now);
        }
    }

    #[test]
    fn a_network_may_fail_so_often() {
        let cases = [
            ("192.0.2.1", "192.0.2.1", Err("address")),
            ("192.0.2.1", "::ffff:192.0.2.1", Err("address")),
            ("192.0.2.1", "192.0.2.2", Ok(())),
            ("2001:db8::1", "2001:db8::ffff:0:0:2", Err("address")),
            ("2001:db8::1", "2001:db8:0:1::1", Ok(())),
        ];
        let now = Instant::now();
        for (from, then, expected) in cases {
            let attempts = Attempts::new();
            fail(&attempts, 2, from, None, now);
            assert_eq!(attempts.admits(address(then), None, LIMITS, now), Ok(()));
            fail(&attempts, 1, from, None, now);
            assert_eq!(attempts.admits(address(then), None, LIMITS, now), expected, "{from} {then}");
            assert_eq!(attempts.admits(None, None, LIMITS, now), Ok(()));
        }
    }

    #[test]
    fn without_a_limit_any_number_may_fail() {
        let now = Instant::now();
        let attempts = Attempts::new();
        fail(&attempts, 50, "192.0.2.1", Some("tim"), now);
        let limits = AttemptLimits { failures: 0, ..LIMITS };
        assert_eq!(attempts.admits(address("192.0.2.1"), Some("tim"), limits, now), Ok(()));
    }

    #[test]
    fn a_user_may_fail_so_often_from_anywhere() {
        let now = Instant::now();
        let attempts = Attempts::new();
        for host in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert_eq!(attempts.admits(address("198.51.100.1"), Some("tim"), LIMITS, now), Ok(()));
            fail(&attempts, 1, host, Some("tim"), now);
        }
        assert_eq!(attempts.admits(address("198.51.100.1"), Some("tim"), LIMITS, now), Err("user"));
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, now), Err("user"));
        assert_eq!(attempts.admits(address("198.51.100.1"), Some("Tim"), LIMITS, now), Ok(()));
        assert_eq!(attempts.admits(address("192.0.2.1"), None, LIMITS, now), Ok(()));
    }

    #[test]
    fn without_a_limit_one_may_fail_for_ever() {
        let now = Instant::now();
        let attempts = Attempts::new();
        fail(&attempts, 100, "192.0.2.1", Some("tim"), now);
        let limits = AttemptLimits { failures: 0, window: WINDOW };
        assert_eq!(attempts.admits(address("192.0.2.1"), Some("tim"), limits, now), Ok(()));
    }

    #[test]
    fn of_those_that_fail_at_one_time_no_more_are_told_than_the_limit() {
        let now = Instant::now();
        let cases = [
            (address("192.0.2.1"), None, LIMITS, Err("address")),
            (None, Some("tim"), LIMITS, Err("user")),
            (address("192.0.2.1"), Some("tim"), AttemptLimits { failures: 0, ..LIMITS }, Ok(())),
        ];
        for (from, user, limits, beyond) in cases {
            let attempts = Attempts::new();
            let told: Vec<_> = (0..5).map(|_| attempts.failed(from, user, limits, now)).collect();
            assert_eq!(told, [Ok(()), Ok(()), Ok(()), beyond, beyond], "{from:?} {user:?}");
        }
    }

    #[test]
    fn a_window_ends() {
        let begin = Instant::now();
        let attempts = Attempts::new();
        fail(&attempts, 2, "192.0.2.1", Some("tim"), begin);
        let late = begin + WINDOW - Duration::from_secs(1);
        fail(&attempts, 1, "192.0.2.1", Some("tim"), late);
        assert_eq!(attempts.admits(address("192.0.2.1"), None, LIMITS, late), Err("address"));
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, late), Err("user"));
        let end = begin + WINDOW;
        assert_eq!(attempts.admits(address("192.0.2.1"), Some("tim"), LIMITS, end), Ok(()));
        // The next one begins with the next failure.
        fail(&attempts, 2, "192.0.2.1", Some("tim"), end);
        assert_eq!(attempts.admits(address("192.0.2.1"), Some("tim"), LIMITS, end), Ok(()));
        fail(&attempts, 1, "192.0.2.1", Some("tim"), late);
        assert_eq!(attempts.admits(address("192.0.2.1"), Some("tim"), LIMITS, end), Err("address"));
    }

    #[test]
    fn a_success_forgives_the_slips_of_its_own_place() {
        let now = Instant::now();
        let attempts = Attempts::new();
        fail(&attempts, 2, "192.0.2.1", Some("tim"), now);
        fail(&attempts, 1, "198.51.100.1", Some("tim"), now);
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, now), Err("user"));
        attempts.succeeded(address("192.0.2.1"), Some("tim"));
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, now), Ok(()));
        // The other place's failure counts on, and nothing is forgiven twice.
        attempts.succeeded(address("192.0.2.1"), Some("tim"));
        fail(&attempts, 1, "198.51.100.1", Some("tim"), now);
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, now), Ok(()));
        fail(&attempts, 1, "198.51.100.1", Some("tim"), now);
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, now), Err("user"));
        // A network's own are not forgiven.
        fail(&attempts, 1, "192.0.2.1", Some("other"), now);
        assert_eq!(attempts.admits(address("192.0.2.1"), None, LIMITS, now), Err("address"));
        attempts.succeeded(address("192.0.2.1"), Some("other"));
        assert_eq!(attempts.admits(address("192.0.2.1"), None, LIMITS, now), Err("address"));
    }

    #[test]
    fn a_share_of_an_earlier_window_forgives_nothing() {
        let begin = Instant::now();
        let attempts = Attempts::new();
        fail(&attempts, 3, "192.0.2.1", Some("tim"), begin);
        let next = begin + WINDOW;
        fail(&attempts, 3, "198.51.100.1", Some("tim"), next);
        attempts.succeeded(address("192.0.2.1"), Some("tim"));
        assert_eq!(attempts.admits(None, Some("tim"), LIMITS, next), Err("user"));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go() {
        let now = Instant::now();
        let attempts = Attempts { capacity: 30, ..Attempts::new() };
        fail(&attempts, 3, "192.0.2.1", Some("tim"), now);
        fail(&attempts, 2, "192.0.2.2", None, now);
        for host in 0..28 {
            // Fails again and again, and so stays.
            if host == 10 {
                fail(&attempts, 1, "192.0.2.2", None, now);
            }
            fail(&attempts, 1, &format!("198.51.100.{host}"), None, now);
        }
        let ledger = attempts.ledger();
        assert_eq!((ledger.counts.len(), ledger.order.len()), (30, 30));
        drop(ledger);
        assert_eq!(attempts.admits(address("192.0.2.1"), None, LIMITS, now), Ok(()));
        assert_eq!(attempts.admits(address("192.0.2.2"), None, LIMITS, now), Err("address"));
    }
}
