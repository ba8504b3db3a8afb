//! Certificates made on the spot.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::Path;

/// A self-signed certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, PEM.
    pub chain: String,
    /// The key, PEM.
    pub key: String,
    /// The certificate, DER: what a client is shown.
    pub der: Vec<u8>,
}

impl Pair {
    /// A new one for these names.
    pub fn new(names: &[&str]) -> Pair {
        Pair::signed(&parameters(names))
    }

    /// One that has expired.
    pub fn expired(names: &[&str]) -> Pair {
        let mut parameters = parameters(names);
        parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        Pair::signed(&parameters)
    }

    fn signed(parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key can be made");
        let made = parameters.self_signed(&key).expect("a certificate can be made");
        Pair { chain: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }

    /// Writes it as `cert.pem` and `key.pem` into `directory`, which is made.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a directory can be made");
        fs::write(directory.join("cert.pem"), &self.chain).expect("a certificate can be written");
        fs::write(directory.join("key.pem"), &self.key).expect("a key can be written");
    }
}

/// Who signs the certificates of clients.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub chain: String,
}

impl Authority {
    /// A new one of this name.
    pub fn new(name: &str) -> Authority {
        let mut parameters = person(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let chain = parameters.self_signed(&key).expect("a certificate can be made").pem();
        Authority { issuer: Issuer::new(parameters, key), chain }
    }

    /// The certificate of a client with this common name.
    pub fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key can be made");
        let made = person(name).signed_by(&key, &self.issuer).expect("a certificate can be made");
        Pair { chain: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }
}

fn person(name: &str) -> CertificateParams {
    let mut parameters = parameters(&[]);
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names for a certificate")
}
