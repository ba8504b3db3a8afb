//! The client's name, verified: a name its address has, and which leads back to the address. Looked up where the listener
//! wants it; what somebody in front said of the name stands.

use super::facts::HostName;
use super::session::Session;
use crate::dns::ClientName;

impl Session {
    /// Looks up the client's name, where the listener wants it known and nobody else has named it.
    pub(super) async fn name_client(&mut self) {
        let (Some(names), Some(address)) = (self.post.names.clone(), self.facts.client.endpoint.address) else {
            return;
        };
        let known = &self.facts.client.name;
        let stale = self.looked_up.as_ref().is_some_and(|(of, name)| *of != address && name == known);
        if *known != HostName::Unavailable && !stale {
            return;
        }
        let name = match names.client_name(address).await {
            ClientName::Verified(name) => HostName::Known(name),
            ClientName::None => HostName::Unavailable,
            ClientName::Temporary => HostName::TemporarilyUnavailable,
        };
        tracing::debug!(session = &*self.facts.id, client = %address, name = ?name, "client name looked up");
        self.looked_up = Some((address, name.clone()));
        self.facts_mut().client.name = name;
    }
}
