//! STARTTLS (RFC 3207 section 4).

use crate::command::Command;
use crate::phase::Phase;
use crate::server::Server;
use crate::{Refusal, Tls, reply};

pub(crate) fn check(server: &Server, command: &Command) -> Result<(), Refusal> {
    match server.settings().tls {
        Tls::Off => return Err(reply::tls_not_offered()),
        Tls::Active => return Err(reply::tls_already_active()),
        Tls::Offered | Tls::Required => {}
    }
    command.without_argument()?;
    if server.in_transaction() {
        return Err(reply::not_in_transaction());
    }
    // RFC 3207 section 4.2 has input that came in the clear thrown away; a peer that sends any is attacked, or attacks.
    if server.has_input() {
        return Err(reply::pipelined_past_starttls());
    }
    Ok(())
}

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::start_tls());
    server.phase = Phase::Handshake;
}
