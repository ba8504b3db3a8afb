//! What a server keeps of a password for SCRAM (RFC 5802 section 3): it proves the password and is not it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{PreparationError, Secret, prepare_password};

/// How often a password may be hashed. Less than the first is what RFC 7677 section 4 warns of; more than the last
/// takes seconds for one login, and is a slip of the hand.
pub const ITERATIONS: RangeInclusive<u32> = 4096..=10_000_000;

/// The length of a salt, in octets: enough to be its own, and to fit in a message.
const SALT: RangeInclusive<usize> = 8..=64;

const NAME: &str = "SCRAM-SHA-256";

/// The SCRAM-SHA-256 verifier of one user.
///
/// Its text form is that of RFC 5803 section 2, as PostgreSQL writes it too:
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The salt; the client is told.
    pub salt: Vec<u8>,
    /// How often the password is hashed; the client is told.
    pub iterations: u32,
    /// What proves the client.
    pub stored_key: [u8; 32],
    /// What proves the server.
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Makes the verifier of a password. Takes as long as a login is meant to take an attacker.
    ///
    /// # Errors
    /// The password cannot be prepared.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Verifier, PreparationError> {
        let keys = Keys::derive(&prepare_password(password)?, salt, iterations);
        Ok(Verifier { salt: salt.to_vec(), iterations, stored_key: keys.stored(), server_key: *keys.server })
    }

    /// Whether this is the password. Takes as long as [`derive`](Verifier::derive).
    pub fn matches(&self, password: &str) -> bool {
        Verifier::derive(password, &self.salt, self.iterations)
            .is_ok_and(|other| other.stored_key.ct_eq(&self.stored_key).into())
    }

    /// Whether `proof` is the client's proof over `message` (RFC 5802 section 3).
    pub(crate) fn proven(&self, message: &[u8], proof: &[u8; 32]) -> bool {
        let mut client_key = Zeroizing::new(hmac(&self.stored_key, message));
        for (octet, with) in client_key.iter_mut().zip(proof) {
            *octet ^= with;
        }
        let stored_key: [u8; 32] = Sha256::digest(*client_key).into();
        stored_key.ct_eq(&self.stored_key).into()
    }

    /// The server's signature over `message`.
    pub(crate) fn signature(&self, message: &[u8]) -> [u8; 32] {
        hmac(&self.server_key, message)
    }
}

/// What a password comes to with a salt (RFC 5802 section 3): as good as the password, where the salt is the same.
pub(crate) struct Keys {
    client: Zeroizing<[u8; 32]>,
    server: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Hashes a prepared password so many times.
    pub(crate) fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Keys {
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, iterations, &mut *salted);
        Keys {
            client: Zeroizing::new(hmac(&salted, b"Client Key")),
            server: Zeroizing::new(hmac(&salted, b"Server Key")),
        }
    }

    fn stored(&self) -> [u8; 32] {
        Sha256::digest(*self.client).into()
    }

    /// The client's proof over `message`.
    pub(crate) fn proof(&self, message: &[u8]) -> [u8; 32] {
        let mut proof = hmac(&self.stored(), message);
        for (octet, with) in proof.iter_mut().zip(self.client.iter()) {
            *octet ^= with;
        }
        proof
    }

    /// The server's signature over `message`.
    pub(crate) fn signature(&self, message: &[u8]) -> [u8; 32] {
        hmac(&self.server, message)
    }
}

/// Why a text is no verifier. No text quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Its parts are not where they should be.
    #[error("it is not of the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")]
    Form,
    /// The count is no number, or outside [`ITERATIONS`].
    #[error("its iterations are not a number from {} to {}", ITERATIONS.start(), ITERATIONS.end())]
    Iterations,
    /// The salt is not what it should be.
    #[error("its salt is not {} to {} octets in base64", SALT.start(), SALT.end())]
    Salt,
    /// A key is not what it should be.
    #[error("its StoredKey or ServerKey is not 32 octets in base64")]
    Key,
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Verifier, VerifierError> {
        let mut parts = text.split('$');
        let (Some(NAME), Some(cost), Some(keys), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifierError::Form);
        };
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| SALT.contains(&salt.len()));
        Ok(Verifier {
            iterations: count(iterations).ok_or(VerifierError::Iterations)?,
            salt: salt.ok_or(VerifierError::Salt)?,
            stored_key: key(stored_key).ok_or(VerifierError::Key)?,
            server_key: key(server_key).ok_or(VerifierError::Key)?,
        })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|octets| STANDARD.encode(octets));
        write!(f, "{NAME}${}:{salt}${stored_key}:{server_key}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// HMAC-SHA-256. A key that is padded to the length of a block is the same key, and cannot be of a wrong length.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut block = Zeroizing::new([0; 64]);
    for (octet, of_key) in block.iter_mut().zip(key) {
        *octet = *of_key;
    }
    let mut mac = <Hmac<Sha256> as Mac>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn count(text: &str) -> Option<u32> {
    let canonical = !text.starts_with('0') && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|count| canonical && ITERATIONS.contains(count))
}

fn key(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
