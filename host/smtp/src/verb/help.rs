//! HELP (RFC 5321 section 4.1.1.8). It takes any argument.

use crate::server::Server;
use crate::{Auth, Protocol, Refusal, Tls, reply};

pub(crate) fn check(server: &Server) -> Result<(), Refusal> {
    if server.settings().keywords.help { Ok(()) } else { Err(reply::not_implemented()) }
}

pub(crate) fn proceed(server: &mut Server) {
    let settings = server.settings();
    let keywords = settings.keywords;
    let commands = [
        (settings.protocol == Protocol::Lmtp, "LHLO"),
        (settings.protocol == Protocol::Smtp, "HELO EHLO"),
        (matches!(settings.tls, Tls::Offered | Tls::Required), "STARTTLS"),
        (matches!(settings.auth, Auth::Offered(_)), "AUTH"),
        (true, "MAIL RCPT DATA"),
        (keywords.chunking, "BDAT"),
        (true, "RSET NOOP"),
        (keywords.vrfy, "VRFY"),
        (true, "HELP QUIT"),
    ];
    let commands: Vec<&str> = commands.into_iter().filter_map(|(there, names)| there.then_some(names)).collect();
    server.say(&reply::help(&commands.join(" ")));
}
