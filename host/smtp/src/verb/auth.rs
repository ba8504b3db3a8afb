//! AUTH (RFC 4954): how an exchange is framed. Whether what is said in it is right, the session finds out.
//!
//! What the client sends is a secret: no question shows it in its debug form, and no reply repeats it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::Command;
use crate::phase::Phase;
use crate::server::Server;
use crate::{Auth, Refusal, reply};

/// What the client said, decoded.
pub(crate) struct Question {
    /// In upper case.
    pub(crate) mechanism: String,
    /// None is AUTH without an initial response.
    pub(crate) data: Option<Vec<u8>>,
}

/// Lengths only.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("mechanism", &self.mechanism)
            .field("octets", &self.data.as_ref().map(Vec::len))
            .finish()
    }
}

pub(crate) fn check(server: &Server, command: &Command) -> Result<Question, Refusal> {
    let settings = server.settings();
    if !server.hello {
        return Err(reply::hello_first(settings.protocol));
    }
    let mechanisms = match &settings.auth {
        Auth::Off => return Err(reply::auth_not_offered()),
        Auth::NeedsTls => return Err(reply::encryption_needed()),
        Auth::Done => return Err(reply::already_authenticated()),
        Auth::Offered(mechanisms) => mechanisms,
    };
    if server.in_transaction() {
        return Err(reply::not_in_transaction());
    }
    let argument = command.argument();
    let (mechanism, initial) = match argument.split_once([' ', '\t']) {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_start_matches([' ', '\t']))),
        None => (argument, None),
    };
    if mechanism.is_empty() {
        return Err(reply::mechanism_needed());
    }
    if !mechanisms.iter().any(|offered| offered.eq_ignore_ascii_case(mechanism)) {
        return Err(reply::unknown_mechanism());
    }
    let data = match initial {
        None => None,
        // An initial response of no octets, where none at all would mean something else.
        Some("=") => Some(Vec::new()),
        Some(initial) => Some(decode(initial.as_bytes())?),
    };
    Ok(Question { mechanism: mechanism.to_ascii_uppercase(), data })
}

/// The line that answers a challenge.
pub(crate) fn response(mechanism: String, line: &[u8]) -> Result<Question, Refusal> {
    if line == b"*" {
        return Err(reply::authentication_cancelled());
    }
    Ok(Question { mechanism, data: Some(decode(line)?) })
}

pub(crate) fn challenge(server: &mut Server, mechanism: String, data: &[u8]) {
    server.say(&reply::challenge(data));
    server.phase = Phase::Authenticating(mechanism);
}

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::authenticated());
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|_| reply::authentication_malformed())
}
