//! HELP (RFC 5321 section 4.1.1.8). It takes any argument and needs no check.

use crate::server::Server;
use crate::{Tls, reply};

pub(crate) fn proceed(server: &mut Server) {
    let starttls = matches!(server.settings().tls, Tls::Offered | Tls::Required);
    server.say(&reply::help(match starttls {
        true => "HELO EHLO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
        false => "HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
    }));
}
