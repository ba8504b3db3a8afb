//! What a listener presents and asks for, made from its files at one moment. It does not know whether it is in use.

use super::certificate::{self, Loaded, TlsError, Validity};
use super::choice::Choice;
use super::client::Clients;
use crate::config;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Certificates, keys and authorities that are served together, with session tickets of their own.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    /// In the order of `tls.certificates`.
    pub(super) pairs: Vec<Loaded>,
    /// None when clients are not asked for a certificate.
    pub(super) clients: Option<Arc<Clients>>,
    pub(super) fingerprint: [u8; 32],
}

impl Served {
    /// Reads and checks all files of a listener.
    pub(super) fn load(tls: &config::Tls, clock: &Arc<dyn TimeProvider>) -> Result<Served, TlsError> {
        let provider = provider();
        let pairs = tls.certificates.iter().enumerate();
        let pairs = pairs.map(|(index, files)| certificate::load(index, files, &provider)).collect::<Result<_, _>>()?;
        let clients = Clients::load(tls, &provider)?;
        Served::of(pairs, clients, clock)
    }

    /// Serves these. `clients` is none when they are not asked for a certificate.
    pub(super) fn of(
        pairs: Vec<Loaded>,
        clients: Option<Arc<Clients>>,
        clock: &Arc<dyn TimeProvider>,
    ) -> Result<Served, TlsError> {
        let keys = pairs.iter().map(|pair| Arc::clone(&pair.key)).collect();
        let choice = Choice::new(keys).ok_or(TlsError::NoCertificate)?;
        let fingerprint = fingerprint(&pairs, clients.as_deref());
        let verifier: Arc<dyn ClientCertVerifier> = match &clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => Arc::<Clients>::clone(clients),
        };
        let mut config = ServerConfig::builder_with_details(provider(), Arc::clone(clock))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Provider)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(choice));
        // The state of a resumable session travels in the ticket, sealed, and costs no memory here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Who resumes a session shows no certificate, and a handshake that is done cannot be refused with an alert. So
        // where one is required each handshake is a full one.
        if clients.as_ref().is_some_and(|clients| clients.required) {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = ring::Ticketer::new().map_err(TlsError::Provider)?;
        }
        Ok(Served { config: Arc::new(config), pairs, clients, fingerprint })
    }

    /// From when to when each certificate holds.
    pub(super) fn validity(&self) -> impl Iterator<Item = &Validity> {
        self.pairs.iter().map(|pair| &pair.validity)
    }
}

/// What everything here is encrypted and verified by.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Tells one set of certificates and authorities from any other.
pub(super) fn fingerprint(pairs: &[Loaded], clients: Option<&Clients>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for pair in pairs {
        digest.update(pair.validity.digest);
    }
    if let Some(clients) = clients {
        digest.update([1, u8::from(clients.required)]);
        digest.update(certificate::digest(&clients.authorities));
    }
    digest.finalize().into()
}
