//! Passing the client on: the attributes of XCLIENT and XFORWARD by Postfix's names, from an envelope.
//!
//! What is not known is said to be unavailable, so that nothing of the connection itself, or of a message before, stays in
//! its place.

use std::net::IpAddr;

use super::command::xtext;
use crate::spool::Envelope;

/// XCLIENT commands that say all that is known of the attributes in `offered`.
pub(super) fn xclient(envelope: &Envelope, offered: &[String]) -> Vec<String> {
    commands("XCLIENT", &["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN"], offered, envelope)
}

/// XFORWARD commands likewise.
pub(super) fn xforward(envelope: &Envelope, offered: &[String]) -> Vec<String> {
    commands("XFORWARD", &["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"], offered, envelope)
}

fn commands(verb: &str, known: &[&str], offered: &[String], envelope: &Envelope) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = verb.to_owned();
    for name in known.iter().filter(|name| offered.iter().any(|offered| offered == *name)) {
        let value = value(name, envelope).map(|value| xtext(&value)).filter(|value| value.len() <= VALUE_MAX);
        let word = format!(" {name}={}", value.as_deref().unwrap_or("[UNAVAILABLE]"));
        // XCLIENT_README: one that would be longer than a command line may be said in several.
        if line.len() + word.len() > LINE_MAX {
            lines.push(std::mem::replace(&mut line, verb.to_owned()) + "\r\n");
        }
        line.push_str(&word);
    }
    if line.len() > verb.len() {
        lines.push(line + "\r\n");
    }
    lines
}

fn value(name: &str, envelope: &Envelope) -> Option<String> {
    match name {
        "NAME" => envelope.client_name.clone(),
        "PORT" => envelope.client_port.map(|port| port.to_string()),
        "ADDR" => match envelope.client.parse().ok()? {
            IpAddr::V4(address) => Some(address.to_string()),
            IpAddr::V6(address) => Some(format!("IPV6:{address}")),
        },
        "PROTO" => Some(if envelope.protocol == "SMTP" { "SMTP" } else { "ESMTP" }.to_owned()),
        "HELO" => envelope.helo.clone().filter(|helo| !helo.is_empty()),
        "LOGIN" => envelope.connection.get("auth_user").cloned(),
        "IDENT" => Some(envelope.id.as_str().to_owned()),
        "SOURCE" => Some("REMOTE".to_owned()),
        _ => None,
    }
}

/// A command line has 512 octets with its end (RFC 5321 section 4.5.3.1.4).
const LINE_MAX: usize = 510;
/// What Postfix takes for a value.
const VALUE_MAX: usize = 255;
