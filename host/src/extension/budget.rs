//! What a call may still do, and what is left of its session's share: everything a guest brings the host to do is counted
//! here, against both. It does not know what the counted things are.

use super::call::Failure;
use crate::config::{ExtensionLimits, Spending};
use crate::session::policy::Spent;
use std::time::Duration;

/// The budgets of one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// What this call used.
    call: Spent,
    /// What the session used, this call included.
    session: Spent,
    denials: u32,
    exhausted: Option<(Spending, Share)>,
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One call's.
    Call,
    /// All of a session's calls together.
    Session,
}

/// Denials of one call that are logged.
const DENIALS: u32 = 10;

/// What becomes of a line that a guest brings about in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// It is logged.
    Kept,
    /// It is not, and this is said.
    FirstDropped(Share),
    /// It is not.
    Dropped,
}

impl Budget {
    /// The budgets of a new call in a session that has used this much.
    pub fn new(session: Spent) -> Budget {
        Budget { session, ..Budget::default() }
    }

    /// What the session has used by now.
    pub fn spent(&self) -> Spent {
        self.session
    }

    /// Adds what is only known when the call is over.
    pub fn took(&mut self, cpu: Duration, wall: Duration) {
        self.session.cpu = self.session.cpu.saturating_add(cpu);
        self.session.wall = self.session.wall.saturating_add(wall);
    }

    /// Counts so much of something.
    ///
    /// # Errors
    /// The budget of the call or of the session is used up, and the call with it.
    pub fn spend(&mut self, limits: &ExtensionLimits, what: Spending, amount: u64) -> wasmtime::Result<()> {
        let call = count(&mut self.call, what, amount);
        let session = count(&mut self.session, what, amount);
        let share = if call > limits.of(what) {
            Share::Call
        } else if session > limits.session.of(what) {
            Share::Session
        } else {
            return Ok(());
        };
        // The first one is the reason: a guest that is stopped does nothing more.
        self.exhausted.get_or_insert((what, share));
        Err(wasmtime::Error::msg("a budget of the call is used up"))
    }

    /// The budget that the call used up, if it did.
    pub fn exhausted(&self, limits: &ExtensionLimits) -> Option<Failure> {
        self.exhausted.map(|(what, share)| match share {
            Share::Call => Failure::Spent(what, limits.of(what)),
            Share::Session => Failure::SessionSpent(what, limits.session.of(what)),
        })
    }

    /// What becomes of one more line that the guest logs.
    pub fn log_line(&mut self, limits: &ExtensionLimits) -> LogLine {
        let before = self.call.log_lines;
        self.call.log_lines = before.saturating_add(1);
        match LogLine::after(before, limits.log_lines, Share::Call) {
            LogLine::Kept => {}
            dropped => return dropped,
        }
        let before = self.session.log_lines;
        self.session.log_lines = before.saturating_add(1);
        LogLine::after(before, limits.session.log_lines, Share::Session)
    }

    /// What becomes of one more line about a denial. A guest that talks much does not hide them.
    pub fn denial_line(&mut self) -> LogLine {
        let before = self.denials;
        self.denials = before.saturating_add(1);
        LogLine::after(before.into(), DENIALS, Share::Call)
    }
}

impl LogLine {
    fn after(before: u64, limit: u32, share: Share) -> LogLine {
        match before.cmp(&limit.into()) {
            std::cmp::Ordering::Less => LogLine::Kept,
            std::cmp::Ordering::Equal => LogLine::FirstDropped(share),
            std::cmp::Ordering::Greater => LogLine::Dropped,
        }
    }
}

/// Adds to one of the counts; what it is then.
fn count(spent: &mut Spent, what: Spending, amount: u64) -> u64 {
    let counted = match what {
        Spending::HostBytes => &mut spent.host_bytes,
        Spending::HostCalls => &mut spent.host_calls,
        Spending::Edit => &mut spent.edits,
        Spending::Handle => &mut spent.handles,
        Spending::Kv => &mut spent.kv,
        Spending::Dns => &mut spent.dns,
        Spending::Http => &mut spent.http,
    };
    *counted = counted.saturating_add(amount);
    *counted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::config::SessionLimits;

    const ALL: [Spending; 7] = [
        Spending::HostBytes,
        Spending::HostCalls,
        Spending::Edit,
        Spending::Handle,
        Spending::Kv,
        Spending::Dns,
        Spending::Http,
    ];

    /// Everything 3 for a call and 7 for a session.
    fn narrow() -> ExtensionLimits {
        let session = SessionLimits {
            host_bytes: 7,
            host_calls: 7,
            log_lines: 7,
            edits: 7,
            handles: 7,
            kv: 7,
            dns: 7,
            http: 7,
            ..SessionLimits::default()
        };
        ExtensionLimits {
            host_bytes: 3,
            host_calls: 3,
            log_lines: 3,
            edits: 3,
            handles: 3,
            kv: 3,
            dns: 3,
            http: 3,
            session,
            ..ExtensionLimits::default()
        }
    }

    #[test]
    fn each_budget_ends_by_itself() {
        let limits = narrow();
        for what in ALL {
            let mut budget = Budget::new(Spent::default());
            for _ in 0..3 {
                budget.spend(&limits, what, 1).unwrap();
            }
            for other in ALL.into_iter().filter(|other| *other != what) {
                budget.spend(&limits, other, 3).unwrap();
            }
            assert!(budget.exhausted(&limits).is_none());
            budget.spend(&limits, what, 1).unwrap_err();
            assert_eq!(budget.exhausted(&limits).unwrap().kind(), what.key());
        }
    }

    #[test]
    fn a_session_has_one_budget_for_all_its_calls() {
        let limits = narrow();
        for what in ALL {
            let mut spent = Spent::default();
            for _ in 0..2 {
                let mut budget = Budget::new(spent);
                budget.spend(&limits, what, 3).unwrap();
                spent = budget.spent();
            }
            let mut last = Budget::new(spent);
            last.spend(&limits, what, 1).unwrap();
            last.spend(&limits, what, 1).unwrap_err();
            assert_eq!(last.exhausted(&limits).unwrap().kind(), what.session_key());
            // What failed was done, or tried: it stays counted.
            Budget::new(last.spent()).spend(&limits, what, 1).unwrap_err();
        }
    }

    #[test]
    fn nothing_overflows() {
        let limits = narrow();
        let mut budget = Budget::new(Spent { host_bytes: u64::MAX, ..Spent::default() });
        budget.spend(&limits, Spending::HostBytes, u64::MAX).unwrap_err();
        budget.took(Duration::MAX, Duration::MAX);
        budget.took(Duration::MAX, Duration::MAX);
        assert_eq!(budget.spent().wall, Duration::MAX);
    }

    #[test]
    fn lines_are_dropped_once_with_a_word_and_then_without() {
        use LogLine::{Dropped, FirstDropped, Kept};
        let limits = narrow();
        let mut spent = Spent::default();
        let mut call = |lines: usize| {
            let mut budget = Budget::new(spent);
            let said = (0..lines).map(|_| budget.log_line(&limits)).collect::<Vec<_>>();
            spent = budget.spent();
            said
        };
        assert_eq!(call(5), [Kept, Kept, Kept, FirstDropped(Share::Call), Dropped]);
        assert_eq!(call(3), [Kept, Kept, Kept]);
        assert_eq!(call(3), [Kept, FirstDropped(Share::Session), Dropped]);
        assert_eq!(call(1), [Dropped]);
    }
}
