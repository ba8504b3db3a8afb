//! What a client brings into a TLS handshake: the version it speaks, the certificate it shows, the tickets it keeps.

use crate::certificate::Pair;
use crate::stream;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig};
use std::sync::Arc;

pub use rustls::HandshakeKind;

/// One client in all its handshakes. Clones share its tickets.
#[derive(Clone, Debug)]
pub struct Handshake(pub(crate) Arc<ClientConfig>);

/// The versions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Handshake {
    /// One that speaks what there is, and shows nothing of itself.
    pub fn plain() -> Handshake {
        Handshake(Arc::new(stream::config_of(ALL_VERSIONS)))
    }

    /// One that speaks this version alone, and shows this certificate whoever is asked for.
    ///
    /// # Panics
    /// The pair cannot be read.
    pub fn new(version: Version, shown: Option<&Pair>) -> Handshake {
        let mut config = stream::config_of(&[match version {
            Version::Tls12 => &TLS12,
            Version::Tls13 => &TLS13,
        }]);
        if let Some(pair) = shown {
            config.client_auth_cert_resolver = Arc::new(Shown(certified(pair)));
        }
        Handshake(Arc::new(config))
    }

    /// The same for a test that makes the handshake by itself.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

/// A certificate that is shown without a look at which authorities the server names.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(pair: &Pair) -> Arc<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).map(|one| one.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let key = ring::default_provider().key_provider.load_private_key(key).expect("a key that can be used");
    Arc::new(CertifiedKey::new(chain, key))
}
