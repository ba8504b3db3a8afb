//! The table of hooks and imported interfaces: which capability each needs. It is data; `load` and `link` read it.

use super::bindings::pillarbox::extension::declare;
use crate::config::Capability;

/// The package all interfaces are in.
pub const PACKAGE: &str = "pillarbox:extension/";
/// The hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is described in the WIT interface of its name")]
pub enum Hook {
    Connect,
    Hello,
    Command,
    Authenticate,
    Verify,
    Mail,
    Recipient,
    Data,
    Message,
    Accepted,
    Disconnect,
}

impl Hook {
    /// Every hook there is.
    pub const ALL: [Hook; 11] = [
        Hook::Connect,
        Hook::Hello,
        Hook::Command,
        Hook::Authenticate,
        Hook::Verify,
        Hook::Mail,
        Hook::Recipient,
        Hook::Data,
        Hook::Message,
        Hook::Accepted,
        Hook::Disconnect,
    ];

    /// The name of its interface.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Connect => "connect",
            Hook::Hello => "hello",
            Hook::Command => "command",
            Hook::Authenticate => "authenticate",
            Hook::Verify => "verify",
            Hook::Mail => "mail",
            Hook::Recipient => "recipient",
            Hook::Data => "data",
            Hook::Message => "message",
            Hook::Accepted => "accepted",
            Hook::Disconnect => "disconnect",
        }
    }

    /// The hook of this name.
    pub fn named(name: &str) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// What a listener must grant for the hook to be asked.
    pub fn needs(self) -> Option<Capability> {
        match self {
            Hook::Connect | Hook::Hello => Some(Capability::Session),
            Hook::Authenticate | Hook::Verify => Some(Capability::Credentials),
            Hook::Mail | Hook::Recipient | Hook::Data | Hook::Accepted => Some(Capability::EnvelopeRead),
            Hook::Message => Some(Capability::MessageRead),
            Hook::Command | Hook::Disconnect => None,
        }
    }
}

impl From<declare::Hook> for Hook {
    fn from(hook: declare::Hook) -> Hook {
        match hook {
            declare::Hook::Connect => Hook::Connect,
            declare::Hook::Hello => Hook::Hello,
            declare::Hook::Command => Hook::Command,
            declare::Hook::Authenticate => Hook::Authenticate,
            declare::Hook::Verify => Hook::Verify,
            declare::Hook::Mail => Hook::Mail,
            declare::Hook::Recipient => Hook::Recipient,
            declare::Hook::Data => Hook::Data,
            declare::Hook::Message => Hook::Message,
            declare::Hook::Accepted => Hook::Accepted,
            declare::Hook::Disconnect => Hook::Disconnect,
        }
    }
}

/// What an imported interface asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// Nothing: every extension has it.
    Free,
    /// A grant of this.
    Needs(Capability),
    /// The host has no interface of this name.
    Unknown,
}

impl Import {
    /// What the interface of this name asks for.
    pub fn named(name: &str) -> Import {
        match name {
            "types" | "log" | "settings" | "state" | "declare" | "advertise" => Import::Free,
            // `credentials` is asked for by hooks; there is nothing of that name to import.
            _ => Capability::named(name)
                .filter(|capability| *capability != Capability::Credentials)
                .map_or(Import::Unknown, Import::Needs),
        }
    }
}
