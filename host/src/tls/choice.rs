//! Which certificate a client gets.

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// The certificates of a listener, the default first; never empty.
pub(super) struct Choice(Vec<Arc<CertifiedKey>>);

impl Choice {
    /// None when there is nothing to choose from.
    pub(super) fn new(keys: Vec<Arc<CertifiedKey>>) -> Option<Choice> {
        if keys.is_empty() { None } else { Some(Choice(keys)) }
    }
}

impl ResolvesServerCert for Choice {
    /// The first certificate that holds for the name and whose key the client can verify; else the first whose key it
    /// can verify. Senders of mail seldom check the name (RFC 3207 section 4.1 leaves it to them), so one for another
    /// name is better than none. A client that can verify none gets the first too: the handshake goes on, and ends with
    /// the alert that says what the two have not in common.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let schemes = hello.signature_schemes();
        let usable = || self.0.iter().filter(|certified| certified.key.choose_scheme(schemes).is_some());
        usable()
            .find(|certified| name.as_ref().is_some_and(|name| holds_for(certified, name)))
            .or(usable().next())
            .or(self.0.first())
            .cloned()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Choice({} certificates)", self.0.len())
    }
}

fn holds_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certified
        .end_entity_cert()
        .ok()
        .and_then(|der| ParsedCertificate::try_from(der).ok())
        .is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
