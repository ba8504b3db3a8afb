//! How sessions ask delivery, which they do not know.

use std::sync::Arc;

use crate::delivery::{self, Routes};
use crate::session::generation::{Judgement, RecipientName, Routing};
use crate::session::policy::Asking;

/// The routes of one generation.
pub(super) struct Router(pub(super) Arc<Routes>);

impl Routing for Router {
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
