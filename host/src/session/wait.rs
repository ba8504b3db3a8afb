//! The waiting of one session: how long the peer may take for what, and what may end the wait early.
//!
//! Four clocks run. A command has its time, which only a completed command renews: octets by themselves never do (slow
//! loris). A message has a budget that shrinks as time goes by and grows by what arrives, at the least rate that is
//! wanted. A transaction has its time as a whole. And the server may end.

use super::session::Session;
use super::transport::{Stream, Transport};
use crate::config::Limits;
use pillarbox_smtp::{Expiry, Patience, Server};
use std::future::poll_fn;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Sessions keep guests' instances this long after a command; what idles longer rests without them.
const REST_AFTER: Duration = Duration::from_secs(1);

/// What ended a wait for input.
pub(super) enum Woken {
    /// The peer sent something.
    Input,
    /// The peer sends nothing more.
    Ended,
    /// Its time is over.
    Expired(Expiry),
    /// The server ends.
    Stopping,
    /// The session's listener is gone.
    Removed,
    /// The connection is broken.
    Broken,
}

/// The clocks of one session.
pub(super) struct Wait {
    /// Until when the command that is waited for must be there.
    command: Instant,
    /// What is known of the message that comes in.
    message: Option<Budget>,
    pub(super) stop: watch::Receiver<bool>,
    stop_open: bool,
}

/// The time a message has. It runs while octets of it are waited for, and not between its chunks, where the command's does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Budget {
    /// When the message began. What is thrown away has no transaction, and still does not last for ever.
    since: Instant,
    /// How long it may go on as it does.
    left: Duration,
    /// What came was slower than is wanted, so that less than one `data-timeout` is left.
    behind: bool,
}

impl Wait {
    pub(super) fn new(stop: watch::Receiver<bool>) -> Wait {
        Wait { command: Instant::now(), message: None, stop, stop_open: true }
    }

    pub(super) fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// The next message has a budget of its own.
    pub(super) fn between_messages(&mut self) {
        self.message = None;
    }

    /// Waits until the peer sends something, or something else comes first.
    pub(super) async fn until_input<S: Stream>(
        &mut self,
        patience: Patience,
        renewed: bool,
        machine: &mut Server,
        session: &mut Session,
        transport: &mut Transport<S>,
    ) -> Woken {
        let began = Instant::now();
        let (deadline, expiry) = self.deadline(patience, renewed, began, session);
        // Also for a peer that never stops sending: its octets are always there before the clock is asked.
        if began >= deadline {
            return Woken::Expired(expiry);
        }
        let mut rested = false;
        loop {
            // In a message, between its chunks too, nothing but its octets matters: a stop or a reload lets it finish.
            let between = patience == Patience::Command && !machine.in_message();
            if between && self.stopping() {
                return Woken::Stopping;
            }
            if between && !machine.in_transaction() && !session.release() {
                return Woken::Removed;
            }
            tokio::select! {
                biased;
                read = poll_fn(|context| transport.poll_read(context, |octets| machine.receive(octets))) => {
                    return match read {
                        Ok(0) => Woken::Ended,
                        Ok(count) => {
                            if let (Patience::Data, Some(budget)) = (patience, &mut self.message) {
                                budget.go_on(began.elapsed(), count, session.limits());
                            }
                            Woken::Input
                        }
                        Err(_) => Woken::Broken,
                    };
                }
                () = sleep_until(deadline) => return Woken::Expired(expiry),
                () = sleep_until(began + REST_AFTER), if between && !rested => {
                    session.rest();
                    rested = true;
                }
                changed = self.stop.changed(), if between && self.stop_open => self.stop_open = changed.is_ok(),
                () = session.published(), if between => {}
            }
        }
    }

    /// The first clock to run out, and which it is.
    fn deadline(&mut self, patience: Patience, renewed: bool, now: Instant, session: &Session) -> (Instant, Expiry) {
        let limits = session.limits();
        let (own, transaction) = match patience {
            Patience::Command => {
                if renewed {
                    self.command = now + limits.command_timeout;
                }
                ((self.command, Expiry::Command), session.transaction_deadline())
            }
            Patience::Data => {
                let fresh = Budget { since: now, left: limits.data_timeout, behind: false };
                let budget = self.message.get_or_insert(fresh);
                let expiry = if budget.behind { Expiry::DataRate } else { Expiry::Data };
                let whole = session.transaction_deadline().unwrap_or(budget.since + limits.transaction_timeout);
                ((now + budget.left, expiry), Some(whole))
            }
        };
        match transaction {
            Some(deadline) if deadline < own.0 => (deadline, Expiry::Transaction),
            _ => own,
        }
    }
}

impl Budget {
    /// So many octets came after so long. Each is worth the time it may take at the least rate; more than one
    /// `data-timeout` is never saved up.
    fn go_on(&mut self, waited: Duration, octets: usize, limits: &Limits) {
        let earned = match limits.data_rate {
            0 => limits.data_timeout,
            rate => Duration::from_secs_f64(octets as f64 / f64::from(rate)).min(limits.data_timeout),
        };
        let left = self.left.saturating_sub(waited).saturating_add(earned);
        self.behind = left < limits.data_timeout;
        self.left = left.min(limits.data_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(rate: u32) -> Limits {
        Limits { data_timeout: MINUTE, data_rate: rate, ..Limits::default() }
    }

    /// How long a peer lasts that sends `octets` each second.
    fn lasts(octets: usize, rate: u32) -> u64 {
        let mut budget = Budget { since: Instant::now(), left: MINUTE, behind: false };
        for second in 1..=3600 {
            if budget.left <= Duration::from_secs(1) {
                return second;
            }
            budget.go_on(Duration::from_secs(1), octets, &limits(rate));
        }
        u64::MAX
    }

    #[test]
    fn a_drip_uses_its_budget_up_and_a_stream_never_does() {
        for (octets, rate, expected) in
            [(1, 500, 61), (10, 500, 62), (250, 500, 119), (499, 500, u64::MAX), (500, 500, u64::MAX), (1, 0, u64::MAX)]
        {
            let lasted = lasts(octets, rate);
            assert!(lasted.abs_diff(expected) <= 1, "{octets} octets a second where {rate} are wanted: {lasted}");
        }
    }

    #[test]
    fn nothing_is_saved_up() {
        let mut budget = Budget { since: Instant::now(), left: MINUTE, behind: false };
        budget.go_on(Duration::ZERO, usize::MAX >> 12, &limits(500));
        assert_eq!((budget.left, budget.behind), (MINUTE, false));
    }
}
