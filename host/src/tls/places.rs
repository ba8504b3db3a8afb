//! Places for handshakes: so many are under way at a time, and the others wait.
//!
//! Whoever opens connections and says nothing could hold all places for as long as a handshake may take, and nobody else
//! would come in. So one that has had its time gives its place to one that waits, the longest first. What a handshake is,
//! is not known here.

use std::future::Future;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

/// How long a handshake keeps its place when others want it. It is over after two round trips, which take less than this
/// from anywhere.
pub(super) const FAIR: Duration = Duration::from_secs(5);

/// The places of one listener.
pub(super) struct Places {
    free: Semaphore,
    /// One for each that waits, until a place is on its way to it.
    wanted: Semaphore,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No place came free in time.
    Busy,
    /// It had a place, and not enough time.
    TooSlow,
    /// It had its time, and another waited.
    Displaced,
}

impl Places {
    pub(super) fn new(count: u32) -> Places {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Places { free: Semaphore::new(count), wanted: Semaphore::new(0) }
    }

    /// Does `work` in a place, all within `patience`, the wait for the place included.
    pub(super) async fn hold<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, Denied> {
        let started = Instant::now();
        let mut place = timeout(patience, self.place()).await.map_err(|_| Denied::Busy)?;
        tokio::select! {
            biased;
            done = timeout(patience.saturating_sub(started.elapsed()), work) => done.map_err(|_| Denied::TooSlow),
            () = self.displaced() => {
                place.promised = true;
                Err(Denied::Displaced)
            }
        }
    }

    async fn place(&self) -> Place<'_> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.wanted.add_permits(1);
                let waiting = Waiting { places: self, served: false };
                waiting.served().await
            }
        };
        Place { places: self, promised: false, _permit: permit }
    }

    /// Comes back when the one who holds a place is to give it up.
    async fn displaced(&self) {
        sleep(FAIR).await;
        match self.wanted.acquire().await {
            Ok(want) => want.forget(),
            // They are never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// One that waits.
struct Waiting<'a> {
    places: &'a Places,
    served: bool,
}

impl<'a> Waiting<'a> {
    async fn served(mut self) -> Option<SemaphorePermit<'a>> {
        let permit = self.places.free.acquire().await.ok();
        self.served = true;
        permit
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.served {
            self.places.wanted.forget_permits(1);
        }
    }
}

/// A place that is held.
struct Place<'a> {
    places: &'a Places,
    /// It goes to one that wanted it, which wants no other.
    promised: bool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.promised {
            self.places.wanted.forget_permits(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// When each came, how long its work takes, and when and how it is over; none where it never is by itself.
    async fn all(count: u32, came: &[(u64, Option<u64>)]) -> Vec<(u64, Result<(), Denied>)> {
        let (places, began) = (Arc::new(Places::new(count)), Instant::now());
        let each = came.iter().map(|&(after, takes)| {
            let places = places.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(after)).await;
                let work = async {
                    match takes {
                        Some(takes) => sleep(Duration::from_secs(takes)).await,
                        None => pending().await,
                    }
                };
                let done = places.hold(PATIENCE, work).await;
                (began.elapsed().as_secs(), done)
            })
        });
        let mut ends = Vec::new();
        for task in each.collect::<Vec<_>>() {
            ends.push(task.await.unwrap());
        }
        assert_eq!(places.free.available_permits(), count as usize);
        assert_eq!(places.wanted.available_permits(), 0, "nobody waits any more");
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_place_and_for_how_long() {
        let (displaced, slow, busy) = (Err(Denied::Displaced), Err(Denied::TooSlow), Err(Denied::Busy));
        for (what, count, came, ends) in [
            ("nobody waits", 1, &[(0, None)][..], &[(30, slow)][..]),
            ("one waits from the start", 1, &[(0, None), (0, Some(1))], &[(5, displaced), (6, Ok(()))]),
            ("one comes later", 1, &[(0, None), (9, Some(1))], &[(9, displaced), (10, Ok(()))]),
            // The longest first, and no more than there are who wait.
            (
                "one of three",
                3,
                &[(0, None), (1, None), (2, None), (20, Some(1))],
                &[(20, displaced), (31, slow), (32, slow), (21, Ok(()))],
            ),
            // It needs nobody's place when one comes free by itself.
            ("one that ends", 2, &[(0, None), (0, Some(3)), (1, Some(9))], &[(30, slow), (3, Ok(())), (12, Ok(()))]),
            // Those who wait for the same place do so in their order.
            (
                "a rush",
                1,
                &[(0, None), (0, None), (0, None), (1, Some(1))],
                &[(5, displaced), (10, displaced), (15, displaced), (16, Ok(()))],
            ),
            ("no place at all", 0, &[(0, None), (1, Some(1))], &[(30, busy), (31, busy)]),
        ] {
            assert_eq!(all(count, came).await, ends, "{what}");
        }
    }
}
