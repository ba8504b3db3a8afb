//! `tls` and `login` of a route to other servers: what is shown and told there, and to whom.

use super::super::reader::Value;
use super::super::value::parse_hostname;
use super::super::{Certificate, Problem};
use super::to::Servers;
use super::{Hop, HopProtocol, HopTls, HopTlsMode, Login};

impl HopTls {
    /// What holds where nothing is written.
    fn default_for(servers: &Servers) -> HopTls {
        let mode = match servers.protocol {
            _ if servers.implicit => HopTlsMode::Verified,
            // Whoever could listen on this machine can read the spool as well.
            HopProtocol::Lmtp if !servers.leave_this_machine() => HopTlsMode::Off,
            _ => HopTlsMode::Opportunistic,
        };
        HopTls { mode, implicit: servers.implicit, authorities: None, name: None, certificate: None }
    }

    /// `tls`, or what holds without it.
    pub(super) fn read(value: Option<Value<'_>>, servers: &Servers) -> Option<HopTls> {
        let own = HopTls::default_for(servers);
        let Some(value) = value else { return Some(own) };
        let mut table = value.table()?;
        let mode = table.take("mode");
        let authorities = table.take("authorities");
        let name = table.take("name");
        let certificate = table.take("certificate");
        table.finish();
        let chosen = mode.map_or(Some(own.mode), |mode| mode.choice(&MODES));
        let read = HopTls {
            mode: chosen.unwrap_or(own.mode),
            implicit: own.implicit,
            authorities: authorities.and_then(Value::path),
            name: name.and_then(|name| name.parsed(parse_hostname)),
            certificate: certificate.and_then(Certificate::read),
        };
        let chosen = chosen?;
        check_mode(mode.unwrap_or(value), chosen, servers);
        if chosen == HopTlsMode::Off {
            for useless in [authorities, name, certificate].into_iter().flatten() {
                let message = format!("`tls.{}` without TLS", useless.name);
                let help = "add `tls.mode = \"verified\"`, or leave it out";
                useless.note(Problem::at(useless.key, message).help(help));
            }
        } else if chosen != HopTlsMode::Verified {
            for useless in [authorities, name].into_iter().flatten() {
                let message = format!("`tls.{}` where no certificate is verified", useless.name);
                let help = "add `tls.mode = \"verified\"`, or leave it out";
                useless.note(Problem::at(useless.key, message).help(help));
            }
        }
        Some(read)
    }
}

fn check_mode(value: Value<'_>, mode: HopTlsMode, servers: &Servers) {
    if servers.implicit && matches!(mode, HopTlsMode::Off | HopTlsMode::Opportunistic) {
        let help = "leave `tls.mode` out, which is \"verified\", or write \"required\"; `smtp://` begins in the clear";
        value.note(Problem::at(value.place, "`smtps://` begins with TLS").help(help));
    }
    if mode != HopTlsMode::Off && servers.hops.iter().all(|hop| matches!(hop, Hop::Unix(_))) {
        let message = "no TLS is spoken on a socket of this machine";
        value.note(Problem::at(value.place, message).help("leave `tls` out"));
    }
}

const MODES: [(&str, HopTlsMode); 4] = [
    ("off", HopTlsMode::Off),
    ("opportunistic", HopTlsMode::Opportunistic),
    ("required", HopTlsMode::Required),
    ("verified", HopTlsMode::Verified),
];

impl Login {
    /// `login`; `mode` is how connections are encrypted.
    pub(super) fn read(value: Value<'_>, servers: &Servers, mode: HopTlsMode) -> Option<Login> {
        let mut table = value.table()?;
        let user = table.require("user", "\"relay\"");
        let file = table.require("password-file", "\"relay.password\"");
        table.finish();
        if servers.by_domain() {
            let message = "this would tell the password to the servers of every domain";
            value.note(Problem::at(value.key, message).help("name the server in `to`, or leave `login` out"));
        } else if servers.leave_this_machine() && matches!(mode, HopTlsMode::Off | HopTlsMode::Opportunistic) {
            let message = "the password could be read on the way";
            value.note(Problem::at(value.key, message).help("add `tls.mode = \"verified\"`"));
        }
        let user = user.and_then(|user| {
            let text = user.text()?;
            if text.is_empty() || text.chars().any(char::is_control) {
                user.note(Problem::at(user.place, "`user` is a name without control characters"));
                return None;
            }
            Some(text.to_owned())
        });
        Some(Login { password_file: file.and_then(Value::path)?, user: user? })
    }
}
