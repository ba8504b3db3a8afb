//! The client's name, verified: a name its address has, and which leads back to the address. Looked up where the listener
//! wants it; what somebody in front said of the name stands.

use super::facts::HostName;
use super::session::Session;
use crate::dns::ClientName;

impl Session {
    /// Looks up the client's name, where the listener wants it known and nobody else has named it.
    pub(super) async fn name_client(&mut self) {
        let Some(names) = self.post.names.clone().filter(|_| !self.named) else { return };
        let client = &self.facts.client;
        let address = client.endpoint.address;
        // The name of another address, which was looked up for that one.
        let stale = self.looked_up.as_ref().is_some_and(|(of, name)| Some(*of) != address && *name == client.name);
        if client.name != HostName::Unavailable && !stale {
            return;
        }
        let Some(address) = address else {
            self.facts_mut().client.name = HostName::Unavailable;
            return;
        };
        // Boxed, for a session that waits would carry the room of a look-up.
        let name = match Box::pin(names.client_name(address)).await {
            ClientName::Verified(name) => HostName::Known(name),
            ClientName::None => HostName::Unavailable,
            ClientName::Temporary => HostName::TemporarilyUnavailable,
        };
        let shown = match &name {
            HostName::Known(name) => name,
            HostName::Unavailable => "unknown",
            HostName::TemporarilyUnavailable => "unknown for now",
        };
        tracing::info!(session = &*self.facts.id, client = %address, name = shown, "client name");
        self.looked_up = Some((address, name.clone()));
        self.facts_mut().client.name = name;
    }
}
