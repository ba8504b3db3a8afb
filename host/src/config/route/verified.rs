//! Which targets keep a message among servers that proved who they are.

use super::{Hop, HopTlsMode, Target};
use crate::config::Scheme;

impl Target {
    /// Whether what leaves this host by it goes over TLS to a server whose certificate was verified. What does not leave
    /// this host is as good.
    pub fn verifies_tls(&self) -> bool {
        match self {
            Target::Maildir(_) | Target::Discard => true,
            Target::Relay(relay) => {
                relay.tls.mode == HopTlsMode::Verified || relay.hops.iter().all(|hop| matches!(hop, Hop::Unix(_)))
            }
            Target::Webhook(webhook) => webhook.scheme == Scheme::Https,
            Target::Nats(nats) => nats.servers.tls,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::super::{HopHost, HopProtocol, RelayTarget};
    use super::*;
    use crate::config::{Host, MaildirPath};

    #[test]
    fn only_verified_tls_leads_off_this_host() {
        let tcp = || Hop::Tcp { host: HopHost::Host(Host::Name("mx.example.net".to_owned())), port: 25 };
        let relay = |hops: Vec<Hop>, mode| {
            let mut relay = RelayTarget::new(HopProtocol::Lmtp, tcp());
            (relay.hops, relay.tls.mode) = (hops, mode);
            Target::Relay(Arc::new(relay))
        };
        let unix = || Hop::Unix("/run/lmtp".into());
        for (target, verifies) in [
            (Target::Discard, true),
            (Target::Maildir(MaildirPath::new("/var/mail/{local}").unwrap()), true),
            (relay(vec![tcp()], HopTlsMode::Verified), true),
            (relay(vec![tcp()], HopTlsMode::Required), false),
            (relay(vec![tcp()], HopTlsMode::Opportunistic), false),
            (relay(vec![tcp()], HopTlsMode::Off), false),
            (relay(vec![unix()], HopTlsMode::Off), true),
            (relay(vec![unix(), tcp()], HopTlsMode::Off), false),
        ] {
            assert_eq!(target.verifies_tls(), verifies, "{target}");
        }
    }
}
