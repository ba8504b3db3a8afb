//! QUIT (RFC 5321 section 4.1.1.10).

use crate::command::Command;
use crate::phase::Phase;
use crate::server::Server;
use crate::{Refusal, reply};

pub(crate) fn check(command: &Command) -> Result<(), Refusal> {
    command.without_argument()
}

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::bye(&server.settings().hostname));
    server.abandon_message();
    server.phase = Phase::Closed;
}
