//! How sessions ask delivery, which they do not know.

use std::sync::Arc;

use crate::delivery::{self, Contexts, Routes};
use crate::session::context::{Context, Scope};
use crate::session::facts::Facts;
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

    fn judge<'a>(&'a self, recipient: &'a RecipientName, facts: &'a Facts) -> Asking<'a, Judgement> {
        Box::pin(async move {
            let now = Now(&facts.context);
            let name = delivery::RecipientName {
                local: &recipient.local,
                domain: &recipient.domain,
                postmaster: recipient.postmaster,
                bare_postmaster: recipient.bare_postmaster,
                listener: &facts.listener,
                context: &now,
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

/// The context of a session at this moment.
#[derive(Debug)]
struct Now<'a>(&'a Context);

impl Contexts for Now<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.value(Scope::Message, name).or_else(|| self.0.value(Scope::Connection, name))
    }
}
