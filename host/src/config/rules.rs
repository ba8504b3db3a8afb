//! What a client may do and how much of it: the values a listener sets and its peer blocks change.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use super::reader::{Table, Value};
use super::value::{is_context_name, parse_domain_pattern, parse_network};
use super::{DomainPattern, Problem};

/// What holds for one client, every value filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which mail is taken.
    pub relay: Relay,
    /// Names and values the connection context starts with.
    pub context: BTreeMap<String, String>,
    /// How much a client may ask for.
    pub limits: Limits,
}

/// Which mail is taken: a recipient is accepted when one of these says so, and else refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// Mail to these domains, from anybody.
    pub domains: Vec<DomainPattern>,
    /// Mail to anywhere, from clients in these networks.
    pub hosts: Vec<IpNet>,
    /// Mail to anywhere, from sessions that are authenticated.
    pub authenticated: bool,
}

impl Relay {
    /// These rules with what `part` holds put over them.
    pub fn with(self, part: &RelayPart) -> Relay {
        Relay {
            domains: part.domains.clone().unwrap_or(self.domains),
            hosts: part.hosts.clone().unwrap_or(self.hosts),
            authenticated: part.authenticated.unwrap_or(self.authenticated),
        }
    }
}

/// What was written of [`Relay`] in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayPart {
    /// `relay.domains`
    pub domains: Option<Vec<DomainPattern>>,
    /// `relay.hosts`
    pub hosts: Option<Vec<IpNet>>,
    /// `relay.authenticated`
    pub authenticated: Option<bool>,
}

/// How much a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time: on a listener all of its sessions together, in a peer block those of that network together.
    pub connections: u32,
    /// Recipients of one message.
    pub recipients: u32,
    /// Octets of one message; 0 for no limit.
    pub message_size: u64,
    /// Octets of one command line, CR LF included.
    pub command_line: u32,
    /// How long the server waits for a command.
    pub command_timeout: Duration,
    /// How long the server waits for the next piece of a message.
    pub data_timeout: Duration,
    /// The longest delay of a reply (a tarpit) that an extension may ask for.
    pub delay: Duration,
}

impl Limits {
    /// These limits with what `part` holds put over them.
    pub fn with(self, part: &LimitsPart) -> Limits {
        Limits {
            connections: part.connections.unwrap_or(self.connections),
            recipients: part.recipients.unwrap_or(self.recipients),
            message_size: part.message_size.unwrap_or(self.message_size),
            command_line: part.command_line.unwrap_or(self.command_line),
            command_timeout: part.command_timeout.unwrap_or(self.command_timeout),
            data_timeout: part.data_timeout.unwrap_or(self.data_timeout),
            delay: part.delay.unwrap_or(self.delay),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1000,
            recipients: 1000,
            message_size: 50 * 1024 * 1024,
            command_line: 4096,
            // RFC 5321 section 4.5.3.2.7: at least five minutes.
            command_timeout: Duration::from_secs(5 * 60),
            data_timeout: Duration::from_secs(5 * 60),
            delay: Duration::from_secs(30),
        }
    }
}

/// What was written of [`Limits`] in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsPart {
    /// `limits.connections`
    pub connections: Option<u32>,
    /// `limits.recipients`
    pub recipients: Option<u32>,
    /// `limits.message-size`, octets
    pub message_size: Option<u64>,
    /// `limits.command-line`, octets
    pub command_line: Option<u32>,
    /// `limits.command-timeout`
    pub command_timeout: Option<Duration>,
    /// `limits.data-timeout`
    pub data_timeout: Option<Duration>,
    /// `limits.delay`
    pub delay: Option<Duration>,
}

/// What a listener and a peer block have in common.
#[derive(Debug, Default)]
pub(super) struct RulesPart {
    pub(super) relay: RelayPart,
    pub(super) context: BTreeMap<String, String>,
    pub(super) limits: LimitsPart,
}

impl RulesPart {
    pub(super) fn read(table: &mut Table<'_>) -> RulesPart {
        RulesPart {
            relay: table.table("relay").map(RelayPart::read).unwrap_or_default(),
            context: table.table("context").map(read_context).unwrap_or_default(),
            limits: table.table("limits").map(LimitsPart::read).unwrap_or_default(),
        }
    }
}

impl RelayPart {
    fn read(mut table: Table<'_>) -> RelayPart {
        let domain = |value: Value<'_>| value.parsed(parse_domain_pattern);
        let host = |value: Value<'_>| value.parsed(parse_network);
        let part = RelayPart {
            domains: table.take("domains").and_then(|value| value.each(domain)),
            hosts: table.take("hosts").and_then(|value| value.each(host)),
            authenticated: table.take("authenticated").and_then(Value::boolean),
        };
        table.finish();
        part
    }
}

impl LimitsPart {
    fn read(mut table: Table<'_>) -> LimitsPart {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const TICK: Duration = Duration::from_millis(1);
        let part = LimitsPart {
            connections: table.take("connections").and_then(|value| value.count(1..=1_000_000)),
            recipients: table.take("recipients").and_then(|value| value.count(1..=100_000)),
            message_size: table.take("message-size").and_then(|value| value.size(0..=1 << 40)),
            // RFC 5321 section 4.5.3.1.4: every server takes command lines of 512 octets.
            command_line: table
                .take("command-line")
                .and_then(|value| value.size(512..=64 * 1024))
                .and_then(|octets| u32::try_from(octets).ok()),
            command_timeout: table.take("command-timeout").and_then(|value| value.duration(TICK..=DAY)),
            data_timeout: table.take("data-timeout").and_then(|value| value.duration(TICK..=DAY)),
            delay: table.take("delay").and_then(|value| value.duration(Duration::ZERO..=DAY)),
        };
        table.finish();
        part
    }
}

fn read_context(table: Table<'_>) -> BTreeMap<String, String> {
    let entry = |value: Value<'_>| {
        if !is_context_name(value.name) {
            let message = format!("`{}` cannot name a value in the context", value.name);
            let help = "write 1 to 64 letters, digits, `_`, `.`, `-`, the first a letter, a digit or `_`";
            value.note(Problem::at(value.key, message).help(help));
            return None;
        }
        let text = value.text()?;
        if text.chars().any(char::is_control) {
            let message = format!("the context value `{}` holds control characters", value.name);
            value.note(Problem::at(value.place, message));
            return None;
        }
        Some((value.name.to_owned(), text.to_owned()))
    };
    table.entries().filter_map(entry).collect()
}
