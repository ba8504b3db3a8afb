//! TLS for sessions: certificates from files, the handshake, and what is known afterwards.
//!
//! The provider is *ring*, said explicitly and never taken from a process-wide default: it builds with a C compiler alone,
//! which is all that this project asks for. TLS 1.2 and 1.3; no client certificates, no early data, no ALPN (SMTP has no
//! registered name for it). The room does not know when TLS begins, or what SMTP is.

mod certificate;
mod choice;
mod facts;

pub use certificate::{Fault, Standing, TlsError, Validity};
pub use facts::{ChannelBinding, ClientCertificate, Facts};

use crate::config;
use choice::Choice;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Takes TLS connections for one listener. A clone shares everything.
///
/// Each has session tickets of its own, so a session of one listener cannot be resumed on another, nor after its
/// certificates were replaced.
#[derive(Clone)]
pub struct Acceptor(Arc<Inner>);

struct Inner {
    config: Arc<ServerConfig>,
    validity: Vec<Validity>,
    fingerprint: [u8; 32],
}

impl Acceptor {
    /// Reads and checks the certificates and keys of a listener.
    ///
    /// A certificate that has expired is loaded: whether to go on with it is for the caller to say, who knows if there
    /// is a better one ([`Acceptor::validity`]).
    ///
    /// # Errors
    /// The first file that cannot be used, with the place of its certificate in `tls.certificates`.
    pub fn load(tls: &config::Tls) -> Result<Acceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut keys = Vec::with_capacity(tls.certificates.len());
        let mut validity = Vec::with_capacity(tls.certificates.len());
        let mut digest = Sha256::new();
        for (index, files) in tls.certificates.iter().enumerate() {
            let certificate = certificate::load(index, files, &provider)?;
            for der in &certificate.key.cert {
                digest.update(u64::try_from(der.len()).unwrap_or(u64::MAX).to_be_bytes());
                digest.update(der);
            }
            digest.update(u64::MAX.to_be_bytes());
            keys.push(Arc::new(certificate.key));
            validity.push(certificate.validity);
        }
        let choice = Choice::new(keys).ok_or(TlsError::NoCertificate)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(choice));
        // The state of a resumable session travels in the ticket, sealed, and costs no memory here.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Provider)?;
        Ok(Acceptor(Arc::new(Inner { config: Arc::new(config), validity, fingerprint: digest.finalize().into() })))
    }

    /// Makes the handshake on `stream`, which must take no longer than `patience`.
    ///
    /// # Errors
    /// It failed, and the peer was sent the alert that says why; or it took too long. The stream is gone.
    pub async fn accept<S>(&self, stream: S, patience: Duration) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(Arc::clone(&self.0.config)).accept(stream);
        match tokio::time::timeout(patience, handshake).await {
            Ok(done) => done.map_err(HandshakeError::Failed),
            Err(_) => Err(HandshakeError::TooSlow(patience)),
        }
    }

    /// A digest of all certificates, in their order. Two acceptors with the same one present the same; the key needs no
    /// part in it, since each certificate names its own.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// From when to when each certificate holds, in the order of `tls.certificates`.
    pub fn validity(&self) -> &[Validity] {
        &self.0.validity
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("validity", &self.0.validity).finish_non_exhaustive()
    }
}

/// Why a handshake did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer said something that cannot be answered, or went away.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// The time given was over.
    #[error("the handshake took longer than {0:?}")]
    TooSlow(Duration),
}

#[cfg(test)]
mod tests;
