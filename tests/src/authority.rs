//! Who signs the certificates of clients, made on the spot.

use crate::certificate::Pair;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

/// An authority, whose certificate is known or not to the server.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
}

impl Authority {
    /// A new one of this common name.
    ///
    /// # Panics
    /// No key can be made.
    pub fn new(name: &str) -> Authority {
        let mut parameters = valid(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let pem = parameters.self_signed(&key).expect("a certificate can be made").pem();
        Authority { issuer: Issuer::new(parameters, key), pem }
    }

    /// A certificate for this common name.
    pub fn issue(&self, name: &str) -> Pair {
        self.sign(&valid(name))
    }

    /// One that has expired.
    pub fn issue_expired(&self, name: &str) -> Pair {
        let mut parameters = valid(name);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(&parameters)
    }

    fn sign(&self, parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key can be made");
        let made = parameters.signed_by(&key, &self.issuer).expect("a certificate can be made");
        Pair { chain: made.pem(), key: key.serialize_pem(), der: made.der().to_vec() }
    }
}

/// What a certificate says, valid for a century.
fn valid(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).expect("no names are fine");
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2120, 1, 1);
    parameters
}
