//! A webhook: each message is posted to a URL. The room's others do not know what HTTP is.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::WebhookTarget;
use crate::spool::{Failure, Outcome, Reach, Stored};

/// A route's way there. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    target: Arc<WebhookTarget>,
}

/// A file that the route names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub(super) struct WebhookError {
    /// Which.
    path: PathBuf,
    /// Why not.
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Webhook {
    /// Reads the files that the route names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn load(target: &Arc<WebhookTarget>) -> Result<Webhook, WebhookError> {
        Ok(Webhook { target: target.clone() })
    }

    /// What the route says of it.
    pub(super) fn target(&self) -> &WebhookTarget {
        &self.target
    }

    /// Takes a message there for some of its recipients, and says what became of each.
    pub(super) async fn deliver(&self, stored: &Arc<Stored>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        let _ = stored;
        let text = format!("{} is not served", self.target);
        let outcome = Outcome::Deferred(Failure::local("4.3.5", text, Reach::Destination));
        recipients.iter().map(|&index| (index, outcome.clone())).collect()
    }
}
