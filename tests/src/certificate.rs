//! Certificates made on the spot.

use rcgen::{CertificateParams, KeyPair};
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

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names for a certificate")
}
