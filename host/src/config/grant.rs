//! `grant`: which capabilities an extension has on a listener, and how much of each.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::DeValue;

use super::Problem;
use super::reach::Reach;
use super::reader::{Table, Value};
use super::value::{parse_context_pattern, parse_header_pattern, parse_identity, parse_mechanism, parse_namespace};
use super::words::suggest;

/// What an extension is granted on a listener. What is not here is not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What was written for each capability.
    pub entries: BTreeMap<Capability, Granted>,
}

impl Grant {
    /// What was written for `capability`; none when nothing was.
    pub fn entry(&self, capability: Capability) -> Option<&Granted> {
        self.entries.get(&capability)
    }
}

/// How much of a capability is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// `false`: the extension must do without; its calls answer `denied`.
    Denied,
    /// `true`: all of it.
    All,
    /// A list: these fields, identities, mechanisms or header-name patterns. An empty one grants what needs no name.
    Names(Vec<String>),
    /// For the context: patterns of names, for each scope.
    Scoped {
        /// In the connection context.
        connection: Vec<String>,
        /// In the message context.
        message: Vec<String>,
    },
    /// For `kv`.
    Namespaces {
        /// Prefixes of keys, each with `/` at its end. None lies in another.
        namespaces: Vec<String>,
        /// Octets of keys and values that each may hold after a write.
        quota: u64,
    },
    /// For `dns`, `http` and `stream`: how far they reach.
    Reach(Reach),
}

/// Something the host can give an extension: the right to import the WIT interface of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Read facts of the session.
    Session,
    /// Change who the client is.
    Identity,
    /// Read names of the context.
    ContextRead,
    /// Set names of the context.
    ContextWrite,
    /// Declare the session authenticated, or forbid it.
    Authentication,
    /// Be asked where secrets are seen.
    Credentials,
    /// Read sender, recipients and parameters.
    EnvelopeRead,
    /// Change sender and recipients.
    EnvelopeWrite,
    /// Read the message.
    MessageRead,
    /// Change header fields.
    MessageWrite,
    /// Look keys up in tables.
    Table,
    /// Use a store that outlives the session.
    Kv,
    /// Look names up.
    Dns,
    /// Call hosts.
    Http,
    /// Open byte streams.
    Stream,
    /// Read the time.
    Clock,
    /// Draw random octets.
    Random,
    /// Keep counters.
    Metrics,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Capability; 18] = [
        Capability::Session,
        Capability::Identity,
        Capability::ContextRead,
        Capability::ContextWrite,
        Capability::Authentication,
        Capability::Credentials,
        Capability::EnvelopeRead,
        Capability::EnvelopeWrite,
        Capability::MessageRead,
        Capability::MessageWrite,
        Capability::Table,
        Capability::Kv,
        Capability::Dns,
        Capability::Http,
        Capability::Stream,
        Capability::Clock,
        Capability::Random,
        Capability::Metrics,
    ];

    /// Its name in a grant, which is the name of the WIT interface.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Session => "session",
            Capability::Identity => "identity",
            Capability::ContextRead => "context-read",
            Capability::ContextWrite => "context-write",
            Capability::Authentication => "authentication",
            Capability::Credentials => "credentials",
            Capability::EnvelopeRead => "envelope-read",
            Capability::EnvelopeWrite => "envelope-write",
            Capability::MessageRead => "message-read",
            Capability::MessageWrite => "message-write",
            Capability::Table => "table",
            Capability::Kv => "kv",
            Capability::Dns => "dns",
            Capability::Http => "http",
            Capability::Stream => "stream",
            Capability::Clock => "clock",
            Capability::Random => "random",
            Capability::Metrics => "metrics",
        }
    }

    /// The capability of this name.
    pub fn named(name: &str) -> Option<Capability> {
        Capability::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Grant {
    /// `grant` of an extension's use on a listener. `tables` are the names of those that are defined.
    pub(super) fn read(table: Table<'_>, tables: &[String]) -> Grant {
        let mut entries = BTreeMap::new();
        let (mut login, mut authentication) = (None, false);
        for value in table.entries() {
            let Some(capability) = Capability::named(value.name) else {
                note_unknown_capability(value);
                continue;
            };
            let granted = Granted::read(capability, value, tables);
            // One that was written wrongly was meant to be there.
            authentication |= capability == Capability::Authentication && granted != Some(Granted::Denied);
            let Some(granted) = granted else {
                continue;
            };
            if capability == Capability::Identity && granted.names("login") {
                login = Some(value);
            }
            entries.insert(capability, granted);
        }
        // To say who is authenticated is a right of its own, however it is said.
        if let Some(value) = login.filter(|_| !authentication) {
            value.note(
                Problem::at(value.place, "`login` needs the capability `authentication` as well")
                    .help("add `grant.authentication = true` or a list of user names"),
            );
        }
        Grant { entries }
    }
}

fn note_unknown_capability(value: Value<'_>) {
    let problem = if FREE.contains(&value.name) {
        Problem::at(value.key, format!("`{}` needs no grant", value.name)).help("leave it out")
    } else {
        let names = Capability::ALL.map(Capability::name);
        Problem::at(value.key, format!("there is no capability `{}`", value.name)).help(suggest(
            value.name,
            &names,
            "there are",
        ))
    };
    value.note(problem);
}

/// Interfaces every extension may import.
const FREE: [&str; 5] = ["log", "settings", "state", "declare", "advertise"];

/// The fields of `session`.
const SESSION_FIELDS: [&str; 7] = ["listener", "peer", "client", "destination", "tls", "authentication", "phase"];

/// The fields of `identity`.
const IDENTITY_FIELDS: [&str; 8] = ["addr", "port", "name", "helo", "proto", "login", "destaddr", "destport"];

impl Granted {
    fn read(capability: Capability, value: Value<'_>, tables: &[String]) -> Option<Granted> {
        match value.raw {
            DeValue::Boolean(false) => return Some(Granted::Denied),
            _ if capability == Capability::Kv => return Granted::read_namespaces(value),
            // What reaches out of the server reaches named places only.
            DeValue::Boolean(true) if !matches!(capability, Capability::Http | Capability::Stream) => {
                return Some(Granted::All);
            }
            _ => {}
        }
        let names = match capability {
            Capability::Session => named(value)?.each(|item| field(item, &SESSION_FIELDS)),
            Capability::Identity => named(value)?.each(|item| field(item, &IDENTITY_FIELDS)),
            Capability::Authentication => named(value)?.each(|item| item.parsed(parse_identity)),
            Capability::Credentials => named(value)?.each(|item| item.parsed(parse_mechanism)),
            Capability::MessageRead | Capability::MessageWrite => {
                named(value)?.each(|item| item.parsed(parse_header_pattern))
            }
            Capability::Table => named(value)?.each(|item| table_name(item, tables)),
            Capability::ContextRead | Capability::ContextWrite => return Granted::read_scoped(value),
            Capability::Dns => return Reach::read_dns(value).map(Granted::Reach),
            Capability::Http => return Reach::read_http(value).map(Granted::Reach),
            Capability::Stream => return Reach::read_streams(value).map(Granted::Reach),
            // The others are granted whole or not at all.
            _ => value.mistyped("`true` or `false`"),
        };
        names.map(Granted::Names)
    }

    /// Patterns for both scopes alike, or for each by itself.
    fn read_scoped(value: Value<'_>) -> Option<Granted> {
        let patterns = |value: Value<'_>| value.each(|item| item.parsed(parse_context_pattern));
        let DeValue::Table(_) = value.raw else {
            let names = patterns(named(value)?)?;
            return Some(Granted::Scoped { connection: names.clone(), message: names });
        };
        let mut table = value.table()?;
        let connection = table.take("connection").map_or(Some(Vec::new()), patterns);
        let message = table.take("message").map_or(Some(Vec::new()), patterns);
        table.finish();
        Some(Granted::Scoped { connection: connection?, message: message? })
    }

    /// Namespaces, or a table with them and their quota. `true` would be the keys of every other extension as well.
    fn read_namespaces(value: Value<'_>) -> Option<Granted> {
        let (namespaces, quota) = match value.raw {
            DeValue::Boolean(_) => {
                let problem = Problem::at(value.place, "`kv` is granted by namespace, never as a whole");
                value.note(problem.help("name what its keys begin with, as in `grant.kv = [\"greylist/\"]`"));
                return None;
            }
            DeValue::Table(_) => {
                let mut table = value.table()?;
                let namespaces = table.require("namespaces", "[\"greylist/\"]");
                let quota = table.take("quota").map_or(Some(QUOTA), |value| value.size(1024..=1 << 40));
                table.finish();
                (namespaces?, quota?)
            }
            DeValue::Array(_) | DeValue::String(_) => (value, QUOTA),
            _ => return value.mistyped("`false`, a list of namespaces or a table with `namespaces` and `quota`"),
        };
        if matches!(namespaces.raw, DeValue::Array(items) if items.is_empty()) {
            let help = format!("name what its keys begin with, or write `grant.{} = false`", Capability::Kv);
            namespaces.note(Problem::at(namespaces.place, "without a namespace there is no key").help(help));
        }
        let items = namespaces.each(|item| Some((item, item.parsed(parse_namespace)?)))?;
        for (index, (item, name)) in items.iter().enumerate() {
            let around = items.iter().find(|(_, other)| other != name && name.starts_with(other.as_str()));
            let message = match around {
                Some((_, other)) => format!("`{name}` lies in `{other}`, which is granted already"),
                None if items.iter().take(index).any(|(_, other)| other == name) => format!("`{name}` is named twice"),
                None => continue,
            };
            item.note(Problem::at(item.place, message));
        }
        let namespaces = items.into_iter().map(|(_, name)| name).collect();
        Some(Granted::Namespaces { namespaces, quota })
    }

    fn names(&self, name: &str) -> bool {
        matches!(self, Granted::Names(names) if names.iter().any(|granted| granted == name))
    }
}

/// What a namespace may hold where nothing is said of it.
const QUOTA: u64 = 16 << 20;

fn table_name(item: Value<'_>, tables: &[String]) -> Option<String> {
    let name = item.text()?;
    if tables.iter().any(|table| table == name) {
        return Some(name.to_owned());
    }
    let help = match tables {
        [] => format!("add\n[table.{name}]\nfile = \"{name}.txt\""),
        _ => suggest(name, &tables.iter().map(String::as_str).collect::<Vec<_>>(), "there are"),
    };
    item.note(Problem::at(item.place, format!("there is no table `{name}`")).help(help));
    None
}

/// The value, if it is the list that it must be now that it is neither `true` nor `false`.
fn named(value: Value<'_>) -> Option<Value<'_>> {
    match value.raw {
        DeValue::Array(_) | DeValue::String(_) => Some(value),
        _ => value.mistyped("`true`, `false` or a list"),
    }
}

fn field(item: Value<'_>, fields: &[&str]) -> Option<String> {
    let text = item.text()?;
    if fields.contains(&text) {
        return Some(text.to_owned());
    }
    let help = suggest(text, fields, "there are");
    item.note(Problem::at(item.place, format!("`{}` has no field `{text}`", item.name)).help(help));
    None
}
