//! Certificates of clients: which are asked for, which are taken, and which are verified.
//!
//! That a client has the key of its certificate, the handshake proves whatever is decided here. What a verified client may
//! do is not known here.

use super::certificate::{TlsError, read_authorities};
use super::name;
use crate::config::{self, TlsClients};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// The octets of a client's chain. A ticket carries the chain, and holds 64 KiB with all that it says.
const CHAIN: usize = 32 * 1024;
/// The octets of the authorities' names that are sent to clients. Some clients choke on many, and without any a client
/// chooses by itself (RFC 8446 section 4.2.4, RFC 5246 section 7.4.4).
const HINTS: usize = 16 * 1024;

/// The listener's authorities, and whether one must stand behind a client.
#[derive(Debug)]
pub(super) struct Clients {
    /// None where there are no authorities.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    pub(super) required: bool,
    /// The authorities' certificates, as they stand in the files.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl Clients {
    /// None when clients are not asked.
    pub(super) fn load(tls: &config::Tls, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<Clients>>, TlsError> {
        let required = match tls.clients {
            TlsClients::Off => return Ok(None),
            TlsClients::Optional => false,
            TlsClients::Required => true,
        };
        let mut authorities = Vec::new();
        let mut roots = RootCertStore::empty();
        for file in &tls.client_authorities {
            authorities.extend(read_authorities(file, &mut roots)?);
        }
        let chains = if roots.is_empty() {
            None
        } else {
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            Some(verifier.map_err(|error| TlsError::Provider(Error::General(error.to_string())))?)
        };
        if required && chains.is_none() {
            return Err(TlsError::NoAuthority);
        }
        let hints = chains.as_ref().map(|chains| chains.root_hint_subjects().to_vec()).unwrap_or_default();
        let length: usize = hints.iter().map(|hint| hint.as_ref().len()).sum();
        Ok(Some(Arc::new(Clients {
            chains,
            hints: if length <= HINTS { hints } else { Vec::new() },
            algorithms: provider.signature_verification_algorithms,
            required,
            authorities,
        })))
    }

    /// Whether an authority stands behind the chain, and it holds at `now`.
    pub(super) fn verified(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((first, others)) = chain.split_first() else { return false };
        self.chains.as_ref().is_some_and(|chains| chains.verify_client_cert(first, others, now).is_ok())
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Where a certificate is not required any is taken (Momentum's `TLS_Verify_Mode`: the session does not end when
    /// verification fails), and whether it is verified is asked after the handshake, which a resumed one passes too.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let length = intermediates.iter().map(|der| der.len()).sum::<usize>() + end_entity.len();
        if length > CHAIN {
            return Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(TooLong)))));
        }
        match &self.chains {
            Some(chains) if self.required => {
                // Whoever is let in by a name must have one that can be told.
                name::read(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
                chains.verify_client_cert(end_entity, intermediates, now)
            }
            _ if self.required => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The client's chain is too long to be looked at.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificates take more than 32 KiB")]
struct TooLong;
