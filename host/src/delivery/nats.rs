//! A NATS stream: a message is published to JetStream before its 250, and lies nowhere else.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::NatsTarget;
use crate::spool::{Failure, Outcome, Reach, Stored};

/// A route's way there. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Nats {
    target: Arc<NatsTarget>,
}

/// A file that the route names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub(super) struct NatsError {
    /// Which.
    path: PathBuf,
    /// Why not.
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Nats {
    /// Reads the files that the route names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn load(target: &Arc<NatsTarget>) -> Result<Nats, NatsError> {
        Ok(Nats { target: target.clone() })
    }

    /// What the route says of it.
    pub(super) fn target(&self) -> &NatsTarget {
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
