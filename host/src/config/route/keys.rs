//! The keys of a route that belong to some targets and not to others: whoever reads a target takes its own, and what is
//! left over was written for nothing.

use super::super::Problem;
use super::super::reader::{Table, Value};

/// What was written, and not yet taken.
#[derive(Debug)]
pub(super) struct Keys<'a>(Vec<Value<'a>>);

impl<'a> Keys<'a> {
    /// Asks the table of a route for every one of them.
    pub(super) fn of(table: &mut Table<'a>) -> Keys<'a> {
        Keys(KEYS.iter().filter_map(|(key, _)| table.take(key)).collect())
    }

    /// The value of `key`, if it was written.
    pub(super) fn take(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|value| value.name == key)?;
        Some(self.0.remove(at))
    }

    /// The target took what it knows; `target` is how it begins.
    pub(super) fn finish(self, target: &str) {
        for value in self.0 {
            let owners = KEYS.iter().find(|(key, _)| *key == value.name).map_or("", |(_, owners)| owners);
            let message = format!("`{}` means nothing to `{target}`", value.name);
            value.note(Problem::at(value.key, message).help(format!("leave it out: it is for {owners}")));
        }
    }
}

/// Each with the targets it is for.
const KEYS: [(&str, &str); 15] = [
    ("create", "`maildir:`"),
    ("mx", "`smtp://`"),
    ("tls", "`smtp://`, `smtps://`, `lmtp://` and `nats://`"),
    ("login", SERVERS),
    ("source", SERVERS),
    ("hello", SERVERS),
    ("xclient", SERVERS),
    ("xforward", SERVERS),
    ("concurrency", "`smtp://`, `smtps://`, `lmtp:`, `http://` and `https://`"),
    ("messages", SERVERS),
    ("idle", SERVERS),
    ("timeout", "`smtp://`, `smtps://`, `lmtp:`, `http://`, `https://` and `nats://`"),
    ("token-file", "`http://`, `https://` and `nats://`"),
    ("authorities", "`nats://`; of another server they are `tls.authorities`, of a webhook `http.authorities`"),
    ("credentials", "`nats://`"),
];

const SERVERS: &str = "`smtp://`, `smtps://` and `lmtp:`";
