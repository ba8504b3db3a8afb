//! VRFY (RFC 5321 sections 3.5 and 7.3): it says nothing about mailboxes.

use crate::command::Command;
use crate::server::Server;
use crate::{Refusal, reply};

pub(crate) fn check(server: &Server, command: &Command) -> Result<(), Refusal> {
    let keywords = server.settings().keywords;
    if !keywords.vrfy {
        return Err(reply::not_implemented());
    }
    let argument = command.argument();
    if argument.is_empty() {
        return Err(reply::argument_needed());
    }
    // RFC 6531 section 3.7.4.2.
    let says_utf8 = argument.rsplit([' ', '\t']).next().is_some_and(|word| word.eq_ignore_ascii_case("SMTPUTF8"));
    match argument.is_ascii() || (says_utf8 && keywords.offers_smtputf8()) {
        true => Ok(()),
        false if keywords.offers_smtputf8() => Err(reply::non_ascii_address()),
        false => Err(reply::bad_character()),
    }
}

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::not_verified());
}
