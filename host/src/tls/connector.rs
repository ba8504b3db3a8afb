//! TLS towards other servers: whom a connection must lead to, and what this server shows there.
//!
//! The file does not know when TLS begins, or what follows from a handshake that fails.

use super::HandshakeError;
use super::certificate::{self, TlsError};
use crate::config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes TLS connections to other servers, by TLS 1.2 and 1.3. A clone shares everything.
#[derive(Clone)]
pub struct Connector {
    verifying: Arc<ClientConfig>,
    trusting: Arc<ClientConfig>,
}

/// Whether it matters who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It does not: any certificate is taken.
    None,
    /// Its certificate is signed by an authority, holds now, and for the name.
    Certificate,
}

impl Connector {
    /// Reads the authorities of the servers, or the system's where no file is named, and the certificate to show to
    /// them. `needed` says whether servers are verified: without an authority none could be.
    ///
    /// # Errors
    /// The first file that cannot be used; or there is no authority and one is needed.
    pub fn load(
        authorities: Option<&Path>,
        certificate: Option<&config::Certificate>,
        needed: bool,
    ) -> Result<Connector, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(file) => {
                certificate::read_authorities(file, &mut roots)?;
            }
            None => {
                // What cannot be read of them is left out: what is signed by the others can still be verified.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if needed && roots.is_empty() {
            return Err(TlsError::NoAuthority);
        }
        let own = match certificate {
            Some(files) => Some(Arc::new(SingleCertAndKey::from(certificate::load(0, files, &provider)?.key))),
            None => None,
        };
        let make = |verifier: Option<Arc<dyn ServerCertVerifier>>| -> Result<Arc<ClientConfig>, TlsError> {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&TLS13, &TLS12])
                .map_err(TlsError::Provider)?;
            let builder = match verifier {
                None => builder.with_root_certificates(roots.clone()),
                Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
            };
            let mut config = match &own {
                None => builder.with_no_client_auth(),
                Some(own) => builder.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(own)),
            };
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Ok(Arc::new(config))
        };
        let anyone = Anyone(provider.signature_verification_algorithms);
        Ok(Connector { verifying: make(None)?, trusting: make(Some(Arc::new(anyone)))? })
    }

    /// Makes the handshake on `stream` within `patience`. `name` is a host name, or an address as text.
    ///
    /// # Errors
    /// It failed, or the time was over. The stream is gone.
    pub async fn connect<S>(
        &self,
        name: &str,
        proof: Proof,
        stream: S,
        patience: Duration,
    ) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = match proof {
            Proof::None => &self.trusting,
            Proof::Certificate => &self.verifying,
        };
        let name = match (ServerName::try_from(name.to_owned()), proof) {
            (Ok(name), _) => name,
            // Whoever it is needs no name; one that TLS cannot say is not said.
            (Err(_), Proof::None) => ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
            (Err(error), Proof::Certificate) => {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, error).into());
            }
        };
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        match timeout(patience, handshake).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(HandshakeError::TooSlow(patience)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Servers whose sessions are remembered.
const SESSIONS: usize = 64;

/// Takes any certificate of any name. That the other end has its key is proven all the same, or a resumed session would
/// mean nothing.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
