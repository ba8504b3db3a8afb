//! What one extension has in one session, and one call of it there. It does not know what is asked, or what the answer
//! means.

use super::Settled;
use crate::extension::call::{Call, Failure};
use crate::extension::instance::Instance;
use crate::extension::load::Linked;
use crate::extension::rack::{Rack, Ticket};
use crate::session::facts::Facts;
use crate::session::policy::Remembered;
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
}

impl Chair {
    /// A new message begins.
    pub(super) fn forget_message(&mut self) {
        if !self.remembered.message.is_empty() {
            Arc::make_mut(&mut self.remembered).message.clear();
        }
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
    linked.counters.called();
    // One wall budget for all of it: the wait for room, `init` in a new instance, and the call itself.
    let deadline = Instant::now() + linked.limits.wall;
    let called = async {
        let instance = match chair.instance.take().and_then(Ticket::redeem) {
            Some(instance) => instance,
            None => Instance::start(linked, rack, None, deadline).await?,
        };
        let (instance, outcome) = instance.call(call, facts.clone(), chair.remembered.clone(), deadline).await?;
        Ok(Settled { instance, outcome })
    };
    called.instrument(linked.span()).await
}
