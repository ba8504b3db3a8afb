//! One exchange: what is common to all mechanisms, and which of them is asked.

use crate::scram::Scram;
use crate::{FIELD, Mechanism, Secret, Verifier, external, login, plain};

/// The longest response that is looked at, in octets: the longest of any mechanism fits.
const RESPONSE: usize = 4 * FIELD;

/// What an exchange begins with.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Whether SCRAM-SHA-256-PLUS was offered to this client.
    pub plus_offered: bool,
    /// What the connection exports for channel binding (RFC 9266), if it is TLS and does.
    pub channel_binding: Option<&'a [u8]>,
    /// Who the client's certificate says it is, prepared; for EXTERNAL.
    pub external: Option<&'a str>,
    /// The server's part of the nonce: fresh, random, printable ASCII without a comma.
    pub nonce: &'a str,
}

/// A client on its way to say who it is.
#[derive(Debug)]
pub struct Exchange {
    /// Whether there was a response, or the lack of an initial one.
    begun: bool,
    user: Option<String>,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    Plain,
    Login,
    Scram(Box<Scram>),
    External,
    Over,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this and wait for the response. May be empty.
    Challenge(Vec<u8>),
    /// The end. Find out whether this is the user's password; both are prepared.
    Password {
        /// Who tries.
        user: String,
        /// With what.
        password: Secret,
        /// As whom, if it was said: the same user.
        authorization: Option<String>,
    },
    /// Call [`Exchange::verified`] with the verifier of this user. Of one that is unknown, with one that is made up, and
    /// the same every time: the client sees its salt.
    Lookup {
        /// Who tries.
        user: String,
    },
    /// The end. The client has proven to be this user.
    Success {
        /// Who it is.
        user: String,
    },
    /// The end.
    Failure(Failure),
}

/// Why an exchange did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What the client said is not in the grammar: 501 5.5.2.
    Malformed,
    /// It is, and proves nothing or asks for what is not to be had: 535 5.7.8.
    Refused,
}

impl Exchange {
    /// Begins an exchange. Nothing happens before [`respond`](Exchange::respond).
    pub fn begin(mechanism: Mechanism, terms: Terms<'_>) -> Exchange {
        let machine = match mechanism {
            Mechanism::Plain => Machine::Plain,
            Mechanism::Login => Machine::Login,
            Mechanism::ScramSha256 => Machine::Scram(Box::new(Scram::new(false, terms))),
            Mechanism::ScramSha256Plus => Machine::Scram(Box::new(Scram::new(true, terms))),
            Mechanism::External => Machine::External,
        };
        let user = terms.external.filter(|_| mechanism == Mechanism::External).map(str::to_owned);
        Exchange { begun: false, user, machine }
    }

    /// Takes what the client said, decoded. The first call is for the initial response: `None` if there is none, which
    /// is another thing than an empty one.
    pub fn respond(&mut self, response: Option<&[u8]>) -> Step {
        let first = !std::mem::replace(&mut self.begun, true);
        let done = match response {
            None if first => self.prompt(),
            Some(response) if response.len() <= RESPONSE => self.take(response),
            None | Some(_) => Err(Failure::Malformed),
        };
        self.step(done)
    }

    /// Takes the verifier that [`Step::Lookup`] asked for.
    pub fn verified(&mut self, verifier: &Verifier) -> Step {
        let done = match &mut self.machine {
            Machine::Scram(scram) => scram.verified(verifier),
            Machine::Plain | Machine::Login | Machine::External | Machine::Over => Err(Failure::Malformed),
        };
        self.step(done)
    }

    /// Who tries, as soon as it is known: prepared, and not proven before [`Step::Success`].
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// RFC 4954 section 4: where there is no initial response and the client speaks first, the challenge is empty.
    fn prompt(&self) -> Result<Step, Failure> {
        match self.machine {
            Machine::Login => Ok(Step::Challenge(login::USER_PROMPT.to_vec())),
            Machine::Plain | Machine::Scram(_) | Machine::External => Ok(Step::Challenge(Vec::new())),
            Machine::Over => Err(Failure::Malformed),
        }
    }

    fn take(&mut self, response: &[u8]) -> Result<Step, Failure> {
        match &mut self.machine {
            Machine::Plain => plain::respond(&mut self.user, response),
            Machine::Login => login::respond(&mut self.user, response),
            Machine::Scram(scram) => scram.respond(&mut self.user, response),
            Machine::External => external::respond(self.user.as_deref(), response),
            Machine::Over => Err(Failure::Malformed),
        }
    }

    fn step(&mut self, done: Result<Step, Failure>) -> Step {
        let step = done.unwrap_or_else(Step::Failure);
        if matches!(step, Step::Password { .. } | Step::Success { .. } | Step::Failure(_)) {
            self.machine = Machine::Over;
        }
        step
    }
}
