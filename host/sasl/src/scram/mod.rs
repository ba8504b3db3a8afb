//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the client proves its password without sending it, the
//! server proves that it has the verifier, and with -PLUS both prove that they speak over the same TLS connection.

mod client;
mod message;

pub use client::{ScramClient, ScramError};

use std::fmt;
use std::mem;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::{Failure, Step, Terms, Verifier};
use message::{Binding, ClientFinal, ClientFirst};

/// The server's side of one exchange.
pub(crate) struct Scram {
    plus: bool,
    plus_offered: bool,
    channel_binding: Option<Vec<u8>>,
    nonce: String,
    phase: Phase,
}

enum Phase {
    /// The client's first message is to come.
    First,
    /// The verifier of its user is to come.
    Lookup(ClientFirst),
    /// The client's final message is to come.
    Final {
        first: ClientFirst,
        server_first: String,
        verifier: Verifier,
    },
    /// All is proven; the client's empty response to the server's proof is to come.
    Proven {
        user: String,
    },
    Over,
}

impl Scram {
    pub(crate) fn new(plus: bool, terms: Terms<'_>) -> Scram {
        Scram {
            plus,
            plus_offered: terms.plus_offered,
            channel_binding: terms.channel_binding.map(<[u8]>::to_vec),
            nonce: terms.nonce.to_owned(),
            phase: Phase::First,
        }
    }

    pub(crate) fn respond(&mut self, user: &mut Option<String>, response: &[u8]) -> Result<Step, Failure> {
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::First => {
                let first = ClientFirst::read(response)?;
                *user = Some(first.user.clone());
                self.admit(&first)?;
                let step = Step::Lookup { user: first.user.clone() };
                self.phase = Phase::Lookup(first);
                Ok(step)
            }
            Phase::Final { first, server_first, verifier } => {
                let last = ClientFinal::read(response)?;
                let message = format!("{},{server_first},{}", first.bare, last.without_proof);
                self.prove(&first, &last, &verifier, message.as_bytes())?;
                let signature = STANDARD.encode(verifier.signature(message.as_bytes()));
                self.phase = Phase::Proven { user: first.user };
                // RFC 5802 section 5: the server's proof. SMTP cannot carry it with the success.
                Ok(Step::Challenge(format!("v={signature}").into_bytes()))
            }
            Phase::Proven { user } if response.is_empty() => Ok(Step::Success { user }),
            Phase::Proven { .. } | Phase::Lookup(_) | Phase::Over => Err(Failure::Malformed),
        }
    }

    pub(crate) fn verified(&mut self, verifier: &Verifier) -> Result<Step, Failure> {
        let Phase::Lookup(first) = mem::replace(&mut self.phase, Phase::Over) else { return Err(Failure::Malformed) };
        let salt = STANDARD.encode(&verifier.salt);
        let server_first = format!("r={}{},s={salt},i={}", first.nonce, self.nonce, verifier.iterations);
        let challenge = server_first.clone().into_bytes();
        self.phase = Phase::Final { first, server_first, verifier: verifier.clone() };
        Ok(Step::Challenge(challenge))
    }

    /// Whether the client may go on as it began.
    fn admit(&self, first: &ClientFirst) -> Result<(), Failure> {
        // Without randomness of our own, what one client proved could be shown again by another.
        if !message::is_nonce(&self.nonce) {
            return Err(Failure::Refused);
        }
        // RFC 5802 section 6. `y`: the client could bind and believes that the server cannot; if it was offered, someone
        // between took the offer away.
        let bound = match first.binding {
            Binding::Unsupported => !self.plus,
            Binding::Unoffered => !self.plus && !self.plus_offered,
            Binding::TlsExporter => self.plus && self.channel_binding.is_some(),
        };
        // To act as another is a right of its own, and nobody has it here.
        let itself = first.authorization.as_ref().is_none_or(|name| *name == first.user);
        if bound && itself { Ok(()) } else { Err(Failure::Refused) }
    }

    fn prove(
        &self,
        first: &ClientFirst,
        last: &ClientFinal,
        verifier: &Verifier,
        message: &[u8],
    ) -> Result<(), Failure> {
        let mut binding = first.header.clone().into_bytes();
        if first.binding == Binding::TlsExporter {
            binding.extend_from_slice(self.channel_binding.as_deref().ok_or(Failure::Refused)?);
        }
        let same_channel: bool = last.binding.ct_eq(&binding).into();
        let same_nonce = last.nonce.strip_prefix(&first.nonce) == Some(&self.nonce);
        let proven = verifier.proven(message, &last.proof);
        if same_channel && same_nonce && proven { Ok(()) } else { Err(Failure::Refused) }
    }
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("plus", &self.plus).finish_non_exhaustive()
    }
}
