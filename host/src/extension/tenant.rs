//! Whose mail an entry of a listener is asked about: everybody's, or that of some recipients only. What such an entry sees,
//! changes and decides ends with them.

use super::interface::Hook;
use crate::config::RecipientPattern;
use crate::session::envelope::Transaction;
use crate::session::generation::RecipientName;

/// The recipients an entry is there for.
#[derive(Clone, Debug, Default)]
pub struct Tenant(Option<Vec<RecipientPattern>>);

impl Tenant {
    /// Those of these patterns; without any, everybody.
    pub fn new(patterns: Option<Vec<RecipientPattern>>) -> Tenant {
        Tenant(patterns)
    }

    /// Whether it is there for everybody.
    pub fn is_everybody(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it is there for this recipient.
    pub fn covers(&self, name: &RecipientName) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(&name.local, &name.domain)))
    }

    /// Whether it is there for every recipient that is left.
    pub fn covers_all(&self, transaction: &Transaction) -> bool {
        self.is_everybody() || transaction.present().all(|recipient| self.covers(&recipient.name))
    }

    /// Whether a hook is its matter at all: with recipients of its own it has no word about the session.
    pub fn has(&self, hook: Hook) -> bool {
        self.is_everybody() || matches!(hook, Hook::Recipient | Hook::Data | Hook::Message | Hook::Accepted)
    }

    /// Whether it is to be asked at this hook, as the transaction stands.
    pub fn is_asked(&self, hook: Hook, transaction: Option<&Transaction>) -> bool {
        let Some(transaction) = transaction.filter(|_| !self.is_everybody()) else { return self.is_everybody() };
        match hook {
            Hook::Recipient => transaction.candidate.as_ref().is_some_and(|candidate| self.covers(&candidate.name)),
            _ => transaction.present().any(|recipient| self.covers(&recipient.name)),
        }
    }
}
