//! What one extension has in one session, and one call of it there. It does not know what is asked, or what the answer
//! means.

use super::Settled;
use super::failure::note_pass;
use crate::extension::call::{Call, Failure};
use crate::extension::instance::Instance;
use crate::extension::load::Linked;
use crate::extension::rack::{Rack, Ticket};
use crate::session::facts::Facts;
use crate::session::policy::{Remembered, Spent};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;

/// What one extension has in one session.
#[derive(Debug, Default)]
pub(super) struct Chair {
    /// Where its instance waits.
    pub(super) instance: Option<Ticket>,
    /// What it keeps between calls.
    pub(super) remembered: Arc<Remembered>,
    /// What it used of the session's budgets, whatever becomes of its instances.
    spent: Spent,
}

impl Chair {
    /// The chair of one that remembers this.
    pub(super) fn of(mut remembered: Remembered) -> Chair {
        let spent = std::mem::take(&mut remembered.spent);
        Chair { instance: None, remembered: Arc::new(remembered), spent }
    }

    /// Another client is no new session: what was used is used.
    pub(super) fn forget(&mut self) {
        *self = Chair { spent: self.spent, ..Chair::default() };
    }

    /// A message is over.
    pub(super) fn forget_message(&mut self) {
        if !self.remembered.message.is_empty() {
            Arc::make_mut(&mut self.remembered).message.clear();
        }
    }

    /// What is to be remembered of it.
    pub(super) fn remembered(&self) -> Remembered {
        Remembered { spent: self.spent, ..(*self.remembered).clone() }
    }
}

/// One call. The instance is the session's own, made when it is first needed.
pub(super) async fn ask(
    linked: &Arc<Linked>,
    chair: &mut Chair,
    rack: &Arc<Rack>,
    call: Call<'_>,
    facts: &Arc<Facts>,
) -> Result<Settled, Failure> {
    let pass = linked.breaker.admit(Instant::now()).ok_or(Failure::Breaker)?;
    linked.counters.called();
    // One wall budget for all of it: the wait for room, `init` in a new instance, and the call itself.
    let deadline = Instant::now() + linked.limits.wall;
    let called = async {
        let instance = match chair.instance.take().and_then(Ticket::redeem) {
            Some(instance) => instance,
            None => Instance::start(linked, rack, None, deadline, &mut chair.spent).await?,
        };
        instance.call(call, facts.clone(), chair.remembered.clone(), deadline, &mut chair.spent).await
    };
    match called.instrument(linked.span()).await {
        Ok((instance, outcome)) => Ok(Settled { instance, outcome, linked: linked.clone(), pass }),
        Err(failure) => {
            note_pass(linked, pass, Some(&failure));
            Err(failure)
        }
    }
}
