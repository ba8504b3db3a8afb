//! The context: names and values at connection and at message scope (Momentum's validation context).
//!
//! Every entry remembers its origin, because what ends an entry depends on who set it: STARTTLS takes what the peer said
//! in the clear, a change of client takes what followed from the old one (docs/architecture.md, rules 5 and 6). The context informs; the
//! host decides nothing by it.

pub use crate::config::like as matches;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One of the two dictionaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Lives as long as the connection.
    Connection,
    /// Emptied for each message.
    Message,
}

/// The stage at which an extension set something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At the `connect` hook: it follows from the client's address.
    Connect,
    /// At the `hello` hook: it follows from the name the peer said.
    Hello,
    /// At any other hook: it follows from what the peer said.
    Dialogue,
}

/// Who set an entry or a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The host, from what it knows itself.
    Host,
    /// The host, from the TLS handshake.
    Tls,
    /// The listener's and its peer blocks' `context`.
    Listener,
    /// The host, by what the client proved at AUTH.
    Users,
    /// An extension, by name.
    Extension(Arc<str>, Stage),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: Arc<str>,
    origin: Origin,
}

/// Why a name could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Names are `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
    #[error("a context name is 1 to 64 letters, digits, `_`, `.` and `-`, and begins with none of the last two")]
    Name,
    /// Values hold no control characters.
    #[error("a context value holds no control characters")]
    Value,
    /// The scope is full.
    #[error("a context scope holds {MAX_NAMES} names and {MAX_BYTES} octets set by extensions")]
    Full,
}

/// How many names extensions may set in one scope.
pub const MAX_NAMES: usize = 128;
/// How many octets, names and values, extensions may set in one scope.
pub const MAX_BYTES: usize = 32 * 1024;

/// Both scopes.
#[derive(Clone, Debug, Default)]
pub struct Context {
    connection: BTreeMap<Arc<str>, Entry>,
    message: BTreeMap<Arc<str>, Entry>,
}

impl Context {
    /// A value, if the name is set.
    pub fn value(&self, scope: Scope, name: &str) -> Option<&str> {
        self.scope(scope).get(name).map(|entry| &*entry.value)
    }

    /// All names and values of a scope, sorted by name.
    pub fn entries(&self, scope: Scope) -> impl Iterator<Item = (&str, &str)> {
        self.scope(scope).iter().map(|(name, entry)| (&**name, &*entry.value))
    }

    /// Whether an extension may set these, checked together so that all are set or none.
    ///
    /// # Errors
    /// A malformed name or value, or a scope that would hold too much.
    pub fn admits<'a>(
        &self,
        scope: Scope,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), ContextError> {
        let mut sizes: BTreeMap<&str, usize> = self
            .scope(scope)
            .iter()
            .filter(|(_, entry)| matches!(entry.origin, Origin::Extension(..)))
            .map(|(name, entry)| (&**name, name.len() + entry.value.len()))
            .collect();
        for (name, value) in entries {
            if !is_name(name) {
                return Err(ContextError::Name);
            }
            if value.chars().any(char::is_control) {
                return Err(ContextError::Value);
            }
            sizes.insert(name, name.len() + value.len());
        }
        if sizes.len() > MAX_NAMES || sizes.values().sum::<usize>() > MAX_BYTES {
            return Err(ContextError::Full);
        }
        Ok(())
    }

    /// Sets a name, whoever set it before.
    pub fn set(&mut self, scope: Scope, name: &str, value: &str, origin: Origin) {
        self.scope_mut(scope).insert(name.into(), Entry { value: value.into(), origin });
    }

    /// Takes a name away.
    pub fn unset(&mut self, scope: Scope, name: &str) {
        self.scope_mut(scope).remove(name);
    }

    /// Empties the message scope.
    pub fn end_message(&mut self) {
        self.message.clear();
    }

    /// Keeps of the connection scope only what the origin says may stay.
    pub fn retain(&mut self, stays: impl Fn(&str, &Origin) -> bool) {
        self.connection.retain(|name, entry| stays(name, &entry.origin));
    }

    fn scope(&self, scope: Scope) -> &BTreeMap<Arc<str>, Entry> {
        match scope {
            Scope::Connection => &self.connection,
            Scope::Message => &self.message,
        }
    }

    fn scope_mut(&mut self, scope: Scope) -> &mut BTreeMap<Arc<str>, Entry> {
        match scope {
            Scope::Connection => &mut self.connection,
            Scope::Message => &mut self.message,
        }
    }
}

/// Whether this is a context name.
pub fn is_name(name: &str) -> bool {
    let word = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    let mut octets = name.bytes();
    name.len() <= 64
        && octets.next().is_some_and(word)
        && octets.all(|octet| word(octet) || matches!(octet, b'.' | b'-'))
}

/// Whether a grant's pattern covers a name an extension wants to write.
///
/// The names the host keeps itself are covered only by a pattern that spells out what makes them the host's: `auth_*`
/// covers `auth_user`, `*` and `a*` do not (docs/architecture.md, rule 7).
pub fn covers_writing(pattern: &str, name: &str) -> bool {
    matches(pattern, name)
        && RESERVED.iter().filter(|family| matches(family, name)).all(|family| spells(pattern, family))
}

/// The names the host keeps, and those by which Momentum switches its own checks off.
const RESERVED: &[&str] = &[
    "auth_*",
    "tls*",
    "proxy_*",
    "ehlo_*",
    "early_talker",
    "can_relay",
    "pathway",
    "*_count",
    "mailfrom_*",
    "rcptto_*",
    "__bypass_*",
];

fn spells(pattern: &str, family: &str) -> bool {
    let literal_head = pattern.split('*').next().unwrap_or_default();
    let literal_tail = pattern.rsplit('*').next().unwrap_or_default();
    match family.split_once('*') {
        None => pattern == family,
        Some((head, "")) => literal_head.starts_with(head),
        Some((_, tail)) => !literal_head.is_empty() && literal_tail.ends_with(tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "_x", "9", "a.b-c_D"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a=b", "#x", "a+b", "é", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, covered) in [
            ("*", "campaign", true),
            ("*", "auth_user", false),
            ("a*", "auth_user", false),
            ("auth_*", "auth_user", true),
            ("*", "proxy_authority", false),
            ("early_*", "early_talker", false),
            ("auth_user", "auth_user", true),
            ("*_user", "auth_user", false),
            ("*", "can_relay", false),
            ("can_relay", "can_relay", true),
            ("can_*", "can_relay", false),
            ("*", "tls", false),
            ("tls*", "tls_cipher", true),
            ("*_count", "message_rcpt_count", false),
            ("message_*_count", "message_rcpt_count", true),
            ("message_*", "message_rcpt_count", false),
            ("__*", "__bypass_spf_v1", false),
            ("__bypass_*", "__bypass_spf_v1", true),
            ("grey*_*x", "grey_list_x", true),
            ("grey*_*x", "grey_list", false),
        ] {
            assert_eq!(covers_writing(pattern, name), covered, "{pattern} {name}");
        }
    }

    #[test]
    fn all_or_none_and_caps() {
        let mut context = Context::default();
        assert_eq!(context.admits(Scope::Connection, [("a", "1"), ("b=", "2")]), Err(ContextError::Name));
        assert_eq!(context.admits(Scope::Connection, [("a", "x\u{85}y")]), Err(ContextError::Value));
        let long = "v".repeat(MAX_BYTES / 2);
        assert_eq!(context.admits(Scope::Message, [("a", &*long), ("b", &*long)]), Err(ContextError::Full));
        assert_eq!(context.admits(Scope::Message, [("a", &*long), ("a", &*long)]), Ok(()));
        for n in 0..MAX_NAMES {
            let name = format!("n{n}");
            assert_eq!(context.admits(Scope::Connection, [(&*name, "")]), Ok(()));
            context.set(Scope::Connection, &name, "", Origin::Extension("x".into(), Stage::Dialogue));
        }
        assert_eq!(context.admits(Scope::Connection, [("one-more", "")]), Err(ContextError::Full));
        assert_eq!(context.admits(Scope::Connection, [("n0", "again")]), Ok(()));
    }
}
