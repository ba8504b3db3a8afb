//! CPU time of one call.
//!
//! It is metered for each poll of the call's future, on the clock of whichever thread polls it, and only from the first
//! tick on: a short call reads no clock, a busy machine fails nobody, and what other sessions run between two polls is
//! not charged to this one.

use rustix::time::{ClockId, clock_gettime};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The meter of one instance.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    budget: Duration,
    spent: Duration,
    /// Where the thread's clock stood when it was last read in this poll.
    last: Option<Duration>,
    /// A tick came: the clock is read from now on.
    hot: bool,
}

impl Meter {
    /// Begins a call.
    pub fn arm(&self, budget: Duration) {
        *self.reading() = Reading { budget, ..Reading::default() };
    }

    /// Runs a call, metered.
    pub async fn run<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|context| {
            {
                let mut reading = self.reading();
                reading.last = reading.hot.then(cpu);
            }
            let poll = call.as_mut().poll(context);
            let mut reading = self.reading();
            if let Some(last) = reading.last.take() {
                reading.spent += cpu().saturating_sub(last);
            }
            poll
        })
        .await
    }

    /// A tick came while the guest ran. True when the budget is spent.
    pub fn tick(&self) -> bool {
        let now = cpu();
        let mut reading = self.reading();
        reading.hot = true;
        if let Some(last) = reading.last.replace(now) {
            reading.spent += now.saturating_sub(last);
        }
        reading.spent >= reading.budget
    }

    /// What the call has spent; none where it was over before the first tick.
    pub fn spent(&self) -> Duration {
        self.reading().spent
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
