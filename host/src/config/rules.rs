//! What a client may do and how much of it: the values a listener sets and its peer blocks change.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::reader::{Table, Value};
use super::value::{is_context_name, parse_domain_pattern, parse_network};
use super::{DomainPattern, Limits, LimitsPart, Place, Problem};

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

/// What a listener and a peer block have in common.
#[derive(Debug, Default)]
pub(super) struct RulesPart {
    pub(super) relay: RelayPart,
    pub(super) context: BTreeMap<String, String>,
    pub(super) limits: LimitsPart,
    /// Where each key stands, by its whole name as in "limits.recipients".
    pub(super) places: BTreeMap<String, Place>,
}

impl RulesPart {
    pub(super) fn read(table: &mut Table<'_>) -> RulesPart {
        let mut places = BTreeMap::new();
        let mut part = |name: &'static str| {
            let part = table.table(name)?;
            places.extend(part.keys().map(|(key, place)| (format!("{name}.{key}"), place)));
            Some(part)
        };
        let relay = part("relay").map(RelayPart::read).unwrap_or_default();
        let context = part("context").map(read_context).unwrap_or_default();
        let limits = part("limits").map(LimitsPart::read).unwrap_or_default();
        RulesPart { relay, context, limits, places }
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
