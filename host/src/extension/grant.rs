//! One immutable grant: what one extension may do on one listener. Host functions ask it first, before any effect.

use crate::config::{self, Capability, Granted, Host, Reach, RecordKind, Scheme, StreamAddress, Verdicts};
use crate::kv::Space;
use crate::session::context::{Scope, covers_writing, matches};
use std::net::IpAddr;

/// What a host function may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    entries: config::Grant,
    /// What its hooks may answer.
    pub verdicts: Verdicts,
}

impl Grant {
    /// The grant of one entry of a listener.
    pub fn new(entries: config::Grant, verdicts: Verdicts) -> Grant {
        Grant { entries, verdicts }
    }

    /// Whether a capability is granted at all.
    pub fn has(&self, capability: Capability) -> bool {
        self.entries.entry(capability).is_some_and(|granted| *granted != Granted::Denied)
    }

    /// Whether the operator said that the extension must do without.
    pub fn denies(&self, capability: Capability) -> bool {
        self.entries.entry(capability) == Some(&Granted::Denied)
    }

    /// Whether the operator said anything of it.
    pub fn mentions(&self, capability: Capability) -> bool {
        self.entries.entry(capability).is_some()
    }

    /// Whether anything but `session` is granted.
    pub fn beyond_session(&self) -> bool {
        Capability::ALL.into_iter().any(|capability| capability != Capability::Session && self.has(capability))
    }

    /// Whether this field of `session` or `identity` is granted.
    pub fn field(&self, capability: Capability, field: &str) -> bool {
        match self.entries.entry(capability) {
            Some(Granted::All) => true,
            Some(Granted::Names(names)) => names.iter().any(|name| name == field),
            _ => false,
        }
    }

    /// Whether this name may be read from the context.
    pub fn reads(&self, scope: Scope, name: &str) -> bool {
        self.patterns(Capability::ContextRead, scope, |pattern| matches(pattern, name))
    }

    /// Whether this name may be set in the context. Even `true` does not cover the names the host keeps itself.
    pub fn writes(&self, scope: Scope, name: &str) -> bool {
        self.patterns(Capability::ContextWrite, scope, |pattern| covers_writing(pattern, name))
    }

    /// Whether the session may be declared authenticated as this user.
    pub fn authenticates(&self, user: &str) -> bool {
        match self.entries.entry(Capability::Authentication) {
            Some(Granted::All) => true,
            Some(Granted::Names(names)) => names.iter().any(|name| name == user),
            _ => false,
        }
    }

    /// Whether logins by this SASL mechanism, in upper case, are its matter.
    pub fn judges(&self, mechanism: &str) -> bool {
        match self.entries.entry(Capability::Credentials) {
            Some(Granted::All) => true,
            Some(Granted::Names(names)) => names.iter().any(|name| name == mechanism),
            _ => false,
        }
    }

    /// The names a capability is narrowed to, if it is.
    pub fn names(&self, capability: Capability) -> &[String] {
        match self.entries.entry(capability) {
            Some(Granted::Names(names)) => names,
            _ => &[],
        }
    }

    /// Whether header fields of this name may be read.
    pub fn reads_header(&self, name: &str) -> bool {
        self.header(Capability::MessageRead, name)
    }

    /// Whether header fields of this name may be changed.
    pub fn writes_header(&self, name: &str) -> bool {
        self.header(Capability::MessageWrite, name)
    }

    fn header(&self, capability: Capability, name: &str) -> bool {
        match self.entries.entry(capability) {
            Some(Granted::All) => true,
            Some(Granted::Names(patterns)) => {
                let name = name.to_ascii_lowercase();
                patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name))
            }
            _ => false,
        }
    }

    /// Whether the body may be read.
    pub fn reads_body(&self) -> bool {
        self.entries.entry(Capability::MessageRead) == Some(&Granted::All)
    }

    /// Whether keys may be looked up in this table.
    pub fn looks_up(&self, table: &str) -> bool {
        match self.entries.entry(Capability::Table) {
            Some(Granted::All) => true,
            Some(Granted::Names(names)) => names.iter().any(|name| name == table),
            _ => false,
        }
    }

    /// The namespace this key lies in, if it is granted.
    pub fn space(&self, key: &str) -> Option<Space<'_>> {
        match self.entries.entry(Capability::Kv) {
            Some(Granted::Namespaces { namespaces, quota }) => {
                let name = namespaces.iter().find(|name| key.starts_with(name.as_str()))?;
                Some(Space { name, quota: *quota })
            }
            // There is no grant of all of it.
            _ => None,
        }
    }

    /// Whether records of this kind may be asked for at this name, which is in lower case and has no final dot.
    pub fn asks(&self, kind: RecordKind, name: &str) -> bool {
        match self.entries.entry(Capability::Dns) {
            Some(Granted::All) => true,
            Some(Granted::Reach(Reach::Dns(dns))) => dns.covers(kind, name),
            _ => false,
        }
    }

    /// Whether the names of this address may be asked for, which stand at `reverse`.
    pub fn asks_about(&self, address: IpAddr, reverse: &str) -> bool {
        match self.entries.entry(Capability::Dns) {
            Some(Granted::All) => true,
            Some(Granted::Reach(Reach::Dns(dns))) => dns.covers_address(address, reverse),
            _ => false,
        }
    }

    /// Whether this host may be called, by this scheme and method, at this port. `true` names no host.
    pub fn calls(&self, method: &str, scheme: Scheme, host: &Host, port: u16) -> bool {
        match self.entries.entry(Capability::Http) {
            Some(Granted::Reach(Reach::Http(http))) => http.covers(scheme, host, port) && http.covers_method(method),
            _ => false,
        }
    }

    /// Whether a stream to this address may be opened. `true` names no address.
    pub fn opens(&self, address: &StreamAddress) -> bool {
        match self.entries.entry(Capability::Stream) {
            Some(Granted::Reach(Reach::Streams(addresses))) => addresses.contains(address),
            _ => false,
        }
    }

    fn patterns(&self, capability: Capability, scope: Scope, covers: impl Fn(&str) -> bool) -> bool {
        let patterns = match (self.entries.entry(capability), scope) {
            (Some(Granted::All), _) => return covers("*"),
            (Some(Granted::Names(patterns)), _)
            | (Some(Granted::Scoped { connection: patterns, .. }), Scope::Connection)
            | (Some(Granted::Scoped { message: patterns, .. }), Scope::Message) => patterns,
            _ => return false,
        };
        patterns.iter().any(|pattern| covers(pattern))
    }
}

/// The grants in one line, for the log and for `check`.
impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for (capability, granted) in &self.entries.entries {
            f.write_str(if std::mem::take(&mut first) { "" } else { ", " })?;
            match granted {
                Granted::All => write!(f, "{capability}")?,
                Granted::Denied => write!(f, "{capability} denied")?,
                Granted::Names(names) => write!(f, "{capability} [{}]", names.join(" "))?,
                Granted::Namespaces { namespaces, quota } => {
                    write!(f, "{capability} [{}] of {quota} octets", namespaces.join(" "))?;
                }
                Granted::Reach(reach) => write!(f, "{capability} {reach}")?,
                Granted::Scoped { connection, message } => {
                    write!(f, "{capability} connection [{}] message [{}]", connection.join(" "), message.join(" "))?;
                }
            }
        }
        if first {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn credentials_are_narrowed_to_mechanisms() {
        let names = |names: &[&str]| Granted::Names(names.iter().map(|name| (*name).to_owned()).collect());
        for (granted, plain, scram, plus) in [
            (None, false, false, false),
            (Some(Granted::Denied), false, false, false),
            (Some(Granted::All), true, true, true),
            (Some(names(&[])), false, false, false),
            (Some(names(&["PLAIN", "LOGIN"])), true, false, false),
            // No name is the beginning of another.
            (Some(names(&["SCRAM-SHA-256"])), false, true, false),
            (Some(names(&["SCRAM-SHA-256-PLUS"])), false, false, true),
        ] {
            let entries = granted.iter().map(|granted| (Capability::Credentials, granted.clone())).collect();
            let grant = Grant::new(config::Grant { entries }, Verdicts::default());
            let judged = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"].map(|name| grant.judges(name));
            assert_eq!(judged, [plain, scram, plus], "{granted:?}");
        }
    }
}
