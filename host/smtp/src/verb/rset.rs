//! RSET (RFC 5321 section 4.1.1.5).

use crate::command::Command;
use crate::server::Server;
use crate::{Refusal, reply};

pub(crate) fn check(command: &Command) -> Result<(), Refusal> {
    command.without_argument()
}

pub(crate) fn proceed(server: &mut Server) {
    server.reset();
    server.say(&reply::ok());
}
