//! A certificate chain and its key, from their files: read once, bounded, and checked as far as can be before a client
//! sees them.

use crate::config;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A chain file is at fault.
    #[error("cannot use the certificate chain {}", file.display())]
    Chain {
        /// Its place in `tls.certificates`.
        index: usize,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Fault,
    },
    /// A key file is at fault.
    #[error("cannot use the private key {}", file.display())]
    Key {
        /// Its place in `tls.certificates`.
        index: usize,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Fault,
    },
    /// A file of authorities for clients is at fault.
    #[error("cannot use the client authorities {}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Fault,
    },
    /// There is none.
    #[error("no certificate is named")]
    NoCertificate,
    /// Clients must be verified, and nothing is there to do it by.
    #[error("a client certificate is required and no authority is named")]
    NoAuthority,
    /// The cryptography itself cannot be set up.
    #[error("cannot set up TLS")]
    Provider(#[source] Error),
}

impl TlsError {
    /// The place in `tls.certificates` of the certificate at fault, if it is one of them.
    pub fn index(&self) -> Option<usize> {
        match self {
            TlsError::Chain { index, .. } | TlsError::Key { index, .. } => Some(*index),
            TlsError::Authority { .. } | TlsError::NoCertificate | TlsError::NoAuthority | TlsError::Provider(_) => {
                None
            }
        }
    }

    /// Whether it passes with time alone.
    pub(super) fn passes(&self) -> bool {
        matches!(self, TlsError::Chain { source: Fault::Early, .. })
    }
}

/// What is wrong with a file. No text quotes what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Opening or reading it failed.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It cannot be what it should.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A section begins and does not end.
    #[error("a PEM section in it has no end; is it written only in part?")]
    Truncated,
    /// The PEM (RFC 7468) is broken.
    #[error("it is not well-formed PEM")]
    Malformed,
    /// There is nothing in it to present.
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    /// There is nothing in it to sign with.
    #[error("it holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    /// There is a key, under a passphrase nobody is there to type.
    #[error("the key in it is encrypted, and there is nobody to ask for the passphrase")]
    EncryptedKey,
    /// One of the chain is no X.509 certificate of version 3.
    #[error("certificate {position} in it cannot be used")]
    NotACertificate {
        /// Counted from 1.
        position: usize,
        /// What its reader says.
        source: Error,
    },
    /// The provider does not take the key.
    #[error("the key in it is of no kind that can be used")]
    NotAKey(#[source] Error),
    /// They do not belong together.
    #[error("the key in it does not belong to the first certificate of the chain")]
    Mismatch,
    /// They do, but the chain stands in the wrong order.
    #[error("the key belongs to certificate {position} in it, which must be the first")]
    Order {
        /// Counted from 1.
        position: usize,
    },
    /// It would take the place of one that still holds.
    #[error("its certificate has expired")]
    Expired,
    /// It would take the place of one that holds now.
    #[error("its certificate does not hold yet")]
    Early,
}

/// A chain with its key.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

impl Loaded {
    /// Refuses to follow one that holds at `now` when it does not itself. `index` is its place in `tls.certificates`.
    pub(super) fn no_worse_than(self, before: &Validity, index: usize, now: SystemTime) -> Result<Loaded, TlsError> {
        let source = match (self.validity.standing(now), before.standing(now)) {
            (Standing::Expired, Standing::Good | Standing::Ageing) => Fault::Expired,
            (Standing::Early, Standing::Good | Standing::Ageing) => Fault::Early,
            _ => return Ok(self),
        };
        Err(TlsError::Chain { index, file: self.validity.chain, source })
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("validity", &self.validity).finish_non_exhaustive()
    }
}

/// From when to when a certificate holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The file of its chain.
    pub chain: PathBuf,
    /// Its notBefore.
    pub not_before: SystemTime,
    /// Its notAfter.
    pub not_after: SystemTime,
    /// Of the whole chain: which one it is.
    pub(super) digest: [u8; 32],
}

/// How a certificate stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not hold yet.
    Early,
    /// It holds.
    Good,
    /// It holds, with less than a third of its life to go: whatever renews it, at its half or two thirds, did not. A
    /// third and not a number of days, because certificates live from six days to a year.
    Ageing,
    /// It has expired.
    Expired,
}

impl Standing {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Early => "early",
            Standing::Good => "good",
            Standing::Ageing => "ageing",
            Standing::Expired => "expired",
        }
    }
}

impl Validity {
    /// Whole days left at `now`: 0 on the last, negative when it has expired.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        const DAY: u64 = 24 * 60 * 60;
        let days = |span: Duration| i64::try_from(span.as_secs() / DAY).unwrap_or(i64::MAX);
        match self.not_after.duration_since(now) {
            Ok(left) => days(left),
            // The first day after it is -1, so that the sign alone tells.
            Err(over) => -1 - days(over.duration()),
        }
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: SystemTime) -> Standing {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        match self.not_after.duration_since(now) {
            _ if now < self.not_before => Standing::Early,
            Err(_) => Standing::Expired,
            Ok(left) if left < life / 3 => Standing::Ageing,
            Ok(_) => Standing::Good,
        }
    }
}

/// Reads a chain and its key, and makes sure that they belong together.
pub(super) fn load(index: usize, files: &config::Certificate, provider: &CryptoProvider) -> Result<Loaded, TlsError> {
    let in_chain = |source| TlsError::Chain { index, file: files.chain.clone(), source };
    let in_key = |source| TlsError::Key { index, file: files.key.clone(), source };

    let chain = read_chain(&files.chain).map_err(in_chain)?;
    let (not_before, not_after) = lifetime(&chain, provider).map_err(in_chain)?;
    let key = read_key(&files.key).map_err(in_key)?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| in_key(Fault::NotAKey(error)))?;

    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(_) => {
            return Err(match owner(&key) {
                Some(position) => in_chain(Fault::Order { position }),
                None => in_key(Fault::Mismatch),
            });
        }
    }
    let digest = digest(&key.cert);
    Ok(Loaded { key: Arc::new(key), validity: Validity { chain: files.chain.clone(), not_before, not_after, digest } })
}

/// Reads who may have signed the certificates of clients, into `roots`.
pub(super) fn read_authorities(
    path: &Path,
    roots: &mut RootCertStore,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let in_file = |source| TlsError::Authority { file: path.to_owned(), source };
    let authorities = read_certificates(path).map_err(in_file)?;
    for (position, der) in (1..).zip(&authorities) {
        roots.add(der.clone()).map_err(|source| in_file(Fault::NotACertificate { position, source }))?;
    }
    Ok(authorities)
}

/// A digest of certificates in their order. A key needs no part in it, since each certificate names its own.
pub(super) fn digest(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for der in certificates {
        digest.update(u64::try_from(der.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(der);
    }
    digest.finalize().into()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain = read_certificates(path)?;
    // Clients are sent the whole chain, so a broken intermediate is as bad as a broken certificate.
    for (position, der) in (1..).zip(&chain) {
        ParsedCertificate::try_from(der).map_err(|source| Fault::NotACertificate { position, source })?;
    }
    Ok(chain)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if certificates.is_empty() { Err(Fault::NoCertificate) } else { Ok(certificates) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    let text = read(path)?;
    // Looked for first: the older form is PEM in which the base64 does not decode.
    if ENCRYPTED.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark)) {
        return Err(Fault::EncryptedKey);
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Err(pem::Error::NoItemsFound) => Err(Fault::NoKey),
        key => key.map_err(fault),
    }
}

/// The whole file, which is looked at only in this form: it may be replaced at any time.
fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    const LIMIT: u64 = 1024 * 1024;
    let mut text = Vec::new();
    let file = File::open(path).map_err(Fault::Unreadable)?;
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(Fault::Unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= LIMIT) { Ok(text) } else { Err(Fault::TooLarge) }
}

fn fault(error: pem::Error) -> Fault {
    match error {
        pem::Error::Io(error) => Fault::Unreadable(error),
        pem::Error::MissingSectionEnd { .. } => Fault::Truncated,
        _ => Fault::Malformed,
    }
}

/// notBefore and notAfter of the first certificate.
///
/// rustls reads them and shows them only in its errors, so it is asked twice whether the certificate is good: at a time
/// before it can hold and at one when it no longer can. That is checked before anything else is.
fn lifetime(chain: &[CertificateDer<'_>], provider: &CryptoProvider) -> Result<(SystemTime, SystemTime), Fault> {
    let unusable = |source| Fault::NotACertificate { position: 1, source };
    let first = chain.first().ok_or(Fault::NoCertificate)?;
    let certificate = ParsedCertificate::try_from(first).map_err(unusable)?;
    let ask = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let roots = RootCertStore::empty();
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], time, algorithms)
    };
    let not_before = match ask(0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => not_before,
        // It held in 1970 already.
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    match ask(u64::MAX) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok((moment(not_before), moment(not_after)))
        }
        Err(error) => Err(unusable(error)),
        Ok(()) => Err(unusable(Error::InvalidCertificate(CertificateError::BadEncoding))),
    }
}

/// X.509 ends with the year 9999, which every clock can tell.
pub(super) fn moment(time: UnixTime) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(UNIX_EPOCH)
}

/// Which certificate of the chain the key belongs to, counted from 1.
fn owner(key: &CertifiedKey) -> Option<usize> {
    let own = key.key.public_key()?;
    let owned = |der| ParsedCertificate::try_from(der).is_ok_and(|parsed| parsed.subject_public_key_info() == own);
    key.cert.iter().position(owned).map(|at| at + 1)
}
