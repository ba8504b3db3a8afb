//! What is kept of one password, and the work of comparing another with it.

use std::fmt;
use std::io;
use std::str::FromStr;

use argon2::password_hash::{self, Ident, PasswordHash, PasswordHashString, SaltString};
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use pillarbox_sasl::{PreparationError, Secret, Verifier, VerifierError, prepare_password};

use super::random;

/// How often a new SCRAM verifier hashes its password: RFC 7677 section 4's rule of thumb. It is what every PLAIN login
/// costs this server and every SCRAM login costs a telephone; a burst of logins must not stop the mail. The 600,000 that
/// OWASP asks of PBKDF2 are for hashes of which nobody waits in a dialogue; whoever fears for the file takes argon2id.
pub(super) const ITERATIONS: u32 = 15_000;

/// The length of the salt of a new verifier, in octets.
pub(super) const SALT: usize = 16;

/// The most memory that one argon2id hash may take, in KiB: 64 MiB, three times what OWASP asks for.
const MEMORY: u32 = 64 * 1024;

/// The most passes that one argon2id hash may make over it.
const PASSES: u32 = 10;

/// What is kept of a password.
#[derive(Clone)]
pub struct Credential(Inner);

#[derive(Clone)]
enum Inner {
    Scram(Verifier),
    Argon2id { hash: PasswordHashString, cost: Cost },
}

/// What a comparison costs. Equal costs take equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    Scram { iterations: u32 },
    Argon2id { memory: u32, passes: u32, lanes: u32 },
}

/// How a password is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As a SCRAM verifier.
    ScramSha256,
    /// As a hash by argon2id.
    Argon2id,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ScramSha256 => "scram-sha-256",
            Kind::Argon2id => "argon2id",
        }
    }
}

/// Why nothing can be kept of a password.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It is no password.
    #[error("the password cannot be used")]
    Password(#[source] PreparationError),
    /// There is no salt to be had.
    #[error("the system gives no randomness")]
    Random(#[source] io::Error),
    /// The hash could not be computed.
    #[error("the password cannot be hashed")]
    Hash(#[source] password_hash::Error),
}

impl Credential {
    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// The password cannot be prepared, or there is no randomness.
    pub fn make(password: &Secret, kind: Kind) -> Result<Credential, MakeError> {
        let salt: [u8; SALT] = random::octets().map_err(MakeError::Random)?;
        match kind {
            Kind::ScramSha256 => Verifier::derive(password.expose(), &salt, ITERATIONS)
                .map(|verifier| Credential(Inner::Scram(verifier)))
                .map_err(MakeError::Password),
            Kind::Argon2id => {
                let password = prepare_password(password.expose()).map_err(MakeError::Password)?;
                let salt = SaltString::encode_b64(&salt).map_err(MakeError::Hash)?;
                // argon2's own default is what OWASP asks for: 19 MiB, two passes, one lane.
                let hash = Argon2::default().hash_password(password.expose().as_bytes(), &salt);
                let hash = hash.map_err(MakeError::Hash)?.serialize();
                let cost = Cost::Argon2id {
                    memory: Params::DEFAULT_M_COST,
                    passes: Params::DEFAULT_T_COST,
                    lanes: Params::DEFAULT_P_COST,
                };
                Ok(Credential(Inner::Argon2id { hash, cost }))
            }
        }
    }

    /// How the password is kept.
    pub fn kind(&self) -> Kind {
        match self.0 {
            Inner::Scram(_) => Kind::ScramSha256,
            Inner::Argon2id { .. } => Kind::Argon2id,
        }
    }

    /// The verifier, if it is for SCRAM.
    pub fn scram(&self) -> Option<&Verifier> {
        match &self.0 {
            Inner::Scram(verifier) => Some(verifier),
            Inner::Argon2id { .. } => None,
        }
    }

    /// Whether this is the password. Takes the time of its cost.
    pub(super) fn matches(&self, password: &Secret) -> bool {
        match &self.0 {
            Inner::Scram(verifier) => verifier.matches(password.expose()),
            Inner::Argon2id { hash, .. } => prepare_password(password.expose()).is_ok_and(|password| {
                Argon2::default().verify_password(password.expose().as_bytes(), &hash.password_hash()).is_ok()
            }),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        match &self.0 {
            Inner::Scram(verifier) => Cost::Scram { iterations: verifier.iterations },
            Inner::Argon2id { cost, .. } => *cost,
        }
    }

    /// What an unknown user is compared with where there is no known one: no password matches it.
    pub(super) fn nobody() -> Credential {
        let (salt, key) = (vec![0; SALT], [0; 32]);
        Credential(Inner::Scram(Verifier { salt, iterations: ITERATIONS, stored_key: key, server_key: key }))
    }
}

impl From<Verifier> for Credential {
    fn from(verifier: Verifier) -> Credential {
        Credential(Inner::Scram(verifier))
    }
}

/// Why a text is nothing that is kept of a password. No text quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It begins as neither does.
    #[error("what follows the name is neither SCRAM-SHA-256$… nor $argon2id$…")]
    Unknown,
    /// It is a SCRAM verifier, and wrong.
    #[error("the SCRAM verifier cannot be used")]
    Scram(#[source] VerifierError),
    /// It is no PHC string, or not a whole one.
    #[error("the argon2id hash is not $argon2id$v=19$m=…,t=…,p=…$SALT$HASH")]
    Argon2id,
    /// A login would take more than is reasonable.
    #[error("the argon2id hash asks for more than 64 MiB (m=65536) or 10 passes (t=10)")]
    Cost,
}

impl FromStr for Credential {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Credential, CredentialError> {
        if text.starts_with("SCRAM-SHA-256$") {
            return text.parse().map(|verifier| Credential(Inner::Scram(verifier))).map_err(CredentialError::Scram);
        }
        if !text.starts_with("$argon2id$") {
            return Err(CredentialError::Unknown);
        }
        argon2id(text)
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Scram(verifier) => verifier.fmt(f),
            Inner::Argon2id { hash, .. } => f.write_str(hash.as_str()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.cost()).finish()
    }
}

fn argon2id(text: &str) -> Result<Credential, CredentialError> {
    let hash = PasswordHash::new(text).map_err(|_| CredentialError::Argon2id)?;
    // The first version of argon2 has no mark of its own; a hash without one is not guessed at.
    let is_current = hash.algorithm == ARGON2ID_IDENT && hash.version == Some(Version::V0x13.into());
    let has_costs =
        ["m", "t", "p"].iter().all(|name| Ident::new(name).is_ok_and(|name| hash.params.get(name).is_some()));
    let mut salt = [0; 64];
    let is_whole = hash.hash.is_some()
        && hash.salt.is_some_and(|encoded| encoded.decode_b64(&mut salt).is_ok_and(|salt| salt.len() >= 8));
    let params = Params::try_from(&hash).ok().filter(|_| is_current && has_costs && is_whole);
    let params = params.ok_or(CredentialError::Argon2id)?;
    if params.m_cost() > MEMORY || params.t_cost() > PASSES {
        return Err(CredentialError::Cost);
    }
    let cost = Cost::Argon2id { memory: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
    Ok(Credential(Inner::Argon2id { hash: hash.serialize(), cost }))
}
