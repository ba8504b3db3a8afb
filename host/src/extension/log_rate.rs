//! How fast an extension may log on one listener, over all its sessions. Who logs faster loses lines, and how many is said
//! once a second. It does not know what the lines say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Lines that may come at once, in seconds of the rate.
const BURST: u64 = 10;
/// A line, in the thousandths that are counted.
const LINE: u64 = 1000;
/// How often it is said that lines were dropped.
const SECOND: Duration = Duration::from_secs(1);

/// The rate of one extension on one listener.
#[derive(Debug)]
pub struct LogRate {
    /// Lines in a second.
    rate: u64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Thousandths of lines that may still come, at the moment they were last counted.
    left: u64,
    counted: Option<Instant>,
    dropped: u64,
    /// Somebody waits to say how many were dropped.
    told: bool,
}

impl LogRate {
    /// A rate in lines a second.
    pub fn new(rate: u32) -> Arc<LogRate> {
        let rate = u64::from(rate);
        let bucket = Bucket { left: rate * BURST * LINE, ..Bucket::default() };
        Arc::new(LogRate { rate, bucket: Mutex::new(bucket) })
    }

    /// Whether one more line may be logged. Where lines are dropped, `tell` is called with their number a second later.
    pub fn admits(self: &Arc<LogRate>, tell: impl FnOnce(u64) + Send + 'static) -> bool {
        let mut bucket = self.bucket();
        if bucket.take(self.rate, Instant::now()) {
            return true;
        }
        bucket.dropped = bucket.dropped.saturating_add(1);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        if !std::mem::replace(&mut bucket.told, true) {
            let rate = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep(SECOND).await;
                let dropped = {
                    let mut bucket = rate.bucket();
                    bucket.told = false;
                    std::mem::take(&mut bucket.dropped)
                };
                tell(dropped);
            });
        }
        false
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn take(&mut self, rate: u64, now: Instant) -> bool {
        let past = self.counted.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        let more = u64::try_from(past.as_millis()).unwrap_or(u64::MAX).saturating_mul(rate);
        // What is less than a thousandth of a line stays in the clock.
        if more > 0 || self.counted.is_none() {
            self.counted = Some(now);
        }
        self.left = self.left.saturating_add(more).min(rate * BURST * LINE);
        match self.left.checked_sub(LINE) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use std::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_to_its_rate_and_counted() {
        let rate = LogRate::new(3);
        let (told, said) = mpsc::channel();
        let flood = |lines: usize| {
            let line = |_: &usize| {
                let told = told.clone();
                rate.admits(move |dropped| told.send(dropped).unwrap())
            };
            (0..lines).filter(line).count()
        };
        // Ten seconds' worth at once.
        assert_eq!(flood(1000), 30);
        assert!(said.try_recv().is_err());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(said.try_recv(), Ok(970));
        // Half a line is no line.
        assert_eq!(flood(10), 4);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(flood(10), 0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(said.try_iter().collect::<Vec<_>>(), [16]);
        // The rest is never more than it was at first.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(flood(1000), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_to_the_rate_loses_nothing() {
        let rate = LogRate::new(2);
        for _ in 0..20 {
            assert!(rate.admits(|_| {}));
        }
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(rate.admits(|_| {}));
        }
        assert!(!LogRate::new(0).admits(|_| {}));
    }
}
