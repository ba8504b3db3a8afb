//! VRFY (RFC 5321 sections 3.5 and 7.3): it says nothing about mailboxes.

use crate::command::Command;
use crate::server::Server;
use crate::{Refusal, reply};

pub(crate) fn check(command: &Command) -> Result<(), Refusal> {
    if command.argument().is_empty() { Err(reply::argument_needed()) } else { Ok(()) }
}

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::not_verified());
}
