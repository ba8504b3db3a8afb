//! SCRAM-SHA-256 and -PLUS from the client's side, for whoever logs in at another server. A server that does not prove
//! that it knows the password, too, is not the one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::message::{is_nonce, saslname};
use crate::verifier::{ITERATIONS, Keys};
use crate::{FIELD, Mechanism, PreparationError, Secret, prepare_password, prepare_user};

/// The client's side of one exchange.
pub struct ScramClient {
    password: Secret,
    nonce: String,
    header: String,
    channel_binding: Vec<u8>,
    bare: String,
    phase: Phase,
}

enum Phase {
    /// The server's first message is to come.
    First,
    /// The server's proof is to come, and is to be this.
    Final([u8; 32]),
    Proven,
    Over,
}

/// Why an exchange ends: the server has refused, or is not to be trusted with more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// It says so itself, in a word of its own (RFC 5802 section 7, `server-error`).
    #[error("it ends with {0:?}")]
    Refused(String),
    /// What it said is not in the grammar, or not an answer to what it was told.
    #[error("its challenge is not SCRAM's")]
    Malformed,
    /// Fewer make the password easy to guess for whoever listens; more are work for the work's sake.
    #[error("it asks for iterations that are not a number from {} to {}", ITERATIONS.start(), ITERATIONS.end())]
    Iterations,
    /// It may be somebody else.
    #[error("it does not prove that it knows the password")]
    Unproven,
}

impl ScramClient {
    /// Begins an exchange. `offered` is whether the server offers SCRAM-SHA-256-PLUS, and `channel_binding` what the
    /// connection exports (RFC 9266), if it does. `nonce` is fresh, random, printable ASCII without a comma.
    ///
    /// # Errors
    /// The name or the password cannot be prepared.
    pub fn begin(
        user: &str,
        password: &Secret,
        nonce: &str,
        offered: bool,
        channel_binding: Option<&[u8]>,
    ) -> Result<ScramClient, PreparationError> {
        // RFC 5802 section 6.
        let (flag, bound) = match (offered, channel_binding) {
            (true, Some(octets)) => ("p=tls-exporter", octets),
            (false, Some(_)) => ("y", [].as_slice()),
            (_, None) => ("n", [].as_slice()),
        };
        Ok(ScramClient {
            password: prepare_password(password.expose())?,
            nonce: nonce.to_owned(),
            header: format!("{flag},,"),
            channel_binding: bound.to_vec(),
            bare: format!("n={},r={nonce}", saslname(&prepare_user(user)?)),
            phase: Phase::First,
        })
    }

    /// The mechanism that is spoken.
    pub fn mechanism(&self) -> Mechanism {
        if self.channel_binding.is_empty() { Mechanism::ScramSha256 } else { Mechanism::ScramSha256Plus }
    }

    /// The initial response.
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.bare)
    }

    /// Answers a challenge. The first one takes the time of a hash.
    ///
    /// # Errors
    /// The exchange is over.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<String, ScramError> {
        let challenge = str::from_utf8(challenge).map_err(|_| ScramError::Malformed)?;
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        if let (Phase::First | Phase::Final(_), Some(error)) = (&phase, challenge.strip_prefix("e=")) {
            return Err(ScramError::Refused(error.split(',').next().unwrap_or_default().to_owned()));
        }
        match phase {
            Phase::First => self.prove(challenge),
            Phase::Final(expected) => {
                let proof = challenge.strip_prefix("v=").ok_or(ScramError::Unproven)?;
                // Behind a comma there may be extensions.
                let proof = proof.split(',').next().and_then(|proof| STANDARD.decode(proof).ok());
                if !proof.is_some_and(|proof| proof.ct_eq(&expected).into()) {
                    return Err(ScramError::Unproven);
                }
                self.phase = Phase::Proven;
                Ok(String::new())
            }
            Phase::Proven | Phase::Over => Err(ScramError::Malformed),
        }
    }

    /// Whether the server has proven that it knows the password. What it says before is no success.
    pub fn is_proven(&self) -> bool {
        matches!(self.phase, Phase::Proven)
    }

    /// `nonce "," salt "," iteration-count ["," extensions]`
    fn prove(&mut self, first: &str) -> Result<String, ScramError> {
        let mut attributes = first.split(',');
        let mut value = |name: &str| attributes.next().and_then(|field| field.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(iterations)) = (value("r="), value("s="), value("i=")) else {
            return Err(ScramError::Malformed);
        };
        let fresh = nonce.strip_prefix(&self.nonce).is_some_and(is_nonce);
        let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=FIELD).contains(&salt.len()));
        let (true, Some(salt)) = (fresh, salt) else { return Err(ScramError::Malformed) };
        let iterations = iterations.parse().ok().filter(|count| ITERATIONS.contains(count));
        let iterations = iterations.ok_or(ScramError::Iterations)?;

        let binding = STANDARD.encode([self.header.as_bytes(), &self.channel_binding].concat());
        let without_proof = format!("c={binding},r={nonce}");
        let message = format!("{},{first},{without_proof}", self.bare);
        let keys = Keys::derive(&self.password, &salt, iterations);
        let proof = Zeroizing::new(keys.proof(message.as_bytes()));
        self.phase = Phase::Final(keys.signature(message.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(*proof)))
    }
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramClient").field("mechanism", &self.mechanism()).finish_non_exhaustive()
    }
}
