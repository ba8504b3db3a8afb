//! How sessions ask delivery, which they do not know.

use std::sync::Arc;

use crate::delivery::{self, Routes};
use crate::session::generation::{Judgement, RecipientName, Routing};
use crate::session::policy::Asking;
use crate::spool::{Draft, Envelope, Outcome};

/// The routes of one generation.
pub(super) struct Router(pub(super) Arc<Routes>);

impl Routing for Router {
    fn hands_over(&self) -> bool {
        self.0.hands_over()
    }

    fn hand_over<'a>(&'a self, envelope: &'a Envelope, draft: &'a Draft) -> Asking<'a, Vec<(usize, Outcome)>> {
        Box::pin(self.0.hand_over(envelope, draft))
    }

    fn judge<'a>(&'a self, recipient: &'a RecipientName) -> Asking<'a, Judgement> {
        Box::pin(async move {
            let name = delivery::RecipientName {
                local: &recipient.local,
                domain: &recipient.domain,
                postmaster: recipient.postmaster,
                bare_postmaster: recipient.bare_postmaster,
            };
            match self.0.judge(&name).await {
                delivery::Judgement::Deliver => Judgement::Deliver,
                delivery::Judgement::Discard => Judgement::Discard,
                delivery::Judgement::UnknownMailbox => Judgement::UnknownMailbox,
                delivery::Judgement::NoRoute => Judgement::NoRoute,
                delivery::Judgement::Unavailable(error) => Judgement::Unavailable(error),
            }
        })
    }
}
