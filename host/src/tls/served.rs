//! What a listener presents and asks for, made from its files at one moment. It does not know whether it is in use.

use super::certificate::{self, Fault, Standing, TlsError, Validity};
use super::choice::Choice;
use super::client::Clients;
use crate::config;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates, keys and authorities that belong together, with session tickets of their own.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    /// None when clients are not asked for a certificate.
    pub(super) clients: Option<Arc<Clients>>,
    pub(super) validity: Vec<Validity>,
    pub(super) fingerprint: [u8; 32],
}

impl Served {
    /// Reads and checks all files of a listener.
    pub(super) fn load(tls: &config::Tls, clock: &Arc<dyn TimeProvider>) -> Result<Served, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut keys = Vec::with_capacity(tls.certificates.len());
        let mut validity = Vec::with_capacity(tls.certificates.len());
        let mut digest = Sha256::new();
        for (index, files) in tls.certificates.iter().enumerate() {
            let certificate = certificate::load(index, files, &provider)?;
            digest.update(certificate.validity.digest);
            keys.push(Arc::new(certificate.key));
            validity.push(certificate.validity);
        }
        let choice = Choice::new(keys).ok_or(TlsError::NoCertificate)?;
        let clients = Clients::load(tls, &provider)?;
        let verifier: Arc<dyn ClientCertVerifier> = match &clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => {
                digest.update([1, u8::from(clients.required)]);
                digest.update(certificate::digest(&clients.authorities));
                Arc::<Clients>::clone(clients)
            }
        };
        let mut config = ServerConfig::builder_with_details(provider, Arc::clone(clock))
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
        Ok(Served { config: Arc::new(config), clients, validity, fingerprint: digest.finalize().into() })
    }

    /// Refuses to follow one whose certificates hold when its own do not.
    pub(super) fn no_worse_than(self, before: &Served, now: SystemTime) -> Result<Served, TlsError> {
        for (index, (own, old)) in self.validity.iter().zip(&before.validity).enumerate() {
            let source = match (own.standing(now), old.standing(now)) {
                (Standing::Expired, Standing::Good | Standing::Ageing) => Fault::Expired,
                (Standing::Early, Standing::Good | Standing::Ageing) => Fault::Early,
                _ => continue,
            };
            return Err(TlsError::Chain { index, file: own.chain.clone(), source });
        }
        Ok(self)
    }
}
